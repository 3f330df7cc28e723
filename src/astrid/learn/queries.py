"""What to ask a person next: how much an answer about each item is expected to teach.

Each strategy by itself, as plain numbers; how they share one queue is in `mixing`, and what a person
would like to see is in `interest`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.novelty import Method, novelty_scores

__all__ = [
    "NoveltyKind", "bald", "checked_features", "checked_probabilities", "checked_rows", "core_set", "entropy",
    "expected_cost", "margin", "nearest_distance", "novelty", "random_order",
]  # fmt: skip

NoveltyKind = Literal["knn", "isolation_forest", "lof"]
_METHODS: dict[str, Method] = {"knn": "neighbours", "isolation_forest": "isolation", "lof": "density"}


def entropy(p: NDArray[Any]) -> NDArray[np.float64]:
    """How undecided the probabilities are.

    Parameters
    ----------
    p : (n, k) ndarray
        A row an item, which sums to 1.

    Returns
    -------
    value : (n,) float64 ndarray, nats
        Larger for what is to be asked sooner, as everywhere here.

    Raises
    ------
    DatasetError
        Fewer than two columns, a number that is no probability, or a row that does not sum to 1.

    References
    ----------
    Settles 2009, TR 1648 of Wisconsin, section 3.1.
    """
    return _entropy(checked_probabilities(p))


def margin(p: NDArray[Any]) -> NDArray[np.float64]:
    """How near the second most probable class comes to the first: 1 for a tie, 0 for certainty.

    Parameters and errors are those of `entropy`.

    References
    ----------
    Scheffer, Decomain & Wrobel 2001, IDA 2001, 309.
    """
    two = np.partition(checked_probabilities(p), -2, axis=1)[:, -2:]
    return 1 - (two[:, 1] - two[:, 0])


def expected_cost(p: NDArray[Any], cost: NDArray[Any] | None = None) -> NDArray[np.float64]:
    """What the best decision of now is expected to cost: how undecided an item is, times what is at stake.

    Parameters
    ----------
    p : (n, k) ndarray
        As for `entropy`.
    cost : (k,) ndarray, optional
        Of missing an item of each class, whatever it is taken for; 1 each if not given.

    Returns
    -------
    value : (n,) float64 ndarray

    Raises
    ------
    DatasetError
        As for `entropy`.
    UsageError
        Not one positive cost for each class.
    """
    values = checked_probabilities(p)
    stake = np.ones(values.shape[1]) if cost is None else np.asarray(cost, np.float64)
    if stake.shape != values.shape[1:] or not (np.isfinite(stake).all() and (stake > 0).all()):
        raise UsageError(
            f"the costs are {stake.tolist()}; give one above 0 for each of {values.shape[1]} classes"
        )
    # taking it for class j costs what the other classes have at stake: least for the largest p * cost
    at_stake = values * stake
    return at_stake.sum(axis=1) - at_stake.max(axis=1)


def bald(members: NDArray[Any]) -> NDArray[np.float64]:
    """How much the members of an ensemble contradict each other, beyond how undecided each one is.

    Parameters
    ----------
    members : (m, n, k) ndarray
        The probabilities of each member, or of each pass with dropout.

    Returns
    -------
    value : (n,) float64 ndarray, nats
        What an answer is expected to tell of which member is right.

    Raises
    ------
    DatasetError
        Fewer than two members, or probabilities that `entropy` refuses.

    References
    ----------
    Houlsby et al. 2011, arXiv:1112.5745, eq. 2.
    """
    values = np.asarray(members, np.float64)
    if values.ndim != 3 or len(values) < 2:
        raise DatasetError(
            f"the answers of the members have shape {values.shape}, expected (members, items, classes) "
            "of two members at least"
        )
    m, n, k = values.shape
    each = checked_probabilities(values.reshape(m * n, k))
    mean = each.reshape(m, n, k).mean(axis=0)
    return np.maximum(_entropy(mean) - _entropy(each).reshape(m, n).mean(axis=0), 0)


def core_set(features: NDArray[Any], chosen: NDArray[np.integer], n: int, seed: int = 0) -> NDArray[np.int64]:
    """Items from which none is far: each next one is the farthest from all that are chosen.

    Parameters
    ----------
    features : (items, d) ndarray
        As they are: bring them to like widths first.
    chosen : (c,) int ndarray
        Items that are labelled; if none is, the first is drawn by chance.
    n : int
        How many to choose; at most as many as are left.
    seed : int

    Returns
    -------
    order : (n,) int64 ndarray
        Items, the first first.

    Raises
    ------
    DatasetError
        A feature is not finite, or there is no such item.

    References
    ----------
    Sener & Savarese 2018, arXiv:1708.00489, algorithm 1; Gonzalez 1985, Theor. Comput. Sci. 38, 293.
    """
    values = checked_features(features)
    have = checked_rows(chosen, len(values))
    wanted = min(int(n), len(values) - len(have))
    order = np.empty(max(wanted, 0), np.int64)
    if wanted <= 0:
        return order
    nearest = nearest_distance(values, have) if len(have) else np.full(len(values), np.inf)
    nearest[have] = -1
    for place in range(wanted):
        if place == 0 and not len(have):
            item = int(np.random.default_rng(seed).integers(len(values)))
        else:
            item = int(nearest.argmax())
        order[place] = item
        nearest = np.minimum(nearest, np.linalg.norm(values - values[item], axis=1))
        nearest[item] = -1
    return order


def nearest_distance(values: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Distance of each row to the nearest of some rows, (n,)."""
    from sklearn.neighbors import NearestNeighbors

    return np.asarray(NearestNeighbors(n_neighbors=1).fit(values[rows]).kneighbors(values)[0][:, 0])


