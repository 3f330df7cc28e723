"""Calibration beside independent optima, scikit-learn, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, softmax
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from astrid.errors import DatasetError, UsageError
from astrid.learn.bundle import Calibration
from astrid.learn.calibration import (
    brier,
    brier_parts,
    ece,
    fit_isotonic,
    fit_temperature,
    log_loss,
    reliability,
)
from astrid.learn.prediction import averaged, calibrated
from astrid.learn.task import Binary, Multiclass


def overconfident(n=4000, factor=2.5, seed=1):
    """Logits `factor` times too large, and labels drawn from what they should have been."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(-1, 2, n)
    labels = (rng.random(n) < expit(honest)).astype(np.float32)
    return (factor * honest).astype(np.float32), labels


def test_temperature_of_yes_or_no_is_that_of_a_logistic_regression_without_intercept():
    logits, labels = overconfident()
    regression = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-10)
    slope = regression.fit(logits[:, None].astype(np.float64), labels).coef_[0, 0]
    assert fit_temperature(logits, labels).temperature == pytest.approx(1 / slope, rel=1e-5)


def test_temperature_undoes_a_known_overconfidence():
    logits, labels = overconfident(n=40_000)
    assert fit_temperature(logits[:, None], labels).temperature == pytest.approx(2.5, rel=0.05)


def test_temperature_of_several_classes_is_an_independent_optimum():
    rng = np.random.default_rng(2)
    honest = rng.normal(0, 2, (3000, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(honest, axis=1)])
    logits = 3 * honest
    best = minimize(
        lambda t: sklearn_log_loss(labels, softmax(logits / t[0], axis=1)), [1.0], method="Nelder-Mead",
        options={"xatol": 1e-8, "fatol": 1e-14},
    )  # fmt: skip
    assert fit_temperature(logits, labels).temperature == pytest.approx(best.x[0], rel=1e-5)


def test_temperature_of_an_ensemble_is_the_best_for_the_mean_of_its_probabilities():
    logits, labels = overconfident(n=2000)
    members = logits + np.random.default_rng(3).normal(0, 2, (5, len(logits)))
    grid = np.linspace(2, 5, 301)
    losses = [sklearn_log_loss(labels, expit(members / t).mean(axis=0)) for t in grid]
    found = fit_temperature(members[..., None], labels).temperature
    assert found == pytest.approx(grid[np.argmin(losses)], abs=0.011)


def test_one_temperature_serves_all_labels_of_a_multilabel_head():
    one, first = overconfident(n=2000, seed=4)
    other, second = overconfident(n=2000, seed=5)
    both = fit_temperature(np.stack([one, other], axis=1), np.stack([first, second], axis=1))
    joined = fit_temperature(np.concatenate([one, other]), np.concatenate([first, second]))
    assert both.temperature == pytest.approx(joined.temperature, rel=1e-6)


def test_rows_without_a_label_do_not_count():
    logits, labels = overconfident(n=500)
    found = fit_temperature(np.append(logits, 50), np.append(labels, np.nan), fitted_on="validation part")
    assert found.temperature == fit_temperature(logits, labels).temperature
    assert found.fitted_on == "validation part, 500 items"


def test_a_set_that_is_separated_without_error_gets_the_smallest_temperature_and_no_infinity():
    found = fit_temperature(np.linspace(-3, 3, 20), np.repeat([0.0, 1.0], 10))
    assert found.temperature == pytest.approx(0.05, rel=1e-3)


def test_isotonic_map_applied_in_prediction_is_that_of_scikit_learn():
    logits, labels = overconfident()
    p = expit(logits)
    found = fit_isotonic(p, labels)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(p.astype(np.float64), labels)
    fresh = np.random.default_rng(6).normal(0, 8, 1000).astype(np.float32)
    head = Binary(labels=("no", "yes"))
    raw = calibrated(fresh[None, :, None], head, Calibration())[0, :, 0]
    applied = calibrated(fresh[None, :, None], head, found)[0, :, 0]
    np.testing.assert_allclose(applied, oracle.predict(raw.astype(np.float64)), atol=2e-6)
    assert len(found.x) < 200  # of 4000 items
    assert np.all(np.diff(found.x) > 0)
    assert np.all(np.diff(found.y) >= 0)


def test_isotonic_map_of_an_ensemble_is_that_of_its_mean():
    logits, labels = overconfident(n=2000)
    members = (logits + np.random.default_rng(3).normal(0, 2, (5, len(logits)))).astype(np.float32)[..., None]
    head = Binary(labels=("no", "yes"))
    mean = averaged(members, head, Calibration())
    fitted = fit_isotonic(mean, labels)
    oracle = IsotonicRegression(out_of_bounds="clip").fit(mean[:, 0].astype(np.float64), labels)
    np.testing.assert_allclose(
        averaged(members, head, fitted)[:, 0], oracle.predict(mean[:, 0].astype(np.float64)), atol=2e-6
    )
    hot = Calibration(method="temperature", temperature=2.0)
    np.testing.assert_allclose(averaged(members, head, hot), expit(members / 2).mean(axis=0), rtol=1e-5)


def test_calibration_lowers_what_it_says_it_lowers_on_fresh_data():
    logits, labels = overconfident(seed=7)
    fresh, truth = overconfident(seed=8)
    head = Binary(labels=("no", "yes"))
    before = calibrated(fresh[:, None], head, Calibration())
    for fitted in (fit_temperature(logits, labels), fit_isotonic(expit(logits), labels)):
        after = calibrated(fresh[:, None], head, fitted)
        assert ece(truth, after) < 0.4 * ece(truth, before)
        assert brier(truth, after) < brier(truth, before)


