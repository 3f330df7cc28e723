"""The directory of a catalogue as HATS lays it out: properties, partitions, their metadata.

A catalogue is a folder of Parquet files, one for each HEALPix cell that holds rows; with its margin it
is a collection. Knows nothing of matching or of where the rows came from.

References
----------
Caplar et al. 2025, arXiv:2501.02103; IVOA Note "HATS: Hierarchical Adaptive Tiling Scheme".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from astrid.errors import CatalogError

__all__ = [
    "HEALPIX", "Cell", "Layout", "PartitionWriter", "describe", "partition_path", "read_layout",
    "read_partition", "read_properties", "write_properties",
]  # fmt: skip

HEALPIX = "_healpix_29"
"""The column by which rows are sorted: their nested HEALPix cell of order 29."""

_HIVE = {"Norder", "Dir", "Npix"}  # columns that older catalogues repeat from the path
_FILES = ("hats.properties", "properties")


class Cell(NamedTuple):
    """A HEALPix cell, nested."""

    order: int
    pixel: int


@dataclass(frozen=True)
class Layout:
    """A catalogue on disk.

    Parameters
    ----------
    path : Path
        The folder that holds ``dataset``.
    properties : mapping of str to str
    cells : tuple of Cell
        One for each partition, along the HEALPix curve.
    schema : pyarrow.Schema
        Without the columns that repeat the path.
    """

    path: Path
    properties: Mapping[str, str]
    cells: tuple[Cell, ...]
    schema: pa.Schema


class PartitionWriter:
    """Writes the partitions of a catalogue, and in the end what describes them.

    Parameters
    ----------
    folder : Path
        Made here.
    schema : pyarrow.Schema
    """

    def __init__(self, folder: Path, schema: pa.Schema) -> None:
        self._folder, self._schema = folder, schema
        self._cells: dict[Cell, int] = {}
        self._metadata: list[Any] = []
        (folder / "dataset").mkdir(parents=True)

    @property
    def n_rows(self) -> int:
        """Rows written so far."""
        return sum(self._cells.values())

    def write(self, cell: Cell, table: pa.Table) -> None:
        """Write the rows of a cell, which are sorted."""
        path = partition_path(self._folder, cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.cast(self._schema), path, compression="zstd", metadata_collector=self._metadata)
        self._metadata[-1].set_file_path(path.relative_to(self._folder / "dataset").as_posix())
        self._cells[cell] = table.num_rows

    def finish(self, properties: Mapping[str, object]) -> None:
        """Write the lists of partitions and columns, and the properties."""
        describe(self._folder, self._schema, dict(zip(self._cells, self._metadata, strict=True)), properties)


def describe(
    folder: Path, schema: pa.Schema, footers: Mapping[Cell, Any], properties: Mapping[str, object]
) -> None:
    """Write what describes partitions that are there: their list, the columns, and the properties.

    Parameters
    ----------
    folder : Path
        Of the catalogue.
    schema : pyarrow.Schema
    footers : mapping of Cell to pyarrow.parquet.FileMetaData
        Of all partitions, with the paths of their files below ``dataset``.
    properties : mapping of str to object
        Those that do not follow from the partitions.
    """
    dataset = folder / "dataset"
    # hats expects the partitions by order and then by pixel
    cells = sorted(footers)
    pq.write_metadata(schema, dataset / "_common_metadata")
    pq.write_metadata(schema, dataset / "_metadata", [footers[cell] for cell in cells])
    with (folder / "partition_info.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([("Norder", "Npix"), *cells])
    size = sum(path.stat().st_size for path in dataset.rglob("*.parquet"))
    sky = sum(1 / (12 * 4**cell.order) for cell in cells)
    known = {
        "hats_nrows": sum(one.num_rows for one in footers.values()),
        "hats_col_healpix": HEALPIX,
        "hats_col_healpix_order": 29,
        "hats_npix_suffix": ".parquet",
        "hats_max_rows": max((one.num_rows for one in footers.values()), default=0),
        "hats_estsize": size // 1024,
        "hats_order": max((cell.order for cell in cells), default=0),
        "hats_version": "v1.0",
        "moc_sky_fraction": f"{sky:.5f}",
    }
    for name in _FILES:
        write_properties(folder / name, {**properties, **known})


def partition_path(folder: Path, cell: Cell, suffix: str = ".parquet") -> Path:
    """Where the rows of a cell are."""
    directory = cell.pixel // 10_000 * 10_000
    name = f"Npix={cell.pixel}" + suffix.rstrip("/")
    return folder / "dataset" / f"Norder={cell.order}" / f"Dir={directory}" / name


def read_partition(layout: Layout, cell: Cell, columns: Sequence[str]) -> pa.Table:
    """The rows of a cell.

    Raises
    ------
    CatalogError
        The file is gone or damaged.
    """
    path = partition_path(layout.path, cell, layout.properties.get("hats_npix_suffix", ".parquet"))
    try:
        # partitioning off: the folders above are called Norder=…, which would become columns
        table = pq.read_table(path, columns=list(columns), partitioning=None)
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CatalogError(f"{path}: cannot be read ({reason}); import the catalogue again") from error
    return table.combine_chunks()


def read_layout(path: Path) -> Layout:
    """Read what describes a catalogue: of a collection, its main one.

    Raises
    ------
    CatalogError
        The folder is no catalogue, is one of another kind, or is damaged.
    """
    collection = path / "collection.properties"
    if collection.is_file():
        path = path / read_properties(collection).get("hats_primary_table_url", "")
    file = next((path / name for name in _FILES if (path / name).is_file()), None)
    if file is None:
        raise CatalogError(
            f"{path}: is not a catalogue (it has no hats.properties); import one with astrid catalogs import"
        )
    properties = read_properties(file)
    kind = properties.get("dataproduct_type", "object")
    missing = [key for key in ("hats_col_ra", "hats_col_dec") if key not in properties]
    if kind not in ("object", "source") or missing:
        raise CatalogError(f"{file}: is of kind {kind} and not a table of positions; give a catalogue")
    try:
        with (path / "partition_info.csv").open(encoding="utf-8", newline="") as lines:
            cells = [Cell(int(row["Norder"]), int(row["Npix"])) for row in csv.DictReader(lines)]
        schema = pq.read_schema(path / "dataset" / "_common_metadata")
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())[:200]
        raise CatalogError(f"{path}: is damaged ({reason}); import the catalogue again") from error
    cells.sort(key=lambda cell: cell.pixel << 2 * (29 - cell.order))
    fields = [field for field in schema if field.name not in _HIVE]
    absent = [key for key in ("hats_col_ra", "hats_col_dec") if properties[key] not in schema.names]
    if absent:
        raise CatalogError(f"{path}: is damaged (no column {properties[absent[0]]!r}); import it again")
    return Layout(path, properties, tuple(cells), pa.schema(fields))


def write_properties(path: Path, values: Mapping[str, object]) -> None:
    """Write a Java properties file."""
    lines = [f"{key}={_escaped(str(value))}\n" for key, value in values.items()]
    path.write_text("#HATS catalog\n" + "".join(lines), encoding="utf-8")


def read_properties(path: Path) -> dict[str, str]:
    """Read a Java properties file of one line a property.

    Raises
    ------
    CatalogError
        It cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogError(f"{path}: cannot be read ({error}); import the catalogue again") from error
    values = {}
    for line in text.splitlines():
        match = re.match(r"\s*([^#!\s=:][^\s=:]*)\s*[=:]?\s*(.*)$", line)
        if match:
            values[match[1]] = re.sub(r"\\(.)", r"\1", match[2]).strip()
    return values


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", " ")
