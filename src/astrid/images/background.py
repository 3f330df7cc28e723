"""The sky background of a frame, on a mesh.

The estimate is SExtractor's (through ``sep``), made twice: the second time with
the sources found over the first one masked, so that crowded fields and the wings
of bright stars do not lift the sky.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame

__all__ = ["sky_level", "source_mask", "subtract_background"]

# A mesh cell needs some sky of its own; smaller cells would follow the sources.
_SMALLEST_MESH = 16
_Value = TypeVar("_Value", bound=np.generic)
_TRIANGLE = np.array([0.25, 0.5, 0.25], np.float32)


def subtract_background(frame: Frame, mesh: int = 64) -> tuple[Frame, NDArray[np.float32]]:
    """Subtract the sky, estimated on a mesh with sources masked.

    Parameters
    ----------
    frame : Frame
    mesh : int, px
        Side of a mesh cell; several times the largest source of interest.

    Returns
    -------
    frame : Frame
        The same frame without its sky; flagged pixels without data stay 0.
    sky : (ny, nx) float32 ndarray, ADU
        What was subtracted.

    Raises
    ------
    FrameError
        `mesh` is too small, or no pixel is good.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, section 4.1; Barbary 2016, JOSS 1, 58.
    """
    if mesh < _SMALLEST_MESH:
        raise FrameError(
            f"{frame.name}: a background mesh of {mesh} px is too small; give {_SMALLEST_MESH} or more"
        )
    bad = frame.mask != 0
    if bad.all():
        raise FrameError(f"{frame.name}: every pixel is masked, so no sky can be measured; check the mask")
    # The first estimate serves to find the sources only; blocks of pixels do for that.
    means = blocks(frame.data) / np.float32(4)
    shut = blocks(bad.astype(np.float32)) > 0
    first = sep.Background(means, mask=shut, bw=max(mesh // 2, 4), bh=max(mesh // 2, 4))
    means -= first.back(dtype=np.float32)
    sources = whole_pixels(_lit(means, 3.0 * first.globalrms), frame.shape) | bad
    # Where most of the sky is hidden, cells without any would be guessed; clipping does better.
    sky = sky_level(frame.data, sources if sources.mean() < 0.5 else bad, mesh)
    residual = frame.data - sky
    residual[frame.mask & np.uint16(Flag.NO_DATA) != 0] = 0
    return frame.with_(data=residual), sky


def source_mask(
    data: NDArray[np.float32], sigma: float | None, *, threshold: float = 3.0
) -> NDArray[np.bool_]:
    """Pixels that belong to sources of a background-subtracted image.

    A block of 2 x 2 pixels is taken when its mean, averaged with its neighbours', stands
    out by `threshold` times the noise; the result is grown by one block.

    Parameters
    ----------
    data : (ny, nx) float32 ndarray
    sigma : float or None
        White noise of one pixel, units of `data`. None takes the noise of the averages from
        their own lower half, which is right for correlated noise and too much in a crowd.
    threshold : float

    Returns
    -------
    mask : (ny, nx) bool ndarray
    """
    means = blocks(data) / np.float32(4)
    if sigma is None:
        smooth = _smooth(means)[::4, ::4]
        low, middle = np.percentile(smooth, [15.8655, 50])
        return whole_pixels(
            _lit(means - np.float32(middle), threshold * (middle - low), smoothed=True), data.shape
        )
    return whole_pixels(_lit(means, threshold * sigma / 2), data.shape)


def blocks(data: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sums of 2 x 2 pixels, (ceil(ny / 2), ceil(nx / 2)); an odd last line is doubled.

    Blocks cost a quarter of pixels, and sources are wider than a pixel.
    """
    ny, nx = data.shape
    even = np.pad(data, ((0, ny % 2), (0, nx % 2)), mode="edge") if ny % 2 or nx % 2 else data
    sums = even[::2, ::2] + even[1::2, ::2]
    sums += even[::2, 1::2]
    sums += even[1::2, 1::2]
    return sums


def whole_pixels(values: NDArray[_Value], shape: tuple[int, int]) -> NDArray[_Value]:
    """Values of 2 x 2 blocks for every pixel, (ny, nx)."""
    height, width = values.shape
    doubled = np.broadcast_to(values[:, None, :, None], (height, 2, width, 2)).reshape(2 * height, 2 * width)
    return doubled[: shape[0], : shape[1]]


def _smooth(means: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights 1 2 1 in both directions: the noise falls to 3 / 8."""
    return np.asarray(ndimage.correlate1d(ndimage.correlate1d(means, _TRIANGLE, axis=0), _TRIANGLE, axis=1))


def _lit(means: NDArray[np.float32], level: float, *, smoothed: bool = False) -> NDArray[np.bool_]:
    """Blocks above a level, given for blocks or for their averages, grown by one block."""
    core = _smooth(means) > (level if smoothed else level * 3 / 8)
    return np.asarray(ndimage.maximum_filter(core.view(np.uint8), 3, mode="constant").view(np.bool_))


def sky_level(data: NDArray[np.float32], mask: NDArray[np.bool_], mesh: int) -> NDArray[np.float32]:
    """Smooth level of an image over a mesh.

    Parameters
    ----------
    data : (ny, nx) float32 ndarray
    mask : (ny, nx) bool ndarray
        True where a pixel does not count; some pixel must.
    mesh : int, px

    Returns
    -------
    level : (ny, nx) float32 ndarray, units of `data`
    """
    level: NDArray[np.float32] = sep.Background(data, mask=mask, bw=mesh, bh=mesh).back(dtype=np.float32)
    return level
