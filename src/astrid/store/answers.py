"""What people answered, as rows that are added and never changed, but for when they were undone.

Of each person the latest answer to an item counts: an earlier one is undone by it. What an answer means,
and which answers there can be, is not known here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from astrid.errors import UsageError
from astrid.store.asking import chunks, forget, put_back, refresh, task_lock
from astrid.store.database import Database
from astrid.store.statements import Key, insert, of_alerts
from astrid.store.tables import alerts, labels, queue

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "ANSWERS", "LabelRecord", "NewLabel", "Tally", "add", "known", "list_labels", "missing_alerts", "table",
    "tally", "tasks", "undo",
]  # fmt: skip

ANSWERS = ("label", "unsure", "skip")
"""A label; looked at, but it cannot be told; left to somebody else."""

_ASKED = "asked"
_LONGEST = 120.0  # s
_CONTENT = ("task", "survey", "alert_id", "user", "answer", "label")


class NewLabel(NamedTuple):
    """An answer that is to be stored.

    Parameters
    ----------
    key : str
        Made by whoever sends it: the same answer sent twice is one.
    task, survey, alert_id, user : str
    answer : str
        One of `ANSWERS`.
    label : str or None
        None unless the answer is a label.
    tags : tuple of str
    note : str
    at : float, s since 1970
    seconds : float or None, s
        From seeing the item to answering.
    slot : str or None
        Why it was asked; None for what the queue says, and ``asked`` where it is not in the queue.
    blind : bool or None
        Whether several people are asked; None for what the queue says.
    shown : bool
        Whether the model's opinion was on the screen before the answer.
    bundle, hash : str or None
    score : float or None
        What the model said of this item.
    source : str
        ``review``, or where it was imported from.
    """

    key: str
    task: str
    survey: str
    alert_id: str
    user: str
    answer: str
    label: str | None
    tags: tuple[str, ...] = ()
    note: str = ""
    at: float = 0.0
    seconds: float | None = None
    slot: str | None = None
    blind: bool | None = None
    shown: bool = False
    bundle: str | None = None
    hash: str | None = None
    score: float | None = None
    source: str = "review"


class LabelRecord(NamedTuple):
    """An answer that is stored; see `NewLabel`.

    Parameters
    ----------
    id : int
        Counts up.
    undone : float or None, s since 1970
        When it was taken back, or when the same person gave another.
    """

    id: int
    key: str
    task: str
    survey: str
    alert_id: str
    user: str
    answer: str
    label: str | None
    tags: tuple[str, ...]
    note: str
    at: float
    seconds: float | None
    slot: str
    blind: bool
    shown: bool
    bundle: str | None
    hash: str | None
    score: float | None
    source: str
    undone: float | None

    @property
    def item(self) -> Key:
        """Survey and identifier of the alert."""
        return self.survey, self.alert_id


_COLUMNS = tuple(labels.c[name] for name in LabelRecord._fields)


def add(database: Database, new: Sequence[NewLabel]) -> list[int]:
    """Store answers; see `Labels.add`."""
    if not new:
        return []
    tasks = sorted({one.task for one in new})

    def work(connection: sa.Connection) -> list[int]:
        for task in tasks:
            task_lock(connection, task)
        keys = [one.key for one in new]
        present = known(connection, keys)
        fresh: dict[str, NewLabel] = {}
        for one in new:
            before = present.get(one.key) or fresh.get(one.key)
            if before is None:
                fresh[one.key] = one
            elif any(getattr(before, name) != getattr(one, name) for name in _CONTENT):
                raise UsageError(
                    f"the key {one.key} was used for another answer, by {before.user} to {before.alert_id} "
                    f"of {before.survey}; make a new key for each answer"
                )
        if fresh:
            _insert(connection, list(fresh.values()))
            present = known(connection, keys)
        return [present[key].id for key in keys]

    return database.write(work)


def _insert(connection: sa.Connection, new: list[NewLabel]) -> None:
    now = time.time()
    items = sorted({(one.task, one.survey, one.alert_id) for one in new})
    places = _places(connection, items)
    latest = _latest(connection, items)
    undone: list[float | None] = [None] * len(new)
    superseded: list[int] = []
    for k, one in enumerate(new):
        who = (one.task, one.survey, one.alert_id, one.user)
        at, earlier, row = latest.get(who, (-1.0, None, None))
        if at > one.at:  # such as an old file that is imported after the review
            undone[k] = now
            continue
        if earlier is not None:
            superseded.append(earlier)
        elif row is not None:
            undone[row] = now
        latest[who] = (one.at, None, k)
    for some in chunks(superseded):
        connection.execute(sa.update(labels).where(labels.c.id.in_(some)).values(undone=now))
    names = [name for name in LabelRecord._fields if name != "id"]
    entries = []
    for one, when in zip(new, undone, strict=True):
        slot, blind = places.get((one.task, one.survey, one.alert_id), (_ASKED, False))
        values = one._replace(
            slot=one.slot if one.slot is not None else slot,
            blind=one.blind if one.blind is not None else blind,
        )._asdict()
        values |= {"tags": json.dumps(list(one.tags)), "undone": when}
        entries.append(tuple(values[name] for name in names))
    insert(connection, labels, names, entries)
    refresh(connection, items)
    forget(connection, sorted({(one.task, one.survey, one.alert_id, one.user) for one in new}))


def undo(database: Database, key: str, user: str | None, lease: float) -> LabelRecord:
    """Take an answer back; see `Labels.undo`."""

    def work(connection: sa.Connection) -> LabelRecord:
        found = known(connection, [key]).get(key)
        if found is None or (user is not None and found.user != user):
            whose = "" if user is None else f" of {user}"
            raise UsageError(f"there is no answer{whose} with the key {key}; check it")
        task_lock(connection, found.task)
        this = (labels.c.id == found.id) & labels.c.undone.is_(None)
        if connection.execute(sa.update(labels).where(this).values(undone=time.time())).rowcount:
            refresh(connection, [(found.task, found.survey, found.alert_id)])
            put_back(connection, found.task, found.item, found.slot, found.user, lease)
        return known(connection, [key])[key]

    return database.write(work)


def list_labels(
    database: Database,
    *,
    task: str | None = None,
    items: Iterable[Key] | None = None,
    users: Iterable[str] | None = None,
    ids: Sequence[int] | None = None,
    undone: bool = False,
    newest: int | None = None,
) -> list[LabelRecord]:
    """Answers in the order in which they were stored; see `Labels`."""
    query = sa.select(*_COLUMNS)
    if task is not None:
        query = query.where(labels.c.task == task)
    if users is not None:
        query = query.where(labels.c.user.in_(list(users)))
    if ids is not None:
        query = query.where(labels.c.id.in_(ids))
    if not undone:
        query = query.where(labels.c.undone.is_(None))
    if newest is not None:
        query = query.order_by(labels.c.at.desc(), labels.c.id.desc()).limit(newest)
    parts = [query] if items is None else [query.where(of_alerts(labels, some)) for some in chunks(items)]

    def work(connection: sa.Connection) -> list[LabelRecord]:
        return [_record(row) for part in parts for row in connection.execute(part)]

    return sorted(database.read(work), key=lambda one: one.id)


def table(database: Database, records: Sequence[LabelRecord]) -> pa.Table:
    """The answers as a table, with ``frozen``; see `Labels.of_task`."""
    import pyarrow as pa

    tasks = {one.task for one in records}
    query = sa.select(queue.c.task, queue.c.survey, queue.c.alert_id)
    query = query.where(queue.c.task.in_(tasks) & queue.c.frozen.is_(True))
    frozen = set(database.read(lambda connection: [tuple(row) for row in connection.execute(query)]))
    text, real = pa.string(), pa.float64()
    kinds = dict.fromkeys(LabelRecord._fields, text)
    kinds |= dict.fromkeys(("at", "seconds", "score", "undone"), real)
    kinds |= {"id": pa.int64(), "tags": pa.list_(text), "blind": pa.bool_(), "shown": pa.bool_()}
    schema = pa.schema([*kinds.items(), ("frozen", pa.bool_())])
    columns: dict[str, list[Any]] = {name: [getattr(one, name) for one in records] for name in kinds}
    columns["frozen"] = [(one.task, one.survey, one.alert_id) in frozen for one in records]
    return pa.table(columns, schema=schema)


class Tally(NamedTuple):
    """How many answers of one kind a person gave on a day.

    Parameters
    ----------
    user, answer : str
    label : str or None
    source : str
    day : int
        Since 1970-01-01, UTC.
    n : int
    seconds : float, s
        That those of known duration took, at most two minutes each: who takes longer was away.
    n_timed : int
        How many those are.
    """

    user: str
    answer: str
    label: str | None
    source: str
    day: int
    n: int
    seconds: float
    n_timed: int


def tally(database: Database, task: str) -> list[Tally]:
    """Answers that count; see `Labels.tally`."""
    day = sa.cast(sa.func.floor(labels.c.at / 86_400.0), sa.Integer)
    hasty = sa.case((labels.c.seconds > _LONGEST, _LONGEST), else_=labels.c.seconds)  # null stays null
    groups = (labels.c.user, labels.c.answer, labels.c.label, labels.c.source, day)
    query = sa.select(*groups, sa.func.count(), sa.func.coalesce(sa.func.sum(hasty), 0.0),
                      sa.func.count(labels.c.seconds))  # fmt: skip
    query = query.where((labels.c.task == task) & labels.c.undone.is_(None)).group_by(*groups)
    return database.read(lambda connection: [Tally._make(row) for row in connection.execute(query)])


def tasks(database: Database) -> list[str]:
    """Tasks with answers or a queue."""
    query = sa.union(sa.select(labels.c.task), sa.select(queue.c.task))
    return sorted(database.read(lambda connection: [row[0] for row in connection.execute(query)]))


def missing_alerts(database: Database, keys: Iterable[Key]) -> set[Key]:
    """Those that are not in the store."""
    wanted = list(dict.fromkeys(keys))
    queries = [
        sa.select(alerts.c.survey, alerts.c.alert_id).where(of_alerts(alerts, some))
        for some in chunks(wanted)
    ]

    def work(connection: sa.Connection) -> set[Key]:
        return {(row[0], row[1]) for query in queries for row in connection.execute(query)}

    return set(wanted) - database.read(work)


def known(connection: sa.Connection, keys: Sequence[str]) -> dict[str, LabelRecord]:
    """Answers by their keys."""
    return {
        row.key: _record(row)
        for some in chunks(dict.fromkeys(keys))
        for row in connection.execute(sa.select(*_COLUMNS).where(labels.c.key.in_(some)))
    }


def _places(
    connection: sa.Connection, items: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str], tuple[str, bool]]:
    """Slot of each item in the queue, and whether it is blind."""
    query = sa.select(queue.c.task, queue.c.survey, queue.c.alert_id, queue.c.slot, queue.c.blind)
    return {
        (row[0], row[1], row[2]): (row[3], row[4])
        for task, keys in _by_task(items)
        for row in connection.execute(query.where((queue.c.task == task) & of_alerts(queue, keys)))
    }


def _latest(
    connection: sa.Connection, items: Sequence[tuple[str, str, str]]
) -> dict[tuple[str, str, str, str], tuple[float, int | None, int | None]]:
    """When each person last answered, and the number of that answer."""
    query = sa.select(labels.c.task, *(labels.c[name] for name in ("survey", "alert_id", "user", "at", "id")))
    query = query.where(labels.c.undone.is_(None))
    found: dict[tuple[str, str, str, str], tuple[float, int | None, int | None]] = {}
    for task, keys in _by_task(items):
        for row in connection.execute(query.where((labels.c.task == task) & of_alerts(labels, keys))):
            found[row[0], row[1], row[2], row[3]] = (row[4], row[5], None)
    return found


def _by_task(items: Iterable[tuple[str, str, str]]) -> Iterator[tuple[str, list[Key]]]:
    tasks: dict[str, list[Key]] = {}
    for task, survey, alert_id in items:
        tasks.setdefault(task, []).append((survey, alert_id))
    for task, keys in tasks.items():
        for some in chunks(keys):
            yield task, some


_TAGS = LabelRecord._fields.index("tags")


def _record(row: Any) -> LabelRecord:
    values = list(row)
    values[_TAGS] = tuple(values[_TAGS])
    return LabelRecord(*values)
