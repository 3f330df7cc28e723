"""Tasks: a learning problem as data, checked when it is written and the same when read back."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from astrid.errors import UsageError
from astrid.learn.task import Binary, Cost, Figure, Input, Multiclass, Regression, Task, imported


def a_task(**changes):
    facts = {
        "name": "toy",
        "inputs": {"x": Input(shape=(5, 2), channels=("a", "b"))},
        "heads": {"real": Binary(labels=("bogus", "real"), cost=Cost(miss=20))},
        "network": "astrid.networks.dense:Dense",
    }
    return Task(**(facts | changes))


def test_a_task_is_the_same_when_read_back():
    task = a_task(
        heads={
            "real": Binary(labels=("bogus", "real")),
            "kind": Multiclass(labels=("a", "b", "c")),
            "z": Regression(names=("z", "w"), unit="1"),
        },
        published=(Figure(name="miss", value=0.011, where="fig. 6"),),
    )
    assert Task.model_validate_json(task.model_dump_json()) == task
    assert task.outputs == {"real": 1, "kind": 3, "z": 2}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Toy"},
        {"inputs": {}},
        {"heads": {}},
        {"surprise": 1},
        {"heads": {"real": {"kind": "binary", "labels": ["one"]}}},
    ],
)
def test_a_task_that_cannot_be_is_refused(changes):
    with pytest.raises(ValidationError):
        a_task(**changes)


def test_channels_are_counted():
    with pytest.raises(ValidationError, match="2 channels are named but the last axis"):
        Input(shape=(63, 63, 3), channels=("science", "reference"))


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("astrid.learn.task", "names nothing"),
        ("astrid.learn.absent:Net", "there is no module"),
        ("astrid.learn.task:Net", "has no 'Net'"),
    ],
)
def test_a_network_that_is_not_there_is_named(path, sentence):
    with pytest.raises(UsageError, match=sentence):
        imported(path)


def test_tasks_data_sets_bundles_and_prediction_load_no_torch():
    code = (
        "import sys, astrid.learn.task, astrid.learn.dataset, astrid.learn.bundle, astrid.learn.prediction\n"
        "print([name for name in ('torch', 'lightning', 'onnx', 'sklearn', 'captum') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
