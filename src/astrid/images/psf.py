"""The point spread function of a frame: empirical, oversampled, varying over the image.

The model and how it is drawn; `psf_stack` measures it on stars. Nothing here
subtracts images; see `proper`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["PSF", "moffat_psf"]

LOBES = 4  # of the Lanczos kernel between grid and pixels


@dataclass(frozen=True, eq=False)
class PSF:
    """A point spread function that varies smoothly over an image.

    The convention: a source at (x, y) = (0-based) pixel position is centred on the
    windowed centroid of the PSF, which is the middle of the grid.

    Parameters
    ----------
    coefficients : (nterms, m, m) float64 ndarray
        Oversampled images, one for each polynomial term; m is odd.
    oversampling : int
        Grid points per pixel.
    size : int, px
        Side of the stamps, odd.
    shape : (int, int)
        Rows and columns of the image that it belongs to.
    n_stars : int
        Stars that it was measured on.
    quality : float
        Median over the stars of the rms residual within the core, relative to the
        star's peak and beyond the photon noise; 0 is perfect.
    """

    coefficients: NDArray[np.float64]
    oversampling: int
    size: int
    shape: tuple[int, int]
    n_stars: int = 0
    quality: float = 0.0

    @property
    def degree(self) -> int:
        """Degree of the polynomial in position."""
        return {1: 0, 3: 1, 6: 2}[len(self.coefficients)]

    @property
    def curvature(self) -> float:
        """Second-order change of the peak from the middle of the image to its edge, relative."""
        middle = self.coefficients.shape[1] // 2
        peak = self.coefficients[:, middle, middle]
        return float(np.abs(peak[3:]).max(initial=0) / peak[0])

    def at(self, x: float, y: float) -> NDArray[np.float32]:
        """PSF at a place of the image, centred in the middle pixel.

        Parameters
        ----------
        x, y : float, px

        Returns
        -------
        stamp : (size, size) float32 ndarray
            Sum 1.
        """
        stamp, _ = self._stamp(x, y, 0.0, 0.0)
        return stamp

    def draw(self, x: float, y: float) -> tuple[NDArray[np.float32], tuple[int, int]]:
        """Draw a source of flux 1 at a sub-pixel position.

        Parameters
        ----------
        x, y : float, px

        Returns
        -------
        stamp : (size, size) float32 ndarray
        corner : (int, int)
            Row and column of the stamp's first pixel in the image; may be negative.
        """
        column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
        stamp, half = self._stamp(x, y, x - column, y - row)
        return stamp, (row - half, column - half)

    @cached_property
    def fwhm(self) -> float:
        """Full width at half maximum at the centre of the image, px, geometric mean of the axes."""
        major, minor = self._axes
        return float(np.sqrt(major * minor))

    @property
    def elongation(self) -> float:
        """Ratio of the axes at half maximum at the centre of the image."""
        major, minor = self._axes
        return float(major / minor)

    @cached_property
    def _axes(self) -> tuple[float, float]:
        grid = at_position(self.coefficients, *scaled(*_middle(self.shape), self.shape))
        return _half_maximum_axes(grid, self.oversampling)

    def _stamp(self, x: float, y: float, dx: float, dy: float) -> tuple[NDArray[np.float32], int]:
        grid = at_position(self.coefficients, *scaled(x, y, self.shape))
        half = self.size // 2
        to_x = grid_to_pixels(np.array([dx]), half, self.oversampling, grid.shape[0])[0]
        to_y = grid_to_pixels(np.array([dy]), half, self.oversampling, grid.shape[0])[0]
        stamp = to_y @ grid @ to_x.T
        return (stamp / stamp.sum()).astype(np.float32), half


def moffat_psf(
    fwhm: float,
    shape: tuple[int, int],
    *,
    beta: float = 3.5,
    elongation: float = 1.0,
    half: int | None = None,
    oversampling: int | None = None,
) -> PSF:
    """Make a Moffat PSF, for frames whose stars are too few to measure one.

    Parameters
    ----------
    fwhm : float, px
        Geometric mean of the axes.
    shape : (int, int)
        Rows and columns of the image.
    beta : float
    elongation : float
        Major axis, along x, over minor.
    half : int, px, optional
        Reach of the stamps; four times the width if not given.
    oversampling : int, optional
        Of the grid; by the width if not given.

    Returns
    -------
    psf : PSF

    References
    ----------
    Moffat 1969, A&A 3, 455.
    """
    half = int(np.clip(np.ceil(4.0 * fwhm), 7, 31)) if half is None else half
    oversampling = oversampling or (2 if fwhm > 2.5 else 3)
    reach = half * oversampling + LOBES
    offset = np.arange(-reach, reach + 1) / oversampling
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    stretch = np.sqrt(elongation)
    grid = (1 + (offset[None, :] / stretch / alpha) ** 2 + (offset[:, None] * stretch / alpha) ** 2) ** -beta
    grid *= taper(reach, oversampling, half)
    return PSF(grid[None] / grid.sum() * oversampling**2, oversampling, 2 * half + 1, shape)


def _half_maximum_axes(grid: NDArray[np.float64], oversampling: int) -> tuple[float, float]:
    """Axes of the half-maximum contour from the area above it and its second moments, px."""
    reach = grid.shape[0] // 2
    # The contour runs between grid points: it is followed on a finer grid.
    grid = ndimage.zoom(grid, 4, order=3)
    offset = np.linspace(-reach, reach, len(grid)) / oversampling
    # A smooth step at the half maximum measures the contour to a fraction of a grid point.
    level = grid.max() / 2
    inside = np.clip((grid - level) / (0.3 * level) + 0.5, 0, 1)
    area = inside.sum() * (offset[1] - offset[0]) ** 2
    xx = (inside * offset[None, :] ** 2).sum() / inside.sum()
    yy = (inside * offset[:, None] ** 2).sum() / inside.sum()
    xy = (inside * offset[:, None] * offset[None, :]).sum() / inside.sum()
    root = np.hypot((xx - yy) / 2, xy)
    major, minor = np.sqrt((xx + yy) / 2 + root), np.sqrt(max((xx + yy) / 2 - root, 1e-6))
    mean = 2 * np.sqrt(area / np.pi)
    return float(mean * np.sqrt(major / minor)), float(mean * np.sqrt(minor / major))


def taper(reach: int, oversampling: int, half: int) -> NDArray[np.float64]:
    """1 in the middle, falling to 0 at the rim along a cosine, so that the wings end smoothly."""
    offset = np.arange(-reach, reach + 1) / oversampling
    radius = np.hypot(offset[:, None], offset[None, :]) / half
    return np.asarray(0.5 * (1 + np.cos(np.pi * np.clip((radius - 0.75) / 0.25, 0, 1))))


def _middle(shape: tuple[int, int]) -> tuple[float, float]:
    return (shape[1] - 1) / 2, (shape[0] - 1) / 2


def scaled(
    x: float | NDArray[np.float64], y: float | NDArray[np.float64], shape: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Position in the image on [-1, 1]."""
    return np.asarray(2 * np.asarray(x) / max(shape[1] - 1, 1) - 1), np.asarray(
        2 * np.asarray(y) / max(shape[0] - 1, 1) - 1
    )


