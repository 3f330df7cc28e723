"""Answers of people: looked at, put beside what the model had said, and stored before this returns.

What they are used for is decided elsewhere; nothing is learned here.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from astrid.errors import BundleError, StoreError, UsageError
from astrid.review.vocabulary import Vocabulary, questions
from astrid.store.answers import LabelRecord, NewLabel

if TYPE_CHECKING:
    from astrid.review.items import Item
    from astrid.store.statements import Key
    from astrid.store.store import Store

__all__ = ["Opinion", "Said", "answer", "answer_many", "checked", "opinions", "undo"]

_KEY = re.compile(r"[A-Za-z0-9_.:-]{8,100}")
_LONGEST_NOTE = 2000  # characters
_LONGEST_LOOK = 86_400.0  # s


class Said(NamedTuple):
    """What somebody said about an item; see `answer`."""

    item: Item | Key
    key: str
    answer: str = "label"
    label: str | None = None
    tags: Sequence[str] = ()
    note: str = ""
    seconds: float | None = None
    shown: bool = False


class Opinion(NamedTuple):
    """What a model had said about an item.

    Parameters
    ----------
    bundle, hash : str
    score : float or None
        The probability of the class that is looked for; of more than two classes, the largest.
    """

    bundle: str
    hash: str
    score: float | None


def answer(
    store: Store,
    task: str,
    user: str,
    item: Item | Key,
    *,
    key: str,
    answer: str = "label",
    label: str | None = None,
    tags: Sequence[str] = (),
    note: str = "",
    seconds: float | None = None,
    shown: bool = False,
) -> LabelRecord:
    """Store an answer; when this returns, it survives a killed process and a power cut.

    Sent again with the same key, it is stored once. An earlier answer of the same person to the item is
    undone by it.

    Parameters
    ----------
    store : Store
    task, user : str
    item : Item or (survey, alert_id)
    key : str
        Another one for each answer: 8 to 100 letters, digits and ``_ . : -``.
    answer : {"label", "unsure", "skip"}
        A label; looked at, but it cannot be told; left to somebody else.
    label : str, optional
        Only with the first.
    tags : sequence of str
        Names or aliases.
    note : str
    seconds : float, optional, s
        From seeing the item to answering.
    shown : bool
        Whether the model's opinion was on the screen before the answer.

    Returns
    -------
    LabelRecord
        With the bundle, its hash and its score for this item.

    Raises
    ------
    UsageError
        It is no answer to a question of this task, or the key was used for another one.
    StoreError
        There is no such alert, or the database is away.
    """
    said = Said(item, key, answer, label, tags, note, seconds, shown)
    return answer_many(store, task, user, [said])[0]


def answer_many(store: Store, task: str, user: str, said: Sequence[Said]) -> list[LabelRecord]:
    """Store several answers of one person: all of them, or none.

    Parameters
    ----------
    store : Store
    task, user : str
    said : sequence of Said

    Raises
    ------
    UsageError, StoreError
        As of `answer`.
    """
    vocabulary = questions(task)
    named = [
        checked(vocabulary, one.key, one.answer, one.label, one.tags, one.note, one.seconds) for one in said
    ]
    keys = [(one.item[0], one.item[1]) for one in said]
    for survey, alert_id in sorted(store.labels.missing_alerts(keys)):
        raise StoreError(
            f"there is no alert {alert_id} of {survey} in the store; check survey and identifier"
        )
    known = opinions(store, task, keys)
    now = time.time()
    labels = []
    for one, tags, (survey, alert_id) in zip(said, named, keys, strict=True):
        opinion = known.get((survey, alert_id))
        bundle, hash, score = opinion or (None, None, None)
        labels.append(
            NewLabel(
                one.key, task, survey, alert_id, user, one.answer, one.label, tags, one.note, now,
                one.seconds, None, None, one.shown, bundle, hash, score,
            )
        )  # fmt: skip
    store.labels.add(labels)
    found = store.labels.by_key(one.key for one in said)
    return [found[one.key] for one in said]


def undo(store: Store, user: str, key: str | None = None, *, task: str | None = None) -> LabelRecord:
    """Take an answer back; the item is the next that this person is asked.

    Parameters
    ----------
    store : Store
    user : str
        Who gave it; nobody else can take it back.
    key : str, optional
        The last answer of this person in `task` if not given.
    task : str, optional

    Returns
    -------
    LabelRecord

    Raises
    ------
    UsageError
        There is no such answer of this person.
    """
    if key is None:
        last = [] if task is None else store.labels.latest(task, user=user)
        if not last:
            raise UsageError(f"{user} has no answer that could be undone; give the key of one")
        key = last[-1].key
    return store.labels.undo(key, user)


def opinions(store: Store, task: str, keys: Iterable[Key]) -> dict[Key, Opinion]:
    """What models have said about items: the bundle of the task that is in use, or else the last by name.

    Parameters
    ----------
    store : Store
    task : str
    keys : iterable of (survey, alert_id)
        Some thousands at most.
    """
    labels = set(questions(task).classes)
    alive = _live_hash(task)
    found: dict[Key, tuple[bool, Opinion]] = {}
    for row in store.scores(keys=list(keys)).to_pylist():
        if row["bundle"].partition(".")[0] != task or row["label"] not in labels:
            continue
        key, live = (row["survey"], row["alert_id"]), row["hash"] == alive
        before = found.get(key)
        # rows come in the order of names
        if before is not None and before[0] and not live:
            continue
        score = row["value"]
        if before is not None and before[1].hash == row["hash"] and before[1].score is not None:
            score = max(score, before[1].score) if score is not None else before[1].score
        found[key] = (live, Opinion(row["bundle"], row["hash"], score))
    return {key: opinion for key, (_, opinion) in found.items()}


def _live_hash(task: str) -> str | None:
    from astrid.learn.registry import live

    try:
        bundle = live(task)
    except BundleError:  # a damaged bundle is no reason to lose an answer
        return None
    return None if bundle is None else bundle.hash


def checked(
    vocabulary: Vocabulary,
    key: str,
    answer: str,
    label: str | None,
    tags: Iterable[str],
    note: str,
    seconds: float | None,
) -> tuple[str, ...]:
    """Look at an answer that is to be stored; the names of its tags.

    Raises
    ------
    UsageError
        It cannot be stored.
    """
    if not _KEY.fullmatch(key):
        raise UsageError(
            f"the key {key[:100]!r} of an answer is none; give 8 to 100 letters, digits and _ . : -"
        )
    if len(note) > _LONGEST_NOTE:
        raise UsageError(f"the note has {len(note)} characters; shorten it to {_LONGEST_NOTE}")
    if "\0" in note or any("\ud800" <= one <= "\udfff" for one in note):
        raise UsageError("the note has a character that is none; remove it")
    if seconds is not None and not (math.isfinite(seconds) and 0 <= seconds <= _LONGEST_LOOK):
        raise UsageError(f"the answer took {seconds} s; give the seconds from seeing to answering")
    return vocabulary.check(answer, label, tags)
