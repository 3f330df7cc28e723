"""Streams of Kafka: nothing is lost, whoever joins, leaves or fails, and what is wrong is said.

The broker is librdkafka's mock cluster: it waits 3 s before the first member of a group gets partitions, and
2 s with this session before it divides them anew.
"""

from __future__ import annotations

import io
import json
import logging
import socket
import ssl
import subprocess
import tarfile
import threading
import time
from collections import Counter
from contextlib import closing

import fastavro
import pytest

from astrid.alerts import SchemaBook
from astrid.errors import StreamError, UsageError
from astrid.stream.brokers import Broker, KafkaAddress
from astrid.stream.kafka import KafkaSource
from astrid.stream.source import open_source

kafka = pytest.importorskip("confluent_kafka")

SCHEMA = {"type": "record", "name": "small.alert", "fields": [{"name": "id", "type": "long"}]}
WHO = {"username": "me", "password_env": "TEST_BROKER_PASSWORD"}
PARSED = fastavro.parse_schema(SCHEMA)


def packet(number: int) -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, PARSED, [{"id": number}])
    return stream.getvalue()


def produce(cluster: str, topic: str, values, keys=None, partition=None) -> None:
    producer = kafka.Producer({"bootstrap.servers": cluster, "log_level": 0})
    errors = []
    for k, value in enumerate(values):
        where = {} if partition is None and not isinstance(k, int) else {"partition": k % 4}
        where = {"partition": partition} if partition is not None else where
        producer.produce(
            topic, value, key=keys and keys[k], on_delivery=lambda error, _: errors.append(error), **where
        )
    assert producer.flush(10) == 0
    assert set(errors) == {None}


def source(cluster: str, topic: str, group: str = "g", **options) -> KafkaSource:
    broker = Broker(servers=(cluster,), session=3)
    return KafkaSource(KafkaAddress("mock", broker, (topic,), group), **options)


def full(given: KafkaSource, size: int = 50, linger: float = 0.2):
    """Deliveries that hold something."""
    return (one for one in given.deliveries(size, linger) if one.packets)


def ids(delivery):
    return [one.record["id"] for one in delivery.packets]


class Member(threading.Thread):
    """A worker: acknowledges what it has kept."""

    def __init__(self, cluster: str, topic: str) -> None:
        super().__init__(daemon=True)
        self.kept: list[int] = []
        self.stop = threading.Event()
        self.parts: set[str] = set()
        self._where = (cluster, topic)

    def run(self) -> None:
        with closing(source(*self._where)) as given:
            for delivery in given.deliveries(20, 0.05):
                self.kept += ids(delivery)
                self.parts |= {one.name.split("/")[1] for one in delivery.packets}
                delivery.acknowledge()
                if self.stop.is_set():
                    return


def test_members_that_come_and_go_share_a_topic_and_lose_nothing(cluster):
    n = 1200
    topic = "shared"
    produce(cluster, topic, [packet(k) for k in range(100)])
    first, second = Member(cluster, topic), Member(cluster, topic)
    first.start()

    def wait(until, seconds=15.0):
        end = time.monotonic() + seconds
        while not until() and time.monotonic() < end:
            time.sleep(0.05)
        assert until()

    wait(lambda: len(first.kept) >= 100)
    assert first.parts == {"0", "1", "2", "3"}
    second.start()
    sent = 100
    while not second.kept and sent < 900:  # a stream that goes on while the group is divided anew
        produce(cluster, topic, [packet(k) for k in range(sent, sent + 20)])
        sent += 20
        time.sleep(0.15)
    assert second.kept
    assert len(second.parts) == 2
    second.stop.set()
    second.join()
    produce(cluster, topic, [packet(k) for k in range(sent, n)])
    wait(lambda: set(first.kept) | set(second.kept) >= set(range(n)))
    first.stop.set()
    first.join()
    times = Counter(first.kept + second.kept)
    assert set(times) == set(range(n))  # at least once, and hardly ever twice
    assert sum(times.values()) < 1.1 * n


