"""The outbox: all that passed a filter is announced, not too often, and no receiver holds up another."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import time
from types import SimpleNamespace

import fastavro
import numpy as np
import pyarrow as pa
import pytest
from astropy.io import fits

from astrid.alerts.stamps import unpack_stamp
from astrid.errors import OutputError, StreamError, UsageError
from astrid.store import Batch, Pass, Score, open_store
from astrid.stream.filters import Filter
from astrid.stream.publish import Publisher
from astrid.stream.sinks import OpenSinks, RefusedError

HOUR = 3600.0


class Clock:
    """A time that tests move."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Receiver:
    """A sink that can be told to fail."""

    def __init__(self, at_once: int = 10, cutouts: bool = False) -> None:
        self.at_once, self.cutouts = at_once, cutouts
        self.got: list = []
        self.calls = 0
        self.away = False
        self.refuses: set[str] = set()
        self.fails_at: int | None = None

    def send(self, announcements) -> None:
        self.calls += 1
        if self.away or self.calls == self.fails_at:
            raise StreamError("it is away")
        if any(one.alert_id in self.refuses for one in announcements):
            raise RefusedError("it does not want this")
        self.got += announcements

    def close(self) -> None:
        pass

    @property
    def ids(self) -> list[str]:
        return [one.alert_id for one in self.got]


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store", patience=5) as opened:
        yield opened


def write(store, numbers, *filters, arrived=None, packets=None, **columns) -> None:
    """Alerts that pass all of the filters."""
    n = len(numbers)
    when = time.time() if arrived is None else arrived
    moment = pa.scalar(round(when * 1e6), pa.int64()).cast(pa.timestamp("us", "UTC"))
    rows = {
        "survey": ["ztf"] * n,
        "alert_id": [str(number) for number in numbers],
        "object_id": ["ZTF20aaa"] * n,
        "ra": [10.0 + number for number in numbers],
        "dec": [-5.0] * n,
        "healpix": list(range(n)),
        "mjd": [61345.0] * n,
        "night": ["2026-11-01"] * n,
        "band": ["g"] * n,
        "magpsf": [19.5] * n,
        "time_scale": ["utc"] * n,
        "arrived": pa.repeat(moment, n),
        "gaia_distance": [float("inf")] * n,
        "gaia_count": [0] * n,
        "gaia_mag": pa.nulls(n, pa.float64()),
        "peak_distance": [1.0] * n,  # of no catalogue
        **columns,
    }
    contents = packets or [f"packet {number}".encode() for number in numbers]
    store.write(
        Batch(
            pa.table(rows),
            [SimpleNamespace(content=lambda one=one: one, suffix=".avro") for one in contents],
            scores=[Score(row, "braai.real1", "ab" * 32, "real", 0.9, decision="real") for row in range(n)],
            passes=[Pass(row, one.name, one.hash) for one in filters for row in range(n)],
        )
    )


def saved(store, name="f", **facts) -> Filter:
    given = Filter(name=name, **facts)
    store.save_filter(given.name, given.hash, json.loads(given.to_json()))
    return given


def states(store, name="f") -> dict[str, str]:
    return {one.alert_id: one.state for one in store.passes(name)}


def test_what_passed_is_announced_once_with_all_that_was_known(store):
    receiver = Receiver()
    given = saved(store, sinks=("a",))
    write(store, range(25), given)
    publisher = Publisher(store, {"a": receiver}.__getitem__)
    assert publisher.publish() == {"delivered": 25}
    assert sorted(receiver.ids, key=int) == [str(number) for number in range(25)]
    assert publisher.publish() == {}
    one = next(one for one in receiver.got if one.alert_id == "7")
    assert (one.filter, one.filter_hash, one.ra, one.magpsf) == ("f", given.hash, 17.0, 19.5)
    assert [(score.bundle, score.hash, score.value) for score in one.scores] == [
        ("braai.real1", "ab" * 32, 0.9)
    ]
    assert one.matches == {"gaia_distance": float("inf"), "gaia_count": 0, "gaia_mag": None}
    assert all(record.delivered_at is not None for record in store.passes("f"))


