from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import StoreError, UsageError
from astrid.store import Batch
from astrid.store.store import Store

Make = Callable[..., Batch]

HISTORY = pa.list_(
    pa.struct(
        {
            "mjd": pa.float64(), "band": pa.string(), "flux": pa.float64(), "flux_err": pa.float64(),
            "magpsf": pa.float64(), "sigmapsf": pa.float64(), "limiting_mag": pa.float64(),
            "positive": pa.bool_(), "forced": pa.bool_(), "id": pa.string(),
        }
    )
)  # fmt: skip


def ids(tables: Any) -> list[str]:
    return [name for table in tables for name in table["alert_id"].to_pylist()]


def test_history_comes_in_the_order_of_the_commits_whatever_the_nights(store: Store, make: Make):
    nights = ["2026-11-03", "2026-11-01", None]
    for k in range(4):
        numbers = range(10 * k + 9, 10 * k - 1, -1)
        store.write(make(numbers, night=[nights[number % 3] for number in numbers]))
    expected = [f"{number:06d}" for k in range(4) for number in range(10 * k + 9, 10 * k - 1, -1)]
    assert ids(store.history()) == expected
    store.close_night("2026-11-01")
    assert ids(store.history()) == expected
    store.close_night("unknown")
    assert ids(store.history()) == expected
    (table,) = store.history()
    assert table["batch"].to_pylist() == [1 + k // 10 for k in range(40)]


@pytest.mark.parametrize("closed", [False, True])
def test_history_is_limited_to_nights_surveys_and_columns(sqlite_store: Store, make: Make, closed: bool):
    store = sqlite_store
    for day in range(1, 6):
        store.write(make(range(10 * day, 10 * day + 5), night=f"2026-11-0{day}"))
        store.write(make(range(10 * day, 10 * day + 2), night=f"2026-11-0{day}", survey="lsst"))
    if closed:
        for day in (1, 2, 3):
            store.close_night(f"2026-11-0{day}")
    nights = {
        night
        for table in store.history(since="2026-11-02", until="2026-11-04", columns=["night"])
        for night in table["night"].to_pylist()
    }
    assert nights == {"2026-11-02", "2026-11-03", "2026-11-04"}
    (table,) = store.history(columns=["magpsf", "absent", "ra"], surveys=["lsst"], until="2026-11-01")
    assert table.column_names == ["magpsf", "ra", "batch"]
    assert table.num_rows == 2
    assert list(store.history(surveys=["winter"])) == []


def test_a_bundle_that_was_added_later_gives_later_tables_more_columns(store: Store, make: Make):
    store.write(make(range(3)))
    store.write(make(range(3, 6), more={"braai_new": [0.1, 0.2, 0.3]}))
    store.write(make(range(6, 9), more={"braai_new": [0.1, 0.2, 0.3]}))
    before = list(store.history())
    assert ["braai_new" in table.column_names for table in before] == [False, True]
    assert [table.num_rows for table in before] == [3, 6]
    store.close_night("2026-11-01")
    after = list(store.history())
    assert len(after) == len(before)
    assert all(one.equals(other, check_metadata=True) for one, other in zip(before, after, strict=True))
    found = store.candidates([("ztf", "000008"), ("ztf", "000001")], ["braai_new"])
    assert found["braai_new"].to_pylist() == [0.3, None]


def test_what_is_written_while_history_is_read_does_not_come(store: Store, make: Make):
    store.write(make(range(3)))
    tables = store.history()
    first = next(tables)
    store.write(make(range(3, 6)))
    assert first.num_rows == 3
    assert list(tables) == []


def test_a_night_that_is_closed_while_it_is_read_is_read_on(store: Store, make: Make):
    for k in range(3):
        # more rows than are given out at a time, so that reading stops between the batches
        store.write(make(range(5000 * k, 5000 * k + 4100), size=1, bundles=(), filters=()))
    tables = store.history(columns=["alert_id"])
    names = ids([next(tables)])
    store.close_night("2026-11-01")
    names += ids(tables)
    assert names == [f"{number:06d}" for k in range(3) for number in range(5000 * k, 5000 * k + 4100)]


def test_rows_of_alerts_come_in_the_order_that_is_asked_for(store: Store, make: Make):
    store.write(make(range(10), night="2026-11-01"))
    store.write(make(range(10, 20), night="2026-11-02"))
    store.close_night("2026-11-01")
    wanted = [("ztf", f"{number:06d}") for number in (13, 2, 19, 0, 2)]
    table = store.candidates(wanted)
    assert table["alert_id"].to_pylist() == [name for _, name in wanted]
    assert table["batch"].to_pylist() == [2, 1, 2, 1, 1]
    assert store.candidates(wanted, ["ra"]).column_names == ["ra"]
    with pytest.raises(StoreError, match="no alert 000099 of ztf"):
        store.candidates([("ztf", "000099")])
    assert store.candidates([]).num_rows == 0


def test_an_alert_that_is_not_there_is_none_and_its_packet_an_error(store: Store):
    assert store.alert("ztf", "1") is None
    with pytest.raises(StoreError, match="no alert 1 of ztf"):
        store.packet("ztf", "1")


POSITIONS = st.tuples(
    st.one_of(st.floats(0, 360), st.sampled_from([0.0, 359.9999, 45.0, 180.0])),
    st.one_of(st.floats(-90, 90), st.sampled_from([-90.0, 90.0, 0.0, 41.8103148957])),
)


@pytest.fixture
def sky(store: Store, make: Make) -> tuple[Store, SkyCoord]:
    """A store with alerts over the whole sky and close pairs among them, and their positions."""
    places = np.random.default_rng(5)
    ra = np.concatenate([places.uniform(0, 360, 300), [0.0, 359.9999, 0.0001, 10.0, 200.0, 45.0, 45.0001]])
    dec = np.concatenate([np.degrees(np.arcsin(places.uniform(-1, 1, 300))), [0, 0, 0, 90, -89.9999, 0, 0]])
    from astropy_healpix.healpy import ang2pix

    batch = make(range(len(ra)))
    rows = batch.rows.set_column(3, "ra", pa.array(ra)).set_column(4, "dec", pa.array(dec))
    rows = rows.set_column(5, "healpix", pa.array(ang2pix(2**29, ra, dec, nest=True, lonlat=True)))
    store.write(replace(batch, rows=rows))
    return store, SkyCoord(ra, dec, unit="deg")


@given(place=POSITIONS, radius=st.one_of(st.floats(0.01, 10), st.floats(10, 100_000)))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_cone_holds_what_astropy_finds_in_it(sky, place: tuple[float, float], radius: float):
    store, positions = sky
    distance = positions.separation(SkyCoord(*place, unit="deg")).to_value(u.arcsec)
    sure = {f"{row:06d}" for row in np.flatnonzero(distance < radius - 1e-6)}
    unsure = {f"{row:06d}" for row in np.flatnonzero(np.abs(distance - radius) <= 1e-6)}
    table = store.cone(*place, radius)
    found = table["alert_id"].to_pylist()
    assert sure <= set(found) <= sure | unsure
    near = table["distance"].to_numpy()
    assert (np.diff(near) >= 0).all()
    assert near == pytest.approx(distance[[int(name) for name in found]], abs=1e-6)


def test_cones_at_the_pole_and_at_the_turn_of_right_ascension(sky):
    store, _ = sky
    assert {"000303"} <= set(store.cone(271.0, 89.99999, 1.0)["alert_id"].to_pylist())
    assert set(store.cone(0.0, 0.0, 1.0)["alert_id"].to_pylist()) == {"000300", "000301", "000302"}
    with pytest.raises(UsageError, match="no circle"):
        store.cone(10.0, 91.0, 1.0)


def test_q3c_is_used_where_it_is(postgresql, tmp_path, make: Make):
    from astrid.store import open_store

    with open_store(tmp_path, postgresql.new_database()) as store:
        import psycopg

        with psycopg.connect(postgresql.url("postgres")) as connection:
            there = connection.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'q3c'").fetchone()
        assert store.has_q3c == (there is not None)
        store.write(make(range(5)))
        assert store.cone(10.0, 10.0, 3600.0).num_rows == 0


def test_a_light_curve_has_each_measurement_once(store: Store, make: Make):
    def told(number: int | None, mjd: float, **more: Any) -> dict[str, Any]:
        name = None if number is None else f"{number:06d}"
        return {"mjd": mjd, "band": "r", "flux": 1.0, "forced": False, "id": name, **more}

    mjd = [61345.0 + number / 1000 for number in (0, 7, 14)]
    histories = [
        None,  # not read
        # the first alert under its number, an earlier detection, an upper limit without a number
        [
            told(0, mjd[0], flux=9.0),
            told(500, mjd[0] - 3),
            told(None, mjd[0] - 2, limiting_mag=20.5, flux=None),
        ],
        [
            told(500, mjd[0] - 3, flux=5.0),
            told(None, mjd[0] - 2, limiting_mag=20.5, flux=None),
            told(0, mjd[0], forced=True, flux=2.0),  # a forced measurement is another one
        ],
    ]
    for number, history in zip((0, 7, 14), histories, strict=True):
        more = {"history": pa.array([history], HISTORY), "flux": [3.0], "sigmapsf": [0.1]}
        store.write(make([number], more=more))
    store.write(make([1]))  # another object
    table = store.light_curve("ztf", "object0")
    assert table.select(["mjd", "id", "flux", "forced", "alert_id"]).to_pylist() == [
        {"mjd": mjd[0] - 3, "id": "000500", "flux": 1.0, "forced": False, "alert_id": "000007"},
        {"mjd": mjd[0] - 2, "id": None, "flux": None, "forced": False, "alert_id": "000007"},
        {"mjd": mjd[0], "id": "000000", "flux": 3.0, "forced": False, "alert_id": "000000"},
        {"mjd": mjd[0], "id": "000000", "flux": 2.0, "forced": True, "alert_id": "000014"},
        {"mjd": mjd[1], "id": "000007", "flux": 3.0, "forced": False, "alert_id": "000007"},
        {"mjd": mjd[2], "id": "000014", "flux": 3.0, "forced": False, "alert_id": "000014"},
    ]
    assert store.light_curve("ztf", "none").num_rows == 0


def test_questions_about_few_alerts_do_not_go_through_all(sqlite_store: Store, make: Make):
    import sqlalchemy as sa

    sqlite_store.write(make(range(50)))
    engine = sqlite_store._database.engine
    asked: list[tuple[str, Any]] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *call: asked.append((call[2], call[3])))
    sqlite_store.alert("ztf", "000001")
    sqlite_store.packet("ztf", "000001")
    sqlite_store.light_curve("ztf", "object1")
    sqlite_store.cone(10.0, 10.0, 5.0)
    sqlite_store.scores("ztf", "000001")
    sqlite_store.candidates([("ztf", "000001")])
    sqlite_store.claim(3)
    questions = [one for one in asked if not one[0].startswith("BEGIN")]
    with engine.connect() as connection:
        for sql, values in questions:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)
            steps = [row[3] for row in plan]
            assert not [step for step in steps if "SCAN" in step and "passes_pending" not in step], (
                sql,
                steps,
            )
            assert not [step for step in steps if step.endswith("PRIMARY KEY (survey=?)")], (sql, steps)


