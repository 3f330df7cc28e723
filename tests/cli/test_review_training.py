"""Learning from answers from the command line: what it says, and that it refuses in one sentence."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.store import open_store
from astrid.store.trainings import TrainingRecord

FIGURE = {
    "name": "AUCPR", "before": 0.9, "after": 0.95, "gain": 0.05, "low": 0.02, "high": 0.08,
    "before_low": 0.88, "before_high": 0.92, "after_low": 0.94, "after_high": 0.96,
}  # fmt: skip


def astrid(*arguments: object):
    result = CliRunner().invoke(app, ["review", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def folder(tmp_path):
    with open_store(tmp_path / "store"):
        return tmp_path / "store"


def test_without_enough_new_answers_nothing_is_trained(folder):
    result = json.loads(astrid("retrain", "--min-new", 10, "--store", folder, "--json").stdout)
    assert result["training"] is None
    assert result["reason"] == "0 items were answered since the last training and 10 are awaited"
    assert "nothing trained" in astrid("retrain", "--min-new", 10, "--store", folder).stdout


def test_without_any_answers_it_says_what_is_needed(folder):
    result = CliRunner().invoke(app, ["review", "retrain", "--store", str(folder)])
    assert result.exit_code == 1
    assert "10 of each label are needed; answer more, or give an older data set with --base" in result.stderr
    (one,) = json.loads(astrid("history", "--store", folder, "--json").stdout)["trainings"]
    assert one["verdict"] == "failed"


def test_the_history_has_every_training_and_the_outlook(folder):
    assert "nothing was trained yet" in astrid("history", "--store", folder).stdout
    with open_store(folder) as store:
        store.trainings.add(
            TrainingRecord(
                0, "braai", 1_795_000_000.0, "ana", "braai.review1", "h1", "braai.sim1", "h0", 120, 80,
                "kept", "no gain can be told", {"compared": [FIGURE]},
            )
        )  # fmt: skip
    shown = astrid("history", "--store", folder).stdout
    assert "2026-11-18 11:06   braai.review1       120       80   kept" in shown
    assert "no gain can be told" in shown
    found = json.loads(astrid("history", "--store", folder, "--json").stdout)
    assert found["trainings"][0]["figures"]["compared"] == [FIGURE]
    assert found["outlook"]["n_trainings"] == 1


def test_there_is_no_step_back_from_what_no_retraining_made(folder):
    result = CliRunner().invoke(app, ["review", "rollback", "--store", str(folder)])
    assert result.exit_code == 2
    assert "braai.sim1 is live for braai, which no retraining of" in result.stderr


def test_a_store_or_base_that_is_not_there_is_refused(tmp_path, folder):
    result = CliRunner().invoke(app, ["review", "history", "--store", str(tmp_path / "none")])
    assert result.exit_code == 1
    assert "there is no store of alerts" in result.stderr
    result = CliRunner().invoke(app, ["review", "retrain", "--base", str(tmp_path), "--store", str(folder)])
    assert "is no data set" in result.stderr
