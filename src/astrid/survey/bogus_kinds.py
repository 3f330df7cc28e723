"""Why a bogus detection of a simulated pair is there: the nearest flaw, star or galaxy.

Labels for slices of a report; which detections are bogus is decided in `realbogus_data`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.images.frame import Flag

if TYPE_CHECKING:
    from astrid.images.differencing import DifferenceResult
    from astrid.images.simulation import SimulatedPair

__all__ = ["bogus_kinds"]

_SATURATED_REACH = 3.0  # FWHM from a saturated pixel
# FWHM from a source; galaxies are larger than stars, and bright stars have wings
_REACHES = {"galaxy": 2.5, "star": 1.5}
_WINGS, _BRIGHT = 4.0, 30.0  # reach of stars brighter than this many times the faintest
_EDGE_REACH = 1.5  # FWHM from the end of the data of either frame


def bogus_kinds(pair: SimulatedPair, result: DifferenceResult) -> list[str]:
    """The likely cause of each candidate, if it is bogus.

    Returns
    -------
    kinds : list of str
        A kind of the pair's artefacts (``cosmic ray``, ``hot pixel``, ``trail``, …) whose nearest
        point is closest in units of its reach; else ``saturation``, ``star``, ``galaxy``, ``noise``.
    """
    x, y = (np.asarray(result.candidates[name], float) for name in ("x", "y"))
    u, v = pair.mapping(x, y)
    fwhm = max(result.fwhm_science, result.fwhm_reference)
    kinds = np.full(len(x), "noise", dtype="<U12")
    bright = np.asarray(pair.sources["flux"], float) > _BRIGHT * pair.config.faintest_flux
    is_star = np.asarray(pair.sources["kind"]) == "star"
    for kind, reach, chosen in (
        ("star", _WINGS, is_star & bright),
        ("galaxy", _REACHES["galaxy"], ~is_star),
        ("star", _REACHES["star"], is_star),
    ):
        of_kind = pair.sources[chosen]
        distance = _nearest(x, y, np.asarray(of_kind["x"], float), np.asarray(of_kind["y"], float))
        kinds[distance <= reach * fwhm] = kind
    edge = np.ma.asarray(result.candidates["edge_distance"]).filled(np.inf)
    kinds[edge <= _EDGE_REACH * fwhm] = "edge"
    rows, columns = np.nonzero(result.mask & np.uint16(Flag.SATURATED))
    distance = _nearest(x, y, columns.astype(float), rows.astype(float))
    kinds[distance <= _SATURATED_REACH * fwhm] = "saturation"
    best = np.ones(len(x))
    for artefact in pair.artefacts:
        px, py = (x, y) if artefact["frame"] == "science" else (u, v)
        # how much wider than its recorded place the flaw is on the difference
        reach = fwhm + 1.5
        if artefact["kind"] in ("hole", "edge"):
            away = _rectangle(px, py, *(float(artefact[name]) for name in ("x", "y", "x2", "y2")))
            away = np.abs(away) if artefact["kind"] == "edge" else np.maximum(away, 0)
            reach += float(artefact["size"]) if artefact["kind"] == "edge" else 0.0
        else:
            away = _segment(px, py, *(float(artefact[name]) for name in ("x", "y", "x2", "y2")))
        if artefact["kind"] == "ghost":
            reach += float(artefact["size"]) / 2
        if artefact["kind"] == "trail":
            reach += float(artefact["size"])
        closer = away / reach < best
        kinds[closer] = str(artefact["kind"])
        best = np.where(closer, away / reach, best)
    return [str(kind) for kind in kinds]


def _nearest(
    x: NDArray[np.float64], y: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    if not len(x) or not len(u):
        return np.full(len(x), np.inf)
    distance, _ = cKDTree(np.column_stack([u, v])).query(np.column_stack([x, y]))
    return np.asarray(distance, float)


def _segment(
    x: NDArray[np.float64], y: NDArray[np.float64], x1: float, y1: float, x2: float, y2: float
) -> NDArray[np.float64]:
    """Distance to a line from one point to another; a point without an end is a line of no length."""
    if not (np.isfinite(x2) and np.isfinite(y2)):
        x2, y2 = x1, y1
    dx, dy = x2 - x1, y2 - y1
    length = dx**2 + dy**2
    along = np.clip(((x - x1) * dx + (y - y1) * dy) / length, 0, 1) if length else np.zeros(len(x))
    return np.hypot(x - x1 - along * dx, y - y1 - along * dy)


def _rectangle(
    x: NDArray[np.float64], y: NDArray[np.float64], x1: float, y1: float, x2: float, y2: float
) -> NDArray[np.float64]:
    """Distance to a rectangle's border; negative inside."""
    dx, dy = np.maximum(x1 - x, x - x2), np.maximum(y1 - y, y - y2)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    return np.where((dx <= 0) & (dy <= 0), np.maximum(dx, dy), outside)
