"""Searches for periods against other libraries, closed forms and loops written out."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.timeseries import BoxLeastSquares, LombScargle
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves import periods
from astrid.lightcurves.periods import FrequencyGrid, clean_points

pytest.importorskip("numba")
SEED = 20201


def curve(period=0.6, n=200, baseline=300.0, seed=SEED, noise=0.1):
    """A saw-toothed pulsator with uneven errors."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(0, baseline, n))
    err = rng.uniform(0.5, 2.0, n) * noise
    angle = 2 * np.pi * time / period
    return time, 15 + np.sin(angle) + 0.5 * np.sin(2 * angle + 1) + err * rng.normal(size=n), err


def loop_entropy(time, mag, frequency, n_phase, n_level):
    """The definition of Graham et al. (2013), written out."""
    level = np.minimum(((mag - mag.min()) / np.ptp(mag) * n_level).astype(int), n_level - 1)
    result = []
    for f in frequency:
        counts = np.zeros((n_phase, n_level))
        np.add.at(counts, (((time * f) % 1.0 * n_phase).astype(int), level), 1)
        total = counts.sum(axis=1, keepdims=True)
        filled = counts > 0
        result.append(
            np.sum((counts * np.log(np.divide(total, counts, where=filled, out=counts + 1)))[filled])
        )
    return np.array(result) / time.size


def loop_variance(time, mag, frequency, n_phase):
    """Between-bin sum of squares over the total, written out."""
    total = np.sum((mag - mag.mean()) ** 2)
    result = []
    for f in frequency:
        cell = ((time * f) % 1.0 * n_phase).astype(int)
        parts = [mag[cell == k] for k in range(n_phase) if np.any(cell == k)]
        result.append(sum(part.size * (part.mean() - mag.mean()) ** 2 for part in parts) / total)
    return np.array(result)


# --- grids


def test_grid_has_the_steps_of_the_paper():
    time, _, _ = curve()
    grid = periods.frequency_grid(time, maximum=10.0)
    assert grid.start == pytest.approx(2 / np.ptp(time))
    assert grid.step == pytest.approx(1 / (10 * np.ptp(time)))
    assert grid.stop <= 10.0 < grid.stop + 2 * grid.step
    assert grid.nearest(grid.frequencies[17]) == 17


def test_grid_of_absurd_size_is_refused_with_its_size():
    with pytest.raises(LightCurveError, match=r"239999981 trial frequencies .*lower the maximum"):
        periods.frequency_grid([0.0, 1e6], maximum=24.0)


@pytest.mark.parametrize(
    ("time", "options", "error"),
    [
        ([1.0], {}, LightCurveError),
        ([np.nan, 1.0], {}, LightCurveError),
        ([0.0, 10.0], {"maximum": 0.1}, UsageError),
        ([0.0, 10.0], {"samples_per_peak": 0}, UsageError),
    ],
)
def test_grid_that_cannot_be_is_refused(time, options, error):
    with pytest.raises(error):
        periods.frequency_grid(time, **options)


def test_terrestrial_bands_are_those_of_the_paper():
    inside = periods.terrestrial([0.035, 0.33, 0.5, 1.0, 2.0, 3.0, 4.0])
    outside = periods.terrestrial([0.02, 0.05, 0.35, 0.6, 1.06, 2.1, 5.0])
    assert inside.all()
    assert not outside.any()


def test_window_of_nightly_sampling_spoils_whole_cycles_a_day():
    rng = np.random.default_rng(SEED)
    time = np.arange(400) + rng.normal(0, 0.02, 400)
    grid = periods.frequency_grid(time, maximum=3.5)
    power = periods.spectral_window(time, grid)
    direct = np.abs(np.exp(2j * np.pi * np.outer(grid.frequencies[::97], time)).sum(axis=1)) ** 2 / 400**2
    assert np.allclose(power[::97], direct, atol=1e-7)
    bands = periods.window_bands(time, grid)
    assert periods.within_bands([1.0, 2.0, 3.0], bands).all()
    assert not periods.within_bands([0.5, 1.4, 2.6], bands).any()


