"""Options that the commands on a store of alerts share: where it is, and in which database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["DEFAULT_STORE", "Database", "StoreFolder"]

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
