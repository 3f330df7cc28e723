"""Rounds of questions about SCOPE's classes in the benchmark `lightcurves`: what an answer is worth.

Labels that are known are hidden and asked for; nobody is asked here.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid.bench.frame import Row
from astrid.learn import Bundle, Dataset, DatasetWriter, export_run, train
from astrid.learn.metrics import aucpr
from astrid.learn.task import Task
from astrid.lightcurves.classes import taxonomy
from astrid.survey.active_round import changes, choose, questions
from astrid.survey.class_labels import read_labels
from astrid.survey.scope_set import relabelled
from astrid.zoo.scope import SCOPE

__all__ = ["asked_round", "round_rows", "simulated_rounds"]

_RARE = ("eb", "hp", "rrd", "rrblz", "dscu", "ceph2")
_LESS_RARE = ("eb", "hp", "rrd", "dscu")
"""Of the others a few hundred stars may have none, and of nothing no model is made."""

_ASKED = (
    ("random", 1.0, 0.0),
    ("uncertain", 0.0, 0.0),
    ("uncertain with 15 % random and 15 % diverse", 0.15, 0.15),
)
_SEEDS = 3


def round_rows(dataset: Dataset, folder: Path, say: Callable[[str], None]) -> list[Row]:
    """Rounds with each way to choose, and what a label was worth.

    Parameters
    ----------
    dataset : Dataset
        As `scope_set` makes it.
    folder : Path
        For what comes in between.
    say : callable
        Called with the name of each stage.
    """
    rows = []
    n = int((dataset.column("part") == "test").sum())
    for how, random, diverse in _ASKED:
        say(f"rounds of questions, simulated: {how}")
        curves = np.array([simulated_rounds(dataset, random, diverse, seed=seed) for seed in range(_SEEDS)])
        for labels, area in curves.mean(axis=0).tolist():
            name = f"mean AUCPR of {len(_RARE)} rare classes after {labels:.0f} labels, {how}"
            rows.append(Row(name, area, "", "real", n))
        first, last = curves[:, 0], curves[:, -1]
        worth = 100 * (last - first)[:, 1] / (last - first)[:, 0]
        rows += _spread(f"gain of mean AUCPR for 100 labels, {how}", worth, n)
    for how, random, diverse in (_ASKED[0], _ASKED[2]):
        say(f"questions written, filled in and read back: {how}")
        places = [folder / f"{how.split()[0]}{seed}" for seed in range(_SEEDS)]
        each = np.array(
            [asked_round(dataset, place, random, diverse, seed=seed) for seed, place in enumerate(places)]
        )
        stars, said, gain = each.mean(axis=0).tolist()
        what = f"one round by files, {how}"
        rows += [
            Row(f"{what}: stars asked about", stars, "", "real", n),
            Row(f"{what}: answers", said, "", "real", n),
            Row(f"{what}: gain of mean AUCPR of {len(_LESS_RARE)} rare classes", gain, "", "real", n),
            *_spread(f"{what}: gain for 100 answers", 100 * each[:, 2] / each[:, 1], n),
        ]
    return rows


def _spread(name: str, values: NDArray[np.float64], n: int) -> list[Row]:
    return [
        Row(name, float(values.mean()), "", "real", n),
        Row(f"{name}: standard deviation of {len(values)} draws", float(values.std(ddof=1)), "", "real", n),
    ]


def asked_round(
    dataset: Dataset,
    folder: Path,
    random: float,
    diverse: float,
    *,
    codes: Sequence[str] = _LESS_RARE,
    first: int = 300,
    n: int = 300,
    seed: int = 0,
) -> tuple[float, float, float]:
    """One round as people would have it: questions written, answers read, a new model, what has changed.

    Of the stars of the training part all labels but those of the first are hidden.

    Parameters
    ----------
    dataset : Dataset
    folder : Path
        Is made, with all that comes in between.
    random, diverse : float
        Shares; see `choose`.
    codes : sequence of str
        Classes of the model.
    first, n : int
        Stars of the training part whose labels are known, and that are asked about.
    seed : int

    Returns
    -------
    found : (float, float, float)
        Stars and answers, and the gain of the mean area under precision against recall on the test part.
    """
    folder.mkdir(parents=True)
    inputs = {"features": dataset.info.inputs["features"]}
    task = SCOPE.model_copy(update={"inputs": inputs, "heads": {code: SCOPE.heads[code] for code in codes}})
    hidden = _hidden(dataset, folder / "hidden", first, seed)
    before = _model(task, hidden, folder / "before", seed)
    counts = questions(before, hidden, folder / "asked.csv", n, random=random, diverse=diverse, seed=seed)
    _fill_in(folder / "asked.csv", dataset, folder / "answers.csv")
    answers = read_labels([folder / "answers.csv"])
    relabelled(hidden, answers, folder / "labelled")
    after = _model(task, Dataset.open(folder / "labelled"), folder / "after", seed)
    gains = [one.gain for one in changes(before, after, dataset, resamples=2)]
    return float(counts["sources"]), float(len(answers)), float(np.mean(gains))


def _hidden(dataset: Dataset, out: Path, first: int, seed: int) -> Dataset:
    """The same stars, of which most of the training part have no label."""
    train_rows = np.flatnonzero(dataset.column("part") == "train")
    secret = np.random.default_rng(seed).permutation(train_rows)[first:]
    columns = {name: dataset.rows[name].to_numpy().copy() for name in dataset.rows.column_names}
    by = np.full(len(dataset), "survey", dtype=object)  # so that nobody is asked about those
    by[secret] = ""
    for code in taxonomy().classes:
        columns[code] = columns[code].astype(np.float64)
        columns[code][secret] = np.nan
    columns["labelled_by"] = by
    with DatasetWriter(
        out, name=dataset.info.name, inputs=dataset.info.inputs, kind="real", group="star"
    ) as writer:
        arrays = {name: dataset.take(name, np.arange(len(dataset))) for name in dataset.info.inputs}
        writer.append(arrays, {name: column.tolist() for name, column in columns.items()})
    return Dataset.open(out)


def _model(task: Task, dataset: Dataset, folder: Path, seed: int) -> Bundle:
    settings = task.training.model_copy(update={"seed": seed, "trackers": ()})
    run = train(task, dataset, folder / "run", settings)
    return export_run([run], dataset, folder / "model", f"{task.name}.{folder.name}")


def _fill_in(asked: Path, dataset: Dataset, out: Path) -> None:
    """Answer as the survey would, where it says anything."""
    place = {name: row for row, name in enumerate(dataset.column("id").tolist())}
    with asked.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        value = float(dataset.column(row["class"])[place[row["id"]]])
        row |= {"value": f"{value:g}" if np.isfinite(value) else "", "who": "survey", "when": "2026-01-01"}
    with out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def simulated_rounds(
    dataset: Dataset,
    random: float,
    diverse: float,
    *,
    first: int = 300,
    each: int = 150,
    rounds: int = 4,
    seed: int = 0,
) -> list[tuple[float, float]]:
    """What rounds of questions would have given, had nobody known the labels.

    All begin with the same random stars. A person who is asked about a star says all of its classes.

    Parameters
    ----------
    dataset : Dataset
    random, diverse : float
        Shares; see `choose`.
    first, each, rounds : int
        Stars that are labelled at the beginning, and in each of so many rounds.
    seed : int

    Returns
    -------
    found : list of (float, float)
        Labels, and the mean area under precision against recall of rare classes on the test part.
    """
    rng = np.random.default_rng(seed)
    part = dataset.column("part")
    pool, test = np.flatnonzero(part != "test"), np.flatnonzero(part == "test")
    features = dataset.take("features", np.arange(len(dataset)))
    labels = {code: dataset.column(code) for code in _RARE}
    known = rng.permutation(pool)[:first]
    found = []
    for number in range(rounds + 1):
        said = {code: _boosted(features, labels[code], known, seed) for code in _RARE}
        area = np.mean([_area(labels[code][test], said[code][test]) for code in _RARE])
        found.append((float(len(known)), float(area)))
        if number < rounds:
            rest = np.setdiff1d(pool, known)
            p = np.stack([said[code][rest] for code in _RARE], axis=1)
            chosen = choose(
                p, np.full(len(_RARE), 0.5), features[rest], each,
                random=random, diverse=diverse, seed=seed + number,
            )  # fmt: skip
            known = np.concatenate([known, rest[chosen.rows]])
    return found


def _boosted(
    features: NDArray[np.float32], labels: NDArray[np.float64], rows: NDArray[np.int64], seed: int
) -> NDArray[np.float64]:
    """Probability of a class for all stars, by trees grown on some."""
    from xgboost import XGBClassifier

    some = rows[np.isfinite(labels[rows])]
    yes = labels[some] >= 0.5
    if yes.all() or not yes.any():
        return np.full(len(features), float(yes.mean()))
    model = XGBClassifier(
        n_estimators=60, max_depth=4, learning_rate=0.15, colsample_bytree=0.6, n_jobs=1, random_state=seed
    )
    model.fit(features[some], yes)
    return np.asarray(model.predict_proba(features)[:, 1], np.float64)


def _area(truth: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    known = np.isfinite(truth)
    return aucpr(truth[known], p[known])
