"""Whatever is killed in mid-stream, each alert is there once in the end, with one score of each bundle.

Workers and the database get signal 9 at random moments. The broker is librdkafka's mock cluster, which
divides a topic anew some seconds after a member of a group is gone.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from astrid.errors import AstridError, StoreError
from astrid.store import open_store
from astrid.stream.settings import read_settings
from astrid.stream.workers import Stop, run_stream

kafka = pytest.importorskip("confluent_kafka")
samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("samples.py"))))

N = 300
BUNDLES = ("toy.one", "toy.two")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    weights = ([[0], [0], [1]], [[0], [0], [-1]])
    return tuple(
        str(samples.bundle(folder, name, one, size=samples.SIZE).path)
        for name, one in zip(BUNDLES, weights, strict=True)
    )


class Running(threading.Thread):
    """A stream with its workers."""

    def __init__(self, **settings) -> None:
        super().__init__()
        self.settings = read_settings(None, settings)
        self.stop = Stop()
        self.said: list[str] = []
        self.summary = self.error = None

    def run(self) -> None:
        try:
            self.summary = run_stream(self.settings, stop=self.stop, say=self.said.append)
        except AstridError as error:
            self.error = error

    def all_work(self, folder: Path, database: str | None) -> bool:
        """Whether each of the present workers has stored something: none is only about to begin."""
        present = {one.pid for one in _workers()}
        try:
            with open_store(folder, database, patience=0.5) as store:
                return present <= {int(one.worker.split(":")[1]) for one in store.batches()}
        except StoreError:
            return False

    def kill_one(self, choose: np.random.Generator) -> bool:
        workers = _workers()
        if not workers:
            return False
        os.kill(workers[choose.integers(len(workers))].pid, signal.SIGKILL)
        return True


def _workers():
    return [one for one in multiprocessing.active_children() if one.name.startswith("astrid-ingest")]


def stored(folder: Path, database: str | None) -> int:
    try:
        with open_store(folder, database, patience=0.5) as store:
            return store.counts().alerts
    except StoreError:
        return -1


def check(folder: Path, database: str | None, numbers) -> None:
    expected = {str(number) for number in numbers}
    with open_store(folder, database) as store:
        rows = [one for table in store.history() for one in table["alert_id"].to_pylist()]
        assert len(rows) == len(set(rows)), "each alert once"
        assert set(rows) == expected, "nothing missing, and nothing else"
        for bundle in BUNDLES:
            scores = store.scores(bundle=bundle)
            assert sorted(scores["alert_id"].to_pylist()) == sorted(expected), "one score of each bundle"
            assert scores["value"].null_count == 0
        for number in list(numbers)[::20]:
            assert store.packet("ztf", str(number)) == (samples.packet(number), ".avro")
        assert list((store.folder / "quarantine").glob("*")) == []


def produce(cluster: str, topic: str, numbers) -> None:
    producer = kafka.Producer({"bootstrap.servers": cluster, "log_level": 0})
    for number in numbers:
        producer.produce(topic, samples.packet(number), partition=number % 4)
    assert producer.flush(10) == 0


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_killed_consumers_and_databases_lose_and_double_nothing(cluster, models, tmp_path, request, kind):
    server = request.getfixturevalue("postgresql") if kind == "postgresql" else None
    database = None if server is None else server.new_database()
    brokers = tmp_path / "brokers.toml"
    brokers.write_text(f'[brokers.mock]\nservers = ["{cluster}"]\ngroup = "killed"\nsession = 3\n')
    topic, folder, choose = f"killed_{kind}", tmp_path / "store", np.random.default_rng(len(kind))
    running = Running(
        sources=(f"kafka://mock/{topic}",), brokers=brokers, store=folder, database=database, models=models,
        workers=2, batch=16, linger=0.05,
    )  # fmt: skip
    produce(cluster, topic, range(40))
    running.start()
    sent, kills, end = 40, 0, time.monotonic() + 240
    try:
        while running.is_alive() and time.monotonic() < end:
            if kills == 3 and sent >= N and stored(folder, database) == sent:
                break
            if kills < 3 or sent < N:  # the stream goes on while workers come and go
                produce(cluster, topic, range(sent, sent + 4))
                sent += 4
            if kills < 3 and running.all_work(folder, database):
                time.sleep(choose.uniform(0, 0.5))
                kills += running.kill_one(choose)
                if server is not None:
                    server.kill()
                    time.sleep(choose.uniform(0, 0.5))
                    server.start()
            time.sleep(0.1)
    finally:
        running.stop.requested = True
        running.join(60)
    assert running.error is None
    assert kills == 3
    assert sum("is started again" in one for one in running.said) == 3
    assert running.summary.n_restarted == 3
    check(folder, database, range(sent))


def test_the_files_of_a_killed_worker_are_read_again(models, tmp_path):
    packets = tmp_path / "in"
    packets.mkdir()
    for number in range(200):
        (packets / f"{number:05d}.avro").write_bytes(samples.packet(number))
    folder, choose = tmp_path / "store", np.random.default_rng(3)
    running = Running(sources=(str(packets),), store=folder, models=models, workers=2, batch=8)
    running.start()
    kills = 0
    while running.is_alive():
        if kills < 2 and stored(folder, None) > 10 + 60 * kills:
            kills += running.kill_one(choose)
        time.sleep(0.02)
    running.join()
    assert running.error is None
    assert running.summary.n_stored <= 200
    assert running.summary.n_restarted == kills >= 1
    check(folder, None, range(200))


def test_a_worker_that_always_dies_is_given_up(models, tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "0.avro").write_bytes(samples.packet(0))
    running = Running(sources=(str(tmp_path / "in"),), store=tmp_path / "store", models=models, workers=2)
    running.start()
    choose = np.random.default_rng(1)
    while running.is_alive():
        running.kill_one(choose)  # before it has done anything
        time.sleep(0.02)
    assert "died 5 times" in str(running.error)
