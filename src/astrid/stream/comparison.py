"""Each quantity of a night, part by part, beside what it was before: what moved, and how far.

A part is a survey, a band of it, or a chip in a band. What a night amounts to is said in `drift`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.stream.sample import INPUTS, SHARES, models, of_survey, probabilities
from astrid.stream.shifts import Shift, corrected, shift_of_numbers, shift_of_shares

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ACT", "LEAST", "SCATTER", "SURE", "WATCH", "Comparison", "Kind", "Level", "Rows", "comparisons"]

WATCH, ACT = 0.1, 0.25
"""Population stability indices from which something has changed a little, and a lot.

The limits that credit scoring has used for decades: Siddiqi 2006, Credit Risk Scorecards, chapter 9.
"""

LEAST = 50
"""Alerts that the night and the reference must both have before anything is compared."""

SURE = 0.01
"""Below this the p-value, corrected for the many tests of a night, is taken to be no chance."""

SCATTER = {"watch": 8.0, "act": 15.0, "chip": 40.0}
"""So many times what nights differ by anyway, in the median, a shift must be.

The index goes with the square of a shift. If nights scatter normally in one way, their indices are a
chi-squared variable of one degree of freedom times a constant, and 8 and 15 times its median are
reached by 6 and 1 nights of a hundred; in more ways, by fewer. There are up to two hundred chips in the
bands of a survey, so that one of them must stand out by more than 40 times.
"""

NIGHTS = 5
"""Of the reference, before it is known how nights differ."""

_REAL = 0.5  # of the survey's own score

Level = Literal["ok", "watch", "act"]
Kind = Literal["score", "model", "agreement", "input", "chip"]


@dataclass(frozen=True)
class Comparison:
    """One quantity of one part of a night beside the reference.

    Parameters
    ----------
    survey : str
    band, chip : str or None
        None for all of them together.
    quantity : str
        Column, or what it is the share of.
    kind : {"score", "model", "agreement", "input", "chip"}
        A score; something else that a model said (how often it did not apply or gave no score); how
        often it agrees with the survey's own score; what came in the packets; a score on one chip.
    shift : Shift
    p : float
        Corrected for all tests of the night.
    scatter : float
        Median index of the nights of the reference, each against the others; 0 for fewer than five.
    level : {"ok", "watch", "act"}
    """

    survey: str
    band: str | None
    chip: str | None
    quantity: str
    kind: Kind
    shift: Shift
    p: float = 1.0
    scatter: float = 0.0
    level: Level = "ok"

    @property
    def limits(self) -> dict[Level, float]:
        """The index from which it has a level.

        What comes in the packets changes with the sky, and a chip is not the night: these raise no
        more than ``watch``.
        """
        match self.kind:
            case "input":
                return {"watch": max(ACT, SCATTER["act"] * self.scatter)}
            case "chip":
                return {"watch": max(ACT, SCATTER["chip"] * self.scatter)}
        return {
            "watch": max(WATCH, SCATTER["watch"] * self.scatter),
            "act": max(ACT, SCATTER["act"] * self.scatter),
        }

    @property
    def is_share(self) -> bool:
        """Whether the quantity is a share, and no number of its own."""
        return " " in self.quantity or self.quantity in SHARES

    @property
    def where(self) -> str:
        """Survey, band and chip in words."""
        return " ".join(part for part in (self.survey, self.band, self.chip and f"chip {self.chip}") if part)

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        known = {
            name: getattr(self, name) for name in ("survey", "band", "chip", "quantity", "kind", "level")
        }
        return {**known, **self.shift.as_dict(), "p_corrected": self.p, "scatter": self.scatter}


def comparisons(table: pa.Table, reference: pa.Table) -> list[Comparison]:
    """Compare everything that two tables of candidate rows both have, in every part that is large enough.

    Parameters
    ----------
    table, reference : pyarrow.Table

    Returns
    -------
    list of Comparison
        With their levels; p-values are corrected for all of them together.
    """
    rows, past = Rows(table), Rows(reference)
    found = list(_measured(rows, past))
    adjusted = corrected([one.shift.p for one in found])
    return [_judged(one, float(p), past) for one, p in zip(found, adjusted, strict=True)]


class Rows:
    """The columns of a sample as arrays."""

    def __init__(self, table: pa.Table) -> None:
        self.table = table
        self.names = tuple(table.column_names)
        self._known: dict[str, NDArray[Any]] = {}
        self._parts: dict[str, dict[tuple[str | None, str | None], NDArray[np.bool_]]] = {}

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column as numbers; NaN where it is null."""
        if name not in self._known:
            values = self.table[name].cast("float64").to_numpy()
            self._known[name] = np.where(np.isfinite(values), values, np.nan)
        return self._known[name]

    def words(self, name: str) -> NDArray[np.object_]:
        """A column as text; None where it is null."""
        if name not in self._known:
            self._known[name] = self.table[name].cast("string").to_numpy(zero_copy_only=False)
        return self._known[name]

    def parts(self, survey: str) -> dict[tuple[str | None, str | None], NDArray[np.bool_]]:
        """The rows of a survey by band and chip; each band as a whole, and all bands, as well."""
        if survey in self._parts:
            return self._parts[survey]
        mine = self.words("survey") == survey
        parts: dict[tuple[str | None, str | None], NDArray[np.bool_]] = {(None, None): mine}
        bands = self.words("band")
        chips = next((self.words(name) for name in of_survey(self.names, survey, "chip")), None)
        for band in sorted({one for one in bands[mine] if one is not None}):
            rows = parts[band, None] = mine & (bands == band)
            if chips is not None:
                for chip in sorted({one for one in chips[rows] if one is not None}, key=_numeric):
                    parts[band, chip] = rows & (chips == chip)
        self._parts[survey] = parts
        return parts


