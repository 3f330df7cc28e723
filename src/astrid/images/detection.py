"""Find what changed: peaks of |S_corr| above a threshold, of both signs.

S_corr is already the matched filter, so a peak is a source; nothing is convolved again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

__all__ = ["detect"]

_SIDE_LOBE = 1.6  # in units of the FWHM: how far a stronger peak claims weaker ones of the other sign


def detect(
    significance: NDArray[np.float32],
    no_data: NDArray[np.bool_],
    *,
    threshold: float = 5.0,
    fwhm: float = 3.0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find peaks of either sign.

    A peak is the extreme of its 5 x 5 neighbourhood. A weaker peak within one FWHM of
    a stronger one of the same sign, or within 1.6 FWHM of one of the other sign (a
    dipole or a side lobe), belongs to it.

    Parameters
    ----------
    significance : (ny, nx) float32 ndarray
        S_corr.
    no_data : (ny, nx) bool ndarray
        Where nothing may be found.
    threshold : float
    fwhm : float, px
        Of the science image.

    Returns
    -------
    row, column : (n,) int64 ndarray
        Strongest first.
    """
    strong = (np.abs(significance) >= threshold) & ~no_data
    row, column = np.nonzero(strong)
    if not len(row):
        return row, column
    height = np.abs(significance[row, column])
    ny, nx = significance.shape
    peak = np.ones(len(row), bool)
    for dy in range(-2, 3):
        for dx in range(-2, 3):
            if dy == 0 and dx == 0:
                continue
            rows, columns = row + dy, column + dx
            inside = (rows >= 0) & (rows < ny) & (columns >= 0) & (columns < nx)
            other = significance[np.clip(rows, 0, ny - 1), np.clip(columns, 0, nx - 1)]
            higher = other * np.sign(significance[row, column])
            # Of two equal neighbours the later one in reading order stands.
            peak &= ~inside | (higher < height) | ((higher == height) & ((dy, dx) < (0, 0)))
    row, column, height = row[peak], column[peak], height[peak]
    order = np.argsort(-height, kind="stable")
    row, column, height = row[order], column[order], height[order]
    sign = np.sign(significance[row, column])
    tree = cKDTree(np.column_stack([column, row]))
    alive = np.ones(len(row), bool)
    reach = max(_SIDE_LOBE * fwhm, 2.0)
    for index, near in enumerate(tree.query_ball_point(np.column_stack([column, row]), reach)):
        if not alive[index]:
            continue
        others = np.asarray([other for other in near if other > index], int)
        if not len(others):
            continue
        distance = np.hypot(column[others] - column[index], row[others] - row[index])
        claimed = (sign[others] != sign[index]) | (distance <= max(fwhm, 2.0))
        alive[others[claimed]] = False
    return row[alive], column[alive]
