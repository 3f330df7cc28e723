"""Candidates as alert packets: Avro records with their cutouts, in a documented schema.

The schema is ``schemas/candidate.avsc``, laid out as the packets of ZTF so that brokers
find what they look for. Associating, scoring or sending packets happens elsewhere.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PacketError

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["candidate_schema", "read_packets", "write_packets"]

_CUTOUTS = {"science": "cutoutScience", "reference": "cutoutTemplate", "difference": "cutoutDifference"}
_SIDES = ("left", "right", "bottom", "top")
_DERIVED = {"isdiffpos", "jd"}  # fields that follow from others and are filled in here
_NUMPY = {"long": np.int64, "double": np.float64, "boolean": np.bool_, "string": np.str_}

# what a broken file makes fastavro, gzip and astropy raise
_BROKEN = (
    ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError, OverflowError, OSError,
    MemoryError, StopIteration, struct.error, zlib.error,
)  # fmt: skip


@cache
def candidate_schema() -> dict[str, Any]:
    """The Avro schema of one packet, as a parsed JSON document."""
    text = resources.files("astrid.images").joinpath("schemas/candidate.avsc").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def write_packets(
    path: str | Path,
    candidates: Table,
    triplets: Mapping[str, NDArray[Any]],
    facts: Mapping[str, float | str | None],
    *,
    run: str,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write candidates and their cutouts as one Avro object container file.

    The same arguments give the same file, byte by byte. The file is not written
    atomically; write into a directory of your own and move it.

    Parameters
    ----------
    path : str or Path
    candidates : `~astropy.table.Table`
        As `difference` makes it, with or without the scores of a model; masked and not-finite
        values become null.
    triplets : mapping
        ``science``, ``reference`` and ``difference``, each (n, size, size) float32, in
        the order of `candidates`; ``id``, (n,) int; ``padded``, (n, 4) int, optional:
        pixels beyond the image on the left, right, bottom and top.
    facts : mapping
        What all candidates share, by the names of the schema: ``mjd``, ``filter``,
        ``zero_point``, ``limiting_mag``, ``science_sha256``, ``model``, and so on. What is absent is null.
    run : str
        Text that identifies the run, such as the hashes of its inputs and its
        configuration: it decides the packets' ``candid``.
    metadata : mapping of str to str, optional
        Goes into the header of the file, beside the schema.

    Raises
    ------
    PacketError
        A column or fact that the schema does not have, a value that must not be
        null, or cutouts that do not belong to the table.
    OSError
        The file cannot be written.
    """
    import fastavro

    records = list(_records(candidates, triplets, facts, run))
    schema = fastavro.parse_schema(candidate_schema())
    marker = hashlib.sha256(run.encode()).digest()[:16]  # random by default, which would change every file
    try:
        with Path(path).open("wb") as file:
            # the stamps, most of the bytes, are compressed already
            fastavro.writer(
                file, schema, records, codec="null", metadata=metadata, sync_marker=marker, strict=True
            )
    except (TypeError, ValueError) as error:
        raise PacketError(f"{path}: a candidate does not fit the schema ({error}); check it") from error


def read_packets(path: str | Path) -> tuple[Table, dict[str, NDArray[Any]]]:
    """Read packets of this schema, or of a version before it, back into a candidate table and triplets.

    Parameters
    ----------
    path : str or Path

    Returns
    -------
    candidates : `~astropy.table.Table`
        One row for each packet: ``candid`` and the fields of its ``candidate``; null is masked,
        and so is a field that the packets are too old to have.
    triplets : dict
        ``science``, ``reference``, ``difference``: (n, size, size) float32; ``id``: (n,)
        int64; ``padded``: (n, 4) int16, 0 where the packet does not say.

    Raises
    ------
    PacketError
        Not an Avro file, a broken one, packets of another schema, or cutouts that are
        absent or of different sizes.
    """
    import fastavro
    from astropy.table import MaskedColumn, Table
    from fastavro.schema import SchemaParseException

    try:
        with Path(path).open("rb") as file:
            reader = fastavro.reader(file)
            name = reader.writer_schema.get("name")
            packets: list[Any] = [record for record in reader if isinstance(record, dict)]
    except FileNotFoundError as error:
        raise PacketError(f"{path}: there is no such file; give the path of an alerts.avro") from error
    except (*_BROKEN, SchemaParseException) as error:
        raise PacketError(
            f"{path}: not a readable Avro file ({type(error).__name__}: {error}); "
            "give the alerts.avro of a run"
        ) from error
    if name != "astrid.alert":
        raise PacketError(f"{path}: packets of the schema {name!r}, expected 'astrid.alert'")

    fields = _fields()
    table = Table()
    try:
        table["candid"] = np.array([packet["candid"] for packet in packets], np.int64)
        for field, (kind, optional, doc) in fields.items():
            values = [
                packet["candidate"].get(field) if optional else packet["candidate"][field]
                for packet in packets
            ]
            null = [value is None for value in values]
            blank = _NUMPY[kind]().item()
            filled = [blank if value is None else value for value in values]
            data: NDArray[Any] = np.array(filled, _NUMPY[kind])
            table[field] = MaskedColumn(data, mask=null, description=doc) if any(null) else data
            table[field].description = doc
        stamps = {
            label: [_unpack(packet[cutout]["stampData"]) for packet in packets]
            for label, cutout in _CUTOUTS.items()
        }
        padded = [[(packet["cutoutPadding"] or {}).get(side, 0) for side in _SIDES] for packet in packets]
    except _BROKEN as error:
        raise PacketError(
            f"{path}: a packet is incomplete ({type(error).__name__}: {error}); write the file again"
        ) from error
    shapes = {stamp.shape for planes in stamps.values() for stamp in planes}
    if len(shapes) > 1:
        raise PacketError(f"{path}: cutouts of the sizes {sorted(shapes)}; expected one size in one file")
    size = shapes.pop() if shapes else (0, 0)
    triplets: dict[str, NDArray[Any]] = {
        label: np.array(planes, np.float32).reshape(len(packets), *size) for label, planes in stamps.items()
    }
    triplets["id"] = np.asarray(table["id"], np.int64) if packets else np.zeros(0, np.int64)
    triplets["padded"] = np.array(padded, np.int16).reshape(len(packets), 4)
    return table, triplets


