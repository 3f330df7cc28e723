"""A bundle with another card: calibrated anew on other data, or with figures that were measured later.

Graphs and weights stay as they are. A new card gives a new hash, so that nobody takes the two for one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.learn.bundle import Bundle, Measured, save_bundle
from astrid.learn.dataset import Dataset
from astrid.learn.export import Calibrating, check_name, check_rates, fit_head
from astrid.learn.prediction import Predictor
from astrid.learn.quantisation import quantisation_loss

__all__ = ["recalibrate", "with_figures"]

_BATCH = 512


def recalibrate(
    bundle: Bundle,
    dataset: Dataset,
    out: str | Path,
    name: str,
    *,
    rows: NDArray[np.integer] | None = None,
    part: str = "",
    calibration: Calibrating = "temperature",
    alpha: Mapping[str, Mapping[str, float]] | None = None,
    prevalence: float | None = None,
    command: str = "",
) -> Bundle:
    """Find calibration, conformal sets and thresholds again: for a new season, camera or survey.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
        Labelled, and not trained on.
    out : str or Path
        Directory of the new bundle.
    name : str
        ``system.tag`` of the new bundle.
    rows : (n,) int ndarray, optional
        All rows if not given.
    part : str
        What these rows are, for the card.
    calibration : {"none", "temperature", "isotonic"}
        ``isotonic`` for binary heads only.
    alpha : mapping of str to mapping of str to float, optional
        For a head, how often a label may be absent from the sets of its own items; from the
        costs of the task for the labels that are not given.
    prevalence : float, optional
        Share of positive items where decisions will be made, for the thresholds of heads of yes or
        no; that of these rows if not given.
    command : str
        For the card.

    Returns
    -------
    bundle : Bundle
        Its card names the one before as parent, and has no figures: they were those of other
        probabilities.

    Raises
    ------
    UsageError
        A name, a rate or a prevalence that does not fit the task, or a calibration that does not fit
        a head.
    PredictionError, DatasetError
        The data do not fit the bundle, or have no items of some class.
    OutputError
        The bundle cannot be written.
    """
    task = bundle.task
    check_name(name, task)
    check_rates(task, alpha or {}, prevalence)
    predictor = Predictor(bundle)
    predictor.check(dataset)
    order = np.arange(len(dataset)) if rows is None else np.asarray(rows, np.int64)
    where = f"{part} of {dataset.info.name}" if part else dataset.info.name
    logits = _logits(predictor, dataset, order)
    labels = {head: dataset.labels(head, one)[order] for head, one in task.heads.items()}
    heads = {
        head: fit_head(
            one, logits[head], labels[head], calibration, (alpha or {}).get(head, {}), where, prevalence
        )
        for head, one in task.heads.items()
    }
    files = _files(bundle)
    loss = {}
    if "model.int8.onnx" in files:
        arrays = {one: dataset.take(one, order) for one in task.inputs}
        loss = quantisation_loss(files["model.onnx"], files["model.int8.onnx"], task, arrays, labels, heads)
    card = bundle.card.model_copy(
        update={
            "name": name,
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "software": f"AstrID {__version__}",
            "parent": f"{bundle.name} {bundle.hash}",
            "command": "; ".join(one for one in (bundle.card.command, command) if one),
            "heads": heads,
            "metrics": (),
            "int8": loss,
        }
    )
    return save_bundle(out, card, files, bundle.weights)


def with_figures(bundle: Bundle, figures: Sequence[Measured]) -> Bundle:
    """The bundle with figures in its card, in the same place; it has a new hash.

    Parameters
    ----------
    bundle : Bundle
    figures : sequence of Measured
        Take the place of those of the same name on the same data.

    Raises
    ------
    OutputError
        The bundle cannot be written.
    """
    new = {(one.name, one.on) for one in figures}
    kept = [one for one in bundle.card.metrics if (one.name, one.on) not in new]
    card = bundle.card.model_copy(update={"metrics": (*kept, *figures)})
    return save_bundle(bundle.path, card, _files(bundle), bundle.weights)


def _files(bundle: Bundle) -> dict[str, bytes]:
    """Everything but the weights, which are written anew."""
    return {
        name: (bundle.path / name).read_bytes() for name in bundle.card.files if name != "weights.safetensors"
    }


def _logits(
    predictor: Predictor, dataset: Dataset, rows: NDArray[np.int64]
) -> dict[str, NDArray[np.float32]]:
    parts: list[dict[str, NDArray[Any]]] = []
    for start in range(0, len(rows), _BATCH):
        index = rows[start : start + _BATCH]
        parts.append(
            predictor.logits({name: dataset.take(name, index) for name in predictor.bundle.task.inputs})
        )
    return {
        name: np.concatenate([part[name] for part in parts], axis=1) for name in predictor.bundle.task.heads
    }
