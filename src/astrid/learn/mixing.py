"""One queue of what to ask next: typical items first, then undecided and costly ones, always some by chance.

What an undecided item teaches depends on a model that is right on the whole, which it is not with few
labels; a queue therefore begins with items that stand for many others. The single values are those
of `queries` and `interest`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.interest import expected_interest
from astrid.learn.queries import (
    checked_features,
    checked_probabilities,
    checked_rows,
    expected_cost,
    novelty,
)

__all__ = ["Queue", "Shares", "levelled", "mixed_queue"]

_AT_THE_START = {"diverse": 0.9, "random": 0.1}
_BLOCK = 50  # undecided items that are chosen apart from each other at once
_CANDIDATES = 10  # times as many are looked at
_MOST_CLUSTERED = 20_000
_COMPONENTS = 10

_Ranked = Iterator[tuple[int, float]]


@dataclass(frozen=True)
class Shares:
    """What a queue is made of once it has begun, in parts of the whole.

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

    uncertain: float = 0.85
    novel: float = 0.05
    random: float = 0.1
    interest: float = 0.0

    def __post_init__(self) -> None:
        parts = (self.uncertain, self.novel, self.random, self.interest)
        if not (min(parts) >= 0 and abs(sum(parts) - 1) < 1e-6):
            raise UsageError(f"the shares of a queue are {parts}; they must be 0 or more and sum to 1")


@dataclass(frozen=True, eq=False)
class Queue:
    """What to ask, in this order.

    Parameters
    ----------
    order : (n,) int64 ndarray
        Items, the first to be asked first.
    value : (n,) float64 ndarray
        What each is in the queue for: expected cost, novelty, interest, or how many items it stands
        for; NaN for one by chance.
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

    Until `start` items are labelled, nine of ten are diverse: all items are put into `start` clusters, and
    of each cluster without a label the item in its middle is asked, in an order by chance. Afterwards
    the undecided items are asked in blocks: of the ten times as many with the largest expected cost,
    those in the middles of as many clusters, so that no two of a block teach the same. Each beginning
    of the queue has the shares of the whole.

    Parameters
    ----------
    probabilities : (items, k) ndarray or None
        Of the model; without, nothing is undecided.
    features : (items, d) ndarray or None
        Without, nothing is novel or diverse, and undecided items may be alike.
    labelled : (m,) int ndarray
        Items that are answered, the latest last; they are not asked again.
    n : int
        How many to choose; fewer if fewer are left.
    seed : int
    cost : (k,) ndarray, optional
        See `expected_cost`.
    shares : Shares, optional
        Those without probabilities, features or ratings go to the random ones.
    start : int
        How many labels there must be before the model is asked.
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

    References
    ----------
    Hacohen, Dekel & Weinshall 2022, arXiv:2202.02794 (typical items first); Zhdanov 2019,
    arXiv:1901.05954 (clusters of undecided items).
    """
    p = None if probabilities is None else checked_probabilities(probabilities)
    given = None if features is None else checked_features(features)
    n_items = _common_length(p, given)
    values = None if given is None else levelled(given, seed)
    have = checked_rows(labelled, n_items)
    wanted = max(min(int(n), n_items - len(have)), 0)
    early = min(max(start - len(have), 0), wanted)
    taken = np.zeros(n_items, bool)
    taken[have] = True
    rng = np.random.default_rng(seed)
    by_chance = iter([(int(item), np.nan) for item in rng.permutation(n_items)])
    lists: dict[str, _Ranked] = {"random": by_chance}
    chosen: list[tuple[int, float, str]] = []
    if early:
        if values is not None:
            lists["diverse"] = _typical(values, have, max(start, len(have) + early), rng)
        chosen += _interleaved(lists, _AT_THE_START, taken, early)
    if wanted > early:
        parts = vars(shares or Shares())
        if p is not None and parts["uncertain"] > 0:
            lists["uncertain"] = _apart(expected_cost(p, cost), values, taken, rng)
        if given is not None and values is not None:
            if parts["novel"] > 0:
                lists["novel"] = _ranked(novelty(given, have if len(have) > 1 else None, seed=seed))
            if parts["interest"] > 0 and ratings is not None:
                rows = np.asarray(labelled, np.int64)
                lists["interest"] = _ranked(expected_interest(values, rows, ratings, seed=seed))
        chosen += _interleaved(lists, parts, taken, wanted - early)
    return Queue(
        np.array([item for item, _, _ in chosen], np.int64),
        np.array([value for _, value, _ in chosen], np.float64),
        [slot for _, _, slot in chosen],
    )


