"""What is done to training batches and to nothing else: the symmetries that a problem has.

Validation, test and prediction never pass here. An augmentation is a function of a batch's
inputs, targets and a generator; a task may bring its own by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from astrid.errors import UsageError
from astrid.learn.task import imported

__all__ = ["Augmentation", "augmentation", "dihedral", "mirror"]

Batch = tuple[dict[str, Tensor], dict[str, Tensor]]
Augmentation = Callable[[dict[str, Tensor], dict[str, Tensor], torch.Generator], Batch]
"""From inputs, targets and a generator to both; it may change the tensors in place."""


def augmentation(name: str) -> Augmentation | None:
    """The augmentation called `name`.

    Parameters
    ----------
    name : str
        ``none``, ``dihedral``, ``mirror`` or ``"module:function"``.

    Raises
    ------
    UsageError
        There is none of that name.
    """
    if name == "none":
        return None
    if name in _KNOWN:
        return _KNOWN[name]
    if ":" not in name:
        raise UsageError(
            f"there is no augmentation {name!r}; choose none, {', '.join(_KNOWN)} or 'module:function'"
        )
    found: Augmentation = imported(name)
    return found


def dihedral(inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator) -> Batch:
    """Turn and mirror every item's images by one of the 8 symmetries of the square, drawn per item.

    All images of an item and its wanted heat maps are turned alike. Where one of them is not
    square, only the 4 symmetries of the rectangle are drawn. A regression whose numbers depend on
    the orientation, such as a position, needs an augmentation of its own.

    Parameters
    ----------
    inputs : dict of str to Tensor
        Images are (n, ny, nx, channels); anything of other rank is left alone. Changed in place.
    targets : dict of str to Tensor
        Heat maps are (n, ny, nx). Changed in place.
    generator : `torch.Generator`

    Returns
    -------
    inputs, targets : dict of str to Tensor
    """
    turned = [*_of_rank(inputs, 4), *_of_rank(targets, 3)]
    if not turned:
        return inputs, targets
    square = all(one.shape[1] == one.shape[2] for one in turned)
    device = turned[0].device
    draws = torch.randint(8 if square else 4, (len(turned[0]),), generator=generator, device=generator.device)
    for symmetry in range(1, 8 if square else 4):
        rows = (draws == symmetry).nonzero()[:, 0].to(device)
        for one in turned:
            one.index_copy_(0, rows, _turn(one.index_select(0, rows), symmetry))
    return inputs, targets


def mirror(inputs: dict[str, Tensor], targets: dict[str, Tensor], generator: torch.Generator) -> Batch:
    """Run every second item's curves backwards, drawn per item; for what does not know past from future.

    Parameters
    ----------
    inputs : dict of str to Tensor
        Curves are (n, length, channels); anything of other rank is left alone. Changed in place.
    targets : dict of str to Tensor
        Left alone.
    generator : `torch.Generator`

    Returns
    -------
    inputs, targets : dict of str to Tensor
    """
    for_all: Tensor | None = None
    for one in _of_rank(inputs, 3):
        if for_all is None:
            for_all = torch.randint(2, (len(one),), generator=generator, device=generator.device)
        rows = for_all.nonzero()[:, 0].to(one.device)
        one.index_copy_(0, rows, one.index_select(0, rows).flip(1))
    return inputs, targets


def _turn(images: Tensor, symmetry: int) -> Tensor:
    """Images (n, ny, nx, …) under the symmetry whose bits say: mirror x, mirror y, swap x and y."""
    axes = [axis for bit, axis in ((1, 2), (2, 1)) if symmetry & bit]
    turned = images.flip(axes) if axes else images
    return turned.transpose(1, 2) if symmetry & 4 else turned


def _of_rank(tensors: Mapping[str, Tensor], rank: int) -> list[Tensor]:
    return [one for one in tensors.values() if one.ndim == rank]


_KNOWN: dict[str, Augmentation] = {"dihedral": dihedral, "mirror": mirror}
