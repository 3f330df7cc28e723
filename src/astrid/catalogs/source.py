"""Reading tables of any of the usual formats as streams of Arrow batches.

Parquet, CSV and FITS are read in parts, so that the memory does not grow with the file; ECSV and
VOTable whole. What the columns mean is not known here.
"""

from __future__ import annotations

import csv
import gzip
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from astrid.errors import CatalogError

__all__ = ["FORMATS", "SourceTable", "open_source"]

FORMATS = (".parquet", ".csv", ".tsv", ".txt", ".ecsv", ".fits", ".fit", ".vot", ".xml")
"""Suffixes that are understood, each also with .gz except Parquet."""

_ROWS = 250_000
_BLOCK = 16 << 20  # bytes of CSV at a time
_RULER = re.compile(r"^[-+| ]{3,}$")
_CSV_COLUMN = re.compile(r"In CSV column #(\d+):")
_COUNT = re.compile(r"^\(\d+ rows?\)$")  # what psql writes below a table


@dataclass(frozen=True)
class SourceTable:
    """A table that is read in parts.

    Parameters
    ----------
    schema : pyarrow.Schema
        Fields may carry ``unit`` and ``description`` as metadata.
    n_rows : int
    batches : callable
        Starts to read from the first row.
    """

    schema: pa.Schema
    n_rows: int
    batches: Callable[[], Iterator[pa.RecordBatch]]


@contextmanager
def open_source(path: Path) -> Iterator[SourceTable]:
    """Open a table file for reading.

    Parameters
    ----------
    path : Path
        Its format is told by its suffix, of `FORMATS`. A text table may be separated by commas,
        semicolons, tabs or bars, and may have a ruler below its header.

    Yields
    ------
    SourceTable

    Raises
    ------
    CatalogError
        There is no such file, it is of another format, or it cannot be read as what it says it is.
    """
    name = path.name.lower().removesuffix(".gz")
    suffix = Path(name).suffix
    if not path.is_file():
        raise CatalogError(f"{path}: there is no such file; check the path")
    opener = _OPENERS.get(suffix)
    if opener is None:
        raise CatalogError(f"{path}: its format is not known by its suffix; give one of {', '.join(FORMATS)}")
    with ExitStack() as stack:
        with _reading(path, suffix):
            source = stack.enter_context(opener(path))
        repeated = {one for one in source.schema.names if source.schema.names.count(one) > 1}
        if repeated:
            raise CatalogError(f"{path}: two columns are called {sorted(repeated)[0]!r}; rename one of them")

        def batches() -> Iterator[pa.RecordBatch]:
            parts = source.batches()
            while True:
                with _reading(path, suffix):
                    part = next(parts, None)
                if part is None:
                    return
                yield part

        yield SourceTable(source.schema, source.n_rows, batches)


