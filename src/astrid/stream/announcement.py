"""What is told to the world about an alert that passed a filter, in one form for every receiver.

Made of what the store has; sending is done in `sinks`. The Avro schema is ``announcement.avsc``.
"""

from __future__ import annotations

import gzip
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from astrid.files.record import plain

__all__ = ["Announcement", "ScoreOf", "announcement_key", "announcement_schema", "packed_cutout"]

_MARKER = b"astrid announce\n"  # fixed: the same announcement is the same bytes


@cache
def announcement_schema() -> dict[str, Any]:
    """The Avro schema of one announcement, as a parsed JSON document."""
    text = resources.files("astrid.stream").joinpath("announcement.avsc").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _parsed() -> Any:
    import fastavro

    return fastavro.parse_schema(announcement_schema())


@dataclass(frozen=True)
class ScoreOf:
    """What one bundle said about one label.

    Parameters
    ----------
    bundle, hash, label : str
    value, spread : float or None
    decision, set, applicable : str or None
    """

    bundle: str
    hash: str
    label: str
    value: float | None = None
    spread: float | None = None
    decision: str | None = None
    set: str | None = None
    applicable: str | None = None


@dataclass(frozen=True, eq=False)
class Announcement:
    """One alert that passed one filter.

    Parameters
    ----------
    filter, filter_hash : str
    survey, alert_id : str
    object_id, night : str or None
    ra, dec : float or None, deg
        ICRS.
    mjd : float or None, days
        In `time_scale`, which is None where the survey does not say.
    time_scale, band : str or None
    flux, flux_err : float or None, nJy
        Of the difference.
    magpsf, sigmapsf : float or None, AB mag
    scores : sequence of ScoreOf
    matches : mapping
        The columns of the catalogues.
    cutouts : mapping of str to bytes
        Gzip FITS by ``science``, ``reference`` and ``difference``; empty where they were not asked for.
    """

    filter: str
    filter_hash: str
    survey: str
    alert_id: str
    object_id: str | None = None
    night: str | None = None
    ra: float | None = None
    dec: float | None = None
    mjd: float | None = None
    time_scale: str | None = None
    band: str | None = None
    flux: float | None = None
    flux_err: float | None = None
    magpsf: float | None = None
    sigmapsf: float | None = None
    scores: Sequence[ScoreOf] = ()
    matches: Mapping[str, Any] = field(default_factory=dict)
    cutouts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The same each time that it is sent: what a receiver knows it by."""
        return announcement_key(self.survey, self.alert_id, self.filter, self.filter_hash)

    def as_dict(self) -> dict[str, Any]:
        """The announcement in JSON's types, without the cutouts; a number that is not finite is None."""
        facts: dict[str, Any] = {"key": self.key}
        facts |= {name: getattr(self, name) for name in _PLAIN}
        facts["scores"] = [asdict(score) for score in self.scores]
        facts["matches"] = dict(self.matches)
        known: dict[str, Any] = plain(facts)
        return known

    def as_json(self) -> bytes:
        """`as_dict` as text, the same bytes each time."""
        return json.dumps(self.as_dict(), ensure_ascii=False, sort_keys=True).encode()

    def as_avro(self) -> bytes:
        """An Avro file of one record, the same bytes each time."""
        import fastavro

        record = self.as_dict()
        record["matches"] = json.dumps(record["matches"], ensure_ascii=False, sort_keys=True)
        for name in _PLAIN:  # Avro can say what JSON cannot
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                record[name] = value
        for name in ("science", "reference", "difference"):
            record[f"cutout_{name}"] = self.cutouts.get(name)
        stream = io.BytesIO()
        fastavro.writer(stream, _parsed(), [record], codec="null", sync_marker=_MARKER)
        return stream.getvalue()


_PLAIN = (
    "filter", "filter_hash", "survey", "alert_id", "object_id", "night", "ra", "dec", "mjd", "time_scale",
    "band", "flux", "flux_err", "magpsf", "sigmapsf",
)  # fmt: skip


def announcement_key(survey: str, alert_id: str, filter: str, filter_hash: str) -> str:
    """What receivers know the announcement of an alert by a filter by."""
    return f"{survey}:{alert_id}:{filter}:{filter_hash[:16]}"


def packed_cutout(image: Any) -> bytes:
    """An image as a gzip FITS file, the same bytes each time."""
    from astropy.io import fits

    stream = io.BytesIO()
    fits.PrimaryHDU(image).writeto(stream)
    return gzip.compress(stream.getvalue(), mtime=0)
