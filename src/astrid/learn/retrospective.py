"""The retrospective test: leave something known out of the training, and see when it is found.

A class, a kind within a class, or one event is taken out; a model is trained without it, and the
items of the test part are put into a queue by several scores. The rank of what was left out says
what would have happened on the night when it was new.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.learn import metrics
from astrid.learn.bundle import Calibration
from astrid.learn.dataset import Dataset
from astrid.learn.novelty import embeddings, novelty_scores
from astrid.learn.prediction import calibrated
from astrid.learn.settings import Training
from astrid.learn.splits import Parts, make_parts
from astrid.learn.task import Binary, Multiclass, Task
from astrid.learn.training import train

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import nn

__all__ = ["Queue", "Retrospective", "retrospective"]

_BATCH = 256


@dataclass(frozen=True)
class Queue:
    """Where what was left out stands in a queue that is ordered by one score.

    Parameters
    ----------
    score : str
        What the queue is ordered by, the largest first.
    first, median : float
        Rank of the first item that was left out, counted from 1, and the median rank of all;
        items of the same score share their mean rank.
    recall_at : dict of int to float
        Share of the items that were left out among the first so many of the queue.
    auroc : float, optional
        Chance that one of them stands before any other item; None where there are no others.
    ranks : tuple of float
        Of each, in increasing order.
    """

    score: str
    first: float
    median: float
    recall_at: dict[int, float]
    auroc: float | None
    ranks: tuple[float, ...]


@dataclass(frozen=True)
class Retrospective:
    """What came of a retrospective test.

    Parameters
    ----------
    task, column, value : str
        What was left out: the rows with this value of this column.
    n_left_out, n_queue : int
        Items of it in the queue, and all items of the queue.
    n_removed : int
        Rows that were taken out of the training and validation parts.
    run : str
        Directory of the training.
    queues : tuple of Queue
    """

    task: str
    column: str
    value: str
    n_left_out: int
    n_queue: int
    n_removed: int
    run: str
    queues: tuple[Queue, ...]

    @property
    def first_by_chance(self) -> float:
        """Mean rank of the first item if the queue had no order: (N + 1) / (n + 1)."""
        return (self.n_queue + 1) / (self.n_left_out + 1)

    def as_dict(self) -> dict[str, Any]:
        """The result in JSON's own types."""
        return dict(plain({**asdict(self), "first_by_chance": self.first_by_chance}))

    def plot(self) -> Figure:
        """Share of what was left out that is found, over how much of the queue was looked at.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6.4, 4.2), layout="constrained")
        axes = figure.subplots()
        for queue, colour in zip(self.queues, ("#17597f", "#b4541a", "#0b6e5f", "#8a5a12"), strict=False):
            found = np.arange(1, len(queue.ranks) + 1) / len(queue.ranks)
            x = np.concatenate([[1], queue.ranks, [self.n_queue]])
            axes.step(
                x, np.concatenate([[0], found, [1]]), where="post", color=colour,
                label=f"{queue.score}, first at {queue.first:g}",
            )  # fmt: skip
        every = np.geomspace(1, self.n_queue, 200)
        axes.plot(every, every / self.n_queue, color="#5c6673", linestyle=":", label="no order")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
        axes.set(
            xlabel=f"items looked at, of {self.n_queue:,}", ylabel=f"share found of {self.n_left_out:,}",
            xlim=(1, self.n_queue), ylim=(0, 1.02),
            title=f"{self.task} trained without {self.column} = {self.value}",
        )  # fmt: skip
        axes.legend(frameon=False, fontsize=9, loc="upper left")
        axes.spines[["top", "right"]].set_visible(False)
        return figure


def retrospective(
    task: Task,
    dataset: Dataset,
    out: str | Path,
    *,
    column: str,
    value: str,
    settings: Training | None = None,
    neighbours: int = 10,
    on_progress: Callable[[int, int], None] | None = None,
) -> Retrospective:
    """Train without something, and look for it.

    The rows with the value are taken out of the training and validation parts; those of the test
    part stay. If the test part has none, as for a single event, all their groups go into it.
    The queue is the test part. It is ordered by the probability of the label that most of what was
    left out has (where it has one that the model can know), by how undecided the model is, and by
    the distance from what it was trained on, in the features of its last layer but one.

    Parameters
    ----------
    task : Task
        Its first head must be a binary or multiclass one.
    dataset : Dataset
    out : str or Path
        Gets ``run`` (the training, which is taken up again if it was broken off),
        ``retrospective.json`` and ``retrospective.png``.
    column, value : str
        What to leave out: a value of a column of names or whole numbers, such as a kind, a label of
        a multiclass head, or a group.
    settings : Training, optional
        Those of the task if not given.
    neighbours : int
        Of the distance from what was trained on.
    on_progress : callable, optional
        Told how much of the training is done.

    Returns
    -------
    Retrospective

    Raises
    ------
    DatasetError
        There is no such column or value, or too little is left to train on.
    UsageError
        A task without a classifying head, or a label without which a yes or no cannot be asked.
    """
    name, head = next(iter(task.heads.items()))
    if not isinstance(head, Binary | Multiclass):
        raise UsageError(f"task {task.name}: {name} tells no classes apart; a queue needs a classifying head")
    chosen = task.training if settings is None else settings
    left_out = _rows_of(dataset, column, value)
    parts, removed = _parts_without(dataset, make_parts(dataset, chosen.split, chosen.seed), left_out)
    without = dataset
    if column == name:
        task, without = _without_label(task, dataset, name, value, left_out)
        chosen = chosen.model_copy(update={"workers": 0})  # workers would open the data as they were
    target = Path(out)
    run = train(task, without, target / "run", chosen, parts=parts, resume=True, on_progress=on_progress)
    network = run.network()
    queue = parts.test
    scores = _model_scores(network, run.task, without, queue, left_out)
    known, new = (embeddings(network, run.task, dataset, rows) for rows in (parts.train, queue))
    scores["distance to the nearest known"] = novelty_scores(
        known, new, neighbours=neighbours, seed=chosen.seed
    )
    scores["Mahalanobis distance"] = novelty_scores(known, new, "mahalanobis", seed=chosen.seed)
    held = np.isin(queue, left_out)
    found = Retrospective(
        task=task.name, column=column, value=value, n_left_out=int(held.sum()), n_queue=len(queue),
        n_removed=removed, run=str(target / "run"),
        queues=tuple(_queue(score, values, held) for score, values in scores.items()),
    )  # fmt: skip
    with atomic_path(target / "retrospective.png") as partial:
        found.plot().savefig(partial, dpi=130)
    with atomic_path(target / "retrospective.json") as partial:
        partial.write_text(json.dumps(found.as_dict(), indent=1) + "\n", "utf-8")
    return found


def _rows_of(dataset: Dataset, column: str, value: str) -> NDArray[np.int64]:
    values = dataset.column(column).astype(np.str_)
    rows = np.flatnonzero(values == value)
    if not len(rows):
        known = np.unique(values)
        listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
        raise DatasetError(f"{dataset.path}: no {column} is {value!r}; it has {listed}")
    return rows


def _parts_without(dataset: Dataset, parts: Parts, left_out: NDArray[np.int64]) -> tuple[Parts, int]:
    """Parts of which only the test has what was left out, and how many rows the others lost."""
    test = parts.test
    if not np.isin(left_out, test).any():
        groups = dataset.groups()
        moved = np.flatnonzero(np.isin(groups, np.unique(groups[left_out])))
        test = np.union1d(test, moved)
    kept = {
        name: np.setdiff1d(getattr(parts, name), np.union1d(test, left_out))
        for name in ("train", "validation")
    }
    removed = sum(len(getattr(parts, name)) - len(rows) for name, rows in kept.items())
    for name, rows in kept.items():
        if not len(rows) and len(getattr(parts, name)):
            raise DatasetError(
                f"{dataset.path}: without what is left out nothing remains of the {name} part; leave out less"
            )
    return Parts(kept["train"], kept["validation"], test, parts.note), removed


def _without_label(
    task: Task, dataset: Dataset, name: str, value: str, left_out: NDArray[np.int64]
) -> tuple[Task, Dataset]:
    """The task without one label of its head, and the data with those rows unlabelled."""
    head = task.heads[name]
    if not isinstance(head, Multiclass) or len(head.labels) < 3:
        raise UsageError(
            f"without {value!r} there is nothing left for {name} to tell apart; leave out a kind within a "
            "class instead"
        )
    labels = tuple(label for label in head.labels if label != value)
    costs = {label: cost for label, cost in head.costs.items() if label != value}
    smaller = head.model_copy(update={"labels": labels, "costs": costs})
    mask = np.zeros(len(dataset), bool)
    mask[left_out] = True
    place = dataset.rows.column_names.index(name)
    texts = np.where(mask, "", dataset.column(name))
    column = pa.array([text or None for text in texts.tolist()], pa.string())
    rows = dataset.rows.set_column(place, name, column)
    return task.model_copy(update={"heads": {**task.heads, name: smaller}}), replace(dataset, rows=rows)


def _model_scores(
    network: nn.Module,
    task: Task,
    dataset: Dataset,
    queue: NDArray[np.int64],
    left_out: NDArray[np.int64],
) -> dict[str, NDArray[np.float64]]:
    """What the model itself says of the items of the queue."""
    import torch

    name, head = next(iter(task.heads.items()))
    assert isinstance(head, Binary | Multiclass)
    device = next(network.parameters()).device
    blocks = []
    with torch.inference_mode():
        for start in range(0, len(queue), _BATCH):
            index = queue[start : start + _BATCH]
            arrays = {one: torch.from_numpy(dataset.take(one, index)).to(device) for one in task.inputs}
            blocks.append(network(**arrays)[name].float().cpu().numpy())
    p = calibrated(np.concatenate(blocks), head, Calibration()).astype(np.float64)
    if isinstance(head, Binary):
        p = np.hstack([1 - p, p])
    scores: dict[str, NDArray[np.float64]] = {}
    label = _usual_label(dataset, name, head, left_out)
    if label is not None:
        scores[f"probability of {head.labels[label]}"] = p[:, label]
    scores["how undecided the model is"] = -(p * np.log(np.maximum(p, 1e-30))).sum(axis=1)
    return scores


def _usual_label(
    dataset: Dataset, name: str, head: Binary | Multiclass, left_out: NDArray[np.int64]
) -> int | None:
    """The label that most of the rows have; None where they have none."""
    labels = dataset.labels(name, head)[left_out]
    codes = labels[labels >= 0] if isinstance(head, Multiclass) else labels[np.isfinite(labels)] >= 0.5
    return int(np.bincount(codes.astype(np.int64)).argmax()) if len(codes) else None


def _queue(score: str, values: NDArray[np.float64], held: NDArray[np.bool_]) -> Queue:
    from scipy.stats import rankdata

    ranks = np.sort(rankdata(-values)[held])
    n = len(values)
    lengths = sorted({k for k in (10, 50, 100, round(n / 100), round(n / 20), round(n / 10)) if 0 < k < n})
    return Queue(
        score=score,
        first=float(ranks[0]),
        median=float(np.median(ranks)),
        recall_at={k: float((ranks <= k).mean()) for k in lengths},
        auroc=None if held.all() else metrics.auroc(held, values),
        ranks=tuple(ranks.tolist()),
    )
