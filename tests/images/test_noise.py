"""The noise of a frame is what the sky shows, source photons by the gain, correlation and all."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame
from astrid.images.noise import measure_noise, noise_correlation, robust_sigma

SHAPE = (512, 512)


def white(sigma=7.0, seed=1, shape=SHAPE):
    return (sigma * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


def blob(peak, sigma=25.0):
    """A smooth round source in the middle, whose photons are many."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] - 255.5
    return peak * np.exp(-(x**2 + y**2) / (2 * sigma**2))


def test_robust_sigma_is_that_of_the_gaussian_core():
    values = np.concatenate([white(3.0).ravel(), np.full(2000, 1e6)])
    assert robust_sigma(values) == pytest.approx(3.0, rel=0.01)
    assert robust_sigma(np.array([0.0, 1.0])) == pytest.approx(0.6827 / 2, rel=1e-3)


@pytest.mark.parametrize("sigma", [0.02, 7.0, 3000.0])
def test_white_noise_is_measured_within_one_per_cent_and_found_white(sigma):
    frame = measure_noise(Frame(white(sigma), gain=1e9))
    assert np.sqrt(np.median(frame.variance)) == pytest.approx(sigma, rel=0.01)
    assert frame.variance.dtype == np.float32
    assert frame.noise_correlation is None
    assert frame.warnings == ()


def test_noise_that_grows_across_the_image_is_followed():
    truth = np.linspace(5, 15, SHAPE[1]) * np.ones(SHAPE)
    frame = measure_noise(Frame(white(1.0) * truth, gain=1e9))
    ratio = ndimage.uniform_filter(np.sqrt(frame.variance) / truth, 32)[48:-48:32, 48:-48:32]
    assert np.median(ratio) == pytest.approx(1, abs=0.015)
    np.testing.assert_allclose(ratio, 1, atol=0.08)


KERNELS = {
    "half a pixel": np.array([[0.25, 0.25], [0.25, 0.25]]),
    "along rows": np.array([[0.3, 0.4, 0.3]]),
    "triangle": np.outer([1, 2, 1], [1, 2, 1]) / 16,
    "uneven": np.array([[0.0, 0.2, 0.0], [0.1, 0.5, 0.4], [0.0, -0.1, 0.0]]),
}


@pytest.mark.parametrize("kernel", KERNELS.values(), ids=KERNELS)
def test_smoothed_noise_has_the_autocorrelation_of_its_kernel(kernel):
    data = ndimage.convolve(white(10.0), kernel, mode="wrap")
    expected = signal.correlate(kernel, kernel) / (kernel**2).sum()
    frame = measure_noise(Frame(data, gain=1e9))
    found = frame.noise_correlation
    assert found.shape[0] == found.shape[1]
    middle = found.shape[0] // 2
    whole = np.zeros(found.shape)
    h, w = expected.shape[0] // 2, expected.shape[1] // 2
    whole[middle - h : middle + h + 1, middle - w : middle + w + 1] = expected
    np.testing.assert_allclose(found, whole, atol=0.035)
    assert found[middle, middle] == 1
    np.testing.assert_allclose(found, found[::-1, ::-1], atol=1e-6)
    sigma = 10.0 * np.sqrt((kernel**2).sum())
    assert np.sqrt(np.median(frame.variance)) == pytest.approx(sigma, rel=0.03)


def test_masked_pixels_leave_the_correlation_as_it_is():
    kernel = KERNELS["triangle"]
    data = ndimage.convolve(white(10.0), kernel, mode="wrap")
    empty = np.random.default_rng(4).random(SHAPE) > 0.3
    sigma = np.full(SHAPE, 10.0 * np.sqrt((kernel**2).sum()), np.float32)
    found = noise_correlation(data, sigma, empty)
    assert found[8, 9] == pytest.approx(signal.correlate(kernel, kernel)[2, 3] / (kernel**2).sum(), abs=0.02)


def test_the_photons_of_a_source_add_their_noise_by_the_gain():
    gain, sky, rng = 2.0, 100.0, np.random.default_rng(5)
    light = blob(2000.0)
    frame = Frame(rng.poisson((light + sky) * gain) / gain - sky, gain=gain)
    found = measure_noise(frame).variance
    bright = light > 200
    assert np.median(found[bright] / ((light + sky) / gain)[bright]) == pytest.approx(1, abs=0.05)
    # The truth that needs no formula: how far the pixels lie from the light that was put in.
    pulls = (frame.data - light)[bright] / np.sqrt(found[bright])
    assert pulls.std() == pytest.approx(1, abs=0.05)
    assert np.sqrt(np.median(found[light < 0.1])) == pytest.approx(np.sqrt(sky / gain), rel=0.02)


def test_a_crowded_sky_is_not_taken_for_noise():
    rng, fwhm = np.random.default_rng(6), 3.0
    light = np.zeros(SHAPE)
    np.add.at(light, tuple(rng.integers(0, 512, (2, 9000))), 150.0 * (1 + rng.pareto(1.2, 9000)).clip(0, 300))
    light = ndimage.gaussian_filter(light, fwhm / 2.3548)
    frame = measure_noise(Frame(light + white(5.0), gain=1.5))
    faint = light < np.percentile(light, 10)
    assert np.sqrt(np.median(frame.variance[faint])) == pytest.approx(5.0, rel=0.25)
    assert frame.noise_correlation is None


def test_a_variance_plane_that_is_right_is_kept():
    truth = (np.linspace(5, 15, SHAPE[1]) * np.ones(SHAPE)) ** 2
    frame = measure_noise(Frame(white(1.0) * np.sqrt(truth), variance=truth))
    np.testing.assert_allclose(frame.variance, truth, rtol=0.02)
    assert frame.warnings == ()


@pytest.mark.parametrize("wrong", [0.25, 4.0])
def test_a_variance_plane_that_is_wrong_is_scaled_to_the_scatter_and_said_so(wrong):
    truth = (np.linspace(5, 15, SHAPE[1]) * np.ones(SHAPE)) ** 2
    frame = measure_noise(Frame(white(1.0) * np.sqrt(truth), variance=wrong * truth, name="s.fits"))
    np.testing.assert_allclose(frame.variance, truth, rtol=0.03)
    (sentence,) = frame.warnings
    assert sentence.startswith("s.fits: the sky scatters ")
    assert float(sentence.split()[4]) == pytest.approx(1 / np.sqrt(wrong), rel=0.02)


def test_masked_pixels_do_not_count_as_noise():
    data, mask = white(7.0), np.zeros(SHAPE, np.uint16)
    data[:, 100:140], mask[:, 100:140] = 500 * white(1.0)[:, :40], Flag.BAD
    assert np.sqrt(np.median(measure_noise(Frame(data, mask=mask, gain=1e9)).variance)) == pytest.approx(
        7.0, rel=0.015
    )


def test_without_gain_or_variance_there_is_no_photon_noise():
    with pytest.raises(
        FrameError, match=r"^s.fits: no gain, so photon noise is unknown; pass --gain e-/ADU$"
    ):
        measure_noise(Frame(white(), name="s.fits"))


@pytest.mark.parametrize("level", [0.0, 5.0])
def test_a_sky_without_any_noise_is_refused(level):
    with pytest.raises(FrameError, match="the sky shows no noise at all; give a variance plane"):
        measure_noise(Frame(np.full(SHAPE, level), gain=1.0))
