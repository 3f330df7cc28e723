"""Predictions of a whole data set as one Parquet file, in bounded memory.

An item that cannot be scored keeps its row, with the reason. What a prediction is, and how one is
made, is in `prediction`.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.errors import PredictionError, UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.prediction import Predictor

__all__ = ["ScoreSummary", "read_arrays", "write_scores"]

_ROW_GROUP = 20_000  # rows of the file that are held in memory


@dataclass(frozen=True)
class ScoreSummary:
    """What became of the items.

    Parameters
    ----------
    out : str
    bundle, hash : str
    n, n_scored, n_set_aside, n_out_of_range : int
        Items that were set aside have a reason in the column ``problem``; those out of range are
        scored, and ``applicable`` says why not to trust it.
    """

    out: str
    bundle: str
    hash: str
    n: int
    n_scored: int
    n_set_aside: int
    n_out_of_range: int

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return asdict(self)


def write_scores(
    bundle: Bundle,
    source: Dataset | Mapping[str, NDArray[Any]],
    out: str | Path,
    *,
    batch_size: int = 512,
    spread: bool = False,
    int8: bool = False,
    threads: int = 1,
    command: str = "astrid.learn.scores.write_scores",
    on_progress: Callable[[int, int], None] | None = None,
) -> ScoreSummary:
    """Classify all items of a data set and write one row for each.

    Columns: ``row``; ``id``, where the source has it; those of `Prediction.to_columns`; and
    ``problem``, why an item could not be scored. Numbers that are not known are null.

    Parameters
    ----------
    bundle : Bundle
    source : Dataset or mapping of str to (n, ...) ndarray
        A data set, or the inputs by name, with ``id`` if there are identifiers; see `read_arrays`.
    out : str or Path
        The Parquet file.
    batch_size : int
    spread : bool
        Also run the passes with dropout, which cost as much again for each pass.
    int8 : bool
        Use the quantised model.
    threads : int
        Of ONNX Runtime.
    command : str
        What the file says it was made by.
    on_progress : callable, optional
        Told how many items are done, and of how many.

    Returns
    -------
    ScoreSummary

    Raises
    ------
    PredictionError
        The source does not fit the bundle.
    UsageError
        The bundle gives nothing that fits a table, or a batch is empty.
    OutputError
        The file cannot be written.
    """
    if batch_size < 1:
        raise UsageError(f"the batch size is {batch_size}; give at least 1")
    predictor = Predictor(bundle, threads=threads, int8=int8)
    items = _Items.of(source, predictor)
    blank = _columns(
        predictor, {name: np.zeros((1, *one.shape)) for name, one in items.inputs.items()}, spread
    )
    facts = {
        "software": f"AstrID {__version__}", "command": command, "bundle": bundle.name, "hash": bundle.hash,
        "source": items.name,
    }  # fmt: skip
    schema = _schema(blank, items.identifiers).with_metadata({"astrid": json.dumps(plain(facts))})
    counts = {"scored": 0, "out of range": 0}
    waiting: list[pa.RecordBatch] = []
    with atomic_path(out) as partial, pq.ParquetWriter(partial, schema, compression="zstd") as writer:
        for start in range(0, items.n, batch_size):
            rows = np.arange(start, min(start + batch_size, items.n))
            waiting.append(_batch(predictor, items, rows, blank, spread, schema, counts))
            if sum(one.num_rows for one in waiting) >= _ROW_GROUP:
                writer.write_table(pa.Table.from_batches(waiting, schema))
                waiting.clear()
            if on_progress:
                on_progress(int(rows[-1]) + 1, items.n)
        writer.write_table(pa.Table.from_batches(waiting, schema))
    return ScoreSummary(
        out=str(out),
        bundle=bundle.name,
        hash=bundle.hash,
        n=items.n,
        n_scored=counts["scored"],
        n_set_aside=items.n - counts["scored"],
        n_out_of_range=counts["out of range"],
    )


def read_arrays(path: str | Path, bundle: Bundle) -> dict[str, NDArray[Any]]:
    """The inputs of a bundle from an ``.npz`` file.

    Parameters
    ----------
    path : str or Path
        Arrays called as the inputs; or as the channels of an input, (n, ...) each, which are put
        together in the order that the bundle wants. ``id`` is taken along.
    bundle : Bundle

    Returns
    -------
    arrays : dict of str to ndarray

    Raises
    ------
    PredictionError
        The file cannot be read, or lacks an input.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name in _wanted(bundle)}
    except FileNotFoundError as error:
        raise PredictionError(f"{path}: there is no such file; give an .npz file or a data set") from error
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise PredictionError(
            f"{path}: cannot be read ({reason}); give an .npz file or a data set"
        ) from error
    arrays = {}
    for name, one in bundle.task.inputs.items():
        if name in found:
            arrays[name] = found[name]
            continue
        absent = [channel for channel in one.channels if channel not in found]
        if absent or not one.channels:
            raise PredictionError(
                f"{path}: has neither an array {name!r} nor its channels "
                f"{', '.join(one.channels) or '(none)'}, which {bundle.name} takes; give all of them"
            )
        shapes = {found[channel].shape for channel in one.channels}
        if len(shapes) > 1:
            raise PredictionError(f"{path}: the channels of {name} differ in shape: {sorted(shapes)}")
        arrays[name] = np.stack([found[channel] for channel in one.channels], axis=-1)
    if "id" in found:
        arrays["id"] = found["id"]
    return arrays


