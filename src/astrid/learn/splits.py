"""Dividing a data set into training, validation and test, so that no group is on both sides.

A split of single rows is refused wherever it comes from. How rows are drawn during training is
in `sampling`.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, LeakError, UsageError
from astrid.files.atomic import atomic_path
from astrid.learn.dataset import Dataset, class_counts
from astrid.learn.settings import Split
from astrid.learn.task import Task

__all__ = ["Parts", "check_labels", "check_parts", "make_parts"]

log = logging.getLogger(__name__)

_NAMES = ("train", "validation", "test")
_LISTED = 3  # groups that a message names


@dataclass(frozen=True, eq=False)
class Parts:
    """Row numbers of each part.

    Parameters
    ----------
    train, validation, test : (n,) int64 ndarray
        Sorted; any but the first may be empty.
    note : str
        What a person should know about how the split came about.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    note: str = ""

    @property
    def counts(self) -> dict[str, int]:
        """Rows of each part."""
        return {name: len(getattr(self, name)) for name in _NAMES}

    def save(self, path: str | Path) -> None:
        """Write the parts as JSON.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        content = {name: getattr(self, name).tolist() for name in _NAMES} | {"note": self.note}
        with atomic_path(path) as partial:
            partial.write_text(json.dumps(content, separators=(",", ":")) + "\n", "utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Parts:
        """Read parts that were saved, or written by hand in the same form.

        Raises
        ------
        DatasetError
            There is no such file, or it does not hold three lists of row numbers.
        """
        try:
            content = json.loads(Path(path).read_text("utf-8"))
            rows = {name: _row_numbers(content[name]) for name in _NAMES}
            return cls(**rows, note=str(content.get("note", "")))
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror}); give a split's file") from error
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
            raise DatasetError(
                f"{path}: is no split; expected JSON with lists of row numbers called {', '.join(_NAMES)}"
            ) from error


def make_parts(dataset: Dataset, split: Split, seed: int) -> Parts:
    """Divide a data set.

    Parameters
    ----------
    dataset : Dataset
    split : Split
        By ``group``, whole groups are drawn until the shares of rows come closest to what is asked.
        By ``time``, a group lies where its latest row lies, so that nothing in a part is later than
        the part after it begins, by groups. By ``column``, the rows with the given values.
    seed : int
        Of the drawing of groups.

    Returns
    -------
    parts : Parts

    Raises
    ------
    DatasetError
        A part would be empty, there is no time, or the column has no such value.
    LeakError
        A group has rows with held-out and with other values of the column.
    """
    match split.by:
        case "group":
            parts = _by_group(dataset, split, seed)
        case "time":
            parts = _by_time(dataset, split)
        case "column":
            parts = _by_column(dataset, split, seed)
    wanted = {"validation": split.validation > 0 or bool(split.validation_values)}
    wanted["test"] = bool(split.test_values) if split.by == "column" else split.test > 0
    for name in ("train", *(name for name, needed in wanted.items() if needed)):
        if len(getattr(parts, name)) == 0:
            raise DatasetError(
                f"{dataset.path}: the {name} part of the split by {split.by} is empty; the {len(dataset)} "
                f"rows are of {len(np.unique(dataset.groups()))} groups, add some or change the shares"
            )
    check_parts(dataset, parts)
    if parts.note:
        log.info("%s: %s", dataset.path, parts.note)
    return parts


def check_parts(dataset: Dataset, parts: Parts) -> None:
    """Make sure that no row and no group is in two parts.

    Raises
    ------
    DatasetError
        A row number that the data set does not have.
    LeakError
        A row in two parts, or a group that has rows in two; the first few are named.
    """
    member = np.zeros((3, len(dataset)), bool)
    for k, name in enumerate(_NAMES):
        rows = getattr(parts, name)
        if len(rows) and (rows.min() < 0 or rows.max() >= len(dataset)):
            raise DatasetError(
                f"{dataset.path}: the {name} part names row {rows.max() if rows.min() >= 0 else rows.min()} "
                f"but the data set has {len(dataset)} rows; make the split anew"
            )
        member[k, rows] = True
    twice = np.flatnonzero(member.sum(axis=0) > 1)
    if len(twice):
        raise LeakError(
            f"{dataset.path}: {len(twice)} rows are in two parts of the split (the first is row {twice[0]}); "
            "give each row to one part"
        )
    names, codes = np.unique(dataset.groups(), return_inverse=True)
    inside = np.zeros((3, len(names)), bool)
    for k in range(3):
        inside[k, codes[member[k]]] = True
    crossing = names[inside.sum(axis=0) > 1]
    if len(crossing):
        first = ", ".join(crossing[:_LISTED]) + (", …" if len(crossing) > _LISTED else "")
        raise LeakError(
            f"{dataset.path}: {len(crossing)} groups ({dataset.info.group}) have rows in more than one part "
            f"of the split: {first}; split by whole groups, not by rows"
        )


def check_labels(dataset: Dataset, parts: Parts, task: Task) -> None:
    """Make sure that the training and validation parts can teach and judge every head.

    Raises
    ------
    DatasetError
        A part is empty, or has no item of a class, or no label at all.
    """
    for part in ("train", "validation"):
        rows = getattr(parts, part)
        if len(rows) == 0:
            raise DatasetError(f"{dataset.path}: the {part} part is empty; give it rows (split.{part})")
        for name, head in task.heads.items():
            if head.kind == "heatmap":
                continue
            labels = dataset.labels(name, head)[rows]
            if head.kind == "regression":
                if not np.isfinite(labels).any():
                    raise DatasetError(f"{dataset.path}: no row of the {part} part has a value for {name}")
                continue
            _check_classes(dataset, part, name, head.labels, class_counts(labels, head), head.kind)


def _check_classes(
    dataset: Dataset, part: str, name: str, labels: tuple[str, ...], counts: NDArray[np.int64], kind: str
) -> None:
    if counts.sum() == 0:
        raise DatasetError(f"{dataset.path}: no row of the {part} part has a label for {name}; add some")
    if part != "train":
        return  # a class that is absent is a figure that is absent, no more
    empty = [label for label, count in zip(labels, counts, strict=True) if count == 0]
    if kind != "multilabel" and len(empty) == len(labels) - 1:
        only = labels[int(np.argmax(counts))]
        raise DatasetError(
            f"{dataset.path}: every labelled row of the train part is {only!r} for {name}; there is nothing "
            "to tell apart, add items of another class or split anew"
        )
    if empty:
        raise DatasetError(
            f"{dataset.path}: no row of the train part is {' or '.join(map(repr, empty))} for {name}; add "
            "items of it, split anew or leave the class out of the task"
        )


def _row_numbers(values: Any) -> NDArray[np.int64]:
    rows = np.asarray(values)
    if rows.ndim != 1 or (len(rows) and rows.dtype.kind not in "iu"):
        raise ValueError("not a list of integers")
    return np.sort(rows.astype(np.int64))


def _by_group(dataset: Dataset, split: Split, seed: int) -> Parts:
    return _drawn(dataset.groups(), np.arange(len(dataset)), split.validation, split.test, seed)


def _drawn(
    groups: NDArray[np.str_], rows: NDArray[np.int64], validation: float, test: float, seed: int
) -> Parts:
    """Whole groups of `rows`, in a drawn order, for the test, then for the validation part."""
    _shares(validation, test)
    _, codes, sizes = np.unique(groups[rows], return_inverse=True, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(sizes))
    part = np.zeros(len(sizes), np.int64)
    free = list(order)
    for k, share in ((2, test), (1, validation)):
        if share > 0:
            chosen = _fill(free, sizes, share * len(rows))
            part[chosen] = k
            free = [group for group in free if part[group] == 0]
    return Parts(*(rows[part[codes] == k] for k in range(3)))


def _fill(order: list[np.int64], sizes: NDArray[np.int64], wanted: float) -> list[np.int64]:
    """Groups in order, each taken if that brings their rows closer to `wanted`; at least one."""
    chosen: list[np.int64] = []
    filled = 0
    for group in order:
        if abs(filled + sizes[group] - wanted) < abs(filled - wanted):
            chosen.append(group)
            filled += int(sizes[group])
    if not chosen and len(order) > 1:
        chosen.append(min(order, key=lambda group: sizes[group]))
    return chosen


def _by_time(dataset: Dataset, split: Split) -> Parts:
    if dataset.info.time is None:
        raise DatasetError(f"{dataset.path}: has no time, so that it cannot be split by it; split by group")
    _shares(split.validation, split.test)
    time = _as_numbers(dataset.column(dataset.info.time))
    if not np.isfinite(time).all():
        row = int(np.argmin(np.isfinite(time)))
        raise DatasetError(
            f"{dataset.path}: row {row} has no {dataset.info.time}; fill it in or split by group"
        )
    _, codes = np.unique(dataset.groups(), return_inverse=True)
    latest = np.full(codes.max() + 1, -np.inf)
    np.maximum.at(latest, codes, time)
    earliest = np.full(codes.max() + 1, np.inf)
    np.minimum.at(earliest, codes, time)
    order = np.argsort(latest, kind="stable")
    rows_until = np.cumsum(np.bincount(codes)[order])
    total = len(dataset)
    ends = np.zeros(len(order), np.int64)
    ends[rows_until > round(total * (1 - split.test - split.validation))] = 1
    ends[rows_until > round(total * (1 - split.test))] = 2
    part = np.empty(len(order), np.int64)
    part[order] = ends
    straddling = np.zeros(len(order), bool)
    for k in (1, 2):
        if (part < k).any():
            straddling |= (part >= k) & (earliest <= latest[part < k].max())
    note = ""
    if straddling.any():
        share = f"{straddling.sum()} of {len(order)}"
        note = f"groups that reach over a boundary in time lie wholly on its later side ({share})"
    rows = np.arange(total)
    train, validation, test = (rows[part[codes] == k] for k in range(3))
    return Parts(train, validation, test, note)


def _by_column(dataset: Dataset, split: Split, seed: int) -> Parts:
    if split.column is None or not split.test_values:
        raise UsageError("a split by column needs split.column and split.test_values; give both")
    values = dataset.column(split.column).astype(np.str_)
    known = np.unique(values)
    for value in (*split.test_values, *split.validation_values):
        if value not in known:
            listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise DatasetError(f"{dataset.path}: no {split.column} is {value!r}; it has {listed}")
    both = sorted(set(split.test_values) & set(split.validation_values))
    if both:
        raise UsageError(f"{both[0]!r} is in split.test_values and in split.validation_values; choose one")
    test = np.isin(values, split.test_values)
    rest = np.flatnonzero(~test)
    if split.validation_values:
        validation = np.isin(values, split.validation_values)
        return Parts(np.flatnonzero(~test & ~validation), np.flatnonzero(validation), np.flatnonzero(test))
    drawn = _drawn(dataset.groups(), rest, split.validation, 0.0, seed)
    return Parts(drawn.train, drawn.validation, np.flatnonzero(test))


def _shares(validation: float, test: float) -> None:
    if validation + test >= 1:
        raise UsageError(
            f"split.validation {validation:g} and split.test {test:g} leave nothing to train on; lower them"
        )


def _as_numbers(values: NDArray[Any]) -> NDArray[np.float64]:
    if values.dtype.kind == "M":
        return np.where(np.isnat(values), np.nan, values.astype("datetime64[us]").astype(np.float64))
    if values.dtype.kind not in "fiu":
        raise DatasetError("the time of a data set holds text, expected numbers (MJD) or timestamps")
    return values.astype(np.float64)