def test_what_was_not_acknowledged_comes_again_and_nothing_else(cluster):
    produce(cluster, "again", [packet(k) for k in range(40)], partition=0)
    with closing(source(cluster, "again")) as given:
        stream = full(given, 10)
        first, second, third = next(stream), next(stream), next(stream)
        assert (first.behind, third.behind) == (30, 10)
        assert first.sent <= first.arrived <= time.time()
        third.acknowledge()  # goes no further than the first that is not acknowledged
        first.acknowledge()
        assert given.statistics["acknowledged"] == 2
    with closing(source(cluster, "again", idle=0.5)) as given:
        got = [number for delivery in full(given) for number in ids(delivery)]
        assert got == list(range(10, 40))
        assert given.statistics["partitions"] == 4
    second.acknowledge()  # of a closed source: too late, and harmless


def test_an_acknowledgement_that_comes_after_the_partition_has_gone_is_harmless(cluster, caplog):
    produce(cluster, "late", [packet(k) for k in range(8)])
    with closing(source(cluster, "late")) as given:
        delivery = next(full(given, 8, 1.0))
        assert len(delivery.packets) == 8
        gone = [kafka.TopicPartition("late", part) for part in (0, 1)]
        given._on_revoke(given._consumer, gone)
        with caplog.at_level(logging.INFO):
            delivery.acknowledge()
        assert "late/0, late/1 went to another worker" in caplog.text
        places = [kafka.TopicPartition("late", part) for part in range(4)]
        committed = [one.offset for one in given._consumer.committed(places, timeout=5)]
    assert committed == [kafka.OFFSET_INVALID, kafka.OFFSET_INVALID, 2, 2]


def test_every_message_is_a_packet_also_one_that_cannot_be_read(cluster):
    bare = io.BytesIO()
    fastavro.schemaless_writer(bare, PARSED, {"id": 7})
    values = [packet(1), b"junk", None, b"", packet(2)[:-9], bare.getvalue(), b"\x00\x00\x00\x27\x0fnothing"]
    keys = [None, None, None, b"key", b"{not a schema", json.dumps(SCHEMA).encode(), None]
    produce(cluster, "mixed", values, keys, partition=1)
    with closing(source(cluster, "mixed")) as given:
        delivery = next(full(given, 20, 0.5))
        delivery.acknowledge()
        counts = given.statistics
    records = [one.record for one in delivery.packets]
    # Fink's way: a bare record, whose schema is the key of the message
    assert records == [{"id": 1}, None, None, None, None, {"id": 7}, None]
    assert [one.name for one in delivery.packets] == [f"mixed/1/{k}" for k in range(7)]
    assert [one.content() for one in delivery.packets][:5] == [values[0], b"junk", b"", b"", values[4]]
    again = next(iter(fastavro.reader(io.BytesIO(delivery.packets[5].content()))))
    assert again == {"id": 7}  # it carries its schema now, and can be kept
    assert "schema of number 9999" in delivery.packets[6].problem
    assert (counts["messages"], counts["unreadable"], counts["acknowledged"]) == (7, 5, 1)


@pytest.mark.real_data
def test_real_packets_of_lsst_and_ztf_come_through_a_broker(cluster, real_data):
    def files(name):
        with tarfile.open(real_data / "alerts" / name) as tar:
            return [tar.extractfile(one).read() for one in tar if one.name.endswith((".bin", ".avro"))]

    values = files("lsst_packets.tar.gz") + files("ztf_alerts_dev.tar.gz")[:20]
    produce(cluster, "real", values)
    book = SchemaBook(real_data / "alerts" / "schemas.tar.gz")
    with closing(source(cluster, "real", book=book, idle=0.5)) as given:
        packets = [one for delivery in full(given) for one in delivery.packets]
    assert sorted(one.content() for one in packets) == sorted(values)
    assert Counter(one.schema.partition(".")[0] for one in packets if one.record) == {"lsst": 2, "ztf": 20}


def test_messages_that_the_broker_deleted_unread_are_counted(cluster, caplog):
    produce(cluster, "short", [packet(k) for k in range(10)], partition=2)
    with closing(source(cluster, "short")) as given:
        next(full(given, 10)).acknowledge()
    large = [bytes(100_000) for _ in range(80)]  # a partition of the mock cluster keeps about 5 MB
    produce(cluster, "short", large, partition=2)
    with closing(source(cluster, "short", idle=0.5)) as given:
        got = sum(len(delivery.packets) for delivery in full(given))
        missed = given.statistics["missed"]
    assert got < 80
    assert missed == 80 - got
    assert "the broker has deleted" in caplog.text


