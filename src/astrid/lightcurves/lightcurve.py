"""A light curve: one source, measured many times in one or several bands.

It holds numpy arrays and the facts needed to read them, validated once; how files become light curves is in
`reading`, what is computed from them in the other modules.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError
from astrid.lightcurves.timing import TIME_SCALES

__all__ = ["AB_ZERO_POINT", "LightCurve"]

AB_ZERO_POINT = 31.4
"""AB magnitude of 1 nJy."""

_POGSON = 2.5 / math.log(10)
_MJD = 1e6  # beyond, the number is a Julian date or no date at all
_MAGNITUDES = (-40.0, 50.0)  # surveys write 99, -99 or -999 where there is none
_LARGEST_ERROR = 9.0  # mag: 9.99, 99 and 99.99 stand for none


@dataclass(frozen=True, eq=False, repr=False)
class LightCurve:
    """One source, measured many times in one or several bands.

    Points come out sorted in time. Those without a finite time and value, and exact repetitions of a
    point, are left out; how many, is said in `warnings`. A point without an error that is finite and
    positive has the error NaN; if no point has one, `error` is None.

    Parameters
    ----------
    time : (n,) float64 ndarray, days
        Modified Julian date in `time_scale`; any other format goes through `timing.to_mjd`.
    value : (n,) float64 ndarray
        Magnitudes or fluxes, in `unit`.
    error : (n,) float64 ndarray, optional
        Standard errors in `unit`.
    band : str, sequence of str, or (n,) int16 ndarray of codes into `bands`; optional
        Stored as codes.
    quality : (n,) int64 ndarray, optional
        The survey's flags; 0 is good.
    bands : tuple of str
        Names of the bands that occur, in alphabetical order where they were not given.
    unit : str
        ``mag``, ``nJy``, ``e-/s``, …; ``flux`` for a flux of unknown unit.
    time_scale : {"utc", "tai", "tt", "tdb", "tcb", "ut1", "unknown"}
    timed_at : {"observatory", "heliocentre", "barycentre"}
        Where the light was when the times were read.
    name : str
        Of the source.
    ra, dec : float, optional, deg
    warnings : tuple of str
        What was wrong and could be helped.

    Raises
    ------
    LightCurveError
        Nothing is left, or the arrays do not belong together, or a time that is no date.
    """

    time: NDArray[np.float64]
    value: NDArray[np.float64]
    error: NDArray[np.float64] | None = None
    band: Any = None
    quality: NDArray[np.int64] | None = None
    bands: tuple[str, ...] = ()
    unit: str = "mag"
    time_scale: str = "unknown"
    timed_at: Literal["observatory", "heliocentre", "barycentre"] = "observatory"
    name: str = "light curve"
    ra: float | None = None
    dec: float | None = None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Validate; bring into order."""
        _check_facts(self)
        time, value = (_column(self, key, np.float64) for key in ("time", "value"))
        error = None if self.error is None else _column(self, "error", np.float64)
        quality = None if self.quality is None else _column(self, "quality", np.int64)
        band, bands = _codes(self)
        lengths = {"time": time, "value": value, "error": error, "band": band, "quality": quality}
        wrong = [key for key, column in lengths.items() if column is not None and len(column) != len(time)]
        if wrong:
            raise LightCurveError(
                f"{self.name}: {len(time)} times but {len(lengths[wrong[0]])} of {wrong[0]}; "  # type: ignore[arg-type]
                "give columns of one length"
            )
        notes = list(self.warnings)
        keep = _present(self, time, value, notes)
        error = None if error is None else _errors(error, keep, self.unit, notes)
        order = np.flatnonzero(keep)
        # Most files are in order: telling so is ten times cheaper than sorting.
        if np.any(np.diff(time[order]) <= 0):
            order = order[np.lexsort((band[order], time[order]))]
            order = _without_repetitions(order, (time, band, value, error, quality), notes)
        time, value, band = time[order], value[order], band[order]
        error = None if error is None else error[order]
        if len(bands) > 1:
            occurring = np.unique(band)
            band, bands = (
                np.searchsorted(occurring, band).astype(np.int16),
                tuple(bands[code] for code in occurring),
            )
        fields = {"time": time, "value": value, "error": error, "band": band, "bands": bands}
        fields |= {"quality": None if quality is None else quality[order], "warnings": tuple(notes)}
        for key, column in fields.items():
            if isinstance(column, np.ndarray):
                column.flags.writeable = False
            object.__setattr__(self, key, column)

    def __len__(self) -> int:
        return len(self.time)

    def __repr__(self) -> str:
        facts = f"{len(self)} points in {', '.join(self.bands)}, {self.unit}"
        return f"<LightCurve {self.name}: {facts}, MJD {self.time[0]:.2f} to {self.time[-1]:.2f}>"

    def at(self, points: NDArray[Any], **changes: Any) -> LightCurve:
        """The points chosen by a mask or by indices.

        Raises
        ------
        LightCurveError
            No point is chosen.
        """
        columns = ("time", "value", "error", "band", "quality")
        chosen = {key: getattr(self, key)[points] for key in columns if getattr(self, key) is not None}
        return replace(self, **(chosen | changes))

    def in_band(self, band: str) -> LightCurve:
        """The points of one band.

        Raises
        ------
        LightCurveError
            There are none.
        """
        if band not in self.bands:
            have = ", ".join(map(repr, self.bands))
            raise LightCurveError(f"{self.name}: no point in band {band!r}; it has {have}")
        return self.at(self.band == self.bands.index(band))

    def good(self) -> LightCurve:
        """The points whose quality is 0; all, where there are no flags.

        Raises
        ------
        LightCurveError
            No point is good.
        """
        if self.quality is None or not self.quality.any():
            return self
        if self.quality.all():
            raise LightCurveError(f"{self.name}: every point has a quality flag; choose which to ignore")
        return self.at(self.quality == 0)

    def folded(self, period: float, epoch: float | None = None) -> NDArray[np.float64]:
        """Phases of the points, from 0 to below 1.

        Parameters
        ----------
        period : float, days
        epoch : float, optional, MJD
            Of phase 0; the first point's time if not given.

        Raises
        ------
        LightCurveError
            A period that is not positive.
        """
        if not (math.isfinite(period) and period > 0):
            raise LightCurveError(f"{self.name}: period {period!r} d; give a positive one")
        phase = (self.time - (self.time[0] if epoch is None else epoch)) / period
        phase -= np.floor(phase)
        return np.where(phase >= 1, 0.0, phase)  # floor of -1e-17 is -1, and 1 - 1e-17 is 1

    def as_mag(self, zero_point: float | None = None) -> LightCurve:
        """The light curve in magnitudes; points of no positive flux are left out, and counted.

        Parameters
        ----------
        zero_point : float, optional, mag
            Of a flux of 1; `AB_ZERO_POINT` for nJy. 0 makes instrumental magnitudes.

        Raises
        ------
        LightCurveError
            No zero point for this unit, or no positive flux.
        """
        if self.unit == "mag":
            return self
        zero = self._zero_point(zero_point, self.unit)
        positive = self.value > 0
        if not positive.any():
            raise LightCurveError(f"{self.name}: no flux is positive; magnitudes need at least one")
        flux = np.where(positive, self.value, 1.0)
        error = None if self.error is None else _POGSON * self.error / flux
        notes = _noted(self.warnings, (~positive).sum(), len(self), "have no positive flux and no magnitude")
        curve = {"value": zero - 2.5 * np.log10(flux), "error": error, "unit": "mag", "warnings": notes}
        return self._changed(curve, positive)

    def as_flux(self, zero_point: float | None = None) -> LightCurve:
        """The light curve in fluxes: nJy of AB magnitudes, or in units of a zero point's.

        Parameters
        ----------
        zero_point : float, optional, mag
            Of a flux of 1; `AB_ZERO_POINT` if not given.
        """
        if self.unit != "mag":
            return self
        zero = AB_ZERO_POINT if zero_point is None else zero_point
        flux = 10 ** (0.4 * (zero - self.value))
        error = None if self.error is None else self.error * flux / _POGSON
        unit = "nJy" if zero == AB_ZERO_POINT else "flux"
        return self._changed({"value": flux, "error": error, "unit": unit}, np.ones(len(self), np.bool_))

    def _changed(self, changes: dict[str, Any], keep: NDArray[np.bool_]) -> LightCurve:
        columns = {key: column[keep] for key, column in changes.items() if isinstance(column, np.ndarray)}
        return self.at(keep, **(changes | columns))

    def _zero_point(self, given: float | None, unit: str) -> float:
        if given is not None:
            return given
        if unit != "nJy":
            raise LightCurveError(
                f"{self.name}: fluxes in {unit!r} have no known zero point; give zero_point (0: instrumental)"
            )
        return AB_ZERO_POINT


