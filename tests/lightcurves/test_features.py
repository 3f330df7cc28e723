"""Features are what their definitions say, and those of other libraries where these have them."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from astrid.errors import DependencyError, LightCurveError
from astrid.lightcurves.features import (
    FEATURES,
    STATISTICS,
    features,
    features_of,
    shapiro_weights,
    statistics,
)
from astrid.lightcurves.lightcurve import LightCurve

pytest.importorskip("numba")


def _curve(n: int = 200, seed: int = 0, name: str = "star") -> LightCurve:
    random = np.random.default_rng(seed)
    time = np.sort(random.uniform(0, 1000, n))
    error = random.uniform(0.02, 0.2, n)
    return LightCurve(time, 16 + 0.3 * np.sin(time) + random.normal(0, error), error, name=name)


def _defined(curve: LightCurve) -> dict[str, float]:
    """The definitions, written as the paper's table has them."""
    from scipy import stats

    t, m, e = curve.time, curve.value, curve.error
    n, w = len(m), curve.error**-2.0
    mean = np.average(m, weights=w)
    std = np.sqrt(np.average((m - mean) ** 2, weights=w))
    d = np.sqrt(n / (n - 1)) * (m - mean) / e
    products = d[1:] * d[:-1]
    apart = np.diff(t) > 0
    weight = np.diff(t)[apart] ** -2.0
    faint, bright = (m - e).max(), (m + e).min()

    def between(low: float) -> float:
        return float(np.diff(np.percentile(m, [low, 100 - low]))[0])

    return {
        "n": n,
        "median": np.median(m),
        "wmean": mean,
        "chi2red": (w * (m - mean) ** 2).sum() / (n - 1),
        "roms": (np.abs(m - np.median(m)) / e).sum() / (n - 1),
        "wstd": std,
        "norm_peak_to_peak_amp": (faint - bright) / (faint + bright),
        "norm_excess_var": ((m - mean) ** 2 - e**2).sum() / (n * mean**2),
        "median_abs_dev": stats.median_abs_deviation(m),
        "iqr": stats.iqr(m),
        "i60r": between(20),
        "i70r": between(15),
        "i80r": between(10),
        "i90r": between(5),
        "skew": n / (n - 1) / (n - 2) * (((m - mean) / e) ** 3).sum(),
        "smallkurt": n * (n + 1) / (n - 1) / (n - 2) / (n - 3) * (((m - mean) / e) ** 4).sum()
        - 3 * (n - 1) ** 2 / (n - 2) / (n - 3),
        "inv_vonneumannratio": std**2 * weight.sum() / (weight * np.diff(m)[apart] ** 2).sum(),
        "welch_i": products.sum(),
        "stetson_j": (np.sign(products) * np.sqrt(np.abs(products))).sum(),
        "stetson_k": np.abs(d).mean() / np.sqrt((d**2).mean()),
        "ad": stats.anderson(m / e, method="interpolate").statistic,
        "sw": stats.shapiro(m / e).statistic,
    }


