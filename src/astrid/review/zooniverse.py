"""Answers as the classification export of Zooniverse, a row for each with JSON in some columns, and back.

Only questions and text are understood; drawings say nothing of a label.

References
----------
https://help.zooniverse.org/next-steps/data-exports
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from astrid.errors import UsageError

__all__ = ["COLUMNS", "from_classification", "to_classification"]

COLUMNS = (
    "classification_id", "user_name", "user_id", "user_ip", "workflow_id", "workflow_name",
    "workflow_version", "created_at", "gold_standard", "expert", "metadata", "annotations",
    "subject_data", "subject_ids",
)  # fmt: skip

_UNSURE = "Can't tell"
_QUESTION, _TAGS, _NOTE = "T0", "T1", "T2"
_OWN = "astrid"
_HIDDEN = "#!/"  # begin the names of facts that volunteers are not shown


def to_classification(row: Mapping[str, Any], title: str) -> dict[str, str]:
    """An answer as a row of the export.

    Parameters
    ----------
    row : mapping
        Of `Labels.of_task`; a skipped item is none.
    title : str
        Of the question.
    """
    at = datetime.fromtimestamp(row["at"], UTC)
    started = at - timedelta(seconds=row["seconds"] or 0)
    value = row["label"] if row["answer"] == "label" else _UNSURE
    annotations: list[dict[str, Any]] = [{"task": _QUESTION, "task_label": title, "value": value}]
    if row["tags"]:
        annotations.append({"task": _TAGS, "task_label": "Tags", "value": list(row["tags"])})
    if row["note"]:
        annotations.append({"task": _NOTE, "task_label": "Note", "value": row["note"]})
    own = {
        name: row[name]
        for name in ("key", "slot", "blind", "shown", "bundle", "hash", "score", "seconds", "source", "at")
    }
    metadata = {"started_at": _iso(started), "finished_at": _iso(at), _OWN: own}
    subject = str(int(hashlib.sha256(f"{row['survey']}/{row['alert_id']}".encode()).hexdigest()[:12], 16))
    facts = {"retired": None, "survey": row["survey"], "alert_id": row["alert_id"]}
    return {
        "classification_id": str(row["id"]),
        "user_name": row["user"],
        "user_id": "",
        "user_ip": "",
        "workflow_id": "1",
        "workflow_name": row["task"],
        "workflow_version": "1.1",
        "created_at": f"{at:%Y-%m-%d %H:%M:%S} UTC",
        "gold_standard": "",
        "expert": "",
        "metadata": json.dumps(metadata, ensure_ascii=False),
        "annotations": json.dumps(annotations, ensure_ascii=False),
        "subject_data": json.dumps({subject: facts}, ensure_ascii=False),
        "subject_ids": subject,
    }


def from_classification(row: Mapping[str, str], question: str = _QUESTION) -> dict[str, Any]:
    """A row of the export as plain values of an answer.

    Parameters
    ----------
    row : mapping
    question : str
        Which task of the workflow asks for the label; lists that the others give are taken for tags, and
        text for a note.

    Returns
    -------
    values : dict
        ``key``, ``user``, ``at``, ``label``, ``answer``, ``tags``, ``note``, ``seconds``, and what the
        subject says of itself.

    Raises
    ------
    UsageError
        It cannot be understood.
    """
    metadata, annotations, subjects = (
        _json(row, name) for name in ("metadata", "annotations", "subject_data")
    )
    if not isinstance(annotations, list) or not isinstance(subjects, dict) or len(subjects) != 1:
        raise UsageError("annotations are no list, or there is not one subject")
    facts = next(iter(subjects.values()))
    if not isinstance(facts, dict):
        raise UsageError("what is said of the subject is no object")
    values: dict[str, Any] = {str(name).lstrip(_HIDDEN).strip(): one for name, one in facts.items()}
    values |= {"user": row.get("user_name"), "at": row.get("created_at"), "tags": [], "note": ""}
    values["key"] = f"zooniverse-{row.get('classification_id')}"
    answers: list[str] = []
    for task, value in _flat(annotations):
        if task == question:
            answers += _words(value)
        elif isinstance(value, str):
            values["note"] = f"{values['note']}; {value}".removeprefix("; ")
        else:
            values["tags"] += _words(value)
    if len(answers) > 1:
        raise UsageError(f"{question} has {len(answers)} answers, expected one")
    if not answers:
        raise UsageError(f"{question} has no answer")
    values |= {"answer": "unsure"} if answers[0] == _UNSURE else {"label": answers[0]}
    metadata = metadata if isinstance(metadata, dict) else {}
    values["seconds"] = _seconds(metadata)
    own = metadata.get(_OWN)
    if isinstance(own, dict):
        values |= own
    return values


def _json(row: Mapping[str, str], name: str) -> Any:
    try:
        return json.loads(row.get(name) or "null")
    except ValueError as error:
        raise UsageError(f"{name} is no JSON ({error})") from error


def _flat(annotations: list[Any]) -> Iterator[tuple[str, Any]]:
    """Each task with its value; a combination has tasks as its value."""
    for one in annotations:
        if not isinstance(one, dict) or "task" not in one:
            raise UsageError("an annotation names no task")
        value = one.get("value")
        if isinstance(value, list) and value and all(isinstance(v, dict) and "task" in v for v in value):
            yield from _flat(value)
        elif value is not None:
            yield str(one["task"]), value


def _words(value: Any) -> list[str]:
    """What was chosen: of one, of several, of a list to pull down, or of a survey."""
    if isinstance(value, str):
        return [value]
    if not isinstance(value, list):
        raise UsageError(f"an answer is {str(value)[:60]!r}, expected text or a list")
    found = []
    for one in value:
        word = one if isinstance(one, str) else None
        if isinstance(one, dict):
            word = next(
                (one[name] for name in ("choice", "label", "value") if isinstance(one.get(name), str)), None
            )
        if word is None:
            raise UsageError(f"an answer is {str(one)[:60]!r}, which is no choice")
        found.append(word)
    return found


def _seconds(metadata: Mapping[str, Any]) -> float | None:
    try:
        begun, ended = (
            datetime.fromisoformat(str(metadata[name]).replace("Z", "+00:00"))
            for name in ("started_at", "finished_at")
        )
        seconds = (ended - begun).total_seconds()
    except (KeyError, ValueError, TypeError):
        return None
    return seconds if 0 <= seconds <= 86_400 else None  # the clock of a volunteer can be anything


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
