"""Figures of merit on labels and scores, each of which can be given an interval over groups.

Plain numpy on arrays; which figures belong to which kind of head is decided in `evaluation`,
how good the probabilities are in `calibration`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError

__all__ = [
    "Ranking", "aucpr", "auroc", "balanced_accuracy", "bias", "confusion", "f1", "false_alarm_rate",
    "fpr_at_recall", "interval", "limits", "macro_f1", "miss_rate", "nmad", "outlier_fraction", "precision",
    "recall_at_fpr", "resampled",
]  # fmt: skip


@dataclass(frozen=True, eq=False)
class Ranking:
    """Labelled items in the order of their scores: all that figures at any threshold need.

    Parameters
    ----------
    threshold : (m,) float64 ndarray
        The distinct scores, decreasing; an item is taken if its score is at least this.
    taken_positive, taken_negative : (m,) float64 ndarray
        Items of each class that are taken.
    """

    threshold: NDArray[np.float64]
    taken_positive: NDArray[np.float64]
    taken_negative: NDArray[np.float64]

    @classmethod
    def of(cls, labels: NDArray[Any], scores: NDArray[Any]) -> Ranking:
        """Rank items.

        Parameters
        ----------
        labels : (n,) ndarray
            True or at least 0.5 for the positive class.
        scores : (n,) ndarray
            Larger for what is more likely positive.

        Raises
        ------
        DatasetError
            No item, items of one class only, or a score that is not finite.
        """
        truth, given = _two_classes(labels, scores)
        order = np.argsort(-given)
        ordered = given[order]
        last = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(ordered) - 1)
        positive = np.cumsum(truth[order], dtype=np.float64)[last]
        return cls(ordered[last].astype(np.float64), positive, last + 1 - positive)

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the positive items taken at each threshold, (m,)."""
        return self.taken_positive / self.taken_positive[-1]

    @property
    def fpr(self) -> NDArray[np.float64]:
        """Share of the negative items taken at each threshold, (m,)."""
        return self.taken_negative / self.taken_negative[-1]

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of positive items among those taken at each threshold, (m,)."""
        return self.taken_positive / (self.taken_positive + self.taken_negative)

    def aucpr(self) -> float:
        """Area under precision over recall, as steps: the average precision."""
        return float((np.diff(self.recall, prepend=0) * self.precision).sum())

    def auroc(self) -> float:
        """Chance that a positive item scores higher than a negative one; ties count half."""
        recall, fpr = np.append(0, self.recall), np.append(0, self.fpr)
        return float((np.diff(fpr) * (recall[1:] + recall[:-1])).sum() / 2)

    def recall_at_fpr(self, fpr: float) -> float:
        """The largest recall of a threshold that takes at most this share of the negative items."""
        within = self.fpr <= fpr
        return float(self.recall[within].max(initial=0))

    def fpr_at_recall(self, recall: float) -> float:
        """The smallest share of negative items of a threshold with at least this recall."""
        return float(self.fpr[self.recall >= recall - 1e-12].min())

    def threshold_at_recall(self, recall: float) -> float:
        """The highest threshold with at least this recall."""
        return float(self.threshold[self.recall >= recall - 1e-12].max())

    def threshold_at_fpr(self, fpr: float) -> float | None:
        """The lowest threshold that takes at most this share of the negative items; None for none."""
        within = self.threshold[self.fpr <= fpr]
        return float(within.min()) if len(within) else None


def aucpr(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Average precision; see `Ranking`."""
    return Ranking.of(labels, scores).aucpr()


def auroc(labels: NDArray[Any], scores: NDArray[Any]) -> float:
    """Area under the ROC curve; see `Ranking`."""
    return Ranking.of(labels, scores).auroc()


def recall_at_fpr(labels: NDArray[Any], scores: NDArray[Any], fpr: float) -> float:
    """Recall where at most this share of the negative items is taken; see `Ranking`."""
    return Ranking.of(labels, scores).recall_at_fpr(fpr)