@pytest.mark.parametrize("n", [4, 5, 6, 11, 12, 300])
def test_statistics_are_as_defined(n):
    curve = _curve(n, n)
    expected = _defined(curve)
    assert list(expected) == list(STATISTICS)
    found = features(curve)
    for name, value in expected.items():
        assert_allclose(found[name], value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_gaussian_noise_has_the_moments_of_a_gaussian():
    random = np.random.default_rng(3)
    n = 20_000
    noise = LightCurve(np.arange(n), random.normal(16, 0.1, n), np.full(n, 0.1))
    found = features(noise)
    assert_allclose(found["chi2red"], 1, atol=0.03)
    assert_allclose(found["wstd"], 0.1, rtol=0.02)
    assert_allclose(found["median_abs_dev"], 0.06745, rtol=0.03)
    assert_allclose(found["iqr"], 0.1349, rtol=0.03)
    assert_allclose(found["i90r"], 0.3290, rtol=0.03)
    assert_allclose(found["roms"], np.sqrt(2 / np.pi), rtol=0.03)
    assert_allclose(found["stetson_k"], np.sqrt(2 / np.pi), rtol=0.02)
    assert_allclose(found["inv_vonneumannratio"], 0.5, rtol=0.03)
    assert abs(found["skew"]) < 0.06
    assert abs(found["smallkurt"]) < 0.12
    assert found["ad"] < 1.1
    assert found["sw"] > 0.999


def test_a_sinusoid_has_the_quantiles_of_a_sinusoid():
    time = np.arange(10_000) * (np.sqrt(5) - 1) / 2
    sinusoid = LightCurve(time, 16 + 0.5 * np.sin(2 * np.pi * time), np.full(len(time), 0.01))
    found = features(sinusoid)
    assert_allclose(found["wstd"], 0.5 / np.sqrt(2), rtol=1e-3)
    assert_allclose(found["iqr"], 2 * 0.5 * np.sin(np.pi / 4), rtol=5e-3)
    assert_allclose(found["stetson_k"], np.sqrt(8) / np.pi, rtol=1e-3)


def test_extreme_scatter_stays_finite():
    curve = LightCurve(np.arange(1000), np.where(np.arange(1000) == 500, 30.0, 15.0), np.full(1000, 0.001))
    from scipy import stats

    ratio = curve.value / curve.error
    assert_allclose(features(curve)["ad"], stats.anderson(ratio, method="interpolate").statistic, rtol=1e-6)


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 50, 51, 4999])
def test_shapiro_weights_give_scipy_s_statistic(n):
    from scipy import stats

    x = np.sort(np.random.default_rng(n).exponential(size=n))
    weights = shapiro_weights(n)
    found = (weights @ (x[::-1] - x)[: len(weights)]) ** 2 / ((x - x.mean()) ** 2).sum()
    assert_allclose(found, stats.shapiro(x).statistic, rtol=1e-8)


def test_the_library_s_features_have_its_names_and_values():
    light_curve = pytest.importorskip("light_curve")
    curve = _curve(60)
    columns = [column.copy() for column in (curve.time, curve.value, curve.error)]
    found = features(curve, library=True)
    names = [name for name, feature in FEATURES.items() if feature.source == "light-curve"]
    assert len(names) == 32
    for part in (
        light_curve.Cusum(),
        light_curve.OtsuSplit(),
        light_curve.StetsonK(),
        light_curve.LinearFit(),
    ):
        assert_allclose([found[f"lc_{name}"] for name in part.names], part(*columns))
    assert_allclose(found["lc_chi2"], found["chi2red"])
    assert_allclose(found["lc_weighted_mean"], found["wmean"])
    assert_allclose(found["lc_stetson_K"], found["stetson_k"])


def test_every_feature_is_in_the_table_and_comes_in_its_order():
    found = features(_curve(), period=1.5, library=True)
    assert list(found) == list(FEATURES)
    assert len(STATISTICS) == 22
    for name, feature in FEATURES.items():
        assert feature.name == name
        assert feature.meaning
        assert feature.unit in {"", "mag", "mag/d", "d", "rad"}


def test_a_table_has_a_row_for_each_light_curve_and_says_what_is_wrong():
    curves = [
        _curve(50, 1, "a"),
        LightCurve([1, 2], [15, 16], name="b"),
        _curve(60, 2, "c"),
        _curve(70, 3, "d"),
    ]
    curves.append(LightCurve(np.arange(9), np.full(9, 15.0), np.full(9, 0.1), name="e"))
    told = []
    table = features_of(
        curves, [0.5, 1.0, None, 2.0, 1.0], on_progress=lambda done, total: told.append((done, total))
    )
    assert told == [(5, 5)]
    assert table["name"].to_pylist() == ["a", "b", "c", "d", "e"]
    problems = table["problem"].to_pylist()
    assert problems[0] is problems[2] is problems[3] is None
    assert problems[1] == "b: no point has an error; the statistics need errors"
    assert problems[4].startswith("e: all points have one magnitude")
    for row, period in [(0, 0.5), (3, 2.0)]:
        one = features(curves[row], period)
        assert_allclose([table[name][row].as_py() for name in one], list(one.values()), rtol=1e-12)
    assert table["median"].null_count == 2
    assert table["f1_power"].null_count == 3


