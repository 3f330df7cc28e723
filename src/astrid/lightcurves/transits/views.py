"""The folded views of a transit candidate that a classifier looks at.

Fixed-length arrays by the definitions of Rao et al. (2021); their meaning is fixed by `VIEWS_VERSION`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError, UsageError

__all__ = ["GLOBAL", "LOCAL", "VIEWS_VERSION", "TransitViews", "transit_views"]

VIEWS_VERSION = "1"
"""Changes whenever the same light curve gives other numbers."""

GLOBAL = 201
"""Bins of a view of the whole period."""

LOCAL = 81
"""Bins of a view of one dip, two durations to either side of its middle."""


@dataclass(frozen=True)
class TransitViews:
    """Views of one candidate, float32; the level outside the dip is about 1 and the lowest bin is -1.

    Attributes
    ----------
    global_view : (201,) ndarray
        Median flux over the period, the dip in the middle.
    shifted_global_view : (201,) ndarray
        The same with the dip a quarter of a period before the middle, so that a secondary eclipse at half a
        period is not cut by the edges.
    local_view : (81,) ndarray
        Two durations to either side of the dip.
    half_phase_view : (162,) ndarray
        81 bins about half a period from the dip, then 81 about the dip, on one scale.
    odd_even_view : (162,) ndarray
        81 bins of every second dip, then 81 of the others, on one scale.
    filled : dict of str to float
        For each view, the fraction of bins that had points; the others are interpolated.
    """

    global_view: NDArray[np.float32]
    shifted_global_view: NDArray[np.float32]
    local_view: NDArray[np.float32]
    half_phase_view: NDArray[np.float32]
    odd_even_view: NDArray[np.float32]
    filled: dict[str, float]


def transit_views(
    time: ArrayLike, flux: ArrayLike, period: float, epoch: float, duration: float
) -> TransitViews:
    """Fold and bin a detrended light curve.

    Bins are equally wide and hold medians. A bin without points is interpolated between its neighbours (at
    the ends it takes the nearest one), so a view has no NaN. Each view is then scaled as
    1 + 2 (flux - 1) / depth, with the depth of the lowest bin.

    Parameters
    ----------
    time : (n,) array_like, days
    flux : (n,) array_like
        Detrended, about 1; points that are not finite are left out.
    period, epoch, duration : float, days

    Returns
    -------
    TransitViews

    Raises
    ------
    UsageError
        Period or duration is not positive, or the duration is longer than half the period.
    LightCurveError
        A view has no point at all (named), or the curve is constant.

    References
    ----------
    Rao et al. 2021, MNRAS 502, 2845 (arXiv:2101.09227), section 3.
    """
    if not (0 < duration <= period / 2 < np.inf and np.isfinite(epoch)):
        raise UsageError(
            f"a dip of {duration:g} d every {period:g} d at {epoch:g} cannot be folded; the duration must "
            "be positive and at most half the period"
        )
    times, fluxes = np.asarray(time, dtype=np.float64), np.asarray(flux, dtype=np.float64)
    if times.ndim != 1 or times.shape != fluxes.shape:
        raise LightCurveError(
            f"times of shape {times.shape} and fluxes of {fluxes.shape}; give two arrays of one length"
        )
    finite = np.isfinite(times) & np.isfinite(fluxes)
    times, fluxes = times[finite], fluxes[finite]
    cycles = (times - epoch) / period
    half = min(2.0 * duration / period, 0.5)
    odd = np.rint(cycles).astype(np.int64) % 2 == 1

    def part(
        name: str, shift: float, width: float, bins: int, chosen: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        turns = cycles[chosen] - shift
        return medians(name, turns - np.rint(turns), fluxes[chosen], width, bins)

    every = np.ones(times.size, dtype=bool)
    raw = {
        "global": part("global", 0.0, 0.5, GLOBAL, every),
        "shifted_global": part("shifted_global", 0.25, 0.5, GLOBAL, every),
        "local": part("local", 0.0, half, LOCAL, every),
        "half_phase": np.concatenate(
            [part("half_phase", 0.5, half, LOCAL, every), part("half_phase", 0.0, half, LOCAL, every)]
        ),
        "odd_even": np.concatenate(
            [part("odd_even", 0.0, half, LOCAL, odd), part("odd_even", 0.0, half, LOCAL, ~odd)]
        ),
    }
    scaled = {name: scale(name, whole(name, view)) for name, view in raw.items()}
    return TransitViews(
        scaled["global"],
        scaled["shifted_global"],
        scaled["local"],
        scaled["half_phase"],
        scaled["odd_even"],
        {name: float(np.isfinite(view).mean()) for name, view in raw.items()},
    )


def medians(
    name: str, phase: NDArray[np.float64], flux: NDArray[np.float64], half: float, bins: int
) -> NDArray[np.float64]:
    """Median in equally wide bins of phase from -half to half; NaN where a bin has no point."""
    inside = np.abs(phase) <= half
    if not inside.any():
        raise LightCurveError(
            f"the {name} view has no point within {half:.3g} of a period; the light curve does not cover "
            "this part"
        )
    cell = np.minimum(((phase[inside] + half) / (2 * half) * bins).astype(np.int64), bins - 1)
    order = np.argsort(cell, kind="stable")
    edges = np.searchsorted(cell[order], np.arange(bins + 1))
    values = flux[inside][order]
    result = np.full(bins, np.nan)
    for k in np.flatnonzero(np.diff(edges)):
        result[k] = np.median(values[edges[k] : edges[k + 1]])
    return result


def whole(name: str, view: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate empty bins; in a view of two dips each is filled from its own."""
    parts = view.reshape(2, -1) if name in ("half_phase", "odd_even") else view[None]
    filled = []
    for part in parts:
        known = np.flatnonzero(np.isfinite(part))
        filled.append(np.interp(np.arange(part.size), known, part[known]))
    return np.concatenate(filled)


def scale(name: str, view: NDArray[np.float64]) -> NDArray[np.float32]:
    """Bring the level to 1 and the lowest bin to -1."""
    lowest = abs(float(view.min()) - 1.0)
    if lowest == 0:
        raise LightCurveError(f"the {name} view is constant at 1; there is no dip to look at")
    return np.asarray(2.0 * (view - 1.0) / lowest + 1.0, dtype=np.float32)
