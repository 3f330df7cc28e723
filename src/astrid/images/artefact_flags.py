"""What may be wrong with a candidate, in words: masked pixels, edges, shapes, bright neighbours.

A flag is a reason to look twice, not a verdict; nothing is dropped.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.spatial import cKDTree

from astrid.images.frame import Flag
from astrid.images.shapes import Shapes
from astrid.images.sources import Sources, stars_of

__all__ = ["FLAGS", "edge_distance", "flags_of", "masked_fraction"]

FLAGS: dict[str, str] = {
    "edge": "within 2.5 FWHM of an edge or of pixels without data",
    "masked": "more than a tenth of the pixels within one FWHM are flagged",
    "saturated": "a saturated pixel lies within 2 FWHM",
    "bright_star": "in the halo of a saturated star, or in the wings of one a hundred times as bright",
    "spike": "elongated along a row, a column or a ray of a saturated star",
    "cosmic_ray": "sharper than any point source can be",
    "star_residual": "on a star, and not shaped like a point source or too small a part of the star",
    "dipole": "an opposite lobe beside it, as a misplaced star leaves",
    "shape": "not shaped like a point source: a track, a blend, an extended change",
    "cluster": "one of five or more linked changes: a trail, a bad column, a ghost",
    "elongated": "a line, not a point: a trail, a moving object or a blend",
}

_NO_DATA = np.uint16(Flag.NO_DATA | Flag.EDGE)
_MASKED = 0.1
_SHARP = 0.3
_DIPOLE = 0.5
_ELONGATED = 1.45
# A change on a star of less than this share of its flux is what an imperfect PSF leaves,
# and so is, in its wings, one of less than that share.
_SHARE, _UNKNOWN_SHARE, _WING_SHARE = 0.05, 0.5, 0.01
_WINGS = 4.0  # FWHM
_MISFIT, _WIDTH = 0.1, 0.25
_LINK, _LINKED = 6.0, 5  # FWHM, members
_SPIKE_REACH = 25.0  # FWHM


def masked_fraction(
    mask: NDArray[np.uint16], row: NDArray[np.int64], column: NDArray[np.int64], fwhm: float
) -> NDArray[np.float64]:
    """Fraction of flagged pixels within one FWHM; pixels beyond the image count as flagged.

    Parameters
    ----------
    mask : (ny, nx) uint16 ndarray
    row, column : (n,) int64 ndarray
    fwhm : float, px

    Returns
    -------
    fraction : (n,) float64 ndarray
    """
    half = max(1, round(fwhm))
    offset = np.arange(-half, half + 1)
    disc = offset[:, None] ** 2 + offset[None, :] ** 2 <= max(fwhm, 1.0) ** 2
    rows, columns = row[:, None, None] + offset[None, :, None], column[:, None, None] + offset[None, None, :]
    inside = (rows >= 0) & (rows < mask.shape[0]) & (columns >= 0) & (columns < mask.shape[1])
    flagged = mask[np.clip(rows, 0, mask.shape[0] - 1), np.clip(columns, 0, mask.shape[1] - 1)] != 0
    return np.asarray(((flagged | ~inside) & disc).sum(axis=(1, 2)) / disc.sum())


def edge_distance(
    mask: NDArray[np.uint16], x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Distance to the nearest border of the image or pixel without data.

    Parameters
    ----------
    mask : (ny, nx) uint16 ndarray
    x, y : (n,) float64 ndarray, px

    Returns
    -------
    distance : (n,) float64 ndarray, px
        0 on such a pixel.
    """
    ny, nx = mask.shape
    distance = np.minimum.reduce([x + 0.5, nx - 0.5 - x, y + 0.5, ny - 0.5 - y])
    empty = mask & _NO_DATA != 0
    # Only rims matter: a pixel within a hole is never the nearest one from outside.
    rim = empty.copy()
    rim[1:-1, 1:-1] &= ~(empty[:-2, 1:-1] & empty[2:, 1:-1] & empty[1:-1, :-2] & empty[1:-1, 2:])
    rows, columns = np.nonzero(rim)
    if len(rows) and len(x):
        to_rim, _ = cKDTree(np.column_stack([columns, rows])).query(np.column_stack([x, y]))
        on_hole = empty[
            np.clip(np.rint(y).astype(int), 0, ny - 1), np.clip(np.rint(x).astype(int), 0, nx - 1)
        ]
        distance = np.minimum(distance, np.where(on_hole, 0, np.maximum(to_rim - 0.5, 0)))
    return np.maximum(distance, 0)


