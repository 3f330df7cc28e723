"""One dip of a star, measured by the shape of a transit: its middle, its length and how deep it is.

A search by boxes finds where dips are; this gives the numbers that a search by transits (TLS) gives, so that
what was learnt from those holds for both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError
from astrid.lightcurves.transits.search import Transits, in_transit

__all__ = ["Dip", "measure_dip", "transit_shape"]

LIMB = (0.4804, 0.1867)
"""Quadratic limb darkening of a star like the Sun, as TLS has it."""

LONGEST = 0.12
"""Of the period; TLS looks for no longer dips."""

BINS = 300
WIDTHS = np.geomspace(0.5, 2.5, 41)  # of the length that was found
SHIFTS = np.linspace(-0.4, 0.4, 33)


@dataclass(frozen=True)
class Dip:
    """The dips of one series, taken together.

    Attributes
    ----------
    period, epoch, duration : float, days
        Middle of the first dip; from the first to the last contact.
    depth : float
        At the bottom of the shape, of the flux, whose level outside is 1.
    mean_depth, depth_odd, depth_even : float
        Mean over the points inside; of every second dip, NaN where no point fell into one.
    snr : float
        Mean depth over the standard deviation outside, times the root of the number of points inside.
    n_transits : int
        Dips with at least one point.
    """

    period: float
    epoch: float
    duration: float
    depth: float
    mean_depth: float
    depth_odd: float
    depth_even: float
    snr: float
    n_transits: int


def transit_shape(x: ArrayLike) -> NDArray[np.float64]:
    """Depth of a central transit of a small planet, 1 in the middle.

    Parameters
    ----------
    x : array_like
        Time from the middle, in halves of the duration.

    References
    ----------
    Mandel & Agol 2002, ApJ 580, L171, section 5.
    """
    distance = np.abs(np.asarray(x, np.float64))
    dark = 1.0 - np.sqrt(np.clip(1.0 - distance**2, 0.0, None))
    return np.where(distance < 1, 1.0 - LIMB[0] * dark - LIMB[1] * dark**2, 0.0)


def measure_dip(time: ArrayLike, flux: ArrayLike, found: Transits) -> Dip:
    """Fit the shape of a transit to a series of dips.

    Parameters
    ----------
    time : (n,) array_like, days
    flux : (n,) array_like
        Detrended, about 1; what is not finite is left out.
    found : Transits
        The period is kept; middle and length are where the fit begins.

    Returns
    -------
    Dip

    Raises
    ------
    LightCurveError
        No point is in the dips, or none is outside.
    """
    times, fluxes = np.asarray(time, np.float64), np.asarray(flux, np.float64)
    finite = np.isfinite(times) & np.isfinite(fluxes)
    times, fluxes = times[finite], fluxes[finite]
    epoch, duration, depth = fitted(times, fluxes, found)
    inside = in_transit(times, found.period, epoch, duration)
    if not inside.any() or inside.all():
        raise LightCurveError(
            f"{np.count_nonzero(inside)} of {inside.size} points lie in dips of {duration:.3g} d every "
            f"{found.period:.6g} d; points inside and outside are needed"
        )
    outside = fluxes[~inside]
    lost = outside.mean() - fluxes
    cycle = np.rint((times - epoch) / found.period).astype(np.int64)

    def mean(chosen: NDArray[np.bool_]) -> float:
        return float(lost[chosen].mean()) if chosen.any() else float("nan")

    spread = float(outside.std())
    whole = mean(inside)
    return Dip(
        period=found.period,
        epoch=epoch,
        duration=duration,
        depth=depth,
        mean_depth=whole,
        depth_odd=mean(inside & (cycle % 2 == 1)),
        depth_even=mean(inside & (cycle % 2 == 0)),
        snr=whole / spread * float(np.count_nonzero(inside)) ** 0.5 if spread > 0 else float("inf"),
        n_transits=int(np.unique(cycle[inside]).size),
    )


def fitted(
    time: NDArray[np.float64], flux: NDArray[np.float64], found: Transits
) -> tuple[float, float, float]:
    """Middle, duration and depth of the shape that leaves the least squares."""
    longest = LONGEST * found.period
    start = min(found.duration, longest)
    reach = min(3.0 * start, found.period / 2)
    turns = (time - found.epoch) / found.period
    offset = (turns - np.rint(turns)) * found.period
    near = np.abs(offset) <= reach
    cell = np.minimum(((offset[near] + reach) / (2 * reach) * BINS).astype(np.int64), BINS - 1)
    weight = np.bincount(cell, minlength=BINS).astype(np.float64)
    level = float(np.median(flux))
    lost = np.bincount(cell, level - flux[near], minlength=BINS)  # the sum in each bin
    middle = (np.arange(BINS) + 0.5) / BINS * 2 * reach - reach
    widths = np.unique(np.minimum(start * WIDTHS, longest))
    shifts = start * SHIFTS
    shape = transit_shape((middle - shifts[:, None, None]) / (widths[:, None] / 2))
    square = shape**2 @ weight
    product = shape @ lost
    gain = np.where((square > 0) & (product > 0), product**2 / np.maximum(square, 1e-300), 0.0)
    row, column = np.unravel_index(int(np.argmax(gain)), gain.shape)
    if gain[row, column] <= 0:
        return found.epoch, start, max(found.depth, 0.0)
    return (
        found.epoch + float(shifts[row]),
        float(widths[column]),
        float(product[row, column] / square[row, column]),
    )
