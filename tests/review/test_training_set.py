"""What a model learns from and what it is judged by are of different objects, whatever people answered."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from astrid.errors import DatasetError, TrainingError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.splits import check_labels
from astrid.learn.task import Binary, Input, Multiclass
from astrid.review.training_set import Source, build, only_head
from astrid.review.votes import consensus
from astrid.store import open_store

toy = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_stream.py"))))

LEARN, FROZEN = range(80), range(1000, 1040)
LABELS = ("bogus", "real")


@pytest.fixture
def store(tmp_path):
    with open_store(tmp_path / "store") as opened:
        toy.fill(opened, [*LEARN, *FROZEN, 2000, 2001])
        yield opened


def made(store, out, source=None, **facts):
    answers = consensus(store.labels.of_task("braai"), LABELS)
    frozen = [row.item for row in store.labels.queue("braai", open_only=False) if row.frozen]
    return build(store, toy.TASK, answers, frozen, out, source, **facts)


def named(numbers):
    return ["/".join(toy.key(one)) for one in numbers]


def test_an_object_with_a_frozen_alert_is_never_learned_from_even_before_it_is_answered(store, tmp_path):
    toy.freeze(store, [*FROZEN, 2000])  # 2000 is not answered yet, 2001 is of the same object
    toy.answer(store, [*LEARN, *FROZEN, 2001])
    base = toy.data_set(tmp_path / "base", [*range(6000, 6030), 1000, 1001, 2000])
    found = made(store, tmp_path / "data", Source(base=base))
    groups, people = found.dataset.groups(), found.dataset.column("source") == "people"
    untouched = {toy.object_id(one) for one in [*FROZEN, 2000]}
    frozen = np.isin(groups, sorted(untouched))
    assert (np.flatnonzero(frozen) == found.parts.test).all()
    assert sorted(found.dataset.column("id")[found.parts.test]) == sorted(named(FROZEN))
    assert people[found.parts.test].all()
    assert found.n_base == 30 == (~people).sum()
    assert found.left_out == {"its object has a frozen answer": 1}
    assert sum(found.learned.values()) == len(LEARN)
    assert sum(found.frozen.values()) == len(FROZEN)
    check_labels(found.dataset, found.parts, toy.TASK)


def test_an_epoch_is_chosen_by_what_people_said_in_both_classes(store, tmp_path):
    toy.answer(store, LEARN)
    base = toy.data_set(tmp_path / "base", range(6000, 6060))
    found = made(store, tmp_path / "data", Source(base=base))
    rows = found.parts.validation
    assert (found.dataset.column("source")[rows] == "people").all()
    label = found.dataset.column("real")[rows]
    assert 4 <= label.sum() <= len(label) - 4
    other = made(store, tmp_path / "other", Source(base=base), seed=1)
    assert set(other.parts.validation) != set(rows)


def test_the_older_data_set_validates_where_people_said_too_little(store, tmp_path):
    toy.answer(store, LEARN[:8])
    base = toy.data_set(tmp_path / "base", range(6000, 6060))
    found = made(store, tmp_path / "data", Source(base=base))
    assert found.n_base == 32  # four for each answer
    assert (found.dataset.column("source")[found.parts.validation] == "base").any()
    check_labels(found.dataset, found.parts, toy.TASK)
    with pytest.raises(TrainingError, match="10 of each label are needed; answer more, or give"):
        made(store, tmp_path / "alone")


def test_images_of_removed_packets_come_from_the_data_set_before(store, tmp_path):
    toy.answer(store, LEARN[:40])
    first = made(store, tmp_path / "first").dataset
    np.testing.assert_array_equal(first.arrays["triplet"], toy.triplets(LEARN[:40]))
    store.retain(0)
    toy.answer(store, LEARN[40:60])  # their images are gone for ever
    second = made(store, tmp_path / "second", Source(earlier=first))
    assert second.left_out == {"its packet was removed": 20}
    np.testing.assert_array_equal(second.dataset.arrays["triplet"], first.arrays["triplet"])


def test_the_share_of_the_real_ones_is_that_of_the_random_answers(store, tmp_path):
    toy.freeze(store, FROZEN)  # drawn by chance too, but only for comparing
    toy.answer(store, [*LEARN, *FROZEN])
    assert made(store, tmp_path / "none").prevalence is None
    rows = [toy.QueueRow("ztf", str(one), one, None, "random") for one in LEARN[:60]]
    store.labels.save_queue("braai", rows)
    toy.answer(store, LEARN, at=4e9)
    share = np.mean([toy.is_real(one) for one in LEARN[:60]])
    assert made(store, tmp_path / "some").prevalence == pytest.approx(share)


def test_a_data_set_of_other_images_is_refused(store, tmp_path):
    toy.answer(store, LEARN)
    inputs = {"triplet": Input(shape=(9, 9, 3), channels=("science", "reference", "difference"))}
    with DatasetWriter(tmp_path / "base", name="x", inputs=inputs, kind="real") as writer:
        writer.append({"triplet": np.zeros((2, 9, 9, 3))}, {"group": ["a", "b"], "real": ["real", "bogus"]})
    with pytest.raises(DatasetError, match="cut them anew"):
        made(store, tmp_path / "data", Source(base=Dataset.open(tmp_path / "base")))
    assert not (tmp_path / "data").exists()


def test_only_tasks_of_one_yes_or_no_are_learned_from_answers():
    assert only_head(toy.TASK)[0] == "real"
    for heads in (
        {"kind": Multiclass(labels=("a", "b", "c"))},
        {"a": Binary(labels=("no", "yes")), "b": Binary(labels=("no", "yes"))},
    ):
        with pytest.raises(UsageError, match="does not answer one question by yes or no"):
            only_head(toy.TASK.model_copy(update={"heads": heads}))