def test_alerts_of_a_filter_without_receivers_are_settled_in_silence(store):
    write(store, range(3), saved(store))
    assert Publisher(store, {}.__getitem__).publish() == {}
    assert set(states(store).values()) == {"delivered"}


def test_a_receiver_that_is_away_gets_everything_later_and_holds_up_nobody(store):
    clock, dead, alive = Clock(), Receiver(), Receiver()
    dead.away = True
    write(store, range(300), saved(store, "one", sinks=("dead",)))
    write(store, range(300, 310), saved(store, "two", sinks=("alive",)))
    publisher = Publisher(store, {"dead": dead, "alive": alive}.__getitem__, clock=clock)
    counts = publisher.publish()
    assert (counts["delivered"], counts["put_off"]) == (10, 300)
    assert len(alive.got) == 10
    assert dead.calls == 1  # and not once for each alert
    waiting = [one for one in store.passes("one", state="pending") if one.reason]
    assert waiting
    assert waiting[0].reason == "it is away"
    dead.away = False
    _release(store)
    assert publisher.publish()["delivered"] == 0  # it is left alone for a while
    clock.now += 31
    _release(store)
    assert publisher.publish()["delivered"] == 300
    assert sorted(dead.ids, key=int) == [str(number) for number in range(300)]


def _release(store) -> None:
    """As if the time had passed for which passes are claimed."""
    store.mark(store.pending(1000), "pending", "")


def test_a_receiver_that_failed_is_left_alone_for_longer_each_time(store):
    clock, dead = Clock(), Receiver()
    dead.away = True
    write(store, [1], saved(store, sinks=("dead",)))
    publisher = Publisher(store, {"dead": dead}.__getitem__, clock=clock)
    times = []
    for _ in range(115):
        calls = dead.calls
        publisher.publish()
        _release(store)
        if dead.calls > calls:
            times.append(clock.now)
        clock.now += 30
    assert np.diff(times).tolist() == [30, 60, 120, 240, 480, 900, 900]


def test_what_nobody_took_for_a_day_has_failed(store):
    clock, dead = Clock(), Receiver()
    dead.away = True
    write(store, [1], saved(store, sinks=("dead",)), arrived=clock.now - 23 * HOUR)
    publisher = Publisher(store, {"dead": dead}.__getitem__, clock=clock)
    publisher.publish()
    assert states(store) == {"1": "pending"}
    clock.now += 2 * HOUR
    _release(store)
    assert publisher.publish()["failed"] == 1
    (record,) = store.passes("f")
    assert (record.state, record.reason) == ("failed", "it is away")


def test_a_receiver_that_has_an_announcement_does_not_get_it_again_because_another_is_away(store):
    clock, good, bad = Clock(), Receiver(), Receiver()
    bad.away = True
    write(store, range(5), saved(store, sinks=("good", "bad")))
    publisher = Publisher(store, {"good": good, "bad": bad}.__getitem__, clock=clock)
    for _ in range(5):
        publisher.publish()
        _release(store)
        clock.now += 1000
    assert len(good.got) == 5
    assert set(states(store).values()) == {"pending"}
    bad.away = False
    assert publisher.publish()["delivered"] == 5
    assert (len(good.got), len(bad.got)) == (5, 5)


def test_only_what_is_refused_fails(store):
    receiver = Receiver(at_once=10)
    receiver.refuses = {"3", "14"}
    write(store, range(20), saved(store, sinks=("a",)))
    counts = Publisher(store, {"a": receiver}.__getitem__).publish()
    assert counts == {"delivered": 18, "failed": 2}
    assert set(receiver.ids) == {str(number) for number in range(20)} - {"3", "14"}
    assert len(receiver.got) == 18
    failed = {one.alert_id: one.reason for one in store.passes("f", state="failed")}
    assert failed == {"3": "it does not want this", "14": "it does not want this"}


def test_what_was_sent_before_a_failure_is_not_sent_again(store):
    clock, receiver = Clock(), Receiver(at_once=10)
    receiver.fails_at = 3
    write(store, range(50), saved(store, sinks=("a",)))
    publisher = Publisher(store, {"a": receiver}.__getitem__, clock=clock)
    publisher.publish()
    assert sum(state == "delivered" for state in states(store).values()) == len(receiver.got) == 20
    clock.now += 60
    _release(store)
    publisher.publish()
    assert sorted(receiver.ids, key=int) == [str(number) for number in range(50)]