# --- searches


@pytest.mark.parametrize("n_terms", [1, 2, 4])
def test_harmonic_power_is_that_of_astropy(n_terms):
    time, mag, err = curve()
    points, grid = clean_points(time, mag, err), FrequencyGrid(0.1, 0.0007, 9000)
    ours = periods.harmonic_power(points, grid, n_terms)
    some = np.arange(0, grid.size, 41)
    theirs = LombScargle(time, mag, err, nterms=n_terms).power(
        grid.frequencies[some], method="cython" if n_terms == 1 else "chi2"
    )
    assert np.allclose(ours[some], theirs, atol=1e-7)
    assert np.allclose(periods.harmonic_power_at(points, grid.frequencies[some], n_terms), theirs, atol=1e-7)


@pytest.mark.parametrize("n_terms", [1, 3])
def test_harmonic_power_is_that_of_nifty_ls(n_terms):
    nifty_ls = pytest.importorskip("nifty_ls")
    time, mag, err = curve(baseline=2900.0)
    grid = periods.frequency_grid(time, maximum=2.0)
    ours = periods.harmonic_power(clean_points(time, mag, err), grid, n_terms)
    theirs = nifty_ls.lombscargle(
        time, mag, err, fmin=grid.start, fmax=grid.stop, Nf=grid.size, nterms=n_terms, nthreads=1
    ).power
    assert np.abs(ours - theirs).max() < 1e-6


def test_bands_are_searched_as_the_sum_of_their_own_fits():
    time, mag, err = curve()
    band = np.where(np.arange(time.size) % 2, "g", "r")
    mag = mag + np.where(band == "g", 0.7, 0.0) + np.where(band == "g", np.sin(time), 0.0)
    frequency = np.linspace(0.2, 3, 50)
    points = clean_points(time, mag, err, band)
    explained, total = 0.0, 0.0
    for name in "gr":
        own = band == name
        weight = err[own] ** -2
        whole = np.sum(weight * (mag[own] - np.average(mag[own], weights=weight)) ** 2)
        explained = explained + whole * LombScargle(time[own], mag[own], err[own]).power(frequency)
        total += whole
    assert np.allclose(periods.harmonic_power_at(points, frequency), explained / total, atol=1e-9)
    grid = FrequencyGrid(0.2, 2.8 / 49, 50)
    assert np.allclose(periods.harmonic_power(points, grid), explained / total, atol=1e-7)


@pytest.mark.parametrize(("n_phase", "n_level"), [(20, 10), (7, 3), (50, 30)])
def test_entropy_is_its_definition(n_phase, n_level):
    time, mag, _ = curve(baseline=2900.0)
    points, grid = clean_points(time, mag), FrequencyGrid(0.1, 0.00003, 3001)
    ours = periods.conditional_entropy(points, grid, n_phase, n_level)
    theirs = loop_entropy(points.time, points.mag, grid.frequencies, n_phase, n_level)
    # a point on the very edge of a bin may fall to either side
    assert np.median(np.abs(ours - theirs)) < 1e-6
    assert np.mean(np.abs(ours - theirs) < 1e-5) > 0.995
    assert np.argmin(ours) == np.argmin(theirs)


@pytest.mark.parametrize("n_phase", [20, 5])
def test_binned_power_is_its_definition(n_phase):
    time, mag, _ = curve(baseline=2900.0)
    points, grid = clean_points(time, mag), FrequencyGrid(0.1, 0.00003, 3001)
    ours = periods.binned_power(points, grid, n_phase)
    theirs = loop_variance(points.time, points.mag, grid.frequencies, n_phase)
    assert np.mean(np.abs(ours - theirs) < 1e-4) > 0.99
    assert np.argmax(ours) == np.argmax(theirs)


