"""What a person wants to know of an alert, as plain values ready for the eye.

The same for the page of an object and for the scripts of the review pages; nothing is decided here, and
what a packet says is passed on as text that whoever shows it must not take for HTML.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import numpy as np

from astrid.alerts import CUTOUTS, SchemaBook, shown_planes
from astrid.errors import PacketError, StoreError
from astrid.store.store import Store
from astrid.stream.stored import stored_alert

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "curve", "facts", "finite", "links", "neighbours", "no_curve", "packed", "planes_of", "scores",
    "survey_facts",
]  # fmt: skip

_AB_NANOJANSKY = 31.4  # AB magnitude of 1 nJy
_SLOW = 0.5  # d: of a change over less, the errors are most
_SEEN = 3.0  # sigma: a forced flux below it is shown as a limit of 5 sigma
_EPOCH, _DAY = 40587.0, 86400.0  # MJD of 1970, s
_COMMON = frozenset(
    ("survey", "alert_id", "object_id", "version", "history", "extras", "arrived", "healpix", "batch")
)
_FIXED = "\N{NO-BREAK SPACE}"
_SHORT = 60  # characters of a text value
_SIGNS: dict[bool | None, str] = {True: "brighter", False: "fainter"}


def facts(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """What matters first: how bright, how sure, how old, where and when."""
    found: list[dict[str, str]] = []

    def add(name: str, text: str | None, hint: str = "") -> None:
        if text:
            found.append({"name": name, "text": text, "hint": hint})

    get = row.get
    add("magnitude", _with_error(get("magpsf"), get("sigmapsf"), get("band")), "AB, of the difference")
    add("S/N", _number(get("snr"), 1))
    add("sign", _SIGNS.get(get("positive")), "than in the reference")
    add("limit", _number(get("limiting_mag"), 2), "5 sigma of the image, AB mag")
    age, earlier = get("age"), get("n_detections")
    add("age", None if age is None else f"{_number(age, 1)} d", "since the first detection")
    add("earlier", None if earlier is None else f"{earlier} detections", "in the history of the packet")
    rate, before = get("mag_rate"), get("mjd_before")
    if before is None or get("mjd") is None or get("mjd") - before < _SLOW:
        rate = None
    add("change", None if rate is None else f"{rate:+.2f} mag/d".replace("-", "−"), "in this band")
    add("g − r", _number(get("g_r"), 2))
    last = get("last_limit")
    since = _number(get("last_limit_age"), 1)
    add("last limit", None if last is None else f"{last:.2f}, {since} d before", "visit without a detection")
    add(
        "chip",
        None if get("x") is None else f"{get('x'):.0f}, {get('y') or 0:.0f} px",
        "column and row, from 0",
    )
    add("position", _position(get("ra"), get("dec")), "right ascension and declination, ICRS")
    add("galactic", _galactic(get("ra"), get("dec")), "longitude and latitude")
    mjd = get("mjd")
    if mjd is not None:
        moment = datetime.fromtimestamp((mjd - _EPOCH) * _DAY, UTC)
        add(
            "time", f"{moment:%Y-%m-%d %H:%M}", f"{get('time_scale') or 'of an unknown scale'}, MJD {mjd:.5f}"
        )
    add("night", get("night"))
    add("images", get("image_problem"), "why there is no full set")
    return found


def survey_facts(row: Mapping[str, Any], schema: pa.Schema) -> list[dict[str, str]]:
    """What the survey itself says of the alert, as far as it does."""
    prefix = f"{row.get('survey')}_".lower()
    found = []
    for field in schema:
        value = row.get(field.name)
        if value is None or not field.name.startswith(prefix) or field.name in _COMMON:
            continue
        said = {key.decode(): text.decode() for key, text in (field.metadata or {}).items()}
        text = _number(value, 4) if isinstance(value, float) else str(value)[:_SHORT]
        unit = said.get("unit", "")
        found.append(
            {
                "name": field.name.removeprefix(prefix),
                "text": f"{text} {unit}".strip(),
                "hint": said.get("meaning", "").partition(": ")[2] or said.get("meaning", ""),
            }
        )
    return found


def neighbours(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The nearest source of each catalogue that was asked, the nearest first."""
    found = []
    for column, distance in row.items():
        name, _, last = column.rpartition("_")
        if last != "distance" or f"{name}_count" not in row or distance is None:
            continue
        own = ("distance", "count", "id")
        more = [
            {"name": key.removeprefix(f"{name}_"), "text": _text(value)}
            for key, value in row.items()
            if key.startswith(f"{name}_") and value is not None and key.removeprefix(f"{name}_") not in own
        ]
        source = row.get(f"{name}_id")
        found.append(
            {
                "catalog": name,
                "distance": distance if math.isfinite(distance) else None,
                "text": f"{distance:.2f}″" if math.isfinite(distance) else "none",
                "count": row.get(f"{name}_count") or 0,
                "id": None if source is None else str(source),
                "more": more,
            }
        )
    return sorted(found, key=lambda one: (one["distance"] is None, one["distance"] or 0.0, one["catalog"]))