def _numeric(chip: str) -> tuple[int, str]:
    return (int(chip), "") if chip.isdigit() else (0, chip)


def _measured(rows: Rows, past: Rows) -> Iterator[Comparison]:
    """Every quantity that both have, in every part that is large enough."""
    for survey in sorted(set(rows.words("survey"))):
        parts, before = rows.parts(survey), past.parts(survey)
        large = [key for key, mask in parts.items() if key in before and _enough(mask, before[key])]
        # bands together only where no band is large enough: their mixture is chosen by the schedule
        whole = [(None, None)] if (None, None) in large and not any(band for band, _ in large) else []
        for band, chip in [key for key in large if key[0] is not None] or whole:
            for kind, quantity in _quantities(rows, past, survey, chip):
                shift = _shift(rows, parts[band, chip], past, before[band, chip], quantity)
                if shift is not None:
                    yield Comparison(survey, band, chip, quantity, kind, shift)


def _enough(*masks: NDArray[np.bool_]) -> bool:
    return all(int(mask.sum()) >= LEAST for mask in masks)


def _quantities(rows: Rows, past: Rows, survey: str, chip: str | None) -> Iterator[tuple[Kind, str]]:
    both = [name for name in rows.names if name in past.names]
    for model in models(both):
        for name in probabilities(both, model):
            yield ("chip" if chip else "score"), name
            if not chip:
                yield "model", f"{name} absent"
        if chip:
            continue
        if f"{model}_applicable" in both:
            yield "model", f"{model} not applicable"
        # a model with other labels answers another question
        if f"{model}_decision" in both and "real" in past.words(f"{model}_decision"):
            for own in of_survey(both, survey, "score"):
                yield "agreement", f"{model} agrees with {own}"
    if not chip:
        inputs = [*(name for name in INPUTS if name in both), *of_survey(both, survey, "input")]
        for name in inputs:
            yield "input", name
            yield "input", f"{name} absent"
        for name in SHARES:
            if name in both:
                yield "input", name


def _shift(
    rows: Rows, mine: NDArray[np.bool_], past: Rows, before: NDArray[np.bool_], quantity: str
) -> Shift | None:
    """The shift of a quantity; None where too few have a value, or where neither has what it counts."""
    if quantity in rows.names and quantity not in SHARES:
        values, others = (one.numbers(quantity)[mask] for one, mask in ((rows, mine), (past, before)))
        values, others = values[~np.isnan(values)], others[~np.isnan(others)]
        return shift_of_numbers(values, others) if min(len(values), len(others)) >= LEAST else None
    a, b = (_property(one, mask, quantity) for one, mask in ((rows, mine), (past, before)))
    if min(len(a), len(b)) < LEAST or not (a.any() or b.any()) or (a.all() and b.all()):
        return None
    return shift_of_shares(int(a.sum()), len(a), int(b.sum()), len(b))


def _property(rows: Rows, mask: NDArray[np.bool_], quantity: str) -> NDArray[np.bool_]:
    """Which alerts have the property, of those that can have it."""
    if quantity.endswith(" absent"):
        return np.isnan(rows.numbers(quantity.removesuffix(" absent"))[mask])
    if quantity.endswith(" not applicable"):
        said = rows.words(f"{quantity.removesuffix(' not applicable')}_applicable")[mask]
        return np.array([bool(one) for one in said if one is not None], bool)
    if " agrees with " in quantity:
        model, own = quantity.split(" agrees with ")
        ours, theirs = rows.numbers(model)[mask], rows.numbers(own)[mask]
        both = ~np.isnan(ours) & ~np.isnan(theirs)
        decided = rows.words(f"{model}_decision")[mask][both] == "real"
        return np.asarray(decided == (theirs[both] >= _REAL), bool)
    if quantity == "image_problem":
        return np.array([bool(one) for one in rows.words(quantity)[mask]], bool)
    values = rows.numbers(quantity)[mask]
    return np.asarray(values[~np.isnan(values)] > 0, bool)


def _judged(one: Comparison, p: float, past: Rows) -> Comparison:
    """With its level; how nights scatter is found only where there is something to excuse."""
    one = replace(one, p=p)
    if one.shift.psi < WATCH or p >= SURE:
        return one
    one = replace(one, scatter=_scatter(one, past))
    reached = [level for level, limit in one.limits.items() if one.shift.psi >= limit]
    return replace(one, level=reached[-1]) if reached else one


def _scatter(one: Comparison, past: Rows) -> float:
    """How much nights differ anyway; of the whole band where a chip has too few alerts in a night."""
    parts = past.parts(one.survey)
    nights = past.words("night")
    for chip in dict.fromkeys((one.chip, None)):
        mask = parts[one.band, chip]
        found = []
        for night in sorted({str(name) for name in nights[mask]}):
            mine, others = mask & (nights == night), mask & (nights != night)
            shift = _shift(past, mine, past, others, one.quantity) if _enough(mine, others) else None
            if shift is not None:
                found.append(shift.psi)
        if len(found) >= NIGHTS:
            return float(np.median(found))
    return 0.0
