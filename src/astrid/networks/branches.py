"""Networks for items of several kinds at once: numbers, curves and images, each with a branch of its own.

What kind an input is follows from its shape; the branches meet in one dense layer, and each head
is one layer on top of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from astrid.errors import UsageError

__all__ = ["Branches"]

_FAR = 5.0  # standard deviations; beyond, a number says no more than that it is far out
_DEEP = 3.0  # of views whose transit is 1 deep; beyond are flares and cosmic rays
_SHORTEST = 6  # samples of a curve after its last pooling


class Branches(nn.Module):
    """One branch for each input, joined by a dense layer.

    Numbers (shape (k,)) pass dense layers after they are brought to mean 0 and variance 1; curves
    (length, channels) pass blocks of convolutions and a pooling; images (ny, nx, channels) pass
    blocks of two convolutions with a pooling in between and a mean over the image in the end.

    Parameters
    ----------
    inputs : mapping of str to tuple of int
    outputs : mapping of str to int
        Size of each head.
    numbers : sequence of int
        Sizes of the dense layers.
    curves : int
        Channels of a curve's first block; there are as many blocks as leave six samples.
    growth : int
        A block of a curve has so many times the channels of the one before.
    convolutions : int
        In each block of a curve.
    summary : int
        Numbers into which a dense layer brings a curve, with dropout before it; 0 for all that
        the convolutions give. A few where there are few items: curves drown the numbers beside them.
    kernel : int
        Of the convolutions along curves.
    images : sequence of int
        Channels of each block of an image.
    separable : bool
        Whether an image's convolutions are separable in depth.
    cells : bool
        For images in which the place of a cell has a meaning of its own, such as those of dm and dt: each
        is brought to mean 0 and variance 1, and the last block is kept cell by cell, not averaged.
    joint : int
        Size of the dense layer in which the branches meet.
    dropout, joint_dropout : float
        Within the branches, and before the joint layer.

    Raises
    ------
    UsageError
        An input of another rank.

    References
    ----------
    The branches for numbers and images are those of SCOPE: Healy et al. 2024, arXiv:2312.00143;
    those for curves follow Shallue and Vanderburg 2018, AJ 155, 94, and Rao et al. 2021,
    arXiv:2101.09227, with pooling until six samples are left instead of a fixed depth.
    """

    head_names = ("heads",)
    gradcam_layer = None

    def __init__(
        self,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, int],
        *,
        numbers: Sequence[int] = (256, 32),
        curves: int = 16,
        growth: int = 2,
        convolutions: int = 2,
        summary: int = 0,
        kernel: int = 5,
        images: Sequence[int] = (16, 32),
        separable: bool = True,
        cells: bool = False,
        joint: int = 16,
        dropout: float = 0.25,
        joint_dropout: float = 0.4,
    ) -> None:
        super().__init__()
        branches: dict[str, nn.Module] = {}
        size = 0
        for name, shape in inputs.items():
            branch: _Numbers | _Curve | _Image
            match len(shape):
                case 1:
                    branch = _Numbers(shape[0], numbers, dropout)
                case 2:
                    branch = _Curve(shape, (curves, growth, convolutions), kernel, summary, dropout)
                case 3:
                    branch = _Image(shape, images, dropout, separable, cells)
                case rank:
                    raise UsageError(f"the input {name} has {rank} axes; give numbers, curves or images")
            branches[f"{name}_in"] = branch
            size += branch.size
        self.branches = nn.ModuleDict(branches)
        self.joint = nn.Sequential(nn.Dropout(joint_dropout), nn.Linear(size, joint), nn.ReLU())
        self.heads = nn.ModuleDict({f"{name}_out": nn.Linear(joint, k) for name, k in outputs.items()})

    def embed(self, **inputs: Tensor) -> Tensor:
        """Features before the heads: (B, joint)."""
        parts = [branch(inputs[name.removesuffix("_in")]) for name, branch in self.branches.items()]
        return self.joint(torch.cat(parts, dim=1))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Logits or values of each head, (B, k), from (B, ...) float32 with channels last."""
        features = self.embed(**inputs)
        return {name.removesuffix("_out"): head(features) for name, head in self.heads.items()}


class _Numbers(nn.Module):
    def __init__(self, n: int, hidden: Sequence[int], dropout: float) -> None:
        super().__init__()
        self.standardize = nn.BatchNorm1d(n, affine=False)
        layers: list[nn.Module] = []
        before = n
        for after in hidden:
            layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
            before = after
        self.layers = nn.Sequential(*layers[:-1])  # what comes last is dropped in the joint layer
        self.size = before

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(_standardized(x, self.standardize))


class _Curve(nn.Module):
    def __init__(
        self, shape: tuple[int, ...], blocks: tuple[int, int, int], kernel: int, summary: int, dropout: float
    ) -> None:
        super().__init__()
        length, before = shape
        after, growth, convolutions = blocks
        layers: list[nn.Module] = []
        while length >= 2 * _SHORTEST:
            for channels in (before, *[after] * (convolutions - 1)):
                layers += [nn.Conv1d(channels, after, kernel, padding=kernel // 2), nn.ReLU()]
            layers.append(nn.MaxPool1d(2))
            length //= 2
            before, after = after, growth * after
        self.layers = nn.Sequential(*layers)
        self.size = before * length
        self.summary: nn.Module = nn.Identity()
        if summary:
            self.summary = nn.Sequential(nn.Dropout(dropout), nn.Linear(self.size, summary), nn.ReLU())
            self.size = summary

    def forward(self, x: Tensor) -> Tensor:
        return self.summary(self.layers(x.clamp(-_DEEP, _DEEP).permute(0, 2, 1)).flatten(1))


class _Image(nn.Module):
    def __init__(
        self, shape: tuple[int, ...], blocks: Sequence[int], dropout: float, separable: bool, cells: bool
    ) -> None:
        super().__init__()
        *sides, channels = shape
        self.standardize = nn.BatchNorm1d(math.prod(shape), affine=False) if cells else None
        layers: list[nn.Module] = []
        for k, after in enumerate(blocks):
            if k:
                layers.append(nn.MaxPool2d(2))
                sides = [side // 2 for side in sides]
            for before in (channels, after):
                if separable:
                    layers.append(nn.Conv2d(before, before, 3, padding=1, groups=before, bias=False))
                    layers.append(nn.Conv2d(before, after, 1))
                else:
                    layers.append(nn.Conv2d(before, after, 3, padding=1))
                layers.append(nn.ReLU())
            layers.append(nn.Dropout(dropout))
            channels = after
        self.layers = nn.Sequential(*layers)
        self.size = channels * math.prod(sides) if cells else channels

    def forward(self, x: Tensor) -> Tensor:
        if self.standardize is None:
            return self.layers(x.permute(0, 3, 1, 2)).mean(dim=(2, 3))
        x = _standardized(x.flatten(1), self.standardize).reshape(x.shape)
        return self.layers(x.permute(0, 3, 1, 2)).flatten(1)


def _standardized(x: Tensor, known: nn.BatchNorm1d) -> Tensor:
    """Numbers with mean 0 and variance 1, those far out at their limit."""
    if known.training and len(x) == 1:  # a last batch of one item has no variance
        x = nn.functional.batch_norm(x, known.running_mean, known.running_var, eps=known.eps)
    else:
        x = known(x)
    return x.clamp(-_FAR, _FAR)
