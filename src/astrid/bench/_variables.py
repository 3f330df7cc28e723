"""The rows of `lightcurves` about classes of stars: shipped bundles on the stars held back from them.

The data sets are those that `astrid data variables` makes; stars are never divided between the parts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.bench.frame import Row
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import confusion, limits, macro_f1, resampled
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, list_bundles
from astrid.learn.splits import Parts, make_parts
from astrid.learn.task import Multiclass

__all__ = ["CRTS_MIX", "class_rows", "weighted_scores"]

CRTS_MIX = {"EW": 30745, "RRc": 5466, "EA": 4683, "RRab": 2431, "RS_CVn": 1521, "LPV": 512, "RRd": 502}
"""Stars of each class in the whole catalogue of Drake et al. 2014, which Mahabal et al. 2017 classify."""

_GOALS = {"crts_trees": ("> 0.88", "> 0.86"), "dmdt": ("> 0.76", None), "dmdt_fine": ("> 0.76", None)}
_SYSTEMS = {"crts": ("crts_trees", "crts_branches", "dmdt", "dmdt_fine"), "eros": ("eros_trees",)}
_PAPER = "Mahabal et al. 2017, their data"
_BATCH = 512


def class_rows(folder: Path, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """All rows about classes.

    Parameters
    ----------
    folder : Path
        Holds the data sets ``crts`` and ``eros``, or one of them.
    quick : bool
        500 stars of each, and no peer.
    say : callable
        Called with the name of each stage.
    """
    rows: list[Row] = []
    for name, systems in _SYSTEMS.items():
        shipped = [one.name for one in list_bundles() if one.shipped and one.system in systems]
        if not shipped or not (folder / name / "dataset.json").is_file():
            continue
        dataset = Dataset.open(folder / name)
        for bundle in shipped:
            say(f"classes: {bundle}")
            rows += _bundle_rows(find_bundle(bundle), dataset, quick)
        if name == "crts" and not quick:
            say("classes: XGBoost on what light-curve and Lomb-Scargle give")
            rows += _peer_rows(dataset, [find_bundle(one) for one in shipped])
    return rows


def _parts(bundle: Bundle, dataset: Dataset) -> Parts:
    training = bundle.card.training
    assert training is not None  # every shipped bundle was trained by the engine
    return make_parts(dataset, training.split, training.seed)


def _bundle_rows(bundle: Bundle, dataset: Dataset, quick: bool) -> list[Row]:
    head = bundle.task.heads["variable"]
    assert isinstance(head, Multiclass)
    rows = _parts(bundle, dataset).test
    labels = dataset.labels("variable", head)
    rows = rows[labels[rows] >= 0]
    if quick:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:500])
    truth, groups, p = labels[rows], dataset.groups()[rows], _probabilities(bundle, dataset, rows)
    what, system = bundle.name, bundle.task.name
    goals = _GOALS.get(system, (None, None))
    found = p.argmax(axis=1)
    result = _scores(f"{what}, stars held back", truth, found, groups, len(head.labels), goals)
    counts = confusion(truth, found, len(head.labels))
    for k, label in enumerate(head.labels):
        total = int(counts[k].sum())
        share = counts[k, k] / total if total else None
        result.append(Row(f"{what}: {label} found", share, "", "real", total))
    if "RRd" in head.labels:
        c, d = head.labels.index("RRc"), head.labels.index("RRd")
        for name, (own, other) in {"RRd taken for RRc": (d, c), "RRc taken for RRd": (c, d)}.items():
            total = int(counts[own].sum())
            share = counts[own, other] / total if total else None
            result.append(Row(f"{what}: {name}", share, "", "real", total))
        total = int(counts[:, d].sum())
        result.append(Row(f"{what}: purity of RRd", counts[d, d] / max(total, 1), "", "real", total))
        result += _mix_rows(what, truth, p, groups, head.labels)
    return result


def _probabilities(bundle: Bundle, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    predictor = Predictor(bundle)
    parts = []
    for start in range(0, len(rows), _BATCH):
        index = rows[start : start + _BATCH]
        arrays = {name: dataset.take(name, index) for name in bundle.task.inputs}
        prediction = predictor.concluded(arrays, predictor.logits(arrays), spread=False)
        parts.append(prediction.heads["variable"].values)
    return np.concatenate(parts).astype(np.float64)


def _scores(
    what: str,
    truth: NDArray[np.int64],
    found: NDArray[np.int64],
    groups: NDArray[np.str_],
    n: int,
    goals: tuple[str | None, str | None],
) -> list[Row]:
    """Accuracy and macro-F1, each with its 95 % interval from drawing stars again."""

    def figures(a: NDArray[Any], b: NDArray[Any]) -> NDArray[np.float64]:
        return np.array([(a == b).mean(), macro_f1(a, b, n)])

    values = figures(truth, found)
    drawn = resampled(figures, truth, found, groups=groups, n=500)
    rows = []
    for k, (name, goal) in enumerate(zip(("accuracy", "macro-F1"), goals, strict=True)):
        low, high = limits(drawn[:, k], groups)
        rows.append(Row(f"{what}: {name}", float(values[k]), "", "real", len(truth), goal))
        rows.append(Row(f"{what}: {name}, 95 % from", low, "", "real", len(truth)))
        rows.append(Row(f"{what}: {name}, 95 % to", high, "", "real", len(truth)))
    return rows


def _mix_rows(
    what: str,
    truth: NDArray[np.int64],
    p: NDArray[np.float64],
    groups: NDArray[np.str_],
    labels: Sequence[str],
) -> list[Row]:
    """The same stars, weighted to the mix of the whole catalogue, and with that mix as the expectation."""
    mix = np.array([CRTS_MIX[label] for label in labels], np.float64)
    here = np.bincount(truth, minlength=len(labels))
    weight = (mix / np.maximum(here, 1))[truth]
    rows = []
    for how, found in (
        ("as it is", p.argmax(axis=1)),
        ("expecting that mix", (p * mix / np.maximum(here, 1)).argmax(axis=1)),
    ):
        values = weighted_scores(truth, found, weight, len(labels))
        drawn = resampled(
            lambda a, b, w: np.array(weighted_scores(a, b, w, len(labels))), truth, found, weight,
            groups=groups, n=200,
        )  # fmt: skip
        low, high = limits(drawn[:, 0], groups)
        name = f"{what}, weighted to the catalogue's mix (EW two thirds), {how}"
        rows += [
            Row(f"{name}: accuracy", values[0], "", "real", len(truth)).beside(_PAPER, 0.83),
            Row(f"{name}: accuracy, 95 % from", low, "", "real", len(truth)),
            Row(f"{name}: accuracy, 95 % to", high, "", "real", len(truth)),
            Row(f"{name}: macro-F1", values[1], "", "real", len(truth)),
        ]
    return rows


def weighted_scores(
    truth: NDArray[Any], found: NDArray[Any], weight: NDArray[Any], n: int
) -> tuple[float, float]:
    """Accuracy and macro-F1 of items of which each stands for so many."""
    counts = np.bincount(truth * n + found, weight, n * n).reshape(n, n)
    either = counts.sum(axis=0) + counts.sum(axis=1)
    occurs = either > 0
    return (
        float(np.trace(counts) / counts.sum()),
        float((2 * np.diag(counts)[occurs] / either[occurs]).mean()),
    )


def _peer_rows(dataset: Dataset, bundles: Sequence[Bundle]) -> list[Row]:
    """What a first script reaches on the same parts: XGBoost on statistics and one period."""
    chosen = [one for one in bundles if one.task.name == "crts_trees"]
    if not chosen:
        return []
    from xgboost import XGBClassifier

    head = chosen[0].task.heads["variable"]
    assert isinstance(head, Multiclass)
    labels, parts = dataset.labels("variable", head), _parts(chosen[0], dataset)
    train = np.concatenate([parts.train, parts.validation])
    train, test = train[labels[train] >= 0], parts.test[labels[parts.test] >= 0]
    channels = dataset.info.inputs["features"].channels
    plain = [channels.index(name) for name in channels[:22]]
    period = channels.index("log_sine_period")
    rows = []
    for what, columns in (
        ("XGBoost on 22 statistics", plain),
        ("XGBoost on 22 statistics and the Lomb-Scargle period", [*plain, period]),
    ):
        model = XGBClassifier(n_estimators=300, n_jobs=1, random_state=0, verbosity=0)
        model.fit(dataset.take("features", train)[:, columns], labels[train])
        found = model.predict(dataset.take("features", test)[:, columns]).astype(np.int64)
        rows += _scores(
            f"{what}, trained on the same stars", labels[test], found, dataset.groups()[test],
            len(head.labels), (None, None),
        )  # fmt: skip
    return rows
