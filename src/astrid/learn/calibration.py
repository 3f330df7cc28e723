"""Making probabilities mean what they say: temperature and isotonic scaling, and how far off they are.

What is fitted here is stored in a bundle's card and applied in `prediction`; sets of labels with
a guaranteed rate of errors are the business of `conformal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.bundle import Calibration

__all__ = [
    "BrierParts", "Reliability", "brier", "brier_parts", "ece", "fit_isotonic", "fit_temperature",
    "log_loss", "reliability",
]  # fmt: skip

_COLDEST, _HOTTEST = 0.05, 100.0
"""Limits of the temperature: a set that is separated without error asks for 0, and gets the first."""


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often what was given a probability came true, in bins of the probability.

    Parameters
    ----------
    probability : (b,) float64 ndarray
        Mean of each bin that holds anything.
    observed : (b,) float64 ndarray
        Share of its items that are positive (of several classes: whose most probable label is right).
    low, high : (b,) float64 ndarray
        95 % interval of `observed` by Wilson.
    n : (b,) int64 ndarray
    """

    probability: NDArray[np.float64]
    observed: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: NDArray[np.int64]


@dataclass(frozen=True)
class BrierParts:
    """The Brier score as miscalibration - discrimination + uncertainty.

    Parameters
    ----------
    miscalibration : float
        What the best monotone correction of the probabilities would gain; 0 is perfect.
    discrimination : float
        What the corrected probabilities gain over saying the same for every item.
    uncertainty : float
        Brier score of saying the same for every item: p (1 - p).
    """

    miscalibration: float
    discrimination: float
    uncertainty: float


def fit_temperature(logits: NDArray[Any], labels: NDArray[Any], *, fitted_on: str = "") -> Calibration:
    """The temperature with the least negative log likelihood.

    Parameters
    ----------
    logits : (n,), (n, k) or (members, n, k) ndarray
        One column for yes or no, as many as labels else; members of an ensemble are averaged as
        probabilities, just as in prediction.
    labels : (n,) or (n, k) ndarray
        (n,) of one column: the probability of the positive class, NaN for none. (n,) of several
        columns: the number of the class, -1 for none. (n, k): 0 and 1 for each label.
    fitted_on : str
        Which data, for the card.

    Returns
    -------
    Calibration
        Between 0.05 and 100, whatever the data.

    Raises
    ------
    DatasetError
        No labelled item, or only one class.

    References
    ----------
    Guo et al. 2017, arXiv:1706.04599, section 4.2.
    """
    from scipy.optimize import minimize_scalar

    scores = _three_axes(logits)
    scores, truth = _labelled_logits(scores, np.asarray(labels))

    def loss(log_temperature: float) -> float:
        return _negative_log_likelihood(scores / np.exp(log_temperature), truth)

    bounds = (np.log(_COLDEST), np.log(_HOTTEST))
    found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-7})
    return Calibration(
        method="temperature",
        temperature=float(np.exp(found.x)),
        fitted_on=_on(fitted_on, scores.shape[1]),
    )


def fit_isotonic(probabilities: NDArray[Any], labels: NDArray[Any], *, fitted_on: str = "") -> Calibration:
    """The monotone map with the least squared error, as knots between which one interpolates.

    Parameters
    ----------
    probabilities : (n,) or (n, 1) ndarray
        Uncalibrated, of the positive class.
    labels : (n,) ndarray
        Probability of the positive class; NaN for none.
    fitted_on : str
        Which data, for the card.

    Returns
    -------
    Calibration

    Raises
    ------
    DatasetError
        No labelled item, or only one class.

    References
    ----------
    Zadrozny & Elkan 2002, KDD '02, 694.
    """
    given, truth = _binary(labels, probabilities)
    x, y = _isotonic_knots(given, truth)
    return Calibration(
        method="isotonic", x=tuple(x.tolist()), y=tuple(y.tolist()), fitted_on=_on(fitted_on, len(given))
    )


