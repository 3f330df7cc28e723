"""The points of light curves as the statistics need them: flat columns, checked once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import DependencyError, LightCurveError
from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["compiled", "flat_columns", "plain_columns"]

Array = NDArray[np.float64]


def compiled() -> Any:
    """The compiled loops.

    Raises
    ------
    DependencyError
        numba is not installed.
    """
    try:
        import astrid.lightcurves.statistics_kernels as kernels
    except ImportError as error:
        raise DependencyError(
            'statistics of light curves need numba; pip install "astrid[lightcurves]"'
        ) from error
    return kernels


def plain_columns(curve: LightCurve, least: int) -> tuple[Array, Array, Array]:
    """Times, magnitudes and errors of the points of one band that have an error.

    Raises
    ------
    LightCurveError
        Fluxes, several bands, no errors, too few points, all of one moment, or all of one magnitude.
    """
    if curve.unit != "mag":
        raise LightCurveError(
            f"{curve.name}: the statistics are of magnitudes, not {curve.unit}; use as_mag()"
        )
    if len(curve.bands) > 1:
        have = ", ".join(curve.bands)
        raise LightCurveError(f"{curve.name}: the statistics are of one band, not of {have}; use in_band(…)")
    if curve.error is None:
        raise LightCurveError(f"{curve.name}: no point has an error; the statistics need errors")
    known = np.isfinite(curve.error)
    time, mag, error = curve.time[known], curve.value[known], curve.error[known]
    if len(time) < least:
        raise LightCurveError(f"{curve.name}: {len(time)} points have an error; the statistics need {least}")
    if time[0] == time[-1]:
        raise LightCurveError(f"{curve.name}: all points are of one moment; the statistics need a lapse")
    if mag.min() == mag.max():
        raise LightCurveError(f"{curve.name}: all points have one magnitude; its scatter has no statistics")
    return time, mag, error


def flat_columns(
    time: ArrayLike, mag: ArrayLike, error: ArrayLike, offsets: ArrayLike, least: int
) -> tuple[tuple[Array, Array, Array], NDArray[np.int64]]:
    """Columns of light curves that stand one after the other, checked as `plain_columns` checks one.

    Raises
    ------
    LightCurveError
        As above; the message tells the number of the curve.
    """
    # Writable, because a loop that is compiled for read-only arrays would be another one.
    t, m, e = (np.require(column, np.float64, ["C", "W"]) for column in (time, mag, error))
    bounds = np.require(offsets, np.int64, ["C", "W"])
    fits = bounds.ndim == 1 and bounds.size and bounds[0] == 0 and bounds[-1] == t.size
    if not fits or not t.shape == m.shape == e.shape or t.ndim != 1 or (np.diff(bounds) < 0).any():
        raise LightCurveError(
            f"{t.size} times do not fit the magnitudes, errors or offsets; they run from 0 to {t.size}"
        )
    if not (np.isfinite(t).all() and np.isfinite(m).all() and np.isfinite(e).all() and (e > 0).all()):
        raise LightCurveError(
            "a time or magnitude is not finite or an error not positive; leave such points out"
        )
    few = np.flatnonzero(np.diff(bounds) < least)
    if len(few):
        raise LightCurveError(
            f"curve {few[0]}: {np.diff(bounds)[few[0]]} points; the statistics need {least}"
        )
    if len(bounds) > 1:
        steps = np.diff(t)
        steps[bounds[1:-1] - 1] = 0  # from one curve to the next
        starts, ends = bounds[:-1], bounds[1:] - 1
        problems = {
            "its times decrease; sort them": _any(steps < 0, starts, ends),
            "all points are of one moment; the statistics need a lapse": t[starts] == t[ends],
            "all points have one magnitude; its scatter has no statistics": np.minimum.reduceat(m, starts)
            == np.maximum.reduceat(m, starts),
        }
        for problem, found in problems.items():
            if found.any():
                raise LightCurveError(f"curve {np.argmax(found)}: {problem}")
    return (t, m, e), bounds


def _any(steps: NDArray[np.bool_], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.bool_]:
    total = np.concatenate([[0], np.cumsum(steps)])
    return total[ends] > total[starts]
