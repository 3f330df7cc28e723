"""All that is measured on one source: its period, features, dm-dt image, periodogram and classes.

How that becomes a page is in `curve_page`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.files.record import plain
from astrid.learn.task import Binary, Multiclass, Multilabel
from astrid.lightcurves.dmdt import MAHABAL_2017, Grid, dmdt
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periodicity import Search, points_of
from astrid.lightcurves.periods import FrequencyGrid, frequency_grid, harmonic_power
from astrid.survey.class_tree import ClassNode, class_tree
from astrid.survey.curve_inputs import fullest_band
from astrid.survey.curve_measures import Measures, measure, prepared
from astrid.survey.curve_reference import Reference, shipped_reference

__all__ = ["Examined", "examine"]


@dataclass(frozen=True, eq=False)
class Examined:
    """All that the page of one source tells.

    Parameters
    ----------
    curve : LightCurve
        As it was given.
    used : LightCurve
        Its good points, in magnitudes.
    period : float or None, days
        With which it is folded: the one that was given, or found.
    found : Search or None
    row : dict
        What was measured, by column; with units and meanings in `facts`.
    facts : dict of str to (str, str)
    image : ndarray or None
        The dm-dt image of `grid`.
    grid : Grid
    periodogram : (FrequencyGrid, ndarray) or None
        Lomb-Scargle power.
    percentiles : dict of str to float
        Where some features stand among the reference stars.
    reference : str
        What those are.
    classes : dict of str to tuple of ClassNode
        By model; of yes or no, both.
    decisions, notes : dict of str to str
        What each model decides, and why it may not apply.
    """

    curve: LightCurve
    used: LightCurve
    period: float | None
    found: Search | None
    row: dict[str, Any]
    facts: dict[str, tuple[str, str]]
    image: NDArray[np.float32] | None
    grid: Grid
    periodogram: tuple[FrequencyGrid, NDArray[np.float64]] | None
    percentiles: dict[str, float]
    reference: str
    classes: dict[str, tuple[ClassNode, ...]]
    decisions: dict[str, str]
    notes: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """The numbers as plain values."""
        candidates = []
        if self.found is not None:
            pairs = zip(self.found.frequency, self.found.score, strict=True)
            candidates = [{"period": 1 / frequency, "score": score} for frequency, score in pairs]
        measured = {name: {"value": value, "unit": self.facts[name][0]} for name, value in self.row.items()}
        return plain(
            {
                "name": self.curve.name,
                "ra": self.curve.ra,
                "dec": self.curve.dec,
                "n_points": len(self.used),
                "bands": self.used.bands,
                "first_mjd": self.used.time[0],
                "last_mjd": self.used.time[-1],
                "period": self.period,
                "candidates": candidates,
                "measured": measured,
                "percentiles": self.percentiles,
                "reference": self.reference,
                "classes": {name: [one.as_dict() for one in tree] for name, tree in self.classes.items()},
                "decisions": self.decisions,
                "not_applicable": self.notes,
            }
        )


def examine(
    curve: LightCurve,
    *,
    models: Sequence[str] = (),
    period: float | None = None,
    band: str | None = None,
    grid: Grid = MAHABAL_2017,
    reference: Reference | None = None,
) -> Examined:
    """Measure one source.

    Parameters
    ----------
    curve : LightCurve
    models : sequence of str
        Bundles to classify with.
    period : float, optional, days
        To fold with, instead of that which is found.
    band : str, optional
        Of the features and the dm-dt image; by default that with the most points.
    grid : Grid
    reference : Reference, optional
        Among which the source stands somewhere; by default 5,757 variables of the Catalina survey.

    Returns
    -------
    Examined

    Raises
    ------
    LightCurveError
        No point can be used.
    UsageError
        A period that is not positive, or a model that does not take light curves.
    """
    if period is not None and not (np.isfinite(period) and period > 0):
        raise UsageError(f"the period is {period!r} d; give a positive one")
    used = prepared(curve)
    measures = Measures(features=True, periods=True, models=tuple(models), band=band)
    table, searches = measure([used], measures)
    row = table.to_pylist()[0]
    facts = {
        one.name: ((one.metadata or {}).get(b"unit", b"").decode(), one.metadata[b"description"].decode())
        for one in table.schema
    }
    found = searches[0]
    try:
        image = dmdt(fullest_band(used, band), grid)
    except LightCurveError:  # `problem` says why
        image = None
    try:
        points = points_of(used)
        trials = frequency_grid(points.time, maximum=measures.maximum, samples_per_peak=5)
        periodogram = (trials, harmonic_power(points, trials, 1))
    except LightCurveError:
        periodogram = None
    among = reference or shipped_reference()
    classes, decisions, notes = _said(measures, row)
    return Examined(
        curve, used, period or (found.period if found else None), found, row, facts, image, grid, periodogram,
        among.percentiles(row), among.name, classes, decisions, notes,
    )  # fmt: skip


def _said(
    measures: Measures, row: Mapping[str, Any]
) -> tuple[dict[str, tuple[ClassNode, ...]], dict[str, str], dict[str, str]]:
    """The trees, decisions and reservations of the models."""
    classes: dict[str, tuple[ClassNode, ...]] = {}
    decisions: dict[str, str] = {}
    notes: dict[str, str] = {}
    for judge in measures.judges:
        heads = judge.bundle.task.heads
        of_class = {name: head for name, head in heads.items() if isinstance(head, Binary)}
        if len(of_class) > 1:  # a yes or no of each class
            said = {head.labels[1]: row[judge.columns(name, head)[0][1]] for name, head in of_class.items()}
            if None not in said.values():
                chosen = {str(row[f"{judge.base(name)}_decision"]) for name in of_class}
                classes[judge.bundle.name] = class_tree(said, exclusive=False, decided=chosen)
        for name, head in heads.items():
            if not isinstance(head, Binary | Multiclass | Multilabel) or (
                name in of_class and len(of_class) > 1
            ):
                continue
            said = {label: row[column] for label, column in judge.columns(name, head)}
            if None in said.values():
                continue
            if isinstance(head, Binary):
                said[head.labels[0]] = 1 - said[head.labels[1]]
            model = judge.bundle.name if len(heads) == 1 else f"{judge.bundle.name}, {name}"
            decision = row.get(f"{judge.base(name)}_decision")
            tree = class_tree(said, exclusive=not isinstance(head, Multilabel), decided={str(decision)})
            classes[model] = tree
            if decision:
                decisions[model] = decision
        if row[f"{judge.prefix}_applicable"]:
            notes[judge.bundle.name] = row[f"{judge.prefix}_applicable"]
    return classes, decisions, notes