def test_a_limit_holds_what_is_more_in_any_hour_over_all_versions_of_a_filter(store):
    clock, receiver = Clock(), Receiver()
    write(store, range(8), saved(store, sinks=("a",), limit_per_hour=5))
    publisher = Publisher(store, {"a": receiver}.__getitem__, clock=clock)
    assert publisher.publish() == {"delivered": 5, "held": 3}
    (reason,) = {one.reason for one in store.passes("f", state="held")}
    assert reason == "the filter has its 5 of this hour"
    edited = saved(store, sql="magpsf < 20", sinks=("a",), limit_per_hour=6)
    write(store, range(100, 104), edited)
    assert Publisher(store, {"a": receiver}.__getitem__, clock=clock).publish() == {"delivered": 1, "held": 3}
    clock.now += HOUR + 1
    write(store, range(200, 210), edited)
    assert publisher.publish() == {"delivered": 6, "held": 4}
    assert len(receiver.got) == 12


def test_an_announcement_goes_where_its_version_of_the_filter_said(store):
    old, new = Receiver(), Receiver()
    write(store, [1], saved(store, sinks=("old",)))
    write(store, [2], saved(store, sinks=("new",)))
    Publisher(store, {"old": old, "new": new}.__getitem__).publish()
    assert (old.ids, new.ids) == (["1"], ["2"])


@pytest.mark.parametrize("error", [OutputError("the disk is full"), UsageError("no such broker")])
def test_whatever_is_wrong_with_a_receiver_nothing_is_lost(store, error):
    def broken(address):
        raise error

    write(store, [1], saved(store, sinks=("a",)))
    Publisher(store, broken).publish()
    (record,) = store.passes("f")
    assert (record.state, record.reason) == ("pending", str(error))


def test_publishing_stops_when_its_time_is_over(store):
    receiver = Receiver(at_once=1)
    write(store, range(300), saved(store, sinks=("a",)))
    publisher = Publisher(store, {"a": receiver}.__getitem__)
    assert publisher.publish(seconds=0.0) == {"delivered": 100}
    assert publisher.publish()["delivered"] == 200


def test_real_receivers_get_what_the_store_has(store, tmp_path, cluster):
    from astrid.stream.topic_sink import TopicSink

    sinks = (f"files:{tmp_path}/out", f"voevent:{tmp_path}/events", f"kafka://{cluster}/published")
    write(store, range(12), saved(store, sinks=sinks))
    opened = OpenSinks()
    assert isinstance(opened(sinks[2]), TopicSink)
    assert Publisher(store, opened).publish() == {"delivered": 12}
    opened.close()
    written = sorted((tmp_path / "out").rglob("*.json"), key=lambda file: len(file.name))
    assert len(written) == len(list((tmp_path / "events").rglob("*.xml"))) == 12
    facts = json.loads(written[0].read_bytes())
    assert facts["scores"][0]["value"] == 0.9
    assert facts["matches"]["gaia_distance"] is None


@pytest.mark.real_data
def test_cutouts_come_from_the_packet_as_it_was_sent(store, real_data):
    with tarfile.open(real_data / "alerts" / "ztf_alerts_dev.tar.gz") as tar:
        content = next(tar.extractfile(one).read() for one in tar if one.name.endswith(".avro"))
    (record,) = fastavro.reader(io.BytesIO(content))
    receiver = Receiver(cutouts=True)
    write(store, [1, 2], saved(store, sinks=("a",)), packets=[content, b"nothing"])
    Publisher(store, {"a": receiver}.__getitem__).publish()
    with_images = next(one for one in receiver.got if one.alert_id == "1")
    for name, field in (("science", "Science"), ("reference", "Template"), ("difference", "Difference")):
        sent = unpack_stamp(record[f"cutout{field}"]["stampData"])
        with fits.open(io.BytesIO(gzip.decompress(with_images.cutouts[name]))) as hdus:
            np.testing.assert_array_equal(hdus[0].data, sent)
    assert next(one for one in receiver.got if one.alert_id == "2").cutouts == {}
