"""What is to be asked, in which order, and who has it on the screen.

An item is given to one person at a time, or to two who do not know of each other where it is blind; the
order itself is made elsewhere.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from astrid.store.database import Database
from astrid.store.statements import Key, insert, of_alerts
from astrid.store.tables import alerts, assignments, labels, queue

__all__ = [
    "Assigned", "QueueRow", "assign", "chunks", "forget", "list_queue", "put_back", "refresh", "release",
    "save_queue", "task_lock",
]  # fmt: skip

T = TypeVar("T")

_LOCKS = 0x61737471  # the class of the locks of tasks in PostgreSQL
_TOGETHER = 500  # keys in one statement


class QueueRow(NamedTuple):
    """An item that is to be asked.

    Parameters
    ----------
    survey, alert_id : str
    place : int
        0 is next.
    value : float or None
        What an answer is expected to be worth.
    slot : str
        Why it is asked: ``uncertain``, ``novel``, ``random``, ``interest``, ``suspect``, ``asked``.
    frozen : bool
        Drawn by chance and never trained on.
    blind : bool
        Two people are asked.
    open : bool
        Whether it waits for an answer.
    made : float, s since 1970
        When the order was made.
    """

    survey: str
    alert_id: str
    place: int
    value: float | None
    slot: str
    frozen: bool = False
    blind: bool = False
    open: bool = True
    made: float = 0.0

    @property
    def item(self) -> Key:
        """Survey and identifier of the alert."""
        return self.survey, self.alert_id


class Assigned(NamedTuple):
    """An item that somebody has on the screen; see `QueueRow`.

    Parameters
    ----------
    object_id : str or None
    turn : int
        0, or 1 for the second of a blind pair.
    until : float, s since 1970
        Nobody else gets it before.
    """

    survey: str
    alert_id: str
    object_id: str | None
    place: int
    value: float | None
    slot: str
    blind: bool
    turn: int
    until: float


_ROW = tuple(queue.c[name] for name in QueueRow._fields)
_MINE = (
    (assignments.c.task == queue.c.task)
    & (assignments.c.survey == queue.c.survey)
    & (assignments.c.alert_id == queue.c.alert_id)
)
_SAID = (
    (labels.c.survey == queue.c.survey)
    & (labels.c.alert_id == queue.c.alert_id)
    & (labels.c.task == queue.c.task)
    & labels.c.undone.is_(None)
)
# a person who skips leaves the item to somebody else
_ANSWERED = (
    sa.select(sa.func.count(sa.distinct(labels.c.user)))
    .where(_SAID & (labels.c.answer != "skip"))
    .scalar_subquery()
    .correlate(queue)
)
_WANTED = sa.case((queue.c.blind.is_(True), 2), else_=1)


def chunks(values: Iterable[T]) -> Iterator[list[T]]:
    """The values, as many at a time as go into one statement."""
    rest = iter(values)
    while some := list(islice(rest, _TOGETHER)):
        yield some


def task_lock(connection: sa.Connection, task: str) -> None:
    """Make others who change the queue or the answers of a task wait until this transaction ends.

    In SQLite they wait anyway. Who writes alerts does not wait.
    """
    if connection.dialect.name != "sqlite":
        number = zlib.crc32(task.encode()) - (1 << 31)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCKS, number)))


def refresh(connection: sa.Connection, items: Iterable[tuple[str, str, str]]) -> None:
    """Say anew of some items, each with its task, whether they wait for an answer."""
    tasks: dict[str, list[Key]] = {}
    for task, *key in items:
        tasks.setdefault(task, []).append((key[0], key[1]))
    for task, keys in tasks.items():
        for some in chunks(keys):
            this = (queue.c.task == task) & of_alerts(queue, some)
            connection.execute(sa.update(queue).where(this).values(open=_ANSWERED < _WANTED))


def forget(connection: sa.Connection, held: Iterable[tuple[str, str, str, str]]) -> None:
    """Take items off the screens of people: task, survey, identifier and user of each."""
    whose: dict[tuple[str, str], list[Key]] = {}
    for task, survey, alert_id, user in held:
        whose.setdefault((task, user), []).append((survey, alert_id))
    for (task, user), keys in whose.items():
        mine = (assignments.c.task == task) & (assignments.c.user == user)
        for some in chunks(keys):
            connection.execute(sa.delete(assignments).where(mine & of_alerts(assignments, some)))


def assign(
    database: Database, task: str, user: str, n: int, lease: float, among: Sequence[Key] | None
) -> list[Assigned]:
    """Give items to somebody; see `Labels.assign`."""

    def work(connection: sa.Connection) -> list[Assigned]:
        task_lock(connection, task)
        now = time.time()
        own = _own(connection, task, user, now)
        found: list[tuple[Any, int]] = []
        if among is not None:
            order = {key: place for place, key in enumerate(among)}
            found = sorted(
                (one for one in own if (one[0].survey, one[0].alert_id) in order),
                key=lambda one: order[one[0].survey, one[0].alert_id],
            )
        else:
            found = own
        found = found[:n]
        if len(found) < n:
            held = {(row.survey, row.alert_id) for row, _ in own}
            found += _free(connection, task, user, n - len(found), now, among, held)
        until = now + lease
        for row, turn in found:
            _hold(connection, task, user, (row.survey, row.alert_id), turn, now, until)
        names = _object_ids(connection, [(row.survey, row.alert_id) for row, _ in found])
        return [
            Assigned(
                row.survey, row.alert_id, names.get((row.survey, row.alert_id)), row.place, row.value,
                row.slot, row.blind, turn, until,
            )
            for row, turn in found
        ]  # fmt: skip

    return database.write(work)


def _own(connection: sa.Connection, task: str, user: str, now: float) -> list[tuple[Any, int]]:
    """What somebody has not finished, in the order of the queue; also if its time has run out unnoticed."""
    query = sa.select(*_ROW, assignments.c.turn).join_from(assignments, queue, _MINE)
    query = query.where((assignments.c.task == task) & (assignments.c.user == user) & queue.c.open.is_(True))
    query = query.where(_not_said_by(user) & (_ANSWERED + _others(user, now) < _WANTED))
    return [(row, row.turn) for row in connection.execute(query.order_by(queue.c.place))]


def _free(
    connection: sa.Connection,
    task: str,
    user: str,
    n: int,
    now: float,
    among: Sequence[Key] | None,
    held: set[Key],
) -> list[tuple[Any, int]]:
    """What nobody has, in the order of the queue or in the given one, and the turn of each."""
    query = sa.select(*_ROW, _ANSWERED.label("answered"))
    query = query.where((queue.c.task == task) & queue.c.open.is_(True) & _not_said_by(user))
    query = query.where(_ANSWERED + _others(user, now) < _WANTED)
    rows: list[Any] = []
    if among is None:
        first = connection.execute(query.order_by(queue.c.place).limit(n + len(held)))
        rows = [row for row in first if (row.survey, row.alert_id) not in held]
    else:
        for some in chunks(key for key in among if key not in held):
            by_key = {
                (row.survey, row.alert_id): row
                for row in connection.execute(query.where(of_alerts(queue, some)))
            }
            rows += [by_key[key] for key in some if key in by_key]
            if len(rows) >= n:
                break
    rows = rows[:n]
    taken = _turns(connection, task, user, [(row.survey, row.alert_id) for row in rows], now)
    found = []
    for row in rows:
        free = [turn for turn in (0, 1) if turn not in taken.get((row.survey, row.alert_id), ())]
        found.append((row, free[min(row.answered, len(free) - 1)]))
    return found


def _not_said_by(user: str) -> sa.ColumnElement[bool]:
    said = sa.select(sa.literal(1)).where(_SAID & (labels.c.user == user)).correlate(queue)
    return ~said.exists()


def _others(user: str, now: float) -> sa.ScalarSelect[int]:
    """How many others have an item on the screen."""
    held = _MINE & (assignments.c.user != user) & (assignments.c.until > now)
    return sa.select(sa.func.count()).select_from(assignments).where(held).scalar_subquery().correlate(queue)


def _turns(
    connection: sa.Connection, task: str, user: str, keys: Sequence[Key], now: float
) -> dict[Key, set[int]]:
    query = sa.select(assignments.c.survey, assignments.c.alert_id, assignments.c.turn)
    query = query.where((assignments.c.task == task) & (assignments.c.user != user))
    query = query.where(assignments.c.until > now)
    found: dict[Key, set[int]] = {}
    for some in chunks(keys):
        for row in connection.execute(query.where(of_alerts(assignments, some))):
            found.setdefault((row[0], row[1]), set()).add(row[2])
    return found


def _object_ids(connection: sa.Connection, keys: Sequence[Key]) -> dict[Key, str | None]:
    query = sa.select(alerts.c.survey, alerts.c.alert_id, alerts.c.object_id)
    return {
        (row[0], row[1]): row[2]
        for some in chunks(keys)
        for row in connection.execute(query.where(of_alerts(alerts, some)))
    }


def release(database: Database, task: str, user: str, keys: Sequence[Key] | None) -> int:
    """Give items back; see `Labels.release`."""
    this = (assignments.c.task == task) & (assignments.c.user == user)
    if keys is not None:
        this &= of_alerts(assignments, keys)
    query = sa.delete(assignments).where(this)
    return database.write(lambda connection: connection.execute(query).rowcount)


def put_back(connection: sa.Connection, task: str, key: Key, slot: str, user: str, lease: float) -> None:
    """Give an item to somebody again whose answer was undone, unless another has it by now."""
    now = time.time()
    this = (queue.c.task == task) & (queue.c.survey == key[0]) & (queue.c.alert_id == key[1])
    if connection.scalar(sa.select(queue.c.place).where(this)) is None:  # the order was made anew since
        first = connection.scalar(sa.select(sa.func.min(queue.c.place)).where(queue.c.task == task))
        row = QueueRow(*key, (1 if first is None else first) - 1, None, slot, made=now)
        insert(connection, queue, ("task", *QueueRow._fields), [(task, *row)])
        refresh(connection, [(task, *key)])
    query = sa.select(queue.c.place).where(this & queue.c.open.is_(True))
    if connection.scalar(query.where(_ANSWERED + _others(user, now) < _WANTED)) is not None:
        turns = _turns(connection, task, user, [key], now).get(key, set())
        _hold(connection, task, user, key, min({0, 1} - turns), now, now + lease)


def _hold(
    connection: sa.Connection, task: str, user: str, key: Key, turn: int, now: float, until: float
) -> None:
    this = (
        (assignments.c.task == task) & (assignments.c.survey == key[0]) & (assignments.c.alert_id == key[1])
    )
    # what is in our way has run out, or is ours
    in_the_way = (assignments.c.turn == turn) | (assignments.c.user == user)
    connection.execute(sa.delete(assignments).where(this & in_the_way))
    values = {"task": task, "survey": key[0], "alert_id": key[1], "turn": turn, "user": user}
    connection.execute(sa.insert(assignments).values(**values, taken=now, until=until))


def save_queue(database: Database, task: str, rows: Sequence[QueueRow]) -> int:
    """Make the order of a task anew; see `Labels.save_queue`."""
    now = time.time()

    def work(connection: sa.Connection) -> int:
        task_lock(connection, task)
        of_task = queue.c.task == task
        live = sa.select(assignments.c.user).where(_MINE & (assignments.c.until > now)).correlate(queue)
        half = queue.c.blind.is_(True) & queue.c.open.is_(True) & (_ANSWERED > 0)
        stay = sa.select(*_ROW).where(of_task & (queue.c.frozen.is_(True) | live.exists() | half))
        kept = {
            row.item: row for row in map(QueueRow._make, connection.execute(stay.order_by(queue.c.place)))
        }
        connection.execute(sa.delete(queue).where(of_task))
        new: dict[Key, QueueRow] = {}
        for row in rows:
            before = kept.pop(row.item, None)
            if before is not None:  # what was frozen once stays so
                row = row._replace(frozen=row.frozen or before.frozen, blind=row.blind or before.blind)
            new.setdefault(row.item, row)
        # what is on a screen or half answered comes first, what is frozen and not in the order last
        first = [row for row in kept.values() if row.open and not row.frozen]
        last = [row for row in kept.values() if not row.open or row.frozen]
        names = ("task", *QueueRow._fields)
        entries = [
            (task, *row._replace(place=place, open=True, made=now))
            for place, row in enumerate([*first, *new.values(), *last])
        ]
        insert(connection, queue, names, entries)
        refresh(connection, [(task, row[1], row[2]) for row in entries])
        return len(entries)

    return database.write(work)


def list_queue(
    database: Database, task: str, limit: int | None, open_only: bool, offset: int = 0
) -> list[QueueRow]:
    """Items in their order; see `Labels.queue`."""
    query = sa.select(*_ROW).where(queue.c.task == task).order_by(queue.c.place)
    if open_only:
        query = query.where(queue.c.open.is_(True))
    query = query.limit(limit).offset(offset) if limit is not None else query
    return database.read(lambda connection: [QueueRow._make(row) for row in connection.execute(query)])
