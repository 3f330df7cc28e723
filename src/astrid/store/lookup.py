"""Questions about alerts, scores and batches that the tables of the database answer by themselves."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa

from astrid.errors import StoreError
from astrid.store.database import Database
from astrid.store.packs import Place, read_packet
from astrid.store.records import AlertRecord, BatchRecord, Counts
from astrid.store.statements import Key, of_alerts
from astrid.store.tables import alerts, batches, bundles, passes, scores, snapshots
from astrid.store.writing import PACKETS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["alert", "counts", "has_packet", "list_batches", "object_keys", "packet", "score_table"]


def alert(database: Database, survey: str, alert_id: str) -> AlertRecord | None:
    """One alert; see `Store.alert`."""
    query = sa.select(*(alerts.c[name] for name in AlertRecord._fields))
    query = query.where((alerts.c.survey == survey) & (alerts.c.alert_id == alert_id))
    row = database.read(lambda connection: connection.execute(query).one_or_none())
    return None if row is None else AlertRecord._make((*row[:-1], bytes(row[-1]).hex()))


def packet(database: Database, folder: Path, survey: str, alert_id: str) -> tuple[bytes, str]:
    """The packet of an alert; see `Store.packet`."""
    query = sa.select(
        alerts.c.packet,
        alerts.c.suffix,
        alerts.c.pack_offset,
        alerts.c.pack_length,
        batches.c.pack,
        batches.c.pack_removed,
    ).join_from(alerts, batches, alerts.c.batch == batches.c.id)
    query = query.where((alerts.c.survey == survey) & (alerts.c.alert_id == alert_id))
    row = database.read(lambda connection: connection.execute(query).one_or_none())
    if row is None:
        raise StoreError(
            f"there is no alert {alert_id} of {survey} in {database.name}; check survey and identifier"
        )
    sha256, suffix, offset, length, pack, removed = row
    if removed is not None:
        raise StoreError(
            f"the packet of alert {alert_id} of {survey} was removed by the rule of retention; its row and "
            "scores are kept"
        )
    return read_packet(folder / PACKETS / pack, Place(bytes(sha256), suffix, offset, length)), suffix


def has_packet(database: Database, survey: str, alert_id: str) -> bool:
    """Whether the packet of an alert is kept; see `Store.has_packet`."""
    query = sa.select(batches.c.pack_removed.is_(None))
    query = query.join_from(alerts, batches, alerts.c.batch == batches.c.id)
    query = query.where((alerts.c.survey == survey) & (alerts.c.alert_id == alert_id))
    return bool(database.read(lambda connection: connection.scalar(query)))


def object_keys(database: Database, survey: str, object_id: str) -> list[tuple[str, str]]:
    """The alerts of an object in the order in which they came."""
    query = sa.select(alerts.c.survey, alerts.c.alert_id)
    # without statistics SQLite would go through the whole survey, whose key begins with it
    of_survey = sa.func.coalesce(alerts.c.survey, "") == survey
    query = query.where((alerts.c.object_id == object_id) & of_survey)
    query = query.order_by(alerts.c.batch, alerts.c.mjd, alerts.c.alert_id)
    return database.read(lambda connection: [(row[0], row[1]) for row in connection.execute(query)])


def score_table(
    database: Database,
    survey: str | None,
    alert_id: str | None,
    bundle: str | None,
    since: str | None,
    until: str | None,
    keys: Collection[Key] | None = None,
) -> pa.Table:
    """Scores; see `Store.scores`."""
    import pyarrow as pa

    text, real = pa.string(), pa.float64()
    schema = pa.schema(
        {
            "survey": text, "alert_id": text, "night": text, "bundle": text, "hash": text, "label": text,
            "value": real, "spread": real, "decision": text, "set": text, "applicable": text,
            "unscored": text,
        }
    )  # fmt: skip
    of_alert = (scores.c.survey == alerts.c.survey) & (scores.c.alert_id == alerts.c.alert_id)
    query = (
        sa.select(
            scores.c.survey, scores.c.alert_id, alerts.c.night, bundles.c.name, bundles.c.hash,
            *(scores.c[name] for name in schema.names[5:]),
        )
        .join_from(scores, bundles, scores.c.bundle == bundles.c.id)
        .join(alerts, of_alert)
        .order_by(scores.c.survey, scores.c.alert_id, bundles.c.name, bundles.c.id, scores.c.label)
    )  # fmt: skip
    for column, value in (
        (scores.c.survey, survey),
        (scores.c.alert_id, alert_id),
        (bundles.c.name, bundle),
    ):
        if value is not None:
            query = query.where(column == value)
    if since is not None:
        query = query.where(alerts.c.night >= since)
    if until is not None:
        query = query.where(alerts.c.night <= until)
    if keys is not None:
        query = query.where(of_alerts(scores, keys))
    rows = database.read(lambda connection: [tuple(row) for row in connection.execute(query)])
    columns = dict(zip(schema.names, zip(*rows, strict=True), strict=True)) if rows else {}
    return pa.table({name: list(columns.get(name, ())) for name in schema.names}, schema=schema)


def list_batches(database: Database, since: int) -> list[BatchRecord]:
    """Commits after one; see `Store.batches`."""
    query = sa.select(*(batches.c[name] for name in BatchRecord._fields))
    query = query.where(batches.c.id > since).order_by(batches.c.id)
    return database.read(lambda connection: [BatchRecord(*row) for row in connection.execute(query)])


def counts(database: Database) -> Counts:
    """How much there is; see `Store.counts`."""

    def total(column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
        return sa.func.coalesce(sa.func.sum(column), 0)

    kept = sa.case((batches.c.pack_removed.is_(None), batches.c.pack_bytes), else_=0)
    # the numbers of the batches add up to those of the tables, which would have to be counted row by row
    sums = sa.select(
        total(batches.c.n_new),
        sa.func.count(),
        total(batches.c.n),
        total(batches.c.n_quarantined),
        total(kept),
    ).select_from(batches)
    is_open = sa.func.max(sa.case((snapshots.c.part.is_(None), 1), else_=0))
    nights = sa.select(snapshots.c.night, sa.func.sum(snapshots.c.n), is_open)
    nights = nights.group_by(snapshots.c.night).order_by(snapshots.c.night)
    states = sa.select(passes.c.state, sa.func.count()).group_by(passes.c.state).order_by(passes.c.state)

    def work(connection: sa.Connection) -> Counts:
        n_alerts, n_batches, received, quarantined, size = map(int, connection.execute(sums).one())
        by_night = [(str(night), int(n), bool(more)) for night, n, more in connection.execute(nights)]
        return Counts(
            alerts=n_alerts,
            batches=n_batches,
            received=received,
            quarantined=quarantined,
            passes={str(state): int(n) for state, n in connection.execute(states)},
            nights={night: n for night, n, _ in by_night},
            open_nights=tuple(night for night, _, more in by_night if more),
            packet_bytes=size,
        )

    return database.read(work)