def test_ece_in_bins_of_equal_width_is_its_definition():
    p = np.array([0.05, 0.06, 0.41, 0.45, 0.9, 1.0])
    labels = np.array([0, 1, 0, 1, 1, 1])
    wanted = (2 * abs(0.5 - 0.055) + 2 * abs(0.5 - 0.43) + 2 * abs(1 - 0.95)) / 6
    assert ece(labels, p, bins=5, equal_mass=False) == pytest.approx(wanted)


def test_ece_of_honest_probabilities_goes_to_zero_and_that_of_wrong_ones_to_their_error():
    rng = np.random.default_rng(9)
    p = rng.random(200_000)
    labels = rng.random(len(p)) < p
    assert ece(labels, p) < 0.005
    assert ece(labels, p**2) == pytest.approx(1 / 6, abs=0.005)  # integral of p - p^2
    assert ece(labels, p**2, equal_mass=False) == pytest.approx(1 / 6, abs=0.005)


def test_bins_of_equal_mass_hold_equal_masses_and_keep_equal_probabilities_together():
    rng = np.random.default_rng(10)
    found = reliability(rng.random(1000) < 0.5, rng.random(1000), bins=10)
    assert found.n.tolist() == [100] * 10
    p = np.repeat([0.1, 0.8], 50)
    found = reliability(np.repeat([0, 1], 50), p, bins=15)
    np.testing.assert_allclose(found.probability, [0.1, 0.8])
    assert found.observed.tolist() == [0, 1]
    assert found.low[1] == pytest.approx(0.9287, abs=1e-4)  # Wilson: n / (n + z^2)


def test_reliability_of_several_classes_is_that_of_the_first_choice():
    p = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1], [0.2, 0.2, 0.6], [0.9, 0.05, 0.05]])
    found = reliability(np.array([0, 2, 2, -1]), p, bins=1)
    assert found.n.tolist() == [3]
    assert found.probability[0] == pytest.approx((0.7 + 0.6 + 0.6) / 3)
    assert found.observed[0] == pytest.approx(2 / 3)


def test_brier_and_log_loss_are_those_of_scikit_learn():
    logits, labels = overconfident(n=500)
    p = expit(logits.astype(np.float64))
    p = np.clip(p, 1e-6, 1 - 1e-6)
    assert brier(labels, p) == pytest.approx(brier_score_loss(labels, p))
    assert log_loss(labels, p) == pytest.approx(sklearn_log_loss(labels, p))
    rng = np.random.default_rng(11)
    several = softmax(rng.normal(size=(300, 3)), axis=1)
    codes = rng.integers(0, 3, 300)
    assert log_loss(codes, several) == pytest.approx(sklearn_log_loss(codes, several))
    assert brier(codes, several) == pytest.approx(
        brier_score_loss(codes, several, scale_by_half=False, labels=[0, 1, 2])
    )


@given(st.integers(0, 10_000))
def test_parts_of_the_brier_score_add_up_and_none_is_negative(seed):
    rng = np.random.default_rng(seed)
    p, labels = np.round(rng.random(60), 1), rng.random(60) < 0.4
    parts = brier_parts(labels, p)
    total = parts.miscalibration - parts.discrimination + parts.uncertainty
    assert total == pytest.approx(brier(labels, p))
    assert min(parts.miscalibration, parts.discrimination, parts.uncertainty) >= -1e-12


def test_parts_of_the_brier_score_are_murphys_where_the_observed_shares_increase():
    p = np.repeat([0.2, 0.5, 0.8], 100)
    labels = np.concatenate([np.arange(100) < k for k in (10, 60, 70)])
    parts = brier_parts(labels, p)
    shares = np.array([0.1, 0.6, 0.7])
    mean = shares.mean()
    assert parts.miscalibration == pytest.approx(((shares - [0.2, 0.5, 0.8]) ** 2).mean())
    assert parts.discrimination == pytest.approx(((shares - mean) ** 2).mean())
    assert parts.uncertainty == pytest.approx(mean * (1 - mean))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: fit_temperature(np.zeros(3), np.ones(3)), "of one class"),
        (lambda: fit_temperature(np.zeros((3, 2)), np.full(3, -1)), "no item has a label"),
        (lambda: fit_temperature(np.array([0, np.nan, 1]), np.array([0, 1, 1])), "row 1 are not finite"),
        (lambda: fit_temperature(np.zeros(3), np.ones(2)), "3 rows of logits and 2 labels"),
        (lambda: fit_isotonic(np.array([0.1, 1.2]), np.array([0, 1])), r"row 1 is 1\.2"),
        (lambda: fit_isotonic(np.array([0.1, 0.2]), np.array([1, 1])), "of one class"),
        (lambda: ece(np.array([np.nan]), np.array([0.5])), "no item has a label"),
        (lambda: brier(np.array([0, 1]), np.array([0.5])), "1 probabilities and 2 labels"),
    ],
)
def test_what_cannot_be_calibrated_is_told_in_one_sentence(call, words):
    with pytest.raises(DatasetError, match=words):
        call()


def test_no_bins_is_no_request():
    with pytest.raises(UsageError, match="at least 1"):
        ece(np.array([0, 1]), np.array([0.5, 0.6]), bins=0)


def test_temperature_keeps_the_order_of_classes():
    head = Multiclass(labels=("a", "b", "c"))
    logits = np.random.default_rng(12).normal(0, 4, (1, 50, 3)).astype(np.float32)
    hot = calibrated(logits, head, Calibration(method="temperature", temperature=3.0))
    cold = calibrated(logits, head, Calibration())
    assert (hot.argmax(-1) == cold.argmax(-1)).all()
    np.testing.assert_allclose(hot, softmax(logits / 3, axis=-1), rtol=1e-5)
