"""Which column of a table is which part of a light curve: guessed from the names that surveys use, or given.

It turns columns into light curves, one for each source; opening files is the business of `reading`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.timing import TIME_FORMATS, to_mjd

__all__ = ["Layout", "choose_layout", "curves_of", "one_curve"]

# name: (format, scale, timed at); in the order of preference
_TIMES: dict[str, tuple[str, str, str]] = {
    "midpointmjdtai": ("mjd", "tai", "observatory"),  # LSST
    "mjd": ("mjd", "utc", "observatory"),
    "obsmjd": ("mjd", "utc", "observatory"),
    "btjd": ("btjd", "tdb", "barycentre"),
    "bkjd": ("bkjd", "tdb", "barycentre"),
    "bjd": ("bjd", "tdb", "barycentre"),
    "bjd_tdb": ("bjd", "tdb", "barycentre"),
    "jd": ("jd", "utc", "observatory"),
    "hjd": ("hjd", "utc", "heliocentre"),
    "time": ("mjd", "unknown", "observatory"),
    "t": ("mjd", "unknown", "observatory"),
}
_VALUES: dict[str, str] = {
    "mag": "mag",
    "magpsf": "mag",
    "magnitude": "mag",
    "m": "mag",
    "psfflux": "nJy",
    "forcediffimflux": "flux",
    "pdcsap_flux": "e-/s",
    "sap_flux": "e-/s",
    "flux(mjy)": "mJy",
    "flux": "flux",
    "psf_flux": "flux",
}
_ERRORS: dict[str, tuple[str, ...]] = {
    "mag": ("magerr", "mag_err", "mag error", "e_mag", "magpsf_err", "err", "error", "sigma"),
    "magpsf": ("sigmapsf",),
    "magnitude": ("magnitude_error", "magnitude_err", "err", "error"),
    "m": ("err", "merr", "e_m"),
    "psfflux": ("psffluxerr",),
    "forcediffimflux": ("forcediffimfluxunc",),
    "pdcsap_flux": ("pdcsap_flux_err",),
    "sap_flux": ("sap_flux_err",),
    "flux": ("flux_err", "fluxerr", "flux_error", "flux error", "e_flux", "err", "error"),
    "flux(mjy)": ("flux_err",),
    "psf_flux": ("psf_flux_err",),
}
_BANDS = ("filtercode", "band", "filter", "fid", "passband", "bandpass")
_QUALITIES = ("catflags", "quality", "sap_quality", "flags", "blend")
_SOURCES = (
    *("oid", "objectid", "diaobjectid", "catalina_id", "masterid", "source_id", "object_id", "sourceid"),
    *("asas_sn_id", "star_id", "name", "id"),
)
# What survey's codes stand for; others stay as they are.
_BAND_NAMES = {"filtercode": {"zg": "g", "zr": "r", "zi": "i"}, "fid": {"1": "g", "2": "r", "3": "i"}}
_GOOD_LETTER = "G"  # of ASAS-SN's quality

PARTS = ("time", "mag", "flux", "error", "band", "quality", "source", "ra", "dec")
"""What a user can name the column of."""


@dataclass(frozen=True)
class Layout:
    """Which column is which.

    Parameters
    ----------
    time, value : str
    error, band, quality, source, ra, dec : str, optional
    unit : str
        Of the values.
    time_format, time_scale, timed_at : str
    """

    time: str
    value: str
    unit: str
    time_format: str
    time_scale: str
    timed_at: str
    error: str | None = None
    band: str | None = None
    quality: str | None = None
    source: str | None = None
    ra: str | None = None
    dec: str | None = None

    @property
    def measured(self) -> tuple[str, ...]:
        """Columns that differ from point to point."""
        columns = (self.time, self.value, self.error, self.band, self.quality)
        return tuple(column for column in columns if column is not None)


def choose_layout(
    names: Sequence[str],
    given: Mapping[str, str] | None = None,
    *,
    unit: str | None = None,
    time_format: str | None = None,
    time_scale: str | None = None,
    where: str = "table",
) -> Layout:
    """Say which column is which.

    Parameters
    ----------
    names : sequence of str
        Of the columns.
    given : mapping, optional
        From ``time``, ``mag`` or ``flux``, ``error``, ``band``, ``quality``, ``source``, ``ra``, ``dec`` to a
        column's name; the others are guessed, whatever the case of their letters.
    unit, time_format, time_scale : str, optional
        What the names do not tell, or tell wrongly.

    Raises
    ------
    LightCurveError
        No time, or neither magnitude nor flux.
    UsageError
        A part that there is not, or a column that there is not.
    """
    given = dict(given or {})
    if unknown := sorted(set(given) - set(PARTS)):
        raise UsageError(f"{where}: {unknown[0]!r} is no part of a light curve; name {', '.join(PARTS)}")
    for column in given.values():
        if column not in names:
            raise UsageError(f"{where}: there is no column {column!r}; it has {_listed(names)}")
    have = {name.lower().strip(): name for name in reversed(names)}
    time = given.get("time") or _first(have, _TIMES)
    if time is None:
        raise LightCurveError(
            f"{where}: no column is known as time; it has {_listed(names)}: name it in columns"
        )
    value = given.get("mag") or given.get("flux") or _first(have, _VALUES)
    if value is None:
        raise LightCurveError(
            f"{where}: no column is known as magnitude or flux; it has {_listed(names)}: name it in columns"
        )
    guessed = "mag" if "mag" in given else _VALUES.get(value.lower(), "flux")
    if "flux" in given and guessed == "mag":
        guessed = "flux"
    format, scale, timed_at = _TIMES.get(time.lower().strip(), _TIMES["time"])
    if time_format is not None:
        if time_format not in TIME_FORMATS:
            raise UsageError(f"time_format {time_format!r} is none; give one of {', '.join(TIME_FORMATS)}")
        format = time_format
        timed_at = {"h": "heliocentre", "b": "barycentre"}.get(time_format[0], timed_at)
    errors = _ERRORS.get(value.lower(), (f"{value.lower()}_err", f"{value.lower()}err"))
    rest = {
        "error": errors,
        "band": _BANDS,
        "quality": _QUALITIES,
        "source": _SOURCES,
        "ra": ("ra",),
        "dec": ("dec",),
    }
    chosen = {part: given.get(part) or _first(have, known) for part, known in rest.items()}
    return Layout(
        time=time,
        value=value,
        unit=unit or guessed,
        time_format=format,
        time_scale=time_scale or scale,
        timed_at=timed_at,
        **chosen,
    )


def curves_of(
    columns: Mapping[str, NDArray[Any]],
    layout: Layout,
    *,
    name: str,
    on_problem: Callable[[str, LightCurveError], None] | None = None,
) -> Iterator[LightCurve]:
    """The light curves of a table whose rows are points, in the order in which the sources first appear.

    Parameters
    ----------
    columns : mapping of str to (n,) ndarray
    layout : Layout
    name : str
        Of the table; without a column of sources, of the light curve.
    on_problem : callable, optional
        Called with the name and the error of a source that is no light curve; without it, that error is
        raised.
    """
    if layout.source is None:
        yield from _tried(name, columns, layout, on_problem)
        return
    sources = np.asarray(columns[layout.source])
    sources = sources.astype(np.str_) if sources.dtype.kind == "O" else sources
    _, first, inverse, counts = np.unique(sources, return_index=True, return_inverse=True, return_counts=True)
    rows = np.argsort(inverse, kind="stable")
    ends = np.cumsum(counts)
    for group in np.argsort(first, kind="stable"):
        chosen = rows[ends[group] - counts[group] : ends[group]]
        part = {key: column[chosen] for key, column in columns.items()}
        yield from _tried(str(sources[first[group]]), part, layout, on_problem)


def _tried(
    name: str,
    columns: Mapping[str, NDArray[Any]],
    layout: Layout,
    on_problem: Callable[[str, LightCurveError], None] | None,
) -> Iterator[LightCurve]:
    try:
        curve = one_curve(name, columns, layout)
    except LightCurveError as error:
        if on_problem is None:
            raise
        on_problem(name, error)
        return
    yield curve


def one_curve(name: str, columns: Mapping[str, NDArray[Any]], layout: Layout) -> LightCurve:
    """One source's columns as a light curve.

    Raises
    ------
    LightCurveError
        Text where a number is expected, or nothing that can be used.
    """
    time = _numbers(columns[layout.time], name, layout.time)
    value = _numbers(columns[layout.value], name, layout.value)
    error = None if layout.error is None else _numbers(columns[layout.error], name, layout.error)
    quality = None if layout.quality is None else _flags(columns[layout.quality], name, layout.quality)
    band = None if layout.band is None else _band_names(columns[layout.band], layout.band)
    position = {key: None if column is None else _position(columns[column], name, column)
                for key, column in (("ra", layout.ra), ("dec", layout.dec))}  # fmt: skip
    facts: dict[str, Any] = {"name": name, "band": band, "unit": layout.unit, **position}
    unit = layout.unit
    if unit == "mJy":
        value, error, facts["unit"] = value * 1e6, None if error is None else error * 1e6, "nJy"
    return LightCurve(
        time=to_mjd(time, layout.time_format, name=name),
        value=value,
        error=error,
        quality=quality,
        time_scale=layout.time_scale,
        timed_at=layout.timed_at,  # type: ignore[arg-type]
        **facts,
    )


def _numbers(column: NDArray[Any], name: str, key: str) -> NDArray[np.float64]:
    """The column as numbers; NaN where it is empty or, as ``>17.3``, a limit."""
    if column.dtype.kind in "fiub":
        return column.astype(np.float64)
    result = np.empty(len(column))
    for row, item in enumerate(column.tolist()):
        text = "" if item is None else str(item).strip()
        try:
            result[row] = float(text) if text else np.nan
        except ValueError:
            if not (text[0] in "<>" or text.lower() in ("null", "none", "--", "n/a")):
                raise LightCurveError(
                    f"{name}: {key} of row {row + 1} is {text[:40]!r}; expected a number"
                ) from None
            result[row] = np.nan
    return result


def _flags(column: NDArray[Any], name: str, key: str) -> NDArray[np.int64]:
    if column.dtype.kind in "iub":
        return column.astype(np.int64)
    texts = ["" if item is None else str(item).strip() for item in column.tolist()]
    if all(text.isalpha() for text in texts if text):
        return np.array([text != _GOOD_LETTER for text in texts], np.int64)
    flags = _numbers(column, name, key)
    # A flag that is not known, or beyond 63 bits, is no good flag.
    return np.where(np.abs(flags) < 2**62, flags, 1).astype(np.int64)


def _band_names(column: NDArray[Any], key: str) -> NDArray[Any]:
    names = _BAND_NAMES.get(key.lower(), {})
    texts = ["" if item is None else str(item).strip() for item in column.tolist()]
    return np.array([names.get(text, text) for text in texts])


def _position(column: NDArray[Any], name: str, key: str) -> float | None:
    """The mean position; a source that is all over the sky is refused by `LightCurve`'s own check."""
    values = _numbers(np.asarray(column), name, key)
    values = values[np.isfinite(values)]
    return float(np.median(values)) if len(values) else None


def _first(have: Mapping[str, str], known: Any) -> str | None:
    return next((have[key] for key in known if key in have), None)


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
