"""One page for one candidate: all that a person needs to say planet, eclipsing stars, or noise.

Drawn with matplotlib from what `transit_search` found; nothing is measured here but medians to look at.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError
from astrid.lightcurves.transits import EARTH, in_transit
from astrid.survey.transit_search import Candidate, TransitSearch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["transit_sheet"]

_INK, _GREY, _BLUE, _RED = "#222222", "#9a9a9a", "#1f5fa8", "#c2410c"
_POINTS = 12_000  # of a curve; more only make the file large
_MARKED = 60  # dips; more would stand on each other
_GAP, _SHORT = 8.0, 2.0  # days: longer gaps are drawn as short ones
_WRAPPED = 190  # letters in a line of the notes

Array = NDArray[np.float64]


def transit_sheet(search: TransitSearch, number: int = 0) -> Figure:
    """Draw the sheet of one candidate.

    Parameters
    ----------
    search : TransitSearch
    number : int
        Of the candidate; 0 is the strongest.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`

    Raises
    ------
    UsageError
        There is no such candidate.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    if not 0 <= number < len(search.candidates):
        raise UsageError(
            f"{search.name}: there is no candidate {number}; {len(search.candidates)} were found"
        )
    one = search.candidates[number]
    spaces = ConstrainedLayoutEngine(h_pad=0.07, w_pad=0.06, hspace=0.02, wspace=0.03)
    figure = Figure(figsize=(14, 11.4), layout=spaces)
    rows = figure.add_gridspec(6, 12, height_ratios=(1.05, 1, 1, 1.25, 1.25, 0.8))
    _words(figure.add_subplot(rows[0, :]), search, one, number)
    _raw(figure.add_subplot(rows[1, :8]), search)
    _flat(figure.add_subplot(rows[2, :8]), search, one)
    _periodogram(figure.add_subplot(rows[1:3, 8:]), search, one)
    _folded(figure.add_subplot(rows[3, :6]), search, one, whole=True)
    _folded(figure.add_subplot(rows[3, 6:]), search, one, whole=False)
    _odd_even(figure.add_subplot(rows[4, :4]), search, one)
    _secondary(figure.add_subplot(rows[4, 4:8]), search, one)
    _views(figure.add_subplot(rows[4, 8:]), one)
    _notes(figure.add_subplot(rows[5, :]), search, one)
    return figure


def _words(axes: Any, search: TransitSearch, one: Candidate, number: int) -> None:
    axes.axis("off")
    dip = one.dip
    rank = "" if len(search.candidates) == 1 else f"   candidate {number + 1} of {len(search.candidates)}"
    axes.text(0, 1, search.name + rank, size=17, weight="bold", color=_INK, va="top")
    columns = (
        (
            ("period", f"{dip.period:.6g} d"),
            ("first dip", f"MJD {dip.epoch:.5f}"),
            ("duration", f"{24 * dip.duration:.3g} h"),
        ),
        (
            ("depth", _parts(dip.depth)),
            ("odd dips", _error(one.found.depth_odd, one.found.depth_odd_err)),
            ("even dips", _error(one.found.depth_even, one.found.depth_even_err)),
        ),
        (
            ("transits", f"{dip.n_transits}"),
            ("SNR", f"{dip.snr:.1f}"),
            ("SDE", f"{one.found.sde:.1f}"),
        ),
        (
            ("radius, if a planet", f"{_radius(search, one):.3g} Earths"),
            ("search", {"boxes": "box least squares", "tls": "transit least squares"}[search.method]),
            ("threshold crossed", "yes" if one.found.is_event else "no"),
        ),
    )
    for k, column in enumerate(columns):
        for row, (name, value) in enumerate(column):
            y = 0.62 - 0.24 * row
            axes.text(0.185 * k, y, name, size=11, color="#666666", va="top")
            axes.text(0.185 * k + 0.072 + 0.045 * (k == 3), y, value, size=11, color=_INK, va="top")
    _verdict(axes, one)


def _verdict(axes: Any, one: Candidate) -> None:
    score = one.score
    if score is None:
        axes.text(1, 0.9, "not scored", size=17, weight="bold", color=_GREY, va="top", ha="right")
        return
    colour = _BLUE if score.decision == "planet" else _RED
    spread = f" ± {score.spread:.2f}" if np.isfinite(score.spread) else ""
    words = f"{score.decision}: {score.planet:.2f}{spread}"
    axes.text(1, 1, words, size=19, weight="bold", color=colour, va="top", ha="right")
    doubt = "" if "+" not in score.label_set else ", cannot tell: to a person"
    axes.text(1, 0.62, f"probability of a planet, {score.bundle}{doubt}", size=11, color="#666666",
              va="top", ha="right")  # fmt: skip
    applies = "the model may not apply: see below" if score.applicable else "within what the model has seen"
    axes.text(1, 0.38, applies, size=11, color=_RED if score.applicable else "#666666", va="top", ha="right")


def _raw(axes: Any, search: TransitSearch) -> None:
    some, short = _thinned(len(search.time)), _shortened(search.time)
    axes.plot(short[some], search.flux[some], ".", ms=1.6, color=_GREY, rasterized=True)
    axes.plot(*_with_gaps(short, search.trend), color=_RED, lw=0.9)
    axes.set_xticks(*_dates(search.time))
    low, high = np.nanpercentile(search.flux, [0.05, 99.9])
    axes.set_ylim(low - 0.1 * (high - low), high + 0.15 * (high - low))
    axes.set_xticklabels([])
    _named(axes, "flux and trend")


def _flat(axes: Any, search: TransitSearch, one: Candidate) -> None:
    time, flat = search.time, search.flat
    inside = in_transit(time, one.dip.period, one.dip.epoch, 1.2 * one.dip.duration)
    some, short = _thinned(len(time)), _shortened(time)
    axes.plot(short[some], flat[some], ".", ms=1.6, color=_GREY, rasterized=True)
    axes.plot(short[inside], flat[inside], ".", ms=2.6, color=_BLUE, rasterized=True)
    low = min(float(np.nanpercentile(flat, 0.1)), 1 - 1.3 * one.dip.depth)
    axes.set_ylim(low - 0.1 * (1 - low), max(1 + 0.4 * (1 - low), float(np.nanpercentile(flat, 99.5))))
    dips = np.unique(np.rint((time[inside] - one.dip.epoch) / one.dip.period))
    if len(dips) <= _MARKED:
        middle = np.interp(one.dip.epoch + one.dip.period * dips, time, short)
        floor = np.full(len(dips), axes.get_ylim()[0])
        axes.plot(middle, floor, "^", ms=5, color=_BLUE, clip_on=False, zorder=5)
    axes.set_xticks(*_dates(time))
    axes.set_xlabel("MJD")
    _named(axes, "detrended; the dips in blue")


def _periodogram(axes: Any, search: TransitSearch, one: Candidate) -> None:
    period, power = one.periodogram.period, one.periodogram.power
    order = np.argsort(period)
    axes.plot(period[order], power[order], color=_INK, lw=0.6, rasterized=True)
    axes.set_xscale("log")
    axes.axvline(one.dip.period, color=_BLUE, lw=5, alpha=0.25)
    for factor in (0.5, 2, 3):
        axes.axvline(factor * one.dip.period, color=_BLUE, lw=0.8, ls=":")
    axes.set_xlim(period.min(), period.max())
    axes.set_ylim(0, 1.18 * float(power.max()))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_xlabel("period, d")
    _named(axes, "part of the variance" if search.method == "boxes" else "power of TLS")


def _folded(axes: Any, search: TransitSearch, one: Candidate, *, whole: bool) -> None:
    dip = one.dip
    phase = _phase(search.time, dip.period, dip.epoch)
    half = 0.5 if whole else min(2 * dip.duration / dip.period, 0.5)
    scale = 1.0 if whole else 24 * dip.period
    _points(axes, phase, one.flat, half, scale, 201 if whole else 81, dip.depth)
    axes.set_xlabel("phase" if whole else "hours from the middle of the dip")
    _named(axes, "global view" if whole else "local view")


def _odd_even(axes: Any, search: TransitSearch, one: Candidate) -> None:
    dip = one.dip
    phase = _phase(search.time, dip.period, dip.epoch)
    odd = np.rint((search.time - dip.epoch) / dip.period).astype(np.int64) % 2 == 1
    half = min(1.5 * dip.duration / dip.period, 0.5)
    width = 2.2 * half
    for k, (name, chosen, depth) in enumerate(
        (("odd", odd, one.found.depth_odd), ("even", ~odd, one.found.depth_even))
    ):
        _points(axes, phase[chosen], one.flat[chosen], half, 1.0, 41, dip.depth, shift=k * width)
        axes.hlines(1 - depth, k * width - half, k * width + half, color=_RED, lw=1)
        axes.text(k * width, 1, name, transform=axes.get_xaxis_transform(), ha="center", va="bottom", size=10)
    axes.set_xlim(-half, width + half)
    axes.set_xticks([])
    sigma = f"{one.odd_even_sigma:.1f}σ apart" if np.isfinite(one.odd_even_sigma) else "not both covered"
    axes.set_xlabel(f"odd and even dips: {sigma}")


def _secondary(axes: Any, search: TransitSearch, one: Candidate) -> None:
    dip = one.dip
    phase = _phase(search.time, dip.period, dip.epoch + dip.period / 2)
    half = min(2 * dip.duration / dip.period, 0.25)
    _points(axes, phase, one.flat, half, 24 * dip.period, 81, dip.depth)
    words = _error(*one.secondary)
    axes.set_xlabel(f"hours from half a period later: {words} deep")
    _named(axes, "secondary")


def _views(axes: Any, one: Candidate) -> None:
    if one.views is None:
        axes.axis("off")
        axes.text(0.5, 0.5, "no views", ha="center", color=_GREY)
        return
    shifted, later = one.views.shifted_global_view, one.views.half_phase_view
    axes.plot(np.linspace(0, 1, len(shifted)), shifted, lw=0.8, color=_INK)
    axes.plot(np.linspace(0, 1, len(later)), later - 3, lw=0.8, color=_BLUE)
    axes.set_ylim(-5.2, 2.6)
    axes.set_xticks([])
    axes.set_yticks([1, -1, -2, -4], labels=["1", "−1", "1", "−1"])
    axes.set_xlabel("for the model: shifted; half a period later | dip")


def _notes(axes: Any, search: TransitSearch, one: Candidate) -> None:
    from textwrap import wrap

    axes.axis("off")
    reasons = [] if one.score is None or not one.score.applicable else one.score.applicable.split("; ")
    notes = [f"sign of eclipsing stars: {sign}" for sign in one.signs]
    notes += [f"the model may not apply: {reason}" for reason in reasons]
    notes += [f"not scored: {one.unscored}"] if one.unscored else []
    notes += [note for note in search.notes if not any(note in said for said in notes)]
    lines = [line for note in notes for line in wrap(note, _WRAPPED)]
    axes.text(0, 1, "\n".join(lines[:7]), size=10, color=_INK, va="top", linespacing=1.4)


def _points(
    axes: Any,
    phase: Array,
    flat: Array,
    half: float,
    scale: float,
    bins: int,
    depth: float,
    shift: float = 0.0,
) -> None:
    """Points and medians in bins, within `half` of phase 0."""
    near = (np.abs(phase) <= half) & np.isfinite(flat)
    x, y = phase[near], flat[near]
    some = _thinned(len(x))
    axes.plot(x[some] * scale + shift, y[some], ".", ms=1.6, color=_GREY, alpha=0.7, rasterized=True)
    cell = np.minimum(((x + half) / (2 * half) * bins).astype(np.int64), bins - 1)
    filled = np.unique(cell)
    middle = (filled + 0.5) / bins * 2 * half - half
    medians = np.array([np.median(y[cell == k]) for k in filled])
    axes.plot(middle * scale + shift, medians, "o", ms=3, color=_INK)
    axes.axhline(1, color=_GREY, lw=0.6, zorder=0)
    if not shift:
        axes.set_xlim(-half * scale, half * scale)
    low = min(1 - 1.35 * depth, float(medians.min()) if len(medians) else 1.0)
    high = max(1 + 0.45 * depth, float(np.percentile(medians, 98)) if len(medians) else 1.0)
    axes.set_ylim(low, high)
    axes.ticklabel_format(axis="y", useOffset=False)


def _named(axes: Any, name: str) -> None:
    axes.text(0.008, 0.97, name, transform=axes.transAxes, va="top", size=10, color=_INK,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5, "alpha": 0.8})  # fmt: skip
    axes.tick_params(labelsize=9)


def _phase(time: Array, period: float, epoch: float) -> Array:
    turns = (time - epoch) / period
    return np.asarray(turns - np.rint(turns))


def _with_gaps(time: Array, values: Array) -> tuple[Array, Array]:
    """A line that is broken where nothing was measured for half a day."""
    gaps = np.flatnonzero(np.diff(time) > 0.5) + 1
    return np.insert(time, gaps, np.nan), np.insert(values, gaps, np.nan)


def _shortened(time: Array) -> Array:
    """Times on an axis where no gap is long; days."""
    steps = np.diff(time)
    return np.concatenate([[0.0], np.cumsum(np.where(steps > _GAP, _SHORT, steps))])


def _dates(time: Array) -> tuple[Array, list[str]]:
    """Places on the shortened axis and what to write there."""
    from matplotlib.ticker import MaxNLocator

    short = _shortened(time)
    places: list[float] = []
    bounds = np.concatenate([[0], np.flatnonzero(np.diff(time) > _GAP) + 1, [len(time)]])
    for first, after in pairwise(bounds.tolist()):
        start, end = time[first], time[after - 1]
        share = (short[after - 1] - short[first]) / max(short[-1], 1e-9)
        ticks = MaxNLocator(max(1, round(8 * share)), integer=True).tick_values(start, end)
        inside = [float(tick) for tick in ticks if start <= tick <= end] or [float(start)]
        places += inside if len(bounds) <= 7 else inside[:1] if first == 0 else []
    return np.interp(places, time, short), [f"{place:.0f}" for place in places]


def _thinned(n: int) -> NDArray[np.int64]:
    return np.arange(0, n, max(1, -(-n // _POINTS)))


def _radius(search: TransitSearch, one: Candidate) -> float:
    return float(np.sqrt(max(one.dip.depth, 0.0)) * search.star.filled()["radius"] * EARTH)


def _parts(depth: float) -> str:
    return f"{1e6 * depth:,.0f} ppm" if abs(depth) < 0.01 else f"{100 * depth:.3g} %"


def _error(depth: float, error: float) -> str:
    if not np.isfinite(depth):
        return "not covered"
    if abs(depth) < 0.01:
        return f"{1e6 * depth:,.0f} ± {1e6 * error:,.0f} ppm"
    return f"{100 * depth:.3g} ± {100 * error:.2g} %"
