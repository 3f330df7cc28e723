"""Boosted trees in the form of a network: grown by XGBoost, evaluated by the same graph as all others.

How they are grown is in `astrid.learn.boosting`; here they are only walked through.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

__all__ = ["Trees"]


class Trees(nn.Module):
    """An ensemble of boosted trees (Chen and Guestrin 2016, arXiv:1603.02754).

    Parameters
    ----------
    inputs : mapping of str to tuple of int
        Of any shapes; they are flattened and joined in this order.
    outputs : mapping of str to int
        Size of each head.
    depth : int
        Of each tree.
    min_child_weight, subsample, colsample : float
        As XGBoost has them: the least weight in a leaf, the share of rows and that of numbers
        which each tree sees. The recipe's epochs are rounds, its learning rate the shrinkage.
    """

    head_names = ("heads",)
    gradcam_layer = None
    grown = True
    """Not trained by gradients: `astrid.learn.boosting` fills it."""

    def __init__(
        self,
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, int],
        *,
        depth: int = 6,
        min_child_weight: float = 1.0,
        subsample: float = 1.0,
        colsample: float = 1.0,
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.n_numbers = sum(math.prod(shape) for shape in inputs.values())
        self.depth = depth
        self.options = {
            "max_depth": depth,
            "min_child_weight": min_child_weight,
            "subsample": subsample,
            "colsample_bytree": colsample,
        }
        self.heads = nn.ModuleDict({f"{name}_out": _Head(depth, k) for name, k in outputs.items()})

    def fill(self, wood: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
        """Put trees in place of those that are there.

        Parameters
        ----------
        wood : mapping of str to mapping of str to ndarray
            For each head its n trees, complete to the depth. ``feature``: (n, 2^depth - 1) int64,
            which number is asked about at each inner node, in the order of a heap; ``threshold``:
            the same shape, float32, numbers below it go left; ``leaf``: (n, 2^depth) float32;
            ``output``: (n,) int64, which logit a tree adds to; ``base``: (k,) float32, the logits
            without any tree.
        """
        for name, one in wood.items():
            head = self.heads[f"{name}_out"]
            assert isinstance(head, _Head)
            head.fill(one)

    def embed(self, **inputs: Tensor) -> Tensor:
        """Where an item ends: the leaf of each tree, (B, trees)."""
        x = self._joined(inputs)
        return torch.cat([head.leaves(x) for head in self.heads.values()], dim=1)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Logits or values of each head, (B, k), from (B, ...) float32."""
        x = self._joined(inputs)
        return {name.removesuffix("_out"): head(x) for name, head in self.heads.items()}

    def _joined(self, inputs: Mapping[str, Tensor]) -> Tensor:
        return torch.cat([inputs[name].flatten(1) for name in self.inputs], dim=1)


class _Head(nn.Module):
    feature: Tensor
    threshold: Tensor
    leaf: Tensor
    output: Tensor
    base: Tensor

    def __init__(self, depth: int, size: int) -> None:
        super().__init__()
        self.depth = depth
        self.register_buffer("feature", torch.zeros((0, 2**depth - 1), dtype=torch.int64))
        self.register_buffer("threshold", torch.zeros((0, 2**depth - 1)))
        self.register_buffer("leaf", torch.zeros((0, 2**depth)))
        self.register_buffer("output", torch.zeros((0, size)))  # trees x logits, 1 where a tree adds
        self.register_buffer("base", torch.zeros(size))

    def fill(self, wood: Mapping[str, NDArray[Any]]) -> None:
        self.feature, self.threshold, self.leaf, self.base = (
            torch.from_numpy(wood[name]) for name in ("feature", "threshold", "leaf", "base")
        )
        self.output = nn.functional.one_hot(torch.from_numpy(wood["output"]), len(self.base)).float()

    def leaves(self, x: Tensor) -> Tensor:
        n, inner = self.feature.shape
        feature, threshold = self.feature.flatten(), self.threshold.flatten()
        first = torch.arange(n) * inner
        node = torch.zeros((x.shape[0], n), dtype=torch.int64)
        for _ in range(self.depth):
            place = first + node
            right = x.gather(1, feature[place]) >= threshold[place]
            node = 2 * node + 1 + right.to(torch.int64)
        return self.leaf.flatten()[torch.arange(n) * (inner + 1) + node - inner]

    def forward(self, x: Tensor) -> Tensor:
        return self.base + self.leaves(x) @ self.output

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        # how many trees there are is only known from what is loaded
        for name, own in list(self.named_buffers(recurse=False)):
            given = state_dict.get(prefix + name)
            if given is not None and given.shape[1:] == own.shape[1:]:
                setattr(self, name, torch.empty_like(given))
        super()._load_from_state_dict(dict(state_dict), prefix, *rest)
