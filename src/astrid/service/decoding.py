"""What is sent to be classified, made into arrays, alerts, frames and light curves.

Everything comes from strangers: how large a thing says that it is, is looked at before anything is unpacked,
and nothing is unpacked beyond a limit.
"""

from __future__ import annotations

import bz2
import io
import lzma
import re
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import from_json

from astrid.alerts import Alert, Packet, SchemaBook, decode, packets_of
from astrid.alerts.container import packets_in
from astrid.alerts.intake import without_histories
from astrid.errors import LightCurveError, PacketError, UsageError
from astrid.lightcurves.columns import choose_layout, curves_of
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurves
from astrid.service.errors import Problem

__all__ = [
    "ARRAYS", "CURVES", "PACKETS", "PIXELS", "POINTS", "alerts_of", "arrays_of", "curves_in", "fits_of",
    "json_of", "unpacked",
]  # fmt: skip

PACKETS, CURVES = 1024, 1000
"""Packets, and sources, that are taken at a time."""
ARRAYS = 96 << 20
"""Bytes of the arrays of a request when unpacked."""
PIXELS = 4500 * 4500
"""Of an image that is differenced."""
POINTS = 500_000
"""Points of all light curves of a request."""

_BLOCK = 32 << 20  # bytes of a block of packets when unpacked
_FITS = 96 << 20  # bytes of an image file when unpacked
_TEXT = 32 << 20  # bytes of a table of text
_LONGEST_LINE = 1 << 16
_JSON = 16 << 20  # bytes: a list of empty lists takes twenty times as much in memory
_MEMBERS = 16
_CARD = re.compile(rb"(Z?NAXIS\d{0,3}|ZTILE\d{1,3}) *= *([+-]?\d{1,18}) |END {77}")
_NPZ_BROKEN = (zipfile.BadZipFile, ValueError, KeyError, EOFError, OSError, NotImplementedError, zlib.error,
               RuntimeError, SyntaxError, TypeError, OverflowError, RecursionError, MemoryError)  # fmt: skip


def _too_large(what: str) -> Problem:
    return Problem(413, f"{what}; send less at a time")


def json_of(content: bytes) -> Any:
    """The value of a JSON text.

    Raises
    ------
    Problem
        413 where it is long, 400 where it is no JSON.
    """
    if len(content) > _JSON:
        raise _too_large(f"{len(content)} bytes of JSON were sent, at most {_JSON} are read")
    try:
        return from_json(content)
    except ValueError as error:
        raise Problem(400, f"the body is not JSON ({str(error)[:120]}); correct it") from error


def unpacked(content: bytes, largest: int) -> bytes:
    """Bytes without their compression (gzip, bzip2, xz), if they have one.

    Raises
    ------
    Problem
        413 where there are more than `largest`, 422 where the compression is broken.
    """
    unpacker: Any
    if content.startswith(b"\x1f\x8b"):
        unpacker = zlib.decompressobj(wbits=31)
    elif content.startswith(b"BZh"):
        unpacker = bz2.BZ2Decompressor()
    elif content.startswith(b"\xfd7zXZ\x00"):
        unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=1 << 27)
    else:
        return content
    try:
        whole: bytes = unpacker.decompress(content, largest)
    except (zlib.error, OSError, lzma.LZMAError, ValueError) as error:
        raise Problem(422, f"the compression of the body is broken ({error}); send it again") from error
    if not unpacker.eof:
        if len(whole) >= largest:
            raise _too_large(f"the body has more than {largest} bytes when unpacked")
        raise Problem(422, "the compressed body ends too early; send it again")
    return whole


