"""Answers of people, the queue of what they are asked, and how each likes to see it, as one object.

What the answers mean, how the queue is ordered and what a profile holds is decided in the rooms above.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import sqlalchemy as sa

from astrid.errors import UsageError
from astrid.store import answers, asking
from astrid.store.answers import LabelRecord, NewLabel
from astrid.store.asking import Assigned, QueueRow
from astrid.store.database import Database
from astrid.store.statements import Key
from astrid.store.tables import profiles, queue

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Assigned", "LabelRecord", "Labels", "NewLabel", "ProfileRecord", "QueueRow"]

LEASE = 600.0
"""Seconds for which an item is kept for who has it on the screen."""


class ProfileRecord(NamedTuple):
    """How somebody likes to see the queue.

    Parameters
    ----------
    user, name : str
    definition : dict
        As it was saved.
    changed : float, s since 1970
    """

    user: str
    name: str
    definition: dict[str, Any]
    changed: float


class Labels:
    """The answers of a store; `Store.labels` gives it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, labels: Sequence[NewLabel]) -> list[int]:
        """Store answers; when this returns, they survive a killed process and a power cut.

        An answer whose key is known is not stored again, whatever became of it. Of each person the
        latest answer to an item counts: the one before is undone, and an older one that comes later, such
        as from a file, is stored as undone. The items leave the screen of who answered, and the queue
        once as many people have answered as are wanted.

        Returns
        -------
        ids : list of int
            Of the answers, in the order that is given.

        Raises
        ------
        UsageError
            A key was used for another answer; nothing is stored.
        """
        return answers.add(self._database, labels)

    def undo(self, key: str, user: str | None = None, *, lease: float = LEASE) -> LabelRecord:
        """Take an answer back; the item is asked again, and first of who has answered.

        Parameters
        ----------
        key : str
        user : str, optional
            Whose it has to be; anybody's if not given.
        lease : float, s
            For which the item is kept for that person.

        Returns
        -------
        LabelRecord
            With the time at which it was undone, also if that was before.

        Raises
        ------
        UsageError
            There is no such answer, or it is somebody else's.
        """
        return answers.undo(self._database, key, user, lease)

    def by_key(self, keys: Iterable[str]) -> dict[str, LabelRecord]:
        """Answers by their keys, also those that are undone."""
        wanted = list(keys)
        return self._database.read(lambda connection: answers.known(connection, wanted))

    def by_id(self, ids: Iterable[int]) -> dict[int, LabelRecord]:
        """Answers by their numbers, also those that are undone."""
        return {one.id: one for one in answers.list_labels(self._database, ids=list(ids), undone=True)}

    def of_item(
        self, survey: str, alert_id: str, *, task: str | None = None, undone: bool = False
    ) -> list[LabelRecord]:
        """Answers to an item, the first one first."""
        return answers.list_labels(self._database, task=task, items=[(survey, alert_id)], undone=undone)

    def of_items(self, keys: Iterable[Key], *, task: str | None = None) -> list[LabelRecord]:
        """Answers to some items that count, the first one first."""
        return answers.list_labels(self._database, task=task, items=keys)

    def of_task(self, task: str, *, undone: bool = False, users: Collection[str] | None = None) -> pa.Table:
        """Answers in the order in which they were stored.

        Parameters
        ----------
        task : str
        undone : bool
            Also those that do not count any more.
        users : collection of str, optional
            Whose; everybody's if not given.

        Returns
        -------
        table : pyarrow.Table
            The columns of `LabelRecord`, and ``frozen``: the item was drawn by chance for comparing
            models and must not be trained on.
        """
        found = answers.list_labels(self._database, task=task, users=users, undone=undone)
        return answers.table(self._database, found)

    def latest(self, task: str, *, user: str | None = None, n: int = 1) -> list[LabelRecord]:
        """The last answers that count, the newest last; what an undo without a key takes back."""
        users = None if user is None else [user]
        return answers.list_labels(self._database, task=task, users=users, newest=n)

    def tally(self, task: str) -> list[answers.Tally]:
        """Answers that count, by person, answer, label, source and day."""
        return answers.tally(self._database, task)

    def tasks(self) -> list[str]:
        """Tasks with answers or a queue, sorted."""
        return answers.tasks(self._database)

    def missing_alerts(self, keys: Iterable[Key]) -> set[Key]:
        """Those of some alerts that are not in the store."""
        return answers.missing_alerts(self._database, keys)

    # What is asked

    def save_queue(self, task: str, rows: Sequence[QueueRow]) -> int:
        """Make the order of a task anew.

        What was frozen once stays so for ever, in the order or, where it is not in the new one, at its
        end. What somebody has on the screen, and blind pairs of which one person has answered, come
        first. `place`, `open` and `made` of the rows are set here.

        Returns
        -------
        n : int
            Items in the queue.
        """
        return asking.save_queue(self._database, task, rows)

    def queue(
        self, task: str, limit: int | None = None, *, open_only: bool = True, offset: int = 0
    ) -> list[QueueRow]:
        """Items in their order: those that wait for an answer, or all."""
        return asking.list_queue(self._database, task, limit, open_only, offset)

    def queue_made(self, task: str) -> tuple[int, int, float]:
        """How many items wait, how many there are, and when the order was made (0 if never)."""
        waiting = sa.func.coalesce(sa.func.sum(sa.case((queue.c.open.is_(True), 1), else_=0)), 0)
        query = sa.select(waiting, sa.func.count(), sa.func.coalesce(sa.func.max(queue.c.made), 0.0))
        query = query.where(queue.c.task == task)
        row = self._database.read(lambda connection: connection.execute(query).one())
        return int(row[0]), int(row[1]), float(row[2])

    def assign(
        self, task: str, user: str, *, n: int = 1, lease: float = LEASE, among: Sequence[Key] | None = None
    ) -> list[Assigned]:
        """Give somebody items to answer: what was not finished first, and then what nobody else has.

        While its time runs, no item is given to another person, unless it is blind: then to one other.
        Several processes can do this at once.

        Parameters
        ----------
        task, user : str
        n : int
        lease : float, s
            For which they are kept for this person; asking again begins anew.
        among : sequence of (survey, alert_id), optional
            Only these, in this order; those of the queue in its own order if not given.
        """
        return asking.assign(self._database, task, user, n, lease, among)

    def release(self, task: str, user: str, keys: Sequence[Key] | None = None) -> int:
        """Give back items, or all that somebody has, so that others can get them at once."""
        return asking.release(self._database, task, user, keys)

    # How it is seen

    def save_profile(self, user: str, name: str, definition: Mapping[str, Any]) -> None:
        """Save a profile; one of the same person and name is replaced."""
        this = (profiles.c.user == user) & (profiles.c.name == name)
        values = {"definition": dict(definition), "changed": time.time()}

        def work(connection: sa.Connection) -> None:
            self._database.one_writer(connection)
            if connection.execute(sa.update(profiles).where(this).values(**values)).rowcount == 0:
                connection.execute(sa.insert(profiles).values(user=user, name=name, **values))

        self._database.write(work)

    def profiles(self, user: str | None = None) -> list[ProfileRecord]:
        """Profiles of a person, or of everybody, by name."""
        query = sa.select(*(profiles.c[name] for name in ProfileRecord._fields))
        if user is not None:
            query = query.where(profiles.c.user == user)
        query = query.order_by(profiles.c.name, profiles.c.user)
        return self._database.read(
            lambda connection: [ProfileRecord(*row) for row in connection.execute(query)]
        )

    def remove_profile(self, user: str, name: str) -> None:
        """Forget a profile.

        Raises
        ------
        UsageError
            There is none of this name.
        """
        query = sa.delete(profiles).where((profiles.c.user == user) & (profiles.c.name == name))
        if self._database.write(lambda connection: connection.execute(query).rowcount) == 0:
            known = ", ".join(one.name for one in self.profiles(user)) or "none"
            raise UsageError(f"{user} has no profile {name!r}; there are: {known}")
