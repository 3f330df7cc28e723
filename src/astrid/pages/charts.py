"""Small line charts as SVG text: they follow the colours of the page and stay sharp at any size.

Just what the report needs, a histogram beside a curve and curves over a radius;
figures for papers are drawn with matplotlib in `plots`.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

__all__ = ["Curve", "chart"]

_WIDTH, _HEIGHT = 520, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 72, 14, 14, 54


@dataclass(frozen=True, eq=False)
class Curve:
    """One line of a chart.

    Parameters
    ----------
    x, y : (n,) ndarray
        For steps, `x` are the n + 1 edges.
    label : str
    kind : {"measured", "expected", "other"}
        The class that the style sheet colours.
    steps : bool
        Draw a histogram, filled down to the axis.
    """

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    label: str
    kind: str = "measured"
    steps: bool = False


def chart(
    curves: Sequence[Curve],
    *,
    x_label: str,
    y_label: str,
    title: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    log_y: bool = False,
) -> str:
    """Draw curves over common axes.

    Parameters
    ----------
    curves : sequence of Curve
    x_label, y_label, title : str
        The title is read aloud by screen readers and not drawn.
    x_range, y_range : tuple of float
    log_y : bool

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    inner_w, inner_h = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def at_x(value: float) -> float:
        return _LEFT + (value - x_range[0]) / (x_range[1] - x_range[0]) * inner_w

    def at_y(value: float) -> float:
        low, high = y_range
        if log_y:
            value, low, high = (math.log10(max(v, y_range[0] * 0.5)) for v in (value, low, high))
        return _TOP + (1 - (value - low) / (high - low)) * inner_h

    area = f"area-{zlib.crc32(title.encode()):08x}"  # one page holds several charts
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
        f'<clipPath id="{area}"><rect x="{_LEFT}" y="{_TOP}" width="{inner_w}" height="{inner_h}"/>',
        "</clipPath>",
        *_axes(at_x, at_y, x_range, y_range, log_y),
        f'<text class="axis-name" x="{_LEFT + inner_w / 2:.0f}" y="{_HEIGHT - 8}">{escape(x_label)}</text>',
        f'<g transform="translate(16 {_TOP + inner_h / 2:.0f}) rotate(-90)">',
        f'<text class="axis-name">{escape(y_label)}</text></g>',
        f'<g clip-path="url(#{area})">',
    ]
    for curve in curves:
        x, y = _corners(curve) if curve.steps else (curve.x, curve.y)
        points = " ".join(f"{at_x(float(a)):.1f},{at_y(float(b)):.1f}" for a, b in zip(x, y, strict=True))
        if curve.steps:
            base = _TOP + inner_h
            points = f"{at_x(float(x[0])):.1f},{base} {points} {at_x(float(x[-1])):.1f},{base}"
        tag = "polygon" if curve.steps else "polyline"
        parts.append(f'<{tag} class="curve {curve.kind}" points="{points}"/>')
    parts.append("</g>")
    for row, curve in enumerate(curves):
        height, end = _TOP + 12 + 21 * row, _WIDTH - _RIGHT - 8
        parts.append(
            f'<text class="key {curve.kind}" x="{end - 22}" y="{height + 5}">{escape(curve.label)}</text>'
            f'<line class="curve {curve.kind}" x1="{end - 16}" x2="{end}" y1="{height}" y2="{height}"/>'
        )
    return "".join((*parts, "</svg>"))


def _axes(
    at_x: Callable[[float], float],
    at_y: Callable[[float], float],
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    log_y: bool,
) -> list[str]:
    bottom, left, right = at_y(y_range[0]), at_x(x_range[0]), at_x(x_range[1])
    parts = [f'<path class="axis" d="M{left:.1f} {_TOP}V{bottom:.1f}H{right:.1f}"/>']
    for value in _ticks(*x_range):
        x = at_x(value)
        parts.append(f'<path class="tick" d="M{x:.1f} {bottom:.1f}v4"/>')
        parts.append(f'<text class="tick-x" x="{x:.1f}" y="{bottom + 20:.1f}">{_number(value)}</text>')
    values = _decades(*y_range) if log_y else _ticks(*y_range)
    for value in values:
        y = at_y(value)
        parts.append(f'<path class="grid" d="M{left:.1f} {y:.1f}H{right:.1f}"/>')
        parts.append(f'<text class="tick-y" x="{left - 7:.1f}" y="{y + 5:.1f}">{_power(value, log_y)}</text>')
    return parts


def _corners(curve: Curve) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Both ends of each step."""
    return np.repeat(curve.x, 2)[1:-1], np.repeat(curve.y, 2)


def _ticks(low: float, high: float) -> list[float]:
    """About five round values."""
    raw = (high - low) / 5
    power = 10 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _decades(low: float, high: float) -> list[float]:
    powers = range(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
    every = max(1, len(powers) // 5)
    return [10.0**power for power in powers if power % every == 0]


def _number(value: float) -> str:
    return f"{value:.6g}".replace("-", "−")


def _power(value: float, log: bool) -> str:
    exponent = round(math.log10(value)) if log and value > 0 else 0
    if abs(exponent) < 3:
        return _number(value)
    raised = f"{exponent}".replace("-", "−")
    return f'10<tspan dy="-5" font-size="0.75em">{raised}</tspan>'
