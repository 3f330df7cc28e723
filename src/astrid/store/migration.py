"""Bringing a database to the tables of this version, whichever it is of.

The changes themselves are in ``migrations``; Alembic makes them.
"""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa

from astrid.errors import StoreError
from astrid.store.database import Database

__all__ = ["MIGRATIONS", "VERSION_TABLE", "upgrade"]

MIGRATIONS = Path(__file__).with_name("migrations")
"""The folder of the changes."""

VERSION_TABLE = "astrid_version"
"""Where the database says which change was the last; a name of our own, as a team's database has others."""


def upgrade(database: Database, folder: Path = MIGRATIONS) -> None:
    """Make the tables of an empty database, and the changes that an older one lacks.

    Several processes can do this at once: one does, the others wait.

    Parameters
    ----------
    database : Database
    folder : Path
        Of the changes.

    Raises
    ------
    StoreError
        The database is of a newer version, or belongs to something else; or it cannot be reached.
    """
    known = sorted(path.name.split("_")[0] for path in (folder / "versions").glob("[0-9]*.py"))

    def current(connection: sa.Connection) -> str | None:
        inspector = sa.inspect(connection)
        if inspector.has_table(VERSION_TABLE):
            version = connection.scalar(sa.text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608
            if version not in known:
                raise StoreError(
                    f"{database.name} was made by a newer AstrID (its version is {version}, this one knows "
                    f"{known[-1]}); update AstrID"
                )
            return str(version)
        if inspector.has_table("alerts") or inspector.has_table("batches"):
            raise StoreError(
                f"{database.name} has tables of something else called alerts or batches; give another one"
            )
        return None

    def work(connection: sa.Connection) -> None:
        database.one_writer(connection)
        if current(connection) == known[-1]:
            return  # another process was faster
        from alembic import command
        from alembic.config import Config

        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.attributes["connection"] = connection
        config.attributes["version_table"] = VERSION_TABLE
        command.upgrade(config, "head")

    if database.read(current) != known[-1]:  # the usual case needs no Alembic, which is slow to import
        database.write(work)
