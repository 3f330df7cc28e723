"""Which star of one image is which star of another, with a good guess or with none.

Works on positions alone and returns pairs and a linear transformation; the fine
fit of distortions and the choice between WCS and stars are in `alignment`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import binom

from astrid.errors import AlignmentError
from astrid.images.sources import Sources

__all__ = ["StarMatch", "match_sources", "match_stars"]

FloatArray = NDArray[np.float64]
IndexArray = NDArray[np.intp]

FEWEST_STARS = 6
# Sizes of the brightest samples whose triangles are compared, tried in this order.
SAMPLES = (12, 24, 40)
VERIFIED = 200
LARGEST_SCALE = 1.6
# Neighbours and largest distance in the plane of triangle shapes.
NEIGHBOURS, SHAPE_TOLERANCE = 5, 0.015
# Two triangles vote for one transformation if it moves the corners to the same cell, px.
CELL = 12.0
CELLS_VERIFIED = 12
# Logarithm of the chance that no relation between two images is taken for one.
LOG_CHANCE, LOG_TRIALS = np.log(1e-4), np.log(1e5)


@dataclass(frozen=True, eq=False)
class StarMatch:
    """Stars that two images have in common.

    Parameters
    ----------
    matrix : (2, 3) float64 ndarray
        Science to reference: ``reference = matrix @ (x, y, 1)``, px.
    science, reference : (n,) intp ndarray
        Indices of the pairs.
    log10_chance : float
        Logarithm of the probability of as many pairs without any relation.
    """

    matrix: FloatArray
    science: IndexArray
    reference: IndexArray
    log10_chance: float


def match_sources(
    x1: FloatArray, y1: FloatArray, x2: FloatArray, y2: FloatArray, radius: float
) -> tuple[IndexArray, IndexArray]:
    """Pair positions that are each other's nearest neighbour.

    Parameters
    ----------
    x1, y1 : (n,) float64 ndarray, px
    x2, y2 : (m,) float64 ndarray, px
    radius : float, px
        Largest distance of a pair.

    Returns
    -------
    first, second : (k,) intp ndarray
        Indices of the pairs, in the order of the first list.
    """
    none = np.empty(0, np.intp)
    if len(x1) == 0 or len(x2) == 0:
        return none, none
    one, two = np.column_stack([x1, y1]), np.column_stack([x2, y2])
    distance, nearest = cKDTree(two).query(one, distance_upper_bound=radius)
    first = np.flatnonzero(np.isfinite(distance))
    if first.size == 0:
        return none, none
    second = nearest[first]
    _, back = cKDTree(one).query(two[second])
    mutual = back == first
    return first[mutual], np.asarray(second[mutual], np.intp)


def match_stars(science: Sources, reference: Sources) -> StarMatch:
    """Find the transformation between two images from the patterns that their stars form.

    Triangles among the brightest stars of each image are compared by their shape,
    which shift, rotation, reflection and scale leave alone. Each pair of like
    triangles votes for a transformation; the most voted ones are verified on the
    200 brightest stars, and the best is kept if chance does not explain it.

    Parameters
    ----------
    science, reference : Sources
        Brightest first. Positions need not be finer than about 1 px.

    Returns
    -------
    match : StarMatch
        With an affine matrix fitted to the pairs.

    Raises
    ------
    AlignmentError
        Fewer than 6 stars in one of them, or no pattern in common with a scale
        between 1/1.6 and 1.6.

    References
    ----------
    Valdes et al. 1995, PASP 107, 1119; Groth 1986, AJ 91, 1244.
    """
    if min(len(science), len(reference)) < FEWEST_STARS:
        raise AlignmentError(
            f"the images have {len(science)} and {len(reference)} stars, expected at least {FEWEST_STARS} "
            "in each to align on star patterns; give images with a WCS or lower the detection threshold"
        )
    one = np.column_stack([science.x, science.y])
    two = np.column_stack([reference.x, reference.y])
    best: StarMatch | None = None
    for size in SAMPLES:
        for matrix in _voted(one[:size], two[:size]):
            match = _verified(matrix, one[:VERIFIED], two[:VERIFIED])
            if match is not None and (best is None or match.log10_chance < best.log10_chance):
                best = match
        if best is not None or size >= max(len(one), len(two)):
            break
    if best is None:
        raise AlignmentError(
            f"no star pattern is common to the {len(science)} and {len(reference)} stars of the images, "
            f"expected at least {FEWEST_STARS} stars in common at a similar scale; give images with a WCS "
            "or choose another reference"
        )
    return best


def _triangles(points: FloatArray) -> tuple[FloatArray, NDArray[np.intp]]:
    """Shapes of all triangles of some size, and their corners from shortest to longest opposite side."""
    corners = np.array(list(combinations(range(len(points)), 3)), np.intp)
    first, second, third = (points[corners[:, k]] for k in range(3))
    sides = np.stack(
        [np.hypot(*(a - b).T) for a, b in ((second, third), (first, third), (first, second))], axis=1
    )
    order = np.argsort(sides, axis=1)
    sides = np.take_along_axis(sides, order, axis=1)
    corners = np.take_along_axis(corners, order, axis=1)
    extent = np.hypot(*np.ptp(points, axis=0))
    # Small or thin triangles are at the mercy of the centroids.
    usable = (sides[:, 2] > 0.1 * extent) & (sides[:, 0] > 0.1 * sides[:, 2])
    sides = sides[usable]
    return sides[:, :2] / sides[:, 2:], corners[usable]


def _voted(one: FloatArray, two: FloatArray) -> list[FloatArray]:
    """Transformations that most pairs of like triangles agree on, (2, 3) each."""
    shapes_one, corners_one = _triangles(one)
    shapes_two, corners_two = _triangles(two)
    if len(shapes_one) == 0 or len(shapes_two) == 0:
        return []
    distance, found = cKDTree(shapes_two).query(
        shapes_one, k=NEIGHBOURS, distance_upper_bound=SHAPE_TOLERANCE
    )
    row, column = np.nonzero(np.isfinite(distance))
    a = one[corners_one[row]] @ np.array([1, 1j])
    b = two[corners_two[found[row, column]]] @ np.array([1, 1j])
    a_mean, b_mean = a.mean(1), b.mean(1)
    da, db = a - a_mean[:, None], b - b_mean[:, None]
    # Triangles of opposite orientation are mirror images: b = alpha conj(a) + beta.
    mirrored = (da[:, 0].conj() * da[:, 1]).imag * (db[:, 0].conj() * db[:, 1]).imag < 0
    da[mirrored], a_mean[mirrored] = da[mirrored].conj(), a_mean[mirrored].conj()
    alpha = (da.conj() * db).sum(1) / (np.abs(da) ** 2).sum(1)
    beta = b_mean - alpha * a_mean
    allowed = (np.abs(alpha) < LARGEST_SCALE) & (np.abs(alpha) > 1 / LARGEST_SCALE)
    alpha, beta, mirrored = alpha[allowed], beta[allowed], mirrored[allowed]
    if alpha.size == 0:
        return []
    low, high = (corner @ np.array([1, 1j]) for corner in (one.min(0), one.max(0)))
    moved = [alpha * np.where(mirrored, np.conj(corner), corner) + beta for corner in (low, high)]
    votes = np.stack([part for z in moved for part in (z.real, z.imag)] + [mirrored * CELL], axis=1)
    _, cell, count = np.unique(np.rint(votes / CELL), axis=0, return_inverse=True, return_counts=True)
    cell = cell.reshape(-1)
    matrices = []
    for winner in np.argsort(-count, kind="stable")[:CELLS_VERIFIED]:
        members = cell == winner
        al = complex(np.median(alpha[members].real), np.median(alpha[members].imag))
        be = complex(np.median(beta[members].real), np.median(beta[members].imag))
        sign = -1 if mirrored[members][0] else 1
        matrices.append(np.array([[al.real, -sign * al.imag, be.real], [al.imag, sign * al.real, be.imag]]))
    return matrices


def _verified(matrix: FloatArray, one: FloatArray, two: FloatArray) -> StarMatch | None:
    """Refine a transformation on all stars; None if chance explains the pairs."""
    low, high = two.min(0), two.max(0)
    area = float(np.prod(np.maximum(high - low, 1.0)))
    for radius in (6.0, 3.0, 2.0, 2.0):
        moved = one @ matrix[:, :2].T + matrix[:, 2]
        i, j = match_sources(moved[:, 0], moved[:, 1], two[:, 0], two[:, 1], radius)
        if len(i) < FEWEST_STARS:
            return None
        fitted = _affine(one[i], two[j])
        scales = np.linalg.svd(fitted[:, :2], compute_uv=False)
        if scales[0] > 1.1 * LARGEST_SCALE or scales[1] < 0.9 / LARGEST_SCALE:
            return None
        matrix = fitted
    moved = one @ matrix[:, :2].T + matrix[:, 2]
    i, j = match_sources(moved[:, 0], moved[:, 1], two[:, 0], two[:, 1], radius)
    inside = int(((moved > low - radius) & (moved < high + radius)).all(1).sum())
    single = 1 - np.exp(-len(two) * np.pi * radius**2 / area)
    # Three pairs only define the transformation and prove nothing.
    log_chance = max(float(binom.logsf(len(i) - 4, max(inside, len(i)), single)), -1e4) + LOG_TRIALS
    if len(i) < FEWEST_STARS or not log_chance < LOG_CHANCE:
        return None
    return StarMatch(matrix, i, j, log_chance / np.log(10))


def _affine(one: FloatArray, two: FloatArray) -> FloatArray:
    """Least-squares affine transformation, (2, 3), clipped once."""
    design = np.column_stack([one, np.ones(len(one))])
    solution = np.linalg.lstsq(design, two, rcond=None)[0]
    residual = np.hypot(*(two - design @ solution).T)
    kept = residual <= max(2.5 * float(np.median(residual)), 0.05)
    if FEWEST_STARS <= kept.sum() < len(one):
        solution = np.linalg.lstsq(design[kept], two[kept], rcond=None)[0]
    return np.asarray(solution.T)
