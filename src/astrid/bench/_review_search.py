"""Looking for what nobody has labelled: one class is left out, and its place in the queue is followed.

Nothing of the class is known at first; whoever looks finds supernovae interesting and all else not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from astrid.bench._review_data import LabelledSet, snad, snad_tags, transients
from astrid.bench.frame import Row
from astrid.learn.interest import expected_interest
from astrid.learn.mixing import Shares, levelled, mixed_queue
from astrid.learn.queries import novelty

__all__ = ["search_rows"]

_SUPERNOVAE = {"SN", "SNIa", "CCSN", "SLSN"}
_SHARE = 0.1  # of supernovae among the transients: they are rarer than in that list
_LOOKED = (0, 20, 50, 100)
_BATCH = 10
_START = 20  # typical items, before interest is asked for
_RATING = 5.0
_SHARES = Shares(uncertain=0, novel=0, random=0.1, interest=0.9)


def search_rows(root: Path, seeds: range, say: Callable[[str], None]) -> list[Row]:
    """All rows about the search for supernovae.

    Parameters
    ----------
    root : Path
        The real data.
    seeds : range
    say : callable
    """
    rows: list[Row] = []
    features, tags = root / "review" / "snad_ztf_features.csv.gz", root / "review" / "snad_ztf_tags.json.gz"
    if features.exists() and tags.exists():
        say("supernovae among the objects of SNAD")
        known = snad_tags(tags)
        given = snad(features)
        rare = np.array([bool(_SUPERNOVAE & set(known.get(str(one), ()))) for one in given.groups])
        rows += _rows("SNAD, supernovae left out", [(given.features, rare)] * len(seeds), seeds)
    if (root / "radio" / "crts_features.parquet").exists():
        say("supernovae among the transients of CRTS")
        given = transients(root / "radio" / "crts_features.parquet")
        parts = [_thinned(given, seed) for seed in seeds]
        rows += _rows("CRTS, supernovae left out", [(one.features, one.labels == 1) for one in parts], seeds)
    return rows


def _thinned(given: LabelledSet, seed: int) -> LabelledSet:
    """As many supernovae, drawn by chance, as make the wanted share."""
    wanted, rest = (np.flatnonzero(given.labels == one) for one in (1, 0))
    n = round(len(rest) * _SHARE / (1 - _SHARE))
    kept = np.sort(np.concatenate([np.random.default_rng(seed).permutation(wanted)[:n], rest]))
    return replace(given, features=given.features[kept], labels=given.labels[kept], groups=given.groups[kept])


def _rows(name: str, sets: list[tuple[NDArray[np.float64], NDArray[np.bool_]]], seeds: range) -> list[Row]:
    places = [_places(features, rare, seed) for (features, rare), seed in zip(sets, seeds, strict=True)]
    n, k = len(sets[0][1]), int(sets[0][1].sum())
    what = f"{name} ({k} of {n})"
    rows = []
    for kind in ("knn", "isolation_forest", "lof"):
        ranks = [
            _median_rank(novelty(features, None, kind, seed), rare, np.zeros(len(rare), bool))
            for (features, rare), seed in zip(sets, seeds, strict=True)
        ]  # fmt: skip
        rows.append(
            Row(
                f"{what}: median place by {kind} alone, share of the queue",
                float(np.mean(ranks)),
                "",
                "real",
                k,
            )
        )
    for column, looked in enumerate(_LOOKED):
        rank, found, first = (float(np.mean([one[column][j] for one in places])) for j in range(3))
        after = "by blind novelty" if looked == 0 else f"after {looked} labels"
        rows.append(Row(f"{what}: median place {after}, share of the queue", rank, "", "real", k))
        rows.append(Row(f"{what}: place of the first one {after}", first, "", "real", k))
        if looked:
            by_chance = looked * k / n
            row = Row(f"{what}: found {after}", found, "", "real", k)
            rows.append(row.beside("by chance", by_chance))
    return rows


def _places(
    features: NDArray[np.float64], rare: NDArray[np.bool_], seed: int
) -> list[tuple[float, float, float]]:
    """Before and after each number of labels: median place of those left, those found, the first place."""
    values = levelled(features, seed)
    assert values is not None
    value = novelty(features, None, "isolation_forest", seed)
    seen = np.zeros(len(rare), bool)
    order = np.empty(0, np.int64)
    result = []
    for looked in range(0, max(_LOOKED) + 1, _BATCH):
        if looked:
            asked = mixed_queue(
                probabilities=None, features=features, labelled=order, n=_BATCH, seed=seed * 1000 + looked,
                shares=_SHARES, start=_START, ratings=_RATING * rare[order],
            )  # fmt: skip
            order = np.concatenate([order, asked.order])
            seen[asked.order] = True
            value = expected_interest(values, order, _RATING * rare[order], seed=seed)
        if looked in _LOOKED:
            first = rankdata(-value[~seen])[rare[~seen]].min(initial=len(rare))
            result.append((_median_rank(value, rare, seen), float(rare[seen].sum()), float(first)))
    return result


def _median_rank(value: NDArray[np.float64], rare: NDArray[np.bool_], seen: NDArray[np.bool_]) -> float:
    """Median place of those that were not yet seen, as a share of what is left."""
    left = ~seen
    if not (rare & left).any():
        return 0.0
    return float(np.median(rankdata(-value[left])[rare[left]])) / int(left.sum())
