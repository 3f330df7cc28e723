"""From a light curve to judged candidates for transits: trend, search, views, numbers, score.

The steps are those of `astrid.lightcurves.transits` in the order and with the settings of the data that the
models were trained on; the drawing of sheets is in `transit_sheet`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.files.record import plain
from astrid.learn.prediction import Predictor
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periods.boxes import transit_duration
from astrid.lightcurves.transits import (
    EARTH,
    Dip,
    Transits,
    TransitViews,
    clip_bright,
    detrend,
    find_transits,
    in_transit,
    measure_dip,
    orbit_numbers,
    shape_numbers,
    signal_numbers,
    transit_views,
)
from astrid.survey.transit_star import MEDIAN_STAR, Star

__all__ = ["Candidate", "Periodogram", "Score", "TransitSearch", "candidate_inputs", "search_transits"]

Array = NDArray[np.float64]

VIEW_WINDOW = 101 * 2 / 1440
"""Days: the views of Rao et al. are of a flux whose trend over 101 points of 2 min was taken out."""

FEWEST = 25  # points in that window, for longer cadences
MASKED = 3.0  # durations about each dip that the trend of the views does not follow
BRIGHT = (3.0, 5.0)  # sigma: points above are left out of the search, and of the views
LONGEST = 13.5  # days: the longest dip of the search lasts as at this period
SIGN = 3.0  # sigma
LARGEST = 25.0  # Earth radii: no inflated planet is larger


@dataclass(frozen=True)
class Score:
    """What a bundle says of a candidate.

    Attributes
    ----------
    bundle, hash : str
    planet : float
        Calibrated probability.
    spread : float
        Over the members of the ensemble; NaN where the bundle has none.
    decision, label_set : str
    applicable : str
        Empty where the model applies; else every reason why it may not.
    """

    bundle: str
    hash: str
    planet: float
    spread: float
    decision: str
    label_set: str
    applicable: str


@dataclass(frozen=True, eq=False)
class Periodogram:
    """Power at each trial period [days]: the part of the variance that a box takes away, or that of TLS."""

    period: Array
    power: Array


@dataclass(frozen=True, eq=False)
class Candidate:
    """One series of dips.

    Attributes
    ----------
    found : Transits
        As the search has it.
    dip : Dip
        The same, measured by the shape of a transit.
    periodogram : Periodogram
    flat : (n,) float64 ndarray
        The flux without the trend of the views, NaN for points that were left out.
    views : TransitViews or None
    inputs : dict of str to float32 ndarray
        What the model was given, without the axis of items; empty without views.
    secondary : tuple of float
        Depth half a period from the dip, and its error; NaN where nothing was measured.
    odd_even_sigma : float
        Difference of the depths of odd and even dips, in its errors; NaN where one has no point.
    signs : tuple of str
        What speaks for stars that eclipse each other, whatever the model says.
    score : Score or None
    unscored : str
        Why there is no score.
    """

    found: Transits
    dip: Dip
    periodogram: Periodogram
    flat: Array
    views: TransitViews | None
    inputs: dict[str, NDArray[np.float32]]
    secondary: tuple[float, float]
    odd_even_sigma: float
    signs: tuple[str, ...]
    score: Score | None
    unscored: str

    def as_dict(self) -> dict[str, Any]:
        """Numbers only, in JSON's own types."""
        facts = {
            "period": self.dip.period,
            "epoch": self.dip.epoch,
            "duration": self.dip.duration,
            "depth": self.dip.depth,
            "depth_odd": self.dip.depth_odd,
            "depth_even": self.dip.depth_even,
            "secondary": self.secondary[0],
            "secondary_err": self.secondary[1],
            "odd_even_sigma": self.odd_even_sigma,
            "signs": list(self.signs),
            "n_transits": self.dip.n_transits,
            "snr": self.dip.snr,
            "sde": self.found.sde,
            "is_event": self.found.is_event,
            "score": None if self.score is None else asdict(self.score),
            "unscored": self.unscored,
        }
        return dict(plain(facts))


@dataclass(frozen=True, eq=False)
class TransitSearch:
    """All that was found in one light curve.

    Attributes
    ----------
    name : str
    time : (n,) float64 ndarray, MJD
    flux, trend, flat : (n,) float64 ndarray
        As measured over its median, the trend of the search, and the flux over it.
    star : Star
        As it was given.
    method : str
    candidates : tuple of Candidate
        The strongest first; the last may be no event.
    notes : tuple of str
        What a person should know before believing any of it.
    """

    name: str
    time: Array
    flux: Array
    trend: Array
    flat: Array
    star: Star
    method: str
    candidates: tuple[Candidate, ...]
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The result without the curves, in JSON's own types."""
        star = {name: value for name, value in asdict(self.star).items() if value is not None}
        facts = {
            "name": self.name,
            "n_points": len(self.time),
            "days": float(self.time[-1] - self.time[0]),
            "method": self.method,
            "star": star,
            "star_filled": {name: MEDIAN_STAR[name] for name in self.star.missing},
            "candidates": [one.as_dict() for one in self.candidates],
            "notes": list(self.notes),
        }
        return dict(plain(facts))


