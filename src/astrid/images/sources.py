"""The sources of one image: positions, fluxes and shapes, and which of them are stars.

Peaks stand out against their surroundings, not against the sky, so that crowded fields
and the wings of bright stars work alike. Transients are found in `detection`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import sep
from numpy.typing import NDArray
from scipy import ndimage

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame
from astrid.images.peaks import local_maxima

__all__ = ["Sources", "find_sources", "stars_of"]

_FWHM_TO_SIGMA = 2.3548
_FIRST_SIGMA = 1.3  # px, of the smoothing before the width of the stars is known
_WIDER = 1.6  # width of the surroundings in units of the smoothing
_MOST_SOURCES = 20_000
_CORE_LEVEL = 0.45  # of the peak: pixels above it tell the width


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources of one image, brightest first; every column has shape (n,).

    Parameters
    ----------
    x, y : float64, px
        Windowed centroid, 0-based.
    flux : float64, ADU
        Within a circle of one FWHM in radius.
    snr : float64
    fwhm : float64, px
        Of the Gaussian that fits the core, geometric mean of the axes.
    elongation : float64
        Ratio of the axes, 1 or more.
    spread : float64
        Flux within two FWHM in radius over flux within one: large for galaxies and blends.
    peak : float64, ADU
        Highest pixel.
    flags : uint16
        Bits of `Flag` within the core.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    snr: NDArray[np.float64]
    fwhm: NDArray[np.float64]
    elongation: NDArray[np.float64]
    spread: NDArray[np.float64]
    peak: NDArray[np.float64]
    flags: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.integer] | slice) -> Sources:
        return Sources(*(getattr(self, column.name)[index] for column in fields(self)))


def find_sources(frame: Frame, *, threshold: float = 5.0) -> Sources:
    """Find the sources of a frame.

    A source is a peak of the image smoothed to the width of its stars, less its
    surroundings, in units of the noise of that difference.

    Parameters
    ----------
    frame : Frame
        Background-subtracted, with its variance.
    threshold : float

    Returns
    -------
    sources : Sources

    Raises
    ------
    FrameError
        The frame has no variance.

    References
    ----------
    Stetson 1987, PASP 99, 191 (a kernel without a mean); windowed centroids by ``sep``,
    Bertin & Arnouts 1996, A&AS 117, 393, Barbary 2016, JOSS 1, 58.
    """
    if frame.variance is None:
        raise FrameError(f"{frame.name}: measure_noise comes before find_sources; the frame has no variance")
    sources = _find(frame, threshold, _FIRST_SIGMA)
    stars = sources[(sources.flags == 0) & (sources.snr > 2 * threshold)][:300]
    if len(stars) >= 3:
        sigma = float(np.clip(np.percentile(stars.fwhm, 40) / _FWHM_TO_SIGMA, 0.8, 6.0))
        if not 1 / 1.42 < sigma / _FIRST_SIGMA < 1.42:
            sources = _find(frame, threshold, sigma)
    return sources


def _find(frame: Frame, threshold: float, sigma: float) -> Sources:
    """Find sources whose stars have about the width `sigma`, px."""
    assert frame.variance is not None
    # Saturated cores stay in: a bright star is a source, and what lies near it must be known.
    hidden = (frame.mask & ~np.uint16(Flag.SATURATED)) != 0
    data = np.where(hidden, np.float32(0), frame.data) if hidden.any() else frame.data
    narrow = ndimage.gaussian_filter(data, sigma, truncate=3, mode="nearest")
    contrast = narrow - ndimage.gaussian_filter(narrow, sigma * _WIDER, truncate=2.5, mode="nearest")
    least = threshold * _noise_gain(sigma, frame.noise_correlation)
    quietest = float(frame.variance.min())
    row, column = local_maxima(contrast, contrast > least * np.sqrt(max(quietest, 0)), max(1, round(sigma)))
    real = contrast[row, column] > least * np.sqrt(frame.variance[row, column])
    real &= (narrow[row, column] > 0) & ~hidden[row, column]
    row, column = row[real], column[real]
    strongest = np.argsort(-contrast[row, column], kind="stable")[:_MOST_SOURCES]
    row, column = row[strongest], column[strongest]
    fwhm, elongation, x, y = _cores(narrow, contrast, row, column, sigma)
    fwhm = np.sqrt(np.maximum(fwhm**2 - (_FWHM_TO_SIGMA * sigma) ** 2, 0.25))
    typical = float(np.median(fwhm)) if len(fwhm) else 2.0
    xw, yw, trouble = sep.winpos(data, x, y, np.full(len(x), max(typical, 1.5) / _FWHM_TO_SIGMA))
    moved = (trouble == 0) & np.isfinite(xw) & np.isfinite(yw) & (np.hypot(xw - x, yw - y) < 0.5 * typical)
    x, y = np.where(moved, xw, x), np.where(moved, yw, y)
    radius = max(typical, 1.5)
    noise = np.sqrt(np.maximum(frame.variance[row, column], 1e-30)).astype(float)
    flux, _, _ = sep.sum_circle(data, x, y, radius, subpix=5)
    wide, _, _ = sep.sum_circle(data, x, y, 2 * radius, subpix=1)
    spread = wide / np.maximum(flux, 1e-30)
    snr = flux / (noise * np.sqrt(np.pi) * radius)
    flags = _core_flags(frame.mask, row, column)
    near_edge = (
        (x < radius) | (y < radius) | (x > frame.shape[1] - 1 - radius) | (y > frame.shape[0] - 1 - radius)
    )
    flags |= np.where(near_edge, np.uint16(Flag.EDGE), np.uint16(0))
    sources = Sources(x, y, flux, snr, fwhm, elongation, spread, frame.data[row, column].astype(float), flags)
    sources = sources[flux > 0]
    return sources[np.argsort(-sources.flux, kind="stable")]


def _noise_gain(sigma: float, correlation: NDArray[np.float32] | None) -> float:
    """Noise of the contrast image over the noise of a pixel."""
    lag = 0 if correlation is None else correlation.shape[0] // 2
    half = int(np.ceil(3 * sigma) + np.ceil(2.5 * _WIDER * sigma)) + lag
    point = np.zeros((2 * half + 1, 2 * half + 1))
    point[half, half] = 1
    narrow = ndimage.gaussian_filter(point, sigma, truncate=3)
    kernel = narrow - ndimage.gaussian_filter(narrow, sigma * _WIDER, truncate=2.5)
    seen = (
        kernel
        if correlation is None
        else ndimage.convolve(kernel, correlation.astype(float), mode="constant")
    )
    return float(np.sqrt(max((kernel * seen).sum(), 0.01 * (kernel**2).sum())))


def _cores(
    smooth: NDArray[np.float32],
    contrast: NDArray[np.float32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    sigma: float,
) -> tuple[NDArray[np.float64], ...]:
    """FWHM, elongation and centre of the Gaussian through the upper part of each smoothed peak."""
    half = max(2, int(np.ceil(1.6 * sigma)))
    offset = np.arange(-half, half + 1)
    v, u = (plane.ravel().astype(float) for plane in np.meshgrid(offset, offset, indexing="ij"))
    rows = np.clip(row[:, None] + v.astype(int), 0, smooth.shape[0] - 1)
    columns = np.clip(column[:, None] + u.astype(int), 0, smooth.shape[1] - 1)
    # What the peak stands on (neighbours, a galaxy) is taken off before the logarithm.
    pedestal = np.maximum(smooth[row, column] - 2.2 * contrast[row, column], 0)[:, None]
    value = smooth[rows, columns].astype(float) - pedestal
    value /= np.maximum(value[:, len(u) // 2], 1e-30)[:, None]
    inside = (value > _CORE_LEVEL) & (u**2 + v**2 <= (1.6 * sigma + 0.5) ** 2)
    weight = np.where(inside, value**2, 0)
    design = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    normal = np.einsum("np,pi,pj->nij", weight, design, design, optimize=True)
    right = np.einsum("np,pi->ni", weight * np.log(np.maximum(value, 1e-3)), design)
    normal += 1e-6 * np.eye(6)
    _, bx, by, xx, xy, yy = np.linalg.solve(normal, right[..., None])[..., 0].T
    # log I = -(a u^2 + 2 b u v + c v^2) / 2: the eigenvalues of this form are 1 / sigma^2.
    a, b, c = -2 * xx, -xy, -2 * yy
    mean, root = (a + c) / 2, np.hypot((a - c) / 2, b)
    large, small = np.maximum(mean + root, 1e-6), np.maximum(mean - root, 1e-3)
    determinant = np.maximum(a * c - b * b, 1e-9)
    dx, dy = (c * bx - b * by) / determinant, (a * by - b * bx) / determinant
    far = np.hypot(dx, dy) > 1.5
    x, y = column + np.where(far, 0, dx), row + np.where(far, 0, dy)
    fwhm = _FWHM_TO_SIGMA / np.sqrt(np.sqrt(large * small))
    return fwhm, np.sqrt(large / small), np.asarray(x, float), np.asarray(y, float)


def _core_flags(
    mask: NDArray[np.uint16], row: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.uint16]:
    """Bits set anywhere in the 3 x 3 pixels about each peak."""
    flags = np.zeros(len(row), np.uint16)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            rows = np.clip(row + dy, 0, mask.shape[0] - 1)
            flags |= mask[rows, np.clip(column + dx, 0, mask.shape[1] - 1)]
    return flags


def stars_of(sources: Sources, *, snr: float = 20.0) -> NDArray[np.bool_]:
    """Choose the sources that look like unsaturated single stars.

    The stellar locus is the densest place in width among bright sources; stars lie within
    20 % of it, are no more than 1.4 times as elongated as is typical and have no more
    light around them than most.

    Parameters
    ----------
    sources : Sources
    snr : float
        Lowest signal-to-noise ratio.

    Returns
    -------
    chosen : (n,) bool ndarray
    """
    clean = (sources.flags == 0) & (sources.snr > snr) & (sources.fwhm > 1.0)
    if clean.sum() < 3:
        return clean
    locus, shape = _mode(sources.fwhm[clean]), float(np.median(sources.elongation[clean]))
    round_ = (np.abs(sources.fwhm - locus) < 0.2 * locus) & (sources.elongation < 1.4 * max(shape, 1.0))
    stars = clean & round_
    if stars.sum() < 3:
        return stars
    # A bright galaxy has a core as narrow as a star's, but not as little around it.
    compact = _mode(sources.spread[stars])
    return stars & (sources.spread < 1.3 * compact)


def _mode(values: NDArray[np.float64]) -> float:
    """Half-sample mode: the shortest interval that holds half of the values, again and again."""
    values = np.sort(values)
    while len(values) > 4:
        half = (len(values) + 1) // 2
        widths = values[half - 1 :] - values[: len(values) - half + 1]
        start = int(np.argmin(widths))
        values = values[start : start + half]
    return float(np.median(values))
