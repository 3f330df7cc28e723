from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrid.errors import StoreError
from astrid.store import Batch, nights, open_store
from astrid.store.store import Store

Make = Callable[..., Batch]

NIGHT = "2026-11-01"


def rows_of(store: Store) -> list[dict]:
    return [row for table in store.history() for row in table.to_pylist()]


def test_closing_a_night_moves_its_rows_and_no_others(store: Store, make: Make):
    store.write(make(range(20)))
    store.write(make(range(20, 30), night=[NIGHT] * 5 + ["2026-11-02"] * 5))
    before = rows_of(store)
    assert store.counts().open_nights == (NIGHT, "2026-11-02")
    assert store.close_night(NIGHT) == 25
    assert store.counts().open_nights == ("2026-11-02",)
    assert rows_of(store) == before
    (path,) = (store.folder / "tables" / f"night={NIGHT}").iterdir()
    table = pq.read_table(path)
    assert table.num_rows == 25
    healpix = table["healpix"].to_pylist()
    assert healpix == sorted(healpix)
    assert store.close_night(NIGHT) == 0
    assert store.close_night("2026-11-02") == 5
    assert rows_of(store) == before
    assert (
        store._database.read(
            lambda connection: connection.exec_driver_sql("SELECT count(*) FROM buffers").scalar()
        )
        == 0
    )


def test_what_comes_late_makes_another_file(store: Store, make: Make):
    store.write(make(range(5)))
    store.close_night(NIGHT)
    store.write(make(range(3, 9)))
    assert store.close_night(NIGHT) == 4
    assert [row["alert_id"] for row in rows_of(store)] == [f"{number:06d}" for number in range(9)]
    assert len(list((store.folder / "tables" / f"night={NIGHT}").iterdir())) == 2


def test_the_nightly_tables_are_one_data_set_for_other_programs(sqlite_store: Store, make: Make):
    import duckdb

    store = sqlite_store
    for day in range(1, 4):
        night = f"2026-11-0{day}"
        store.write(make(range(10 * day, 10 * day + 4), night=night))
        store.write(make(range(10 * day + 4, 10 * day + 6), night=night, more={"added": [1.0, 2.0]}))
        store.close_night(night)
    tables = duckdb.read_parquet(
        f"{store.folder}/tables/*/*.parquet", hive_partitioning=True, union_by_name=True
    )
    found = tables.aggregate("night, count(*), count(added)").order("night").fetchall()
    assert [(str(night), n, added) for night, n, added in found] == [
        (f"2026-11-0{day}", 6, 2) for day in range(1, 4)
    ]


