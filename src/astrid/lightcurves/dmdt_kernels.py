"""The compiled loops over pairs of points behind `dmdt`; import it only where numba is.

Times are sorted, so that for a given first point the second points of one cell in dt stand together, and the
borders only move forward from one first point to the next. The cell in dm is read from a table.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit, uint32, uint64
from scipy.special import ndtr

__all__ = ["count_pairs", "dm_table", "normal_table", "spread_pairs"]

FAR = 6.0
"""Standard deviations; beyond lies 1e-9 of a Gaussian."""

STEPS = 512
"""So that a straight line from step to step is wrong by 1e-7."""


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _move(time: Any, first: Any, start: Any, end: Any, dt: Any, border: Any) -> None:
    """For the pairs of point `first`: where among the second points each cell in dt begins."""
    border[0] = first + 1
    border[len(dt) + 1] = end
    for k in range(len(dt)):
        point = max(border[k + 1], first + 1)
        while point < end and time[point] - time[first] < dt[k]:
            point += 1
        border[k + 1] = point


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def count_pairs(
    time: Any,
    mag: Any,
    offsets: Any,
    dt: Any,
    overflow: bool,
    cell: Any,
    edge: Any,
    scale: float,
    shift: float,
    out: Any,
) -> None:
    """Count pairs, of each curve, by cell.

    Parameters
    ----------
    time, mag : (n,) float64 ndarray
    offsets : (m + 1,) int64 ndarray
    dt : (d,) float64 ndarray
    overflow : bool
        Whether lapses below the first edge and above the last count too.
    cell, edge : (t,) uint16 and float64 ndarray
        The table: the cell in dm below the edge that a row of the table has, and that edge.
    scale, shift : float
        Row of the table: ``dm * scale + shift``.
    out : (m, d + 1, c + 1) uint32 ndarray
        Is added to. The cells before the first edge and beyond the last come first and last.
    """
    border = np.empty(len(dt) + 2, np.int64)
    last = np.float64(len(cell) - 1)
    # Two counters take turns: adding to one cell twice in a row would have to wait.
    counts = np.empty((len(dt) + 1, 2, out.shape[2]), np.uint32)
    for curve in range(len(offsets) - 1):
        start, end = offsets[curve], offsets[curve + 1]
        counts[:] = 0
        border[:] = start
        for first in range(start, end - 1):
            _move(time, first, start, end, dt, border)
            zero = mag[first]
            for k in range(0 if overflow else 1, len(dt) + (1 if overflow else 0)):
                point, stop = uint64(border[k]), uint64(border[k + 1])
                counter = counts[k]
                while point + uint64(1) < stop:
                    a = mag[point] - zero
                    b = mag[point + uint64(1)] - zero
                    row_a = uint64(min(max(a * scale + shift, 0.0), last))
                    row_b = uint64(min(max(b * scale + shift, 0.0), last))
                    counter[0, uint64(cell[row_a]) + uint64(a >= edge[row_a])] += uint32(1)
                    counter[1, uint64(cell[row_b]) + uint64(b >= edge[row_b])] += uint32(1)
                    point += uint64(2)
                if point < stop:
                    a = mag[point] - zero
                    row_a = uint64(min(max(a * scale + shift, 0.0), last))
                    counter[0, uint64(cell[row_a]) + uint64(a >= edge[row_a])] += uint32(1)
        for k in range(len(dt) + 1):
            for c in range(out.shape[2]):
                out[curve, k, c] += counts[k, 0, c] + counts[k, 1, c]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def spread_pairs(
    time: Any,
    mag: Any,
    error: Any,
    offsets: Any,
    dm: Any,
    dt: Any,
    overflow: bool,
    normal: Any,
    out: Any,
) -> None:
    """Add up pairs, each spread in dm as a Gaussian of its own width; as `count_pairs`.

    Parameters
    ----------
    error : (n,) float64 ndarray
    dm : (c,) float64 ndarray
    normal : (l,) float64 ndarray
        That of `normal_table`.
    out : (m, d + 1, c + 1) float64 ndarray
    """
    border = np.empty(len(dt) + 2, np.int64)
    for curve in range(len(offsets) - 1):
        start, end = offsets[curve], offsets[curve + 1]
        border[:] = start
        for first in range(start, end - 1):
            _move(time, first, start, end, dt, border)
            for k in range(0 if overflow else 1, len(dt) + (1 if overflow else 0)):
                column = out[curve, k]
                for point in range(border[k], border[k + 1]):
                    change = mag[point] - mag[first]
                    width = math.sqrt(error[point] ** 2 + error[first] ** 2)
                    low = 0
                    while low < len(dm) and dm[low] <= change - FAR * width:
                        low += 1
                    below = 0.0
                    while low < len(dm) and dm[low] < change + FAR * width:
                        place = ((dm[low] - change) / width + FAR) * STEPS
                        row = min(int(place), len(normal) - 2)
                        here = normal[row] + (place - row) * (normal[row + 1] - normal[row])
                        column[low] += here - below
                        below = here
                        low += 1
                    column[low] += 1.0 - below


def normal_table() -> Any:
    """The normal distribution at `STEPS` places a standard deviation, from -`FAR` to `FAR`."""
    return ndtr(np.linspace(-FAR, FAR, int(2 * FAR * STEPS) + 1))


def dm_table(edges: Any) -> tuple[Any, Any, float, float] | None:
    """The table from which a cell in dm is read, exact whatever the rounding; None where it would be large.

    Returns
    -------
    cell : (t,) uint16 ndarray
    edge : (t,) float64 ndarray
    scale, shift : float
    """
    step = 0.9 * float(np.diff(edges).min())
    rows = int((edges[-1] - edges[0]) / step) + 4
    if rows > 1 << 16:
        return None
    # Row r holds dm from (r - 2) steps above the first edge on; the slack is far above any rounding error.
    bottom = edges[0] + (np.arange(rows) - 2) * step
    below = np.searchsorted(edges, bottom - 1e-6 * step, side="right")
    above = np.searchsorted(edges, bottom + (1 + 1e-6) * step, side="right")
    within = np.append(edges, np.inf)[below]
    return below.astype(np.uint16), np.where(above > below, within, np.inf), 1 / step, 2 - edges[0] / step
