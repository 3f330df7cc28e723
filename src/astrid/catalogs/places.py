"""Where catalogues live, and finding them by name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from astrid.catalogs.catalog import Catalog
from astrid.errors import CatalogError, UsageError

__all__ = ["catalogs_directory", "list_catalogs", "open_catalog"]


def catalogs_directory() -> Path:
    """Where the catalogues are, which need not exist.

    ``$ASTRID_CATALOGS``, or ``astrid/catalogs`` in ``$XDG_DATA_HOME`` or ``~/.local/share``.
    """
    given = os.environ.get("ASTRID_CATALOGS")
    if given:
        return Path(given)
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "astrid" / "catalogs"


def list_catalogs() -> tuple[Catalog, ...]:
    """The catalogues that can be opened by name, in the order of the names.

    Raises
    ------
    CatalogError
        One of them is damaged, or the folder cannot be read.
    """
    return tuple(Catalog(path) for path in _folders())


def open_catalog(
    name_or_path: str | Path, *, columns: Sequence[str] | None = None, cache_rows: int = 5_000_000
) -> Catalog:
    """A catalogue by its name, or by the path of its directory.

    Parameters
    ----------
    name_or_path : str or Path
        A path has a slash in it or is a `Path`; a name is never taken for a path.
    columns : sequence of str, optional
        The columns that matches have; all by default. Fewer take less memory.
    cache_rows : int
        Rows that are kept in memory: a catalogue with more is read by partitions.

    Raises
    ------
    UsageError
        No catalogue has this name.
    CatalogError
        It is no catalogue, is damaged, or lacks a column.
    """
    if isinstance(name_or_path, Path) or os.sep in name_or_path:
        return Catalog(name_or_path, columns=columns, cache_rows=cache_rows)
    folders = {path.name: path for path in _folders()}
    if name_or_path not in folders:
        known = ", ".join(folders) or "none"
        raise UsageError(
            f"there is no catalogue {name_or_path!r} (there are: {known}); give one of them, a path such as "
            f"./{name_or_path}, or import it with astrid catalogs import"
        )
    return Catalog(folders[name_or_path], columns=columns, cache_rows=cache_rows)


def _folders() -> list[Path]:
    directory = catalogs_directory()
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise CatalogError(
            f"{directory}: cannot be read ({error.strerror}); correct ASTRID_CATALOGS"
        ) from error
    return [path for path in entries if path.is_dir() and not path.name.startswith((".", "_"))]
