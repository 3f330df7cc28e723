"""Reading a few fields of each item of a list: the ten of fifty that a measurement is made of.

As in `skipping`, an item becomes one regular expression that runs in C, here with a group for each field
that is wanted. What the fields mean is in `layouts`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping
from typing import Any

from astrid.alerts.skipping import FIXED, varint
from astrid.errors import PacketError

__all__ = ["ListReader", "list_reader"]

Items = list[dict[str, Any]]
ListReader = Callable[[bytes, int], tuple[Items | None, int] | None]
"""Bytes and a place -> the items of the list there (None is what the packet says) and where it ends; or
None for bytes that are to be read in another way."""

# a text with its length, each length of its own, so that one expression knows where it ends
_LENGTHS = [bytes([2 * n] if n < 64 else [2 * n, 1]) for n in range(128)]  # two bytes from 64 on
_TEXT = b"(?>" + b"|".join(re.escape(one) + b".{%d}" % n for n, one in enumerate(_LENGTHS)) + b")"
_PATTERNS = {**FIXED, "string": _TEXT, "bytes": _TEXT}
_DOUBLE, _FLOAT = struct.Struct("<d").unpack, struct.Struct("<f").unpack
_MOST = 1 << 16  # items of a block


def _number(given: bytes) -> int:
    if len(given) == 1:
        return (given[0] >> 1) ^ -(given[0] & 1)
    return varint(given, 0)[0]


_CONVERT: dict[str, Callable[[bytes], Any]] = {
    "double": lambda given: _DOUBLE(given)[0],
    "float": lambda given: _FLOAT(given)[0],
    "int": _number,
    "long": _number,
    "boolean": lambda given: given == b"\x01",
    "string": lambda given: given[1 if given[0] < 128 else 2 :].decode(),  # without its length, see _TEXT
    "bytes": lambda given: given[1 if given[0] < 128 else 2 :],
}


def list_reader(schema: Any, wanted: frozenset[str], named: Mapping[str, Any]) -> ListReader | None:
    """A function that reads some fields of each item of a list.

    Parameters
    ----------
    schema : dict, list or str
        An Avro schema.
    wanted : frozenset of str
        Fields of the items; one that they do not have is no problem.
    named : mapping
        The types that it may name.

    Returns
    -------
    read : callable or None
        None where the schema is no list of flat records.
    """
    branches = [_resolved(branch, named) for branch in (schema if isinstance(schema, list) else [schema])]
    lists = [k for k, one in enumerate(branches) if isinstance(one, dict) and one.get("type") == "array"]
    if len(lists) != 1 or any(one != "null" for k, one in enumerate(branches) if k not in lists):
        return None
    record = _resolved(branches[lists[0]]["items"], named)
    if not isinstance(record, dict) or record.get("type") != "record":
        return None
    parts: list[bytes] = []
    fields: list[tuple[str, Callable[[bytes], Any]]] = []
    for field in record["fields"]:
        found = _field(field["type"], named, field["name"] in wanted)
        if found is None:
            return None
        parts.append(found[0])
        if found[1] is not None:
            fields.append((field["name"], found[1]))
    item = re.compile(b"".join(parts), re.DOTALL).match
    return _made(item, fields, lists[0] if isinstance(schema, list) else None)


def _made(
    item: Callable[[bytes, int], re.Match[bytes] | None],
    fields: list[tuple[str, Callable[[bytes], Any]]],
    branch: int | None,
) -> ListReader:
    def read(content: bytes, place: int) -> tuple[Items | None, int] | None:
        if branch is not None:
            chosen, place = varint(content, place)
            if chosen != branch:
                # any other is null, if it is any at all
                return (None, place) if chosen == 1 - branch else None
        items: Items = []
        while True:
            count, place = varint(content, place)
            if count == 0:
                return items, place
            if not 0 < count < _MOST:
                return None
            for _ in range(count):
                found = item(content, place)
                if found is None:
                    return None
                items.append(
                    {
                        name: None if given is None else convert(given)
                        for (name, convert), given in zip(fields, found.groups(), strict=True)
                    }
                )
                place = found.end()

    def guarded(content: bytes, place: int) -> tuple[Items | None, int] | None:
        try:
            return read(content, place)
        except UnicodeDecodeError as error:
            raise PacketError(f"the record is broken ({error})") from error

    return guarded


def _field(
    schema: Any, named: Mapping[str, Any], wanted: bool
) -> tuple[bytes, Callable[[bytes], Any] | None] | None:
    """The pattern of a field, and what makes its value of the group; None for what cannot be one."""
    branches = [_resolved(branch, named) for branch in (schema if isinstance(schema, list) else [schema])]
    kinds = [one["type"] if isinstance(one, dict) else one for one in branches]
    if len(kinds) > 63 or not all(isinstance(kind, str) and kind in _PATTERNS for kind in kinds):
        return None
    convert = None
    if wanted:
        # a value of one type, or null
        values = [kind for kind in kinds if kind != "null"]
        if len(values) != 1 or values[0] not in _CONVERT:
            return None
        convert = _CONVERT[values[0]]
    patterns = [
        b"(" + _PATTERNS[kind] + b")" if wanted and kind != "null" else _PATTERNS[kind] for kind in kinds
    ]
    if not isinstance(schema, list):
        return patterns[0], convert
    options = (re.escape(bytes([2 * k])) + pattern for k, pattern in enumerate(patterns))
    return b"(?>" + b"|".join(options) + b")", convert


def _resolved(schema: Any, named: Mapping[str, Any]) -> Any:
    """A type that is only named, or wrapped, as what it is."""
    while True:
        if isinstance(schema, str) and schema in named:
            schema = named[schema]
        elif isinstance(schema, dict) and (set(schema) == {"type"} or not isinstance(schema["type"], str)):
            schema = schema["type"]
        else:
            return schema
