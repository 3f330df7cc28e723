"""A catalogue of light curves as it is read: its partitions, which column is what, and who names the sources.

Opens what lies on this disk, or through LSDB what lies elsewhere; measures nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from astrid.catalogs.layout import HEALPIX, Cell, read_layout, read_partition
from astrid.catalogs.places import catalogs_directory
from astrid.catalogs.positions import guess_column
from astrid.errors import CatalogError, DependencyError, UsageError
from astrid.lightcurves.columns import Layout, choose_layout, one_curve
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.tables import nested_columns

__all__ = ["CurveSource", "find_curve", "lsdb_or_refuse", "open_curves"]


@dataclass(frozen=True)
class CurveSource:
    """A catalogue with a nested column of points.

    Parameters
    ----------
    address : str
        Its path, or where LSDB finds it.
    local : bool
        Whether it is on this disk.
    cells : tuple of Cell
        Of its partitions, along the HEALPix curve.
    n_rows : int
    schema : pyarrow.Schema
    ra, dec, name : str
        Columns of the position and of the names.
    nested : str
        The column of points.
    layout : Layout
        Of its fields.
    """

    address: str
    local: bool
    cells: tuple[Cell, ...]
    n_rows: int
    schema: pa.Schema
    ra: str
    dec: str
    name: str
    nested: str
    layout: Layout


def open_curves(
    given: str | Path,
    *,
    nested: str | None = None,
    columns: Mapping[str, str] | None = None,
    time_scale: str | None = None,
    id: str | None = None,
) -> CurveSource:
    """Open a catalogue of light curves.

    Parameters
    ----------
    given : str or Path
        Its name, path, or an address that LSDB opens (with ``://``).
    nested : str, optional
        The column of points, where there are several.
    columns : mapping, optional
        Which of its fields is what, see `read_lightcurves`.
    time_scale : str, optional
    id : str, optional
        The column of names; by default that which the catalogue says, or one with a usual name.

    Raises
    ------
    CatalogError
        There is no such catalogue, it is damaged, or it has no light curves.
    LightCurveError
        Its points have no time, or neither magnitude nor flux.
    DependencyError
        LSDB is needed, and not installed.
    """
    facts: Mapping[str, str]
    if "://" in str(given):
        address, local = str(given), False
        structure = _structure(address)
        info = structure.catalog_info
        facts = {key: str(value) for key, value in info.extra_dict(by_alias=True).items()}
        facts = {**facts, "hats_col_ra": info.ra_column, "hats_col_dec": info.dec_column}
        listed = [Cell(one.order, one.pixel) for one in structure.get_healpix_pixels()]
        cells = tuple(sorted(listed, key=lambda cell: cell.pixel << 2 * (29 - cell.order)))
        schema, n_rows = structure.schema, int(info.total_rows)
    else:
        is_path = isinstance(given, Path) or "/" in given
        path = Path(given).absolute() if is_path else catalogs_directory() / given
        layout = read_layout(path)
        address, local = str(path), True
        facts, cells, schema = layout.properties, layout.cells, layout.schema
        n_rows = int(facts.get("hats_nrows", 0))
    points = _points_column(schema, nested, address)
    fields = points.type if pa.types.is_struct(points.type) else points.type.value_type
    chosen = choose_layout(
        [one.name for one in fields], columns, time_scale=time_scale, where=f"{address}, column {points.name}"
    )
    return CurveSource(
        address, local, cells, n_rows, schema, facts["hats_col_ra"], facts["hats_col_dec"],
        _name_column(schema, facts.get("astrid_col_id"), id, address), points.name,
        _as_documented(chosen, list(fields), time_scale),
    )  # fmt: skip


def find_curve(source: CurveSource, name: str) -> LightCurve:
    """The light curve of one source of a catalogue on this disk, by its name.

    Raises
    ------
    CatalogError
        There is no such source, or the catalogue is damaged.
    LightCurveError
        It is no light curve.
    UsageError
        The catalogue is not on this disk.
    """
    if not source.local:
        raise UsageError(f"{source.address} is not on this disk; import it, or give a file of the source")
    layout = read_layout(Path(source.address))
    for cell in source.cells:
        names = read_partition(layout, cell, [source.name]).column(source.name)
        row = pc.index(pc.cast(names, pa.string()), name).as_py()
        if row < 0:
            continue
        part = read_partition(layout, cell, [source.ra, source.dec, source.nested]).slice(row, 1)
        _, points = nested_columns(part.column(source.nested).combine_chunks())
        curve = one_curve(name, points, source.layout)
        ra, dec = (float(part.column(one)[0].as_py()) for one in (source.ra, source.dec))
        return replace(curve, ra=ra, dec=dec)
    raise CatalogError(f"{source.address}: there is no source {name!r} in its column {source.name}")


def lsdb_or_refuse() -> Any:
    """The package LSDB.

    Raises
    ------
    DependencyError
        It is not installed.
    """
    try:
        import lsdb
    except ImportError as error:
        raise DependencyError('this needs LSDB; pip install "astrid[scale]"') from error
    return lsdb


def _structure(address: str) -> Any:
    lsdb = lsdb_or_refuse()
    try:
        return lsdb.open_catalog(address, columns="all").hc_structure
    except (OSError, ValueError) as error:
        raise CatalogError(f"{address}: LSDB cannot open it ({error}); give a HATS catalogue") from error


def _as_documented(layout: Layout, fields: Sequence[pa.Field], time_scale: str | None) -> Layout:
    """What our own import says of the times and of the unit, before what their names make us guess."""
    said = {
        one.name: {key.decode(): value.decode() for key, value in (one.metadata or {}).items()}
        for one in fields
    }
    when, unit = said[layout.time], said[layout.value].get("unit")
    return replace(
        layout,
        time_scale=time_scale or when.get("time_scale", layout.time_scale),
        timed_at=when.get("timed_at", layout.timed_at),
        unit=unit or layout.unit,
    )


def _name_column(schema: pa.Schema, said: str | None, given: str | None, where: str) -> str:
    flat = [one.name for one in schema if not pa.types.is_nested(one.type) and one.name != HEALPIX]
    found = given or said or guess_column("id", flat)
    if found is None or found not in flat:
        what = "no column looks like names of sources" if found is None else f"there is no column {found!r}"
        raise CatalogError(f"{where}: {what}; give one of {', '.join(flat)} as id")
    return found


def _points_column(schema: pa.Schema, wanted: str | None, where: str) -> pa.Field:
    found = {one.name: one for one in schema if _is_points(one.type)}
    if wanted is not None and wanted not in found:
        raise CatalogError(f"{where}: {wanted!r} is no nested column; those are {', '.join(found) or 'none'}")
    if not found:
        raise CatalogError(f"{where}: has no nested column; import light curves by astrid lightcurves import")
    if wanted is None and len(found) > 1:
        raise UsageError(f"{where}: several nested columns, {', '.join(found)}; name the one of light curves")
    return found[wanted or next(iter(found))]


def _is_points(kind: pa.DataType) -> bool:
    def listed(one: pa.DataType) -> bool:
        return bool(pa.types.is_list(one) or pa.types.is_large_list(one))

    if listed(kind):
        return bool(pa.types.is_struct(kind.value_type))
    return bool(pa.types.is_struct(kind)) and kind.num_fields > 1 and all(listed(one.type) for one in kind)
