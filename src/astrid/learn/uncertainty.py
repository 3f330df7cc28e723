"""Several answers from one graph: the members of an ensemble, or passes with dropout.

The masks of the passes are drawn once and frozen, so that the same item always has the same
spread and serving needs neither random numbers nor torch. How the spread is taken from the
answers is in `prediction`.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from astrid.errors import UsageError
from astrid.learn.task import Task

__all__ = ["Members", "Passes", "has_dropout"]

_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
_KINDS = (nn.Dropout, *_CHANNELS, nn.AlphaDropout, nn.FeatureAlphaDropout)


class Members(nn.Module):
    """Networks side by side: (members, n, ...) for each head.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
    task : Task
    """

    def __init__(self, networks: Sequence[nn.Module], task: Task) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.inputs, self.heads = tuple(task.inputs), tuple(task.heads)
        self.eval()

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """The heads, in the order of the task, from the inputs in the order of the task."""
        given = dict(zip(self.inputs, arrays, strict=True))
        outputs = [network(**given) for network in self.networks]
        return tuple(torch.stack([one[head] for one in outputs]) for head in self.heads)


class Passes(nn.Module):
    """One network, run several times with its dropout left on: (passes, n, ...) for each head.

    Each pass has its own masks, which are the same for all items. What lies before the first
    dropout is the same for all passes and is computed once, where the network allows it.

    Parameters
    ----------
    network : torch.nn.Module
        A copy of it is changed.
    task : Task
    passes : int
    seed : int
        Of the masks.

    Raises
    ------
    UsageError
        The network has no dropout, or of a kind or at a place that cannot be frozen.

    References
    ----------
    Gal & Ghahramani 2016, arXiv:1506.02142.
    """

    def __init__(self, network: nn.Module, task: Task, passes: int, seed: int) -> None:
        super().__init__()
        self.network = copy.deepcopy(network).eval()
        self.inputs, self.heads, self.passes = tuple(task.inputs), tuple(task.heads), passes
        shapes = self._called(task)
        if not shapes:
            raise UsageError(
                f"{task.network} has no dropout; export without its passes, or train with dropout"
            )
        rng = np.random.default_rng(seed)
        for name, shape in shapes.items():
            self.network.set_submodule(name, _frozen(self.network.get_submodule(name), shape, passes, rng))
        self.eval()
        self.first = self.network.get_submodule(next(iter(shapes)))
        self.early = False
        self.early = not self._same_when_late(task)

    def forward(self, *arrays: Tensor) -> tuple[Tensor, ...]:
        """The heads, in the order of the task, from the inputs in the order of the task."""
        if self.early:
            arrays = tuple(one.repeat(self.passes, *[1] * (one.ndim - 1)) for one in arrays)
        outputs = self.network(**dict(zip(self.inputs, arrays, strict=True)))
        return tuple(outputs[head].unflatten(0, (self.passes, -1)) for head in self.heads)

    def _called(self, task: Task) -> dict[str, tuple[int, ...]]:
        """Names of the dropouts that do something, in the order of their use, with the shape of an item."""
        shapes: dict[str, tuple[int, ...]] = {}
        hooks = []

        def note(name: str, given: tuple[Tensor, ...]) -> None:
            if name in shapes:
                raise UsageError(
                    f"{task.network} uses {name} at two places; give each place its own nn.Dropout"
                )
            shapes[name] = tuple(given[0].shape[1:])

        for name, module in self.network.named_modules():
            if isinstance(module, _KINDS) and module.p > 0:
                hooks.append(module.register_forward_pre_hook(lambda _, given, name=name: note(name, given)))
        with torch.inference_mode():
            self.network(**{name: torch.zeros(2, *one.shape) for name, one in task.inputs.items()})
        for hook in hooks:
            hook.remove()
        return shapes

    def _same_when_late(self, task: Task) -> bool:
        """Whether the passes may be told apart at the first dropout instead of at the entry.

        They may not where another branch of the network is joined to it.
        """
        generator = torch.Generator().manual_seed(0)
        items = [torch.randn(3, *one.shape, generator=generator) for one in task.inputs.values()]
        with torch.inference_mode():
            self.early = True
            wanted = self(*items)
            self.early, self.first.opens = False, True
            try:
                found = self(*items)
                same = all(
                    torch.allclose(*pair, rtol=1e-4, atol=1e-5) for pair in zip(wanted, found, strict=True)
                )
            except RuntimeError:  # shapes that do not go together
                same = False
        self.first.opens = same
        return same


class _FrozenDropout(nn.Module):
    """Dropout whose masks, one for each pass, were drawn before."""

    def __init__(self, keep: Tensor, rate: float) -> None:
        super().__init__()
        self.register_buffer("keep", keep)  # (passes, 1, ...) uint8: a quarter of the size
        self.scale = 1 / (1 - rate)
        self.opens = False  # whether the passes begin here

    def forward(self, x: Tensor) -> Tensor:
        each = x.unsqueeze(0) if self.opens else x.unflatten(0, (len(self.keep), -1))
        return (each * (self.keep.to(x.dtype) * self.scale)).flatten(0, 1)


def has_dropout(network: nn.Module) -> bool:
    """Whether passes through a network can differ."""
    return any(isinstance(module, _KINDS) and module.p > 0 for module in network.modules())


def _frozen(
    module: nn.Module, shape: tuple[int, ...], passes: int, rng: np.random.Generator
) -> _FrozenDropout:
    if isinstance(module, _CHANNELS):
        shape = (shape[0], *[1] * (len(shape) - 1))  # whole channels
    elif not isinstance(module, nn.Dropout):
        raise UsageError(
            f"{type(module).__name__} cannot be frozen; use nn.Dropout, or export without passes"
        )
    keep = rng.random((passes, 1, *shape)) >= module.p
    return _FrozenDropout(torch.from_numpy(keep.astype(np.uint8)), module.p)
