"""What may go: packets of old nights, and files of work that was interrupted."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from astrid.errors import UsageError
from astrid.store.database import Database
from astrid.store.nights import alone, remove_strays
from astrid.store.reading import TABLES
from astrid.store.records import Removed
from astrid.store.tables import batches
from astrid.store.writing import NO_NIGHT, PACKETS

__all__ = ["retain", "tidy"]

_DAY = 86_400  # s


def retain(database: Database, folder: Path, days: int, today: date | None) -> Removed:
    """Remove packets of old nights; see `Store.retain`."""
    if days < 0:
        raise UsageError(f"packets cannot be kept for {days} days; give 0 or more")
    day = datetime.now(UTC).date() if today is None else today
    first = (day - timedelta(days=days)).isoformat()
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    # packets without a night are as old as their batch
    undated = (batches.c.pack_night == NO_NIGHT) & (batches.c.committed < midnight - days * _DAY)
    old = undated | ((batches.c.pack_night != NO_NIGHT) & (batches.c.pack_night < first))
    kept = batches.c.pack.is_not(None) & batches.c.pack_removed.is_(None)

    def work(connection: sa.Connection) -> list[str]:
        marked = sa.update(batches).where(kept & old).values(pack_removed=time.time())
        return list(connection.scalars(marked.returning(batches.c.pack)))

    # first it is said that they are gone: if we are killed then, `tidy` removes them
    return _remove([folder / PACKETS / name for name in database.write(work)])


def tidy(database: Database, folder: Path, older_than: float) -> Removed:
    """Remove what interrupted work has left; see `Store.tidy`."""
    before = time.time() - older_than
    home = folder / PACKETS
    files = [path for path in home.glob("*/*") if path.is_file() and path.stat().st_mtime < before]
    kept = batches.c.pack.is_not(None) & batches.c.pack_removed.is_(None)
    # asked after the files were listed: what is committed meanwhile is not taken for a stray
    known = database.read(lambda connection: set(connection.scalars(sa.select(batches.c.pack).where(kept))))
    removed = _remove([path for path in files if f"{path.parent.name}/{path.name}" not in known])
    with alone(folder, database.patience):
        nights = [path.name.removeprefix("night=") for path in (folder / TABLES).glob("night=*")]
        sizes = [size for night in nights for size in remove_strays(database, folder, night)]
    return Removed(removed.files + len(sizes), removed.bytes + sum(sizes))


def _remove(paths: list[Path]) -> Removed:
    size = n = 0
    for path in paths:
        try:
            length = path.stat().st_size
            path.unlink()
        except FileNotFoundError:
            continue  # another process was faster
        size, n = size + length, n + 1
    return Removed(n, size)
