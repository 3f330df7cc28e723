"""The data set of a training: images of the alerts that people answered, and some of an older data set.

The frozen answers are its test part, so that the same check that guards every training guards these: no
object is on both sides. What is learned from it is decided in `retraining`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import Layout, SchemaBook, centred_triplet
from astrid.errors import PacketError, StoreError, TrainingError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.splits import Parts, check_parts
from astrid.learn.task import Binary, Task
from astrid.review.votes import Consensus
from astrid.stream.stored import stored_alert
from astrid.survey.realbogus_data import TRIPLET

if TYPE_CHECKING:
    from astrid.store.statements import Key
    from astrid.store.store import Store

__all__ = ["Source", "TrainingSet", "build", "only_head"]

_BATCH = 256
_VALIDATION = 0.25  # of the objects that people answered about
_LEAST = 10  # answers of each class without which there is nothing to learn or to choose an epoch by
_BASE_ROWS = 4  # rows of the older data set for each answer, so that what it taught is not forgotten
_LEAST_PREVALENCE = 50  # random answers that tell the share of the positive class


@dataclass(frozen=True)
class Source:
    """Where images come from beside the store.

    Parameters
    ----------
    base : Dataset, optional
        An older data set of the task, from which rows are drawn.
    earlier : Dataset, optional
        That of an earlier training, which has the images of packets that were removed since.
    layouts, book
        As for `stored_alert`.
    """

    base: Dataset | None = None
    earlier: Dataset | None = None
    layouts: tuple[Layout, ...] = ()
    book: SchemaBook | None = None


@dataclass(frozen=True, eq=False)
class TrainingSet:
    """What a model learns from and is judged by.

    Parameters
    ----------
    dataset : Dataset
    parts : Parts
        Its test part are the frozen answers.
    learned, frozen : dict of str to int
        Answers of each label.
    n_base : int
        Rows of the older data set.
    left_out : Counter
        Answers that are of no use, by reason.
    prevalence : float, optional
        Share of the positive class among answers to items drawn by chance, frozen ones not counted; None
        where there are too few.
    """

    dataset: Dataset
    parts: Parts
    learned: dict[str, int]
    frozen: dict[str, int]
    n_base: int
    left_out: Counter[str]
    prevalence: float | None


def only_head(task: Task) -> tuple[str, Binary]:
    """The head that people answer for.

    Raises
    ------
    UsageError
        The task has several, or it is not one of yes or no.
    """
    if len(task.heads) == 1:
        ((name, head),) = task.heads.items()
        if isinstance(head, Binary):
            return name, head
    raise UsageError(
        f"{task.name} does not answer one question by yes or no, so answers cannot retrain it here; train it "
        "by astrid models train"
    )


def build(
    store: Store,
    task: Task,
    answers: Consensus,
    frozen: Sequence[Key],
    out: str | Path,
    source: Source | None = None,
    *,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainingSet:
    """Write the data set of a training.

    Alerts of an object of which one is frozen are left out, whether or not that one is answered yet.

    Parameters
    ----------
    store : Store
    task : Task
        Of one head of yes or no, on the images of an alert.
    answers : Consensus
    frozen : sequence of (survey, alert_id)
        All items that are kept for comparing.
    out : str or Path
        Directory of the data set.
    source : Source, optional
    seed : int
        Of the validation part and of the rows of the older data set.
    on_progress : callable, optional
        Called with the number of alerts read and of all.

    Returns
    -------
    TrainingSet

    Raises
    ------
    TrainingError
        There are too few answers of a class.
    DatasetError
        The older data set does not fit the task.
    OutputError
        `out` cannot be written.
    """
    head, kind = only_head(task)
    ((name, one),) = task.inputs.items()
    source = source or Source()
    if source.base is not None:
        source.base.check(task)
    left_out: Counter[str] = Counter()
    rng = np.random.default_rng(seed)
    untouched = {_object(store, key) for key in frozen}
    items: list[_Item] = []
    for key, label, is_frozen, is_random in zip(
        answers.keys, answers.label.tolist(), answers.frozen.tolist(), answers.random.tolist(), strict=True
    ):
        group = _object(store, key)
        if not is_frozen and group in untouched:
            left_out["its object has a frozen answer"] += 1
        else:
            items.append(_Item(key, group, label, is_frozen, is_random))
    images = _Images(store, name, [TRIPLET.channels.index(one) for one in one.channels], one.shape[0], source)
    read: list[_Item] = []
    base_rows = np.zeros(0, np.int64)
    with DatasetWriter(
        out, name=f"answers about {task.name}", inputs={name: one}, kind="real", group="object",
        recipe=_recipe(answers, source), labels=f"what people said: {answers.method}",
        licence="as the packets'",
    ) as writer:  # fmt: skip
        for start in range(0, len(items), _BATCH):
            block: list[NDArray[np.float32]] = []
            some: list[_Item] = []
            for item in items[start : start + _BATCH]:
                try:
                    block.append(images(item.key))
                except (PacketError, StoreError) as error:
                    left_out[images.reason(error)] += 1
                else:
                    some.append(item)
            if some:
                writer.append({name: np.stack(block)}, _columns(some, head))
            read += some
            if on_progress is not None:
                on_progress(min(start + _BATCH, len(items)), len(items))
        if source.base is not None:
            n_learned = sum(not item.frozen for item in read)
            base_rows = _base_rows(source.base, head, kind, untouched, _BASE_ROWS * n_learned, rng)
            for arrays, columns in _base_blocks(source.base, base_rows, name, head, kind):
                writer.append({name: arrays}, columns)
        _enough(read, kind, source.base is not None)
    dataset = Dataset.open(out)
    parts = _parts(dataset, head, read, rng)
    check_parts(dataset, parts)
    chance = [item.label for item in read if item.random and not item.frozen]
    share = float(np.mean(chance)) if len(chance) >= _LEAST_PREVALENCE else 0.0
    return TrainingSet(
        dataset=dataset,
        parts=parts,
        learned=_counts((item for item in read if not item.frozen), kind),
        frozen=_counts((item for item in read if item.frozen), kind),
        n_base=len(base_rows),
        left_out=answers.left_out + left_out,
        prevalence=share if 0 < share < 1 else None,
    )


@dataclass(frozen=True)
class _Item:
    """An answer and its place."""

    key: Key
    group: str
    label: int
    frozen: bool
    random: bool

    @property
    def name(self) -> str:
        return "/".join(self.key)


class _Images:
    """The images of alerts as the model takes them, from their packets or from an earlier data set."""

    def __init__(self, store: Store, name: str, channels: list[int], size: int, source: Source) -> None:
        self._store, self._name, self._channels, self._size = store, name, channels, size
        self._source = source
        self._rows: dict[str, int] = {}
        earlier = source.earlier
        wanted = (size, size, len(channels))
        # a model of another size was in use then: its images are of no use
        if earlier is not None and name in earlier.info.inputs and earlier.info.inputs[name].shape == wanted:
            known = (earlier.column("source") == "people").tolist()
            self._rows = {key: row for row, key in enumerate(earlier.column("id").tolist()) if known[row]}

    def __call__(self, key: Key) -> NDArray[np.float32]:
        try:
            alert = stored_alert(
                self._store, *key, layouts=self._source.layouts, book=self._source.book, history=False
            )
        except StoreError:
            row = self._rows.get("/".join(key))
            if row is None or self._source.earlier is None:
                raise
            return self._source.earlier.take(self._name, np.array([row]))[0]
        return centred_triplet(alert, self._size)[..., self._channels]

    def reason(self, error: PacketError | StoreError) -> str:
        """Few words for many alerts."""
        if isinstance(error, PacketError):
            return "its images cannot be used"
        return "its packet was removed" if "rule of retention" in str(error) else "it is not in the store"


def _object(store: Store, key: Key) -> str:
    """The object of an alert; the alert itself where its survey names none."""
    record = store.alert(*key)
    return "/".join(key) if record is None or not record.object_id else record.object_id


def _columns(items: Sequence[_Item], head: str) -> dict[str, list[Any]]:
    return {
        "id": [item.name for item in items],
        "object": [item.group for item in items],
        "source": ["people"] * len(items),
        head: [float(item.label) for item in items],
    }


def _base_rows(
    base: Dataset, head: str, kind: Binary, untouched: set[str], most: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of the older data set with a label, drawn by chance, none of them of a frozen object."""
    known = np.isfinite(base.labels(head, kind))
    names = [base.info.group, *(one for one in ("objectId", "object_id", "object") if one in _names(base))]
    for name in dict.fromkeys(names):
        known &= ~np.isin(base.column(name).astype(np.str_), np.array(sorted(untouched), np.str_))
    rows = np.flatnonzero(known)
    return np.sort(rng.permutation(rows)[:most])


