"""Whether the alerts of a night, and what the models say about them, are like those of earlier nights.

One verdict a night: ok, watch (look when there is time) or act (do not trust the scores until somebody
has looked), each reason in a sentence. What moved is found in `comparison`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrid.errors import DependencyError, StoreError
from astrid.stream.comparison import (
    ACT,
    LEAST,
    NIGHTS,
    SURE,
    WATCH,
    Comparison,
    Level,
    Rows,
    comparisons,
)  # fmt: skip
from astrid.stream.coverage import Coverage, promised_coverage, realised_coverage
from astrid.stream.sample import Sample, models, probabilities, wanted

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.store import Store

__all__ = [
    "Coverage",
    "Drift",
    "changes_of_scores",
    "compare",
    "drift_of",
    "night_drift",
    "read_night",
    "read_sample",
]

_FEWER = 3.0  # times fewer or more alerts than in any night of the reference
_SAID = 8  # reasons in full
_REFERENCE = 10  # nights


@dataclass(frozen=True)
class Drift:
    """One night beside its reference.

    Parameters
    ----------
    night : str
    nights : tuple of str
        Of the reference.
    verdict : {"ok", "watch", "act"}
    reasons : tuple of str
        A sentence each; also why nothing could be compared.
    n, n_reference : int
        Alerts.
    comparisons : tuple of Comparison
    coverage : tuple of Coverage
        Empty where nobody has given labels.
    changes : dict of str to list of int or None
        Where in the night the scores of each model changed, as ADWIN finds it: the number of the alert
        among those looked at. None if it was not asked.
    hashes : dict of str to tuple of str
        Of the models of the night.
    """

    night: str
    nights: tuple[str, ...]
    verdict: Level
    reasons: tuple[str, ...]
    n: int
    n_reference: int
    comparisons: tuple[Comparison, ...]
    coverage: tuple[Coverage, ...]
    changes: dict[str, list[int]] | None
    hashes: dict[str, tuple[str, ...]]

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values; realised coverage is null where nobody has given labels."""
        facts = {
            name: getattr(self, name)
            for name in ("night", "verdict", "reasons", "n", "n_reference", "nights", "changes", "hashes")
        }
        facts["thresholds"] = {"watch": WATCH, "act": ACT, "p": SURE, "least": LEAST}
        facts["comparisons"] = [one.as_dict() for one in self.comparisons]
        facts["coverage"] = [one.as_dict() for one in self.coverage] or None
        return facts


