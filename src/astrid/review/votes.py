"""One answer for each item out of what several people said about it.

How votes are weighed is in `astrid.learn.votes`; here it is decided when there are enough of them to find out
who can be relied on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.learn.votes import dawid_skene, majority, tally

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.statements import Key

__all__ = ["Consensus", "consensus"]

_PEOPLE, _SHARED = 3, 50  # with fewer, nobody's reliability can be found from the others
_SURE = 0.8  # probability of the answer below which several people are divided


@dataclass(frozen=True, eq=False)
class Consensus:
    """Items with one answer each.

    Parameters
    ----------
    keys : tuple of (survey, alert_id)
    label : (n,) int64 ndarray
        Number of the label.
    at : (n,) float64 ndarray, s since 1970
        Of the newest vote.
    frozen, random : (n,) bool ndarray
        Whether models are compared on it, and whether it was drawn by chance.
    method : str
        ``one person each``, ``majority`` or ``Dawid-Skene``.
    left_out : Counter
        Items without an answer, by reason.
    """

    keys: tuple[Key, ...]
    label: NDArray[np.int64]
    at: NDArray[np.float64]
    frozen: NDArray[np.bool_]
    random: NDArray[np.bool_]
    method: str
    left_out: Counter[str] = field(default_factory=Counter)

    def __len__(self) -> int:
        return len(self.keys)


def consensus(votes: pa.Table, labels: Sequence[str]) -> Consensus:
    """Combine votes.

    With three people or more who have 50 items in common, each one's reliability is found and used
    (Dawid and Skene); else most votes decide. An item on which people are divided is left out, so is the
    only vote of somebody who is wrong more often than right about such items, and an item of which nobody
    could tell what it is.

    Parameters
    ----------
    votes : pyarrow.Table
        As the store gives the answers of a task: the latest of each person.
    labels : sequence of str
        Those that are learned.

    Returns
    -------
    Consensus
    """
    rows = votes.select(["survey", "alert_id", "user", "answer", "label", "at", "slot", "frozen"]).to_pylist()
    number = {name: k for k, name in enumerate(labels)}
    items: dict[Key, list[tuple[str, int]]] = {}
    at: dict[Key, float] = {}
    frozen: dict[Key, bool] = {}
    random: dict[Key, bool] = {}
    other: set[Key] = set()
    for row in rows:
        key = (row["survey"], row["alert_id"])
        said = items.setdefault(key, [])
        at[key] = max(row["at"], at.get(key, row["at"]))
        frozen[key] = frozen.get(key, False) or row["frozen"]
        random[key] = random.get(key, False) or row["slot"] == "random"
        if row["answer"] == "label" and row["label"] in number:
            said.append((row["user"], number[row["label"]]))
        elif row["answer"] == "label":
            other.add(key)
    answered = [key for key, said in items.items() if said]
    label, method = _decided([items[key] for key in answered], len(number))
    left_out = Counter({"people are divided": int((label < 0).sum())})
    for key in items.keys() - set(answered):
        left_out["it has a label that is not of this task" if key in other else "nobody could tell"] += 1
    kept = [key for key, one in zip(answered, label, strict=True) if one >= 0]
    return Consensus(
        keys=tuple(kept),
        label=label[label >= 0],
        at=np.array([at[key] for key in kept], np.float64),
        frozen=np.array([frozen[key] for key in kept], bool),
        random=np.array([random[key] for key in kept], bool),
        method=method,
        left_out=+left_out,
    )


def _decided(votes: list[list[tuple[str, int]]], n: int) -> tuple[NDArray[np.int64], str]:
    """Number of the label of each item, -1 where people were divided; and how it was found."""
    flat = [(row, user, answer) for row, said in enumerate(votes) for user, answer in said]
    rows = np.array([row for row, _, _ in flat], np.int64)
    users = np.array([user for _, user, _ in flat], np.str_)
    answers = np.array([answer for _, _, answer in flat], np.int64)
    counts = tally(rows, answers, len(votes), n)
    shared = int((counts.sum(axis=1) > 1).sum())
    if shared < _SHARED or len(np.unique(users)) < _PEOPLE:
        return majority(counts), "majority" if shared else "one person each"
    posterior = dawid_skene(rows, users, answers, n, n_items=len(votes)).posterior
    best = posterior.argmax(axis=1)
    # a rare class begins with a small prior: one vote for it would never be sure
    alone = counts.sum(axis=1) == 1
    sure = np.where(alone, best == counts.argmax(axis=1), posterior.max(axis=1) >= _SURE)
    return np.where(sure, best, -1).astype(np.int64), "Dawid-Skene"