def test_whole_number_phases_stay_exact_over_a_long_baseline():
    # 30 years at up to 24 cycles a day: 260,000 turns, of which 32-bit floats would keep no phase
    time, mag, _ = curve(period=0.0871, baseline=11000.0, n=300)
    points = clean_points(time, mag)
    grid = FrequencyGrid(1 / 0.0871 - 0.02, 1 / 110000.0, 4500)
    ours = periods.conditional_entropy(points, grid)
    theirs = loop_entropy(points.time, points.mag, grid.frequencies, 20, 10)
    assert np.argmin(ours) == np.argmin(theirs)
    assert 1 / grid.frequencies[np.argmin(ours)] == pytest.approx(0.0871, rel=2e-6)
    assert np.median(np.abs(ours - theirs)) < 1e-6


def test_boxes_find_what_astropy_finds():
    rng = np.random.default_rng(SEED)
    time = np.arange(0, 27, 0.02)
    flux = 1 + 3e-4 * rng.normal(size=time.size)
    flux[np.abs((time - 1.3 + 1.6) % 3.2 - 1.6) < 0.06] -= 1e-3
    points = clean_points(time, flux)
    trial = periods.box_periods(points.baseline, 0.5)
    ours = periods.box_power(points, trial)
    best = int(np.argmax(ours.power))
    theirs = BoxLeastSquares(time, flux).power(trial, [0.08, 0.12, 0.16])
    assert ours.period[best] == pytest.approx(theirs.period[np.argmax(theirs.power)], rel=2e-3)
    assert ours.period[best] == pytest.approx(3.2, rel=2e-3)
    assert ours.epoch[best] == pytest.approx(1.3, abs=0.03)


def test_box_grid_of_a_gappy_baseline_stays_small_and_an_absurd_one_is_refused():
    assert periods.box_periods(759.0, 0.5).size < 500_000
    with pytest.raises(LightCurveError, match="trial periods, and"):
        periods.box_periods(20000.0, 0.3)


def test_false_alarms_are_those_of_astropy():
    time, _, err = curve()
    mag = np.random.default_rng(SEED).normal(size=time.size)
    search = LombScargle(time, mag, err)
    points = clean_points(time, mag, err)
    unweighted = clean_points(time, mag)
    for power in (0.05, 0.1, 0.2):
        theirs = search.false_alarm_probability(power, method="baluev", maximum_frequency=10.0)
        assert periods.false_alarm_baluev(power, unweighted, 10.0) == pytest.approx(float(theirs), rel=0.05)
    assert periods.log_false_alarm(0.5, points, 1, 10.0) < -20
    assert periods.log_false_alarm(0.01, points, 1, 10.0) == 0.0


@pytest.mark.parametrize("n", [400, 4000])
def test_a_false_alarm_below_the_smallest_float_has_its_logarithm(n):
    # of two degrees of freedom the upper tail of F is (1 - power)^(free / 2)
    time = np.linspace(0, 100, n)
    points = clean_points(time, np.sin(time), np.full(n, 0.1))
    wanted = (n - 3) / 2 * np.log10(1 - 0.6) + np.log10(10 * points.baseline)
    assert periods.log_false_alarm(0.6, points, 1, 10.0) == pytest.approx(wanted, rel=1e-9)


def test_variance_ratio_of_noise_has_the_mean_of_its_distribution():
    rng = np.random.default_rng(SEED)
    time = np.sort(rng.uniform(0, 100, 60))
    ratios = [
        periods.variance_ratio(
            periods.harmonic_power_at(clean_points(time, rng.normal(size=60)), 0.37, 2), 60, 2
        )[0]
        for _ in range(400)
    ]
    assert np.mean(ratios) == pytest.approx(55 / 53, abs=4 * np.std(ratios) / 20)


