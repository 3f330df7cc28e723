"""From the matched-filter score to a significance that can be believed: S_corr.

Pixel noise is known from the images; what the PSFs, the flux ratio and the
registration still get wrong is measured on the stars that did not change.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.noise import robust_sigma
from astrid.images.proper import Subtraction

__all__ = ["Significance", "corrected_significance", "source_free"]

# What is assumed of PSF model and registration, and how many stars that assumption counts for.
_PRIOR_STARS = 5
_PRIOR_FLUX = 0.003
_PRIOR_SHIFT = 0.01
# Fewer stars tell more of their own motions and colours than of the registration.
_FEWEST_STARS = 10
_FEWEST_PIXELS = 1000
# Variance that is left of a Gaussian when |z| > 3 is cut.
_CUT_VARIANCE = 0.9733


@dataclass(frozen=True, eq=False)
class Significance:
    """S_corr and the terms that went into it.

    Parameters
    ----------
    image : (ny, nx) float32 ndarray
        S_corr.
    variance : (ny, nx) float32 ndarray
        All terms together, in the units of S squared.
    flux_error : float
        Relative error left in the flux of a static source by PSF and flux ratio.
    shift_error : float, px
        Registration error left, per axis.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    flux_error: float
    shift_error: float


def corrected_significance(
    subtraction: Subtraction,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    *,
    fwhm: float,
    registered_by_kernel: bool = False,
) -> Significance:
    """Divide the score by all its noise: pixels, source photons, astrometry, PSF model.

    The last two are one number each for the image, found by maximum likelihood on the
    centres and on the flanks of static stars, outliers cut.

    Parameters
    ----------
    subtraction : Subtraction
    x, y : (n,) float64 ndarray, px
        Unsaturated stars.
    fwhm : float, px
        Of the science PSF.
    registered_by_kernel : bool
        A fitted kernel carries the registration with it; what is left on single stars
        is their own motion and colour, and then no astrometric term is added.

    Returns
    -------
    significance : Significance

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, eqs. 25 to 33.
    """
    ny, nx = subtraction.score.shape
    row, column = np.rint(y).astype(int), np.rint(x).astype(int)
    reach = max(1, round(0.6 * fwhm))
    inside = (row >= reach + 1) & (row < ny - reach - 1) & (column >= reach + 1) & (column < nx - reach - 1)
    row, column = row[inside], column[inside]
    signal, variance = subtraction.science_score, subtraction.variance
    flux_error2 = _excess(
        subtraction.score[row, column], variance[row, column], np.square(signal[row, column]), _PRIOR_FLUX**2
    )
    flank = [(0, reach), (0, -reach), (reach, 0), (-reach, 0)]
    rows = np.concatenate([row + dy for dy, _ in flank])
    columns = np.concatenate([column + dx for _, dx in flank])
    shift_error2 = 0.0
    if not registered_by_kernel:
        known = variance[rows, columns] + flux_error2 * np.square(signal[rows, columns])
        slope2 = _slope_squared(signal, rows, columns)
        shift_error2 = _excess(subtraction.score[rows, columns], known, slope2, _PRIOR_SHIFT**2)
    total = variance + np.float32(flux_error2) * np.square(signal)
    if shift_error2 > 0:
        gy, gx = np.empty_like(signal), np.empty_like(signal)
        ndimage.correlate1d(signal, (-0.5, 0, 0.5), axis=0, output=gy, mode="nearest")
        ndimage.correlate1d(signal, (-0.5, 0, 0.5), axis=1, output=gx, mode="nearest")
        np.square(gy, out=gy)
        np.square(gx, out=gx)
        gy += gx
        gy *= np.float32(shift_error2)
        total += gy
    image = subtraction.score / np.sqrt(total)
    return Significance(image, total, float(np.sqrt(flux_error2)), float(np.sqrt(shift_error2)))


def source_free(subtraction: Subtraction, mask: NDArray[np.uint16], *, level: float = 3.0) -> NDArray[np.bool_]:
    """Pixels where the science image shows nothing and no flag is set, (ny, nx) bool.

    All good pixels if that leaves fewer than a thousand, as in a crowded field.

    Parameters
    ----------
    subtraction : Subtraction
    mask : (ny, nx) uint16 ndarray
    level : float
        Significance in the science image from which on a pixel belongs to a source.
    """
    lit = np.square(subtraction.science_score) > np.float32(level**2) * subtraction.variance
    near = ndimage.maximum_filter((lit | (mask != 0)).view(np.uint8), 9, mode="nearest")
    empty = near == 0
    # A crowded field has no empty sky; then every good pixel has to do.
    return empty if empty.sum() >= _FEWEST_PIXELS else mask == 0


def _slope_squared(
    image: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float32]:
    across = (image[rows, columns + 1] - image[rows, columns - 1]) / 2
    along = (image[rows + 1, columns] - image[rows - 1, columns]) / 2
    return np.asarray(across**2 + along**2)


def _excess(
    score: NDArray[np.float32], variance: NDArray[np.float32], power: NDArray[np.float32], prior: float
) -> float:
    """Maximum-likelihood e in <score^2> = variance + e power, with |z| > 3 cut and a weak prior."""
    usable = (variance > 0) & (power > 0)
    if usable.sum() < _FEWEST_STARS:
        return prior
    ratio = (score[usable].astype(float)) ** 2 / power[usable]
    noise = variance[usable].astype(float) / power[usable]
    excess = prior
    for _ in range(30):
        expected = noise + excess
        kept = ratio < 9 * expected
        weight = np.where(kept, 1 / expected**2, 0)
        prior_weight = _PRIOR_STARS / prior**2 if not weight.any() else _PRIOR_STARS / (prior + excess) ** 2
        top = (weight * (ratio / _CUT_VARIANCE - noise)).sum() + prior_weight * prior
        new = max(float(top / (weight.sum() + prior_weight)), 0.0)
        if abs(new - excess) < 1e-3 * max(new, 1e-12):
            return new
        excess = new
    return excess


def robust_width(significance: NDArray[np.float32], where: NDArray[np.bool_]) -> float:
    """Robust sigma of S_corr where nothing is, from at most a million pixels.

    Parameters
    ----------
    significance : (ny, nx) float32 ndarray
    where : (ny, nx) bool ndarray

    Returns
    -------
    sigma : float
        NaN if there is no such pixel.
    """
    values = significance[where]
    if values.size < 2:
        return float("nan")
    return robust_sigma(values[:: max(1, values.size // 1_000_000)])
