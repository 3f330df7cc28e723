"""Alignment: the reference brought onto the science grid, by WCS, by stars or by both.

Decides which mapping is right, refines it on matched stars and says how good it is;
the resampling itself is in `resampling`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.stats import poisson

from astrid.errors import AlignmentError
from astrid.images.distortion import fit_distortion
from astrid.images.frame import Flag, Frame
from astrid.images.mapping import Mapping
from astrid.images.matching import match_sources, match_stars
from astrid.images.resampling import resample
from astrid.images.sources import Sources, stars_of

__all__ = ["Alignment", "align"]

FloatArray = NDArray[np.float64]

logger = logging.getLogger(__name__)

SEARCH_RADIUS = 10.0  # px: how far a WCS may be off before star patterns take over
MOST_STARS = 2000
FEW_STARS = 30
FAINTEST_SNR, LARGEST_ELONGATION = 10.0, 2.0
FEWEST_PAIRS, FEW_PAIRS = 3, 10
# With so many stars in both images a WCS that brings few of them together is wrong.
MANY_STARS = 12
BEST_PART = 4  # the stated rms is that of the best-measured quarter of the stars
# px: a displacement below this is within the error of interpolating the mapping.
NEGLIGIBLE = 0.01


@dataclass(frozen=True, eq=False)
class Alignment:
    """A reference frame on the grid of a science frame.

    Parameters
    ----------
    frame : Frame
        The reference, with the science frame's shape and WCS.
    mapping : Mapping
        Science pixel to pixel of the original reference.
    rms_px : float, science px
        Robust rms per axis (1.48 times the median absolute value) of the distance between
        matched stars after alignment, each left out of the fit that predicts it, for the
        quarter of them with the best centroids (ten at least); NaN if none were matched.
    n_stars : int
        Stars that took part in the fit.
    method : str
        ``"wcs"``, ``"wcs+stars"`` or ``"stars"``.
    warnings : tuple of str
        One sentence each.
    """

    frame: Frame
    mapping: Mapping
    rms_px: float
    n_stars: int
    method: str
    warnings: tuple[str, ...] = ()


def align(
    reference: Frame, science: Frame, reference_sources: Sources, science_sources: Sources
) -> Alignment:
    """Bring a reference frame onto the pixel grid of a science frame.

    With a WCS in both, the mapping through the sky is refined on stars matched around
    it; without one, or if the stars contradict it, the mapping comes from star patterns
    (any shift, rotation or reflection, scale within a factor 1.6). The refinement is a
    polynomial of order 0 to 6 in the pixel coordinates: of the orders that the number of
    stars allows, the one that predicts left-out stars best. Frames that already share
    a grid, or differ by whole pixels only, are copied and not interpolated.

    Parameters
    ----------
    reference, science : Frame
    reference_sources, science_sources : Sources
        Found on these frames, brightest first.

    Returns
    -------
    alignment : Alignment

    Raises
    ------
    AlignmentError
        No overlap, pixel scales too different, or no WCS and too few stars in common.
    """
    pair = f"{reference.name} on {science.name}"
    warnings: list[str] = []
    by_wcs, trouble, fit = None, None, None
    if science.wcs is not None and reference.wcs is not None:
        try:
            by_wcs = Mapping.from_wcs(science.wcs, reference.wcs, science.shape, reference.shape)
        except AlignmentError as error:
            trouble = AlignmentError(f"{pair}: {error}")
        else:
            fit = _refine_on_best(by_wcs, science_sources, reference_sources, reference.shape)
    mapping, method = (by_wcs, "wcs") if fit is None else (fit.mapping, "wcs+stars")
    if mapping is None or (
        fit is None and _many(mapping, _usable(science_sources), _usable(reference_sources), reference.shape)
    ):
        try:
            fit = _on_patterns(science_sources, reference_sources, science.shape, reference.shape)
        except AlignmentError as error:
            if mapping is None:
                raise (trouble or AlignmentError(f"{pair}: {error}")) from error
        else:
            if trouble is not None or by_wcs is not None:
                warnings.append(f"{pair}: {_wcs_is_off(by_wcs, fit.mapping)}")
            mapping, method = fit.mapping, "stars"
    if fit is None:
        warnings.append(
            f"{pair}: {len(science_sources)} and {len(reference_sources)} sources have too few stars in "
            "common to refine the alignment, so it rests on the WCS alone"
        )
    overlap = mapping.overlap(reference.shape)
    if overlap < 0.2:
        warnings.append(f"{reference.name} covers only {overlap:.0%} of {science.name}")
    frame = resample(reference, mapping).with_(wcs=science.wcs)
    logger.debug("%s: aligned by %s, %s", pair, method, fit)
    return Alignment(
        frame,
        mapping,
        float("nan") if fit is None else fit.rms_px,
        0 if fit is None else fit.n_stars,
        method,
        tuple(warnings),
    )


@dataclass(frozen=True, eq=False)
class Refinement:
    """A mapping after a fit on stars; `order` is -1 if the stars asked for no change."""

    mapping: Mapping
    rms_px: float
    n_stars: int
    order: int


def refine(
    mapping: Mapping, science: Sources, reference: Sources, reference_shape: tuple[int, int]
) -> Refinement | None:
    """Correct a mapping by a polynomial fitted to the stars that it brings together.

    Parameters
    ----------
    mapping : Mapping
        Right to within 10 px.
    science, reference : Sources
        Stars with good centroids.
    reference_shape : (int, int)

    Returns
    -------
    refinement : Refinement or None
        None if the images have too few stars in common around this mapping.
    """
    x, y = mapping(science.x, science.y)
    ny, nx = (side + SEARCH_RADIUS for side in reference_shape)
    near = (x > -SEARCH_RADIUS) & (x < nx) & (y > -SEARCH_RADIUS) & (y < ny)
    science, x, y = science[near], x[near], y[near]
    offset = _common_offset(x, y, reference.x, reference.y)
    if offset is None:
        return None
    dx, dy = np.full(len(x), offset[0]), np.full(len(x), offset[1])
    radius = 3.0
    whole = mapping.integer_shift() is not None
    for largest_order in (1, 3, 6):
        i, j = match_sources(x + dx, y + dy, reference.x, reference.y, radius)
        if len(i) < FEWEST_PAIRS:
            return None
        sigma = np.hypot(_centroid_error(science[i]), _centroid_error(reference[j]))
        fit = fit_distortion(
            science.x[i],
            science.y[i],
            reference.x[j] - x[i],
            reference.y[j] - y[i],
            sigma,
            largest_order=largest_order,
            allow_none=whole,
        )
        dx, dy = fit(science.x, science.y)
        radius = float(np.clip(5 * fit.scatter, 1.0, 3.0))
    # Faint stars measure their own noise, not the alignment.
    best = sigma <= np.sort(sigma)[max(len(i) // BEST_PART, min(10, len(i))) - 1]
    rms = 1.4826 * float(np.median(np.abs(fit.left_out[best]))) / np.sqrt(mapping.jacobian())
    if whole and np.hypot(dx, dy).max() < NEGLIGIBLE:
        return Refinement(mapping, rms, len(i), -1)
    return Refinement(mapping.displaced(fit), rms, len(i), fit.order)


def _usable(sources: Sources) -> Sources:
    """Stars with good centroids, brightest first; where they are few, all clean sources."""
    chosen = stars_of(sources, snr=FAINTEST_SNR)
    if chosen.sum() < FEW_STARS:
        clean = (sources.flags == 0) & (sources.elongation < LARGEST_ELONGATION)
        chosen = clean & (sources.snr > FAINTEST_SNR)
    return sources[chosen][:MOST_STARS]


def _real(sources: Sources) -> Sources:
    """Sources that are not made by the detector; saturated stars are real."""
    return sources[(sources.flags & np.uint16(Flag.NO_DATA | Flag.COSMIC_RAY)) == 0][:MOST_STARS]


def _centroid_error(sources: Sources) -> FloatArray:
    """Error of a centroid per axis from photon noise, px: sigma of the profile over the S/N."""
    return np.asarray(sources.fwhm / 2.3548 / np.maximum(sources.snr, 1.0))


def _common_offset(x1: FloatArray, y1: FloatArray, x2: FloatArray, y2: FloatArray) -> FloatArray | None:
    """Offset (2,) that most pairs within the search radius share, or None if chance explains it."""
    if len(x1) == 0 or len(x2) == 0:
        return None
    one, two = np.column_stack([x1, y1]), np.column_stack([x2, y2])
    pairs = cKDTree(one).sparse_distance_matrix(cKDTree(two), SEARCH_RADIUS, output_type="ndarray")
    offsets = two[pairs["j"]] - one[pairs["i"]]
    if len(offsets) < FEWEST_PAIRS:
        return None
    radius = 1.0
    tree = cKDTree(offsets)
    count = tree.query_ball_point(offsets, radius, return_length=True)
    peak = int(np.argmax(count))
    expected = len(offsets) * (radius / SEARCH_RADIUS) ** 2
    # One of the pairs is the centre of the circle; every pair was tried as a centre.
    chance = float(poisson.sf(count[peak] - 2, expected)) * len(offsets)
    if count[peak] < FEWEST_PAIRS or chance > 1e-3:
        return None
    offset: FloatArray = offsets[tree.query_ball_point(offsets[peak], radius)].mean(axis=0)
    return offset


def _many(mapping: Mapping, science: Sources, reference: Sources, shape: tuple[int, int]) -> bool:
    """Whether both images have many stars in what the mapping calls their overlap."""
    x, y = mapping(science.x, science.y)
    in_science = (x > 0) & (x < shape[1]) & (y > 0) & (y < shape[0])
    x, y = mapping.inverse(reference.x, reference.y)
    in_reference = (x > 0) & (x < mapping.shape[1]) & (y > 0) & (y < mapping.shape[0])
    return bool(min(in_science.sum(), in_reference.sum()) >= MANY_STARS)


def _refine_on_best(
    mapping: Mapping, science: Sources, reference: Sources, reference_shape: tuple[int, int]
) -> Refinement | None:
    """Refine on good stars, or on all that is real if those are too few."""
    fit = refine(mapping, _usable(science), _usable(reference), reference_shape)
    if fit is None or fit.n_stars < FEW_PAIRS:
        again = refine(mapping, _real(science), _real(reference), reference_shape)
        if again is not None and (fit is None or again.n_stars >= 3 * fit.n_stars):
            fit = again
    return fit


def _on_patterns(
    science: Sources, reference: Sources, shape: tuple[int, int], reference_shape: tuple[int, int]
) -> Refinement:
    """Align on star patterns, then refine on all stars."""
    science, reference = _real(science), _real(reference)
    match = match_stars(science, reference)
    affine = Mapping.from_affine(match.matrix, shape)
    # A whole shift needs no interpolation; the refinement finds out whether it is enough.
    shift = np.rint(affine(shape[1] / 2, shape[0] / 2)) - np.rint([shape[1] / 2, shape[0] / 2])
    whole = Mapping.from_affine([[1, 0, shift[0]], [0, 1, shift[1]]], shape)
    near = np.abs(whole.nodes - affine.nodes).max() < 2
    fit = _refine_on_best(whole if near else affine, science, reference, reference_shape)
    if fit is not None and 2 * fit.n_stars > len(match.science):
        return fit
    x, y = affine(science.x[match.science], science.y[match.science])
    error = np.concatenate([reference.x[match.reference] - x, reference.y[match.reference] - y])
    rms = 1.4826 * float(np.median(np.abs(error))) / np.sqrt(affine.jacobian())
    return Refinement(affine, rms, len(match.science), 1)


def _wcs_is_off(by_wcs: Mapping | None, by_stars: Mapping) -> str:
    """What to say of a WCS that the stars contradict."""
    if by_wcs is None:
        return "the WCS put the images apart, but their stars agree; aligned on star patterns instead"
    ny, nx = by_stars.shape
    x, y = np.array([0, nx - 1, 0, nx - 1, nx / 2]), np.array([0, 0, ny - 1, ny - 1, ny / 2])
    off = np.hypot(*np.subtract(by_wcs(x, y), by_stars(x, y)))
    return f"the WCS is off by {off.min():.0f} to {off.max():.0f} px; aligned on star patterns instead"
