"""Claims of `learn.tracking`: records for people and machines, and every tracker with the same figures."""

from __future__ import annotations

import json
import logging
import sqlite3
import warnings

import numpy as np
import pytest
from matplotlib.image import imread

from astrid.errors import TrainingError
from astrid.learn.tracking import (
    draw_curves,
    quiet,
    read_metrics,
    read_record,
    tracked,
    versions,
    write_metrics,
    write_record,
)

HISTORY = [
    {
        "epoch": k, "seconds": 1.5 * k, "training/loss": 1 / (k + 1), "validation/loss": 1.1 / (k + 1),
        "validation/real/aucpr": 1 - 0.5 ** (k + 1), "lr": 1e-3,
    }
    for k in range(8)
]  # fmt: skip


def test_records_are_read_as_they_were_written(tmp_path):
    record = {"task": {"name": "toy"}, "state": "done", "best": np.float32(0.5), "epochs": np.int64(3)}
    write_record(tmp_path / "run.json", record)
    assert read_record(tmp_path / "run.json") == {**record, "best": 0.5, "epochs": 3}
    write_metrics(tmp_path / "metrics.jsonl", HISTORY)
    assert read_metrics(tmp_path / "metrics.jsonl") == HISTORY
    assert len((tmp_path / "metrics.jsonl").read_text("utf-8").splitlines()) == 8


@pytest.mark.parametrize(("text", "message"), [("{", "cannot be read"), ("[]", "is not the record of a")])
def test_damaged_record_is_refused(tmp_path, text, message):
    with pytest.raises(TrainingError, match="is no training"):
        read_record(tmp_path / "run.json")
    (tmp_path / "run.json").write_text(text, "utf-8")
    with pytest.raises(TrainingError, match=message):
        read_record(tmp_path / "run.json")


def test_versions_name_what_figures_depend_on():
    assert {"astrid", "python", "numpy", "torch", "lightning"} <= set(versions())


def test_curves_have_a_panel_for_each_figure(tmp_path):
    draw_curves(tmp_path / "one.png", HISTORY[:1], "validation/loss", 0)
    draw_curves(tmp_path / "all.png", HISTORY, "validation/real/aucpr", 7)
    one, image = imread(tmp_path / "one.png"), imread(tmp_path / "all.png")
    assert image.shape == one.shape  # three panels in a row: loss, aucpr, learning rate
    ink = (image[..., :3].min(axis=2) < 0.5).mean(axis=0)
    assert all(part.max() > 0.05 for part in np.array_split(ink, 3))


def test_figure_that_some_epochs_lack_is_drawn_all_the_same(tmp_path):
    history = [dict(HISTORY[0]), {name: v for name, v in HISTORY[1].items() if "aucpr" not in name}]
    draw_curves(tmp_path / "curves.png", history, "validation/loss", 1)
    assert (tmp_path / "curves.png").stat().st_size > 1000


def test_tensorboard_keeps_the_figures_by_epoch(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with quiet(), tracked(("tensorboard",), tmp_path / "log", "toy", {"epochs": 2}) as (logger,):
        for epoch in range(3):
            logger.log_metrics({"validation/loss": 0.5**epoch}, step=epoch)
    events = EventAccumulator(str(tmp_path / "log" / "tensorboard")).Reload().Scalars("validation/loss")
    assert [(one.step, one.value) for one in events] == [(0, 1.0), (1, 0.5), (2, 0.25)]


@pytest.mark.slow
def test_mlflow_keeps_figures_settings_and_end_in_one_sqlite_file(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    facts = {"optimizer": {"lr": 0.1}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what MLflow says about its own dependencies at import
        with quiet(), tracked(("mlflow",), tmp_path / "run" / "log", "toy", facts) as (logger,):
            logger.log_metrics({"validation/loss": 0.25}, step=3)
    connection = sqlite3.connect(tmp_path / "run" / "log" / "mlflow.db")
    assert connection.execute("select key, value, step from metrics").fetchall() == [
        ("validation/loss", 0.25, 3)
    ]
    assert ("optimizer/lr", "0.1") in connection.execute("select key, value from params").fetchall()
    assert connection.execute("select name, status from runs").fetchall() == [("run", "FINISHED")]
    connection.close()


@pytest.mark.slow
def test_wandb_works_without_account_and_network_and_each_training_is_a_run(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what W&B says about its own dependencies at import
        for run in ("one", "two"):
            with quiet(), tracked(("wandb",), tmp_path / run / "log", "toy", {"epochs": 2}) as (logger,):
                logger.log_metrics({"validation/loss": 0.25}, step=0)
    for run in ("one", "two"):
        assert len(list((tmp_path / run / "log" / "wandb").glob("offline-run-*/run-*.wandb"))) == 1


def test_lightnings_remarks_are_silenced_and_real_warnings_are_not():
    lightning = logging.getLogger("lightning.pytorch")
    before = lightning.level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with quiet():
            assert not lightning.isEnabledFor(logging.INFO)
            warnings.warn("The 'train_dataloader' does not have many workers which may be", stacklevel=1)
            warnings.warn("this matters", stacklevel=1)
    assert [str(one.message) for one in caught] == ["this matters"]
    assert lightning.level == before


def test_records_are_json_without_nan(tmp_path):
    write_metrics(tmp_path / "metrics.jsonl", [{"epoch": 0, "validation/loss": float("nan")}])
    assert json.loads((tmp_path / "metrics.jsonl").read_text("utf-8"))["validation/loss"] is None
