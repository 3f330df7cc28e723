"""A catalogue on disk, matched against positions in batches.

A small one is held in memory as a whole, of a large one those partitions that were asked for last. How
it came to the disk is in `importing`; what lies beyond one disk in `distributed`.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from astrid.catalogs.layout import HEALPIX, read_layout, read_partition
from astrid.catalogs.positions import guess_column
from astrid.catalogs.roles import MotionColumns, motion_columns
from astrid.catalogs.search import (
    ARCSEC,
    ORDER,
    Motion,
    SkyIndex,
    healpix29,
    motion_of,
    reach_order,
    surroundings,
)
from astrid.errors import CatalogError

__all__ = ["RECORD", "Catalog", "Matches", "julian_year"]

RECORD = "import.json"
"""The file that says where an imported catalogue came from."""

_CACHE_ROWS = 5_000_000


@dataclass(frozen=True)
class Matches:
    """Rows of a catalogue that are near to positions.

    Parameters
    ----------
    query : (n,) int64 ndarray
        Which position; ascending, and within one position by distance.
    distance : (n,) float64 ndarray, arcsec
    count : (n,) int64 ndarray
        How many rows lie within the radius of that position.
    rows : pyarrow.Table
        The n rows.
    """

    query: NDArray[np.int64]
    distance: NDArray[np.float64]
    count: NDArray[np.int64]
    rows: pa.Table

    def __len__(self) -> int:
        return len(self.query)


@dataclass(frozen=True)
class _Block:
    """Rows in memory: where they are, and what is said of them."""

    index: SkyIndex
    table: pa.Table


class Catalog:
    """A catalogue in a HATS directory; nothing of its rows is read before the first match.

    Parameters
    ----------
    path : str or Path
        The directory.
    columns : sequence of str, optional
        The columns that matches have; all by default. Fewer take less memory.
    cache_rows : int
        Rows that are kept in memory: a catalogue with more is read by partitions.

    Raises
    ------
    CatalogError
        It is no catalogue, is damaged, or lacks a column.
    """

    def __init__(
        self, path: str | Path, *, columns: Sequence[str] | None = None, cache_rows: int = _CACHE_ROWS
    ) -> None:
        self.path = Path(path)
        self._layout = layout = read_layout(self.path)
        properties = layout.properties
        self.name: str = properties.get("obs_collection", self.path.name)
        self.ra_column: str = properties["hats_col_ra"]
        self.dec_column: str = properties["hats_col_dec"]
        names = [name for name in layout.schema.names if name != HEALPIX]
        absent = sorted(set(columns or ()) - set(names))
        if absent:
            raise CatalogError(
                f"{self.path}: there is no column {absent[0]!r}; the columns are {', '.join(names)}"
            )
        self.id_column: str | None = properties.get("astrid_col_id") or guess_column("id", names)
        self.motion: MotionColumns | None = motion_columns(properties)
        chosen = names if columns is None else list(dict.fromkeys(columns))
        self.schema: pa.Schema = pa.schema([layout.schema.field(name) for name in chosen])
        self.all_columns: pa.Schema = pa.schema([layout.schema.field(name) for name in names])
        self.n_rows = int(properties.get("hats_nrows", 0))
        self._cache_rows = cache_rows
        cells = layout.cells
        self._first = np.array([cell.pixel << 2 * (ORDER - cell.order) for cell in cells], np.int64)
        self._last = np.array([cell.pixel + 1 << 2 * (ORDER - cell.order) for cell in cells], np.int64)
        self._blocks: OrderedDict[int, _Block] = OrderedDict()
        self._whole: _Block | None = None

    def __repr__(self) -> str:
        return f"Catalog({str(self.path)!r}, {self.n_rows:,} rows)"

    @property
    def n_partitions(self) -> int:
        """How many files the rows are in."""
        return len(self._layout.cells)

    @property
    def record(self) -> dict[str, Any]:
        """Where it came from; empty for one that was made elsewhere."""
        path = self.path / RECORD
        try:
            content = json.loads(path.read_text("utf-8")) if path.is_file() else {}
        except (OSError, ValueError) as error:
            raise CatalogError(f"{path}: cannot be read ({error}); import the catalogue again") from error
        return dict(content)

    def select(self, columns: Sequence[str]) -> Catalog:
        """The same catalogue with these columns only, in memory of its own.

        Raises
        ------
        CatalogError
            It lacks a column.
        """
        return Catalog(self.path, columns=columns, cache_rows=self._cache_rows)

    def nearest(self, ra: ArrayLike, dec: ArrayLike, radius: float, mjd: ArrayLike | None = None) -> Matches:
        """The nearest row within `radius` of each position; a position without one does not appear.

        Parameters
        ----------
        ra, dec : (n,) array_like, deg
            A position that is not finite matches nothing.
        radius : float, arcsec
        mjd : (n,) array_like or float, days, optional
            When the positions were observed: rows are moved there by their proper motions, if the
            catalogue has such. NaN leaves them where they were at the epoch of the catalogue.

        Returns
        -------
        matches : Matches
            Of rows at the same distance the first in the catalogue.

        Raises
        ------
        CatalogError
            Lengths differ, a declination is not on the sky, the radius is not between 0 and 180
            degrees, or the catalogue is damaged.
        """
        return self._match(ra, dec, radius, mjd, nearest=True)

    def within(self, ra: ArrayLike, dec: ArrayLike, radius: float, mjd: ArrayLike | None = None) -> Matches:
        """All rows within `radius` of each position, the nearest first; as `nearest` otherwise."""
        return self._match(ra, dec, radius, mjd, nearest=False)

    def _match(
        self, ra: ArrayLike, dec: ArrayLike, radius: float, mjd: ArrayLike | None, *, nearest: bool
    ) -> Matches:
        lon, lat, year = checked(ra, dec, radius, mjd)
        known = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
        counts = np.zeros(len(lon), np.int64)
        queries, distances, tables = [], [], []
        for block, asked in self._blocks_near(known, lon, lat, radius, year):
            pairs = block.index.find(lon[asked], lat[asked], radius, None if year is None else year[asked])
            query, row, distance = asked[pairs.query], pairs.row, pairs.distance
            counts += np.bincount(query, minlength=len(lon))
            if nearest:
                one = first_of_each(query)
                query, row, distance = query[one], row[one], distance[one]
            if len(query):
                queries.append(query)
                distances.append(distance)
                tables.append(block.table.take(pa.array(row)))
        if not queries:
            none = np.zeros(0, np.int64)
            return Matches(none, np.zeros(0), none, self.schema.empty_table())
        query, distance, rows = np.concatenate(queries), np.concatenate(distances), pa.concat_tables(tables)
        if len(queries) > 1:  # each is in order, and the blocks are in the order of the catalogue
            order = np.lexsort((distance, query))
            if nearest:
                order = order[first_of_each(query[order])]
            query, distance, rows = query[order], distance[order], rows.take(pa.array(order))
        return Matches(query, distance, counts[query], rows)

    def _blocks_near(
        self,
        known: NDArray[np.int64],
        lon: NDArray[np.float64],
        lat: NDArray[np.float64],
        radius: float,
        year: NDArray[np.float64] | None,
    ) -> Iterator[tuple[_Block, NDArray[np.int64]]]:
        """What has to be searched, with the numbers of the positions to search it for."""
        if not len(known) or not len(self._first):
            return
        if self.n_rows <= self._cache_rows:
            if self._whole is None:
                self._whole = self._load(range(self.n_partitions))
            yield self._whole, known
            return
        reach = radius * ARCSEC + (0.0 if self.motion is None else self.motion.drift(year))
        position, partition = near_partitions(
            healpix29(lon[known], lat[known]), reach, self._first, self._last
        )
        for k in np.unique(partition):
            yield self._block(int(k)), known[position[partition == k]]

    def _block(self, k: int) -> _Block:
        """A partition, from memory if it was asked for lately."""
        if k not in self._blocks:
            self._blocks[k] = self._load([k])
        self._blocks.move_to_end(k)
        while len(self._blocks) > 1 and sum(len(b.index) for b in self._blocks.values()) > self._cache_rows:
            self._blocks.popitem(last=False)
        return self._blocks[k]

    def _load(self, partitions: Sequence[int]) -> _Block:
        needed = [self.ra_column, self.dec_column, *([] if self.motion is None else self.motion.columns)]
        if HEALPIX in self._layout.schema.names:
            needed.append(HEALPIX)
        columns = list(dict.fromkeys([*needed, *self.schema.names]))
        cells = self._layout.cells
        table = pa.concat_tables([read_partition(self._layout, cells[k], columns) for k in partitions])
        index, table = indexed(table.combine_chunks(), self.ra_column, self.dec_column, self.motion)
        return _Block(index, table.select(self.schema.names))


def indexed(table: pa.Table, ra: str, dec: str, motion: MotionColumns | None) -> tuple[SkyIndex, pa.Table]:
    """Rows in the order of the HEALPix curve, and where they are.

    Parameters
    ----------
    table : pyarrow.Table
    ra, dec : str
        Columns in degrees.
    motion : MotionColumns or None
    """
    lon, lat = _column(table, ra), _column(table, dec)
    if HEALPIX in table.schema.names:
        healpix = table.column(HEALPIX).to_numpy()
    else:  # catalogues of before 2024 are sorted by another number
        healpix = healpix29(lon, lat)
    if np.any(healpix[1:] < healpix[:-1]):
        order = np.argsort(healpix, kind="stable")
        table, lon, lat, healpix = table.take(pa.array(order)), lon[order], lat[order], healpix[order]
    moving = None if motion is None else _motion(table, motion, lon, lat)
    return SkyIndex(lon, lat, healpix, moving), table


def near_partitions(
    cells: NDArray[np.int64], reach: float, first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Which partitions may hold something within `reach` radians of positions.

    Parameters
    ----------
    cells : (n,) int64 ndarray
        Cells of order 29 of the positions.
    reach : float, rad
    first, last : (m,) int64 ndarray
        The cells of order 29 at which each partition begins and ends, ascending.

    Returns
    -------
    position, partition : (k,) int64 ndarray
        Each pair once, by position.
    """
    order = reach_order(reach)
    if order is None:
        lowest = np.zeros((len(cells), 1), np.int64)
        highest = np.full((len(cells), 1), len(first), np.int64)
    else:
        around = surroundings(cells, order)
        shift = 2 * (ORDER - order)
        lowest = np.searchsorted(last, around << shift, side="right")
        highest = np.where(around < 0, lowest, np.searchsorted(first, (around + 1) << shift))
    n = np.maximum(highest - lowest, 0).ravel()
    begin = lowest.ravel() - (np.cumsum(n) - n)
    partition = np.repeat(begin, n) + np.arange(n.sum())
    position = np.repeat(np.arange(len(n)) // lowest.shape[1], n)
    pairs = np.unique(np.stack([position, partition]), axis=1)
    return pairs[0], pairs[1]


def julian_year(mjd: NDArray[np.float64]) -> NDArray[np.float64]:
    """Modified Julian dates as Julian years."""
    return 2000.0 + (mjd - 51544.5) / 365.25


def checked(
    ra: ArrayLike, dec: ArrayLike, radius: float, mjd: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Positions, radius and Julian years that can be matched.

    Raises
    ------
    CatalogError
        See `Catalog.nearest`.
    """
    lon = np.atleast_1d(np.asarray(ra, np.float64))
    lat = np.atleast_1d(np.asarray(dec, np.float64))
    if lon.ndim != 1 or lon.shape != lat.shape:
        raise CatalogError(
            f"right ascensions have shape {lon.shape} and declinations {lat.shape}; give as many of both"
        )
    if not 0 <= radius <= 180 * 3600:
        raise CatalogError(
            f"the radius is {radius:g} arcsec, expected 0 to 648000 (180 degrees); give such a one"
        )
    off = np.flatnonzero(np.isfinite(lat) & (np.abs(lat) > 90))
    if len(off):
        raise CatalogError(
            f"position {off[0]} has the declination {lat[off[0]]:g}, expected -90 to 90 degrees; correct it"
        )
    if mjd is None:
        return lon, lat, None
    dates = np.asarray(mjd, np.float64)
    if dates.ndim > 1 or (dates.ndim == 1 and dates.shape != lon.shape):
        raise CatalogError(f"dates have shape {dates.shape}, expected {lon.shape} or a single one; give such")
    return lon, lat, julian_year(np.broadcast_to(dates, lon.shape))


def first_of_each(query: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where in ascending numbers each one first stands."""
    return np.flatnonzero(np.diff(query, prepend=-1))


def _motion(
    table: pa.Table, motion: MotionColumns, lon: NDArray[np.float64], lat: NDArray[np.float64]
) -> Motion:
    if isinstance(motion.epoch, str):
        epoch = _column(table, motion.epoch)
    else:
        epoch = np.full(len(lon), motion.epoch)
    return motion_of(lon, lat, _column(table, motion.pmra), _column(table, motion.pmdec), epoch)


def _column(table: pa.Table, name: str) -> NDArray[np.float64]:
    return np.asarray(table.column(name).cast(pa.float64()).to_numpy(), np.float64)
