"""Announcements as VOEvents, the form in which telescopes and brokers tell each other of events.

Times are UTC and positions ICRS. Everything that is not in the standard's own places is a Param.

References
----------
Seaman et al. 2011, IVOA Recommendation "Sky Event Reporting Metadata", version 2.0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit
from xml.etree import ElementTree as ET

from astrid.errors import UsageError
from astrid.stream.announcement import Announcement
from astrid.stream.sinks import FileSink
from astrid.stream.webhook import Poster

__all__ = ["VOEventFiles", "VOEventPost", "voevent"]

_VOE = "http://www.ivoa.net/xml/VOEvent/v2.0"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"
_SYSTEM = "UTC-ICRS-TOPO"
_AUTHORITY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,}")  # as IVOA identifiers have them
# what XML 1.0 cannot hold
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PARAMS = (
    ("alert_id", None, "meta.id"),
    ("object_id", None, "meta.id;src"),
    ("band", None, "instr.bandpass"),
    ("flux", "nJy", "phot.flux"),
    ("flux_err", "nJy", "stat.error;phot.flux"),
    ("magpsf", "mag", "phot.mag"),
    ("sigmapsf", "mag", "stat.error;phot.mag"),
)


def voevent(announcement: Announcement, *, authority: str = "astrid", now: datetime | None = None) -> bytes:
    """The announcement as a VOEvent 2.0 document.

    Parameters
    ----------
    announcement : Announcement
    authority : str
        Who sends it, as registered in the Virtual Observatory.
    now : datetime, optional
        When it was made.

    Raises
    ------
    UsageError
        The authority is no name of one.
    """
    _check(authority)
    one = announcement
    local = quote(f"{one.alert_id}-{one.filter_hash[:16]}", safe="-._")
    stream = f"ivo://{authority}/{quote(one.survey, safe='')}/{quote(one.filter, safe='')}"
    ET.register_namespace("voe", _VOE)
    ET.register_namespace("xsi", _XSI)
    root = ET.Element(
        f"{{{_VOE}}}VOEvent",
        {
            "ivorn": f"{stream}#{local}",
            "role": "observation",
            "version": "2.0",
            f"{{{_XSI}}}schemaLocation": f"{_VOE} http://www.ivoa.net/xml/VOEvent/VOEvent-v2.0.xsd",
        },
    )
    _who(root, authority, now or datetime.now(UTC))
    _what(root, one)
    _where_when(root, one)
    _why(root, one)
    ET.indent(root)
    document: bytes = ET.tostring(root, encoding="UTF-8", xml_declaration=True)
    return document


def _check(authority: str) -> None:
    if not _AUTHORITY.fullmatch(authority):
        raise UsageError(
            f"{authority!r} is no authority of the Virtual Observatory; give one such as org.example"
        )


def _who(root: ET.Element, authority: str, now: datetime) -> None:
    who = ET.SubElement(root, "Who")
    _text(who, "AuthorIVORN", f"ivo://{authority}")
    _text(who, "Date", now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    _text(ET.SubElement(who, "Author"), "title", "AstrID")


def _what(root: ET.Element, one: Announcement) -> None:
    what = ET.SubElement(root, "What")
    _param(what, "survey", one.survey, ucd="meta.id;instr")
    for name, unit, ucd in _PARAMS:
        _param(what, name, getattr(one, name), unit, ucd)
    _param(what, "filter", one.filter)
    _param(what, "filter_hash", one.filter_hash)
    _param(what, "key", one.key, ucd="meta.id")
    for score in one.scores:
        group = ET.SubElement(
            what, "Group", {"name": _clean(f"{score.bundle}:{score.label}"), "type": "score"}
        )
        for name in ("bundle", "hash", "label", "value", "spread", "decision", "set", "applicable"):
            _param(group, name, getattr(score, name))
    if one.matches:
        group = ET.SubElement(what, "Group", {"name": "matches", "type": "crossmatch"})
        for name, value in one.matches.items():
            _param(group, name, value, "arcsec" if name.endswith("_distance") else None)


def _where_when(root: ET.Element, one: Announcement) -> None:
    where = ET.SubElement(root, "WhereWhen")
    location = ET.SubElement(where, "ObsDataLocation")
    ET.SubElement(location, "ObservatoryLocation", {"id": _clean(one.survey)})
    observation = ET.SubElement(location, "ObservationLocation")
    ET.SubElement(observation, "AstroCoordSystem", {"id": _SYSTEM})
    coords = ET.SubElement(observation, "AstroCoords", {"coord_system_id": _SYSTEM})
    if one.mjd is not None:
        instant = ET.SubElement(ET.SubElement(coords, "Time", {"unit": "s"}), "TimeInstant")
        _text(instant, "ISOTime", _utc(one.mjd, one.time_scale or "utc"))
    if one.ra is not None and one.dec is not None:
        position = ET.SubElement(coords, "Position2D", {"unit": "deg"})
        _text(position, "Name1", "RA")
        _text(position, "Name2", "Dec")
        value = ET.SubElement(position, "Value2")
        _text(value, "C1", repr(float(one.ra)))
        _text(value, "C2", repr(float(one.dec)))
        _text(position, "Error2Radius", "NaN")  # must be there; packets do not tell it
    if one.mjd is not None and one.time_scale is None:
        _text(where, "Description", "The survey does not say of which scale its times are; taken as UTC.")


def _why(root: ET.Element, one: Announcement) -> None:
    why = ET.SubElement(root, "Why")
    _text(why, "Name", one.object_id or one.alert_id)
    _text(why, "Description", f"passed the filter {one.filter}")
    for score in one.scores:
        if score.value is not None and math.isfinite(score.value):
            inference = ET.SubElement(why, "Inference", {"probability": repr(float(score.value))})
            _text(inference, "Name", f"{score.label} by {score.bundle}")


def _param(
    parent: ET.Element, name: str, value: Any, unit: str | None = None, ucd: str | None = None
) -> None:
    if value is None:
        return
    kind = "int" if isinstance(value, int) and not isinstance(value, bool) else "string"
    text = str(value)
    if isinstance(value, float):
        kind, text = "float", repr(value) if math.isfinite(value) else str(value).replace("inf", "INF")
    facts = {"name": _clean(name), "value": _clean(text), "dataType": kind}
    facts |= {key: given for key, given in (("unit", unit), ("ucd", ucd)) if given is not None}
    ET.SubElement(parent, "Param", facts)


def _text(parent: ET.Element, name: str, content: str) -> None:
    ET.SubElement(parent, name).text = _clean(content)


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)


def _utc(mjd: float, scale: str) -> str:
    from astropy.time import Time

    time: str = Time(mjd, format="mjd", scale=scale, precision=3).utc.isot
    return time


class VOEventFiles(FileSink):
    """One XML file for each announcement, named by its key.

    Parameters
    ----------
    folder : str or Path
    authority : str
        See `voevent`.
    """

    suffix = ".xml"

    def __init__(self, folder: str, *, authority: str = "astrid") -> None:
        super().__init__(folder)
        _check(authority)
        self._authority = authority

    def content(self, announcement: Announcement) -> bytes:
        """The document."""
        return voevent(announcement, authority=self._authority)


class VOEventPost:
    """Posts each announcement as a VOEvent document.

    Parameters
    ----------
    address : str
        Its option ``authority`` is kept here and not sent.
    **how
        See `Poster`.
    """

    at_once = 1
    cutouts = False

    def __init__(self, address: str, **how: Any) -> None:
        parts = urlsplit(address)
        query = parse_qsl(parts.query, keep_blank_values=True)
        self._authority = dict(query).get("authority", "astrid")
        kept = urlencode([(name, value) for name, value in query if name != "authority"])
        self._poster = Poster(urlunsplit(parts._replace(query=kept)), **how)
        _check(self._authority)

    def send(self, announcements: Sequence[Announcement]) -> None:
        """Post them; see `Sink.send`."""
        for one in announcements:
            document = voevent(one, authority=self._authority)
            key = quote(one.key, safe=":")
            self._poster.post(document, {"Content-Type": "text/xml", "Idempotency-Key": key})

    def close(self) -> None:
        """Nothing is open."""