def fpr_at_recall(labels: NDArray[Any], scores: NDArray[Any], recall: float) -> float:
    """Share of negative items taken where the recall is at least this; see `Ranking`."""
    return Ranking.of(labels, scores).fpr_at_recall(recall)


def miss_rate(labels: NDArray[Any], scores: NDArray[Any], threshold: float = 0.5) -> float:
    """False negative rate: share of the positive items with a score below the threshold.

    Raises
    ------
    DatasetError
        No positive item, or a score that is not finite.
    """
    truth, given = _known(labels, scores)
    return float((given[truth] < threshold).mean()) if truth.any() else _no_item("positive")


def false_alarm_rate(labels: NDArray[Any], scores: NDArray[Any], threshold: float = 0.5) -> float:
    """False positive rate: share of the negative items with a score at or above the threshold.

    Raises
    ------
    DatasetError
        No negative item, or a score that is not finite.
    """
    truth, given = _known(labels, scores)
    return float((given[~truth] >= threshold).mean()) if not truth.all() else _no_item("negative")


def precision(labels: NDArray[Any], scores: NDArray[Any], threshold: float = 0.5) -> float:
    """Purity: share of positive items among those at or above the threshold.

    Raises
    ------
    DatasetError
        No item is above, or a score that is not finite.
    """
    truth, given = _known(labels, scores)
    taken = given >= threshold
    return float(truth[taken].mean()) if taken.any() else _no_item("taken")


def f1(labels: NDArray[Any], scores: NDArray[Any], threshold: float = 0.5) -> float:
    """Harmonic mean of precision and recall.

    Raises
    ------
    DatasetError
        No positive item, or a score that is not finite.
    """
    truth, given = _known(labels, scores)
    taken = given >= threshold
    if not truth.any():
        _no_item("positive")
    return float(2 * (truth & taken).sum() / (truth.sum() + taken.sum()))


def balanced_accuracy(labels: NDArray[Any], scores: NDArray[Any], threshold: float = 0.5) -> float:
    """Mean of the shares of the positive and of the negative items that are told right.

    Raises
    ------
    DatasetError
        Items of one class only, or a score that is not finite.
    """
    return 1 - (miss_rate(labels, scores, threshold) + false_alarm_rate(labels, scores, threshold)) / 2


def confusion(truth: NDArray[Any], found: NDArray[Any], n: int) -> NDArray[np.int64]:
    """How many items of each class (rows) were taken for each class (columns).

    Parameters
    ----------
    truth, found : (m,) int ndarray
        Numbers of classes.
    n : int
        Classes.

    Returns
    -------
    counts : (n, n) int64 ndarray
    """
    return np.bincount(np.asarray(truth) * n + np.asarray(found), minlength=n * n).reshape(n, n)


def macro_f1(truth: NDArray[Any], found: NDArray[Any], n: int) -> float:
    """Mean over the classes that occur of the harmonic mean of purity and completeness.

    Parameters
    ----------
    truth, found, n
        As for `confusion`.

    Raises
    ------
    DatasetError
        No item.
    """
    counts = confusion(truth, found, n)
    if not counts.any():
        _no_item("labelled")
    either = counts.sum(axis=0) + counts.sum(axis=1)
    occurs = either > 0
    return float((2 * np.diag(counts)[occurs] / either[occurs]).mean())


def bias(errors: NDArray[Any]) -> float:
    """Mean error; errors are found minus true."""
    return float(_finite(errors).mean())


def nmad(errors: NDArray[Any]) -> float:
    """1.4826 times the median distance of the errors from their median: a standard deviation if Gaussian."""
    values = _finite(errors)
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def outlier_fraction(errors: NDArray[Any], limit: float) -> float:
    """Share of errors that are larger than `limit` in either direction."""
    return float((np.abs(_finite(errors)) > limit).mean())


