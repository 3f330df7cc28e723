"""Evaluation: what a bundle is worth on a data set; items are read in batches, only scores are held.

Everything that can be told from labels and predictions is found here, for any task; a page is
made of it in `evaluation_report`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

from astrid.errors import DatasetError, UsageError
from astrid.files.record import plain
from astrid.learn import curves
from astrid.learn.bundle import Calibration, Measured
from astrid.learn.dataset import Dataset, class_counts
from astrid.learn.findings import HeadFindings
from astrid.learn.metrics import confusion
from astrid.learn.mistakes import mistakes
from astrid.learn.prediction import Predictor, calibrated
from astrid.learn.scored import Scored, Setting
from astrid.learn.task import Binary, Head, HeatMap, Multiclass, Multilabel, Task

__all__ = ["Evaluation", "evaluate"]

_BATCH = 512
_SPREAD_ROWS = 2000
"""Passes with dropout are dear: the spread is judged on so many items at most."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a bundle is worth on a data set.

    Parameters
    ----------
    bundle, hash : str
        Name and identity of the model.
    task : Task
    dataset, dataset_hash, on : str
        Name and identity of the data, and which part of it.
    kind, domain : str
        As `Measured` has them.
    n : int
        Rows that were asked for.
    n_groups : int
    out_of_range : int
        Rows that are not like the training data.
    night_rate : float, optional
        Items in one night; prices are for 1,000 items where it is not known.
    prevalence : float, optional
        Share of positive items in a night, where it is not that of the data.
    resamples, seed : int
        Of the intervals.
    limits : str
        Where the model must not be used, from its card.
    heads : tuple of HeadFindings
    """

    bundle: str
    hash: str
    task: Task
    dataset: str
    dataset_hash: str
    on: str
    kind: Literal["real", "simulated"]
    domain: Literal["in", "out"]
    n: int
    n_groups: int
    out_of_range: int
    night_rate: float | None
    prevalence: float | None
    resamples: int
    seed: int
    limits: str
    heads: tuple[HeadFindings, ...]

    @property
    def measured(self) -> tuple[Measured, ...]:
        """All figures, for a card."""
        return tuple(one for head in self.heads for one in head.measured)

    def figure(self, name: str) -> Measured:
        """The figure called `name`.

        Raises
        ------
        UsageError
            There is none.
        """
        for one in self.measured:
            if one.name == name:
                return one
        known = ", ".join(one.name for one in self.measured)
        raise UsageError(f"there is no figure {name!r}; choose one of: {known}")

    def as_dict(self) -> dict[str, Any]:
        """Everything but the images, in JSON's own types."""
        return dict(plain(_bare(self)))


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    rows: NDArray[np.integer] | None = None,
    *,
    on: str = "",
    domain: Literal["in", "out"] = "in",
    night_rate: float | None = None,
    prevalence: float | None = None,
    slices: Sequence[str] = (),
    resamples: int = 200,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Measure a bundle.

    Parameters
    ----------
    predictor : Predictor
    dataset : Dataset
        Not seen in training.
    rows : (n,) int ndarray, optional
        All rows if not given.
    on : str
        Name of this part of the data, such as ``"test part"``.
    domain : {"in", "out"}
        Whether the data are of the kind that was trained on.
    night_rate : float, optional
        Items in one night, for the prices.
    prevalence : float, optional
        Share of positive items in a night; that of the data if not given.
    slices : sequence of str
        Columns by whose values the figures are given too.
    resamples, seed : int
        Of the 95 % intervals over groups.
    on_progress : callable, optional
        Told how much is done, and of how much.

    Returns
    -------
    Evaluation

    Raises
    ------
    DatasetError
        The data do not fit the task, a column is absent, or a class has no items.
    """
    order = np.arange(len(dataset)) if rows is None else np.asarray(rows, np.int64)
    if not len(order):
        raise DatasetError(f"{dataset.path}: there is no row to evaluate; give some")
    predictor.check(dataset)
    task = predictor.bundle.task
    columns = {name: dataset.column(name)[order] for name in slices}
    progress = _Progress(on_progress, len(order), len(task.heads), len(columns), resamples)
    gathered, in_range = _gather(predictor, dataset, order, seed, progress.predicted)
    name = f"{dataset.info.name}, {on}" if on else dataset.info.name
    setting = Setting(
        on=name, kind=dataset.info.kind, domain=domain, night_rate=night_rate or 1000.0,
        prevalence=prevalence, resamples=resamples, seed=seed,
    )  # fmt: skip
    groups = dataset.groups()[order]
    findings = []
    for head_name in task.heads:
        scored, kept = _scored(predictor, dataset, order, groups, head_name, gathered[head_name], setting)
        some = {column: values[kept] for column, values in columns.items()}
        findings.append(_findings(predictor, dataset, scored, some, len(order) - len(kept), progress))
    return Evaluation(
        bundle=predictor.bundle.name, hash=predictor.bundle.hash, task=task,
        dataset=dataset.info.name, dataset_hash=dataset.info.hash, on=name,
        kind=dataset.info.kind, domain=domain, n=len(order), n_groups=len(np.unique(groups)),
        out_of_range=int((~in_range).sum()), night_rate=night_rate, prevalence=prevalence,
        resamples=resamples, seed=seed, limits=predictor.bundle.card.limits or task.limits,
        heads=tuple(findings),
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class _Gathered:
    """What was said about each row for one head."""

    values: NDArray[np.float32]
    raw: NDArray[np.float32]
    spread: NDArray[np.float32]
    sets: NDArray[np.str_]


class _Progress:
    """Counts the items predicted, then as many for each head's figures and for each column."""

    def __init__(
        self, tell: Callable[[int, int], None] | None, n: int, heads: int, columns: int, resamples: int
    ) -> None:
        self._tell, self._n, self._resamples = tell, n, resamples
        self._done, self._total = 0.0, n * (1 + heads * (1 + columns))

    def predicted(self, n: int) -> None:
        self._add(n)

    def resampled(self) -> None:
        self._add(self._n / self._resamples)

    def sliced(self, columns: int) -> None:
        self._add(self._n * columns)

    def _add(self, n: float) -> None:
        self._done += n
        if self._tell:
            self._tell(min(round(self._done), self._total), self._total)