def flags_of(
    shape: Shapes,
    snr: NDArray[np.float64],
    masked: NDArray[np.float64],
    edge: NDArray[np.float64],
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    sources: Sources,
    flux_ratio: float,
    mask: NDArray[np.uint16],
    fwhm: float,
    *,
    residuals_known: bool = True,
) -> NDArray[np.str_]:
    """Name what may be wrong with each candidate.

    Parameters
    ----------
    shape : Shapes
    snr, masked, edge, x, y, flux : (n,) float64 ndarray
        Significance, masked fraction, edge distance (px), position (px) and flux (science ADU).
    sources : Sources
        Static sources, on the same grid.
    flux_ratio : float
        Their flux over that in the science frame.
    mask : (ny, nx) uint16 ndarray
    fwhm : float, px
    residuals_known : bool
        Whether stars enough told what a static star leaves behind; if not, only a change of
        half a star's flux is beyond doubt.

    Returns
    -------
    flags : (n,) str ndarray
        Names of `FLAGS`, comma-separated; empty when clean.
    """
    strength = np.abs(snr)
    elongated = (shape.elongation > _ELONGATED) & (strength > 12)
    distance, halo, direction = _saturated_stars(mask, x, y, fwhm)
    # The major axis points at the star, or lies along its rows or columns.
    along = np.abs(np.cos(shape.angle - direction)) > 0.95
    on_star, in_wings = _static_stars(x, y, flux, sources, flux_ratio, fwhm)
    # Off the sharpness of a point source by more than pixel noise can do.
    odd = np.abs(shape.sharpness - 1) > np.maximum(0.25, 4 * shape.sharpness_err)
    found = {
        "edge": edge < 2.5 * fwhm,
        "masked": masked > _MASKED,
        "saturated": distance < 2 * fwhm,
        "bright_star": (distance < halo) | in_wings,
        "spike": elongated & along & (distance < _SPIKE_REACH * fwhm),
        "cosmic_ray": shape.sharpness - 1 > np.maximum(_SHARP, 3.5 * shape.sharpness_err),
        "star_residual": (on_star < (_SHARE if residuals_known else _UNKNOWN_SHARE))
        | np.isfinite(on_star) & (odd | (shape.dipole > _DIPOLE / 2) & (shape.depth > 2)),
        "dipole": (shape.dipole > _DIPOLE) & (shape.depth > 3.5),
        "shape": (shape.misfit > _MISFIT + 4 * shape.misfit_err) | (np.abs(shape.fwhm / fwhm - 1) > _WIDTH),
        "cluster": _clustered(x, y, np.sign(snr), _LINK * fwhm),
        "elongated": elongated,
    }
    assert found.keys() == FLAGS.keys()
    rows = np.array(list(found.values())).T
    names = np.array(list(found))
    return np.array([",".join(names[row]) for row in rows.reshape(-1, len(names))], dtype=str)


def _static_stars(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    flux: NDArray[np.float64],
    sources: Sources,
    flux_ratio: float,
    fwhm: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Share of the star's flux for changes on a star (NaN elsewhere), and changes lost in a star's wings."""
    on_star, in_wings = np.full(len(x), np.nan), np.zeros(len(x), bool)
    if not len(sources) or not len(x):
        return on_star, in_wings
    star = stars_of(sources, snr=10)
    near = cKDTree(np.column_stack([sources.x, sources.y])).query_ball_point(
        np.column_stack([x, y]), _WINGS * fwhm
    )
    for index, found in enumerate(near):
        other = np.asarray(found, int)
        if not len(other):
            continue
        distance = np.hypot(sources.x[other] - x[index], sources.y[other] - y[index])
        share = np.abs(flux[index]) * flux_ratio / sources.flux[other]
        in_wings[index] = bool((share < _WING_SHARE).any())
        beneath = star[other] & (distance < 0.8 * fwhm)
        if beneath.any():
            on_star[index] = share[beneath].min()
    return on_star, in_wings


def _clustered(
    x: NDArray[np.float64], y: NDArray[np.float64], sign: NDArray[np.float64], link: float
) -> NDArray[np.bool_]:
    """Candidates that hang together with at least four others of their sign, friends of friends."""
    clustered = np.zeros(len(x), bool)
    for wanted in (-1, 1):
        chosen = np.flatnonzero(sign == wanted)
        if len(chosen) < _LINKED:
            continue
        tree = cKDTree(np.column_stack([x[chosen], y[chosen]]))
        pairs = tree.query_pairs(link, output_type="ndarray")
        graph = sparse.coo_array((np.ones(len(pairs)), pairs.T), shape=(len(chosen), len(chosen)))
        _, group = sparse.csgraph.connected_components(graph, directed=False)
        clustered[chosen] = np.bincount(group)[group] >= _LINKED
    return clustered


def _saturated_stars(
    mask: NDArray[np.uint16], x: NDArray[np.float64], y: NDArray[np.float64], fwhm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Distance to the nearest saturated pixel, reach of its star's halo, direction to the star."""
    nothing = np.full(len(x), np.inf)
    rows, columns = np.nonzero(mask & np.uint16(Flag.SATURATED))
    if not len(rows) or not len(x):
        return nothing, np.zeros(len(x)), np.zeros(len(x))
    labels, count = ndimage.label(mask & np.uint16(Flag.SATURATED) != 0, structure=np.ones((3, 3)))
    index = np.arange(1, count + 1)
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    centres = np.asarray(ndimage.center_of_mass(labels > 0, labels, index)).reshape(-1, 2)
    # The wings of a star that saturates n pixels rise above the sky out to about this far.
    reach = 2 * fwhm + 2.5 * np.sqrt(area / np.pi)
    distance, nearest = cKDTree(np.column_stack([columns, rows])).query(np.column_stack([x, y]))
    star = labels[rows[nearest], columns[nearest]] - 1
    direction = np.arctan2(y - centres[star, 0], x - centres[star, 1])
    return distance, reach[star], direction
