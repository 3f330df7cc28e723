"""The points of one light curve as the period searches need them: clean, weighted, counted from the first.

It reads no file and knows no survey; it refuses what cannot be searched and leaves out what is not finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import DependencyError, LightCurveError

__all__ = ["Points", "clean_points", "clip_outliers", "kernels"]

FEWEST = 5
"""Fewer points than this have no period: a sinusoid, its mean and its frequency already take four numbers."""


@dataclass(frozen=True)
class Points:
    """What is searched for a period.

    Attributes
    ----------
    time : (n,) float64 ndarray, days
        Increasing, counted from the first point.
    mag : (n,) float64 ndarray, mag
        In several bands: each band about its own weighted mean.
    weight : (n,) float64 ndarray
        Inverse squared errors; their sum is 1.
    band : (n,) int64 ndarray
        Index of the band; all 0 where there is one band.
    origin : float, days
        What was subtracted from the times.
    """

    time: NDArray[np.float64]
    mag: NDArray[np.float64]
    weight: NDArray[np.float64]
    band: NDArray[np.int64]
    origin: float

    @property
    def baseline(self) -> float:
        """Days from the first to the last point."""
        return float(self.time[-1])

    @property
    def n_bands(self) -> int:
        """How many bands there are."""
        return int(self.band.max()) + 1

    def take(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Points:
        """Return some of the points, in order, with the same origin and with weights that sum to 1."""
        weight = self.weight[index]
        return Points(self.time[index], self.mag[index], weight / weight.sum(), self.band[index], self.origin)


def clean_points(
    time: ArrayLike, mag: ArrayLike, err: ArrayLike | None = None, band: ArrayLike | None = None
) -> Points:
    """Order the points, leave out those that are not finite, and weight them.

    Parameters
    ----------
    time : (n,) array_like, days
        In any order.
    mag : (n,) array_like
        Magnitudes or fluxes: only their shape matters.
    err : (n,) array_like, optional
        Errors of `mag`; without them all points weigh the same.
    band : (n,) array_like, optional
        Name or number of the band of each point.

    Returns
    -------
    Points

    Raises
    ------
    LightCurveError
        Lengths differ, an error is not positive, fewer than five points are left, they do not vary, or they
        are all of one time.
    """
    times = np.asarray(time, dtype=np.float64)
    mags = np.asarray(mag, dtype=np.float64)
    errs = np.ones_like(mags) if err is None else np.asarray(err, dtype=np.float64)
    bands = np.zeros(mags.shape, dtype=np.int64) if band is None else np.asarray(band)
    if times.ndim != 1 or not times.shape == mags.shape == errs.shape == bands.shape:
        raise LightCurveError(
            f"times, magnitudes, errors and bands have the shapes {times.shape}, {mags.shape}, {errs.shape} "
            f"and {bands.shape}; give one-dimensional arrays of one length"
        )
    finite = np.isfinite(times) & np.isfinite(mags) & np.isfinite(errs)
    if np.any(errs[finite] <= 0):
        row = int(np.flatnonzero(finite & (errs <= 0))[0])
        raise LightCurveError(
            f"the error of point {row} is {errs[row]:g}; errors must be positive, so leave the point out or "
            "give no errors"
        )
    if np.count_nonzero(finite) < FEWEST:
        raise LightCurveError(
            f"{np.count_nonzero(finite)} of {times.size} points are finite; a period search needs at least "
            f"{FEWEST}"
        )
    order = np.flatnonzero(finite)[np.argsort(times[finite], kind="stable")]
    times, mags, weight = times[order], mags[order], errs[order] ** -2
    index = np.unique(bands[order], return_inverse=True)[1].astype(np.int64).reshape(-1)
    origin = float(times[0])
    if times[-1] == origin:
        raise LightCurveError(
            f"all {times.size} points are of the time {origin:g}; a period needs a baseline"
        )
    mean = np.bincount(index, weight * mags) / np.bincount(index, weight)
    mags = mags - mean[index]
    if np.ptp(mags) <= 1e-12 * max(1.0, float(np.abs(mean).max())):
        raise LightCurveError(f"all {times.size} points have the same magnitude; a constant has no period")
    return Points(times - origin, mags, weight / weight.sum(), index, origin)


def clip_outliers(points: Points, faint: float = 8.0, bright: float = 5.0) -> Points:
    """Leave out points that are far from their band's median.

    The limits are in robust standard deviations (1.4826 times the median absolute deviation) and differ for
    the two sides: what is far too faint may be an eclipse, what is far too bright rarely is a star. Positive
    is faint, as for magnitudes.

    Parameters
    ----------
    points : Points
    faint, bright : float
        Limits on either side.

    Returns
    -------
    Points
        At least half of those given: a curve whose median deviation is zero is returned as it is.
    """
    keep = np.ones(points.time.size, dtype=bool)
    for band in range(points.n_bands):
        own = points.band == band
        deviation = points.mag[own] - np.median(points.mag[own])
        spread = 1.4826 * np.median(np.abs(deviation))
        if spread > 0:
            keep[own] = (deviation < faint * spread) & (deviation > -bright * spread)
    return points if keep.all() or np.count_nonzero(keep) < FEWEST else points.take(keep)


def kernels() -> ModuleType:
    """Return the compiled loops.

    Raises
    ------
    DependencyError
        numba is not installed.
    """
    try:
        from astrid.lightcurves.periods import folding
    except ModuleNotFoundError as error:
        raise DependencyError('period searches need numba; pip install "astrid[lightcurves]"') from error
    return folding
