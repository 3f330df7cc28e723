"""Fourier series are those of least squares, and their terms bring back what was put in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from astrid.errors import LightCurveError
from astrid.lightcurves.fourier import FOURIER_NAMES, fourier_series, fourier_terms, series_model
from astrid.lightcurves.lightcurve import LightCurve

pytest.importorskip("numba")


def _series(amplitudes, phases, slope=0.0, n=300, noise=0.01, period=0.61, seed=0):
    random = np.random.default_rng(seed)
    time = 58000 + np.sort(random.uniform(0, 700, n))
    angle = 2 * np.pi * time / period
    mag = 16 + slope * (time - time[0])
    for k, (amplitude, phase) in enumerate(zip(amplitudes, phases, strict=True), 1):
        mag += amplitude * np.sin(k * angle + phase)
    error = random.uniform(0.5, 1.5, n) * noise
    return LightCurve(time, mag + random.normal(0, error), error)


def _least_squares(curve, period, harmonics):
    """χ² and coefficients by a decomposition that shares nothing with ours."""
    t = curve.time
    basis = [np.ones_like(t), t - t[0]]
    for k in range(1, harmonics + 1):
        basis += [np.cos(2 * np.pi * k * t / period), np.sin(2 * np.pi * k * t / period)]
    matrix = np.array(basis).T / curve.error[:, None]
    solution = np.linalg.lstsq(matrix, curve.value / curve.error, rcond=None)[0]
    return (((curve.value / curve.error) - matrix @ solution) ** 2).sum(), solution


@pytest.mark.parametrize("seed", range(6))
def test_the_number_of_harmonics_and_the_coefficients_are_those_of_least_squares(seed):
    random = np.random.default_rng(seed)
    curve = _series(random.uniform(0, 0.05, 5) * (np.arange(5) < seed), random.uniform(0, 6, 5), seed=seed)
    period = 0.61
    fits = [_least_squares(curve, period, k) for k in range(6)]
    bic = [chi2 + np.log(len(curve)) * (2 + 2 * k) for k, (chi2, _) in enumerate(fits)]
    best = int(np.argmin(bic))
    columns = (curve.time, curve.value, curve.error, [0, len(curve)], [period])
    found = fourier_series(*columns, relative=False)[0]
    assert_allclose(found[0], 1 - fits[best][0] / fits[0][0], rtol=1e-6, atol=1e-9)
    assert_allclose(found[1], bic[best], rtol=1e-8)
    assert_allclose(found[2 : 4 + 2 * best], fits[best][1], rtol=1e-6, atol=1e-8)
    assert (found[4 + 2 * best :] == 0).all()


def test_what_was_put_in_comes_back():
    curve = _series([0.4, 0.2, 0.1], [1.0, 2.5, 4.0], slope=1e-4, noise=0.005)
    found = fourier_terms(curve, 0.61)
    assert list(found) == list(FOURIER_NAMES)
    assert_allclose(found["f1_amp"], 0.4, rtol=0.01)
    assert_allclose(found["f1_phi0"], 1.0, atol=0.01)
    assert_allclose([found["f1_relamp1"], found["f1_relamp2"]], [0.5, 0.25], rtol=0.02)
    assert_allclose(found["f1_relphi1"], (2.5 / 2 - 1.0) / np.pi % 1, atol=0.01)
    assert_allclose(found["f1_relphi2"], (4.0 / 3 - 1.0) / (2 * np.pi / 3) % 1, atol=0.01)
    assert found["f1_relamp3"] == found["f1_relphi3"] == 0
    assert_allclose([found["f1_a"], found["f1_b"]], [16, 1e-4], rtol=0.03)
    assert found["f1_power"] > 0.99


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 20), st.integers(0, 1000))
def test_relative_terms_do_not_depend_on_when_one_starts(shift, seed):
    random = np.random.default_rng(seed)
    curve = _series([0.5, 0.3, 0.2, 0.1, 0.05], random.uniform(0, 6, 5), noise=0.002)
    later = LightCurve(curve.time + shift, curve.value, curve.error)
    one, other = fourier_terms(curve, 0.61), fourier_terms(later, 0.61)
    for name in FOURIER_NAMES:
        if "relphi" in name:
            assert abs((one[name] - other[name] + 0.5) % 1 - 0.5) < 1e-6, name
        elif name != "f1_phi0":
            assert_allclose(one[name], other[name], rtol=1e-6, atol=1e-9)


def test_the_model_is_the_fit():
    curve = _series([0.4, 0.2, 0.1, 0.05, 0.03], [1, 2, 3, 4, 5], slope=-2e-4, noise=0.003)
    terms = fourier_terms(curve, 0.61)
    model = series_model(terms, curve.time, curve.time[0], 0.61)
    chi2 = (((curve.value - model) / curve.error) ** 2).sum()
    assert_allclose(chi2 + np.log(len(curve)) * 12, terms["f1_bic"], rtol=1e-6)


def test_noise_bears_no_harmonics():
    curve = _series([], [], noise=0.05)
    found = fourier_terms(curve, 0.61)
    assert found["f1_power"] == found["f1_amp"] == found["f1_relamp4"] == 0


def test_few_points_bear_few_harmonics():
    found = fourier_terms(_series([0.5, 0.3], [1, 2], n=5, noise=1e-4), 0.61)
    assert np.isfinite(list(found.values())).all()
    assert found["f1_relamp1"] == 0


def test_a_period_of_the_cadence_leaves_out_what_cannot_be_told_apart():
    time = np.arange(40.0)
    curve = LightCurve(time, 16 + 0.1 * np.sin(time), np.full(40, 0.01))
    found = fourier_terms(curve, 1.0)
    assert np.isfinite(list(found.values())).all()
    assert found["f1_amp"] == 0


@pytest.mark.parametrize("period", [0.0, -1.0, np.nan, np.inf])
def test_a_period_that_is_none_is_refused(period):
    with pytest.raises(LightCurveError, match="give a positive one"):
        fourier_terms(_series([0.1], [0]), period)


@pytest.mark.real_data
def test_rr_lyrae_of_both_types_differ_in_their_second_harmonic(real_data):
    from astrid.lightcurves.reading import read_lightcurves

    lines = [
        line.split(",")
        for line in (real_data / "lightcurves/crts/crts_train_labels.csv").read_text().splitlines()
    ]
    known = {line[0]: (line[1], float(line[5])) for line in lines[1:] if line[5]}
    terms: dict[str, list] = {"RRab": [], "RRc": []}
    for curve in read_lightcurves(real_data / "lightcurves/crts/crts_train_lc.parquet"):
        kind, period = known.get(curve.name, ("", 0.0))
        if kind in terms and len(terms[kind]) < 200:
            terms[kind].append(fourier_terms(curve, period))
    ratio = {kind: np.median([row["f1_relamp1"] for row in rows]) for kind, rows in terms.items()}
    # Simon & Teays 1982: R21 is 0.4 to 0.5 for type ab, 0.1 to 0.2 for type c
    assert 0.35 < ratio["RRab"] < 0.55
    assert ratio["RRc"] < 0.25
    assert np.median([row["f1_power"] for row in terms["RRab"]]) > 0.5
