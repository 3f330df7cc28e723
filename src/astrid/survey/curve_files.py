"""Light curves of files, measured batch by batch into one table; those of catalogues in `curve_catalog`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrid.errors import LightCurveError
from astrid.files.atomic import atomic_path
from astrid.lightcurves.lightcurve import LightCurve
from astrid.survey.curve_measures import Measures, measure, prepared

__all__ = ["measure_files"]

_BATCH = 64


def measure_files(
    curves: Iterable[LightCurve],
    measures: Measures,
    out: str | Path | None,
    *,
    shown: int | None = 20,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure light curves, in bounded memory where they go into a file.

    Parameters
    ----------
    curves : iterable of LightCurve
    measures : Measures
    out : str or Path, optional
        Parquet file: ``name``, ``ra``, ``dec`` and the columns of `Measures.schema`, with units and meanings.
    shown : int, optional
        Rows that are given back; None for all.
    on_progress : callable, optional
        Called with the number of sources done, twice: how many there are is not known before.

    Returns
    -------
    summary : dict
        ``n_measured``, ``n_with_problems``, ``set_aside``: names and reasons of those that cannot be used,
        ``rows``, and ``out``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    facts = [
        pa.field("name", pa.string(), metadata={"description": "of the source"}),
        pa.field("ra", pa.float64(), metadata={"description": "right ascension", "unit": "deg"}),
        pa.field("dec", pa.float64(), metadata={"description": "declination", "unit": "deg"}),
    ]
    schema = pa.schema([*facts, *measures.schema()])
    aside: list[dict[str, str]] = []
    rows: list[dict[str, Any]] = []
    n = n_problems = 0
    with ExitStack() as stack:
        writer: Any = None
        if out is not None:
            partial = stack.enter_context(atomic_path(out))
            writer = stack.enter_context(pq.ParquetWriter(partial, schema, compression="zstd"))
        good = _prepared(curves, aside)
        while part := list(islice(good, _BATCH)):
            table, _ = measure(part, measures)
            own = [
                pa.array([one.name for one in part]),
                pa.array([one.ra for one in part], pa.float64()),
                pa.array([one.dec for one in part], pa.float64()),
            ]
            whole = pa.Table.from_arrays([*own, *table.columns], schema=schema)
            if writer is not None:
                writer.write_table(whole)
            if shown is None or len(rows) < shown:
                rows += whole.slice(0, None if shown is None else shown - len(rows)).to_pylist()
            n += len(part)
            n_problems += len(part) - table.column("problem").null_count
            if on_progress is not None:
                on_progress(n, n)
    return {
        "n_measured": n,
        "n_with_problems": n_problems,
        "set_aside": aside,
        "rows": rows,
        "out": "" if out is None else str(out),
    }


def _prepared(curves: Iterable[LightCurve], aside: list[dict[str, str]]) -> Iterator[LightCurve]:
    for curve in curves:
        try:
            yield prepared(curve)
        except LightCurveError as error:
            aside.append({"name": curve.name, "reason": str(error)})
