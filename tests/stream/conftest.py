"""A broker in this process: librdkafka's own mock cluster, on a port of this machine."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """``HOST:PORT`` of a broker that makes each topic, with four partitions, when it is first written to."""
    kafka = pytest.importorskip("confluent_kafka")
    # the cluster lives as long as the client that made it
    owner = kafka.Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": "1", "log_level": 0})
    (broker,) = owner.list_topics(timeout=5).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del owner
