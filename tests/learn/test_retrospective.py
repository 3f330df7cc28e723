"""What is left out of a training is found again, and nothing of it was seen before."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astrid.errors import DatasetError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.retrospective import Queue, Retrospective, retrospective
from astrid.learn.settings import Optimizer, Training
from astrid.learn.splits import make_parts
from astrid.learn.task import Binary, Input, Multiclass, Regression, Task
from astrid.learn.training import load_run

SETTINGS = Training(
    epochs=4, patience=4, batch_size=64, optimizer=Optimizer(lr=0.01), accelerator="cpu", devices=1,
    threads=1, trackers=(),
)  # fmt: skip


def stars(head):
    return Task(
        name="stars", inputs={"x": Input(shape=(4,))}, heads=head, network="astrid.networks.dense:Dense",
        network_options={"hidden": [16]},
    )  # fmt: skip


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory):
    """Two classes that are alike and a rare third that lies apart; group 7 is one event of it."""
    rng = np.random.default_rng(1)
    n = 900
    kinds = rng.choice(["dwarf", "giant", "nova"], n, p=[0.48, 0.48, 0.04])
    groups = np.array([f"night{k % 30:02d}" for k in range(n)])
    x = rng.normal(0, 0.5, (n, 4))
    x[:, 0] += np.select([kinds == "dwarf", kinds == "giant"], [-1, 1], 0)
    x[kinds == "nova", 1:3] += 3
    path = tmp_path_factory.mktemp("stars") / "data"
    with DatasetWriter(path, name="stars", inputs={"x": Input(shape=(4,))}, kind="simulated") as writer:
        rows = {
            "group": groups,
            "type": kinds,
            "luminous": np.where(kinds == "dwarf", "no", "yes"),
            "z": x[:, 0],
        }
        writer.append({"x": x}, rows)
    return Dataset.open(path)


@pytest.fixture(scope="module")
def without_novae(three_classes, tmp_path_factory):
    out = tmp_path_factory.mktemp("retrospective") / "novae"
    task = stars({"type": Multiclass(labels=("dwarf", "giant", "nova"))})
    return retrospective(task, three_classes, out, column="type", value="nova", settings=SETTINGS), out


def test_a_class_that_was_left_out_is_found_first_by_its_distance(without_novae):
    found, _ = without_novae
    queues = {queue.score: queue for queue in found.queues}
    assert set(queues) == {
        "how undecided the model is", "distance to the nearest known", "Mahalanobis distance",
    }  # fmt: skip
    for score in ("distance to the nearest known", "Mahalanobis distance"):
        assert queues[score].first == 1
        assert queues[score].auroc > 0.95
        assert queues[score].recall_at[10] == 1
    assert found.first_by_chance == (found.n_queue + 1) / (found.n_left_out + 1)


def test_nothing_that_was_left_out_was_seen_in_training(without_novae, three_classes):
    found, out = without_novae
    run = load_run(out / "run")
    kinds = three_classes.column("type")
    assert run.task.heads["type"].labels == ("dwarf", "giant")
    assert "nova" not in kinds[run.parts.train]
    assert "nova" not in kinds[run.parts.validation]
    assert (kinds[run.parts.test] == "nova").sum() == found.n_left_out
    assert found.n_removed == (kinds == "nova").sum() - found.n_left_out
    groups = three_classes.groups()
    assert not set(groups[run.parts.train]) & set(groups[run.parts.test])


def test_result_is_written_and_drawn(without_novae):
    found, out = without_novae
    facts = json.loads((out / "retrospective.json").read_text())
    assert facts == json.loads(json.dumps(found.as_dict()))
    assert facts["value"] == "nova"
    assert (out / "retrospective.png").stat().st_size > 10_000
    lines = {line.get_label() for line in found.plot().axes[0].lines}
    assert "no order" in lines


def test_a_kind_within_a_class_is_also_ranked_by_the_probability_of_its_class(three_classes, tmp_path):
    task = stars({"luminous": Binary(labels=("no", "yes"))})
    seen = []
    found = retrospective(
        task, three_classes, tmp_path / "out", column="type", value="nova",
        settings=SETTINGS.model_copy(update={"epochs": 2}), on_progress=lambda *done: seen.append(done),
    )  # fmt: skip
    assert found.queues[0].score == "probability of yes"
    assert found.queues[2].auroc > 0.9
    assert seen[-1][0] == seen[-1][1]
    again = retrospective(
        task, three_classes, tmp_path / "out", column="type", value="nova",
        settings=SETTINGS.model_copy(update={"epochs": 2}),
    )  # fmt: skip
    assert again == found  # the training was done and only read


def test_a_single_event_goes_into_the_queue_with_its_whole_group(three_classes, tmp_path):
    task = stars({"luminous": Binary(labels=("no", "yes"))})
    settings = SETTINGS.model_copy(update={"epochs": 1})
    trained_on = three_classes.groups()[make_parts(three_classes, settings.split, 0).train[0]]
    found = retrospective(
        task, three_classes, tmp_path / "out", column="group", value=str(trained_on), settings=settings
    )
    parts = load_run(tmp_path / "out" / "run").parts
    assert found.n_left_out == 30
    assert found.n_removed == 30
    assert trained_on not in three_classes.groups()[parts.train]
    assert (three_classes.groups()[parts.test] == trained_on).sum() == 30


def test_ranks_are_those_that_were_counted_by_hand():
    queue = Queue("x", 2.0, 3.0, {10: 1.0}, 0.5, (2.0, 3.0, 7.0))
    found = Retrospective("t", "c", "v", 3, 11, 4, "run", (queue,))
    assert found.first_by_chance == 3
    line = found.plot().axes[0].lines[0]
    assert line.get_xdata().tolist() == [1, 2, 3, 7, 11]
    assert line.get_ydata().tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1])


@pytest.mark.parametrize(
    ("head", "column", "value", "error", "words"),
    [
        (Binary(labels=("no", "yes")), "type", "quasar", DatasetError, "no type is 'quasar'; it has dwarf"),
        (Binary(labels=("no", "yes")), "colour", "red", DatasetError, "no column 'colour'"),
        (Binary(labels=("no", "yes")), "luminous", "yes", UsageError, "without 'yes' there is nothing left"),
        (Regression(names=("z",)), "type", "nova", UsageError, "tells no classes apart"),
    ],
)
def test_what_cannot_be_left_out_is_told(three_classes, tmp_path, head, column, value, error, words):
    with pytest.raises(error, match=words):
        retrospective(stars({"luminous": head}), three_classes, tmp_path, column=column, value=value)
