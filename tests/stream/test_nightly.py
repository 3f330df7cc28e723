"""The page of a night, and its numbers, on real packets."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from astrid.alerts import Alert, Packet, Quarantine, decode, read_packets
from astrid.errors import OutputError, PacketError, StoreError
from astrid.store import Batch, Pass, open_store
from astrid.store.store import Store
from astrid.stream.columns import Columns
from astrid.stream.digest import BINS, digest_night
from astrid.stream.nightly import write_night
from astrid.stream.scores import Scorer
from astrid.stream.watching import Watch

NIGHT = "2026-11-20"
REASON = "a block does not end with the marker of the file"


@pytest.fixture(scope="module")
def taken(real_data: Path) -> tuple[list[Packet], list[Alert], pa.Table]:
    """Real packets, their alerts, and candidate rows scored by the bundle that comes with the package."""
    packets, alerts = [], []
    for name in ("ztf_alerts_dev.tar.gz", "edge_cases.tar.gz", "other_surveys_dev.tar.gz"):
        for packet in read_packets(real_data / "alerts" / name):
            try:
                alerts.append(decode(packet))
            except PacketError:
                continue
            packets.append(packet)
    scorer = Scorer(["braai.sim1"])
    arrived = time.mktime((2026, 11, 20, 22, 0, 0, 0, 0, 0))
    rows = Columns(scorer.columns).to_table(alerts, scorer(alerts).arrays, arrived=arrived)
    nights = pa.array([NIGHT] * len(alerts), pa.string())
    return packets, alerts, rows.set_column(rows.schema.get_field_index("night"), "night", nights)


@pytest.fixture(scope="module")
def store(taken, tmp_path_factory) -> Store:
    """All of them in two batches of one night, some of which passed filters; two packets in quarantine."""
    packets, alerts, rows = taken
    opened = open_store(tmp_path_factory.mktemp("store"))
    half = len(alerts) // 2
    for start, end in ((0, half), (half, len(alerts))):
        bright = [k for k in range(start, end) if (alerts[k].detection.mag or 99) < 15]
        opened.write(
            Batch(
                rows.slice(start, end - start),
                packets[start:end],
                passes=[Pass(k - start, "bright", "h1") for k in bright],
                filters={"bright": "h1", "nothing": "h2"},
                worker="w1",
                started=time.time(),
                n_quarantined=1,
                behind=12,
                arrived=time.time() - 0.5,
            )
        )
    for name in ("first.avro", "second.avro"):
        content = name.encode()
        Quarantine(opened.folder / "quarantine").add(
            Packet(name, "", None, REASON, lambda content=content: content), REASON
        )
    return opened


@pytest.mark.real_data
def test_numbers_are_those_that_are_counted_by_hand(store, taken):
    _, alerts, rows = taken
    found = digest_night(store, NIGHT, top=5)
    assert found.n == len(alerts) == 78
    assert found.surveys == Counter(alert.survey for alert in alerts)
    assert sum(found.bands.values()) == len(alerts)
    assert found.without_images.total() == sum(bool(alert.image_problem) for alert in alerts)
    scores = np.array([value for value in rows["braai_sim1"].to_pylist() if value is not None])
    one = found.scores["braai_sim1"]
    assert list(found.scores) == ["braai_sim1"]  # and not once more by its other name
    assert one.n == len(scores) == one.counts.sum()
    np.testing.assert_array_equal(one.counts, np.histogram(scores, BINS, (0, 1))[0])
    assert one.decisions == Counter(filter(None, rows["braai_sim1_decision"].to_pylist()))
    bright = sum((alert.detection.mag or 99) < 15 for alert in alerts)
    assert found.passes == {"bright": Counter(pending=bright)}
    assert found.filters == ("bright", "nothing")
    assert found.n_quarantined == 2
    ((refused),) = found.refused
    assert (refused.kind, refused.n) == (REASON, 2)
    assert {name for name, _ in refused.examples} == {"first.avro", "second.avro"}
    assert sum(sum(counts.values()) for counts in found.observed.values()) == len(alerts)
    assert found.peak_rate == pytest.approx(len(alerts) / 600)
    assert found.latency(50) == pytest.approx(500, rel=0.9)


@pytest.mark.real_data
def test_first_come_those_that_passed_and_of_each_object_the_best(store, taken):
    _, alerts, _ = taken
    found = digest_night(store, NIGHT, top=200).top
    objects = {(alert.survey, alert.object_id or alert.alert_id) for alert in alerts}
    assert len(found) == len(objects)
    n = sum(bool(one.filters) for one in found)
    assert 0 < n < len(found)
    assert all(one.filters == ("bright",) for one in found[:n])
    for part in (found[:n], found[n:]):
        scores = [-1 if one.facts["braai_sim1"] is None else one.facts["braai_sim1"] for one in part]
        assert scores == sorted(scores, reverse=True)
    assert [one.alert_id for one in digest_night(store, NIGHT, top=5).top] == [
        one.alert_id for one in found[:5]
    ]


@pytest.mark.real_data
def test_page_needs_nothing_else_and_says_what_the_numbers_say(store, tmp_path):
    page = write_night(store, NIGHT, tmp_path / "night", top=6, command="astrid alerts report")
    text = page.read_text("utf-8")
    numbers = json.loads((tmp_path / "night" / "night.json").read_text("utf-8"))
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert text.count('<li class="card">') == 6 == len(numbers["top"])
    assert text.count("data:image/png;base64,") == 6
    assert "<h1>20 November 2026</h1>" in text
    assert f"<strong>{numbers['n']}</strong> alerts" in text
    assert "first.avro" in text
    assert REASON in text
    assert numbers["drift"]["verdict"] == "ok"
    assert numbers["drift"]["reasons"][0].startswith("Nothing could be compared")
    assert numbers["filters"] == {
        "bright": {"pending": numbers["filters"]["bright"]["pending"]},
        "nothing": {},
    }
    again = write_night(store, NIGHT, tmp_path / "night", top=0)
    assert '<li class="card">' not in again.read_text("utf-8")


@pytest.mark.real_data
def test_packets_that_are_gone_leave_a_card_that_says_so(taken, tmp_path):
    packets, _, rows = taken
    with open_store(tmp_path / "store") as opened:
        opened.write(Batch(rows.slice(0, 3), packets[:3]))
        assert opened.retain(1, date(2027, 1, 1)).files == 1
        text = write_night(opened, NIGHT, tmp_path / "night").read_text("utf-8")
    assert text.count('<li class="card">') == 3
    assert "removed by the rule of retention" in text


@pytest.mark.real_data
def test_foreign_folders_and_other_nights_are_refused(store, tmp_path):
    with pytest.raises(StoreError, match="no alerts of the night '2000-01-01'"):
        write_night(store, "2000-01-01", tmp_path / "night")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError):
        write_night(store, NIGHT, tmp_path / "mine")
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


@pytest.mark.real_data
def test_a_look_tells_rate_and_lag_and_reads_the_rows_only_now_and_then(taken, tmp_path):
    packets, _, rows = taken
    now = time.time()
    with open_store(tmp_path) as opened:
        seen = Watch(opened, clock=lambda: now)
        empty = seen.look()
        assert (empty.night, empty.rate, empty.digest) == (None, 0.0, None)
        opened.write(Batch(rows.slice(0, 30), packets[:30], worker="a", started=now, behind=7))
        now = time.time() + 10
        view = seen.look()
        assert (view.night, view.behind, view.workers, view.digest.n) == (NIGHT, 7, 1, 30)
        assert view.rate == pytest.approx(3, rel=0.2)
        opened.write(Batch(rows.slice(30, 10), packets[30:40], worker="b", started=now, behind=0))
        now += 1  # too early to read rows again
        view = seen.look()
        assert (view.behind, view.workers, view.digest.n) == (0, 2, 30)
        now += 1000
        view = seen.look()
        assert (view.rate, view.workers, view.digest.n) == (0.0, 0, 40)
        assert view.idle == pytest.approx(1010, abs=10)
        assert view.drift is not None
        assert view.drift.verdict == "ok"
