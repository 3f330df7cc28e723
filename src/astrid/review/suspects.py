"""Which answers to look at again, because the model believes otherwise: an order, and never a correction.

How suspicious an answer is, is worked out in `astrid.learn.suspicion`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from astrid.learn.suspicion import suspicion
from astrid.review.features import believed
from astrid.review.vocabulary import questions
from astrid.store.asking import QueueRow

if TYPE_CHECKING:
    from astrid.store.statements import Key
    from astrid.store.store import Store

__all__ = ["Suspect", "ask_again", "suspects"]

_SLOT = "suspect"


class Suspect(NamedTuple):
    """An item whose label the model does not believe.

    Parameters
    ----------
    survey, alert_id : str
    label : str
        What most people said.
    users : tuple of str
        Who answered.
    probability : float
        That the model gives this label.
    value : float
        How suspicious it is: from 0 to 1, larger is to be looked at sooner.
    bundle : str
        Whose opinion it is.
    """

    survey: str
    alert_id: str
    label: str
    users: tuple[str, ...]
    probability: float
    value: float
    bundle: str


def suspects(store: Store, task: str, *, n: int = 100, bundle: str | None = None) -> list[Suspect]:
    """The items whose labels are most suspicious, most suspicious first.

    The scores should be of a model that was not trained on these answers, as those are that were stored
    when the alerts came.

    Parameters
    ----------
    store : Store
    task : str
    n : int
        At most so many; only such of which the model believes another label.
    bundle : str, optional
        Whose scores; of the bundle that has judged most of the items, if not given.
    """
    vocabulary = questions(task)
    votes: dict[Key, dict[str, str]] = defaultdict(dict)
    table = store.labels.of_task(task)
    columns = (table[name].to_pylist() for name in ("survey", "alert_id", "user", "label"))
    for survey, alert_id, user, label in zip(*columns, strict=True):
        if label in vocabulary.classes:
            votes[survey, alert_id][user] = label
    given: dict[Key, str] = {}
    for key, by_user in votes.items():
        best = Counter(by_user.values()).most_common(2)
        if len(best) == 1 or best[0][1] > best[1][1]:  # where people are divided there is no label to suspect
            given[key] = best[0][0]
    keys = list(given)
    said = believed(store, vocabulary, keys, bundle)
    known = np.flatnonzero(np.isfinite(said.probabilities).all(axis=1))
    if said.bundle is None or not len(known):
        return []
    p = said.probabilities[known]
    own = np.array([vocabulary.classes.index(given[keys[k]]) for k in known])
    value = suspicion(p, own)
    found = []
    for row in np.argsort(-value, kind="stable"):
        key, probability = keys[known[row]], float(p[row, own[row]])
        if p[row].argmax() != own[row]:
            found.append(
                Suspect(
                    key[0], key[1], given[key], tuple(sorted(votes[key])), probability, float(value[row]),
                    said.bundle,
                )
            )  # fmt: skip
        if len(found) == n:
            break
    return found


def ask_again(store: Store, task: str, found: Sequence[Suspect]) -> int:
    """Put items first in the queue, each for one more person than has answered; how many wait for one.

    An item that two people or more have answered is not asked again.
    """
    again = [QueueRow(one.survey, one.alert_id, 0, one.value, _SLOT, blind=True) for one in found]
    store.labels.save_queue(task, [*again, *store.labels.queue(task)])
    asked = {one.item for one in again}
    return sum(row.item in asked for row in store.labels.queue(task))
