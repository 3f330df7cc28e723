"""Avro schemas of packets: made safe to read with, kept, and found by their numbers.

The schema that a packet was written with must be known to read it: container files carry it, the
streams of LSST only name it. No survey's schema comes with AstrID.
"""

from __future__ import annotations

import json
import re
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from astrid.alerts.projection import list_reader
from astrid.alerts.skipping import skip, skipping_steps
from astrid.errors import PacketError, UsageError

__all__ = ["BROKEN", "Schema", "SchemaBook", "parse_schema"]

BROKEN = (
    ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError, OverflowError, OSError,
    MemoryError, StopIteration, RecursionError, AssertionError,
)  # fmt: skip
"""What broken bytes make fastavro raise, besides its own errors."""

_LARGEST = 1 << 20  # bytes of a schema
_DEEPEST = 24
_MOST_REFUSED = 1000  # numbers; broken packets could name any
_LSST = re.compile(r"lsst\.v(\d+)_(\d+)\.alert")
_TIMEOUT = 10.0  # s for the registry

_Reader = Callable[[bytes, int], tuple[dict[str, Any], int]]


class Schema:
    """A schema that records are read with.

    Parameters
    ----------
    parsed : dict
        As fastavro parsed it.

    Attributes
    ----------
    name : str
    """

    def __init__(self, parsed: dict[str, Any]) -> None:
        self.name = str(parsed.get("name", ""))
        self._parsed = parsed
        self._named: dict[str, Any] = {}
        if _least(parsed, self._named, (), 0) < 1:
            raise PacketError("the schema is of records that take no bytes")
        self._readers: dict[frozenset[tuple[str, frozenset[str]]], _Reader] = {}

    def reader(self, parts: Mapping[str, frozenset[str]] | None = None) -> _Reader:
        """A function that reads a record at a place in some bytes and says where it ends.

        Parameters
        ----------
        parts : mapping of str to frozenset of str, optional
            Lists that are not read whole, and which fields of their items are: several times cheaper
            than to decode them. Of none, the list is skipped and is not in the record.
        """
        key = frozenset(parts.items()) if parts else frozenset()
        if key not in self._readers:
            self._readers[key] = self._made(dict(key))
        return self._readers[key]

    def _made(self, parts: dict[str, frozenset[str]]) -> _Reader:
        # runs of fields that are read whole, runs that are skipped, and lists that are read in part
        plan: list[tuple[str, list[Any], Any]] = []
        for field in self._parsed["fields"]:
            wanted, partly = parts.get(field["name"]), None
            if wanted:
                partly = list_reader(field["type"], wanted, self._named)
            way = "skip" if wanted == frozenset() else "whole" if partly is None else "list"
            if way == "list" or not plan or plan[-1][0] != way:
                plan.append((way, [], partly))
            plan[-1][1].append(field)
        schemas = [{**self._parsed, "fields": fields} for _, fields, _ in plan]
        steps = [
            skipping_steps(schema, self._named) if way == "skip" else ()
            for schema, (way, _, _) in zip(schemas, plan, strict=True)
        ]
        ways = [
            (way, fields[0]["name"], schema, step, partly)
            for (way, fields, partly), schema, step in zip(plan, schemas, steps, strict=True)
        ]

        def read(content: bytes, place: int) -> tuple[dict[str, Any], int]:
            record: dict[str, Any] = {}
            stream = BytesIO(content)
            for way, name, schema, step, partly in ways:
                if way == "skip":
                    place = skip(step, content, place)
                    continue
                if way == "list":
                    found = partly(content, place)
                    if found is not None:
                        record[name], place = found
                        continue
                place = _read_whole(stream, schema, record, place)
            if place > len(content):
                raise PacketError("the record ends beyond its packet")
            return record, place

        return read


def _read_whole(stream: BytesIO, schema: Any, record: dict[str, Any], place: int) -> int:
    """Read the fields of a schema into a record; where they end."""
    import fastavro

    stream.seek(place)
    try:
        part = fastavro.schemaless_reader(stream, schema, None)
    except BROKEN as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise PacketError(f"the record is broken ({reason})") from error
    record.update(part)
    return stream.tell()


