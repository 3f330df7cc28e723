"""The shapes of changes on a difference: width, axes, sharpness and opposite lobes."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from astrid.images.noise import robust_sigma
from astrid.images.proper import Response, Subtraction

__all__ = ["Shapes", "shapes"]

_CELL = 512  # px: within it the response is taken as one
_HIT_HALF = 6  # px: how far a hit pixel spreads on D


@dataclass(frozen=True, eq=False)
class Shapes:
    """Shapes of n changes; every column is (n,) float64.

    Parameters
    ----------
    fwhm : px
        Of the change as the science PSF shows it.
    elongation : ratio of the axes
    roundness : (xx - yy) / (xx + yy)
    sharpness : S/N as a single hit pixel over that of a point source of the same S/N
    sharpness_err : what pixel noise does to it
    dipole : deepest pixel of the opposite sign over the peak, in S_corr
    depth : that pixel itself, in sigma
    misfit : energy on D that no point source of this flux explains, as a fraction of its own
    misfit_err : what pixel noise does to it
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
    misfit: NDArray[np.float64]
    misfit_err: NDArray[np.float64]
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
    # The filters vary over the image: each cell has its own idea of a point source.
    cell = np.stack([row // _CELL, column // _CELL])
    noise = _pixel_noise(subtraction, row, column)
    merged = {column.name: np.empty(len(row)) for column in fields(Shapes)}
    for place in np.unique(cell, axis=1).T:
        chosen = np.flatnonzero((cell == place[:, None]).all(axis=0))
        response = subtraction.response_at(float((place[1] + 0.5) * _CELL), float((place[0] + 0.5) * _CELL))
        peaks = _Peaks(row[chosen], column[chosen], dx[chosen], dy[chosen], flux[chosen], noise[chosen])
        part = _shapes(subtraction, response, significance, peaks, fwhm)
        for name, values in merged.items():
            values[chosen] = getattr(part, name)
    return Shapes(**merged)


@dataclass(frozen=True, eq=False)
class _Peaks:
    """Peaks of one cell: pixel, sub-pixel offset, flux and the noise of a pixel of D there."""

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    dx: NDArray[np.float64]
    dy: NDArray[np.float64]
    flux: NDArray[np.float64]
    noise: NDArray[np.float64]


def _shapes(
    subtraction: Subtraction,
    response: Response,
    significance: NDArray[np.float32],
    peaks: _Peaks,
    fwhm: float,
) -> Shapes:
    """Shapes of peaks that share one response."""
    row, column = peaks.row, peaks.column
    width = response.sigma
    half = max(4, int(np.ceil(max(2.5 * width, 2.0 * fwhm))))
    sign = np.sign(subtraction.score[row, column])[:, None, None]
    # The score is the difference seen through its own PSF: steady where D is mostly noise.
    stamp = sign * _stamps(subtraction.score, row, column, half)
    offset = np.arange(-half, half + 1)
    ux = offset[None, None, :] - peaks.dx[:, None, None]
    uy = offset[None, :, None] - peaks.dy[:, None, None]
    window = np.exp(-(ux**2 + uy**2) / (2 * (2 * width) ** 2))
    light = np.maximum(stamp, 0) * window
    total = np.maximum(light.sum(axis=(1, 2)), 1e-30)
    xx = (light * ux**2).sum(axis=(1, 2)) / total
    yy = (light * uy**2).sum(axis=(1, 2)) / total
    xy = (light * ux * uy).sum(axis=(1, 2)) / total
    point = _point_moment(response.score, half, width)
    root = np.hypot((xx - yy) / 2, xy)
    major, minor = (xx + yy) / 2 + root, np.maximum((xx + yy) / 2 - root, 0.05)
    near = np.hypot(offset[:, None], offset[None, :]) <= max(2.0 * fwhm, 2.0)
    corrected = sign * _stamps(significance, row, column, half)
    depth = np.maximum(-np.where(near, corrected, np.inf).min(axis=(1, 2)), 0)
    sharpness, sharpness_err = _sharpness(subtraction, response, peaks)
    misfit, misfit_err = _misfit(subtraction, response, peaks, fwhm)
    return Shapes(
        fwhm=fwhm * np.sqrt((xx + yy) / 2 / point),
        elongation=np.sqrt(major / minor),
        roundness=(xx - yy) / np.maximum(xx + yy, 1e-30),
        sharpness=sharpness,
        sharpness_err=sharpness_err,
        dipole=np.clip(depth / np.maximum(np.abs(significance[row, column]), 1e-30), 0, 1),
        depth=depth.astype(float),
        misfit=misfit,
        misfit_err=misfit_err,
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
    response: Response,
    peaks: _Peaks,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """S/N as a hit pixel over S/N as a point source, relative to that of a point source, and its error.

    Both are matched filters on D, whose noise is white, so that their ratio is the likelihood
    ratio of the two explanations: above 1 / overlap a hit pixel explains D better than a star.
    """
    row, column = peaks.row, peaks.column
    half = min(_HIT_HALF, response.psf.shape[0] // 2)
    middle = response.psf.shape[0] // 2
    box = slice(middle - half, middle + half + 1)
    psf = response.psf[box, box] / np.sqrt(np.square(response.psf).sum())
    stamps = _stamps(subtraction.difference, row, column, half + 1)
    positive = subtraction.score[row, column] > 0
    best, overlap = np.zeros(len(row)), np.ones(len(row))
    for chosen, hit in ((positive, response.science_hit), (~positive, response.reference_hit)):
        shape = hit[box, box] / np.sqrt(np.square(hit).sum())
        sign = 1.0 if hit is response.science_hit else -1.0
        # The hit may lie on any of the 3 x 3 pixels about the peak.
        scores = [
            np.einsum("nij,ij->n", stamps[:, 1 + dy : 2 * half + 2 + dy, 1 + dx : 2 * half + 2 + dx], shape)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
        best = np.where(chosen, sign * (np.max if sign > 0 else np.min)(scores, axis=0), best)
        overlap = np.where(chosen, _best_overlap(psf, shape), overlap)
    hit_snr = best / peaks.noise
    # Both by pixel noise alone: what the PSF model gets wrong spoils neither explanation.
    noise = np.sqrt(subtraction.variance[row, column].astype(float))
    snr = np.maximum(np.abs(subtraction.score[row, column]) / noise, 1e-3)
    return hit_snr / (overlap * snr), np.sqrt(1 - np.minimum(overlap, 0.99) ** 2) / (overlap * snr)


def _best_overlap(psf: NDArray[np.float32], hit: NDArray[np.float32]) -> float:
    """Largest cosine between the two shapes over the 3 x 3 places of the hit."""
    return max(float(np.vdot(psf, np.roll(hit, (dy, dx), (0, 1)))) for dy in (-1, 0, 1) for dx in (-1, 0, 1))


def _misfit(
    subtraction: Subtraction, response: Response, peaks: _Peaks, fwhm: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Squared residual of D about the point source, beyond noise, over the source's own square."""
    row, column = peaks.row, peaks.column
    middle = response.psf.shape[0] // 2
    half = min(int(np.ceil(1.5 * fwhm)), middle - 1)
    offset = np.arange(-half, half + 1)
    rows = middle + offset[None, :, None] - peaks.dy[:, None, None]
    columns = middle + offset[None, None, :] - peaks.dx[:, None, None]
    rows, columns = np.broadcast_arrays(rows, columns)
    shape = ndimage.map_coordinates(response.psf, [rows, columns], order=5, mode="nearest")
    model = peaks.flux[:, None, None] * shape
    noise2 = peaks.noise**2
    residual = np.square(_stamps(subtraction.difference, row, column, half) - model).sum(axis=(1, 2))
    own = np.maximum(np.square(model).sum(axis=(1, 2)), 1e-30)
    pixels = len(offset) ** 2
    return (residual - pixels * noise2) / own, np.sqrt(2 * pixels) * noise2 / own


def _pixel_noise(
    subtraction: Subtraction, row: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Noise of a pixel of D at each place: that of the sky, raised as V(S) is."""
    sky = robust_sigma(subtraction.difference[::7, ::5])
    raised = subtraction.variance[row, column] / max(float(np.median(subtraction.variance[::7, ::5])), 1e-30)
    return np.asarray(sky * np.sqrt(np.maximum(raised, 1)), float)
