from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import StoreError
from astrid.store import Batch, Score, open_store
from astrid.store.store import Store

Make = Callable[..., Batch]


def rows_of(store: Store, **options: Any) -> list[dict[str, Any]]:
    return [row for table in store.history(**options) for row in table.to_pylist()]


def test_what_was_written_is_read_back(store: Store, make: Make):
    batch = make(range(50))
    written = store.write(batch)
    assert written.batch == 1
    assert written.new.tolist() == [True] * 50
    (table,) = store.history()
    assert table.drop_columns(["batch"]).equals(batch.rows, check_metadata=True)
    assert table["batch"].to_pylist() == [1] * 50
    for row in (0, 1, 49):
        content, suffix = store.packet("ztf", f"{row:06d}")
        assert (content, suffix) == (batch.packets[row].content(), batch.packets[row].suffix)
        found = store.alert("ztf", f"{row:06d}")
        assert found is not None
        assert found.packet == hashlib.sha256(content).hexdigest()
        assert (found.ra, found.mjd, found.band) == tuple(
            batch.rows[name][row].as_py() for name in ("ra", "mjd", "band")
        )


def test_writing_again_changes_nothing(store: Store, make: Make):
    first = make(range(20))
    store.write(first)
    again = store.write(make(range(20), edition=1))
    assert again.n_new == 0
    assert [row["edition"] for row in rows_of(store)] == [0] * 20
    assert store.packet("ztf", "000003")[0] == first.packets[3].content()
    assert store.scores("ztf", "000003")["value"].to_pylist() == [first.scores[3].value]
    assert len(store.passes()) == 20
    assert len(list((store.folder / "packets").rglob("*.tar"))) == 1
    counts = store.counts()
    assert (counts.alerts, counts.received, counts.batches) == (20, 40, 2)


def test_a_new_bundle_adds_its_score_to_a_known_alert(store: Store, make: Make):
    store.write(make(range(5)))
    store.write(make(range(3, 8), bundles=("braai.real1", "braai.real2"), edition=1))
    for number, names in ((0, ["braai.real1"]), (4, ["braai.real1", "braai.real2"])):
        assert store.scores("ztf", f"{number:06d}")["bundle"].to_pylist() == names
    table = store.scores(bundle="braai.real2")
    assert table["alert_id"].to_pylist() == [f"{number:06d}" for number in range(3, 8)]
    assert table["hash"].to_pylist() == ["hash of braai.real2"] * 5


def test_only_new_alerts_are_to_be_sent(store: Store, make: Make):
    store.write(make(range(3), filters=("a",)))
    store.write(make(range(5), filters=("a", "b")))
    sent = {(one.filter, one.alert_id) for one in store.pending(100)}
    first = {("a", f"{number:06d}") for number in range(3)}
    assert sent == first | {(name, f"{number:06d}") for name in "ab" for number in (3, 4)}


def test_of_an_alert_that_comes_twice_in_a_batch_the_first_is_kept(store: Store, make: Make):
    batch = make([1, 2, 1, 3, 2])
    rows = batch.rows.set_column(batch.rows.column_names.index("edition"), "edition", [[0, 0, 1, 0, 1]])
    written = store.write(replace(batch, rows=rows))
    assert written.new.tolist() == [True, True, False, True, False]
    assert [(row["alert_id"], row["edition"]) for row in rows_of(store)] == [
        ("000001", 0),
        ("000002", 0),
        ("000003", 0),
    ]


def test_the_same_identifier_in_two_surveys_is_two_alerts(store: Store, make: Make):
    store.write(make(range(3)))
    assert store.write(make(range(3), survey="lsst")).n_new == 3
    assert {row["survey"] for row in rows_of(store, surveys=["lsst"], columns=["survey"])} == {"lsst"}


def test_an_empty_batch_counts_what_was_quarantined(store: Store, make: Make):
    written = store.write(make([], n_quarantined=4, behind=17))
    assert written.n_new == 0
    (record,) = store.batches()
    assert (record.n, record.n_quarantined, record.behind) == (0, 4, 17)
    assert store.counts().quarantined == 4
    assert list(store.history()) == []


def test_a_batch_tells_who_wrote_it_and_how_long_it_took(store: Store, make: Make):
    import time

    now = time.time()
    arrived = [now - 1.0] * 99 + [now - 9.0]
    store.write(make(range(100), worker="left", started=now - 0.5, arrived=arrived, filters=("a", "b")))
    (record,) = store.batches()
    assert record.worker == "left"
    assert record.started == pytest.approx(now - 0.5)
    assert record.filters == {"a": "hash of a", "b": "hash of b"}
    assert record.latency_p50 is not None
    assert record.latency_p99 is not None
    assert 1000 <= record.latency_p50 < 4000
    assert record.latency_p99 > record.latency_p50
    assert store.batches(since=1) == []


def test_what_is_not_known_is_null(store: Store, make: Make):
    batch = make(range(2), night=[None, "2026-11-01"])
    rows = batch.rows
    for name, value in (("ra", float("nan")), ("magpsf", None), ("healpix", None), ("object_id", None)):
        kind = rows.schema.field(name).type
        rows = rows.set_column(rows.column_names.index(name), name, pa.array([value, value], kind))
    scores = [Score(0, "b", "h", "real", None, unscored="no image"), Score(1, "b", "h", "real", float("nan"))]
    store.write(replace(batch, rows=rows, scores=scores))
    found = store.alert("ztf", "000000")
    assert found is not None
    assert (found.ra, found.magpsf, found.night, found.object_id) == (None, None, None, None)
    assert store.scores()["value"].to_pylist() == [None, None]
    assert store.scores()["unscored"].to_pylist() == ["no image", None]
    assert len(rows_of(store)) == 2
    assert len(rows_of(store, since="2000-01-01")) == 1
    assert store.counts().nights == {"2026-11-01": 1, "unknown": 1}


