"""Thresholds and their prices beside brute force and the closed form of perfect probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from astrid.errors import DatasetError, UsageError
from astrid.learn.decisions import cost_curve, least_cost_threshold, prices
from astrid.learn.task import Cost


def honest(n, seed):
    """Probabilities that are right, and labels drawn from them."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.4, 0.9, n).astype(np.float32)
    return (rng.random(n) < p).astype(np.float32), p


def total_cost(labels, p, threshold, cost):
    taken = p >= threshold
    return ((~taken & (labels == 1)) * cost.miss + (taken & (labels == 0)) * cost.false_alarm).mean()


@given(st.integers(0, 1000), st.floats(0.1, 30), st.floats(0.1, 30), st.booleans())
@example(630, 1.0, 6.0, True)  # with an item of probability 1
def test_no_threshold_is_cheaper(seed, miss, false_alarm, rounded):
    labels, p = honest(60, seed)
    labels[:2] = 0, 1
    p = np.round(p, 1) if rounded else p
    cost = Cost(miss=miss, false_alarm=false_alarm)
    found = least_cost_threshold(labels, p, cost).threshold
    every = np.concatenate([[0], np.unique(p), np.nextafter(np.unique(p), 2), [1]])
    every = every[every <= 1]  # none refuses an item whose probability is 1
    assert total_cost(labels, p, found, cost) <= min(total_cost(labels, p, t, cost) for t in every) + 1e-9


def test_threshold_of_honest_probabilities_is_that_of_theory():
    labels, p = honest(300_000, 1)
    for miss, false_alarm in ((20, 1), (1, 1), (1, 4)):
        found = least_cost_threshold(labels, p, Cost(miss=miss, false_alarm=false_alarm)).threshold
        assert found == pytest.approx(false_alarm / (miss + false_alarm), abs=0.03)


def test_of_equally_cheap_thresholds_the_nearest_to_theory_is_taken():
    labels, p = np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.8, 0.9])
    assert least_cost_threshold(labels, p, Cost()).threshold == pytest.approx(0.5)


def test_curve_is_the_cost_at_each_of_its_thresholds():
    labels, p = honest(500, 2)
    p = np.round(p, 2)
    cost = Cost(miss=7, false_alarm=2)
    curve = cost_curve(labels, p, cost)
    wanted = [total_cost(labels, p, np.float32(t), cost) for t in curve.threshold]
    np.testing.assert_allclose(curve.cost, wanted, atol=1e-12)
    assert (np.diff(curve.threshold) > 0).all()
    assert curve.miss[0] == 0
    assert curve.false_alarm[0] == 1


def test_neighbours_in_single_precision_are_still_told_apart():
    low = np.float32(0.3)
    p = np.array([low, np.nextafter(low, np.float32(1))], np.float32)
    found = least_cost_threshold(np.array([0, 1]), p, Cost()).threshold
    assert (p >= found).tolist() == [False, True]


def test_a_rare_class_moves_the_threshold_up_where_it_is_rarer_still():
    labels, p = honest(20_000, 3)
    usual = least_cost_threshold(labels, p, Cost())
    rare = least_cost_threshold(labels, p, Cost(), prevalence=0.01)
    assert rare.threshold > usual.threshold + 0.2
    assert rare.rule == "least expected cost, miss 1, false alarm 1, prevalence 0.01"


def test_prices_of_a_night_are_counts_scaled_to_its_rate():
    labels = np.repeat([1.0, 0.0, np.nan], [10, 90, 5])
    p = np.concatenate([np.linspace(0.05, 0.95, 10), np.linspace(0, 0.5, 90), np.ones(5)])
    half, none = prices(
        labels, p, {"half": 0.5, "nothing": 1.0}, Cost(miss=20, false_alarm=1), night_rate=1000
    )
    assert (half.found, half.missed, half.in_vain) == pytest.approx((50, 50, 10))
    assert half.to_look_at == pytest.approx(60)
    assert half.purity == pytest.approx(50 / 60)
    assert half.cost == pytest.approx(50 * 20 + 10)
    assert none.purity is None
    assert none.to_look_at == 0
    (rare,) = prices(labels, p, {"half": 0.5}, Cost(), night_rate=1000, prevalence=0.01)
    assert (rare.found, rare.in_vain) == pytest.approx((5, 990 / 90))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: cost_curve(np.ones(3), np.full(3, 0.5), Cost()), DatasetError, "not of two classes"),
        (lambda: cost_curve(np.full(3, np.nan), np.full(3, 0.5), Cost()), DatasetError, "not of two classes"),
        (lambda: cost_curve(np.array([0, 1]), np.array([0, np.nan]), Cost()), DatasetError, "0 and 1"),
        (lambda: cost_curve(np.array([0, 1]), np.array([0.2]), Cost()), DatasetError, "1 probabilities"),
        (lambda: cost_curve(np.array([0, 1]), np.array([0, 1]), Cost(), prevalence=0), UsageError, "0"),
        (
            lambda: prices(np.array([0, 1]), np.array([0, 1]), {"a": 0.5}, Cost(), night_rate=0),
            UsageError,
            "nightly rate 0",
        ),
    ],
)
def test_what_cannot_be_decided_is_told_in_one_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()