def novelty(
    features: NDArray[Any],
    seen: NDArray[np.integer] | None = None,
    kind: NoveltyKind = "knn",
    seed: int = 0,
) -> NDArray[np.float64]:
    """How unlike what was seen each item is.

    Parameters
    ----------
    features : (n, d) ndarray
    seen : (s,) int ndarray, optional
        Items that are known; if not given, each item is judged beside all the others.
    kind : {"knn", "isolation_forest", "lof"}
        Distance to the nearest ones; how few random cuts single an item out; or how much
        thinner it is around the item than around its neighbours.
    seed : int

    Returns
    -------
    value : (n,) float64 ndarray

    Raises
    ------
    DatasetError
        Fewer than two items are seen, a feature is not finite, or there is no such item.

    References
    ----------
    As of `novelty_scores`; Breunig et al. 2000, SIGMOD '00, 93 (LOF).
    """
    values = checked_features(features)
    if kind not in _METHODS:
        raise UsageError(f"there is no novelty {kind!r}; choose {', '.join(_METHODS)}")
    if seen is None:
        return novelty_scores(values, None, _METHODS[kind], seed=seed)
    return novelty_scores(values[checked_rows(seen, len(values))], values, _METHODS[kind], seed=seed)


def random_order(n: int, seed: int = 0) -> NDArray[np.int64]:
    """The numbers from 0 to n - 1 in an order by chance, (n,) int64."""
    return np.random.default_rng(seed).permutation(n).astype(np.int64)


def checked_probabilities(p: NDArray[Any]) -> NDArray[np.float64]:
    """The same as float64, or one sentence why they are no probabilities."""
    values = np.asarray(p, np.float64)
    if values.ndim != 2 or values.shape[1] < 2:
        raise DatasetError(
            f"the probabilities have shape {values.shape}, expected one row an item and a column "
            "for each of two classes or more"
        )
    sums = values.sum(axis=1)
    # sums of float32 stray by 1e-6; a NaN fails each comparison
    right = (values >= 0).all(axis=1) & (np.abs(sums - 1) < 1e-3)
    if not right.all():
        row = int(np.argmin(right))
        raise DatasetError(
            f"the probabilities of item {row} are {values[row].tolist()}; they must be 0 or more and sum to 1"
        )
    return values / sums[:, None]


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.special import entr

    return np.asarray(entr(p).sum(axis=1), np.float64)


def checked_features(features: NDArray[Any]) -> NDArray[np.float64]:
    """The same as float64, or one sentence why they cannot be used."""
    values = np.asarray(features, np.float64)
    if values.ndim != 2:
        raise DatasetError(f"the features have shape {values.shape}, expected one row an item")
    if not np.isfinite(values).all():
        row = int(np.argmin(np.isfinite(values).all(axis=1)))
        raise DatasetError(f"a feature of item {row} is not finite; fill it or leave the item out")
    return values


def checked_rows(rows: NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Numbers of items, each once and in order, or one sentence that there is no such item."""
    index = np.unique(np.asarray(rows, np.int64))
    if len(index) and not 0 <= index[0] <= index[-1] < n:
        wrong = index[0] if index[0] < 0 else index[-1]
        raise DatasetError(f"item {wrong} is meant, but there are {n} items")
    return index
