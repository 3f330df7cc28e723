"""Boosted trees through the engine: the same answers as XGBoost's own, in a bundle like any other."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import xgboost

from astrid.errors import UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.export import export_run
from astrid.learn.prediction import Predictor
from astrid.learn.settings import Optimizer, Training
from astrid.learn.task import Binary, Input, Multiclass, Regression, Task
from astrid.learn.training import train

RECIPE = Training(
    epochs=40, patience=10, optimizer=Optimizer(lr=0.3), network_options={"depth": 4}, threads=1, trackers=()
)


@pytest.fixture(scope="module")
def flowers(tmp_path_factory) -> tuple[Task, Dataset]:
    """Three overlapping classes in eight numbers, a yes or no, and a number to be found."""
    rng = np.random.default_rng(3)
    n = 900
    x = rng.normal(size=(n, 8)).astype(np.float32)
    kind = np.array(["a", "b", "c"])[np.clip(np.round(x[:, 0] + x[:, 1] * x[:, 2] + 1), 0, 2).astype(int)]
    large = np.where(x[:, 3] + 0.3 * rng.normal(size=n) > 0.4, "yes", "no")
    task = Task(
        name="flowers",
        inputs={"numbers": Input(shape=(8,))},
        heads={
            "kind": Multiclass(labels=("a", "b", "c")),
            "large": Binary(labels=("no", "yes")),
            "size": Regression(names=("size",)),
        },
        network="astrid.networks.trees:Trees",
        training=RECIPE,
    )
    path = tmp_path_factory.mktemp("flowers") / "data"
    with DatasetWriter(path, name="flowers", inputs=task.inputs, kind="simulated") as writer:
        writer.append(
            {"numbers": x},
            {"group": [f"g{i}" for i in range(n)], "kind": kind, "large": large, "size": 5 + 2.0 * x[:, 4]},
        )
    return task, Dataset.open(path)


def test_the_trees_say_what_xgboost_says(flowers, tmp_path):
    task, data = flowers
    run = train(task, data, tmp_path / "run")
    assert run.done
    rows = run.parts.train, run.parts.validation
    x = [data.take("numbers", one) for one in rows]
    y = [data.labels("kind", task.heads["kind"])[one] for one in rows]
    matrices = [xgboost.DMatrix(a, b) for a, b in zip(x, y, strict=True)]
    options = {"objective": "multi:softprob", "num_class": 3, "max_depth": 4, "eta": 0.3, "seed": 0}
    options |= {"base_score": 0.5, "eval_metric": "mlogloss", "nthread": 1}
    own = xgboost.train(
        options, matrices[0], 40, evals=[(matrices[1], "v")], early_stopping_rounds=10, verbose_eval=False
    )
    wanted = own.predict(matrices[1], iteration_range=(0, own.best_iteration + 1))
    bundle = export_run([run], data, tmp_path / "flowers.one", "flowers.one", calibration="none")
    found = Predictor(bundle)({"numbers": x[1]})
    np.testing.assert_allclose(found.heads["kind"].values, wanted, atol=2e-6)
    assert (wanted.argmax(axis=1) == y[1]).mean() > 0.8  # else any trees would agree
    error = (
        found.heads["size"].values[:, 0] - data.labels("size", task.heads["size"])[run.parts.validation, 0]
    )
    assert np.sqrt(np.mean(error**2)) < 0.6  # of a spread of 2
    assert bundle.card.parity < 1e-5
    arrays = [
        (tuple(one.dims), onnx.numpy_helper.to_array(one).tobytes())
        for one in onnx.load(bundle.path / "model.onnx").graph.initializer
    ]
    assert len(set(arrays)) == len(arrays)  # the exporter writes trees once for each of their levels


def test_the_same_seed_grows_the_same_trees(flowers, tmp_path):
    task, data = flowers
    changed = RECIPE.model_copy(update={"network_options": {"depth": 3, "subsample": 0.5}, "epochs": 5})
    first, second = (train(task, data, tmp_path / name, changed).best_weights() for name in "ab")
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_a_head_stops_when_it_gains_no_more(flowers, tmp_path):
    task, data = flowers
    task = task.model_copy(update={"heads": {"large": task.heads["large"]}})
    settings = RECIPE.model_copy(update={"epochs": 400, "patience": 3})
    run = train(task, data, tmp_path / "run", settings)
    assert run.record["epochs"] < 400
    assert len(run.best_weights()["heads.large_out.leaf"]) == run.record["best_epoch"] + 1
    losses = [
        json.loads(line)["validation/loss"] for line in (run.path / "metrics.jsonl").read_text().splitlines()
    ]
    assert run.record["best"] == pytest.approx(min(losses)) == losses[run.record["best_epoch"]]


def test_what_trees_cannot_follow_is_refused(flowers, tmp_path):
    task, data = flowers
    with pytest.raises(UsageError, match="augment is 'dihedral', which trees cannot follow"):
        train(task, data, tmp_path / "run", RECIPE.model_copy(update={"augment": "dihedral"}))