class _Seen:
    """Keeps the periodogram of a search."""

    periodogram: Periodogram

    def keep(self, period: Array, power: Array) -> None:
        self.periodogram = Periodogram(period, power)


def search_transits(
    curve: LightCurve,
    *,
    star: Star | None = None,
    shortest: float = 0.6,
    longest: float | None = None,
    method: str = "boxes",
    most: int = 1,
    window: float | None = None,
    predictor: Predictor | None = None,
) -> TransitSearch:
    """Search a light curve for transits and judge what is found.

    Parameters
    ----------
    curve : LightCurve
        Of one band, or of several of which the one with most points is taken. Points with a
        quality flag are left out.
    star : Star, optional
        Medians of the training set stand for what is not known, and the result says so.
    shortest, longest : float, days
        Limits of the period; the longest is half the baseline unless given.
    method : {"boxes", "tls"}
    most : int
        Series of dips to look for; the search ends before with the first that is no event.
    window : float, optional, days
        Of the trend; three times the longest dip that a planet with a period of 13.5 d makes at
        this star if not given.
    predictor : Predictor, optional
        Of a bundle of ``tess_transits`` or ``tess_transit_views``; nothing is scored without.

    Returns
    -------
    TransitSearch

    Raises
    ------
    LightCurveError
        Too few points, or a flux that is not positive on the whole.
    UsageError
        A method or limits that cannot be.
    DependencyError
        numba, or for ``tls`` transitleastsquares, is not installed.
    """
    known = Star() if star is None else star
    time, flux, error, notes = _usable(curve)
    density = known.density
    width = 3.0 * float(transit_duration(LONGEST, density)) if window is None else window
    flat, trend = detrend(time, flux, width)
    keep = clip_bright(flat, BRIGHT[0])
    notes += [] if not known.missing else [known.remark]
    candidates: list[Candidate] = []
    while len(candidates) < most:
        seen = _Seen()
        series = find_transits(
            time[keep], flat[keep], None if error is None else error[keep],
            shortest=shortest, longest=longest, density=density, method=method,
            on_periodogram=seen.keep,
        )  # fmt: skip
        if not series:
            break
        candidates.append(_candidate(time, flux, flat, keep, series[0], seen.periodogram, known, predictor))
        found = candidates[-1]
        if not found.found.is_event:
            break
        keep = keep & ~in_transit(time, found.dip.period, found.dip.epoch, 1.5 * found.dip.duration)
    return TransitSearch(curve.name, time, flux, trend, flat, known, method, tuple(candidates), tuple(notes))


def candidate_inputs(views: TransitViews, dip: Dip, sde: float, star: Star) -> dict[str, NDArray[np.float32]]:
    """What the models of ``tess_transits`` and ``tess_transit_views`` take, for one candidate.

    Parameters
    ----------
    views : TransitViews
    dip : Dip
    sde : float
    star : Star

    Returns
    -------
    inputs : dict of str to float32 ndarray
        Without the axis of items.
    """
    one = np.ones(1)
    signal = signal_numbers(
        dip.period * one, 24 * dip.duration * one, dip.depth * one, dip.depth_odd * one,
        dip.depth_even * one, dip.n_transits * one, dip.snr * one, sde * one,
    )  # fmt: skip
    stars = np.array([list(star.filled().values())], np.float32)
    both = views.half_phase_view
    shape = shape_numbers(
        views.global_view[None], views.local_view[None], both[None], dip.duration / dip.period * one
    )
    return {
        "global_view": views.global_view[:, None],
        "shifted_view": views.shifted_global_view[:, None],
        "local_view": views.local_view[:, None],
        "half_phase_view": both.reshape(2, -1).T,
        "transit": signal[0],
        "star": stars[0],
        "orbit": orbit_numbers(signal, stars)[0],
        "shape": shape[0],
    }


def _usable(curve: LightCurve) -> tuple[Array, Array, Array | None, list[str]]:
    """Times, fluxes over their median, errors, and what was left out."""
    notes = list(curve.warnings)
    if len(curve.bands) > 1:
        names, counts = np.unique(curve.band, return_counts=True)
        band = curve.bands[int(names[np.argmax(counts)])]
        notes.append(f"of {len(curve.bands)} bands only {band} was searched")
        curve = curve.in_band(band)
    good = curve.good()
    if len(good) < len(curve):
        notes.append(f"{len(curve) - len(good)} of {len(curve)} points have a quality flag and are left out")
    good = good.as_flux(0.0)
    time, index = np.unique(good.time, return_index=True)
    flux = good.value[index]
    level = float(np.median(flux))
    if not level > 0:
        raise LightCurveError(
            f"{curve.name}: the median flux is {level:g}; give fluxes or magnitudes of the star itself, not "
            "differences"
        )
    error = None if good.error is None else good.error[index] / level
    if error is not None and not np.isfinite(error).all():
        error = None
    return time, flux / level, error, notes


