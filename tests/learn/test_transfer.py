"""Claims of `learn.training` about transfer: what is taken over, what stays, what learns when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from astrid.errors import TrainingError, UsageError
from astrid.learn.bundle import Bundle, Card, save_bundle
from astrid.learn.checkpoint import load_checkpoint
from astrid.learn.settings import Optimizer, Split, Training
from astrid.learn.task import Multiclass
from astrid.learn.training import train

QUICK = Training(
    epochs=2, batch_size=64, optimizer=Optimizer(lr=0.01), trackers=(), accelerator="cpu", threads=1,
    split=Split(validation=0.2, test=0.2),
)  # fmt: skip


def quick(**changes) -> Training:
    return QUICK.model_copy(update=changes)


@pytest.fixture(scope="module")
def parent(dense_task, toy_dataset, tmp_path_factory) -> Bundle:
    """The trained toy as a bundle; its model file is never run here."""
    run = train(dense_task, toy_dataset, tmp_path_factory.mktemp("run") / "run", QUICK)
    card = Card(name="toy.parent", task=run.task, created="2026-01-01T00:00:00+00:00")
    path = tmp_path_factory.mktemp("parent") / "toy.parent"
    return save_bundle(path, card, {"model.onnx": b"never run"}, run.best_weights())


def last_state(path: Path) -> dict[str, np.ndarray]:
    return load_file(path / "best.safetensors")


def test_training_begins_from_the_weights_of_a_bundle(dense_task, toy_dataset, tmp_path, parent):
    settings = quick(epochs=1, optimizer=Optimizer(lr=1e-12))
    found = train(dense_task, toy_dataset, tmp_path / "run", settings, parent=parent)
    for name, value in last_state(found.path).items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_allclose(value, parent.weights[name], atol=1e-9)
    assert found.record["parent"] == f"toy.parent {parent.hash}"
    assert found.record["fresh"] == []


def test_frozen_layers_stay_to_the_last_bit_and_others_learn(dense_task, toy_dataset, tmp_path, parent):
    found = train(
        dense_task, toy_dataset, tmp_path / "run", quick(epochs=2), parent=parent,
        freeze=["trunk", "standardize"],
    )  # fmt: skip
    weights = last_state(found.path)
    for name in ("trunk.0.weight", "trunk.0.bias", "standardize.running_mean", "standardize.running_var"):
        np.testing.assert_array_equal(weights[name], parent.weights[name])
    assert not np.array_equal(weights["heads.real_out.weight"], parent.weights["heads.real_out.weight"])


def test_first_the_head_learns_and_then_all(dense_task, toy_dataset, tmp_path, parent):
    states = []
    settings = quick(epochs=3, head_epochs=2, monitor="training/loss", optimizer=Optimizer(lr=0.001))

    def look(epoch, found):
        states.append(load_checkpoint(tmp_path / "run" / "checkpoints" / "last.safetensors")["network"])

    train(dense_task, toy_dataset, tmp_path / "run", settings, parent=parent, on_epoch=look)
    body, head = "trunk.0.weight", "heads.real_out.weight"
    changed = [
        {name: not np.array_equal(state[name].numpy(), parent.weights[name]) for name in (body, head)}
        for state in states
    ]
    assert changed == [{body: False, head: True}, {body: False, head: True}, {body: True, head: True}]
    mean = "standardize.running_mean"
    np.testing.assert_array_equal(states[1][mean].numpy(), parent.weights[mean])


def test_head_of_another_size_begins_afresh_and_that_is_said(dense_task, toy_dataset, tmp_path, parent):
    heads = {"kind": Multiclass(labels=("cosmic_ray", "dipole", "nothing", "star"))}
    task = dense_task.model_copy(update={"heads": heads})
    found = train(task, toy_dataset, tmp_path / "run", quick(epochs=1), parent=parent, freeze=["trunk"])
    assert found.record["fresh"] == ["heads.kind_out.weight", "heads.kind_out.bias"]
    np.testing.assert_array_equal(last_state(found.path)["trunk.0.weight"], parent.weights["trunk.0.weight"])


def test_bundle_that_does_not_fit_is_refused(dense_task, toy_dataset, tmp_path, parent):
    def begin(task=dense_task, settings=QUICK, **more):
        return train(task, toy_dataset, tmp_path / "run", settings, **more)

    with pytest.raises(TrainingError, match=r"trunk.0.weight is of shape \(16, 162\), .* needs \(8, 162\)"):
        begin(dense_task.model_copy(update={"network_options": {"hidden": [8]}}), parent=parent)
    with pytest.raises(
        UsageError, match=r"no layer of .* is called 'body'…; choose from standardize, trunk, heads"
    ):
        begin(parent=parent, freeze=["body"])
    with pytest.raises(UsageError, match="every layer is frozen"):
        begin(parent=parent, freeze=["trunk", "heads"])
    with pytest.raises(UsageError, match="head_epochs is for a training that begins from a bundle"):
        begin(settings=quick(head_epochs=1))


def test_bundle_with_its_channels_in_another_order_is_refused(dense_task, toy_dataset, tmp_path, parent):
    turned = parent.task.inputs["image"].model_copy(update={"channels": ("difference", "reference")})
    card = parent.card.model_copy(
        update={"task": parent.task.model_copy(update={"inputs": {"image": turned}}), "files": {}}
    )
    other = save_bundle(tmp_path / "other", card, {"model.onnx": b"never run"}, parent.weights)
    with pytest.raises(TrainingError, match=r"that of toy.parent .* channels \['difference', 'reference'\]"):
        train(dense_task, toy_dataset, tmp_path / "run", QUICK, parent=other)