def _check_facts(curve: LightCurve) -> None:
    if curve.time_scale not in TIME_SCALES:
        raise LightCurveError(
            f"{curve.name}: time scale {curve.time_scale!r} is none; give one of {', '.join(TIME_SCALES)}"
        )
    for key, limit in (("ra", 360.0), ("dec", 90.0)):
        angle = getattr(curve, key)
        if angle is not None and not -limit <= float(angle) <= limit:
            raise LightCurveError(f"{curve.name}: {key} is {angle!r}; give degrees")


def _column(curve: LightCurve, key: str, kind: Any) -> NDArray[Any]:
    given = getattr(curve, key)
    try:
        plain = np.ma.filled(given.astype(np.float64), np.nan) if np.ma.isMaskedArray(given) else given
        if kind is np.int64 and np.asarray(plain).dtype.kind == "f":
            plain = np.where(np.isfinite(plain), plain, 1)  # a flag that is not known is no good flag
        column = np.array(plain, kind)
    except (TypeError, ValueError, OverflowError):
        raise LightCurveError(f"{curve.name}: {key} is not all numbers; give a column of numbers") from None
    if column.ndim != 1:
        raise LightCurveError(f"{curve.name}: {key} has {column.ndim} axes; give one column for each source")
    return column


def _codes(curve: LightCurve) -> tuple[NDArray[np.int16], tuple[str, ...]]:
    """Codes and names of the bands, whichever way they were given."""
    n = np.size(curve.time)
    given = curve.band
    if given is None or isinstance(given, str):
        return np.zeros(n, np.int16), ((given or "",) if not curve.bands else curve.bands[:1])
    column = np.asarray(given)
    if column.ndim == 1 and column.dtype.kind in "iu" and curve.bands:
        if n and len(column) and not 0 <= int(column.min()) <= int(column.max()) < len(curve.bands):
            raise LightCurveError(
                f"{curve.name}: a band code is outside its {len(curve.bands)} names; name every band"
            )
        return column.astype(np.int16), tuple(curve.bands)
    if column.ndim != 1:
        raise LightCurveError(f"{curve.name}: band has {column.ndim} axes; give one name for each point")
    names, codes = np.unique(
        ["" if name is None else str(name) for name in column.tolist()], return_inverse=True
    )
    return codes.astype(np.int16), tuple(str(name) for name in names)


