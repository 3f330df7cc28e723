"""Matching with a catalogue beyond one disk: partitions are read and searched by LSDB's Dask workers.

Gives what `Catalog.nearest` and `Catalog.within` give, of any HATS catalogue that LSDB opens, such as one
on a server. A position is sent to every partition that its circle touches, so that no margin is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from astrid.catalogs.catalog import Matches, checked, first_of_each, indexed, near_partitions
from astrid.catalogs.layout import HEALPIX
from astrid.catalogs.roles import MotionColumns, motion_columns
from astrid.catalogs.search import ARCSEC, ORDER, Pairs, healpix29
from astrid.errors import CatalogError, DependencyError

__all__ = ["match_distributed"]


def match_distributed(
    path: Any,
    ra: ArrayLike,
    dec: ArrayLike,
    radius: float,
    mjd: ArrayLike | None = None,
    *,
    columns: Sequence[str] | None = None,
    every: bool = False,
) -> Matches:
    """Match positions with a catalogue through LSDB; on a cluster, if there is a Dask client.

    Parameters
    ----------
    path : str, Path or UPath
        Of a HATS catalogue or collection: a directory or an address.
    ra, dec : (n,) array_like, deg
        A position that is not finite matches nothing.
    radius : float, arcsec
    mjd : (n,) array_like or float, days, optional
        When they were observed, for a catalogue that was imported with proper motions.
    columns : sequence of str, optional
        The columns that the matches have; all by default.
    every : bool
        All rows within the radius, and not only the nearest.

    Returns
    -------
    matches : Matches

    Raises
    ------
    DependencyError
        LSDB is not installed.
    CatalogError
        There is no such catalogue, it lacks a column, or the positions cannot be used.
    """
    try:
        import dask
        import lsdb
    except ImportError as error:
        raise DependencyError('this needs LSDB; pip install "astrid[scale]"') from error

    lon, lat, year = checked(ra, dec, radius, mjd)
    try:
        structure = lsdb.open_catalog(path, columns="all").hc_structure
    except (OSError, ValueError) as error:
        raise CatalogError(f"{path}: cannot be opened by LSDB ({error}); give a HATS catalogue") from error
    info = structure.catalog_info
    motion = motion_columns({key: str(value) for key, value in info.extra_dict(by_alias=True).items()})
    fields = {field.name: field for field in structure.schema if field.name != HEALPIX}
    absent = sorted(set(columns or ()) - set(fields))
    if absent:
        raise CatalogError(f"{path}: there is no column {absent[0]!r}; the columns are {', '.join(fields)}")
    schema = pa.schema([fields[name] for name in (fields if columns is None else dict.fromkeys(columns))])
    needed = {info.ra_column, info.dec_column, *schema.names, *(motion.columns if motion else ())}
    known = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat))
    pixels = sorted(structure.get_healpix_pixels(), key=lambda one: one.pixel << 2 * (ORDER - one.order))
    first = np.array([one.pixel << 2 * (ORDER - one.order) for one in pixels], np.int64)
    last = np.array([one.pixel + 1 << 2 * (ORDER - one.order) for one in pixels], np.int64)
    reach = radius * ARCSEC + (motion.drift(year) if motion else 0.0)
    position, partition = near_partitions(healpix29(lon[known], lat[known]), reach, first, last)
    counts = np.zeros(len(lon), np.int64)
    none = np.zeros(0, np.int64)
    if not len(partition):
        return Matches(none, np.zeros(0), none, schema.empty_table())
    catalog = lsdb.open_catalog(path, columns=[name for name in fields if name in needed])
    search = dask.delayed(_search)
    tasks = []
    for k in np.unique(partition):
        asked = known[position[partition == k]]
        frame = catalog.get_partition(pixels[k].order, pixels[k].pixel).to_delayed()[0]
        years = None if year is None else year[asked]
        tasks.append(
            search(
                frame, asked, lon[asked], lat[asked], years, radius, every,
                info.ra_column, info.dec_column, motion, schema,
            )
        )  # fmt: skip
    parts = dask.compute(*tasks)
    for asked, found, _ in parts:
        counts += np.bincount(asked[found.query], minlength=len(lon))
    query, distance, rows = [], [], []
    for asked, found, table in parts:
        kept = np.arange(len(found.query)) if every else first_of_each(found.query)
        query.append(asked[found.query[kept]])
        distance.append(found.distance[kept])
        rows.append(table)
    queries, distances, table = np.concatenate(query), np.concatenate(distance), pa.concat_tables(rows)
    order = np.lexsort((distances, queries))
    if not every:
        order = order[first_of_each(queries[order])]
    return Matches(queries[order], distances[order], counts[queries[order]], table.take(pa.array(order)))


def _search(
    frame: Any,
    asked: NDArray[np.int64],
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    year: NDArray[np.float64] | None,
    radius: float,
    every: bool,
    ra: str,
    dec: str,
    motion: MotionColumns | None,
    schema: pa.Schema,
) -> tuple[NDArray[np.int64], Pairs, pa.Table]:
    """On a worker: what a partition has near to the positions that were sent to it."""
    table = pa.Table.from_pandas(frame, preserve_index=False)
    index, table = indexed(table, ra, dec, motion)
    found = index.find(lon, lat, radius, year)
    row = found.row if every else found.row[first_of_each(found.query)]
    return asked, found, table.select(schema.names).cast(schema).take(pa.array(row))
