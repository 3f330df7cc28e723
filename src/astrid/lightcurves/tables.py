"""Tables as columns of numpy arrays: CSV, ECSV and Parquet, flat or nested; no data frames.

Parquet is read batch by batch, so that a catalogue of any size fits.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.columns import Layout, curves_of
from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["ecsv_columns", "is_parquet", "nested_columns", "parquet_curves", "text_columns"]

_ROWS = 500_000  # points in memory at a time
_SOURCES = 1_000  # as above, of nested tables

_NULLS = ["", "NA", "NaN", "nan", "null", "None"]

Columns = dict[str, NDArray[Any]]


def text_columns(content: bytes, name: str) -> Columns:
    """Columns of a CSV or of a table of words; lines that start with ``#`` are left out.

    A table whose first line is all numbers has no header: its columns are ``1``, ``2``, ….
    """
    from pyarrow import csv

    lines = [line for line in content.splitlines() if line.strip() and not line.lstrip().startswith(b"#")]
    if not lines:
        raise LightCurveError(f"{name}: there are only comments; check the file")
    if b"," not in lines[0]:
        lines = [b",".join(line.split()) for line in lines]
    head = [part.strip().strip('"') for part in lines[0].decode("utf-8", "replace").split(",")]
    bare = all(_is_number(part) for part in head)
    reading = csv.ReadOptions(column_names=[str(i + 1) for i in range(len(head))] if bare else head)
    reading.skip_rows = 0 if bare else 1
    if len(lines) == 1 and not bare:
        raise LightCurveError(f"{name}: there is a header and no row; check the file")
    if len(set(reading.column_names)) < len(head):
        raise LightCurveError(f"{name}: two columns have the same name; rename one")
    conversion = csv.ConvertOptions(
        null_values=["", "NA", "NaN", "nan", "null", "None"], strings_can_be_null=True
    )
    table = csv.read_csv(io.BytesIO(b"\n".join(lines)), read_options=reading, convert_options=conversion)
    return _arrays(table)


def ecsv_columns(content: bytes) -> tuple[Columns, dict[str, str]]:
    """Columns of an ECSV, and the unit of each that has one that we know."""
    from astropy.table import Table

    table = Table.read(content.decode("utf-8"), format="ascii.ecsv")
    columns: Columns = {}
    for key in table.colnames:
        column = table[key]
        masked = getattr(column, "mask", None)
        values = np.asarray(column)
        if masked is not None and np.any(masked):
            if values.dtype.kind in "fiub":
                values = np.where(np.asarray(masked), np.nan, values.astype(np.float64))
            else:
                values = values.astype(object)
                values[np.asarray(masked)] = None
        columns[key] = values
    known = {"mag": "mag", "mag(AB)": "mag", "nJy": "nJy", "mJy": "mJy", "electron / s": "e-/s"}
    units = {key: known.get(str(table[key].unit), "") for key in table.colnames}
    return columns, {key: unit for key, unit in units.items() if unit}


def is_parquet(path: Path) -> bool:
    """Whether a file starts as Parquet does."""
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def parquet_curves(
    path: Path,
    layout_of: Callable[..., Layout],
    nested: str | None,
    on_problem: Callable[[str, LightCurveError], None] | None,
) -> Iterator[LightCurve]:
    """The light curves of a Parquet file, a few at a time.

    Raises
    ------
    LightCurveError
        Rows of one source that are not together, or columns that are not those of a light curve.
    """
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        candidates = [field.name for field in file.schema_arrow if _is_nested(field.type)]
        if nested is not None and nested not in candidates:
            have = ", ".join(candidates) or "none"
            raise UsageError(f"{path}: {nested!r} is no nested column of light curves; it has {have}")
        if nested is None and len(candidates) > 1:
            raise LightCurveError(
                f"{path}: several columns hold light curves, {', '.join(candidates)}; choose one by nested"
            )
        if candidates:
            yield from _nested_curves(file, nested or candidates[0], layout_of, str(path), on_problem)
        else:
            yield from _flat_curves(file, layout_of, path, on_problem)


def _flat_curves(
    file: Any, layout_of: Callable[..., Layout], path: Path, on_problem: Any
) -> Iterator[LightCurve]:
    layout = layout_of(list(file.schema_arrow.names))
    wanted = list(dict.fromkeys([*layout.measured, *filter(None, (layout.source, layout.ra, layout.dec))]))
    rest: Columns | None = None
    finished: set[Any] = set()
    for batch in file.iter_batches(batch_size=_ROWS, columns=wanted):
        part = _arrays(batch)
        if rest is not None:
            part = {key: np.concatenate([rest[key], column]) for key, column in part.items()}
        if layout.source is None:
            rest = part
            continue
        # The last source may go on in the next batch.
        sources = part[layout.source]
        split = (
            len(sources) - int(np.argmin((sources == sources[-1])[::-1]))
            if (sources != sources[-1]).any()
            else 0
        )
        whole = {key: column[:split] for key, column in part.items()}
        rest = {key: column[split:] for key, column in part.items()}
        yield from _whole(whole, layout, path, finished, on_problem)
    if rest is not None:
        yield from _whole(rest, layout, path, finished, on_problem)


def _whole(
    part: Columns, layout: Layout, path: Path, finished: set[Any], on_problem: Any
) -> Iterator[LightCurve]:
    """Light curves of sources that are complete; one that was finished before is not to come again."""
    if not len(part[layout.time]):
        return
    if layout.source is not None:
        sources = set(part[layout.source].tolist())
        if twice := finished & sources:
            raise LightCurveError(
                f"{path}: rows of {layout.source} {next(iter(twice))} are not together; sort the table by it"
            )
        finished |= sources
    yield from curves_of(part, layout, name=path.name, on_problem=on_problem)


def _nested_curves(
    file: Any, column: str, layout_of: Callable[..., Layout], name: str, on_problem: Any
) -> Iterator[LightCurve]:
    import pyarrow as pa

    flat = [field.name for field in file.schema_arrow if not pa.types.is_nested(field.type)]
    kind = file.schema_arrow.field(column).type
    inner = [
        field.name
        for field in (kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind)
    ]
    layout = layout_of([*inner, *(key for key in flat if key not in inner)])
    outer = [key for key in (layout.source, layout.ra, layout.dec) if key in flat]
    row = 0
    for batch in file.iter_batches(batch_size=_SOURCES, columns=[*outer, column]):
        offsets, points = nested_columns(batch.column(column))
        facts = _arrays(batch.select(outer)) if outer else {}
        for i in range(batch.num_rows):
            part = {key: values[offsets[i] : offsets[i + 1]] for key, values in points.items()}
            n = int(offsets[i + 1] - offsets[i])
            part |= {key: np.full(n, values[i]) for key, values in facts.items() if key not in inner or not n}
            source = str(facts[layout.source][i]) if layout.source in facts else f"row {row + i}"
            one = Layout(**{**vars(layout), "source": None})
            yield from curves_of(part, one, name=source, on_problem=on_problem)
        row += batch.num_rows


def nested_columns(column: Any) -> tuple[NDArray[np.int64], Columns]:
    """A nested column as offsets of its rows and flat columns, whichever of the two layouts it has.

    Parameters
    ----------
    column : pyarrow.Array
        A struct of lists, as nested-pandas writes it, or a list of structs.

    Returns
    -------
    offsets : (n + 1,) int64 ndarray
    columns : dict of str to ndarray

    Raises
    ------
    LightCurveError
        Lists of one row that differ in length.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_struct(column.type):
        fields = {field.name: column.field(i) for i, field in enumerate(column.type)}
        lengths = {key: pc.fill_null(pc.list_value_length(item), 0).to_numpy(zero_copy_only=False)
                   for key, item in fields.items()}  # fmt: skip
        first = next(iter(lengths.values()))
        for key, length in lengths.items():
            if not np.array_equal(length, first):
                raise LightCurveError(
                    f"{key}: its lists differ in length from the others'; write the table again"
                )
        flat = {key: _array(pc.list_flatten(item)) for key, item in fields.items()}
        return np.concatenate([[0], np.cumsum(first, dtype=np.int64)]), flat
    lengths_ = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    values = pc.list_flatten(column)
    flat = {field.name: _array(pc.struct_field(values, [i])) for i, field in enumerate(values.type)}
    return np.concatenate([[0], np.cumsum(lengths_, dtype=np.int64)]), flat


def _is_nested(kind: Any) -> bool:
    """Whether a column holds points: lists of structs, or a struct of lists only."""
    import pyarrow as pa

    def listed(item: Any) -> bool:
        return bool(pa.types.is_list(item) or pa.types.is_large_list(item))

    if listed(kind):
        return bool(pa.types.is_struct(kind.value_type))
    return (
        bool(pa.types.is_struct(kind)) and kind.num_fields > 1 and all(listed(field.type) for field in kind)
    )


def _arrays(table: Any) -> Columns:
    return {key: _array(table.column(key)) for key in table.schema.names}


def _array(column: Any) -> NDArray[Any]:
    """One Arrow column as numpy: missing numbers are NaN, missing texts None."""
    import pyarrow as pa

    if pa.types.is_integer(column.type) and column.null_count:
        column = column.cast(pa.float64())
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    values = (
        column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(zero_copy_only=False)
    )
    return np.asarray(values)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
