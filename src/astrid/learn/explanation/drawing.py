"""Drawing an explanation: each input beside what was found about it, and the facts to judge it by."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

    from astrid.learn.explanation.result import Explanation, Response

__all__ = ["draw"]

_FOR, _AGAINST = "#b2182b", "#2166ac"  # the ends of the diverging map
_INK, _GREY, _PALE = "#222222", "#666666", "#c8c8c8"
_MAP = "RdBu_r"
_MOST_CHANNELS, _MOST_BARS, _MOST_CURVES = 4, 16, 8
_PANEL = 2.5  # inches
_NARROWEST = 6.6


def draw(explanation: Explanation) -> Figure:
    """The figure of an explanation.

    Images stand beside or above their attributions, red for the target and blue against it; series
    above a coloured strip; features as bars, or as steps from the base value to the prediction where
    they add up; a perturbation as curves. Of more than four channels, 16 features or eight curves
    those with the largest values are drawn.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
    """
    from matplotlib.figure import Figure

    sizes = _sizes(explanation)
    width = max(_NARROWEST, *(wide for wide, _ in sizes.values()))
    lines = _lines(explanation, width)
    head = 0.12 + 0.19 * len(lines)
    heights = [head, *(high for _, high in sizes.values())]
    figure = Figure(figsize=(width, sum(heights)), layout="constrained")
    top, *parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    for k, (line, colour, weight) in enumerate(lines):
        top.text(
            0.08 / width, 1 - (0.2 + 0.19 * k) / head, line, fontsize=10 if k == 0 else 8, color=colour,
            weight=weight,
        )  # fmt: skip
    for part, name in zip(parts, sizes, strict=True):
        if explanation.response is not None:
            _curves(part.subplots(), explanation, explanation.response)
        elif not explanation.positions[name]:
            _bars(part.subplots(), explanation, name)
        elif explanation.positions[name] == 1:
            _series(part, explanation, name)
        else:
            _images(part, explanation, name)
    return figure


def _sizes(explanation: Explanation) -> dict[str, tuple[float, float]]:
    """Width and height in inches of the block of each input."""
    if explanation.response is not None:
        return {"response": (7.0, 4.0)}
    sizes = {}
    for name, values in explanation.values.items():
        shown = min(len(explanation.features[name]), _MOST_CHANNELS)
        match explanation.positions[name]:
            case 0:
                sizes[name] = (7.0, 0.9 + 0.26 * min(values.size, _MOST_BARS))
            case 1:
                sizes[name] = (8.0, 2.8)
            case _:
                apart = _by_channel(explanation, name)
                sizes[name] = (
                    (_PANEL * shown + 0.9, 2 * _PANEL) if apart else (_PANEL * (shown + 1) + 0.9, _PANEL)
                )
    return sizes


def _lines(explanation: Explanation, width: float) -> list[tuple[str, str, str]]:
    """The text above the pictures: (line, colour, weight)."""
    head = "" if explanation.head == explanation.target else f" ({explanation.head})"
    words = f"{explanation.bundle}: what speaks for {explanation.target}{head}, by {explanation.method}"
    facts = [f"{explanation.of} {_number(explanation.prediction)}"]
    if explanation.probability is not None and explanation.of != "probability":
        facts.insert(0, f"probability {explanation.probability:.4f}")
    if explanation.base_value is not None:
        facts.append(f"from a base of {_number(explanation.base_value)}")
    if explanation.completeness_error is not None:
        facts.append(f"completeness error {_number(explanation.completeness_error)}")
    if explanation.sanity is not None:
        facts.append(f"likeness to random weights {explanation.sanity:.2f} (low is good)")
    facts.append(f"{explanation.n_evals} evaluations, {explanation.seconds:.2g} s")
    small = [", ".join(facts)]
    if explanation.replaced_by:
        small.append(f"hidden parts replaced by {explanation.replaced_by}")
    small.extend(explanation.notes)
    columns = int(width * 16)
    wrapped = [line for text in small for line in textwrap.wrap(text, columns)]
    return [(words, _INK, "bold"), *((line, _GREY, "normal") for line in wrapped)]


def _by_channel(explanation: Explanation, name: str) -> bool:
    """Whether each channel of an image has a map of its own."""
    values, positions = explanation.values[name], explanation.positions[name]
    return values.ndim > positions and values.shape[-1] > 1 and max(values.shape[:-1]) > 1


def _images(part: SubFigure, explanation: Explanation, name: str) -> None:
    positions = explanation.positions[name]
    image, values = explanation.inputs[name], explanation.values[name]
    if image.ndim == positions:
        image, values = image[..., None], values[..., None]
    if positions > 2:  # a stack of images is drawn as their sum
        further = tuple(range(positions - 2))
        image, values = image.sum(axis=further), values.sum(axis=further)
    names, maps = explanation.features[name], max(values.shape[:2]) > 1
    chosen = _largest(values.reshape(-1, values.shape[-1]), len(names), _MOST_CHANNELS)
    apart = maps and values.shape[-1] > 1
    rows, columns = (2, len(chosen)) if apart else (1, len(chosen) + 1)
    axes = part.subplots(rows, columns, squeeze=False)
    for axis, k in zip(axes[0], chosen, strict=False):
        _picture(axis, image[..., k])
        axis.set_title(names[k], fontsize=9, color=_INK)
    limit = _limit(values)
    if not maps:
        shown = values.reshape(-1)[chosen]
        _bar_axis(axes[0, -1], [names[k] for k in chosen], shown, explanation.of, room=0.5)
        return
    places = list(zip(axes[1], chosen, strict=True)) if apart else [(axes[0, -1], 0)]
    for axis, k in places:
        drawn = axis.imshow(
            values[..., k], cmap=_MAP, vmin=-limit, vmax=limit, origin="lower", interpolation="nearest"
        )
        _bare(axis)
        if not apart:
            axis.set_title("all channels" if len(names) > 1 else "attribution", fontsize=9, color=_INK)
    beside = axes.ravel().tolist() if apart else axes[0, -1]
    bar = part.colorbar(drawn, ax=beside, shrink=0.9, aspect=36 if apart else 18, pad=0.02)
    bar.set_label(_direction(explanation, name), fontsize=8, color=_GREY)
    bar.ax.tick_params(labelsize=7)


def _picture(axis: Axes, image: NDArray[np.float32]) -> None:
    """An image, stretched so that faint and bright are both seen."""
    level, low, high = np.percentile(image, [50, 16, 84])
    stretched = np.arcsinh((image - level) / max(float(high - low), 1e-12))
    faint, bright = np.percentile(stretched, [0.5, 99.9])
    axis.imshow(
        stretched, cmap="gray", vmin=faint, vmax=max(bright, faint + 1e-12), origin="lower",
        interpolation="nearest",
    )  # fmt: skip
    _bare(axis)


def _series(part: SubFigure, explanation: Explanation, name: str) -> None:
    series, values = explanation.inputs[name], explanation.values[name]
    if series.ndim == 1:
        series, values = series[:, None], values[:, None]
    names = explanation.features[name]
    chosen = _largest(values.reshape(-1, values.shape[-1]), len(names), _MOST_CHANNELS)
    if len(values) == 1:  # one value for each channel
        left, right = part.subplots(1, 2, width_ratios=[3, 1])
        shown = values.reshape(-1)[chosen]
        _bar_axis(right, [names[k] for k in chosen], shown, explanation.of, room=0.6)
    else:
        left, right = part.subplots(2, 1, height_ratios=[3, 1], sharex=True)
        apart = values.shape[-1] > 1
        strip = values[:, chosen] if apart else values
        limit = _limit(values)
        drawn = right.imshow(
            strip.T, cmap=_MAP, vmin=-limit, vmax=limit, aspect="auto", interpolation="nearest",
            extent=(-0.5, len(values) - 0.5, strip.shape[1] - 0.5, -0.5),
        )  # fmt: skip
        right.set_yticks(range(strip.shape[1]), [names[k] for k in chosen] if apart else [name], fontsize=8)
        right.tick_params(axis="x", labelsize=8)
        bar = part.colorbar(drawn, ax=[left, right], aspect=18, pad=0.02)
        bar.set_label(_direction(explanation, name), fontsize=8, color=_GREY)
        bar.ax.tick_params(labelsize=7)
    for k in chosen:
        left.plot(series[:, k], lw=1, label=names[k])
    left.legend(fontsize=8, frameon=False, ncols=len(chosen), loc="upper left")
    left.set_title(name, fontsize=9, color=_INK, loc="left")
    _open(left)


def _bars(axis: Axes, explanation: Explanation, name: str) -> None:
    """Features, the largest on top; as steps that end at the prediction where they add up."""
    values, item = explanation.values[name], explanation.inputs[name]
    names = explanation.features[name]
    chosen = _largest(values[None], len(names), _MOST_BARS)
    chosen = chosen[np.argsort(-np.abs(values[chosen]), kind="stable")]
    labels = [f"{names[k]} = {item[k]:.4g}".replace("= -", "= −") for k in chosen]
    shown = values[chosen]
    if len(values) > len(chosen):
        rest = float(values.sum() - shown.sum())
        labels.append(f"{len(values) - len(chosen)} others")
        shown = np.append(shown, rest)
    if explanation.base_value is None or len(explanation.values) > 1:
        _bar_axis(axis, labels, shown, explanation.of)
        return
    ends = explanation.base_value + np.cumsum(shown[::-1])[::-1]  # the largest step is the last one
    starts = ends - shown
    rows = np.arange(len(shown))[::-1]
    axis.barh(rows, shown, left=starts, color=np.where(shown >= 0, _FOR, _AGAINST), height=0.66)
    for row, start in zip(rows[:-1], starts[:-1], strict=True):
        axis.plot([start, start], [row - 1.33, row + 0.33], color=_GREY, lw=0.7)
    axis.axvline(explanation.base_value, color=_GREY, lw=0.8, ls=":")
    axis.axvline(explanation.prediction, color=_INK, lw=0.8, ls=":")
    axis.set_yticks(rows, labels, fontsize=8)
    axis.set_xlabel(f"{explanation.of}, from the base value (grey) to the prediction (black)", fontsize=8)
    _numbered(axis, rows, starts, ends, shown, 0.2)
    _open(axis)


def _bar_axis(
    axis: Axes, labels: list[str], values: NDArray[np.float64], of: str, *, room: float = 0.2
) -> None:
    rows = np.arange(len(values))[::-1]
    axis.barh(rows, values, color=np.where(values >= 0, _FOR, _AGAINST), height=0.66)
    axis.axvline(0, color=_GREY, lw=0.8)
    axis.set_yticks(rows, labels, fontsize=8)
    axis.set_xlabel(f"change of the {of}", fontsize=8)
    _numbered(axis, rows, np.zeros(len(values)), values, values, room)
    _open(axis)


def _numbered(
    axis: Axes,
    rows: NDArray[np.int64],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    values: NDArray[np.float64],
    room: float,
) -> None:
    """Each bar's number beyond its outer end, where so much of the bars' width is left free for it."""
    low, high = float(np.minimum(starts, ends).min()), float(np.maximum(starts, ends).max())
    free = room * (high - low or 1.0)
    axis.set_xlim(low - free, high + free)
    for row, end, value in zip(rows, ends, values, strict=True):
        axis.annotate(
            f"{value:+.3g}".replace("-", "−"), (end, row), xytext=(4 if value >= 0 else -4, 0),
            textcoords="offset points", va="center", ha="left" if value >= 0 else "right", fontsize=7,
            color=_GREY,
        )  # fmt: skip


def _curves(axis: Axes, explanation: Explanation, response: Response) -> None:
    order = np.argsort(-np.ptp(response.scores, axis=1), kind="stable")
    for rank, k in enumerate(order):
        x, y = response.factors, response.scores[k]
        if rank < _MOST_CURVES:
            axis.plot(x, y, marker="o", ms=3, lw=1.4, color=f"C{rank}", label=response.names[k], zorder=2)
        else:
            axis.plot(x, y, lw=0.6, color=_PALE, zorder=1)
    axis.axhline(explanation.prediction, color=_GREY, lw=0.8, ls=":")
    axis.axvline(1, color=_GREY, lw=0.8, ls=":")
    low, high = float(response.scores.min()), float(response.scores.max())
    flat = 0.02 * max(abs(explanation.prediction), 0.5)  # rounding must not look like a curve
    if high - low < flat:
        axis.set_ylim(explanation.prediction - flat, explanation.prediction + flat)
    axis.set_xscale("log", base=2)
    axis.set_xticks([0.25, 0.5, 1, 2, 4], ["¼", "½", "1", "2", "4"])
    axis.minorticks_off()
    axis.set_xlabel("factor on one input, all others as they are", fontsize=8)
    axis.set_ylabel(f"{explanation.of} of {explanation.target}", fontsize=8)
    axis.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    _open(axis)


def _largest(values: NDArray[np.float64], channels: int, most: int) -> NDArray[np.int64]:
    """The channels to draw, in order: all, or those with the largest sums of sizes."""
    if channels <= most:
        return np.arange(channels)
    sizes = np.abs(values).sum(axis=0)
    if len(sizes) < channels:  # all channels share one map
        return np.arange(most)
    return np.sort(np.argsort(-sizes, kind="stable")[:most])


def _limit(values: NDArray[np.float64]) -> float:
    """Where the colours end: a few outlying pixels must not blank the rest."""
    return float(np.quantile(np.abs(values), 0.998)) or float(np.abs(values).max()) or 1.0


def _direction(explanation: Explanation, name: str) -> str:
    match explanation.method:
        case "gradcam":
            unit = "of no unit"
        case "lime" | "kernel_shap" | "integrated_gradients" | "deeplift_shap":
            unit = f"{explanation.of} per {'pixel' if explanation.positions[name] > 1 else 'point'}"
        case _:
            unit = explanation.of
    return f"← against   {unit}   for →"


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _bare(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    for side in axis.spines.values():
        side.set_visible(False)


def _open(axis: Any) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)
