"""Labelled stars: light curves with the class, the place and the period that a table has for them.

Two forms are known: any table of light curves with a table of labels, and the two tables of the EROS-1 stars
of the RAMP "variable stars".
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from astrid.errors import DataError, LightCurveError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurves

__all__ = ["Star", "class_names", "labelled_stars"]

_SAME = 3.0  # arcsec: curves nearer than this are of one star, seen in two fields
_EROS = {1: "binary", 2: "cepheid", 3: "rr_lyrae", 4: "mira"}
_EROS_BANDS = ("b", "r")


@dataclass(frozen=True)
class Star:
    """One labelled light curve.

    Parameters
    ----------
    curve : LightCurve
    label : str
    group : str
        The star: the name of the first curve at its place.
    period : float, optional, days
        Of the table.
    """

    curve: LightCurve
    label: str
    group: str
    period: float | None


OnProblem = Callable[[str, str], None]


def labelled_stars(
    curves: str | Path, labels: str | Path, *, on_problem: OnProblem | None = None
) -> list[Star]:
    """Read light curves and their labels.

    Parameters
    ----------
    curves : str or Path
        What `read_lightcurves` reads; or the ``varlength_features`` of the RAMP variable stars.
    labels : str or Path
        CSV; the first column names the light curves, ``class`` (or ``type``, of the RAMP) has the label;
        ``ra`` and ``dec`` [deg] and a column whose name begins with ``period`` [d] may be there.
    on_problem : callable, optional
        Called with the name of what is no light curve, and why; without it, that is raised.

    Returns
    -------
    stars : list of Star
        Those that have a label, in the order of the curves.

    Raises
    ------
    DataError
        A table cannot be read, has no label, or no curve has one.
    """
    table = _labels(Path(labels))
    found = [curve for curve in _curves(Path(curves), on_problem) if curve.name in table]
    if not found:
        raise DataError(f"no light curve of {curves} is in {labels}; its first column must name them")
    groups = _groups([table[curve.name] for curve in found], [curve.name for curve in found])
    return [
        Star(curve, _class(table[curve.name], labels), group, _period(table[curve.name]))
        for curve, group in zip(found, groups, strict=True)
    ]


def class_names(labels: str | Path) -> dict[str, str]:
    """Read the class of each light curve, by its name.

    Parameters
    ----------
    labels : str or Path
        As for `labelled_stars`.

    Raises
    ------
    DataError
        It cannot be read, or a row has no class.
    """
    return {name: _class(row, labels) for name, row in _labels(Path(labels)).items()}


def _labels(path: Path) -> dict[str, dict[str, str]]:
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: has no row; give a table of labels")
    first = next(iter(rows[0]))
    return {row[first]: row for row in rows}


def _class(row: dict[str, str], path: str | Path) -> str:
    if row.get("class"):
        return row["class"]
    try:
        return _EROS[int(float(row["type"]))]
    except (KeyError, ValueError) as error:
        raise DataError(
            f"{path}: a row has no label ({error}); expected a column class, or type 1 to 4"
        ) from error


def _period(row: dict[str, str]) -> float | None:
    text = next((value for name, value in row.items() if name.startswith("period") and value), "")
    try:
        return float(text)
    except ValueError:
        return None


def _curves(path: Path, on_problem: OnProblem | None) -> Iterator[LightCurve]:
    def tell(name: str, problem: LightCurveError) -> None:
        if on_problem is None:
            raise DataError(str(problem)) from problem
        on_problem(name, str(problem))

    if _is_eros(path):
        for row in _rows(path):
            name = row[next(iter(row))]
            try:
                yield _eros(name, row)
            except LightCurveError as problem:
                tell(name, problem)
        return
    try:
        yield from read_lightcurves(path, on_problem=tell)
    except LightCurveError as error:
        raise DataError(str(error)) from error


def _is_eros(path: Path) -> bool:
    if not path.name.endswith((".csv", ".csv.gz")):
        return False
    return "time_points_b" in next(_rows(path), {})


def _eros(name: str, row: dict[str, str]) -> LightCurve:
    """One star of the RAMP's table: arrays as text, days from an epoch of their own."""
    try:
        columns = {
            (kind, band): np.array(json.loads(row[f"{kind}_points_{band}"].replace("nan", "NaN")))
            for kind in ("time", "light", "error")
            for band in _EROS_BANDS
        }
        time, mag, error = (
            np.concatenate([columns[kind, band] for band in _EROS_BANDS])
            for kind in ("time", "light", "error")
        )
        code = np.repeat(np.arange(2, dtype=np.int16), [len(columns["time", band]) for band in _EROS_BANDS])
    except (KeyError, ValueError) as problem:
        raise LightCurveError(f"{name}: no arrays of times, magnitudes and errors ({problem})") from problem
    return LightCurve(time, mag, error, code, bands=_EROS_BANDS, name=name)


def _groups(rows: list[dict[str, str]], names: list[str]) -> list[str]:
    """For each curve the name of the first one within `_SAME`; its own where there is no position."""
    from scipy.spatial import cKDTree

    try:
        ra, dec = (np.radians([float(row[key]) for row in rows]) for key in ("ra", "dec"))
    except (KeyError, ValueError):
        return names
    place = np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)
    first = np.arange(len(names))
    for one, other in sorted(cKDTree(place).query_pairs(2 * math.sin(math.radians(_SAME / 3600) / 2))):
        first[other] = first[one]
    return [names[k] for k in first]


def _rows(path: Path) -> Iterator[dict[str, str]]:
    csv.field_size_limit(1 << 24)
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode()
        yield from csv.DictReader(io.StringIO(text))
    except (OSError, UnicodeDecodeError, csv.Error, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as CSV ({error}); give the table again") from error
