"""The statistics of drift, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.stream.shifts import corrected, shift_of_numbers, shift_of_shares, stability_index


def test_index_is_the_symmetric_divergence_of_the_shares():
    # counts so large that the smoothing does not matter
    counts, reference = np.array([20_000_000, 80_000_000]), np.array([50_000_000, 50_000_000])
    expected = (0.2 - 0.5) * np.log(0.2 / 0.5) + (0.8 - 0.5) * np.log(0.8 / 0.5)
    assert stability_index(counts, reference) == pytest.approx(expected, rel=1e-4)
    assert stability_index(reference, counts) == pytest.approx(expected, rel=1e-4)


def test_index_without_a_change_is_on_average_its_bias():
    rng = np.random.default_rng(1)
    n, m, k = 400, 900, 10
    draws = [
        stability_index(
            np.bincount(rng.integers(0, k, n), minlength=k),
            np.bincount(rng.integers(0, k, m), minlength=k),
            unbiased=False,
        )
        for _ in range(2000)
    ]
    scaled = np.array(draws) / (1 / n + 1 / m)  # chi-squared with 9 degrees of freedom
    assert scaled.mean() == pytest.approx(9, abs=0.35)
    assert scaled.var() == pytest.approx(18, rel=0.15)


def test_shift_of_a_normal_distribution_has_its_known_index():
    rng = np.random.default_rng(2)
    delta = 0.5
    found = shift_of_numbers(rng.normal(delta, 1, 40_000), rng.normal(0, 1, 40_000))
    # in the limit of fine bins the index is Jeffreys' divergence, delta squared; ten bins see nearly all
    assert 0.85 * delta**2 < found.psi < delta**2
    assert found.p < 1e-100
    assert found.distance == pytest.approx(0.1974, abs=0.012)  # 2 Phi(delta / 2) - 1


def test_a_value_that_many_share_is_a_bin_of_its_own():
    reference = np.full(500, 3.0)
    assert shift_of_numbers(np.full(300, 3.0), reference).psi == 0
    for other in (np.full(300, 2.0), np.full(300, 4.0)):
        found = shift_of_numbers(other, reference)
        assert found.psi > 5
        assert found.p < 1e-50
    rng = np.random.default_rng(3)
    half = np.where(rng.random(1000) < 0.5, 1.0, rng.random(1000))
    moved = np.where(rng.random(1000) < 0.9, 1.0, rng.random(1000))
    assert shift_of_numbers(moved, half).psi > 0.5


def test_a_share_that_appears_is_seen_and_equal_ones_are_not():
    found = shift_of_shares(60, 100, 10, 1000)
    assert found.psi > 1
    assert found.p < 1e-20
    assert (found.centre, found.centre_reference) == (0.6, 0.01)
    assert shift_of_shares(5, 100, 50, 1000).psi == 0


def test_p_values_are_corrected_as_benjamini_and_hochberg_did():
    # the example of their paper, table 1: 15 p-values, of which the first four are significant at 0.05
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
         0.6528, 0.7590, 1.0000]  # fmt: skip
    assert (corrected(p) < 0.05).sum() == 4
    assert corrected([]).size == 0