def test_scores_are_chosen_by_alert_bundle_and_night(store: Store, make: Make):
    store.write(make(range(3), night="2026-11-01", bundles=("a", "b")))
    store.write(make(range(3, 6), night="2026-11-02", bundles=("a",)))
    assert store.scores().num_rows == 9
    assert store.scores("ztf", "000001").num_rows == 2
    some = store.scores(keys=[("ztf", "000001"), ("ztf", "000004"), ("lsst", "000002")])
    assert some["alert_id"].to_pylist() == ["000001", "000001", "000004"]
    assert store.scores(keys=[]).num_rows == 0
    assert store.scores(bundle="b", since="2026-11-02").num_rows == 0
    assert set(store.scores(until="2026-11-01")["night"].to_pylist()) == {"2026-11-01"}
    assert store.scores("ztf", "000004").to_pylist() == [
        {
            "survey": "ztf", "alert_id": "000004", "night": "2026-11-02", "bundle": "a", "hash": "hash of a",
            "label": "real", "value": 0.02, "spread": 0.01, "decision": "real", "set": "real",
            "applicable": "", "unscored": None,
        }
    ]  # fmt: skip


def test_objects_are_a_view_for_other_programs(store: Store, make: Make):
    import sqlalchemy as sa

    store.write(make(range(20)))
    rows = store._database.read(
        lambda connection: connection.execute(
            sa.text("SELECT object_id, n, first_mjd, last_mjd, brightest FROM objects ORDER BY object_id")
        ).all()
    )
    assert [tuple(row) for row in rows] == [
        (
            f"object{k}",
            len(range(k, 20, 7)),
            61345.0 + k / 1000,
            61345.0 + max(range(k, 20, 7)) / 1000,
            min(18 + number % 50 / 20 for number in range(k, 20, 7)),
        )
        for k in range(7)
    ]


def test_rows_come_the_newest_first_and_from_some_batches_only(store, make):
    for k in range(6):
        store.write(make([10 * k, 10 * k + 1], night=f"2026-11-{1 + k // 2:02d}"))
    store.close_night("2026-11-02")

    def seen(**asked):
        return [
            key
            for table in store.history(columns=["alert_id"], **asked)
            for key in zip(table["batch"].to_pylist(), table["alert_id"].to_pylist(), strict=True)
        ]

    forward = seen()
    by_batch = {batch: [key for key in forward if key[0] == batch] for batch in range(1, 7)}
    assert seen(newest_first=True) == [key for batch in range(6, 0, -1) for key in by_batch[batch]]
    assert seen(batches=(3, None)) == [key for key in forward if key[0] >= 3]
    assert seen(batches=(2, 4), newest_first=True) == [*by_batch[4], *by_batch[3], *by_batch[2]]
    assert seen(batches=(2, 4), until="2026-11-01") == by_batch[2]
    assert store.newest_batch() == 6