# --- what a period does not depend on


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(-3000, 3000), offset=st.floats(-10, 10), factor=st.floats(0.1, 10))
def test_searches_do_not_depend_on_the_clock_nor_on_the_zero_point(shift, offset, factor):
    time, mag, err = curve(n=60, baseline=30.0)
    grid = FrequencyGrid(0.1, 0.01, 300)
    one, other = clean_points(time, mag, err), clean_points(time + shift, mag * factor + offset, err * factor)
    assert np.allclose(
        periods.harmonic_power(one, grid, 2), periods.harmonic_power(other, grid, 2), atol=1e-6
    )
    difference = np.abs(periods.conditional_entropy(one, grid) - periods.conditional_entropy(other, grid))
    assert np.mean(difference < 1e-5) > 0.95
    difference = np.abs(periods.binned_power(one, grid) - periods.binned_power(other, grid))
    assert np.mean(difference < 1e-3) > 0.95


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(0.01, 100))
def test_periods_scale_with_time(factor):
    time, mag, err = curve(n=60, baseline=30.0)
    grid = FrequencyGrid(0.1, 0.01, 300)
    scaled = FrequencyGrid(grid.start / factor, grid.step / factor, grid.size)
    one, other = clean_points(time, mag, err), clean_points(time * factor, mag, err)
    assert np.allclose(
        periods.harmonic_power(one, grid, 2), periods.harmonic_power(other, scaled, 2), atol=1e-6
    )
    difference = np.abs(periods.conditional_entropy(one, grid) - periods.conditional_entropy(other, scaled))
    assert np.mean(difference < 1e-5) > 0.95


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(1, 3000), st.integers(0, 2**31))
def test_sums_are_right_at_any_size(n, size, seed):
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(0, 100, n + 5))
    mag = rng.normal(size=n + 5)
    points, grid = clean_points(time, mag), FrequencyGrid(0.01, 0.003, size)
    some = rng.integers(0, size, 5)
    assert np.allclose(
        periods.harmonic_power(points, grid)[some],
        periods.harmonic_power_at(points, grid.frequencies[some]),
        atol=1e-5,
    )


# --- points


@pytest.mark.parametrize(
    ("time", "mag", "err", "message"),
    [
        ([1, 2, 3], [1, 2], None, "one length"),
        ([1, 2, 3], [1, 2, 3], None, "at least 5"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, np.nan], None, "4 of 5"),
        ([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], [1, 1, 0, 1, 1], "error of point 2 is 0"),
        ([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], None, "baseline"),
        ([1, 2, 3, 4, 5], [7, 7, 7, 7, 7], None, "constant"),
    ],
)
def test_points_that_cannot_be_searched_are_refused_by_name(time, mag, err, message):
    with pytest.raises(LightCurveError, match=message):
        clean_points(time, mag, err)


def test_unsorted_points_and_gaps_change_nothing():
    time, mag, err = curve(n=50)
    order = np.random.default_rng(SEED).permutation(50)
    holes = np.insert(np.array([time, mag, err])[:, order], [3, 30], np.nan, axis=1)
    one, other = clean_points(time, mag, err), clean_points(*holes)
    assert np.array_equal(one.time, other.time)
    assert np.allclose(one.weight, other.weight)
    assert np.allclose(one.mag, other.mag)


def test_clipping_spares_eclipses_and_cuts_flashes():
    rng = np.random.default_rng(SEED)
    mag = rng.normal(0, 0.1, 200)
    mag[5], mag[6], mag[7] = 0.6, 3.0, -0.8
    kept = periods.clip_outliers(clean_points(np.arange(200.0), mag))
    assert kept.time.size == 198
    assert 5.0 in kept.time
    assert kept.weight.sum() == pytest.approx(1)


def test_peaks_are_apart_and_the_highest_first():
    power = np.array([0, 5, 0, 0, 9, 8.5, 9.5, 0, 0, 0, 3, 0])
    assert periods.highest_peaks(power, 3, apart=3).tolist() == [6, 1, 10]
    usable = power < 9
    assert periods.highest_peaks(power, 1, apart=1, usable=usable).tolist() == [5]
    with pytest.raises(LightCurveError, match="masked"):
        periods.highest_peaks(power, 1, usable=np.zeros(12, dtype=bool))
