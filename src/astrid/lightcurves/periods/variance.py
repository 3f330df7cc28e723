"""Analysis of variance of the folded light curve in phase bins.

The kin with Fourier series instead of bins are in `harmonics`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.periods.grid import FrequencyGrid
from astrid.lightcurves.periods.points import Points, kernels

__all__ = ["binned_power"]

FINEST = (1 << 16) - 1


def binned_power(points: Points, grid: FrequencyGrid, n_phase: int = 20) -> NDArray[np.float64]:
    """Compute the fraction of the variance between phase bins, at every trial frequency.

    The statistic of the analysis of variance follows as (n - n_phase) / (n_phase - 1) * power / (1 - power);
    for pure noise it has an F distribution with n_phase - 1 and n - n_phase degrees of freedom. In several
    bands the sums of squares of the bands are added.

    Parameters
    ----------
    points : Points
        Their weights are not used; magnitudes enter in 65536 steps between the extremes.
    grid : FrequencyGrid
    n_phase : int

    Returns
    -------
    power : (grid.size,) float64 ndarray
        Between 0 and 1.

    Raises
    ------
    LightCurveError
        There are more than 16 million points in a band.
    UsageError
        There are fewer than two bins, or more than 4096.
    DependencyError
        numba is not installed.

    References
    ----------
    Schwarzenberg-Czerny 1989, MNRAS 241, 153, eqs. 4-6.
    """
    if not 2 <= n_phase <= 4096:
        raise UsageError(f"{n_phase} phase bins cannot be used; give 2 to 4096")
    if points.time.size >= 1 << 24:
        raise LightCurveError(
            f"{points.time.size} points are more than the 16 million that phase bins can count"
        )
    loops = kernels()
    between, total = np.zeros(grid.size), 0.0
    for band in range(points.n_bands):
        own = points.band == band
        mag = points.mag[own]
        extent = np.ptp(mag)
        if extent == 0:
            continue
        scaled = np.rint((mag - mag.min()) * (FINEST / extent))
        part = loops.binned_variance(
            points.time[own], scaled.astype(np.uint64), grid.start, grid.step, grid.size, n_phase
        )
        unit = (extent / FINEST) ** 2
        between += unit * (part - scaled.sum() ** 2 / scaled.size)
        total += unit * float(np.sum((scaled - scaled.mean()) ** 2))
    return np.clip(between / total, 0.0, 1.0)