def test_points_of_one_moment_and_without_errors_do_not_spoil_the_rest():
    curve = LightCurve([1, 1, 2, 3, 4, 5], [15, 15.1, 16, 15, 16, 17], [0.1, 0.2, 0.1, np.nan, 0.1, 0.3])
    whole = LightCurve([1, 1, 2, 4, 5], [15, 15.1, 16, 16, 17], [0.1, 0.2, 0.1, 0.1, 0.3])
    assert features(curve) == features(whole)
    assert features(curve)["n"] == 5


@pytest.mark.parametrize(
    ("curve", "message"),
    [
        (LightCurve([1, 2, 3], [15, 16, 17], [0.1] * 3), "3 points have an error; the statistics need 4"),
        (LightCurve([1, 2, 3, 4], [15, 16, 17, 18]), "no point has an error"),
        (LightCurve([1, 2, 3, 4], [1, 2, 3, 4], [0.1] * 4, unit="nJy"), "of magnitudes, not nJy"),
        (LightCurve([1, 2], [15, 16], band=["g", "r"]), "of one band, not of g, r"),
        (LightCurve([1] * 4, [15, 16, 17, 18], [0.1] * 4), "all points are of one moment"),
        (LightCurve([1, 2, 3, 4], [15] * 4, [0.1] * 4), "all points have one magnitude"),
    ],
)
def test_what_has_no_statistics_is_refused_by_name(curve, message):
    with pytest.raises(LightCurveError, match=f"^light curve: .*{message}"):
        features(curve)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (([0, 1, 2], [0, 1, 2], [1, 1, 1], [0, 3]), "curve 0: 3 points"),
        (([0, 1, 2, 3], [0, 1, 2, 3], [1, 1, 1, 0], [0, 4]), "an error not positive"),
        (
            ([0, 1, 2, 3] * 2, [0, 1, 2, 3] + [5] * 4, [1] * 8, [0, 4, 8]),
            "curve 1: all points have one magnitude",
        ),
        (([0, 1, 2, 3, 4, 6, 5, 7], range(8), [1] * 8, [0, 4, 8]), "curve 1: its times decrease"),
        (([0, 1, 2, 3], [0, 1, 2], [1] * 4, [0, 4]), "do not fit"),
    ],
)
def test_columns_that_are_no_curves_are_refused(columns, message):
    with pytest.raises(LightCurveError, match=message):
        statistics(*columns)


def test_without_numba_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "astrid.lightcurves.statistics_kernels", raising=False)
    with pytest.raises(DependencyError, match=r"astrid\[lightcurves\]"):
        features(_curve())


def test_no_curves_are_no_rows():
    assert features_of([]).num_rows == 0
    assert_array_equal(statistics([], [], [], [0]).shape, (0, 22))


@pytest.mark.real_data
def test_every_real_curve_of_crts_has_every_feature(real_data):
    from astrid.lightcurves.reading import read_lightcurves

    curves = list(read_lightcurves(real_data / "lightcurves/crts/crts_train_lc.parquet"))
    table = features_of(curves, [1.0] * len(curves))
    assert [problem for problem in table["problem"].to_pylist() if problem] == []
    for row in (0, 2500, 5000):
        expected = _defined(curves[row].at(np.isfinite(curves[row].error)))
        assert_allclose([table[name][row].as_py() for name in expected], list(expected.values()), rtol=1e-6)
