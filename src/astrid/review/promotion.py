"""Whether a new model takes the place of the one in use: both are asked about the frozen answers.

The rule is fixed before the figures are known: the area under precision over recall must gain by its
interval, and the decisions must not cost more by theirs. How models are made is in `retraining`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError, UsageError
from astrid.learn.bundle import Bundle, Measured
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import Ranking, limits, resampled
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, live, set_stage
from astrid.learn.task import Cost
from astrid.review.training_set import only_head
from astrid.store.trainings import TrainingRecord, Trainings, Verdict

__all__ = ["AUCPR", "COST", "LEAST_FROZEN", "Change", "Comparison", "changes", "compare", "finish", "judge"]

AUCPR, RECALL, COST = "AUCPR", "recall at FPR 1 %", "cost of an item"

_FPR = 0.01
_BATCH = 256
_RESAMPLES = 2000  # of which 2.5 % are 50, enough for a limit
LEAST_FROZEN = 20
"""Frozen answers of each label without which no model is promoted."""

_ENDS: dict[Verdict, tuple[Verdict, Verdict]] = {
    "promoting": ("promoted", "kept"),
    "rolling back": ("rolled back", "failed"),
}
"""A change that is being made, and what it becomes where it can be made and where it cannot."""


@dataclass(frozen=True)
class Change:
    """One figure of both models on the same answers.

    Parameters
    ----------
    name : str
    before, after : float
    gain : float
        By how much the new one is better: of a cost, before minus after.
    low, high : float or None
        95 % interval of the gain, from drawing objects; both models are asked about the same ones. None
        where there is none.
    before_low, before_high, after_low, after_high : float or None
        Of each figure by itself.
    """

    name: str
    before: float
    after: float
    gain: float
    low: float | None
    high: float | None
    before_low: float | None
    before_high: float | None
    after_low: float | None
    after_high: float | None


@dataclass(frozen=True)
class Comparison:
    """Two models on the frozen answers.

    Parameters
    ----------
    changes : tuple of Change
        None where the answers are of one class only.
    counts : dict of str to int
        Answers of each label.
    n_objects : int
    """

    changes: tuple[Change, ...]
    counts: dict[str, int]
    n_objects: int

    def change(self, name: str) -> Change:
        """The figure of that name."""
        return next(one for one in self.changes if one.name == name)

    def measured(self, on: str) -> tuple[Measured, ...]:
        """The figures of the new model, for its card."""
        n = sum(self.counts.values())
        return tuple(
            Measured(
                name=one.name,
                value=one.after,
                low=one.after_low,
                high=one.after_high,
                n=n,
                on=on,
                kind="real",
            )
            for one in self.changes
        )

    def as_dict(self) -> dict[str, Any]:
        """In JSON's own types."""
        return {
            "compared": [asdict(one) for one in self.changes],
            "frozen": dict(self.counts),
            "frozen_objects": self.n_objects,
        }


def compare(
    before: Bundle, after: Bundle, dataset: Dataset, rows: NDArray[np.int64], *, seed: int = 0
) -> Comparison:
    """Ask two models about the same items.

    Parameters
    ----------
    before, after : Bundle
        Of one task.
    dataset : Dataset
    rows : (n,) int64 ndarray
        The frozen answers, which neither has learned from.
    seed : int
        Of the intervals.

    Returns
    -------
    Comparison
    """
    head, kind = only_head(after.task)
    truth = dataset.labels(head, kind)[rows] >= 0.5
    groups = dataset.groups()[rows]
    counts = {kind.labels[0]: int((~truth).sum()), kind.labels[1]: int(truth.sum())}
    found: tuple[Change, ...] = ()
    if min(counts.values()) > 0:
        said = [_probabilities(one, head, dataset, rows) for one in (before, after)]
        decided = [_threshold(one, head) for one in (before, after)]
        found = changes(
            truth, said[0], said[1], groups, thresholds=(decided[0], decided[1]), cost=kind.cost, seed=seed
        )
    return Comparison(found, counts, len(np.unique(groups)))


