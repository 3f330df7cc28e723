"""The store as one object: what can be written into it and asked of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from astrid.store import reading
from astrid.store.batch import Batch, Written
from astrid.store.database import Database
from astrid.store.writing import Writer

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Store"]


class Store:
    """Alerts with their scores and packets; `open_store` gives one. Threads can share it.

    Parameters
    ----------
    database : Database
    folder : Path
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self.folder = folder
        self._database = database
        self._writer = Writer(database, folder)

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def write(self, batch: Batch) -> Written:
        """Store a batch; when this returns, it survives a killed process and a power cut.

        Writing the same again changes nothing: the first version of an alert stays, and of a known alert
        only scores of bundles that have not seen it yet are added. Several processes can write at once.

        Raises
        ------
        StoreError
            The batch is not as it should be, or the database is away, locked or full. Nothing of the batch
            is stored then, or, if the connection was lost in the very end, all of it; what was
            acknowledged before is there, and writing the batch again does no harm.
        OutputError
            The packets cannot be written; nothing of the batch is stored.
        """
        return self._writer.write(batch)

    def history(
        self,
        since: str | None = None,
        until: str | None = None,
        columns: Sequence[str] | None = None,
        surveys: Collection[str] | None = None,
    ) -> Iterator[pa.Table]:
        """Candidate rows in the order in which they were committed.

        Parameters
        ----------
        since, until : str, optional
            First and last night, ``YYYY-MM-DD``; alerts without a night only come where neither is given.
        columns : sequence of str, optional
            Those that are wanted; a table has those of them that its alerts were stored with.
        surveys : collection of str, optional

        Yields
        ------
        pyarrow.Table
            A few thousand rows of equal columns, with ``batch``, the number of the batch they came in. A
            bundle or catalogue that was added gives later tables more columns.

        Raises
        ------
        StoreError
            The database cannot be reached, or the table of a closed night is gone or damaged.
        """
        return reading.history(
            self._database, self.folder, since=since, until=until, columns=columns, surveys=surveys
        )
