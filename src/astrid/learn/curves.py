"""From scored items to what a report draws: curves, prices, sets, residuals, spread and slices.

Single figures and their intervals come from `scored`; drawing is the business of `evaluation_charts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.learn import metrics
from astrid.learn.calibration import brier_parts, reliability
from astrid.learn.conformal import risk_threshold
from astrid.learn.decisions import CostCurve, Price, cost_curve, least_cost_threshold, prices
from astrid.learn.findings import Curves, Residuals, Sets, Slice, SpreadCheck
from astrid.learn.scored import Scored
from astrid.learn.slices import parts_of
from astrid.learn.task import Binary, Cost, Multiclass, Multilabel, Regression

__all__ = ["curves", "residuals", "sets", "slices", "spread_check"]

_RECALLS = (0.9, 0.95, 0.99)
_FPRS = (0.01, 0.001)


def curves(scored: Scored) -> tuple[Curves, ...]:
    """Curves of each yes or no of the head; none for numbers and maps."""
    head, labels, p, raw = scored.head, scored.labels, scored.values, scored.raw
    match head:
        case Binary():
            rule = "0.5, as none was chosen" if scored.card.decision is None else scored.card.decision.rule
            names = {head.labels[1]: (labels, 0, head.cost)}
            return tuple(
                _curves(scored, name, of, p[:, k], raw[:, k], cost, scored.threshold, rule)
                for name, (of, k, cost) in names.items()
            )
        case Multiclass():
            return tuple(
                _curves(
                    scored,
                    name,
                    (labels == k).astype(np.float32),
                    p[:, k],
                    raw[:, k],
                    None,
                    0.5,
                    "the most probable label",
                )
                for k, name in enumerate(head.labels)
            )
        case Multilabel():
            known = np.isfinite(labels)
            return tuple(
                _curves(
                    scored, name, labels[known[:, k], k], p[known[:, k], k], raw[known[:, k], k],
                    head.costs.get(name, Cost()), 0.5, "0.5",
                )
                for k, name in enumerate(head.labels)
            )  # fmt: skip
    return ()


def sets(scored: Scored) -> Sets | None:
    """What the conformal sets hold; None where the bundle has none."""
    if scored.card.conformal is None or not isinstance(scored.head, Binary | Multiclass):
        return None
    counts: dict[str, dict[str, int]] = {}
    for text in np.unique(scored.sets).tolist():
        inside = scored.truth[scored.sets == text]
        counts[text] = {label: int((inside == label).sum()) for label in scored.label_names}
    wanted = {label: 1 - alpha for label, alpha in scored.card.conformal.alpha.items()}
    return Sets(counts, wanted)


def residuals(scored: Scored, bins: int = 12) -> tuple[Residuals, ...]:
    """Errors of each number over its true value; none for other heads."""
    if not isinstance(scored.head, Regression):
        return ()
    found = []
    for k, name in enumerate(scored.head.names):
        known = np.isfinite(scored.labels[:, k])
        truth = scored.labels[known, k].astype(np.float64)
        values = scored.values[known, k].astype(np.float64)
        blocks = np.array_split(np.argsort(truth, kind="stable"), min(bins, max(len(truth) // 10, 1)))
        low, middle, high = (
            np.array([np.quantile((values - truth)[block], q) for block in blocks]) for q in (0.16, 0.5, 0.84)
        )
        drawn = np.random.default_rng(scored.setting.seed).permutation(len(truth))[:1000]
        found.append(
            Residuals(
                name=name,
                truth=np.array([np.median(truth[block]) for block in blocks]),
                low=low, middle=middle, high=high,
                n=np.array([len(block) for block in blocks], np.int64),
                sample=np.stack([truth[drawn], values[drawn]], axis=1).astype(np.float32),
            )
        )  # fmt: skip
    return tuple(found)


def spread_check(scored: Scored, bins: int = 8) -> SpreadCheck | None:
    """Whether the spread tells where the model is wrong; None where there is no spread."""
    rows = np.flatnonzero(np.isfinite(scored.spread).all(axis=1))
    if not len(rows):
        return None
    spread = _spread_of_what_was_said(scored)
    classes = not isinstance(scored.head, Regression) and bool(scored.label_names)
    name = "AUROC of the spread for errors" if classes else "rank correlation of spread and error"

    def figure(drawn: NDArray[np.int64]) -> dict[str, float]:
        if classes:
            return {name: metrics.auroc(scored.wrong[drawn], spread[drawn])}
        return {name: _rank_correlation(scored.wrong[drawn], spread[drawn])}

    try:
        measured = scored.measure(figure, rows)
    except DatasetError:  # nothing is wrong, or everything
        measured = ()
    order = rows[np.argsort(spread[rows], kind="stable")]
    blocks = np.array_split(order, min(bins, max(len(order) // 10, 1)))
    middle = np.mean if classes else np.median
    return SpreadCheck(
        n=len(rows),
        measured=measured[0] if measured else None,
        spread=np.array([spread[block].mean() for block in blocks], np.float64),
        error=np.array([middle(scored.wrong[block]) for block in blocks], np.float64),
    )


def slices(scored: Scored, columns: Mapping[str, NDArray[Any]]) -> tuple[Slice, ...]:
    """Figures of each part of the items, for each column; parts without enough items say so."""
    found = []
    for column, values in columns.items():
        for part in parts_of(values):
            measured = scored.measure(scored.slice_figures, part.rows) if len(part.rows) else ()
            note = "" if measured else f"too few: {len(part.rows)} items"
            found.append(Slice(column, part.name, part.low, part.high, len(part.rows), measured, note))
    return tuple(found)


def _curves(
    scored: Scored,
    label: str,
    labels: NDArray[Any],
    p: NDArray[np.float32],
    raw: NDArray[np.float32],
    cost: Cost | None,
    threshold: float,
    rule: str,
) -> Curves:
    ranking = metrics.Ranking.of(labels, p)
    kept = _thinned(ranking.recall, ranking.fpr, np.log10(np.maximum(ranking.fpr, 1e-9)) / 4)
    curve: CostCurve | None = None
    table: tuple[Price, ...] = ()
    setting = scored.setting
    if cost is not None:
        curve = _thinned_cost(cost_curve(labels, p, cost, prevalence=setting.prevalence))
        thresholds = _thresholds(labels, p, ranking, cost, setting.prevalence)
        thresholds = {rule: threshold} | {name: at for name, at in thresholds.items() if at != threshold}
        table = prices(
            labels, p, thresholds, cost, night_rate=setting.night_rate, prevalence=setting.prevalence
        )
    return Curves(
        label=label,
        n_positive=int(ranking.taken_positive[-1]),
        n_negative=int(ranking.taken_negative[-1]),
        threshold=threshold,
        rule=rule,
        at=ranking.threshold[kept],
        recall=ranking.recall[kept],
        precision=ranking.precision[kept],
        fpr=ranking.fpr[kept],
        histogram=np.stack([_histogram(p[labels < 0.5]), _histogram(p[labels >= 0.5])]),
        reliability=reliability(labels, p),
        reliability_before=reliability(labels, raw),
        brier=brier_parts(labels, p),
        cost=curve,
        prices=table,
    )


def _thresholds(
    labels: NDArray[Any],
    p: NDArray[np.float32],
    ranking: metrics.Ranking,
    cost: Cost,
    prevalence: float | None,
) -> dict[str, float]:
    """Thresholds worth knowing the price of; all are found on these very items."""
    found = {"0.5": 0.5}
    best = least_cost_threshold(labels, p, cost, prevalence=prevalence)
    found["least cost on these data"] = best.threshold
    for recall in _RECALLS:
        found[f"recall {100 * recall:g} %"] = ranking.threshold_at_recall(recall)
    for fpr in _FPRS:
        at = ranking.threshold_at_fpr(fpr)
        if at is not None:
            found[f"FPR {100 * fpr:g} %"] = at
    with suppress(DatasetError):  # too few positive items for such a promise
        found["at most 1 % missed, 90 % sure"] = risk_threshold(labels, p)
    return found


def _histogram(p: NDArray[np.float32], bins: int = 40) -> NDArray[np.int64]:
    return np.bincount(np.minimum((p * bins).astype(np.int64), bins - 1), minlength=bins)


def _thinned(*coordinates: NDArray[np.float64]) -> NDArray[np.int64]:
    """Points that a chart can tell apart, with the first and the last."""
    cells = np.stack([np.rint(250 * one) for one in coordinates])
    moved = (np.diff(cells, axis=1) != 0).any(axis=0)
    return np.unique(np.concatenate([[0], np.flatnonzero(moved) + 1, [cells.shape[1] - 1]]))


def _thinned_cost(curve: CostCurve) -> CostCurve:
    share = np.clip(curve.threshold, 1e-6, 1 - 1e-6)
    kept = _thinned(np.log10(share / (1 - share)) / 6, curve.cost / curve.cost.max())
    kept = np.unique(np.append(kept, curve.cost.argmin()))
    return CostCurve(
        curve.threshold[kept], curve.miss[kept], curve.false_alarm[kept], curve.cost[kept], curve.prevalence
    )


def _spread_of_what_was_said(scored: Scored) -> NDArray[np.float64]:
    """(n,): the spread of the chosen class; of several numbers or labels, the largest."""
    if isinstance(scored.head, Multiclass):
        chosen = scored.values.argmax(axis=1)
        return scored.spread[np.arange(len(scored)), chosen].astype(np.float64)
    return scored.spread.max(axis=1).astype(np.float64)


def _rank_correlation(first: NDArray[Any], second: NDArray[Any]) -> float:
    from scipy.stats import rankdata

    a, b = rankdata(first), rankdata(second)
    if a.std() == 0 or b.std() == 0:
        raise DatasetError("all values are the same; a rank correlation needs different ones")
    return float(np.corrcoef(a, b)[0, 1])
