"""Files of answers, row by row: CSV, Parquet, lists of JSON and the export of Zooniverse.

What a row says is looked at here and nothing is stored; a row that cannot be used says why.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from gzip import open as open_gzip
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

from astrid.errors import UsageError
from astrid.review.labelling import checked
from astrid.review.vocabulary import Vocabulary
from astrid.review.zooniverse import from_classification
from astrid.store.answers import NewLabel

__all__ = ["TAGS_APART", "Format", "Layout", "Rejected", "format_of", "iso", "read_answers", "text_of"]

Format = Literal["csv", "parquet", "json", "zooniverse"]

TAGS_APART = "|"
"""Between the tags of a row of CSV."""

_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_YES = {"true": True, "1": True, "false": False, "0": False, "": False}
_OURS = (
    "key", "survey", "alert_id", "user", "answer", "label", "tags", "note", "at", "seconds", "slot", "blind",
    "shown", "bundle", "hash", "score", "source", "undone",
)  # fmt: skip


class Rejected(NamedTuple):
    """A row that cannot be used.

    Parameters
    ----------
    row : int
        Of the file, from 1; of CSV, the names of the columns are row 1.
    reason : str
    content : str
        JSON.
    """

    row: int
    reason: str
    content: str


@dataclass(frozen=True)
class Layout:
    """How a file of answers is to be read; what `export_labels` writes needs none of it.

    Parameters
    ----------
    columns : mapping of str to str
        Our name of a column to that in the file: ``survey``, ``alert_id``, ``user``, ``label``,
        ``answer``, ``tags``, ``note``, ``at``, ``seconds``, ``key``.
    survey, user : str, optional
        Of all rows, where the file does not tell.
    answers : mapping of str to str
        What the file says for each of our labels, or for ``unsure`` and ``skip``.
    votes : str, optional
        Columns that are one person's answers each, with ``*``; the name of the column is that of the person.
    by_tags : bool
        The tags tell the label: an artefact is what is not looked for, a source is.
    otherwise : str, optional
        The label of a row with tags that tell nothing.
    question : str
        Of Zooniverse: which task of the workflow asks for the label.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    survey: str | None = None
    user: str | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    votes: str | None = None
    by_tags: bool = False
    otherwise: str | None = None
    question: str = "T0"


def read_answers(
    path: Path, task: str, vocabulary: Vocabulary, layout: Layout, format: Format | None
) -> tuple[list[tuple[int, NewLabel]], list[Rejected]]:
    """The answers of a file, each with its row, and the rows that cannot be used.

    Raises
    ------
    UsageError
        The file cannot be read, is empty, or lacks a column that is needed.
    """
    rows, kind = _rows(path, format)
    if not rows:
        raise UsageError(f"{path} has no rows; give a file with answers")
    found: list[tuple[int, NewLabel]] = []
    rejected: list[Rejected] = []
    for number, values in _values(rows, kind, layout, rejected):
        try:
            found.append((number, _label(values, task, vocabulary, layout, kind, path.name)))
        except UsageError as error:
            rejected.append(Rejected(number, str(error), text_of(values)))
    return found, rejected


def _rows(path: Path, format: Format | None) -> tuple[list[dict[str, Any]], Format]:
    kind = format or format_of(path)
    try:
        if kind == "parquet":
            import pyarrow.parquet as pq

            return pq.read_table(path).to_pylist(), kind
        if kind == "json":
            with _text_file(path) as file:
                content = json.load(file)
            if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
                raise UsageError(f"{path} is no list of objects; give one object for each answer")
            return content, kind
        csv.field_size_limit(1 << 24)
        with _text_file(path) as file:
            rows: list[dict[str, Any]] = list(csv.DictReader(file))
    except (OSError, EOFError, ValueError, csv.Error) as error:  # Arrow's errors are of these too
        raise UsageError(f"{path}: cannot be read ({error}); give a file with answers") from error
    if format is None and rows and {"annotations", "subject_data"} <= rows[0].keys():
        kind = "zooniverse"
    return rows, kind


