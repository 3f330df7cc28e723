"""Injected sources are what they claim to be, and what comes back is counted rightly."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid.errors import FrameError, PSFError, UsageError
from astrid.images.completeness import completeness, plot_injections, wilson_interval
from astrid.images.frame import Flag, Frame
from astrid.images.injection import inject, injection_recovery
from astrid.images.psf import moffat_psf
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig

PSF = moffat_psf(3.2, (120, 120))


def blank(**facts):
    return Frame(np.full((120, 120), 50.0, np.float32), **{"gain": 2.0, "zero_point": 25.0, **facts})


@pytest.fixture(scope="module")
def experiment():
    config = SimulationConfig.named("benchmark", shape=(512, 512), n_stars=190, n_galaxies=19, n_transients=0)
    pair = simulate_pair(config, 11)
    return injection_recovery(pair.science, pair.reference, n=28, hosted=0.2, seed=3)


def test_injected_source_has_its_flux_its_place_and_its_photon_noise():
    sums, centres = [], []
    y, x = np.mgrid[:120, :120]
    for seed in range(200):
        light = inject(blank(), [60.3], [55.8], flux=[4000.0], psf=PSF, seed=seed).data - 50.0
        sums.append(light.sum())
        centres.append([(light * x).sum() / light.sum(), (light * y).sum() / light.sum()])
    assert np.mean(sums) == pytest.approx(4000, abs=4 * np.sqrt(4000 / 2 / 200))
    assert np.std(sums) == pytest.approx(np.sqrt(4000 / 2), rel=0.2)  # F / gain
    assert np.mean(centres, axis=0) == pytest.approx((60.3, 55.8), abs=0.05)


def test_magnitude_follows_the_zero_point_and_is_instrumental_without_one():
    bright = inject(blank(), 60, 60, magnitude=15.0, psf=PSF).data.sum() - 50 * 120**2
    assert bright == pytest.approx(10 ** (0.4 * 10), rel=0.05)
    bright = inject(blank(zero_point=None), 60, 60, magnitude=-10.0, psf=PSF).data.sum() - 50 * 120**2
    assert bright == pytest.approx(1e4, rel=0.05)


def test_masked_pixels_stay_as_they_are_and_full_ones_are_flagged():
    mask = np.zeros((120, 120), np.uint16)
    mask[60, 58:63] = Flag.NO_DATA
    variance = np.full((120, 120), 10.0, np.float32)
    before = blank(mask=mask, saturation=3000.0, variance=variance)
    after = inject(before, 60, 60, flux=1e5, psf=PSF)
    np.testing.assert_array_equal(after.data[60, 58:63], before.data[60, 58:63])
    full = after.mask & Flag.SATURATED > 0
    assert full.any()
    assert (after.data[full] == 3000).all()
    assert after.data.max() == 3000
    assert after.variance[60, 65] > before.variance[60, 65]


def test_a_source_across_the_edge_leaves_its_part_on_the_frame():
    inside = inject(blank(), -0.5, 60, flux=1e5, psf=PSF).data.sum() - 50 * 120**2
    assert inside == pytest.approx(5e4, rel=0.02)
    assert inject(blank(), 500, 500, flux=1e5, psf=PSF).data.sum() == blank().data.sum()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"flux": 100.0, "magnitude": 20.0}, UsageError, "one of the two"),
        ({}, UsageError, "one of the two"),
        ({"flux": -5.0}, UsageError, "inject it into the reference"),
        ({"flux": np.nan}, UsageError, "positive"),
        ({"flux": [1.0, 2.0, 3.0]}, UsageError, "different lengths"),
        ({"flux": 5.0, "psf": None}, PSFError, "without a PSF"),
    ],
)
def test_what_cannot_be_injected_is_refused_in_one_sentence(arguments, error, words):
    with pytest.raises(error, match=words):
        inject(blank(), [50.0, 60.0], [50.0, 60.0], **{"psf": PSF, **arguments})


def test_without_a_gain_there_is_no_photon_noise_to_draw():
    with pytest.raises(FrameError, match="gain"):
        inject(blank(gain=None), 50, 50, flux=100.0, psf=PSF)


@given(n=st.integers(1, 500), share=st.floats(0, 1), z=st.sampled_from([1.0, 1.96]))
def test_wilson_interval_is_that_of_scipy(n, share, z):
    from scipy.stats import binomtest, norm

    k = round(share * n)
    low, high = wilson_interval(np.array([k]), np.array([n]), z)
    level = norm.cdf(z) - norm.cdf(-z)
    expected = binomtest(k, n).proportion_ci(confidence_level=level, method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_limits_of_a_known_curve_are_found_within_their_stated_errors():
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(12):
        magnitude = rng.uniform(18, 23, 300)
        seen = rng.random(300) < norm.sf(magnitude, 21.2, 0.4)
        found = completeness(magnitude, seen, (18.0, 23.0))
        pulls.append(
            [
                (found.limit_50 - 21.2) / found.limit_50_err,
                (found.limit_90 - norm.isf(0.9, 21.2, 0.4)) / found.limit_90_err,
            ]
        )
    pulls = np.array(pulls)
    assert (np.abs(pulls.mean(axis=0)) < 1.0).all()
    assert (pulls.std(axis=0) < 2.0).all()
    assert found.n.sum() == 300


def test_a_limit_that_was_not_reached_is_none_and_not_a_guess():
    magnitude = np.linspace(18, 20, 50)
    everything = completeness(magnitude, np.ones(50, bool), (18.0, 20.0))
    nothing = completeness(magnitude, np.zeros(50, bool), (18.0, 20.0))
    assert everything.limit_50 is None
    assert everything.limit_90 is None
    assert nothing.limit_50 is None
    with pytest.raises(UsageError, match="at least one"):
        completeness(magnitude[:0], np.ones(0, bool), (18.0, 20.0))


def test_bright_injections_come_back_with_their_flux_and_faint_ones_do_not(experiment):
    table = experiment.injections
    limit = experiment.without.limiting_mag_5sigma
    bright = table[table["mag"] < limit - 0.8]
    faint = table[table["mag"] > limit + 0.8]
    assert bright["recovered"].mean() > 0.85
    assert faint["recovered"].mean() < 0.3
    found = bright[bright["recovered"]]
    pull = (found["flux_measured"] - found["flux"]) / found["flux_err"]
    assert abs(np.mean(pull)) < 4 / np.sqrt(len(found)) + 0.3
    # half of the sources at the 5 sigma limit exceed 5 sigma, so this is where the curve must fall
    assert experiment.completeness.limit_50 == pytest.approx(limit, abs=0.5)


def test_summary_and_figure_tell_the_limits_and_the_false_positives(experiment):
    summary = experiment.summary()
    assert summary["n_injected"] == 28
    assert summary["rounds"] == 1
    assert summary["calibrated_magnitudes"]
    area = 512**2 / 3600**2  # 1 arcsec pixels
    assert summary["area_deg2"] == pytest.approx(area, rel=0.05)
    assert summary["false_positives_per_deg2"] == pytest.approx(
        experiment.false_positives / summary["area_deg2"]
    )
    assert experiment.new_false_positives <= experiment.false_positives
    figure = plot_injections(experiment)
    assert [axis.get_ylabel() for axis in figure.axes] == ["completeness", "measured / injected flux"]


def test_experiments_that_make_no_sense_are_refused_before_any_work():
    frame = blank()
    with pytest.raises(UsageError, match="brightest first"):
        injection_recovery(frame, frame, magnitudes=(22.0, 18.0))
    with pytest.raises(UsageError, match="hosted"):
        injection_recovery(frame, frame, hosted=2.0)
