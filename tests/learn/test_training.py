"""Claims of `learn.training`: it learns, it can be broken off anywhere, and it refuses in a sentence."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from astrid.errors import DependencyError, LeakError, OutputError, TrainingError, UsageError
from astrid.learn import training
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import aucpr
from astrid.learn.settings import Optimizer, Schedule, Split, Training
from astrid.learn.splits import Parts, make_parts
from astrid.learn.training import load_run, train

QUICK = Training(
    epochs=3, batch_size=64, optimizer=Optimizer(lr=0.01), trackers=(), accelerator="cpu", threads=1,
    split=Split(validation=0.2, test=0.2),
)  # fmt: skip

# every thing that is drawn, averaged or scheduled: order, augmentation, dropout, statistics, schedule
FULL = {
    "epochs": 4, "sampling": "balanced", "augment": "dihedral", "ema": 0.9, "gradient_clip": 1.0,
    "class_weights": True,
}  # fmt: skip


def quick(**changes) -> Training:
    return QUICK.model_copy(update=changes)


@pytest.fixture(scope="module")
def run(dense_task, toy_dataset, tmp_path_factory) -> training.Run:
    return train(dense_task, toy_dataset, tmp_path_factory.mktemp("run") / "run", quick(epochs=6))


def figures(path: Path) -> list[dict[str, float]]:
    lines = (path / "metrics.jsonl").read_text("utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]


def test_network_learns_what_it_is_taught_and_is_best_where_the_loss_was_least(run, toy_dataset):
    network = run.network()
    rows = run.parts.test
    with torch.no_grad():
        scores = network(image=torch.from_numpy(toy_dataset.take("image", rows)))["real"][:, 0].numpy()
    labels = toy_dataset.labels("real", run.task.heads["real"])[rows]
    assert aucpr(labels, scores) > 0.6 > 1.5 * labels.mean()
    losses = [one["validation/loss"] for one in figures(run.path)]
    assert run.record["best_epoch"] == int(np.argmin(losses))
    assert run.record["best"] == min(losses)
    assert losses[-1] < losses[0]


def test_run_directory_says_what_was_done(run, toy_dataset):
    assert {entry.name for entry in run.path.iterdir()} == {
        "run.json", "config.yaml", "split.json", "metrics.jsonl", "curves.png", "best.safetensors",
        "checkpoints",
    }  # fmt: skip
    record = json.loads((run.path / "run.json").read_text("utf-8"))
    assert record["state"] == "done"
    assert record["data"] == {"name": "toy", "hash": toy_dataset.info.hash, "n": 900}
    assert record["parts"] == run.parts.counts
    assert record["versions"]["torch"] == torch.__version__
    assert record["command"]
    assert yaml.safe_load((run.path / "config.yaml").read_text("utf-8"))["epochs"] == 6
    again = load_run(run.path)
    assert again.settings == quick(epochs=6)
    assert again.done
    assert again.task.inputs == run.task.inputs


def test_kept_weights_are_those_of_the_best_epoch_and_give_its_figure(run, toy_dataset):
    network = run.network()
    rows = run.parts.validation
    with torch.no_grad():
        logits = network(image=torch.from_numpy(toy_dataset.take("image", rows)))["real"][:, 0]
    labels = torch.from_numpy(toy_dataset.labels("real", run.task.heads["real"])[rows])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    assert float(loss) == pytest.approx(run.record["best"], rel=1e-5)


def test_same_seed_gives_the_same_weights_and_another_seed_does_not(dense_task, toy_dataset, tmp_path):
    settings = quick(epochs=2, augment="dihedral")
    weights = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        torch.manual_seed(hash(name) % 1000)  # whatever the caller's state was
        found = train(dense_task, toy_dataset, tmp_path / name, settings.model_copy(update={"seed": seed}))
        weights.append(found.best_weights())
    assert all(np.array_equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not np.array_equal(weights[0]["heads.real_out.weight"], weights[2]["heads.real_out.weight"])


def test_training_leaves_the_callers_random_numbers_and_threads_alone(dense_task, toy_dataset, tmp_path):
    torch.manual_seed(3)
    expected, threads = torch.rand(4), torch.get_num_threads()
    torch.manual_seed(3)
    train(dense_task, toy_dataset, tmp_path / "run", quick(epochs=1))
    assert torch.equal(torch.rand(4), expected)
    assert torch.get_num_threads() == threads
    assert "PL_GLOBAL_SEED" not in os.environ


_CHILD = """
import os, signal, sys
from pathlib import Path
from astrid.learn.dataset import Dataset
from astrid.learn.settings import Training
from astrid.learn.task import Task
from astrid.learn.training import train

