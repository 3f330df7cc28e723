"""When more answers are no longer worth their time: what the trainings so far promise for the next ones.

A straight line of the figure over the logarithm of the number of answers is enough for that; nothing is
predicted beyond twice as many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from astrid.review.promotion import AUCPR
from astrid.store.trainings import TrainingRecord

__all__ = ["Outlook", "outlook"]

_LEAST = 3  # trainings; two make a line with no word on how sure it is
_LATEST = 6  # that are looked at: a curve bends
_WORTH = 0.005  # of the area under precision over recall
_SIGMAS = 1.959963984540054  # of a 95 % interval


@dataclass(frozen=True)
class Outlook:
    """What twice as many answers are expected to gain.

    Parameters
    ----------
    flat : bool
        Whether it is surely less than what is worth the time.
    gain, low, high : float or None
        Of `AUCPR`, with its 95 % interval; None where too few trainings tell.
    n_trainings : int
        That tell.
    advice : str
        One sentence.
    """

    flat: bool
    gain: float | None
    low: float | None
    high: float | None
    n_trainings: int
    advice: str


def outlook(trainings: Sequence[TrainingRecord], worth: float = _WORTH) -> Outlook:
    """What the trainings of a task promise.

    The line is fitted by least squares, each training weighted by its own interval. Those intervals are of
    frozen answers that are mostly the same, so that the uncertainty of the slope is overestimated: the advice
    to stop comes late rather than early.

    Parameters
    ----------
    trainings : sequence of TrainingRecord
        Of one task, the oldest first.
    worth : float
        Least gain by twice as many answers for which people go on.

    Returns
    -------
    Outlook

    References
    ----------
    Settles & Craven 2008, EMNLP, 1070 (learning curves over the logarithm of the labels); the errors of a
    fitted line: Press et al. 2007, Numerical Recipes, section 15.2.
    """
    points = {}
    for record in trainings:
        for one in record.figures.get("compared", ()):
            if one["name"] == AUCPR and one["after_low"] is not None and record.n_labels > 0:
                sigma = max((one["after_high"] - one["after_low"]) / (2 * _SIGMAS), 1e-4)
                points[record.n_labels] = (math.log2(record.n_labels), one["after"], sigma)
    some = np.array(list(points.values())[-_LATEST:], np.float64).reshape(-1, 3)
    n = len(some)
    if n < _LEAST:
        return Outlook(
            False, None, None, None, n,
            f"whether more answers help is told by {_LEAST} trainings with different numbers of answers, of "
            f"which there are {n}, so go on",
        )  # fmt: skip
    x, y, weight = some[:, 0], some[:, 1], some[:, 2] ** -2
    centre = (weight * x).sum() / weight.sum()
    spread = float((weight * (x - centre) ** 2).sum())
    slope = float((weight * (x - centre) * y).sum()) / spread
    error = _SIGMAS / math.sqrt(spread)
    room = 1 - float(y[-1])  # no figure rises above 1
    gain, low, high = (min(value, room) for value in (slope, slope - error, slope + error))
    told = f"twice as many answers are expected to change {AUCPR} by {gain:+.4f} ({low:+.4f} to {high:+.4f})"
    if room < worth:
        told = f"{AUCPR} is {y[-1]:.4f} and cannot rise by more than {room:.4f}"
    if high < worth:
        return Outlook(
            True, gain, low, high, n, f"{told}, which is hardly worth the time, so stop or ask otherwise"
        )
    return Outlook(False, gain, low, high, n, f"{told}, so go on")
