"""SCOPE's classes in the benchmark `lightcurves`: shipped bundles on stars held back, side by side.

The data set is made of that of `astrid data variables`; the test part follows from the names of the stars.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid.bench._class_rounds import round_rows
from astrid.bench.frame import Row
from astrid.learn.bundle import Bundle
from astrid.learn.calibration import brier, ece, log_loss
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import Ranking, aucpr, limits, resampled
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, list_bundles
from astrid.lightcurves.classes import taxonomy
from astrid.survey.active_round import changes, probabilities_of, thresholds_of
from astrid.survey.class_consistency import consistent, violations
from astrid.survey.scope_set import scope_set

__all__ = ["class_figures", "mean_cost", "scope_rows"]

_SYSTEMS = ("scope", "scope_dnn")
_MISS, _FALSE_ALARM = 3, 7
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
        if len(shipped) == 2:
            say("classes of SCOPE: trees and network side by side")
            trees, network = (find_bundle(name) for name in sorted(shipped))
            rows += _side_by_side(trees, network, dataset, 50 if quick else 200)
        if not quick:
            rows += round_rows(dataset, Path(folder), say)
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


def mean_cost(truth: NDArray[np.float64], p: NDArray[np.float64], threshold: float) -> float:
    """What the decisions about one class cost, for each source: 3 for a miss, 7 for a false alarm.

    Parameters
    ----------
    truth : (n,) float64 ndarray
        True class, 0.5 and more for yes.
    p : (n,) float64 ndarray
    threshold : float
        Infinite: nothing is ever decided for the class.
    """
    yes, taken = truth >= 0.5, p >= threshold
    return float((_MISS * (yes & ~taken) + _FALSE_ALARM * (~yes & taken)).mean())


def _bundle_rows(bundle: Bundle, dataset: Dataset, resamples: int) -> list[Row]:
    rows = np.flatnonzero(dataset.column("part") == "test")
    said = probabilities_of(Predictor(bundle), dataset, rows)
    codes = tuple(code for code in taxonomy().classes if code in said)
    groups, cuts = dataset.groups()[rows], thresholds_of(bundle)
    result: list[Row] = []
    areas, errors, costs = [], [], []
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
        costs.append([mean_cost(truth, p, cut) for cut in (cuts[code], _PUBLISHED, np.inf)])
    n = len(rows)
    head = [
        Row(f"{bundle.name}: mean AUCPR over {len(areas)} classes", float(np.mean(areas)), "", "real", n),
        Row(f"{bundle.name}: mean ECE over classes", float(np.mean(errors)), "", "real", n),
    ]
    for where, cost in zip(("its threshold", "0.7", "no class at all"), np.mean(costs, axis=0), strict=True):
        head.append(Row(f"{bundle.name}: mean cost of a class at {where}", float(cost), "", "real", n))
    truths = np.stack([dataset.column(code)[rows] for code in codes], axis=1)
    given = np.stack([said[code] for code in codes], axis=1)
    return [*head, *_tree_rows(bundle.name, codes, truths, given), *result]


def _side_by_side(first: Bundle, second: Bundle, dataset: Dataset, resamples: int) -> list[Row]:
    """By how much one is better than the other on the same stars: class by class, and on the mean."""
    found = changes(second, first, dataset, resamples=resamples)
    rows = np.flatnonzero(dataset.column("part") == "test")
    codes = [one.code for one in found]
    truth = np.stack([dataset.column(code)[rows] for code in codes], axis=1)
    said = [probabilities_of(Predictor(one), dataset, rows) for one in (first, second)]
    p, q = (np.stack([one[code] for code in codes], axis=1) for one in said)

    def gain(
        labels: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        return np.array(
            [
                np.mean([_known(figure, labels[:, k], value[:, k]) for k in range(len(codes))])
                for figure in (aucpr, log_loss)
                for value in (one, other)
            ]
        )

    groups = dataset.groups()[rows]
    values, drawn = gain(truth, p, q), resampled(gain, truth, p, q, groups=groups, n=resamples)
    pair, n = f"{first.name} less {second.name}", len(rows)
    result = []
    for k, name in enumerate(("AUCPR", "log loss")):
        low, high = limits(drawn[:, 2 * k] - drawn[:, 2 * k + 1], groups)
        difference = float(values[2 * k] - values[2 * k + 1])
        result += [
            Row(f"{pair}: mean {name}", difference, "", "real", n),
            Row(f"{pair}: mean {name}, 95 % from", low, "", "real", n),
            Row(f"{pair}: mean {name}, 95 % to", high, "", "real", n),
        ]
    better, worse = sum(one.low > 0 for one in found), sum(one.high < 0 for one in found)
    result += [
        Row(f"{pair}: classes with certainly more AUCPR", better, "", "real", n),
        Row(f"{pair}: classes with certainly less AUCPR", worse, "", "real", n),
    ]
    return result + [Row(f"{pair}, {one.code}: AUCPR", one.gain, "", "real", one.n_positive) for one in found]


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