@contextmanager
def _reading(path: Path, suffix: str) -> Iterator[None]:
    """Each reader has its own errors for a file that is not what its name says."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError, EOFError, IndexError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CatalogError(f"{path}: cannot be read as {suffix} ({reason}); check the file") from error


@contextmanager
def _parquet(path: Path) -> Iterator[SourceTable]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        schema = pa.schema([_plain_field(field) for field in file.schema_arrow])

        def batches() -> Iterator[pa.RecordBatch]:
            for batch in file.iter_batches(_ROWS):
                yield _cast(batch, schema)

        yield SourceTable(schema, file.metadata.num_rows, batches)


@contextmanager
def _text(path: Path) -> Iterator[SourceTable]:
    with _open_text(path) as stream:
        comments = 0
        header = stream.readline()
        while header.startswith("#"):
            comments += 1
            header = stream.readline()
        ruled = bool(_RULER.match(stream.readline().strip()))
    separator = max("\t|;,", key=header.count)
    if not header.count(separator):
        raise CatalogError(f"{path}: no commas, semicolons, tabs or bars in its header; convert it")
    if separator != "|" and not ruled:
        yield _csv(path, separator, comments)
        return
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "table.csv"
        _tidy(path, clean, separator, comments)
        yield _csv(clean, ",", 0)


def _csv(path: Path, separator: str, comments: int) -> SourceTable:
    import pyarrow.csv as pc

    types: dict[str, pa.DataType] = {}

    def reader() -> Any:
        return pc.open_csv(
            pa.input_stream(str(path), compression="gzip" if path.suffix.lower() == ".gz" else None),
            read_options=pc.ReadOptions(skip_rows=comments, block_size=_BLOCK),
            parse_options=pc.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pc.ConvertOptions(column_types=types, strings_can_be_null=True),
        )

    # The types are those of the first block; one that later values do not fit is widened.
    wider = {pa.int64(): pa.float64()}
    n_rows, done = 0, False
    schema = pa.schema([])
    while not done:
        try:
            with reader() as file:
                schema = file.schema
                n_rows = sum(batch.num_rows for batch in file)
            done = True
        except pa.ArrowInvalid as error:
            match = _CSV_COLUMN.search(str(error))
            if match is None or schema.field(int(match[1])).type == pa.string():
                raise
            field = schema.field(int(match[1]))
            types[field.name] = wider.get(types.get(field.name, field.type), pa.string())
    schema = pa.schema([_plain_field(field) for field in schema])

    def batches() -> Iterator[pa.RecordBatch]:
        with reader() as file:
            for batch in file:
                yield _cast(batch, schema)

    return SourceTable(schema, n_rows, batches)


def _tidy(path: Path, clean: Path, separator: str, comments: int) -> None:
    """Write a table with padded fields, and perhaps a ruler, as CSV."""
    with _open_text(path) as stream, clean.open("w", encoding="utf-8", newline="") as target:
        writer = csv.writer(target)
        width = 0
        for number, line in enumerate(stream, 1):
            text = line.strip("\r\n")
            if number <= comments or not text.strip() or _RULER.match(text.strip()) or _COUNT.match(text):
                continue
            fields = [field.strip() for field in text.split(separator)]
            width = width or len(fields)
            if len(fields) != width:
                raise CatalogError(
                    f"{path}: line {number} has {len(fields)} fields and the header {width}; correct it"
                )
            writer.writerow(fields)


@contextmanager
def _fits(path: Path) -> Iterator[SourceTable]:
    from astropy.io import fits
    from astropy.table import Table

    with fits.open(path, memmap=True) as file:
        hdu = next((one for one in file if isinstance(one, fits.BinTableHDU | fits.TableHDU)), None)
        if hdu is None:
            raise CatalogError(f"{path}: it holds no table; give a FITS file with a table extension")
        n_rows, kind = len(hdu.data), type(hdu)

        def part(start: int, stop: int) -> pa.RecordBatch:
            # a table of its own, so that astropy applies the null values and scales of the header
            return _from_astropy(Table.read(kind(hdu.data[start:stop], header=hdu.header)))

        def batches() -> Iterator[pa.RecordBatch]:
            for start in range(0, n_rows, _ROWS):
                yield _cast(part(start, min(start + _ROWS, n_rows)), schema)

        schema = part(0, min(1, n_rows)).schema
        yield SourceTable(schema, n_rows, batches)


@contextmanager
def _whole(path: Path) -> Iterator[SourceTable]:
    from astropy.table import Table

    kind = "ascii.ecsv" if ".ecsv" in path.name.lower() else "votable"
    batch = _from_astropy(Table.read(path, format=kind))
    yield SourceTable(batch.schema, batch.num_rows, lambda: iter([batch]))


def _from_astropy(table: Any) -> pa.RecordBatch:
    import numpy as np

    fields, arrays = [], []
    for name in table.colnames:
        column = table[name]
        mask = getattr(column, "mask", None)
        values = np.asarray(getattr(column, "value", column))
        if values.dtype.kind == "S":
            values = np.char.decode(values, "utf-8", "replace")
        if values.dtype.kind == "U":
            values = np.char.strip(values)
        if values.dtype.kind not in "biufUO":
            raise CatalogError(
                f"column {name!r} is of type {values.dtype}, expected numbers or text; leave it out"
            )
        if values.dtype.byteorder not in "=|":
            values = values.astype(values.dtype.newbyteorder("="))
        mask = None if mask is None or not np.any(mask) else np.broadcast_to(np.asarray(mask), values.shape)
        array = pa.array(values.ravel(), mask=None if mask is None else np.ravel(mask), from_pandas=False)
        if values.ndim > 1:
            array = pa.FixedSizeListArray.from_arrays(array, int(np.prod(values.shape[1:])))
        unit = getattr(column, "unit", None)
        description = getattr(getattr(column, "info", None), "description", None)
        metadata = {"unit": "" if unit is None else str(unit), "description": description or ""}
        metadata = {key: value for key, value in metadata.items() if value}
        fields.append(_plain_field(pa.field(name, array.type, metadata=metadata or None)))
        arrays.append(array)
    return _cast(pa.record_batch(arrays, schema=pa.schema([
        pa.field(field.name, array.type) for field, array in zip(fields, arrays, strict=True)
    ])), pa.schema(fields))  # fmt: skip


def _plain_field(field: pa.Field) -> pa.Field:
    """The field in a type that every reader of Parquet knows, and that no value can fail to have."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_null(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        kind = pa.string()
    if pa.types.is_float16(kind):
        kind = pa.float32()
    known = {b"unit", b"description"}
    metadata = {key: value for key, value in (field.metadata or {}).items() if key in known}
    return pa.field(field.name, kind, metadata=metadata or None)


def _cast(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    arrays = [
        column if column.type == field.type else column.cast(field.type)
        for column, field in zip(batch.columns, schema, strict=True)
    ]
    return pa.record_batch(arrays, schema=schema)


def _open_text(path: Path) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding="utf-8")
    return path.open(encoding="utf-8")


_OPENERS: dict[str, Any] = {
    ".parquet": _parquet, ".csv": _text, ".tsv": _text, ".txt": _text, ".ecsv": _whole,
    ".fits": _fits, ".fit": _fits, ".vot": _whole, ".xml": _whole,
}  # fmt: skip
