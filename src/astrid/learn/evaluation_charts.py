"""The charts of an evaluation, as SVG text that takes the colours of the page, light or dark.

What they show was found in `evaluation`; where they stand is decided in `evaluation_report`.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.learn.calibration import Reliability
from astrid.learn.findings import Curves, Residuals, Slice, SpreadCheck

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from astrid.learn.robustness import Robustness

__all__ = [
    "cost_chart", "histogram_chart", "orientation_chart", "precision_recall_chart", "reliability_chart",
    "residuals_chart", "roc_chart", "slice_chart", "spread_chart", "svg",
]  # fmt: skip

INK, SOFT, LINE, FIRST, SECOND, CLEAN, RAISED = (f"#0a0b{k:02x}" for k in range(1, 8))
"""Stand-ins that `svg` turns into the colours of the page's style sheet."""

_VARIABLES = {
    INK: "--ink", SOFT: "--soft", LINE: "--line", FIRST: "--curve", SECOND: "--expected", CLEAN: "--clean",
    RAISED: "--raised",
}  # fmt: skip
_OTHERS = ("#3f9b7f", "#a8568f", "#9b8a2e", "#6a72c9", "#c05848", "#5f9a4a")  # legible on light and dark
_SIZE = (4.4, 3.1)  # inches
_SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_Place = Literal["above", "lower left", "lower right", "upper left"]
_MARKERS = ("o", "s", "D", "^")


def svg(figure: Figure, title: str) -> str:
    """A figure as an ``<svg>`` element for a page.

    Parameters
    ----------
    figure : `~matplotlib.figure.Figure`
        Drawn in the colours of this module.
    title : str
        Read aloud by screen readers; also keeps the names inside the picture its own.
    """
    import matplotlib as mpl

    stream = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"#([A-Za-z]\w+)", text))
    text = re.sub(r' id="([^"]+)"', lambda found: found.group() if found.group(1) in used else "", text)
    for stand_in, name in _VARIABLES.items():
        text = text.replace(stand_in, f"var({name})")
    text = re.sub(r"font-family: [^;\"]+(?=[;\"])", "font-family: var(--sans)", text)
    text = re.sub(r"(font: [\d.]+px )[^;\"]+(?=[;\"])", r"\1var(--sans)", text)
    view = re.search(r'viewBox="[^"]+"', text)
    assert view is not None
    head = f'<svg class="plot" role="img" aria-label="{escape(title)}" {view.group()}>'
    return re.sub(r"^<svg[^>]*>", f"{head}<title>{escape(title)}</title>", text).strip()


def precision_recall_chart(curves: Sequence[Curves], title: str) -> str:
    """Precision over recall, with the chosen threshold."""
    figure, axes = _chart("recall", "precision")
    for curve, colour in zip(curves, _colours(len(curves)), strict=False):
        recall = np.concatenate([[0], curve.recall])
        precision = np.concatenate([curve.precision[:1], curve.precision])
        axes.plot(recall, precision, color=colour, label=curve.label)
        at = _at_threshold(curve)
        if at is not None and len(curves) == 1:
            _mark(axes, curve.recall[at], curve.precision[at], curve.threshold)
    one = curves[0]
    if len(curves) == 1:
        share = one.n_positive / (one.n_positive + one.n_negative)
        axes.axhline(share, color=SOFT, linestyle=":", linewidth=1)
        axes.annotate(
            "drawn by lot", (1, share), xytext=(-2, 3), textcoords="offset points", color=SOFT, ha="right"
        )
    axes.set(xlim=(0, 1.01), ylim=(0, 1.02))
    return _finished(figure, axes, title, True, "lower left")


def roc_chart(curves: Sequence[Curves], title: str) -> str:
    """Recall over the false-positive rate, which is drawn in powers of ten."""
    figure, axes = _chart("false-positive rate", "recall")
    least = max(min(0.5 / max(curve.n_negative for curve in curves), 0.01), 1e-6)
    for curve, colour in zip(curves, _colours(len(curves)), strict=False):
        axes.plot(np.maximum(curve.fpr, least), curve.recall, color=colour, label=curve.label)
        at = _at_threshold(curve)
        if at is not None and len(curves) == 1:
            _mark(axes, max(curve.fpr[at], least), curve.recall[at], curve.threshold)
    lot = np.geomspace(least, 1, 100)
    axes.plot(lot, lot, color=SOFT, linestyle=":", linewidth=1)
    axes.set_xscale("log")
    axes.set(xlim=(least, 1), ylim=(0, 1.02))
    _plain_decades(axes, least)
    return _finished(figure, axes, title, True, "lower right")