def _text_file(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return open_gzip(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def format_of(path: Path) -> Format:
    """The format of a file by the ending of its name.

    Raises
    ------
    UsageError
        It has another one.
    """
    name = path.name.removesuffix(".gz")
    endings: dict[str, Format] = {".csv": "csv", ".parquet": "parquet", ".json": "json"}
    found = next((kind for ending, kind in endings.items() if name.endswith(ending)), None)
    if found is None:
        raise UsageError(f"{path}: what it holds is not told by its name; give the format")
    return found


def _values(
    rows: list[dict[str, Any]], kind: Format, layout: Layout, rejected: list[Rejected]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What each row says, by our names; a row of votes is an answer of each person."""
    theirs = {ours: layout.columns.get(ours, ours) for ours in _OURS}
    people = [name for name in rows[0] if layout.votes and fnmatchcase(name, layout.votes)]
    if kind != "zooniverse":
        _needed(rows[0], theirs, layout, people)
    for number, row in enumerate(rows, 2 if kind in ("csv", "zooniverse") else 1):
        try:
            said = from_classification(row, layout.question) if kind == "zooniverse" else row
        except UsageError as error:
            rejected.append(Rejected(number, str(error), text_of(row)))
            continue
        values = {ours: said[name] for ours, name in theirs.items() if said.get(name) is not None}
        if kind == "zooniverse":
            values = {**{ours: said[ours] for ours in _OURS if ours in said}, **values}
        if not layout.votes:
            yield number, values
        for person in people:
            if row[person] not in (None, ""):
                yield number, {**values, "user": person, "label": row[person]}


def _needed(row: Mapping[str, Any], theirs: Mapping[str, str], layout: Layout, people: list[str]) -> None:
    if layout.votes and not people:
        raise UsageError(f"no column is called like {layout.votes!r}; there are: {', '.join(row)}")
    given = {
        "survey": layout.survey is not None,
        "alert_id": False,
        "user": layout.user is not None or bool(people),
        "label": bool(people) or layout.by_tags or theirs["answer"] in row,
    }
    for ours, known in given.items():
        if not known and theirs[ours] not in row:
            raise UsageError(
                f"there is no column {theirs[ours]!r}, only {', '.join(row)}; say which is the {ours}"
            )


def _label(
    values: Mapping[str, Any], task: str, vocabulary: Vocabulary, layout: Layout, kind: Format, source: str
) -> NewLabel:
    """An answer that can be stored."""
    if values.get("undone"):
        raise UsageError("the answer was undone")
    tags = _tags(values.get("tags"), vocabulary)
    answer, label = _answer(values, tags, vocabulary, layout)
    who = {
        "survey": str(values.get("survey") or layout.survey or "").strip(),
        "alert_id": str(values.get("alert_id") or "").strip(),
        "user": str(values.get("user") or layout.user or "").strip(),
    }
    for name, value in who.items():
        if not _NAME.fullmatch(value):
            raise UsageError(f"{name} is {value[:60]!r}, expected 1 to 200 characters")
    at = _time(values.get("at"))
    content = json.dumps([source, task, *who.values(), at, answer, label, tags], ensure_ascii=False)
    key = str(
        values.get("key") or "file-" + hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()[:40]
    )
    note = str(values.get("note") or "")
    seconds = _number(values, "seconds")
    checked(vocabulary, key, answer, label, tags, note, seconds)
    return NewLabel(
        key=key, task=task, **who, answer=answer, label=label, tags=tags, note=note,
        at=time.time() if at is None else at, seconds=seconds,
        slot=str(values.get("slot") or "imported"),
        blind=_truth(values, "blind"), shown=_truth(values, "shown"),
        bundle=_maybe(values, "bundle"), hash=_maybe(values, "hash"), score=_number(values, "score"),
        source=_maybe(values, "source") or (kind if kind == "zooniverse" else source),
    )  # fmt: skip


def _answer(
    values: Mapping[str, Any], tags: tuple[str, ...], vocabulary: Vocabulary, layout: Layout
) -> tuple[str, str | None]:
    said = str(values.get("label") or values.get("answer") or "").strip()
    if layout.by_tags and not values.get("label"):
        found = vocabulary.label_of(tags) or (layout.otherwise if tags else None)
        if found is None:
            raise UsageError("the tags tell no label")
        return "label", found
    word = layout.answers.get(said, said)
    if word in ("unsure", "skip"):
        return word, None
    exact = {one.casefold(): one for one in vocabulary.labels}
    if word.casefold() not in exact:
        raise UsageError(f"there is no label {said[:60]!r}; labels are {', '.join(vocabulary.labels)}")
    return "label", exact[word.casefold()]


def _tags(value: Any, vocabulary: Vocabulary) -> tuple[str, ...]:
    if value is None:
        return ()
    words = value.split(TAGS_APART) if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        raise UsageError(f"the tags are {str(value)[:60]!r}, expected a list")
    return tuple(dict.fromkeys(vocabulary.tag(str(one)).name for one in words if str(one).strip()))


def text_of(values: Mapping[str, Any]) -> str:
    """A row as JSON."""
    return json.dumps({str(k): v for k, v in values.items()}, ensure_ascii=True, default=str)


def _time(value: Any) -> float | None:
    """Seconds since 1970 of a number of them, a date, or what Zooniverse and ISO 8601 write."""
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).timestamp()
    with suppress(ValueError):
        seconds = float(value)
        if 0 <= seconds < 1e11:
            return seconds
    text = str(value).strip().replace(" UTC", "+00:00").replace("Z", "+00:00")
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"the time {str(value)[:60]!r} is none; write it as 2026-11-01T22:30:00Z") from error


def iso(at: float | None) -> str | None:
    """A time as ISO 8601 writes it."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat().replace("+00:00", "Z")


def _number(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name} is {str(value)[:60]!r}, expected a number") from error
    if number != number or number in (float("inf"), float("-inf")):
        raise UsageError(f"{name} is {number}, expected a number that is finite")
    return number


def _truth(values: Mapping[str, Any], name: str) -> bool:
    value = str(values.get(name, "")).strip().lower()
    if value not in _YES:
        raise UsageError(f"{name} is {value[:60]!r}, expected true or false")
    return _YES[value]


def _maybe(values: Mapping[str, Any], name: str) -> str | None:
    value = str(values.get(name) or "").strip()
    return value[:200] or None