def scores(table: pa.Table, task: str = "") -> list[dict[str, Any]]:
    """What each bundle says, those of the task first.

    Parameters
    ----------
    table : pyarrow.Table
        `Store.scores` of one alert.
    task : str
    """
    bundles: dict[tuple[str, str], dict[str, Any]] = {}
    for row in table.to_pylist():
        one = bundles.setdefault(
            (row["bundle"], row["hash"]),
            {
                "bundle": row["bundle"],
                "hash": row["hash"][:12],
                "decision": row["decision"],
                "set": row["set"],
                "applicable": row["applicable"] or "",
                "unscored": row["unscored"] or "",
                "of_task": row["bundle"].partition(".")[0] == task,
                "values": [],
            },
        )
        if row["value"] is not None:
            one["values"].append(
                {"label": row["label"], "value": row["value"], "spread": row["spread"], "text": _score(row)}
            )
    for one in bundles.values():
        one["values"].sort(key=lambda value: -value["value"])
    return sorted(bundles.values(), key=lambda one: (not one["of_task"], one["bundle"]))


def curve(table: pa.Table, alert_id: str | None, time_scale: str | None) -> dict[str, Any]:
    """A light curve as lists of equal length, of what has a magnitude or a limit.

    Parameters
    ----------
    table : pyarrow.Table
        `Store.light_curve`.
    alert_id : str, optional
        Its own measurement is marked.
    time_scale : str, optional
    """
    names = ("mjd", "mag", "err", "limit", "band", "positive", "forced", "now", "alert_id")
    columns: dict[str, list[Any]] = {name: [] for name in names}
    for row in table.to_pylist():
        mag, error, limit = row["magpsf"], row["sigmapsf"], False
        flux, flux_err = row["flux"], row["flux_err"]
        if row["forced"] and flux is not None and flux_err and abs(flux) < _SEEN * flux_err:
            mag = None  # the magnitude of noise
        if mag is None:
            limit, error, mag = True, None, row["limiting_mag"]
            if mag is None and flux_err is not None and flux_err > 0:
                mag = _AB_NANOJANSKY - 2.5 * math.log10(5 * flux_err)
        if mag is None or row["mjd"] is None or not math.isfinite(mag):
            continue
        own = not row["forced"] and row["id"] is not None
        values = (
            row["mjd"], mag, error, limit, row["band"] or "", row["positive"], bool(row["forced"]),
            own and row["id"] == alert_id, row["id"] if own and row["id"] == row["alert_id"] else None,
        )  # fmt: skip
        for name, value in zip(names, values, strict=True):
            columns[name].append(value)
    return {**columns, "time_scale": time_scale}


def links(row: Mapping[str, Any]) -> list[dict[str, str]]:
    """Pages of others about the object or its position, which a person may follow."""
    ra, dec, name = row.get("ra"), row.get("dec"), str(row.get("object_id") or "")
    found = []
    if row.get("survey") == "ztf" and re.fullmatch(r"ZTF\d\d[a-z]{7}", name):
        found.append({"name": "ALeRCE", "address": f"https://alerce.online/object/{name}"})
        found.append({"name": "Fink", "address": f"https://fink-portal.org/{name}"})
    if ra is not None and dec is not None:
        place = f"{ra:.6f} {dec:+.6f}"
        for title, base, query in (
            ("Simbad", "https://simbad.cds.unistra.fr/simbad/sim-coo",
             {"Coord": place, "CooFrame": "ICRS", "Radius": "10", "Radius.unit": "arcsec"}),
            ("NED", "https://ned.ipac.caltech.edu/conesearch",
             {"search_type": "Near Position Search", "radius": "0.5",
              "coordinates": f"{ra:.6f}d {dec:+.6f}d"}),
            ("TNS", "https://www.wis-tns.org/search",
             {"ra": f"{ra:.6f}", "decl": f"{dec:.6f}", "radius": "5", "coords_unit": "arcsec"}),
            ("Aladin", "https://aladin.cds.unistra.fr/AladinLite/", {"target": place, "fov": "0.05"}),
        ):  # fmt: skip
            found.append({"name": title, "address": f"{base}?{urlencode(query)}"})
    return found