@lru_cache(maxsize=32)
def parse_schema(text: bytes) -> Schema:
    """The schema in the header of a file.

    A default of null on a field that cannot be null, which some surveys write, is left out: defaults
    are of no use for reading.

    Raises
    ------
    PacketError
        Not the schema of a record; or one with which a few bytes could stand for anything large.
    """
    if len(text) > _LARGEST:
        raise PacketError(f"a schema of {len(text)} bytes, expected {_LARGEST} at most")
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PacketError(f"the schema is not JSON ({' '.join(str(error).split())[:80]})") from error
    return _schema(document)


def _schema(document: Any) -> Schema:
    import fastavro
    from fastavro.schema import SchemaParseException

    try:
        parsed = fastavro.parse_schema(_without_defaults(document, 0))
        if not isinstance(parsed, dict) or parsed.get("type") != "record":
            raise PacketError("the schema is not that of a record")
        return Schema(parsed)
    except (*BROKEN, SchemaParseException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:160]
        raise PacketError(f"the schema cannot be used ({reason})") from error


def _without_defaults(schema: Any, depth: int) -> Any:
    if depth > 3 * _DEEPEST:
        raise PacketError("the schema is nested too deeply")
    if isinstance(schema, dict):
        left_out = {"default", "__fastavro_parsed__", "__named_schemas", "logicalType"}
        return {key: _without_defaults(one, depth + 1) for key, one in schema.items() if key not in left_out}
    if isinstance(schema, list):
        return [_without_defaults(one, depth + 1) for one in schema]
    return schema


def _least(schema: Any, named: dict[str, Any], inside: tuple[str, ...], depth: int) -> int:
    """The fewest bytes of a value; collects the named types.

    Refuses what could make a short packet long or endless: items of no bytes, and types that hold
    themselves.
    """
    if depth > _DEEPEST:
        raise PacketError("the schema is nested too deeply")
    if isinstance(schema, list):
        if not schema:
            raise PacketError("the schema has a union of nothing")
        return 1 + min(_least(one, named, inside, depth + 1) for one in schema)
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind in ("record", "error"):
        name = str(schema["name"])
        if name in inside:
            raise PacketError(f"the type {name} of the schema holds itself")
        named[name] = schema
        return sum(_least(field["type"], named, (*inside, name), depth + 1) for field in schema["fields"])
    if kind in ("array", "map"):
        if _least(schema["items" if kind == "array" else "values"], named, inside, depth + 1) < 1:
            raise PacketError("the schema has a list whose items take no bytes")
        return 1
    if kind in ("fixed", "enum"):
        named[str(schema["name"])] = schema
        return int(schema["size"]) if kind == "fixed" else 1
    if isinstance(kind, str) and kind in ("null", "boolean", "int", "long", "string", "bytes"):
        return 0 if kind == "null" else 1
    if kind in ("float", "double"):
        return 4 if kind == "float" else 8
    if isinstance(kind, str):
        if kind in inside:
            raise PacketError(f"the type {kind} of the schema holds itself")
        return _least(named[kind], named, inside, depth + 1)
    return _least(kind, named, inside, depth + 1)


