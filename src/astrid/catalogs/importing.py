"""Bringing a table of positions into the form in which catalogues are matched.

The rows are read once in parts, sorted along the HEALPix curve in runs on the disk, and merged into
partitions: what is in memory at a time is one part or one partition. Matching is in `catalog`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.catalogs.catalog import RECORD, Catalog
from astrid.catalogs.layout import HEALPIX, Cell, PartitionWriter, write_properties
from astrid.catalogs.places import catalogs_directory
from astrid.catalogs.positions import REASONS, positions
from astrid.catalogs.roles import Roles, choose_roles
from astrid.catalogs.search import ARCSEC, ORDER, healpix29, reach_order, surroundings
from astrid.catalogs.source import SourceTable, open_source
from astrid.errors import OutputError, UsageError
from astrid.files.directory import product_directory
from astrid.files.record import sha256

__all__ = ["MARGIN", "SET_ASIDE", "import_catalog"]

SET_ASIDE = "set_aside.parquet"
"""The rows without a usable position, each with its number and the reason."""

MARGIN = 60.0
"""Arcseconds beyond the edge of a partition whose rows LSDB finds in the margin."""

_FINEST = 8  # the smallest partitions are 14 arcmin wide
_NAME = re.compile(r"[a-z][a-z0-9_]*")


def import_catalog(
    source: str | Path,
    name: str,
    *,
    ra: str | None = None,
    dec: str | None = None,
    id: str | None = None,
    pmra: str | None = None,
    pmdec: str | None = None,
    epoch: str | float | None = None,
    motion: bool = True,
    columns: Sequence[str] | None = None,
    folder: str | Path | None = None,
    partition_rows: int = 200_000,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> Catalog:
    """Import a table of positions as a catalogue that can be matched by its name.

    Parameters
    ----------
    source : str or Path
        Parquet, CSV (also with tabs or bars), ECSV, FITS or VOTable.
    name : str
        Lower-case letters, digits and underscores: it becomes a part of the names of columns.
    ra, dec : str, optional
        Columns of positions (ICRS or J2000), by default those with a usual name. Decimal degrees,
        another unit that the file states, or sexagesimal text; they become decimal degrees.
    id : str, optional
        The column that names a row; by default one with a usual name, if there is one.
    pmra, pmdec : str, optional
        Proper motions, mas/yr unless the file says otherwise; that in right ascension contains the
        cosine of the declination. By default those with a usual name.
    epoch : str or float, optional
        When the positions held, in Julian years: a column or one number. By default a column with
        a usual name.
    motion : bool
        False leaves proper motions out of account.
    columns : sequence of str, optional
        What to keep beside these; by default everything.
    folder : str or Path, optional
        Where catalogues are; by default `catalogs_directory`.
    partition_rows : int
        A partition with more rows is divided into four.
    overwrite : bool
        Replace a catalogue of this name.
    on_progress : callable, optional
        Called with the rows done, and of how many; each row counts twice.

    Returns
    -------
    catalog : Catalog
        Its ``record`` says how many rows were imported and how many set aside; those are in
        ``set_aside.parquet`` beside it.

    Raises
    ------
    UsageError
        The name cannot be used.
    CatalogError
        The file cannot be read, or lacks a column.
    OutputError
        There is such a catalogue already, or it cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"the name of a catalogue is {name!r}; choose one of lower-case letters, digits and underscores"
        )
    path, home = Path(source), Path(folder) if folder is not None else catalogs_directory()
    target = home / name
    if target.exists() and not overwrite:
        raise OutputError(f"{target}: there is already such a catalogue; pass --overwrite to replace it")
    with open_source(path) as table:
        roles = choose_roles(
            path, table.schema, ra=ra, dec=dec, id=id, pmra=pmra, pmdec=pmdec, epoch=epoch, motion=motion,
            columns=columns,
        )  # fmt: skip
        staged = target if not target.exists() else home / f".{name}.replacement"
        with product_directory(staged, names=(), last=RECORD) as staging:
            work = staging / ".work"
            work.mkdir()
            intake = _sort(table, roles, work, staging / SET_ASIDE, on_progress)
            facts = _write(intake, roles, name, staging, partition_rows, on_progress)
            shutil.rmtree(work)
            record = {
                "catalog": name,
                "source": str(path.resolve()),
                "sha256": sha256(path),
                "astrid": __version__,
                "created": datetime.now(tz=UTC).isoformat(timespec="seconds"),
                "n_rows": intake.n_good,
                "n_set_aside": sum(intake.reasons.values()),
                "reasons": intake.reasons,
                **facts,
            }
            (staging / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    if staged != target:
        _replace(staged, target)
    return Catalog(target)


@dataclass
class _Intake:
    """Sorted runs on the disk, and what was counted while they were made."""

    schema: pa.Schema
    runs: list[Path]
    counts: NDArray[np.int64]  # rows in each cell of order _FINEST
    reasons: dict[str, int]
    fastest: float = 0.0  # mas/yr
    epochs: tuple[float, float] = (np.inf, -np.inf)

    @property
    def n_good(self) -> int:
        return int(self.counts.sum())


def _sort(
    table: SourceTable,
    roles: Roles,
    work: Path,
    aside: Path,
    on_progress: Callable[[int, int], None] | None,
) -> _Intake:
    """Read everything once: positions in degrees, good rows into sorted runs, the others aside."""
    schema = pa.schema([pa.field(HEALPIX, pa.int64()), *roles.schema])
    intake = _Intake(schema, [], np.zeros(12 << 2 * _FINEST, np.int64), {})
    done = 0
    with ExitStack() as stack:
        writer: Any = None
        for batch in table.batches():
            lon, lat, reason = positions(
                batch.column(roles.ra), batch.column(roles.dec), *roles.units(table.schema)
            )
            bad = np.flatnonzero(reason)
            if len(bad):
                rejected = _rejected(batch, bad, reason[bad], done)
                if writer is None:
                    writer = stack.enter_context(pq.ParquetWriter(aside, rejected.schema, compression="zstd"))
                writer.write_table(rejected)
                for code, n in zip(*np.unique(reason[bad], return_counts=True), strict=True):
                    intake.reasons[REASONS[code]] = intake.reasons.get(REASONS[code], 0) + int(n)
            good = np.flatnonzero(reason == 0)
            if len(good):
                _add_run(intake, roles, batch.take(pa.array(good)), lon[good], lat[good], work)
            done += batch.num_rows
            if on_progress is not None:
                on_progress(done, 2 * table.n_rows)
    return intake


def _rejected(
    batch: pa.RecordBatch, rows: NDArray[np.int64], codes: NDArray[np.uint8], before: int
) -> pa.Table:
    reasons = pa.array([REASONS[code] for code in codes], pa.string())
    table = pa.Table.from_batches([batch.take(pa.array(rows))])
    table = table.add_column(0, "_reason", reasons)
    return table.add_column(0, "_row", pa.array(rows + before + 1, pa.int64()))


def _add_run(
    intake: _Intake,
    roles: Roles,
    batch: pa.RecordBatch,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    work: Path,
) -> None:
    healpix = healpix29(lon, lat)
    order = np.argsort(healpix, kind="stable")
    arrays = {roles.ra: pa.array(lon), roles.dec: pa.array(lat), **roles.motions(batch)}
    columns = [pa.array(healpix)] + [
        arrays[field.name] if field.name in arrays else batch.column(field.name) for field in roles.schema
    ]
    run = pa.record_batch(columns, schema=intake.schema).take(pa.array(order))
    path = work / f"run-{len(intake.runs)}.arrow"
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, intake.schema) as writer:
        writer.write_batch(run)
    intake.runs.append(path)
    cells, counts = np.unique(healpix >> 2 * (ORDER - _FINEST), return_counts=True)
    intake.counts[cells] += counts
    fastest, first, last = roles.span(arrays, batch)
    intake.fastest = max(intake.fastest, fastest)
    intake.epochs = (min(intake.epochs[0], first), max(intake.epochs[1], last))


