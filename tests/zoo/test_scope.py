"""SCOPE's classifiers: the classes they judge and what they are made of."""

from __future__ import annotations

import pytest

from astrid.lightcurves.classes import taxonomy
from astrid.lightcurves.dmdt import SCOPE as GRID
from astrid.zoo.scope import CLASSES, SCOPE, SCOPE_DNN


def test_each_class_of_the_trees_is_a_yes_or_no_of_its_own() -> None:
    assert set(CLASSES) < set(taxonomy().classes)
    for task in (SCOPE, SCOPE_DNN):
        assert tuple(task.heads) == CLASSES
        assert all(head.kind == "binary" for head in task.heads.values())
        assert all(head.labels == ("other", code) for code, head in task.heads.items())


def test_no_root_of_which_there_is_no_counterexample_is_judged() -> None:
    assert not {"vnv", "pnp", "nvar", "acc"} & set(CLASSES)


def test_the_image_has_the_grid_of_the_paper() -> None:
    assert SCOPE_DNN.inputs["dmdt"].shape == (*GRID.shape, 1) == (26, 26, 1)


def test_right_probabilities_are_decided_at_0_7() -> None:
    for head in SCOPE.heads.values():
        cost = head.cost
        assert cost.false_alarm / (cost.false_alarm + cost.miss) == pytest.approx(0.7)


def test_the_network_has_the_branches_of_the_paper() -> None:
    network = SCOPE_DNN.build_network()
    shapes = {name: tuple(one.shape) for name, one in network.named_parameters()}
    n = SCOPE.inputs["features"].shape[0]
    dense = [shape for name, shape in shapes.items() if "features_in" in name and len(shape) == 2]
    assert dense == [(256, n), (32, 256)]
    convolutions = [shape for name, shape in shapes.items() if "dmdt_in" in name and len(shape) == 4]
    assert convolutions == [
        (1, 1, 3, 3), (16, 1, 1, 1), (16, 1, 3, 3), (16, 16, 1, 1),
        (16, 1, 3, 3), (32, 16, 1, 1), (32, 1, 3, 3), (32, 32, 1, 1),
    ]  # fmt: skip
    assert {name for name in shapes if name.startswith("heads")} == {
        f"heads.{code}_out.{part}" for code in CLASSES for part in ("weight", "bias")
    }
