"""Light curves as padded sequences: the points themselves, of one length, for networks that read in order.

Nothing is interpolated; for even grids see `interpolation`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["VERSION", "PaddedCurves", "padded_curves"]

VERSION = 1
"""Of the representation: another output is another version."""


class PaddedCurves(NamedTuple):
    """Light curves of one length; 0 in every array, and -1 in `band`, where there is no point.

    Parameters
    ----------
    time : (m, n) float32 ndarray, days
        From the first point of each that is kept.
    band : (m, n) int8 ndarray
        Number of the band among those asked for.
    value, error : (m, n) float32 ndarray
        Magnitudes or fluxes, and their errors.
    mask : (m, n) bool ndarray
        Whether there is a point.
    """

    time: NDArray[np.float32]
    band: NDArray[np.int8]
    value: NDArray[np.float32]
    error: NDArray[np.float32]
    mask: NDArray[np.bool_]


def padded_curves(
    curves: Sequence[LightCurve],
    length: int,
    bands: Sequence[str] = ("g", "r"),
    *,
    keep: Literal["first", "last"] = "first",
) -> PaddedCurves:
    """Put light curves into arrays of one length.

    Parameters
    ----------
    curves : sequence of LightCurve
        All in one unit. Points of other bands, and points without an error, are left out.
    length : int
        Points that are kept of each.
    bands : sequence of str
    keep : {"first", "last"}
        Which points, where there are more.

    Returns
    -------
    padded : PaddedCurves

    Raises
    ------
    LightCurveError
        A light curve without a point to keep, or units that differ; the message names it.
    UsageError
        No length, or no bands.
    """
    if length < 1 or not 0 < len(set(bands)) == len(bands) < 128:
        raise UsageError(
            f"length {length}, bands {', '.join(bands)}; give a positive length and each band once"
        )
    shape = (len(curves), length)
    padded = PaddedCurves(
        np.zeros(shape, np.float32),
        np.full(shape, -1, np.int8),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.float32),
        np.zeros(shape, np.bool_),
    )
    for row, curve in enumerate(curves):
        if curve.unit != curves[0].unit:
            raise LightCurveError(
                f"{curve.name}: in {curve.unit}, but others in {curves[0].unit}; convert them"
            )
        number = np.array([bands.index(band) if band in bands else -1 for band in curve.bands], np.int8)[
            curve.band
        ]
        known = np.zeros(len(curve), np.bool_) if curve.error is None else np.isfinite(curve.error)
        chosen = np.flatnonzero(known & (number >= 0))
        if not len(chosen) or curve.error is None:
            raise LightCurveError(f"{curve.name}: no point in {', '.join(bands)} has an error; leave it out")
        chosen = chosen[:length] if keep == "first" else chosen[-length:]
        n = len(chosen)
        padded.time[row, :n] = curve.time[chosen] - curve.time[chosen[0]]
        padded.band[row, :n] = number[chosen]
        padded.value[row, :n] = curve.value[chosen]
        padded.error[row, :n] = curve.error[chosen]
        padded.mask[row, :n] = True
    return padded
