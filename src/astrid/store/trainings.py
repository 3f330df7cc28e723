"""What was learned from answers: each training, what became of it, and the steps back.

Which model is in use is not decided here; a row that is about to change it says so first, so that a
change that was interrupted can be finished.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, get_args

import sqlalchemy as sa

from astrid.errors import UsageError
from astrid.store.database import Database
from astrid.store.tables import trainings

__all__ = ["TrainingRecord", "Trainings", "Verdict"]

Verdict = Literal["promoting", "promoted", "kept", "failed", "rolling back", "rolled back"]
"""The two that end in -ing are changes that are being made: they become the next one."""


class TrainingRecord(NamedTuple):
    """A training, or a step back.

    Parameters
    ----------
    id : int
        Counts up; 0 before it is recorded.
    task : str
    at : float, s since 1970
        When the answers were read.
    user : str
    bundle, hash : str or None
        What was made; of a step back, what was brought back; None where the training failed.
    against, against_hash : str or None
        The bundle in use when it was made; of a step back, the one that was in use.
    n_labels : int
        Answers that it learned from.
    n_frozen : int
        Answers that it was judged by.
    verdict : str
    reason : str
    figures : dict
        Before, after and difference with their intervals.
    """

    id: int
    task: str
    at: float
    user: str
    bundle: str | None
    hash: str | None
    against: str | None
    against_hash: str | None
    n_labels: int
    n_frozen: int
    verdict: Verdict
    reason: str
    figures: dict[str, Any]


class Trainings:
    """The trainings of a store; `Store.trainings` gives it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, task: str | None = None) -> list[TrainingRecord]:
        """Trainings and steps back, the oldest first.

        Parameters
        ----------
        task : str, optional
            All if not given.
        """
        query = sa.select(*(trainings.c[name] for name in TrainingRecord._fields)).order_by(trainings.c.id)
        if task is not None:
            query = query.where(trainings.c.task == task)
        return self._database.read(
            lambda connection: [TrainingRecord(*row) for row in connection.execute(query)]
        )

    def add(self, record: TrainingRecord) -> TrainingRecord:
        """Record a training; when this returns, it is on the disk.

        The same training, told by task, time and user, is recorded once.

        Parameters
        ----------
        record : TrainingRecord
            Its number is given here.

        Raises
        ------
        UsageError
            There is no such verdict.
        """
        _check(record.verdict)
        values = record._asdict()
        del values["id"]
        same = (trainings.c.task == record.task) & (trainings.c.at == record.at)
        same &= trainings.c.user == record.user

        def work(connection: sa.Connection) -> int:
            self._database.one_writer(connection)
            known = connection.scalar(sa.select(trainings.c.id).where(same))  # the commit's answer was lost
            if known is not None:
                return int(known)
            result = connection.execute(sa.insert(trainings).values(values).returning(trainings.c.id))
            return int(result.scalar_one())

        return record._replace(id=self._database.write(work))

    def settle(self, record: TrainingRecord, verdict: Verdict, reason: str | None = None) -> TrainingRecord:
        """Say how a change that was being made has ended.

        Parameters
        ----------
        record : TrainingRecord
        verdict : str
        reason : str, optional
            Stays as it is if not given.

        Raises
        ------
        UsageError
            There is no such verdict.
        """
        _check(verdict)
        reason = record.reason if reason is None else reason
        query = sa.update(trainings).where(trainings.c.id == record.id)
        self._database.write(lambda one: one.execute(query.values(verdict=verdict, reason=reason)))
        return record._replace(verdict=verdict, reason=reason)


def _check(verdict: str) -> None:
    if verdict not in get_args(Verdict):
        raise UsageError(f"the verdict is {verdict!r}; choose one of {', '.join(get_args(Verdict))}")