def test_a_night_larger_than_memory_should_hold_is_written_in_groups(
    sqlite_store: Store, make: Make, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(nights, "_GROUP", 20_000)
    store = sqlite_store
    for k in range(10):
        store.write(make(range(100 * k, 100 * k + 60), size=1))
    before = rows_of(store)
    store.close_night(NIGHT)
    (path,) = (store.folder / "tables" / f"night={NIGHT}").iterdir()
    file = pq.ParquetFile(path)
    assert 3 <= file.num_row_groups <= 9
    for k in range(file.num_row_groups):
        healpix = file.read_row_group(k)["healpix"].to_pylist()
        assert healpix == sorted(healpix)
    assert rows_of(store) == before


def test_units_and_nested_columns_survive_closing(sqlite_store: Store, make: Make):
    inner = pa.list_(pa.struct([pa.field("mjd", pa.float64(), metadata={"unit": "d"})]))
    more = {
        "history": pa.array([[{"mjd": 1.0}], None, []], inner),
        "kind": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    batch = make(range(3), more=more)
    schema = batch.rows.schema
    field = schema.field("ra").with_metadata({"unit": "deg"})
    rows = batch.rows.cast(schema.set(schema.get_field_index("ra"), field).with_metadata({"made by": "us"}))
    sqlite_store.write(Batch(rows, batch.packets))
    (before,) = sqlite_store.history()
    sqlite_store.close_night(NIGHT)
    (after,) = sqlite_store.history()
    assert after.equals(before, check_metadata=True)
    assert after.schema.field("ra").metadata == {b"unit": b"deg"}


def test_a_table_that_is_gone_is_said(sqlite_store: Store, make: Make):
    sqlite_store.write(make(range(3)))
    sqlite_store.close_night(NIGHT)
    (path,) = (sqlite_store.folder / "tables").rglob("*.parquet")
    path.rename(path.with_suffix(".away"))
    with pytest.raises(StoreError, match="are not there"):
        list(sqlite_store.history())
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(StoreError, match="cannot be read"):
        list(sqlite_store.history())


def test_two_that_close_the_same_night_do_it_once(store: Store, make: Make):
    for k in range(5):
        store.write(make(range(20 * k, 20 * k + 20)))
    moved = []
    threads = [threading.Thread(target=lambda: moved.append(store.close_night(NIGHT))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(moved) == [0, 0, 100]
    assert len(rows_of(store)) == 100
    assert len(list((store.folder / "tables").rglob("*.parquet"))) == 1


# Kills a process that closes a night at its k-th step, for every k, and says each time what is there.
KILLER = """
import json, os, signal, sys, warnings
from astrid.store import open_store
# before the forks, so that none of them has to
import astrid.store.migration, astrid.store.sky, astrid.store.store, pyarrow.parquet as pq, sqlalchemy as sa
import pandas, psycopg, sqlalchemy.dialects.postgresql.psycopg, sqlalchemy.dialects.sqlite.pysqlite

folder, database, night = sys.argv[1], sys.argv[2] or None, sys.argv[3]

def child(work):
    out, into = os.pipe()
    number = os.fork()
    if number == 0:
        text = json.dumps(work())
        os.write(into, text.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as file:
        text = file.read()
    _, status = os.waitpid(number, 0)
    return status, json.loads(text or "null")

def rows():
    with open_store(folder, database) as store:
        tables = store.history(columns=["alert_id"])
        found = [list(row.values()) for table in tables for row in table.to_pylist()]
        parts = list((store.folder / "tables").glob("*/*.parquet"))
        tables = [pq.read_table(path, columns=["alert_id"]) for path in parts]
        seen = [name for table in tables for name in table["alert_id"].to_pylist()]
        return {"rows": found, "twice in the tables": len(seen) - len(set(seen))}

def close(last):
    def work():
        steps = 0
        with open_store(folder, database) as store:
            def step(*_):
                nonlocal steps
                steps += 1
                if steps > last:
                    os.kill(os.getpid(), signal.SIGKILL)
            sa.event.listen(store._database.engine, "commit", step)
            sa.event.listen(store._database.engine, "before_cursor_execute", step)
            def hook(event, arguments):
                if event in ("os.rename", "os.remove", "os.mkdir") or (
                    event == "open" and folder in str(arguments[0])
                ):
                    step()
            sys.addaudithook(hook)
            store.close_night(night)
        return steps
    return work

warnings.simplefilter("ignore")
k, states = 0, []
while True:
    status, done = child(close(k))
    states.append(child(rows)[1])
    if status == 0:
        print(json.dumps({"steps": k, "states": states}))
        break
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, status
    k += 1
"""


def test_killed_at_any_step_a_closing_leaves_each_row_once(new_address, make: Make):
    folder, database = new_address()
    with open_store(folder, database) as store:
        for k in range(3):
            more = {"added": [1.0] * 4} if k == 1 else {}
            store.write(make(range(4 * k, 4 * k + 4), more=more, night=[NIGHT] * 3 + ["2026-11-02"]))
        expected = [[row["alert_id"], row["batch"]] for row in rows_of(store)]
        assert len(expected) == 12
    command = [sys.executable, "-c", KILLER, str(folder), database or "", NIGHT]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["steps"] > 15
    for state in said["states"]:
        assert state["rows"] == expected
        assert state["twice in the tables"] == 0
    with open_store(folder, database) as store:
        assert store.counts().open_nights == ("2026-11-02",)
        store.tidy(0)
        left = {path.name for path in Path(folder).rglob("*") if path.is_file()}
        assert not [name for name in left if "partial" in name]
        assert rows_of(store)[5]["alert_id"] == "000005"
