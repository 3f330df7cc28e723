"""Real/bogus on real data: alerts of ZTF beside the published nets, and detections in real images.

Nothing here is simulated, and nothing but the published weights comes from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from astrid.alerts import raw_triplet, read_alerts
from astrid.bench.frame import Row
from astrid.errors import AstridError
from astrid.learn import metrics
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.prediction import Predictor
from astrid.learn.splits import make_parts
from astrid.survey.alert_triplets import alert_triplets
from astrid.survey.real_triplets import real_triplets

__all__ = ["alert_rows", "image_rows"]

_FILES = ("ztf_alerts_dev.tar.gz", "fink_ztf_alerts_51.parquet", "fink_ztf_labelled_72.parquet")
_PUBLISHED = {"d6_m7": "row_l2", "braai_d6_m9": "cutout_l2"}  # as their scores are reproduced


@dataclass(frozen=True, eq=False)
class _Scores:
    """What the published nets and ours say about the same alerts."""

    drb: NDArray[np.float64]
    label: NDArray[np.float32]
    published: dict[str, NDArray[np.float32]]
    ours: dict[str, NDArray[np.float32]]
    thresholds: dict[str, float]


def alert_rows(root: Path, folder: Path, bundles: Sequence[Bundle], say: Callable[[str], None]) -> list[Row]:
    """Agreement with the production score of real alerts.

    Parameters
    ----------
    root : Path
        The real data.
    folder : Path
        For intermediate files.
    bundles : sequence of Bundle
    say : callable
    """
    say("real alerts")
    files = [root / "alerts" / name for name in _FILES]
    alert_triplets(files, folder / "alerts")
    dataset = Dataset.open(folder / "alerts")
    stamps = _stamps(files)
    drb = dataset.column("drb").astype(float)
    chosen = np.isfinite(drb)
    rows = np.flatnonzero(chosen)
    raw = np.stack([stamps[int(candid)] for candid in dataset.column("candid")[rows]])
    task = bundles[0].task
    scores = _Scores(
        drb[rows],
        dataset.labels("real", task.heads["real"])[rows],
        {name: _published(root, folder, name, task, raw) for name in _PUBLISHED},
        {one.name: _ours(one, dataset, rows) for one in bundles},
        {one.name: _threshold(one) for one in bundles},
    )
    return _judged(scores)


def image_rows(root: Path, folder: Path, bundles: Sequence[Bundle], say: Callable[[str], None]) -> list[Row]:
    """Real and bogus detections in real images, by what is known about those images.

    Only blocks of the sky that no bundle was trained or calibrated on.
    """
    say("detections in real images")
    real_triplets(root / "images", folder / "images")
    dataset = Dataset.open(folder / "images")
    every = dataset.labels("real", bundles[0].task.heads["real"])
    rows = _unseen(bundles, dataset)
    labels, where = every[rows], dataset.column("telescope")[rows]
    table = []
    for one in bundles:
        p, cut = _ours(one, dataset, rows), _threshold(one)
        for name in np.unique(where).tolist():
            real, bogus = ((where == name) & (labels == kind) for kind in (1, 0))
            what = f"{one.name}, images of {name}"
            if real.any():
                miss = float(np.mean(p[real] < cut))
                table.append(Row(f"{what}: real ones missed", miss, "", "real", int(real.sum())))
            if bogus.any():
                false = float(np.mean(p[bogus] >= cut))
                table.append(
                    Row(f"{what}: bogus taken at its threshold", false, "", "real", int(bogus.sum()))
                )
        table.append(Row(f"{one.name}, real images: AUCPR", metrics.aucpr(labels, p), "", "real", len(p)))
    return table


def _unseen(bundles: Sequence[Bundle], dataset: Dataset) -> NDArray[np.int64]:
    """Rows that are in the test part of every bundle that was trained on such data."""
    rows = np.arange(len(dataset))
    for one in bundles:
        trained = any(record.name == dataset.info.name for record in one.card.data)
        if trained and one.card.training is not None:
            parts = make_parts(dataset, one.card.training.split, one.card.training.seed)
            rows = np.intersect1d(rows, parts.test)
    return rows


def _judged(scores: _Scores) -> list[Row]:
    drb, n = scores.drb, len(scores.drb)
    other = scores.published["braai_d6_m9"]
    exact = float(np.median(abs(scores.published["d6_m7"] - drb)))
    table = [
        Row(
            "published d6_m7 in our bundle, ZTF alerts: median |score - drb|", exact, "", "real", n, "<= 1e-6"
        )
    ]
    known = scores.label >= 0.5
    low = drb < 0.3
    for name, p in scores.ours.items():
        cut = scores.thresholds[name]
        what = f"{name}, ZTF alerts"
        figures = (
            ("same side of 0.5 as drb", _same_side(p, drb), _same_side(other, drb), n),
            ("rank correlation with drb", _rank(p, drb), _rank(other, drb), n),
            ("of known class, missed at its threshold", np.mean(p[known] < cut), np.mean(other[known] < 0.5),
             int(known.sum())),
            ("of drb < 0.3, taken at its threshold", np.mean(p[low] >= cut), np.mean(other[low] >= 0.5),
             int(low.sum())),
        )  # fmt: skip
        for text, ours, theirs, items in figures:
            row = Row(f"{what}: {text}", float(ours), "", "real", items)
            table.append(row.beside("published d6_m9 at 0.5", float(theirs)))
    return table


def _same_side(p: NDArray[Any], drb: NDArray[np.float64]) -> float:
    return float(np.mean((p >= 0.5) == (drb >= 0.5)))


def _rank(p: NDArray[Any], drb: NDArray[np.float64]) -> float:
    return float(spearmanr(p, drb).statistic)


def _threshold(bundle: Bundle) -> float:
    decision = bundle.card.head("real").decision
    return 0.5 if decision is None else decision.threshold


def _ours(bundle: Bundle, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    parts = [one.heads["real"].values[:, 0] for _, one in Predictor(bundle).batches(dataset, rows)]
    return np.concatenate(parts)


def _published(
    root: Path, folder: Path, name: str, task: Any, raw: NDArray[np.float32]
) -> NDArray[np.float32]:
    from astrid.learn.keras import import_keras

    imported = import_keras(
        root / "images" / "braai" / f"{name}.weights.h5",
        task,
        folder / name,
        f"{task.name}.{name.removeprefix('braai_')}",
        normalization=_PUBLISHED[name],
        origin="Duev et al. 2019",
        licence="MIT",
    )
    predictor = Predictor(imported)
    blocks = (raw[start : start + 128] for start in range(0, len(raw), 128))
    return np.concatenate([predictor.probabilities({"triplet": one})["real"][:, 0] for one in blocks])


def _stamps(files: Sequence[Path]) -> dict[int, NDArray[np.float32]]:
    """Stamps as production sees them, by candid."""
    stamps: dict[int, NDArray[np.float32]] = {}
    for alert in read_alerts(files, history=False):
        try:
            stamps.setdefault(int(alert.alert_id), raw_triplet(alert))
        except AstridError:
            continue
    return stamps
