"""Fill flagged pixels from their neighbours, so that a filter does not spread them.

The filled values are for filtering only; the mask still says that there is no datum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.frame import Flag, Frame

__all__ = ["fill_masked", "flag_dead_borders"]

_TILE, _MARGIN = 128, 10


def fill_masked(frame: Frame, *, keep: Flag = Flag.SATURATED) -> Frame:
    """Replace flagged pixels by a local average of good ones.

    Parameters
    ----------
    frame : Frame
        Background-subtracted, so that beyond its edges the fill is 0.
    keep : Flag
        Bits whose pixels stay as they are: a saturated core still tells where the light is.

    Returns
    -------
    frame : Frame
        With `Flag.FILLED` added where a value was made up.
    """
    edge = frame.mask & np.uint16(Flag.EDGE) != 0
    holes = ((frame.mask & ~np.uint16(keep)) != 0) & ~edge
    if not holes.any() and not edge.any():
        return frame
    data = np.where(edge, np.float32(0), frame.data)
    ny, nx = frame.shape
    # Only the tiles that hold a hole are filtered, with what their neighbours lend.
    for top in range(0, ny, _TILE):
        for left in range(0, nx, _TILE):
            inner = slice(top, top + _TILE), slice(left, left + _TILE)
            if not holes[inner].any():
                continue
            outer = (
                slice(max(top - _MARGIN, 0), top + _TILE + _MARGIN),
                slice(max(left - _MARGIN, 0), left + _TILE + _MARGIN),
            )
            filled = _inpaint(frame.data[outer], holes[outer], edge[outer])
            back = (
                slice(top - outer[0].start, top - outer[0].start + _TILE),
                slice(left - outer[1].start, left - outer[1].start + _TILE),
            )
            data[inner] = np.where(holes[inner], filled[back], data[inner])
    mask = frame.mask | np.where(holes, np.uint16(Flag.FILLED), np.uint16(0))
    return frame.with_(data=data, mask=mask)


def flag_dead_borders(frame: Frame) -> Frame:
    """Flag rows and columns at the border that hold one value only: padding, not data.

    Parameters
    ----------
    frame : Frame

    Returns
    -------
    frame : Frame
        With `Flag.NO_DATA` and `Flag.EDGE` on such lines.
    """
    dead = np.zeros(frame.shape, bool)
    for lines, marks in ((frame.data, dead), (frame.data.T, dead.T)):
        for order in (range(len(lines)), range(len(lines) - 1, -1, -1)):
            for index in order:
                line = lines[index]
                if not (line == line[len(line) // 2]).all():
                    break
                marks[index] = True
    if not dead.any():
        return frame
    return frame.with_(mask=frame.mask | np.where(dead, np.uint16(Flag.NO_DATA | Flag.EDGE), np.uint16(0)))


def _inpaint(
    data: NDArray[np.float32], holes: NDArray[np.bool_], beyond: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """Normalised convolution with growing Gaussians: small holes see only their rim."""
    known = ~(holes | beyond)
    result, left = np.where(known, data, np.float32(0)), holes
    start = result.copy()
    for sigma in (1.0, 2.0, 4.0):
        weight = ndimage.gaussian_filter(known.astype(np.float32), sigma, truncate=2.5)
        value = ndimage.gaussian_filter(start, sigma, truncate=2.5)
        reached = left & (weight > 0.05)
        result[reached] = value[reached] / weight[reached]
        left = left & ~reached
        if not left.any():
            break
    return result
