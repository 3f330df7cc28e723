"""Which columns of a table are positions and motions, and what angles their values mean.

Values become degrees; a row without a usable position gets a reason. Reads no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrid.errors import CatalogError

__all__ = ["REASONS", "degrees", "guess_column", "guess_positions", "positions"]

_PAIRS = (
    ("ra", "dec"), ("ra_icrs", "de_icrs"), ("ra", "de"), ("_ra", "_de"), ("raj2000", "dej2000"),
    ("raj2000", "decj2000"), ("_raj2000", "_dej2000"), ("ra_j2000", "dec_j2000"), ("ra2000", "dec2000"),
    ("ra_deg", "dec_deg"), ("radeg", "decdeg"), ("radeg", "dedeg"), ("coord_ra", "coord_dec"),
    ("ramean", "decmean"), ("meanra", "meandec"), ("alpha_j2000", "delta_j2000"),
    ("alphawin_j2000", "deltawin_j2000"), ("right_ascension", "declination"),
    ("rightascension", "declination"),
)  # fmt: skip
_GUESSES = {
    "id": ("source_id", "object_id", "objectid", "objid", "obj_id", "id", "designation", "main_id", "name"),
    "pmra": ("pmra", "pm_ra", "pmra_cosdec", "pm_ra_cosdec"),
    "pmdec": ("pmdec", "pmde", "pm_dec", "pm_de"),
    "epoch": ("ref_epoch", "epoch", "refepoch"),
}

REASONS = (
    "",
    "there is no right ascension",
    "there is no declination",
    "the right ascension cannot be read",
    "the declination cannot be read",
    "the right ascension is not within -360 and 360 degrees",
    "the declination is not within -90 and 90 degrees",
)
"""Why a row has no usable position, by the codes that `positions` gives; the first is none."""

# A blank may follow the sign ("- 8 49 37.0"); the parts stand apart by blanks, colons or letters.
_SEXAGESIMAL = (
    r"^\s*(?P<sign>[+\-−–]?)\s*(?P<whole>\d{1,3})\s*(?P<mark>[:hHdD°\s])\s*(?P<minutes>\d{1,2}(?:\.\d*)?)"
    r"(?:\s*[:mM'′\s]\s*(?P<seconds>\d{1,2}(?:\.\d*)?))?\s*[sSmM\"'″′]*\s*$"
)
_DECIMAL = r"^\s*(?P<sign>[+\-−–]?)\s*(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+\-]?\d+)?)\s*[dD°]?\s*$"
_TURNS = {"deg": 1.0, "degree": 1.0, "degrees": 1.0, "rad": 180 / np.pi, "h": 15.0, "hour": 15.0,
          "hourangle": 15.0, "arcsec": 1 / 3600, "mas": 1 / 3.6e6}  # fmt: skip


def guess_positions(names: Sequence[str], where: str | Path) -> tuple[str, str]:
    """The columns of right ascension and declination, by the names that are usual.

    Parameters
    ----------
    names : sequence of str
    where : str or Path
        What an error calls the table.

    Raises
    ------
    CatalogError
        None look like positions, or several pairs do, such as ``sn_ra, sn_dec`` and ``gal_ra, gal_dec``.
    """
    lower = _by_lower(names)
    for ra, dec in _PAIRS:
        if ra in lower and dec in lower:
            return lower[ra], lower[dec]
    pairs = [
        (lower[name], lower[name[: len(name) - len(ra)] + dec])
        for name in lower
        for ra, dec in (("_ra", "_dec"), ("_ra", "_de"))
        if name.endswith(ra) and name[: len(name) - len(ra)] + dec in lower
    ]
    if len(pairs) > 1:
        listed = " and ".join(f"{ra}, {dec}" for ra, dec in pairs)
        raise CatalogError(f"{where}: several columns may be the positions ({listed}); name ra and dec")
    if not pairs:
        raise CatalogError(f"{where}: no columns look like positions; name ra and dec, of {', '.join(names)}")
    return pairs[0]


def guess_column(role: str, names: Sequence[str]) -> str | None:
    """The column that is an ``id``, a ``pmra``, a ``pmdec`` or an ``epoch``; None where there is none."""
    lower = _by_lower(names)
    return next((lower[name] for name in _GUESSES[role] if name in lower), None)


def _by_lower(names: Sequence[str]) -> dict[str, str]:
    lower: dict[str, str] = {}
    for name in names:
        lower.setdefault(name.lower(), name)
    return lower


def positions(
    ra: pa.Array, dec: pa.Array, ra_unit: str = "", dec_unit: str = ""
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint8]]:
    """Positions in degrees, and why some are none.

    Parameters
    ----------
    ra, dec : pyarrow.Array
        Numbers, or text that is decimal (degrees) or sexagesimal: right ascension in hours unless
        it is written with d or °, declination in degrees.
    ra_unit, dec_unit : str
        Of numbers: deg (where nothing is said), rad, h, arcsec or mas.

    Returns
    -------
    ra, dec : (n,) float64 ndarray, deg
        ``0 <= ra < 360``; NaN where there is a reason.
    reason : (n,) uint8 ndarray
        Index into `REASONS`.

    Raises
    ------
    CatalogError
        A column is neither text nor numbers, or its unit is not one of an angle.
    """
    lon, lon_given = degrees(ra, ra_unit, hours=True)
    lat, lat_given = degrees(dec, dec_unit, hours=False)
    with np.errstate(invalid="ignore"):
        reason = np.select(
            [~lon_given, ~lat_given, np.isnan(lon), np.isnan(lat), ~(np.abs(lon) <= 360),
             ~(np.abs(lat) <= 90)],
            np.arange(1, 7),
            0,
        ).astype(np.uint8)  # fmt: skip
        lon = np.mod(lon, 360.0)
    lon[lon == 360.0] = 0.0  # a tiny negative angle is rounded up to it
    lon[reason > 0] = lat[reason > 0] = np.nan
    return lon, lat, reason


def degrees(
    values: pa.Array, unit: str = "", *, hours: bool = False
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Angles in degrees, and which rows hold anything at all.

    Parameters
    ----------
    values : pyarrow.Array
    unit : str
        Of numbers; text says itself what it is.
    hours : bool
        Sexagesimal text without a unit is in hours.

    Returns
    -------
    angle : (n,) float64 ndarray, deg
        NaN where there is nothing, or nothing that can be read.
    given : (n,) bool ndarray
        False where the value is null, blank or NaN.

    Raises
    ------
    CatalogError
        Neither text nor numbers; or not a unit of angles.
    """
    kind = values.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _read_text(values, hours=hours)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        if pa.types.is_null(kind):
            return np.full(len(values), np.nan), np.zeros(len(values), bool)
        raise CatalogError(f"a position is of type {kind}, expected numbers or text; name another column")
    factor = _TURNS.get(unit.strip().lower() or "deg")
    if factor is None:
        raise CatalogError(f"a position has the unit {unit!r}, expected one of {', '.join(_TURNS)}")
    numbers = pc.cast(values, pa.float64()).to_numpy(zero_copy_only=False) * factor
    return numbers, ~np.isnan(numbers)


