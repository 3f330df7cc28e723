"""The flux ratio survives noise in both frames and stars that vary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from astrid.errors import SubtractionError
from astrid.images.flux_ratio import measure_flux_ratio


def stars(n, ratio, seed, *, snr=50.0, outliers=0.0, scatter=0.0, steepness=1.5):
    """Fluxes of the same stars in two frames with errors of like size."""
    rng = np.random.default_rng(seed)
    flux = 1e4 * rng.pareto(steepness, n) + 1e4
    science_err = np.full(n, 1e4 / snr)
    reference_err = ratio * science_err
    other = ratio * flux * (1 + scatter * rng.standard_normal(n))
    vary = rng.random(n) < outliers
    other[vary] *= rng.uniform(1.3, 3.0, vary.sum())
    return (
        flux + science_err * rng.standard_normal(n),
        science_err,
        other + reference_err * rng.standard_normal(n),
        reference_err,
    )


def test_noiseless_stars_give_the_ratio_exactly():
    flux = np.array([1e3, 2e3, 5e3, 7e4])
    found = measure_flux_ratio(flux, np.ones(4), 0.37 * flux, np.ones(4))
    assert found.value == pytest.approx(0.37, rel=1e-6)
    assert found.n_stars == 4
    assert found.scatter == 0


@pytest.mark.parametrize("ratio", [0.02, 0.8, 30.0])
def test_a_fifth_of_variable_stars_does_not_move_the_ratio(ratio):
    found = measure_flux_ratio(*stars(200, ratio, seed=1, outliers=0.2))
    assert found.value == pytest.approx(ratio, rel=0.01)
    assert abs(found.value - ratio) < 4 * found.error
    assert 120 <= found.n_stars <= 175


def test_the_ratio_is_unbiased_and_its_error_honest_with_noise_in_both_frames():
    ratio = 0.8
    runs = [measure_flux_ratio(*stars(60, ratio, seed, snr=15)) for seed in range(200)]
    pulls = np.array([(run.value - ratio) / run.error for run in runs])
    values = np.array([run.value for run in runs])
    assert abs(values.mean() - ratio) < 4 * values.std() / np.sqrt(len(values))
    assert 0.8 < pulls.std() < 1.2


def test_it_agrees_with_orthogonal_distance_regression():
    # Faint stars only, whose noise hides the scatter that real stars are granted.
    fs, es, fr, er = stars(100, 1.7, seed=3, snr=15, steepness=20)
    chi2 = minimize_scalar(lambda b: (((fr - b * fs) ** 2) / (er**2 + (b * es) ** 2)).sum(), (1.0, 2.0))
    found = measure_flux_ratio(fs, es, fr, er)
    assert abs(found.value - chi2.x) < 0.2 * found.error


def test_swapping_the_frames_inverts_the_ratio():
    fs, es, fr, er = stars(100, 2.5, seed=4, snr=20, outliers=0.1)
    there, back = measure_flux_ratio(fs, es, fr, er), measure_flux_ratio(fr, er, fs, es)
    assert there.value * back.value == pytest.approx(1, abs=0.5 * there.error / there.value)


def test_scatter_beyond_the_noise_is_measured():
    found = measure_flux_ratio(*stars(400, 0.8, seed=5, snr=500, scatter=0.05))
    assert found.scatter == pytest.approx(0.05, rel=0.25)


def test_what_is_not_finite_or_too_faint_is_left_out():
    fs, es, fr, er = stars(50, 0.8, seed=6)
    fs[3], fr[4], er[5], es[6], fs[7] = np.nan, np.inf, np.inf, np.nan, 0.1 * es[7]
    assert measure_flux_ratio(fs, es, fr, er).n_stars <= 45


@pytest.mark.parametrize("n", [0, 2])
def test_too_few_stars_are_refused_in_one_sentence(n):
    with pytest.raises(SubtractionError, match=f"^{n} stars have a flux in both frames, .* needs 3; use"):
        measure_flux_ratio(*stars(n, 1.0, seed=7))
    with pytest.raises(SubtractionError, match="needs 30"):
        measure_flux_ratio(*stars(20, 1.0, seed=7), fewest=30)


@settings(deadline=None, max_examples=60)
@given(st.floats(1e-3, 1e3), st.floats(1e-6, 1e6), st.integers(0, 99))
def test_the_ratio_does_not_depend_on_the_units(ratio, unit, seed):
    fs, es, fr, er = stars(30, 1.0, seed)
    plain = measure_flux_ratio(fs, es, fr, er)
    scaled = measure_flux_ratio(unit * fs, unit * es, ratio * unit * fr, ratio * unit * er)
    assert scaled.value == pytest.approx(ratio * plain.value, rel=1e-5)
    assert scaled.error == pytest.approx(ratio * plain.error, rel=1e-3)
