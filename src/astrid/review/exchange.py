"""Answers out of the store and into it: CSV, Parquet and the classification export of Zooniverse.

A row that cannot be used is kept in a file of its own with the reason; the others are stored. How a file
is laid out is told by a `Layout`.
"""

from __future__ import annotations

import csv
import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from astrid.errors import OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.review.answer_files import (
    TAGS_APART,
    Format,
    Layout,
    Rejected,
    format_of,
    iso,
    read_answers,
    text_of,
)
from astrid.review.vocabulary import questions
from astrid.review.zooniverse import COLUMNS, to_classification
from astrid.store.answers import LabelRecord, NewLabel

if TYPE_CHECKING:
    from astrid.store.store import Store

__all__ = ["Format", "Imported", "Layout", "export_labels", "import_labels"]

_TOGETHER = 2000  # answers in one transaction
_CONTENT = ("task", "survey", "alert_id", "user", "answer", "label")


@dataclass(frozen=True)
class Imported:
    """What became of a file.

    Parameters
    ----------
    n : int
        Answers in it.
    n_new : int
        That were stored.
    n_known : int
        That had been stored before.
    n_rejected : int
    reasons : dict of str to int
    rejects : str or None
        The file with those that were rejected, each with its row and reason.
    """

    n: int
    n_new: int
    n_known: int
    n_rejected: int
    reasons: dict[str, int]
    rejects: str | None


def export_labels(
    store: Store, task: str, out: str | Path, *, format: Format | None = None, undone: bool = False
) -> int:
    """Write the answers of a task to a file; how many they are.

    Parameters
    ----------
    store : Store
    task : str
    out : str or Path
    format : {"csv", "parquet", "zooniverse"}, optional
        By the ending of `out` if not given. For Zooniverse, skipped items are left out.
    undone : bool
        Also those that do not count any more; not for Zooniverse.

    Raises
    ------
    UsageError
        The format is not known.
    OutputError
        The file cannot be written.
    """
    out = Path(out)
    kind = format or format_of(out)
    table = store.labels.of_task(task, undone=undone and kind != "zooniverse")
    if kind == "parquet":
        import pyarrow.parquet as pq

        with atomic_path(out) as partial:
            pq.write_table(table, partial, compression="zstd")
        return int(table.num_rows)
    rows = table.to_pylist()
    if kind == "zooniverse":
        title = questions(task).title
        rows = [to_classification(row, title) for row in rows if row["answer"] != "skip"]
        names = list(COLUMNS)
    elif kind == "csv":
        names = table.column_names
        rows = [
            {**row, "tags": TAGS_APART.join(row["tags"]), "at": iso(row["at"]), "undone": iso(row["undone"])}
            for row in rows
        ]
    else:
        raise UsageError(f"answers are not written as {kind}; choose csv, parquet or zooniverse")
    with atomic_path(out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
    return len(rows)


def import_labels(
    store: Store,
    task: str,
    path: str | Path,
    *,
    layout: Layout | None = None,
    format: Format | None = None,
    unknown_alerts: bool = False,
    rejects: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Imported:
    """Store the answers of a file; the same file again changes nothing.

    Of a person who answered about an item here too, the later answer counts.

    Parameters
    ----------
    store : Store
    task : str
    path : str or Path
        CSV, Parquet, a JSON list of objects, or Zooniverse's export; text also with ``.gz``.
    layout : Layout, optional
    format : {"csv", "parquet", "json", "zooniverse"}, optional
        By the ending and the columns if not given.
    unknown_alerts : bool
        Also answers about alerts that are not in the store, such as those of another survey.
    rejects : str or Path, optional
        Where rows that cannot be used are written; a file in ``quarantine/labels`` of the store if not given.
    on_progress : callable, optional
        Called with the number of rows that are done and of all.

    Returns
    -------
    Imported

    Raises
    ------
    UsageError
        The file cannot be read, or lacks a column that is needed.
    OutputError
        The rejected rows cannot be written; nothing is stored then.
    """
    path, layout = Path(path), layout or Layout()
    vocabulary = questions(task)
    found, rejected = read_answers(path, task, vocabulary, layout, format)
    found = _usable(store, found, rejected, unknown_alerts)
    place = _write_rejects(store, path, rejected, rejects)
    n_new = 0
    for start in range(0, len(found), _TOGETHER):
        some = [label for _, label in found[start : start + _TOGETHER]]
        keys = {label.key for label in some}
        n_new += len(keys) - len(store.labels.by_key(keys))
        store.labels.add(some)
        if on_progress is not None:
            on_progress(min(start + _TOGETHER, len(found)), len(found))
    reasons = dict(Counter(_kind_of(one.reason) for one in rejected).most_common())
    n = len(found) + len(rejected)
    return Imported(n, n_new, len(found) - n_new, len(rejected), reasons, place)


def _usable(
    store: Store, found: list[tuple[int, NewLabel]], rejected: list[Rejected], unknown_alerts: bool
) -> list[tuple[int, NewLabel]]:
    """Answers about alerts that are there, and whose keys are of no other answer."""
    gone = set() if unknown_alerts else store.labels.missing_alerts((x.survey, x.alert_id) for _, x in found)
    before: dict[str, NewLabel | LabelRecord] = {}
    before |= store.labels.by_key([label.key for _, label in found])
    usable = []
    for number, label in found:
        other = before.setdefault(label.key, label)
        if (label.survey, label.alert_id) in gone:
            reason = "there is no such alert in the store"
        elif any(getattr(other, name) != getattr(label, name) for name in _CONTENT):
            reason = f"the key {label.key} is of another answer"
        else:
            usable.append((number, label))
            continue
        rejected.append(Rejected(number, reason, text_of(label._asdict())))
    return usable


def _write_rejects(
    store: Store, path: Path, rejected: list[Rejected], place: str | Path | None
) -> str | None:
    if not rejected:
        return None
    if place is None:
        folder = store.folder / "quarantine" / "labels"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            known = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        except OSError as error:
            raise OutputError(f"{folder} cannot be made ({error.strerror}); give --rejects") from error
        place = folder / f"{path.name.partition('.')[0]}-{known}.csv"
    with atomic_path(Path(place)) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("row", "reason", "content"))
        writer.writerows(sorted(rejected))
    return str(place)


def _kind_of(reason: str) -> str:
    """A reason without what it names, to be counted."""
    return re.sub(r"'[^']*'|\"[^\"]*\"", "…", reason.partition(";")[0])[:80]
