"""Slow variations of a star taken out of its flux, so that dips of hours stand alone.

The trend only: nothing is searched for here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import DependencyError, LightCurveError, UsageError
from astrid.lightcurves.periods.boxes import transit_duration

__all__ = ["WINDOW", "clip_bright", "detrend"]

WINDOW = 3.0 * float(transit_duration(13.5))
"""Default window [days]: three central transits at 13.5 d, two of which fit 27 d (Rao et al. 2021)."""

NODES = 10  # the trend is measured so often in a window, and interpolated between


def detrend(
    time: ArrayLike,
    flux: ArrayLike,
    window: float = WINDOW,
    *,
    method: str = "biweight",
    gap: float = 0.5,
    mask: ArrayLike | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Divide a flux by its slow trend.

    Parameters
    ----------
    time : (n,) array_like, days
        Increasing.
    flux : (n,) array_like
        Positive on the whole; what is not finite stays so.
    window : float, days
        Variations slower than this are taken out; three times the longest dip that is to stay, or more.
    method : str
        ``biweight``: Tukey's location in a sliding window, measured ten times a window. Any other name is a
        method of wotan (``rspline``, ``hspline``, ``cofiam``, ...).
    gap : float, days
        Parts with a longer gap between them have trends of their own.
    mask : (n,) array_like of bool, optional
        Points that the trend is not to follow, such as known dips.

    Returns
    -------
    flat, trend : (n,) float64 ndarray
        `flat` is about 1. Not finite where `flux` is not, or where no trend can be measured.

    Raises
    ------
    LightCurveError
        Times do not increase, lengths differ, or there is nothing positive.
    UsageError
        The window is not positive.
    DependencyError
        wotan is not installed.

    References
    ----------
    Hippke et al. 2019, AJ 158, 143.
    """
    times, fluxes = np.asarray(time, dtype=np.float64), np.asarray(flux, dtype=np.float64)
    if times.ndim != 1 or times.shape != fluxes.shape:
        raise LightCurveError(
            f"times of shape {times.shape} and fluxes of {fluxes.shape}; give two arrays of one length"
        )
    if not window > 0:
        raise UsageError(f"a window of {window:g} d cannot be used; give a positive number of days")
    usable = np.isfinite(times) & np.isfinite(fluxes)
    if mask is not None:
        usable &= ~np.asarray(mask, dtype=bool)
    if np.any(np.diff(times[np.isfinite(times)]) < 0):
        raise LightCurveError("times do not increase; sort the light curve before its trend is taken out")
    if np.count_nonzero(usable) < 3 or not np.median(fluxes[usable]) > 0:
        raise LightCurveError(
            f"{np.count_nonzero(usable)} usable points, which are not positive on the whole; a trend needs "
            "three points of flux above zero"
        )
    if method == "biweight":
        trend = sliding_biweight(times, fluxes, usable, window, gap)
    else:
        trend = trend_of_wotan(times, np.where(usable, fluxes, np.nan), window, gap, method)
    with np.errstate(invalid="ignore", divide="ignore"):
        flat = np.where(trend > 0, fluxes / trend, np.nan)
    return flat, trend


def clip_bright(flat: ArrayLike, sigma: float = 3.0) -> NDArray[np.bool_]:
    """Say which points of a flat curve are to be kept: all but those far above, in robust deviations.

    A dip is never cut. What is not finite is not kept.
    """
    values = np.asarray(flat, dtype=np.float64)
    median = np.nanmedian(values)
    spread = 1.4826 * np.nanmedian(np.abs(values - median))
    return np.isfinite(values) & (values <= median + sigma * spread if spread > 0 else True)


def sliding_biweight(
    time: NDArray[np.float64], flux: NDArray[np.float64], usable: NDArray[np.bool_], window: float, gap: float
) -> NDArray[np.float64]:
    """Measure the trend at nodes, part by part, and interpolate."""
    trend = np.full(time.shape, np.nan)
    finite = np.flatnonzero(np.isfinite(time))
    for part in np.split(finite, np.flatnonzero(np.diff(time[finite]) > gap) + 1):
        own = part[usable[part]]
        if own.size < 3:
            continue
        times, values = time[own], flux[own]
        count = max(int(np.ceil((times[-1] - times[0]) / window * NODES)), 1) + 1
        nodes = np.linspace(times[0], times[-1], count)
        first = np.searchsorted(times, nodes - window / 2)
        after = np.searchsorted(times, nodes + window / 2, side="right")
        filled = after - first >= 3
        if not filled.any():
            continue
        level = np.array([biweight(values[a:b]) for a, b in zip(first[filled], after[filled], strict=True)])
        trend[part] = np.interp(time[part], nodes[filled], level)
    return trend


def biweight(values: NDArray[np.float64], cut: float = 5.0) -> float:
    """Tukey's location: points more than `cut` median deviations away do not count."""
    centre = float(np.median(values))
    for _ in range(10):
        deviation = values - centre
        spread = float(np.median(np.abs(deviation)))
        if spread == 0:
            return centre
        weight = np.clip(1 - (deviation / (cut * spread)) ** 2, 0, None) ** 2
        step = float(weight @ deviation / weight.sum())
        centre += step
        if abs(step) < 1e-3 * spread:
            break
    return centre


def trend_of_wotan(
    time: NDArray[np.float64], flux: NDArray[np.float64], window: float, gap: float, method: str
) -> NDArray[np.float64]:
    """Ask wotan for the trend."""
    try:
        from wotan import flatten
    except ModuleNotFoundError as error:
        raise DependencyError(
            f'the trend "{method}" needs wotan; pip install "astrid[lightcurves]"'
        ) from error
    try:
        _, trend = flatten(
            time, flux, window_length=window, method=method, break_tolerance=gap, return_trend=True
        )
    except ValueError as error:
        raise UsageError(f'wotan refuses the trend "{method}": {error}') from error
    return np.asarray(trend, dtype=np.float64)