def arrays_of(content: bytes) -> dict[str, NDArray[Any]]:
    """The arrays of an npz.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    arrays : dict of str to ndarray
        Of numbers only.

    Raises
    ------
    Problem
        413 where they are large, 422 where it is no npz or not of numbers.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = archive.infolist()
            total = sum(member.file_size for member in members)
            if len(members) > _MEMBERS or total > ARRAYS:
                raise _too_large(
                    f"the npz has {len(members)} arrays of {total} bytes, at most {_MEMBERS} of {ARRAYS} "
                    "are read"
                )
            # more bytes than the archive says are not read, and are an error of the checksum
            return {member.filename.removesuffix(".npy"): _array(archive, member) for member in members}
    except _NPZ_BROKEN as error:
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise Problem(
            422, f"the body is not an npz that can be read ({reason}); send one of numpy.savez"
        ) from error


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"{member.filename} is of version {version}")
        read = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, fortran, kind = read(stream)
        if kind.kind not in "fiub":
            raise ValueError(f"{member.filename} holds {kind}, expected numbers")
        # Python's integers: a product of large sides does not overflow
        size = kind.itemsize
        for side in shape:
            size *= side
        if size > member.file_size:
            raise ValueError(f"{member.filename} says {shape}, which is more than it holds")
        values = np.frombuffer(stream.read(size), kind)
        return values.reshape(shape, order="F" if fortran else "C")


def alerts_of(
    content: bytes, book: SchemaBook | None = None, most: int = PACKETS
) -> list[tuple[str, Alert | str]]:
    """The alerts of a file of packets, with their images and without their histories.

    Parameters
    ----------
    content : bytes
        An Avro file of one packet or many, one packet in Confluent's framing, or a Parquet file of packets.
    book : SchemaBook, optional
        For a packet in framing.
    most : int

    Returns
    -------
    alerts : list of (str, Alert or str)
        Name of each packet, and its alert or why there is none.

    Raises
    ------
    Problem
        413 where there are more.
    """
    found: list[tuple[str, Alert | str]] = []
    for packet in _packets(content, book or SchemaBook()):
        if len(found) == most:
            raise _too_large(f"there are more than {most} packets")
        found.append((packet.name, _alert(packet)))
    return found


def _packets(content: bytes, book: SchemaBook) -> Iterator[Packet]:
    if not content.startswith(b"PAR1"):
        return packets_in("packet", content, book, without_histories(), _BLOCK)
    _check_parquet(content)
    return packets_of("packet", content, ".parquet", book, without_histories())


def _alert(packet: Packet) -> Alert | str:
    try:
        return decode(packet, history=False)
    except PacketError as error:
        return str(error)


def fits_of(content: bytes, name: str) -> bytes:
    """An image file without its compression, once its headers were looked at.

    Parameters
    ----------
    content : bytes
    name : str
        To call it by.

    Raises
    ------
    Problem
        413 where an image is large, 422 where it is no FITS.
    """
    plain = unpacked(content, _FITS)
    if not plain.startswith(b"SIMPLE"):
        raise Problem(
            422, f"the {name} is not a FITS file (it does not begin with SIMPLE); send a FITS image"
        )
    axes: dict[bytes, int] = {}
    for match in _CARD.finditer(plain):
        if match.start() % 80:  # in the pixels
            continue
        if match[1]:
            axes[match[1]] = int(match[2])
            continue
        # a tile-compressed image is a table, whose own axes are those of its bytes
        before = b"Z" if b"ZNAXIS1" in axes else b""
        nx, ny = (axes.get(before + name, 1) for name in (b"NAXIS1", b"NAXIS2"))
        tile = max((one for name, one in axes.items() if name.startswith(b"ZTILE")), default=1)
        if nx * ny > PIXELS or tile > PIXELS:
            raise _too_large(f"the {name} says it has {nx} x {ny} px, at most {PIXELS} px are differenced")
        axes = {}
    return plain


def curves_in(
    content: bytes, kind: str, options: Mapping[str, Any]
) -> Iterator[LightCurve | tuple[str, str]]:
    """The light curves of a table.

    Parameters
    ----------
    content : bytes
    kind : {"csv", "json", "parquet"}
        JSON: an object of columns, or a list of objects, one a point.
    options : mapping
        ``columns``, ``unit``, ``time_format``, ``time_scale`` as `read_lightcurves` has them.

    Yields
    ------
    LightCurve, or (str, str)
        The name of a source that is no light curve, and why.

    Raises
    ------
    Problem
        413 where there is too much of it, 400 or 422 where it is no such table.
    LightCurveError, UsageError
        Columns that are not those of light curves.
    """
    problems: list[tuple[str, str]] = []

    def told(name: str, error: LightCurveError) -> None:
        problems.append((name, str(error)))

    made = _from_json(content, options, told) if kind == "json" else _from_file(content, kind, options, told)
    n = points = 0
    for curve in made:
        n, points = n + 1, points + len(curve)
        if n + len(problems) > CURVES or points > POINTS:
            raise _too_large(f"there are more than {CURVES} light curves or {POINTS} points")
        yield curve
    yield from problems


def _from_json(content: bytes, options: Mapping[str, Any], told: Any) -> Iterator[LightCurve]:
    value = json_of(content)
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        names = list(dict.fromkeys(name for row in value[:1000] for name in row))
        value = {name: [row.get(name) for row in value] for name in names[:64]}
    if not isinstance(value, dict) or not value:
        raise Problem(
            422, 'expected an object of columns or a list of points; send one such as {"mjd": [...]}'
        )
    lengths = {name: len(one) if isinstance(one, list) else -1 for name, one in value.items()}
    if len(set(lengths.values())) > 1 or -1 in lengths.values():
        raise Problem(422, "the columns are not lists of one length; send a value for each point")
    columns = {name: _column(name, one) for name, one in value.items()}
    given = {key: options.get(key) for key in ("unit", "time_format", "time_scale")}
    layout = choose_layout(list(columns), options.get("columns"), where="the table", **given)
    yield from curves_of(columns, layout, name="light curve", on_problem=told)


def _column(name: str, values: list[Any]) -> NDArray[Any]:
    numbers = all(one is None or (isinstance(one, int | float)) for one in values)
    if numbers:
        try:
            return np.array([np.nan if one is None else one for one in values], np.float64)
        except OverflowError as error:
            raise Problem(
                422, f"the column {name[:40]} has a number that is too large; correct it"
            ) from error
    if all(one is None or isinstance(one, str) for one in values):
        return np.array(values, object)
    raise Problem(422, f"the column {name[:40]} has more than numbers or text; send one of both")


def _from_file(content: bytes, kind: str, options: Mapping[str, Any], told: Any) -> Iterator[LightCurve]:
    if kind == "csv":
        content = unpacked(content, _TEXT)
        if len(content) > _TEXT or content.count(b"\n") + content.count(b"\r") > 2 * POINTS:
            raise _too_large(f"there are more than {POINTS} lines")
        if max(map(len, content[: 4 * _LONGEST_LINE].splitlines()), default=0) > _LONGEST_LINE:
            raise Problem(422, "the table has lines of more than 65,536 bytes; send one with fewer columns")
        if content.lstrip().startswith((b"# %ECSV", b"SIMPLE", b"PAR1")):
            raise Problem(422, "the body is no CSV; send CSV, JSON or Parquet, with its content type")
    else:
        _check_parquet(content)
    with tempfile.TemporaryDirectory(prefix="astrid-") as folder:
        path = Path(folder) / f"table.{kind}"
        path.write_bytes(content)
        try:
            yield from read_lightcurves(path, on_problem=told, **options)
        except (LightCurveError, UsageError) as error:
            raise type(error)(str(error).replace(str(path), "the table")) from error


def _check_parquet(content: bytes) -> None:
    """Refuse a table that says it has more than we take: what it says is read, not the table."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        facts = pq.read_metadata(pa.BufferReader(content))
        groups = [facts.row_group(k) for k in range(facts.num_row_groups)]
        columns = [group.column(j) for group in groups for j in range(group.num_columns)]
        most = max((sum(g.column(j).num_values for g in groups) for j in range(facts.num_columns)), default=0)
        size = sum(column.total_uncompressed_size for column in columns)
    except (pa.ArrowException, OSError, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())[:120]
        raise Problem(422, f"the body is not a readable Parquet file ({reason}); send it again") from error
    if max(most, facts.num_rows) > POINTS or size > ARRAYS or facts.num_columns > 512:
        raise _too_large(f"the table has {most} values in a column, and {size} bytes when unpacked")
