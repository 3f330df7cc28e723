"""Packets in bytes: Avro container files, and single records in Confluent's framing.

Container files are taken apart here and not by a library: a block is used only if its marker shows
that it is whole, schemas are kept between files, and histories can be skipped.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from astrid.alerts.schemas import Schema, SchemaBook, parse_schema
from astrid.alerts.skipping import varint
from astrid.errors import PacketError

__all__ = ["CONTAINER", "Packet", "packets_in"]

CONTAINER = b"Obj\x01"
"""How an Avro container file begins."""

_CODECS = (b"null", b"deflate")
_LARGEST = 1 << 28  # bytes of a block when unpacked
_MOST_FACTS = 1000  # entries of a header


@dataclass(frozen=True, eq=False)
class Packet:
    """One packet, as it was sent.

    Parameters
    ----------
    name : str
        Its file, and its number in it if it is not the first.
    schema : str
        Name of its Avro schema; empty where it has none.
    record : dict or None
    problem : str
        Why there is no record; else empty.
    content : callable
        Gives bytes that hold this packet alone, which can be read again.
    suffix : str
        Of a file with these bytes.
    """

    name: str
    schema: str
    record: dict[str, Any] | None
    problem: str
    content: Callable[[], bytes]
    suffix: str = ".avro"


Skips = Callable[[str], Mapping[str, frozenset[str]]]
"""Schema name -> fields that are not read whole, and which fields of their items are; see `Schema.reader`."""


def packets_in(
    name: str, content: Any, book: SchemaBook, skips: Skips, largest: int = _LARGEST
) -> Iterator[Packet]:
    """The packets in the bytes of a file or message.

    Parameters
    ----------
    name : str
        To call them by.
    content : bytes or mmap
    book : SchemaBook
        For those that do not carry their schema.
    skips : callable
        Says for the name of a schema what is not read whole.
    largest : int
        Bytes of a block when unpacked; larger ones are not read.

    Yields
    ------
    Packet
        Bytes that cannot be used are a packet with a problem.
    """
    if content[:1] == b"\x00" and len(content) > 5:
        yield _framed(name, content[:], book, skips)
        return
    place, start = 0, 0
    count = 0
    schema: Schema | None = None
    try:
        facts, sync, start = _header(content)
        codec = facts.get(b"avro.codec", b"null") or b"null"
        if codec not in _CODECS:
            raise PacketError(f"it is compressed by {codec[:20]!r}, expected null or deflate")
        schema = parse_schema(facts.get(b"avro.schema", b""))
        read, place = schema.reader(skips(schema.name)), start
        while place < len(content):
            block, n, after = _block(content, place, codec, sync, largest)
            records, at = [], 0
            for _ in range(n):
                record, end = read(block, at)
                records.append((record, at, end))
                at = end
            if at != len(block):
                raise PacketError(f"{len(block) - at} bytes are left over after the last record of a block")
            for record, at, end in records:
                label = name if count == 0 else f"{name}:{count}"
                count += 1
                piece = _alone(content, start, block[at:end], codec, sync)
                yield Packet(label, schema.name, record, "", piece)
            place = after
        if count == 0:
            raise PacketError("it holds no packet")
    except PacketError as error:
        label = f"{name}:{count}" if count else name
        kept = _rest(content, start, place) if count else (lambda: bytes(content[:]))
        yield Packet(label, "" if schema is None else schema.name, None, str(error), kept)


def _framed(name: str, content: bytes, book: SchemaBook, skips: Skips) -> Packet:
    schema = None
    try:
        schema = book.find(int.from_bytes(content[1:5], "big"))
        record, end = schema.reader(skips(schema.name))(content, 5)
        if end != len(content):
            raise PacketError(f"{len(content) - end} bytes are left over after the record")
        return Packet(name, schema.name, record, "", lambda: content, ".bin")
    except PacketError as error:
        return Packet(name, "" if schema is None else schema.name, None, str(error), lambda: content, ".bin")


def _header(content: Any) -> tuple[dict[bytes, bytes], bytes, int]:
    """The facts of the header, the marker, and where the first block begins."""
    if content[:4] != CONTAINER:
        raise PacketError(
            f"it begins with {bytes(content[:4])!r}, expected an Avro file or Confluent's framing"
        )
    facts: dict[bytes, bytes] = {}
    count, place = varint(content, 4)
    while count:
        if count < 0:
            count, (_, place) = -count, varint(content, place)
        if count > _MOST_FACTS:
            raise PacketError("the header is broken")
        for _ in range(count):
            key, place = _text(content, place)
            facts[key], place = _text(content, place)
        count, place = varint(content, place)
    return facts, content[place : place + 16], place + 16


def _text(content: Any, place: int) -> tuple[bytes, int]:
    length, place = varint(content, place)
    if not 0 <= length <= len(content) - place:
        raise PacketError("the header is broken")
    return content[place : place + length], place + length


def _block(content: Any, place: int, codec: bytes, sync: bytes, largest: int) -> tuple[bytes, int, int]:
    """The bytes of a block, how many records are in it, and where it ends."""
    count, place = varint(content, place)
    size, place = varint(content, place)
    end = place + size
    if count < 0 or size < 0 or end + 16 > len(content):
        raise PacketError("a block goes on beyond the end of the file, or has no size")
    if content[end : end + 16] != sync or len(sync) < 16:
        raise PacketError("a block does not end with the marker of the file")
    block = content[place:end]
    if codec == b"deflate":
        unpacker = zlib.decompressobj(-15)
        try:
            block = unpacker.decompress(block, largest)
        except zlib.error as error:
            raise PacketError(f"a block's compression is broken ({error})") from error
        if not unpacker.eof:
            raise PacketError(f"a block ends too early, or has more than {largest} bytes when unpacked")
    return block, count, end + 16


def _alone(content: Any, start: int, record: bytes, codec: bytes, sync: bytes) -> Callable[[], bytes]:
    """A file with one record."""

    def made() -> bytes:
        packed = record
        if codec == b"deflate":
            packer = zlib.compressobj(wbits=-15)
            packed = packer.compress(record) + packer.flush()
        return b"".join((content[:start], b"\x02", _written(len(packed)), packed, sync))

    return made


def _rest(content: Any, start: int, place: int) -> Callable[[], bytes]:
    """A file with what comes from a place on."""
    return lambda: content[:start] + content[place:]


def _written(number: int) -> bytes:
    number <<= 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
