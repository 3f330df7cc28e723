"""The figures of a night's page: rates, scores, cutouts and light curves, in the colours of the page.

Arrays and rows in, HTML text out; where they stand is decided in `nightly`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import CUTOUTS, Alert
from astrid.alerts.stamps import good_pixels
from astrid.learn.evaluation_charts import FIRST, INK, LINE, SECOND, SOFT, svg
from astrid.pages.pictures import asinh_grey, data_uri, diverging, robust_sigma
from astrid.stream.comparison import ACT, WATCH, Comparison
from astrid.stream.digest import BINS, Histogram

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["cutouts_uri", "index_chart", "light_curve_chart", "night_chart", "score_chart"]

_BANDS = {
    "u": "#a8568f", "g": "#3f9b7f", "r": "#c05848", "i": "#9b8a2e", "z": "#6a72c9", "y": "#8d6e5c",
}  # fmt: skip
_SURVEYS = (FIRST, SECOND, "#3f9b7f", "#a8568f", "#9b8a2e", "#6a72c9")
_STEP = 600.0  # s
_QUANTITIES = 16
_WATCH = "#b08a2e"  # legible on light and dark
_GAP = 1  # px between cutouts


def night_chart(series: Mapping[str, Counter[float]], title: str) -> str:
    """Alerts in each ten minutes, of each survey; empty where no time is known.

    Parameters
    ----------
    series : mapping of str to Counter
        Alerts by the start of the ten minutes, s since 1970.
    title : str
    """
    times = sorted({at for counts in series.values() for at in counts})
    if not times:
        return ""
    start, end = times[0], times[-1] + _STEP
    # ten minutes each, or as many as make about a hundred steps
    step = _STEP * max(1, round((end - start) / _STEP / 100))
    edges = np.arange(start, end + step, step)
    figure, axes = _axes((5.9, 2.9), "", f"alerts in {step / 60:,.0f} min")
    floor = np.zeros(len(edges) - 1)
    for k, (survey, counts) in enumerate(sorted(series.items(), key=lambda item: -item[1].total())):
        found, _ = np.histogram(list(counts), edges, weights=list(counts.values()))
        colour = _SURVEYS[k % len(_SURVEYS)]
        axes.stairs(floor + found, edges, baseline=floor, fill=True, alpha=0.75, color=colour, label=survey)
        floor = floor + found
    axes.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.08 * max(floor.max(), 1)))
    ticks = _hours(start, edges[-1])
    form = "%H:%M" if edges[-1] - edges[0] < 2 * 86400 else "%d %b"
    axes.set_xticks(ticks, [datetime.fromtimestamp(at, UTC).strftime(form) for at in ticks])
    axes.set_xlabel("UTC", color=SOFT, fontsize=10.5)
    if len(series) > 1:
        _legend(axes)
    return svg(figure, title)


def _hours(start: float, end: float) -> list[float]:
    """About eight round times."""
    steps = (600, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
    step = next((one for one in steps if (end - start) / one <= 7), None)
    if step is None:
        step = 86400 * int(np.ceil((end - start) / 86400 / 8))
    return [float(at) for at in np.arange(np.ceil(start / step) * step, end + 1, step)]


def score_chart(found: Histogram, before: NDArray[np.floating] | None, title: str) -> str:
    """Probabilities of one bundle on a logarithmic axis, beside those of the reference.

    Parameters
    ----------
    found : Histogram
    before : (n,) ndarray, optional
        Scores of the reference; they are scaled to the number of the night.
    title : str
    """
    figure, axes = _axes((4.4, 2.9), "probability", "alerts")
    edges = np.linspace(0, 1, BINS + 1)
    floor, top = 0.5, float(max(found.counts.max(), 1))
    counts = np.maximum(found.counts, floor)
    axes.stairs(counts, edges, baseline=floor, fill=True, color=FIRST, alpha=0.25)
    axes.stairs(counts, edges, baseline=floor, color=FIRST, linewidth=1.6, label="this night")
    if before is not None and len(before):
        scaled = np.histogram(before.clip(0, 1), edges)[0] * (found.n / len(before))
        top = max(top, float(scaled.max()))
        axes.stairs(
            np.maximum(scaled, floor), edges, baseline=None, color=SECOND, linewidth=1.6,
            label="the nights before, scaled",
        )  # fmt: skip
        _legend(axes)
    axes.set_yscale("log")
    axes.set(xlim=(0, 1), ylim=(floor, 2 * top))
    powers = [10.0**k for k in range(int(np.log10(2 * top)) + 1)]
    axes.set_yticks(powers, [f"{value:,.0f}" for value in powers])
    axes.set_yticks([], minor=True)
    return svg(figure, title)


def index_chart(found: Sequence[Comparison], title: str) -> str:
    """The stability index of each quantity in each part, on an axis of square roots.

    Parameters
    ----------
    found : sequence of Comparison
        The quantities that have moved most are drawn.
    title : str
    """
    worst: dict[str, float] = {}
    for one in found:
        worst[one.quantity] = max(worst.get(one.quantity, 0.0), one.shift.psi)
    names = sorted(worst, key=lambda name: -worst[name])[:_QUANTITIES]
    figure, axes = _axes((6.4, 0.75 + 0.24 * len(names)), "stability index", "")
    for level, colour, marker in (("ok", SOFT, "."), ("watch", _WATCH, "s"), ("act", SECOND, "D")):
        some = [one for one in found if one.level == level and one.quantity in names]
        axes.plot(
            [one.shift.psi ** 0.5 for one in some], [names.index(one.quantity) for one in some], marker,
            color=colour, alpha=0.8, markersize=7 if level == "ok" else 5, label=level if some else None,
        )  # fmt: skip
    top = max([*worst.values(), 1.3 * ACT])
    ticks = [value for value in (0, 0.02, WATCH, ACT, 0.5, 1, 2, 4, 8) if value <= 1.1 * top]
    axes.set_xticks([value**0.5 for value in ticks], [f"{value:g}" for value in ticks])
    axes.set_yticks(range(len(names)), names)
    axes.set(xlim=(-0.03 * top**0.5, 1.05 * top**0.5), ylim=(len(names) - 0.5, -0.5))
    for value in (WATCH, ACT):
        axes.axvline(value**0.5, color=SOFT, linewidth=1, linestyle="--")
    _legend(axes)
    return svg(figure, title)


def light_curve_chart(table: pa.Table, mjd: float | None, title: str) -> str:
    """Magnitudes of an object over time, its limits as small marks; empty where there is no magnitude.

    Parameters
    ----------
    table : pyarrow.Table
        As `Store.light_curve` gives it.
    mjd : float or None, days
        Of the alert, which is marked; times are counted from it.
    title : str
    """
    rows = [one for one in table.to_pylist() if one["mjd"] is not None]
    seen = [one for one in rows if one["magpsf"] is not None and not one["forced"]]
    if not seen:
        return ""
    zero = mjd if mjd is not None else max(one["mjd"] for one in seen)
    figure, axes = _axes((3.6, 1.75), "", "AB mag", size=9)
    for band in sorted({one["band"] or "" for one in rows}):
        colour = _BANDS.get(band, SOFT)
        limits = [one for one in rows if (one["band"] or "") == band and one["limiting_mag"] is not None]
        limits = [one for one in limits if one["magpsf"] is None]
        axes.plot(
            [one["mjd"] - zero for one in limits], [one["limiting_mag"] for one in limits], "v", color=colour,
            markersize=3, alpha=0.35, markeredgewidth=0,
        )  # fmt: skip
        mine = [one for one in seen if (one["band"] or "") == band]
        for which, face in ((True, colour), (False, "none")):
            some = [one for one in mine if (one["positive"] is not False) == which]
            if some:
                axes.errorbar(
                    [one["mjd"] - zero for one in some], [one["magpsf"] for one in some],
                    [one["sigmapsf"] or 0 for one in some], color=colour, linestyle="none", marker="o",
                    markersize=4, markerfacecolor=face, elinewidth=0.9,
                )  # fmt: skip
        if mine:
            axes.plot([], [], "o", color=colour, markersize=4, label=band or "no band")
    magnitudes = [one["magpsf"] for one in seen]
    faint = [one["limiting_mag"] for one in rows if one["limiting_mag"] is not None]
    axes.set_ylim(max([*magnitudes, *(value for value in faint if value < 30)]) + 0.35, min(magnitudes) - 0.4)
    first, last = min(one["mjd"] for one in rows) - zero, max(one["mjd"] for one in rows) - zero
    margin = 0.05 * (last - first) or 0.5
    axes.set_xlim(first - margin, last + margin)
    axes.locator_params(nbins=5)
    axes.axvline(0, color=SOFT, linewidth=0.8, linestyle=":")
    axes.set_xlabel("days from this alert", color=SOFT, fontsize=9)
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.03, 0.96), ncols=6, frameon=False, fontsize=9, labelcolor=INK,
        handletextpad=0.1, columnspacing=0.8, borderaxespad=0,
    )  # fmt: skip
    return svg(figure, title)


def cutouts_uri(alert: Alert) -> str:
    """The three cutouts of an alert side by side, as a ``data:`` address; empty where it has none.

    Each has its own stretch; the difference is orange where the source has become brighter. The first
    row of pixels is at the bottom.
    """
    tiles = []
    for name in CUTOUTS:
        cutout = alert.cutouts.get(name)
        if cutout is None or cutout.image is None or cutout.problem:
            return ""
        image = np.asarray(cutout.image, np.float32)
        blank = ~good_pixels(image)
        good = image[~blank]
        sigma = robust_sigma(good) or 1.0
        if name == "difference":
            image = -image if alert.flipped else image
            half = [side // 2 for side in image.shape]
            middle = np.where(blank, 0, image)[half[0] - 3 : half[0] + 4, half[1] - 3 : half[1] + 4]
            index = diverging(image, max(5 * sigma, float(np.abs(middle).max(initial=0))), blank)
        else:
            level = float(np.median(good)) if good.size else 0.0
            top = float(np.percentile(good, 99.7)) if good.size else 1.0
            high = max(top, level + 15 * sigma)
            index = asinh_grey(image, level - 2.5 * sigma, high, 3 * sigma, blank)
        tiles.append(index[::-1])
    side = max(max(tile.shape) for tile in tiles)
    strip = np.zeros((side, 3 * side + 2 * _GAP), np.uint8)
    for k, tile in enumerate(tiles):
        ny, nx = tile.shape
        y, x = (side - ny) // 2, k * (side + _GAP) + (side - nx) // 2
        strip[y : y + ny, x : x + nx] = tile
    return data_uri(strip)


def _axes(size_in: tuple[float, float], x: str, y: str, *, size: float = 10.5) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size_in, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x, color=SOFT, fontsize=size)
    axes.set_ylabel(y, color=SOFT, fontsize=size)
    axes.tick_params(colors=SOFT, labelsize=size - 0.5, length=3)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(SOFT)
    return figure, axes


def _legend(axes: Axes) -> None:
    axes.legend(
        loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=4, frameon=False, fontsize=10, labelcolor=INK,
        handletextpad=0.5, columnspacing=1.2,
    )  # fmt: skip
