"""What to ask next: a queue of items of the store, some of them frozen, some of them for two people.

How the worth of an answer is estimated is in `astrid.learn.mixing`; who gets which item is in `assignment`.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError
from astrid.learn.mixing import Shares, mixed_queue
from astrid.learn.task import Binary, Multiclass
from astrid.review.features import believed, embedded, numeric
from astrid.review.vocabulary import Vocabulary, questions
from astrid.store.asking import QueueRow

if TYPE_CHECKING:
    from astrid.learn.bundle import Bundle
    from astrid.store.statements import Key
    from astrid.store.store import Store
    from astrid.stream.filters import Filter

__all__ = ["Features", "Summary", "build"]

Features = Literal["columns", "embeddings"]
"""The numbers in the rows, or what the model's last layer but one makes of the images."""

_MOST: dict[Features, int] = {"columns": 20_000, "embeddings": 3000}
_MOST_LABELLED = 2000  # answered items beside which others are novel
_RANDOM, _INTERESTING = "random", "interesting"
_TRIPLETS = "astrid.images.cutouts:triplets"


@dataclass(frozen=True)
class Summary:
    """What was put into a queue.

    Parameters
    ----------
    task : str
    n : int
        Items that wait, with those that were kept from the queue before.
    n_seen : int
        Alerts that were looked at, one of each object.
    n_considered : int
        Those of them that were weighed: all, or as many as were drawn by chance.
    n_answered : int
        Items that were left out because somebody has answered.
    slots : dict of str to int
        How many of the new ones are there for which reason.
    n_frozen, n_blind : int
        Of all that wait.
    features : str
    bundle, hash : str or None
        Whose opinion was used; None if there is none.
    """

    task: str
    n: int
    n_seen: int
    n_considered: int
    n_answered: int
    slots: dict[str, int] = field(default_factory=dict)
    n_frozen: int = 0
    n_blind: int = 0
    features: str = "columns"
    bundle: str | None = None
    hash: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def build(
    store: Store,
    task: str,
    *,
    bundle: Bundle | None = None,
    filter: Filter | None = None,
    since: str | None = None,
    until: str | None = None,
    n: int = 500,
    seed: int = 0,
    shares: Shares | None = None,
    frozen_share: float = 0.1,
    blind_share: float = 0.0,
    features: Features = "columns",
    most: int | None = None,
    start: int = 100,
    on_progress: Callable[[int, int], None] | None = None,
) -> Summary:
    """Make the queue of a task anew.

    Of each object the newest alert is asked, if nobody has answered it yet. The frozen part is drawn by
    chance from all that the filter lets through, before anything is weighed, and is spread evenly over
    the queue; it stays frozen for ever, and no alert of its objects is asked otherwise.

    Parameters
    ----------
    store : Store
    task : str
    bundle : Bundle, optional
        Whose opinion counts; the live one of the task if not given, or, where its scores are not stored,
        the one that has scored most.
    filter : Filter, optional
        Of which alerts the queue is made; all if not given.
    since, until : str, optional
        First and last night.
    n : int
        Items.
    seed : int
    shares : Shares, optional
        What the part that is not frozen is made of.
    frozen_share, blind_share : float
        Of the whole queue.
    features : {"columns", "embeddings"}
        By what items are unlike each other; the second reads their packets and needs the extra ``train``.
    most : int, optional
        If there are more, so many are drawn by chance and weighed; 20,000, or 3,000 with embeddings.
    start : int
        Until so many are answered, items are asked by chance or because they differ.
    on_progress : callable, optional
        Called with the number of items that were looked at and of all; the same number if that is not known.

    Returns
    -------
    Summary

    Raises
    ------
    UsageError
        A share is not between 0 and 1, `n` is not positive, or there is no such task.
    FilterError
        The filter cannot be used.
    """
    for name, share in (("frozen", frozen_share), ("blind", blind_share)):
        if not 0 <= share <= 1:
            raise UsageError(f"the {name} share is {share}; give one between 0 and 1")
    if n < 1:
        raise UsageError(f"a queue of {n} items is asked for; ask for 1 at least")
    vocabulary = questions(task)
    rng = np.random.default_rng(seed)
    labels = store.labels.of_task(task)
    answered = dict(zip(zip(labels["survey"].to_pylist(), labels["alert_id"].to_pylist(), strict=True),
                        labels["tags"].to_pylist(), strict=True))  # fmt: skip
    before = store.labels.queue(task, open_only=False)
    newest, learned = _objects(store, filter, since, until, task, answered, on_progress)
    known = [key for key in newest if key in answered]
    frozen_before = [row for row in before if row.frozen]
    fixed = _frozen_objects(store, [row.item for row in frozen_before])
    free = [key for key, name in newest.items() if key not in answered and name not in fixed]
    waiting = [row for row in frozen_before if row.open]
    # a share of what there is to ask: of a small store it must not be all
    n_frozen = max(round(frozen_share * min(n, len(free) + len(waiting))) - len(waiting), 0)
    # an object that was answered about can have been learned from
    unknown = [key for key in free if newest[key] not in learned]
    drawn = [unknown[k] for k in rng.permutation(len(unknown))[:n_frozen]]
    frozen = [row.item for row in waiting] + drawn
    chosen_frozen = set(drawn)
    pool = [key for key in free if key not in chosen_frozen]
    limit = _MOST[features] if most is None else most
    if len(pool) > limit:
        pool = [pool[k] for k in np.sort(rng.permutation(len(pool))[:limit])]
    weighed = _Weighed(store, vocabulary, pool, answered, bundle, features, on_progress)
    wanted = max(n - len(frozen), 0)
    picked = weighed.queue(wanted, seed, shares, start, _costs(task)) if pool and wanted else []
    rows = list(_interleaved(picked, frozen[:n], n))
    blind = set(rng.permutation(len(rows))[: round(blind_share * len(rows))].tolist())
    rows = [row._replace(blind=k in blind) for k, row in enumerate(rows)]
    store.labels.save_queue(task, rows)
    saved = store.labels.queue(task)
    return Summary(
        task, len(saved), len(newest), len(pool) + len(drawn), len(known),
        dict(Counter(row.slot for row in rows)), sum(row.frozen for row in saved),
        sum(row.blind for row in saved), features, weighed.bundle, weighed.hash,
    )  # fmt: skip