def _write(
    intake: _Intake,
    roles: Roles,
    name: str,
    staging: Path,
    partition_rows: int,
    on_progress: Callable[[int, int], None] | None,
) -> dict[str, Any]:
    """Merge the runs into partitions, with a margin round each."""
    cells = _choose_cells(intake.counts, partition_rows)
    first = np.array([cell.pixel << 2 * (ORDER - cell.order) for cell in cells], np.int64)
    last = np.array([cell.pixel + 1 << 2 * (ORDER - cell.order) for cell in cells], np.int64)
    bounds = []
    for path in intake.runs:
        healpix = _read_run(path).column(0).to_numpy()
        bounds.append((np.searchsorted(healpix, first), np.searchsorted(healpix, last)))
    main = PartitionWriter(staging / name, intake.schema)
    margins: dict[int, list[Path]] = {}
    for k, cell in enumerate(cells):
        parts = [
            _read_run(path).slice(start[k], stop[k] - start[k])
            for path, (start, stop) in zip(intake.runs, bounds, strict=True)
            if stop[k] > start[k]
        ]
        rows = _sorted(pa.Table.from_batches(parts))
        main.write(cell, rows)
        for other, near in _beyond(rows, k, first, last):
            path = intake.runs[0].with_name(f"margin-{other}-{k}.arrow")
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, intake.schema) as writer:
                writer.write_table(near)
            margins.setdefault(other, []).append(path)
        if on_progress is not None:
            on_progress(intake.n_good + main.n_rows, 2 * intake.n_good)
    facts = roles.as_properties(intake.fastest, intake.epochs)
    created = datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%MUTC")
    common = {
        "hats_col_ra": roles.ra,
        "hats_col_dec": roles.dec,
        "hats_builder": f"astrid {__version__}",
        "hats_creation_date": created,
    }
    main.finish({"obs_collection": name, "dataproduct_type": "object", **common, **facts})
    collection = {"obs_collection": name, "hats_primary_table_url": name}
    if margins:
        margin = f"{name}_margin"
        border = PartitionWriter(staging / margin, intake.schema)
        for other in sorted(margins):
            parts = [batch for path in margins[other] for batch in _read_batches(path)]
            border.write(cells[other], _sorted(pa.Table.from_batches(parts)))
        border.finish(
            {
                "obs_collection": margin,
                "dataproduct_type": "margin",
                **common,
                "hats_primary_table_url": name,
                "hats_margin_threshold": MARGIN,
            }
        )
        collection |= {"all_margins": margin, "default_margin": margin}
    write_properties(staging / "collection.properties", collection)
    return {"n_partitions": len(cells), "roles": facts}


