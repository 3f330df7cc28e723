"""Trial frequencies: even grids with a bound on their size, and the parts of them that the Earth has spoilt.

It says where to look; the searches themselves are in the other modules of this folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import DependencyError, LightCurveError, UsageError

__all__ = [
    "CHUNK",
    "LARGEST",
    "TERRESTRIAL_BANDS",
    "FourierSums",
    "FrequencyGrid",
    "frequency_grid",
    "spectral_window",
    "terrestrial",
    "window_bands",
    "within_bands",
]

LARGEST = 20_000_000
"""Most trial frequencies of one grid: 160 MB for each array of float64 over it."""

TERRESTRIAL_BANDS: tuple[tuple[float, float], ...] = (
    (0.03, 0.04),
    (0.32, 0.34),
    (0.48, 0.52),
    (0.95, 1.05),
    (1.95, 2.05),
    (2.95, 3.05),
    (3.95, 4.05),
)
"""Frequencies [1/d] of the day, its multiples and fractions, and of the Moon; removed by Coughlin et al."""


@dataclass(frozen=True)
class FrequencyGrid:
    """Evenly spaced trial frequencies.

    Attributes
    ----------
    start : float, 1/days
        The lowest frequency.
    step : float, 1/days
    size : int
    """

    start: float
    step: float
    size: int

    def __post_init__(self) -> None:
        if not (np.isfinite(self.start) and np.isfinite(self.step) and self.step > 0 and self.start >= 0):
            raise UsageError(
                f"a frequency grid that starts at {self.start:g} with steps of {self.step:g} cannot be "
                "used; the start must not be negative and the step must be positive"
            )
        if self.size < 1:
            raise UsageError(f"a frequency grid of {self.size} frequencies is empty; give at least one")

    @property
    def stop(self) -> float:
        """The highest frequency [1/days]."""
        return self.start + self.step * (self.size - 1)

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """All trial frequencies, (size,) float64 [1/days]."""
        return np.asarray(self.start + self.step * np.arange(self.size), dtype=np.float64)

    def nearest(self, frequency: ArrayLike) -> NDArray[np.int64]:
        """Return the index of the trial frequency that is nearest, within the grid."""
        index = np.rint((np.asarray(frequency, dtype=np.float64) - self.start) / self.step)
        return np.clip(index, 0, self.size - 1).astype(np.int64)


def frequency_grid(
    time: ArrayLike,
    *,
    minimum: float | None = None,
    maximum: float = 48.0,
    samples_per_peak: float = 10.0,
    largest: int = LARGEST,
) -> FrequencyGrid:
    """Lay out the trial frequencies for a set of times.

    Parameters
    ----------
    time : (n,) array_like, days
        In any order; what is not finite is passed over.
    minimum : float, optional, 1/days
        The default is two cycles in the baseline.
    maximum : float, 1/days
        48 is a period of half an hour.
    samples_per_peak : float
        The step is 1 / (samples_per_peak * baseline).
    largest : int
        More frequencies than this are refused.

    Returns
    -------
    FrequencyGrid

    Raises
    ------
    LightCurveError
        There is no baseline, or the grid would be larger than `largest`.
    UsageError
        The limits exclude each other.

    References
    ----------
    Coughlin et al. 2021, MNRAS 505, 2954 (arXiv:2009.14071), section 3.
    """
    times = np.asarray(time, dtype=np.float64)
    times = times[np.isfinite(times)]
    baseline = float(np.ptp(times)) if times.size else 0.0
    if baseline <= 0:
        raise LightCurveError(f"{times.size} points span no time; a frequency grid needs a baseline")
    if not samples_per_peak > 0:
        raise UsageError(f"samples_per_peak is {samples_per_peak:g}; give a positive number, usually 5 to 10")
    lowest = 2.0 / baseline if minimum is None else float(minimum)
    if not 0 <= lowest < maximum < np.inf:
        raise UsageError(
            f"no frequencies between {lowest:g} and {maximum:g} per day; give a maximum above the minimum, "
            f"which is two cycles in the baseline of {baseline:g} d unless given"
        )
    step = 1.0 / (samples_per_peak * baseline)
    size = int(np.ceil((maximum - lowest) / step))
    if size > largest:
        raise LightCurveError(
            f"a baseline of {baseline:g} d up to {maximum:g} cycles a day makes {size} trial frequencies "
            f"({size * 8 / 1e9:.2g} GB an array), and {largest} is the limit; lower the maximum, take fewer "
            "samples a peak, or search parts of the baseline"
        )
    return FrequencyGrid(lowest, step, max(size, 1))


def within_bands(frequency: ArrayLike, bands: Sequence[tuple[float, float]]) -> NDArray[np.bool_]:
    """Say which frequencies lie in one of the bands, both ends included."""
    values = np.asarray(frequency, dtype=np.float64)
    inside = np.zeros(values.shape, dtype=bool)
    for low, high in bands:
        inside |= (values >= low) & (values <= high)
    return inside


def terrestrial(frequency: ArrayLike) -> NDArray[np.bool_]:
    """Say which frequencies [1/days] lie in the removed bands of Coughlin et al. (`TERRESTRIAL_BANDS`)."""
    return within_bands(frequency, TERRESTRIAL_BANDS)


def spectral_window(time: ArrayLike, grid: FrequencyGrid) -> NDArray[np.float64]:
    """Compute the power of the sampling itself, |sum exp(2 pi i f t)|^2 / n^2.

    Parameters
    ----------
    time : (n,) array_like, days
    grid : FrequencyGrid

    Returns
    -------
    power : (size,) float64 ndarray
        1 where the sampling cannot be told from a strictly periodic one.

    Raises
    ------
    DependencyError
        finufft (of nifty-ls) is not installed.

    References
    ----------
    VanderPlas 2018, ApJS 236, 16, section 4.
    """
    times = np.asarray(time, dtype=np.float64)
    times = times[np.isfinite(times)] - np.nanmin(times)
    length = min(CHUNK, grid.size)
    sums = FourierSums(times, np.ones((1, times.size)), grid.start, grid.step, length)
    power = np.empty(grid.size)
    for first in range(0, grid.size, length):
        kept = min(length, grid.size - first)
        power[first : first + kept] = np.abs(sums.chunk(first)[0, :kept]) ** 2 / times.size**2
    return power


def window_bands(
    time: ArrayLike, grid: FrequencyGrid, threshold: float = 0.25
) -> tuple[tuple[float, float], ...]:
    """Find the frequencies that the sampling of one source makes look periodic.

    A slow trend, or an error of calibration that repeats with the sampling, has its power at the peaks of the
    spectral window. Neighbouring frequencies whose window power is above the threshold make one band, widened
    by the width of a peak.

    Parameters
    ----------
    time : (n,) array_like, days
    grid : FrequencyGrid
    threshold : float
        Of the window power, between 0 and 1.

    Returns
    -------
    tuple of (low, high), 1/days
        To be used with `within_bands`.
    """
    spoilt = spectral_window(time, grid) >= threshold
    edges = np.flatnonzero(np.diff(np.concatenate([[False], spoilt, [False]]).astype(np.int8)))
    times = np.asarray(time, dtype=np.float64)
    width = 1.0 / float(np.ptp(times[np.isfinite(times)]))
    bands: list[tuple[float, float]] = []
    for first, after in zip(edges[::2], edges[1::2], strict=True):
        low, high = grid.start + grid.step * first - width, grid.start + grid.step * (after - 1) + width
        if bands and low <= bands[-1][1]:
            low = bands.pop()[0]
        bands.append((float(low), float(high)))
    return tuple(bands)


CHUNK = 1 << 13
"""Frequencies of one transform: its arrays then stay in the second-level cache, and memory is bounded."""


class FourierSums:
    """Sums of strength * exp(2 pi i f t) over the points, a chunk of an even grid of frequencies at a time.

    Parameters
    ----------
    time : (n,) float64 ndarray, days
    strength : (m, n) ndarray
        m series of strengths; their sums are done together.
    start, step : float, 1/days
        Of the grid.
    length : int
        Frequencies of a chunk.

    Raises
    ------
    DependencyError
        finufft (of nifty-ls) is not installed.
    """

    def __init__(
        self, time: NDArray[np.float64], strength: NDArray[np.float64], start: float, step: float, length: int
    ) -> None:
        try:
            import finufft
        except ModuleNotFoundError as error:
            raise DependencyError('this needs finufft; pip install "astrid[lightcurves]"') from error
        self.time, self.strength, self.start, self.step, self.length = time, strength, start, step, length
        # even one trial frequency takes a transform of a few modes
        self._plan = finufft.Plan(1, (length,), n_trans=strength.shape[0], eps=1e-8, isign=1, nthreads=1)
        # whole turns of step * time change nothing; what is left keeps all its bits
        self._plan.setpts(2 * np.pi * ((time * step + 0.5) % 1.0 - 0.5))

    def chunk(self, first: int) -> NDArray[np.complex128]:
        """Return the sums at `length` frequencies from that of index `first` on, (m, length) complex128."""
        # the modes of the transform run from -length // 2: turn the middle of the chunk to zero
        middle = (self.time * (self.start + (first + self.length // 2) * self.step)) % 1.0
        turned = np.ascontiguousarray(self.strength * np.exp(2j * np.pi * middle))
        return self._plan.execute(turned).reshape(self.strength.shape[0], self.length)
