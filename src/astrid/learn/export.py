"""From trained networks to a bundle: graphs, calibration, threshold, ranges and the whole card.

What is fitted here is fitted on the validation part of the split; the test part is not touched.
How graphs are made is in `graph`, `uncertainty` and `quantisation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError, UsageError
from astrid.learn.applicability import training_ranges
from astrid.learn.bundle import (
    Bundle,
    Calibration,
    Card,
    DataRecord,
    HeadCard,
    Measured,
    Uncertainty,
    save_bundle,
)  # fmt: skip
from astrid.learn.calibration import fit_isotonic, fit_temperature
from astrid.learn.conformal import alphas_from_costs, fit_conformal
from astrid.learn.dataset import Dataset
from astrid.learn.decisions import least_cost_threshold
from astrid.learn.graph import Graph, largest_difference, to_onnx
from astrid.learn.prediction import averaged
from astrid.learn.quantisation import quantisation_loss, quantise
from astrid.learn.task import Binary, Head, Multiclass, Multilabel, Task

if TYPE_CHECKING:
    from torch import nn

    from astrid.learn.training import Run

__all__ = ["Exported", "check_name", "check_rates", "export", "export_run", "fit_head"]

Arrays = Mapping[str, NDArray[np.float32]]
Calibrating = Literal["none", "temperature", "isotonic"]
_CLASSES = (Binary, Multiclass, Multilabel)

_PARITY_ROWS = 256
_INT8_ROWS = 512
_RANGE_ROWS = 4000  # enough for quantiles of 0.1 %; at 63 x 63 x 3 pixels 190 MB
_BLOCK = 512  # rows in memory at once


@dataclass(frozen=True)
class Exported:
    """The graphs of a model.

    Parameters
    ----------
    files : dict of str to bytes
        ``model.onnx`` and, where they were asked for, ``spread.onnx`` and ``model.int8.onnx``.
    parity : float
        Largest difference between torch and ONNX Runtime; see `astrid.learn.graph`.
    """

    files: dict[str, bytes]
    parity: float


def export(
    networks: Sequence[nn.Module],
    task: Task,
    *,
    mc_dropout: int = 0,
    seed: int = 0,
    rows: Arrays | None = None,
    int8_samples: Arrays | None = None,
) -> Exported:
    """Write networks as ONNX and make sure that ONNX Runtime gives what torch gives.

    Parameters
    ----------
    networks : sequence of torch.nn.Module
        One, or the members of an ensemble.
    task : Task
    mc_dropout : int
        Passes with dropout in ``spread.onnx``; none for 0.
    seed : int
        Of their masks.
    rows : mapping of str to (n, ...) float32 ndarray, optional
        Items of the data on which torch and ONNX are compared, beside random ones.
    int8_samples : mapping of str to (n, ...) float32 ndarray, optional
        Items of the data to quantise with; none makes no quantised model.

    Returns
    -------
    Exported

    Raises
    ------
    UsageError
        No network, passes of an ensemble, or of a network without dropout.
    BundleError
        A network cannot be written as ONNX, or does something else there.
    """
    from astrid.learn.uncertainty import Members, Passes

    if not networks:
        raise UsageError("there is no network to export; give one, or the members of an ensemble")
    if mc_dropout and len(networks) > 1:
        raise UsageError(
            "the spread of an ensemble is that of its members; export it without passes of dropout"
        )
    if mc_dropout == 1 or mc_dropout < 0:
        raise UsageError(f"{mc_dropout} passes with dropout have no spread; give 2 or more, or 0 for none")
    modules: dict[str, nn.Module] = {"model.onnx": Members(networks, task)}
    if mc_dropout:
        modules["spread.onnx"] = Passes(networks[0], task, mc_dropout, seed)
    files = {name: to_onnx(module, task) for name, module in modules.items()}
    parity = max(largest_difference(modules[name], files[name], task, rows) for name in files)
    if int8_samples is not None:
        files["model.int8.onnx"] = quantise(files["model.onnx"], task, int8_samples)
    return Exported(files, parity)


def export_run(
    runs: Sequence[Run],
    dataset: Dataset,
    out: str | Path,
    name: str,
    *,
    mc_dropout: int = 20,
    calibration: Calibrating = "temperature",
    alpha: Mapping[str, Mapping[str, float]] | None = None,
    prevalence: float | None = None,
    int8: bool = False,
    metrics: Sequence[Measured] = (),
    licence: str = "MIT",
    limits: str = "",
    seed: int = 0,
) -> Bundle:
    """Make a bundle of one training, or an ensemble of several.

    Calibration, conformal sets, thresholds and the loss by quantisation are found on the
    validation part; the ranges of applicability on a sample of the training part.

    Parameters
    ----------
    runs : sequence of Run
        Members of an ensemble must have the same split.
    dataset : Dataset
        That was trained on.
    out : str or Path
        The bundle's directory.
    name : str
        ``system.tag``.
    mc_dropout : int
        Passes with dropout; none for an ensemble or a network without dropout.
    calibration : {"none", "temperature", "isotonic"}
        ``isotonic`` for binary heads only. ``none`` still finds sets and thresholds.
    alpha : mapping of str to mapping of str to float, optional
        For a head, how often a label may be absent from the sets of its own items; from the
        costs of the task for the labels that are not given.
    prevalence : float, optional
        Share of positive items where decisions will be made, for the thresholds of heads of yes or
        no; that of the validation part if not given.
    int8 : bool
        Also a quantised model.
    metrics : sequence of Measured
        For the card.
    licence : str
        Of the bundle.
    limits : str
        Where the model must not be used, beyond what the task says.
    seed : int
        Of the masks of dropout and of the samples.

    Returns
    -------
    bundle : Bundle

    Raises
    ------
    UsageError
        No run, runs of several tasks or splits, or a name, a rate or a prevalence that does not fit
        the task.
    TrainingError
        A run has no weights.
    BundleError
        The data set is another one, or the network cannot be exported.
    DatasetError
        The validation part has no items of some class.
    OutputError
        The bundle cannot be written.
    """
    from astrid.learn.uncertainty import has_dropout

    run = _same(runs, dataset)
    task = run.task.model_copy(update={"training": run.settings})  # as it was used
    check_name(name, task)
    check_rates(task, alpha or {}, prevalence)
    networks = [one.network() for one in runs]
    passes = mc_dropout if len(networks) == 1 and has_dropout(networks[0]) else 0
    rng = np.random.default_rng(seed)
    typical = _sample(dataset, task, run.parts.train, _RANGE_ROWS, rng)
    exported = export(
        networks,
        task,
        mc_dropout=passes,
        seed=seed,
        rows=_thinned(typical, _PARITY_ROWS),
        int8_samples=_thinned(typical, _INT8_ROWS) if int8 else None,
    )
    rows = run.parts.validation
    where = f"validation part of {dataset.info.name}"
    classes = {head: one for head, one in task.heads.items() if isinstance(one, _CLASSES)}
    labels = {head: dataset.labels(head, one)[rows] for head, one in classes.items()}
    logits = _logits(exported.files["model.onnx"], task, dataset, rows, tuple(classes))
    heads = {
        head: fit_head(
            one, logits[head], labels[head], calibration, (alpha or {}).get(head, {}), where, prevalence
        )
        for head, one in classes.items()
    }
    loss = {}
    if int8:
        some = np.arange(0, len(rows), -(-len(rows) // _RANGE_ROWS))
        loss = quantisation_loss(
            exported.files["model.onnx"],
            exported.files["model.int8.onnx"],
            task,
            {one: dataset.take(one, rows[some]) for one in task.inputs},
            {head: one[some] for head, one in labels.items()},
            heads,
        )
    method: Literal["none", "ensemble", "mc_dropout"] = "mc_dropout" if passes else "none"
    card = Card(
        name=name,
        task=task,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=licence,
        parent=run.record.get("parent", ""),
        data=(_data_record(dataset, run),),
        training=run.settings,
        command="; ".join(dict.fromkeys(str(one.record["command"]) for one in runs)),
        heads=heads,
        uncertainty=Uncertainty(
            method="ensemble" if len(runs) > 1 else method, passes=passes or len(runs), seed=seed
        ),
        ranges=training_ranges(task.inputs, typical),
        metrics=tuple(metrics),
        parity=exported.parity,
        int8=loss,
        limits=" ".join(text for text in (task.limits, limits) if text),
    )
    return save_bundle(out, card, exported.files, _weights(runs))


def check_name(name: str, task: Task) -> None:
    """Make sure that a bundle's name is ``system.tag`` with the task's name as the system.

    Raises
    ------
    UsageError
        It is not.
    """
    system, _, tag = name.partition(".")
    if system != task.name or not tag:
        raise UsageError(f"the name {name!r} does not fit task {task.name}; call it {task.name}.<tag>")


def check_rates(task: Task, alpha: Mapping[str, Mapping[str, float]], prevalence: float | None) -> None:
    """Make sure that rates of absence and a prevalence are of heads and labels that the task has.

    Raises
    ------
    UsageError
        They are not.
    """
    heads = {name: one for name, one in task.heads.items() if isinstance(one, (Binary, Multiclass))}
    for name, rates in alpha.items():
        if name not in heads:
            known = ", ".join(heads) or "none"
            raise UsageError(f"{task.name} has no head {name!r} with sets of labels; those with: {known}")
        for label in rates:
            if label not in heads[name].labels:
                known = ", ".join(heads[name].labels)
                raise UsageError(f"a rate is given for {label!r}, but the labels of {name} are {known}")
    if prevalence is not None and not any(isinstance(one, Binary) for one in heads.values()):
        raise UsageError(f"{task.name} has no head of yes or no; a prevalence decides nothing there")


def _same(runs: Sequence[Run], dataset: Dataset) -> Run:
    """The first run, after making sure that all are of one task, one split and this data set."""
    if not runs:
        raise UsageError("there is no training to export; give a run directory")
    first = runs[0]
    for run in runs:
        if run.task != first.task:
            raise UsageError(f"{run.path} is of another task than {first.path}; an ensemble has one task")
        if any(
            not np.array_equal(getattr(run.parts, part), getattr(first.parts, part))
            for part in first.parts.counts
        ):
            raise UsageError(
                f"{run.path} has another split than {first.path}, so that one was trained on what judges the "
                "other; train the members of an ensemble with the same parts"
            )
        if run.record["data"]["hash"] != dataset.info.hash:
            raise BundleError(
                f"{run.path}: was trained on {run.record['data']['name']} with another content than "
                f"{dataset.path}; give the data set that it was trained on"
            )
    if not len(first.parts.validation):
        raise UsageError(f"{first.path} has no validation part; train with split.validation above 0")
    return first


def _sample(
    dataset: Dataset, task: Task, rows: NDArray[np.int64], most: int, rng: np.random.Generator
) -> dict[str, NDArray[np.float32]]:
    chosen = np.sort(rng.choice(rows, min(most, len(rows)), replace=False))
    return {name: dataset.take(name, chosen) for name in task.inputs}


def _thinned(arrays: Arrays, most: int) -> dict[str, NDArray[np.float32]]:
    """About `most` of the items, evenly."""
    return {name: values[:: -(-len(values) // most)] for name, values in arrays.items()}


def _logits(
    model: bytes, task: Task, dataset: Dataset, rows: NDArray[np.int64], heads: Sequence[str]
) -> dict[str, NDArray[np.float32]]:
    if not heads:
        return {}
    graph = Graph(model, task)
    parts = []
    for start in range(0, len(rows), _BLOCK):
        block = rows[start : start + _BLOCK]
        found = graph.logits({name: dataset.take(name, block) for name in task.inputs})
        parts.append({name: found[name] for name in heads})  # a map of each item would fill the memory
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in heads}


def fit_head(
    head: Head,
    logits: NDArray[np.float32],
    labels: NDArray[Any],
    method: Calibrating,
    alpha: Mapping[str, float],
    where: str,
    prevalence: float | None,
) -> HeadCard:
    """Calibration, conformal sets and threshold of one head, from items that were not trained on.

    Parameters
    ----------
    head : Head
    logits : (members, n, k) float32 ndarray
    labels : ndarray
        As the data set gives them.
    method : {"none", "temperature", "isotonic"}
    alpha : mapping of str to float
        How often a label may be absent from the sets of its own items; from the costs for the others.
    where : str
        Which data, for the card.
    prevalence : float, optional
        Share of positive items where decisions will be made; that of these items if not given.

    Raises
    ------
    UsageError
        Isotonic regression for a head that is not a yes or no, or a rate or prevalence that is not
        between 0 and 1.
    DatasetError
        No items of some class.
    """
    if not isinstance(head, _CLASSES):
        return HeadCard()
    calibration = Calibration()
    if method == "isotonic":
        if not isinstance(head, Binary):
            raise UsageError(
                f"a {head.kind} head cannot be calibrated by isotonic regression; use temperature"
            )
        raw = averaged(logits, head, calibration)
        calibration = fit_isotonic(raw, labels, fitted_on=where)
    elif method == "temperature":
        calibration = fit_temperature(logits, labels, fitted_on=where)
    values = averaged(logits, head, calibration)
    if isinstance(head, Multilabel):
        return HeadCard(calibration=calibration)
    both = np.concatenate([1 - values, values], axis=1) if isinstance(head, Binary) else values
    rates = {**alphas_from_costs(head), **alpha}
    conformal = fit_conformal(both, labels, head.labels, rates, fitted_on=where)
    decision = None
    if isinstance(head, Binary):
        decision = least_cost_threshold(labels, values, head.cost, prevalence=prevalence)
    return HeadCard(calibration=calibration, conformal=conformal, decision=decision)


def _data_record(dataset: Dataset, run: Run) -> DataRecord:
    info = dataset.info
    return DataRecord(
        name=info.name, hash=info.hash, n=info.n, kind=info.kind, recipe=info.recipe, labels=info.labels,
        licence=info.licence, parts=run.parts.counts,
    )  # fmt: skip


def _weights(runs: Sequence[Run]) -> dict[str, NDArray[Any]]:
    """The parameters by name; those of the members of an ensemble begin with their number."""
    if len(runs) == 1:
        return runs[0].best_weights()
    return {f"{k}.{name}": one for k, run in enumerate(runs) for name, one in run.best_weights().items()}
