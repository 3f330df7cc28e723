"""How unlike anything known an item is, from features or from what a network makes of it.

Scores only order items; whether an item is in the range of the training data at all is told by
`applicability`, and whether any label fits by the sets of `conformal`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.learn.dataset import Dataset
from astrid.learn.task import Task

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Method", "embeddings", "novelty_scores", "scaled"]

Method = Literal["neighbours", "mahalanobis", "isolation", "density"]

_MOST_KNOWN = 20_000
"""Distances to more known items than this cost much and change little; so many are drawn."""


def novelty_scores(
    known: NDArray[np.floating],
    items: NDArray[np.floating] | None,
    method: Method = "neighbours",
    *,
    neighbours: int = 10,
    seed: int = 0,
) -> NDArray[np.float64]:
    """How far items lie from the known ones; larger is more novel.

    Parameters
    ----------
    known : (n, d) ndarray
        Features of items that were trained on; each is brought to variance 1, and those that do not
        vary are left out.
    items : (m, d) ndarray or None
        None for the known ones, each of which is then judged beside the others.
    method : {"neighbours", "mahalanobis", "isolation", "density"}
        Mean distance to the nearest known items; distance from their mean in units of their
        covariance, which is shrunk as Ledoit & Wolf do; how few random cuts single an item out; or
        how much thinner it is there than around its neighbours (the local outlier factor).
    neighbours : int
        For the first and the last; at most as many as there are.
    seed : int
        Of the drawing of known items and of the random cuts.

    Returns
    -------
    scores : (m,) float64 ndarray

    Raises
    ------
    DatasetError
        Fewer than two known items, another number of features, a number that is not finite, or no
        feature that varies.

    References
    ----------
    Sun et al. 2022, arXiv:2204.06507 (neighbours); Lee et al. 2018, arXiv:1807.03888 (Mahalanobis);
    Liu, Ting & Zhou 2008, ICDM '08, 413 (isolation); Breunig et al. 2000, SIGMOD '00, 93 (density).
    """
    among = items is None
    known, items = scaled(known, known if items is None else items)
    drawn = np.arange(len(known))
    if len(known) > _MOST_KNOWN:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(known))[:_MOST_KNOWN])
        known = known[drawn]
    match method:
        case "neighbours":
            return _mean_distance(known, items, drawn if among else None, neighbours)
        case "density":
            from sklearn.neighbors import LocalOutlierFactor

            factor = LocalOutlierFactor(n_neighbors=min(neighbours, len(known) - 1), novelty=True).fit(known)
            found = -np.asarray(factor.score_samples(items), np.float64)
            if among:  # fitted to them, each was judged without itself
                found[drawn] = -factor.negative_outlier_factor_
            return found
        case "mahalanobis":
            from sklearn.covariance import LedoitWolf

            return np.sqrt(np.asarray(LedoitWolf().fit(known).mahalanobis(items), np.float64))
        case "isolation":
            from sklearn.ensemble import IsolationForest

            forest = IsolationForest(n_estimators=200, random_state=seed).fit(known)
            return -np.asarray(forest.score_samples(items), np.float64)


def embeddings(
    network: nn.Module,
    task: Task,
    dataset: Dataset,
    rows: NDArray[np.integer],
    *,
    batch_size: int = 256,
    on_progress: Callable[[int, int], None] | None = None,
) -> NDArray[np.float32]:
    """Features of the network's last layer but one, for some rows of a data set.

    Parameters
    ----------
    network : `torch.nn.Module`
        With a method ``embed``, as all of ours have; it is run where its parameters are.
    task : Task
    dataset : Dataset
    rows : (n,) int ndarray
    batch_size : int
    on_progress : callable, optional
        Told how many items are done, and of how many.

    Returns
    -------
    features : (n, d) float32 ndarray
    """
    import torch

    device = next((one.device for one in network.parameters()), torch.device("cpu"))
    was_training = network.training
    network.eval()
    order = np.asarray(rows, np.int64)
    found = []
    try:
        with torch.inference_mode():
            for start in range(0, len(order), batch_size):
                index = order[start : start + batch_size]
                arrays = {
                    name: torch.from_numpy(dataset.take(name, index)).to(device) for name in task.inputs
                }
                found.append(network.embed(**arrays).float().cpu().numpy())
                if on_progress:
                    on_progress(start + len(index), len(order))
    finally:
        network.train(was_training)
    return np.concatenate(found)


def _mean_distance(
    known: NDArray[np.float64],
    items: NDArray[np.float64],
    drawn: NDArray[np.int64] | None,
    neighbours: int,
) -> NDArray[np.float64]:
    """Mean distance to the nearest known ones; `drawn` tells which items these are, if they are."""
    from sklearn.neighbors import NearestNeighbors

    own = drawn is not None
    k = min(neighbours, len(known) - own)
    distance, place = NearestNeighbors(n_neighbors=k + own).fit(known).kneighbors(items)
    if drawn is not None:
        self = drawn[place] == np.arange(len(items))[:, None]
        self[~self.any(axis=1), -1] = True  # not among the drawn: the farthest is one too many
        distance = distance[~self].reshape(len(items), k)
    return np.asarray(distance.mean(axis=1), np.float64)


def scaled(
    known: NDArray[np.floating], items: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both brought to mean 0 and variance 1 of the known ones, without features that do not vary there."""
    known, items = np.asarray(known, np.float64), np.asarray(items, np.float64)
    if known.ndim != 2 or items.ndim != 2 or known.shape[1] != items.shape[1]:
        raise DatasetError(
            f"the known features have shape {known.shape} and those of the items {items.shape}; give one "
            "row an item, of the same features"
        )
    if len(known) < 2:
        raise DatasetError(f"{len(known)} items are known; nothing is novel beside fewer than two")
    for name, block in (("known", known), ("given", items)):
        if not np.isfinite(block).all():
            row = int(np.argmin(np.isfinite(block).all(axis=1)))
            raise DatasetError(f"a feature of {name} item {row} is not finite; fill it or leave the item out")
    width = known.std(axis=0)
    varies = width > 1e-12 * np.maximum(np.abs(known).max(axis=0), 1e-300)
    if not varies.any():
        raise DatasetError("no feature of the known items varies; there is nothing to be unlike")
    middle = known[:, varies].mean(axis=0)
    return (known[:, varies] - middle) / width[varies], (items[:, varies] - middle) / width[varies]
