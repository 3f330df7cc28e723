"""dm-dt images: how often each change of magnitude occurs after each lapse of time.

All pairs of points are counted in cells of two irregular axes; the grids that are in use have names here.
With numba installed the counting is compiled; without, numpy does the same, slowly.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.dmdt_grids import (
    CCSNSCORE,
    GRIDS,
    KOWALSKI,
    MAHABAL_2017,
    MAHABAL_2017_FINE,
    MAHABAL_2017_OVERFLOW,
    SCOPE,
    Grid,
)
from astrid.lightcurves.lightcurve import LightCurve

__all__ = [
    "CCSNSCORE",
    "GRIDS",
    "KOWALSKI",
    "MAHABAL_2017",
    "MAHABAL_2017_FINE",
    "MAHABAL_2017_OVERFLOW",
    "SCOPE",
    "VERSION",
    "Grid",
    "Scaling",
    "dmdt",
    "dmdt_images",
    "dmdt_of",
]

VERSION = 1
"""Of the representation: another output is another version."""

Scaling: TypeAlias = Literal["counts", "fraction", "intensity", "intensity225", "unit", "sum625", "root"]

_MOST_POINTS = 65_535  # 2e9 pairs: a few seconds; and counts fit into 32 bits


def dmdt(
    curve: LightCurve, grid: Grid = MAHABAL_2017, scaling: Scaling = "fraction", *, smooth: bool = False
) -> NDArray[np.float32]:
    """The dm-dt image of one light curve.

    Parameters
    ----------
    curve : LightCurve
        Magnitudes in one band, two points or more.
    grid : Grid
    scaling : {"counts", "fraction", "intensity", "intensity225", "unit", "sum625", "root"}
        Number of pairs; divided by all n (n - 1) / 2 pairs; the paper's
        ``int(255 * fraction + 0.99999)``, in which a single pair is seen, and the same with 225; divided by
        the root of the sum of squares; scaled to a sum of 625; the root of the share of the pairs within the
        grid, which evens out the noise of the counts and makes the sum of squares 1. An image without any
        pair is all 0.
    smooth : bool
        Spread each pair in dm as a Gaussian, as wide as the errors of both points make it; points without
        an error are left out.

    Returns
    -------
    image : grid.shape float32 ndarray
        Rows are dm from the most brightened, columns dt from the shortest.

    Raises
    ------
    LightCurveError
        Fewer than two points, several bands, fluxes, or no errors to smooth with.

    References
    ----------
    Mahabal et al. 2017, arXiv:1709.06257, section 3; smoothing: Soraisam et al. 2020.
    """
    return dmdt_of([curve], grid, scaling, smooth=smooth)[0]


def dmdt_of(
    curves: Sequence[LightCurve],
    grid: Grid = MAHABAL_2017,
    scaling: Scaling = "fraction",
    *,
    smooth: bool = False,
    threads: int = 1,
) -> NDArray[np.float32]:
    """The dm-dt images of many light curves, (n, *grid.shape); see `dmdt`.

    Raises
    ------
    LightCurveError
        One of them has no image; the message names it.
    """
    used = [_usable(curve, smooth) for curve in curves]
    offsets = np.cumsum([0, *(len(curve) for curve in used)], dtype=np.int64)
    empty = [np.empty(0)]
    time = np.concatenate([curve.time for curve in used] or empty)
    mag = np.concatenate([curve.value for curve in used] or empty)
    error = np.concatenate([curve.error for curve in used] or empty) if smooth else None
    return dmdt_images(time, mag, offsets, error, grid=grid, scaling=scaling, threads=threads)


def dmdt_images(
    time: ArrayLike,
    mag: ArrayLike,
    offsets: ArrayLike,
    error: ArrayLike | None = None,
    *,
    grid: Grid = MAHABAL_2017,
    scaling: Scaling = "fraction",
    threads: int = 1,
) -> NDArray[np.float32]:
    """The dm-dt images of light curves that stand one after the other, as nested columns do.

    Parameters
    ----------
    time : (n,) array_like, days
        Not decreasing within a curve.
    mag : (n,) array_like, mag
    offsets : (m + 1,) array_like of int
        Curve i has the points from ``offsets[i]`` to below ``offsets[i + 1]``.
    error : (n,) array_like, mag; optional
        To smooth with; see `dmdt`.
    grid, scaling
        As `dmdt` has them.
    threads : int
        Over which the curves are divided; without numba, one whatever is asked.

    Returns
    -------
    images : (m, *grid.shape) float32 ndarray

    Raises
    ------
    LightCurveError
        A curve of fewer than two points, or of more than 65 535; times that decrease; values that are not
        finite; errors that are not positive.
    """
    # Writable, because a loop that is compiled for read-only arrays would be another one.
    columns = [np.require(column, np.float64, ["C", "W"]) for column in (time, mag)]
    errors = None if error is None else np.require(error, np.float64, ["C", "W"])
    bounds = np.require(offsets, np.int64, ["C", "W"])
    if scaling not in Scaling.__args__:  # type: ignore[attr-defined]
        have = ", ".join(Scaling.__args__)  # type: ignore[attr-defined]
        raise UsageError(f"scaling {scaling!r} is none; give one of {have}")
    _check(columns[0], columns[1], errors, bounds)
    cells = _cells(columns[0], columns[1], errors, bounds, grid, threads)
    return _scaled(_folded(cells, grid), np.diff(bounds), scaling)


def _usable(curve: LightCurve, smooth: bool) -> LightCurve:
    if curve.unit != "mag":
        raise LightCurveError(f"{curve.name}: a dm-dt image needs magnitudes, not {curve.unit}; use as_mag()")
    if len(curve.bands) > 1:
        have = ", ".join(curve.bands)
        raise LightCurveError(f"{curve.name}: a dm-dt image is of one band, not of {have}; use in_band(…)")
    if smooth:
        if curve.error is None:
            raise LightCurveError(f"{curve.name}: no errors to smooth with; make the image without")
        known = np.isfinite(curve.error)
        curve = curve if known.all() else curve.at(known)
    if not 2 <= len(curve) <= _MOST_POINTS:
        what = "a dm-dt image needs two" if len(curve) < 2 else f"average them to at most {_MOST_POINTS}"
        raise LightCurveError(f"{curve.name}: {len(curve)} points can be used; {what}")
    return curve


def _check(
    time: NDArray[np.float64],
    mag: NDArray[np.float64],
    error: NDArray[np.float64] | None,
    offsets: NDArray[np.int64],
) -> None:
    n = len(time)
    lengths = np.diff(offsets) if offsets.ndim == 1 else np.array([-1])
    if (
        offsets.size < 1
        or (lengths < 0).any()
        or offsets[0] != 0
        or offsets[-1] != n
        or mag.shape != time.shape
    ):
        raise LightCurveError(
            f"{n} times and {mag.size} magnitudes do not fit the offsets; they run from 0 to {n}"
        )
    wrong = np.flatnonzero((lengths < 2) | (lengths > _MOST_POINTS))
    if len(wrong):
        raise LightCurveError(
            f"curve {wrong[0]}: {lengths[wrong[0]]} points; a dm-dt image needs 2 to {_MOST_POINTS}"
        )
    if not (np.isfinite(time).all() and np.isfinite(mag).all()):
        raise LightCurveError("a time or a magnitude is not finite; leave such points out")
    if error is not None and not (
        error.shape == time.shape and (error > 0).all() and np.isfinite(error).all()
    ):
        raise LightCurveError("an error is not positive and finite; leave such points out")
    steps = np.diff(time)
    steps[offsets[1:-1] - 1] = 0  # from one curve to the next
    if (steps < 0).any():
        curve = int(np.searchsorted(offsets, np.argmin(steps), side="right")) - 1
        raise LightCurveError(f"curve {curve}: its times decrease; sort them")


def _cells(
    time: NDArray[np.float64],
    mag: NDArray[np.float64],
    error: NDArray[np.float64] | None,
    offsets: NDArray[np.int64],
    grid: Grid,
    threads: int,
) -> NDArray[Any]:
    """Pairs by cell, (m, len(dt) + 1, len(dm) + 1): with those before the first and beyond the last edges."""
    dm, dt = np.array(grid.dm), np.array(grid.dt)
    m = len(offsets) - 1
    out = np.zeros((m, len(dt) + 1, len(dm) + 1), np.uint32 if error is None else np.float64)
    kernels, table = _compiled(grid.dm, error is not None)
    if table is None:
        for i in range(m):
            chosen = slice(offsets[i], offsets[i + 1])
            out[i] = _reference(time[chosen], mag[chosen], None if error is None else error[chosen], dm, dt)
        return out

    def run(part: slice) -> None:
        bounds, images = offsets[part.start : part.stop + 1], out[part]
        if error is None:
            kernels.count_pairs(time, mag, bounds, dt, grid.overflow, *table, images)
        else:
            kernels.spread_pairs(time, mag, error, bounds, dm, dt, grid.overflow, table, images)

    if threads <= 1 or m < 2:
        run(slice(0, m))
        return out
    from concurrent.futures import ThreadPoolExecutor

    # Small parts, because curves differ in length; the compiled loops release the interpreter.
    size = max(1, m // (8 * threads))
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, [slice(i, min(i + size, m)) for i in range(0, m, size)]))
    return out


@cache
def _compiled(dm: tuple[float, ...], smooth: bool) -> tuple[Any, Any]:
    """The compiled loops and their table; no table without numba, or where edges are too close for one."""
    try:
        import astrid.lightcurves.dmdt_kernels as kernels
    except ImportError:
        return None, None
    return kernels, kernels.normal_table() if smooth else kernels.dm_table(np.array(dm))


def _reference(
    time: NDArray[np.float64],
    mag: NDArray[np.float64],
    error: NDArray[np.float64] | None,
    dm: NDArray[np.float64],
    dt: NDArray[np.float64],
) -> NDArray[np.float64]:
    """What the compiled loops have to give: one point at a time against all later ones."""
    from scipy.special import ndtr

    cells = np.zeros((len(dt) + 1, len(dm) + 1))
    for i in range(len(time) - 1):
        column = np.searchsorted(dt, time[i + 1 :] - time[i], side="right")
        change = mag[i + 1 :] - mag[i]
        if error is None:
            np.add.at(cells, (column, np.searchsorted(dm, change, side="right")), 1.0)
        else:
            width = np.hypot(error[i + 1 :], error[i])
            below = ndtr((dm - change[:, None]) / width[:, None])
            np.add.at(cells, column, np.diff(below, axis=1, prepend=0.0, append=1.0))
    return cells


def _folded(cells: NDArray[Any], grid: Grid) -> NDArray[np.float64]:
    """Cells of the grid as (m, dm, dt)."""
    images = np.swapaxes(cells, 1, 2).astype(np.float64)
    if not grid.overflow:
        return images[:, 1:-1, 1:-1]
    images[:, -2] += images[:, -1]
    images[:, :, -2] += images[:, :, -1]
    return images[:, :-1, :-1]


def _scaled(images: NDArray[np.float64], lengths: NDArray[np.int64], scaling: Scaling) -> NDArray[np.float32]:
    pairs = (lengths * (lengths - 1) // 2)[:, None, None]
    if scaling == "fraction":
        images = images / pairs
    elif scaling in ("intensity", "intensity225"):
        images = np.floor((255 if scaling == "intensity" else 225) * images / pairs + 0.99999)
    elif scaling == "unit":
        images = _divided(images, np.sqrt((images**2).sum(axis=(1, 2), keepdims=True)))
    elif scaling == "sum625":
        images = 625 * _divided(images, images.sum(axis=(1, 2), keepdims=True))
    elif scaling == "root":
        images = np.sqrt(_divided(images, images.sum(axis=(1, 2), keepdims=True)))
    return images.astype(np.float32)


def _divided(images: NDArray[np.float64], by: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(images, by, out=np.zeros_like(images), where=by > 0)
