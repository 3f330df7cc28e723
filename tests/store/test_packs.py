from __future__ import annotations

import datetime as dt
import hashlib
import os
import tarfile
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import pytest

from astrid.errors import StoreError, UsageError
from astrid.store import Batch
from astrid.store.store import Store

Make = Callable[..., Batch]


def test_packets_lie_in_a_tar_named_by_their_content(sqlite_store: Store, make: Make):
    batch = make(range(10), size=700)
    sqlite_store.write(batch)
    (path,) = (sqlite_store.folder / "packets" / "2026-11-01").iterdir()
    with tarfile.open(path) as archive:
        members = {member.name: archive.extractfile(member) for member in archive}
        found = {name: file.read() for name, file in members.items() if file is not None}
    expected = {one.content(): one.suffix for one in batch.packets}
    assert {content: "." + name.split(".")[1] for name, content in found.items()} == expected
    assert all(name.split(".")[0] == hashlib.sha256(content).hexdigest() for name, content in found.items())


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513])
def test_packets_of_any_length_are_read_back(sqlite_store: Store, make: Make, size: int):
    batch = make(range(3), size=size)
    sqlite_store.write(batch)
    for number in range(3):
        assert sqlite_store.packet("ztf", f"{number:06d}")[0] == batch.packets[number].content()


def test_equal_packets_of_two_alerts_are_there_once(sqlite_store: Store, make: Make):
    same = SimpleNamespace(content=lambda: b"same", suffix=".avro")
    other = SimpleNamespace(content=lambda: b"same", suffix=".bin")
    sqlite_store.write(replace(make(range(3)), packets=[same, other, same]))
    (path,) = (sqlite_store.folder / "packets").rglob("*.tar")
    with tarfile.open(path) as archive:
        assert len(archive.getnames()) == 2
    assert [sqlite_store.packet("ztf", f"{number:06d}") for number in range(3)] == [
        (b"same", ".avro"),
        (b"same", ".bin"),
        (b"same", ".avro"),
    ]


def test_a_damaged_packet_is_not_given_out(sqlite_store: Store, make: Make):
    sqlite_store.write(make(range(1)))
    (path,) = (sqlite_store.folder / "packets").rglob("*.tar")
    content = bytearray(path.read_bytes())
    content[600] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoreError, match="is damaged"):
        sqlite_store.packet("ztf", "000000")
    path.unlink()
    with pytest.raises(StoreError, match="are not there"):
        sqlite_store.packet("ztf", "000000")


def test_retention_removes_packets_of_old_nights_and_nothing_else(store: Store, make: Make):
    store.write(make(range(3), night="2026-10-01"))
    store.write(
        make(range(3, 6), night=["2026-10-01", "2026-11-05", "2026-10-01"])
    )  # goes with its last night
    store.write(make(range(6, 9), night="2026-11-03"))
    size = store.counts().packet_bytes
    on_disk = sum(path.stat().st_size for path in store.folder.rglob("*.tar"))
    assert size == on_disk
    removed = store.retain(7, today=dt.date(2026, 11, 8))
    assert (removed.files, removed.bytes) == (1, on_disk - store.counts().packet_bytes)
    with pytest.raises(StoreError, match="was removed by the rule of retention"):
        store.packet("ztf", "000001")
    for number in (3, 7):
        assert store.packet("ztf", f"{number:06d}")[0] == make([number]).packets[0].content()
    assert sum(table.num_rows for table in store.history()) == 9
    assert store.retain(7, today=dt.date(2026, 11, 8)).files == 0
    assert store.write(make(range(3))).n_new == 0  # known, though its packet is gone
    with pytest.raises(UsageError, match="-1 days"):
        store.retain(-1)


def test_packets_without_a_night_are_as_old_as_their_batch(sqlite_store: Store, make: Make):
    sqlite_store.write(make(range(3), night=None))
    today = dt.datetime.now(dt.UTC).date()
    assert sqlite_store.retain(2, today=today).files == 0
    assert sqlite_store.retain(2, today=today + dt.timedelta(days=4)).files == 1


def test_tidying_removes_what_nothing_points_to_and_is_not_young(sqlite_store: Store, make: Make):
    store = sqlite_store
    store.write(make(range(3)))
    store.close_night("2026-11-01")
    home = store.folder / "packets" / "2026-11-01"
    strays = [home / "abandoned.tar", home / ".partial-abandoned.tar"]
    late = store.folder / "tables" / "night=2026-11-01" / "000000007-000000009.parquet"
    for path in (*strays, late):
        path.write_bytes(bytes(10))
    young = home / "young.tar"
    young.write_bytes(bytes(10))
    for path in strays:
        os.utime(path, (time.time() - 7200,) * 2)
    assert store.tidy() == (3, 30)
    assert not any(path.exists() for path in (*strays, late))
    assert young.exists()
    assert store.packet("ztf", "000000")[0] == make([0]).packets[0].content()
    assert sum(table.num_rows for table in store.history()) == 3
