"""One round of asking people: which sources to ask about, the questions, and what the answers changed.

Answers are read in `class_labels` and put into the data in `scope_set`; training is that of the task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.special import logit

from astrid.errors import DatasetError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import aucpr, interval
from astrid.learn.prediction import Predictor
from astrid.learn.task import Binary
from astrid.survey.class_labels import write_rows

__all__ = ["Change", "Chosen", "changes", "choose", "probabilities_of", "questions", "thresholds_of"]

_BATCH = 512
_AT_ISSUE = (0.1, 0.9)  # a class whose probability is between these is asked about too
_POOL = 10  # diverse sources are sought among so many times as many of the most uncertain


@dataclass(frozen=True, eq=False)
class Chosen:
    """Sources to ask about.

    Parameters
    ----------
    rows : (m,) int64 ndarray
    reason : tuple of str
        ``uncertain``, ``diverse`` or ``random``.
    column : (m,) int64 ndarray
        The class that a source was chosen for; -1 for random ones.
    """

    rows: NDArray[np.int64]
    reason: tuple[str, ...]
    column: NDArray[np.int64]


@dataclass(frozen=True)
class Change:
    """What became of one class between two models.

    Parameters
    ----------
    code : str
    n_positive : int
        Sources of the class among those that both were measured on.
    before, after : float
        Areas under precision against recall.
    gain, low, high : float
        Their difference with its 95 % interval, from drawing stars.
    turned : int
        Sources about which the decision is another.
    """

    code: str
    n_positive: int
    before: float
    after: float
    gain: float
    low: float
    high: float
    turned: int


def choose(
    probabilities: NDArray[np.floating],
    thresholds: NDArray[np.floating],
    places: NDArray[np.floating],
    n: int,
    *,
    random: float = 0.15,
    diverse: float = 0.15,
    seed: int = 0,
) -> Chosen:
    """Choose sources to ask about.

    Each class in turn names the source about which it is least certain: whose probability is nearest to the
    threshold, in logits. So rare classes are asked about as often as frequent ones. Diverse sources are
    those farthest from all that were chosen, among the most uncertain. Random ones are drawn from all: only
    they show what no model doubts and yet is wrong.

    Parameters
    ----------
    probabilities : (n, k) ndarray
    thresholds : (k,) ndarray
    places : (n, d) ndarray
        Where sources lie among each other, such as their features.
    n : int
    random, diverse : float
        Shares.
    seed : int

    Returns
    -------
    Chosen

    Raises
    ------
    UsageError
        More sources are asked for than there are, or the shares are not between 0 and 1.
    """
    total = len(probabilities)
    if not 0 < n <= total:
        raise UsageError(f"{n} sources were asked for and there are {total}; ask for fewer, and at least one")
    if min(random, diverse) < 0 or random + diverse > 1:
        raise UsageError(f"the shares are {random} and {diverse}; give at most 1 in all")
    rng = np.random.default_rng(seed)
    n_random, n_diverse = round(random * n), round(diverse * n)
    edge = np.float64(1e-6)
    given = logit(np.clip(np.asarray(probabilities, np.float64), edge, 1 - edge))
    distance = np.abs(given - logit(np.clip(np.asarray(thresholds, np.float64), edge, 1 - edge)))
    order = np.argsort(distance, axis=0, kind="stable")
    rows: list[int] = []
    reason: list[str] = []
    column: list[int] = []
    taken = np.zeros(total, bool)
    place = np.zeros(distance.shape[1], int)
    turn = 0
    while len(rows) < n - n_random - n_diverse:
        k = turn % len(place)
        turn += 1
        while place[k] < total and taken[order[place[k], k]]:
            place[k] += 1
        if place[k] < total:
            row = int(order[place[k], k])
            taken[row] = True
            rows.append(row)
            reason.append("uncertain")
            column.append(k)
    nearest = distance.min(axis=1)
    for row in _far_apart(places, rows, nearest, taken, n_diverse, rng):
        taken[row] = True
        rows.append(row)
        reason.append("diverse")
        column.append(int(distance[row].argmin()))
    rest = rng.permutation(np.flatnonzero(~taken))[: n - len(rows)].tolist()
    rows += rest
    reason += ["random"] * len(rest)
    column += [-1] * len(rest)
    return Chosen(np.array(rows, np.int64), tuple(reason), np.array(column, np.int64))


def _far_apart(
    places: NDArray[np.floating],
    rows: Sequence[int],
    nearest: NDArray[np.float64],
    taken: NDArray[np.bool_],
    n: int,
    rng: np.random.Generator,
) -> list[int]:
    """Sources farthest from all others that are chosen, one after the other (Sener and Savarese 2018)."""
    free = np.flatnonzero(~taken)
    pool = free[np.argsort(nearest[free], kind="stable")][: _POOL * n]
    if not len(pool) or not n:
        return []
    values = np.asarray(places, np.float64)
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    away = np.full(len(pool), np.inf)
    for row in rows or [int(rng.choice(pool))]:
        away = np.minimum(away, ((scaled[pool] - scaled[row]) ** 2).sum(axis=1))
    found = []
    for _ in range(min(n, len(pool))):
        best = int(away.argmax())
        found.append(int(pool[best]))
        away = np.minimum(away, ((scaled[pool] - scaled[pool[best]]) ** 2).sum(axis=1))
        away[best] = -1.0
    return found


def thresholds_of(bundle: Bundle) -> dict[str, float]:
    """Where each class of a bundle is decided, by its card."""
    return {
        code: 0.5 if (found := bundle.card.head(code).decision) is None else found.threshold
        for code, head in bundle.task.heads.items()
        if isinstance(head, Binary)
    }


def probabilities_of(
    predictor: Predictor,
    dataset: Dataset,
    rows: NDArray[np.int64],
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """Probability of each class for some rows of a data set.

    Raises
    ------
    PredictionError
        The data set does not fit.
    """
    predictor.check(dataset)
    codes = tuple(thresholds_of(predictor.bundle))
    parts: dict[str, list[NDArray[np.float32]]] = {code: [np.zeros(0, np.float32)] for code in codes}
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        arrays = {name: dataset.take(name, part) for name in predictor.bundle.task.inputs}
        found = predictor.probabilities(arrays)
        for code in codes:
            parts[code].append(found[code][:, 0])
        if on_progress is not None:
            on_progress(start + len(part), len(rows))
    return {code: np.concatenate(some).astype(np.float64) for code, some in parts.items()}


def questions(
    bundle: Bundle,
    dataset: Dataset,
    out: str | Path,
    n: int,
    *,
    random: float = 0.15,
    diverse: float = 0.15,
    page: str = "",
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the questions of a round as a table that is to be filled in.

    One row is one question, about one class of one source: ``id``, ``class``, and the empty columns
    ``value``, ``who`` and ``when``; then ``reason``, ``probability``, ``threshold``, ``page``, ``bundle`` and
    ``hash``. Of each source all classes are asked about whose probability is between 0.1 and 0.9, and the one
    that it was chosen for. Sources of the test part are not asked about, nor those that people labelled.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
        As `scope_set` makes it.
    out : str or Path
        ``.csv`` or ``.parquet``.
    n : int
        Sources.
    random, diverse : float
        Shares; see `choose`.
    page : str
        Where a source can be seen, with ``{id}`` for its name.
    seed : int
    on_progress : callable, optional

    Returns
    -------
    counts : dict
        Sources, questions, and questions of each class.

    Raises
    ------
    DatasetError, PredictionError
        The data set has no parts, or does not fit the bundle.
    UsageError
        `page` has no ``{id}``, another ending of `out`, or more sources are asked for than there are.
    OutputError
        `out` cannot be written.
    """
    if page and "{id}" not in page:
        raise UsageError(f"the page {page!r} has no {{id}}; write it as pages/{{id}}.html")
    open_ = (dataset.column("part") != "test") & (dataset.column("labelled_by") == "")
    rows = np.flatnonzero(open_)
    found = probabilities_of(Predictor(bundle), dataset, rows, on_progress)
    codes, limits = tuple(found), thresholds_of(bundle)
    table = np.stack([found[code] for code in codes], axis=1)
    places = dataset.take("features", rows)
    limit = np.array([limits[code] for code in codes])
    chosen = choose(table, limit, places, n, random=random, diverse=diverse, seed=seed)
    ids = dataset.column("id")
    asked: list[dict[str, Any]] = []
    for row, reason, column in zip(chosen.rows, chosen.reason, chosen.column, strict=True):
        p = table[row]
        some = set(np.flatnonzero((p > _AT_ISSUE[0]) & (p < _AT_ISSUE[1])).tolist())
        some.add(int(column) if column >= 0 else int(p.argmax()))
        name = str(ids[rows[row]])
        asked += [
            {
                "id": name, "class": codes[k], "value": None, "who": None, "when": None, "reason": reason,
                "probability": float(p[k]), "threshold": float(limit[k]),
                "page": page.replace("{id}", name), "bundle": bundle.name, "hash": bundle.hash,
            }
            for k in sorted(some)
        ]  # fmt: skip
    text = ("id", "class", "who", "when", "reason", "page", "bundle", "hash")
    schema = pa.schema([(name, pa.string() if name in text else pa.float64()) for name in asked[0]])
    write_rows(out, pa.Table.from_pylist(asked, schema=schema))
    of_class = {code: sum(1 for one in asked if one["class"] == code) for code in codes}
    return {"out": str(out), "sources": n, "questions": len(asked), "classes": of_class}


