"""Closing a night: its rows go from the database into Parquet, for programs that read in bulk.

The database says which file has which rows. A file that it does not name is one of a closing that was
interrupted: nobody reads it, and the next closing removes it.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from astrid.errors import OutputError, StoreError
from astrid.files.atomic import atomic_path
from astrid.store.database import Database
from astrid.store.packs import make_folder, settle
from astrid.store.reading import BATCH, POSITION, TABLES, read_open
from astrid.store.tables import buffers, snapshots

__all__ = ["alone", "close_night", "remove_strays"]

_GROUP = 64 << 20  # bytes of rows that are sorted and written together: what closing needs of memory
_WORKSHOP = ".closing"  # beside the tables, where no program that reads all of them looks
_LOCK = ".closing.lock"


def close_night(database: Database, folder: Path, night: str) -> int:
    """Move the rows of a night into Parquet; see `Store.close_night`."""
    with alone(folder, database.patience):
        remove_strays(database, folder, night)
        query = (
            sa.select(snapshots.c.batch)
            .where((snapshots.c.night == night) & snapshots.c.part.is_(None))
            .order_by(snapshots.c.batch)
        )
        numbers = database.read(lambda connection: list(connection.scalars(query)))
        if not numbers:
            return 0
        parts = _write(database, folder, night, numbers)
        n = sum(rows for _, rows in parts.values())
        database.write(lambda connection: _record(connection, night, parts))
        return n


def remove_strays(database: Database, folder: Path, night: str) -> list[int]:
    """Remove files of an interrupted closing; only for who has the lock. Their sizes."""
    home = folder / TABLES / f"night={night}"
    query = sa.select(snapshots.c.part).where(snapshots.c.night == night).distinct()
    known = database.read(lambda connection: set(connection.scalars(query)))
    unfinished = (folder / _WORKSHOP).glob("*") if (folder / _WORKSHOP).is_dir() else iter(())
    strays = [path for path in home.glob("*.parquet") if f"{home.name}/{path.name}" not in known]
    sizes = []
    for path in (*unfinished, *strays):
        sizes.append(path.stat().st_size)
        path.unlink()
    return sizes


class _Part:
    """A file of rows with equal columns."""

    def __init__(self, schema: pa.Schema, path: Path, writer: pq.ParquetWriter) -> None:
        self.schema = schema
        self.path = path
        self.batches: dict[int, int] = {}
        self._writer = writer
        self._waiting: list[pa.Table] = []
        self._size = 0

    def add(self, batch: int, rows: pa.Table) -> None:
        self.batches[batch] = rows.num_rows
        self._waiting.append(rows)
        self._size += rows.nbytes
        if self._size >= _GROUP:
            self.flush()

    def flush(self) -> None:
        """Write a row group: some batches, whole, by place on the sky.

        A group for itself is sorted and not the file, so that rows can be read in the order in which they
        came without holding a night in memory.
        """
        if self._waiting:
            table = pa.concat_tables(self._waiting)
            order = [("healpix", "ascending"), (BATCH, "ascending"), (POSITION, "ascending")]
            self._writer.write_table(table.sort_by(order), row_group_size=table.num_rows)
        self._waiting, self._size = [], 0


def _write(database: Database, folder: Path, night: str, numbers: list[int]) -> dict[int, tuple[str, int]]:
    """Write the rows; batch number -> name of its file, and how many rows."""
    workshop, home = folder / _WORKSHOP, folder / TABLES / f"night={night}"
    make_folder(workshop)
    make_folder(folder / TABLES)
    make_folder(home)
    parts: list[_Part] = []
    with ExitStack() as stack:
        for number in numbers:
            rows = read_open(database, number, night)
            rows = rows.add_column(0, BATCH, pa.repeat(pa.scalar(number, pa.int64()), rows.num_rows))
            part = next((one for one in parts if one.schema.equals(rows.schema, check_metadata=True)), None)
            if part is None:
                path = workshop / f"{number:09d}.parquet"
                partial = stack.enter_context(atomic_path(path))
                writer = stack.enter_context(pq.ParquetWriter(partial, rows.schema, compression="zstd"))
                part = _Part(rows.schema, path, writer)
                parts.append(part)
            part.add(number, rows)
        for part in parts:
            part.flush()
    found: dict[int, tuple[str, int]] = {}
    try:
        for part in parts:
            first, last = min(part.batches), max(part.batches)
            final = home / f"{first:09d}-{last:09d}.parquet"
            part.path.replace(final)
            found |= {batch: (f"{home.name}/{final.name}", n) for batch, n in part.batches.items()}
        settle(home)
    except OSError as error:
        raise OutputError(f"{home} cannot be written ({error.strerror}); check its disk") from error
    return found


def _record(connection: sa.Connection, night: str, parts: dict[int, tuple[str, int]]) -> None:
    """Say where the rows are, and drop those in the database that no other night needs."""
    same = (snapshots.c.batch == sa.bindparam("number")) & (snapshots.c.night == night)
    values = [{"number": batch, "name": name} for batch, (name, _) in parts.items()]
    connection.execute(sa.update(snapshots).where(same).values(part=sa.bindparam("name")), values)
    still = sa.exists().where((snapshots.c.batch == buffers.c.batch) & snapshots.c.part.is_(None))
    here = buffers.c.batch.between(min(parts), max(parts))
    connection.execute(sa.delete(buffers).where(here & ~still))


@contextmanager
def alone(folder: Path, patience: float) -> Iterator[None]:
    """Let no other process close a night of this folder; the system opens the lock of who is killed."""
    until = time.monotonic() + patience
    with (folder / _LOCK).open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > until:
                    raise StoreError(
                        f"another process closes a night of {folder}; wait until it has done so"
                    ) from error
                time.sleep(0.1)
            else:
                break
        yield
