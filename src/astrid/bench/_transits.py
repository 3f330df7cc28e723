"""The rows of `lightcurves` about transits: who is a planet, which periods come back, how long it takes.

The stars of what is judged are never among those of what was learnt, unlike in the published split.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.bench.frame import ONE_THREAD, Row, measure_process
from astrid.learn import metrics
from astrid.learn.dataset import Dataset
from astrid.learn.prediction import Predictor
from astrid.learn.registry import live
from astrid.learn.settings import change_settings
from astrid.learn.splits import Parts, make_parts
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurve
from astrid.survey.transit_search import search_transits
from astrid.survey.transit_sets import FOLDS, transit_views
from astrid.zoo.tess_transits import TESS_TRANSITS

__all__ = ["at_equal_classes", "rows"]

_PAPER = "Rao et al. 2021, on stars that are also in its training set"
_AUROC, _RECALL = (one.value for one in TESS_TRANSITS.published)
_TURNS = FOLDS // 2
_MEMBERS = 5
_THRESHOLD = 0.7
_TWO, _THREE = {"time": "1", "flux": "2"}, {"time": "1", "flux": "2", "error": "3"}
_KEPLER = (("10854555", 2.52), ("10848459", 1.736), ("10811496", 19.89), ("11918099", 7.24))
_QUARTER = (("1026032", 8.46), ("757450", 8.885))
"""Curves and the periods that their sources tell; within 0.5 % they count as found."""


def rows(quick: bool, say: Callable[[str], None], real_data: Path) -> list[Row]:
    """All rows about transits.

    Parameters
    ----------
    quick : bool
        One turn of the five, one member of each ensemble, and no curve of two years.
    say : callable
        Called with the name of each stage.
    real_data : Path
        The folder that holds ``lightcurves/``.
    """
    root = real_data / "lightcurves"
    say("planets among the signals of stars that were not learnt from")
    found = _planet_rows(root / "tess_views", quick)
    say("periods of Kepler, K2 and TESS")
    return [*found, *_period_rows(root / "kepler_tess_lc", quick)]


def at_equal_classes(probability: NDArray[Any], share: float) -> NDArray[np.float64]:
    """What probabilities would be if planets were half of all signals, as in the paper's training.

    Parameters
    ----------
    probability : (n,) ndarray
    share : float
        Of planets among the signals that were learnt from.
    """
    odds = np.asarray(probability, np.float64) * (1 - share)
    return np.asarray(odds / (odds + (1 - np.asarray(probability, np.float64)) * share))


def _planet_rows(folder: Path, quick: bool) -> list[Row]:
    with tempfile.TemporaryDirectory() as place:
        transit_views([folder / "nigraha_train.npz", folder / "nigraha_val.npz"], Path(place) / "set")
        dataset = Dataset.open(Path(place) / "set")
        labels = dataset.labels("planet", TESS_TRANSITS.heads["planet"])
        star = dataset.groups()
        turns = range(1 if quick else _TURNS)
        ours, plain = (np.full(len(dataset), np.nan) for _ in range(2))
        for turn in turns:
            parts = _parts(dataset, turn)
            ours[parts.test] = _learnt(dataset, parts, Path(place), 1 if quick else _MEMBERS)
            plain[parts.test] = _plain(dataset, labels, parts)
        known = np.isfinite(ours)
        y, p, group = labels[known], ours[known], star[known]
        confirmed = np.isin(dataset.column("disposition")[known], ("KP", "CP"))
        balanced = at_equal_classes(p, float(labels.mean()))
        shipped = _shipped(dataset, labels)
    low, high = metrics.interval(metrics.auroc, y, p, groups=group)
    what = f"stars apart, {len(turns)} of {_TURNS} turns"
    known_planets = f"transits: known planets at a score of 0.7, classes made equal, {what}"
    n = int(known.sum())
    above = balanced[confirmed] >= _THRESHOLD
    recall = float(above.mean())
    least, most = metrics.interval(lambda one: float(one.mean()), above, groups=group[confirmed])
    whole = float((balanced[y == 1] >= _THRESHOLD).mean())
    made = [
        Row(f"transits: AUROC, {what}", metrics.auroc(y, p), "", "real", n, f"> {_AUROC}")
        .beside(_PAPER, _AUROC),
        Row(f"transits: AUROC, {what}, 95 % from", low, "", "real", n),
        Row(f"transits: AUROC, {what}, 95 % to", high, "", "real", n),
        Row(f"transits: the same, XGBoost on the 12 published numbers, {what}",
            metrics.auroc(y, plain[known]), "", "real", n),
        Row(f"transits: average precision, {what}", metrics.aucpr(y, p), "", "real", n)
        .beside("XGBoost on the 12 published numbers", metrics.aucpr(y, plain[known])),
        Row(known_planets, recall, "", "real", int(confirmed.sum()), f">= {_RECALL}")
        .beside(_PAPER, _RECALL),
        Row(f"{known_planets}, 95 % from", least, "", "real", int(confirmed.sum())),
        Row(f"{known_planets}, 95 % to", most, "", "real", int(confirmed.sum())),
        Row(f"transits: the same, candidates too, {what}", whole, "", "real", int(y.sum())),
        Row(f"transits: other signals above that score, {what}",
            float((balanced[y == 0] >= _THRESHOLD).mean()), "", "real", int((y == 0).sum())),
    ]  # fmt: skip
    if shipped is not None:
        name, value, size = shipped
        made.append(Row(f"transits: AUROC of {name} on its test part", value, "", "real", size))
    return made


def _parts(dataset: Dataset, turn: int) -> Parts:
    """Two folds to judge by, the next two to stop by, the rest to learn from."""
    fold = dataset.column("fold").astype(np.int64)
    test = np.isin(fold, (2 * turn, 2 * turn + 1))
    stop = np.isin(fold, ((2 * turn + 2) % FOLDS, (2 * turn + 3) % FOLDS))
    return Parts(np.flatnonzero(~test & ~stop), np.flatnonzero(stop), np.flatnonzero(test))


def _learnt(dataset: Dataset, parts: Parts, place: Path, members: int) -> NDArray[np.float64]:
    """The shipped recipe, learnt anew; mean probability of the members."""
    import torch

    from astrid.learn.training import train

    inputs = {
        name: torch.from_numpy(np.array(dataset.take(name, parts.test))) for name in TESS_TRANSITS.inputs
    }
    total = np.zeros(len(parts.test))
    for seed in range(1, members + 1):
        settings = change_settings(TESS_TRANSITS.training, {"seed": seed, "threads": 1}, "bench")
        with tempfile.TemporaryDirectory(dir=place) as folder:
            run = train(
                TESS_TRANSITS, dataset, Path(folder) / "run", settings, parts=parts,
                on_progress=lambda done, of: None,
            )  # fmt: skip
            with torch.inference_mode():
                total += torch.sigmoid(run.network()(**inputs)["planet"][:, 0]).numpy() / members
    return total


def _plain(dataset: Dataset, labels: NDArray[Any], parts: Parts) -> NDArray[np.float64]:
    """XGBoost with settings of no thought on the numbers that the source gives."""
    import xgboost

    def numbers(which: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.concatenate([dataset.take(name, which) for name in ("transit", "star")], axis=1)

    learnt = np.concatenate([parts.train, parts.validation])
    options = {"objective": "binary:logistic", "max_depth": 4, "eta": 0.05, "nthread": 1, "seed": 0}
    model = xgboost.train(options, xgboost.DMatrix(numbers(learnt), labels[learnt]), 200)
    return np.asarray(model.predict(xgboost.DMatrix(numbers(parts.test))), np.float64)


def _shipped(dataset: Dataset, labels: NDArray[Any]) -> tuple[str, float, int] | None:
    bundle = live("tess_transits")
    if bundle is None or bundle.card.training is None:
        return None
    chosen = bundle.card.training
    test = make_parts(dataset, chosen.split, chosen.seed).test
    given = {name: dataset.take(name, test) for name in bundle.task.inputs}
    said = Predictor(bundle).probabilities(given)["planet"][:, 0]
    return bundle.name, metrics.auroc(labels[test], said), len(test)


def _period_rows(folder: Path, quick: bool) -> list[Row]:
    measured = measure_process(_searched, str(folder), quick, environment=ONE_THREAD).result
    right = [name for name, wanted, found, _ in measured if any(abs(f / wanted - 1) < 5e-3 for f in found)]
    wrong = [name for name, *_ in measured if name not in right]
    what = "transits: periods found among the first three series of dips"
    seconds = {name: spent for name, _, _, spent in measured}
    boxes, tls = measure_process(_times, str(folder), environment=ONE_THREAD).result
    return [
        Row(what + (f" (not of {', '.join(wrong)})" if wrong else ""), len(right), "", "real", len(measured),
            f">= {len(measured)}"),
        Row("transits: a month of Kepler, curve to verdict", seconds["KIC 10848459"], "s", "real"),
        Row("transits: the search of that month by boxes", boxes, "s", "real").beside("TLS 2", tls),
    ]  # fmt: skip


def _curves(folder: Path, quick: bool) -> list[tuple[str, float, LightCurve, dict[str, float]]]:
    """Name, period, light curve, limits of the search."""
    found: list[tuple[str, float, LightCurve, dict[str, float]]] = [
        (f"KIC {name}", period, read_lightcurve(folder / f"kplr_{name}.fits.gz"), {})
        for name, period in _KEPLER
    ]
    with gzip.open(folder / "kepler_q17_sample.jsonl.gz", "rt") as lines:
        stars = list(map(json.loads, lines))
    for number, period in _QUARTER:
        (one,) = (star for star in stars if number in star["name"])
        name = f"KIC {number}"
        curve = LightCurve(np.array(one["time"], float), np.array(one["flux"], float), unit="flux", name=name)
        found.append((name, period, curve, {}))
    k2 = read_lightcurve(folder / "k2_EPIC201367065.csv.gz", columns=_TWO, time_format="bkjd")
    found.append(("K2-3", 10.0545, k2, {}))
    if not quick:
        tess = read_lightcurve(folder / "tess_toi2540.csv.gz", columns=_THREE, time_format="bjd")
        found.append(("TOI-2540", 12.7188, tess, {"longest": 30.0}))
    return found


def _searched(folder: str, quick: bool) -> list[tuple[str, float, list[float], float]]:
    """Name, wanted period, periods found, seconds."""
    import time

    bundle = live("tess_transits")
    judge = None if bundle is None else Predictor(bundle)
    measured = []
    search_transits(_curves(Path(folder), True)[1][2], predictor=judge)  # compiles
    for name, wanted, curve, limits in _curves(Path(folder), quick):
        start = time.process_time()
        most = 3 if name == "KIC 11918099" else 1
        result = search_transits(curve, most=most, predictor=judge, **limits)  # type: ignore[arg-type]
        spent = time.process_time() - start
        measured.append((name, wanted, [one.dip.period for one in result.candidates], spent))
    return measured


def _times(folder: str) -> tuple[float, float]:
    """Seconds of processor time for the same search by boxes and by TLS."""
    import time

    from astrid.lightcurves.transits import clip_bright, detrend, find_transits

    curve = read_lightcurve(Path(folder) / "kplr_10848459.fits.gz").good()
    flat, _ = detrend(curve.time, curve.value)
    keep = clip_bright(flat)
    spent = []
    for method in ("boxes", "tls"):
        for turn in range(2):  # the first compiles
            start = time.process_time()
            with warnings.catch_warnings(action="ignore"):
                find_transits(curve.time[keep], flat[keep], shortest=0.6, method=method)
            if turn:
                spent.append(time.process_time() - start)
    return spent[0], spent[1]