def changes(
    before: Bundle,
    after: Bundle,
    dataset: Dataset,
    *,
    resamples: int = 200,
    seed: int = 0,
) -> tuple[Change, ...]:
    """What two models say of the test part, class by class.

    The test part is drawn at random by the names of the stars, and neither model saw it; the labels are
    those of `dataset` for both.

    Parameters
    ----------
    before, after : Bundle
    dataset : Dataset
        As `scope_set` makes it.
    resamples, seed : int
        Of the intervals.

    Returns
    -------
    changes : tuple of Change
        Of the classes that both know and that the test part has with yes and no.

    Raises
    ------
    DatasetError
        There is no test part.
    """
    rows = np.flatnonzero(dataset.column("part") == "test")
    if not len(rows):
        raise DatasetError(f"{dataset.path}: no row is of the test part; make the data set again")
    said = [probabilities_of(Predictor(one), dataset, rows) for one in (before, after)]
    limits = [thresholds_of(one) for one in (before, after)]
    groups = dataset.groups()[rows]
    found = []
    for code in said[0]:
        if code not in said[1]:
            continue
        truth = dataset.column(code)[rows]
        known = np.isfinite(truth)
        yes = truth[known] >= 0.5
        if not yes.any() or yes.all():
            continue
        p, q = (one[code][known] for one in said)
        turned = int(((p >= limits[0][code]) != (q >= limits[1][code])).sum())
        found.append(_change(code, yes, p, q, groups[known], turned, resamples, seed))
    return tuple(found)


def _change(
    code: str,
    yes: NDArray[np.bool_],
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    groups: NDArray[Any],
    turned: int,
    resamples: int,
    seed: int,
) -> Change:
    def gain(truth: NDArray[np.bool_], p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
        return aucpr(truth, q) - aucpr(truth, p)

    low, high = interval(gain, yes, before, after, groups=groups, n=resamples, seed=seed)
    first, second = aucpr(yes, before), aucpr(yes, after)
    return Change(
        code=code,
        n_positive=int(yes.sum()),
        before=first,
        after=second,
        gain=second - first,
        low=np.nan if low is None else low,
        high=np.nan if high is None else high,
        turned=turned,
    )
