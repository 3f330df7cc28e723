"""How far people agree with each other, and how reliable each of them turns out to be.

The statistics are in `astrid.learn.votes`; nothing is changed by them here.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.learn.votes import dawid_skene, pairwise_kappa
from astrid.review.vocabulary import questions

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.store import Store

__all__ = ["Pair", "Person", "Report", "agreement"]

_PEOPLE, _SHARED = 3, 20  # with fewer, nobody's reliability can be found from the others


@dataclass(frozen=True)
class Pair:
    """How two people agree.

    Parameters
    ----------
    first, second : str
    n : int
        Items that both gave a label.
    agreed : float
        Share of them with the same one.
    kappa : float or None
        Agreement beyond chance; None where both always gave the same single label.
    low, high : float or None
        Its 95 % interval.
    """

    first: str
    second: str
    n: int
    agreed: float
    kappa: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Person:
    """How reliable somebody is.

    Parameters
    ----------
    name : str
    n : int
        Items that the person gave a label.
    n_shared : int
        Those of them that somebody else did too.
    accuracy : float or None
        How often the person is expected to be right, by Dawid & Skene; None where too few people share too
        few items.
    recall : dict of str to float
        The same by class.
    """

    name: str
    n: int
    n_shared: int
    accuracy: float | None
    recall: dict[str, float]


@dataclass(frozen=True)
class Report:
    """How far people agree.

    Parameters
    ----------
    task : str
    n_items : int
        With a label.
    n_shared : int
        With labels of several people.
    n_divided : int
        With different ones.
    pairs : tuple of Pair
    people : tuple of Person
    """

    task: str
    n_items: int
    n_shared: int
    n_divided: int
    pairs: tuple[Pair, ...]
    people: tuple[Person, ...]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def agreement(store: Store, task: str, *, labels: pa.Table | None = None) -> Report:
    """How far people agree about the items of a task.

    Answers without a label, "cannot tell" and "skip", are not counted.

    Parameters
    ----------
    store : Store
    task : str
    labels : pyarrow.Table, optional
        `Labels.of_task`, if it is at hand.

    References
    ----------
    Cohen 1960, Educ. Psychol. Meas. 20, 37; Dawid & Skene 1979, J. R. Stat. Soc. C 28, 20.
    """
    classes = questions(task).classes
    table = store.labels.of_task(task) if labels is None else labels
    said: dict[tuple[str, str], dict[str, int]] = defaultdict(dict)
    columns = (table[name].to_pylist() for name in ("survey", "alert_id", "user", "label"))
    for survey, alert_id, user, label in zip(*columns, strict=True):
        if label in classes:
            said[survey, alert_id][user] = classes.index(label)
    shared = {key: by_user for key, by_user in said.items() if len(by_user) > 1}
    n = Counter(user for by_user in said.values() for user in by_user)
    n_shared = Counter(user for by_user in shared.values() for user in by_user)
    rows = [
        (item, user, answer)
        for item, by_user in enumerate(shared.values())
        for user, answer in by_user.items()
    ]
    items = np.array([row[0] for row in rows], np.int64)
    who = np.array([row[1] for row in rows], np.str_)
    given = np.array([row[2] for row in rows], np.int64)
    pairs = tuple(
        Pair(str(one.first), str(one.second), one.kappa.n, one.kappa.agreed, one.kappa.value, one.kappa.low,
             one.kappa.high)
        for one in pairwise_kappa(items, who, given, at_least=1)
    )  # fmt: skip
    accuracy: dict[str, float] = {}
    recall: dict[str, dict[str, float]] = {}
    if len(n_shared) >= _PEOPLE and len(shared) >= _SHARED:
        found = dawid_skene(items, who, given, len(classes))
        for person, confusion in zip(found.people.tolist(), found.confusion, strict=True):
            right = np.diag(confusion)
            accuracy[person] = float(right @ found.prior)
            recall[person] = dict(zip(classes, right.tolist(), strict=True))
    people = tuple(
        Person(name, n[name], n_shared[name], accuracy.get(name), recall.get(name, {})) for name in sorted(n)
    )
    divided = sum(len(set(by_user.values())) > 1 for by_user in shared.values())
    return Report(task, len(said), len(shared), divided, pairs, people)
