"""From a packet's own fields to an alert, by a layout: a few lines of TOML for each survey.

What a layout does not name stays in the alert's extras as it came; nothing is made up. How bytes become
records is the business of `container`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from astrid.alerts.alert import CUTOUTS, Alert, Cutout, Measurement, from_flux, from_magnitude
from astrid.alerts.stamps import DamagedError, good_pixels, unpack_stamp
from astrid.errors import PacketError, UsageError

__all__ = ["Field", "Layout", "find_layout", "layouts", "read_layouts"]

_TRUE, _FALSE = {"t", "1", "true", "1.0"}, {"f", "0", "false", "0.0", "-1"}
_SIGNS = {"t": True, "f": False, "1": True, "0": False}
_JD = 2400000.5
_EXACT = 2**53  # above, a float does not tell one whole number from the next


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Photometry(_Model):
    """Which field of a record is which part of a measurement.

    Parameters
    ----------
    jd, mjd, band, mag, mag_err, flux, flux_err, zero_point, limiting_mag, sign, id : str, optional
        Names of fields. Fluxes are in nJy, or in units of a `zero_point`.
    bands : dict of str to str
        What the values of `band` stand for.
    constant_band : str, optional
        Where the survey has one band and does not say it.
    system : "AB", "unknown", or dict of str to float
        Of the magnitudes; a mapping gives AB minus the survey's, by band. Unknown ones stay in the
        extras.
    """

    jd: str | None = None
    mjd: str | None = None
    band: str | None = None
    bands: dict[str, str] = {}
    constant_band: str | None = None
    mag: str | None = None
    mag_err: str | None = None
    flux: str | None = None
    flux_err: str | None = None
    zero_point: str | None = None
    limiting_mag: str | None = None
    sign: str | None = None
    id: str | None = None
    system: Literal["AB", "unknown"] | dict[str, float] = "unknown"

    @property
    def fields(self) -> frozenset[str]:
        """All fields that are named; never empty, which would mean that the list is not read."""
        given = (
            self.jd, self.mjd, self.band, self.mag, self.mag_err, self.flux, self.flux_err, self.zero_point,
            self.limiting_mag, self.sign, self.id,
        )  # fmt: skip
        return frozenset(name or "" for name in given)


class History(_Model):
    """A list of earlier measurements in the packet; without its own photometry, laid out as the detection."""

    list: str
    forced: bool = False
    photometry: Photometry | None = None


class Field(_Model):
    """A field of the survey's own that filters may ask for.

    Parameters
    ----------
    meaning : str
    type : str
        Of its column.
    unit : str
    low, high : float, optional
        What it can be, by the survey's own description.
    path : str
        Where it is in the packet; in the detection under its own name if not given.
    """

    meaning: str
    type: Literal["float64", "int64", "bool", "string"] = "float64"
    unit: str = ""
    low: float | None = None
    high: float | None = None
    path: str = ""


class Layout(_Model):
    """Which field of a survey's packet means what; names with dots go into records.

    Parameters
    ----------
    name : str
        Of the survey.
    schemas : tuple of str
        Names of Avro schemas, with wild cards.
    columns : tuple of str
        How packets without a schema are known: by what they have.
    objects : str
        And by the form of their object's name.
    alert_id, version : str
    object_id : tuple of str
        The first that has a value.
    detection : str
        The record in which time, position and photometry are; empty for the packet itself.
    ra, dec, x, y : str
        In it.
    first_pixel : int
        What the first pixel is called: 0 or 1.
    missing : tuple of float
        Numbers that stand for none.
    missing_numbers : bool
        Whether they do so in measurements too, and not only in identifiers.
    time_scale : str, optional
    longitude : float, deg
        Of the site, to the east: decides to which night an alert belongs.
    flipped : bool
        Of a negative detection the difference image is reference minus science.
    cutouts : dict of str to str
        ``science``, ``reference`` and ``difference``.
    photometry : Photometry
    history : tuple of History
    fields : dict of str to Field
        Columns of tables of candidates, besides those that all surveys share.
    """

    name: str
    schemas: tuple[str, ...] = ("*",)
    columns: tuple[str, ...] = ()
    objects: str = "*"
    alert_id: str
    object_id: tuple[str, ...] = ()
    version: str = ""
    detection: str = ""
    ra: str = "ra"
    dec: str = "dec"
    x: str = ""
    y: str = ""
    first_pixel: int = 0
    missing: tuple[float, ...] = ()
    missing_numbers: bool = True
    time_scale: Literal["utc", "tai", "tt", "tdb"] | None = None
    flipped: bool = False
    cutouts: dict[str, str] = {}
    photometry: Photometry = Photometry()
    history: tuple[History, ...] = ()
    longitude: float = 0.0
    fields: dict[str, Field] = {}

    @cached_property
    def histories(self) -> Mapping[str, frozenset[str]]:
        """Fields of the packet that hold earlier measurements, and what measurements have of their items."""
        found: dict[str, frozenset[str]] = {}
        for one in self.history:
            fields = (one.photometry or self.photometry).fields
            found[one.list] = found.get(one.list, frozenset()) | fields
        return found

    def alert(
        self, record: Mapping[str, Any], *, schema: str = "", history: bool = True, cutouts: bool = True
    ) -> Alert:
        """The alert of a packet.

        Parameters
        ----------
        record : mapping
            The packet as it was sent.
        schema : str
            Name of its Avro schema, which tells the version where the packet does not.
        history, cutouts : bool
            Whether they are wanted.

        Returns
        -------
        Alert

        Raises
        ------
        PacketError
            It has no identifier, a field has another type, or a cutout is damaged.
        """
        try:
            return self._alert(record, schema, history, cutouts)
        except (TypeError, ValueError, AttributeError, OverflowError, KeyError) as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise PacketError(f"a field is not what packets of {self.name} have there ({reason})") from error

    def _alert(self, record: Mapping[str, Any], schema: str, history: bool, cutouts: bool) -> Alert:
        body = _at(record, self.detection) if self.detection else record
        if not isinstance(body, Mapping):
            raise PacketError(
                f"it has no {self.detection}, expected a packet laid out as those of {self.name}"
            )
        identity = _identifier(_at(record, self.alert_id), ())
        if identity is None:
            raise PacketError(
                f"it has no {self.alert_id}, expected a packet laid out as those of {self.name}"
            )
        objects = (_identifier(_at(record, path), self.missing) for path in self.object_id)
        measure, missing = _reader(self.photometry, False, self._absent), self._absent
        x, y = _number(body.get(self.x), missing), _number(body.get(self.y), missing)
        detection = measure(body)
        taken = self._taken
        return Alert(
            survey=self.name,
            alert_id=identity,
            ra=_number(body.get(self.ra), missing),
            dec=_number(body.get(self.dec), missing),
            detection=detection,
            object_id=next((one for one in objects if one is not None), None),
            version=str(record.get(self.version) or _version(schema)),
            time_scale=self.time_scale,
            history=self._history(record) if history else None,
            cutouts={name: _cutout(record, self.cutouts.get(name)) for name in CUTOUTS} if cutouts else {},
            x=None if x is None else x - self.first_pixel,
            y=None if y is None else y - self.first_pixel,
            flipped=self.flipped and detection.positive is False,
            extras={key: value for key, value in record.items() if key not in taken},
        )

    @cached_property
    def _taken(self) -> frozenset[str]:
        """Fields of the packet that are no extras."""
        return frozenset(path.partition(".")[0] for path in self.cutouts.values()) | self.histories.keys()

    @cached_property
    def _absent(self) -> tuple[float, ...]:
        return self.missing if self.missing_numbers else ()

    def _history(self, record: Mapping[str, Any]) -> tuple[Measurement, ...]:
        points: list[Measurement] = []
        for one in self.history:
            measure = _reader(one.photometry or self.photometry, one.forced, self._absent)
            points.extend(measure(point) for point in record.get(one.list) or ())
        return tuple(points)


_Measure = Callable[[Mapping[str, Any]], Measurement]
_READERS: dict[tuple[int, bool], tuple[Photometry, _Measure]] = {}


def _reader(fields: Photometry, forced: bool, missing: tuple[float, ...]) -> _Measure:
    """A function that makes a measurement of a record; made once for each layout."""
    key = (id(fields), forced)
    if key not in _READERS:
        # the fields are kept too, so that nothing else gets their id
        _READERS[key] = (fields, _made(fields, forced, missing))
    return _READERS[key][1]


def _made(fields: Photometry, forced: bool, missing: tuple[float, ...]) -> _Measure:
    # histories are long and this is called for each of their items: names are looked up once, here
    known, bands, constant = fields.system != "unknown", fields.bands, fields.constant_band
    offsets = fields.system if isinstance(fields.system, dict) else None
    jd_name, mjd_name, band_name, sign_name, id_name = (
        fields.jd, fields.mjd, fields.band, fields.sign, fields.id,
    )  # fmt: skip
    mag_name, mag_err_name, limit_name = fields.mag, fields.mag_err, fields.limiting_mag
    flux_name, flux_err_name, zero_name = fields.flux, fields.flux_err, fields.zero_point

    def number(record: Mapping[str, Any], name: str | None) -> float | None:
        value = None if name is None else record.get(name)
        if value.__class__ is float and value not in missing and math.isfinite(value):
            return value  # as nearly all
        return _number(value, missing)

    def measure(record: Mapping[str, Any]) -> Measurement:
        mjd = number(record, mjd_name)
        if mjd is None and jd_name is not None:
            jd = number(record, jd_name)
            mjd = None if jd is None else jd - _JD
        band = constant
        if band_name is not None:
            given = record.get(band_name)
            band = None if given is None else bands.get(str(given), None if bands else str(given))
        positive = None if sign_name is None else _sign(record.get(sign_name))
        identity = None if id_name is None else _identifier(record.get(id_name), missing)
        if not known:
            return Measurement(mjd, band, positive=positive, forced=forced, id=identity)
        shift = 0.0 if offsets is None else offsets.get(band or "")
        limit = number(record, limit_name)
        if flux_name is not None:
            flux, flux_err = number(record, flux_name), number(record, flux_err_name)
            if zero_name is not None:
                zero = number(record, zero_name)
                # -50 to 100 mag: outside, the power overflows and the number is none
                scale = 10 ** (0.4 * (31.4 - zero)) if zero is not None and -50 < zero < 100 else None
                flux = None if flux is None or scale is None else flux * scale
                flux_err = None if flux_err is None or scale is None else flux_err * scale
            mag, mag_err = from_flux(flux, flux_err)
            if positive is None and flux is not None:
                positive = flux > 0
        else:
            mag, mag_err = number(record, mag_name), number(record, mag_err_name)
            mag = None if mag is None or shift is None else mag + shift
            flux, flux_err = from_magnitude(mag, mag_err, positive)
        limit = None if limit is None or shift is None else limit + shift
        return Measurement(mjd, band, flux, flux_err, mag, mag_err, limit, positive, forced, identity)

    return measure


def _number(value: Any, missing: tuple[float, ...]) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise PacketError(f"{str(value)[:40]!r} stands where a number was expected")
    number = float(value)
    return number if math.isfinite(number) and number not in missing else None


def _identifier(value: Any, missing: tuple[float, ...]) -> str | None:
    if value.__class__ is int and value not in missing:
        return str(value)
    if value is None or value == "" or (isinstance(value, int | float) and value in missing):
        return None
    if isinstance(value, float):  # tables make floats of whole numbers that have gaps
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT else None
    if not isinstance(value, int | str):
        raise PacketError(f"{str(value)[:40]!r} stands where an identifier was expected")
    return str(value)


def _sign(value: Any) -> bool | None:
    if value.__class__ is str and value in _SIGNS:  # else they are made lower case over and over again
        return _SIGNS[value]
    text = str(value).lower()
    return True if text in _TRUE else False if text in _FALSE else None


def _version(schema: str) -> str:
    """LSST says the version of its packets in the name of their schema: lsst.v9_0.alert."""
    found = re.search(r"\bv(\d+)_(\d+)\b", schema)
    return "" if found is None else f"{found[1]}.{found[2]}"


def _at(record: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(record, Mapping):
            return None
        record = record.get(name)
    return record


def _cutout(record: Mapping[str, Any], path: str | None) -> Cutout:
    value = None if path is None else _at(record, path)
    content = value.get("stampData") if isinstance(value, Mapping) else value
    if content is None or content in (b"", ""):
        return Cutout(None, "is absent")
    if not isinstance(content, bytes):
        raise PacketError(f"{path} is a {type(content).__name__}, expected bytes")
    try:
        image = unpack_stamp(content)
    except DamagedError:
        raise
    except PacketError as error:
        return Cutout(None, str(error))
    return Cutout(image) if good_pixels(image).any() else Cutout(image, "has no pixel with a value")


@cache
def layouts() -> tuple[Layout, ...]:
    """The layouts of the surveys that AstrID knows."""
    text = resources.files("astrid.alerts").joinpath("layouts.toml").read_text("utf-8")
    return _parsed(text, "layouts.toml")


def read_layouts(path: str | Path) -> tuple[Layout, ...]:
    """Layouts from a file of one's own: a table for each survey.

    Raises
    ------
    UsageError
        It cannot be read, or a word in it is not one of a layout.
    """
    try:
        return _parsed(Path(path).read_text("utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a layout in TOML") from error


def _parsed(text: str, name: str) -> tuple[Layout, ...]:
    try:
        tables = tomllib.loads(text)
        return tuple(Layout.model_validate({"name": survey, **table}) for survey, table in tables.items())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{name}: {where}: {first['msg']}; correct the layout") from error
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise UsageError(f"{name}: {error}; give a layout in TOML") from error


def find_layout(schema: str, record: Mapping[str, Any] | None, own: tuple[Layout, ...] = ()) -> Layout:
    """The layout of a packet.

    Parameters
    ----------
    schema : str
        Name of its Avro schema; empty for a row of a table.
    record : mapping or None
        None before it is read, when only a schema can tell.
    own : tuple of Layout
        Asked before those of AstrID.

    Raises
    ------
    PacketError
        No layout is for such packets.
    """
    for one in (*own, *layouts()):
        if schema:
            if any(fnmatchcase(schema, pattern) for pattern in one.schemas):
                return one
        elif record is not None and (one.columns or one in own):
            names = (_at(record, path) for path in one.object_id)
            label = next((str(name) for name in names if name is not None), "")
            if all(column in record for column in one.columns) and fnmatchcase(label, one.objects):
                return one
    known = ", ".join(one.name for one in layouts())
    what = f"packets of the schema {schema}" if schema else "a row with such columns"
    raise PacketError(
        f"{what} are of no survey that is known ({known}); describe them in a layout (--layout)"
    )
