"""From a light curve to its period: candidates from cheap searches, judged by Fourier fits.

`published_hierarchy` is the recipe of ztfperiodic to the letter; `find_period` adds the aliases and multiples
of each candidate, an information criterion, and the choice between half and whole orbits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.lightcurves.periods.aliases import family, repair_sidereal
from astrid.lightcurves.periods.entropy import conditional_entropy
from astrid.lightcurves.periods.grid import (
    TERRESTRIAL_BANDS,
    FrequencyGrid,
    frequency_grid,
    terrestrial,
    within_bands,
)
from astrid.lightcurves.periods.harmonics import harmonic_power, harmonic_power_at
from astrid.lightcurves.periods.multiples import resolve_multiple
from astrid.lightcurves.periods.peaks import highest_peaks
from astrid.lightcurves.periods.points import Points, clean_points, clip_outliers
from astrid.lightcurves.periods.significance import log_false_alarm

__all__ = ["Period", "Periodograms", "find_period", "information", "published_hierarchy"]

MOST_TERMS = 4
"""Harmonics of the richest series that candidates are judged with."""

PENALTY = 2.0
"""Weight of the number of parameters, in units of that of the Bayesian information criterion.

Noise of real light curves is correlated and its errors are not known, so an added harmonic must earn more.
"""


@dataclass(frozen=True)
class Periodograms:
    """The functions that compute the periodograms of a search; by default those of this folder.

    Attributes
    ----------
    harmonic : callable
        Points, grid and number of terms to powers, as `harmonic_power`.
    entropy : callable
        Points and grid to entropies, as `conditional_entropy`.
    """

    harmonic: Callable[[Points, FrequencyGrid, int], NDArray[np.float64]] = harmonic_power
    entropy: Callable[[Points, FrequencyGrid], NDArray[np.float32]] = conditional_entropy


COMPILED = Periodograms()


@dataclass(frozen=True)
class Period:
    """The period of one light curve.

    Attributes
    ----------
    period : float, days
    n_terms : int
        Harmonics of the Fourier series that describes the curve best at the frequency that was judged.
    power : float
        Fraction of the weighted variance that this series explains.
    log_false_alarm : float
        Decimal logarithm of the probability that noise makes such a peak in the range searched.
    rule : str
        Why the whole orbit was taken for a curve that repeats twice (see `resolve_multiple`), or empty.
    terrestrial : bool
        Whether the frequency, or its double, lies in a band that the Earth spoils.
    frequency : (m,) float64 ndarray, 1/days
        The candidates, the best first, before multiples were resolved.
    score : (m,) float64 ndarray
        Their information criteria relative to the best: 0, then positive numbers. A second one below 10 that
        is not a multiple means that the period is not certain.
    n_points : int
        Points used, after clipping.
    """

    period: float
    n_terms: int
    power: float
    log_false_alarm: float
    rule: str
    terrestrial: bool
    frequency: NDArray[np.float64]
    score: NDArray[np.float64]
    n_points: int


def find_period(
    time: ArrayLike,
    mag: ArrayLike,
    err: ArrayLike | None = None,
    band: ArrayLike | None = None,
    *,
    minimum: float | None = None,
    maximum: float = 24.0,
    samples_per_peak: float = 10.0,
    top: int = 10,
    avoid: Sequence[tuple[float, float]] = (),
    entropy: bool = True,
    resolve: bool = True,
    periodograms: Periodograms = COMPILED,
) -> Period:
    """Find the period of a variable star.

    1. Points far off are clipped, less readily on the faint side.
    2. The highest peaks of Lomb-Scargle, of the 4-harmonic analysis of variance and of conditional entropy
       are candidates, and with each its half, third and double and what is one or two cycles a sidereal day
       away.
    3. Each is refined, and Fourier series of 1 to 4 harmonics are compared by an information criterion.
    4. Half or whole orbit is decided by the shape of the folded curve.

    Parameters
    ----------
    time : (n,) array_like, days
    mag : (n,) array_like, mag
        Magnitudes: a fainter star is a higher number. Negate fluxes.
    err : (n,) array_like, optional
    band : (n,) array_like, optional
        Bands share the frequency; mean, amplitude and shape are their own.
    minimum, maximum, samples_per_peak : float
        Of the grid, see `frequency_grid`.
    top : int
        Peaks taken from each search.
    avoid : sequence of (low, high), 1/days
        No candidate comes from there: `TERRESTRIAL_BANDS`, or the `window_bands` of this source. Nothing is
        avoided unless asked, for stars do have such periods; `Period.terrestrial` says so afterwards.
    entropy : bool
        Whether conditional entropy takes part; it costs most of the time.
    resolve : bool
        Whether step 4 is done.
    periodograms : Periodograms
        What computes those of step 2; the default runs on the processor.

    Returns
    -------
    Period

    Raises
    ------
    LightCurveError
        Too few points, a constant, or a grid of absurd size.
    UsageError
        The limits exclude each other.
    DependencyError
        numba or nifty-ls is not installed.
    """
    points = clip_outliers(clean_points(time, mag, err, band))
    grid = frequency_grid(points.time, minimum=minimum, maximum=maximum, samples_per_peak=samples_per_peak)
    terms = most_terms(points)
    powers: list[NDArray[np.float64]] = [periodograms.harmonic(points, grid, 1)]
    if terms > 1:
        powers.append(periodograms.harmonic(points, grid, terms))
    if entropy:
        powers.append(-periodograms.entropy(points, grid).astype(np.float64))
    usable = ~within_bands(grid.frequencies, avoid) if avoid else None
    peaks = np.concatenate([highest_peaks(power, top, usable=usable) for power in powers])
    trial = family(grid.frequencies[np.unique(peaks)])
    trial = trial[(trial >= min(grid.start, 1 / points.baseline)) & (trial <= grid.stop)]
    trial = refine(points, trial[~within_bands(trial, avoid)], grid.step, min(2, terms))
    score, n_terms, power = information(points, trial, terms)
    order = np.argsort(score, kind="stable")
    best = int(order[0])
    frequency, rule = resolve_multiple(points, float(trial[best])) if resolve else (float(trial[best]), "")
    if frequency != trial[best]:
        frequency = float(refine(points, np.array([frequency]), grid.step / 3, terms)[0])
    return Period(
        period=1.0 / frequency,
        n_terms=int(n_terms[best]),
        power=float(power[best]),
        log_false_alarm=log_false_alarm(
            float(power[best]), points, int(n_terms[best]), grid.stop - grid.start
        ),
        rule=rule,
        terrestrial=bool(np.any(terrestrial([frequency, 2 * frequency]))),
        frequency=trial[order],
        score=score[order] - score[best],
        n_points=points.time.size,
    )


def most_terms(points: Points) -> int:
    """Harmonics that the band with the most points can bear: three points for each parameter."""
    most = int(np.bincount(points.band).max())
    return int(np.clip((most // 3 - 1) // 2, 1, MOST_TERMS))


def information(
    points: Points, frequency: NDArray[np.float64], most: int = MOST_TERMS
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Compare Fourier series of 1 to `most` harmonics at each frequency.

    The score is n ln(1 - power) + PENALTY (2 n_terms + 1) n_bands ln n: the lower, the better.

    Parameters
    ----------
    points : Points
    frequency : (m,) float64 ndarray, 1/days
    most : int

    Returns
    -------
    score : (m,) float64 ndarray
        Of the best number of harmonics.
    n_terms : (m,) int64 ndarray
    power : (m,) float64 ndarray
        Explained fraction of the variance with that number.
    """
    n, terms = points.time.size, np.arange(1, most + 1)
    power = np.stack([harmonic_power_at(points, frequency, int(k)) for k in terms])
    price = PENALTY * (2 * terms + 1) * points.n_bands * np.log(n)
    scores = n * np.log(np.maximum(1 - power, 1e-12)) + price[:, None]
    best = np.argmin(scores, axis=0)
    index = np.arange(frequency.size)
    return scores[best, index], terms[best].astype(np.int64), power[best, index]