def test_text_that_a_database_does_not_take_is_no_reason_to_lose_an_alert(store: Store, make: Make):
    batch = make(range(2))
    column = pa.array(["a\0b", "å\N{SNOWMAN}"], pa.string())
    store.write(replace(batch, rows=batch.rows.set_column(2, "object_id", column)))
    assert [row["object_id"] for row in rows_of(store)] == ["a\0b", "å\N{SNOWMAN}"]
    assert len(store.light_curve("ztf", "a\N{REPLACEMENT CHARACTER}b")) == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda batch: {"rows": batch.rows.drop_columns(["night"])}, "no column 'night'"),
        (lambda batch: {"rows": batch.rows.append_column("batch", [[1, 2]])}, "column 'batch'"),
        (lambda batch: {"packets": batch.packets[:1]}, "2 rows and 1 packets"),
        (lambda batch: {"scores": [Score(2, "b", "h", "real", 0.5)]}, "of row 2"),
        (lambda batch: {"rows": batch.rows.set_column(1, "alert_id", [["a", None]])}, "row 1 .* no alert_id"),
        (lambda batch: {"rows": batch.rows.set_column(7, "night", [["../x", None]])}, "night '../x'"),
    ],
)
def test_a_batch_that_is_not_as_it_should_be_is_refused_whole(sqlite_store: Store, make: Make, change, words):
    batch = make(range(2))
    with pytest.raises(StoreError, match=words):
        sqlite_store.write(replace(batch, **change(batch)))
    assert sqlite_store.counts().batches == 0
    assert not list(sqlite_store.folder.rglob("*.tar"))


WRITES = st.lists(
    st.tuples(
        st.lists(st.integers(0, 30), max_size=12),
        st.sets(st.sampled_from(["one", "two", "three"])),
        st.sampled_from(["2026-11-01", "2026-11-02", None]),
        st.booleans(),
    ),
    max_size=8,
)


@given(writes=WRITES)
@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_any_sequence_of_writes_ends_as_in_a_dictionary(new_address, make: Make, writes):
    alerts: dict[str, int] = {}
    nights: dict[str, str | None] = {}
    scores: dict[tuple[str, str], float] = {}
    order: list[str] = []
    with open_store(*new_address(), patience=10) as store:
        for edition, (numbers, bundles, night, close) in enumerate(writes):
            batch = make(numbers, edition=edition, bundles=sorted(bundles), night=night)
            new = store.write(batch).new
            for row, number in enumerate(numbers):
                name = f"{number:06d}"
                assert new[row] == (name not in alerts)
                if name not in alerts:
                    order.append(name)
                    alerts[name], nights[name] = edition, night
            for one in batch.scores:
                scores.setdefault((f"{numbers[one.row]:06d}", one.bundle), one.value or 0.0)
            if close:
                store.close_night("2026-11-01")
        found = rows_of(store)
        assert [row["alert_id"] for row in found] == order
        assert {row["alert_id"]: row["edition"] for row in found} == alerts
        table = store.scores().to_pylist()
        assert {(row["alert_id"], row["bundle"]): row["value"] for row in table} == scores
        assert len(table) == len(scores)
        assert [one.alert_id for one in sorted(store.passes(), key=lambda one: one.alert_id)] == sorted(
            alerts
        )
        some = [("ztf", name) for name in reversed(order)]
        assert store.candidates(some, ["edition"])["edition"].to_pylist() == [
            alerts[name] for name in reversed(order)
        ]
        for name, edition in list(alerts.items())[:3]:
            number = int(name)
            expected = np.random.default_rng([number, edition]).bytes(300)
            assert store.packet("ztf", name)[0] == expected
        assert store.counts().alerts == len(alerts)


WRITER = """
import runpy, sys
from astrid.store import open_store
make = runpy.run_path(sys.argv[1])["make_batch"]
name, folder, database = sys.argv[2:5]
with open_store(folder, database or None, patience=60) as store:
    print("ready", flush=True)
    sys.stdin.readline()
    for k in range(12):
        batch = make(range(10 * k, 10 * k + 40), bundles=("common", name), worker=name)
        print(store.write(batch).n_new, flush=True)
"""


def test_two_processes_that_write_the_same_alerts_leave_each_once(new_address, make: Make):
    folder, database = new_address()
    helper = str(Path(__file__).with_name("conftest.py"))
    command = [sys.executable, "-c", WRITER, helper]
    workers = [
        subprocess.Popen(
            [*command, name, str(folder), database or ""],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("left", "right")
    ]  # both open the empty database at once, too
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "ready\n"
    said = []
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in workers:
        out, _ = worker.communicate(timeout=60)
        assert worker.returncode == 0
        said += [int(line) for line in out.split()]
    with open_store(folder, database) as store:
        found = [row["alert_id"] for row in rows_of(store, columns=["alert_id"])]
        assert len(found) == len(set(found)) == sum(said) == 150
        assert [one.id for one in store.batches()] == list(range(1, 25))
        assert sum(one.n_new for one in store.batches()) == 150
        scores = store.scores().to_pylist()
        assert len(scores) == len({(one["alert_id"], one["bundle"]) for one in scores}) == 450
        assert len(store.passes()) == 150
        for number in range(0, 150, 7):
            assert store.packet("ztf", f"{number:06d}")[0] == make([number]).packets[0].content()
