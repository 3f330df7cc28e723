"""The rows of `lightcurves` about periods: how often each method finds the period of the catalogue.

Exact within 0.5 %, and with half, double, third and triple counted as found.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid.bench.frame import ONE_THREAD, Row, measure_process
from astrid.learn.dataset import Dataset
from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["period_rows", "recovered", "searched_rows"]

_CLASSES = ("EW", "EA", "RRab", "RRc", "RRd", "RS_CVn", "LPV")
_TOLERANCE = 0.005
_MULTIPLES = (1.0, 2.0, 0.5, 3.0, 1 / 3)
_MAXIMUM = 13.0  # cycles a day: half the shortest orbit of a contact binary is inside
_SEED = 11


def recovered(
    found: NDArray[np.float64], wanted: NDArray[np.float64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which periods are exact, and which are so up to a factor of 2 or 3.

    Parameters
    ----------
    found, wanted : (n,) float64 ndarray, days
    """
    ratio = np.asarray(found)[:, None] / np.asarray(wanted)[:, None] / np.array(_MULTIPLES)
    near = np.abs(ratio - 1) < _TOLERANCE
    return near[:, 0], near.any(axis=1)


def period_rows(folder: Path, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """All rows about periods.

    Parameters
    ----------
    folder : Path
        Of the Catalina curves and their labels.
    quick : bool
        One star of each class instead of 30.
    say : callable
        Called with the name of each stage.
    """
    each = 1 if quick else 30
    say(f"periods by each method: stars of each class {each}")
    measured = measure_process(_found, str(folder), each, environment=ONE_THREAD).result
    names = np.array([name for name, _ in measured])
    wanted = np.array([row["catalogue"] for _, row in measured])
    rows: list[Row] = []
    methods = [name for name in measured[0][1] if name != "catalogue"]
    peer = methods[0]
    for method in methods:
        exact, similar = recovered(np.array([row[method] for _, row in measured]), wanted)
        base, base_similar = recovered(np.array([row[peer] for _, row in measured]), wanted)
        for what, hits, theirs in (
            ("within 0.5 %", exact, base),
            ("within 0.5 % of a multiple", similar, base_similar),
        ):
            row = Row(f"period by {method}, all classes alike: {what}", hits.mean(), "", "real", len(hits))
            rows.append(row if method == peer else row.beside(peer, float(theirs.mean())))
        for name in _CLASSES:
            own = names == name
            what = f"period by {method}, {name}: within 0.5 %"
            rows.append(Row(what, exact[own].mean(), "", "real", int(own.sum())))
    last, first = (
        recovered(np.array([row[method] for _, row in measured]), wanted)[0].mean()
        for method in (methods[-1], peer)
    )
    ahead = float(last / first) if first else None
    what = f"periods within 0.5 % by {methods[-1]}, over those by {peer}"
    return [*rows, Row(what, ahead, "", "real", len(wanted), "> 1.2")]


def searched_rows(folder: Path) -> list[Row]:
    """The same for all stars of a data set of `astrid data variables`, by our search and by the highest peak.

    Parameters
    ----------
    folder : Path
        Of the Catalina data set.
    """
    dataset = Dataset.open(folder)
    names = dataset.column("class")
    wanted = np.array([value or np.nan for value in dataset.column("catalogue_period").tolist()], np.float64)
    known = np.isfinite(wanted) & np.isin(names, _CLASSES)
    rows = []
    ours, peak = (
        recovered(dataset.column(column).astype(np.float64)[known], wanted[known])
        for column in ("period", "sine_period")
    )
    for what, hits, theirs in zip(("within 0.5 %", "within 0.5 % of a multiple"), ours, peak, strict=True):
        row = Row(f"period by our search, all stars: {what}", hits.mean(), "", "real", len(hits))
        rows.append(row.beside("the Lomb-Scargle peak", float(theirs.mean())))
    for name in _CLASSES:
        own = names[known] == name
        row = Row(f"period by our search, all {name}: within 0.5 %", ours[0][own].mean(), "", "real",
                  int(own.sum()))  # fmt: skip
        rows.append(row.beside("the Lomb-Scargle peak", float(peak[0][own].mean())))
    return rows


def _found(folder: str, each: int) -> list[tuple[str, dict[str, float]]]:
    """For each star its class, the catalogue's period and that of each method."""
    return [(name, _periods(curve, period)) for name, curve, period in _stars(Path(folder), each)]


def _stars(folder: Path, each: int) -> Sequence[tuple[str, LightCurve, float]]:
    from astrid.survey.labelled_stars import labelled_stars

    stars = [
        star
        for star in labelled_stars(folder / "crts_train_lc.parquet", folder / "crts_train_labels.csv")
        if star.period
    ]
    rng = np.random.default_rng(_SEED)
    chosen = []
    for name in _CLASSES:
        own = [star for star in stars if star.label == name]
        chosen += [
            (name, own[k].curve, float(own[k].period or 0.0))
            for k in sorted(rng.permutation(len(own))[:each])
        ]
    return chosen


def _periods(curve: LightCurve, wanted: float) -> dict[str, float]:
    from astrid.lightcurves.periodicity import points_of
    from astrid.lightcurves.periods import (
        binned_power,
        conditional_entropy,
        find_period,
        frequency_grid,
        harmonic_power,
        published_hierarchy,
    )

    points = points_of(curve)
    grid = frequency_grid(points.time, maximum=_MAXIMUM, samples_per_peak=5)
    frequencies = grid.frequencies
    error = points.weight**-0.5
    options = {"maximum": _MAXIMUM, "samples_per_peak": 5.0}
    return {
        "catalogue": wanted,
        "the Lomb-Scargle peak": 1 / frequencies[np.argmax(harmonic_power(points, grid, 1))],
        "the highest of 4 harmonics": 1 / frequencies[np.argmax(harmonic_power(points, grid, 4))],
        "conditional entropy": 1 / frequencies[np.argmin(conditional_entropy(points, grid))],
        "analysis of variance": 1 / frequencies[np.argmax(binned_power(points, grid))],
        "the hierarchy as published": published_hierarchy(points, grid)[0],
        "our search": find_period(points.time, points.mag, error, **options).period,  # type: ignore[arg-type]
    }