def refine(points: Points, frequency: NDArray[np.float64], step: float, n_terms: int) -> NDArray[np.float64]:
    """Move each frequency to the maximum near it, and let those that meet be one.

    Three rounds of seven trials, from three grid steps to either side down to a tenth of a step.
    """
    found, half = frequency, 3 * step
    for _ in range(3):
        near = found[:, None] + np.linspace(-half, half, 7)
        near = np.where(near > 0, near, found[:, None])
        power = harmonic_power_at(points, near.ravel(), n_terms).reshape(near.shape)
        found = near[np.arange(found.size), np.argmax(power, axis=1)]
        half /= 3.5
    found = np.sort(found)
    apart = np.concatenate([[True], np.diff(found) > step])
    return np.asarray(found[apart])


def published_hierarchy(
    points: Points,
    grid: FrequencyGrid,
    *,
    top: int = 50,
    n_terms: int = 4,
    avoid: Sequence[tuple[float, float]] = TERRESTRIAL_BANDS,
    repair: bool = False,
) -> tuple[float, float]:
    """Find a period as the GCE_LS_AOV algorithm of ztfperiodic does.

    The 50 highest peaks of Lomb-Scargle and the 50 lowest of conditional entropy, each searched again by the
    multi-harmonic analysis of variance over 50 steps to either side at half the step.

    Parameters
    ----------
    points : Points
    grid : FrequencyGrid
    top : int
    n_terms : int
    avoid : sequence of (low, high), 1/days
        No candidate comes from there.
    repair : bool
        Whether the best of the sidereal aliases is taken in the end.

    Returns
    -------
    period : float, days
    power : float
        Of `harmonic_power` with `n_terms`.

    References
    ----------
    Coughlin et al. 2021, MNRAS 505, 2954 (arXiv:2009.14071), section 3.
    """
    usable = ~within_bands(grid.frequencies, avoid)
    peaks = np.concatenate(
        [
            highest_peaks(harmonic_power(points, grid, 1), top, usable=usable),
            highest_peaks(-conditional_entropy(points, grid), top, usable=usable),
        ]
    )
    # neighbouring windows overlap: each trial frequency is computed once
    near = np.unique((2 * peaks[:, None] + np.arange(-100, 101)).ravel())
    trial = grid.start + 0.5 * grid.step * near[near >= 0]
    power = harmonic_power_at(points, trial, n_terms)
    best = int(np.argmax(power))
    period = 1.0 / float(trial[best])
    if repair:
        period = repair_sidereal(points, period, 1.0 / grid.start)
    return period, float(power[best])