def changes(
    truth: NDArray[np.bool_],
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    groups: NDArray[Any],
    *,
    thresholds: tuple[float, float],
    cost: Cost,
    resamples: int = _RESAMPLES,
    seed: int = 0,
) -> tuple[Change, ...]:
    """The figures of two models on the same items, and what the second gains.

    Parameters
    ----------
    truth : (n,) bool ndarray
        Of both classes.
    before, after : (n,) ndarray
        Probability of the positive class.
    groups : (n,) ndarray
        Objects; whole ones are drawn for the intervals.
    thresholds : (float, float)
        Where each model decides.
    cost : Cost
        Of its errors.
    resamples, seed : int
        Of the intervals.

    Returns
    -------
    changes : tuple of Change
        `AUCPR`, the recall where 1 % of the negative items are taken, and the mean `COST` of a decision.

    References
    ----------
    Efron & Tibshirani 1993, An Introduction to the Bootstrap, section 8 (pairs are drawn together).
    """

    def figures(
        yes: NDArray[np.bool_], p: NDArray[np.floating], q: NDArray[np.floating]
    ) -> NDArray[np.float64]:
        values = []
        for scores, threshold in zip((p, q), thresholds, strict=True):
            ranking = Ranking.of(yes, scores)
            taken = scores >= threshold
            spent = cost.miss * (yes & ~taken).mean() + cost.false_alarm * (~yes & taken).mean()
            values += [ranking.aucpr(), ranking.recall_at_fpr(_FPR), float(spent)]
        first, second = np.array(values[:3]), np.array(values[3:])
        return np.concatenate([first, second, (second - first) * (1, 1, -1)])

    value = figures(truth, before, after)
    drawn = resampled(figures, truth, before, after, groups=groups, n=resamples, seed=seed)
    if drawn.shape[1] < len(value):  # no resample had both classes
        drawn = np.full((resamples, len(value)), np.nan)
    between = [limits(drawn[:, k], groups) for k in range(len(value))]
    return tuple(
        Change(
            name, float(value[k]), float(value[3 + k]), float(value[6 + k]),
            *between[6 + k], *between[k], *between[3 + k],
        )
        for k, name in enumerate((AUCPR, RECALL, COST))
    )  # fmt: skip


def judge(comparison: Comparison, least: int = LEAST_FROZEN) -> tuple[bool, str]:
    """Whether the new model wins, and why or why not in one sentence.

    Parameters
    ----------
    comparison : Comparison
    least : int
        Frozen answers of each label that are needed.
    """
    rare = min(comparison.counts, key=lambda label: comparison.counts[label])
    n, total = comparison.counts[rare], sum(comparison.counts.values())
    if n < least or not comparison.changes:
        return False, (
            f"{n} of the {total} frozen answers are {rare} and {least} of each label are needed to compare "
            "by, so answer more of the random items"
        )
    ranked, paid = comparison.change(AUCPR), comparison.change(COST)
    if ranked.low is None or ranked.high is None or paid.high is None:
        return False, f"the {total} frozen answers are of too few objects for an interval"
    told = _told(ranked)
    if ranked.high < 0:
        return False, f"it is worse on the {total} frozen answers: {told}"
    if ranked.low <= 0:
        return False, f"no gain can be told on the {total} frozen answers: {told}"
    if paid.high < 0:
        return False, f"its decisions cost more on the {total} frozen answers ({_told(paid)}), though {told}"
    return True, f"it is better on the {total} frozen answers: {told}"


def finish(trainings: Trainings, task: str) -> list[TrainingRecord]:
    """Carry out the changes of the bundle in use that were recorded and not yet made.

    A change that was interrupted is so made the next time; one that somebody has overtaken by hand is not.

    Returns
    -------
    records : list of TrainingRecord
        What became of them.

    Raises
    ------
    OutputError
        The record of the stages cannot be written.
    """
    done = []
    for record in trainings.list(task):
        if record.verdict in _ENDS:
            problem = _staged(task, record)
            well, badly = _ENDS[record.verdict]
            done.append(trainings.settle(record, badly if problem else well, problem or None))
    return done


def _staged(task: str, record: TrainingRecord) -> str:
    """Make the bundle of a record live; why not, where that cannot be."""
    name = str(record.bundle)
    try:
        wanted = find_bundle(name)
    except (BundleError, UsageError) as error:
        return f"{name} could not be made live: {error}"
    if wanted.hash != record.hash:
        return f"{name} could not be made live: it is no longer the model that was compared"
    try:
        present = live(task)
    except BundleError:
        present = None  # what is in use is damaged: all the better
    now = None if present is None else present.name
    if now not in (name, record.against, None):
        return f"{name} was not made live: {now} was, meanwhile, by hand"
    set_stage(name, "live")
    return ""


def _probabilities(
    bundle: Bundle, head: str, dataset: Dataset, rows: NDArray[np.int64]
) -> NDArray[np.float64]:
    predictor = Predictor(bundle)
    predictor.check(dataset)
    parts = []
    for start in range(0, len(rows), _BATCH):
        some = rows[start : start + _BATCH]
        arrays = {name: dataset.take(name, some) for name in bundle.task.inputs}
        parts.append(predictor.probabilities(arrays)[head][:, 0])
    return np.concatenate(parts).astype(np.float64)


def _threshold(bundle: Bundle, head: str) -> float:
    decision = bundle.card.head(head).decision
    return 0.5 if decision is None else decision.threshold


def _told(change: Change) -> str:
    verb = "rises" if change.after > change.before else "falls"
    if change.after == change.before:
        return f"{change.name} stays {change.after:.3f}"
    by = "" if change.low is None or change.high is None else _between(change)
    return f"{change.name} {verb} from {change.before:.3f} to {change.after:.3f}{by}"


def _between(change: Change) -> str:
    """The interval of the difference as it is read: after minus before."""
    low, high = float(change.low or 0), float(change.high or 0)
    if change.name == COST:
        low, high = -high, -low
    return f", a change of {low:+.4f} to {high:+.4f}"
