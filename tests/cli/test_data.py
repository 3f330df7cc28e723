"""``astrid data`` from end to end."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.learn.dataset import Dataset


def astrid(*arguments: object):
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_alerts_become_a_data_set_and_one_json_object(real_data, tmp_path):
    packets = real_data / "alerts" / "fink_ztf_alerts_51.parquet"
    result = astrid("alerts", packets, "--out", tmp_path / "alerts", "--json")
    assert result.exit_code == 0
    summary = json.loads(result.stdout)
    assert summary["n_rows"] == len(Dataset.open(tmp_path / "alerts")) == 51


def test_a_person_gets_a_table(real_data, tmp_path):
    packets = real_data / "alerts" / "fink_ztf_alerts_51.parquet"
    result = astrid("alerts", packets, "--out", tmp_path / "alerts")
    assert "label_sources: machine score" in result.stdout


def test_problems_are_one_line_and_an_exit_code(tmp_path):
    absent = astrid("alerts", tmp_path / "none.avro", "--out", tmp_path / "out")
    assert (absent.exit_code, absent.stderr.count("\n")) == (1, 1)
    unknown = astrid("realbogus", "--out", tmp_path / "out", "--pairs", 1, "--telescopes", "ztf-like,hubble")
    assert unknown.exit_code == 2
    assert "no telescope is called 'hubble'" in unknown.stderr
    folder = astrid("images", tmp_path, "--out", tmp_path / "out", "--json")
    assert folder.exit_code == 1
    assert json.loads(folder.stdout)["error"]["kind"] == "FrameError"
