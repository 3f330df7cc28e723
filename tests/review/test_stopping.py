"""A learning curve says when more answers are no longer worth it, and is not in haste to say so."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit

from astrid.review.promotion import AUCPR
from astrid.review.stopping import outlook
from astrid.store.trainings import TrainingRecord


def record(n: int, value: float, half: float) -> TrainingRecord:
    figure = {"name": AUCPR, "after": value, "after_low": value - half, "after_high": value + half}
    return TrainingRecord(
        n, "braai", float(n), "ana", f"braai.review{n}", "h", "braai.sim1", "g", n, 100, "kept", "",
        {"compared": [figure]},
    )  # fmt: skip


def test_the_expected_gain_is_the_slope_of_a_weighted_line():
    n, value, half = [100, 200, 500, 800], [0.70, 0.76, 0.81, 0.86], [0.05, 0.04, 0.03, 0.03]
    found = outlook([record(*row) for row in zip(n, value, half, strict=True)])
    fit, covariance = curve_fit(
        lambda x, a, b: a + b * x, np.log2(n), value, sigma=np.array(half) / 1.95996, absolute_sigma=True
    )
    assert found.gain == pytest.approx(fit[1])
    assert found.low == pytest.approx(fit[1] - 1.95996 * covariance[1, 1] ** 0.5, abs=1e-5)
    assert found.high == pytest.approx(fit[1] + 1.95996 * covariance[1, 1] ** 0.5, abs=1e-5)
    assert not found.flat
    assert found.advice.endswith("so go on")


def test_a_flat_curve_that_is_well_measured_stops():
    curve = [record(100 * 2**k, 0.950 + 0.0005 * k, 0.004) for k in range(5)]
    found = outlook(curve)
    assert found.flat
    assert "hardly worth the time, so stop" in found.advice
    # the same curve, badly measured, does not
    assert not outlook([record(100 * 2**k, 0.950 + 0.0005 * k, 0.04) for k in range(5)]).flat


def test_nothing_is_promised_above_one():
    found = outlook([record(100, 0.5, 0.01), record(200, 0.9, 0.01), record(400, 0.998, 0.001)])
    assert found.high == pytest.approx(0.002)
    assert found.flat
    assert found.advice.startswith(
        "AUCPR is 0.9980 and cannot rise by more than 0.0020, which is hardly worth"
    )


@pytest.mark.parametrize("n", [[], [100], [100, 200], [100, 100, 100, 200]])
def test_two_numbers_of_answers_are_no_curve(n):
    found = outlook([record(one, 0.9, 0.01) for one in n])
    assert (found.flat, found.gain, found.n_trainings) == (False, None, len(set(n)))
    assert "so go on" in found.advice


def test_steps_back_and_trainings_without_a_comparison_say_nothing():
    empty = record(300, 0.9, 0.1)._replace(figures={})
    assert outlook([empty, empty._replace(n_labels=0)]).n_trainings == 0
