"""SCOPE's classes in the benchmark `lightcurves`: shipped bundles on stars held back, rounds of questions.

The data set is made of that of `astrid data variables`; the test part follows from the names of the stars.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid.bench.frame import Row
from astrid.learn.bundle import Bundle
from astrid.learn.calibration import brier, ece, log_loss
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import Ranking, aucpr, limits, resampled
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, list_bundles
from astrid.lightcurves.classes import taxonomy
from astrid.survey.active_round import choose, probabilities_of, thresholds_of
from astrid.survey.class_consistency import consistent, violations
from astrid.survey.scope_set import scope_set

__all__ = ["class_figures", "scope_rows", "simulated_rounds"]

_SYSTEMS = ("scope", "scope_dnn")
_RARE = ("eb", "hp", "rrd", "rrblz", "dscu", "ceph2")
_ASKED = (
    ("random", 1.0, 0.0),
    ("uncertain", 0.0, 0.0),
    ("uncertain with 15 % random and 15 % diverse", 0.15, 0.15),
)
_PUBLISHED = 0.7
"""SCOPE's threshold for all classes."""


def scope_rows(variables: Path, curves: Path, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """All rows about SCOPE's classes.

    Parameters
    ----------
    variables : Path
        Data set of variable stars.
    curves : Path
        Their light curves.
    quick : bool
        Fewer resamples, and no rounds.
    say : callable
        Called with the name of each stage.
    """
    shipped = [one.name for one in list_bundles() if one.shipped and one.system in _SYSTEMS]
    if not shipped:
        return []
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        say("classes of SCOPE: data set")
        scope_set(variables, curves, Path(folder) / "scope")
        dataset = Dataset.open(Path(folder) / "scope")
        for name in shipped:
            say(f"classes of SCOPE: {name}")
            rows += _bundle_rows(find_bundle(name), dataset, 50 if quick else 200)
        if not quick:
            say("rounds of questions, simulated")
            rows += _round_rows(dataset, say)
    return rows


def class_figures(truth: NDArray[np.float64], p: NDArray[np.float64], threshold: float) -> dict[str, float]:
    """The figures of one class.

    Parameters
    ----------
    truth : (n,) float64 ndarray
        True class, 0.5 and more for yes.
    p : (n,) float64 ndarray
    threshold : float
        Of the card.
    """
    yes = truth >= 0.5
    ranking = Ranking.of(yes, p)
    found = {"AUCPR": ranking.aucpr(), "recall at FPR 1 %": ranking.recall_at_fpr(0.01)}
    for name, limit in (("0.7", _PUBLISHED), ("its threshold", threshold)):
        taken = p >= limit
        found[f"recall at {name}"] = float(taken[yes].mean())
        found[f"purity at {name}"] = float(yes[taken].mean()) if taken.any() else np.nan
    return found


def _bundle_rows(bundle: Bundle, dataset: Dataset, resamples: int) -> list[Row]:
    rows = np.flatnonzero(dataset.column("part") == "test")
    said = probabilities_of(Predictor(bundle), dataset, rows)
    codes = tuple(code for code in taxonomy().classes if code in said)
    groups, cuts = dataset.groups()[rows], thresholds_of(bundle)
    result: list[Row] = []
    areas, errors = [], []
    for code in codes:
        labels = dataset.column(code)[rows]
        known = np.isfinite(labels)
        truth, p = labels[known], said[code][known]
        if not ((truth >= 0.5).any() and (truth < 0.5).any()):
            continue
        names = list(class_figures(truth, p, cuts[code]))

        def figures(
            a: NDArray[np.float64], b: NDArray[np.float64], cut: float = cuts[code]
        ) -> NDArray[np.float64]:
            return np.array(list(class_figures(a, b, cut).values()))

        values = figures(truth, p)
        drawn = resampled(figures, truth, p, groups=groups[known], n=resamples)
        n = int((truth >= 0.5).sum())
        for k, name in enumerate(names):
            low, high = limits(drawn[:, k], groups[known])
            result.append(Row(f"{bundle.name}, {code}: {name}", float(values[k]), "", "real", n))
            if name == "AUCPR":
                result.append(Row(f"{bundle.name}, {code}: AUCPR, 95 % from", low, "", "real", n))
                result.append(Row(f"{bundle.name}, {code}: AUCPR, 95 % to", high, "", "real", n))
        areas.append(float(values[0]))
        errors.append(ece(truth, p))
    n = len(rows)
    head = [
        Row(f"{bundle.name}: mean AUCPR over {len(areas)} classes", float(np.mean(areas)), "", "real", n),
        Row(f"{bundle.name}: mean ECE over classes", float(np.mean(errors)), "", "real", n),
    ]
    truths = np.stack([dataset.column(code)[rows] for code in codes], axis=1)
    given = np.stack([said[code] for code in codes], axis=1)
    return [*head, *_tree_rows(bundle.name, codes, truths, given), *result]


def _tree_rows(
    name: str, codes: Sequence[str], truths: NDArray[np.float64], given: NDArray[np.float64]
) -> list[Row]:
    """How far the probabilities agree with the tree, and what each repair does to their quality."""
    parents = taxonomy().parents(codes)
    began = time.process_time()
    nearest = consistent(given, codes, parents)
    cost = (time.process_time() - began) / len(given) * 1e6
    n = len(given)
    rows = [Row(f"{name}: cost of agreeing with the tree", cost, "µs per source", "real", n)]
    for how, p in (
        ("as they are", given),
        ("nearest consistent", nearest),
        ("capped by the parent", _capped(given, codes, parents)),
    ):
        found = violations(p, codes, parents)
        rows += [
            Row(f"{name}, {how}: sources that violate the tree by 0.01", found.sources, "", "real", n),
            Row(f"{name}, {how}: largest violation", found.largest, "", "real", n),
        ]
        for figure, function in (("log loss", log_loss), ("Brier score", brier), ("AUCPR", aucpr)):
            value = np.mean([_known(function, truths[:, k], p[:, k]) for k in range(len(codes))])
            rows.append(Row(f"{name}, {how}: mean {figure}", float(value), "", "real", n))
    return rows


def _known(function: Callable[..., float], truth: NDArray[np.float64], p: NDArray[np.float64]) -> float:
    known = np.isfinite(truth)
    return function(truth[known], p[known])


def _capped(
    given: NDArray[np.float64], codes: Sequence[str], parents: Mapping[str, str | None]
) -> NDArray[np.float64]:
    """The simplest repair: no class above the one that it lies in."""
    values = given.copy()
    for k, code in enumerate(codes):  # a class comes after the one that it lies in
        parent = parents[code]
        if parent is not None:
            values[:, k] = np.minimum(values[:, k], values[:, codes.index(parent)])
    return values


def _round_rows(dataset: Dataset, say: Callable[[str], None]) -> list[Row]:
    rows = []
    for how, random, diverse in _ASKED:
        say(f"rounds of questions, simulated: {how}")
        found = np.mean([simulated_rounds(dataset, random, diverse, seed=seed) for seed in range(3)], axis=0)
        for labels, area in found.tolist():
            name = f"mean AUCPR of {len(_RARE)} rare classes after {labels:.0f} labels, {how}"
            rows.append(Row(name, area, "", "real", int((dataset.column("part") == "test").sum())))
    return rows


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
        area = np.mean([_known(aucpr, labels[code][test], said[code][test]) for code in _RARE])
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
