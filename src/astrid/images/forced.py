"""Forced photometry: the difference flux of one position over many frames.

Each frame is reduced against the reference as `differencing` does it and measured
where the position falls on it, whether anything is seen there or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from astrid.errors import DataError, PhotometryError, UsageError
from astrid.images.artefact_flags import edge_distance, masked_fraction
from astrid.images.differencing import Clock, DifferenceConfig, Reduction, reduce_pair
from astrid.images.frame import Flag, Frame

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["LIGHT_CURVE_COLUMNS", "forced_photometry"]

LIGHT_CURVE_COLUMNS: dict[str, tuple[str, str]] = {
    "name": ("", "frame"),
    "mjd": ("d", "UTC, middle of the exposure"),
    "exposure": ("s", "exposure time"),
    "filter": ("", "filter"),
    "x": ("pix", "column of the position on this frame, 0-based"),
    "y": ("pix", "row of the position on this frame, 0-based"),
    "flux": ("adu", "difference flux on the scale of the reference frame"),
    "flux_err": ("adu", "its error"),
    "snr": ("", "flux over its error"),
    "mag": ("mag", "magnitude of a positive difference flux of 3 sigma or more"),
    "mag_err": ("mag", "its error"),
    "limiting_mag": ("mag", "magnitude of a flux of 5 sigma here"),
    "flux_ratio": ("", "flux in the reference over flux in this frame"),
    "registration_rms_px": ("pix", "registration residual of the stars"),
    "flags": ("", "what may be wrong, comma-separated; empty when clean"),
    "reason": ("", "why the frame could not be measured; empty when it was"),
}


def forced_photometry(
    frames: Iterable[Frame],
    reference: Frame,
    *,
    at: tuple[float, float] | None = None,
    radec: tuple[float, float] | None = None,
    config: DifferenceConfig | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> Table:
    """Measure a light curve of difference fluxes at one position.

    Parameters
    ----------
    frames : iterable of Frame
        As read, sky included; read one after the other.
    reference : Frame
        As read; its position and its flux scale are those of the result.
    at : (float, float), px
        Position (x, y) on the reference, 0-based.
    radec : (float, float), deg
        Position on the sky; the reference needs a WCS. Exactly one of `at` and `radec`.
    config : DifferenceConfig, optional
    on_stage : callable, optional
        Called with the name of each frame as it begins.

    Returns
    -------
    light_curve : `~astropy.table.Table`
        One row for each frame, in their order, columns as in `LIGHT_CURVE_COLUMNS`. A frame
        that cannot be reduced keeps its row, with the reason and without a flux.

    Raises
    ------
    UsageError
        Neither or both of `at` and `radec`.
    PhotometryError
        The position is not on the reference.

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27, section 3.3 (PSF flux from S).
    """
    from astropy.table import MaskedColumn, Table

    x, y = _position(reference, at, radec)
    config = config or DifferenceConfig()
    rows = []
    for frame in frames:
        if on_stage:
            on_stage(frame.name)
        row: dict[str, object] = {
            "name": frame.name,
            "mjd": frame.mjd,
            "exposure": frame.exposure,
            "filter": frame.filter or "",
        }
        try:
            row |= _measure(reduce_pair(frame, reference, config, Clock(None)), x, y, reference.zero_point)
        except DataError as error:
            row |= {"flags": "not_measured", "reason": str(error)}
        rows.append(row)
    table = Table()
    for name, (unit, description) in LIGHT_CURVE_COLUMNS.items():
        values = [row.get(name) for row in rows]
        if name in ("name", "filter", "flags", "reason"):
            table[name] = MaskedColumn(
                [str(value or "") for value in values], dtype=str, description=description
            )
        else:
            numbers = np.array([np.nan if value is None else value for value in values], float)
            table[name] = MaskedColumn(
                numbers, mask=~np.isfinite(numbers), unit=unit or None, description=description
            )
    return table


def _position(
    reference: Frame, at: tuple[float, float] | None, radec: tuple[float, float] | None
) -> tuple[float, float]:
    if (at is None) == (radec is None):
        raise UsageError("forced photometry needs one position; give either at=(x, y) or radec=(ra, dec)")
    if at is not None:
        x, y = at
    else:
        assert radec is not None
        if reference.wcs is None:
            raise PhotometryError(
                f"{reference.name}: no WCS, so a sky position means nothing; "
                "give the position in pixels (--at x,y)"
            )
        x, y = (float(value) for value in reference.wcs.all_world2pix(radec[0], radec[1], 0))
    ny, nx = reference.shape
    if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
        raise PhotometryError(
            f"{reference.name}: the position ({x:.1f}, {y:.1f}) is not on the image of {nx} x {ny} pixels; "
            "give a position on the reference"
        )
    return float(x), float(y)


def _measure(found: Reduction, x: float, y: float, zero_point: float | None) -> dict[str, object]:
    """Flux at one place of a reduced pair, on the scale of the reference."""
    here_x, here_y = (float(value) for value in found.aligned.mapping.inverse(x, y))
    ny, nx = found.science.shape
    row, column = round(here_y), round(here_x)
    if not (0 <= row < ny and 0 <= column < nx) or found.mask[row, column] & Flag.NO_DATA:
        raise PhotometryError(
            f"{found.science.name}: the position falls on ({here_x:.1f}, {here_y:.1f}), "
            "where the frame has no data"
        )
    subtraction, ratio = found.subtraction, found.flux_ratio.value
    score = float(
        ndimage.map_coordinates(subtraction.score, [[here_y], [here_x]], order=3, mode="nearest")[0]
    )
    gain = float(subtraction.gain[row, column])
    flux = score / gain * ratio
    flux_err = float(np.sqrt(found.significance.variance[row, column])) / gain * ratio
    fwhm = found.optics.science.fwhm
    flags = []
    if masked_fraction(found.mask, np.array([row]), np.array([column]), fwhm)[0] > 0:
        flags.append("masked")
    if edge_distance(found.mask, np.array([here_x]), np.array([here_y]))[0] < 2.5 * fwhm:
        flags.append("edge")
    measured: dict[str, object] = {
        "x": here_x,
        "y": here_y,
        "flux": flux,
        "flux_err": flux_err,
        "snr": flux / flux_err,
        "flux_ratio": ratio,
        "registration_rms_px": found.aligned.rms_px,
        "flags": ",".join(flags),
    }
    if zero_point is not None:
        measured["limiting_mag"] = zero_point - 2.5 * np.log10(5 * flux_err)
        if flux > 3 * flux_err:
            measured["mag"] = zero_point - 2.5 * np.log10(flux)
            measured["mag_err"] = 2.5 / np.log(10) * flux_err / flux
    return measured
