"""One partition of a catalogue of light curves: read it, measure its sources, leave the rows in a file.

This is what a worker does, wherever it runs; which partitions there are and who works on them is decided in
`curve_catalog`.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astrid.catalogs.layout import HEALPIX, Cell, partition_path
from astrid.errors import LightCurveError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.lightcurves.columns import Layout, one_curve
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.tables import nested_columns
from astrid.survey.curve_measures import Measures, measure, prepared

__all__ = ["SET_ASIDE", "Plan", "counts_of", "footer_of", "measure_partition"]

SET_ASIDE = "set_aside"
"""The folder of the sources that are no light curves: a file for each partition that has some."""

_CHUNK = 256  # light curves in memory at a time, as objects
_DONE = b"astrid"  # in the footer of a partition: what it was made of, and counts


@dataclass(frozen=True)
class Plan:
    """All that a worker has to know.

    Parameters
    ----------
    out : str
        Folder of the result.
    fingerprint : str
        Of the settings; a partition with another one is not of this run.
    measures : Measures
    hashes : mapping of str to str
        Name and identity of the models.
    nested : str
        The column of points.
    layout : Layout
        Of its fields.
    kept : tuple of str
        Columns that go along: name, right ascension, declination, and others.
    columns : bytes
        The schema of the rows, serialised.
    """

    out: str
    fingerprint: str
    measures: Measures
    hashes: Mapping[str, str]
    nested: str
    layout: Layout
    kept: tuple[str, ...]
    columns: bytes

    @property
    def schema(self) -> pa.Schema:
        """The schema of the rows."""
        return pa.ipc.read_schema(pa.BufferReader(self.columns))


def measure_partition(table: pa.Table, cell: Cell, plan: Plan) -> dict[str, Any]:
    """Measure the sources of a partition and leave them in a file.

    Parameters
    ----------
    table : pyarrow.Table
        With the HEALPix column, those that are kept, and the points.
    cell : Cell
    plan : Plan

    Returns
    -------
    counts : dict
        ``n_sources``, ``n_measured``, ``n_with_problems``, ``reasons``; of this process ``process`` and
        ``memory``, its highest so far, MB; and ``cpu``, the processor's seconds that it took.

    Raises
    ------
    UsageError
        The models here are not those of the run.
    OutputError
        The file cannot be written.
    """
    if plan.measures.hashes != plan.hashes:
        raise UsageError(
            "a worker has another model than the one that the run was started with; give all the same bundles"
        )
    began = time.process_time()
    schema = plan.schema
    rows: list[pa.Table] = []
    aside: list[tuple[int, str]] = []
    for start in range(0, table.num_rows, _CHUNK):
        part = table.slice(start, _CHUNK)
        curves, good = [], []
        for i, curve in enumerate(_curves(part, plan)):
            if isinstance(curve, str):
                aside.append((start + i, curve))
            else:
                curves.append(curve)
                good.append(i)
        if curves:
            facts = part.select([HEALPIX, *plan.kept]).take(pa.array(good, pa.int64()))
            found, _ = measure(curves, plan.measures)
            both = zip([*facts.columns, *found.columns], schema, strict=True)
            rows.append(pa.Table.from_arrays([one.cast(field.type) for one, field in both], schema=schema))
    whole = pa.concat_tables(rows) if rows else schema.empty_table()
    order = np.argsort(whole.column(HEALPIX).to_numpy(), kind="stable")
    whole = whole.take(pa.array(order)).combine_chunks()
    reasons: dict[str, int] = {}
    for _, reason in aside:
        reasons[reason] = reasons.get(reason, 0) + 1
    counts = {
        "n_sources": table.num_rows,
        "n_measured": whole.num_rows,
        "n_with_problems": whole.num_rows - whole.column("problem").null_count,
        "reasons": reasons,
    }
    try:
        _leave(cell, plan, table, whole, aside, counts)
    except OSError as error:
        raise OutputError(f"{plan.out} cannot be written ({error.strerror}); check the place") from error
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)
    spent = time.process_time() - began
    return {**counts, "process": str(os.getpid()), "memory": peak, "cpu": spent}


def footer_of(home: Path, cell: Cell, fingerprint: str) -> Any:
    """The footer of a partition that is done; None where it is not, or of another run."""
    path = partition_path(home, cell)
    if not path.is_file():
        return None
    footer = pq.read_metadata(path)
    if counts_of(footer).get("fingerprint") != fingerprint:
        return None
    footer.set_file_path(path.relative_to(home / "dataset").as_posix())
    return footer


def counts_of(footer: Any) -> dict[str, Any]:
    """What was counted while a partition was made."""
    return dict(json.loads((footer.metadata or {}).get(_DONE, b"{}")))


def _leave(
    cell: Cell,
    plan: Plan,
    table: pa.Table,
    whole: pa.Table,
    aside: list[tuple[int, str]],
    counts: dict[str, Any],
) -> None:
    """Write what was set aside, then the partition, whose being there says that both are."""
    home = Path(plan.out)
    path = partition_path(home, cell)
    left = (
        home / SET_ASIDE / f"{cell.order}-{cell.pixel}.parquet"
    )  # not named as a partition, which it is not
    path.parent.mkdir(parents=True, exist_ok=True)
    if aside:
        left.parent.mkdir(parents=True, exist_ok=True)
        numbers, reasons = zip(*aside, strict=True)
        columns = pa.schema([plan.schema.field(name) for name in plan.kept])  # whoever read the partition
        facts = table.select(columns.names).take(pa.array(numbers, pa.int64())).cast(columns)
        with atomic_path(left) as partial:
            pq.write_table(facts.append_column("reason", pa.array(reasons)), partial, compression="zstd")
    said = json.dumps({"fingerprint": plan.fingerprint, **counts}, sort_keys=True).encode()
    with atomic_path(path) as partial:
        pq.write_table(whole.replace_schema_metadata({_DONE: said}), partial, compression="zstd")


def _curves(part: pa.Table, plan: Plan) -> Iterator[LightCurve | str]:
    """The light curve of each row, or why there is none."""
    offsets, points = nested_columns(part.column(plan.nested).combine_chunks())
    for i, name in enumerate(part.column(plan.kept[0]).to_pylist()):
        inside = {key: values[offsets[i] : offsets[i + 1]] for key, values in points.items()}
        try:
            yield prepared(one_curve(str(name), inside, plan.layout))
        except LightCurveError as error:
            yield str(error).removeprefix(f"{name}: ")