def reliability(
    labels: NDArray[Any], probabilities: NDArray[Any], bins: int = 15, *, equal_mass: bool = True
) -> Reliability:
    """How often what was given a probability came true.

    Parameters
    ----------
    labels : (n,) ndarray
        As for `fit_temperature`.
    probabilities : (n,), (n, 1) or (n, k) ndarray
        Of several columns, the largest of each row is judged.
    bins : int
    equal_mass : bool
        Bins of as many items each, rather than of the same width; equal probabilities stay together.

    Raises
    ------
    DatasetError
        No labelled item, or a probability that is not finite.
    """
    given, truth = _confidence(labels, probabilities)
    if bins < 1:
        raise UsageError(f"{bins} bins of probability were asked for; give at least 1")
    if equal_mass:
        edges = np.unique(np.quantile(given, np.arange(1, bins) / bins, method="inverted_cdf"))
        codes = np.searchsorted(edges, given, side="left")
    else:
        codes = np.minimum((given * bins).astype(np.int64), bins - 1)
    n = np.bincount(codes)
    full = n > 0
    count = n[full]
    share = np.bincount(codes, truth)[full] / count
    low, high = _wilson(share, count)
    return Reliability(np.bincount(codes, given)[full] / count, share, low, high, count.astype(np.int64))


def ece(
    labels: NDArray[Any], probabilities: NDArray[Any], bins: int = 15, *, equal_mass: bool = True
) -> float:
    """Expected calibration error: the mean distance of the reliability diagram from its diagonal.

    Parameters
    ----------
    labels, probabilities, bins, equal_mass
        As for `reliability`.

    Raises
    ------
    DatasetError
        As for `reliability`.

    References
    ----------
    Naeini et al. 2015, AAAI, 2901; Guo et al. 2017, eq. 3.
    """
    found = reliability(labels, probabilities, bins, equal_mass=equal_mass)
    return float(np.average(np.abs(found.observed - found.probability), weights=found.n))


def brier(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Brier score: mean squared error of the probabilities, summed over classes where there are several.

    Parameters
    ----------
    labels, probabilities
        As for `reliability`.

    Raises
    ------
    DatasetError
        No labelled item, or a probability that is not finite.

    References
    ----------
    Brier 1950, Mon. Weather Rev. 78, 1, eq. 2 (halved for yes or no, as has become usual).
    """
    values = np.asarray(probabilities)
    if values.ndim == 2 and values.shape[1] > 1:
        values, codes = _several(labels, values)
        truth = np.zeros_like(values)
        truth[np.arange(len(codes)), codes] = 1
        return float(((values - truth) ** 2).sum(axis=1).mean())
    given, wanted = _present(labels, values)
    return float(((given - wanted) ** 2).mean())


def brier_parts(labels: NDArray[Any], probabilities: NDArray[Any]) -> BrierParts:
    """The Brier score of a yes or no, taken apart without bins.

    Parameters
    ----------
    labels : (n,) ndarray
        Probability of the positive class; NaN for none.
    probabilities : (n,) or (n, 1) ndarray

    Raises
    ------
    DatasetError
        No labelled item, only one class, or a probability that is not finite.

    References
    ----------
    Dimitriadis, Gneiting & Jordan 2021, PNAS 118, e2016191118, eq. 4.
    """
    given, truth = _binary(labels, probabilities)
    corrected = np.interp(given, *_isotonic_knots(given, truth))
    score, best = ((given - truth) ** 2).mean(), ((corrected - truth) ** 2).mean()
    flat = ((truth.mean() - truth) ** 2).mean()
    return BrierParts(float(score - best), float(flat - best), float(flat))


def log_loss(labels: NDArray[Any], probabilities: NDArray[Any]) -> float:
    """Mean negative log likelihood; a probability of 0 counts as the smallest that float32 tells from 1.

    Parameters
    ----------
    labels, probabilities
        As for `reliability`.

    Raises
    ------
    DatasetError
        No labelled item, or a probability that is not finite.
    """
    values = np.asarray(probabilities)
    tiny = float(np.finfo(np.float32).eps)
    if values.ndim == 2 and values.shape[1] > 1:
        values, codes = _several(labels, values)
        return float(-np.log(np.maximum(values[np.arange(len(codes)), codes], tiny)).mean())
    given, truth = _present(labels, values)
    given = np.clip(given, tiny, 1 - tiny)
    return float(-(truth * np.log(given) + (1 - truth) * np.log1p(-given)).mean())


def _three_axes(logits: NDArray[Any]) -> NDArray[np.float64]:
    scores = np.asarray(logits, np.float64)
    if scores.ndim == 1:
        return scores[None, :, None]
    return scores[None] if scores.ndim == 2 else scores


def _labelled_logits(
    scores: NDArray[np.float64], labels: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Rows with a label: (members, n, k), and (n, k) of truth or (n,) codes for several classes."""
    n, k = scores.shape[1:]
    if len(labels) != n:
        raise DatasetError(f"there are {n} rows of logits and {len(labels)} labels; give one label a row")
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores).all(axis=(0, 2))))
        raise DatasetError(f"the logits of row {row} are not finite; look for what the network was given")
    several = labels.ndim == 1 and k > 1
    known = labels >= 0 if several else np.isfinite(labels.reshape(n, -1)).all(axis=1)
    truth = labels[known] if several else np.asarray(labels, np.float64).reshape(n, -1)[known]
    _check_classes(truth if several else truth >= 0.5)
    return scores[:, known], truth


