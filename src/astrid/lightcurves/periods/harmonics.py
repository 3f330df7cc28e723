"""Fourier series fitted at every trial frequency: Lomb-Scargle and its multi-harmonic kin.

One quantity underlies them all: the fraction of the weighted variance that a series of `n_terms` harmonics
with a mean takes away. It does not choose periods.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.periods.grid import CHUNK, FourierSums, FrequencyGrid
from astrid.lightcurves.periods.points import Points, kernels

__all__ = ["harmonic_power", "harmonic_power_at", "variance_ratio"]


def harmonic_power(points: Points, grid: FrequencyGrid, n_terms: int = 1) -> NDArray[np.float64]:
    """Fit a Fourier series with a mean at every trial frequency.

    With one term this is the generalised Lomb-Scargle periodogram in its standard normalisation; with more it
    is the chi-squared periodogram, and by `variance_ratio` the multi-harmonic analysis of variance. In
    several bands each has a series and a mean of its own at the common frequency, and the explained sums of
    squares are added; a band with no more points than terms is left out.

    The cost is n_points + size * n_terms^2: the sums over the points are non-uniform Fourier transforms.

    Parameters
    ----------
    points : Points
    grid : FrequencyGrid
    n_terms : int

    Returns
    -------
    power : (grid.size,) float64 ndarray
        Between 0 and 1.

    Raises
    ------
    LightCurveError
        No band has more points than terms.
    DependencyError
        numba or nifty-ls is not installed.

    References
    ----------
    Zechmeister & Kuerster 2009, A&A 496, 577, eq. 5. Schwarzenberg-Czerny 1996, ApJ 460, L107.
    VanderPlas & Ivezic 2015, ApJ 812, 18 (N_base = 0).
    """
    loops = kernels()
    explained, total = np.zeros(grid.size), 0.0
    length = min(CHUNK, grid.size)
    result = np.empty(length)
    for part in bands_of(points, n_terms):
        weighted = part.weight * part.mag
        total += float(weighted @ part.mag)
        window = np.empty((2 * n_terms + 1, length), dtype=np.complex128)
        series = np.empty((n_terms + 1, length), dtype=np.complex128)
        window[0], series[0] = part.weight.sum(), weighted.sum()
        sums = [
            FourierSums(
                part.time,
                np.stack([part.weight, weighted]) if k <= n_terms else part.weight[None],
                k * grid.start,
                k * grid.step,
                length,
            )
            for k in range(1, 2 * n_terms + 1)
        ]
        for first in range(0, grid.size, length):
            for k, transform in enumerate(sums, start=1):
                chunk = transform.chunk(first)
                window[k] = chunk[0]
                if k <= n_terms:
                    series[k] = chunk[1]
            loops.projected(window, series, n_terms, result)
            kept = min(length, grid.size - first)
            explained[first : first + kept] += result[:kept]
    return np.clip(explained / total, 0.0, 1.0)


def harmonic_power_at(points: Points, frequency: ArrayLike, n_terms: int = 1) -> NDArray[np.float64]:
    """Compute `harmonic_power` at any frequencies, point by point.

    Parameters
    ----------
    points : Points
    frequency : (m,) array_like, 1/days
    n_terms : int

    Returns
    -------
    power : (m,) float64 ndarray
    """
    loops = kernels()
    frequencies = np.atleast_1d(np.asarray(frequency, dtype=np.float64))
    explained, total = np.zeros(frequencies.size), 0.0
    result = np.empty(frequencies.size)
    for part in bands_of(points, n_terms):
        weighted = part.weight * part.mag
        total += float(weighted @ part.mag)
        window = np.empty((2 * n_terms + 1, frequencies.size), dtype=np.complex128)
        series = np.empty((n_terms + 1, frequencies.size), dtype=np.complex128)
        loops.harmonic_sums(part.time, part.weight, weighted, frequencies, n_terms, window, series)
        loops.projected(window, series, n_terms, result)
        explained += result
    return np.clip(explained / total, 0.0, 1.0)


def variance_ratio(power: NDArray[np.float64], n_points: int, n_terms: int) -> NDArray[np.float64]:
    """Turn explained fractions of the variance into the analysis-of-variance statistic.

    For pure noise it has an F distribution with 2 n_terms and n_points - 2 n_terms - 1 degrees of freedom.

    References
    ----------
    Schwarzenberg-Czerny 1996, ApJ 460, L107, eq. 11.
    """
    free = n_points - 2 * n_terms - 1
    return np.asarray(free * power / (2 * n_terms * np.maximum(1.0 - power, 1e-15)))


def bands_of(points: Points, n_terms: int) -> list[Points]:
    """Split by band, each about its own mean, with the weights that the bands have beside each other."""
    if n_terms < 1:
        raise UsageError(f"a Fourier series of {n_terms} terms has no period; give one term or more")
    parts = []
    for band in range(points.n_bands):
        own = points.band == band
        if np.count_nonzero(own) <= 2 * n_terms + 1:
            continue
        weight = points.weight[own]
        mag = points.mag[own] - np.average(points.mag[own], weights=weight)
        parts.append(Points(points.time[own], mag, weight, np.zeros(mag.size, dtype=np.int64), points.origin))
    if not parts:
        raise LightCurveError(
            f"no band has the {2 * n_terms + 2} points that a Fourier series of {n_terms} terms needs; use "
            "fewer terms"
        )
    return parts
