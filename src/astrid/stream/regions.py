"""Regions of the sky and lists of targets, as parts of a filter: read once, then kept inside it.

A region is a MOC, which mocpy reads and asks; what a filter does with them is in `filters`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from astrid.catalogs.positions import REASONS, guess_column, guess_positions, positions
from astrid.catalogs.search import SkyIndex, healpix29
from astrid.catalogs.source import open_source
from astrid.errors import CatalogError, DependencyError, FilterError

if TYPE_CHECKING:
    from mocpy import MOC

__all__ = ["Region", "Target", "WatchList", "read_region", "read_watch_list"]

_FORMATS = {".fits": "fits", ".fit": "fits", ".json": "json"}
_FINEST = 29  # order of HEALPix cells
_CELLS = 12 << 2 * _FINEST
_WIDEST = 3600.0  # arcsec; what is wider is a region


class Target(BaseModel):
    """A place that is watched.

    Parameters
    ----------
    name : str
    ra, dec : float, deg
        ICRS.
    radius : float, arcsec
        Within which an alert belongs to it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    ra: float = Field(ge=0, le=360)
    dec: float = Field(ge=-90, le=90)
    radius: float = Field(gt=0, le=_WIDEST)


def read_region(given: str | Path) -> str:
    """A region as an ASCII MOC.

    Parameters
    ----------
    given : str or Path
        A file (FITS, JSON or ASCII), or a MOC in JSON or ASCII itself.

    Returns
    -------
    region : str

    Raises
    ------
    FilterError
        It is no MOC of the sky, or an empty one.
    DependencyError
        mocpy is not installed.
    """
    path = Path(given)
    try:
        is_file = path.is_file()
    except (OSError, ValueError):  # too long for a name: it is the MOC itself
        is_file = False
    label = str(path) if is_file else f"the region {str(given)[:40]!r}"
    try:
        if is_file:
            kind = _FORMATS.get(path.suffix.lower())
            if kind != "fits":
                given = path.read_text("utf-8")
            moc = _library().load(str(path), "fits") if kind == "fits" else _parsed(str(given))
        else:
            moc = _parsed(str(given))
    except (OSError, ValueError) as error:
        reason = " ".join(str(error).split())[:120]
        raise FilterError(
            f"{label} is no file and no MOC ({reason}); give a MOC as FITS, JSON or ASCII"
        ) from error
    if moc.empty() or moc.max_order > _FINEST or np.max(moc.to_depth29_ranges) > _CELLS:
        raise FilterError(f"{label} is no MOC of a part of the sky; give one that is")
    text: str = moc.to_string(format="ascii")
    return " ".join(text.split())


class Region:
    """A part of the sky, ready to be asked which positions lie in it.

    Parameters
    ----------
    moc : str
        ASCII MOC, as `read_region` gives it.

    Raises
    ------
    FilterError
        It is none.
    """

    def __init__(self, moc: str) -> None:
        self._moc = _parsed(read_region(moc))

    def holds(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which positions lie in it; one that is not known does not.

        Parameters
        ----------
        ra, dec : (n,) float64 ndarray, deg

        Returns
        -------
        holds : (n,) bool ndarray
        """
        import astropy.units as u

        found = np.isfinite(ra) & np.isfinite(dec)
        if found.any():
            found[found] = self._moc.contains_lonlat(ra[found] * u.deg, dec[found] * u.deg)
        return found


def _library() -> type[MOC]:
    try:
        from mocpy import MOC
    except ImportError as error:
        raise DependencyError('regions need mocpy; pip install "astrid[stream]"') from error
    return MOC


def _parsed(text: str) -> MOC:
    text = text.strip()
    return _library().from_string(text, "json" if text.startswith("{") else "ascii")


class WatchList:
    """Targets, ready to be asked which positions belong to them.

    Parameters
    ----------
    targets : tuple of Target
    """

    def __init__(self, targets: tuple[Target, ...]) -> None:
        ra, dec, radius = np.array([(one.ra, one.dec, one.radius) for one in targets], np.float64).T
        cells = healpix29(ra, dec)
        order = np.argsort(cells, kind="stable")
        self._index = SkyIndex(ra[order], dec[order], cells[order])
        self._radius = radius[order]

    def holds(self, ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which positions lie within the radius of a target; one that is not known does not.

        Parameters
        ----------
        ra, dec : (n,) float64 ndarray, deg

        Returns
        -------
        holds : (n,) bool ndarray
        """
        known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
        pairs = self._index.find(ra[known], dec[known], float(self._radius.max()))
        found = np.zeros(len(ra), np.bool_)
        found[known[pairs.query[pairs.distance <= self._radius[pairs.row]]]] = True
        return found


def read_watch_list(path: str | Path, radius: float) -> tuple[Target, ...]:
    """Targets from a table.

    Parameters
    ----------
    path : str or Path
        CSV, ECSV, Parquet, … with the columns ``ra`` and ``dec`` or what is usual for them, and if wanted
        ``name`` and ``radius`` (arcsec).
    radius : float, arcsec
        Where the table has none.

    Returns
    -------
    targets : tuple of Target

    Raises
    ------
    FilterError
        It cannot be read, or a row is no place on the sky.
    """
    import pyarrow as pa

    path = Path(path)
    try:
        with open_source(path) as source:
            table = pa.Table.from_batches(source.batches(), source.schema)
        columns = guess_positions(table.column_names, path)
        facts = [table.schema.field(name).metadata or {} for name in columns]
        units = [one.get(b"unit", b"").decode() for one in facts]
        parts = [table[name].combine_chunks() for name in columns]
        ra, dec, reason = positions(parts[0], parts[1], *units)
        named = guess_column("id", table.column_names)
        own = next((name for name in table.column_names if name.lower() == "radius"), None)
        sizes = [radius] * len(table) if own is None else table[own].cast(pa.float64()).to_pylist()
    except (CatalogError, pa.ArrowException) as error:
        raise FilterError(f"the watch list cannot be used: {error}") from error
    if len(table) == 0:
        raise FilterError(f"{path}: there is no target in it; give at least one")
    if reason.any():
        row = int(np.flatnonzero(reason)[0])
        raise FilterError(f"{path}: row {row + 1}: {REASONS[reason[row]]}; correct it or leave it out")
    names = [None] * len(table) if named is None else table[named].to_pylist()
    targets = []
    for row, (name, size) in enumerate(zip(names, sizes, strict=True)):
        label = f"row {row + 1}" if name is None else str(name)
        size = radius if size is None else size
        if not 0 < size <= _WIDEST:
            raise FilterError(f"{path}: {label} has a radius of {size} arcsec; expected up to {_WIDEST:.0f}")
        targets.append(Target(name=label, ra=float(ra[row]), dec=float(dec[row]), radius=size))
    return tuple(targets)
