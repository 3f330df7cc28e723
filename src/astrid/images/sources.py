"""The sources of one image: positions, fluxes and shapes, and which of them are stars.

Detection and the C measurements are those of ``sep``; this module chooses what to
measure and which sources may be trusted. Transients are found in `detection`, not here.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import sep
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame

__all__ = ["Sources", "find_sources", "stars_of"]

_CORE = 1  # half side, px, of the box in which a mask bit counts as "in the core"


@dataclass(frozen=True, eq=False)
class Sources:
    """Sources of one image, brightest first; every column has shape (n,).

    Parameters
    ----------
    x, y : float64, px
        Windowed centroid, 0-based.
    flux : float64, ADU
        Isophotal.
    snr : float64
    fwhm : float64, px
        Twice the half-light radius, which is the FWHM of a Gaussian.
    elongation : float64
        Ratio of the axes, 1 or more.
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
    peak: NDArray[np.float64]
    flags: NDArray[np.uint16]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: NDArray[np.bool_] | NDArray[np.integer] | slice) -> Sources:
        return Sources(*(getattr(self, column.name)[index] for column in fields(self)))


def find_sources(frame: Frame, *, threshold: float = 5.0) -> Sources:
    """Find the sources of a frame.

    Parameters
    ----------
    frame : Frame
        Background-subtracted, with its variance.
    threshold : float
        Detection threshold in units of the noise after smoothing by sep's kernel.

    Returns
    -------
    sources : Sources

    Raises
    ------
    FrameError
        The frame has no variance, or is too crowded to be taken apart.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393; Barbary 2016, JOSS 1, 58.
    """
    if frame.variance is None:
        raise FrameError(f"{frame.name}: measure_noise comes before find_sources; the frame has no variance")
    # Saturated cores stay in: a bright star is a source, and what lies near it must be known.
    hidden = (frame.mask & ~np.uint16(Flag.SATURATED)) != 0
    noise = np.sqrt(np.where(frame.variance > 0, frame.variance, np.inf)).astype(np.float32)
    noise[~np.isfinite(noise)] = np.float32(1e30)
    # 2.5 sigma for each of 5 connected, smoothed pixels is about 5 sigma for the source.
    try:
        table = sep.extract(
            frame.data, threshold / 2, err=noise, mask=hidden, minarea=5, filter_type="matched", clean=True
        )
    except Exception as error:  # sep raises a bare Exception when its buffers overflow
        raise FrameError(
            f"{frame.name}: sources cannot be taken apart ({error}); check that the sky is flat"
        ) from error
    x, y = np.asarray(table["x"], float), np.asarray(table["y"], float)
    radius, _ = sep.flux_radius(frame.data, x, y, 6 * np.maximum(table["a"], 1.0), 0.5, mask=hidden, subpix=5)
    fwhm = 2 * np.asarray(radius, float)
    typical = float(np.median(fwhm[fwhm > 0])) if (fwhm > 0).any() else 2.0
    xw, yw, trouble = sep.winpos(frame.data, x, y, np.full(len(x), typical / 2.3548), mask=hidden)
    moved = (trouble == 0) & np.isfinite(xw) & np.isfinite(yw) & (np.hypot(xw - x, yw - y) < typical)
    x, y = np.where(moved, xw, x), np.where(moved, yw, y)
    row = np.clip(np.rint(y).astype(int), 0, frame.shape[0] - 1)
    column = np.clip(np.rint(x).astype(int), 0, frame.shape[1] - 1)
    flux = np.asarray(table["flux"], float)
    area = np.maximum(np.asarray(table["npix"], float), 1.0)
    snr = flux / np.sqrt(area * frame.variance[row, column].clip(1e-30))
    flags = np.zeros(len(x), np.uint16)
    for dy in range(-_CORE, _CORE + 1):
        for dx in range(-_CORE, _CORE + 1):
            rows = np.clip(row + dy, 0, frame.shape[0] - 1)
            flags |= frame.mask[rows, np.clip(column + dx, 0, frame.shape[1] - 1)]
    near_edge = (
        (x < typical) | (y < typical) | (x > frame.shape[1] - 1 - typical) | (y > frame.shape[0] - 1 - typical)
    )
    flags |= np.where(near_edge, np.uint16(Flag.EDGE), np.uint16(0))
    kept = flux > 0
    elongation = np.asarray(table["a"] / np.maximum(table["b"], 1e-6), float)
    sources = Sources(x, y, flux, snr, fwhm, elongation, np.asarray(table["peak"], float), flags)[kept]
    return sources[np.argsort(-sources.flux, kind="stable")]


def stars_of(sources: Sources, *, snr: float = 20.0) -> NDArray[np.bool_]:
    """Choose the sources that look like unsaturated single stars.

    The stellar locus is the densest place in half-light diameter among bright
    sources; stars lie within 20 % of it and are no more than 1.4 times as
    elongated as it is typical.

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
    sizes = np.sort(sources.fwhm[clean])
    # Half-sample mode: the shortest interval that holds half of the sizes, again and again.
    while len(sizes) > 4:
        half = (len(sizes) + 1) // 2
        widths = sizes[half - 1 :] - sizes[: len(sizes) - half + 1]
        start = int(np.argmin(widths))
        sizes = sizes[start : start + half]
    locus = float(np.median(sizes))
    shape = float(np.median(sources.elongation[clean]))
    return (
        clean
        & (np.abs(sources.fwhm - locus) < 0.2 * locus)
        & (sources.elongation < 1.4 * max(shape, 1.0))
    )


def crowding(sources: Sources, radius: float) -> NDArray[np.float64]:
    """Flux of the brightest neighbour within `radius`, relative to each source's own.

    Parameters
    ----------
    sources : Sources
    radius : float, px

    Returns
    -------
    ratio : (n,) float64 ndarray
        0 for an isolated source.
    """
    ratio = np.zeros(len(sources))
    pairs = cKDTree(np.column_stack([sources.x, sources.y])).query_pairs(radius, output_type="ndarray")
    for one, other in ((0, 1), (1, 0)):
        np.maximum.at(ratio, pairs[:, one], sources.flux[pairs[:, other]] / sources.flux[pairs[:, one]])
    return ratio
