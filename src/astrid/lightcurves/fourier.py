"""Fourier series of light curves at a known period: how many harmonics the data bear, and their shape.

Finding the period is the business of `periods`.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.points import compiled, flat_columns, plain_columns

__all__ = ["FOURIER_NAMES", "fourier_series", "fourier_terms", "series_model"]

FOURIER_NAMES = (
    *("f1_power", "f1_bic", "f1_a", "f1_b", "f1_amp", "f1_phi0"),
    *(f"f1_rel{part}{k}" for k in range(1, 5) for part in ("amp", "phi")),
)
"""The 14 terms, in the order in which they come out."""

_LEAST = 4


def fourier_terms(curve: LightCurve, period: float) -> dict[str, float]:
    """The 14 Fourier terms of a light curve at a period; `features.FEATURES` says what each is.

    Parameters
    ----------
    curve : LightCurve
        Magnitudes with errors, in one band.
    period : float, days

    Raises
    ------
    DependencyError
        numba is not installed.
    LightCurveError
        Fewer than four points with errors, or all of one moment, or a straight line without scatter.

    References
    ----------
    Coughlin et al. 2021, arXiv:2009.14071, section 3; the series are in the phase of MJD 0.
    """
    time, mag, error = plain_columns(curve, _LEAST)
    row = fourier_series(time, mag, error, [0, len(time)], [period])[0]
    if not np.isfinite(row).all():
        raise LightCurveError(
            f"{curve.name}: the points lie on a straight line exactly; it has no Fourier terms"
        )
    return dict(zip(FOURIER_NAMES, row.tolist(), strict=True))


def fourier_series(
    time: ArrayLike,
    mag: ArrayLike,
    error: ArrayLike,
    offsets: ArrayLike,
    periods: ArrayLike,
    *,
    relative: bool = True,
) -> NDArray[np.float64]:
    """The 14 terms of light curves that stand one after the other.

    Parameters
    ----------
    time, mag, error : (n,) array_like, days, mag, mag
    offsets : (m + 1,) array_like of int
        Curve i has the points from ``offsets[i]`` to below ``offsets[i + 1]``, four or more.
    periods : (m,) array_like, days
    relative : bool
        Amplitudes and phases, those of the higher harmonics relative to the first. Otherwise the
        coefficients of cosine and sine as they are: SCOPE's published tables hold these under the same
        names.

    Returns
    -------
    terms : (m, 14) float64 ndarray
        As `FOURIER_NAMES`; 0 for harmonics that the BIC does not bear out. The power is NaN where the
        points lie on a straight line exactly.

    Raises
    ------
    DependencyError
        numba is not installed.
    LightCurveError
        Too few points, times that decrease or do not differ, or a period that is not positive.
    """
    columns, bounds = flat_columns(time, mag, error, offsets, _LEAST)
    trial = np.require(periods, np.float64, ["C", "W"])
    if trial.shape != (len(bounds) - 1,):
        raise LightCurveError(f"{trial.size} periods for {len(bounds) - 1} light curves; give one for each")
    wrong = np.flatnonzero(~(np.isfinite(trial) & (trial > 0)))
    if len(wrong):
        raise LightCurveError(f"curve {wrong[0]}: period {trial[wrong[0]]} d; give a positive one")
    series = np.empty((len(trial), 15))
    compiled().fit_series(*columns, bounds, trial, series)
    return _relative(series) if relative else series[:, :14]


def series_model(
    terms: dict[str, float], time: ArrayLike, first: float, period: float
) -> NDArray[np.float64]:
    """The magnitudes that the 14 terms stand for.

    Parameters
    ----------
    terms : dict
        Of `fourier_terms`.
    time : (n,) array_like, MJD
    first : float, MJD
        Of the first point of the light curve, at which the slope begins.
    period : float, days
    """
    t = np.asarray(time, np.float64)
    angle = 2 * math.pi * ((t / period) % 1)
    mag = terms["f1_a"] + terms["f1_b"] * (t - first)
    mag += terms["f1_amp"] * np.sin(angle + terms["f1_phi0"])
    for k in range(1, 5):
        harmonic = k + 1
        phase = harmonic * terms["f1_phi0"] + 2 * math.pi * terms[f"f1_relphi{k}"]
        mag += terms["f1_amp"] * terms[f"f1_relamp{k}"] * np.sin(harmonic * angle + phase)
    return mag


def _relative(series: NDArray[Any]) -> NDArray[np.float64]:
    """Amplitude and phase of the first harmonic, and ratios and differences to it of the others."""
    terms = series[:, :14].copy()
    cosine, sine = series[:, 4:14:2], series[:, 5:14:2]
    number = np.arange(1, 6)
    amplitude, phase = np.hypot(cosine, sine), np.arctan2(cosine, sine)
    there = number <= series[:, 14:]
    first = np.where(amplitude[:, :1] > 0, amplitude[:, :1], 1.0)
    shift = (phase / number - phase[:, :1]) * number / (2 * np.pi) % 1
    terms[:, 4:14:2] = np.where(there, amplitude / np.where(number > 1, first, 1.0), 0.0)
    terms[:, 5:14:2] = np.where(there, np.where(number > 1, shift % 1, phase), 0.0)
    return terms
