"""One queue of what to ask next: mostly what is undecided and costly, some that is new, and some by chance.

What undecided items teach depends on a model that is right on the whole; therefore a queue begins
with items that are drawn by chance or spread over the features, and always keeps some of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.interest import expected_interest
from astrid.learn.novelty import scaled
from astrid.learn.queries import (
    checked_features,
    checked_probabilities,
    checked_rows,
    core_set,
    expected_cost,
    novelty,
)

__all__ = ["Queue", "Shares", "mixed_queue"]


@dataclass(frozen=True)
class Shares:
    """What a queue is made of, in parts of the whole.

    Parameters
    ----------
    uncertain : float
        Where the model is undecided, by what a wrong decision costs.
    novel : float
        Unlike all that is labelled.
    random : float
        By chance: what the model is wrongly sure of is found in no other way.
    interest : float
        Where somebody is expected to find it interesting.

    Raises
    ------
    UsageError
        A share is below 0, or they do not sum to 1.
    """

    uncertain: float = 0.7
    novel: float = 0.1
    random: float = 0.2
    interest: float = 0.0

    def __post_init__(self) -> None:
        parts = (self.uncertain, self.novel, self.random, self.interest)
        if min(parts) < 0 or abs(sum(parts) - 1) > 1e-6:
            raise UsageError(f"the shares of a queue are {parts}; they must be 0 or more and sum to 1")


@dataclass(frozen=True, eq=False)
class Queue:
    """What to ask, in this order.

    Parameters
    ----------
    order : (n,) int64 ndarray
        Items, the first to be asked first.
    value : (n,) float64 ndarray
        What each is in the queue for: expected cost, novelty or interest; NaN for one by chance.
    slot : list of str
        Which share each is of: uncertain, novel, random, interest, or diverse at the start.
    """

    order: NDArray[np.int64]
    value: NDArray[np.float64]
    slot: list[str]


def mixed_queue(
    *,
    probabilities: NDArray[Any] | None,
    features: NDArray[Any] | None,
    labelled: NDArray[np.integer],
    n: int,
    seed: int = 0,
    cost: NDArray[Any] | None = None,
    shares: Shares | None = None,
    start: int = 100,
    ratings: NDArray[Any] | None = None,
) -> Queue:
    """Choose the next items to ask about.

    Parameters
    ----------
    probabilities : (items, k) ndarray or None
        Of the model; without, nothing is undecided.
    features : (items, d) ndarray or None
        Without, nothing is novel or far from the rest.
    labelled : (m,) int ndarray
        Items that are answered; they are not asked again.
    n : int
        How many to choose; fewer if fewer are left.
    seed : int
    cost : (k,) ndarray, optional
        See `expected_cost`.
    shares : Shares, optional
        Those without probabilities, features or ratings go to the random ones.
    start : int
        Until so many items are labelled, only items by chance and diverse ones are asked, in turn.
    ratings : (m,) ndarray, optional
        How interesting each labelled item was, for the share of interest.

    Returns
    -------
    Queue

    Raises
    ------
    DatasetError
        Neither probabilities nor features, or they are of different items, or not finite.
    UsageError
        Costs that do not fit.
    """
    p = None if probabilities is None else checked_probabilities(probabilities)
    values = None if features is None else _scaled(features)
    n_items = _common_length(p, values)
    have = checked_rows(labelled, n_items)
    wanted = max(min(int(n), n_items - len(have)), 0)
    early = min(max(start - len(have), 0), wanted)
    parts = shares or Shares()
    rng = np.random.default_rng(seed)
    lists: dict[str, _Ranked] = {"random": (rng.permutation(n_items), np.full(n_items, np.nan))}
    if values is not None and early:
        spread = core_set(values, have, early, seed)
        lists["diverse"] = spread, np.full(len(spread), np.nan)
    if p is not None and wanted > early:
        lists["uncertain"] = _apart(expected_cost(p, cost), values, have, wanted)
    if values is not None and wanted > early and parts.novel > 0:
        lists["novel"] = _ranked(novelty(values, have if len(have) > 1 else None, seed=seed))
    if values is not None and ratings is not None and parts.interest > 0:
        lists["interest"] = _ranked(expected_interest(values, labelled, ratings, seed=seed))
    taken = np.zeros(n_items, bool)
    taken[have] = True
    chosen = _interleaved(lists, _START, taken, early)
    chosen += _interleaved(lists, vars(parts), taken, wanted - early)
    return Queue(
        np.array([item for item, _, _ in chosen], np.int64),
        np.array([value for _, value, _ in chosen], np.float64),
        [slot for _, _, slot in chosen],
    )


_Ranked = tuple[NDArray[np.int64], NDArray[np.float64]]
_START = {"diverse": 0.5, "random": 0.5}
_CANDIDATES = 10


def _scaled(features: NDArray[Any]) -> NDArray[np.float64]:
    values = checked_features(features)
    return scaled(values, values)[0]


def _common_length(*blocks: NDArray[np.float64] | None) -> int:
    lengths = [len(one) for one in blocks if one is not None]
    if not lengths:
        raise DatasetError("neither probabilities nor features are given; a queue needs one of them")
    if min(lengths) != max(lengths):
        raise DatasetError(
            f"there are probabilities of {lengths[0]} items and features of {lengths[1]}; give the same"
        )
    return lengths[0]


def _ranked(value: NDArray[np.float64]) -> _Ranked:
    order = np.argsort(-value, kind="stable")
    return order, value[order]


def _apart(
    value: NDArray[np.float64], features: NDArray[np.float64] | None, have: NDArray[np.int64], n: int
) -> _Ranked:
    """The most valuable items, each weighed down by those that were chosen near it."""
    if features is None:
        return _ranked(value)
    order = np.argsort(-value, kind="stable")
    order = order[~np.isin(order, have)][: _CANDIDATES * n]
    left, rest = value[order].copy(), features[order]
    width = _reach(rest)
    chosen = np.empty(min(n, len(order)), np.int64)
    for place in range(len(chosen)):
        best = int(left.argmax())
        chosen[place] = best
        square = ((rest - rest[best]) ** 2).sum(axis=1)
        left *= 1 - np.exp(-0.5 * square / width**2)
        left[best] = -1
    return order[chosen], value[order[chosen]]


def _reach(features: NDArray[np.float64]) -> float:
    """How far from each other neighbours are: within this they teach the same."""
    from sklearn.neighbors import NearestNeighbors

    few = features[:2000]
    if len(few) < 2:
        return 1.0
    distance = NearestNeighbors(n_neighbors=2).fit(few).kneighbors(few)[0][:, 1]
    return float(np.median(distance)) or 1.0


def _interleaved(
    lists: dict[str, _Ranked], shares: dict[str, float], taken: NDArray[np.bool_], n: int
) -> list[tuple[int, float, str]]:
    """Take from each list by its share, so that each beginning of the queue has the shares of the whole."""
    weight = {slot: share for slot, share in shares.items() if slot in lists and share > 0}
    weight["random"] = weight.get("random", 0.0) + 1 - sum(weight.values())
    rests = {slot: iter(zip(*lists[slot], strict=True)) for slot in weight}
    owed = dict.fromkeys(weight, 0.0)
    chosen: list[tuple[int, float, str]] = []
    while len(chosen) < n:
        for slot, share in weight.items():
            owed[slot] += share
        while True:
            slot = max(owed, key=lambda one: owed[one])
            found = next(((int(item), float(value)) for item, value in rests[slot] if not taken[item]), None)
            if found is not None:
                break
            owed[slot] = -np.inf  # that list is at its end: the others have its place
        taken[found[0]] = True
        owed[slot] -= 1
        chosen.append((*found, slot))
    return chosen