class _Weighed:
    """Items that can be asked, beside some that are answered, and what is known of all of them."""

    def __init__(
        self,
        store: Store,
        vocabulary: Vocabulary,
        pool: list[Key],
        answered: dict[Key, list[str]],
        bundle: Bundle | None,
        features: Features,
        on_progress: Callable[[int, int], None] | None,
    ) -> None:
        newest = list(answered)[-_MOST_LABELLED:]
        gone = store.labels.missing_alerts(newest)
        labelled = [key for key in newest if key not in gone]
        self.keys = [*pool, *labelled]
        self.labelled = np.arange(len(pool), len(self.keys))
        self.interesting = np.array([_INTERESTING in answered[key] for key in labelled], np.float64)
        self.bundle, self.hash = None, None
        live = bundle if bundle is not None else _live(vocabulary.task)
        if features == "embeddings":
            if live is None:
                raise UsageError(f"no bundle of {vocabulary.task} is live; give one, or use columns")
            made = embedded(store, live, vocabulary, self.keys, on_progress)
            seen: NDArray[np.bool_] = np.asarray(np.isfinite(made.features).all(axis=1))
            self._leave(seen)
            self.features, probabilities = made.features[seen], made.probabilities[seen]
            self.bundle, self.hash = live.name, live.hash
        else:
            names = _number_columns(store)
            self.features = numeric(store, self.keys, names) if self.keys else np.zeros((0, 0))
            said = believed(store, vocabulary, self.keys, *((live.name, live.hash) if live else ()))
            if said.bundle is None and bundle is None:
                said = believed(store, vocabulary, self.keys)
            self.bundle, self.hash, probabilities = said
        self.probabilities = _filled(probabilities)

    def _leave(self, seen: NDArray[np.bool_]) -> None:
        """Go on without the items whose images cannot be used."""
        is_labelled = np.zeros(len(self.keys), bool)
        is_labelled[self.labelled] = True
        self.interesting = self.interesting[seen[self.labelled]]
        self.labelled = np.flatnonzero(is_labelled[seen])
        self.keys = [key for key, one in zip(self.keys, seen.tolist(), strict=True) if one]

    def queue(
        self, n: int, seed: int, shares: Shares | None, start: int, cost: NDArray[np.float64] | None
    ) -> list[QueueRow]:
        """The best items to ask, in their order."""
        features = self.features if self.features.size else None
        if features is None and self.probabilities is None:  # nothing to weigh by: by chance
            features = np.zeros((len(self.keys), 1)) + np.arange(len(self.keys))[:, None]
            shares, start = Shares(0, 0, 1, 0), 0
        found = mixed_queue(
            probabilities=self.probabilities, features=features, labelled=self.labelled, n=n, seed=seed,
            cost=cost, shares=shares, start=start,
            ratings=self.interesting if self.interesting.any() else None,
        )  # fmt: skip
        return [
            _row(self.keys[item], value if math.isfinite(value) else None, slot)
            for item, value, slot in zip(found.order.tolist(), found.value.tolist(), found.slot, strict=True)
        ]


