"""Reading light curves from files: one source or many, whatever survey wrote them.

Which column is which is said in `columns`; what a damaged file raises ends here, in one sentence.
"""

from __future__ import annotations

import gzip
import io
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from astrid.errors import LightCurveError
from astrid.lightcurves.columns import Layout, choose_layout, curves_of
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.spacecraft import read_fits
from astrid.lightcurves.tables import ecsv_columns, is_parquet, parquet_curves, text_columns

__all__ = ["Measured", "from_measurements", "read_lightcurve", "read_lightcurves"]

# What damaged bytes were seen to raise inside astropy, pyarrow and zlib; anything else is our fault.
_DAMAGE = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    NameError,
    RuntimeError,
    struct.error,
    zlib.error,
)


def read_lightcurve(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    time_format: str | None = None,
    time_scale: str | None = None,
    nested: str | None = None,
) -> LightCurve:
    """Read the light curve of one source.

    Parameters
    ----------
    path : str or path-like
        CSV or ECSV, also ``.gz``; Parquet, a point in each row or, as nested-pandas and HATS have it, a
        source in each row; FITS of Kepler, K2 or TESS.
    columns : mapping, optional
        From ``time``, ``mag`` or ``flux``, ``error``, ``band``, ``quality``, ``source``, ``ra``, ``dec`` to
        the name of a column; those not given are guessed from the names that surveys use. Columns of a table
        without a header are called ``1``, ``2``, ….
    unit, time_format, time_scale : str, optional
        What the file does not tell: see `LightCurve` and `timing.TIME_FORMATS`.
    nested : str, optional
        The nested column that holds the points, where there are several.

    Returns
    -------
    curve : LightCurve

    Raises
    ------
    LightCurveError
        Not readable, without a time and a value, or of more than one source.
    UsageError
        A column or a format that there is not.
    """
    options = {"columns": columns, "unit": unit, "time_format": time_format, "time_scale": time_scale}
    curves = list(islice(read_lightcurves(path, nested=nested, **options), 2))  # type: ignore[arg-type]
    if len(curves) != 1:
        what = "has several sources; use read_lightcurves" if curves else "has no light curve; check the file"
        raise LightCurveError(f"{path}: {what}")
    return curves[0]


def read_lightcurves(
    path: str | os.PathLike[str],
    *,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    time_format: str | None = None,
    time_scale: str | None = None,
    nested: str | None = None,
    on_problem: Callable[[str, LightCurveError], None] | None = None,
) -> Iterator[LightCurve]:
    """Read the light curves of a file one after the other; Parquet in bounded memory.

    Parameters
    ----------
    path, columns, unit, time_format, time_scale, nested
        As `read_lightcurve` has them.
    on_problem : callable, optional
        Called with the name of a source that is no light curve, and why; without it, that is raised.

    Yields
    ------
    curve : LightCurve
        Named as the column of sources has it.

    Raises
    ------
    LightCurveError
        The file cannot be read; or, without `on_problem`, a source cannot.
    """
    name = os.fspath(path)
    given = {"unit": unit, "time_format": time_format, "time_scale": time_scale}

    def layout_of(names: list[str], where: str = name) -> Layout:
        return choose_layout(names, columns, where=where, **given)

    with _damage_refused(name):
        if is_parquet(Path(name)):
            yield from parquet_curves(Path(name), layout_of, nested, on_problem)
            return
        content = _content(Path(name))
        if content.startswith(b"SIMPLE"):
            yield read_fits(content, name, columns or {}, unit)
            return
        if content[:256].lstrip().startswith(b"# %ECSV"):
            table, facts = ecsv_columns(content)
        else:
            table, facts = text_columns(content, name), {}
        layout = layout_of(list(table))
        if unit is None and layout.value in facts:
            layout = replace(layout, unit=facts[layout.value])
        yield from curves_of(table, layout, name=Path(name).name, on_problem=on_problem)


class Measured(Protocol):
    """One measurement, as an alert's history has it; what is not known is None."""

    @property
    def mjd(self) -> float | None:
        """Modified Julian date."""

    @property
    def band(self) -> str | None:
        """Name of the band."""

    @property
    def flux(self) -> float | None:
        """Of the difference image, nJy, with its sign."""

    @property
    def flux_err(self) -> float | None:
        """Its error, nJy."""


def from_measurements(
    measurements: Iterable[Measured],
    *,
    name: str = "alert",
    time_scale: str | None = None,
    ra: float | None = None,
    dec: float | None = None,
) -> LightCurve:
    """The light curve of difference fluxes that an alert and its history tell.

    Parameters
    ----------
    measurements : iterable
        Of the alert and its history; limits, which have no flux, are left out.
    name : str
    time_scale : str, optional
    ra, dec : float, optional, deg

    Returns
    -------
    curve : LightCurve
        In nJy, negative where the source is fainter than in the reference.

    Raises
    ------
    LightCurveError
        No measurement has a flux.
    """
    rows = [row for row in measurements if row.mjd is not None and row.flux is not None]
    if not rows:
        raise LightCurveError(f"{name}: no measurement has a time and a flux; take alerts with photometry")
    missing = float("nan")
    return LightCurve(
        time=np.array([row.mjd for row in rows], np.float64),
        value=np.array([row.flux for row in rows], np.float64),
        error=np.array([missing if row.flux_err is None else row.flux_err for row in rows], np.float64),
        band=[row.band or "" for row in rows],
        unit="nJy",
        time_scale=time_scale or "unknown",
        name=name,
        ra=ra,
        dec=dec,
    )


def _content(path: Path) -> bytes:
    """The bytes of a file, unpacked."""
    data = path.read_bytes()
    if data.startswith(b"\x1f\x8b"):
        with gzip.open(io.BytesIO(data)) as file:
            data = file.read()
    if not data.strip():
        raise LightCurveError(f"{path}: the file is empty; fetch it again")
    return data


class _damage_refused:  # noqa: N801  (a context manager that a generator can hold open)
    """Turn what damaged bytes raise into one sentence."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, FileNotFoundError):
            raise LightCurveError(f"{self.name}: there is no such file; check the path") from error
        if isinstance(error, IsADirectoryError):
            raise LightCurveError(
                f"{self.name}: is a folder; give its files, or the catalogue in it to a run over catalogues"
            ) from error
        if isinstance(error, _DAMAGE) and not isinstance(error, LightCurveError):
            reason = " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
            raise LightCurveError(f"{self.name}: cannot be read ({reason}); fetch it again") from error
