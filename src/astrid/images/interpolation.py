"""Spline interpolation of image planes along a mapping, fast where the mapping is almost a shift.

Values at positions and nothing else: fluxes, masks and noise are the business of
`resampling`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.mapping import Mapping

__all__ = ["ORDER", "interpolate"]

FloatArray = NDArray[np.float64]
Plane = NDArray[np.float32]

ORDER = 5
# Columns done at once: small enough for the cache, large enough to hide Python.
CHUNK = 256
# Taps on each side. A block whose displacement varies by less than a pixel needs
# offsets of -1 to 1 from one whole shift, and the quintic B-spline ends 3 px out.
SIDE = 3
PAD = SIDE + 2
# Largest turn, px per px, for interpolating first along rows and then along columns:
# it costs half the turn times the mixed second derivative, 2e-4 of a star's peak.
LARGEST_TURN = 0.002


def interpolate(mapping: Mapping, data: Plane, variance: Plane | None = None) -> tuple[Plane, Plane | None]:
    """Values of image planes at the source positions of a mapping.

    Where the mapping is a shift to within a small turn the two axes are interpolated
    one after the other, which is four times faster than scipy; elsewhere scipy does it.

    Parameters
    ----------
    mapping : Mapping
    data : (ny, nx) float32 ndarray
        Interpolated by a quintic B-spline, mirrored at the borders.
    variance : (ny, nx) float32 ndarray, optional
        Interpolated linearly, so that it stays positive.

    Returns
    -------
    data, variance : float32 ndarray of ``mapping.shape``
        Positions outside the source hold no meaningful value.
    """
    coefficients = ndimage.spline_filter(data, ORDER, output=np.float32, mode="mirror")
    result = np.zeros(mapping.shape, np.float32)
    noise = None if variance is None else np.zeros(mapping.shape, np.float32)
    almost_shift = _turn(mapping) < LARGEST_TURN
    if almost_shift:
        padded = np.pad(coefficients, PAD, mode="reflect")
        padded_variance = None if variance is None else np.pad(variance, PAD, mode="edge")
    for first in range(0, mapping.shape[0], mapping.step):
        rows = slice(first, min(first + mapping.step, mapping.shape[0]))
        x, y = mapping.on_rows(rows.start, rows.stop, margin=SIDE)
        for start in range(0, mapping.shape[1], CHUNK):
            block = rows, slice(start, min(start + CHUNK, mapping.shape[1]))
            bx, by = x[:, block[1]], y[:, block[1]]
            cut = _window(bx, by, block, data.shape) if almost_shift else None
            if cut is None:
                position = np.stack([by[SIDE:-SIDE], bx[SIDE:-SIDE]])
                ndimage.map_coordinates(
                    coefficients, position, output=result[block], order=ORDER, prefilter=False, mode="mirror"
                )
                if variance is not None and noise is not None:
                    ndimage.map_coordinates(
                        variance, position, output=noise[block], order=1, prefilter=False, mode="nearest"
                    )
                continue
            window, along_x, along_y = cut
            _separable(padded[window], _quintic_taps(along_x), _quintic_taps(along_y), result[block])
            if padded_variance is not None and noise is not None:
                inner = slice(SIDE - 1, 1 - SIDE)
                taps = _linear_taps(along_x[inner]), _linear_taps(along_y)
                _separable(padded_variance[window][inner, inner], *taps, noise[block])
    return result, noise


def _turn(mapping: Mapping) -> float:
    """Largest change of x_source from one target row to the next, px per px."""
    return float(np.abs(np.diff(mapping.nodes[..., 0], axis=0)).max() / mapping.step)


def _window(
    x: FloatArray, y: FloatArray, block: tuple[slice, slice], shape: tuple[int, int]
) -> tuple[tuple[slice, slice], Plane, Plane] | None:
    """Where in the padded source a block takes its pixels, and its offsets from that whole shift.

    Offsets in x are given for `SIDE` more rows above and below, where the rows of
    the source have to be interpolated; None if the block is not almost a shift.
    """
    rows, columns = block
    along_y = y[SIDE:-SIDE] - np.arange(rows.start, rows.stop)[:, None]
    dy = round(float(along_y.min() + along_y.max()) / 2)
    along_x = x - np.arange(columns.start, columns.stop)
    # A source row is met where the target row is its own less the shift, fraction included.
    turn = (along_x[-1] - along_x[0]) / (len(along_x) - 1)
    along_x -= turn * (along_y.mean() - dy)
    dx = round(float(along_x.min() + along_x.max()) / 2)
    along_x -= dx
    along_y -= dy
    if max(np.abs(along_x).max(), np.abs(along_y).max()) > 1:
        return None
    window = (
        slice(rows.start + dy - SIDE + PAD, rows.stop + dy + SIDE + PAD),
        slice(columns.start + dx - SIDE + PAD, columns.stop + dx + SIDE + PAD),
    )
    if any(part.start < 0 or part.stop > side + 2 * PAD for part, side in zip(window, shape, strict=True)):
        return None
    return window, along_x.astype(np.float32), along_y.astype(np.float32)


def _quintic_taps(offset: Plane) -> list[Plane]:
    """Values of the quintic B-spline at pixels -3 to 3 for offsets from -1 to 1.

    With (t)+ = max(t, 0) the spline is ((3 - |x|)+^5 - 6 (2 - |x|)+^5 + 15 (1 - |x|)+^5) / 120.
    """
    scale = np.float32(120**-0.2)
    scaled = offset * scale
    right, left = _fifth(np.maximum(scaled, 0)), _fifth(np.maximum(-scaled, 0))
    right1, left1 = _fifth(scale + scaled), _fifth(scale - scaled)
    plus2, minus2 = right1 - 6 * right, left1 - 6 * left
    plus1, minus1 = _fifth(2 * scale + scaled), _fifth(2 * scale - scaled)
    plus1 += 15 * right
    plus1 -= 6 * right1
    minus1 += 15 * left
    minus1 -= 6 * left1
    # The seven add up to 1.
    middle = 1 - (left + right + plus2 + minus2 + plus1 + minus1)
    return [left, minus2, minus1, middle, plus1, plus2, right]


def _linear_taps(offset: Plane) -> list[Plane]:
    """Values of the linear B-spline at pixels -1 to 1 for offsets from -1 to 1."""
    return [np.maximum(-offset, 0), 1 - np.abs(offset), np.maximum(offset, 0)]


def _fifth(value: Plane) -> Plane:
    power = value * value
    power *= power
    power *= value
    return power


def _separable(window: Plane, taps_x: list[Plane], taps_y: list[Plane], out: Plane) -> None:
    """Weighted sum of a window along x, then along y, into `out`."""
    height, width = out.shape
    along_x = taps_x[0] * window[:, :width]
    term = np.empty_like(along_x)
    for k in range(1, len(taps_x)):
        along_x += np.multiply(taps_x[k], window[:, k : k + width], out=term)
    np.multiply(taps_y[0], along_x[:height], out=out)
    term = term[:height]
    for k in range(1, len(taps_y)):
        out += np.multiply(taps_y[k], along_x[k : k + height], out=term)
