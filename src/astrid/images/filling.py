"""Fill flagged pixels from their neighbours, so that a filter does not spread them.

The filled values are for filtering only; the mask still says that there is no datum.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.frame import Flag, Frame

__all__ = ["fill_masked", "flag_dead_borders"]


def fill_masked(frame: Frame, *, keep: Flag = Flag.SATURATED) -> Frame:
    """Replace flagged pixels by a local average of good ones.

    Parameters
    ----------
    frame : Frame
        Background-subtracted, so that far from any good pixel the fill is 0.
    keep : Flag
        Bits whose pixels stay as they are: a saturated core still tells where the light is.

    Returns
    -------
    frame : Frame
        With `Flag.FILLED` added where a value was made up.
    """
    holes = (frame.mask & ~np.uint16(keep)) != 0
    if not holes.any():
        return frame
    data = frame.data.copy()
    rows, columns = _bounding_box(holes, 8)
    data[rows, columns] = _inpaint(frame.data[rows, columns], holes[rows, columns])
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


def _bounding_box(where: NDArray[np.bool_], margin: int) -> tuple[slice, slice]:
    box = []
    for axis in (1, 0):
        hit = np.flatnonzero(where.any(axis=axis))
        box.append(slice(max(int(hit[0]) - margin, 0), int(hit[-1]) + margin + 1))
    return box[0], box[1]


def _inpaint(data: NDArray[np.float32], holes: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Normalised convolution with growing Gaussians: small holes see only their rim."""
    result = np.where(holes, np.float32(0), data)
    left = holes
    for sigma in (1.0, 2.0, 4.0):
        weight = ndimage.gaussian_filter((~holes).astype(np.float32), sigma, truncate=2.5)
        value = ndimage.gaussian_filter(np.where(holes, np.float32(0), data), sigma, truncate=2.5)
        reached = left & (weight > 0.05)
        result[reached] = value[reached] / weight[reached]
        left = left & ~reached
        if not left.any():
            break
    return result
