"""The shapes of changes on a difference: width, axes, sharpness and opposite lobes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.noise import robust_sigma
from astrid.images.proper import Subtraction

__all__ = ["Shapes", "shapes"]


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of n changes; every column is (n,) float64.

    Parameters
    ----------
    fwhm : px
        Of the change as the science PSF shows it.
    elongation : ratio of the axes
    roundness : (xx - yy) / (xx + yy)
    sharpness : brightest pixel over that of a point source of the same flux
    sharpness_err : what pixel noise does to it
    dipole : deepest pixel of the opposite sign over the peak, in S_corr
    depth : that pixel itself, in sigma
    angle : rad
        Direction of the major axis from +x to +y.
    """

    fwhm: NDArray[np.float64]
    elongation: NDArray[np.float64]
    roundness: NDArray[np.float64]
    sharpness: NDArray[np.float64]
    sharpness_err: NDArray[np.float64]
    dipole: NDArray[np.float64]
    depth: NDArray[np.float64]
    angle: NDArray[np.float64]


def shapes(
    subtraction: Subtraction,
    significance: NDArray[np.float32],
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    flux: NDArray[np.float64],
    fwhm: float,
) -> Shapes:
    """Measure shapes from windowed moments of the score and from pixels of D.

    Parameters
    ----------
    subtraction : Subtraction
    significance : (ny, nx) float32 ndarray
        S_corr.
    row, column : (n,) int64 ndarray
    dx, dy : (n,) float64 ndarray, px
        Sub-pixel offset of the peak.
    flux : (n,) float64 ndarray, ADU
        Signed.
    fwhm : float, px
        Of the science PSF.

    Returns
    -------
    shapes : Shapes

    References
    ----------
    Windowed moments: Bernstein & Jarvis 2002, AJ 123, 583; sharpness after Stetson 1987, PASP 99, 191.
    """
    width = subtraction.response_sigma
    half = max(4, int(np.ceil(2.5 * width)))
    sign = np.sign(subtraction.score[row, column])[:, None, None]
    # The score is the difference seen through its own PSF: steady where D is mostly noise.
    stamp = sign * _stamps(subtraction.score, row, column, half)
    offset = np.arange(-half, half + 1)
    ux = offset[None, None, :] - dx[:, None, None]
    uy = offset[None, :, None] - dy[:, None, None]
    window = np.exp(-(ux**2 + uy**2) / (2 * (2 * width) ** 2))
    light = np.maximum(stamp, 0) * window
    total = np.maximum(light.sum(axis=(1, 2)), 1e-30)
    xx = (light * ux**2).sum(axis=(1, 2)) / total
    yy = (light * uy**2).sum(axis=(1, 2)) / total
    xy = (light * ux * uy).sum(axis=(1, 2)) / total
    point = _point_moment(subtraction.response, half, width)
    root = np.hypot((xx - yy) / 2, xy)
    major, minor = (xx + yy) / 2 + root, np.maximum((xx + yy) / 2 - root, 0.05)
    near = np.hypot(offset[:, None], offset[None, :]) <= max(1.2 * fwhm, 2.0)
    corrected = sign * _stamps(significance, row, column, half)
    depth = np.maximum(-np.where(near, corrected, np.inf).min(axis=(1, 2)), 0)
    sharpness, sharpness_err = _sharpness(subtraction, row, column, dx, dy, flux)
    return Shapes(
        fwhm=fwhm * np.sqrt((xx + yy) / 2 / point),
        elongation=np.sqrt(major / minor),
        roundness=(xx - yy) / np.maximum(xx + yy, 1e-30),
        sharpness=sharpness,
        sharpness_err=sharpness_err,
        dipole=np.clip(depth / np.maximum(np.abs(significance[row, column]), 1e-30), 0, 1),
        depth=depth.astype(float),
        angle=0.5 * np.arctan2(2 * xy, xx - yy),
    )


def _stamps(
    image: NDArray[np.float32], row: NDArray[np.int64], column: NDArray[np.int64], half: int
) -> NDArray[np.float64]:
    offset = np.arange(-half, half + 1)
    rows = np.clip(row[:, None, None] + offset[None, :, None], 0, image.shape[0] - 1)
    columns = np.clip(column[:, None, None] + offset[None, None, :], 0, image.shape[1] - 1)
    return image[rows, columns].astype(float)


def _point_moment(response: NDArray[np.float32], half: int, width: float) -> float:
    """Windowed second moment of the response to a point source, px^2."""
    middle = response.shape[0] // 2
    half = min(half, middle)
    core = np.maximum(response[middle - half : middle + half + 1, middle - half : middle + half + 1], 0)
    offset = np.arange(-half, half + 1)
    radius2 = (offset[:, None] ** 2 + offset[None, :] ** 2).astype(float)
    light = core * np.exp(-radius2 / (2 * (2 * width) ** 2))
    return float((light * radius2).sum() / light.sum() / 2)


def _sharpness(
    subtraction: Subtraction,
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    dx: NDArray[np.float64],
    dy: NDArray[np.float64],
    flux: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Brightest of the central 3 x 3 pixels of D over the model's."""
    sign = np.sign(flux)[:, None, None]
    seen = (sign * _stamps(subtraction.difference, row, column, 1)).max(axis=(1, 2))
    middle = subtraction.psf.shape[0] // 2
    offset = np.arange(-1, 2)
    rows = middle + offset[None, :, None] - dy[:, None, None]
    columns = middle + offset[None, None, :] - dx[:, None, None]
    rows, columns = np.broadcast_arrays(rows, columns)
    model = ndimage.map_coordinates(subtraction.psf, [rows, columns], order=3, mode="nearest").max(axis=(1, 2))
    expected = np.maximum(np.abs(flux) * model, 1e-30)
    sky = robust_sigma(subtraction.difference[::7, ::5])
    variance = subtraction.variance[row, column] / max(float(np.median(subtraction.variance[::7, ::5])), 1e-30)
    return seen / expected, sky * np.sqrt(variance) / expected
