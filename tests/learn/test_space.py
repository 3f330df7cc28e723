"""What a search may try."""

from __future__ import annotations

from pathlib import Path

import pytest

from astrid.errors import UsageError
from astrid.learn.settings import Training
from astrid.learn.space import Choice, Float, Integer, Space, check_space, default_space, read_space, recipe
from astrid.zoo.braai import BRAAI


def test_a_file_gives_numbers_whole_numbers_and_choices(tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(
        "optimizer.lr: {low: 1e-5, high: 1e-2, log: true}\n"
        "epochs: {low: 5, high: 50}\n"
        "network_options.normalization: {choices: [row_l2, none]}\n"
        "precision: {choices: ['32', bf16]}\n"
    )
    assert read_space(path) == {
        "optimizer.lr": Float(low=1e-5, high=1e-2, log=True),
        "epochs": Integer(low=5, high=50),
        "network_options.normalization": Choice(choices=("row_l2", "none")),
        "precision": Choice(choices=("32", "bf16")),
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("lr: 3", "lr: is 3, expected a range"),
        ("lr: {low: 2, high: 1}", "lr: .*2 to 1 is no range; give low < high"),
        ("lr: {low: 0, high: 1.5, log: true}", "above 0 for log"),
        ("lr: {low: 1}", "lr: high Field required"),
        ("lr: {choices: [1]}", "lr: choices .*at least 2"),
        ("lr: {choices: [1, 2], low: 3}", "lr: low Extra inputs"),
        ("- 1", "holds no space"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "space.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match=message) as caught:
        read_space(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({}, "the space is empty"),
        ({"optimizer.rate": Float(low=1, high=2)}, "there is no setting 'rate'"),
        ({"optimizer.lr": Float(low=-1, high=2)}, "optimizer.lr is -1"),
        ({"schedule.name": Choice(choices=("cosine", "linear"))}, "schedule.name is 'linear'"),
        ({"seed": Integer(low=1, high=2)}, "seed cannot be tuned"),
        ({"split.test": Float(low=0.1, high=0.2)}, r"split\.test cannot be tuned"),
        ({"loss.gamma": Float(low=0, high=2)}, r"loss\.gamma changes what validation/loss means"),
        (
            {"network_options.normalization": Choice(choices=("none", "max"))},
            "there is no normalization 'max'",
        ),
        ({"network_options.depth": Integer(low=1, high=2)}, "VGG6 does not take .*depth"),
    ],
)
def test_what_cannot_be_tuned_is_said_before_the_first_training(space: Space, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_space(space, BRAAI.training, BRAAI)


def test_the_loss_can_be_tuned_by_another_figure() -> None:
    settings = BRAAI.training.model_copy(update={"monitor": "validation/real/aucpr", "mode": "max"})
    check_space({"loss.gamma": Float(low=0, high=2)}, settings, BRAAI)


@pytest.mark.parametrize("settings", [BRAAI.training, Training(batch_size=48, ema=0.5)])
def test_every_recipe_lies_in_its_default_space(settings: Training) -> None:
    space = default_space(settings)
    check_space(space, settings, BRAAI)
    assert set(recipe(space, settings, BRAAI)) == set(space)


def test_the_recipe_is_found_where_it_lies_in_the_space_and_left_out_where_not() -> None:
    space = {
        "network_options.normalization": Choice(choices=("row_l2", "none")),
        "network_options.width": Integer(low=8, high=32),
        "epochs": Integer(low=5, high=50),
        "optimizer.lr": Float(low=1e-5, high=1e-2, log=True),
    }
    assert recipe(space, BRAAI.training, BRAAI) == {
        "network_options.normalization": "row_l2",
        "optimizer.lr": 3e-4,
    }