def _names(base: Dataset) -> list[str]:
    return list(base.rows.column_names)


def _base_blocks(
    base: Dataset, rows: NDArray[np.int64], name: str, head: str, kind: Binary
) -> Iterator[tuple[NDArray[np.float32], dict[str, list[Any]]]]:
    labels, groups = base.labels(head, kind), base.groups()
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        columns = {
            "id": [f"{base.info.name}/{row}" for row in some.tolist()],
            "object": groups[some].tolist(),
            "source": ["base"] * len(some),
            head: labels[some].astype(float).tolist(),
        }
        yield base.take(name, some), columns


def _enough(items: Sequence[_Item], kind: Binary, with_base: bool) -> None:
    """Make sure that there is something to learn from."""
    counts = _counts((item for item in items if not item.frozen), kind)
    rare = min(counts, key=lambda label: counts[label])
    if counts[rare] < (0 if with_base else _LEAST) or not sum(counts.values()):
        raise TrainingError(
            f"{counts[rare]} of the answers that can be learned from are {rare}, {_LEAST} of each label are "
            "needed; answer more, or give an older data set with --base"
        )


def _counts(items: Iterator[_Item], kind: Binary) -> dict[str, int]:
    found = Counter(item.label for item in items)
    return {label: found[k] for k, label in enumerate(kind.labels)}


