"""The order in which rows are learned from: shuffled, class-balanced or weighted.

Every order follows from the seed and the epoch alone, so that a training that was broken off
draws the same as one that was not. How rows become batches is in `loading`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.dataset import Dataset, class_counts
from astrid.learn.task import Head, Task

__all__ = ["Order", "balanced_chances", "class_weights", "make_order"]


@dataclass(frozen=True, eq=False)
class Order:
    """Which rows come in each epoch, and in which order.

    Parameters
    ----------
    rows : (n,) int64 ndarray
    seed : int
    chances : (n,) float64 ndarray, optional
        Chance of each row in every one of the n draws of an epoch, with replacement; without it every
        row comes once.
    """

    rows: NDArray[np.int64]
    seed: int
    chances: NDArray[np.float64] | None = None

    def __call__(self, epoch: int) -> NDArray[np.int64]:
        """The rows of an epoch, (n,) int64."""
        rng = np.random.default_rng((self.seed, epoch))
        if self.chances is None:
            return rng.permutation(self.rows)
        return self.rows[rng.choice(len(self.rows), len(self.rows), p=self.chances)]


def make_order(
    dataset: Dataset,
    task: Task,
    rows: NDArray[np.int64],
    sampling: Literal["shuffle", "balanced", "weighted"],
    seed: int,
) -> Order:
    """The order of a training.

    Parameters
    ----------
    dataset : Dataset
    task : Task
    rows : (n,) int64 ndarray
        The training part.
    sampling : {"shuffle", "balanced", "weighted"}
        ``balanced`` draws every class of the first binary or multiclass head alike often,
        ``weighted`` each row in proportion to the column ``weight``.
    seed : int

    Raises
    ------
    UsageError
        There is no head to balance.
    DatasetError
        A weight is negative or absent, or a class has no row.
    """
    match sampling:
        case "shuffle":
            return Order(rows, seed)
        case "balanced":
            for name, head in task.heads.items():
                if head.kind in ("binary", "multiclass"):
                    codes = _codes(dataset.labels(name, head)[rows], head)
                    return Order(rows, seed, balanced_chances(codes, head.size if head.size > 1 else 2))
            raise UsageError(
                f"task {task.name} has no binary or multiclass head to balance; set sampling to shuffle"
            )
        case "weighted":
            weights = dataset.column("weight")[rows].astype(np.float64)
            if not (np.isfinite(weights).all() and weights.min() >= 0 and weights.sum() > 0):
                raise DatasetError(
                    f"{dataset.path}: the column weight must hold numbers of 0 or more, some above 0; "
                    "correct it or set sampling to shuffle"
                )
            return Order(rows, seed, weights / weights.sum())


def balanced_chances(codes: NDArray[np.int64], n_classes: int) -> NDArray[np.float64]:
    """Chance of each row when every class shall come alike often.

    Parameters
    ----------
    codes : (n,) int64 ndarray
        Class of each row; -1 for none, whose rows keep the share that they have.
    n_classes : int

    Returns
    -------
    chances : (n,) float64 ndarray
        Sums to 1.

    Raises
    ------
    DatasetError
        A class has no row.
    """
    labelled = codes >= 0
    counts = np.bincount(codes[labelled], minlength=n_classes)
    if (counts == 0).any():
        raise DatasetError(f"class {int(np.argmin(counts))} of {n_classes} has no row to draw; add some")
    chances = np.full(len(codes), 1.0)
    chances[labelled] = labelled.sum() / n_classes / counts[codes[labelled]]
    return chances / chances.sum()


def class_weights(labels: NDArray[Any], head: Head) -> NDArray[np.float64]:
    """Weight of each class in the loss, one over its number, 1 on the average over items.

    Parameters
    ----------
    labels : ndarray
        As `Dataset.labels` gives them, of the training part.
    head : Head
        Binary or multiclass.

    Returns
    -------
    weights : (k,) float64 ndarray
        In the order of the head's labels.
    """
    counts = class_counts(labels, head).astype(np.float64)
    return counts.sum() / (len(counts) * np.maximum(counts, 1))


def _codes(labels: NDArray[Any], head: Head) -> NDArray[np.int64]:
    """Class of each row, -1 for none; a soft binary label counts as what it is more likely."""
    if head.kind == "multiclass":
        return labels.astype(np.int64)
    return np.where(np.isnan(labels), -1, labels >= 0.5).astype(np.int64)