def _present(
    curve: LightCurve, time: NDArray[np.float64], value: NDArray[np.float64], notes: list[str]
) -> NDArray[np.bool_]:
    """Which points have a time and a value."""
    dated = np.isfinite(time) & (np.abs(time) < _MJD)
    keep = dated & np.isfinite(value)
    if curve.unit == "mag":
        keep &= (value > _MAGNITUDES[0]) & (value < _MAGNITUDES[1])
    left, total = int(keep.sum()), len(keep)
    if not left:
        if not total:
            raise LightCurveError(f"{curve.name}: there are no points; give at least one")
        finite = time[np.isfinite(time)]
        if len(finite) and not dated.any():
            raise LightCurveError(
                f"{curve.name}: time {finite[0]:.8g} is no modified Julian date; give time_format='jd'"
            )
        raise LightCurveError(
            f"{curve.name}: none of {total} points has both a time and a value; nothing is left"
        )
    notes[:] = _noted(notes, total - left, total, "have no time or value")
    return keep


def _without_repetitions(
    order: NDArray[np.intp], columns: Sequence[NDArray[Any] | None], notes: list[str]
) -> NDArray[np.intp]:
    """Leave out points that repeat the time, band, value, error and quality of another."""
    time = columns[0]
    assert time is not None
    tied = np.diff(time[order]) == 0
    if not tied.any():
        return order
    present = [np.nan_to_num(column[order], nan=-1e300) for column in columns if column is not None]
    rank = np.lexsort(present[::-1])
    same = np.logical_and.reduce([column[rank][1:] == column[rank][:-1] for column in present])
    repeats = np.zeros(len(order), np.bool_)
    repeats[rank[1:][same]] = True  # lexsort is stable: the first of the same stays
    notes[:] = _noted(notes, int(repeats.sum()), len(order), "repeat another exactly")
    return order[~repeats]


def _errors(
    error: NDArray[np.float64], keep: NDArray[np.bool_], unit: str, notes: list[str]
) -> NDArray[np.float64] | None:
    """The errors, NaN where a point has none; None where no point has."""
    good = np.isfinite(error) & (error > 0)
    if unit == "mag":
        good &= error < _LARGEST_ERROR
    if good.all():
        return error
    if not (good & keep).any():
        return None
    notes[:] = _noted(notes, (keep & ~good).sum(), keep.sum(), "have no error")
    return np.where(good, error, np.nan)


def _noted(notes: Sequence[str], n: Any, total: Any, what: str) -> tuple[str, ...]:
    """The notes with one more; not where there is nothing to say, or it was said."""
    if not n or any(note.endswith(what) for note in notes):
        return tuple(notes)
    return (*notes, f"{int(n)} of {total} points {what}")