def _read_text(values: pa.Array, *, hours: bool) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    text = pc.utf8_trim_whitespace(pc.fill_null(values, ""))
    given = pc.invert(
        pc.is_in(pc.utf8_lower(text), pa.array(["", "nan", "null", "none", "-", "--"], text.type))
    )
    decimal = pc.extract_regex(text, _DECIMAL)
    angle = _number(decimal, "number") * _sign(decimal)
    parts = pc.extract_regex(text, _SEXAGESIMAL)
    minutes, seconds = _number(parts, "minutes"), np.nan_to_num(_number(parts, "seconds"))
    sexagesimal = _sign(parts) * (_number(parts, "whole") + minutes / 60 + seconds / 3600)
    # 60 is what rounding makes of 59.99; more is a mistake
    sexagesimal[(minutes > 60) | (seconds > 60)] = np.nan
    if hours:
        mark = pc.fill_null(pc.struct_field(parts, "mark"), "")
        in_degrees = pc.is_in(mark, pa.array(["d", "D", "°"], mark.type))
        sexagesimal *= np.where(in_degrees.to_numpy(zero_copy_only=False), 1.0, 15.0)
    return np.where(np.isnan(angle), sexagesimal, angle), given.to_numpy(zero_copy_only=False)


def _number(parts: pa.StructArray, name: str) -> NDArray[np.float64]:
    text = pc.struct_field(parts, name)
    blank = pc.or_kleene(pc.is_null(text), pc.equal(text, ""))
    text = pc.if_else(blank, pa.scalar(None, text.type), text)
    return np.array(pc.cast(text, pa.float64()).to_numpy(zero_copy_only=False))


def _sign(parts: pa.StructArray) -> NDArray[np.float64]:
    sign = pc.fill_null(pc.struct_field(parts, "sign"), "")
    minus = pc.is_in(sign, pa.array(["-", "−", "–"], sign.type))
    return np.where(minus.to_numpy(zero_copy_only=False), -1.0, 1.0)