def test_topics_are_found_by_a_pattern_and_silence_is_told(cluster, tmp_path):
    produce(cluster, "night_1", [packet(1)])
    produce(cluster, "night_2", [packet(2)])
    produce(cluster, "day_1", [packet(3)])
    file = tmp_path / "brokers.toml"
    file.write_text(f'[brokers.mock]\nservers = "{cluster}"\nsession = 3\n')
    given = open_source("kafka://mock/^night_[0-9]+$?group=pattern", brokers=file, idle=1.5)
    with closing(given):
        deliveries = list(given.deliveries(10, 0.1))
    assert sorted(number for one in deliveries for number in ids(one)) == [1, 2]
    silent = [one for one in deliveries if not one.packets]
    assert silent
    silent[0].acknowledge()


# --- what goes wrong ---


def test_a_broker_that_is_not_there_is_said_within_its_time():
    began = time.monotonic()
    with pytest.raises(
        StreamError, match=r"cannot be reached within 1 s: .*Connection refused; check the address"
    ):
        source("127.0.0.1:1", "t", patience=1.0)
    assert time.monotonic() - began < 3


def test_a_topic_that_is_not_there_is_said(cluster):
    with pytest.raises(StreamError, match="mock has no topic 'nothing'"):
        source(cluster, "nothing")
    with pytest.raises(UsageError, match="give earliest or latest"):
        source(cluster, "nothing", start="yesterday")


def test_failed_authentication_is_said_without_the_password(cluster, monkeypatch):
    monkeypatch.setenv("TEST_BROKER_PASSWORD", "open-sesame")
    broker = Broker.model_validate(
        {"servers": [cluster], "protocol": "SASL_PLAINTEXT", "mechanism": "SCRAM-SHA-512", **WHO}
    )
    with pytest.raises(StreamError, match="authentication failed, check protocol, mechanism") as caught:
        KafkaSource(KafkaAddress("mock", broker, ("t",), "g"))
    assert "open-sesame" not in str(caught.value)


def test_a_token_that_is_not_given_is_said(cluster, monkeypatch):
    monkeypatch.setenv("TEST_BROKER_PASSWORD", "open-sesame")
    token = {"mechanism": "OAUTHBEARER", "token_url": "https://127.0.0.1:1/token"}
    broker = Broker.model_validate({"servers": [cluster], "protocol": "SASL_PLAINTEXT", **token, **WHO})
    with pytest.raises(StreamError, match=r"authentication failed.*token") as caught:
        KafkaSource(KafkaAddress("gcn", broker, ("t",), "g"), patience=5.0)
    assert "open-sesame" not in str(caught.value)


@pytest.fixture
def certified(tmp_path):
    """A server with a certificate that it has signed itself: its port, and the certificate."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext {names}"
    made = [*command.split(), "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    shaken: list[bool] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connection.settimeout(2.0)
            try:
                with context.wrap_socket(connection, server_side=True) as wrapped:
                    shaken.append(bool(wrapped.recv(100)))
            except OSError:
                connection.close()

    thread = threading.Thread(target=serve)
    thread.start()
    yield listener.getsockname()[1], certificate, shaken
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join()


def test_a_certificate_that_is_not_trusted_is_refused_and_one_that_is_named_is_taken(certified):
    port, certificate, shaken = certified
    broker = Broker(servers=(f"localhost:{port}",), protocol="SSL")
    with pytest.raises(StreamError, match="its certificate is not trusted"):
        KafkaSource(KafkaAddress("tls", broker, ("t",), "g"), patience=5.0)
    assert not shaken
    trusting = Broker(servers=(f"localhost:{port}",), protocol="SSL", ca=certificate)
    with pytest.raises(StreamError, match="cannot be reached"):  # it is no broker after all
        KafkaSource(KafkaAddress("tls", trusting, ("t",), "g"), patience=1.0)
    assert shaken


def test_a_file_that_holds_no_certificates_is_said(tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    broker = Broker(servers=("127.0.0.1:1",), protocol="SSL", ca=tmp_path / "ca.pem")
    with pytest.raises(UsageError, match="settings of broker tls cannot be used"):
        KafkaSource(KafkaAddress("tls", broker, ("t",), "g"))
