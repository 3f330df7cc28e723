"""Conditional entropy of the folded light curve: no shape is assumed, and faint eclipses count.

Only the entropy at every trial frequency; peaks and their choice are elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError
from astrid.lightcurves.periods.grid import FrequencyGrid
from astrid.lightcurves.periods.points import Points, kernels

__all__ = ["conditional_entropy"]


def conditional_entropy(
    points: Points, grid: FrequencyGrid, n_phase: int = 20, n_level: int = 10
) -> NDArray[np.float32]:
    """Compute the entropy of the magnitude, given the phase, at every trial frequency.

    H = sum over cells of p(m, phase) ln(p(phase) / p(m, phase)): low where the phase tells the magnitude.
    Magnitudes are scaled to 0-1 between the faintest and the brightest point, so clip outliers first. In
    several bands the entropies are averaged, weighted by the numbers of points.

    Parameters
    ----------
    points : Points
        Their weights are not used.
    grid : FrequencyGrid
    n_phase, n_level : int
        Bins in phase and in magnitude, 20 and 10 in Coughlin et al. (2021).

    Returns
    -------
    entropy : (grid.size,) float32 ndarray, nats
        Between 0 and ln(n_level).

    Raises
    ------
    UsageError
        There are fewer than two bins, or more than 4096 phase bins.
    DependencyError
        numba is not installed.

    References
    ----------
    Graham et al. 2013, MNRAS 434, 2629, eq. 3.
    """
    check_bins(n_phase, n_level)
    loops = kernels()
    result = np.zeros(grid.size, dtype=np.float32)
    for band in range(points.n_bands):
        own = points.band == band
        level = levels(points.mag[own], n_level)
        part = loops.entropy(points.time[own], level, grid.start, grid.step, grid.size, n_phase, n_level)
        result += np.float32(np.count_nonzero(own) / own.size) * part
    return result


def check_bins(n_phase: int, n_level: int) -> None:
    """Refuse bins that the entropy cannot be counted in."""
    if not (2 <= n_phase <= 4096 and 2 <= n_level <= 4096):
        raise UsageError(
            f"{n_phase} phase bins and {n_level} magnitude bins cannot be used; give 2 to 4096 of each"
        )


def levels(mag: NDArray[np.float64], n_level: int) -> NDArray[np.int64]:
    """Index of the equally wide magnitude bin of each point, between the extremes."""
    extent = np.ptp(mag)
    scaled = (mag - mag.min()) / (extent if extent > 0 else 1.0)
    return np.minimum((scaled * n_level).astype(np.int64), n_level - 1)
