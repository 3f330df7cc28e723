"""Metrics, as Prometheus itself would read them."""

from __future__ import annotations

import socket
import urllib.request
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from astrid.errors import StreamError
from astrid.stream.metrics import Metrics, reason_class


def scraped(port: int) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    return found[name, frozenset({"worker": "w1", **labels}.items())]


def test_what_was_observed_is_what_is_scraped():
    with Metrics("w1") as metrics:
        for _ in range(2):
            metrics.observe_batch(
                packets={"ztf": 9, "": 1},
                stored={"ztf": 8},
                quarantined={("", "the header is broken"): 1},
                scored={"braai.sim1": 7},
                passes={"bright": 2},
                latencies=[0.03, 0.3],
                stages={"decode": 0.004},
                behind=120,
                store_bytes=4096,
                committed=1.7e9,
            )
        metrics.observe_published("files", "delivered", 3)
        found = scraped(metrics.serve(0))
    assert value(found, "astrid_packets_total", survey="ztf") == 18
    assert value(found, "astrid_packets_total", survey="unknown") == 2
    assert value(found, "astrid_stored_total", survey="ztf") == 16
    assert value(found, "astrid_quarantined_total", survey="unknown", reason="damaged packet") == 2
    assert value(found, "astrid_scored_total", bundle="braai.sim1") == 14
    assert value(found, "astrid_passes_total", filter="bright") == 4
    assert value(found, "astrid_published_total", sink="files", outcome="delivered") == 3
    assert value(found, "astrid_latency_seconds_count") == 4
    assert value(found, "astrid_latency_seconds_sum") == pytest.approx(0.66)
    assert value(found, "astrid_latency_seconds_bucket", le="0.05") == 2
    assert value(found, "astrid_stage_seconds_count", stage="decode") == 2
    assert value(found, "astrid_behind") == 120
    assert value(found, "astrid_batch_size") == 10
    assert value(found, "astrid_store_bytes") == 4096
    assert value(found, "astrid_last_commit_timestamp_seconds") == 1.7e9


def test_two_workers_of_one_process_do_not_share_their_counters():
    first, second = Metrics("w1"), Metrics("w1")
    first.observe_batch(packets={"ztf": 5})
    sample = {"worker": "w1", "survey": "ztf"}
    assert first.registry.get_sample_value("astrid_packets_total", sample) == 5
    assert second.registry.get_sample_value("astrid_packets_total", sample) is None


def test_a_lag_that_the_source_cannot_tell_stays_what_it_was():
    metrics = Metrics("w1")
    metrics.observe_batch(packets={}, behind=7)
    metrics.observe_batch(packets={}, behind=None)
    assert metrics.registry.get_sample_value("astrid_behind", {"worker": "w1"}) == 7


def test_a_taken_port_is_said_in_a_sentence_and_a_closed_one_is_free_again():
    with Metrics() as metrics, socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StreamError, match=f"127.0.0.1:{port}.*another port"):
            metrics.serve(port)
    with Metrics("w1") as metrics:
        port = metrics.serve(0)
    with Metrics("w1") as again:
        assert again.serve(port) == port


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("a block does not end with the marker of the file", "damaged packet"),
        ("the record is broken at byte 17", "damaged packet"),
        ("the schema of number 1234 is not known; give a folder with it (--schemas)", "unknown schema"),
        ("the schema is not JSON (Expecting value)", "bad schema"),
        ("difference: a stamp's compression is broken (Error -3)", "damaged cutout"),
        ("packets of foo are of no survey that is known (ztf, lsst); describe them", "unknown survey"),
        ("the position is 400, 3, which is not on the sky; check it", "bad position or time"),
        ("'x' stands where a number was expected", "bad field"),
        ("something nobody thought of", "other"),
    ],
)
def test_reasons_fall_into_few_classes(reason, kind):
    assert reason_class(reason) == kind


def test_a_stream_counts_what_it_announces_and_looks_at_its_size(tmp_path):
    from astrid.store import open_store
    from astrid.stream.settings import StreamSettings
    from astrid.stream.turns import Summary, Turn
    from astrid.stream.workers import _Beside

    settings = StreamSettings(store=tmp_path / "store", metrics_port=0)
    (tmp_path / "other").write_bytes(bytes(1000))
    with open_store(tmp_path / "store") as store, _Beside(settings, store, Summary()) as beside:
        (tmp_path / "store" / "more").write_bytes(bytes(5_000_000))
        beside.observe(Turn(packets=Counter(ztf=3)))
        beside._published(Counter(delivered=2, put_off=4))
        found = {
            sample.name: sample.value
            for family in beside._metrics.registry.collect()
            for sample in family.samples
            if sample.name in ("astrid_published_total", "astrid_store_bytes")
        }
    assert found["astrid_published_total"] == 2
    assert 5_000_000 < found["astrid_store_bytes"] < 6_000_000