def _gather(
    predictor: Predictor,
    dataset: Dataset,
    order: NDArray[np.int64],
    seed: int,
    done: Callable[[int], None],
) -> tuple[dict[str, _Gathered], NDArray[np.bool_]]:
    """Predict all rows, a batch at a time, and keep what the figures need."""
    bundle = predictor.bundle
    heads = bundle.task.heads
    ensemble = bundle.card.uncertainty.method == "ensemble"
    widths = {name: 2 if isinstance(head, HeatMap) else _width(head) for name, head in heads.items()}
    blank = {name: np.full((len(order), width), np.nan, np.float32) for name, width in widths.items()}
    values, raw, spread = ({name: one.copy() for name, one in blank.items()} for _ in range(3))
    sets: dict[str, list[NDArray[np.str_]]] = {name: [] for name in heads}
    in_range = np.ones(len(order), bool)
    for start in range(0, len(order), _BATCH):
        index = order[start : start + _BATCH]
        here = slice(start, start + len(index))
        arrays = {name: dataset.take(name, index) for name in bundle.task.inputs}
        outputs = predictor.logits(arrays)
        prediction = predictor.concluded(arrays, outputs, spread=ensemble)
        in_range[here] = prediction.applicable == ""
        for name, head in heads.items():
            found = prediction.heads[name]
            sets[name].append(found.labels_in_set)
            if isinstance(head, HeatMap):
                values[name][here] = _map_errors(found.values, dataset.take(head.truth, index))
                continue
            values[name][here] = found.values
            raw[name][here] = calibrated(outputs[name], head, Calibration()).mean(axis=0)
            spread[name][here] = found.spread
        done(len(index))
    if bundle.card.uncertainty.method == "mc_dropout":
        some = np.sort(np.random.default_rng(seed).permutation(len(order))[:_SPREAD_ROWS])
        at = 0
        for index, prediction in predictor.batches(dataset, order[some], batch_size=64, spread=True):
            for name, head in heads.items():
                if not isinstance(head, HeatMap):
                    spread[name][some[at : at + len(index)]] = prediction.heads[name].spread
            at += len(index)
    return {
        name: _Gathered(values[name], raw[name], spread[name], np.concatenate(sets[name])) for name in heads
    }, in_range