def _objects(
    store: Store,
    filter: Filter | None,
    since: str | None,
    until: str | None,
    task: str,
    answered: Collection[Key],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[dict[Key, str], set[str]]:
    """The newest alert of each object that can be looked at, and the objects with an answered alert."""
    from astrid.stream.filters import Filter as NewFilter
    from astrid.stream.replay import replay
    from astrid.zoo import task as find

    of_images = find(task).represent == _TRIPLETS
    wanted = filter if filter is not None else NewFilter(name="all")
    columns = ("survey", "alert_id", "object_id", "image_problem")
    found: dict[str, Key] = {}
    learned: set[str] = set()
    for table in replay(wanted, store, since, until, columns=columns, on_progress=on_progress):
        names = [name for name in columns if name in table.column_names]
        for row in zip(*(table[name].to_pylist() for name in names), strict=True):
            one = dict(zip(names, row, strict=True))
            if of_images and one.get("image_problem"):
                continue
            key = (one["survey"], one["alert_id"])
            name = _object(*key, one["object_id"])
            found[name] = key
            if key in answered:
                learned.add(name)
    return {key: name for name, key in found.items()}, learned


def _object(survey: str, alert_id: str, object_id: str | None) -> str:
    """The name of an object; an alert that names none is one of its own."""
    return f"{survey}/{object_id or 'alert ' + alert_id}"


def _frozen_objects(store: Store, keys: Sequence[Key]) -> set[str]:
    found = set()
    for survey, alert_id in keys:
        record = store.alert(survey, alert_id)
        found.add(_object(survey, alert_id, None if record is None else record.object_id))
    return found


def _number_columns(store: Store) -> list[str]:
    from astrid.stream.replay import stored_columns

    return [one.name for one in stored_columns(store) if one.type in ("float64", "int64")]


def _live(task: str) -> Bundle | None:
    from astrid.learn.registry import live

    return live(task)


def _costs(task: str) -> NDArray[np.float64] | None:
    """What it costs to miss an item of each class."""
    from astrid.zoo import task as find

    head = find(task).heads[questions(task).head]
    if isinstance(head, Binary):
        return np.array([head.cost.false_alarm, head.cost.miss])
    if isinstance(head, Multiclass):
        return np.array([head.costs[one].miss if one in head.costs else 1.0 for one in head.labels])
    return None


def _row(key: Key, value: float | None, slot: str, *, frozen: bool = False) -> QueueRow:
    survey, alert_id = key
    return QueueRow(survey, alert_id, 0, value, slot, frozen)


def _filled(p: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """An item without a score is as all the others together: it is asked neither first nor last."""
    known: NDArray[np.bool_] = np.asarray(np.isfinite(p).all(axis=1))
    if not known.any():
        return None
    return np.where(known[:, None], p, p[known].mean(axis=0))


def _interleaved(picked: Sequence[QueueRow], frozen: Sequence[Key], n: int) -> Iterator[QueueRow]:
    """The frozen items evenly among the others, so that each beginning of the queue has its share of them."""
    total = min(len(picked) + len(frozen), n)
    places = {math.floor((k + 0.5) * total / len(frozen)) for k in range(len(frozen))} if frozen else set()
    others, mine = iter(picked), iter(frozen)
    for place in range(total):
        row = None if place in places else next(others, None)
        if row is None:
            key = next(mine, None)
            row = _row(key, None, _RANDOM, frozen=True) if key is not None else next(others, None)
        if row is not None:
            yield row
