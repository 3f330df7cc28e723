"""Periodic dips in a flat light curve: the strongest ones, measured, and cut as threshold-crossing events.

Detrending comes before (`detrend`), views for a classifier after (`views`).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import DependencyError, LightCurveError, UsageError
from astrid.lightcurves.periods.boxes import Boxes, box_periods, box_power
from astrid.lightcurves.periods.points import Points, clean_points

__all__ = ["LEAST_SDE", "LEAST_SNR", "LEAST_TRANSITS", "Transits", "find_transits", "in_transit"]

LEAST_TRANSITS = 2
LEAST_SNR = 7.1
LEAST_SDE = 7.0
"""What a threshold-crossing event must reach in Rao et al. (2021), section 2."""

NEIGHBOURHOOD = (
    261  # trial periods over which the trend is measured; as wide as that of TLS, on our finer grid
)


OnPeriodogram = Callable[[NDArray[np.float64], NDArray[np.float64]], None]


@dataclass(frozen=True)
class Transits:
    """One series of dips.

    Attributes
    ----------
    period, epoch, duration : float, days
        `epoch` is the middle of the first dip of the light curve, on the clock of the times given.
    depth, depth_err : float
        Of the flux, whose level outside the dips is 1.
    depth_odd, depth_even, depth_odd_err, depth_even_err : float
        Of every second dip; NaN where no point fell into one.
    snr : float
        Depth over its error, from the scatter outside the dips.
    sde : float
        Signal detection efficiency: how many standard deviations the peak stands above the periodogram.
    n_transits : int
        Dips with at least one point.
    """

    period: float
    epoch: float
    duration: float
    depth: float
    depth_err: float
    depth_odd: float
    depth_odd_err: float
    depth_even: float
    depth_even_err: float
    snr: float
    sde: float
    n_transits: int

    @property
    def is_event(self) -> bool:
        """Whether it is a threshold-crossing event: at least 2 transits, SNR 7.1 and SDE 7.0."""
        return self.n_transits >= LEAST_TRANSITS and self.snr >= LEAST_SNR and self.sde >= LEAST_SDE


def find_transits(
    time: ArrayLike,
    flux: ArrayLike,
    err: ArrayLike | None = None,
    *,
    shortest: float = 0.4,
    longest: float | None = None,
    density: float = 1.0,
    most: int = 1,
    method: str = "boxes",
    on_periodogram: OnPeriodogram | None = None,
) -> tuple[Transits, ...]:
    """Search a flat light curve for series of dips, the strongest first.

    After each series its dips are taken out and the rest is searched again, until `most` are found or one is
    not a threshold-crossing event; that one is still returned, as the last.

    Parameters
    ----------
    time : (n,) array_like, days
    flux : (n,) array_like
        Detrended, about 1. What is not finite is left out.
    err : (n,) array_like, optional
    shortest, longest : float, days
        Limits of the period; the longest is half the baseline unless given.
    density : float, solar densities
        Of the star; it sets the durations.
    most : int
    method : str
        ``boxes`` (box least squares) or ``tls`` (transit least squares of Hippke & Heller, slower, for
        shallow dips).
    on_periodogram : callable, optional
        Called for each series with the trial periods [days] and the fraction of the variance (for `tls`, the
        power) at each.

    Returns
    -------
    tuple of Transits
        Empty where no dip explains anything.

    Raises
    ------
    LightCurveError
        Too few points, or too many trial periods.
    UsageError
        The method is unknown or the limits exclude each other.
    DependencyError
        numba, or for `tls` transitleastsquares, is not installed.

    References
    ----------
    Kovacs, Zucker & Mazeh 2002, A&A 391, 369; Hippke & Heller 2019, A&A 623, A39.
    """
    if method not in ("boxes", "tls"):
        raise UsageError(f'no search for transits is called "{method}"; choose boxes or tls')
    points = clean_points(time, flux, err)
    level = float(np.median(np.asarray(flux, dtype=np.float64)[np.isfinite(flux)]))
    if not level > 0:
        raise LightCurveError(f"the median flux is {level:g}; give a detrended flux, whose level is about 1")
    found: list[Transits] = []
    while len(found) < most and points.time.size >= 10 and points.baseline > 2 * shortest:
        end = points.baseline / 2 if longest is None else longest
        search = search_boxes if method == "boxes" else search_tls
        best = search(points, level, shortest, end, density, on_periodogram or nobody)
        if best is None:
            break
        found.append(best)
        dips = in_transit(points.time + points.origin, best.period, best.epoch, 1.5 * best.duration)
        if not best.is_event or np.count_nonzero(~dips) < 10:
            break
        points = points.take(~dips)
    return tuple(found)


def in_transit(time: ArrayLike, period: float, epoch: float, duration: float) -> NDArray[np.bool_]:
    """Say which times lie within half a duration of the middle of a dip."""
    cycles = (np.asarray(time, dtype=np.float64) - epoch) / period
    return np.asarray(np.abs(cycles - np.rint(cycles)) * period <= duration / 2)


def nobody(period: NDArray[np.float64], power: NDArray[np.float64]) -> None:
    """Leave a periodogram unseen."""


def search_boxes(
    points: Points, level: float, shortest: float, longest: float, density: float, show: OnPeriodogram
) -> Transits | None:
    """Find the strongest box, and refine it."""
    boxes = box_power(
        points, box_periods(points.baseline, shortest, longest, density=density), density=density
    )
    show(boxes.period, boxes.power)
    best = int(np.argmax(boxes.power))
    if boxes.power[best] <= 0:
        return None
    step = abs(boxes.period[max(best - 1, 0)] - boxes.period[min(best + 1, boxes.period.size - 1)])
    near = boxes.period[best] + step * np.linspace(-1, 1, 81)
    fine = box_power(points, near[near > 0], density=density, bins_per_dip=12.0)
    top = int(np.argmax(fine.power))
    period, epoch, duration = (float(values[top]) for values in (fine.period, fine.epoch, fine.duration))
    sde = efficiency(boxes)
    found = measured(points, level, period, epoch, duration, sde)
    if found is None or not one_in_two(found):
        return found
    # the period was beyond the longest that was searched: the dips that are there are twice as far apart
    later = epoch if found.depth_even > found.depth_odd else epoch + period
    return measured(points, level, 2 * period, later, duration, sde) or found


def one_in_two(found: Transits) -> bool:
    """Whether every second dip is missing although there are points where it should be."""
    deep, shallow = max(found.depth_odd, found.depth_even), min(found.depth_odd, found.depth_even)
    error = float(np.hypot(found.depth_odd_err, found.depth_even_err))
    return shallow < 0.2 * deep and deep - shallow > 5 * error


def efficiency(boxes: Boxes) -> float:
    """Signal detection efficiency of the strongest peak, above the running median of the periodogram.

    As TLS has it: of the least chi squared over that at each period (Hippke & Heller 2019, eqs. 6 and 7).
    """
    from scipy.ndimage import median_filter

    left = np.maximum(1.0 - boxes.power, 1e-9)  # of the variance; nothing is left of a curve without noise
    residue = left.min() / left
    residue = residue - median_filter(residue, size=min(NEIGHBOURHOOD, residue.size), mode="nearest")
    spread = float(residue.std())
    return float((residue.max() - residue.mean()) / spread) if spread > 0 else 0.0


def search_tls(
    points: Points, level: float, shortest: float, longest: float, density: float, show: OnPeriodogram
) -> Transits | None:
    """Ask transitleastsquares, for a star of one solar radius and the mass of that density."""
    try:
        from transitleastsquares import transitleastsquares
    except ModuleNotFoundError as error:
        raise DependencyError(
            'the search tls needs transitleastsquares; pip install "astrid[lightcurves]"'
        ) from error
    box_periods(points.baseline, shortest, longest, density=density)  # refuses what would take days
    flux = 1.0 + points.mag / level
    err = points.weight**-0.5
    err *= np.median(np.abs(np.diff(flux))) / np.median(err)
    with np.errstate(all="ignore"), warnings.catch_warnings(action="ignore"):
        result = transitleastsquares(points.time, flux, err, verbose=False).power(
            period_min=shortest,
            period_max=longest,
            M_star=density,
            M_star_min=0.01 * density,
            M_star_max=100 * density,
            use_threads=1,
            show_progress_bar=False,
        )
    if not np.isfinite(result.period):
        return None
    show(np.asarray(result.periods, np.float64), np.asarray(result.power, np.float64))
    return measured(
        points, level, float(result.period), float(result.T0), float(result.duration), float(result.SDE)
    )


def measured(
    points: Points, level: float, period: float, epoch: float, duration: float, sde: float
) -> Transits | None:
    """Measure the dips of a given ephemeris (epoch from the origin of the points)."""
    inside = in_transit(points.time, period, epoch, duration)
    if not inside.any() or inside.all():
        return None
    mean = float(np.average(points.mag[~inside], weights=points.weight[~inside]))
    deviation = (points.mag - mean) / (level + mean)
    scatter = 1.4826 * float(np.median(np.abs(deviation[~inside] - np.median(deviation[~inside]))))
    scatter = scatter if scatter > 0 else float(deviation[~inside].std())
    # errors tell the weights, the scatter tells their scale
    relative = points.weight * points.weight.size
    cycle = np.rint((points.time - epoch) / period).astype(np.int64)

    def depth_of(chosen: NDArray[np.bool_]) -> tuple[float, float]:
        total = float(relative[chosen].sum())
        if total == 0:
            return float("nan"), float("nan")
        return -float(relative[chosen] @ deviation[chosen]) / total, scatter / total**0.5

    depth, depth_err = depth_of(inside)
    odd, odd_err = depth_of(inside & (cycle % 2 == 1))
    even, even_err = depth_of(inside & (cycle % 2 == 0))
    return Transits(
        period=period,
        epoch=epoch + points.origin,
        duration=duration,
        depth=depth,
        depth_err=depth_err,
        depth_odd=odd,
        depth_odd_err=odd_err,
        depth_even=even,
        depth_even_err=even_err,
        snr=depth / depth_err if depth_err > 0 else float("inf"),
        sde=sde,
        n_transits=int(np.unique(cycle[inside]).size),
    )
