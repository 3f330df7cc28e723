"""Skipping parts of an Avro record: from its schema to regular expressions that run in C.

A history of forty detections of fifty fields costs more to decode than all the rest of a packet. The
numbers between two texts become one expression; only the lengths of texts are read one by one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from astrid.errors import PacketError

__all__ = ["FIXED", "Step", "skip", "skipping_steps", "varint"]

# what follows one another in the bytes: a pattern; a text or bytes; blocks of items; one of several
Step = tuple[str, Any]

_NUMBER = rb"[\x80-\xff]*+[\x00-\x7f]"
FIXED = {
    "null": b"", "boolean": b"[\x00\x01]", "int": _NUMBER, "long": _NUMBER, "enum": _NUMBER,
    "float": b".{4}", "double": b".{8}",
}  # fmt: skip
"""Patterns of the types that need no look at their content; for expressions in which . is any byte."""


def skipping_steps(schema: Any, named: Mapping[str, Any]) -> tuple[Step, ...]:
    """What is needed to skip a value.

    Parameters
    ----------
    schema : dict, list or str
        An Avro schema.
    named : mapping
        The records, enumerations and fixed types that it may name.

    Returns
    -------
    steps : tuple
    """
    merged: list[tuple[str, Any]] = []
    for kind, what in _pieces(schema, named):
        if kind == "pattern" and merged and merged[-1][0] == "pattern":
            merged[-1] = (kind, merged[-1][1] + what)
        else:
            merged.append((kind, what))
    return tuple(
        (kind, re.compile(what, re.DOTALL).match if kind == "pattern" else what) for kind, what in merged
    )


def _pieces(schema: Any, named: Mapping[str, Any]) -> list[Step]:
    if isinstance(schema, list):
        branches = [_pieces(branch, named) for branch in schema]
        if len(branches) < 64 and all(_is_pattern(branch) for branch in branches):
            options = (
                re.escape(bytes([2 * i])) + b"".join(p for _, p in one) for i, one in enumerate(branches)
            )
            return [("pattern", b"(?>" + b"|".join(options) + b")")]
        return [("union", tuple(skipping_steps(branch, named) for branch in schema))]
    kind = schema["type"] if isinstance(schema, dict) else schema
    if kind == "record":
        return [piece for field in schema["fields"] for piece in _pieces(field["type"], named)]
    if kind == "array":
        return [("blocks", skipping_steps(schema["items"], named))]
    if kind == "map":
        return [("blocks", (("text", None), *skipping_steps(schema["values"], named)))]
    if kind == "fixed":
        return [("pattern", b".{%d}" % schema["size"])]
    if kind in ("string", "bytes"):
        return [("text", None)]
    if isinstance(kind, str) and kind in FIXED:
        return [("pattern", FIXED[kind])]
    return _pieces(named[kind] if isinstance(kind, str) else kind, named)


def _is_pattern(pieces: Sequence[Step]) -> bool:
    return all(kind == "pattern" for kind, _ in pieces)


def skip(steps: Sequence[Step], content: bytes, place: int) -> int:
    """Where the value that begins at `place` ends.

    Raises
    ------
    PacketError
        The bytes are no such value.
    """
    size = len(content)
    for kind, what in steps:
        if kind == "pattern":
            found = what(content, place)
            if found is None:
                raise PacketError(f"the record is broken at byte {place}")
            place = found.end()
        elif kind == "text":
            length = content[place] if place < size else 0x80
            if length < 0x80 and not length & 1:  # short, as nearly all are
                place += 1 + (length >> 1)
            else:
                length, place = varint(content, place)
                place += length
            if length < 0 or place > size:
                raise PacketError(f"the record is broken at byte {place}")
        elif kind == "blocks":
            place = _skip_blocks(what, content, place)
        else:
            branch, place = varint(content, place)
            if not 0 <= branch < len(what):
                raise PacketError(f"the record is broken at byte {place}")
            if what[branch]:
                place = skip(what[branch], content, place)
    return place


def _skip_blocks(steps: Sequence[Step], content: bytes, place: int) -> int:
    while True:
        count, place = varint(content, place)
        if count == 0:
            return place
        if count < 0:  # then the size of the block in bytes is given
            size, place = varint(content, place)
            place += size
            if size < 0 or place > len(content):
                raise PacketError(f"the record is broken at byte {place}")
            continue
        for _ in range(count):
            place = skip(steps, content, place)


def varint(content: bytes, place: int) -> tuple[int, int]:
    """A whole number as Avro writes it, zigzag and 7 bits a byte, and where it ends.

    Raises
    ------
    PacketError
        The bytes end, or go on for longer than a number can.
    """
    value = shift = 0
    while shift < 70 and place < len(content):
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), place
        shift += 7
    raise PacketError(f"the packet is broken at byte {place}: no number where one was expected")
