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
from astrid.images.frame import Frame

__all__ = ["source_mask", "subtract_background"]

# A mesh cell needs some sky of its own; smaller cells would follow the sources.
_SMALLEST_MESH = 16


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
    first = _sky(frame.data, bad, mesh)
    residual = frame.data - first.back(dtype=np.float32)
    sources = source_mask(residual, first.globalrms) | bad
    if sources.mean() < 0.9:
        residual -= (second := _sky(residual, sources, mesh)).back(dtype=np.float32)
        if not np.isfinite(second.globalback):
            raise FrameError(f"{frame.name}: the sky cannot be measured; check the mask")
    sky = frame.data - residual
    residual[frame.mask & 16 != 0] = 0
    return frame.with_(data=residual), sky


def source_mask(data: NDArray[np.float32], sigma: float, *, threshold: float = 3.0) -> NDArray[np.bool_]:
    """Pixels that belong to sources of a background-subtracted image.

    A pixel is taken when the mean of its 3 x 3 neighbourhood stands out by
    `threshold` times the noise of that mean; the result is grown by 2 px.

    Parameters
    ----------
    data : (ny, nx) float32 ndarray
    sigma : float
        Noise of one pixel, units of `data`.
    threshold : float

    Returns
    -------
    mask : (ny, nx) bool ndarray
    """
    smooth = ndimage.uniform_filter(data, 3, mode="nearest")
    core = smooth > threshold * sigma / 3.0
    # A 5 x 5 maximum as two passes over bytes costs a tenth of binary_dilation.
    return ndimage.maximum_filter(core.view(np.uint8), 5, mode="constant").view(np.bool_)


def _sky(data: NDArray[np.float32], mask: NDArray[np.bool_], mesh: int) -> sep.Background:
    return sep.Background(data, mask=mask, bw=mesh, bh=mesh, fw=3, fh=3)
