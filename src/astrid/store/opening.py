"""Opening the store of a folder: the database is found or made, brought up to date, and checked."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from astrid.errors import DependencyError, OutputError, UsageError

if TYPE_CHECKING:
    from astrid.store.store import Store

__all__ = ["DATABASE", "open_store"]

DATABASE = "astrid.db"
"""The file of the database in the folder of a store, unless it is elsewhere."""

_POSTGRESQL = ("postgresql://", "postgres://", "postgresql+psycopg://")


def open_store(folder: str | Path, database: str | None = None, *, patience: float = 30.0) -> Store:
    """The store of a folder, which is made if there is none.

    An empty database gets its tables, and one of an older AstrID the changes that it lacks; several
    processes can do this at once.

    Parameters
    ----------
    folder : str or Path
        Of the packets, the nightly tables and, unless `database` is given, of the SQLite file ``astrid.db``.
        All workers of one database share it.
    database : str, optional
        ``postgresql://user@host/name``.
    patience : float, s
        How long it is tried again while the database is locked, restarted or away.

    Raises
    ------
    StoreError
        The database cannot be reached, was made by a newer AstrID, or belongs to something else.
    OutputError
        The folder cannot be made.
    UsageError
        `database` is not an address of PostgreSQL.
    DependencyError
        An extra is not installed.
    """
    _needs("sqlalchemy", "stream")
    _needs("alembic", "stream")
    from sqlalchemy import URL, make_url
    from sqlalchemy.exc import ArgumentError

    from astrid.store.database import Database
    from astrid.store.migration import upgrade
    from astrid.store.sky import prepare
    from astrid.store.store import Store

    folder = Path(folder).absolute()
    if database is None:
        url = URL.create("sqlite", database=str(folder / DATABASE))
    else:
        if not database.startswith(_POSTGRESQL):
            raise UsageError(
                f"the database {database!r} is not known; give postgresql://user@host/name, or none"
            )
        _needs("psycopg", "postgres")
        try:
            url = make_url(database).set(drivername="postgresql+psycopg")
        except (ArgumentError, ValueError) as error:
            raise UsageError(
                f"the database {database!r} is not an address; give postgresql://user@host/name"
            ) from error
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another place") from error
    opened = Database(url, patience)
    try:
        upgrade(opened)
        prepare(opened)
    except BaseException:
        opened.close()
        raise
    return Store(opened, folder)


def _needs(package: str, extra: str) -> None:
    """Look for a package without importing it: Alembic is slow to, and only needed for a new database."""
    if find_spec(package) is None:
        raise DependencyError(f'the store needs {package}; pip install "astrid[{extra}]"')