class SchemaBook:
    """Schemas by the numbers that packets in Confluent's framing name.

    LSST numbers its schemas by their versions: 701 is v7.1, 1100 is v11.0.

    Parameters
    ----------
    folder : str or Path, optional
        Folder or tar archive with ``NUMBER.avsc``, the survey's own ``lsst.v9_0.alert.avsc`` beside its
        parts, or packets that carry their schema.
    registry : str, optional
        Address of a schema registry, asked once for each number that is not in the folder.

    Raises
    ------
    UsageError
        There is no such folder, or the address is none.
    """

    def __init__(self, folder: str | Path | None = None, registry: str | None = None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._registry = None if registry is None else registry.rstrip("/")
        if self._folder is not None and not self._folder.exists():
            raise UsageError(f"{folder}: there is no such folder of schemas; check --schemas")
        if registry is not None and not registry.startswith(("http://", "https://")):
            raise UsageError(f"{registry!r} is no address of a registry; give one that begins with https://")
        self._known: dict[int, Schema] = {}
        self._refused: dict[int, str] = {}
        self._documents: dict[int, Any] | None = None

    def find(self, number: int) -> Schema:
        """The schema of this number.

        Raises
        ------
        PacketError
            Nobody knows it; the packet can be retried when somebody does.
        """
        if number in self._refused:
            raise PacketError(self._refused[number])
        if number not in self._known:
            try:
                self._known[number] = self._found(number)
            except PacketError as error:
                if len(self._refused) < _MOST_REFUSED:
                    self._refused[number] = str(error)  # not asked for again with each packet
                raise
        return self._known[number]

    def _found(self, number: int) -> Schema:
        if self._documents is None:
            self._documents = {} if self._folder is None else dict(_documents(self._folder))
        if number in self._documents:
            return _schema(self._documents[number])
        if self._registry is not None:
            return _schema(_asked(self._registry, number))
        version = f" (LSST's v{number // 100}.{number % 100})" if 600 < number < 2000 else ""
        raise PacketError(
            f"the schema of number {number}{version} is not known; give a folder with it (--schemas) or a "
            "registry (--registry)"
        )


def _documents(folder: Path) -> Iterator[tuple[int, Any]]:
    """Number and document of each schema in a folder or archive."""
    texts: dict[str, bytes] = {}
    carried: list[Any] = []
    for name, content in _files(folder):
        if name.endswith(".avsc"):
            texts[name] = content
        elif name.endswith(".avro"):
            carried.append(_carried(content))
    parts = {Path(name).name.removesuffix(".avsc"): text for name, text in texts.items()}
    for name, text in parts.items():
        if name.isdigit():
            yield int(name), _json(text)
        elif match := _LSST.fullmatch(name):
            yield int(match[1]) * 100 + int(match[2]), _assembled(name, parts, set())
    for document in carried:
        if isinstance(document, dict) and (name := _full_name(document)) and (match := _LSST.fullmatch(name)):
            yield int(match[1]) * 100 + int(match[2]), document


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    if folder.is_dir():
        for path in sorted(folder.rglob("*.av*")):
            if path.is_file() and path.stat().st_size < _LARGEST:
                yield str(path), path.read_bytes()
        return
    try:
        with tarfile.open(folder) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.size < _LARGEST else None
                if stream is not None:
                    yield member.name, stream.read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UsageError(f"{folder}: neither a folder nor an archive of schemas ({error})") from error


def _carried(content: bytes) -> Any:
    """The schema in the header of a container file, or None."""
    import fastavro

    try:
        return fastavro.reader(BytesIO(content)).metadata and _json(
            fastavro.reader(BytesIO(content)).metadata["avro.schema"].encode()
        )
    except (*BROKEN, fastavro.schema.SchemaParseException):
        return None


def _assembled(name: str, parts: dict[str, bytes], used: set[str]) -> Any:
    """A schema with the parts that it names in their places: each at its first mention."""

    def placed(schema: Any) -> Any:
        if isinstance(schema, str) and schema in parts and schema not in used:
            return _assembled(schema, parts, used)
        if isinstance(schema, list):
            return [placed(one) for one in schema]
        if isinstance(schema, dict):
            keys = ("type", "items", "values", "fields")
            return {key: placed(one) if key in keys else one for key, one in schema.items()}
        return schema

    used.add(name)
    return placed(_json(parts[name]))


def _full_name(document: dict[str, Any]) -> str:
    name, space = str(document.get("name", "")), document.get("namespace")
    return name if "." in name or not space else f"{space}.{name}"


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PacketError(f"a schema is not JSON ({' '.join(str(error).split())[:80]})") from error


def _asked(registry: str, number: int) -> Any:
    address = f"{registry}/schemas/ids/{number}"
    try:
        with urllib.request.urlopen(address, timeout=_TIMEOUT) as reply:  # noqa: S310 - http(s) only, see above
            answer = reply.read(_LARGEST)
        return json.loads(json.loads(answer)["schema"])
    except (urllib.error.URLError, OSError, ValueError, KeyError, TypeError) as error:
        raise PacketError(f"{address} gives no schema ({' '.join(str(error).split())[:120]})") from error