def reliability_chart(before: Reliability, after: Reliability, title: str, *, same: bool) -> str:
    """How often what was given a probability came true, before and after calibration."""
    figure, axes = _chart("probability given", "share that came true")
    axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":", linewidth=1)
    if not same:
        axes.plot(
            before.probability, before.observed, color=SECOND, marker="s", markersize=4, linewidth=1,
            markerfacecolor="none", label="before calibration",
        )  # fmt: skip
    error = np.abs(np.stack([after.observed - after.low, after.high - after.observed]))
    axes.errorbar(
        after.probability, after.observed, error, color=FIRST, marker="o", markersize=4, linewidth=1.6,
        elinewidth=1, label="not calibrated" if same else "after",
    )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    return _finished(figure, axes, title, True, "upper left")


def histogram_chart(curve: Curves, negative: str, title: str) -> str:
    """How many items of each class got which probability."""
    figure, axes = _chart(f"probability of {curve.label}", "items")
    edges = np.linspace(0, 1, curve.histogram.shape[1] + 1)
    for counts, colour, label in zip(curve.histogram, (SECOND, FIRST), (negative, curve.label), strict=True):
        axes.stairs(np.maximum(counts, 0.5), edges, color=colour, baseline=0.5, label=label, linewidth=1.5)
        axes.stairs(np.maximum(counts, 0.5), edges, color=colour, baseline=0.5, fill=True, alpha=0.14)
    axes.axvline(curve.threshold, color=INK, linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set(xlim=(0, 1), ylim=(0.5, 2 * max(curve.histogram.max(), 1)))
    _plain_decades(axes, 0.5, vertical=True)
    return _finished(figure, axes, title, True, "above")


def cost_chart(curve: Curves, title: str) -> str:
    """What each threshold costs, with the chosen one and the best on these data."""
    assert curve.cost is not None
    cost = curve.cost
    figure, axes = _chart("threshold", "cost of an item")
    share = np.clip(cost.threshold, 5e-4, 1 - 5e-4)
    axes.plot(_logit(share), cost.cost, color=FIRST, drawstyle="steps-post")
    best = int(cost.cost.argmin())
    chosen = float(np.interp(curve.threshold, cost.threshold, cost.cost))
    axes.plot(
        _logit(share[best]), cost.cost[best], "D", color=CLEAN, markersize=6, label="least on these data"
    )
    axes.plot(
        _logit(np.clip(curve.threshold, 5e-4, 1 - 5e-4)), chosen, "o", color=SECOND, markersize=7,
        markerfacecolor="none", markeredgewidth=1.8, label=f"chosen, {curve.threshold:.3g}",
    )  # fmt: skip
    axes.set_xticks(_logit(np.array(_SHARES)), [f"{value:g}" for value in _SHARES])
    axes.set(xlim=(_logit(4e-4), _logit(1 - 4e-4)), ylim=(0, 1.15 * float(cost.cost.max())))
    return _finished(figure, axes, title, True, "above")


def slice_chart(slices: Sequence[Slice], names: Sequence[str], title: str) -> str:
    """Figures of the parts of a column side by side, with their intervals.

    Parameters
    ----------
    slices : sequence of Slice
        Of one column.
    names : sequence of str
        Figures to draw, all of one scale.
    title : str
    """
    shown = [one for one in slices if one.measured]
    long = sum(len(one.name) + 2 for one in shown) > 42
    figure, axes = _chart("", _slice_scale(names), height=3.5 if long else None)
    colours = _colours(len(names))
    for k, (name, colour) in enumerate(zip(names, colours, strict=False)):
        shift = 0.16 * (k - (len(names) - 1) / 2)
        found = [
            (place, one)
            for place, part in enumerate(shown)
            for one in part.measured
            if one.name.endswith(name)
        ]
        if not found:
            continue
        x = [place + shift for place, _ in found]
        values = np.array([one.value for _, one in found])
        low = np.array([one.value if one.low is None else min(one.low, one.value) for _, one in found])
        high = np.array([one.value if one.high is None else max(one.high, one.value) for _, one in found])
        axes.errorbar(
            x, values, np.stack([values - low, high - values]), color=colour, linestyle="none",
            marker=_MARKERS[k % 4], markersize=6, elinewidth=1.6, label=name,
        )  # fmt: skip
    axes.set_xticks(
        range(len(shown)), [one.name for one in shown], rotation=30 if long else 0,
        ha="right" if long else "center",
    )  # fmt: skip
    axes.set_xlim(-0.6, len(shown) - 0.4)
    axes.set_xlabel(slices[0].column)
    axes.margins(y=0.16)
    bottom, top = axes.get_ylim()
    if bottom < 0 and all(one.value >= 0 for part in shown for one in part.measured):
        axes.set_ylim(bottom=-0.03 * top)
    return _finished(figure, axes, title, len(names) > 1, "above")


def spread_chart(check: SpreadCheck, error: str, title: str) -> str:
    """How wrong the predictions are, over their spread."""
    figure, axes = _chart("spread of the prediction", error)
    axes.plot(check.spread, check.error, color=FIRST, marker="o", markersize=6)
    axes.margins(x=0.06)
    axes.set_ylim(0, 1.15 * max(float(check.error.max()), 1e-9))
    return _finished(figure, axes, title, False, "above")


def residuals_chart(residuals: Residuals, unit: str, title: str) -> str:
    """Found minus true over the true value: single items, and their median and 68 % band."""
    figure, axes = _chart(f"true {residuals.name}" + (f" ({unit})" if unit else ""), "found − true")
    true, found = residuals.sample.T.astype(np.float64)
    axes.plot(true, found - true, ".", color=SOFT, alpha=0.35, markersize=3)
    axes.axhline(0, color=SOFT, linestyle=":", linewidth=1)
    axes.fill_between(residuals.truth, residuals.low, residuals.high, color=FIRST, alpha=0.22, linewidth=0)
    axes.plot(residuals.truth, residuals.middle, color=FIRST, marker="o", markersize=4)
    reach = np.quantile(np.abs(found - true), 0.98) * 1.4 + 1e-12
    axes.set_ylim(-reach, reach)
    return _finished(figure, axes, title, False, "above")


def orientation_chart(found: Robustness, title: str) -> str:
    """Median error of each item over its flips and rotations, and the spread; at most 1500 of each kind."""
    figure, axes = _chart("median error", "spread")
    kinds = ((~found.changed, FIRST, "same decision"), (found.changed, SECOND, "decision depends on it"))
    for which, colour, label in kinds:
        rows = np.flatnonzero(which)
        rows = rows[:: max(1, -(-len(rows) // 1500))]
        axes.plot(
            found.error[rows], found.spread[rows], ".", color=colour, alpha=0.6, markersize=5, label=label
        )
    axes.set(xlim=(0, None), ylim=(0, None))
    return _finished(figure, axes, title, bool(found.changed.any()), "above")


def _chart(x_label: str, y_label: str, height: float | None = None) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_SIZE[0], height or _SIZE[1]), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(x_label, color=SOFT, fontsize=10.5)
    axes.set_ylabel(y_label, color=SOFT, fontsize=10.5)
    axes.tick_params(colors=SOFT, labelsize=10, length=3)
    axes.grid(color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("bottom", "left"):
        axes.spines[side].set_color(SOFT)
    return figure, axes


def _finished(figure: Figure, axes: Axes, title: str, legend: bool, place: _Place) -> str:
    if legend:
        _legend(axes, place)
    for text in axes.texts:
        text.set_fontsize(10)
    return svg(figure, title)


def _legend(axes: Axes, place: _Place) -> None:
    if place == "above":
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.02, 0.99), ncols=3, frameon=False, fontsize=10,
            labelcolor=INK, handletextpad=0.5, columnspacing=1.2,
        )  # fmt: skip
        return
    axes.legend(
        loc=place, frameon=True, facecolor=RAISED, edgecolor="none", framealpha=0.85, fontsize=10,
        labelcolor=INK,
    )  # fmt: skip


def _mark(axes: Axes, x: float, y: float, threshold: float) -> None:
    """The chosen threshold."""
    axes.plot(
        x, y, "o", color=SECOND, markersize=8, markerfacecolor="none", markeredgewidth=1.8,
        label=f"threshold {threshold:.3g}",
    )  # fmt: skip


def _at_threshold(curve: Curves) -> int | None:
    """The point of the curves where the chosen threshold lies."""
    taken = np.flatnonzero(curve.at >= curve.threshold)
    return int(taken[-1]) if len(taken) else None


def _colours(n: int) -> list[str]:
    colours = [FIRST, SECOND, *_OTHERS]
    return [colours[k % len(colours)] for k in range(n)]


def _logit(share: float | NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(share) - np.log1p(-np.asarray(share)))


def _plain_decades(axes: Axes, least: float, *, vertical: bool = False) -> None:
    """Powers of ten as people write them."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = axes.yaxis if vertical else axes.xaxis
    top = axes.get_ylim()[1] if vertical else 1.0
    powers = [10.0**k for k in range(int(np.ceil(np.log10(least))), int(np.floor(np.log10(top))) + 1)]
    axis.set_major_locator(FixedLocator(powers))
    axis.set_major_formatter(FuncFormatter(_written))
    axis.set_minor_locator(NullLocator())


def _slice_scale(names: Sequence[str]) -> str:
    if len(names) == 1:
        return names[0]
    return "error" if any(name.endswith(("bias", "NMAD")) for name in names) else "share"


def _written(value: float, _position: int) -> str:
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
