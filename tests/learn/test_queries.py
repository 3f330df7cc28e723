"""Query strategies beside modAL, scipy, scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import entropy as scipy_entropy
from sklearn.neighbors import LocalOutlierFactor

from astrid.errors import DatasetError, UsageError
from astrid.learn.novelty import novelty_scores
from astrid.learn.queries import bald, core_set, entropy, expected_cost, margin, novelty, random_order


class Believes:
    """A fitted classifier, for modAL, that says what it is given."""

    def predict_proba(self, p):
        return p


@pytest.fixture
def p():
    return np.random.default_rng(0).dirichlet([0.5, 1, 2], 300)


@pytest.fixture
def cloud():
    return np.random.default_rng(1).normal(size=(80, 3))


def test_entropy_and_margin_and_plain_cost_are_those_of_modal(p):
    uncertainty = pytest.importorskip("modAL.uncertainty")
    model = Believes()
    np.testing.assert_allclose(entropy(p), uncertainty.classifier_entropy(model, p))
    np.testing.assert_allclose(margin(p), 1 - uncertainty.classifier_margin(model, p))
    np.testing.assert_allclose(expected_cost(p), uncertainty.classifier_uncertainty(model, p))


def test_entropy_is_that_of_scipy_and_certainty_has_none(p):
    np.testing.assert_allclose(entropy(p), scipy_entropy(p, axis=1))
    np.testing.assert_array_equal(entropy(np.eye(3)), 0)
    np.testing.assert_array_equal(margin(np.eye(3)), 0)


def test_expected_cost_is_the_least_over_all_decisions(p):
    cost = np.array([1.0, 20.0, 5.0])
    wanted = [
        min(sum(row[true] * cost[true] for true in range(3) if true != said) for said in range(3))
        for row in p
    ]
    np.testing.assert_allclose(expected_cost(p, cost), wanted)


def test_costly_classes_are_asked_where_the_decision_turns():
    real = np.linspace(0, 1, 1001)
    value = expected_cost(np.column_stack([1 - real, real]), np.array([1.0, 19.0]))
    assert real[value.argmax()] == pytest.approx(1 / 20)


def test_bald_is_the_mutual_information_of_answer_and_member():
    members = np.random.default_rng(2).dirichlet([1, 1, 1], (5, 40))
    joint = members.transpose(1, 0, 2) / 5  # (item, member, class): members are equally likely
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=2, keepdims=True)
    wanted = (joint * np.log(joint / independent)).sum(axis=(1, 2))
    np.testing.assert_allclose(bald(members), wanted)


def test_bald_does_not_ask_what_all_members_are_undecided_of():
    alike = np.full((4, 1, 2), 0.5)
    apart = np.array([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert bald(alike)[0] == pytest.approx(0, abs=1e-12)
    assert bald(apart)[0] == pytest.approx(np.log(2))


def test_core_set_takes_the_farthest_each_time(cloud):
    order = core_set(cloud, np.array([3, 10]), 12)
    have = [3, 10]
    for item in order.tolist():
        nearest = cdist(cloud, cloud[have]).min(axis=1)
        assert nearest[item] == pytest.approx(nearest.max())
        have.append(item)
    assert len(set(have)) == 14


def test_core_set_is_within_twice_the_best_radius():
    # four tight groups: the best radius is that of a group
    centres = np.array([[0, 0], [10, 0], [0, 10], [10, 10]])
    points = (centres[:, None] + np.random.default_rng(0).normal(0, 0.1, (4, 25, 2))).reshape(100, 2)
    order = core_set(points, np.empty(0, int), 4, seed=5)
    assert set((order // 25).tolist()) == {0, 1, 2, 3}
    np.testing.assert_array_equal(order, core_set(points, np.empty(0, int), 4, seed=5))
    assert core_set(points, np.arange(100), 5).tolist() == []
    assert len(core_set(points, np.arange(97), 50)) == 3


def test_novelty_beside_what_was_seen_is_that_of_novelty_scores(cloud):
    seen = np.arange(30)
    np.testing.assert_allclose(novelty(cloud, seen), novelty_scores(cloud[:30], cloud))
    np.testing.assert_allclose(
        novelty(cloud, seen, "isolation_forest", 4), novelty_scores(cloud[:30], cloud, "isolation", seed=4)
    )


def test_novelty_among_all_leaves_each_item_out_of_its_own_neighbours(cloud):
    scaled = cloud / cloud.std(axis=0)
    distance = np.sort(cdist(scaled, scaled), axis=1)[:, 1:11].mean(axis=1)
    np.testing.assert_allclose(novelty(cloud), distance)
    factor = LocalOutlierFactor(n_neighbors=10).fit(scaled - scaled.mean(axis=0))
    np.testing.assert_allclose(novelty(cloud, kind="lof"), -factor.negative_outlier_factor_)


@pytest.mark.parametrize("kind", ["knn", "isolation_forest", "lof"])
def test_what_lies_apart_is_asked_first(cloud, kind):
    cloud[17] = 8
    assert novelty(cloud, kind=kind).argmax() == 17
    if kind != "isolation_forest":  # which cannot tell how far outside of all that was seen an item is
        assert novelty(cloud, np.arange(10), kind).argmax() == 17


@given(n=st.integers(0, 50), seed=st.integers(0, 5))
def test_random_order_has_each_item_once(n, seed):
    order = random_order(n, seed)
    assert sorted(order.tolist()) == list(range(n))
    np.testing.assert_array_equal(order, random_order(n, seed))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: entropy(np.ones((3, 1))), DatasetError, r"shape \(3, 1\)"),
        (lambda: entropy([[0.5, 0.5], [0.5, 0.6]]), DatasetError, "item 1 are"),
        (lambda: margin([[np.nan, 0.5]]), DatasetError, "item 0 are"),
        (lambda: bald(np.full((1, 3, 2), 0.5)), DatasetError, "two members at least"),
        (lambda: expected_cost([[0.5, 0.5]], [1]), UsageError, "one above 0 for each of 2 classes"),
        (lambda: expected_cost([[0.5, 0.5]], [1, 0]), UsageError, "one above 0"),
        (lambda: core_set([[0.0], [np.inf]], [], 1), DatasetError, "item 1 is not finite"),
        (lambda: core_set([[0.0], [1.0]], [2], 1), DatasetError, "item 2 is meant, but there are 2 items"),
        (lambda: novelty(np.eye(3), kind="deep"), UsageError, "choose knn, isolation_forest, lof"),
    ],
)
def test_what_cannot_be_weighed_is_told(call, error, words):
    with pytest.raises(error, match=words):
        call()
