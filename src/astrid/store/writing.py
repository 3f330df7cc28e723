"""Storing a batch: packets first, as a file, then everything else in one transaction.

The order is what makes an acknowledged batch safe: a commit says that the packets are on the disk. What
is killed before it leaves a file that nothing points to, which `tidy` removes.
"""

from __future__ import annotations

import re
import secrets
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import sqlalchemy as sa
from numpy.typing import NDArray

from astrid.errors import StoreError
from astrid.store.batch import Batch, Score, Written
from astrid.store.database import Database
from astrid.store.packs import Place, pack_packets
from astrid.store.snapshots import encoded
from astrid.store.statements import Key, batches_of, insert
from astrid.store.tables import alerts, batches, buffers, bundles, passes, scores, snapshots

__all__ = ["NO_NIGHT", "PACKETS", "RESERVED", "Writer"]

NO_NIGHT = "unknown"
"""The night, in folders and lists, of an alert whose time is not known."""

RESERVED = ("batch", "batch_row")
"""Columns that the store adds to the rows: the number of the batch, and that of the row among its rows."""

PACKETS = "packets"
"""The folder of the packets in that of the store."""

_COLUMNS = ("object_id", "ra", "dec", "healpix", "mjd", "night", "band", "magpsf")
_NEEDED = ("survey", "alert_id", *_COLUMNS)
_ALERTS = ("survey", "alert_id", *_COLUMNS, "batch", "packet", "suffix", "pack_offset", "pack_length")
_SCORES = (
    "survey", "alert_id", "bundle", "label", "value", "spread", "decision", "set", "applicable", "unscored",
)  # fmt: skip
_PASSES = ("filter", "hash", "survey", "alert_id", "batch", "state", "reason", "delivered_at")
_NIGHT = re.compile(r"\d{4}-\d\d-\d\d")