def terms(u: NDArray[np.float64], v: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    columns = [np.ones_like(u)]
    if degree >= 1:
        columns += [u, v]
    if degree >= 2:
        columns += [u * u, u * v, v * v]
    return np.stack(columns, axis=-1)


def at_position(
    coefficients: NDArray[np.float64], u: NDArray[np.float64], v: NDArray[np.float64]
) -> NDArray[np.float64]:
    degree = {1: 0, 3: 1, 6: 2}[len(coefficients)]
    # Outside the stars' field the polynomial is held, not extrapolated.
    position = terms(np.clip(u, -1, 1), np.clip(v, -1, 1), degree)
    return np.asarray(np.tensordot(position, coefficients, 1))


def _lanczos(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0)


def grid_to_pixels(
    shift: NDArray[np.float64], half: int, oversampling: int, points: int
) -> NDArray[np.float64]:
    """Matrices that sample an oversampled grid at the pixels of shifted sources.

    Parameters
    ----------
    shift : (n,) float64 ndarray, px
    half : int, px
        Pixels from -half to half are sampled.
    oversampling, points : int
        Of the grid; its middle is the origin.

    Returns
    -------
    matrices : (n, 2 half + 1, points) float64 ndarray
        The pixel at offset j lies at grid point (j - shift) oversampling from the middle.
    """
    place = points // 2 - (half + np.asarray(shift, float)) * oversampling
    return lanczos_matrix(place, 2 * half + 1, oversampling, points)


def lanczos_matrix(place: NDArray[np.float64], rows: int, step: int, points: int) -> NDArray[np.float64]:
    """Matrices that interpolate `points` samples at equally spaced positions.

    Parameters
    ----------
    place : (n,) float64 ndarray
        Position of the first row, in samples.
    rows, step : int
        Row r lies at ``place + r * step``; a whole step lets all rows share their weights.
    points : int

    Returns
    -------
    matrices : (n, rows, points) float64 ndarray
    """
    start = np.floor(place).astype(int) - LOBES + 1
    taps = np.arange(2 * LOBES)
    weight = _lanczos(place[:, None] - start[:, None] - taps)
    weight /= weight.sum(axis=1, keepdims=True)
    row = np.arange(rows)
    column = start[:, None, None] + step * row[None, :, None] + taps
    # What falls off the samples goes to a spare column.
    column = np.where((column >= 0) & (column < points), column, points)
    matrices = np.zeros((len(place), rows, points + 1))
    matrices[np.arange(len(place))[:, None, None], row[None, :, None], column] = weight[:, None, :]
    return matrices[:, :, :points]
