"""What an evaluation finds, as data: curves, slices, sets and mistakes of each head.

How it is found is in `scored` and `evaluation`, how it is shown in `evaluation_report`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.learn.bundle import Measured
from astrid.learn.calibration import BrierParts, Reliability
from astrid.learn.decisions import CostCurve, Price
from astrid.learn.task import Head

__all__ = ["Curves", "HeadFindings", "Mistake", "Residuals", "Sets", "Slice", "SpreadCheck"]


@dataclass(frozen=True, eq=False)
class Curves:
    """How one yes or no behaves at all its thresholds.

    Parameters
    ----------
    label : str
        The positive class; of several classes, one against the rest.
    n_positive, n_negative : int
    threshold : float
        Where it is decided, and
    rule : str
        why there.
    at, recall, precision, fpr : (m,) float64 ndarray
        Along decreasing thresholds `at`, thinned to what a chart can show.
    histogram : (2, b) int64 ndarray
        Negative and positive items in bins of the probability of equal width from 0 to 1.
    reliability, reliability_before : Reliability
        With and without calibration.
    brier : BrierParts
        Of the calibrated probabilities.
    cost : CostCurve, optional
        None for one of several classes, which are decided against each other.
    prices : tuple of Price
    """

    label: str
    n_positive: int
    n_negative: int
    threshold: float
    rule: str
    at: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]
    fpr: NDArray[np.float64]
    histogram: NDArray[np.int64]
    reliability: Reliability
    reliability_before: Reliability
    brier: BrierParts
    cost: CostCurve | None
    prices: tuple[Price, ...]


@dataclass(frozen=True, eq=False)
class Residuals:
    """Errors of one number over its true value, in bins of as many items each.

    Parameters
    ----------
    name : str
    truth : (b,) float64 ndarray
        Median of each bin.
    low, middle, high : (b,) float64 ndarray
        16, 50 and 84 % quantiles of found minus true.
    n : (b,) int64 ndarray
    sample : (m, 2) float32 ndarray
        True and found values of up to 1,000 items drawn at random.
    """

    name: str
    truth: NDArray[np.float64]
    low: NDArray[np.float64]
    middle: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]
    sample: NDArray[np.float32]


@dataclass(frozen=True)
class Slice:
    """Figures of the rows that have something in common.

    Parameters
    ----------
    column, name : str
        Of the rows, and which values of it.
    low, high : float, optional
        Edges, where the column holds numbers.
    n : int
    measured : tuple of Measured
        Only the figures for which there are enough items.
    note : str
        What is left out, and why.
    """

    column: str
    name: str
    low: float | None
    high: float | None
    n: int
    measured: tuple[Measured, ...]
    note: str


@dataclass(frozen=True)
class Sets:
    """What the conformal sets hold.

    Parameters
    ----------
    counts : dict of str to dict of str to int
        For each set (labels joined by ``+``, or ``novel``) how many items of each true label.
    wanted : dict of str to float
        Promised share of each label's items whose set holds it; what was reached is a figure.
    """

    counts: dict[str, dict[str, int]]
    wanted: dict[str, float]


@dataclass(frozen=True, eq=False)
class SpreadCheck:
    """Whether the spread of the predictions tells where they are wrong.

    Parameters
    ----------
    n : int
        Items with a spread.
    measured : Measured, optional
        Classes: AUROC of the spread for wrong decisions; numbers: rank correlation of spread and
        error. None where nothing is wrong.
    spread, error : (b,) float64 ndarray
        Mean spread of bins of as many items each, and the share of wrong decisions there (of
        numbers, the median error).
    """

    n: int
    measured: Measured | None
    spread: NDArray[np.float64]
    error: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Mistake:
    """An item that the model is most wrong about.

    Parameters
    ----------
    row : int
        Of the data set.
    id, group : str
    kind : str
        ``missed`` or ``false alarm`` for yes or no, else ``wrong``.
    truth, said : str
    value : float
        Probability of what was said; of numbers and maps, the error.
    spread : float, optional
    labels_in_set, applicable : str
        As `prediction` has them.
    columns : dict of str
        Values of the columns that were sliced.
    images : dict of str to (ny, nx, channels) float32 ndarray
        Inputs that can be shown.
    """

    row: int
    id: str
    group: str
    kind: str
    truth: str
    said: str
    value: float
    spread: float | None
    labels_in_set: str
    applicable: str
    columns: dict[str, Any]
    images: dict[str, NDArray[np.float32]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class HeadFindings:
    """All that was found about one head.

    Parameters
    ----------
    name : str
    head : Head
    n, unlabelled : int
        Items that were judged, and items that have no label.
    counts : dict of str to int
        Items of each label.
    measured : tuple of Measured
    curves : tuple of Curves
        One for each yes or no.
    confusion : (k, k) int64 ndarray, optional
        True labels in rows, found ones in columns.
    sets : Sets, optional
    residuals : tuple of Residuals
    slices : tuple of Slice
    spread : SpreadCheck, optional
    mistakes : tuple of Mistake
    """

    name: str
    head: Head
    n: int
    unlabelled: int
    counts: dict[str, int]
    measured: tuple[Measured, ...]
    curves: tuple[Curves, ...]
    confusion: NDArray[np.int64] | None
    sets: Sets | None
    residuals: tuple[Residuals, ...]
    slices: tuple[Slice, ...]
    spread: SpreadCheck | None
    mistakes: tuple[Mistake, ...]
