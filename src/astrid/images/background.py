"""The sky background of a frame, on a mesh.

The estimate is SExtractor's (through ``sep``), made twice: the second time with
the sources found over the first one masked, so that crowded fields and the wings
of bright stars do not lift the sky.
"""

from __future__ import annotations

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame

__all__ = ["sky_level", "source_mask", "subtract_background"]

# A mesh cell needs some sky of its own; smaller cells would follow the sources.
_SMALLEST_MESH = 16
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
    first = sep.Background(frame.data, mask=bad, bw=mesh, bh=mesh)
    residual = frame.data - first.back(dtype=np.float32)
    sources = source_mask(residual, first.globalrms) | bad
    if sources.mean() < 0.9:
        residual -= sky_level(residual, sources, mesh)
    sky = frame.data - residual
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
    ny, nx = data.shape
    # Blocks cost a quarter of pixels, and sources are wider than a pixel.
    even = np.pad(data, ((0, ny % 2), (0, nx % 2)), mode="edge") if ny % 2 or nx % 2 else data
    blocks = even[::2, ::2] + even[1::2, ::2]
    blocks += even[::2, 1::2]
    blocks += even[1::2, 1::2]
    # Weights 1 2 1: the noise of the mean of 4 pixels times 3 / 8.
    smooth = ndimage.correlate1d(ndimage.correlate1d(blocks, _TRIANGLE, axis=0), _TRIANGLE, axis=1)
    if sigma is None:
        low, middle = np.percentile(smooth[::4, ::4], [15.8655, 50])
        core = smooth > middle + threshold * (middle - low)
    else:
        core = smooth > threshold * sigma * 4 * (0.5 * 3 / 8)
    grown = ndimage.maximum_filter(core.view(np.uint8), 3, mode="constant").view(np.bool_)
    return np.repeat(np.repeat(grown, 2, axis=0), 2, axis=1)[:ny, :nx]


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