@cache
def _fields() -> dict[str, tuple[str, bool, str]]:
    """Fields of the candidate record: their type, whether they may be null, and what they mean."""
    record = next(field for field in candidate_schema()["fields"] if field["name"] == "candidate")["type"]
    fields = {}
    for field in record["fields"]:
        kind = field["type"]
        optional = isinstance(kind, list)
        fields[field["name"]] = (kind[1] if optional else kind, optional, field["doc"])
    return fields


def _records(
    candidates: Table,
    triplets: Mapping[str, NDArray[Any]],
    facts: Mapping[str, float | str | None],
    run: str,
) -> Iterator[dict[str, Any]]:
    """One packet for each row."""
    fields = _fields()
    unknown = sorted(({*candidates.colnames} | {*facts}) - {*fields})
    if unknown:
        raise PacketError(f"the packet schema has no field {', '.join(unknown)}; add it to candidate.avsc")
    n = len(candidates)
    for label in _CUTOUTS:
        if label not in triplets or np.shape(triplets[label])[:1] != (n,):
            raise PacketError(
                f"expected {n} {label} cutouts, one for each candidate; got {_shape(triplets, label)}"
            )
    if "id" in triplets and not np.array_equal(triplets["id"], candidates["id"]):
        raise PacketError("the ids of the cutouts are not those of the candidates; give both in one order")

    shared = {name: _value(facts.get(name), fields[name]) for name in fields}
    if shared["mjd"] is not None:
        shared["jd"] = shared["mjd"] + 2400000.5
    version = candidate_schema()["version"]
    for row in range(n):
        own = {name: _value(candidates[name][row], fields[name]) for name in candidates.colnames}
        record = {**shared, **own}
        if record["snr"] is not None:
            record["isdiffpos"] = bool(record["snr"] > 0)
        gone = [name for name, (_, optional, _) in fields.items() if record[name] is None and not optional]
        if gone:
            raise PacketError(f"candidate {row}: {', '.join(gone)} must have a value; measure it or drop it")
        padded = triplets.get("padded")
        name = record["id"]
        yield {
            "schemavsn": version,
            "publisher": "astrid",
            "objectId": None,
            "candid": _candid(run, name),
            "candidate": record,
            "cutoutPadding": None
            if padded is None
            else dict(zip(_SIDES, map(int, padded[row]), strict=True)),
            **{
                cutout: {
                    "fileName": f"candidate{name}_{label}.fits.gz",
                    "stampData": _pack(triplets[label][row]),
                }
                for label, cutout in _CUTOUTS.items()
            },
        }


def _value(value: Any, field: tuple[str, bool, str]) -> Any:
    """A plain Python value of the field's type, or None if there is none."""
    if value is None or np.ma.is_masked(value):
        return None
    kind = field[0]
    if kind == "double":
        number = float(value)
        return number if np.isfinite(number) else None
    return {"long": int, "boolean": bool, "string": str}[kind](value)


def _candid(run: str, number: int) -> int:
    """Positive 63-bit identifier that follows from the run and the candidate's number in it."""
    digest = hashlib.sha256(f"{run}\n{number}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _pack(stamp: NDArray[Any]) -> bytes:
    """The image as a gzip FITS file, without a date in it."""
    from astropy.io import fits

    buffer = io.BytesIO()
    fits.PrimaryHDU(np.ascontiguousarray(stamp, np.float32)).writeto(buffer)
    return gzip.compress(buffer.getvalue(), mtime=0)


def _unpack(stamp: bytes) -> NDArray[np.float32]:
    """The image in a gzip FITS file."""
    from astropy.io import fits

    with fits.open(io.BytesIO(gzip.decompress(stamp))) as hdus:
        return np.asarray(hdus[0].data, np.float32)


def _shape(triplets: Mapping[str, NDArray[Any]], label: str) -> str:
    return f"an array of shape {np.shape(triplets[label])}" if label in triplets else "none"
