"""Filters with all of their versions, and the alerts that passed them and are to be sent."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from astrid.errors import FilterError, UsageError
from astrid.store.database import Database
from astrid.store.records import STATES, FilterRecord, PassRecord, State
from astrid.store.tables import filters, passes

__all__ = ["claim", "count_delivered", "list_filters", "list_passes", "mark", "retire_filter", "save_filter"]

_ORDER = (passes.c.batch, passes.c.filter, passes.c.hash, passes.c.survey, passes.c.alert_id)
_KEY = (passes.c.filter, passes.c.hash, passes.c.survey, passes.c.alert_id)
_RECORD = tuple(passes.c[name] for name in PassRecord._fields)


def list_filters(database: Database, active: bool | None) -> list[FilterRecord]:
    """Versions of filters; see `Store.filters`."""
    query = sa.select(*(filters.c[name] for name in FilterRecord._fields))
    if active is not None:
        query = query.where(filters.c.active.is_(active))
    query = query.order_by(filters.c.name, filters.c.created, filters.c.hash)
    return database.read(lambda connection: [FilterRecord(*row) for row in connection.execute(query)])


def save_filter(database: Database, name: str, hash: str, definition: Mapping[str, Any]) -> None:
    """Make a version of a filter the active one; see `Store.save_filter`."""
    this = (filters.c.name == name) & (filters.c.hash == hash)

    def work(connection: sa.Connection) -> None:
        database.one_writer(connection)
        others = (filters.c.name == name) & (filters.c.hash != hash)
        connection.execute(sa.update(filters).where(others).values(active=False))
        if connection.execute(sa.update(filters).where(this).values(active=True)).rowcount == 0:
            values = {"name": name, "hash": hash, "definition": dict(definition)}
            connection.execute(sa.insert(filters).values(**values, created=time.time(), active=True))

    database.write(work)


def retire_filter(database: Database, name: str) -> None:
    """Ask a filter no more; see `Store.retire_filter`."""
    wanted = (filters.c.name == name) & filters.c.active
    query = sa.update(filters).where(wanted).values(active=False)
    if database.write(lambda connection: connection.execute(query).rowcount) == 0:
        names = sorted({one.name for one in list_filters(database, active=True)})
        raise FilterError(f"there is no active filter {name!r}; active are: {', '.join(names) or 'none'}")


def list_passes(
    database: Database, filter: str | None, hash: str | None, state: State | None, limit: int | None
) -> list[PassRecord]:
    """What has passed filters; see `Store.passes`."""
    query = sa.select(*_RECORD).order_by(*_ORDER)
    for column, value in ((passes.c.filter, filter), (passes.c.hash, hash)):
        if value is not None:
            query = query.where(column == value)
    if state is not None:
        query = query.where(passes.c.state == _literal(state))
    if limit is not None:
        query = query.limit(limit)
    return database.read(lambda connection: [PassRecord(*row) for row in connection.execute(query)])


def claim(database: Database, limit: int, seconds: float) -> list[PassRecord]:
    """Take what is to be sent next; see `Store.claim`."""
    now = time.time()
    free = passes.c.claimed_until.is_(None) | (passes.c.claimed_until < now)
    chosen = sa.select(*_KEY).where((passes.c.state == _literal("pending")) & free)
    # rows that another publisher is taking right now are left to it
    chosen = chosen.order_by(*_ORDER).limit(limit).with_for_update(skip_locked=True)
    query = sa.update(passes).where(sa.tuple_(*_KEY).in_(chosen)).values(claimed_until=now + seconds)
    query = query.returning(*_RECORD)
    found = database.write(lambda connection: [PassRecord(*row) for row in connection.execute(query)])
    return sorted(found, key=lambda one: (one.batch, *one[:4]))


def count_delivered(database: Database, filter: str, since: float) -> int:
    """What a filter has had sent lately; see `Store.count_delivered`."""
    sent = (
        (passes.c.filter == filter)
        & (passes.c.state == _literal("delivered"))
        & (passes.c.delivered_at > since)
    )
    query = sa.select(sa.func.count()).select_from(passes).where(sent)
    return int(database.read(lambda connection: connection.scalar(query)) or 0)


def mark(database: Database, records: Sequence[PassRecord], state: State, reason: str) -> None:
    """Say what became of passes; see `Store.mark`."""
    if state not in STATES:
        raise UsageError(f"there is no state {state!r} of a pass; give one of {', '.join(STATES)}")
    if not records:
        return
    this = sa.and_(*(column == sa.bindparam(f"the_{column.name}") for column in _KEY))
    at = time.time() if state == "delivered" else None
    query = sa.update(passes).where(this)
    query = query.values(state=state, reason=reason, delivered_at=at, claimed_until=None)
    keys = [{f"the_{column.name}": getattr(one, column.name) for column in _KEY} for one in records]
    # in the order of all writers, so that two publishers cannot deadlock
    keys.sort(key=lambda key: tuple(key.values()))
    database.write(lambda connection: connection.execute(query, keys))


def _literal(state: State) -> sa.ColumnElement[str]:
    """Written into the statement: only so can SQLite see that the index of what is pending will do."""
    return sa.literal(state, literal_execute=True)
