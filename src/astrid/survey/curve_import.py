"""Light curves as a catalogue on the sky: a row for each source, its points in a nested column.

Reads tables of points and of positions and lays them out as LSDB and nested-pandas read them; what is
computed over such a catalogue is in `curve_catalog`.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from astrid.catalogs import catalogs_directory, import_catalog
from astrid.catalogs.catalog import RECORD
from astrid.catalogs.positions import guess_column, guess_positions, positions
from astrid.catalogs.source import open_source
from astrid.errors import CatalogError, UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import sha256
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurves

__all__ = ["ID", "POINTS", "CurveImport", "import_curves"]

POINTS = "lc"
"""The nested column that holds the points."""

ID = "source"
"""The column of names, where the table of positions has none."""

PARTITION_POINTS = 4_000_000
"""About as many points are in a partition: 100 MB in memory."""

UNREADABLE = "unreadable.parquet"
"""The sources that are no light curves or have no position, with the reasons."""

_CHUNK = 1000
_NO_POSITION = "is not in the table of positions"
_IDS = (
    *("catalina_id", "oid", "objectid", "diaobjectid", "masterid", "source_id", "object_id", "sourceid"),
    *("asas_sn_id", "star_id", "id", "name", "num"),
)


@dataclass(frozen=True)
class CurveImport:
    """What became of the sources.

    Parameters
    ----------
    path : str
        Of the catalogue.
    n_sources, n_points, n_partitions : int
        In it.
    set_aside : dict of str to int
        Reason to number of sources.
    """

    path: str
    n_sources: int
    n_points: int
    n_partitions: int
    set_aside: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def import_curves(
    files: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    positions: str | Path | None = None,
    id: str | None = None,
    columns: Mapping[str, str] | None = None,
    unit: str | None = None,
    time_format: str | None = None,
    time_scale: str | None = None,
    nested: str | None = None,
    partition_points: int = PARTITION_POINTS,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> CurveImport:
    """Import light curves as a HATS catalogue with a nested column ``lc``.

    Parameters
    ----------
    files : str, Path or sequence of them
        Tables of points, as `read_lightcurves` reads them.
    out : str or Path
        A name, which goes into `catalogs_directory`; or the folder to make, which is a `Path` or has a
        slash in it. Its last part consists of lower-case letters, digits and underscores.
    positions : str or Path, optional
        A table with a row for each source: name, right ascension and declination; its other columns go
        along. Without it, the light curves themselves must have positions.
    id : str, optional
        Its column of names; by default one with a usual name.
    columns, unit, time_format, time_scale, nested
        As `read_lightcurves` has them.
    partition_points : int
        A partition with more points is divided.
    overwrite : bool
    on_progress : callable, optional
        Called with the sources read and how many there are in all, where the positions tell it.

    Returns
    -------
    CurveImport

    Raises
    ------
    LightCurveError
        A file cannot be read.
    CatalogError
        The positions cannot be used, or no source is left.
    OutputError
        There is such a catalogue already, or it cannot be written.
    """
    paths = [Path(files)] if isinstance(files, str | Path) else [Path(file) for file in files]
    target = Path(out) if isinstance(out, Path) or "/" in out else catalogs_directory() / out
    if not re.fullmatch(r"[a-z][a-z0-9_]*", target.name):
        raise UsageError(
            f"the catalogue would be called {target.name!r}; give lower-case letters, digits and underscores"
        )
    places = None if positions is None else _Places(Path(positions), id)
    reasons: list[tuple[str, str]] = []

    def curves() -> Iterator[LightCurve]:
        for path in paths:
            yield from read_lightcurves(
                path, columns=columns, unit=unit, time_format=time_format, time_scale=time_scale,
                nested=nested, on_problem=lambda name, error: reasons.append((name, str(error))),
            )  # fmt: skip

    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
        table = Path(folder) / "sources.parquet"
        n, n_points = _write_sources(curves(), places, table, reasons, on_progress)
        if not n:
            why = f" ({reasons[0][0]}: {reasons[0][1]})" if reasons else ""
            raise CatalogError(f"{paths[0]}: no source can be imported{why}; check points and positions")
        catalog = import_catalog(
            table, target.name, ra="ra" if places is None else places.ra,
            dec="dec" if places is None else places.dec, id=ID if places is None else places.id,
            motion=False, folder=target.parent, partition_rows=max(1, int(partition_points * n / n_points)),
            overwrite=overwrite,
        )  # fmt: skip
    counts = _counted(reasons)
    given = [*paths, *([] if positions is None else [Path(positions)])]
    record = {
        **catalog.record,
        "source": [str(path.resolve()) for path in given],
        "sha256": [sha256(path) for path in given],
        "n_points": n_points,
        "n_set_aside": len(reasons) + int(catalog.record.get("n_set_aside", 0)),
        "reasons": counts | catalog.record.get("reasons", {}),
    }
    if reasons:
        with atomic_path(target / UNREADABLE) as partial:
            names, why_not = zip(*reasons, strict=True)
            pq.write_table(pa.table({"source": list(names), "reason": list(why_not)}), partial)
    with atomic_path(target / RECORD) as partial:
        partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return CurveImport(str(target), catalog.n_rows, n_points, catalog.n_partitions, record["reasons"])


class _Places:
    """The table of positions, in memory."""

    def __init__(self, path: Path, id: str | None) -> None:
        with open_source(path) as source:
            batches = list(source.batches())
            table = pa.Table.from_batches(batches, source.schema) if batches else source.schema.empty_table()
        names = table.schema.names
        self.ra, self.dec = guess_positions(names, path)
        lower = {name.lower(): name for name in names}
        guessed = next((lower[name] for name in _IDS if name in lower), None) or guess_column("id", names)
        if id is not None and id not in names:
            raise CatalogError(f"{path}: there is no column {id!r}; the columns are {', '.join(names)}")
        if id is None and guessed is None:
            raise CatalogError(f"{path}: no column looks like names of sources; name it with id")
        self.id = id or str(guessed)
        if POINTS in names:
            raise CatalogError(f"{path}: has a column {POINTS!r}, as the points are called; rename it")
        self.table = table.combine_chunks()
        self._row = {_text(value): row for row, value in enumerate(table.column(self.id).to_pylist())}

    def row(self, name: str) -> int | None:
        """The row of a source."""
        return self._row.get(name)

    def __len__(self) -> int:
        return self.table.num_rows


def _text(value: Any) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _write_sources(
    curves: Iterable[LightCurve],
    places: _Places | None,
    path: Path,
    reasons: list[tuple[str, str]],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[int, int]:
    """Write a row for each source; the numbers of sources and points."""
    listed = iter(curves)
    first = next(listed, None)
    if first is None:
        return 0, 0
    kind = _points_field(first)
    columns = (
        [pa.field(ID, pa.string()), pa.field("ra", pa.float64()), pa.field("dec", pa.float64())]
        if places is None
        else list(places.table.schema)
    )
    schema = pa.schema([*columns, kind])
    done = n = n_points = 0
    seen: set[str] = set()
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        whole = chain([first], listed)
        while part := list(islice(whole, _CHUNK)):
            done += len(part)
            used = _usable(part, places, kind, seen, reasons)
            if used:
                facts = _facts(used, places)
                writer.write_batch(pa.record_batch([*facts, _points(used, kind)], schema=schema))
                n += len(used)
                n_points += sum(len(curve) for curve in used)
            if on_progress is not None:
                on_progress(done, max(done, 0 if places is None else len(places)))
    return n, n_points


def _usable(
    part: Sequence[LightCurve],
    places: _Places | None,
    kind: pa.Field,
    seen: set[str],
    reasons: list[tuple[str, str]],
) -> list[LightCurve]:
    """Those of the sources that can go into the catalogue; why not, for the others."""
    used = []
    for curve in part:
        if curve.name in seen:
            reasons.append((curve.name, "comes twice"))
        elif places is not None and places.row(curve.name) is None:
            reasons.append((curve.name, _NO_POSITION))
        elif places is None and (curve.ra is None or curve.dec is None):
            reasons.append((curve.name, "has no position; give a table of positions"))
        elif not _points_field(curve).equals(kind, check_metadata=True):
            reasons.append(
                (curve.name, "has another unit, time scale or other columns than the first source")
            )
        else:
            seen.add(curve.name)
            used.append(curve)
    return used


def _facts(used: Sequence[LightCurve], places: _Places | None) -> list[pa.Array]:
    if places is None:
        lon, lat, _ = positions(pa.array([c.ra for c in used]), pa.array([c.dec for c in used]))
        return [pa.array([curve.name for curve in used]), pa.array(lon), pa.array(lat)]
    rows = places.table.take(pa.array([places.row(curve.name) for curve in used]))
    return [column.combine_chunks() for column in rows.columns]


def _points_field(curve: LightCurve) -> pa.Field:
    """The nested column that this light curve and those like it go into."""
    value = "mag" if curve.unit == "mag" else "flux"

    def one(name: str, kind: pa.DataType, meaning: str, **facts: str) -> pa.Field:
        facts = {key: fact for key, fact in facts.items() if fact}
        return pa.field(name, pa.list_(kind), metadata={"description": meaning, **facts})

    when = {"unit": "d", "time_scale": curve.time_scale, "timed_at": curve.timed_at}
    inside = [
        one(
            "mjd", pa.float64(), f"modified Julian date, {curve.time_scale}, at the {curve.timed_at}", **when
        ),
        one(value, pa.float64(), "magnitude" if value == "mag" else "flux", unit=curve.unit),
        one(f"{value}err", pa.float64(), "its standard error; NaN where there is none", unit=curve.unit),
    ]
    if curve.bands != ("",):
        inside.append(one("band", pa.string(), "name of the band"))
    if curve.quality is not None:
        inside.append(one("quality", pa.int64(), "the survey's flags; 0 is good"))
    return pa.field(POINTS, pa.struct(inside), metadata={"description": "the light curve"})


def _points(curves: Sequence[LightCurve], kind: pa.Field) -> pa.Array:
    """The points of light curves as a struct of lists."""
    offsets = pa.array(np.cumsum([0, *(len(curve) for curve in curves)]), pa.int32())

    def flat(name: str) -> Any:
        if name == "mjd":
            return np.concatenate([curve.time for curve in curves])
        if name == "band":
            names = [np.array(curve.bands, object)[curve.band] for curve in curves]
            return np.concatenate(names)
        if name == "quality":
            return np.concatenate([curve.quality for curve in curves])
        if name.endswith("err"):
            empty = [np.full(len(curve), np.nan) if curve.error is None else curve.error for curve in curves]
            return np.concatenate(empty)
        return np.concatenate([curve.value for curve in curves])

    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(flat(field.name), field.type.value_type), type=field.type)
        for field in kind.type
    ]
    return pa.StructArray.from_arrays(lists, fields=list(kind.type))


def _counted(reasons: Sequence[tuple[str, str]]) -> dict[str, int]:
    """How often each reason occurs, whatever the source is called."""
    counts: dict[str, int] = {}
    for name, reason in reasons:
        said = reason.removeprefix(f"{name}: ")
        counts[said] = counts.get(said, 0) + 1
    return counts
