"""Options that the commands on a store of alerts share: where it is, and in which database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from astrid.store.store import Store

__all__ = ["DEFAULT_STORE", "Database", "Since", "StoreFolder", "Until", "existing_store"]

DEFAULT_STORE = Path("astrid-store")
"""Where the store is if neither ``--store`` nor ``$ASTRID_STORE`` says so."""

StoreFolder = Annotated[
    Path,
    typer.Option(
        "--store",
        envvar="ASTRID_STORE",
        help="Folder of the store of alerts.",
        metavar="DIR",
        file_okay=False,
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="ASTRID_DATABASE",
        help="PostgreSQL database of the store, for a team; a file in its folder if not given.",
        metavar="URL",
        show_default=False,
    ),
]
Since = Annotated[
    str | None, typer.Option(help="First night, YYYY-MM-DD.", metavar="NIGHT", show_default=False)
]
Until = Annotated[
    str | None, typer.Option(help="Last night, YYYY-MM-DD.", metavar="NIGHT", show_default=False)
]


def existing_store(folder: Path, database: str | None, *, patience: float = 30.0) -> Store:
    """The store of a folder, which must be there already: looking at one does not make it.

    Parameters
    ----------
    folder : Path
    database : str, optional
    patience : float, s
        How long it is tried again while the database is locked or away.

    Raises
    ------
    StoreError
        There is none, or it cannot be opened.
    """
    from astrid.errors import StoreError
    from astrid.store import open_store
    from astrid.store.opening import DATABASE

    if database is None and not (folder / DATABASE).is_file():
        raise StoreError(
            f"{folder}: there is no store of alerts; give the folder of one (--store), or fill it by "
            "astrid alerts ingest"
        )
    return open_store(folder, database, patience=patience)