def levelled(features: NDArray[Any], seed: int = 0) -> NDArray[np.float64] | None:
    """Features in which distances mean something, whatever their units and tails.

    Each is taken from its median in units of its quartiles, and the arcsinh of that brings in the tails
    without making them alike: what is rare often lies there. Of more than ten, the first ten principal
    components remain.

    Parameters
    ----------
    features : (n, d) ndarray
    seed : int
        Of the search for the components.

    Returns
    -------
    values : (n, 10 or fewer) float64 ndarray or None
        None where no feature varies.
    """
    from sklearn.decomposition import PCA

    varying = features[:, np.ptp(features, axis=0) > 0] if len(features) else features[:, :0]
    if not varying.size:
        return None
    low, middle, high = np.quantile(varying, (0.25, 0.5, 0.75), axis=0)
    # the quartiles of a normal distribution are 1.349 apart; one that is mostly the same number has none
    width = np.where(high > low, (high - low) / 1.349, varying.std(axis=0))
    values = np.arcsinh((varying - middle) / width)
    values /= values.std(axis=0)
    if values.shape[1] > _COMPONENTS:
        parts = min(_COMPONENTS, len(values))
        values = PCA(parts, svd_solver="randomized", random_state=seed).fit_transform(values)
    return np.asarray(values, np.float64)


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
    return iter(list(zip(order.tolist(), value[order].tolist(), strict=True)))


def _typical(
    values: NDArray[np.float64], have: NDArray[np.int64], n_clusters: int, rng: np.random.Generator
) -> _Ranked:
    """Items in the middles of clusters in which nothing is labelled, in an order by chance.

    With the largest clusters first, what is rare would come last.
    """
    rows = np.arange(len(values))
    if len(rows) > _MOST_CLUSTERED:
        rest = np.setdiff1d(rows, have)
        rows = np.union1d(have, rng.permutation(rest)[: max(_MOST_CLUSTERED - len(have), 0)])
    found = list(_middles(rows, values[rows], np.ones(len(rows)), n_clusters, np.isin(rows, have), rng))
    yield from (found[place] for place in rng.permutation(len(found)))


def _apart(
    value: NDArray[np.float64],
    values: NDArray[np.float64] | None,
    taken: NDArray[np.bool_],
    rng: np.random.Generator,
) -> _Ranked:
    """The most valuable items, block by block; within a block none is like another."""
    if values is None:
        yield from _ranked(value)
        return
    order = np.argsort(-value, kind="stable")
    done = taken.copy()
    while True:
        left = order[~(taken | done)[order]][: _CANDIDATES * _BLOCK]
        if not len(left):
            return
        # where nothing is at stake any more, all are worth the same
        weight = value[left] if value[left].max() > 0 else np.ones(len(left))
        for item, _ in _middles(left, values[left], weight, _BLOCK, np.zeros(len(left), bool), rng):
            done[item] = True
            yield item, float(value[item])


def _middles(
    rows: NDArray[np.int64],
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    n_clusters: int,
    known: NDArray[np.bool_],
    rng: np.random.Generator,
) -> _Ranked:
    """The item nearest to the middle of each cluster without a known one, the heaviest cluster first."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    k = min(n_clusters, len(rows))
    clusters = KMeans(k, n_init=1, max_iter=30, random_state=int(rng.integers(2**31)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # equal items: fewer clusters, which is right
        label = clusters.fit(values, sample_weight=weight).labels_
    away = np.linalg.norm(values - clusters.cluster_centers_[label], axis=1)
    mass = np.bincount(label, weights=weight, minlength=k)
    mass[label[known]] = 0
    for cluster in np.argsort(-mass, kind="stable"):
        if mass[cluster] > 0:
            own = np.flatnonzero(label == cluster)
            yield int(rows[own[away[own].argmin()]]), float(mass[cluster])


def _interleaved(
    lists: dict[str, _Ranked], shares: dict[str, float], taken: NDArray[np.bool_], n: int
) -> list[tuple[int, float, str]]:
    """Take from each list by its share, so that each beginning of the queue has the shares of the whole."""
    weight = {slot: share for slot, share in shares.items() if slot in lists and share > 0}
    weight["random"] = weight.get("random", 0.0) + 1 - sum(weight.values())
    owed = dict.fromkeys(weight, 0.0)
    chosen: list[tuple[int, float, str]] = []
    while len(chosen) < n:
        for slot, share in weight.items():
            owed[slot] += share
        found = None
        while found is None:
            slot = max(owed, key=lambda one: owed[one])
            found = next(((item, value) for item, value in lists[slot] if not taken[item]), None)
            if found is None:
                owed[slot] = -np.inf  # that list is at its end: the others have its place
        taken[found[0]] = True
        owed[slot] -= 1
        chosen.append((*found, slot))
    return chosen
