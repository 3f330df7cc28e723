"""The connection to SQLite or PostgreSQL: transactions that are tried again, and errors in one sentence.

What is written in a transaction is not known here.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from astrid.errors import StoreError

__all__ = ["Database"]

T = TypeVar("T")

_CACHE = 32_000  # KiB of pages that SQLite keeps: the upper pages of the indexes of a few million alerts
_LONGEST_WAL = 64 << 20  # bytes; after a burst the file shrinks to this
_WRITERS = 0x61737472  # the number of the lock that writers take in PostgreSQL
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 2.0  # s

# https://www.postgresql.org/docs/15/errcodes-appendix.html
_PASSING = {"40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03"}
_NOT_PASSING = ("authentication failed", "no password", "does not exist", "no pg_hba.conf entry", "role ")
_FULL = {"53100", "SQLITE_FULL"}


class Database:
    """A database that may be restarted, locked by others or full.

    Parameters
    ----------
    url : sqlalchemy.URL
        Of SQLite or PostgreSQL.
    patience : float, s
        How long a transaction is tried again while the database is locked or away.
    """

    def __init__(self, url: sa.URL, patience: float) -> None:
        self.patience = patience
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.name = str(url.database) if self.is_sqlite else url.render_as_string(hide_password=True)
        if self.is_sqlite:
            self.engine = sa.create_engine(url, connect_args={"timeout": max(patience, 0.001)})
        else:
            self.engine = sa.create_engine(url, pool_pre_ping=True)
        self._writing = self.engine.execution_options(writing=True)
        self._prepare()

    def read(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` gives in a transaction that only reads."""
        return self._tried(self.engine, work)

    def write(self, work: Callable[[sa.Connection], T]) -> T:
        """What `work` gives in a transaction, which is on the disk when this returns.

        A connection can be lost while the transaction is committed: `work` may then be done a second
        time after the first has succeeded, and has to be such that this does no harm.

        Raises
        ------
        StoreError
            The database is away or locked for longer than our patience, is full or is damaged.
        """
        return self._tried(self._writing, work)

    def one_writer(self, connection: sa.Connection) -> None:
        """Make other writers wait until this transaction ends.

        In SQLite they wait anyway. In PostgreSQL batches are so numbered in the order of their commits,
        which who asks for "all since" relies on, and two batches cannot deadlock.
        """
        if not self.is_sqlite:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_WRITERS)))

    def close(self) -> None:
        """Give all connections back."""
        self.engine.dispose()

    def explained(self, error: SQLAlchemyError) -> StoreError:
        """The error in one sentence."""
        original = getattr(error, "orig", None) or error
        code = _code(original)
        said = " ".join(str(original).split()).rstrip(".")
        if code in _FULL:
            return StoreError(
                f"{self.name}: the disk of the database is full; free some space and start again: what was "
                "acknowledged is there"
            )
        if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
            return StoreError(f"{self.name} is not a sound database ({said}); restore it from a copy")
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return StoreError(
                f"{self.name} was locked by another process for {self.patience:g} s; stop that one, or wait"
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_IOERR")):
            return StoreError(
                f"{self.name} cannot be written or read ({said}); check its disk and its permissions"
            )
        if _passing(error):
            return StoreError(f"{self.name} cannot be reached ({said}); start the database, or wait for it")
        return StoreError(f"{self.name}: the database refuses ({said}); check the address and its state")

    def _tried(self, engine: sa.Engine, work: Callable[[sa.Connection], T]) -> T:
        until = time.monotonic() + self.patience
        pause = _FIRST_PAUSE
        while True:
            try:
                with engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as error:
                if not _passing(error) or time.monotonic() + pause > until:
                    raise self.explained(error) from error
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _prepare(self) -> None:
        patience = round(1000 * max(self.patience, 0.001))
        if not self.is_sqlite:

            @sa.event.listens_for(self.engine, "connect")
            def _(connection: Any, _record: Any) -> None:
                with connection.cursor() as cursor:
                    cursor.execute(f"SET lock_timeout = {patience}")
                connection.commit()

            return

        @sa.event.listens_for(self.engine, "connect")
        def _(connection: sqlite3.Connection, _record: Any) -> None:
            connection.isolation_level = None  # the module is not to begin transactions of its own
            connection.execute(f"PRAGMA busy_timeout = {patience}")
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                raise StoreError(
                    f"{self.name} lies on a file system where SQLite's write-ahead log does not work; choose "
                    "a folder on a local disk, or PostgreSQL"
                )
            # NORMAL would survive a killed process too, but a power cut could take back the last batches,
            # which were acknowledged; FULL costs one fsync a batch
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute(f"PRAGMA cache_size = {-_CACHE}")
            connection.execute(f"PRAGMA journal_size_limit = {_LONGEST_WAL}")

        @sa.event.listens_for(self.engine, "begin")
        def _(connection: sa.Connection) -> None:
            # a transaction that reads first and writes later could not wait for another writer
            writing = connection.get_execution_options().get("writing", False)
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")


def _code(original: BaseException) -> str:
    """What the driver calls the error: a state of SQL, or SQLite's name."""
    return getattr(original, "sqlstate", None) or getattr(original, "sqlite_errorname", None) or ""


def _passing(error: SQLAlchemyError) -> bool:
    """Whether the same may go well a moment later."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return False
    if isinstance(error.orig, sqlite3.Error):
        return _code(error.orig).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))
    code = _code(error.orig)
    if code:
        return error.connection_invalidated or code in _PASSING or code.startswith("08")
    said = str(error.orig)
    lost = error.connection_invalidated or isinstance(error, sa.exc.OperationalError)
    return lost and not any(words in said for words in _NOT_PASSING)
