"""Reading candidate rows back, as they were when their alerts came.

They lie in the database, one buffer a batch, until their night is closed, and in Parquet after that;
who reads cannot tell which. Memory does not grow with their number.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import sqlalchemy as sa

from astrid.errors import StoreError
from astrid.store.database import Database
from astrid.store.snapshots import decoded
from astrid.store.statements import Key, batches_of
from astrid.store.tables import buffers, snapshots
from astrid.store.writing import NO_NIGHT, RESERVED

__all__ = ["BATCH", "POSITION", "TABLES", "candidates", "history", "newest_batch", "read_open"]

TABLES = "tables"
"""The folder of the closed nights in that of the store."""

BATCH, POSITION = RESERVED

_PAGE = 1000  # lines of the plan that are fetched at a time
_ROWS = 4096  # of the tables that are given out: a filter's query costs the same for few


class _Piece(NamedTuple):
    """The rows of one night that one batch has brought."""

    batch: int
    night: str
    n: int
    part: str | None


def history(
    database: Database,
    folder: Path,
    *,
    since: str | None = None,
    until: str | None = None,
    columns: Sequence[str] | None = None,
    surveys: Collection[str] | None = None,
    batches: tuple[int | None, int | None] = (None, None),
    newest_first: bool = False,
) -> Iterator[pa.Table]:
    """Candidate rows in the order in which they were committed; see `Store.history`."""
    reader = _Reader(database, folder, columns, surveys)
    waiting: list[pa.Table] = []
    plan = _plan(database, since, until, batches, newest_first)
    for batch, group in groupby(plan, key=lambda piece: piece.batch):
        table = reader.rows(batch, list(group))
        if table.num_rows == 0:
            continue
        if waiting and waiting[0].schema != table.schema:
            yield pa.concat_tables(waiting)
            waiting = []
        waiting.append(table)
        if sum(one.num_rows for one in waiting) >= _ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)


def candidates(
    database: Database, folder: Path, keys: Sequence[Key], columns: Sequence[str] | None = None
) -> pa.Table:
    """Candidate rows of some alerts; see `Store.candidates`."""
    batches = database.read(lambda connection: batches_of(connection, set(keys)))
    absent = [key for key in keys if key not in batches]
    if absent:
        survey, alert_id = absent[0]
        raise StoreError(f"there is no alert {alert_id} of {survey} in {database.name}; check the identifier")
    also = None if columns is None else list(dict.fromkeys([*columns, "survey", "alert_id"]))
    reader = _Reader(database, folder, also, None)
    found: list[pa.Table] = []
    order: dict[Key, int] = {}
    for batch in sorted(set(batches.values())):
        table = reader.rows(batch, _pieces_of(database, batch))
        names = list(zip(table["survey"].to_pylist(), table["alert_id"].to_pylist(), strict=True))
        wanted = [row for row, key in enumerate(names) if batches.get(key) == batch]
        order |= {names[row]: len(order) + k for k, row in enumerate(wanted)}
        found.append(table.take(pa.array(wanted, pa.int64())))
    if not found:
        return pa.table({name: pa.nulls(0) for name in columns or ("survey", "alert_id")})
    table = pa.concat_tables(found, promote_options="default").take(pa.array([order[key] for key in keys]))
    return (
        table if columns is None else table.select([name for name in columns if name in table.column_names])
    )


def newest_batch(database: Database) -> int:
    """The number of the last batch with rows; see `Store.newest_batch`."""
    found = database.read(lambda connection: connection.scalar(sa.select(sa.func.max(snapshots.c.batch))))
    return found or 0


def _plan(
    database: Database,
    since: str | None,
    until: str | None,
    batches: tuple[int | None, int | None],
    newest_first: bool,
) -> Iterator[_Piece]:
    """What there is to read, in the order of the batches, without what comes while it is read."""
    first, last_batch = batches
    wanted = snapshots.c.batch <= newest_batch(database)
    if first is not None:
        wanted &= snapshots.c.batch >= first
    if last_batch is not None:
        wanted &= snapshots.c.batch <= last_batch
    if since is not None:
        wanted &= (snapshots.c.night >= since) & (snapshots.c.night != NO_NIGHT)
    if until is not None:
        wanted &= (snapshots.c.night <= until) & (snapshots.c.night != NO_NIGHT)
    key = sa.tuple_(snapshots.c.batch, snapshots.c.night)
    beyond: sa.ColumnElement[bool] = sa.true()
    order = (snapshots.c.batch, snapshots.c.night)
    if newest_first:
        order = tuple(sa.desc(column) for column in order)
    while True:
        query = _PIECES.where(wanted & beyond).order_by(*order).limit(_PAGE)
        page = _lines(database, query)
        yield from page
        if len(page) < _PAGE:
            return
        last = (page[-1].batch, page[-1].night)
        beyond = key < last if newest_first else key > last


_PIECES = sa.select(snapshots.c.batch, snapshots.c.night, snapshots.c.n, snapshots.c.part)


def _pieces_of(database: Database, batch: int) -> list[_Piece]:
    return _lines(database, _PIECES.where(snapshots.c.batch == batch).order_by(snapshots.c.night))


def _lines(database: Database, query: sa.Select[Any]) -> list[_Piece]:
    return database.read(lambda connection: [_Piece(*row) for row in connection.execute(query)])


def read_open(database: Database, batch: int, night: str) -> pa.Table:
    """Rows of a night that is not closed, from one batch, in their order, with `POSITION`."""
    content = _content(database, batch)
    if content is None:
        raise _lost(database, batch)
    return _numbered(decoded(content), {night})


def _content(database: Database, batch: int) -> bytes | None:
    query = sa.select(buffers.c["rows"]).where(buffers.c.batch == batch)
    return database.read(lambda connection: connection.scalar(query))


def _lost(database: Database, batch: int) -> StoreError:
    return StoreError(f"{database.name} has lost the rows of batch {batch}; restore it from a copy")


def _numbered(table: pa.Table, nights: Collection[str]) -> pa.Table:
    """The rows of some nights, with their `POSITION` among all."""
    table = table.append_column(POSITION, pa.array(np.arange(table.num_rows, dtype=np.int32)))
    wanted = pc.is_in(
        pc.fill_null(table["night"].cast(pa.string()), NO_NIGHT),
        value_set=pa.array(sorted(nights), pa.string()),
    )
    return table if pc.all(wanted).as_py() else table.filter(wanted)


class _Reader:
    """Reads batches in ascending order, from the database and from Parquet alike."""

    def __init__(
        self,
        database: Database,
        folder: Path,
        columns: Sequence[str] | None,
        surveys: Collection[str] | None,
    ) -> None:
        self._database = database
        self._folder = folder / TABLES
        self._columns = columns
        self._surveys = None if surveys is None else pa.array(sorted(set(surveys)), pa.string())
        needed = {"night"} if surveys is None else {"night", "survey"}
        self._read = None if columns is None else {*columns, *needed}
        self._parts: dict[str, _Part] = {}

    def rows(self, batch: int, wanted: list[_Piece]) -> pa.Table:
        """Rows of the batch, in their order, with `BATCH`."""
        closed = [piece for piece in wanted if piece.part is not None]
        found = [self._part(piece).rows(batch) for piece in closed]
        if len(closed) < len(wanted):
            content = _content(self._database, batch)
            if content is None:  # the night was closed since the plan was read
                nights = {piece.night for piece in wanted}
                now = [piece for piece in _pieces_of(self._database, batch) if piece.night in nights]
                if any(piece.part is None for piece in now):
                    raise _lost(self._database, batch)
                return self.rows(batch, now)
            nights = {piece.night for piece in wanted if piece.part is None}
            found.append(_numbered(decoded(content, self._read), nights))
        table = found[0]
        if len(found) > 1:
            table = pa.concat_tables(found).sort_by(POSITION)
        if self._surveys is not None:
            table = table.filter(pc.is_in(table["survey"].cast(pa.string()), value_set=self._surveys))
        names = [name for name in table.column_names if name not in (BATCH, POSITION)]
        if self._columns is not None:
            names = [name for name in self._columns if name in names]
        table = table.select(names)
        return table.append_column(BATCH, pa.repeat(pa.scalar(batch, pa.int64()), table.num_rows))

    def _part(self, piece: _Piece) -> _Part:
        name = str(piece.part)
        if name not in self._parts:
            # so that a year of nights is not in memory together
            passed = (one for one, part in self._parts.items() if not part.first <= piece.batch <= part.last)
            for other in list(passed):
                del self._parts[other]
            self._parts[name] = _Part(self._folder / name, self._read)
        return self._parts[name]


class _Part:
    """A file of one night, read one row group after the other."""

    def __init__(self, path: Path, columns: Collection[str] | None) -> None:
        try:
            self._file = pq.ParquetFile(path)
        except FileNotFoundError as error:
            raise StoreError(
                f"{path}: the rows of a closed night are not there; give the folder of this database"
            ) from error
        except (pa.ArrowException, OSError) as error:
            raise StoreError(f"{path} cannot be read ({error}); restore the file from a copy") from error
        # as it was written: what Parquet itself reads has numbers of its own beside each column
        schema = pa.ipc.read_schema(pa.py_buffer(b64decode(self._file.metadata.metadata[b"ARROW:schema"])))
        wanted = [one for one in schema if columns is None or one.name in {*columns, *RESERVED}]
        self._schema = pa.schema(wanted, schema.metadata)
        groups = (self._file.metadata.row_group(k) for k in range(self._file.num_row_groups))
        batches = [group.column(0).statistics for group in groups]  # BATCH is the first column
        self._ranges = [(one.min, one.max) for one in batches]
        self.first = min(low for low, _ in self._ranges)
        self.last = max(high for _, high in self._ranges)
        self._group = -1
        self._table = pa.table({})
        self._batches = np.zeros(0, np.int64)
        self._path = path

    def rows(self, batch: int) -> pa.Table:
        """Rows of a batch in their order, with `POSITION`."""
        group = next((k for k, (low, high) in enumerate(self._ranges) if low <= batch <= high), None)
        if group is None:
            raise StoreError(f"{self._path} has no rows of batch {batch}; restore the file from a copy")
        if group != self._group:
            try:
                table = self._file.read_row_group(group, columns=self._schema.names).cast(self._schema)
            except (pa.ArrowException, OSError) as error:
                raise StoreError(
                    f"{self._path} cannot be read ({error}); restore the file from a copy"
                ) from error
            table = table.sort_by([(BATCH, "ascending"), (POSITION, "ascending")])
            self._group, self._table = group, table.drop_columns([BATCH])
            self._batches = table[BATCH].to_numpy()
        start, end = np.searchsorted(self._batches, (batch, batch + 1))
        return self._table.slice(start, end - start)
