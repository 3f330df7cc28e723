"""What a night amounted to, in numbers: counts, rates, scores, passes and what could not be used.

One pass over the rows of the night, in memory that does not grow with them; pages are made in `nightly`,
and nights are compared in `drift`.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.alerts import Quarantine
from astrid.errors import StoreError
from astrid.stream.sample import models, probabilities
from astrid.stream.turns import reason_kind

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.records import BatchRecord
    from astrid.store.store import Store

__all__ = ["BINS", "Candidate", "Digest", "Histogram", "Refused", "digest_night"]

BINS = 40
"""Of the histograms of scores, from 0 to 1."""

_COLUMNS = (
    "survey", "alert_id", "object_id", "night", "band", "ra", "dec", "mjd", "magpsf", "sigmapsf", "snr",
    "positive", "image_problem", "arrived",
)  # fmt: skip
_STEP = 600.0  # s: of the counts over a night
_DAY, _EPOCH = 86400.0, 40587.0  # s, and MJD of 1970
_EXAMPLES = 3


@dataclass(frozen=True)
class Candidate:
    """An alert that is worth looking at first.

    Parameters
    ----------
    survey, alert_id : str
    facts : mapping
        The columns of its row that are read here, scores included.
    filters : tuple of str
        That it has passed.
    """

    survey: str
    alert_id: str
    facts: Mapping[str, Any]
    filters: tuple[str, ...]


@dataclass
class Histogram:
    """Scores of one bundle.

    Parameters
    ----------
    counts : (BINS,) int64 ndarray
        Equal bins from 0 to 1.
    n : int
        Alerts with a score.
    unlike : int
        Those of them to which the bundle does not apply.
    decisions : Counter
        By label.
    sets : Counter
        By conformal set.
    hashes : set of str
    """

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(BINS, np.int64))
    n: int = 0
    unlike: int = 0
    decisions: Counter[str] = field(default_factory=Counter)
    sets: Counter[str] = field(default_factory=Counter)
    hashes: set[str] = field(default_factory=set)

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "n": self.n, "n_not_applicable": self.unlike, "decisions": dict(self.decisions.most_common()),
            "sets": dict(self.sets.most_common()), "hashes": sorted(self.hashes),
            "histogram": self.counts.tolist(),
        }  # fmt: skip


@dataclass(frozen=True)
class Refused:
    """Packets in quarantine for one kind of reason.

    Parameters
    ----------
    kind : str
        The reason, without its numbers.
    n : int
    examples : tuple of str
        Names of packets, each with its reason in full.
    """

    kind: str
    n: int
    examples: tuple[tuple[str, str], ...]


@dataclass
class Digest:
    """One night.

    Parameters
    ----------
    night : str
    surveys, bands : Counter
        Alerts; bands by survey and band.
    without_images : Counter
        By kind of reason.
    observed, arrived : dict of str to Counter
        Alerts of each survey by the start of the ten minutes, s since 1970.
    scores : dict of str to Histogram
        By the column of the probability.
    passes : dict of str to Counter
        Of each filter, the states of what passed it.
    filters : tuple of str
        All that were asked.
    top : tuple of Candidate
    n_quarantined : int
        As the batches of the night have counted them.
    refused : tuple of Refused
        Those that are still in quarantine.
    batches : tuple of BatchRecord
        That have brought alerts of this night.
    """

    night: str
    surveys: Counter[str] = field(default_factory=Counter)
    bands: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_images: Counter[str] = field(default_factory=Counter)
    observed: dict[str, Counter[float]] = field(default_factory=dict)
    arrived: dict[str, Counter[float]] = field(default_factory=dict)
    scores: dict[str, Histogram] = field(default_factory=dict)
    passes: dict[str, Counter[str]] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    top: tuple[Candidate, ...] = ()
    n_quarantined: int = 0
    refused: tuple[Refused, ...] = ()
    batches: tuple[BatchRecord, ...] = ()

    @property
    def n(self) -> int:
        """Alerts."""
        return self.surveys.total()

    def latency(self, share: int) -> float | None:
        """Milliseconds from arrival to the store, median of all batches (50) or the worst (99)."""
        known = [getattr(one, f"latency_p{share}") for one in self.batches]
        known = [value for value in known if value is not None]
        if not known:
            return None
        return float(np.median(known)) if share == 50 else float(max(known))

    @property
    def peak_rate(self) -> float | None:
        """Alerts a second in the busiest ten minutes of arrival; None where these are not known."""
        total: Counter[float] = Counter()
        for counts in self.arrived.values():
            total.update(counts)
        return max(total.values()) / _STEP if total else None

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""

        def series(counts: Mapping[str, Counter[float]]) -> dict[str, list[tuple[str, int]]]:
            return {
                survey: [(datetime.fromtimestamp(at, UTC).isoformat(), n) for at, n in sorted(found.items())]
                for survey, found in counts.items()
            }

        return {
            "night": self.night, "n": self.n, "surveys": dict(self.surveys.most_common()),
            "bands": [
                {"survey": survey, "band": band, "n": n} for (survey, band), n in sorted(self.bands.items())
            ],
            "without_images": dict(self.without_images.most_common()),
            "n_quarantined": self.n_quarantined,
            "quarantined": [
                {"reason": one.kind, "n": one.n, "examples": [list(pair) for pair in one.examples]}
                for one in self.refused
            ],
            "scores": {name: one.as_dict() for name, one in self.scores.items()},
            "filters": {name: dict(self.passes.get(name, {})) for name in self.filters},
            "top": [
                {**one.facts, "filters": list(one.filters)} for one in self.top
            ],
            "latency_ms": {"p50": self.latency(50), "p99": self.latency(99)},
            "peak_rate": self.peak_rate,
            "observed": series(self.observed), "arrived": series(self.arrived),
            "n_batches": len(self.batches),
        }  # fmt: skip


def digest_night(
    store: Store, night: str, *, top: int = 24, on_progress: Callable[[int, int], None] | None = None
) -> Digest:
    """What a night amounted to.

    Parameters
    ----------
    store : Store
    night : str
        ``YYYY-MM-DD``.
    top : int
        Alerts to be looked at first: those that passed a filter before the others, then by the
        probability of the first bundle and the signal-to-noise ratio; of an object the best.
    on_progress : callable, optional
        Told how many alerts are read, and of how many.

    Raises
    ------
    StoreError
        The store has no such night.
    """
    total = dict(store.counts().nights).get(night, 0)
    if not total:
        raise StoreError(f"the store has no alerts of the night {night!r}; give one that it has")
    found = Digest(night)
    passed: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for one in store.passes():
        passed.setdefault((one.survey, one.alert_id), []).append((one.filter, one.state))
    best = _Best(top)
    batches: set[int] = set()
    first = next(store.history(since=night, until=night), None)
    names = [] if first is None else first.column_names
    columns = [name for name in names if name in _COLUMNS or _of_models(names, name)]
    done = 0
    for table in store.history(since=night, until=night, columns=columns):
        _count(found, table)
        batches.update(table["batch"].unique().to_pylist())
        keys = list(zip(table["survey"].to_pylist(), table["alert_id"].to_pylist(), strict=True))
        filters: dict[int, tuple[str, ...]] = {}
        for row, key in enumerate(keys):
            for name, state in passed.get(key, ()):
                found.passes.setdefault(name, Counter())[state] += 1
                filters[row] = (*filters.get(row, ()), name)
        best.add(table, filters)
        done += len(table)
        if on_progress is not None:
            on_progress(done, total)
    found.top = best.chosen()
    found.batches = tuple(one for one in store.batches() if one.id in batches)
    asked = {name for one in found.batches for name in one.filters}
    found.filters = tuple(sorted(asked | set(found.passes)))
    found.n_quarantined = sum(one.n_quarantined for one in found.batches)
    found.refused = _refused(store, found.batches)
    return found


def _of_models(names: Sequence[str], name: str) -> bool:
    ends = ("", "_decision", "_set", "_applicable", "_hash")
    own = {f"{one}{end}" for model in models(names) for one in (model,) for end in ends}
    return name in own or any(name in probabilities(names, model) for model in models(names))


def _count(found: Digest, table: pa.Table) -> None:
    """Add the rows of a table to the counts."""
    names = table.column_names
    for group in table.group_by(["survey", "band"]).aggregate([([], "count_all")]).to_pylist():
        found.surveys[group["survey"]] += group["count_all"]
        found.bands[group["survey"], group["band"] or "–"] += group["count_all"]
    if "image_problem" in names:
        for problem in table["image_problem"].drop_null().to_pylist():
            if problem:
                found.without_images[reason_kind(problem)] += 1
    surveys = np.array(table["survey"].to_pylist(), object)
    for series, seconds in (
        (found.observed, (_numbers(table, "mjd") - _EPOCH) * _DAY), (found.arrived, _seconds(table)),
    ):  # fmt: skip
        for survey in dict.fromkeys(surveys.tolist()):
            steps = np.floor(seconds[(surveys == survey) & np.isfinite(seconds)] / _STEP) * _STEP
            at, n = np.unique(steps, return_counts=True)
            series.setdefault(survey, Counter()).update(dict(zip(at.tolist(), n.tolist(), strict=True)))
    for model in models(names):
        for name in probabilities(names, model):
            values = _numbers(table, name)
            values = values[np.isfinite(values)]
            one = found.scores.setdefault(name, Histogram())
            one.counts += np.histogram(values.clip(0, 1), BINS, (0, 1))[0]
            one.n += len(values)
            one.hashes.update(text for text in table[f"{model}_hash"].unique().to_pylist() if text)
            for column, counter in ((f"{model}_decision", one.decisions), (f"{model}_set", one.sets)):
                if column in names:
                    counter.update(text for text in table[column].drop_null().to_pylist() if text)
            if f"{model}_applicable" in names:
                one.unlike += sum(bool(text) for text in table[f"{model}_applicable"].to_pylist())


def _numbers(table: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    return np.asarray(table[name].cast("float64").to_numpy(), np.float64)


def _seconds(table: pa.Table) -> NDArray[np.float64]:
    """When each alert came, s since 1970; NaN where that is not known."""
    if "arrived" not in table.column_names:
        return np.full(len(table), np.nan)
    import pyarrow as pa

    stamps = table["arrived"].cast(pa.timestamp("us", "UTC")).cast("int64")
    return np.asarray(stamps.cast("float64").to_numpy(), np.float64) / 1e6


class _Best:
    """The best alerts so far, of each object the best."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: dict[str, tuple[tuple[float, ...], Candidate]] = {}

    def add(self, table: pa.Table, filters: Mapping[int, tuple[str, ...]]) -> None:
        scored = [model for model in models(table.column_names) if model in table.column_names]
        score = _numbers(table, scored[0]) if scored else np.full(len(table), np.nan)
        snr = _numbers(table, "snr")
        passed = np.isin(np.arange(len(table)), list(filters)).astype(float)
        ranks = np.nan_to_num(np.stack([passed, score, snr]), nan=-1)
        # several alerts of one object may be among the best: more are looked at than are kept
        for row in np.lexsort(ranks[::-1])[::-1][: 8 * self._most].tolist():
            facts = table.slice(row, 1).to_pylist()[0]
            rank = tuple(ranks[:, row].tolist())
            key = f"{facts['survey']} {facts['object_id'] or facts['alert_id']}"
            if key not in self._kept or rank > self._kept[key][0]:
                one = Candidate(facts["survey"], facts["alert_id"], facts, filters.get(row, ()))
                self._kept[key] = (rank, one)
        kept = heapq.nlargest(8 * self._most, self._kept.items(), key=lambda item: item[1][0])
        self._kept = dict(kept)

    def chosen(self) -> tuple[Candidate, ...]:
        return tuple(
            one for _, one in heapq.nlargest(self._most, self._kept.values(), key=lambda item: item[0])
        )


def _refused(store: Store, batches: Sequence[BatchRecord]) -> tuple[Refused, ...]:
    """What the workers set aside while they took in the night."""
    if not batches:
        return ()
    begin = min(one.committed if one.started is None else one.started for one in batches) - 1
    end = max(one.committed for one in batches) + 1
    kinds: dict[str, list[tuple[str, str]]] = {}
    for one in Quarantine(store.folder / "quarantine").entries():
        if "since" in one and begin <= datetime.fromisoformat(one["since"]).timestamp() <= end:
            reason = str(one.get("reason", ""))
            kinds.setdefault(reason_kind(reason), []).append((str(one.get("name", "")), reason))
    found = [Refused(kind, len(pairs), tuple(pairs[:_EXAMPLES])) for kind, pairs in kinds.items()]
    return tuple(sorted(found, key=lambda one: (-one.n, one.kind)))
