"""Alerts as tables: nothing is lost on the way to a file and back."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from astrid.alerts import read_alerts
from astrid.alerts.tables import alert_schema, to_table, write_alerts

pytestmark = pytest.mark.real_data


@pytest.fixture(scope="module")
def alerts(real_data):
    names = ("ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "edge_cases.tar.gz")
    return list(read_alerts([real_data / "alerts" / name for name in names]))


def test_a_table_has_what_the_alerts_have(alerts, tmp_path):
    assert write_alerts(iter(alerts), tmp_path / "a.parquet", cutouts=True) == len(alerts) == 78
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.equals(alert_schema(cutouts=True))
    for alert, row in zip(alerts, table.to_pylist(), strict=True):
        assert (row["survey"], row["alert_id"], row["object_id"]) == (
            alert.survey, alert.alert_id, alert.object_id,
        )  # fmt: skip
        for name in ("mjd", "band", "flux", "flux_err", "limiting_mag", "positive"):
            assert row[name] == getattr(alert.detection, name)
        assert (row["magpsf"], row["sigmapsf"]) == (alert.detection.mag, alert.detection.mag_err)
        assert [tuple(one.values()) for one in row["history"]] == list(alert.history)
        assert json.loads(row["extras"]).keys() == alert.extras.keys()
        assert (row["image_problem"] or "") == alert.image_problem
        for name, cutout in alert.cutouts.items():
            if cutout.image is None:
                assert row[name] is None
            else:
                pixels = np.array(row[name]["pixels"], np.float32)
                shape = row[name]["height"], row[name]["width"]
                np.testing.assert_array_equal(pixels.reshape(shape), cutout.image)


def test_columns_say_their_units():
    schema = alert_schema()
    assert schema.field("flux").metadata == {b"unit": b"nJy"}
    assert schema.field("magpsf").metadata == {b"unit": b"mag(AB)"}


@pytest.mark.real_data
def test_a_history_that_was_not_read_is_null_and_an_empty_one_is_empty(real_data):
    files = [real_data / "alerts" / "other_surveys_dev.tar.gz"]
    unread = list(read_alerts(files, history=False))
    read = [one for one in read_alerts(files) if one.survey == "turbo"]
    assert to_table(unread)["history"].null_count == len(unread)
    assert to_table(read)["history"].to_pylist() == [[]] * len(read)
    assert to_table([unread[0], read[0]])["history"].to_pylist() == [None, []]


def test_no_alerts_are_an_empty_table(tmp_path):
    assert to_table([]).num_rows == 0
    assert write_alerts([], tmp_path / "none.parquet") == 0
    assert pq.read_table(tmp_path / "none.parquet").schema.equals(alert_schema())