def _choose_cells(counts: NDArray[np.int64], most: int) -> list[Cell]:
    """The largest cells that hold at most `most` rows, along the curve; empty ones are left out."""
    by_order = [counts]
    for _ in range(_FINEST):
        by_order.insert(0, by_order[0].reshape(-1, 4).sum(axis=1))
    cells: list[Cell] = []
    divided = np.ones(3, bool)  # so that the twelve cells of order 0 have "parents"
    for order, n in enumerate(by_order):
        open_ = np.repeat(divided, 4)
        leaf = open_ & (n > 0) & ((n <= most) | (order == _FINEST))
        divided = open_ & (n > 0) & ~leaf
        cells += [Cell(order, int(pixel)) for pixel in np.flatnonzero(leaf)]
    return sorted(cells, key=lambda cell: cell.pixel << 2 * (ORDER - cell.order))


def _beyond(
    rows: pa.Table, k: int, first: NDArray[np.int64], last: NDArray[np.int64]
) -> Iterator[tuple[int, pa.Table]]:
    """The rows of partition `k` that are in the margin of others: number of the other, rows."""
    order = reach_order(MARGIN * ARCSEC)
    assert order is not None
    around = surroundings(rows.column(HEALPIX).to_numpy(), order)
    shift = 2 * (ORDER - order)
    other = np.searchsorted(first, around << shift, side="right") - 1
    inside = (around >= 0) & (other >= 0) & ((around << shift) < last[other]) & (other != k)
    for one in np.unique(other[inside]):
        yield int(one), rows.take(pa.array(np.flatnonzero((inside & (other == one)).any(axis=1))))


def _read_batches(path: Path) -> list[pa.RecordBatch]:
    with pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source)
        return [reader.get_batch(k) for k in range(reader.num_record_batches)]


def _read_run(path: Path) -> pa.RecordBatch:
    return _read_batches(path)[0]


def _sorted(table: pa.Table) -> pa.Table:
    healpix = table.column(HEALPIX).to_numpy()
    return table.take(pa.array(np.argsort(healpix, kind="stable"))).combine_chunks()


def _replace(staged: Path, target: Path) -> None:
    """Put a complete catalogue in the place of the one that has the name."""
    former = target.with_name(f".{target.name}.former")
    shutil.rmtree(former, ignore_errors=True)
    try:
        target.rename(former)
        staged.rename(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be replaced ({error.strerror}); check its owner") from error
    shutil.rmtree(former, ignore_errors=True)
