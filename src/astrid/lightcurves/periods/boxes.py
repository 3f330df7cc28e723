"""Box-shaped dips at every trial period: transits and eclipses.

The search over boxes and the grid of periods that dips need; what counts as a transit is decided elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.periods.points import Points, kernels

__all__ = ["Boxes", "box_periods", "box_power", "transit_duration"]

MOST = 3_000_000
"""Most trial periods of one search for boxes."""

SUN = 0.0758
"""Days of a central transit of a point at a star like the Sun, on a circular orbit of one day."""

FRACTIONS = (0.35, 0.5, 0.7, 1.0, 1.4, 2.0)
"""Durations that are tried, as fractions of that of a central transit at a star of the given density."""


@dataclass(frozen=True)
class Boxes:
    """The best box at each trial period.

    Attributes
    ----------
    period : (m,) float64 ndarray, days
        Decreasing.
    power : (m,) float64 ndarray
        Fraction of the weighted variance that the box takes away.
    epoch : (m,) float64 ndarray, days
        Middle of the first dip after the first point, from the origin of the points.
    duration : (m,) float64 ndarray, days
    """

    period: NDArray[np.float64]
    power: NDArray[np.float64]
    epoch: NDArray[np.float64]
    duration: NDArray[np.float64]


def transit_duration(period: ArrayLike, density: float = 1.0) -> NDArray[np.float64]:
    """Return the duration of a central transit on a circular orbit [days].

    Parameters
    ----------
    period : array_like, days
    density : float, solar densities
        Of the star.

    References
    ----------
    Seager & Mallen-Ornelas 2003, ApJ 585, 1038, eq. 19 for b = 0 and a small planet.
    """
    return np.asarray(SUN * np.cbrt(np.asarray(period, dtype=np.float64) / density))


def box_periods(
    baseline: float,
    shortest: float = 0.4,
    longest: float | None = None,
    *,
    density: float = 1.0,
    oversampling: float = 3.0,
    most: int = MOST,
) -> NDArray[np.float64]:
    """Lay out trial periods so that a dip is never smeared by more than a part of its duration.

    The grid is even in the cube root of the frequency, because the duty cycle of a transit grows as the
    frequency to the power 2/3. An even grid of frequencies that is fine enough for the longest period would
    have up to hundreds of times as many.

    Parameters
    ----------
    baseline : float, days
    shortest, longest : float, days
        Longest period: half the baseline (two transits) unless given.
    density : float, solar densities
    oversampling : float
        Steps over the baseline within which the shortest dip moves by its own duration.
    most : int
        More periods than this are refused.

    Returns
    -------
    periods : (m,) float64 ndarray, days
        Decreasing.

    Raises
    ------
    UsageError
        The limits exclude each other.
    LightCurveError
        There would be more than `most` periods.

    References
    ----------
    Ofir 2014, A&A 561, A138, eqs. 5-7.
    """
    end = baseline / 2 if longest is None else float(longest)
    if not (0 < shortest < end < np.inf and density > 0 and oversampling > 0):
        raise UsageError(
            f"no periods between {shortest:g} and {end:g} d in a baseline of {baseline:g} d; the longest "
            "period must be above the shortest, density and oversampling positive"
        )
    step = FRACTIONS[0] * float(transit_duration(1.0, density)) / (3.0 * baseline * oversampling)
    low, high = end ** (-1 / 3), shortest ** (-1 / 3)
    count = int(np.ceil((high - low) / step)) + 1
    if count > most:
        raise LightCurveError(
            f"a baseline of {baseline:g} d down to a period of {shortest:g} d makes {count} trial periods, "
            f"and {most} is the limit; raise the shortest period, lower the oversampling, or search parts "
            "of the baseline"
        )
    return np.asarray(np.linspace(low, high, count) ** -3.0)


def box_power(
    points: Points,
    periods: ArrayLike,
    *,
    density: float = 1.0,
    bins_per_dip: float = 3.0,
    fewest: int = 3,
) -> Boxes:
    """Fit a dip at every trial period: box least squares.

    Parameters
    ----------
    points : Points
        Of one band; `mag` holds fluxes, for a dip is a lower value. For magnitudes, negate them first.
    periods : (m,) array_like, days
    density : float, solar densities
        Durations of 0.35 to 2 times a central transit at such a star are tried.
    bins_per_dip : float
        Phase bins in the shortest duration.
    fewest : int
        A dip holds at least the weight of so many average points.

    Returns
    -------
    Boxes

    Raises
    ------
    UsageError
        A period is not positive.
    DependencyError
        numba is not installed.

    References
    ----------
    Kovacs, Zucker & Mazeh 2002, A&A 391, 369, eq. 5.
    """
    trial = np.atleast_1d(np.asarray(periods, dtype=np.float64))
    if not np.all((trial > 0) & np.isfinite(trial)):
        raise UsageError("a trial period is not positive; give periods in days")
    loops = kernels()
    central = transit_duration(trial, density)
    duty = np.clip(np.outer(central / trial, FRACTIONS), None, 0.3)
    count = np.ceil(bins_per_dip / duty[:, 0]).astype(np.int64)
    widths = np.maximum(np.rint(duty * count[:, None]), 1).astype(np.int64)
    power, box = np.empty(trial.size), np.empty((trial.size, 2), dtype=np.int64)
    deviation = points.mag - points.weight @ points.mag
    series = points.weight * deviation
    least = (fewest - 0.5) / points.time.size
    loops.boxes(points.time, points.weight, series, 1.0 / trial, count, widths, least, power, box)
    middle = (box[:, 0] + 0.5 * box[:, 1]) / count
    return Boxes(trial, power / float(series @ deviation), (middle % 1.0) * trial, box[:, 1] / count * trial)
