"""Shapley values: the fair share of each part in the score, over all orders of revealing them.

Exact over all coalitions for few parts, by captum's KernelSHAP for many. Both ask the model
through ONNX Runtime alone.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError
from astrid.learn.explanation.item import Item, Parts
from astrid.learn.explanation.network import require_captum
from astrid.learn.explanation.question import Arrays, Score
from astrid.learn.explanation.result import Attribution

__all__ = ["EXACT", "kernel_shap", "shapley_exact"]

EXACT = 12
"""At most so many parts have their Shapley values found exactly."""

_ROWS = 64  # of the background: 2^12 coalitions of them are a quarter of a million evaluations


def shapley_exact(score: Score, item: Item, *, seed: int) -> Attribution:
    """Exact Shapley values of the numbers of the item, or of its channels where it has many numbers.

    What is hidden is replaced by that of each background item in turn (interventional values), and
    the score is the mean over these.

    Parameters
    ----------
    score : Score
    item : Item
    seed : int
        Of the choice of 64 background items, where there are more.

    Returns
    -------
    Attribution

    Raises
    ------
    UsageError
        More than 12 numbers, and more than 12 channels.

    References
    ----------
    Lundberg & Lee 2017, arXiv:1705.07874, eq. 4; Janzing et al. 2020, arXiv:1910.13413
    (interventional).
    """
    parts = _exact_parts(item)
    rows, replaced_by = item.background_rows(_ROWS, seed, "each of")
    worth = _worth_of_coalitions(score, item, parts, rows)
    return Attribution(parts.spread(_shares(worth, parts.n)), float(worth[0]), replaced_by)


def _exact_parts(item: Item) -> Parts:
    """The numbers of an item if they are 12 or fewer, else its channels."""
    parts = item.parts("numbers" if item.numbers <= EXACT else "channels")
    if parts.n > EXACT:
        raise UsageError(
            f"the item has {item.numbers} numbers and {parts.n} channels, but exact Shapley values need "
            f"{EXACT} or fewer; use kernel_shap"
        )
    return parts


def _worth_of_coalitions(score: Score, item: Item, parts: Parts, rows: Arrays) -> NDArray[np.float64]:
    """Mean score with only the parts of a coalition shown, (2^n,); bit k of the index shows part k."""
    m = len(next(iter(rows.values())))
    members = (np.arange(1 << parts.n)[:, None] >> np.arange(parts.n) & 1).astype(bool)

    def build(start: int, stop: int) -> Arrays:
        coalition, row = np.divmod(np.arange(start, stop), m)
        return item.masked(parts, members[coalition], {name: one[row] for name, one in rows.items()})

    return score(m << parts.n, build).reshape(-1, m).mean(axis=1)


def _shares(worth: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    index = np.arange(1 << n)
    size = np.bitwise_count(index).astype(int)
    weight = np.array([math.factorial(s) * math.factorial(n - s - 1) / math.factorial(n) for s in range(n)])
    shares = np.empty(n)
    for k in range(n):
        without = index[index >> k & 1 == 0]
        shares[k] = weight[size[without]] @ (worth[without | 1 << k] - worth[without])
    return shares


def kernel_shap(
    score: Score, item: Item, *, seed: int, samples: int | None, window: int | None
) -> Attribution:
    """Shapley values of windows (of features: of each number), estimated by captum's KernelSHAP.

    Parameters
    ----------
    score : Score
    item : Item
    seed : int
        Of the coalitions.
    samples : int, optional
        How many coalitions; 100 and ten for each part if not given.
    window : int, optional
        Size of a window along each axis; chosen from the shape if not given.

    Returns
    -------
    Attribution

    Raises
    ------
    UsageError
        Fewer than two parts, or fewer coalitions than parts.
    DependencyError
        captum is not installed.

    References
    ----------
    Lundberg & Lee 2017, arXiv:1705.07874, theorem 2.
    """
    require_captum()
    import torch
    from captum.attr import KernelShap

    parts = item.parts("windows", window)
    if parts.n < 2:
        raise UsageError("kernel_shap needs two parts or more, and the item has one; use occlusion")
    hidden, replaced_by = item.replacement
    names = tuple(item.inputs)

    def forward(*tensors: Any) -> Any:
        arrays = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(score(len(tensors[0]), lambda start, stop: _rows(arrays, start, stop)))

    masks = tuple(
        torch.from_numpy(np.broadcast_to(parts.ids[name], item.inputs[name].shape)[None].copy())
        for name in names
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        found = KernelShap(forward).attribute(
            tuple(torch.from_numpy(item.inputs[name][None]) for name in names),
            baselines=tuple(torch.from_numpy(hidden[name][None].copy()) for name in names),
            feature_mask=masks,
            n_samples=parts.copies(samples),
            perturbations_per_eval=score.batch,
            return_input_shape=False,
        )
    base = score(1, lambda _start, _stop: {name: hidden[name][None] for name in names})
    return Attribution(parts.spread(found[0].double().numpy()), float(base[0]), replaced_by)


def _rows(arrays: Arrays, start: int, stop: int) -> Arrays:
    return {name: array[start:stop] for name, array in arrays.items()}
