"""The benchmark of light curves counts as it says."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from astrid.bench._curve_speed import _naive
from astrid.bench._periods import recovered
from astrid.bench._transits import at_equal_classes
from astrid.bench._variables import CRTS_MIX, weighted_scores


def test_periods_are_exact_or_up_to_a_multiple():
    wanted = np.array([1.0, 1.0, 2.0, 0.3, 0.3, 5.0])
    found = np.array([1.004, 1.006, 1.0, 0.9, 0.45, 5 / 3 * 1.0049])
    exact, similar = recovered(found, wanted)
    assert exact.tolist() == [True, False, False, False, False, False]
    assert similar.tolist() == [True, False, True, True, False, True]


def test_weighted_scores_are_those_of_scikit_learn():
    rng = np.random.default_rng(3)
    truth, found = rng.integers(0, 7, 400), rng.integers(0, 7, 400)
    found[:200] = truth[:200]
    weight = rng.uniform(0.1, 9, 7)[truth]
    accuracy, f1 = weighted_scores(truth, found, weight, 7)
    assert accuracy == pytest.approx(accuracy_score(truth, found, sample_weight=weight))
    assert f1 == pytest.approx(f1_score(truth, found, average="macro", sample_weight=weight))


def test_the_mix_is_that_of_the_catalogue():
    assert sum(CRTS_MIX.values()) == 45_860
    assert CRTS_MIX["EW"] / sum(CRTS_MIX.values()) == pytest.approx(0.67, abs=0.001)


def test_the_straightforward_kernels_compute_what_ours_do():
    pytest.importorskip("numba")
    from astrid.lightcurves.periods import FrequencyGrid, binned_power, clean_points, conditional_entropy

    rng = np.random.default_rng(5)
    time = np.sort(rng.uniform(0, 50, 80))
    points = clean_points(time, np.sin(time * 3) + rng.normal(0, 0.1, 80))
    grid = FrequencyGrid(0.1, 0.003, 200)
    entropy, variance = _naive()
    level = (10 * (points.mag - points.mag.min()) / np.ptp(points.mag)).clip(0, 9).astype(np.int64)
    ours = conditional_entropy(points, grid)
    assert np.corrcoef(entropy(points.time, level, grid.frequencies), ours)[0, 1] > 0.9999
    between = variance(points.time, points.mag, grid.frequencies)
    total = np.square(points.mag - points.mag.mean()).sum()
    assert between / total == pytest.approx(binned_power(points, grid), abs=2e-3)


def test_scores_at_equal_classes_are_those_of_bayes():
    share, ratio = 0.2, np.array([0.1, 1.0, 7.0])  # of the likelihoods
    given = ratio * share / (ratio * share + 1 - share)
    assert at_equal_classes(given, share) == pytest.approx(ratio / (ratio + 1))
