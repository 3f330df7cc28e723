"""The store as one object: what can be written into it and asked of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.store import lookup, nights, outbox, reading, removal, sky
from astrid.store.accounts import Accounts
from astrid.store.batch import Batch, Written
from astrid.store.database import Database
from astrid.store.labels import Labels
from astrid.store.light_curve import NEEDED, light_curve
from astrid.store.records import AlertRecord, BatchRecord, Counts, FilterRecord, PassRecord, Removed, State
from astrid.store.statements import Key
from astrid.store.trainings import Trainings
from astrid.store.writing import Writer

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Store"]


class Store:
    """Alerts with their scores and packets; `open_store` gives one, and threads can share it.

    Every method can raise StoreError: the database is away or locked for longer than our patience, is full
    or is damaged.

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

    @property
    def accounts(self) -> Accounts:
        """Users, tokens, sessions and the audit."""
        return Accounts(self._database)

    @property
    def has_q3c(self) -> bool:
        """Whether positions are looked up by q3c."""
        return sky.has_q3c(self._database)

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

    @property
    def labels(self) -> Labels:
        """What people answered, and what they are asked."""
        return Labels(self._database)

    @property
    def trainings(self) -> Trainings:
        """What was learned from answers."""
        return Trainings(self._database)

    # What alerts were, and are

    def history(
        self,
        since: str | None = None,
        until: str | None = None,
        columns: Sequence[str] | None = None,
        surveys: Collection[str] | None = None,
        *,
        batches: tuple[int | None, int | None] = (None, None),
        newest_first: bool = False,
    ) -> Iterator[pa.Table]:
        """Candidate rows in the order in which they were committed.

        Parameters
        ----------
        since, until : str, optional
            First and last night, ``YYYY-MM-DD``; alerts without a night only come where neither is given.
        columns : sequence of str, optional
            Those that are wanted; a table has those of them that its alerts were stored with.
        surveys : collection of str, optional
        batches : (int or None, int or None)
            First and last batch.
        newest_first : bool
            The last batch first; the rows of a batch stay in their order.

        Yields
        ------
        pyarrow.Table
            A few thousand rows of equal columns, with ``batch``, the number of the batch they came in. A
            bundle or catalogue that was added gives later tables more columns. What is written while this
            runs does not come.

        Raises
        ------
        StoreError
            The table of a closed night is gone or damaged.
        """
        return reading.history(
            self._database,
            self.folder,
            since=since,
            until=until,
            columns=columns,
            surveys=surveys,
            batches=batches,
            newest_first=newest_first,
        )

    def newest_batch(self) -> int:
        """The number of the last batch that brought alerts; 0 of an empty store."""
        return reading.newest_batch(self._database)

    def candidates(self, keys: Sequence[Key], columns: Sequence[str] | None = None) -> pa.Table:
        """Candidate rows of some alerts, in the order that is given.

        Parameters
        ----------
        keys : sequence of (survey, alert_id)
        columns : sequence of str, optional
            Those that are wanted; of columns that only some alerts have, the others are null.

        Raises
        ------
        StoreError
            There is no such alert.
        """
        return reading.candidates(self._database, self.folder, keys, columns)

    def alert(self, survey: str, alert_id: str) -> AlertRecord | None:
        """What the database knows of an alert; None if there is none."""
        return lookup.alert(self._database, survey, alert_id)

    def packet(self, survey: str, alert_id: str) -> tuple[bytes, str]:
        """The packet of an alert as it was sent, and the suffix of a file with these bytes.

        Raises
        ------
        StoreError
            There is no such alert, or its packet was removed by the rule of retention or is damaged.
        """
        return lookup.packet(self._database, self.folder, survey, alert_id)

    def has_packet(self, survey: str, alert_id: str) -> bool:
        """Whether there is such an alert and its packet was not removed by the rule of retention."""
        return lookup.has_packet(self._database, survey, alert_id)

    def object_keys(self, survey: str, object_id: str) -> list[Key]:
        """The alerts of an object in the order in which they came."""
        return lookup.object_keys(self._database, survey, object_id)

    def cone(self, ra: float, dec: float, radius: float) -> pa.Table:
        """Alerts around a position, the nearest first.

        Parameters
        ----------
        ra, dec : float, deg
        radius : float, arcsec

        Returns
        -------
        table : pyarrow.Table
            ``survey``, ``alert_id``, ``object_id``, ``ra``, ``dec``, ``mjd``, ``night``, ``band``,
            ``magpsf`` and ``distance`` (arcsec).

        Raises
        ------
        UsageError
            That is no circle on the sky.
        """
        return sky.cone(self._database, ra, dec, radius)

    def light_curve(self, survey: str, object_id: str) -> pa.Table:
        """All measurements of an object that its alerts and their histories tell of, each once.

        Returns
        -------
        table : pyarrow.Table
            In order of time: ``mjd``, ``band``, ``flux`` and ``flux_err`` (nJy), ``magpsf``, ``sigmapsf`` and
            ``limiting_mag`` (AB mag), ``positive``, ``forced``, ``id`` and ``alert_id``, the alert that told
            first. No row if there is no such object.
        """
        keys = lookup.object_keys(self._database, survey, object_id)
        return light_curve(self.candidates(keys, NEEDED))

    def scores(
        self,
        survey: str | None = None,
        alert_id: str | None = None,
        *,
        bundle: str | None = None,
        since: str | None = None,
        until: str | None = None,
        keys: Collection[Key] | None = None,
    ) -> pa.Table:
        """What bundles say about alerts, in the order of the identifiers; all that is given must hold.

        Parameters
        ----------
        survey, alert_id : str, optional
        bundle : str, optional
        since, until : str, optional
            First and last night.
        keys : collection of (str, str), optional
            Survey and number of alerts, some thousands at most.

        Returns
        -------
        table : pyarrow.Table
            ``survey``, ``alert_id``, ``night``, ``bundle``, ``hash``, ``label``, ``value``, ``spread``,
            ``decision``, ``set``, ``applicable`` and ``unscored``.
        """
        return lookup.score_table(self._database, survey, alert_id, bundle, since, until, keys)

    def batches(self, since: int = 0) -> list[BatchRecord]:
        """Commits in their order, after that of number `since`."""
        return lookup.list_batches(self._database, since)

    def counts(self) -> Counts:
        """How much there is; does not get slower with the number of alerts, but of batches."""
        return lookup.counts(self._database)

    # Filters, and what is to be sent

    def filters(self, active: bool | None = True) -> list[FilterRecord]:
        """Versions of filters, by name and age: those that are active, those that are not, or (None) all."""
        return outbox.list_filters(self._database, active)

    def save_filter(self, name: str, hash: str, definition: Mapping[str, Any]) -> None:
        """Make a version of a filter the active one of its name; older versions are kept.

        Parameters
        ----------
        name, hash : str
        definition : mapping
            In JSON's own types.
        """
        outbox.save_filter(self._database, name, hash, definition)

    def retire_filter(self, name: str) -> None:
        """Ask a filter no more; its versions and what passed them are kept.

        Raises
        ------
        FilterError
            There is no active filter of that name.
        """
        outbox.retire_filter(self._database, name)

    def passes(
        self, filter: str | None = None, hash: str | None = None, state: State | None = None
    ) -> list[PassRecord]:
        """What has passed filters, in the order of the commits; all that is given must hold."""
        return outbox.list_passes(self._database, filter, hash, state, None)

    def pending(self, limit: int) -> list[PassRecord]:
        """What is to be sent next, only to look at it; who sends it takes it by `claim`."""
        return outbox.list_passes(self._database, None, None, "pending", limit)

    def claim(self, limit: int, seconds: float = 60.0) -> list[PassRecord]:
        """Take what is to be sent next, oldest first, so that no other publisher does.

        Parameters
        ----------
        limit : int
        seconds : float
            After that time others can take what was not marked: who took it may be dead. It can so be sent
            twice, but never not at all.
        """
        return outbox.claim(self._database, limit, seconds)

    def count_delivered(self, filter: str, since: float) -> int:
        """How many passes of all versions of a filter were sent after a time (s since 1970)."""
        return outbox.count_delivered(self._database, filter, since)

    def mark(self, records: Sequence[PassRecord], state: State, reason: str = "") -> None:
        """Say what became of passes; ``pending`` puts them back.

        Raises
        ------
        UsageError
            There is no such state.
        """
        outbox.mark(self._database, records, state, reason)

    # Keeping it small

    def close_night(self, night: str) -> int:
        """Move the rows of a night from the database into Parquet, ``tables/night=YYYY-MM-DD/``.

        A night can be closed again when more of it has come, which makes another file. Killed at any
        moment, this leaves every row where it was or where it goes, and can be done again. Within a
        row group, rows are in the order of ``healpix``.

        Returns
        -------
        n : int
            Rows that were moved.

        Raises
        ------
        StoreError
            Another process closes a night for longer than our patience.
        OutputError
            The table cannot be written; the night is as it was.
        """
        return nights.close_night(self._database, self.folder, night)

    def retain(self, days: int, today: date | None = None) -> Removed:
        """Remove the packets of nights that are more than so many days before today; all else is kept.

        Packets of several nights that came in one batch go when the last of the nights does.

        Raises
        ------
        UsageError
            The number is negative.
        """
        return removal.retain(self._database, self.folder, days, today)

    def tidy(self, older_than: float = 3600.0) -> Removed:
        """Remove files that interrupted work has left and that nothing points to.

        Parameters
        ----------
        older_than : float, s
            Packets may be younger because their batch is just being committed.
        """
        return removal.tidy(self._database, self.folder, older_than)
