"""Replay: the same code, the same rows, the same answer; and nothing of what came later."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from astrid.alerts import Measurement, read_alerts, read_packets
from astrid.errors import FilterError
from astrid.store import Batch, Pass, open_store
from astrid.stream.columns import Column, Columns
from astrid.stream.filters import Filter
from astrid.stream.live import StoredFilters
from astrid.stream.replay import Tally, compare, replay, saved_filter, stored_columns

ARRIVED = 1_789_000_000.0
ADDED = [Column("new_1", "float64", "", "a score that came later", 0, 1), Column("new_1_decision", "string")]
FILTERS = [
    Filter(name="bright", sql="magpsf < 18 and ztf_drb > 0.5"),
    Filter(name="rising", sql="mag_rate < 0 or (n_detections = 0 and magpsf < 19)"),
    Filter(name="past", sql="len([p for p in history if p.mjd < mjd and p.id is not null]) > 3"),
    Filter(name="north", region="0/0-3"),
    Filter(name="scored", sql="new_1 > 0.5 and new_1_decision = 'real'"),
    Filter(name="cast", sql="case when magpsf < 18 then object_id::int > 1 else true end"),
]


class Rows:
    """A history in memory."""

    def __init__(self, *tables: pa.Table) -> None:
        self.tables = tables

    def history(self, since=None, until=None, columns=None):
        for table in self.tables:
            night = table["night"].to_pylist()
            mask = [(since is None or one >= since) and (until is None or one <= until) for one in night]
            rows = table.filter(mask)
            yield rows if columns is None else rows.select([c for c in columns if c in rows.column_names])


@pytest.fixture(scope="module")
def alerts(real_data):
    return list(read_alerts([real_data / "alerts" / "ztf_alerts_dev.tar.gz"]))


def identifiers(tables) -> list[str]:
    return [one for table in tables for one in table["alert_id"].to_pylist()]


@pytest.mark.real_data
@pytest.mark.parametrize("one", FILTERS, ids=lambda one: one.name)
def test_batches_and_later_columns_change_nothing(alerts, one):
    table = Columns(ADDED).to_table(
        alerts,
        {
            "new_1": pa.array(np.linspace(0, 1, len(alerts))),
            "new_1_decision": pa.array(["real"] * len(alerts)),
        },
        arrived=ARRIVED,
    )
    whole = identifiers(replay(one, Rows(table)))
    pieces = [table.slice(k, 7) for k in range(0, len(table), 7)]
    assert identifiers(replay(one, Rows(*pieces))) == whole
    assert 0 < len(whole) < len(alerts)
    old = table.slice(0, 20).drop_columns(["new_1", "new_1_decision"])
    expected = [a for a in whole if one.name != "scored" or a in table["alert_id"].to_pylist()[20:]]
    assert identifiers(replay(one, Rows(old, table.slice(20)))) == expected


@pytest.mark.real_data
def test_a_replay_never_sees_what_came_later(alerts):
    """Rows are made again from packets to which the future was added: no filter says anything else."""
    later = []
    for one in alerts:
        extra = tuple(
            Measurement(one.mjd + dt, band, 1e6, 1.0, 10.0, 0.01, 21.0, True, forced, None if forced else "9")
            for dt in (0.0, 0.01, 1.0, 300.0)
            for band in ("g", "r")
            for forced in (True, False)
        )
        later.append(dataclasses.replace(one, history=(*one.history, *extra)))
    columns = Columns()
    now, then = (columns.to_table(those, arrived=ARRIVED) for those in (later, alerts))
    for one in FILTERS:
        assert identifiers(replay(one, Rows(now))) == identifiers(replay(one, Rows(then)))


@pytest.mark.real_data
def test_nights_counts_and_columns_are_those_asked_for(alerts):
    table = Columns().to_table(alerts, arrived=ARRIVED)
    tally, seen = Tally(), []
    found = list(
        replay(
            FILTERS[0], Rows(table), "2020-01-01", "2023-12-31", columns=["alert_id", "night"], tally=tally,
            on_progress=lambda done, total: seen.append(done),
        )
    )  # fmt: skip
    nights = table["night"].to_pylist()
    assert tally.n == sum("2020-01-01" <= one <= "2023-12-31" for one in nights) == seen[-1]
    assert tally.n_passed == sum(map(len, found)) > 0
    assert all(set(one.column_names) == {"alert_id", "night"} for one in found)
    with pytest.raises(FilterError, match="another query"):
        list(replay(Filter(name="a", sql="ra in (select 1)"), Rows(table)))


@pytest.fixture
def store(real_data, tmp_path):
    """Five batches; one filter is edited after the second, and another retired after the third."""
    alerts = list(read_alerts([real_data / "alerts" / "ztf_alerts_dev.tar.gz"]))
    packets = list(read_packets(real_data / "alerts" / "ztf_alerts_dev.tar.gz"))
    assert len(packets) == len(alerts)
    with open_store(tmp_path / "store") as opened:
        live = StoredFilters(opened)
        for one in FILTERS:
            opened.save_filter(one.name, one.hash, one.model_dump(mode="json"))
        for k in range(5):
            rows = slice(10 * k, 10 * k + 10)
            if k == 2:
                edited = Filter(name="bright", sql="magpsf < 19")
                opened.save_filter(edited.name, edited.hash, edited.model_dump(mode="json"))
            if k == 3:
                opened.retire_filter("rising")
            active = dict(live.reload())
            columns = Columns(ADDED if k > 2 else ())
            n = len(alerts[rows])
            scores = {"new_1": pa.array(np.linspace(0, 1, n)), "new_1_decision": pa.array(["real"] * n)}
            table = columns.to_table(alerts[rows], scores if k > 2 else None, arrived=ARRIVED)
            passes = live.passes(table)
            opened.write(Batch(table, packets[rows], passes=passes, filters=active, arrived=ARRIVED))
        yield opened


@pytest.mark.real_data
def test_replay_of_the_store_says_what_live_said(store):
    for close in (False, True):
        if close:
            for night in store.counts().nights:
                store.close_night(night)
        for one in FILTERS:
            found = compare(store, one.name)
            assert found.same, found
            assert found.n_live == found.n_replay
        assert compare(store, "bright").n_batches == 3  # of the edited version
        assert compare(store, "rising").n_batches == 3  # until it was retired
        assert compare(store, "scored").n_live > 0
        edited, _ = saved_filter(store, "bright")
        assert edited.sql == "magpsf < 19"
    with pytest.raises(FilterError, match="there is no filter 'none'"):
        compare(store, "none")


@pytest.mark.real_data
def test_a_difference_is_found(alerts, real_data, tmp_path):
    one = Filter(name="faint", sql="magpsf > 19")
    table = Columns().to_table(alerts, arrived=ARRIVED)
    faint = [row for row, mag in enumerate(table["magpsf"].to_pylist()) if mag > 19]
    bright = next(row for row in range(len(table)) if row not in faint)
    packets = list(read_packets(real_data / "alerts" / "ztf_alerts_dev.tar.gz"))
    with open_store(tmp_path / "store") as store:
        store.save_filter(one.name, one.hash, one.model_dump(mode="json"))
        wrong = [Pass(row, one.name, one.hash) for row in (*faint[1:], bright)]
        store.write(Batch(table, packets, passes=wrong, filters={one.name: one.hash}, arrived=ARRIVED))
        found = compare(store, "faint")
    name = table["alert_id"].to_pylist()
    assert not found.same
    assert found.only_live == [("ztf", name[bright])]
    assert found.only_replay == [("ztf", name[faint[0]])]


@pytest.mark.real_data
def test_columns_of_a_store_are_those_that_were_ever_there(store, tmp_path):
    columns = stored_columns(store, ["new_1", "new_2"])
    assert columns["new_1"] == ADDED[0]
    assert "new_2" not in columns
    assert "batch" not in columns
    assert "braai_real1" not in columns
    with open_store(tmp_path / "empty") as empty:
        offered = stored_columns(empty)
    assert "realbogus" in offered or len(offered) == len(Columns())
