"""Answers go out of a store and into another one unchanged; what cannot be used is kept with its reason."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid.errors import UsageError
from astrid.review.agreement import agreement
from astrid.review.exchange import Layout, export_labels, import_labels
from astrid.review.zooniverse import COLUMNS, from_classification, to_classification
from astrid.store import open_store
from astrid.store.store import Store

KEPT = (
    "key",
    "survey",
    "alert_id",
    "user",
    "answer",
    "label",
    "tags",
    "note",
    "at",
    "seconds",
    "shown",
    "score",
)


@pytest.fixture
def told(store: Store, people: SimpleNamespace) -> Store:
    people.fill(store, range(10))
    store.labels.add(
        [
            people.said(0, "ada", "real", tags=("supernova", "hostless"), note='a "quoted", one\nof lines',
                        seconds=2.25, score=0.5, shown=True, at=1_700_000_000.125, bundle="b", hash="h"),
            people.said(1, "bob", "bogus", at=1_700_000_100.5),
            people.said(2, "bob", None, at=1_700_000_200.0, key="key-of-unsure"),
            people.said(2, "ada", "real", at=1_700_000_300.0),
        ]
    )  # fmt: skip
    store.labels.undo("ada-2-real")
    return store


@pytest.mark.parametrize(("name", "format"), [("x.csv", None), ("x.parquet", None), ("x.csv", "zooniverse")])
def test_what_is_exported_is_imported_as_it_was_and_only_once(
    told: Store, people: SimpleNamespace, tmp_path: Path, name: str, format: Any
) -> None:
    path = tmp_path / name
    assert export_labels(told, "braai", path, format=format) == 3
    with open_store(tmp_path / "other") as other:
        people.fill(other, range(10))
        done = import_labels(other, "braai", path)
        assert (done.n, done.n_new, done.n_known, done.n_rejected, done.rejects) == (3, 3, 0, 0, None)
        again = import_labels(other, "braai", path)
        assert (again.n_new, again.n_known) == (0, 3)
        was, now = (one.labels.of_task("braai").select(KEPT).to_pylist() for one in (told, other))
        assert now == was
    assert import_labels(told, "braai", path).n_new == 0


def test_undone_answers_are_written_where_they_are_wanted_and_not_read_again(
    told: Store, tmp_path: Path
) -> None:
    assert export_labels(told, "braai", tmp_path / "all.parquet", undone=True) == 4
    assert pq.read_table(tmp_path / "all.parquet")["undone"].null_count == 3
    done = import_labels(told, "braai", tmp_path / "all.parquet", rejects=tmp_path / "bad.csv")
    assert (done.n_known, done.n_rejected, done.reasons) == (3, 1, {"the answer was undone": 1})


def test_the_export_of_zooniverse_has_its_columns_and_its_json(told: Store, tmp_path: Path) -> None:
    path = tmp_path / "z.csv"
    export_labels(told, "braai", path, format="zooniverse")
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert rows[0]["created_at"] == "2023-11-14 22:13:20 UTC"
    annotations = json.loads(rows[0]["annotations"])
    assert [one["task"] for one in annotations] == ["T0", "T1", "T2"]
    assert annotations[0]["value"] == "real"
    assert annotations[1]["value"] == ["supernova", "hostless"]
    subjects = json.loads(rows[0]["subject_data"])
    assert subjects[rows[0]["subject_ids"]]["alert_id"] == "00000"
    assert json.loads(rows[2]["annotations"])[0]["value"] == "Can't tell"


# as the page of help of Zooniverse describes it, with what its projects have in these columns
CLASSIFICATION = {
    "classification_id": "9501", "user_name": "not-logged-in-0a1b", "user_id": "", "user_ip": "0a1b",
    "workflow_id": "77", "workflow_name": "Real or not", "workflow_version": "12.4",
    "created_at": "2026-11-02 03:04:05 UTC", "gold_standard": "", "expert": "",
    "metadata": '{"started_at":"2026-11-02T03:03:55.500Z","finished_at":"2026-11-02T03:04:05.000Z"}',
    "annotations": json.dumps(
        [
            {"task": "T3", "value": [
                {"task": "T0", "task_label": "Is it real?", "value": "Yes, it is"},
                {"task": "T1", "task_label": "What is wrong?", "value": ["Ghost", "spike"]},
            ]},
            {"task": "T5", "task_label": None, "value": "bright star nearby"},
            {"task": "T6", "value": None},
        ]
    ),
    "subject_data": '{"311":{"retired":null,"#candid":"00004","!survey":"ztf","image":"a.png"}}',
    "subject_ids": "311",
}  # fmt: skip
LAYOUT = Layout(columns={"alert_id": "candid"}, answers={"Yes, it is": "real", "No": "bogus"})


def test_a_classification_of_volunteers_becomes_an_answer(told: Store, tmp_path: Path) -> None:
    path = write(tmp_path / "volunteers.csv.gz", [CLASSIFICATION])
    assert import_labels(told, "braai", path, layout=LAYOUT).n_new == 1
    (record,) = told.labels.of_item("ztf", "00004")
    assert (record.label, record.tags, record.note) == ("real", ("ghost", "spike"), "bright star nearby")
    assert (record.user, record.seconds, record.source) == ("not-logged-in-0a1b", 9.5, "zooniverse")
    assert record.key == "zooniverse-9501"
    assert record.at == 1793588645.0
    assert record.slot == "imported"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotations": "{"}, "annotations is no JSON"),
        ({"annotations": "[]"}, "T0 has no answer"),
        ({"annotations": '[{"task":"T0","value":[{"x":1,"y":2}]}]'}, "which is no choice"),
        ({"annotations": '[{"task":"T0","value":["a","b"]}]'}, "T0 has 2 answers, expected one"),
        ({"annotations": '[{"task":"T0","value":"Perhaps"}]'}, "there is no label 'Perhaps'"),
        ({"subject_data": "{}"}, "there is not one subject"),
        ({"subject_data": '{"1":{"survey":"ztf"}}'}, "alert_id is ''"),
        ({"subject_data": '{"1":{"survey":"ztf","candid":"77777"}}'}, "there is no such alert in the store"),
        ({"user_name": ""}, "user is ''"),
        ({"created_at": "yesterday"}, "the time 'yesterday' is none"),
    ],
)
def test_a_bad_row_is_kept_with_its_reason_and_the_others_are_stored(
    told: Store, tmp_path: Path, change: dict[str, str], says: str
) -> None:
    path = write(tmp_path / "v.csv", [{**CLASSIFICATION, **change, "classification_id": "1"}, CLASSIFICATION])
    done = import_labels(told, "braai", path, layout=LAYOUT)
    assert (done.n_new, done.n_rejected) == (1, 1)
    assert done.rejects is not None
    assert Path(done.rejects).parent == told.folder / "quarantine" / "labels"
    with Path(done.rejects).open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["row"] == "2"
    assert says in row["reason"]
    json.loads(row["content"])


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"label": "star"}, "there is no label 'star'; labels are real, bogus"),
        ({"tags": "ghost|thing"}, "there is no tag 'thing'"),
        ({"seconds": "soon"}, "seconds is 'soon', expected a number"),
        ({"seconds": "-3"}, "the answer took -3.0 s"),
        ({"score": "inf"}, "score is inf"),
        ({"user": "x" * 300}, "expected 1 to 200 characters"),
        ({"note": "a\0b"}, "the note has a character that is none"),
        ({"shown": "perhaps"}, "shown is 'perhaps', expected true or false"),
        ({"key": "ada-0-real"}, "the key ada-0-real is of another answer"),
        ({"alert_id": "4242"}, "there is no such alert in the store"),
    ],
)
def test_what_is_wrong_in_a_row_is_told(told: Store, tmp_path: Path, row: dict[str, str], says: str) -> None:
    good = {"survey": "ztf", "alert_id": "00005", "user": "eve", "label": "Real"}
    path = write(tmp_path / "a.json", [{**good, **row}])
    done = import_labels(told, "braai", path, rejects=tmp_path / "bad.csv")
    assert (done.n_new, done.n_rejected) == (0, 1)
    assert says in (tmp_path / "bad.csv").read_text()


def test_a_file_that_lacks_a_column_or_cannot_be_read_is_refused(told: Store, tmp_path: Path) -> None:
    for path, layout, says in (
        (
            write(tmp_path / "a.csv", [{"candid": "1", "label": "real"}]),
            Layout(),
            "there is no column 'survey'",
        ),
        (
            write(tmp_path / "b.csv", [{"id": "1"}]),
            Layout(survey="x", votes="v*"),
            "no column is called like",
        ),
        (write(tmp_path / "c.json", [{"id": "1"}]), Layout(survey="ztf"), "there is no column 'alert_id'"),
        (tmp_path / "absent.csv", Layout(), "cannot be read"),
        (tmp_path / "a.txt", Layout(), "give the format"),
    ):
        with pytest.raises(UsageError, match=says):
            import_labels(told, "braai", path, layout=layout)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    (tmp_path / "broken.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n")[:-9])
    (tmp_path / "empty.csv").write_text("survey,alert_id\n")
    (tmp_path / "object.json").write_text("{}")
    for name in ("broken.parquet", "broken.csv.gz", "empty.csv", "object.json"):
        with pytest.raises(UsageError, match=name):
            import_labels(told, "braai", tmp_path / name)
    assert told.labels.of_task("braai").num_rows == 3


@given(
    st.builds(
        dict,
        id=st.integers(0, 10**9), task=st.just("braai"),
        survey=st.text(min_size=1), alert_id=st.text(min_size=1), user=st.text(min_size=1),
        answer=st.sampled_from(["label", "unsure"]), label=st.just("real"),
        tags=st.lists(st.sampled_from(["ghost", "supernova"]), unique=True), note=st.text(),
        at=st.floats(0, 4e9).map(lambda x: round(x, 3)), seconds=st.none() | st.floats(0, 1e4),
        slot=st.just("novel"),
        blind=st.booleans(), shown=st.booleans(), bundle=st.none() | st.text(), hash=st.none(),
        score=st.none() | st.floats(0, 1), source=st.just("review"), key=st.text(min_size=8),
    )
)  # fmt: skip
def test_a_classification_says_the_same_there_and_back(row: dict[str, Any]) -> None:
    there = to_classification(row, "Real or bogus?")
    back = from_classification(there)
    assert back.get("label") == (row["label"] if row["answer"] == "label" else None)
    assert back["user"] == row["user"]
    for name in ("key", "survey", "alert_id", "tags", "note", "seconds", "at", "score", "shown", "blind"):
        assert back[name] == row[name]


@pytest.mark.real_data
def test_the_tags_of_the_snad_experts_are_answers_of_theirs(
    store: Store, real_data: Path, tmp_path: Path
) -> None:
    path = real_data / "review" / "snad_ztf_tags.json.gz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    columns = {"alert_id": "oid", "user": "changed_by", "at": "changed_at"}
    layout = Layout(columns, survey="ztf", by_tags=True, otherwise="real")
    done = import_labels(
        store, "braai", path, layout=layout, unknown_alerts=True, rejects=tmp_path / "rejected.csv"
    )
    assert (done.n, done.n_new, done.n_rejected) == (3232, 3228, 4)
    assert done.reasons == {"the tags tell no label": 4}  # objects that were left without a tag
    table = store.labels.of_task("braai").to_pylist()
    # 1,540 objects have the tag artefact; a few more only that of a kind of artefact
    bogus = [row for row in table if row["label"] == "bogus"]
    assert sum("artefact" in row["tags"] for row in bogus) == 1540
    assert sum("one_point" in row["tags"] for row in table) == 192
    assert len({row["user"] for row in table}) == 12
    assert max(len(row["tags"]) for row in table) >= 4
    with gzip.open(path, "rt") as file:
        first = json.load(file)[0]
    (record,) = store.labels.of_item("ztf", str(first["oid"]))
    assert record.tags == ("artefact", "frame_edge", "ghost", "galaxy")


@pytest.mark.real_data
def test_the_votes_of_ten_volunteers_agree_as_far_as_they_do(
    store: Store, real_data: Path, tmp_path: Path
) -> None:
    path = real_data / "review" / "meerlicht_votes.csv.gz"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    layout = Layout({"alert_id": "transientid"}, survey="meerlicht", votes="volunteer_*",
                    answers={"0": "bogus", "1": "real"})  # fmt: skip
    with gzip.open(path, "rt") as file:
        wide = list(csv.DictReader(file))[::5]
    n = sum(row[f"volunteer_{k}"] != "" for row in wide for k in range(1, 11))
    few = write(tmp_path / "votes.csv", wide)
    done = import_labels(store, "braai", few, layout=layout, unknown_alerts=True)
    assert (done.n_new, done.n_rejected) == (n, 0)
    report = agreement(store, "braai")
    assert report.n_items == len({row["transientid"] for row in wide})
    assert len(report.pairs) == 45
    assert all(one.accuracy is not None and one.accuracy > 0.8 for one in report.people)


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
        return path
    with gzip.open(path, "wt", newline="") if path.suffix == ".gz" else path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path
