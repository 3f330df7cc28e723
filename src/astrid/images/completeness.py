"""Completeness against magnitude: binomial intervals, a fitted curve, its limits, its figure.

It counts trials and successes and knows nothing of images; see `injection`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from astrid.images.injection import InjectionResult

__all__ = ["Completeness", "completeness", "plot_injections", "wilson_interval"]


@dataclass(frozen=True, eq=False)
class Completeness:
    """The share of sources that is recovered, against magnitude.

    Parameters
    ----------
    edges : (bins + 1,) float64 ndarray, mag
    n, k : (bins,) int64 ndarray
        Sources and recovered sources in each bin.
    fraction, low, high : (bins,) float64 ndarray
        k / n and its 68 % Wilson interval; NaN in empty bins.
    midpoint, width : float, mag
        Of the fitted curve ``plateau / 2 erfc((mag - midpoint) / (sqrt(2) width))``.
    plateau : float
        Completeness of bright sources.
    limit_50, limit_90 : float or None, mag
        Where the fitted curve crosses 0.5 and 0.9; None where it does not within
        the magnitudes that were tried.
    limit_50_err, limit_90_err : float or None, mag
        Standard deviation, from the Fisher information of the sources.
    """

    edges: NDArray[np.float64]
    n: NDArray[np.int64]
    k: NDArray[np.int64]
    fraction: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    midpoint: float
    width: float
    plateau: float
    limit_50: float | None
    limit_50_err: float | None
    limit_90: float | None
    limit_90_err: float | None

    def curve(self, magnitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """The fitted completeness at some magnitudes."""
        return _curve(magnitude, self.midpoint, self.width, self.plateau)


def completeness(
    magnitude: NDArray[np.float64],
    recovered: NDArray[np.bool_],
    limits: tuple[float, float],
    *,
    bins: int = 10,
) -> Completeness:
    """Bin recovered sources and fit their completeness by maximum likelihood, source by source.

    Parameters
    ----------
    magnitude : (n,) float64 ndarray, mag
    recovered : (n,) bool ndarray
    limits : (float, float), mag
        Brightest and faintest magnitude that was tried.
    bins : int

    Returns
    -------
    Completeness

    Raises
    ------
    UsageError
        No source.
    """
    if not len(magnitude):
        raise UsageError("no source was injected; completeness needs at least one")
    edges = np.linspace(*limits, bins + 1)
    n = np.histogram(magnitude, edges)[0].astype(np.int64)
    k = np.histogram(magnitude[recovered], edges)[0].astype(np.int64)
    low, high = wilson_interval(k, n)
    best = _fit(magnitude, recovered, limits)
    crossings = [_crossing(level, best, limits) for level in (0.5, 0.9)]
    errors = [_crossing_error(level, best, magnitude) for level in (0.5, 0.9)]
    errors = [None if found is None else error for found, error in zip(crossings, errors, strict=True)]
    return Completeness(
        edges=edges,
        n=n,
        k=k,
        fraction=np.where(n > 0, k / np.maximum(n, 1), np.nan),
        low=low,
        high=high,
        midpoint=best[0],
        width=best[1],
        plateau=best[2],
        limit_50=crossings[0],
        limit_50_err=errors[0],
        limit_90=crossings[1],
        limit_90_err=errors[1],
    )


def wilson_interval(
    k: NDArray[np.int64], n: NDArray[np.int64], z: float = 1.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wilson score interval of a binomial share.

    Parameters
    ----------
    k, n : (bins,) int64 ndarray
        Successes and trials.
    z : float
        Standard deviations on either side; 1 is 68 %.

    Returns
    -------
    low, high : (bins,) float64 ndarray
        NaN where n is 0.

    References
    ----------
    Wilson 1927, J. Am. Stat. Assoc. 22, 209.
    """
    trials = np.where(n > 0, n, 1).astype(float)
    share = k / trials
    middle = (share + z**2 / (2 * trials)) / (1 + z**2 / trials)
    half = z / (1 + z**2 / trials) * np.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    low = np.where(n > 0, np.maximum(middle - half, 0.0), np.nan)
    high = np.where(n > 0, np.minimum(middle + half, 1.0), np.nan)
    return low, high


