"""The charts of a source's page, as SVG text that takes the colours of the page, light or dark.

What they show was measured elsewhere; where they stand is decided in `curve_page`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.learn.evaluation_charts import FIRST, INK, LINE, SECOND, SOFT, svg
from astrid.lightcurves.dmdt import Grid
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periods import TERRESTRIAL_BANDS, FrequencyGrid

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "coloured_bands",
    "dmdt_chart",
    "folded_chart",
    "light_curve_chart",
    "periodogram_chart",
    "phase_origin",
    "radar_chart",
]

_SIZE = (4.8, 3.1)  # inches
_MOST = 3000  # points that are drawn; of more every so-many-th
_WITH_ERRORS = 1200  # points that are drawn with their errors
_COLUMNS = 900  # of a periodogram: more than there are pixels
_BANDS = {
    "u": "#8f6fd0",
    "g": "#3f9b7f",
    "r": "#c9593f",
    "i": "#b07d2b",
    "z": "#7d8590",
    "y": "#a8568f",
    "b": "#4a8fd0",
}
_OTHERS = ("#6a72c9", "#5f9a4a", "#9b8a2e", "#a8568f")
_LAPSES = (
    (1 / 1440, "1 min"),
    (1 / 24, "1 h"),
    (1.0, "1 d"),
    (10.0, "10 d"),
    (100.0, "100 d"),
    (1000.0, "1000 d"),
)


def light_curve_chart(curve: LightCurve, title: str) -> str:
    """Magnitudes or fluxes over time, with their errors."""
    figure, axes = _chart("MJD, d", _value_name(curve))
    for band, colour in coloured_bands(curve):
        part = curve.in_band(band)
        _draw(axes, part.time, part.value, part.error, colour, band, len(curve))
    _limits(axes, curve, curve.value)
    axes.ticklabel_format(axis="x", style="plain", useOffset=False)
    axes.locator_params(axis="x", nbins=5)
    return _finished(figure, axes, title, legend=len(curve.bands) > 1)


def folded_chart(curve: LightCurve, period: float, title: str) -> str:
    """Two cycles of the folded light curve; bands about their medians where there are several."""
    several = len(curve.bands) > 1
    figure, axes = _chart(
        f"phase of {_period(period)}", f"{_value_name(curve)}{' less its median' if several else ''}"
    )
    origin = phase_origin(curve, period)
    middle = np.array([np.median(curve.value[curve.band == code]) for code in range(len(curve.bands))])
    values = curve.value - middle[curve.band] if several else curve.value
    for band, colour in coloured_bands(curve):
        own = curve.band == curve.bands.index(band)
        part = curve.at(own)
        phase = part.folded(period, origin)
        error = None if part.error is None else np.tile(part.error, 2)
        _draw(
            axes,
            np.concatenate([phase, phase + 1]),
            np.tile(values[own], 2),
            error,
            colour,
            band,
            2 * len(curve),
        )
    _limits(axes, curve, values)
    axes.set_xlim(0, 2)
    return _finished(figure, axes, title, legend=several)


def phase_origin(curve: LightCurve, period: float, bins: int = 24) -> float:
    """When the source is faintest: the middle of the faintest of some bins in phase, in its fullest band.

    Returns
    -------
    float, MJD
    """
    own = curve.band == np.argmax(np.bincount(curve.band))
    part = curve.at(own)
    cell = np.minimum((part.folded(period) * bins).astype(int), bins - 1)
    faint = part.value if curve.unit == "mag" else -part.value
    sums, counts = np.bincount(cell, faint, bins), np.bincount(cell, minlength=bins)
    sums, counts = (np.roll(one, 1) + one + np.roll(one, -1) for one in (sums, counts))
    mean = np.where(counts > 0, sums / np.maximum(counts, 1), -np.inf)
    return float(part.time[0] + (np.argmax(mean) + 0.5) / bins * period)


def periodogram_chart(
    grid: FrequencyGrid, power: NDArray[np.float64], marks: Mapping[str, float], title: str
) -> str:
    """The highest power near each period, the periods that are named, and those that the Earth spoils."""
    figure, axes = _chart("period, d", "power")
    period = 1 / grid.frequencies[::-1]
    edges = np.geomspace(period[0], period[-1] * (1 + 1e-9), _COLUMNS + 1)
    starts = np.unique(np.searchsorted(period, edges[:-1]))
    top = np.maximum.reduceat(power[::-1], starts[starts < len(period)])
    axes.set_xscale("log")
    for low, high in TERRESTRIAL_BANDS:
        if grid.start < high and low < grid.stop:
            axes.axvspan(1 / high, 1 / low, color=LINE, linewidth=0)
    axes.plot(period[starts[starts < len(period)]], top, color=FIRST, linewidth=0.9)
    highest = max(float(top.max()), 1e-3)
    shown = {name: value for name, value in marks.items() if period[0] <= value <= period[-1]}
    for name, value in shown.items():
        main = name == "P"
        axes.plot([value, value], [0, 1.02 * highest], color=SECOND, linewidth=1.4 if main else 0.9,
                  linestyle="-" if main else ":", zorder=3)  # fmt: skip
        axes.annotate(name, (value, 1.02 * highest), xytext=(0, 2), textcoords="offset points", ha="center",
                      color=SECOND, fontsize=9.5, fontweight="bold" if main else "normal")  # fmt: skip
    axes.set(ylim=(0, 1.13 * highest), xlim=(period[0], period[-1]))
    ticks = 10.0 ** np.arange(np.ceil(np.log10(period[0])), np.floor(np.log10(period[-1])) + 1)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    return _finished(figure, axes, title)


def dmdt_chart(image: NDArray[np.floating], grid: Grid, title: str) -> str:
    """The dm-dt image, its cells drawn alike however wide they are; fainter is up."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgb
    from matplotlib.patches import Rectangle

    figure, axes = _chart("time between two points", "change, mag")
    rows, columns = image.shape
    shade = np.sqrt(np.maximum(image, 0) / max(float(image.max()), 1e-30))
    cells = np.argwhere(shade > 0.02)
    patches = [Rectangle((column - 0.01, row - 0.01), 1.02, 1.02) for row, column in cells]
    colours = [(*to_rgb(FIRST), round(float(shade[row, column]), 2)) for row, column in cells]
    axes.add_collection(PatchCollection(patches, facecolors=colours, edgecolors="none", linewidths=0))
    axes.grid(visible=False)
    axes.set(xlim=(0, columns), ylim=(0, rows))
    first = 1 if grid.overflow else 0  # the cells below the first edge
    lapses = [(float(np.interp(lapse, grid.dt, np.arange(len(grid.dt)))) + first, label)
              for lapse, label in _LAPSES if grid.dt[0] <= lapse <= grid.dt[-1]]  # fmt: skip
    axes.set_xticks([at for at, _ in lapses], [label for _, label in lapses])
    wanted = [edge for edge in (-8, -2, -0.5, 0, 0.5, 2, 8) if edge in grid.dm]
    axes.set_yticks(
        [grid.dm.index(edge) + first for edge in wanted], [f"{edge:+g}" if edge else "0" for edge in wanted]
    )
    axes.axhline(
        grid.dm.index(0.0) + first if 0.0 in grid.dm else rows / 2, color=SOFT, linewidth=0.8, linestyle=":"
    )
    return _finished(figure, axes, title)


