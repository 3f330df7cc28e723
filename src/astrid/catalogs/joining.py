"""Matching a table in a file with a catalogue, part by part, into a table with the columns of both."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astrid.catalogs.catalog import Catalog
from astrid.catalogs.positions import guess_positions, positions
from astrid.catalogs.source import SourceTable, open_source
from astrid.errors import CatalogError
from astrid.files.atomic import atomic_path

__all__ = ["Joined", "join_table"]


@dataclass
class Joined:
    """What was matched.

    Parameters
    ----------
    n : int
        Positions.
    n_unknown : int
        Of these, how many are null or cannot be read.
    n_matched : int
        How many have a row within the radius.
    n_pairs : int
        Pairs of position and row that were kept.
    """

    n: int = 0
    n_unknown: int = 0
    n_matched: int = 0
    n_pairs: int = 0

    def as_dict(self) -> dict[str, int]:
        """The numbers, for JSON."""
        return asdict(self)


def join_table(
    catalog: Catalog,
    path: str | Path,
    out: str | Path | None = None,
    *,
    radius: float,
    every: bool = False,
    ra: str | None = None,
    dec: str | None = None,
    mjd: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Joined:
    """Match the positions of a table.

    Parameters
    ----------
    catalog : Catalog
    path : str or Path
        A table of any format that can be imported.
    out : str or Path, optional
        Parquet file to write: the table with ``<catalog>_distance`` (arcsec) and the catalogue's columns
        as ``<catalog>_<column>``; null where nothing matches, so that no row is lost.
    radius : float, arcsec
    every : bool
        A row for each match, and not only for the nearest.
    ra, dec : str, optional
        Columns of the positions; by default those with a usual name.
    mjd : str, optional
        Column of the dates (days), for proper motions; by default ``mjd`` where there is one.
    on_progress : callable, optional
        Called with the rows done, and of how many.

    Returns
    -------
    joined : Joined

    Raises
    ------
    CatalogError
        The file cannot be read, lacks a column, or has one that the result would have twice.
    OutputError
        The result cannot be written.
    """
    joined = Joined()
    with ExitStack() as stack:
        table = stack.enter_context(open_source(Path(path)))
        columns = _columns(Path(path), table, catalog, ra, dec, mjd)
        schema = pa.schema(
            [
                *table.schema,
                pa.field(f"{catalog.name}_distance", pa.float64(), metadata={"unit": "arcsec"}),
                *(field.with_name(f"{catalog.name}_{field.name}") for field in catalog.schema),
            ]
        )
        twice = sorted(name for name in set(schema.names) if schema.names.count(name) > 1)
        if twice:
            raise CatalogError(f"{path}: has a column {twice[0]!r}, as the result would; rename it")
        writer: Any = None
        if out is not None:
            partial = stack.enter_context(atomic_path(out))
            writer = stack.enter_context(pq.ParquetWriter(partial, schema, compression="zstd"))
        for batch in table.batches():
            part = _join(catalog, batch, columns, table.schema, schema, radius, every, joined)
            if writer is not None:
                writer.write_table(part)
            if on_progress is not None:
                on_progress(joined.n, table.n_rows)
    return joined


def _columns(
    path: Path, table: SourceTable, catalog: Catalog, ra: str | None, dec: str | None, mjd: str | None
) -> tuple[str, str, str | None]:
    names = table.schema.names
    for given in (ra, dec, mjd):
        if given is not None and given not in names:
            raise CatalogError(f"{path}: there is no column {given!r}; the columns are {', '.join(names)}")
    if ra is None or dec is None:
        found = guess_positions(names, path)
        ra, dec = ra or found[0], dec or found[1]
    if mjd is None and catalog.motion is not None and "mjd" in names:
        mjd = "mjd"
    return ra, dec, mjd


def _join(
    catalog: Catalog,
    batch: pa.RecordBatch,
    columns: tuple[str, str, str | None],
    source: pa.Schema,
    schema: pa.Schema,
    radius: float,
    every: bool,
    joined: Joined,
) -> pa.Table:
    ra, dec, mjd = columns
    units = [(source.field(name).metadata or {}).get(b"unit", b"").decode() for name in (ra, dec)]
    lon, lat, reason = positions(batch.column(ra), batch.column(dec), *units)
    dates = None
    if mjd is not None:
        dates = batch.column(mjd).cast(pa.float64()).to_numpy(zero_copy_only=False)
    found = (catalog.within if every else catalog.nearest)(lon, lat, radius, dates)
    alone = np.setdiff1d(np.arange(batch.num_rows), found.query)
    query = np.concatenate([found.query, alone])
    order = np.argsort(query, kind="stable")
    row = np.concatenate([np.arange(len(found)), np.zeros(len(alone), np.int64)])[order]
    without = order >= len(found)
    joined.n += batch.num_rows
    joined.n_unknown += int(np.count_nonzero(reason))
    joined.n_matched += batch.num_rows - len(alone)
    joined.n_pairs += len(found)
    mine = batch.take(pa.array(query[order]))
    index = pa.array(row, mask=without)  # a null index takes a null
    distance = pa.array(found.distance).take(index)
    theirs = found.rows.combine_chunks().take(index)
    return pa.Table.from_arrays([*mine.columns, distance, *theirs.columns], schema=schema)
