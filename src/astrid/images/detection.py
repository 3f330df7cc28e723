"""Find what changed: peaks of |S_corr| above a threshold, of both signs.

S_corr is already the matched filter, so a peak is a source; nothing is convolved again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid.images.peaks import local_maxima

__all__ = ["detect"]

_SIDE_LOBE = 2.0  # in units of the FWHM: how far a stronger peak claims weaker ones of the other sign


def detect(
    significance: NDArray[np.float32],
    no_data: NDArray[np.bool_],
    *,
    threshold: float = 5.0,
    fwhm: float = 3.0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Find peaks of either sign.

    A peak is the extreme of its 5 x 5 neighbourhood. A weaker peak within one FWHM of
    a stronger one of the same sign, or within 2 FWHM of one of the other sign (a
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
    rows, columns = [], []
    for signed in (significance, -significance):
        row, column = local_maxima(signed, (signed >= threshold) & ~no_data, 2)
        rows.append(row)
        columns.append(column)
    row, column = np.concatenate(rows), np.concatenate(columns)
    if not len(row):
        return row, column
    height = np.abs(significance[row, column])
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
