"""What people say of sources, class by class: tables of labels, read, checked and joined.

One row is one opinion: id, class, value, who, when. What follows from an opinion for other classes is in
`astrid.lightcurves.classes`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrid.errors import DataError, UsageError
from astrid.files.atomic import atomic_path
from astrid.lightcurves.classes import LEVELS, Taxonomy, taxonomy

__all__ = ["Opinion", "joined", "read_labels", "write_labels"]

_COLUMNS = ("id", "class", "value", "who", "when")


@dataclass(frozen=True)
class Opinion:
    """What one person said of one class of one source.

    Parameters
    ----------
    id : str
        Of the source.
    code : str
        Of the class.
    value : float
        One of 0, 0.25, 0.5, 0.75 and 1.
    who : str
    when : str
        ISO 8601; of UTC where it names no zone.
    """

    id: str
    code: str
    value: float
    who: str
    when: str


def read_labels(paths: Iterable[str | Path], trees: Taxonomy | None = None) -> list[Opinion]:
    """Read tables of labels.

    Rows whose value is empty are left out: they wait for an answer.

    Parameters
    ----------
    paths : iterable of str or Path
        CSV or Parquet with the columns ``id``, ``class``, ``value``, ``who`` and ``when``; others are
        ignored.
    trees : Taxonomy, optional
        Those that come with AstrID if not given.

    Raises
    ------
    DataError
        A table cannot be read, or a row has a class, value, time or name that cannot be.
    """
    known = trees or taxonomy()
    return [one for path in paths for one in _opinions(Path(path), known)]


def write_labels(path: str | Path, opinions: Sequence[Opinion]) -> None:
    """Write a table of labels.

    Parameters
    ----------
    path : str or Path
        ``.csv`` or ``.parquet``.
    opinions : sequence of Opinion

    Raises
    ------
    UsageError
        Another ending.
    OutputError
        The file cannot be written.
    """
    columns = [[getattr(one, "code" if name == "class" else name) for one in opinions] for name in _COLUMNS]
    write_rows(path, pa.table(dict(zip(_COLUMNS, columns, strict=True))))


def write_rows(path: str | Path, table: pa.Table) -> None:
    """Write a table as CSV or Parquet, by the ending of its name."""
    target = Path(path)
    if target.suffix not in (".csv", ".parquet"):
        raise UsageError(f"{target}: labels are written as .csv or .parquet; choose one of these endings")
    with atomic_path(target) as partial:
        if target.suffix == ".parquet":
            pq.write_table(table, partial, compression="zstd")
            return
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
        partial.write_text(text.getvalue(), "utf-8")


def joined(opinions: Iterable[Opinion]) -> dict[str, dict[str, float]]:
    """One value for each source and class.

    Of several answers of one person the last counts; of several people the mean, brought to the nearest
    level; of two that are equally near, the one nearer to "perhaps".

    Returns
    -------
    said : dict of str to dict of str to float
        By source and class.
    """
    last: dict[tuple[str, str], dict[str, tuple[datetime, float]]] = {}
    for one in opinions:
        of_people = last.setdefault((one.id, one.code), {})
        when = _moment(one.when)
        if one.who not in of_people or when >= of_people[one.who][0]:
            of_people[one.who] = (when, one.value)
    said: dict[str, dict[str, float]] = {}
    for (source, code), of_people in last.items():
        mean = sum(value for _, value in of_people.values()) / len(of_people)
        said.setdefault(source, {})[code] = min(
            LEVELS, key=lambda level: (abs(level - mean), abs(level - 0.5))
        )
    return said


def _opinions(path: Path, trees: Taxonomy) -> Iterable[Opinion]:
    for number, row in enumerate(_rows(path), 1):
        absent = [name for name in _COLUMNS if name not in row]
        if absent:
            raise DataError(f"{path}: has no column {absent[0]!r}; labels have {', '.join(_COLUMNS)}")
        text = row["value"]
        if text is None or str(text).strip() == "":
            continue
        where = f"{path}: row {number}"
        code, who = str(row["class"]), str(row["who"] or "").strip()
        if code not in trees.classes:
            raise DataError(f"{where} names the class {code!r}; choose one of {', '.join(trees.classes)}")
        try:
            value = float(text)
            if value not in LEVELS:
                raise ValueError
        except (TypeError, ValueError) as error:
            levels = ", ".join(f"{level:g}" for level in LEVELS)
            raise DataError(
                f"{where} has the value {text!r}, expected one of {levels}; correct it"
            ) from error
        if not who:
            raise DataError(f"{where} does not say who gave the label; fill in the column who")
        try:
            when = _moment(row["when"])
        except ValueError as error:
            raise DataError(
                f"{where} has {row['when']!r} as its time, expected ISO 8601; write 2026-05-31T12:00"
            ) from error
        yield Opinion(str(row["id"]), code, value, who, when.isoformat())


def _moment(value: Any) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return (
        moment.replace(tzinfo=None) if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    )


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            return list(pq.read_table(path).to_pylist())
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path}: cannot be read as a table of labels ({reason}); give CSV or Parquet"
        ) from error
