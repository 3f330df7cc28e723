"""Sets of labels with a guaranteed rate of errors, one rate for each class, and thresholds with a promise.

Both are found on labelled items that were not trained on and hold for items of the same kind;
`prediction` applies them, and a new season or camera asks for new ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.bundle import Conformal
from astrid.learn.task import Binary, Cost, Multiclass

__all__ = ["alphas_from_costs", "coverage", "fit_conformal", "needed_items", "risk_threshold"]


def alphas_from_costs(
    head: Binary | Multiclass, *, largest: float = 0.05, smallest: float = 0.01
) -> dict[str, float]:
    """How often each label may be absent from the sets of its own items, from what that costs.

    The label whose absence is cheapest may be absent with the rate `largest`; the rates of the
    others are smaller by the ratio of the costs, but not below `smallest`, since a rate of alpha
    needs at least 1 / alpha - 1 items. Of a yes or no, the absence of the positive label
    costs ``cost.miss``, that of the negative one ``cost.false_alarm``; of several classes each
    costs its own ``miss``.

    Parameters
    ----------
    head : Binary or Multiclass
    largest, smallest : float

    Returns
    -------
    alpha : dict of str to float

    Raises
    ------
    UsageError
        The head has no classes that exclude each other, or the rates are not 0 < smallest <= largest < 1.
    """
    if not 0 < smallest <= largest < 1:
        raise UsageError(
            f"the rates of absence are {smallest} to {largest}; give 0 < smallest <= largest < 1"
        )
    match head:
        case Binary():
            costs = dict(zip(head.labels, (head.cost.false_alarm, head.cost.miss), strict=True))
        case Multiclass():
            costs = {label: head.costs.get(label, Cost()).miss for label in head.labels}
        case _:
            raise UsageError(
                f"a head of kind {head.kind} has no sets of labels; they are for binary and multiclass heads"
            )
    cheapest = min(costs.values())
    return {label: max(largest * cheapest / cost, smallest) for label, cost in costs.items()}


def needed_items(alpha: float) -> int:
    """The fewest items of a class with which its label can be left out of any set at all."""
    return math.ceil(1 / alpha - 1 - 1e-9)


def fit_conformal(
    probabilities: NDArray[Any],
    codes: NDArray[Any],
    labels: Sequence[str],
    alpha: Mapping[str, float],
    *,
    fitted_on: str = "",
) -> Conformal:
    """Quantiles of 1 - probability for each class by itself (Mondrian), valid for any finite number of items.

    A label with too few items for its rate gets the quantile 1, which puts it into every set:
    the promise is kept, at the price of larger sets, and `fitted_on` says so.

    Parameters
    ----------
    probabilities : (n, labels) ndarray
        Calibrated; for yes or no a column for each answer.
    codes : (n,) ndarray
        Number of the true label; negative or NaN for none. Binary labels as probabilities count
        as the nearer class.
    labels : sequence of str
    alpha : mapping of str to float
        Wanted rate of each label's absence from the sets of its own items.
    fitted_on : str
        Which data, for the card.

    Returns
    -------
    Conformal

    Raises
    ------
    DatasetError
        A label without any item, or a probability that is not finite.
    UsageError
        A label without a rate, or a rate that is not between 0 and 1.

    References
    ----------
    Vovk 2012, arXiv:1209.2673, section 2 (label-conditional validity); quantile as in Angelopoulos
    & Bates 2021, arXiv:2107.07511, section 1.
    """
    values = np.asarray(probabilities, np.float32)
    truth = np.asarray(codes, np.float64)
    if values.shape != (len(truth), len(labels)):
        raise DatasetError(
            f"the probabilities have shape {values.shape}, expected {(len(truth), len(labels))}: "
            "one column for each label"
        )
    quantile: dict[str, float] = {}
    n: dict[str, int] = {}
    notes = [fitted_on] if fitted_on else []
    for code, label in enumerate(labels):
        rate = alpha.get(label, math.nan)
        if not 0 < rate < 1:
            raise UsageError(f"the rate of absence of {label!r} is {rate}; give one between 0 and 1")
        # single precision, as in prediction: the comparison there must fall out the same
        scores = (1 - values[np.floor(truth + 0.5) == code, code]).astype(np.float64)
        if not len(scores):
            raise DatasetError(f"no item is {label!r}; conformal sets need items of every class")
        if not np.isfinite(scores).all():
            raise DatasetError(f"a probability of {label!r} is not finite; give calibrated probabilities")
        n[label] = len(scores)
        quantile[label] = _finite_sample_quantile(scores, rate)
        if len(scores) < needed_items(rate):
            notes.append(
                f"{label} is in every set: {len(scores)} items, {needed_items(rate)} are needed for {rate:g}"
            )
    return Conformal(
        alpha={label: float(alpha[label]) for label in labels}, quantile=quantile, n=n,
        fitted_on="; ".join(notes),
    )  # fmt: skip


def risk_threshold(
    labels: NDArray[Any], scores: NDArray[Any], miss: float = 0.01, delta: float | None = 0.1
) -> float:
    """The highest threshold that misses at most the share `miss` of the positive items.

    With `delta` the promise is that of "learn then test": with the confidence 1 - `delta` over the
    draw of these items, the share of missed items stays below `miss`. Without, it is that of conformal
    risk control: the share is at most `miss` on the average over such draws, which is less strict.

    Parameters
    ----------
    labels : (n,) ndarray
        Probability of the positive class; NaN for none.
    scores : (n,) or (n, 1) ndarray
        Items with this score and above are taken as positive.
    miss : float
    delta : float, optional

    Returns
    -------
    threshold : float
        One of the scores of the positive items.

    Raises
    ------
    DatasetError
        Too few positive items for such a promise, or a score that is not finite.

    References
    ----------
    Angelopoulos et al. 2021, arXiv:2110.01052 (fixed sequence with the exact binomial p-value; for
    a share of misses it is the tolerance limit of Wilks 1941); Angelopoulos et al. 2022,
    arXiv:2208.02814, eq. 4.
    """
    if not 0 < miss < 1 or (delta is not None and not 0 < delta < 1):
        raise UsageError(f"miss is {miss} and delta is {delta}; both lie between 0 and 1")
    truth = np.asarray(labels, np.float64).reshape(-1)
    positive = np.sort(np.asarray(scores, np.float64).reshape(-1)[truth >= 0.5])
    if not np.isfinite(positive).all():
        raise DatasetError("the score of a positive item is not finite; give probabilities")
    allowed = _allowed_misses(len(positive), miss, delta)
    if allowed < 0:
        least = needed_items(miss) if delta is None else math.ceil(math.log(delta) / math.log1p(-miss))
        sure = "" if delta is None else f" with {1 - delta:.0%} confidence"
        raise DatasetError(
            f"{len(positive)} positive items cannot promise{sure} that at most {miss:.2%} are missed; "
            f"give at least {least}, or allow more"
        )
    return float(positive[allowed])


def coverage(sets: NDArray[np.str_], truth: NDArray[np.str_]) -> dict[str, float]:
    """Share of the items of each label whose set holds it.

    Parameters
    ----------
    sets : (n,) str ndarray
        As `prediction` gives them: labels joined by ``+``, or ``novel``.
    truth : (n,) str ndarray
        The true labels.
    """
    found: dict[str, float] = {}
    for label in np.unique(truth).tolist():
        texts, counts = np.unique(sets[truth == label], return_counts=True)
        inside = [label in text.split("+") for text in texts.tolist()]
        found[label] = float(counts[inside].sum() / counts.sum())
    return found


def _finite_sample_quantile(scores: NDArray[np.float64], alpha: float) -> float:
    """The ceil((n + 1)(1 - alpha))-th smallest score, 1 where there are too few."""
    n = len(scores)
    rank = math.ceil((n + 1) * (1 - alpha) - 1e-9)  # 100 * 0.99 is 99, not a hair above
    return 1.0 if rank > n else float(np.partition(scores, rank - 1)[rank - 1])


def _allowed_misses(n: int, miss: float, delta: float | None) -> int:
    """How many of n positive items may lie below the threshold; -1 where not even none is enough."""
    if delta is None:
        return math.floor((n + 1) * miss + 1e-9) - 1
    from scipy.stats import binom

    risk = binom.cdf(np.arange(n), n, miss)
    return int(np.count_nonzero(risk <= delta)) - 1