def radar_chart(percentiles: Mapping[str, float], title: str) -> str:
    """Where the source stands among others, feature by feature: the middle is 0, the rim 100 per cent."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(-2.4 / 3.1 * 2.4, 2.4 / 3.1 * 2.4), ylim=(-1.2, 1.2))
    axes.set_aspect("equal")
    axes.axis("off")
    angle = np.pi / 2 - 2 * np.pi * np.arange(len(percentiles)) / max(len(percentiles), 1)
    way = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for level in (0.25, 0.5, 0.75, 1.0):
        axes.plot(*_closed(level * way).T, color=LINE if level != 0.5 else SOFT, linewidth=0.9,
                  linestyle="-" if level != 0.5 else ":")  # fmt: skip
        axes.annotate(
            f"{100 * level:.0f}",
            (0, level),
            xytext=(3, -9),
            textcoords="offset points",
            color=SOFT,
            fontsize=8,
        )
    for one in way:
        axes.plot([0, one[0]], [0, one[1]], color=LINE, linewidth=0.9)
    reach = np.array(list(percentiles.values()))[:, None] / 100 * way
    corner = _closed(reach)
    axes.fill(*corner.T, color=FIRST, alpha=0.2, linewidth=0)
    axes.plot(*corner.T, color=FIRST, linewidth=1.6)
    axes.plot(*reach.T, "o", color=FIRST, markersize=3.5)
    for name, one in zip(percentiles, way, strict=True):
        side = "center" if abs(one[0]) < 0.1 else ("left" if one[0] > 0 else "right")
        up = "bottom" if one[1] > 0.9 else ("top" if one[1] < -0.9 else "center")
        axes.text(1.06 * one[0], 1.06 * one[1], name, ha=side, va=up, color=INK, fontsize=9.5)
    return _small(figure, title)


def _closed(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([corners, corners[:1]])


def _chart(x_label: str, y_label: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x_label, color=SOFT, fontsize=10)
    axes.set_ylabel(y_label, color=SOFT, fontsize=10)
    axes.tick_params(colors=SOFT, labelsize=9.5, length=3)
    axes.grid(color=LINE, linewidth=0.7)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(SOFT)
    return figure, axes


def _finished(figure: Figure, axes: Axes, title: str, *, legend: bool = False) -> str:
    if legend:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=8, frameon=False, fontsize=10,
            labelcolor=INK, handletextpad=0.1, columnspacing=0.9, markerscale=1.6,
        )  # fmt: skip
    return _small(figure, title)


def _small(figure: Figure, title: str) -> str:
    """The figure as SVG, its paths to a hundredth of a point."""

    def rounded(found: re.Match[str]) -> str:
        return re.sub(r"(\.\d\d)\d+", r"\1", found.group())

    return re.sub(r' (?:d|x|y|transform)="[^"]*"', rounded, svg(figure, title))


def _draw(
    axes: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    error: NDArray[np.float64] | None,
    colour: str,
    label: str,
    total: int,
) -> None:
    """Points, and their errors in one stroke, where they are not too many."""
    import matplotlib as mpl

    chosen = slice(None, None, max(1, -(-total // _MOST)))
    x, y = x[chosen], y[chosen]

    def strokes(low: NDArray[np.float64], high: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
        gap = np.full(len(x), np.nan)
        return np.stack([x, x, gap], axis=1).ravel(), np.stack([low, high, gap], axis=1).ravel()

    with mpl.rc_context({"path.simplify": False}):  # which would take strokes of no length away
        if error is not None and total <= _WITH_ERRORS:
            reach = error[chosen]
            axes.plot(*strokes(y - reach, y + reach), color=colour, linewidth=0.7, alpha=0.45)
        # with round ends they are dots: one path, a third of the size of as many markers
        axes.plot(
            *strokes(y, y),
            color=colour,
            linewidth=3.2 if total <= 700 else 2.2,
            solid_capstyle="round",
            alpha=0.85,
        )
    axes.plot([], [], "o", color=colour, markersize=3.2, markeredgewidth=0, label=label or None)


def _limits(axes: Axes, curve: LightCurve, values: NDArray[np.float64]) -> None:
    """The range of nearly all points: one that is far off must not hide the others."""
    low, high = np.quantile(values, (0.002, 0.998)) if len(values) > 50 else (values.min(), values.max())
    pad = 0.08 * max(high - low, 1e-6)
    if curve.unit == "mag":
        axes.set_ylim(high + pad, low - pad)
    else:
        axes.set_ylim(low - pad, high + pad)


def coloured_bands(curve: LightCurve) -> list[tuple[str, str]]:
    """Each band with its colour, in the order of the wavelengths where that is known."""
    if len(curve.bands) == 1:
        return [(curve.bands[0], FIRST)]
    letters = {}
    for band in curve.bands:
        found = re.fullmatch(r"(?:z|.*[_. -])?([ugrizyb])", band)  # r, zr, lsst_r
        letters[band] = found.group(1) if found else ""
    order = {"": 9} | {letter: k for k, letter in enumerate("ubgrizy")}
    spare = iter([*_OTHERS, *_BANDS.values()] * 3)
    return [
        (band, _BANDS.get(letters[band]) or next(spare, SOFT))
        for band in sorted(curve.bands, key=lambda band: (order[letters[band]], band))
    ]


def _value_name(curve: LightCurve) -> str:
    return "magnitude" if curve.unit == "mag" else ("flux" if curve.unit == "flux" else f"flux, {curve.unit}")


def _period(period: float) -> str:
    return f"{period:.6g} d"