def packed(facts: Mapping[str, Any], planes: Sequence[tuple[str, np.ndarray | None, str]]) -> bytes:
    """A candidate for the scripts: the length of a JSON text (uint32), that text, the pixels (float32).

    Parameters
    ----------
    facts : mapping
        JSON's own types, all numbers finite.
    planes : sequence of (name, (ny, nx) float32 ndarray or None, problem)

    Returns
    -------
    bytes
        Little-endian; the text is padded with blanks to a multiple of 4, so that the pixels are aligned.
    """
    described: list[dict[str, Any]] = []
    pixels: list[bytes] = []
    offset = 0
    for name, plane, problem in planes:
        if plane is None:
            described.append({"name": name, "problem": problem or "no image"})
            continue
        ny, nx = plane.shape
        described.append({"name": name, "nx": nx, "ny": ny, "offset": offset, "problem": ""})
        pixels.append(plane.astype("<f4").tobytes())
        offset += plane.size
    text = json.dumps({**facts, "planes": described}, allow_nan=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 4)
    return b"".join((struct.pack("<I", len(text)), text, *pixels))


def planes_of(store: Store, book: SchemaBook, survey: str, alert_id: str) -> list[tuple[str, Any, str]]:
    """The images of an alert of the store, or why there are none."""
    try:
        alert = stored_alert(store, survey, alert_id, book=book, history=False)
    except (PacketError, StoreError) as error:
        # the sentence of an error of the store names files of the house
        reason = str(error) if isinstance(error, PacketError) else "the packet is not kept any more"
        return [(name, None, reason) for name in CUTOUTS]
    shown = shown_planes(alert)
    cutouts = alert.cutouts
    return [
        (name, shown.get(name), cutouts[name].problem if name in cutouts else "not in the packet")
        for name in CUTOUTS
    ]


def finite(value: Any) -> Any:
    """Values for JSON: what is not finite is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(one) for key, one in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, str | bytes):
        return [finite(one) for one in value]
    return value


def _score(row: Mapping[str, Any]) -> str:
    spread = "" if row["spread"] is None else f" ± {row['spread']:.3f}"
    return f"{row['value']:.3f}{spread}"


def _number(value: float | None, digits: int) -> str | None:
    if value is None or not math.isfinite(value):
        return None
    size = abs(value)
    text = f"{value:.{digits}f}" if size == 0 or 10.0**-digits <= size < 1e6 else f"{value:.{digits}g}"
    return text.replace("-", "−")


def _with_error(value: float | None, error: float | None, band: str | None) -> str | None:
    if value is None:
        return None
    spread = "" if error is None else f" ± {error:.2f}"
    return f"{value:.2f}{spread} {band or ''}".strip()


def _text(value: Any) -> str:
    return (_number(value, 3) or "") if isinstance(value, float) else str(value)[:_SHORT]


def _position(ra: float | None, dec: float | None) -> str | None:
    if ra is None or dec is None:
        return None
    hours, minutes, seconds = _sixtieths(ra / 15, 2)
    degrees, arcmin, arcsec = _sixtieths(abs(dec), 1)
    sign = "−" if dec < 0 else "+"
    east = f"{hours % 24:02d} {minutes:02d} {seconds:05.2f}"
    north = f"{sign}{degrees:02d} {arcmin:02d} {arcsec:04.1f}"
    return " ".join(one.replace(" ", _FIXED) for one in (east, north))


def _sixtieths(value: float, digits: int) -> tuple[int, int, float]:
    """Whole, minutes and seconds, rounded before they are split: 59.999 s do not become 60.0."""
    total = round(value * 3600, digits)
    return int(total // 3600), int(total % 3600 // 60), round(total % 60, digits)


def _galactic(ra: float | None, dec: float | None) -> str | None:
    if ra is None or dec is None:
        return None
    import erfa

    longitude, latitude = np.degrees(erfa.icrs2g(np.radians(ra), np.radians(dec)))
    return f"{longitude % 360:.2f}°, {latitude:+.2f}°".replace("-", "−")


def no_curve() -> dict[str, Any]:
    """The light curve of what belongs to no object."""
    return {
        name: [] for name in ("mjd", "mag", "err", "limit", "band", "positive", "forced", "now", "alert_id")
    } | {"time_scale": None}