def _wanted(bundle: Bundle) -> set[str]:
    inputs = bundle.task.inputs
    return {"id", *inputs, *(channel for one in inputs.values() for channel in one.channels)}


@dataclass(frozen=True)
class _Items:
    """Where items come from, whatever holds them."""

    name: str
    n: int
    inputs: dict[str, Any]
    identifiers: pa.Array | pa.ChunkedArray | None
    take: Callable[[str, NDArray[np.int64]], NDArray[Any]]

    @classmethod
    def of(cls, source: Dataset | Mapping[str, NDArray[Any]], predictor: Predictor) -> _Items:
        inputs = predictor.bundle.task.inputs
        if isinstance(source, Dataset):
            predictor.check(source)
            identifiers = source.rows["id"] if "id" in source.rows.column_names else None
            return cls(str(source.path), len(source), inputs, identifiers, source.take)
        lengths = {len(source[name]) for name in (*inputs, "id") if name in source}
        if len(lengths) != 1:
            raise PredictionError(f"the arrays have {sorted(lengths)} items; give as many of each")
        identifiers = pa.array(source["id"].tolist()) if "id" in source else None
        return cls("arrays", lengths.pop(), inputs, identifiers, lambda name, rows: source[name][rows])


def _columns(
    predictor: Predictor, arrays: Mapping[str, NDArray[Any]], spread: bool
) -> dict[str, NDArray[Any]]:
    """The columns of a prediction that fit a table: those of heat maps do not."""
    columns = predictor(arrays, spread=spread).to_columns()
    fitting = {name: values for name, values in columns.items() if values.ndim == 1}
    if len(fitting) < 2:  # applicability is always there
        raise UsageError(
            f"{predictor.bundle.name} gives maps, which are no rows of a table; use it from Python"
        )
    return fitting


def _schema(blank: Mapping[str, NDArray[Any]], identifiers: pa.Array | pa.ChunkedArray | None) -> pa.Schema:
    fields = [pa.field("row", pa.int64())]
    if identifiers is not None:
        fields.append(pa.field("id", identifiers.type))
    for name, values in blank.items():
        fields.append(pa.field(name, pa.float32() if values.dtype.kind == "f" else pa.string()))
    return pa.schema([*fields, pa.field("problem", pa.string())])


def _batch(
    predictor: Predictor,
    items: _Items,
    rows: NDArray[np.int64],
    blank: Mapping[str, NDArray[Any]],
    spread: bool,
    schema: pa.Schema,
    counts: dict[str, int],
) -> pa.RecordBatch:
    arrays = {name: items.take(name, rows) for name in items.inputs}
    problems = _problems(arrays)
    good = np.flatnonzero(problems == "")
    found = (
        _columns(predictor, {name: one[good] for name, one in arrays.items()}, spread) if len(good) else {}
    )
    if found:
        counts["scored"] += len(good)
        counts["out of range"] += int((found["applicable"] != "").sum())
    columns: list[pa.Array] = [pa.array(rows)]
    if items.identifiers is not None:
        part = items.identifiers.slice(int(rows[0]), len(rows))
        columns.append(part.combine_chunks() if isinstance(part, pa.ChunkedArray) else part)
    for name, example in blank.items():
        if example.dtype.kind == "f":
            numbers = np.full(len(rows), np.nan, np.float32)
            numbers[good] = found.get(name, np.nan)
            columns.append(pa.array(numbers, mask=~np.isfinite(numbers)))
        else:
            text = np.full(len(rows), "", object)
            text[good] = found.get(name, "")
            columns.append(pa.array(text, pa.string()))
    columns.append(pa.array(problems, pa.string()))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _problems(arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.object_]:
    """Why each item cannot be scored; empty where it can."""
    n = len(next(iter(arrays.values())))
    problems = np.full(n, "", object)
    for name, array in arrays.items():
        with np.errstate(over="ignore"):
            if np.isfinite(np.sum(array, dtype=np.float64)):
                continue
        bad = ~np.isfinite(array.reshape(n, -1)).all(axis=1)
        problems[bad] = f"{name} has numbers that are not finite"
    return problems
