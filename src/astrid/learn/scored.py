"""Labelled items of one head beside what a model said about them, and every figure that follows.

The predictions are gathered in `evaluation`; the figures of merit are those of `metrics` and
`calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.learn import metrics
from astrid.learn.bundle import HeadCard, Measured
from astrid.learn.calibration import brier, ece, log_loss
from astrid.learn.task import Binary, Head, Multiclass, Multilabel, Regression

__all__ = ["Scored", "Setting"]

_RECALLS = (0.9, 0.95, 0.99)
_FPRS = (0.001, 0.01, 0.05)
_FEWEST = 10
"""A figure of a slice needs so many items."""

Rows = NDArray[np.integer] | slice
Figures = dict[str, float]


@dataclass(frozen=True)
class Setting:
    """What all figures of one evaluation share.

    Parameters
    ----------
    on : str
        Which data, for `Measured`.
    kind, domain : str
        As `Measured` has them.
    night_rate : float
        Items in one night.
    prevalence : float, optional
        Share of positive items there; that of the data if not given.
    resamples, seed : int
        Of the intervals.
    """

    on: str
    kind: Literal["real", "simulated"]
    domain: Literal["in", "out"]
    night_rate: float
    prevalence: float | None
    resamples: int
    seed: int


@dataclass(frozen=True, eq=False)
class Scored:
    """The labelled items of one head, and what the model said about them.

    Parameters
    ----------
    name : str
    head : Head
    card : HeadCard
    prefix : str
        Before the names of figures: empty for a task of one head.
    rows : (n,) int64 ndarray
        Of the data set.
    groups : (n,) str ndarray
    labels : (n,) or (n, k) ndarray
        As the data set gives them; of a multilabel head and of numbers, some may be NaN.
    values, raw : (n, k) float32 ndarray
        With and without calibration; of a heat map, its mean absolute error and how far its peak
        is from the true one.
    spread : (n, k) float32 ndarray
        NaN where none was asked for.
    sets : (n,) str ndarray
    setting : Setting
    """

    name: str
    head: Head
    card: HeadCard
    prefix: str
    rows: NDArray[np.int64]
    groups: NDArray[np.str_]
    labels: NDArray[Any]
    values: NDArray[np.float32]
    raw: NDArray[np.float32]
    spread: NDArray[np.float32]
    sets: NDArray[np.str_]
    setting: Setting

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def threshold(self) -> float:
        """Where a yes or no is decided."""
        return 0.5 if self.card.decision is None else self.card.decision.threshold

    @property
    def label_names(self) -> tuple[str, ...]:
        """Of a classifying head; empty for others."""
        return () if isinstance(self.head, Regression) else tuple(getattr(self.head, "labels", ()))

    @cached_property
    def truth(self) -> NDArray[np.str_]:
        """True label of each item of a head whose labels exclude each other."""
        codes = self.labels >= 0.5 if isinstance(self.head, Binary) else self.labels
        return np.array(self.label_names)[codes.astype(np.int64)]

    @cached_property
    def wrong(self) -> NDArray[np.float64]:
        """(n,): 1 for a wrong decision and 0 for a right one; of numbers and maps, the error."""
        match self.head:
            case Binary():
                return np.asarray((self.values[:, 0] >= self.threshold) != (self.labels >= 0.5), np.float64)
            case Multiclass():
                return np.asarray(self.values.argmax(axis=1) != self.labels, np.float64)
            case Multilabel():
                known = np.isfinite(self.labels)
                wrong = known & ((self.values >= 0.5) != (self.labels >= 0.5))
                return np.asarray(wrong.any(axis=1), np.float64)
            case Regression():
                errors = np.abs(self.values - self.labels).astype(np.float64)
                return np.where(np.isfinite(errors), errors, 0).max(axis=1)
        return self.values[:, 0].astype(np.float64)

    def figures(self, rows: Rows) -> Figures:
        """All figures of some of the items.

        Raises
        ------
        DatasetError
            A class is absent.
        """
        match self.head:
            case Binary():
                found = _binary(self.labels[rows], self.values[rows, 0], self.raw[rows, 0], self.threshold)
            case Multiclass():
                found = _multiclass(self.labels[rows], self.values[rows], self.raw[rows], self.head.labels)
            case Multilabel():
                found = self._multilabel(rows)
            case Regression():
                found = self._regression(rows)
            case _:
                found = _heat_map(self.values[rows])
        if self.card.calibration.method == "none":
            found = {name: value for name, value in found.items() if "before calibration" not in name}
        return found | self._coverage(rows)

    def slice_figures(self, rows: NDArray[np.int64]) -> Figures:
        """The few figures that say how some of the items fare; only those for which there are enough."""
        match self.head:
            case Binary():
                return _slice_of_yes_or_no(self.labels[rows], self.values[rows, 0], self.threshold)
            case Multiclass() if len(rows) >= _FEWEST:
                return {"accuracy": 1 - float(self.wrong[rows].mean())}
            case Multilabel() if len(rows) >= _FEWEST:
                return {"all labels right": 1 - float(self.wrong[rows].mean())}
            case Regression():
                return self._slice_of_numbers(rows)
            case _ if len(rows) >= _FEWEST:
                return _heat_map(self.values[rows])
        return {}

    def measure(
        self,
        figures: Callable[[NDArray[np.int64]], Figures],
        rows: NDArray[np.int64],
        on_resample: Callable[[], None] | None = None,
    ) -> tuple[Measured, ...]:
        """Figures of some of the items, each with its interval over groups."""
        found = figures(rows)
        names = list(found)

        def numbers(drawn: NDArray[np.int64]) -> list[float]:
            if on_resample:
                on_resample()
            again = figures(drawn)
            return [again.get(name, np.nan) for name in names]

        groups = self.groups[rows]
        values = metrics.resampled(
            numbers, rows, groups=groups, n=self.setting.resamples, seed=self.setting.seed
        )
        return tuple(
            self._measured(name, value, metrics.limits(column, groups), len(rows))
            for (name, value), column in zip(found.items(), _columns(values, len(names)), strict=True)
            if np.isfinite(value)
        )

    def _measured(
        self, name: str, value: float, interval: tuple[float | None, float | None], n: int
    ) -> Measured:
        low, high = interval
        setting = self.setting
        return Measured(
            name=self.prefix + name, value=value, low=low, high=high, n=n, on=setting.on,
            kind=setting.kind, domain=setting.domain,
        )  # fmt: skip

    def _multilabel(self, rows: Rows) -> Figures:
        found: Figures = {}
        areas = []
        for k, label in enumerate(self.label_names):
            labels = self.labels[rows][:, k]
            known = np.isfinite(labels)
            each = _binary(labels[known], self.values[rows][known, k], self.raw[rows][known, k], 0.5)
            areas.append(each["AUCPR"])
            found |= {f"{label}: {name}": value for name, value in each.items()}
        return {"mean AUCPR": float(np.mean(areas))} | found

    def _regression(self, rows: Rows) -> Figures:
        found: Figures = {}
        assert isinstance(self.head, Regression)
        for k, name in enumerate(self.head.names):
            errors = self.values[rows][:, k] - self.labels[rows][:, k]
            errors = errors[np.isfinite(errors)].astype(np.float64)
            prefix = f"{name}: " if len(self.head.names) > 1 else ""
            each = {
                "bias": metrics.bias(errors),
                "NMAD": metrics.nmad(errors),
                "mean absolute error": float(np.abs(errors).mean()),
                "root mean square error": float(np.sqrt((errors**2).mean())),
            }
            if self.head.outlier is not None:
                each["outlier fraction"] = metrics.outlier_fraction(errors, self.head.outlier)
            found |= {prefix + what: value for what, value in each.items()}
        return found

    def _slice_of_numbers(self, rows: NDArray[np.int64]) -> Figures:
        if np.isfinite(self.labels[rows]).sum(axis=0).min() < _FEWEST:
            return {}
        kept = ("bias", "NMAD", "outlier fraction")
        return {
            name: value for name, value in self._regression(rows).items() if name.endswith(kept)
        }  # fmt: skip

    def _coverage(self, rows: Rows) -> Figures:
        if self.card.conformal is None or not isinstance(self.head, Binary | Multiclass):
            return {}
        inside, truth = self._in_set[rows], self.truth[rows]
        return {
            f"sets hold {label}": float(inside[truth == label].mean())
            for label in self.label_names
            if (truth == label).any()
        }

    @cached_property
    def _in_set(self) -> NDArray[np.bool_]:
        """Whether the set of each item holds its true label."""
        found = np.zeros(len(self), bool)
        for text in np.unique(self.sets).tolist():
            found |= (self.sets == text) & np.isin(self.truth, text.split("+"))
        return found


def _binary(
    labels: NDArray[Any], p: NDArray[np.float32], raw: NDArray[np.float32], threshold: float
) -> Figures:
    ranking = metrics.Ranking.of(labels, p)
    found = {"AUCPR": ranking.aucpr(), "AUROC": ranking.auroc()}
    found |= {f"recall at FPR {_percent(fpr)}": ranking.recall_at_fpr(fpr) for fpr in _FPRS}
    found |= {f"FPR at recall {_percent(recall)}": ranking.fpr_at_recall(recall) for recall in _RECALLS}
    thresholds = {"0.5": 0.5} if threshold == 0.5 else {"0.5": 0.5, "the threshold": threshold}
    for name, value in thresholds.items():
        found[f"FNR at {name}"] = metrics.miss_rate(labels, p, value)
        found[f"FPR at {name}"] = metrics.false_alarm_rate(labels, p, value)
    found["F1"] = metrics.f1(labels, p, threshold)
    found["balanced accuracy"] = metrics.balanced_accuracy(labels, p, threshold)
    found["precision"] = float((labels[p >= threshold] >= 0.5).mean()) if (p >= threshold).any() else np.nan
    return found | _honesty(labels, p, raw)


def _multiclass(
    codes: NDArray[Any], p: NDArray[np.float32], raw: NDArray[np.float32], labels: Iterable[str]
) -> Figures:
    names = list(labels)
    chosen = p.argmax(axis=1)
    counts = metrics.confusion(codes, chosen, len(names))
    absent = [name for name, n in zip(names, counts.sum(axis=1), strict=True) if n == 0]
    if absent:
        raise DatasetError(f"no item is {absent[0]!r}; an evaluation needs items of every class")
    right = np.diag(counts)
    recalls = right / counts.sum(axis=1)
    found = {
        "accuracy": float(right.sum() / counts.sum()),
        "balanced accuracy": float(recalls.mean()),
        "macro F1": metrics.macro_f1(codes, chosen, len(names)),
    }
    areas = [metrics.aucpr(codes == k, p[:, k]) for k in range(len(names))]
    found["mean AUCPR"] = float(np.mean(areas))
    taken = counts.sum(axis=0)
    for k, name in enumerate(names):
        found[f"{name}: AUCPR"] = areas[k]
        found[f"{name}: recall"] = float(recalls[k])
        found[f"{name}: precision"] = float(right[k] / taken[k]) if taken[k] else np.nan
    return found | _honesty(codes, p, raw)


def _honesty(labels: NDArray[Any], p: NDArray[np.float32], raw: NDArray[np.float32]) -> Figures:
    figures = {"ECE": ece, "Brier score": brier, "log loss": log_loss}
    found: Figures = {}
    for name, function in figures.items():
        found[name] = function(labels, p)
        found[f"{name} before calibration"] = function(labels, raw)
    return found


def _slice_of_yes_or_no(labels: NDArray[Any], p: NDArray[np.float32], threshold: float) -> Figures:
    truth = labels >= 0.5
    positive, negative = int(truth.sum()), int((~truth).sum())
    found: Figures = {}
    if positive >= _FEWEST:
        found["FNR"] = metrics.miss_rate(truth, p, threshold)
    if negative >= _FEWEST:
        found["FPR"] = metrics.false_alarm_rate(truth, p, threshold)
    if min(positive, negative) >= _FEWEST:
        found["AUROC"] = metrics.auroc(truth, p)
    return found


def _heat_map(errors: NDArray[np.float32]) -> Figures:
    found = {"mean absolute error": float(errors[:, 0].mean(dtype=np.float64))}
    offsets = errors[np.isfinite(errors[:, 1]), 1]
    if len(offsets):
        found["median offset of the peak in pixels"] = float(np.median(offsets))
        found["share of peaks within 2 pixels"] = float((offsets <= 2).mean())
    return found


def _columns(values: NDArray[np.float64], n: int) -> list[NDArray[np.float64]]:
    """One column for each figure, also where no resample had any."""
    return [values[:, min(k, values.shape[1] - 1)] for k in range(n)]


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
