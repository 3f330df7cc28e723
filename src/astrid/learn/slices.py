"""Parts of a data set by a column of its rows: bins of a number, or values of a name.

What is measured in each part is decided in `evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Part", "parts_of"]

_VALUES = 12
"""More values of a name than this, and the rare ones are put together."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some rows, and what they have in common.

    Parameters
    ----------
    name : str
    low, high : float, optional
        Edges of a bin, which holds its lower one; the last bin holds both.
    rows : (n,) int64 ndarray
    """

    name: str
    low: float | None
    high: float | None
    rows: NDArray[np.int64]


def parts_of(values: NDArray[Any], bins: int = 5) -> list[Part]:
    """Divide rows by a column.

    Parameters
    ----------
    values : (n,) ndarray
        Numbers are put into bins with as many rows each, unless there are few different ones, as
        of a CCD's number; names and yes or no are taken as they are.
    bins : int

    Returns
    -------
    parts : list of Part
        Each row is in one; those without a value come last.
    """
    if values.dtype.kind in "fiu":
        numbers = values.astype(np.float64)
        known = np.isfinite(numbers)
        distinct = np.unique(numbers[known])
        few = len(distinct) <= 1 or (len(distinct) <= _VALUES and (distinct == np.rint(distinct)).all())
        parts = _exact(numbers, distinct) if few else _binned(numbers, known, bins)
    else:
        if values.dtype.kind == "O":  # yes, no or not known
            values = np.array(["" if value is None else str(value) for value in values])
        known = values != "" if values.dtype.kind == "U" else np.ones(len(values), bool)
        parts = _named(values, known)
    if not known.all():
        parts.append(Part("not known", None, None, np.flatnonzero(~known)))
    return parts


def _exact(numbers: NDArray[np.float64], distinct: NDArray[np.float64]) -> list[Part]:
    return [Part(f"{value:g}", value, value, np.flatnonzero(numbers == value)) for value in distinct.tolist()]


def _binned(numbers: NDArray[np.float64], known: NDArray[np.bool_], bins: int) -> list[Part]:
    edges = np.unique(np.quantile(numbers[known], np.linspace(0, 1, bins + 1)))
    parts = []
    for k, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)):
        below = numbers <= high if k == len(edges) - 2 else numbers < high
        rows = np.flatnonzero(known & (numbers >= low) & below)
        parts.append(Part(f"{low:.4g} to {high:.4g}", low, high, rows))
    return parts


def _named(values: NDArray[Any], known: NDArray[np.bool_]) -> list[Part]:
    names, counts = np.unique(values[known], return_counts=True)
    often = names[np.sort(np.argsort(-counts, kind="stable")[:_VALUES])]
    parts = [Part(str(name), None, None, np.flatnonzero(values == name)) for name in often]
    rest = known & ~np.isin(values, often)
    if rest.any():
        parts.append(Part(f"{len(names) - len(often)} others", None, None, np.flatnonzero(rest)))
    return parts
