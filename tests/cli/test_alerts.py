"""``astrid alerts`` from end to end, on real packets."""

from __future__ import annotations

import json
import tarfile

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from astrid.alerts import centred_triplet, read_alerts
from astrid.cli.main import app
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle


def astrid(*arguments: object):
    result = CliRunner().invoke(app, ["alerts", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.real_data
def test_inspect_counts_good_and_bad(real_data):
    folder = real_data / "alerts"
    files = [folder / "ztf_alerts_dev.tar.gz", folder / "edge_cases.tar.gz"]
    counts = json.loads(astrid("inspect", *files, "--json").stdout)
    assert (counts["n_packets"], counts["n_good"]) == (58, 56)
    assert (counts["n_quarantined"], counts["n_without_images"]) == (2, 3)
    assert {"survey": "ztf", "schema": "4.01", "n": 12} in counts["surveys"]
    text = astrid("inspect", *files).stdout
    assert "quarantined: edge/516434762915010006.avro" in text
    assert "no FITS image" in text


@pytest.mark.real_data
def test_export_writes_a_row_for_each_alert(real_data, tmp_path):
    out = tmp_path / "night.parquet"
    done = astrid("export", real_data / "alerts" / "other_surveys_dev.tar.gz", "--out", out, "--json")
    assert json.loads(done.stdout)["n_good"] == 22
    assert set(pq.read_table(out)["survey"].to_pylist()) == {"pgir", "winter", "turbo", "decam"}


@pytest.mark.real_data
def test_packets_leave_quarantine_when_their_schema_is_known(real_data, tmp_path):
    folder, place = real_data / "alerts", tmp_path / "q"
    first = json.loads(
        astrid("inspect", folder / "lsst_packets.tar.gz", "--quarantine", place, "--json").stdout
    )
    assert first["n_quarantined"] == 2
    out = tmp_path / "late.parquet"
    with tarfile.open(folder / "schemas.tar.gz") as archive:
        archive.extractall(tmp_path / "s", filter="data")
    done = astrid("retry", place, "--schemas", tmp_path / "s", "--out", out, "--json")
    assert json.loads(done.stdout)["n_released"] == 2
    assert list(place.iterdir()) == []
    assert pq.read_table(out)["version"].to_pylist().count("9.0") == 1


@pytest.mark.real_data
def test_scores_of_several_models_stand_side_by_side_and_the_others_say_why(real_data, tmp_path):
    files = [real_data / "alerts" / name for name in ("ztf_alerts_dev.tar.gz", "edge_cases.tar.gz")]
    out = tmp_path / "scores.parquet"
    asked = ("--model", "braai.sim1", "--model", "braai.real1")
    summary = json.loads(astrid("score", *files, *asked, "--out", out, "--json").stdout)
    assert summary["n_alerts"] == 56
    assert [(one["bundle"], one["n_scored"]) for one in summary["bundles"]] == [
        ("braai.sim1", 53),
        ("braai.real1", 53),
    ]
    assert sum(summary["unscored"].values()) == 3
    rows = pq.read_table(out).to_pylist()
    alerts = [one for one in read_alerts(files) if not one.image_problem]
    stack = np.stack([centred_triplet(one) for one in alerts])
    for name in ("braai.sim1", "braai.real1"):
        bundle, column = find_bundle(name), name.replace(".", "_")
        assert {row[f"{column}_hash"] for row in rows} == {bundle.hash, None}
        assert all((row[column] is None) == bool(row["unscored"]) for row in rows)
        scores = {row["alert_id"]: row[column] for row in rows}
        expected = Predictor(bundle).probabilities({"triplet": stack})["real"][:, 0]
        np.testing.assert_allclose([scores[one.alert_id] for one in alerts], expected, atol=1e-6)


def test_problems_are_one_line_and_an_exit_code(tmp_path):
    absent = astrid("inspect", tmp_path / "none.avro")
    assert (absent.exit_code, absent.stderr.count("\n")) == (1, 1)
    schemas = astrid("inspect", tmp_path, "--schemas", tmp_path / "none")
    assert schemas.exit_code == 2
    assert "no such folder of schemas" in schemas.stderr
