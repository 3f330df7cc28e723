"""Light curves of transients on an even grid of times, by a Gaussian process in each band.

It fills gaps between points and goes no further: before the first and after the last point there is nothing.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["VERSION", "EvenCurve", "even_curve", "per_wavelength"]

VERSION = 1
"""Of the representation: another output is another version."""

_LENGTHS = (20.0, 150.0)  # d, between which the time scale is sought
_FIRST_LENGTH = 100.0
_MOST_POINTS = 2000
_LIGHT = 2.99792458e18  # Å/s
_NANOJANSKY = 1e-32  # erg/s/cm²/Hz


class EvenCurve(NamedTuple):
    """A light curve on an even grid.

    Parameters
    ----------
    time : (n,) float64 ndarray, days
        From the first point that was used.
    flux, error : (bands, n) float32 ndarray
        In the unit of the fluxes; 0 where `mask` is False.
    mask : (bands, n) bool ndarray
        Whether the time lies between points of the band.
    start : float, MJD
        Of time 0.
    lengths : tuple of float or None, days
        Time scale of each band's Gaussian process; None for a band without enough points.
    """

    time: NDArray[np.float64]
    flux: NDArray[np.float32]
    error: NDArray[np.float32]
    mask: NDArray[np.bool_]
    start: float
    lengths: tuple[float | None, ...]


def even_curve(
    curve: LightCurve,
    bands: Sequence[str] = ("g", "r"),
    *,
    step: float = 0.5,
    span: float = 200.0,
    length: float | None = None,
    fewest: int = 4,
    snr: float = 5.0,
) -> EvenCurve:
    """Interpolate the fluxes of some bands by Gaussian processes.

    Parameters
    ----------
    curve : LightCurve
        Magnitudes or fluxes with errors. Magnitudes become fluxes in nJy.
    bands : sequence of str
    step, span : float, days
        The grid has ``span / step`` times, from the first point in any of the bands.
    length : float, optional, days
        Time scale of the squared-exponential kernel; fitted between 20 and 150 d if not given, with the
        amplitude and a white noise beside the errors.
    fewest : int
        Points that a band needs; one that has fewer stays empty.
    snr : float
        Points of less are left out.

    Returns
    -------
    even : EvenCurve

    Raises
    ------
    LightCurveError
        No errors, or no band with enough points.
    UsageError
        A grid without times.

    References
    ----------
    Sharma et al. 2024, arXiv:2412.08601, section 3: kernel, grid and the least number of points. They cut
    at mag / error of 5, which nearly everything passes; here it is flux / error.
    """
    if not (0 < step <= span <= 1e5 * step) or (length is not None and not length > 0):
        raise UsageError(
            f"step {step}, span {span}, length {length} d; give positive ones, at most 100 000 steps"
        )
    if not bands or len(set(bands)) < len(bands):
        raise UsageError(f"bands {', '.join(bands)}; name each once")
    flux = _detections(curve, bands, snr)
    start = float(flux.time[0])
    time = np.arange(round(span / step), dtype=np.float64) * step
    values = np.zeros((2, len(bands), len(time)), np.float32)
    mask = np.zeros((len(bands), len(time)), np.bool_)
    lengths: list[float | None] = []
    for k, band in enumerate(bands):
        chosen = flux.band == flux.bands.index(band) if band in flux.bands else np.zeros(len(flux), np.bool_)
        if chosen.sum() < fewest:
            lengths.append(None)
            continue
        points = flux.at(chosen)
        when = points.time - start
        mask[k] = (time >= when[0]) & (time <= when[-1])
        *values[:, k, mask[k]], found = _process(points, when, time[mask[k]], length)
        lengths.append(found)
    if not any(lengths):
        raise LightCurveError(
            f"{curve.name}: no band of {', '.join(bands)} has {fewest} points of S/N {snr:g}; wait for more"
        )
    return EvenCurve(time, values[0], values[1], mask, start, tuple(lengths))


def per_wavelength(flux: NDArray[np.floating], wavelength: float) -> NDArray[np.float64]:
    """Flux per wavelength [erg/s/cm²/Å] of one per frequency [nJy], at a wavelength [Å]."""
    return np.asarray(flux, np.float64) * (_NANOJANSKY * _LIGHT / wavelength**2)


def _detections(curve: LightCurve, bands: Sequence[str], snr: float) -> LightCurve:
    """The points that can be used, in fluxes."""
    flux = curve.as_flux()
    if flux.error is None:
        raise LightCurveError(f"{curve.name}: no point has an error; interpolation needs errors")
    codes = [flux.bands.index(band) for band in bands if band in flux.bands]
    used = np.isin(flux.band, codes) & (flux.value >= snr * flux.error)  # not where the error is NaN
    if not used.any():
        raise LightCurveError(f"{curve.name}: no point in {', '.join(bands)} has S/N {snr:g}; wait for more")
    return flux.at(used)


def _process(
    points: LightCurve, when: NDArray[np.float64], wanted: NDArray[np.float64], length: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Mean and standard deviation of the process at the wanted times, and its time scale."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    if len(points) > _MOST_POINTS:
        raise LightCurveError(
            f"{points.name}: {len(points)} points in a band; average them to {_MOST_POINTS}"
        )
    assert points.error is not None
    scale = float(np.max(points.value))
    amplitude = ConstantKernel(1.0, (1e-2, 1e2))
    # Without a fit the points themselves tell no white noise: their errors have to do.
    kernel = (
        amplitude * RBF(_FIRST_LENGTH, _LENGTHS) + WhiteKernel(1e-4, (1e-10, 1e-1))
        if length is None
        else amplitude * RBF(length)
    )
    process = GaussianProcessRegressor(
        kernel, alpha=(points.error / scale) ** 2, optimizer="fmin_l_bfgs_b" if length is None else None
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # a time scale at its bound is meant to stay there
        process.fit(when[:, None], points.value / scale)
    found = process.kernel_.k1.k2.length_scale if length is None else length
    if not len(wanted):
        return wanted, wanted, float(found)
    # The white part is the scatter of points, not of the curve.
    mean, deviation = process.predict(wanted[:, None], return_std=True)
    noise = process.kernel_.k2.noise_level if length is None else 0.0
    return mean * scale, np.sqrt(np.maximum(deviation**2 - noise, 0)) * scale, float(found)
