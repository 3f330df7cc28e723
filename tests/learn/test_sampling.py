"""Claims of `learn.sampling`: orders that follow from seed and epoch, and classes that come alike often."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight, compute_sample_weight

from astrid.errors import DatasetError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.sampling import Order, balanced_chances, class_weights, make_order
from astrid.learn.task import Binary, Input, Multiclass, Regression, Task

ROWS = np.arange(100, 200)


def test_shuffled_epoch_has_every_row_once():
    order = Order(ROWS, seed=1)
    assert np.array_equal(np.sort(order(0)), ROWS)
    assert not np.array_equal(order(0), ROWS)


def test_order_follows_from_seed_and_epoch_alone():
    order = Order(ROWS, seed=1)
    before = [order(epoch) for epoch in range(3)]
    assert np.array_equal(Order(ROWS, seed=1)(2), before[2])
    assert not np.array_equal(before[0], before[1])
    assert not np.array_equal(Order(ROWS, seed=2)(0), before[0])


def test_balanced_chances_are_those_of_scikit_learns_sample_weights():
    codes = np.random.default_rng(0).choice(3, 200, p=[0.7, 0.25, 0.05])
    expected = compute_sample_weight("balanced", codes)
    np.testing.assert_allclose(balanced_chances(codes, 3), expected / expected.sum())


def test_rows_without_a_label_keep_their_share():
    codes = np.array([-1, -1, 0, 0, 0, 0, 0, 1])
    chances = balanced_chances(codes, 2)
    assert chances[codes < 0].sum() == pytest.approx(0.25)
    assert chances[codes == 0].sum() == pytest.approx(chances[codes == 1].sum())


def test_class_weights_are_those_of_scikit_learn():
    codes = np.repeat([0, 1, 2], [50, 30, 7])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=codes)
    np.testing.assert_allclose(class_weights(codes, Multiclass(labels=("a", "b", "c"))), expected)
    labels = np.array([0, 0, 0, 1, np.nan], np.float32)
    np.testing.assert_allclose(class_weights(labels, Binary(labels=("no", "yes"))), [4 / 6, 2])


@pytest.fixture
def uneven(tmp_path) -> Dataset:
    """1000 rows, of which 50 are real; the weight of the last half is three times that of the first."""
    with DatasetWriter(
        tmp_path / "data", name="uneven", inputs={"x": Input(shape=(1,))}, kind="simulated"
    ) as writer:
        rows = {
            "group": [f"g{k}" for k in range(1000)],
            "real": ["yes" if k % 20 == 0 else "no" for k in range(1000)],
            "weight": [1.0] * 500 + [3.0] * 500,
            "size": [1.0] * 1000,
        }
        writer.append({"x": np.zeros((1000, 1), np.float32)}, rows)
    return Dataset.open(tmp_path / "data")


def of(**heads) -> Task:
    return Task(
        name="uneven", inputs={"x": Input(shape=(1,))}, heads=heads, network="astrid.networks.dense:Dense"
    )


YES_NO = Binary(labels=("no", "yes"))


def test_balanced_epochs_show_both_classes_alike_often(uneven):
    order = make_order(uneven, of(real=YES_NO), np.arange(1000), "balanced", 0)
    drawn = np.concatenate([order(epoch) for epoch in range(20)])
    assert (drawn % 20 == 0).mean() == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(len(drawn)))


def test_weighted_epochs_show_rows_in_proportion_to_their_weight(uneven):
    order = make_order(uneven, of(real=YES_NO), np.arange(1000), "weighted", 0)
    drawn = np.concatenate([order(epoch) for epoch in range(20)])
    assert (drawn >= 500).mean() == pytest.approx(0.75, abs=5 * 0.5 / np.sqrt(len(drawn)))


def test_only_rows_of_the_training_part_are_drawn(uneven):
    rows = np.arange(0, 1000, 10)
    for sampling in ("shuffle", "balanced", "weighted"):
        order = make_order(uneven, of(real=YES_NO), rows, sampling, 0)
        assert set(order(0)) <= set(rows)
        assert len(order(0)) == len(rows)


def test_what_cannot_be_drawn_is_refused(uneven):
    with pytest.raises(UsageError, match="no binary or multiclass head to balance"):
        make_order(uneven, of(size=Regression(names=("size",))), np.arange(10), "balanced", 0)
    with pytest.raises(DatasetError, match="class 1 of 2 has no row"):
        make_order(uneven, of(real=YES_NO), np.arange(1, 10), "balanced", 0)