def plot_injections(result: InjectionResult) -> Figure:
    """Draw completeness with its fit, and recovered against injected flux.

    Parameters
    ----------
    result : InjectionResult

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Not tied to any window; call ``savefig``.
    """
    from matplotlib.figure import Figure

    curve, table = result.completeness, result.injections
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    label = "magnitude" if result.calibrated else "instrumental magnitude, −2.5 log10(ADU)"
    middle = (curve.edges[1:] + curve.edges[:-1]) / 2
    filled = curve.n > 0
    error = np.stack([curve.fraction - curve.low, curve.high - curve.fraction])[:, filled]
    left.errorbar(middle[filled], curve.fraction[filled], np.maximum(error, 0), fmt="o", label="68 % Wilson")
    fine = np.linspace(curve.edges[0], curve.edges[-1], 300)
    left.plot(fine, curve.curve(fine), label="fit")
    for share, limit in ((0.5, curve.limit_50), (0.9, curve.limit_90)):
        if limit is not None:
            left.plot([limit, limit], [0, share], ":", color="grey")
            left.annotate(f"{share:.0%}: {limit:.2f}", (limit, 0.02), rotation=90, ha="right")
    left.set(xlabel=label, ylabel="completeness", ylim=(0, 1.05))
    left.legend()
    found = np.asarray(table["recovered"], bool)
    share = np.asarray(table["flux_measured"])[found] / np.asarray(table["flux"])[found]
    share_error = np.asarray(table["flux_err"])[found] / np.asarray(table["flux"])[found]
    right.errorbar(np.asarray(table["mag"])[found], share, share_error, fmt=".", alpha=0.5)
    right.axhline(1, color="grey", linestyle=":")
    right.set(xlabel=label, ylabel="measured / injected flux", ylim=(0, 2))
    return figure


def _curve(
    magnitude: NDArray[np.float64], midpoint: float, width: float, plateau: float
) -> NDArray[np.float64]:
    from scipy.special import erfc

    values: NDArray[np.float64] = 0.5 * plateau * erfc((magnitude - midpoint) / (np.sqrt(2) * width))
    return values


def _fit(
    magnitude: NDArray[np.float64], recovered: NDArray[np.bool_], limits: tuple[float, float]
) -> tuple[float, float, float]:
    """Midpoint, width and plateau of greatest likelihood."""
    from scipy.optimize import minimize

    def surprise(parameters: NDArray[np.float64]) -> float:
        p = np.clip(_curve(magnitude, *parameters), 1e-6, 1 - 1e-6)
        return float(-np.sum(np.where(recovered, np.log(p), np.log1p(-p))))

    span = limits[1] - limits[0]
    # where the count of recovered sources would put a sharp edge
    start = limits[0] + span * float(np.clip(recovered.mean(), 0.05, 0.95))
    bounds = [(limits[0] - span, limits[1] + span), (0.02 * span, span), (0.01, 1.0)]
    fits = [
        minimize(surprise, [start, width * span, plateau], method="L-BFGS-B", bounds=bounds)
        for width, plateau in ((0.1, 0.98), (0.1, 0.8))
    ]
    midpoint, width, plateau = min(fits, key=lambda fit: float(fit.fun)).x
    return float(midpoint), float(width), float(plateau)


def _crossing(level: float, fit: tuple[float, float, float], limits: tuple[float, float]) -> float | None:
    """Magnitude at which the curve falls through a level, if it does so between the limits."""
    magnitude = _magnitude_at(level, fit)
    return magnitude if magnitude is not None and limits[0] <= magnitude <= limits[1] else None


def _magnitude_at(level: float, fit: tuple[float, ...]) -> float | None:
    from scipy.special import erfcinv

    midpoint, width, plateau = fit
    if plateau <= level:
        return None
    return float(midpoint + np.sqrt(2) * width * float(erfcinv(2 * level / plateau)))


def _crossing_error(
    level: float, fit: tuple[float, float, float], magnitude: NDArray[np.float64]
) -> float | None:
    """Standard deviation of the crossing: the inverse Fisher matrix, propagated to first order."""
    # a plateau at its bound of 1 is no free parameter
    free = [0, 1] if fit[2] > 1 - 1e-6 else [0, 1, 2]
    p = np.clip(_curve(magnitude, *fit), 1e-6, 1 - 1e-6)
    slopes, gradient = [], []
    for index in free:
        step = 1e-4 * max(fit[1], 1e-3)
        up, down = list(fit), list(fit)
        up[index] += step
        down[index] -= step
        slopes.append((_curve(magnitude, *up) - _curve(magnitude, *down)) / (2 * step))
        crossings = [_magnitude_at(level, (*around,)) for around in (up, down)]
        if crossings[0] is None or crossings[1] is None:
            return None
        gradient.append((crossings[0] - crossings[1]) / (2 * step))
    slope = np.array(slopes)
    fisher = (slope / (p * (1 - p))) @ slope.T
    variance = np.array(gradient) @ np.linalg.pinv(fisher) @ np.array(gradient)
    return float(np.sqrt(max(variance, 0.0)))
