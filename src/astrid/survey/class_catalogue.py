"""The public catalogue of classes: what its columns are, and how they follow from what classifiers say.

It is made of what a run over a catalogue of light curves has measured (`curve_catalog`); each column has its
unit, its meaning and the model that it is from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.catalogs.layout import HEALPIX, PartitionWriter, read_layout, read_partition
from astrid.errors import DataError, UsageError
from astrid.files.directory import product_directory
from astrid.learn.bundle import Bundle
from astrid.learn.task import Binary
from astrid.lightcurves.classes import taxonomy
from astrid.survey.active_round import thresholds_of
from astrid.survey.class_consistency import consistent

__all__ = ["catalogue_schema", "class_columns", "public_catalogue", "publish", "suffix_of"]

FORMAT = 1
_PLACE = (
    ("id", pa.string(), "", "name of the source in the catalogue that was classified"),
    ("ra", pa.float64(), "deg", "right ascension, ICRS"),
    ("dec", pa.float64(), "deg", "declination, ICRS"),
    ("period", pa.float64(), "d", "period that was found, after half and whole orbit were told apart"),
)


def suffix_of(bundle: Bundle) -> str:
    """What the columns of a bundle end in: ``xgb`` for boosted trees, ``dnn`` for other networks."""
    return "xgb" if bundle.task.network.endswith(":Trees") else "dnn"


def catalogue_schema(*bundles: Bundle) -> pa.Schema:
    """The columns of the public catalogue.

    For each class of a bundle ``<code>_<suffix>``, its calibrated probability; ``…_consistent``, the same
    after it was made to agree with the tree; ``…_decision``. For each bundle ``applicable_<suffix>``.

    Parameters
    ----------
    *bundles : Bundle
        Of classes that the trees have; with suffixes that differ.

    Returns
    -------
    schema : pyarrow.Schema
        Each field has ``description`` and, where it has one, ``unit``; the schema has ``bundles``: name,
        hash, thresholds and limits of each, as JSON.

    Raises
    ------
    UsageError
        No bundle, two with one suffix, or one with other classes.
    """
    if not bundles:
        raise UsageError("a catalogue of classes needs a model; give at least one")
    suffixes = [suffix_of(one) for one in bundles]
    if len(set(suffixes)) < len(suffixes):
        raise UsageError(f"two models have columns that end in {suffixes[0]}; give one of each kind")
    fields = [_field(*one) for one in _PLACE]
    facts = {}
    for bundle, suffix in zip(bundles, suffixes, strict=True):
        limits = thresholds_of(bundle)
        who = f"{bundle.name} ({bundle.hash[:12]})"
        for code in _codes(bundle):
            one = taxonomy()[code]
            what = f"{one.name} ({one.tree}): {one.meaning}"
            fields += [
                _field(f"{code}_{suffix}", pa.float32(), "", f"calibrated probability by {who} of {what}"),
                _field(
                    f"{code}_{suffix}_consistent", pa.float32(), "",
                    "the nearest probabilities of which none exceeds that of a class which it lies in",
                ),
                _field(
                    f"{code}_{suffix}_decision", pa.bool_(), "",
                    f"consistent probability of at least {limits[code]:.4g}, or that of a class within it",
                ),
            ]  # fmt: skip
        fields.append(
            _field(f"applicable_{suffix}", pa.string(), "", f"empty where {who} applies, else why not")
        )
        facts[suffix] = {
            "name": bundle.name, "hash": bundle.hash, "thresholds": limits, "limits": bundle.card.limits,
        }  # fmt: skip
    return pa.schema(fields, {"format": str(FORMAT), "bundles": json.dumps(facts)})


def class_columns(
    bundle: Bundle, probabilities: Mapping[str, NDArray[np.floating]]
) -> dict[str, NDArray[Any]]:
    """The columns of one bundle, without ``applicable``.

    A class is decided if its consistent probability reaches the threshold of its card, or if a class within
    it is decided. Where a probability is not known (NaN), the source has none and no decision.

    Parameters
    ----------
    bundle : Bundle
    probabilities : mapping of str to (n,) ndarray
        Calibrated, of every class of the bundle.

    Returns
    -------
    columns : dict of str to (n,) ndarray
        float32 and bool.
    """
    codes, suffix, limits = _codes(bundle), suffix_of(bundle), thresholds_of(bundle)
    parents = taxonomy().parents(codes)
    given = np.stack([np.asarray(probabilities[code], np.float64) for code in codes], axis=1)
    known = np.isfinite(given).all(axis=1)
    repaired = np.full(given.shape, np.nan)
    repaired[known] = consistent(given[known], codes, parents)
    decided = repaired.astype(np.float32) >= np.array([limits[code] for code in codes], np.float32)
    place = {code: k for k, code in enumerate(codes)}
    for code in reversed(codes):  # what lies in a class comes after it
        above = parents[code]
        if above is not None:
            decided[:, place[above]] |= decided[:, place[code]]
    columns: dict[str, NDArray[Any]] = {}
    for k, code in enumerate(codes):
        columns[f"{code}_{suffix}"] = given[:, k].astype(np.float32)
        columns[f"{code}_{suffix}_consistent"] = repaired[:, k].astype(np.float32)
        columns[f"{code}_{suffix}_decision"] = decided[:, k]
    return columns


def public_catalogue(
    measured: pa.Table, *bundles: Bundle, names: Mapping[str, str] | None = None
) -> pa.Table:
    """The public catalogue of a table that light curves were measured into.

    Parameters
    ----------
    measured : pyarrow.Table
        With a column of probabilities for each class of each bundle, called ``<bundle>_<code>`` with the
        bundle's name as ``system_tag``, and ``<bundle>_applicable``.
    *bundles : Bundle
    names : mapping of str to str, optional
        What ``id``, ``ra``, ``dec`` and ``period`` are called in `measured`, where not so.

    Returns
    -------
    catalogue : pyarrow.Table
        With the columns of `catalogue_schema`; null where nothing was measured.

    Raises
    ------
    DataError
        A column is absent.
    UsageError
        As `catalogue_schema`.
    """
    schema = catalogue_schema(*bundles)
    columns: dict[str, Any] = {}
    for name, kind, _, _ in _PLACE:
        found = _column(measured, (names or {}).get(name, name))
        columns[name] = found.cast(kind)
    for bundle in bundles:
        prefix = _prefix(bundle)
        said = {
            code: _column(measured, f"{prefix}_{code}").to_numpy().astype(np.float64)
            for code in _codes(bundle)
        }
        unknown = ~np.isfinite(np.stack(list(said.values()))).all(axis=0)
        for name, values in class_columns(bundle, said).items():
            columns[name] = pa.array(values, schema.field(name).type, mask=unknown)
        columns[f"applicable_{suffix_of(bundle)}"] = _column(measured, f"{prefix}_applicable")
    return pa.table([columns[name] for name in schema.names], schema=schema)


def publish(
    run: str | Path,
    out: str | Path,
    bundles: Sequence[Bundle],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Make the public catalogue of a run over a catalogue of light curves: a HATS catalogue again.

    Parameters
    ----------
    run : str or Path
        The folder of the run, a HATS catalogue in which the bundles have their columns.
    out : str or Path
        A folder that does not exist, or is empty.
    bundles : sequence of Bundle
    on_progress : callable, optional
        Called with the number of partitions done and of all.

    Returns
    -------
    counts : dict
        Rows, partitions, and sources decided for each class, by column.

    Raises
    ------
    CatalogError
        `run` is no catalogue, or a partition cannot be read.
    DataError
        A column is absent, or was filled by another bundle than this one.
    OutputError
        `out` cannot be written.
    """
    layout = read_layout(Path(run))
    names = {
        "id": layout.properties.get("astrid_col_id", "id"),
        "ra": layout.properties["hats_col_ra"],
        "dec": layout.properties["hats_col_dec"],
    }
    for bundle in bundles:
        _check_maker(layout.schema, bundle)
    public = catalogue_schema(*bundles)
    cell_number = _field(HEALPIX, pa.int64(), "", "nested HEALPix cell of order 29")
    schema = pa.schema([cell_number, *public], public.metadata)
    wanted = [name for name in layout.schema.names if name == HEALPIX or name in _needed(bundles, names)]
    decided: dict[str, int] = {name: 0 for name in public.names if name.endswith("_decision")}
    with product_directory(out, names=(), last="hats.properties") as staging:
        writer = PartitionWriter(staging / "catalogue", schema)
        for done, cell in enumerate(layout.cells, 1):
            measured = read_partition(layout, cell, wanted)
            table = public_catalogue(measured, *bundles, names=names)
            writer.write(cell, table.add_column(0, cell_number, measured[HEALPIX]))
            for name in decided:
                decided[name] += pc.sum(table[name]).as_py() or 0
            if on_progress is not None:
                on_progress(done, len(layout.cells))
        writer.finish(
            {
                "obs_collection": Path(out).name,
                "dataproduct_type": "object",
                "hats_col_ra": "ra",
                "hats_col_dec": "dec",
                "hats_builder": f"astrid {__version__}",
                "astrid_col_id": "id",
                "astrid_bundles": " ".join(f"{one.name}:{one.hash}" for one in bundles),
            }
        )
        for entry in (staging / "catalogue").iterdir():
            entry.rename(staging / entry.name)
        (staging / "catalogue").rmdir()
    return {"out": str(out), "rows": writer.n_rows, "partitions": len(layout.cells), "decided": decided}


