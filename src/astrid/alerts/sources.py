"""Where packets come from: files, folders, tar archives and Parquet tables, one after another.

What is not to be read is passed over in the file and not after; what packets mean is in `layouts`.
"""

from __future__ import annotations

import mmap
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from astrid.alerts.container import Packet, Skips, packets_in
from astrid.alerts.schemas import SchemaBook
from astrid.errors import PacketError

__all__ = ["packets_of", "read_packets"]

_PACKETS = (".avro", ".bin")
_LARGEST = 1 << 28  # bytes of a packet file in an archive
_ROWS = 64  # of a Parquet file at a time


def read_packets(
    path: str | Path,
    book: SchemaBook | None = None,
    skips: Skips | None = None,
    mine: Callable[[], bool] | None = None,
) -> Iterator[Packet]:
    """The packets of a file or folder, in the order of the names.

    Parameters
    ----------
    path : str or Path
        A packet (.avro, or .bin with Confluent's framing), a Parquet file of packets, a tar archive, or
        a folder of these.
    book : SchemaBook, optional
        For packets that do not carry their schema.
    skips : callable, optional
        Says for the name of a schema what is not read whole; see `astrid.alerts.intake`.
    mine : callable, optional
        Asked before each file, member of an archive or run of rows of a table whether it is to be read:
        several processes share a night so.

    Yields
    ------
    Packet
        What cannot be read is a packet with a problem.

    Raises
    ------
    PacketError
        There is no such file, or it is of another kind.
    """
    path = Path(path)
    book, skips, mine = book or SchemaBook(), skips or _all, mine or _every
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and (file.suffix in (*_PACKETS, ".parquet") or _is_archive(file)):
                yield from _file(file, str(file.relative_to(path)), book, skips, mine)
    elif not path.is_file():
        raise PacketError(f"{path}: there is no such file; give Avro or Parquet files, folders or archives")
    elif path.suffix in (*_PACKETS, ".parquet") or _is_archive(path):
        yield from _file(path, path.name, book, skips, mine)
    else:
        raise PacketError(f"{path}: expected .avro, .bin, .parquet, .tar.gz or a folder; give one of these")


def packets_of(
    name: str,
    content: bytes,
    suffix: str,
    book: SchemaBook | None = None,
    skips: Skips | None = None,
) -> Iterator[Packet]:
    """The packets in the bytes of a file, such as one packet that was kept.

    Parameters
    ----------
    name : str
        To call them by.
    content : bytes
    suffix : str
        ``.avro``, ``.bin`` or ``.parquet``.
    book, skips
        As for `read_packets`.

    Yields
    ------
    Packet

    Raises
    ------
    PacketError
        It is no Parquet file although the suffix says so.
    """
    if suffix == ".parquet":
        yield from _rows(BytesIO(content), name, skips or _all, _every)
    else:
        yield from packets_in(name, content, book or SchemaBook(), skips or _all)


def _all(schema: str) -> Mapping[str, frozenset[str]]:
    return {}


def _every() -> bool:
    return True


def _is_archive(path: Path) -> bool:
    return ".tar" in path.suffixes or path.suffix == ".tgz"


def _file(
    path: Path, name: str, book: SchemaBook, skips: Skips, mine: Callable[[], bool]
) -> Iterator[Packet]:
    if path.suffix == ".parquet":
        yield from _rows(path, name, skips, mine)
    elif _is_archive(path):
        yield from _members(path, book, skips, mine)
    elif not mine():
        return
    elif path.stat().st_size < 1 << 20:
        yield from packets_in(name, path.read_bytes(), book, skips)
    else:  # one that is long is not held in memory
        with path.open("rb") as file:
            # not closed here: the bytes of a packet may be asked for later
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        yield from packets_in(name, content, book, skips)


def _members(path: Path, book: SchemaBook, skips: Skips, mine: Callable[[], bool]) -> Iterator[Packet]:
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith(_PACKETS):
                    continue
                if member.size > _LARGEST:
                    raise PacketError(
                        f"{path}: {member.name} has {member.size} bytes; take it out of the archive"
                    )
                stream = archive.extractfile(member) if mine() else None
                if stream is not None:
                    yield from packets_in(member.name, stream.read(), book, skips)
                archive.members = []  # type: ignore[attr-defined]  # else the names of a long night pile up
            # without this, an archive that was cut between two members would pass for a short one
            if archive.fileobj.tell() < archive.offset + tarfile.BLOCKSIZE:
                raise tarfile.ReadError("it breaks off without an end")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise PacketError(f"{path}: not a readable archive ({error}); copy it again") from error


def _rows(path: Path | BytesIO, name: str, skips: Skips, mine: Callable[[], bool]) -> Iterator[Packet]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        columns = [column for column in table.schema_arrow.names if skips("").get(column) != frozenset()]
        count = 0
        for batch in table.iter_batches(batch_size=_ROWS, columns=columns):
            if not mine():
                count += batch.num_rows
                continue
            for row, record in enumerate(batch.to_pylist()):
                label = name if table.metadata.num_rows == 1 else f"{name}:{count}"
                yield Packet(label, "", record, "", _Row(batch, row), ".parquet")
                count += 1
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        where = name if isinstance(path, BytesIO) else path
        raise PacketError(f"{where}: not a readable Parquet file ({reason}); copy it again") from error


class _Row:
    """One row of a table as a file of its own."""

    def __init__(self, batch: Any, row: int) -> None:
        self._batch, self._row = batch, row

    def __call__(self) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        stream = BytesIO()
        pq.write_table(pa.Table.from_batches([self._batch.slice(self._row, 1)]), stream)
        return stream.getvalue()
