"""Resampling: the pixels of one frame on the grid of another, with mask and noise carried.

The interpolation conserves flux and says what it does to the noise; where each
pixel comes from is the business of `mapping`, and no background or flux scale is
changed here.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.signal import convolve

from astrid.errors import AlignmentError
from astrid.images.frame import Flag, Frame
from astrid.images.interpolation import ORDER, interpolate
from astrid.images.mapping import Mapping

__all__ = ["resample"]

FloatArray = NDArray[np.float64]

# Reach of the kernel and of the noise autocovariance, px: the pole of the quintic
# prefilter is -0.43, so what is cut off is below 1e-4 of the noise.
REACH = 12
# Steps per pixel in the table of shared weights, its harmonics over the sub-pixel
# phase (the fourth is below 1e-4), and positions to average over.
PHASES, HARMONICS, SAMPLES = 32, 3, 20_000
# Pixels whose value is not light from the sky and would ring through the spline.
BROKEN = np.uint16(Flag.NO_DATA | Flag.BAD | Flag.COSMIC_RAY)
OUTSIDE = np.uint16(Flag.EDGE | Flag.NO_DATA)


def resample(frame: Frame, mapping: Mapping) -> Frame:
    """Bring a frame onto the grid of a mapping's target.

    A quintic B-spline interpolates the pixels; values are multiplied by the
    source area under each target pixel, so that total flux is conserved.

    Parameters
    ----------
    frame : Frame
        The source (reference) image.
    mapping : Mapping
        Target pixel to source pixel.

    Returns
    -------
    frame : Frame
        Of the mapping's shape, without WCS and PSF. A target pixel carries the flags
        of the nearest source pixel and of its eight neighbours (the core of the
        kernel), `Flag.EDGE` where the core leaves the source, and
        ``Flag.EDGE | Flag.NO_DATA`` outside of it. `variance` is that of the source
        pixels, interpolated linearly, times the squared area factor D;
        `noise_correlation` is the autocovariance of the interpolation, averaged over
        the sub-pixel phases that occur and convolved with the source's own. So
        ``noise_correlation[mid, mid] * variance`` is the pixel variance, and the sum
        of `noise_correlation` is 1 / D: low frequencies keep their noise.

    Raises
    ------
    AlignmentError
        The mapping puts every pixel outside the source.

    Notes
    -----
    Largest error anywhere in a Moffat star (beta 2.5 and 4.5, the worse) moved by half a
    pixel in both axes, relative to its peak:

    =========  =======  =======  =======  =========  =========
    FWHM, px   order 1  order 3  order 5  Lanczos-3  Lanczos-4
    =========  =======  =======  =======  =========  =========
    2.0        0.179    0.016    0.0035   0.015      0.0070
    2.5        0.144    0.012    0.0018   0.010      0.0051
    3.0        0.115    0.0078   0.0013   0.0072     0.0048
    4.2        0.071    0.0028   0.0004   0.0055     0.0035
    =========  =======  =======  =======  =========  =========

    A shift by whole pixels is done by copying, without interpolation.

    References
    ----------
    Unser, Aldroubi & Eden 1993, IEEE Trans. Signal Processing 41, 821 and 834.
    """
    shift = mapping.integer_shift()
    if shift is not None:
        return _shifted(frame, mapping.shape, shift)
    data, variance = interpolate(mapping, _filled(frame), frame.variance)
    areas = mapping.areas()
    constant_area = np.float32(areas.mean()) if np.ptp(areas) < 1e-5 * areas.mean() else None
    mask = np.zeros(mapping.shape, np.uint16)
    grown = _grown(frame.mask) if frame.mask.any() else None
    for first in range(0, mapping.shape[0], mapping.step):
        rows = slice(first, min(first + mapping.step, mapping.shape[0]))
        factor = mapping.area_on_rows(rows.start, rows.stop) if constant_area is None else constant_area
        data[rows] *= factor
        if variance is not None:
            variance[rows] *= factor * factor
        at_border = not _inside(mapping, first, frame.shape)
        if grown is None and not at_border:
            continue
        x, y = mapping.on_rows(rows.start, rows.stop)
        if grown is not None:
            mask[rows] = _nearest(grown, x, y)
        if at_border:
            _flag_border(data[rows], mask[rows], x, y, frame.shape)
    if not (mask & Flag.NO_DATA == 0).any():
        raise _no_overlap(frame)
    return frame.with_(
        data=data,
        mask=mask,
        variance=variance,
        noise_correlation=resampled_correlation(mapping, frame.noise_correlation),
        wcs=None,
        psf=None,
    )


def resampled_correlation(mapping: Mapping, correlation: NDArray[np.float32] | None) -> NDArray[np.float32]:
    """Autocovariance of the noise after interpolation, for source noise of unit variance.

    Two target pixels a lag l apart share source pixels: for white noise their
    covariance is the sum over k of h(u - k) h(u + J l - k), where h is the
    interpolation kernel, u the source position of the first and J the linear part of
    the mapping. It separates into x and y at each lag, and is averaged over u.

    Parameters
    ----------
    mapping : Mapping
    correlation : (k, k) float32 ndarray, optional
        Autocovariance of the source's noise, k odd, zero lag in the middle; white if None.

    Returns
    -------
    correlation : (m, m) float32 ndarray, m odd
        Zero lag in the middle.
    """
    # Pixels that cover the image evenly without a beat with the pixels (Roberts' R2 sequence).
    index = np.arange(1, SAMPLES + 1)
    x, y = mapping(
        np.rint(index * 0.7548776662466927 % 1 * (mapping.shape[1] - 1)),
        np.rint(index * 0.5698402909980532 % 1 * (mapping.shape[0] - 1)),
    )
    matrix = mapping.matrix()
    lag = np.moveaxis(np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1], 0, -1)[..., ::-1] @ matrix.T
    # Over the phases the product is a short double Fourier series, whose mean is exact.
    harmonic = np.arange(-HARMONICS, HARMONICS + 1)[:, None]
    mean = np.exp(2j * np.pi * harmonic * x) @ np.exp(2j * np.pi * harmonic * y).T / SAMPLES
    along_x, along_y = (_shared_weight(lag[..., axis].ravel()) for axis in (0, 1))
    white = np.einsum("al,ab,bl->l", along_x, mean, along_y).real.reshape(lag.shape[:2])
    # Cut at REACH, the sum is a few 1e-3 off; low frequencies must keep their noise exactly.
    white *= 1 / (abs(np.linalg.det(matrix)) * white.sum())
    if correlation is None or correlation.size == 1:
        return white.astype(np.float32)
    given = np.asarray(correlation, np.float64)
    half = given.shape[0] // 2
    reach = int(np.ceil(half * np.linalg.norm(np.linalg.inv(matrix), 2)))
    lag = np.moveaxis(np.mgrid[-reach : reach + 1, -reach : reach + 1], 0, -1)[..., ::-1] @ matrix.T
    turned = ndimage.map_coordinates(given, [lag[..., 1] + half, lag[..., 0] + half], order=1)
    # Sampling at another pixel scale must not change the noise at low frequencies.
    turned *= given.sum() / turned.sum()
    return np.asarray(convolve(white, turned, method="direct"), np.float32)


def _shared_weight(lag: FloatArray) -> NDArray[np.complex128]:
    """Fourier coefficients in the phase u of sum over k of h(u - k) h(u + lag - k), (harmonics, lags)."""
    table = _shared_weight_table()
    place = [(lag + 2 * REACH) * PHASES]
    return np.array([ndimage.map_coordinates(row, place, order=3, mode="constant") for row in table])


@lru_cache(maxsize=1)
def _shared_weight_table() -> NDArray[np.complex128]:
    """`_shared_weight` for lags of -2 REACH to 2 REACH in steps of 1 / PHASES."""
    reach = 4 * REACH
    impulse = np.zeros(2 * reach + 1)
    impulse[reach] = 1
    cardinal = ndimage.spline_filter1d(impulse, ORDER, mode="mirror")
    fine = np.arange(2 * reach * PHASES + 1) / PHASES
    kernel = ndimage.map_coordinates(cardinal, fine[None], order=ORDER, prefilter=False, mode="mirror")
    pixel = (reach - np.arange(-REACH, REACH + 1)) * PHASES
    phase = np.arange(PHASES)
    lag = np.arange(-2 * REACH * PHASES, 2 * REACH * PHASES + 1)
    near = kernel[phase[:, None] + pixel]
    shared = np.stack([kernel[lag[:, None] + p + pixel] @ taps for p, taps in zip(phase, near, strict=True)])
    harmonic = np.arange(-HARMONICS, HARMONICS + 1)
    return np.asarray(np.exp(-2j * np.pi * np.outer(harmonic, phase) / PHASES) @ shared / PHASES)


def _shifted(frame: Frame, shape: tuple[int, int], shift: tuple[int, int]) -> Frame:
    """Copy the pixels of a frame by a whole shift; nothing is interpolated."""
    if shift == (0, 0) and shape == frame.shape:
        return frame.with_(wcs=None, psf=None)
    dx, dy = shift
    rows = slice(max(0, -dy), min(shape[0], frame.shape[0] - dy))
    columns = slice(max(0, -dx), min(shape[1], frame.shape[1] - dx))
    if rows.start >= rows.stop or columns.start >= columns.stop:
        raise _no_overlap(frame)
    target = (rows, columns)
    source = (slice(rows.start + dy, rows.stop + dy), slice(columns.start + dx, columns.stop + dx))
    data = np.zeros(shape, np.float32)
    data[target] = frame.data[source]
    mask = np.full(shape, OUTSIDE)
    mask[target] = frame.mask[source]
    variance = None
    if frame.variance is not None:
        variance = np.zeros(shape, np.float32)
        variance[target] = frame.variance[source]
    return frame.with_(data=data, mask=mask, variance=variance, wcs=None, psf=None)


def _no_overlap(frame: Frame) -> AlignmentError:
    return AlignmentError(
        f"{frame.name}: no pixel falls on the other image, expected images that overlap; "
        "choose another reference"
    )


def _filled(frame: Frame) -> NDArray[np.float32]:
    """Pixels with the broken ones near good ones replaced by the mean of good neighbours.

    A step of a broken pixel would ring through the spline; what lies deeper than
    the kernel in a hole is never seen and gets the median.
    """
    broken = (frame.mask & BROKEN) != 0
    if not broken.any():
        return frame.data
    data = frame.data.copy()
    data[broken] = np.median(frame.data[~broken][:: max(1, frame.data.size // 100_000)])
    ny, nx = frame.shape
    for _ in range(3):
        row, column = np.nonzero(broken)
        total = np.zeros(row.size)
        weight = np.zeros(row.size)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                y, x = np.clip(row + dy, 0, ny - 1), np.clip(column + dx, 0, nx - 1)
                good = ~broken[y, x]
                total += np.where(good, data[y, x], 0)
                weight += good
        known = weight > 0
        row, column = row[known], column[known]
        data[row, column] = total[known] / weight[known]
        broken[row, column] = False
    return data


def _grown(mask: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Flags of each pixel and of its eight neighbours."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    wide = tall.copy()
    wide[:, 1:] |= tall[:, :-1]
    wide[:, :-1] |= tall[:, 1:]
    return wide


def _nearest(plane: NDArray[np.uint16], x: FloatArray, y: FloatArray) -> NDArray[np.uint16]:
    """Value of the pixel nearest to each position; positions outside get that of the border."""
    row = np.clip(np.rint(y), 0, plane.shape[0] - 1).astype(np.intp)
    column = np.clip(np.rint(x), 0, plane.shape[1] - 1).astype(np.intp)
    return plane[row, column]


def _inside(mapping: Mapping, first: int, shape: tuple[int, int]) -> bool:
    """Whether the kernel cores of all pixels between two rows of nodes are inside the source."""
    j = first // mapping.step
    nodes = mapping.nodes[j : j + 2]
    low, high = nodes.min(axis=(0, 1)), nodes.max(axis=(0, 1))
    return bool((low >= 1).all() and high[0] <= shape[1] - 2 and high[1] <= shape[0] - 2)


def _flag_border(
    data: NDArray[np.float32],
    mask: NDArray[np.uint16],
    x: FloatArray,
    y: FloatArray,
    shape: tuple[int, int],
) -> None:
    """Flag positions whose kernel core leaves the source, and empty those outside of it."""
    ny, nx = shape
    edge = (x < 1) | (x > nx - 2) | (y < 1) | (y > ny - 2)
    outside = (x < -0.5) | (x > nx - 0.5) | (y < -0.5) | (y > ny - 0.5)
    mask[edge] |= np.uint16(Flag.EDGE)
    mask[outside] = OUTSIDE
    data[outside] = 0
