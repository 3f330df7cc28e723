"""Light curves of Kepler, K2 and TESS from their FITS tables, and from those that lightkurve writes."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.timing import TIME_FORMATS, to_mjd

__all__ = ["read_fits"]

_FLUXES = ("PDCSAP_FLUX", "KSPSAP_FLUX", "FLUX", "SAP_FLUX")
_QUALITIES = ("QUALITY", "SAP_QUALITY")
_TIME_ZERO = re.compile(r"BJD\s*-\s*(\d+(?:\.\d*)?)")
_LONGEST = 1e8  # rows: a TESS year at 20 s is 1.6e6


def read_fits(content: bytes, name: str, columns: Mapping[str, str], unit: str | None = None) -> LightCurve:
    """Read the first table with a time and a flux.

    Parameters
    ----------
    content : bytes
        Of the file, unpacked.
    name : str
        Of the file, for messages.
    columns : mapping
        ``time``, ``flux``, ``error`` and ``quality`` may be named; ``PDCSAP_FLUX`` comes first otherwise.
    unit : str, optional
        Of the flux, where the file has none.

    Returns
    -------
    curve : LightCurve
        Times in TDB at the barycentre. Every cadence is kept; its flags are in `quality`.

    Raises
    ------
    LightCurveError
        No such table, or a time whose zero the file does not tell.
    """
    from astropy.io import fits

    with warnings.catch_warnings(), _damage_refused(name):
        warnings.simplefilter("ignore")
        with fits.open(io.BytesIO(content), memmap=False, lazy_load_hdus=False) as hdus:
            for hdu in hdus:
                names = hdu.columns.names if isinstance(hdu, fits.BinTableHDU) else []
                if "TIME" in (column.upper() for column in names):
                    if hdu.header["NAXIS2"] > _LONGEST or hdu.size > len(content):
                        raise LightCurveError(f"{name}: the file is cut off; fetch it again")
                    return _curve(hdu, hdus[0].header, name, columns, unit)
    raise LightCurveError(f"{name}: no table has a column TIME; give a light curve, not a target pixel file")


@contextmanager
def _damage_refused(name: str) -> Iterator[None]:
    from astropy.io.fits import VerifyError

    try:
        yield
    except VerifyError as error:
        raise LightCurveError(
            f"{name}: the file is damaged ({str(error).split('.')[0]}); fetch it again"
        ) from error


def _curve(hdu: Any, primary: Any, name: str, columns: Mapping[str, str], unit: str | None) -> LightCurve:
    have = {column.upper(): column for column in hdu.columns.names}
    for column in columns.values():
        if column.upper() not in have:
            raise UsageError(f"{name}: there is no column {column!r}; it has {', '.join(hdu.columns.names)}")
    time = columns.get("time", "TIME").upper()
    flux = columns.get("flux") or next((key for key in _FLUXES if key in have), None)
    if flux is None:
        raise LightCurveError(f"{name}: no column of fluxes; it has {', '.join(hdu.columns.names)}: name it")
    error = columns.get("error") or have.get(f"{flux.upper()}_ERR")
    quality = columns.get("quality") or next((key for key in _QUALITIES if key in have), None)
    facts = {**dict(primary), **dict(hdu.header)}
    telescope = str(facts.get("MISSION") or facts.get("TELESCOP") or "").strip()
    given = str(hdu.columns[have[flux.upper()]].unit or "").replace(" ", "").lower()
    data = hdu.data
    return LightCurve(
        time=_mjd(np.asarray(data[have[time]], np.float64), hdu, have[time], facts, name),
        value=np.asarray(data[have[flux.upper()]], np.float64),
        error=None if error is None else np.asarray(data[have[error.upper()]], np.float64),
        quality=None if quality is None else np.asarray(data[have[quality.upper()]], np.int64),
        band=telescope,
        unit=unit or ("e-/s" if given in ("e-/s", "electron/s", "electrons/s") else "flux"),
        time_scale="tdb",
        timed_at="barycentre",
        name=str(facts.get("OBJECT") or name).strip(),
        ra=_angle(facts.get("RA_OBJ")),
        dec=_angle(facts.get("DEC_OBJ")),
    )


def _mjd(time: Any, hdu: Any, key: str, facts: Mapping[str, Any], name: str) -> Any:
    """Times as MJD; their zero is in keywords, or in the unit."""
    whole, fraction = facts.get("BJDREFI"), facts.get("BJDREFF", 0.0)
    if isinstance(whole, int | float) and isinstance(fraction, int | float):
        return time + (float(whole) + float(fraction) + TIME_FORMATS["bjd"])
    unit = str(hdu.columns[key].unit or "")
    if unit.strip().lower() in TIME_FORMATS:
        return to_mjd(time, unit.strip(), name=name)
    if found := _TIME_ZERO.search(unit):
        return time + (float(found[1]) + TIME_FORMATS["bjd"])
    raise LightCurveError(f"{name}: neither BJDREFI nor a unit tells the zero of {key}; add BJDREFI")


def _angle(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and np.isfinite(value) else None
