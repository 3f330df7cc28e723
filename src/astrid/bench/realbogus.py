"""Real/bogus bundles on fields that nobody trained on, on telescopes left out, and on real alerts.

Every bundle of the system that comes with the package is judged; simulated and real figures stand
in rows of their own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.bench._forest import features, fitted_forest
from astrid.bench._real_alerts import alert_rows, image_rows
from astrid.bench._real_pairs import real_images
from astrid.bench.frame import Report, Row
from astrid.errors import DataError, DatasetError
from astrid.learn import metrics
from astrid.learn.bundle import Bundle
from astrid.learn.calibration import brier, ece
from astrid.learn.conformal import coverage
from astrid.learn.dataset import Dataset
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, list_bundles
from astrid.learn.robustness import robustness
from astrid.learn.splits import make_parts
from astrid.survey.realbogus_data import simulate_realbogus
from astrid.survey.telescopes import telescopes

__all__ = ["run"]

_SYSTEM = "braai"
_SEED = 900_000  # of fields that no training has seen: trainings begin far below
_PACKAGES = ("onnxruntime", "torch", "scikit-learn")
_PAPER = "Duev et al. 2019, their real test set"
_BATCH = 128
_RECALL = 0.99  # at which networks and forest are compared


@dataclass(frozen=True, eq=False)
class _Scored:
    """A bundle's scores of one set of detections."""

    labels: NDArray[np.float32]
    logits: NDArray[np.float32]
    p: NDArray[np.float32]
    sets: NDArray[np.str_]
    spread: NDArray[np.float32]


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Judge the real/bogus bundles.

    The forest that they are compared with is trained on the data set that `ASTRID_REALBOGUS`
    names, which shall be that of the bundles; without, on a smaller one made here.

    Parameters
    ----------
    quick : bool
        A few fields, no forest, within a minute.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        No bundle of the system comes with the package.
    """
    say = on_stage or (lambda stage: None)
    names = [one.name for one in list_bundles() if one.system == _SYSTEM and one.shipped]
    if not names:
        raise DataError(f"no bundle of {_SYSTEM} comes with this package; train and export one first")
    bundles = [find_bundle(name) for name in names]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        known, unknown = _telescopes(bundles)
        fields = _fields(folder / "known", known, len(known) if quick else 6 * len(known), say)
        others = _fields(folder / "unknown", unknown, len(unknown) if quick else 12 * len(unknown), say)
        forest = None if quick else _forest(folder, bundles, say)
        for where, dataset in ((f"new fields of {len(known)} telescopes", fields),
                               (f"{len(unknown)} telescopes left out", others)):  # fmt: skip
            rows += _simulated_rows(where, dataset, bundles, forest, say)
        say("flips and rotations")
        rows += _robust_rows(bundles, others, 200 if quick else 2000)
        root = real_images()
        if root is not None and not quick:
            rows += alert_rows(root.parent, folder, bundles, say)
            rows += image_rows(root.parent, folder, bundles, say)
    return Report("realbogus", tuple(rows), _PACKAGES)


def _telescopes(bundles: Sequence[Bundle]) -> tuple[list[str], list[str]]:
    """The telescopes that bundles were trained on, and those that none of them ever saw."""
    splits = [one.card.training.split for one in bundles if one.card.training is not None]
    left_out = {name for split in splits if split.column == "telescope" for name in split.test_values}
    return [name for name in telescopes() if name not in left_out], sorted(left_out)


def _fields(out: Path, names: Sequence[str], pairs: int, say: Callable[[str], None]) -> Dataset:
    say(f"simulating {pairs} fields of {len(names)} telescopes")
    simulate_realbogus(out, pairs, seed=_SEED, names=names)
    return Dataset.open(out)


def _forest(folder: Path, bundles: Sequence[Bundle], say: Callable[[str], None]) -> tuple[Any, int]:
    """The forest and on how many rows it was trained: those of the bundle that was trained on simulations."""
    trained = [one.card for one in bundles if any(record.kind == "simulated" for record in one.card.data)]
    given = os.environ.get("ASTRID_REALBOGUS")
    if given:
        dataset = Dataset.open(given)
    else:
        say("simulating fields for the forest")
        simulate_realbogus(folder / "forest", 120, seed=0)
        dataset = Dataset.open(folder / "forest")
    say("training the forest")
    recipe = trained[0].training if trained and trained[0].training else bundles[0].task.training
    rows = make_parts(dataset, recipe.split, recipe.seed).train
    return fitted_forest(dataset, rows), len(rows)


def _simulated_rows(
    where: str,
    dataset: Dataset,
    bundles: Sequence[Bundle],
    forest: tuple[Any, int] | None,
    say: Callable[[str], None],
) -> list[Row]:
    head = bundles[0].task.heads["real"]
    labels = dataset.labels("real", head)
    every = np.arange(len(dataset))
    rows: list[Row] = []
    theirs: NDArray[np.float32] | None = None
    if forest is not None:
        theirs = forest[0].predict_proba(features(dataset, every))[:, 1].astype(np.float32)
    for bundle in bundles:
        say(f"{bundle.name}, {where}")
        found = _scored(bundle, dataset, labels)
        rows += _figures(f"{bundle.name}, {where}", bundle, found, theirs, forest)
    return rows


def _figures(
    what: str,
    bundle: Bundle,
    found: _Scored,
    theirs: NDArray[np.float32] | None,
    forest: tuple[Any, int] | None,
) -> list[Row]:
    labels, p, n = found.labels, found.p, len(found.p)
    card = bundle.card.head("real")
    threshold = 0.5 if card.decision is None else card.decision.threshold
    raw = 1 / (1 + np.exp(-found.logits.astype(float)))
    missed, false = metrics.miss_rate, metrics.false_alarm_rate
    figures: list[tuple[str, float | None]] = [
        ("recall at 1 % false alarms", metrics.recall_at_fpr(labels, p, 0.01)),
        (f"missed at the chosen threshold {threshold:.3f}", missed(labels, p, threshold)),
        ("false alarms at the chosen threshold", false(labels, p, threshold)),
        ("ECE before calibration", ece(labels, raw)),
        ("ECE after calibration", ece(labels, p)),
        ("Brier score before calibration", brier(labels, raw)),
        ("Brier score after calibration", brier(labels, p)),
        ("AUROC of the spread for errors at the threshold", _honest(found, threshold)),
    ]
    rows = [
        Row(f"{what}: AUCPR", metrics.aucpr(labels, p), n=n, goal=">= 0.99"),
        Row(f"{what}: missed at 0.5", missed(labels, p, 0.5), n=n).beside(_PAPER, 0.011),
        Row(f"{what}: false alarms at 0.5", false(labels, p, 0.5), n=n).beside(_PAPER, 0.029),
        *(Row(f"{what}: {name}", value, n=n) for name, value in figures),
    ]
    if card.conformal is not None:
        truth = np.where(labels >= 0.5, "real", "bogus")
        for label, share in coverage(found.sets, truth).items():
            wanted = 1 - card.conformal.alpha[label]
            rows.append(Row(f"{what}: sets of {label} that hold it, {wanted:.1%} promised", share, n=n))
        person = float(np.mean((found.sets != "real") & (found.sets != "bogus")))
        rows.append(Row(f"{what}: share that goes to a person", person, n=n))
    if theirs is not None and forest is not None:
        peer = f"random forest on the features of {forest[1]:,} candidates"
        for name, figure in (
            (f"false alarms at {_RECALL:.0%} recall", partial(metrics.fpr_at_recall, recall=_RECALL)),
            ("AUCPR beside the forest", metrics.aucpr),
        ):
            rows.append(Row(f"{what}: {name}", figure(labels, p), n=n).beside(peer, figure(labels, theirs)))
    return rows


def _honest(found: _Scored, threshold: float) -> float | None:
    """Whether a large spread goes with a wrong answer: 0.5 is chance."""
    wrong = ((found.p >= threshold) != (found.labels >= 0.5)).astype(np.float32)
    if not np.isfinite(found.spread).all() or not 0 < wrong.sum() < len(wrong):
        return None
    return metrics.auroc(wrong, found.spread)


def _scored(bundle: Bundle, dataset: Dataset, labels: NDArray[np.float32]) -> _Scored:
    predictor = Predictor(bundle, threads=2)
    predictor.check(dataset)
    parts = []
    for start in range(0, len(dataset), _BATCH):
        index = np.arange(start, min(start + _BATCH, len(dataset)))
        arrays = {name: dataset.take(name, index) for name in bundle.task.inputs}
        logits = predictor.logits(arrays)
        one = predictor.concluded(arrays, logits)
        parts.append((logits["real"].mean(axis=0)[:, 0], one.heads["real"]))
    heads = [head for _, head in parts]
    return _Scored(
        labels,
        np.concatenate([logits for logits, _ in parts]),
        np.concatenate([head.values[:, 0] for head in heads]),
        np.concatenate([head.labels_in_set for head in heads]),
        np.concatenate([head.spread[:, 0] for head in heads]),
    )


def _robust_rows(bundles: Sequence[Bundle], dataset: Dataset, most: int) -> list[Row]:
    if not len(dataset):
        raise DatasetError(f"{dataset.path}: has no detection; simulate more fields")
    chosen = np.sort(np.random.default_rng(0).permutation(len(dataset))[:most])
    rows = []
    for bundle in bundles:
        found = robustness(Predictor(bundle), dataset, chosen)
        what = f"{bundle.name}, 8 flips and rotations"
        rows.append(
            Row(f"{what}: mean spread of the probability", float(np.mean(found.spread)), n=len(chosen))
        )
    return rows
