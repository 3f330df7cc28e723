"""Trainings are kept in their order, each once, and a change that was begun can be ended."""

from __future__ import annotations

import pytest

from astrid.errors import UsageError
from astrid.store.trainings import TrainingRecord


def record(at: float, **facts) -> TrainingRecord:
    found = TrainingRecord(
        0, "braai", at, "ana", "braai.review1", "h1", "braai.sim1", "h0", 120, 80, "promoting",
        "it is better", {"compared": [{"name": "AUCPR", "before": 0.9, "after": 0.95, "low": None}]},
    )  # fmt: skip
    return found._replace(**facts)


def test_a_training_comes_back_as_it_was_recorded(store):
    first = store.trainings.add(record(1.0))
    other = store.trainings.add(
        record(2.0, task="scope", bundle=None, hash=None, verdict="failed", figures={})
    )
    assert (first.id, first._replace(id=0)) == (1, record(1.0))
    assert store.trainings.list() == [first, other]
    assert store.trainings.list("scope") == [other]
    assert store.trainings.list("dmdt") == []


def test_the_same_training_recorded_twice_is_one(store):
    assert store.trainings.add(record(1.0)) == store.trainings.add(record(1.0))
    assert len(store.trainings.list()) == 1


def test_a_change_that_was_begun_is_ended_and_nothing_else_changes(store):
    first, second = store.trainings.add(record(1.0)), store.trainings.add(record(2.0))
    done = store.trainings.settle(first, "promoted")
    assert done == first._replace(verdict="promoted")
    kept = store.trainings.settle(second, "kept", "it was overtaken")
    assert store.trainings.list() == [done, kept]
    assert kept.reason == "it was overtaken"
    with pytest.raises(UsageError, match="the verdict is 'better'; choose one of promoting, promoted"):
        store.trainings.settle(first, "better")
