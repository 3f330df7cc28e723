"""Local maxima of an image, looked for only where it is worth looking."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["local_maxima"]


def local_maxima(
    image: NDArray[np.float32], where: NDArray[np.bool_], reach: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find the pixels that exceed all others of the square about them.

    A maximum filter would visit every pixel; few are above a threshold.

    Parameters
    ----------
    image : (ny, nx) float32 ndarray
    where : (ny, nx) bool ndarray
        Pixels that may be maxima.
    reach : int, px
        Half side of the square.

    Returns
    -------
    row, column : (n,) int64 ndarray
        In reading order; of equal neighbours the last in reading order stands.
    """
    row, column = np.nonzero(where)
    ny, nx = image.shape
    # Near neighbours first: they rule most pixels out.
    offsets = [(dy, dx) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1) if dy or dx]
    for dy, dx in sorted(offsets, key=lambda offset: offset[0] ** 2 + offset[1] ** 2):
        rows, columns = row + dy, column + dx
        inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
        other = image[np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)]
        height = image[row, column]
        stands = ~inside | (other < height) | ((other == height) & ((dy, dx) < (0, 0)))
        row, column = row[stands], column[stands]
    return row, column