def _candidate(
    time: Array,
    flux: Array,
    flat: Array,
    keep: NDArray[np.bool_],
    found: Transits,
    periodogram: Periodogram,
    star: Star,
    predictor: Predictor | None,
) -> Candidate:
    dip = measure_dip(time[keep], flat[keep], found)
    own = _flat_for_views(time, flux, dip)
    # dips that were found before are no part of this one
    own[~keep & ~clipped(flat)] = np.nan
    views: TransitViews | None = None
    inputs: dict[str, NDArray[np.float32]] = {}
    score, reason = None, ""
    try:
        views = transit_views(time, own, dip.period, dip.epoch, dip.duration)
        inputs = candidate_inputs(views, dip, found.sde, star)
    except LightCurveError as error:
        reason = str(error)
    if views is not None and predictor is not None:
        score = _scored(inputs, star, predictor)
    elif predictor is None:
        reason = reason or "no model was asked"
    secondary = _secondary(time, own, dip)
    odd_even = abs(found.depth_odd - found.depth_even) / float(
        np.hypot(found.depth_odd_err, found.depth_even_err)
    )
    signs = _signs(dip, secondary, odd_even, star)
    return Candidate(found, dip, periodogram, own, views, inputs, secondary, odd_even, signs, score, reason)


def _secondary(time: Array, flat: Array, dip: Dip) -> tuple[float, float]:
    """Depth of a dip half a period later, and its error."""
    turns = (time - dip.epoch) / dip.period - 0.5
    offset = np.abs(turns - np.rint(turns)) * dip.period
    inside = np.isfinite(flat) & (offset < dip.duration / 2)
    beside = np.isfinite(flat) & ~inside & (offset < 2 * dip.duration)
    if np.count_nonzero(inside) < 2 or np.count_nonzero(beside) < 3:
        return float("nan"), float("nan")
    error = float(flat[beside].std() / np.sqrt(np.count_nonzero(inside)))
    return float(flat[beside].mean() - flat[inside].mean()), error


def _signs(dip: Dip, secondary: tuple[float, float], odd_even: float, star: Star) -> tuple[str, ...]:
    signs = []
    if odd_even > SIGN:
        signs.append(f"odd and even dips differ by {odd_even:.1f} sigma")
    depth, error = secondary
    if depth > SIGN * error:
        signs.append(f"a dip half a period later of {1e6 * depth:,.0f} ppm, {depth / error:.1f} sigma")
    radius = float(np.sqrt(max(dip.depth, 0.0))) * star.filled()["radius"] * EARTH
    if radius > LARGEST:
        signs.append(f"a planet of {radius:.0f} Earth radii would be larger than any")
    return tuple(signs)


def clipped(flat: Array) -> NDArray[np.bool_]:
    """Points that the search leaves out because they are bright, or have no flux."""
    return ~clip_bright(flat, BRIGHT[0])


def _flat_for_views(time: Array, flux: Array, dip: Dip) -> Array:
    """The flux without all that is slower than 3.4 h, or 25 points; the trend does not follow the dips."""
    cadence = float(np.median(np.diff(time)))
    inside = in_transit(time, dip.period, dip.epoch, MASKED * dip.duration)
    flat, _ = detrend(time, flux, max(VIEW_WINDOW, FEWEST * cadence), mask=inside)
    return np.where(clip_bright(flat, BRIGHT[1]), flat, np.nan)


def _scored(inputs: Mapping[str, NDArray[np.float32]], star: Star, predictor: Predictor) -> Score:
    task = predictor.bundle.task
    absent = [name for name in task.inputs if name not in inputs]
    if absent or "planet" not in task.heads:
        raise UsageError(f"{predictor.bundle.name} judges no transits; give a bundle of tess_transits")
    said = predictor({name: inputs[name][None] for name in task.inputs})
    head = said.heads["planet"]
    reasons = [str(said.applicable[0])] if said.applicable[0] else []
    if star.missing:
        reasons.append(star.remark)
    return Score(
        bundle=said.bundle,
        hash=said.hash,
        planet=float(head.values[0, 0]),
        spread=float(head.spread[0, 0]),
        decision=str(head.decision[0]),
        label_set=str(head.labels_in_set[0]),
        applicable="; ".join(reasons),
    )
