"""How fast a classifier learns from labels that are asked for in one order or another.

People are not asked: the labels are there, and a strategy sees them only when it asks. What is
made of the curves is in `_review_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.bench._review_data import LabelledSet
from astrid.learn import metrics
from astrid.learn.mixing import levelled, mixed_queue
from astrid.learn.queries import bald, core_set, entropy, margin

__all__ = ["STRATEGIES", "Curve", "budgets", "curves"]

_START = 20  # labels by chance, the same for each strategy of one seed
_TEST = 0.35  # share of the groups
_TREES = 50
_MEMBERS = 10  # of the ensemble of BALD: trees of the forest together
_BEYOND = 1000  # the seeds of the draws of the strategies lie apart by this


@dataclass(frozen=True, eq=False)
class Curve:
    """What one strategy reached with one seed.

    Parameters
    ----------
    labels : (m,) int64 ndarray
    aucpr : (m,) float64 ndarray
        On the test part; of several classes the mean of each against the rest.
    final : float
        With all labels of the pool.
    """

    labels: NDArray[np.int64]
    aucpr: NDArray[np.float64]
    final: float


@dataclass(frozen=True, eq=False)
class _Asking:
    """What a strategy knows when it is asked for the next items."""

    features: NDArray[np.float64]
    levelled: NDArray[np.float64]
    labels: NDArray[np.int64]  # for modAL, which is given those of `have` only
    have: NDArray[np.int64]
    forest: Any
    n_classes: int
    n: int
    seed: int

    def probabilities(self) -> NDArray[np.float64]:
        return _probabilities(self.forest, self.features, self.n_classes)

    def best(self, value: NDArray[np.float64]) -> NDArray[np.int64]:
        left = np.asarray(value, np.float64).copy()
        left[self.have] = -np.inf
        return np.argsort(-left, kind="stable")[: self.n]


def _random(ask: _Asking) -> NDArray[np.int64]:
    rest = np.setdiff1d(np.arange(len(ask.features)), ask.have)
    return np.random.default_rng(ask.seed).permutation(rest)[: ask.n]


def _bald(ask: _Asking) -> NDArray[np.int64]:
    trees = ask.forest.estimators_
    blocks = [trees[start::_MEMBERS] for start in range(_MEMBERS)]
    members = np.zeros((_MEMBERS, len(ask.features), ask.n_classes))
    features = ask.features.astype(np.float32)
    for member, block in zip(members, blocks, strict=True):
        for tree in block:
            member[:, ask.forest.classes_.astype(int)] += tree.predict_proba(features) / len(block)
    return ask.best(bald(members))


def _greedy(ask: _Asking) -> NDArray[np.int64]:
    """What the model is surest to be wanted: class 1 of two, the rarest of several."""
    rarest = np.bincount(ask.labels[ask.have], minlength=ask.n_classes).argmin()
    return ask.best(ask.probabilities()[:, 1 if ask.n_classes == 2 else rarest])


def _mixed(ask: _Asking) -> NDArray[np.int64]:
    return mixed_queue(
        probabilities=ask.probabilities(), features=ask.features, labelled=ask.have, n=ask.n, seed=ask.seed
    ).order


def _modal(ask: _Asking) -> NDArray[np.int64]:
    """The peer: modAL's learner and its sampling, with the same forest."""
    from modAL.models import ActiveLearner
    from modAL.uncertainty import uncertainty_sampling

    rest = np.setdiff1d(np.arange(len(ask.features)), ask.have)
    learner = ActiveLearner(ask.forest, uncertainty_sampling)  # it is fitted already
    place, *_ = learner.query(ask.features[rest], n_instances=ask.n)
    return rest[np.asarray(place).ravel()]


STRATEGIES: dict[str, Callable[[_Asking], NDArray[np.int64]]] = {
    "random": _random,
    "entropy": lambda ask: ask.best(entropy(ask.probabilities())),
    "margin": lambda ask: ask.best(margin(ask.probabilities())),
    "BALD": _bald,
    "core-set": lambda ask: core_set(ask.levelled, ask.have, ask.n, ask.seed),
    "greedy top score": _greedy,
    "mixed": _mixed,
    "modAL": _modal,
}


def budgets(most: int) -> list[int]:
    """Numbers of labels at which a model is made: in tens up to 100, then in steps of a fifth."""
    found = [*range(_START, 100, 10), 100]
    while found[-1] < most:
        found.append(min(found[-1] + max(20, found[-1] // 50 * 10), most))
    return [one for one in found if one <= most]


def curves(given: LabelledSet, strategies: Sequence[str], seed: int) -> dict[str, Curve]:
    """Play strategies through, from the same labels.

    Parameters
    ----------
    given : LabelledSet
    strategies : sequence of str
        Of `STRATEGIES`.
    seed : int
        Of the division, the starting labels, the forests and the strategies' own draws.
    """
    pool, test = _divided(given, seed)
    n_classes = len(given.classes)
    features, labels = given.features[pool], given.labels[pool]
    unseen, truth = given.features[test], given.labels[test]
    level = levelled(features, seed)
    assert level is not None  # no set is of constant features
    scored = partial(_scored, truth=truth, unseen=unseen, n_classes=n_classes)
    counts = [one for one in budgets(given.budget) if one <= len(pool)]
    start = _starting(labels, np.random.default_rng([seed, 1]))
    first = _fitted(features[start], labels[start], seed)
    final, at_start = scored(_fitted(features, labels, seed)), scored(first)
    found = {}
    for name in strategies:
        have, forest, reached = start, first, [at_start]
        for count in counts[1:]:
            ask = _Asking(
                features, level, labels, have, forest, n_classes, count - len(have), seed * _BEYOND + count
            )
            have = np.concatenate([have, STRATEGIES[name](ask)])
            forest = _fitted(features[have], labels[have], seed)
            reached.append(scored(forest))
        found[name] = Curve(np.array(counts), np.array(reached), final)
    return found


def _divided(given: LabelledSet, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pool and test part, groups undivided."""
    rng = np.random.default_rng([seed, 0])
    groups = rng.permutation(np.unique(given.groups))
    away = np.isin(given.groups, groups[: max(round(_TEST * len(groups)), 1)])
    order = rng.permutation(len(given.labels))
    return order[~away[order]][: given.pool], order[away[order]][: given.test]


def _starting(labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """Items by chance; where they are of one class only, the last is the first of another that follows."""
    order = rng.permutation(len(labels))
    have = order[:_START].copy()
    if len(np.unique(labels[have])) == 1:
        have[-1] = order[np.argmax(labels[order] != labels[have[0]])]
    return have


def _fitted(features: NDArray[np.float64], labels: NDArray[np.int64], seed: int) -> Any:
    from sklearn.ensemble import RandomForestClassifier

    return RandomForestClassifier(_TREES, n_jobs=1, random_state=seed).fit(features, labels)


def _probabilities(forest: Any, features: NDArray[np.float64], n_classes: int) -> NDArray[np.float64]:
    found = np.zeros((len(features), n_classes))
    found[:, forest.classes_] = forest.predict_proba(features)
    return found


def _scored(forest: Any, *, truth: NDArray[np.int64], unseen: NDArray[np.float64], n_classes: int) -> float:
    p = _probabilities(forest, unseen, n_classes)
    wanted = [1] if n_classes == 2 else range(n_classes)
    return float(np.mean([metrics.aucpr(truth == one, p[:, one]) for one in wanted]))