def _parts(dataset: Dataset, head: str, items: Sequence[_Item], rng: np.random.Generator) -> Parts:
    """Frozen answers are the test part; a share of the objects that people answered about validates.

    An epoch and a threshold are so chosen by what people said, and not by the older data set, unless they
    said too little.
    """
    groups = dataset.groups()
    label = dataset.column(head) >= 0.5
    people = dataset.column("source") == "people"
    test = np.zeros(len(dataset), bool)
    test[: len(items)] = [item.frozen for item in items]
    chosen: set[str] = set()
    for value in (False, True):
        for among in (people, ~people):
            rows = ~test & among & (label == value)
            names = np.unique(groups[rows])
            chosen |= set(rng.permutation(names)[: round(_VALIDATION * len(names))].tolist())
            inside = np.isin(groups, np.array(sorted(chosen), np.str_)) & ~test & (label == value)
            if inside.sum() >= _LEAST * _VALIDATION:
                break
    validation = np.isin(groups, np.array(sorted(chosen), np.str_)) & ~test
    rest = ~test & ~validation
    return Parts(np.flatnonzero(rest), np.flatnonzero(validation), np.flatnonzero(test))


def _recipe(answers: Consensus, source: Source) -> Mapping[str, Any]:
    base = source.base
    return {
        "answers": len(answers),
        "votes": answers.method,
        "base": None
        if base is None
        else {"name": base.info.name, "hash": base.info.hash, "kind": base.info.kind},
    }
