"""How far the labelling is: who answered what and when, what waits, how people agree, what was learned.

Everything that a dashboard draws, as plain values.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from astrid.review.agreement import Report, agreement

if TYPE_CHECKING:
    from astrid.store.answers import Tally
    from astrid.store.store import Store

__all__ = ["Day", "Labeller", "Progress", "progress"]

_TRAININGS = 5


@dataclass(frozen=True)
class Labeller:
    """What somebody has answered.

    Parameters
    ----------
    name : str
    n : int
        Answers that count.
    labels : dict of str to int
        By label, and ``unsure`` and ``skip``.
    per_hour : float or None
        Answers in an hour of looking; who took more than two minutes for one was away. None if the times
        are not known.
    last : str
        Day of the last answer, YYYY-MM-DD.
    """

    name: str
    n: int
    labels: dict[str, int]
    per_hour: float | None
    last: str


@dataclass(frozen=True)
class Day:
    """Answers of one day (UTC).

    Parameters
    ----------
    day : str
        YYYY-MM-DD.
    n : int
    labels : dict of str to int
    people : int
    """

    day: str
    n: int
    labels: dict[str, int]
    people: int


@dataclass(frozen=True)
class Progress:
    """How far the labelling of a task is.

    Parameters
    ----------
    task : str
    n_waiting : int
        Items of the queue that wait for an answer.
    queue_made : float or None, s since 1970
    slots : dict of str to int
        Why those that wait are asked.
    n_frozen, n_frozen_answered : int
        Items by which models are compared.
    n_answers : int
        That count.
    labels : dict of str to int
        By label, and ``unsure`` and ``skip``.
    sources : dict of str to int
        Where answers come from.
    people : tuple of Labeller
        Who has answered most comes first.
    days : tuple of Day
    agreement : Report
    trainings : tuple of dict
        The last of them, the newest first.
    """

    task: str
    n_waiting: int
    queue_made: float | None
    slots: dict[str, int]
    n_frozen: int
    n_frozen_answered: int
    n_answers: int
    labels: dict[str, int]
    sources: dict[str, int]
    people: tuple[Labeller, ...]
    days: tuple[Day, ...]
    agreement: Report
    trainings: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def progress(store: Store, task: str) -> Progress:
    """How far the labelling of a task is.

    Parameters
    ----------
    store : Store
    task : str
    """
    tally = store.labels.tally(task)
    rows = store.labels.queue(task, open_only=False)
    frozen = [row for row in rows if row.frozen]
    by_user: dict[str, list[Tally]] = defaultdict(list)
    by_day: dict[int, list[Tally]] = defaultdict(list)
    for one in tally:
        by_user[one.user].append(one)
        by_day[one.day].append(one)
    people = [
        Labeller(name, _total(mine), _labels(mine), _per_hour(mine), _day(max(one.day for one in mine)))
        for name, mine in by_user.items()
    ]
    days = [
        Day(_day(day), _total(of_day), _labels(of_day), len({one.user for one in of_day}))
        for day, of_day in sorted(by_day.items())
    ]
    sources: Counter[str] = Counter()
    for one in tally:
        sources[one.source] += one.n
    return Progress(
        task=task,
        n_waiting=sum(row.open for row in rows),
        queue_made=max((row.made for row in rows), default=None),
        slots=dict(Counter(row.slot for row in rows if row.open)),
        n_frozen=len(frozen),
        n_frozen_answered=sum(not row.open for row in frozen),
        n_answers=_total(tally),
        labels=_labels(tally),
        sources=dict(sources),
        people=tuple(sorted(people, key=lambda one: (-one.n, one.name))),
        days=tuple(days),
        agreement=agreement(store, task),
        trainings=tuple(one._asdict() for one in store.trainings.list(task)[: -_TRAININGS - 1 : -1]),
    )


def _total(tally: list[Tally]) -> int:
    return sum(one.n for one in tally)


def _labels(tally: list[Tally]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for one in tally:
        counts[one.label or one.answer] += one.n
    return dict(counts.most_common())


def _per_hour(tally: list[Tally]) -> float | None:
    seconds = sum(one.seconds for one in tally)
    return 3600 * sum(one.n_timed for one in tally) / seconds if seconds > 0 else None


def _day(number: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=number)).date().isoformat()
