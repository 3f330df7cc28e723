"""The triplet: science, reference and difference cut out around a candidate.

Representation version 1: pixels as they are (ADU, sky subtracted), no scaling, missing
pixels 0 and recorded. What a network needs beyond that belongs to its own graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError

__all__ = ["TRIPLET_VERSION", "cut", "triplets"]

TRIPLET_VERSION = 1


def cut(
    image: NDArray[np.float32], x: NDArray[np.float64], y: NDArray[np.float64], size: int = 63
) -> tuple[NDArray[np.float32], NDArray[np.int16]]:
    """Cut squares out of an image, centred on the pixel nearest to each position.

    Parameters
    ----------
    image : (ny, nx) float32 ndarray
    x, y : (n,) float64 ndarray, px
    size : int, px
        Odd.

    Returns
    -------
    stamps : (n, size, size) float32 ndarray
        0 beyond the image.
    padded : (n, 4) int16 ndarray
        Columns and rows that were made up on the left, right, bottom (low y) and top.

    Raises
    ------
    UsageError
        `size` is even or too small.
    """
    if size < 3 or size % 2 == 0:
        raise UsageError(f"cutout size is {size}; give an odd number of pixels, 3 or more")
    ny, nx = image.shape
    half = size // 2
    column, row = np.rint(np.asarray(x)).astype(int), np.rint(np.asarray(y)).astype(int)
    offset = np.arange(-half, half + 1)
    rows = row[:, None, None] + offset[None, :, None]
    columns = column[:, None, None] + offset[None, None, :]
    inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
    stamps = np.where(inside, image[np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)], np.float32(0))
    padded = np.stack([half - column, column + half - (nx - 1), half - row, row + half - (ny - 1)], axis=1)
    return stamps.astype(np.float32, copy=False), np.clip(padded, 0, size).astype(np.int16)


def triplets(
    images: Mapping[str, NDArray[np.float32]],
    identifiers: NDArray[np.int64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    size: int = 63,
) -> dict[str, NDArray[np.generic]]:
    """Cutouts of several aligned images around the same positions.

    Parameters
    ----------
    images : mapping of str to (ny, nx) float32 ndarray
        Usually ``science``, ``reference``, ``difference``.
    identifiers : (n,) int64 ndarray
    x, y : (n,) float64 ndarray, px
    size : int, px

    Returns
    -------
    triplets : dict
        One (n, size, size) float32 array for each image, ``id`` (n,) int64 and
        ``padded`` (n, 4) int16: left, right, bottom, top.
    """
    result: dict[str, NDArray[np.generic]] = {}
    padded = np.zeros((len(x), 4), np.int16)
    for name, image in images.items():
        result[name], padded = cut(image, x, y, size)
    result["id"] = np.asarray(identifiers, np.int64)
    result["padded"] = padded
    return result