def night_drift(
    store: Store,
    night: str,
    *,
    since: str | None = None,
    until: str | None = None,
    labels: Mapping[tuple[str, str], str] | None = None,
    adwin: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Drift:
    """Compare a night of the store with earlier ones; the arguments are those of `read_night`.

    Parameters
    ----------
    adwin : bool
        Also look for changes within the night.

    Raises
    ------
    StoreError
        The store has no such night.
    DependencyError
        ADWIN was asked for, and river is not installed.
    """
    samples = read_night(store, night, since=since, until=until, labels=labels, on_progress=on_progress)
    return drift_of(night, samples, adwin=adwin)


def drift_of(night: str, samples: tuple[Sample, Sample], *, adwin: bool = False) -> Drift:
    """Compare what `read_night` has read; the coverage that models promise is read from their cards."""
    sample, reference = samples
    return compare(night, sample, reference, promised=promised_coverage(sample.hashes), adwin=adwin)


def read_night(
    store: Store,
    night: str,
    *,
    since: str | None = None,
    until: str | None = None,
    labels: Mapping[tuple[str, str], str] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Sample, Sample]:
    """A night of the store, and its reference.

    Parameters
    ----------
    store : Store
    night : str
        ``YYYY-MM-DD``.
    since, until : str, optional
        First and last night of the reference; the ten nights before this one that have alerts, if not
        given.
    labels : mapping of (str, str) to str, optional
        True labels by survey and number of the alert, for the coverage of the conformal sets.
    on_progress : callable, optional
        Told how many alerts are read, and of how many.

    Raises
    ------
    StoreError
        The store has no such night.
    """
    counts = dict(store.counts().nights)
    if night not in counts:
        known = f"the last one is {max(counts)}" if counts else "it has none"
        raise StoreError(f"the store has no alerts of the night {night!r} ({known}); give one that it has")
    if since is None and until is None:
        nights = sorted(one for one in counts if "" < one < night)[-_REFERENCE:]
    else:
        first, last = since or "0", until or "9"
        nights = sorted(one for one in counts if one != night and first <= one <= last)
    total = sum(counts[one] for one in (*nights, night))
    done = 0

    def tell(n: int) -> None:
        nonlocal done
        done += n
        if on_progress is not None:
            on_progress(done, total)

    sample = read_sample(store, (night,), labels=labels, on_rows=tell)
    return sample, read_sample(store, nights, on_rows=tell)


def read_sample(
    store: Store,
    nights: Sequence[str],
    *,
    labels: Mapping[tuple[str, str], str] | None = None,
    on_rows: Callable[[int], None] | None = None,
) -> Sample:
    """What drift is measured on, of some nights of a store.

    Parameters
    ----------
    store : Store
    nights : sequence of str
    labels : mapping of (str, str) to str, optional
    on_rows : callable, optional
        Told how many rows came.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    sample = Sample(labels=labels)
    if not nights:
        return sample
    since, until = min(nights), max(nights)
    # the first rows tell which columns there are; histories and the like are then not read
    first = next(store.history(since=until, until=until), None)
    columns = None if first is None else wanted(first.column_names)
    wanted_nights = pa.array(sorted(set(nights)), pa.string())
    for table in store.history(since=since, until=until, columns=columns):
        rows = table.filter(pc.is_in(table["night"], wanted_nights))
        sample.add(rows)
        if on_rows is not None:
            on_rows(len(rows))
    return sample


def compare(
    night: str,
    sample: Sample,
    reference: Sample,
    *,
    promised: Mapping[tuple[str, str], float] | None = None,
    adwin: bool = False,
    whole: bool = True,
) -> Drift:
    """Compare a night with its reference.

    Parameters
    ----------
    night : str
    sample, reference : Sample
    promised : mapping of (str, str) to float, optional
        Coverage of the conformal sets that a model promises for a label.
    adwin : bool
        Also look for changes within the night.
    whole : bool
        The night is over, so that the number of its alerts means something.

    Raises
    ------
    DependencyError
        ADWIN was asked for, and river is not installed.

    Notes
    -----
    A quantity raises ``watch`` or ``act`` if its index, free of bias, reaches 0.1 or 0.25, *and* the
    p-value of its own test, corrected for all tests of the night (Benjamini & Hochberg 1995), is below
    0.01, *and* the index is 3 or 5 times what the nights of the reference differ by among themselves.
    What comes in the packets alone, and a single chip, raise no more than ``watch``.

    References
    ----------
    Benjamini & Hochberg 1995, Journal of the Royal Statistical Society B 57, 289; Yurdakul & Naranjo
    2020, Journal of Risk Model Validation 14(4), 89.
    """
    table, other = sample.table, reference.table
    found = [] if table is None or other is None else comparisons(table, other)
    coverage = realised_coverage(sample.covered, promised or {})
    changes = None if table is None or not adwin else changes_of_scores(table)
    reasons = [*_reasons(found), *_reasons_of_coverage(coverage), *_reasons_of_changes(changes)]
    if whole:
        reasons += _reasons_of_counts(night, sample.counts, reference.counts)
    levels = {level for level, _ in reasons}
    verdict: Level = "act" if "act" in levels else "watch" if "watch" in levels else "ok"
    said = [sentence for level in ("act", "watch") for one, sentence in reasons if one == level]
    if len(said) > _SAID:
        said = [*said[:_SAID], f"{len(said) - _SAID} more reasons stand in the table."]
    if not found:
        said.append(
            f"Nothing could be compared: the night has {len(sample):,} alerts and the reference "
            f"{len(reference):,}, and both need {LEAST} in some survey."
        )
    return Drift(
        night, tuple(sorted({one for one, _ in reference.counts})), verdict, tuple(said), len(sample),
        len(reference), tuple(found), coverage, changes,
        {model: tuple(sorted(hashes)) for model, hashes in sample.hashes.items()},
    )  # fmt: skip


def _reasons(found: Sequence[Comparison]) -> list[tuple[Level, str]]:
    """A sentence for each quantity of a survey that moved, with the part where it moved most."""
    whole = {(one.survey, one.band, one.quantity) for one in found if not one.chip and one.level != "ok"}
    moved: dict[tuple[Level, str, str, bool], list[Comparison]] = {}
    for one in found:
        # that a chip has moved with its whole band is nothing of its own
        own = one.chip is None or (one.survey, one.band, one.quantity) not in whole
        if one.level != "ok" and own:
            moved.setdefault((one.level, one.survey, one.quantity, one.chip is None), []).append(one)
    return [(level, _sentence(parts)) for (level, *_), parts in moved.items()]


def _sentence(parts: Sequence[Comparison]) -> str:
    worst = max(parts, key=lambda one: one.shift.psi)
    shift = worst.shift
    form = "{:.1%}" if worst.is_share else "{:.3g}"
    change = f"{form.format(shift.centre_reference)} → {form.format(shift.centre)}".replace("-", "−")
    others = f" (and in {len(parts) - 1} more)" if len(parts) > 1 else ""
    return (
        f"{worst.quantity} has moved in {worst.where}{others}: {'share' if worst.is_share else 'median'} "
        f"{change}, stability index {shift.psi:.2f} (limit {worst.limits[worst.level]:.2f}), {shift.n:,} "
        f"alerts against {shift.n_reference:,}."
    )


def _reasons_of_coverage(coverage: Sequence[Coverage]) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []
    for one in coverage:
        if one.level != "ok":
            sentence = (
                f"The sets of {one.model} hold {one.label} in {one.share:.1%} of {one.n:,} labelled alerts, "
                f"and {one.promised:.1%} were promised."
            )
            found.append((one.level, sentence))
    return found


def _reasons_of_counts(
    night: str, counts: Counter[tuple[str, str]], before: Counter[tuple[str, str]]
) -> list[tuple[Level, str]]:
    found: list[tuple[Level, str]] = []
    for survey in sorted({survey for _, survey in (*counts, *before)}):
        past = [n for (one, name), n in before.items() if name == survey and one != night]
        n = sum(n for (_, name), n in counts.items() if name == survey)
        if len(past) < NIGHTS or max(n, min(past)) < LEAST:
            continue
        if n > _FEWER * max(past) or n < min(past) / _FEWER:
            sentence = (
                f"{survey} sent {n:,} alerts, and {min(past):,} to {max(past):,} in each of {len(past)} "
                "other nights."
            )
            found.append(("watch", sentence))
    return found


def changes_of_scores(table: pa.Table) -> dict[str, list[int]]:
    """Where the scores change within a night.

    Parameters
    ----------
    table : pyarrow.Table
        Candidate rows in the order in which they came.

    Returns
    -------
    changes : dict of str to list of int
        For each column of scores, the rows at which a change was noticed.

    Raises
    ------
    DependencyError
        river is not installed.

    References
    ----------
    Bifet & Gavaldà 2007, Proceedings of the 7th SIAM conference on data mining, 443: ADWIN.
    """
    try:
        from river.drift import ADWIN
    except ImportError as error:
        raise DependencyError(
            "changes within a night are found by river, which is not installed; pip install river"
        ) from error

    rows = Rows(table)
    found: dict[str, list[int]] = {}
    for name in (name for model in models(rows.names) for name in probabilities(rows.names, model)):
        detector, found[name] = ADWIN(), []
        for row, value in enumerate(rows.numbers(name).tolist()):
            if value == value:  # NaN: not scored
                detector.update(value)
                if detector.drift_detected:
                    found[name].append(row)
    return found


def _reasons_of_changes(changes: Mapping[str, Sequence[int]] | None) -> list[tuple[Level, str]]:
    return [
        ("watch", f"{name} changed within the night, first about alert {rows[0]:,} of those looked at.")
        for name, rows in (changes or {}).items()
        if rows
    ]
