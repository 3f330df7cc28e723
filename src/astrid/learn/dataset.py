"""A data set on disk: memory-mapped arrays and one Parquet table of rows, larger than memory if need be.

The directory holds ``dataset.json`` (what it is and how it was made), ``rows.parquet`` (one row
an item: its id, group, time, labels and anything else) and one ``.npy`` file for each array.
How rows are divided is in `splits`, how they are drawn in `sampling`.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from astrid._version import __version__
from astrid.errors import DatasetError, UsageError
from astrid.files.directory import product_directory
from astrid.files.record import plain, sha256
from astrid.learn.task import Head, HeatMap, Input, Regression, Task

__all__ = ["Dataset", "DatasetInfo", "DatasetWriter"]

FORMAT = 1
_ALIGN = 64  # bytes before the first number of a .npy file are a multiple of this
_HEADER = 256  # enough for any shape and type


class DatasetInfo(BaseModel):
    """What a data set says about itself.

    Parameters
    ----------
    format : int
    name : str
    kind : {"real", "simulated"}
        Figures measured on the two are never mixed.
    inputs : dict of str to Input
        The arrays; also the truth of heat maps.
    n : int
        Rows.
    group, time : str
        Columns; the second may be absent.
    recipe : dict
        What makes it again: command, seed, configuration, source.
    labels : str
        How the labels were obtained.
    licence : str
    files : dict of str to str
        SHA-256 of each file.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = FORMAT
    name: str
    kind: Literal["real", "simulated"]
    inputs: dict[str, Input]
    n: int
    group: str = "group"
    time: str | None = None
    recipe: dict[str, Any] = {}
    labels: str = ""
    licence: str = ""
    software: str = f"AstrID {__version__}"
    files: dict[str, str]

    @property
    def hash(self) -> str:
        """One name for the content of all files."""
        import hashlib

        listing = json.dumps(self.files, sort_keys=True)
        return hashlib.sha256(listing.encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set that was opened; nothing but the table of rows is in memory.

    Parameters
    ----------
    path : Path
    info : DatasetInfo
    rows : `pyarrow.Table`
    arrays : dict of str to (n, ...) ndarray
        Memory-mapped, read only.
    """

    path: Path
    info: DatasetInfo
    rows: pa.Table
    arrays: dict[str, NDArray[Any]]

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> Dataset:
        """Open the data set in the directory `path`.

        Parameters
        ----------
        path : str or Path
        verify : bool
            Read every file and compare it with its hash.

        Raises
        ------
        DatasetError
            There is none, it is of a newer format, or a file is absent, damaged or of another shape.
        """
        root = Path(path)
        info = _info(root)
        rows = _rows(root, info)
        arrays = {name: _mapped(root, info, name) for name in info.inputs}
        if verify:
            for name, expected in info.files.items():
                if sha256(root / name) != expected:
                    raise DatasetError(f"{root / name}: its content is not what was written; make it again")
        return cls(root, info, rows, arrays)

    def __len__(self) -> int:
        return self.info.n

    def take(self, name: str, rows: NDArray[np.integer]) -> NDArray[np.float32]:
        """Some items of an array, copied into memory, and the pages of the file given back.

        Parameters
        ----------
        name : str
            Of the array.
        rows : (n,) int ndarray
        """
        array = self.arrays[name]
        items = np.asarray(array[rows])
        mapped = getattr(array, "_mmap", None)
        if mapped is not None and hasattr(mapped, "madvise"):  # else a pass over the file fills the memory
            mapped.madvise(mmap.MADV_DONTNEED)
        return items

    def column(self, name: str) -> NDArray[Any]:
        """A column of the rows; text becomes str, absent numbers NaN.

        Raises
        ------
        DatasetError
            There is no such column.
        """
        if name not in self.rows.column_names:
            known = ", ".join(self.rows.column_names)
            raise DatasetError(f"{self.path}: there is no column {name!r}; it has {known}")
        column = self.rows[name]
        if pa.types.is_dictionary(column.type):
            column = pc.cast(column, column.type.value_type)
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            return np.asarray(column.fill_null("").to_pylist(), dtype=np.str_)
        if pa.types.is_null(column.type) or (pa.types.is_integer(column.type) and column.null_count):
            column = pc.cast(column, pa.float64())
        return np.asarray(column.to_numpy())

    def groups(self) -> NDArray[np.str_]:
        """The group of each row, (n,) str."""
        return self.column(self.info.group).astype(np.str_)

    def labels(self, name: str, head: Head) -> NDArray[Any]:
        """What a head shall learn, as numbers.

        Parameters
        ----------
        name : str
            The head's name, a column of the rows.
        head : Head

        Returns
        -------
        labels : ndarray
            Binary: (n,) float32, the probability of the positive class, NaN where there is no
            label. Multiclass: (n,) int64, -1 where there is none. Multilabel: (n, k) float32, NaN
            where there is none. Regression: (n, k) float32, NaN where there is none. Heat map:
            the (n, ny, nx) array.

        Raises
        ------
        DatasetError
            No such column, or a label that the head does not have.
        """
        match head.kind:
            case "binary":
                return self._binary(name, head.labels)
            case "multiclass":
                return self._coded(name, head.labels)
            case "multilabel":
                return self._several(name, head.labels)
            case "regression":
                return np.stack([self.column(one).astype(np.float32) for one in head.names], axis=1)
            case "heatmap":
                if head.truth not in self.arrays:
                    raise DatasetError(f"{self.path}: there is no array {head.truth!r} with the wanted maps")
                return self.arrays[head.truth]

    def check(self, task: Task) -> None:
        """Make sure that the task can be learned from this data set.

        Raises
        ------
        DatasetError
            An array of another shape or with other channels, no label, or only one class.
        """
        for name, wanted in task.inputs.items():
            found = self.info.inputs.get(name)
            if found is None:
                known = ", ".join(self.info.inputs)
                raise DatasetError(f"{self.path}: there is no input {name!r}; it has {known}")
            if found.shape != wanted.shape:
                raise DatasetError(
                    f"{self.path}: {name} has items of shape {found.shape} but task {task.name} takes "
                    f"{wanted.shape}; cut them anew"
                )
            if found.channels != wanted.channels:
                raise DatasetError(
                    f"{self.path}: the channels of {name} are {list(found.channels)} but task {task.name} "
                    f"takes {list(wanted.channels)}; write them in that order"
                )
        for name, head in task.heads.items():
            self._check_labels(name, head)

    def _check_labels(self, name: str, head: Head) -> None:
        labels = self.labels(name, head)
        if isinstance(head, HeatMap):
            return
        if isinstance(head, Regression):
            if not np.isfinite(labels).any():
                raise DatasetError(f"{self.path}: no row has a value for {name}; add labels")
            return
        names = list(head.labels)
        counts = class_counts(labels, head)
        empty = [label for label, count in zip(names, counts, strict=True) if count == 0]
        if len(empty) == len(names):
            raise DatasetError(f"{self.path}: no row has a label for {name}; add a column of {names}")
        if empty and head.kind != "multilabel":
            raise DatasetError(
                f"{self.path}: no row of {name} is {' or '.join(map(repr, empty))}; "
                f"every class needs items, add some or leave the class out of the task"
            )

    def _binary(self, name: str, labels: tuple[str, str]) -> NDArray[np.float32]:
        values = self.column(name)
        if values.dtype.kind in "fiub":
            numbers = values.astype(np.float32)
            if ((numbers < 0) | (numbers > 1)).any():
                raise DatasetError(f"{self.path}: {name} has values beyond 0 and 1; give probabilities")
            return numbers
        codes = self._coded(name, labels)
        return np.where(codes < 0, np.nan, codes).astype(np.float32)

    def _coded(self, name: str, labels: Sequence[str]) -> NDArray[np.int64]:
        values = self.column(name)
        if values.dtype.kind == "f" and np.isnan(values).all():
            return np.full(len(values), -1, np.int64)
        if values.dtype.kind != "U":
            raise DatasetError(f"{self.path}: {name} holds numbers, expected labels of {list(labels)}")
        codes = np.full(len(values), -1, np.int64)
        for code, label in enumerate(labels):
            codes[values == label] = code
        odd = (codes < 0) & (values != "")
        if odd.any():
            row = int(np.argmax(odd))
            raise DatasetError(
                f"{self.path}: row {row} has the label {str(values[row])!r} for {name}, which is none of "
                f"{list(labels)}"
            )
        return codes

    def _several(self, name: str, labels: Sequence[str]) -> NDArray[np.float32]:
        if name not in self.rows.column_names:
            raise DatasetError(f"{self.path}: there is no column {name!r} with lists of labels")
        known = {label: k for k, label in enumerate(labels)}
        result = np.full((len(self), len(labels)), np.nan, np.float32)
        for row, tags in enumerate(self.rows[name].to_pylist()):
            if tags is None:
                continue
            result[row] = 0
            for tag in tags:
                if tag not in known:
                    raise DatasetError(
                        f"{self.path}: row {row} has the label {tag!r} for {name}, which is none of "
                        f"{list(labels)}"
                    )
                result[row, known[tag]] = 1
        return result


def class_counts(labels: NDArray[Any], head: Head) -> NDArray[np.int64]:
    """How many rows have each label of a classifying head, in the order of its labels."""
    if head.kind == "binary":
        return np.array([(labels < 0.5).sum(), (labels >= 0.5).sum()], np.int64)
    if head.kind == "multiclass":
        return np.bincount(labels[labels >= 0], minlength=len(head.labels)).astype(np.int64)
    return np.asarray((labels >= 0.5).sum(axis=0), np.int64)


class DatasetWriter:
    """Writes a data set batch by batch; it appears when the block ends well.

    Parameters
    ----------
    path : str or Path
        A directory that does not exist, is empty, or holds a data set, which is replaced.
    name : str
    inputs : mapping of str to Input
        The arrays of each batch, float32.
    kind : {"real", "simulated"}
    group, time : str
        Columns that each batch brings; the second may be None.
    recipe : mapping
        What makes the data again.
    labels, licence : str
        How the labels were obtained, and the terms of the data.

    Raises
    ------
    OutputError
        The directory cannot be written.

    Examples
    --------
    >>> with DatasetWriter("toy", name="toy", inputs={"x": Input(shape=(4,))}, kind="simulated") as writer:
    ...     writer.append({"x": np.zeros((2, 4), np.float32)}, {"group": ["a", "b"], "real": ["yes", "no"]})
    """

    def __init__(
        self,
        path: str | Path,
        *,
        name: str,
        inputs: Mapping[str, Input],
        kind: Literal["real", "simulated"],
        group: str = "group",
        time: str | None = None,
        recipe: Mapping[str, Any] | None = None,
        labels: str = "",
        licence: str = "",
    ) -> None:
        self.inputs = dict(inputs)
        self._facts: dict[str, Any] = {
            "name": name, "kind": kind, "group": group, "time": time,
            "recipe": plain(recipe or {}), "labels": labels, "licence": licence,
        }  # fmt: skip
        self._n = 0
        self._tables: list[pa.Table] = []
        self._files: dict[str, BinaryIO] = {}
        names = {"dataset.json", "rows.parquet", *(f"{one}.npy" for one in self.inputs)}
        self._directory = product_directory(path, names=names, last="dataset.json")

    def __enter__(self) -> DatasetWriter:
        self._staging = self._directory.__enter__()
        for name in self.inputs:
            file = (self._staging / f"{name}.npy").open("wb")
            file.write(bytes(_HEADER))
            self._files[name] = file
        return self

    def append(self, arrays: Mapping[str, NDArray[Any]], rows: Mapping[str, Any]) -> None:
        """Add items.

        Parameters
        ----------
        arrays : mapping of str to (n, ...) ndarray
            One for each input; must be finite.
        rows : mapping of str to (n,) sequence
            Columns, the same in each batch. None is "not known".

        Raises
        ------
        DatasetError
            An array of another shape, a number that is not finite, or lengths that differ.
        """
        table = pa.table({name: _column(values) for name, values in rows.items()})
        for column in (self._facts["group"], self._facts["time"]):
            if column is not None and column not in table.column_names:
                raise DatasetError(f"a batch has no column {column!r}; every item needs one")
        for name, one in self.inputs.items():
            if name not in arrays:
                raise DatasetError(f"a batch has no array {name!r}; give all of {', '.join(self.inputs)}")
            block = np.ascontiguousarray(arrays[name], dtype="<f4")
            if block.shape != (table.num_rows, *one.shape):
                raise DatasetError(
                    f"{name} has shape {block.shape}, expected {(table.num_rows, *one.shape)}: one item of "
                    f"shape {one.shape} for each of the {table.num_rows} rows"
                )
            if not np.isfinite(block).all():
                row = int(np.argmin(np.isfinite(block.reshape(len(block), -1)).all(axis=1)))
                raise DatasetError(f"{name} of row {self._n + row} is not finite; fill or leave out the item")
            block.tofile(self._files[name])
        if self._tables and table.column_names != self._tables[0].column_names:
            raise DatasetError(
                f"a batch has the columns {table.column_names}, those before had "
                f"{self._tables[0].column_names}; give the same columns in the same order"
            )
        self._tables.append(table)
        self._n += table.num_rows

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            for name, file in self._files.items():
                if error is None:
                    file.seek(0)
                    file.write(_npy_header((self._n, *self.inputs[name].shape)))
                file.close()
            if error is None:
                self._finish()
        except BaseException as problem:
            self._directory.__exit__(type(problem), problem, problem.__traceback__)
            raise
        self._directory.__exit__(kind, error, trace)

    def _finish(self) -> None:
        if self._n == 0:
            raise DatasetError("no item was written; a data set needs at least one")
        rows = pa.concat_tables(self._tables, promote_options="permissive")
        pq.write_table(rows, self._staging / "rows.parquet", compression="zstd")
        names = ["rows.parquet", *(f"{name}.npy" for name in self.inputs)]
        files = {name: sha256(self._staging / name) for name in names}
        info = DatasetInfo(inputs=self.inputs, n=self._n, files=files, **self._facts)
        (self._staging / "dataset.json").write_text(info.model_dump_json(indent=1) + "\n", "utf-8")


def _column(values: Any) -> pa.Array:
    return pa.array(values.tolist() if isinstance(values, np.ndarray) else list(values))


def _npy_header(shape: tuple[int, ...]) -> bytes:
    """The first bytes of a .npy file (format 1.0), filled up to `_HEADER`."""
    text = repr({"descr": "<f4", "fortran_order": False, "shape": shape}).encode("latin1")
    room = _HEADER - 10 - 1
    if len(text) > room:
        raise UsageError(f"an item of shape {shape[1:]} has too many axes; flatten some")
    return b"\x93NUMPY\x01\x00" + (room + 1).to_bytes(2, "little") + text.ljust(room) + b"\n"


def _info(root: Path) -> DatasetInfo:
    path = root / "dataset.json"
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{root}: is no data set (it has no dataset.json); give its directory") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); make the data set again") from error
    newer = isinstance(facts, dict) and isinstance(facts.get("format"), int) and facts["format"] > FORMAT
    if newer:
        raise DatasetError(
            f"{path}: is of format {facts['format']}, this AstrID reads up to {FORMAT}; update AstrID"
        )
    try:
        return DatasetInfo.model_validate(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise DatasetError(f"{path}: {where}: {first['msg']}; make the data set again") from error


def _rows(root: Path, info: DatasetInfo) -> pa.Table:
    path = root / "rows.parquet"
    try:
        rows = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: cannot be read ({reason}); make the data set again") from error
    if rows.num_rows != info.n:
        raise DatasetError(f"{path}: has {rows.num_rows} rows, expected {info.n}; make the data set again")
    for column in (info.group, info.time):
        if column is not None and column not in rows.column_names:
            raise DatasetError(f"{path}: there is no column {column!r}; make the data set again")
    return rows


def _mapped(root: Path, info: DatasetInfo, name: str) -> NDArray[Any]:
    path = root / f"{name}.npy"
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); make the data set again") from error
    expected = (info.n, *info.inputs[name].shape)
    if array.shape != expected or array.dtype != np.float32:
        raise DatasetError(
            f"{path}: holds {array.dtype} of shape {array.shape}, expected float32 of {expected}; "
            "make the data set again"
        )
    return np.asarray(array) if array.size == 0 else array
