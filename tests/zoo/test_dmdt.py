"""The classifiers of variable stars take what the representations give."""

from __future__ import annotations

import pytest

from astrid.learn.task import imported
from astrid.lightcurves.variability import numbers_of
from astrid.zoo.dmdt import CRTS_BRANCHES, CRTS_TREES, DMDT, DMDT_FINE, EROS_TREES

ALL = (DMDT, DMDT_FINE, CRTS_TREES, CRTS_BRANCHES, EROS_TREES)


def test_there_are_the_seven_classes_and_the_four_types():
    assert DMDT.heads["variable"].labels == ("EW", "EA", "RRab", "RRc", "RRd", "RS_CVn", "LPV")
    assert EROS_TREES.heads["variable"].labels == ("binary", "cepheid", "rr_lyrae", "mira")


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_the_split_is_that_of_the_data_set(task):
    split = task.training.split
    assert (split.by, split.column, split.test_values, task.group) == ("column", "part", ("test",), "star")


def test_the_channels_are_the_numbers():
    assert CRTS_TREES.inputs["features"].channels == tuple(numbers_of())
    assert EROS_TREES.inputs["features"].channels == tuple(numbers_of(("b", "r")))


@pytest.mark.parametrize("task", ALL, ids=lambda task: task.name)
def test_representation_network_and_json_hold(task):
    assert callable(imported(task.represent))
    assert type(task).model_validate_json(task.model_dump_json()) == task
    assert task.build_network() is not None


def test_the_published_accuracy_is_beside_it():
    assert DMDT.published[0].value == 0.83
