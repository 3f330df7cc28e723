"""Candidate rows: what was known when an alert arrived, and nothing of what came later."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.coordinates import EarthLocation
from astropy.time import Time
from astropy_healpix import HEALPix
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.alerts import Alert, Measurement, SchemaBook, layouts, read_alerts, read_layouts
from astrid.errors import StreamError
from astrid.stream.columns import Column, Columns, night_of

ARRIVED = 1_789_000_000.25


def alert(detection: Measurement, history=(), **facts) -> Alert:
    known = {
        "survey": "ztf", "alert_id": "1", "ra": 10.0, "dec": -5.0, "object_id": None, "version": "",
        "time_scale": "utc", "cutouts": {}, "x": None, "y": None, "flipped": False, "extras": {},
    } | facts  # fmt: skip
    return Alert(detection=detection, history=None if history is None else tuple(history), **known)


@pytest.fixture(scope="module")
def real_alerts(real_data):
    folder = real_data / "alerts"
    names = (
        "ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "edge_cases.tar.gz", "lsst_packets.tar.gz",
        "fink_ztf_alerts_51.parquet",
    )  # fmt: skip
    return list(read_alerts([folder / one for one in names], book=SchemaBook(folder / "schemas.tar.gz")))


def plainly(one: Alert) -> dict[str, float | None]:
    """The summaries again, from their meaning, in plain Python."""
    names = (
        "n_detections", "n_negative", "n_bands", "first_mjd", "age", "gap", "mjd_before", "magpsf_before",
        "mag_rate", "peak_magpsf", "g_r", "last_limit", "last_limit_age", "peak_forced_snr",
    )  # fmt: skip
    now = one.detection
    if one.history is None or now.mjd is None:
        return dict.fromkeys(names)
    earlier = sorted((p for p in one.history if p.mjd is not None and p.mjd < now.mjd), key=lambda p: p.mjd)
    seen = [p for p in earlier if not p.forced and (p.id is not None or p.mag is not None)]
    unseen = [p for p in earlier if not p.forced and p not in seen]
    alike = [p for p in seen if p.band is not None and p.band == now.band]
    before = alike[-1] if alike else None
    rate = None
    if before and None not in (before.mag, now.mag) and before.positive == now.positive:
        rate = (now.mag - before.mag) / (now.mjd - before.mjd)
    last = {}
    for p in (*seen, now):
        if p.positive and p.mag is not None and now.mjd - p.mjd <= 1:
            last[p.band] = p.mag
    forced = [p.flux / p.flux_err for p in earlier if p.forced and p.flux is not None and p.flux_err]
    peers = [p.mag for p in alike if p.mag is not None and p.positive == now.positive]
    first = seen[0].mjd if seen else now.mjd
    return {
        "n_detections": len(seen),
        "n_negative": sum(p.positive is False for p in seen),
        "n_bands": len({p.band for p in seen} - {None}),
        "first_mjd": first,
        "age": now.mjd - first,
        "gap": now.mjd - seen[-1].mjd if seen else None,
        "mjd_before": before and before.mjd,
        "magpsf_before": before and before.mag,
        "mag_rate": rate,
        "peak_magpsf": min(peers, default=None),
        "g_r": last["g"] - last["r"] if {"g", "r"} <= last.keys() else None,
        "last_limit": unseen[-1].limiting_mag if unseen else None,
        "last_limit_age": now.mjd - unseen[-1].mjd if unseen else None,
        "peak_forced_snr": max(forced, default=None),
    }


def same(row: dict, expected: dict) -> None:
    for name, value in expected.items():
        if value is None:
            assert row[name] is None, name
        else:
            assert row[name] == pytest.approx(value, rel=1e-12, abs=1e-9), name


@pytest.mark.real_data
def test_summaries_of_real_histories_are_what_their_meaning_says(real_alerts):
    rows = Columns().to_table(real_alerts, arrived=ARRIVED).to_pylist()
    assert len(rows) == len(real_alerts) == 131
    for one, row in zip(real_alerts, rows, strict=True):
        same(row, plainly(one))
    assert sum(row["mag_rate"] is not None for row in rows) > 30
    assert sum(row["g_r"] is not None for row in rows) > 5
    assert sum(row["peak_forced_snr"] is not None for row in rows) > 15


days = st.one_of(st.none(), st.sampled_from([60000.0, 60000.5, 60001.0, 60002.25, 60003.0]))
mags = st.one_of(st.none(), st.floats(14, 21).map(lambda x: round(x, 3)))
points = st.builds(
    Measurement, mjd=days, band=st.sampled_from([None, "g", "r", "i"]), mag=mags,
    flux=st.one_of(st.none(), st.floats(-1e4, 1e4)), flux_err=st.one_of(st.none(), st.floats(1, 100)),
    limiting_mag=mags, positive=st.sampled_from([None, True, False]), forced=st.booleans(),
    id=st.sampled_from([None, "7"]),
)  # fmt: skip


def distinct(history):
    """Of two points at one time neither is the last; the packets of surveys have none such."""
    return list({one.mjd: one for one in history}.values())


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(points, st.one_of(st.none(), st.lists(points, max_size=6).map(distinct))),
        min_size=1,
        max_size=5,
    )
)
def test_summaries_are_what_their_meaning_says(cases):
    alerts = [
        alert(now._replace(forced=False), history, alert_id=str(k)) for k, (now, history) in enumerate(cases)
    ]
    rows = Columns().to_table(alerts, arrived=ARRIVED).to_pylist()
    for one, row in zip(alerts, rows, strict=True):
        same(row, plainly(one))


@pytest.mark.real_data
def test_what_comes_later_changes_no_summary(real_alerts):
    columns = Columns()
    before = columns.to_table(real_alerts, arrived=ARRIVED).drop_columns("history")
    later = []
    for one in real_alerts:
        mjd = one.mjd or 60000.0
        extra = [
            Measurement(mjd + dt, band, 1e6, 1.0, 10.0, 0.01, 12.0, positive, forced, name)
            for dt in (0.0, 1e-6, 0.3, 400.0)
            for band in ("g", "r")
            for positive in (True, False)
            for forced, name in ((True, None), (False, "x"), (False, None))
        ]
        later.append(dataclasses.replace(one, history=(*extra, *one.history, *extra)))
    after = columns.to_table(later, arrived=ARRIVED).drop_columns("history")
    visits = [k for k, one in enumerate(real_alerts) if one.mjd is not None]
    assert after.take(visits).equals(before.take(visits))


@pytest.mark.real_data
def test_the_fields_of_surveys_become_columns_and_missing_ones_are_null(real_alerts):
    rows = Columns().to_table(real_alerts, arrived=ARRIVED).to_pylist()
    filled = set()
    for one, row in zip(real_alerts, rows, strict=True):
        for layout in layouts():
            for name, field in layout.fields.items():
                value = row[f"{layout.name}_{name}".lower()]
                if layout.name != one.survey:
                    assert value is None
                    continue
                record = one.extras
                for part in (field.path or f"{layout.detection}.{name}").split("."):
                    record = (record or {}).get(part)
                if value is None:
                    assert record is None or record in layout.missing or record != record
                else:
                    filled.add((layout.name, name))
                    assert value == record
    assert len(filled) > 80
    assert {survey for survey, _ in filled} == {"ztf", "lsst", "decam", "pgir", "winter", "turbo"}


@pytest.mark.real_data
def test_no_number_of_a_row_is_nan_and_numbers_have_two_types(real_alerts):
    table = Columns().to_table(real_alerts, arrived=ARRIVED)
    for field in table.schema:
        if pa.types.is_floating(field.type):
            assert field.type == pa.float64()
            assert not np.isnan(table[field.name].drop_null().to_numpy()).any(), field.name
        elif pa.types.is_integer(field.type):
            assert field.type == pa.int64()
    low_high = [one for one in Columns() if one.low is not None or one.high is not None]
    for one in low_high:
        values = table[one.name].drop_null().to_numpy()
        assert (values >= (-math.inf if one.low is None else one.low)).all(), one.name
        assert (values <= (math.inf if one.high is None else one.high)).all(), one.name


def test_the_cell_is_that_of_astropy_healpix():
    ra, dec = [0.0, 10.68, 359.99, 120.0], [-90.0, 41.27, 12.5, 0.0]
    alerts = [alert(Measurement(60000.0), ra=a, dec=d) for a, d in zip(ra, dec, strict=True)]
    alerts.append(alert(Measurement(60000.0), ra=None, dec=None))
    cells = Columns().to_table(alerts, arrived=ARRIVED)["healpix"].to_pylist()
    grid = HEALPix(nside=2**29, order="nested")
    assert cells == [*grid.lonlat_to_healpix(ra * u.deg, dec * u.deg).tolist(), None]


@pytest.mark.parametrize("longitude", [-116.86, -70.75, 0.0, 149.07, 179.0])
def test_a_night_begins_in_the_evening_at_the_site(longitude):
    site = EarthLocation.from_geodetic(longitude, 0)
    for mjd in np.arange(60000.0, 60003.0, 0.0625) + 0.01:
        clock = Time(mjd, format="mjd", scale="utc").datetime64 + np.timedelta64(
            round(site.lon.deg / 15 * 3600 * 1e6), "us"
        )
        evening = (clock - np.timedelta64(12, "h")).astype("datetime64[D]")
        assert night_of(mjd, longitude) == str(evening)


def test_an_alert_without_a_time_belongs_to_the_night_in_which_it_came():
    table = Columns().to_table([alert(Measurement())], arrived=ARRIVED)
    mjd = Time(ARRIVED, format="unix").mjd
    assert table["night"].to_pylist() == [night_of(mjd, -116.86)]
    assert table["arrived"][0].as_py().timestamp() == ARRIVED


def test_scores_and_matches_are_columns_and_what_is_not_a_number_is_null():
    added = [Column("m_1", "float64", "", "probability", 0, 1), Column("gaia_distance", "float64", "arcsec")]
    columns = Columns(added)
    alerts = [alert(Measurement(60000.0), alert_id=str(k)) for k in range(3)]
    scores = {"m_1": pa.array([0.5, float("nan"), None])}
    table = columns.to_table(alerts, scores, {"gaia_distance": pa.array([1, math.inf, None])}, arrived=0.0)
    assert table["m_1"].to_pylist() == [0.5, None, None]
    assert table["gaia_distance"].to_pylist() == [1.0, math.inf, None]
    assert columns.to_table(alerts, arrived=0.0)["m_1"].null_count == 3
    with pytest.raises(StreamError, match="2 values of m_1 were given for 3 alerts"):
        columns.to_table(alerts, {"m_1": pa.array([1.0, 2.0])}, arrived=0.0)
    with pytest.raises(StreamError, match="are string, expected double"):
        columns.to_table(alerts, {"m_1": pa.array(["a", "b", "c"])}, arrived=0.0)
    with pytest.raises(StreamError, match="two columns are called ra"):
        Columns([Column("ra", "float64")])


def test_documentation_survives_in_the_schema():
    columns = Columns([Column("braai_1", "float64", "", "probability of real by braai.1", 0, 1)])
    back = Columns.of(columns.schema)
    assert [one for one in back if one.name == "braai_1"] == [columns["braai_1"]]
    assert set(back) == set(columns)


def test_every_column_is_documented():
    for one in Columns():
        assert one.meaning, one.name
        assert one.name == one.name.lower()


def test_a_survey_of_ones_own_has_columns_too(tmp_path):
    path = tmp_path / "my.toml"
    path.write_text(
        '[mine]\nalert_id = "id"\nlongitude = 149.0\nmissing = [-9]\n'
        '[mine.fields]\nscore = { low = 0, high = 1, meaning = "theirs" }\n'
        'deep = { path = "a.b", type = "int64", meaning = "nested" }\n'
    )
    (own,) = read_layouts(path)
    record = {"id": 5, "score": -9, "a": {"b": 3}}
    table = Columns(own=(own,)).to_table([own.alert(record)], arrived=0.0)
    assert table["mine_score"].to_pylist() == [None]
    assert table["mine_deep"].to_pylist() == [3]
    assert json.loads(table["extras"][0].as_py()) == record
