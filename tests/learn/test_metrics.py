"""Figures of merit beside scikit-learn, and intervals beside theory."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn import metrics as oracle

from astrid.errors import DatasetError, UsageError
from astrid.learn import metrics


def items(seed, n=200, ties=False):
    rng = np.random.default_rng(seed)
    labels = rng.random(n) < 0.3
    labels[:2] = True, False
    scores = (labels + rng.normal(0, 1, n)).astype(np.float32)
    return labels, np.round(scores, 0) if ties else scores


@given(st.integers(0, 10_000), st.booleans())
def test_figures_of_a_ranking_are_those_of_scikit_learn(seed, ties):
    labels, scores = items(seed, ties=ties)
    assert metrics.aucpr(labels, scores) == pytest.approx(oracle.average_precision_score(labels, scores))
    assert metrics.auroc(labels, scores) == pytest.approx(oracle.roc_auc_score(labels, scores))
    fpr, tpr, _ = oracle.roc_curve(labels, scores, drop_intermediate=False)
    for limit in (0, 0.01, 0.1, 0.5, 1):
        assert metrics.recall_at_fpr(labels, scores, limit) == pytest.approx(tpr[fpr <= limit].max())
        assert metrics.fpr_at_recall(labels, scores, limit) == pytest.approx(
            fpr[1:][tpr[1:] >= limit - 1e-9].min()
        )
    found = metrics.Ranking.of(labels, scores)
    np.testing.assert_allclose(found.recall, tpr[1:])
    np.testing.assert_allclose(found.fpr, fpr[1:])


@given(st.integers(0, 10_000), st.booleans())
def test_figures_at_a_threshold_are_those_of_scikit_learn(seed, ties):
    labels, scores = items(seed, ties=ties)
    taken = scores >= 0
    assert metrics.f1(labels, scores, 0) == pytest.approx(oracle.f1_score(labels, taken))
    assert metrics.precision(labels, scores, 0) == pytest.approx(oracle.precision_score(labels, taken))
    assert metrics.miss_rate(labels, scores, 0) == pytest.approx(1 - oracle.recall_score(labels, taken))
    specificity = oracle.recall_score(~labels, ~taken)
    assert metrics.false_alarm_rate(labels, scores, 0) == pytest.approx(1 - specificity)
    assert metrics.balanced_accuracy(labels, scores, 0) == pytest.approx(
        oracle.balanced_accuracy_score(labels, taken)
    )


@given(st.integers(0, 10_000))
def test_figures_of_several_classes_are_those_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, found = rng.integers(0, 4, (2, 60))
    assert (metrics.confusion(truth, found, 5)[:4, :4] == oracle.confusion_matrix(
        truth, found, labels=range(4)
    )).all()  # fmt: skip
    assert metrics.macro_f1(truth, found, 5) == pytest.approx(oracle.f1_score(truth, found, average="macro"))


def test_thresholds_reach_what_they_were_asked_for():
    labels, scores = items(1, ties=True)
    ranking = metrics.Ranking.of(labels, scores)
    at = ranking.threshold_at_recall(0.9)
    assert 1 - metrics.miss_rate(labels, scores, at) >= 0.9
    assert 1 - metrics.miss_rate(labels, scores, at + 0.01) < 0.9
    at = ranking.threshold_at_fpr(0.2)
    assert metrics.false_alarm_rate(labels, scores, at) <= 0.2
    assert metrics.false_alarm_rate(labels, scores, at - 1) > 0.2
    assert metrics.Ranking.of(np.array([0, 1]), np.array([1.0, 0.0])).threshold_at_fpr(0.5) is None


def test_nmad_of_gaussian_errors_is_their_width_and_outliers_do_not_move_it():
    errors = np.random.default_rng(2).normal(0.3, 0.1, 50_000)
    assert metrics.bias(errors) == pytest.approx(0.3, abs=0.002)
    assert metrics.nmad(errors) == pytest.approx(0.1, rel=0.02)
    errors[:500] = 100
    assert metrics.nmad(errors) == pytest.approx(0.1, rel=0.04)
    assert metrics.outlier_fraction(errors, 1) == 0.01


def test_interval_of_a_mean_over_groups_is_that_of_theory():
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(400), 25)
    values = np.repeat(rng.normal(0, 1, 400), 25)  # rows of one group are the same: 400 items, not 10,000
    low, high = metrics.interval(lambda x: x.mean(), values, groups=groups, n=2000)
    half = norm.ppf(0.975) * values.std() / np.sqrt(400)
    assert (high - low) / 2 == pytest.approx(half, rel=0.06)
    assert (high + low) / 2 == pytest.approx(values.mean(), abs=0.1 * half)


def test_interval_over_groups_of_one_row_is_the_binomial_one():
    hits = np.arange(1000) < 300
    low, high = metrics.interval(lambda x: x.mean(), hits, groups=np.arange(1000), n=2000)
    assert (low, high) == pytest.approx(
        (0.3 - 1.96 * np.sqrt(0.21e-3), 0.3 + 1.96 * np.sqrt(0.21e-3)), abs=0.004
    )


def test_groups_of_any_sizes_are_drawn_whole():
    groups = np.array(["a", "b", "b", "c", "c", "c", "a"])
    values = np.array([1, 2, 2, 4, 4, 4, 1])

    def check(drawn, of):
        for value, size in ((1, 2), (2, 2), (4, 3)):
            assert (drawn == value).sum() % size == 0
        assert ((of == "a") == (drawn == 1)).all()
        return len(drawn)

    lengths = metrics.resampled(check, values, groups, groups=groups, n=100)[:, 0]
    assert set(lengths) <= set(range(6, 10))
    assert len(set(lengths)) > 1


def test_resamples_without_a_class_are_left_out_and_one_group_has_no_interval():
    labels, scores = items(4, n=40)
    few = np.where(np.arange(40) < 38, 0, 1)  # positives all in one of 20 groups
    groups = np.arange(40) // 2
    low, high = metrics.interval(metrics.auroc, few, scores, groups=groups)
    assert 0 <= low <= high <= 1
    assert metrics.interval(metrics.auroc, labels, scores, groups=np.zeros(40)) == (None, None)
    alone = np.append(np.zeros(99), 1)
    assert metrics.interval(metrics.auroc, alone, np.arange(100), groups=np.append(np.zeros(99), 1)) == (
        None, None,
    )  # fmt: skip


@pytest.mark.parametrize("n", [0, -1])
def test_no_resamples_are_refused_in_a_sentence(n):
    labels, scores = items(6)
    for function in (metrics.interval, metrics.resampled):
        with pytest.raises(UsageError, match=f"^{n} resamples give no interval; ask for 200"):
            function(metrics.auroc, labels, scores, groups=np.arange(200), n=n)


def test_seed_decides_the_interval():
    labels, scores = items(5)
    groups = np.arange(200) // 4
    first, again, other = (
        metrics.interval(metrics.aucpr, labels, scores, groups=groups, seed=seed) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_200_resamples_of_10000_rows_take_a_second_or_two():
    labels, scores = items(6, n=10_000)
    begin = time.perf_counter()
    metrics.interval(metrics.aucpr, labels, scores, groups=np.arange(10_000) // 20)
    assert time.perf_counter() - begin < 3


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: metrics.aucpr(np.ones(3), np.zeros(3)), "all 3 labelled items are of one class"),
        (lambda: metrics.auroc(np.array([]), np.array([])), "no labelled item"),
        (lambda: metrics.auroc(np.array([0, 1]), np.array([0, np.nan])), "item 1 is nan"),
        (lambda: metrics.auroc(np.array([0, np.nan]), np.array([0, 1])), "has no label"),
        (lambda: metrics.auroc(np.ones(3), np.ones(2)), r"\(3,\) and scores \(2,\)"),
        (lambda: metrics.miss_rate(np.zeros(2), np.zeros(2)), "no positive item"),
        (lambda: metrics.f1(np.zeros(2), np.zeros(2)), "no positive item"),
        (lambda: metrics.false_alarm_rate(np.ones(2), np.zeros(2)), "no negative item"),
        (lambda: metrics.precision(np.ones(2), np.zeros(2)), "no taken item"),
        (lambda: metrics.macro_f1(np.array([], int), np.array([], int), 2), "no labelled item"),
        (lambda: metrics.nmad(np.array([1, np.nan])), "not finite"),
        (lambda: metrics.bias(np.array([])), "no labelled item"),
    ],
)
def test_a_figure_that_does_not_exist_is_told_in_one_sentence(call, words):
    with pytest.raises(DatasetError, match=words):
        call()
