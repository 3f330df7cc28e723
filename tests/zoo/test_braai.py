"""The published system, as a task."""

from __future__ import annotations

from astrid.learn.task import imported
from astrid.zoo.braai import BRAAI


def test_the_network_is_the_published_one() -> None:
    network = BRAAI.build_network()
    assert sum(one.numel() for one in network.parameters()) == 312_081


def test_the_recipe_is_the_papers() -> None:
    training = BRAAI.training
    assert (training.optimizer.name, training.optimizer.lr, training.batch_size) == ("adam", 3e-4, 64)
    assert (training.patience, training.class_weights) == (50, True)


def test_the_published_figures_are_there() -> None:
    assert {figure.value for figure in BRAAI.published} == {0.011, 0.029}


def test_the_representation_exists() -> None:
    assert callable(imported(BRAAI.represent))


def test_it_survives_its_own_json() -> None:
    assert type(BRAAI).model_validate_json(BRAAI.model_dump_json()) == BRAAI