task, settings = (Path(name).read_text("utf-8") for name in sys.argv[3:5])
data, out, last = sys.argv[1], sys.argv[2], int(sys.argv[5])

def watch(done, total):
    if done == last:
        os.kill(os.getpid(), signal.SIGKILL)

train(Task.model_validate_json(task), Dataset.open(data), out, Training.model_validate_json(settings),
      resume=True, on_progress=watch)
"""


def test_killed_at_a_random_step_and_taken_up_it_ends_with_the_same_bits(dense_task, toy_dataset, tmp_path):
    settings = quick(**FULL, schedule=Schedule(name="one_cycle", warmup=0.2))
    unbroken = train(dense_task, toy_dataset, tmp_path / "unbroken", settings)
    steps = 4 * 9
    step = int(np.random.default_rng().integers(10, steps))  # after the first epoch, anywhere
    (tmp_path / "task.json").write_text(dense_task.model_dump_json(), "utf-8")
    (tmp_path / "settings.json").write_text(settings.model_dump_json(), "utf-8")
    arguments = [
        toy_dataset.path,
        tmp_path / "broken",
        tmp_path / "task.json",
        tmp_path / "settings.json",
        step,
    ]
    child = subprocess.run([sys.executable, "-c", _CHILD, *map(str, arguments)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert load_run(tmp_path / "broken").record["state"] == "running"
    resumed = train(dense_task, toy_dataset, tmp_path / "broken", settings, resume=True)
    assert figures(resumed.path) == figures(unbroken.path), f"killed at step {step}"
    for name, value in unbroken.best_weights().items():
        np.testing.assert_array_equal(resumed.best_weights()[name], value)


@pytest.fixture
def heeds_ctrl_c():
    """A process that was started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_leaves_a_run_that_can_be_taken_up(heeds_ctrl_c, dense_task, toy_dataset, tmp_path):
    settings = quick(**FULL, schedule=Schedule(name="plateau", warmup=0.2, patience=1))
    whole = train(dense_task, toy_dataset, tmp_path / "whole", settings)
    handler = signal.getsignal(signal.SIGINT)

    def interrupt(done, total):
        if done == 23:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(dense_task, toy_dataset, tmp_path / "run", settings, on_progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is handler
    assert load_run(tmp_path / "run").record["state"] == "stopped"
    assert load_run(tmp_path / "run").record["epochs"] == 2
    with pytest.raises(UsageError, match="holds a training already; pass --resume"):
        train(dense_task, toy_dataset, tmp_path / "run", settings)
    resumed = train(dense_task, toy_dataset, tmp_path / "run", settings, resume=True)
    assert figures(resumed.path) == figures(whole.path)
    assert len(resumed.record["resumed"]) == 1


def test_run_that_is_done_is_only_read(run, dense_task, toy_dataset):
    before = (run.path / "run.json").read_bytes()
    again = train(dense_task, toy_dataset, run.path, quick(epochs=6), resume=True)
    assert again.done
    assert (run.path / "run.json").read_bytes() == before


def test_what_only_changes_the_speed_may_change_on_the_way(dense_task, toy_dataset, tmp_path):
    def stop(epoch, found):
        if epoch == 1:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(dense_task, toy_dataset, tmp_path / "run", QUICK, on_epoch=stop)
    resumed = train(
        dense_task, toy_dataset, tmp_path / "run", quick(trackers=("tensorboard",), threads=0), resume=True
    )
    assert resumed.record["epochs"] == 3


def test_run_of_another_task_data_split_or_recipe_is_not_taken_up(run, dense_task, toy_dataset, tmp_path):
    def again(task=dense_task, data=toy_dataset, settings=None, **more):
        return train(task, data, run.path, settings or quick(epochs=6), resume=True, **more)

    with pytest.raises(TrainingError, match=r"was begun with another task \(toy, now other\)"):
        again(dense_task.model_copy(update={"name": "other"}))
    with pytest.raises(TrainingError, match=r"was begun with optimizer = .*; give the same or another --out"):
        again(settings=quick(epochs=6, optimizer=Optimizer(lr=0.02)))
    with pytest.raises(TrainingError, match="another set of frozen layers"):
        again(freeze=["trunk"])
    info = toy_dataset.info.model_copy(update={"files": {"rows.parquet": "0"}})
    with pytest.raises(TrainingError, match="another data set"):
        again(data=Dataset(toy_dataset.path, info, toy_dataset.rows, toy_dataset.arrays))


def test_directory_that_holds_something_else_is_left_alone(dense_task, toy_dataset, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work", "utf-8")
    with pytest.raises(OutputError, match=r"holds files that are of no training \(thesis.tex\)"):
        train(dense_task, toy_dataset, tmp_path, QUICK, resume=True)
    with pytest.raises(OutputError, match="cannot be a run directory: Not a directory"):
        train(dense_task, toy_dataset, tmp_path / "thesis.tex", QUICK)


def test_wrong_setting_can_be_corrected_in_the_same_place(dense_task, toy_dataset, tmp_path):
    with pytest.raises(
        UsageError, match="no figure 'validation/aucpr' to monitor; choose one of training/loss"
    ):
        train(dense_task, toy_dataset, tmp_path / "run", quick(monitor="validation/aucpr"))
    settings = quick(epochs=1, monitor="validation/real/aucpr", mode="max")
    assert train(dense_task, toy_dataset, tmp_path / "run", settings).done


def test_loss_that_is_no_number_is_said_with_step_and_advice(dense_task, toy_dataset, tmp_path):
    settings = quick(optimizer=Optimizer(name="sgd", lr=1e30))
    with pytest.raises(
        TrainingError, match=r"not a finite number at step \d+ of epoch 0; lower optimizer.lr \(now"
    ):
        train(dense_task, toy_dataset, tmp_path / "run", settings)
    assert load_run(tmp_path / "run").record["state"] == "stopped"


def test_training_stops_when_nothing_is_gained_any_more(dense_task, toy_dataset, tmp_path):
    settings = quick(epochs=50, patience=2, optimizer=Optimizer(lr=0.1))
    found = train(dense_task, toy_dataset, tmp_path / "run", settings)
    assert found.record["epochs"] == found.record["best_epoch"] + 1 + 2 < 50


def test_progress_comes_with_each_step_and_figures_with_each_epoch(dense_task, toy_dataset, tmp_path):
    steps, epochs = [], []
    train(
        dense_task, toy_dataset, tmp_path / "run", quick(epochs=2),
        on_progress=lambda done, total: steps.append((done, total)),
        on_epoch=lambda epoch, found: epochs.append((epoch, sorted(found))),
    )  # fmt: skip
    assert steps == [*((k, 18) for k in range(1, 19)), (18, 18)]
    names = [
        "lr",
        "training/loss",
        "validation/loss",
        *(f"validation/real/{k}" for k in ("aucpr", "fnr", "fpr")),
    ]
    assert epochs == [(0, names), (1, names)]


def test_row_split_from_outside_is_refused_before_anything_is_written(dense_task, toy_dataset, tmp_path):
    rows = np.random.default_rng(0).permutation(900)
    parts = Parts(np.sort(rows[:600]), np.sort(rows[600:750]), np.sort(rows[750:]))
    with pytest.raises(LeakError, match="45 groups"):
        train(dense_task, toy_dataset, tmp_path / "run", QUICK, parts=parts)
    assert not (tmp_path / "run").exists()


def test_given_parts_are_used_and_a_run_goes_on_with_no_others(dense_task, toy_dataset, tmp_path):
    parts, others = (make_parts(toy_dataset, Split(validation=0.3, test=0.3), seed) for seed in (8, 9))
    found = train(dense_task, toy_dataset, tmp_path / "run", quick(epochs=1), parts=parts)
    assert np.array_equal(found.parts.train, parts.train)

    def stop(epoch, figures):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        train(dense_task, toy_dataset, tmp_path / "half", QUICK, parts=parts, on_epoch=stop)
    with pytest.raises(TrainingError, match="was begun with another split"):
        train(dense_task, toy_dataset, tmp_path / "half", QUICK, parts=others, resume=True)


def test_importing_training_loads_no_torch():
    heavy = ("torch", "lightning", "onnx", "onnxruntime", "matplotlib", "torchvision")
    modules = "training, tracking, splits, sampling, run, checkpoint, epoch_figures"
    script = (
        f"import sys; from astrid.learn import {modules}; print([m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_missing_extra_is_named(dense_task, toy_dataset, tmp_path, monkeypatch):
    found = training.importlib.util.find_spec
    monkeypatch.setattr(
        training.importlib.util, "find_spec", lambda name: None if name == "lightning" else found(name)
    )
    with pytest.raises(DependencyError, match=r'needs lightning, .* pip install "astrid\[train\]"'):
        train(dense_task, toy_dataset, tmp_path / "run", QUICK)
