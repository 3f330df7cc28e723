"""What a period search leaves behind for a classifier: the period, what speaks for it, and what is left over.

`search` is the expensive part and knows no class; `periodicity` turns what it found into numbers, all finite.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periods import (
    FrequencyGrid,
    Periodograms,
    Points,
    clean_points,
    clip_outliers,
    find_period,
    fold_shape,
    frequency_grid,
    highest_peaks,
)
from astrid.lightcurves.periods.harmonics import harmonic_power_at
from astrid.lightcurves.periods.hierarchy import COMPILED

__all__ = [
    "PERIODICITY", "SEARCH_VERSION", "VERSION", "Search", "folded_profile", "periodicity", "points_of",
    "search",
]  # fmt: skip

SEARCH_VERSION = 1
"""Of what a search finds: another output is another version."""

VERSION = 1
"""Of the numbers that are made of it."""

_PEAKS = 5
_RESIDUAL_MAXIMUM = 10.0  # cycles a day: second periods of stars that pulsate in two modes are far below


@dataclass(frozen=True)
class Search:
    """What a period search of one light curve found.

    Parameters
    ----------
    period : float, days
        After half and whole orbit were told apart; see `find_period`.
    n_terms : int
        Harmonics that describe the curve best.
    power : float
        Fraction of the variance that they explain.
    log_false_alarm : float
    rule : str
        Why the period was doubled.
    terrestrial : bool
    frequency, score : tuple of float
        The candidates, the best first, and their information criteria above the best one's.
    sine_frequency, sine_power : tuple of float
        The highest peaks of Lomb-Scargle.
    left_frequency, left_power : tuple of float
        Those of Lomb-Scargle of what the best candidate's harmonics leave.
    n_points : int
        Used, after clipping.
    """

    period: float
    n_terms: int
    power: float
    log_false_alarm: float
    rule: str
    terrestrial: bool
    frequency: tuple[float, ...]
    score: tuple[float, ...]
    sine_frequency: tuple[float, ...]
    sine_power: tuple[float, ...]
    left_frequency: tuple[float, ...]
    left_power: tuple[float, ...]
    n_points: int

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> Search:
        """What `as_dict` gave."""
        fields: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in row.items()
        }
        return cls(**fields)


def points_of(curve: LightCurve) -> Points:
    """The points that are searched: those with an error, far outliers left out.

    Raises
    ------
    LightCurveError
        Not in magnitudes, no errors, or too few points.
    """
    if curve.unit != "mag":
        raise LightCurveError(f"{curve.name}: the search is of magnitudes, not {curve.unit}; use as_mag()")
    if curve.error is None:
        raise LightCurveError(f"{curve.name}: no point has an error; the search weights by errors")
    known = np.isfinite(curve.error)
    return clip_outliers(
        clean_points(curve.time[known], curve.value[known], curve.error[known], curve.band[known])
    )


def search(
    curve: LightCurve,
    *,
    maximum: float = 26.0,
    samples_per_peak: float = 5.0,
    entropy: bool = False,
    periodograms: Periodograms = COMPILED,
) -> Search:
    """Search a light curve for its period, and what is left for another.

    Parameters
    ----------
    curve : LightCurve
        Magnitudes with errors, in one or several bands.
    maximum : float, 1/days
        The highest frequency; above its half only stars whose highest Lomb-Scargle peak is there are sought.
    samples_per_peak : float
    entropy : bool
        Whether conditional entropy takes part, which more than doubles the cost.
    periodograms : Periodograms
        What computes them; see `find_period`.

    Returns
    -------
    Search

    Raises
    ------
    LightCurveError
        Too few points, a constant, or a grid of absurd size.
    """
    points = points_of(curve)
    grid = frequency_grid(points.time, maximum=maximum, samples_per_peak=samples_per_peak)
    sine_frequency, sine_power = _peaks(points, grid, periodograms)
    # The richer searches cost five times as much and only sine-like stars are so fast.
    half = maximum if sine_frequency[0] > maximum / 2 else maximum / 2
    found = find_period(
        points.time,
        points.mag,
        1 / np.sqrt(points.weight),
        points.band,
        maximum=half,
        samples_per_peak=samples_per_peak,
        entropy=entropy,
        periodograms=periodograms,
    )
    left = _without(points, float(found.frequency[0]), found.n_terms)
    lower = frequency_grid(
        points.time, maximum=min(maximum, _RESIDUAL_MAXIMUM), samples_per_peak=samples_per_peak
    )
    left_frequency, left_power = _peaks(left, lower, periodograms)
    return Search(
        period=found.period,
        n_terms=found.n_terms,
        power=found.power,
        log_false_alarm=found.log_false_alarm,
        rule=found.rule,
        terrestrial=found.terrestrial,
        frequency=tuple(found.frequency[: 2 * _PEAKS].tolist()),
        score=tuple(found.score[: 2 * _PEAKS].tolist()),
        sine_frequency=sine_frequency,
        sine_power=sine_power,
        left_frequency=left_frequency,
        left_power=left_power,
        n_points=found.n_points,
    )


def _peaks(
    points: Points, grid: FrequencyGrid, periodograms: Periodograms
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    power = periodograms.harmonic(points, grid, 1)
    index = highest_peaks(power, _PEAKS)
    return tuple(grid.frequencies[index].tolist()), tuple(power[index].tolist())


def _without(points: Points, frequency: float, n_terms: int) -> Points:
    """The points less the Fourier series of each band at a frequency."""
    mag = points.mag.copy()
    for band in range(points.n_bands):
        own = np.flatnonzero(points.band == band)
        if len(own) <= 2 * n_terms + 1:
            continue
        angle = 2 * np.pi * ((points.time[own] * frequency) % 1.0)
        design = _design(angle, n_terms)
        root = np.sqrt(points.weight[own])
        terms = np.linalg.lstsq(design * root[:, None], mag[own] * root, rcond=None)[0]
        mag[own] -= design @ terms
    return Points(points.time, mag, points.weight, points.band, points.origin)


def _design(angle: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    columns = [np.ones_like(angle)]
    for k in range(1, n_terms + 1):
        columns += [np.cos(k * angle), np.sin(k * angle)]
    return np.stack(columns, axis=1)


PERIODICITY: dict[str, tuple[str, str]] = {
    "log_period": ("log10 d", "the period, after half and whole orbit were told apart"),
    "log_base_period": ("log10 d", "the period that the light curve repeats with, before that"),
    "log_sine_period": ("log10 d", "of the highest peak of Lomb-Scargle"),
    "n_terms": ("", "harmonics that describe the curve best"),
    "power": ("", "fraction of the variance that they explain"),
    "log_false_alarm": ("arcsinh", "log10 of the probability that noise does so"),
    "terrestrial": ("", "1 where the Earth has spoilt the frequency"),
    "doubled": ("", "1 where the period is twice the base period"),
    "next_score": ("arcsinh", "information criterion of the best other candidate, above the best one's"),
    "next_ratio": ("", "its frequency over the best one's"),
    "sine_power": ("", "Lomb-Scargle power of its highest peak"),
    "sine_fall": ("", "power of the fifth peak over that of the first"),
    "sine_half": ("", "Lomb-Scargle power at half the base period"),
    "sine_double": ("", "at twice the base period"),
    "sine_triple": ("", "at three times the base period"),
    "sine_base": ("", "at the base period"),
    "half_gain": ("", "what 4 harmonics explain at the base period, less what 2 do at half of it"),
    "double_gain": ("", "what 4 harmonics explain at twice the base period, less what 2 do at it"),
    "second_over_first": ("", "amplitude of harmonic 2 over that of 1, at the base period"),
    "narrow_minima": ("", "its part in phase: positive for eclipses, negative for pulsation"),
    "skewed": ("", "the size of its other part"),
    "left_power": ("", "highest Lomb-Scargle power of what the best harmonics leave"),
    "left_ratio": ("log10", "its frequency over the base frequency"),
    "left_second": ("", "power of the second peak of what is left, over that of the first"),
    "left_slow": ("", "1 where that highest peak is below 0.02 cycles a day"),
    "left_near": ("", "highest power left within 0.1 cycles a day of the base frequency, but not at it"),
    "overtone_power": ("", "highest power left where the fundamental is, if the base is the first overtone"),
    "overtone_ratio": ("", "its frequency over the base frequency"),
    "overtone_share": ("", "its power over the highest of what is left"),
    "fundamental_power": ("", "highest power left where the first overtone is, if the base is fundamental"),
    "fundamental_ratio": ("", "the base frequency over its frequency"),
    "fundamental_share": ("", "its power over the highest of what is left"),
    "combined_power": ("", "power left at the sum of the base frequency and the likelier of these two"),
    "depth_first": ("", "depth of the deepest minimum of the folded profile, in ranges of the profile"),
    "depth_second": ("", "depth of the profile half a period later"),
    "width_first": ("", "share of the profile that is in the fainter half of its range"),
    "rise": ("", "share of the period from the faintest to the brightest bin of the base profile"),
    "scatter": ("", "median scatter about the profile, in ranges of the profile"),
    "faint_tail": ("", "(95 % - 50 %) over (50 % - 5 %) of the magnitudes: above 1 for eclipses"),
}
"""Unit and meaning of each number of `periodicity`, in their order."""

_RATIO = (0.735, 0.755)  # of RR Lyrae stars' first overtone and fundamental periods: 0.742 to 0.748
_PULSATORS = (1.0, 5.0)  # 1/days: base frequencies among which a second mode is looked for
_BINS = 32


def periodicity(points: Points, found: Search) -> dict[str, float]:
    """The numbers of a search, and more about the light curve folded with what it found.

    All are finite. Where a number is not defined it is 0: of the pair of modes, for a base frequency that
    no RR Lyrae star has, or of a candidate, where there is only one.

    Parameters
    ----------
    points : Points
        Those that were searched, see `points_of`.
    found : Search

    Returns
    -------
    numbers : dict of str to float
        As `PERIODICITY` has them.

    References
    ----------
    Period ratios of double-mode stars: Petersen 1973, A&A 27, 89; Soszynski et al. 2014, AcA 64, 177.
    """
    base, orbit = found.frequency[0], 1 / found.period
    sine = harmonic_power_at(points, np.array([base, 2 * base, base / 2, base / 3]), 1)
    two = _explained(points, np.array([base, 2 * base]), 2)
    four = _explained(points, np.array([base, base / 2]), 4)
    shape = fold_shape(points, base)
    next_score, next_ratio = _next(found)
    left = _left(points, found, base)
    profile, scatter = folded_profile(points, orbit)
    rise = float(np.argmin(folded_profile(points, base)[0])) / _BINS
    low, middle, high = np.quantile(points.mag, (0.05, 0.5, 0.95))
    numbers = {
        "log_period": np.log10(found.period),
        "log_base_period": -np.log10(base),
        "log_sine_period": -np.log10(found.sine_frequency[0]),
        "n_terms": found.n_terms,
        "power": found.power,
        "log_false_alarm": np.arcsinh(found.log_false_alarm),
        "terrestrial": found.terrestrial,
        "doubled": found.rule != "",
        "next_score": np.arcsinh(next_score),
        "next_ratio": next_ratio,
        "sine_power": found.sine_power[0],
        "sine_fall": found.sine_power[-1] / max(found.sine_power[0], 1e-9),
        "sine_half": sine[1],
        "sine_double": sine[2],
        "sine_triple": sine[3],
        "sine_base": sine[0],
        "half_gain": four[0] - two[1],
        "double_gain": four[1] - two[0],
        "second_over_first": min(shape.ratio, 10.0),
        "narrow_minima": np.clip(shape.narrow, -10, 10),
        "skewed": min(shape.skewed, 10.0),
        **left,
        "depth_first": profile[0],
        "depth_second": profile[_BINS // 2 - 1 : _BINS // 2 + 2].mean(),
        "width_first": float((profile > 0.5).mean()),
        "rise": rise,
        "scatter": scatter,
        "faint_tail": np.clip((high - middle) / max(middle - low, 1e-3), 0, 10),
    }
    return {name: float(numbers[name]) for name in PERIODICITY}


def _explained(points: Points, frequency: NDArray[np.float64], n_terms: int) -> NDArray[np.float64]:
    """`harmonic_power_at`, with as many terms as the points bear."""
    most = (int(np.bincount(points.band).max()) - 2) // 2
    return harmonic_power_at(points, frequency, max(1, min(n_terms, most)))


def _next(found: Search) -> tuple[float, float]:
    """Score and frequency ratio of the best candidate that is no multiple of the best."""
    for frequency, score in zip(found.frequency[1:], found.score[1:], strict=True):
        ratio = frequency / found.frequency[0]
        if min(abs(ratio * k - round(ratio * k)) for k in (1, 2, 3)) > 1e-3:
            return score, min(ratio, 10.0)
    return 0.0, 0.0


def _left(points: Points, found: Search, base: float) -> dict[str, float]:
    """What the best harmonics leave: a second mode, modulation, or a trend."""
    rest = _without(points, base, found.n_terms)
    top, second = found.left_power[0], found.left_power[min(1, len(found.left_power) - 1)]
    highest = max(top, 1e-9)
    row = {
        "left_power": top,
        "left_ratio": float(np.clip(np.log10(found.left_frequency[0] / base), -4, 2)),
        "left_second": second / highest,
        "left_slow": float(found.left_frequency[0] < 0.02),
        "left_near": 0.0, "overtone_power": 0.0, "overtone_ratio": 0.0, "overtone_share": 0.0,
        "fundamental_power": 0.0, "fundamental_ratio": 0.0, "fundamental_share": 0.0, "combined_power": 0.0,
    }  # fmt: skip
    if not _PULSATORS[0] <= base <= _PULSATORS[1]:
        return row
    step = 1 / (5 * points.baseline)
    near = np.concatenate([base - np.arange(2.5 * step, 0.1, step), base + np.arange(2.5 * step, 0.1, step)])
    row["left_near"] = float(harmonic_power_at(rest, near).max())
    slower, slower_power = _highest(rest, base * _RATIO[0], base * _RATIO[1], step)
    faster, faster_power = _highest(rest, base / _RATIO[1], base / _RATIO[0], step)
    second_mode = slower if slower_power > faster_power else faster
    row |= {
        "overtone_power": slower_power,
        "overtone_ratio": slower / base,
        "overtone_share": slower_power / highest,
        "fundamental_power": faster_power,
        "fundamental_ratio": base / faster,
        "fundamental_share": faster_power / highest,
        "combined_power": float(harmonic_power_at(rest, base + second_mode)[0]),
    }
    return row


def _highest(points: Points, low: float, high: float, step: float) -> tuple[float, float]:
    trial = np.arange(low, high, step)
    power = harmonic_power_at(points, trial)
    best = int(np.argmax(power))
    return float(trial[best]), float(power[best])


def folded_profile(points: Points, frequency: float, n: int = _BINS) -> tuple[NDArray[np.float64], float]:
    """The light curve folded and averaged in phase bins, from 0 (bright) to 1 (faint).

    Parameters
    ----------
    points : Points
        Of several bands, that with the most points is folded.
    frequency : float, 1/days
    n : int
        Bins; those without a point are interpolated between their neighbours.

    Returns
    -------
    profile : (n,) float64 ndarray
        Weighted means, smoothed over three bins, beginning with the faintest.
    scatter : float
        Median distance of the points from their bin's mean, in units of the profile's range.
    """
    own = points.band == np.argmax(np.bincount(points.band))
    phase = (points.time[own] * frequency) % 1.0
    mag, weight = points.mag[own], points.weight[own]
    bins = np.minimum((phase * n).astype(np.int64), n - 1)
    total = np.bincount(bins, weight, n)
    there = np.flatnonzero(total > 0)
    mean = np.bincount(bins, weight * mag, n)[there] / total[there]
    profile = np.interp(np.arange(n), there, mean, period=n)
    smooth = (np.roll(profile, 1) + 2 * profile + np.roll(profile, -1)) / 4
    extent = max(float(np.ptp(smooth)), 1e-6)
    scatter = float(np.median(np.abs(mag - profile[bins]))) / extent
    return np.roll((smooth - smooth.min()) / extent, -int(np.argmax(smooth))), min(scatter, 10.0)
