"""Measure candidates on a difference: where, how bright, what shape, and what may be wrong.

Nothing is dropped here: what looks like an artefact is flagged and stays in the table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.table import MaskedColumn, Table
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from astrid.images.artefact_flags import edge_distance, flags_of, masked_fraction
from astrid.images.frame import Flag, Frame
from astrid.images.proper import Subtraction
from astrid.images.shapes import shapes
from astrid.images.significance import Significance
from astrid.images.sources import Sources, stars_of

__all__ = ["COLUMNS", "limiting_flux", "limiting_mag", "measure"]

COLUMNS: dict[str, tuple[str, str]] = {
    "id": ("", "number of the candidate in this run, strongest first"),
    "x": ("pix", "column on the science image, 0-based"),
    "y": ("pix", "row on the science image, 0-based"),
    "ra": ("deg", "right ascension, ICRS unless the WCS says otherwise"),
    "dec": ("deg", "declination"),
    "snr": ("", "S_corr at the peak; negative for what faded"),
    "flux": ("adu", "PSF flux of the change, science ADU"),
    "flux_err": ("adu", "its error"),
    "mag": ("mag", "magnitude of the change's absolute flux"),
    "mag_err": ("mag", "its error"),
    "fwhm": ("pix", "width of the change on the difference, as seen through the science PSF"),
    "elongation": ("", "ratio of its axes"),
    "sharpness": ("", "S/N as one hit pixel over what a point source gives; 1 is a point source"),
    "roundness": ("", "asymmetry between the axes, -1 to 1; 0 is round"),
    "dipole": ("", "strength of the opposite lobe relative to the peak, 0 to 1"),
    "masked_fraction": ("", "fraction of flagged pixels within one FWHM"),
    "edge_distance": ("pix", "distance to the nearest edge or pixel without data"),
    "star_distance": ("pix", "distance to the nearest star of the reference"),
    "star_mag": ("mag", "magnitude of that star"),
    "galaxy_offset": ("pix", "distance to the nearest galaxy of the reference"),
    "flags": ("", "what may be wrong, comma-separated; empty when clean"),
}

_STEPS = 3  # px, that a peak of S may be away from its peak of S_corr


@dataclass(frozen=True, eq=False)
class Surroundings:
    """What lies around the candidates, on the science grid.

    Parameters
    ----------
    science, reference : Frame
        Aligned.
    reference_sources : Sources
        Positions on the science grid.
    flux_ratio : float
    mask : (ny, nx) uint16 ndarray
        Flags of either frame.
    fwhm : float, px
        Of the science PSF.
    """

    science: Frame
    reference: Frame
    reference_sources: Sources
    flux_ratio: float
    mask: NDArray[np.uint16]
    fwhm: float


def measure(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    subtraction: Subtraction,
    significance: Significance,
    around: Surroundings,
) -> Table:
    """Measure every detected peak.

    Parameters
    ----------
    row, column : (n,) int64 ndarray
        Peaks, strongest first.
    subtraction : Subtraction
    significance : Significance
    around : Surroundings

    Returns
    -------
    candidates : `~astropy.table.Table`
        Columns as in `COLUMNS`, with units and descriptions; what cannot be known
        (no WCS, no zero point, no star) is masked.
    """
    row, column = _climb(subtraction.score, row, column)
    dx, dy, gained = _sub_pixel(subtraction.score, row, column)
    x, y = column + dx, row + dy
    gain = subtraction.gain[row, column].astype(float)
    sigma = np.sqrt(significance.variance[row, column].astype(float))
    score = subtraction.score[row, column].astype(float) + gained
    snr = score / sigma
    # The peak was chosen at its best position: two fitted coordinates lift it by one unit of
    # score squared each, which a flux must not keep.
    flux = np.sign(score) * np.sqrt(np.maximum(score**2 - 2 * sigma**2, 0)) / gain
    flux_err = sigma / gain
    ra, dec = _sky(around.science, x, y)
    mag, mag_err = _magnitude(flux, flux_err, around.science.zero_point)
    shape = shapes(subtraction, significance.image, row, column, dx, dy, flux, around.fwhm)
    stars = around.reference_sources[stars_of(around.reference_sources, snr=10)]
    galaxies = around.reference_sources[_galaxies(around.reference_sources)]
    star_distance, star = _nearest(stars, x, y)
    star_flux = stars.flux[star] / around.flux_ratio if len(stars) else np.full(len(x), np.nan)
    star_mag, _ = _magnitude(star_flux, star_flux, around.science.zero_point)
    masked = masked_fraction(around.mask, row, column, around.fwhm)
    edge = edge_distance(around.mask, x, y)
    columns: dict[str, NDArray[np.generic]] = {
        "id": np.arange(1, len(x) + 1, dtype=np.int64),
        "x": x,
        "y": y,
        "ra": ra,
        "dec": dec,
        "snr": snr,
        "flux": flux,
        "flux_err": flux_err,
        "mag": mag,
        "mag_err": mag_err,
        "fwhm": shape.fwhm,
        "elongation": shape.elongation,
        "sharpness": shape.sharpness,
        "roundness": shape.roundness,
        "dipole": shape.dipole,
        "masked_fraction": masked,
        "edge_distance": edge,
        "star_distance": star_distance,
        "star_mag": star_mag,
        "galaxy_offset": _nearest(galaxies, x, y)[0],
    }
    columns["flags"] = flags_of(
        shape,
        snr,
        masked,
        edge,
        x,
        y,
        flux,
        around.reference_sources,
        around.flux_ratio,
        around.mask,
        around.fwhm,
        residuals_known=significance.measured,
    )
    table = Table()
    for name, (unit, description) in COLUMNS.items():
        values = columns[name]
        hidden = ~np.isfinite(values) if np.issubdtype(values.dtype, np.floating) else False
        table[name] = MaskedColumn(values, mask=hidden, unit=unit or None, description=description)
    return table


def limiting_flux(subtraction: Subtraction, significance: Significance, mask: NDArray[np.uint16]) -> float:
    """Flux of a source of 5 sigma, median over the good pixels, ADU of the science frame."""
    good = (mask == 0)[::4, ::4]
    error = np.sqrt(significance.variance[::4, ::4]) / subtraction.gain[::4, ::4]
    values = error[good] if good.any() else error
    return 5 * float(np.median(values))


def limiting_mag(flux: float, zero_point: float | None) -> float | None:
    """Magnitude of a flux; None without a zero point."""
    return None if zero_point is None or flux <= 0 else zero_point - 2.5 * float(np.log10(flux))


def _climb(
    score: NDArray[np.float32], row: NDArray[np.int64], column: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Move to the extreme of S near each peak of S_corr, which the noise of a host displaces."""
    ny, nx = score.shape
    sign = np.sign(score[row, column])
    for _ in range(_STEPS):
        best_row, best_column, best = row, column, sign * score[row, column]
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                rows, columns = np.clip(row + dy, 0, ny - 1), np.clip(column + dx, 0, nx - 1)
                higher = sign * score[rows, columns] > best
                best_row, best_column = (
                    np.where(higher, rows, best_row),
                    np.where(higher, columns, best_column),
                )
                best = np.where(higher, sign * score[rows, columns], best)
        row, column = best_row, best_column
    return row, column