class Writer:
    """Stores batches.

    Parameters
    ----------
    database : Database
    folder : Path
        Of the store.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._bundles: dict[tuple[str, str], int] = {}  # those that surely are in the database

    def write(self, batch: Batch) -> Written:
        """Store a batch; when this returns, it survives a killed process and a power cut.

        Of an alert that is known already nothing is changed, but scores of bundles that have not seen
        it yet are added.

        Raises
        ------
        StoreError
            The batch is not as it should be, or the database is away, locked or full. Nothing of the batch is
            stored, or, if the connection was lost in the very end, all of it: writing it again does no harm.
        OutputError
            The packets cannot be written.
        """
        stored = _Stored(self, batch)
        pack = stored.pack_path
        places = pack_packets(pack, (batch.packets[row] for row in stored.wanted)) if stored.wanted else []
        try:
            written = self._database.write(lambda connection: stored.store(connection, places, self._bundles))
        except StoreError:
            self._forget(stored, pack)
            raise
        if stored.wanted and not written.n_new:  # another worker has stored all of them meanwhile
            pack.unlink(missing_ok=True)
        self._bundles.update(stored.bundles)
        return written

    def _forget(self, stored: _Stored, pack: Path) -> None:
        """Remove the packets of a batch that was not stored, if that is certain."""
        with suppress(StoreError):
            # PostgreSQL may still be committing on a connection that we have lost
            sure = not stored.complete or self._database.is_sqlite
            if sure and self._database.read(stored.written_before) is None:
                pack.unlink(missing_ok=True)


class _Stored:
    """A batch on its way into the database; the same one at each attempt."""

    def __init__(self, writer: Writer, batch: Batch) -> None:
        self.batch = batch
        self.complete = False  # whether all statements were made once, and a COMMIT may have arrived
        self.bundles: dict[tuple[str, str], int] = {}
        self.token = secrets.token_hex(16)
        self.keys, self.values = _values(batch)
        first: dict[Key, int] = {}
        for row, key in enumerate(self.keys):
            first.setdefault(key, row)
        known = writer._database.read(lambda connection: batches_of(connection, first))
        self.first = first
        # in the order of the keys, as every worker does, so that two of them cannot deadlock
        self.wanted = sorted(
            (row for key, row in first.items() if key not in known), key=self.keys.__getitem__
        )
        self.nights = [_text(night) or NO_NIGHT for night in batch.rows.column("night").to_pylist()]
        for night in set(self.nights):
            if night != NO_NIGHT and not _NIGHT.fullmatch(night):
                raise StoreError(f"a row of a batch has the night {night!r}, expected YYYY-MM-DD or null")
        # one file a batch, whatever its nights: in the folder of the last of them, so that retention by
        # night never comes too early
        dates = [self.nights[row] for row in self.wanted if self.nights[row] != NO_NIGHT]
        self.pack_night = max(dates, default=NO_NIGHT)
        self.pack = f"{self.pack_night}/{self.token}.tar"
        self.pack_path = writer._folder / PACKETS / self.pack
        self._rows = sorted(self.wanted)
        self._snapshot = self._encoded() if self._rows else b""
        self._is_sqlite = writer._database.is_sqlite
        self._one_writer = writer._database.one_writer

    def store(
        self, connection: sa.Connection, places: Sequence[Place], known: Mapping[tuple[str, str], int]
    ) -> Written:
        """All statements of the transaction."""
        self.bundles = dict(known)  # an earlier attempt may have found others, and was rolled back
        self._one_writer(connection)
        if self.complete:
            before = self.written_before(connection)
            if before is not None:
                return self._written(connection, before)
        number = 1 + (connection.scalar(sa.select(sa.func.max(batches.c.id))) or 0)
        fresh = self._insert_alerts(connection, number, places)
        if fresh:
            self._insert_rows(connection, number, fresh)
        self._insert_scores(connection)
        new = np.zeros(len(self.keys), bool)
        new[fresh] = True
        self._insert_passes(connection, number, new)
        pack_bytes = self.pack_path.stat().st_size if fresh else None
        connection.execute(sa.insert(batches).values(self._facts(number, len(fresh), pack_bytes)))
        self.complete = True
        return Written(number, new)

    def written_before(self, connection: sa.Connection) -> int | None:
        """The number of this very batch, if an earlier attempt has succeeded without our knowing."""
        return connection.scalar(sa.select(batches.c.id).where(batches.c.token == self.token))

    def _written(self, connection: sa.Connection, number: int) -> Written:
        found = batches_of(connection, self.first)
        new = np.zeros(len(self.keys), bool)
        new[[self.first[key] for key, batch in found.items() if batch == number]] = True
        return Written(number, new)

    def _insert_alerts(self, connection: sa.Connection, number: int, places: Sequence[Place]) -> list[int]:
        """Rows of the alerts that are new, in the order of the batch."""
        entries = [
            (
                *self.keys[row],
                *self.values[row],
                number,
                place.sha256,
                place.suffix,
                place.offset,
                place.length,
            )
            for row, place in zip(self.wanted, places, strict=True)
        ]
        found = insert(connection, alerts, _ALERTS, entries, returning=("survey", "alert_id"))
        return sorted(self.first[survey, alert_id] for survey, alert_id in found)

    def _insert_rows(self, connection: sa.Connection, number: int, fresh: list[int]) -> None:
        if fresh != self._rows:  # another worker was faster with some
            self._rows = fresh
            self._snapshot = self._encoded()
        insert(connection, buffers, ("batch", "rows"), [(number, self._snapshot)])
        nights = Counter(self.nights[row] for row in fresh)
        insert(
            connection,
            snapshots,
            ("batch", "night", "n"),
            [(number, night, n) for night, n in nights.items()],
        )

    def _insert_scores(self, connection: sa.Connection) -> None:
        entries = sorted(
            (
                (*self.keys[one.row], self._bundle(connection, one), one.label, _number(one.value),
                 _number(one.spread), _text(one.decision), _text(one.set), _text(one.applicable),
                 _text(one.unscored))
                for one in self.batch.scores
            ),
            key=lambda entry: entry[:4],
        )  # fmt: skip
        insert(connection, scores, _SCORES, entries)

    def _bundle(self, connection: sa.Connection, score: Score) -> int:
        key = (score.bundle, score.hash)
        if key not in self.bundles:
            same = (bundles.c.name == score.bundle) & (bundles.c.hash == score.hash)
            number = connection.scalar(sa.select(bundles.c.id).where(same))
            if number is None:
                values = {"name": score.bundle, "hash": score.hash}
                number = connection.scalar(sa.insert(bundles).values(values).returning(bundles.c.id))
            self.bundles[key] = int(number or 0)
        return self.bundles[key]

    def _insert_passes(self, connection: sa.Connection, number: int, new: NDArray[np.bool_]) -> None:
        waits, done = ("pending", "", None), ("delivered", "", time.time())
        entries = sorted(
            (
                (one.filter, one.hash, *self.keys[one.row], number, *(waits if one.wanted else done))
                for one in self.batch.passes
                if new[one.row]
            ),
            key=lambda entry: entry[:4],
        )
        insert(connection, passes, _PASSES, entries)

    def _facts(self, number: int, n_new: int, pack_bytes: int | None) -> dict[str, Any]:
        now = time.time()
        latency = [None, None]
        if self.batch.arrived is not None and self.keys:
            waited = 1000 * (now - np.atleast_1d(np.asarray(self.batch.arrived, np.float64)))
            latency = np.percentile(waited, (50, 99)).tolist()
        return {
            "id": number,
            "token": self.token,
            "worker": self.batch.worker,
            "started": self.batch.started,
            "committed": now,
            "n": len(self.keys),
            "n_new": n_new,
            "n_quarantined": self.batch.n_quarantined,
            "behind": self.batch.behind,
            "latency_p50": latency[0],
            "latency_p99": latency[1],
            "filters": dict(self.batch.filters),
            "pack": None if pack_bytes is None else self.pack,
            "pack_night": None if pack_bytes is None else self.pack_night,
            "pack_bytes": pack_bytes,
        }

    def _encoded(self) -> bytes:
        rows = self.batch.rows
        return encoded(rows if len(self._rows) == rows.num_rows else rows.take(pa.array(self._rows)))


def _values(batch: Batch) -> tuple[list[Key], list[tuple[Any, ...]]]:
    """Key of each row, and its values of `_COLUMNS`."""
    rows = batch.rows
    absent = [name for name in _NEEDED if name not in rows.column_names]
    if absent:
        raise StoreError(f"the rows of a batch have no column {absent[0]!r}, expected {', '.join(_NEEDED)}")
    ours = [name for name in RESERVED if name in rows.column_names]
    if ours:
        raise StoreError(
            f"the rows of a batch have a column {ours[0]!r}, which the store adds; call it otherwise"
        )
    if len(batch.packets) != rows.num_rows:
        raise StoreError(
            f"a batch has {rows.num_rows} rows and {len(batch.packets)} packets, expected one for each row"
        )
    lists = {name: rows.column(name).to_pylist() for name in _NEEDED}
    for name in ("survey", "alert_id"):
        wrong = [row for row, value in enumerate(lists[name]) if not isinstance(value, str)]
        if wrong:
            raise StoreError(f"row {wrong[0]} of a batch has no {name}, expected text; check the decoder")
    used = {*(score.row for score in batch.scores), *(one.row for one in batch.passes)}
    if used and not 0 <= min(used) <= max(used) < rows.num_rows:
        raise StoreError(
            f"a score or pass is of row {max(used)}, and a batch has {rows.num_rows} rows; count from 0"
        )
    keys = [
        (_text(survey) or "", _text(alert_id) or "")
        for survey, alert_id in zip(lists["survey"], lists["alert_id"], strict=True)
    ]
    clean = [
        list(map(_number if name in ("ra", "dec", "mjd", "magpsf", "healpix") else _text, lists[name]))
        for name in _COLUMNS
    ]
    return keys, list(zip(*clean, strict=True))


def _number(value: Any) -> Any:
    """Not a number is null: SQLite makes it so, PostgreSQL would keep it."""
    return None if value != value else value


def _text(value: str | None) -> str | None:
    """Text without the one character that PostgreSQL does not take; the row itself keeps it."""
    return value if value is None or "\0" not in value else value.replace("\0", "\N{REPLACEMENT CHARACTER}")
