"""The numbers that tell classes of variable stars apart: statistics, Fourier terms, period figures, colours.

All are finite, and scaled in such a way that a network can take them; the classifiers are in the zoo.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError
from astrid.lightcurves.features import FEATURES, STATISTICS, statistics
from astrid.lightcurves.fourier import FOURIER_NAMES, fourier_series
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periodicity import PERIODICITY, Search, periodicity
from astrid.lightcurves.periods import Points
from astrid.lightcurves.points import plain_columns

__all__ = ["VERSION", "numbers_of", "variability"]

VERSION = 1
"""Of the representation: another output is another version."""

# Of no bound, and larger the brighter the star and the more points it has.
_ARCSINH = frozenset(
    {"chi2red", "roms", "norm_peak_to_peak_amp", "norm_excess_var", "skew", "smallkurt", "welch_i",
     "stetson_j", "inv_vonneumannratio", "ad"}
)  # fmt: skip
_LEFT_OUT = {"f1_a", "f1_phi0", "f1_bic"}  # a second mean; a phase that depends on the epoch; a second χ²
_SERIES = {"base": "the base period", "orbit": "the period"}
_FOURIER = tuple(name for name in FOURIER_NAMES if name not in _LEFT_OUT)


def numbers_of(bands: Sequence[str] = ("",)) -> dict[str, tuple[str, str]]:
    """Unit and meaning of each number, in the order in which `variability` has them.

    Parameters
    ----------
    bands : sequence of str
        One empty name for light curves of a single band: its numbers then have no suffix.
    """
    numbers = {}
    for band in bands:
        of = f" in {band}" if band else ""
        for name in STATISTICS:
            unit = "arcsinh" if name in _ARCSINH else FEATURES[name].unit
            numbers[_named(name, band)] = (unit, FEATURES[name].meaning + of)
        for series, period in _SERIES.items():
            for name in _FOURIER:
                unit, meaning = FEATURES[name].unit, f"{FEATURES[name].meaning}, at {period}{of}"
                if "relphi" in name:
                    for part in ("cos", "sin"):
                        numbers[_named(f"{series}_{name[3:]}_{part}", band)] = (
                            "",
                            f"{part} of the {meaning}",
                        )
                else:
                    numbers[_named(f"{series}_{name[3:]}", band)] = (unit, meaning)
    numbers |= PERIODICITY
    for one, other in pairwise(bands):
        numbers[f"colour_{one}_{other}"] = ("mag", f"median in {one} less median in {other}")
        numbers[f"amplitude_{one}_{other}"] = ("", f"log10 of the 80 % range in {one} over that in {other}")
    return numbers


def variability(
    curve: LightCurve, points: Points, found: Search, bands: Sequence[str] = ("",)
) -> dict[str, float]:
    """All numbers of one light curve.

    What is not defined, or of a band with fewer than four points, is 0.

    Parameters
    ----------
    curve : LightCurve
        Magnitudes with errors.
    points : Points
        Of the same curve, see `points_of`.
    found : Search
    bands : sequence of str
        As `numbers_of` has them.

    Returns
    -------
    numbers : dict of str to float
        In the order of `numbers_of`.
    """
    numbers: dict[str, float] = {}
    middle, extent = {}, {}
    for band in bands:
        try:
            part = curve.in_band(band) if band else curve
            columns = plain_columns(part, 4)
        except LightCurveError:
            continue
        row = dict(zip(STATISTICS, statistics(*columns, [0, len(columns[0])])[0].tolist(), strict=True))
        middle[band], extent[band] = row["median"], row["i80r"]
        for name, value in row.items():
            numbers[_named(name, band)] = float(np.arcsinh(value)) if name in _ARCSINH else value
        for series, period in (("base", 1 / found.frequency[0]), ("orbit", found.period)):
            for name, value in _terms(columns, period).items():
                numbers[_named(f"{series}_{name}", band)] = value
    numbers |= periodicity(points, found)
    for one, other in pairwise(bands):
        if one in middle and other in middle:
            numbers[f"colour_{one}_{other}"] = middle[one] - middle[other]
            ratio = max(extent[one], 1e-3) / max(extent[other], 1e-3)
            numbers[f"amplitude_{one}_{other}"] = float(np.log10(ratio))
    defined = {name: value for name, value in numbers.items() if np.isfinite(value)}
    return {name: defined.get(name, 0.0) for name in numbers_of(bands)}


def _terms(
    columns: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]], period: float
) -> dict[str, float]:
    series = fourier_series(*columns, [0, len(columns[0])], [period])[0]
    row = dict(zip(FOURIER_NAMES, series.tolist(), strict=True))
    terms: dict[str, float] = {}
    for name in _FOURIER:
        if "relphi" in name:
            there = row[name.replace("phi", "amp")] > 0
            angle = 2 * np.pi * row[name]
            terms[f"{name[3:]}_cos"], terms[f"{name[3:]}_sin"] = (
                (float(np.cos(angle)), float(np.sin(angle))) if there else (0.0, 0.0)
            )
        else:
            terms[name[3:]] = min(row[name], 20.0) if "relamp" in name else row[name]
    return terms


def _named(name: str, band: str) -> str:
    return f"{name}_{band}" if band else name
