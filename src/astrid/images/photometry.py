"""PSF fluxes of known positions on one image.

Positions are given, never fitted; difference images have their own photometry in
`measurement`, and light curves over many frames theirs in `forced`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PhotometryError
from astrid.images.frame import Frame
from astrid.images.psf import PSF, at_position, grid_to_pixels, scaled

__all__ = ["psf_fluxes"]


def psf_fluxes(
    frame: Frame, psf: PSF, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Flux of a point source at each position, weighted by inverse variance.

    Parameters
    ----------
    frame : Frame
        Background-subtracted, with its variance.
    psf : PSF
    x, y : (n,) float64 ndarray, px

    Returns
    -------
    flux, flux_err : (n,) float64 ndarray, ADU
        NaN and infinity where less than half of the core is usable.

    Raises
    ------
    PhotometryError
        The frame has no variance.

    References
    ----------
    Stetson 1987, PASP 99, 191.
    """
    if frame.variance is None:
        raise PhotometryError(f"{frame.name}: measure_noise comes before photometry; no variance is known")
    half = min(psf.size // 2, int(np.ceil(1.5 * psf.fwhm)))
    offset = np.arange(-half, half + 1)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    grids = at_position(psf.coefficients, *scaled(x, y, psf.shape))
    points = grids.shape[-1]
    to_x = grid_to_pixels(x - column, half, psf.oversampling, points)
    to_y = grid_to_pixels(y - row, half, psf.oversampling, points)
    model = to_y @ grids @ to_x.transpose(0, 2, 1)
    rows, columns = row[:, None, None] + offset[None, :, None], column[:, None, None] + offset[None, None, :]
    inside = (rows >= 0) & (rows < frame.shape[0]) & (columns >= 0) & (columns < frame.shape[1])
    rows, columns = np.clip(rows, 0, frame.shape[0] - 1), np.clip(columns, 0, frame.shape[1] - 1)
    variance = frame.variance[rows, columns]
    usable = inside & (frame.mask[rows, columns] == 0) & (variance > 0)
    usable &= (offset[:, None] ** 2 + offset[None, :] ** 2 <= (1.5 * psf.fwhm) ** 2)[None]
    weight = np.where(usable, 1 / np.maximum(variance, 1e-30), 0.0)
    power = (weight * model**2).sum(axis=(1, 2))
    core = model > 0.5 * model.max(axis=(1, 2), keepdims=True)
    enough = (usable & core).sum(axis=(1, 2)) > 0.5 * core.sum(axis=(1, 2))
    safe = np.where(enough & (power > 0), power, 1)
    flux = (weight * model * frame.data[rows, columns]).sum(axis=(1, 2)) / safe
    known = enough & (power > 0)
    return np.where(known, flux, np.nan), np.where(known, 1 / np.sqrt(safe), np.inf)
