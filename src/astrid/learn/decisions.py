"""From probabilities to decisions: the threshold of least cost, and what each threshold costs a night.

The costs are those of the task; how sure a threshold is, by a promise on its misses, is the
business of `conformal`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.bundle import Decision
from astrid.learn.task import Cost

__all__ = ["CostCurve", "Price", "cost_curve", "least_cost_threshold", "prices"]


@dataclass(frozen=True, eq=False)
class CostCurve:
    """What each threshold costs for one item, at a prevalence.

    Parameters
    ----------
    threshold : (m,) float64 ndarray
        Increasing; a positive decision is a probability of at least this.
    miss : (m,) float64 ndarray
        Share of the positive items below it.
    false_alarm : (m,) float64 ndarray
        Share of the negative items at or above it.
    cost : (m,) float64 ndarray
        Mean over all items.
    prevalence : float
        Share of positive items that `cost` is for.
    """

    threshold: NDArray[np.float64]
    miss: NDArray[np.float64]
    false_alarm: NDArray[np.float64]
    cost: NDArray[np.float64]
    prevalence: float


@dataclass(frozen=True)
class Price:
    """What a threshold gives, and what it asks for.

    Parameters
    ----------
    rule : str
        Why this threshold.
    threshold : float
    miss, false_alarm : float
        Shares of the positive items that are missed and of the negative ones that are taken.
    purity : float, optional
        Share of positive items among those that are taken; none where nothing is taken.
    found, missed, in_vain : float
        Positive items taken, positive items left, negative items taken, each for one night.
    cost : float
        Of a night, by the task's costs.
    """

    rule: str
    threshold: float
    miss: float
    false_alarm: float
    purity: float | None
    found: float
    missed: float
    in_vain: float
    cost: float

    @property
    def to_look_at(self) -> float:
        """All items taken in one night."""
        return self.found + self.in_vain


def cost_curve(
    labels: NDArray[Any], probabilities: NDArray[Any], cost: Cost, *, prevalence: float | None = None
) -> CostCurve:
    """What each threshold that makes a difference costs.

    Parameters
    ----------
    labels : (n,) ndarray
        Probability of the positive class; NaN for none.
    probabilities : (n,) or (n, 1) ndarray
        Calibrated.
    cost : Cost
    prevalence : float, optional
        Share of positive items where the decisions will be made; that of these items if not given.

    Returns
    -------
    CostCurve
        From 0 to 1; between neighbouring probabilities the threshold lies in the middle.

    Raises
    ------
    DatasetError
        Labels of one class only, or a probability that is not finite.
    UsageError
        A prevalence that is not between 0 and 1.
    """
    truth, given = _known(labels, probabilities)
    share = float(truth.mean()) if prevalence is None else prevalence
    if not 0 < share < 1:
        raise UsageError(f"the prevalence is {share}; give a share between 0 and 1")
    values, inverse = np.unique(given, return_inverse=True)
    positive = np.bincount(inverse, truth, minlength=len(values))
    negative = np.bincount(inverse, ~truth, minlength=len(values))
    # threshold k lies below value k, so that the items of values 0 to k - 1 are left
    middle = ((values[:-1] + values[1:]) / 2).astype(np.float32).astype(np.float64)
    middle = np.where(middle > values[:-1], middle, values[1:])  # neighbours in single precision
    threshold = np.concatenate([[0.0], middle, [1.0]])
    miss = np.concatenate([[0.0], np.cumsum(positive)]) / positive.sum()
    false_alarm = 1 - np.concatenate([[0.0], np.cumsum(negative)]) / negative.sum()
    if values[-1] == 1:  # no probability lies above 1: the last threshold still takes these
        threshold, miss, false_alarm = threshold[:-1], miss[:-1], false_alarm[:-1]
    mean = share * cost.miss * miss + (1 - share) * cost.false_alarm * false_alarm
    return CostCurve(threshold, miss, false_alarm, mean, share)


def least_cost_threshold(
    labels: NDArray[Any], probabilities: NDArray[Any], cost: Cost, *, prevalence: float | None = None
) -> Decision:
    """The threshold with the least expected cost.

    Of equally cheap ones it is the nearest to false_alarm / (false_alarm + miss), where it would
    be if the probabilities were perfect.

    Parameters
    ----------
    labels, probabilities, cost, prevalence
        As for `cost_curve`.

    Returns
    -------
    Decision

    Raises
    ------
    DatasetError, UsageError
        As for `cost_curve`.

    References
    ----------
    Elkan 2001, IJCAI '01, 973, eq. 2.
    """
    curve = cost_curve(labels, probabilities, cost, prevalence=prevalence)
    ideal = cost.false_alarm / (cost.false_alarm + cost.miss)
    best = np.flatnonzero(curve.cost <= curve.cost.min() * (1 + 1e-12))
    threshold = curve.threshold[best[np.argmin(np.abs(curve.threshold[best] - ideal))]]
    rule = f"least expected cost, miss {cost.miss:g}, false alarm {cost.false_alarm:g}"
    if prevalence is not None:
        rule += f", prevalence {prevalence:g}"
    return Decision(threshold=float(threshold), rule=rule)


def prices(
    labels: NDArray[Any],
    probabilities: NDArray[Any],
    thresholds: Mapping[str, float],
    cost: Cost,
    *,
    night_rate: float,
    prevalence: float | None = None,
) -> tuple[Price, ...]:
    """What each threshold gives and costs in one night.

    Parameters
    ----------
    labels, probabilities, cost, prevalence
        As for `cost_curve`.
    thresholds : mapping of str to float
        Why, and which.
    night_rate : float
        Items of any class in one night.

    Returns
    -------
    tuple of Price
        In the order of `thresholds`.

    Raises
    ------
    DatasetError, UsageError
        As for `cost_curve`, or a rate that is not positive.
    """
    truth, given = _known(labels, probabilities)
    share = float(truth.mean()) if prevalence is None else prevalence
    if not (0 < share < 1 and night_rate > 0):
        raise UsageError(
            f"the prevalence is {share} and the nightly rate {night_rate}; give 0 to 1, and more than 0"
        )
    result = []
    for rule, threshold in thresholds.items():
        taken = given >= threshold
        miss, false_alarm = float((~taken)[truth].mean()), float(taken[~truth].mean())
        found, missed = night_rate * share * (1 - miss), night_rate * share * miss
        in_vain = night_rate * (1 - share) * false_alarm
        purity = found / (found + in_vain) if found + in_vain > 0 else None
        total = missed * cost.miss + in_vain * cost.false_alarm
        result.append(Price(rule, threshold, miss, false_alarm, purity, found, missed, in_vain, total))
    return tuple(result)


def _known(
    labels: NDArray[Any], probabilities: NDArray[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Truth and probability of the items that have a label."""
    truth = np.asarray(labels, np.float64).reshape(-1)
    given = np.asarray(probabilities, np.float32).reshape(-1).astype(np.float64)  # as predictions are
    if len(truth) != len(given):
        raise DatasetError(
            f"there are {len(given)} probabilities and {len(truth)} labels; give one label a row"
        )
    known = np.isfinite(truth)
    truth, given = truth[known], given[known]
    if not ((given >= 0) & (given <= 1)).all():
        raise DatasetError("a probability is not between 0 and 1; give calibrated probabilities")
    yes = truth >= 0.5
    if yes.all() or not yes.any():
        raise DatasetError("the labelled items are not of two classes; a decision needs items of both")
    return yes, given
