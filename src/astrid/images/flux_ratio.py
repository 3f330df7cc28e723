"""The flux ratio of two aligned frames, from their matched stars.

Never from pixels: medians of background-subtracted images are zero over zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid.errors import SubtractionError

__all__ = ["FluxRatio", "measure_flux_ratio"]

_INTRINSIC = 0.01  # relative scatter of real stars: variability, colour, flat fields


@dataclass(frozen=True)
class FluxRatio:
    """Flux in the reference over flux in the science frame.

    Parameters
    ----------
    value, error : float
    n_stars : int
        Stars that were kept.
    scatter : float
        Robust relative scatter of the stars about the ratio, beyond their noise.
    """

    value: float
    error: float
    n_stars: int
    scatter: float


def measure_flux_ratio(
    science_flux: NDArray[np.float64],
    science_err: NDArray[np.float64],
    reference_flux: NDArray[np.float64],
    reference_err: NDArray[np.float64],
    *,
    fewest: int = 3,
) -> FluxRatio:
    """Robust line through the origin with errors in both fluxes.

    Parameters
    ----------
    science_flux, science_err, reference_flux, reference_err : (n,) float64 ndarray, ADU
        Fluxes of the same stars in both frames; what is not finite is left out.
    fewest : int
        Stars that must remain.

    Returns
    -------
    ratio : FluxRatio

    Raises
    ------
    SubtractionError
        Too few usable stars.

    References
    ----------
    Iteratively reweighted least squares with Tukey's biweight: Huber & Ronchetti 2009,
    Robust Statistics, chapter 7.
    """
    usable = np.isfinite(science_flux) & np.isfinite(reference_flux)
    usable &= np.isfinite(science_err) & np.isfinite(reference_err)
    usable &= (science_flux > 5 * science_err) & (reference_flux > 5 * reference_err)
    if usable.sum() < fewest:
        raise SubtractionError(
            f"{int(usable.sum())} stars have a flux in both frames, but the flux ratio needs {fewest}; "
            "use frames with more stars in common"
        )
    fs, es, fr, er = (column[usable] for column in (science_flux, science_err, reference_flux, reference_err))
    ratio = float(np.median(fr / fs))
    weight = np.ones(len(fs))
    for _ in range(20):
        # The mean of both estimates of the brightness, so that noise in neither biases the slope.
        bright = (fs + fr / ratio) / 2
        error = np.hypot(er, ratio * es)
        total = np.hypot(error, _INTRINSIC * ratio * bright)
        residual = (fr - ratio * fs) / total
        cut = 4.685 * max(1.0, 1.4826 * float(np.median(np.abs(residual))))
        weight = np.clip(1 - (residual / cut) ** 2, 0, None) ** 2 / total**2
        step = float((weight * bright * (fr - ratio * fs)).sum() / (weight * bright**2).sum())
        ratio += step
        if abs(step) < 1e-7 * ratio:
            break
    kept = weight > 0
    information = float((weight * bright**2).sum())
    chi2 = float((weight * (fr - ratio * fs) ** 2).sum() / max(kept.sum() - 1, 1))
    relative = (fr - ratio * fs)[kept] / (ratio * bright[kept])
    noise = error[kept] / (ratio * bright[kept])
    scatter2 = (1.4826 * float(np.median(np.abs(relative)))) ** 2 - float(np.median(noise)) ** 2
    return FluxRatio(
        ratio, float(np.sqrt(max(chi2, 1.0) / information)), int(kept.sum()), float(np.sqrt(max(scatter2, 0)))
    )