def resampled(
    function: Callable[..., Any], *arrays: NDArray[Any], groups: NDArray[Any], n: int = 200, seed: int = 0
) -> NDArray[np.float64]:
    """Figures on data sets drawn anew, in whole groups with replacement.

    Rows of one group (object, field, night) are alike, so that drawing rows would promise too much.

    Parameters
    ----------
    function : callable
        From the resampled arrays to a number or to (m,) numbers.
    *arrays : (rows, ...) ndarray
    groups : (rows,) ndarray
    n : int
        Resamples.
    seed : int

    Returns
    -------
    values : (n, m) float64 ndarray
        NaN where a resample had no such figure, as for want of a class.

    Raises
    ------
    UsageError
        No resamples.

    References
    ----------
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 8.
    """
    if n < 1:
        raise UsageError(f"{n} resamples give no interval; ask for 200, or 1 at the least")
    _, codes = np.unique(groups, return_inverse=True)
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes)
    starts = np.cumsum(sizes) - sizes
    rng = np.random.default_rng(seed)
    rows: list[NDArray[np.float64]] = []
    for _ in range(n):
        drawn = rng.integers(0, len(sizes), len(sizes))
        length = sizes[drawn]
        offset = np.repeat(starts[drawn] - (np.cumsum(length) - length), length)
        index = order[offset + np.arange(len(offset))]
        try:
            rows.append(np.atleast_1d(np.asarray(function(*(one[index] for one in arrays)), np.float64)))
        except DatasetError:
            rows.append(np.array([np.nan]))
    width = max(len(row) for row in rows)
    return np.stack([row if len(row) == width else np.full(width, np.nan) for row in rows])


def interval(
    function: Callable[..., Any],
    *arrays: NDArray[Any],
    groups: NDArray[Any],
    n: int = 200,
    seed: int = 0,
) -> tuple[float | None, float | None]:
    """95 % interval of a figure, by drawing whole groups with replacement.

    Parameters
    ----------
    function, *arrays, groups, n, seed
        As for `resampled`.

    Returns
    -------
    low, high : float, optional
        None where there are fewer than two groups, or where most resamples have no such figure.
    """
    return limits(resampled(function, *arrays, groups=groups, n=n, seed=seed)[:, 0], groups)


def limits(values: NDArray[np.float64], groups: NDArray[Any]) -> tuple[float | None, float | None]:
    """95 % interval from what `resampled` found for one figure; see `interval`."""
    finite = values[np.isfinite(values)]
    if 2 * len(finite) < len(values) or (groups == groups[0]).all():
        return None, None
    low, high = np.quantile(finite, (0.025, 0.975))
    return float(low), float(high)


def _known(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    truth = np.asarray(labels)
    given = np.asarray(scores)
    if truth.shape != given.shape:
        raise DatasetError(
            f"labels have shape {truth.shape} and scores {given.shape}; give one score for each label"
        )
    if not len(truth):
        _no_item("labelled")
    if not np.isfinite(given).all():
        row = int(np.argmin(np.isfinite(given)))
        raise DatasetError(f"the score of item {row} is {given[row]}; give finite scores")
    if truth.dtype != np.bool_:
        if not np.isfinite(truth).all():
            raise DatasetError("an item has no label; leave those out")
        truth = truth >= 0.5
    return truth, given


def _two_classes(labels: NDArray[Any], scores: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    truth, given = _known(labels, scores)
    if truth.all() or not truth.any():
        raise DatasetError(
            f"all {len(truth)} labelled items are of one class; such a figure needs items of two"
        )
    return truth, given


def _finite(errors: NDArray[Any]) -> NDArray[Any]:
    values = np.asarray(errors)
    if not len(values):
        _no_item("labelled")
    if not np.isfinite(values).all():
        raise DatasetError("an error is not finite; leave out items without a true value")
    return values


def _no_item(what: str) -> float:
    raise DatasetError(f"there is no {what} item; this figure needs some")
