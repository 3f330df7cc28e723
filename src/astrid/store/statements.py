"""Statements about many rows at a time, in the words of either database.

SQLAlchemy's own need several times as long for each value; everything that is asked once a batch is
left to it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, TypeVar

import sqlalchemy as sa

__all__ = ["Key", "batches_of", "insert", "of_alerts"]

T = TypeVar("T")

Key = tuple[str, str]
"""Survey and identifier of an alert."""

_MOST_VALUES = 30_000  # of a statement: SQLite takes 32,766


def insert(
    connection: sa.Connection,
    table: sa.Table,
    columns: Sequence[str],
    entries: Sequence[tuple[Any, ...]],
    returning: Sequence[str] = (),
) -> list[tuple[Any, ...]]:
    """Insert rows in their order, leaving those that are there already as they are.

    Parameters
    ----------
    connection : sqlalchemy.Connection
    table : sqlalchemy.Table
    columns : sequence of str
    entries : sequence of tuple
    returning : sequence of str
        Columns to give back of each row that was inserted.
    """
    is_sqlite = connection.dialect.name == "sqlite"
    head = f"INSERT INTO {table.name} ({_quoted(columns)}) "
    tail = " ON CONFLICT DO NOTHING" + (f" RETURNING {_quoted(returning)}" if returning else "")
    found: list[tuple[Any, ...]] = []
    for some in _pieces(entries, _MOST_VALUES // len(columns)):
        if is_sqlite:
            row = "(" + ", ".join("?" * len(columns)) + ")"
            body = "VALUES " + ", ".join([row] * len(some))
            values = tuple(chain.from_iterable(some))
        else:  # an array a column: its driver is slow at finding thousands of places for values
            types = [table.c[name].type.compile(connection.dialect) for name in columns]
            body = f"SELECT * FROM unnest({', '.join(f'%s::{kind}[]' for kind in types)})"  # noqa: S608
            values = tuple(map(list, zip(*some, strict=True)))
        result = connection.exec_driver_sql(head + body + tail, values)
        if returning:
            found += [tuple(one) for one in result]
    return found


def batches_of(connection: sa.Connection, keys: Collection[Key]) -> dict[Key, int]:
    """The number of the batch of each of these alerts that is in the database."""
    is_sqlite = connection.dialect.name == "sqlite"
    found: dict[Key, int] = {}
    values: tuple[Any, ...]
    for survey in {survey for survey, _ in keys}:
        names = [alert_id for one, alert_id in keys if one == survey]
        for some in _pieces(names, _MOST_VALUES):
            if is_sqlite:
                places, values = f"? AND alert_id IN ({', '.join('?' * len(some))})", (survey, *some)
            else:
                places, values = "%s AND alert_id = ANY(%s)", (survey, some)
            sql = f"SELECT alert_id, batch FROM alerts WHERE survey = {places}"  # noqa: S608
            for alert_id, batch in connection.exec_driver_sql(sql, values):
                found[survey, alert_id] = batch
    return found


def of_alerts(table: sa.Table, keys: Iterable[Key]) -> sa.ColumnElement[bool]:
    """The condition that a row is of one of these alerts.

    SQLite finds pairs of values in a list by going through the whole table, but single values by an index.
    """
    surveys: dict[str, list[str]] = {}
    for survey, alert_id in keys:
        surveys.setdefault(survey, []).append(alert_id)
    found = [(table.c.survey == survey) & table.c.alert_id.in_(ids) for survey, ids in surveys.items()]
    return sa.or_(sa.false(), *found)


def _pieces(entries: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    """The entries in pieces whose lengths are powers of two.

    A driver keeps the last hundred statements prepared, which for thousands of values are a megabyte each:
    of these lengths there are few.
    """
    start = 0
    while left := len(entries) - start:
        size = 1 << (min(left, most).bit_length() - 1)
        yield entries[start : start + size]
        start += size


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
