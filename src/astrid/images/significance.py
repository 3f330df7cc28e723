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

__all__ = ["Significance", "corrected_significance", "significance_sigma"]

# What is assumed of PSF model and registration, and how many stars that assumption counts for.
_PRIOR_STARS = 5
_PRIOR_FLUX = 0.003
_PRIOR_SHIFT = 0.01
# Fewer stars tell more of their own motions and colours than of the registration.
_FEWEST_STARS = 20
_FEWEST_PIXELS = 1000
_LIT = np.float32(3.0)  # significance in the science image from which on a pixel belongs to a source
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
    n_stars : int
        Stars that these two rest on; with fewer than 20 they are assumed.
    """

    image: NDArray[np.float32]
    variance: NDArray[np.float32]
    flux_error: float
    shift_error: float
    n_stars: int

    @property
    def measured(self) -> bool:
        """Whether there were stars enough to tell what static stars leave behind."""
        return self.n_stars >= _FEWEST_STARS


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
    # Static light is what both images show: a change must not count against itself.
    signal = np.minimum(subtraction.science_score, subtraction.science_score - subtraction.score)
    variance = subtraction.variance
    flux_error2 = _excess(
        subtraction.score[row, column], variance[row, column], np.square(signal[row, column]), _PRIOR_FLUX**2
    )
    shift_error2 = 0.0
    if not registered_by_kernel:
        flank = [(0, reach), (0, -reach), (reach, 0), (-reach, 0)]
        rows = np.concatenate([row + dy for dy, _ in flank])
        columns = np.concatenate([column + dx for _, dx in flank])
        known = variance[rows, columns] + flux_error2 * np.square(signal[rows, columns])
        slope2 = _slope_squared(signal, rows, columns)
        shift_error2 = _excess(subtraction.score[rows, columns], known, slope2, _PRIOR_SHIFT**2)
    total = np.square(signal)
    total *= np.float32(flux_error2)
    total += variance
    if shift_error2 > 0:
        # A slope matters only where there is light.
        rows, columns = np.nonzero(np.square(signal[1:-1, 1:-1]) > 4 * variance[1:-1, 1:-1])
        rows, columns = rows + 1, columns + 1
        total[rows, columns] += np.float32(shift_error2) * _slope_squared(signal, rows, columns)
    image = subtraction.score / np.sqrt(total)
    return Significance(image, total, float(np.sqrt(flux_error2)), float(np.sqrt(shift_error2)), len(row))


def significance_sigma(
    significance: NDArray[np.float32], subtraction: Subtraction, mask: NDArray[np.uint16]
) -> float:
    """Robust width of S_corr where the science image shows nothing and no flag is set.

    In a crowded field, which leaves fewer than a thousand such pixels, all good pixels count.

    Parameters
    ----------
    significance : (ny, nx) float32 ndarray
    subtraction : Subtraction
    mask : (ny, nx) uint16 ndarray

    Returns
    -------
    sigma : float
        1 is right; NaN if no pixel is good.
    """
    # S is smooth over two pixels: every other one tells the same at a quarter of the price.
    some = (slice(None, None, 2), slice(None, None, 2))
    lit = np.square(subtraction.science_score[some]) > _LIT**2 * subtraction.variance[some]
    flagged = mask[some] != 0
    near = ndimage.maximum_filter((lit | flagged).view(np.uint8), 5, mode="nearest")
    empty = near == 0
    if empty.sum() < _FEWEST_PIXELS:
        empty = ~flagged
    values = significance[some][empty]
    return robust_sigma(values) if values.size > 1 else float("nan")


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
