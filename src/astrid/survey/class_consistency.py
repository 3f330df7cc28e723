"""Making probabilities of classes agree with the tree that the classes form.

Independent classifiers do not know that an RR Lyrae star is a pulsator. A class is never more probable
than the one that it lies in; how often that is violated is measured here, and repaired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError

__all__ = ["Violations", "consistent", "violations"]

_NOTABLE = 0.01  # below, a violation changes no decision that anybody takes


@dataclass(frozen=True)
class Violations:
    """How often a class is more probable than the one that it lies in, and by how much.

    Parameters
    ----------
    n : int
        Sources.
    sources : float
        Share of them with an excess above 0.01.
    mean, largest : float
        Of the excess, over all pairs of all sources.
    pairs : dict of str to float
        Share of the sources that violate each pair by more than 0.01, ``"child < parent"``.
    """

    n: int
    sources: float
    mean: float
    largest: float
    pairs: dict[str, float]


def violations(
    probabilities: NDArray[np.floating], codes: Sequence[str], parents: Mapping[str, str | None]
) -> Violations:
    """Measure the violations.

    Parameters
    ----------
    probabilities : (n, k) ndarray
    codes : sequence of str
        Of the columns.
    parents : mapping of str to str or None
        Of each code the one that it lies in, or None.

    Raises
    ------
    UsageError
        The tree does not fit the columns.
    """
    above = _above(codes, parents)
    values = np.asarray(probabilities, np.float64)
    edges = [(child, parent) for child, parent in enumerate(above) if parent >= 0]
    if not len(values) or not edges:
        return Violations(len(values), 0.0, 0.0, 0.0, {})
    excess = np.stack([values[:, child] - values[:, parent] for child, parent in edges], axis=1)
    excess = np.maximum(excess, 0.0)
    notable = excess > _NOTABLE
    pairs = {
        f"{codes[child]} < {codes[parent]}": float(notable[:, k].mean())
        for k, (child, parent) in enumerate(edges)
    }
    sources = float(notable.any(axis=1).mean())
    return Violations(len(values), sources, float(excess.mean()), float(excess.max()), pairs)


def consistent(
    probabilities: NDArray[np.floating], codes: Sequence[str], parents: Mapping[str, str | None]
) -> NDArray[np.float64]:
    """The consistent probabilities that are nearest to the given ones, by the sum of squares.

    A child that exceeds its parent and the parent meet in the middle, so that evidence for a class also
    is evidence for what it lies in. Blocks of classes are pooled from the leaves upwards; where several
    children exceed their parent, the largest is pooled first.

    Parameters
    ----------
    probabilities, codes, parents
        As for `violations`.

    Returns
    -------
    repaired : (n, k) float64 ndarray

    References
    ----------
    Pardalos and Xue 1999, Algorithmica 23, 211.
    """
    above = _above(codes, parents)
    values = np.array(probabilities, np.float64)
    children = [[child for child, parent in enumerate(above) if parent == k] for k in range(len(above))]
    wrong = np.zeros(len(values), bool)
    for child, parent in enumerate(above):
        if parent >= 0:
            wrong |= values[:, child] > values[:, parent]
    order = _downward(above)[::-1]
    for row in np.flatnonzero(wrong):
        values[row] = _pooled(values[row].tolist(), order, children)
    return values


def _pooled(values: list[float], order: Sequence[int], children: Sequence[Sequence[int]]) -> list[float]:
    """One source: blocks by their highest class, each with its sum, its members and the blocks below."""
    total, members = list(values), [[k] for k in range(len(values))]
    below = [list(some) for some in children]
    for top in order:  # the leaves first
        while below[top]:
            worst = max(below[top], key=lambda k: total[k] / len(members[k]))
            if total[worst] / len(members[worst]) <= total[top] / len(members[top]):
                break
            total[top] += total[worst]
            members[top] += members[worst]
            below[top].remove(worst)
            below[top] += below[worst]
            members[worst] = []
    found = list(values)
    for top, block in enumerate(members):
        for k in block:
            found[k] = total[top] / len(block)
    return found


def _above(codes: Sequence[str], parents: Mapping[str, str | None]) -> list[int]:
    """Column of each column's parent, -1 for none."""
    place = {code: k for k, code in enumerate(codes)}
    try:
        return [-1 if (parent := parents[code]) is None else place[parent] for code in codes]
    except KeyError as error:
        raise UsageError(
            f"the tree has no {error} among {', '.join(codes)}; give the tree of these"
        ) from error


def _downward(above: Sequence[int]) -> list[int]:
    """Columns in such an order that each parent comes before its children."""
    depth = []
    for k in range(len(above)):
        steps, at = 0, k
        while above[at] >= 0:
            at, steps = above[at], steps + 1
        depth.append(steps)
    return sorted(range(len(above)), key=depth.__getitem__)
