"""Frequencies that are mistaken for each other: those of the sidereal day, and multiples.

Lists of what else a frequency may be; which of them it is, is decided elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.lightcurves.periods.harmonics import harmonic_power_at
from astrid.lightcurves.periods.points import Points

__all__ = ["SIDEREAL_DAY", "SIDEREAL_STEPS", "family", "repair_sidereal", "sidereal_aliases"]

SIDEREAL_DAY = 0.99726957
"""Days."""

SIDEREAL_STEPS = (0.0, -3.0, -2.0, -1.0, -0.5, 0.5, 1.0, 2.0, 3.0)
"""Cycles a sidereal day between a frequency and the aliases that ztfperiodic looks at."""


def sidereal_aliases(period: float) -> NDArray[np.float64]:
    """Periods that a telescope at one place can mistake for the given one [days].

    P' = S / abs(S / P + j) with the sidereal day S and j from `SIDEREAL_STEPS`;
    the first is the period itself.

    References
    ----------
    Coughlin et al. 2021, MNRAS 505, 2954.
    """
    cycles = np.abs(SIDEREAL_DAY / period + np.array(SIDEREAL_STEPS))
    return np.asarray(SIDEREAL_DAY / cycles[cycles > 1e-9])


def repair_sidereal(points: Points, period: float, longest: float, n_terms: int = 2) -> float:
    """Choose among a period and its sidereal aliases the one with the highest Fourier power.

    Parameters
    ----------
    points : Points
    period, longest : float, days
        Aliases longer than `longest` are not considered.
    n_terms : int

    Returns
    -------
    period : float, days
    """
    aliases = sidereal_aliases(period)
    aliases = aliases[(aliases <= longest) | (aliases == aliases[0])]
    return float(aliases[np.argmax(harmonic_power_at(points, 1.0 / aliases, n_terms))])


def family(frequency: ArrayLike) -> NDArray[np.float64]:
    """All that a peak may stand for: itself, half, a third, double, and one or two sidereal days away.

    Parameters
    ----------
    frequency : (m,) array_like, 1/days

    Returns
    -------
    frequencies : (8 m,) float64 ndarray, 1/days
        Not sorted; some may be zero or beyond any grid.
    """
    peaks = np.atleast_1d(np.asarray(frequency, dtype=np.float64))
    day = 1.0 / SIDEREAL_DAY
    shifted = [np.abs(peaks + step * day) for step in (-2, -1, 1, 2)]
    return np.concatenate([peaks, peaks / 2, peaks / 3, peaks * 2, *shifted])
