"""What is measured on light curves, one row for each: statistics, the period, what classifiers say.

The columns, with their units and meanings, are known before the first curve is read, so that every part
of a catalogue has the same. Reading curves and keeping tables is the business of others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from astrid.errors import LightCurveError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.prediction import HeadPrediction, Predictor
from astrid.learn.registry import find_bundle
from astrid.learn.task import Binary, Head, HeatMap, Multiclass, Multilabel, Regression
from astrid.lightcurves.features import FEATURES, features_of
from astrid.lightcurves.fourier import FOURIER_NAMES
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periodicity import PERIODICITY, Search, periodicity, points_of, search
from astrid.survey.curve_inputs import CurveInputs, fullest_band
from astrid.survey.period_device import check_device, periodograms

__all__ = ["Judge", "Measures", "measure", "prepared"]

_BATCH = 64  # light curves that a network sees at a time
_AS_PERIODS = {"log_period": "period", "log_base_period": "period_base", "log_sine_period": "period_sine"}


@dataclass(frozen=True)
class Measures:
    """What is to be measured.

    Parameters
    ----------
    features : bool
        Statistics; with periods also the Fourier terms.
    periods : bool
        Search for the period. Implied by a model that needs it.
    models : tuple of str
        Paths or names of bundles.
    band : str, optional
        Of features and dm-dt images; by default each source's band with the most points.
    maximum : float, 1/days
        The highest frequency of the search.
    samples_per_peak : float
    device : str
        That computes the periodograms: ``cpu``, or ``cuda`` or ``cuda:N`` by torch. What is found is the same
        but for rounding, so a run may go on with another.

    Raises
    ------
    UsageError
        Nothing is to be measured, a model does not take light curves, or there is no such device.
    DependencyError
        A GPU is asked for without torch.
    """

    features: bool = True
    periods: bool = False
    models: tuple[str, ...] = ()
    band: str | None = None
    maximum: float = 26.0
    samples_per_peak: float = 5.0
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not (self.features or self.periods or self.models):
            raise UsageError("nothing is to be measured; ask for features, periods or a classifier")
        if self.band is not None and not self.features and not self.models:
            raise UsageError("a band is of features and images; ask for features too, or leave the band out")
        if self.device != "cpu":
            check_device(self.device)
            if not self.searches:
                raise UsageError("a device is of the search for periods; ask for periods, or leave it out")

    @property
    def searches(self) -> bool:
        """Whether periods are searched for, be it that a model needs them."""
        return self.periods or any(judge.inputs.needs_period for judge in self.judges)

    @property
    def judges(self) -> tuple[Judge, ...]:
        """The models, loaded once in each process."""
        return tuple(_judge(one) for one in self.models)

    @property
    def hashes(self) -> dict[str, str]:
        """Name and identity of each model."""
        return {judge.bundle.name: judge.bundle.hash for judge in self.judges}

    def as_dict(self) -> dict[str, Any]:
        """The settings as plain values, the models by name and hash."""
        return {
            "features": self.features,
            "periods": self.periods,
            "models": self.hashes,
            "band": self.band,
            "maximum": self.maximum,
            "samples_per_peak": self.samples_per_peak,
        }

    def schema(self) -> pa.Schema:
        """The columns of `measure`, with ``unit`` and ``description``."""
        fields = [
            _column("n_points", pa.int64(), "", "points used, in all bands"),
            _column("n_bands", pa.int64(), "", "bands that they are in"),
        ]
        if self.features or self.models:
            fields.append(_column("band", pa.string(), "", "band of the features and dm-dt images"))
        if self.searches:
            fields += [
                _column("period", pa.float64(), "d", "after half and whole orbit were told apart"),
                _column("period_base", pa.float64(), "d", "with which the light curve repeats, before that"),
                _column("period_sine", pa.float64(), "d", "of the highest peak of Lomb-Scargle"),
                _column("period_rule", pa.string(), "", "why the period was doubled; empty if it was not"),
            ]
            fields += [
                _column(f"period_{name}", pa.float64(), *_period_facts(name))
                for name in PERIODICITY
                if name not in _AS_PERIODS
            ]
        if self.features:
            fields += [
                _column(name, pa.float64(), one.unit, f"{one.meaning} ({one.source})")
                for name, one in FEATURES.items()
                if name != "period" and (self.searches or name not in FOURIER_NAMES)
            ]
        for judge in self.judges:
            fields += judge.fields
        fields += [
            _column("warnings", pa.string(), "", "what was wrong with the light curve and could be helped"),
            _column("problem", pa.string(), "", "why some columns are null; null where all is well"),
        ]
        return pa.schema(fields)


def prepared(curve: LightCurve) -> LightCurve:
    """The good points of a light curve, in magnitudes.

    Fluxes of an unknown zero point become magnitudes of an arbitrary one, whose differences are right.

    Raises
    ------
    LightCurveError
        No point is good, or no flux positive.
    """
    good = curve.good()
    return good if good.unit == "mag" else good.as_mag(None if good.unit == "nJy" else 0.0)


def measure(curves: Sequence[LightCurve], measures: Measures) -> tuple[pa.Table, list[Search | None]]:
    """Measure some light curves.

    Parameters
    ----------
    curves : sequence of LightCurve
        As `prepared` makes them.
    measures : Measures

    Returns
    -------
    table : pyarrow.Table
        A row for each, in their order, with the columns of `Measures.schema`. What cannot be measured is
        null, and the column ``problem`` says why.
    searches : list of Search or None
    """
    problems: list[list[str]] = [[] for _ in curves]
    columns: dict[str, Any] = {
        "n_points": [len(curve) for curve in curves],
        "n_bands": [len(curve.bands) for curve in curves],
        "warnings": ["; ".join(curve.warnings) or None for curve in curves],
    }
    parts: list[LightCurve | None] = []
    for curve, problem in zip(curves, problems, strict=True):
        try:
            parts.append(fullest_band(curve, measures.band))
        except LightCurveError as error:
            parts.append(None)
            problem.append(_plain(curve, error))
    columns["band"] = [None if part is None else part.bands[0] for part in parts]
    found: list[Search | None] = [None] * len(curves)
    if measures.searches:
        found, figures = _searched(curves, measures, problems)
        columns |= figures
    if measures.features:
        columns |= _features(parts, found if measures.searches else None, problems)
    for judge in measures.judges:
        columns |= judge(curves, parts, found, problems)
    columns["problem"] = ["; ".join(dict.fromkeys(one)) or None for one in problems]
    schema = measures.schema()
    arrays = [_array(columns[one.name], one.type) for one in schema]
    return pa.Table.from_arrays(arrays, schema=schema), found


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if isinstance(values, np.ndarray) and values.dtype.kind == "f":
        return pa.array(values.astype(np.float64), kind, mask=~np.isfinite(values))
    return pa.array(list(values), kind)


def _searched(
    curves: Sequence[LightCurve], measures: Measures, problems: list[list[str]]
) -> tuple[list[Search | None], dict[str, Any]]:
    found: list[Search | None] = []
    names = [*(_AS_PERIODS.values()), *(f"period_{name}" for name in PERIODICITY if name not in _AS_PERIODS)]
    values = {name: np.full(len(curves), np.nan) for name in names}
    rules: list[str | None] = []
    computed = periodograms(measures.device)
    for i, curve in enumerate(curves):
        try:
            one = search(
                curve,
                maximum=measures.maximum,
                samples_per_peak=measures.samples_per_peak,
                periodograms=computed,
            )
            numbers = periodicity(points_of(curve), one)
        except LightCurveError as error:
            problems[i].append(_plain(curve, error))
            found.append(None)
            rules.append(None)
            continue
        found.append(one)
        rules.append(one.rule)
        for name, number in numbers.items():
            if name in _AS_PERIODS:
                values[_AS_PERIODS[name]][i] = 10**number
            else:
                values[f"period_{name}"][i] = number
        values["period"][i], values["period_log_false_alarm"][i] = one.period, one.log_false_alarm
    return found, {**values, "period_rule": rules}


def _period_facts(name: str) -> tuple[str, str]:
    unit, meaning = PERIODICITY[name]
    return ("log10", meaning) if name == "log_false_alarm" else (unit, meaning)


def _features(
    parts: Sequence[LightCurve | None], found: list[Search | None] | None, problems: list[list[str]]
) -> dict[str, Any]:
    there = [i for i, part in enumerate(parts) if part is not None]
    periods = None
    if found is not None:
        periods = [None if (one := found[i]) is None else one.period for i in there]
    table = features_of([part for part in parts if part is not None], periods, library=True)
    for i, problem in zip(there, table.column("problem").to_pylist(), strict=True):
        if problem is not None:
            curve = parts[i]
            assert curve is not None
            problems[i].append(problem.removeprefix(f"{curve.name}: "))
    columns: dict[str, Any] = {}
    for name in table.schema.names:
        if name not in ("name", "problem", "period"):
            values = np.full(len(parts), np.nan)
            values[there] = table.column(name).to_numpy()
            columns[name] = values
    return columns


class Judge:
    """One model, and the columns that it fills."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.inputs = CurveInputs(bundle)
        self._predictor = Predictor(bundle)
        self.prefix = re.sub(r"\W+", "_", bundle.name)

    @property
    def fields(self) -> list[pa.Field]:
        """Its columns."""
        who, made = f"{self.bundle.name} ({self.bundle.hash[:12]})", []
        spread = self.bundle.card.uncertainty.method in ("ensemble", "mc_dropout")
        for name, head in self.bundle.task.heads.items():
            unit = head.unit if isinstance(head, Regression) else ""
            for label, column in self.columns(name, head):
                what = label if isinstance(head, Regression) else f"probability of {label}"
                made.append(_column(column, pa.float64(), unit, f"{what} by {who}"))
                if spread:
                    made.append(_column(f"{column}_spread", pa.float64(), unit, f"spread of {column}"))
            if isinstance(head, Binary | Multiclass):
                base = self.base(name)
                made.append(_column(f"{base}_decision", pa.string(), "", f"label by {who}"))
                made.append(
                    _column(f"{base}_set", pa.string(), "", "conformal set: labels joined by +, or novel")
                )
        made.append(
            _column(
                f"{self.prefix}_applicable", pa.string(), "", "empty where the model applies, else why not"
            )
        )
        return made

    def __call__(
        self,
        curves: Sequence[LightCurve],
        parts: Sequence[LightCurve | None],
        found: Sequence[Search | None],
        problems: list[list[str]],
    ) -> dict[str, Any]:
        """What the model says of each light curve, by column; null where it cannot be asked."""
        columns: dict[str, Any] = {
            one.name: np.full(len(curves), np.nan) if pa.types.is_floating(one.type) else [None] * len(curves)
            for one in self.fields
        }
        for start in range(0, len(curves), _BATCH):
            rows, items = [], []
            for i in range(start, min(start + _BATCH, len(curves))):
                part = parts[i]
                if part is None:
                    continue
                try:
                    items.append(self.inputs(curves[i], part, found[i]))
                    rows.append(i)
                except LightCurveError as error:
                    problems[i].append(_plain(curves[i], error))
            if rows:
                batch = {name: np.stack([one[name] for one in items]) for name in items[0]}
                said = self._predictor(batch)
                for name, head in self.bundle.task.heads.items():
                    self._fill(columns, rows, name, head, said.heads[name])
                for i, why in zip(rows, said.applicable.tolist(), strict=True):
                    columns[f"{self.prefix}_applicable"][i] = why
        return columns

    def _fill(
        self, columns: dict[str, Any], rows: list[int], name: str, head: Head, said: HeadPrediction
    ) -> None:
        for k, (_, column) in enumerate(self.columns(name, head)):
            columns[column][rows] = said.values[:, k]
            if f"{column}_spread" in columns:
                columns[f"{column}_spread"][rows] = said.spread[:, k]
        for what, words in (("decision", said.decision), ("set", said.labels_in_set)):
            column = f"{self.base(name)}_{what}"
            if column in columns:
                for i, word in zip(rows, words.tolist(), strict=True):
                    columns[column][i] = word or None

    def base(self, name: str) -> str:
        """What the columns of a head begin with."""
        return self.prefix if len(self.bundle.task.heads) == 1 else f"{self.prefix}_{name}"

    def columns(self, name: str, head: Head) -> list[tuple[str, str]]:
        """The labels of a head, each with its column."""
        base = self.base(name)
        if isinstance(head, Binary):
            return [(head.labels[1], base)]
        if isinstance(head, HeatMap):
            raise UsageError(f"{self.bundle.name} makes maps, which have no column; choose another model")
        labels = head.labels if isinstance(head, Multiclass | Multilabel) else head.names
        return [(label, f"{base}_{re.sub(r'[^0-9A-Za-z]+', '_', label)}") for label in labels]


@lru_cache(maxsize=16)
def _judge(name: str) -> Judge:
    return Judge(find_bundle(Path(name) if "/" in name else name))


def _plain(curve: LightCurve, error: LightCurveError) -> str:
    """The reason without the name of the source, which has its own column."""
    return str(error).removeprefix(f"{curve.name}: ")


def _column(name: str, kind: pa.DataType, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": meaning} | ({"unit": unit} if unit else {}))