def _needed(bundles: Sequence[Bundle], names: Mapping[str, str]) -> set[str]:
    found = {*names.values(), "period"}
    for bundle in bundles:
        found |= {f"{_prefix(bundle)}_{what}" for what in (*_codes(bundle), "applicable")}
    return found


def _check_maker(schema: pa.Schema, bundle: Bundle) -> None:
    """Columns of a run name the bundle that filled them; one of the same name may be another."""
    name = f"{_prefix(bundle)}_{_codes(bundle)[0]}"
    if name not in schema.names:
        raise DataError(f"the run has no column {name!r}; run it with --classify {bundle.name}")
    said = (schema.field(name).metadata or {}).get(b"description", b"").decode()
    if bundle.hash[:12] not in said:
        raise DataError(f"the column {name} is not of {bundle.name} ({bundle.hash[:12]}) but: {said}")


def _prefix(bundle: Bundle) -> str:
    return re.sub(r"\W+", "_", bundle.name)


def _codes(bundle: Bundle) -> Sequence[str]:
    """The classes of a bundle in the order of the trees."""
    heads = bundle.task.heads
    strange = [name for name, one in heads.items() if name not in taxonomy().classes or one.kind != "binary"]
    if strange:
        raise UsageError(f"{bundle.name} judges {strange[0]!r}, which is no class of the trees; give another")
    assert all(isinstance(one, Binary) for one in heads.values())
    return tuple(code for code in taxonomy().classes if code in heads)


def _column(table: pa.Table, name: str) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise DataError(f"the measured table has no column {name!r}; measure it, or say what it is called")
    return table[name]


def _field(name: str, kind: pa.DataType, unit: str, meaning: str) -> pa.Field:
    return pa.field(name, kind, metadata={"description": meaning} | ({"unit": unit} if unit else {}))
