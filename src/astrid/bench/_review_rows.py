"""What curves of learning come to: labels that a strategy needs, beside random order and a peer.

The curves of one set have the same labels at the start of each seed, so differences are taken by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from astrid.bench._review_curves import Curve
from astrid.bench.frame import Row

__all__ = ["curve_rows", "labels_needed"]

_SHARES = (0.95, 0.99)  # of the final AUCPR; the goal is for the first
_DRAWS = 1000
_EARLY = 100
_PEER = "modAL"


def labels_needed(labels: NDArray[np.int64], reached: NDArray[np.float64], share: float) -> float | None:
    """Where a curve first reaches a share of its final value, between its points by a line.

    Parameters
    ----------
    labels : (m,) int64 ndarray
    reached : (m,) float64 ndarray
        In units of the final value.
    share : float

    Returns
    -------
    labels : float or None
        None where it does not.
    """
    there = np.flatnonzero(reached >= share)
    if not len(there):
        return None
    first = int(there[0])
    if first == 0:
        return float(labels[0])
    return float(np.interp(share, reached[first - 1 : first + 1], labels[first - 1 : first + 1]))


def curve_rows(name: str, curves: Mapping[str, Sequence[Curve]], peer_version: str | None) -> list[Row]:
    """All rows of one set.

    Parameters
    ----------
    name : str
        Of the set.
    curves : mapping of str to sequence of Curve
        Of each strategy, by seed.
    peer_version : str or None
    """
    labels = curves["random"][0].labels
    relative = {one: np.array([c.aucpr / c.final for c in found]) for one, found in curves.items()}
    n = len(curves["random"])
    rows = [
        Row(
            f"{name}: AUCPR with all labels",
            float(np.mean([c.final for c in curves["random"]])),
            "",
            "real",
            n,
        )
    ]
    for share in _SHARES:
        needed = {one: labels_needed(labels, found.mean(axis=0), share) for one, found in relative.items()}
        for one in relative:
            row = Row(f"{name}: labels to {share:.0%} of it, {one}", needed[one], "", "real", n)
            if one == "random":
                rows.append(row)
            elif one == "mixed" and peer_version is not None:
                rows.append(row.beside(f"modAL {peer_version} uncertainty sampling", needed.get(_PEER)))
            elif one != _PEER:
                rows.append(row.beside("random", needed["random"]))
    rows += _ratio_rows(f"{name}: labels to {_SHARES[0]:.0%} of it, mixed over random", labels, relative)
    return rows + _early_rows(name, labels, relative)


def _ratio_rows(
    name: str, labels: NDArray[np.int64], relative: Mapping[str, NDArray[np.float64]]
) -> list[Row]:
    """The ratio of the mean curves, and its 95 % interval from drawing seeds again."""
    n = len(relative["random"])

    def ratio(rows: NDArray[np.int64]) -> float | None:
        ours, theirs = (
            labels_needed(labels, relative[one][rows].mean(axis=0), _SHARES[0]) for one in ("mixed", "random")
        )
        if ours is None:
            return None if theirs is None else np.inf
        # random did not come so far: at most what it was given
        return ours / (theirs if theirs is not None else float(labels[-1]))

    rng = np.random.default_rng(0)
    drawn = [ratio(rng.integers(n, size=n)) for _ in range(_DRAWS)]
    found = [one for one in drawn if one is not None]
    low, high = np.quantile(found, [0.025, 0.975], method="nearest") if found else (np.nan, np.nan)
    return [
        Row(name, ratio(np.arange(n)), "", "real", n, "<= 0.7"),
        Row(f"{name}, 95 % from", float(low), "", "real", n),
        Row(f"{name}, 95 % to", float(high), "", "real", n),
    ]


def _early_rows(
    name: str, labels: NDArray[np.int64], relative: Mapping[str, NDArray[np.float64]]
) -> list[Row]:
    """How the first hundred labels compare with as many by chance, in shares of the final AUCPR."""
    early = (labels > labels[0]) & (labels <= _EARLY)
    n = len(relative["random"])
    rows = []
    for one in ("mixed", "entropy"):
        apart = relative[one][:, early] - relative["random"][:, early]
        mean, worst = apart.mean(axis=0), int(apart.mean(axis=0).argmin())
        error = apart.std(axis=0, ddof=1) / np.sqrt(n) if n > 1 else np.zeros(apart.shape[1])
        goal = ">= 0" if one == "mixed" else None
        what = f"{name}: {one} less random in the first {_EARLY} labels"
        rows.append(Row(f"{what}, mean", float(mean.mean()), "", "real", n, goal))
        rows.append(Row(f"{what}, worst", float(mean[worst]), "", "real", n, goal))
        rows.append(Row(f"{what}, error of the worst", float(error[worst]), "", "real", n))
    return rows
