"""The measured PSF is the one that the stars were drawn with, everywhere in the image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import PSFError
from astrid.images.background import subtract_background
from astrid.images.frame import Frame
from astrid.images.noise import measure_noise
from astrid.images.psf import PSF, moffat_psf
from astrid.images.psf_stack import measure_psf
from astrid.images.scene import MoffatPSF, add_stars
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.images.sources import find_sources

SHAPE = (512, 512)
PLACES = [(255.5, 255.5), (60, 60), (450, 60), (60, 450), (450, 450), (255, 40)]


def measured(light, n, seed=1, sigma=12.0, degree=None):
    rng = np.random.default_rng(seed)
    image = np.zeros(SHAPE)
    flux = 1e4 * (1 + rng.pareto(1.0, n)).clip(0, 100)
    add_stars(image, light, rng.uniform(0, 511, n), rng.uniform(0, 511, n), flux, 0.02 * sigma)
    variance = sigma**2 + image / 1.5
    frame = Frame(image + np.sqrt(variance) * rng.standard_normal(SHAPE), variance=variance, gain=1.5)
    return measure_psf(frame, find_sources(frame), degree=degree)


@pytest.fixture(scope="module")
def varying():
    """A field whose stars widen by 8 % towards one edge and 10 % towards the corners."""
    light = MoffatPSF(SHAPE, 3.2, beta=3.0, ellipticity=0.05, variation=0.08, gradient=0.5, curvature=0.1)
    return light, measured(light, 200)


def width(stamp):
    """Proportional to the square of the FWHM: the peak over its second differences."""
    stamp, middle = stamp.astype(float), len(stamp) // 2
    peak = stamp[middle, middle]
    along_x = 2 * peak - stamp[middle, middle - 1] - stamp[middle, middle + 1]
    along_y = 2 * peak - stamp[middle - 1, middle] - stamp[middle + 1, middle]
    return peak / np.sqrt(along_x * along_y)


@pytest.mark.parametrize(("x", "y"), PLACES)
def test_a_varying_psf_is_recovered_everywhere(varying, x, y):
    light, psf = varying
    truth, found = light.at(x, y, psf.size), psf.at(x, y)
    half = psf.size // 2
    assert found.max() == pytest.approx(truth.max(), rel=0.03)
    assert np.abs(found - truth).max() < 0.03 * truth.max()
    assert width(found) == pytest.approx(width(truth), rel=0.04)
    # Light within growing squares; the wings beyond the stamp's circle, 1 % here, are given to the rest.
    for reach in (3, 6, half):
        square = np.s_[half - reach : half + reach + 1, half - reach : half + reach + 1]
        assert found[square].sum() == pytest.approx(truth[square].sum(), abs=0.02)


def test_its_width_and_quality_are_those_of_the_middle(varying):
    light, psf = varying
    assert psf.fwhm == pytest.approx(light.fwhm, rel=0.02)
    assert psf.elongation == pytest.approx(1 / (1 - light.ellipticity), abs=0.03)
    assert 60 < psf.n_stars <= 150
    assert psf.quality < 0.02
    assert psf.degree == 2
    assert 0.02 < psf.curvature < 0.25


@pytest.mark.parametrize(("x", "y"), PLACES)
def test_its_centroid_is_the_middle_and_its_sum_one(varying, x, y):
    _, psf = varying
    stamp = psf.at(x, y).astype(float)
    offset = np.arange(psf.size) - psf.size // 2
    window = stamp * np.exp(-4 * np.log(2) * np.add.outer(offset**2, offset**2) / psf.fwhm**2)
    assert abs((window * offset).sum() / window.sum()) < 0.01
    assert abs((window * offset[:, None]).sum() / window.sum()) < 0.01
    assert stamp.sum() == pytest.approx(1, abs=1e-5)
    assert stamp.shape == (psf.size, psf.size)
    assert psf.size % 2 == 1


def test_its_wings_end_smoothly_at_zero(varying):
    _, psf = varying
    stamp = psf.at(255.5, 255.5)
    rim = np.concatenate([stamp[0], stamp[-1], stamp[:, 0], stamp[:, -1]])
    assert np.abs(rim).max() < 1e-3 * stamp.max()
    radius = np.hypot(*(np.indices(stamp.shape) - psf.size // 2))
    steps = [stamp[(radius >= r) & (radius < r + 1)].mean() for r in range(psf.size // 2)]
    assert (np.diff(steps) < 2e-4 * stamp.max()).all()


def test_a_constant_psf_is_found_constant():
    light = MoffatPSF(SHAPE, 2.4, beta=3.5)
    psf = measured(light, 60, seed=3, degree=0)
    assert psf.degree == 0
    assert psf.curvature == 0
    assert psf.fwhm == pytest.approx(2.4, rel=0.045)  # five points of the grid
    assert psf.at(10, 20).max() == pytest.approx(light.at(10, 20, psf.size).max(), rel=0.015)
    np.testing.assert_array_equal(psf.at(0, 0), psf.at(500, 300))


def test_the_psf_of_a_simulated_frame_with_galaxies_is_its_true_one():
    config = SimulationConfig.named("benchmark", shape=SHAPE, n_stars=200, n_galaxies=20, n_transients=10)
    pair = simulate_pair(config, 1)
    for frame, light in ((pair.science, pair.science_psf), (pair.reference, pair.reference_psf)):
        ready = measure_noise(subtract_background(frame)[0])
        psf = measure_psf(ready, find_sources(ready))
        truth = light.at(255.5, 255.5, psf.size)
        assert psf.at(255.5, 255.5).max() == pytest.approx(truth.max(), rel=0.02)
        assert np.abs(psf.at(255.5, 255.5) - truth).max() < 0.02 * truth.max()


@pytest.mark.parametrize("fwhm", [2.4, 2.5, 2.6, 2.7])
def test_a_psf_between_the_two_samplings_of_the_grid_is_measured(fwhm):
    psf = measured(MoffatPSF(SHAPE, fwhm, 3.5), 60, seed=3)
    assert psf.fwhm == pytest.approx(fwhm, rel=0.06)


@pytest.mark.parametrize("fwhm", [1.8, 3.0, 6.0])
def test_a_source_is_drawn_at_its_fraction_of_a_pixel(fwhm):
    psf, alpha2 = moffat_psf(fwhm, SHAPE), fwhm**2 / (4 * (2 ** (1 / 3.5) - 1))
    for x, y in ((100.0, 200.0), (100.5, 200.25), (99.6, 200.49), (3.1, 509.9)):
        stamp, (row, column) = psf.draw(x, y)
        v, u = np.indices(stamp.shape)
        truth = (1 + ((u + column - x) ** 2 + (v + row - y) ** 2) / alpha2) ** -3.5 * 2.5 / np.pi / alpha2
        assert stamp.sum() == pytest.approx(1, abs=1e-5)
        assert np.abs(stamp - truth).max() < 0.012 * truth.max()
        core = truth > 0.05 * truth.max()
        assert (stamp[core] / truth[core]).std() < 0.02


@settings(deadline=None, max_examples=30)
@given(st.floats(-20, 530), st.floats(-20, 530), st.integers(-9, 9), st.integers(-9, 9))
def test_whole_pixels_move_the_corner_and_nothing_else(x, y, right, up):
    x, y = round(x, 3), round(y, 3)
    psf = moffat_psf(3.0, SHAPE, half=8)
    (first, (row, column)), (second, corner) = psf.draw(x, y), psf.draw(x + right, y + up)
    if abs(x % 1 - 0.5) > 1e-6 and abs(y % 1 - 0.5) > 1e-6:
        assert corner == (row + up, column + right)
        np.testing.assert_allclose(first, second, atol=1e-6)


@pytest.mark.parametrize(("fwhm", "elongation"), [(2.0, 1.0), (3.0, 1.2), (5.0, 1.5)])
def test_a_made_psf_has_the_axes_that_were_asked_for(fwhm, elongation):
    psf = moffat_psf(fwhm, SHAPE, elongation=elongation)
    assert psf.fwhm == pytest.approx(fwhm, rel=0.02)
    assert psf.elongation == pytest.approx(elongation, rel=0.08)


def test_curvature_is_the_second_order_change_of_the_peak():
    one = moffat_psf(3.0, SHAPE).coefficients[0]
    none = np.zeros_like(one)
    bent = PSF(np.stack([one, 0.3 * one, none, -0.1 * one, none, 0.04 * one]), 2, 25, SHAPE)
    assert bent.curvature == pytest.approx(0.1)
    assert PSF(np.stack([one, 0.3 * one, none]), 2, 25, SHAPE).curvature == 0


def test_too_few_stars_are_refused_with_a_way_out():
    with pytest.raises(PSFError, match=r"^frame: [0-2] stars .* but a PSF needs 3; use a larger image or"):
        measured(MoffatPSF(SHAPE, 3.0), 2)
    frame = Frame(np.ones(SHAPE))
    with pytest.raises(PSFError, match="measure_noise comes before measure_psf; the frame has no variance"):
        measure_psf(frame, find_sources(frame.with_(variance=np.ones(SHAPE))))