def _width(head: Head) -> int:
    return 1 if isinstance(head, Binary) else head.size


def _map_errors(found: NDArray[np.float32], wanted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mean absolute error of each map and how far its peak is off, in pixels; NaN where none is wanted."""
    n, _, nx = wanted.shape
    errors = np.abs(found - wanted).reshape(n, -1).mean(axis=1)
    peaks = [np.divmod(maps.reshape(n, -1).argmax(axis=1), nx) for maps in (found, wanted)]
    offset = np.hypot(*(a - b for a, b in zip(*peaks, strict=True)))
    flat = np.ptp(wanted.reshape(n, -1), axis=1) == 0
    return np.stack([errors, np.where(flat, np.nan, offset)], axis=1).astype(np.float32)


def _scored(
    predictor: Predictor,
    dataset: Dataset,
    order: NDArray[np.int64],
    groups: NDArray[np.str_],
    name: str,
    gathered: _Gathered,
    setting: Setting,
) -> tuple[Scored, NDArray[np.int64]]:
    """The rows that have a label, and which of those asked for they are."""
    task = predictor.bundle.task
    head = task.heads[name]
    if isinstance(head, HeatMap):
        labels: NDArray[Any] = np.zeros(len(order))
    else:
        labels = dataset.labels(name, head)[order]
    known = labels >= 0 if isinstance(head, Multiclass) else np.isfinite(labels)
    known = known.reshape(len(order), -1).any(axis=1)
    if not known.any():
        raise DatasetError(f"{dataset.path}: no row has a label for {name}; an evaluation needs some")
    kept = np.flatnonzero(known)
    scored = Scored(
        name=name, head=head, card=predictor.bundle.card.head(name),
        prefix=f"{name}: " if len(task.heads) > 1 else "", rows=order[kept], groups=groups[kept],
        labels=labels[kept], values=gathered.values[kept], raw=gathered.raw[kept],
        spread=gathered.spread[kept], sets=gathered.sets[kept], setting=setting,
    )  # fmt: skip
    return scored, kept


def _findings(
    predictor: Predictor,
    dataset: Dataset,
    scored: Scored,
    columns: Mapping[str, NDArray[Any]],
    unlabelled: int,
    progress: _Progress,
) -> HeadFindings:
    head = scored.head
    try:
        measured = scored.measure(scored.figures, np.arange(len(scored)), progress.resampled)
        of_labels = curves.curves(scored)
    except DatasetError as error:
        raise DatasetError(f"{dataset.path}: {scored.name}: {error}") from error
    sliced = curves.slices(scored, columns)
    progress.sliced(len(columns))
    counts = {}
    if isinstance(head, Binary | Multiclass | Multilabel):
        counts = dict(zip(head.labels, class_counts(scored.labels, head).tolist(), strict=True))
    return HeadFindings(
        name=scored.name, head=head, n=len(scored), unlabelled=unlabelled, counts=counts,
        measured=measured, curves=of_labels, confusion=_confusion(scored), sets=curves.sets(scored),
        residuals=curves.residuals(scored), slices=sliced, spread=curves.spread_check(scored),
        mistakes=mistakes(predictor, dataset, scored, columns),
    )  # fmt: skip


def _confusion(scored: Scored) -> NDArray[np.int64] | None:
    match scored.head:
        case Binary():
            found = scored.values[:, 0] >= scored.threshold
            return confusion((scored.labels >= 0.5).astype(np.int64), found.astype(np.int64), 2)
        case Multiclass():
            return confusion(scored.labels, scored.values.argmax(axis=1), len(scored.label_names))
    return None


def _bare(value: Any) -> Any:
    """Dataclasses and models as mappings, without images."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [one.name for one in dataclasses.fields(value) if one.name != "images"]
        return {name: _bare(getattr(value, name)) for name in names}
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items()}
    return [_bare(item) for item in value] if isinstance(value, list | tuple) else value