def _negative_log_likelihood(scores: NDArray[np.float64], truth: NDArray[Any]) -> float:
    if truth.ndim == 1:
        shifted = scores - scores.max(axis=-1, keepdims=True)
        log_p = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        of_truth = log_p[:, np.arange(len(truth)), truth]
        return float(-_log_mean(of_truth).mean())
    log_yes, log_no = _log_mean(-np.logaddexp(0, -scores)), _log_mean(-np.logaddexp(0, scores))
    return float(-(truth * log_yes + (1 - truth) * log_no).mean())


def _log_mean(log_p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Log of the mean over members of what is given as logs."""
    if len(log_p) == 1:
        return log_p[0]
    return np.asarray(np.logaddexp.reduce(log_p, axis=0) - np.log(len(log_p)))


def _isotonic_knots(
    given: NDArray[np.float64], truth: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(given, truth)
    return fitted.X_thresholds_, fitted.y_thresholds_


def _binary(
    labels: NDArray[Any], probabilities: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    given, truth = _present(labels, probabilities)
    _check_classes(truth >= 0.5)
    return given, truth


def _present(
    labels: NDArray[Any], probabilities: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities and labels of the rows that have one."""
    given = np.asarray(probabilities, np.float64).reshape(-1)
    truth = np.asarray(labels, np.float64).reshape(-1)
    known = np.isfinite(truth)
    _check_probabilities(given, known)
    return given[known], truth[known]


def _several(
    labels: NDArray[Any], probabilities: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    codes = np.asarray(labels, np.int64)
    known = codes >= 0
    values = np.asarray(probabilities, np.float64)
    _check_probabilities(values, known)
    return values[known], codes[known]


def _confidence(
    labels: NDArray[Any], probabilities: NDArray[Any]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What is judged: the probability of yes and whether it is so, or that of the first choice."""
    values = np.asarray(probabilities)
    if values.ndim == 2 and values.shape[1] > 1:
        values, codes = _several(labels, values)
        return values.max(axis=1), (values.argmax(axis=1) == codes).astype(np.float64)
    return _present(labels, values)


def _check_probabilities(values: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
    if len(values) != len(known):
        raise DatasetError(
            f"there are {len(values)} probabilities and {len(known)} labels; give one label a row"
        )
    if not known.any():
        raise DatasetError("no item has a label; calibration and its figures need some")
    wrong = ~((values >= 0) & (values <= 1)).reshape(len(values), -1).all(axis=1)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise DatasetError(
            f"the probability of row {row} is {values[row]}, expected 0 to 1; give probabilities"
        )


def _check_classes(truth: NDArray[Any]) -> None:
    if not len(truth):
        raise DatasetError("no item has a label; calibration and its figures need some")
    if (truth == truth[0]).all():
        raise DatasetError("all labelled items are of one class; calibration needs items of every class")


def _wilson(
    share: NDArray[np.float64], n: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % interval of a share of n items (Wilson 1927, J. Am. Stat. Assoc. 22, 209)."""
    z = 1.959964
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    return np.clip(middle - half, 0, 1), np.clip(middle + half, 0, 1)


def _on(fitted_on: str, n: int) -> str:
    return f"{fitted_on}, {n} items" if fitted_on else f"{n} items"