def _sub_pixel(
    score: NDArray[np.float32], row: NDArray[np.int64], column: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Peak of a paraboloid through 3 x 3 pixels: offsets, and what the peak gains over its pixel."""
    ny, nx = score.shape

    def at(dy: int, dx: int) -> NDArray[np.float64]:
        return score[np.clip(row + dy, 0, ny - 1), np.clip(column + dx, 0, nx - 1)].astype(float)

    gx, gy = (at(0, 1) - at(0, -1)) / 2, (at(1, 0) - at(-1, 0)) / 2
    hxx = at(0, 1) + at(0, -1) - 2 * at(0, 0)
    hyy = at(1, 0) + at(-1, 0) - 2 * at(0, 0)
    hxy = (at(1, 1) + at(-1, -1) - at(1, -1) - at(-1, 1)) / 4
    determinant = hxx * hyy - hxy**2
    safe = np.where(determinant > 0, determinant, 1)
    dx = np.where(determinant > 0, -(hyy * gx - hxy * gy) / safe, 0)
    dy = np.where(determinant > 0, -(hxx * gy - hxy * gx) / safe, 0)
    # On the image's border there are no neighbours on one side, and the peak may lie outside.
    trusted = (np.abs(dx) <= 1) & (np.abs(dy) <= 1)
    trusted &= (row > 0) & (row < ny - 1) & (column > 0) & (column < nx - 1)
    dx, dy = np.where(trusted, dx, 0), np.where(trusted, dy, 0)
    return dx, dy, (gx * dx + gy * dy) / 2


def _sky(
    science: Frame, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if science.wcs is None or not len(x):
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    ra, dec = science.wcs.all_pix2world(x, y, 0)
    return np.asarray(ra, float), np.asarray(dec, float)


def _magnitude(
    flux: NDArray[np.float64], flux_err: NDArray[np.float64], zero_point: float | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    if zero_point is None:
        return np.full(len(flux), np.nan), np.full(len(flux), np.nan)
    size = np.where(np.abs(flux) > 0, np.abs(flux), np.nan)
    return zero_point - 2.5 * np.log10(size), 2.5 / np.log(10) * flux_err / size


def _galaxies(sources: Sources) -> NDArray[np.bool_]:
    """Sources clearly wider than the stars."""
    star = stars_of(sources, snr=10)
    if star.sum() < 3:
        return np.zeros(len(sources), bool)
    locus = float(np.median(sources.fwhm[star]))
    return (sources.fwhm > 1.3 * locus) & (sources.snr > 10) & (sources.flags & Flag.SATURATED == 0)


def _nearest(
    sources: Sources, x: NDArray[np.float64], y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    if not len(sources) or not len(x):
        return np.full(len(x), np.nan), np.zeros(len(x), int)
    distance, index = cKDTree(np.column_stack([sources.x, sources.y])).query(np.column_stack([x, y]))
    return np.asarray(distance, float), np.asarray(index, int)
