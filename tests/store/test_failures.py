"""Processes, databases and disks that give up in the middle."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from astrid.errors import OutputError, StoreError
from astrid.store import Batch, open_store
from astrid.store.store import Store

Make = Callable[..., Batch]

WRITER = """
import runpy, sys
from astrid.store import open_store
make = runpy.run_path(sys.argv[1])["make_batch"]
with open_store(sys.argv[2], sys.argv[3] or None, patience=60) as store:
    for k in range(int(sys.argv[4]), 100000):
        store.write(make(range(8 * k, 8 * k + 12), size=50_000))
        print(k, flush=True)
"""


def assert_sound(store: Store, make: Make, acknowledged: int) -> None:
    """Every acknowledged alert is there once, with one score, one pass, its row and its packet."""
    names = [name for table in store.history(columns=["alert_id"]) for name in table["alert_id"].to_pylist()]
    assert len(names) == len(set(names)) == store.counts().alerts
    assert {f"{number:06d}" for number in range(8 * acknowledged + 12)} <= set(names)
    assert sorted(store.scores()["alert_id"].to_pylist()) == sorted(names)
    assert sorted(one.alert_id for one in store.passes()) == sorted(names)
    for name in names[:: max(1, len(names) // 20)]:
        assert store.packet("ztf", name)[0] == make([int(name)], size=50_000).packets[0].content()


def test_a_writer_killed_at_any_moment_loses_nothing_that_it_acknowledged(new_address, make: Make):
    folder, database = new_address()
    helper = str(Path(__file__).with_name("conftest.py"))
    last = -1
    for wait in (3, 8):
        command = [sys.executable, "-c", WRITER, helper, str(folder), database or "", str(max(last - 2, 0))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            for _ in range(wait):
                last = max(last, int(worker.stdout.readline()))
            time.sleep(0.003 * wait)  # into the next batch
            worker.send_signal(signal.SIGKILL)
            last = max([last, *(int(line) for line in worker.stdout if line.strip())])
        with open_store(folder, database) as store:
            assert_sound(store, make, last)
    with open_store(folder, database) as store:
        store.tidy(0)
        kept = {str(path.relative_to(folder / "packets")) for path in (folder / "packets").glob("*/*")}
        assert len(kept) == len([one for one in store.batches() if one.n_new])
        assert_sound(store, make, last)


def test_a_database_that_is_killed_and_comes_back_is_written_on(postgresql, tmp_path: Path, make: Make):
    acknowledged: list[int] = []
    failures: list[BaseException] = []

    with open_store(tmp_path, postgresql.new_database(), patience=60) as store:

        def work() -> None:
            try:
                for k in range(60):
                    store.write(make(range(8 * k, 8 * k + 12), size=50_000))
                    acknowledged.append(k)
            except StoreError as error:
                failures.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        for _ in range(2):
            seen = len(acknowledged)
            while len(acknowledged) < seen + 5 and thread.is_alive():
                time.sleep(0.01)
            postgresql.kill()
            time.sleep(0.2)
            postgresql.start()
        thread.join(timeout=60)
        assert not failures
        assert acknowledged == list(range(60))
        assert_sound(store, make, 59)
        assert sum(one.n_new for one in store.batches()) == 8 * 59 + 12


def test_a_database_that_stays_away_is_said_and_nothing_is_half_written(
    postgresql, tmp_path: Path, make: Make
):
    address = postgresql.new_database()
    with open_store(tmp_path, address, patience=0.5) as store:
        store.write(make(range(12), size=50_000))
        postgresql.stop()  # after a kill, its connections live on for a moment and may still commit
        try:
            with pytest.raises(StoreError, match="cannot be reached") as caught:
                store.write(make(range(12, 24)))
            assert "\n" not in str(caught.value)
            with pytest.raises(StoreError, match="cannot be reached"):
                store.counts()
        finally:
            postgresql.start()
        assert_sound(store, make, 0)
        assert store.write(make(range(12, 24))).n_new == 12
        assert len(list((tmp_path / "packets").rglob("*.tar"))) == 2
    with pytest.raises(StoreError, match="does not exist"):
        open_store(tmp_path, postgresql.url("absent"))


def test_a_commit_whose_answer_was_lost_is_found_and_not_made_again(store: Store, make: Make):
    import sqlalchemy as sa

    database = store._database
    lost = []
    tried = database._tried

    def once(engine: sa.Engine, work: Callable[[sa.Connection], Any]) -> Any:
        result = tried(engine, work)
        if engine is database._writing and not lost:
            lost.append(result)
            return tried(engine, work)  # as if the connection had been lost just after COMMIT was sent
        return result

    database._tried = once  # type: ignore[method-assign]
    written = store.write(make(range(12), size=50_000))
    assert lost
    assert (written.batch, written.n_new) == (1, 12)
    assert len(store.batches()) == 1
    assert_sound(store, make, 0)


def test_a_database_that_another_process_holds_is_waited_for_and_then_said(tmp_path: Path, make: Make):
    import sqlite3

    with open_store(tmp_path, patience=0.3) as store:
        store.write(make(range(12), size=50_000))
        other = sqlite3.connect(tmp_path / "astrid.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match=r"locked by another process for 0\.3 s"):
            store.write(make(range(12, 24)))
        assert store.counts().alerts == 12  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        assert_sound(store, make, 0)
        assert len(list((tmp_path / "packets").rglob("*.tar"))) == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(path: Path, leaving: int) -> None:
    """Take the space that is left on a disk."""
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
        file.truncate(path.stat().st_size - leaving)


@pytest.mark.parametrize(("size", "row", "error"), [(100_000, 10, OutputError), (10, 400_000, StoreError)])
def test_a_full_disk_is_said_and_what_was_acknowledged_is_there(
    small_disk: Path, make: Make, size: int, row: int, error: type[Exception]
):
    def batch(k: int) -> Batch:
        text = pa.array([os.urandom(row // 2).hex()])
        return make([k], size=size, more={"extras": text})

    with open_store(small_disk / "store", patience=1) as store:
        n = 4
        for k in range(n):
            store.write(batch(k))
        fill(small_disk / "filler", leaving=60_000)  # enough for small packets
        with pytest.raises(error, match="full") as caught:  # noqa: PT012
            while True:
                store.write(batch(n))
                n += 1
        assert "\n" not in str(caught.value)
        for _ in range(2):  # while it is full, and when there is space again
            names = [name for table in store.history() for name in table["alert_id"].to_pylist()]
            assert names == [f"{number:06d}" for number in range(n)]
            for number in range(n):
                content, _ = store.packet("ztf", f"{number:06d}")
                assert content == batch(number).packets[0].content()
            assert not [path for path in small_disk.rglob("*") if "partial" in path.name]
            assert len(list(small_disk.rglob("*.tar"))) == n
            subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
        assert store.write(batch(n)).n_new == 1
    with open_store(small_disk / "store") as store:
        assert store.counts().alerts == n + 1


def test_closing_a_night_on_a_full_disk_leaves_it_open(small_disk: Path, make: Make):
    with open_store(small_disk / "store", patience=1) as store:
        for k in range(8):
            store.write(make([k], more={"extras": pa.array([os.urandom(100_000).hex()])}))
        fill(small_disk / "filler", leaving=0)
        with pytest.raises((OutputError, StoreError), match="full"):
            store.close_night("2026-11-01")
        assert store.counts().open_nights == ("2026-11-01",)
        assert sum(table.num_rows for table in store.history()) == 8
        (small_disk / "filler").unlink()
        assert store.close_night("2026-11-01") == 8
        assert sum(table.num_rows for table in store.history()) == 8
