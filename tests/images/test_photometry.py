"""PSF fluxes are unbiased, with errors that say how far they scatter."""

from __future__ import annotations

import numpy as np
import pytest
from photutils.aperture import CircularAperture, aperture_photometry

from astrid.errors import PhotometryError
from astrid.images.frame import Flag, Frame
from astrid.images.photometry import psf_fluxes
from astrid.images.psf import LOBES, PSF

SHAPE = (400, 400)
FWHM, GAIN, SKY = 3.0, 2.0, 200.0
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


def gaussian(dx, dy, fwhm=FWHM):
    return 4 * np.log(2) / (np.pi * fwhm**2) * np.exp(-4 * np.log(2) * (dx**2 + dy**2) / fwhm**2)


def gaussian_psf(fwhm=FWHM, half=12, oversampling=2):
    """The closed form on the oversampled grid: no measurement, and no window."""
    offset = np.arange(-half * oversampling - LOBES, half * oversampling + LOBES + 1) / oversampling
    return PSF(gaussian(offset[None, :], offset[:, None], fwhm)[None], oversampling, 2 * half + 1, SHAPE)


def places(seed, step=20):
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(step, 400 - step + 1.0, step), np.arange(step, 400 - step + 1.0, step))
    return x.ravel() + rng.uniform(-0.5, 0.5, x.size), y.ravel() + rng.uniform(-0.5, 0.5, x.size)


def scene(x, y, flux):
    light = np.zeros(SHAPE)
    for xi, yi, fi in zip(x, y, flux, strict=True):
        box = np.s_[max(int(yi) - 12, 0) : int(yi) + 13, max(int(xi) - 12, 0) : int(xi) + 13]
        light[box] += fi * gaussian(X[box] - xi, Y[box] - yi)
    return light


def exposed(light, seed=None, mask=None):
    """Photon noise of sky and sources; without a seed the light itself."""
    variance = (light + SKY) / GAIN
    noise = 0 if seed is None else np.sqrt(variance) * np.random.default_rng(seed).standard_normal(SHAPE)
    return Frame(light + noise, mask=mask, variance=variance)


def test_noiseless_stars_give_their_flux_at_any_fraction_of_a_pixel():
    x, y = places(1)
    flux = np.geomspace(10, 1e6, len(x))
    found, _ = psf_fluxes(exposed(scene(x, y, flux)), gaussian_psf(), x, y)
    np.testing.assert_allclose(found, flux, rtol=3e-3)
    assert np.mean(found / flux) == pytest.approx(1, abs=1e-3)


def test_fluxes_are_unbiased_and_their_pulls_have_unit_width():
    x, y = places(2)
    flux = np.geomspace(100, 1e4, len(x))
    light = scene(x, y, flux)
    pulls = []
    for seed in range(8):
        found, error = psf_fluxes(exposed(light, seed), gaussian_psf(), x, y)
        pulls.append((found - flux) / error)
    pulls = np.concatenate(pulls)
    n = len(pulls)
    assert abs(pulls.mean()) < 4 / np.sqrt(n)
    assert pulls.std() == pytest.approx(1, abs=4 / np.sqrt(2 * n))
    assert (np.abs(pulls) > 3).mean() < 0.008


def test_empty_sky_has_no_flux_and_the_error_of_the_matched_filter():
    x, y = places(3)
    found, error = psf_fluxes(exposed(np.zeros(SHAPE), 1), gaussian_psf(), x, y)
    assert abs((found / error).mean()) < 4 / np.sqrt(len(x))
    # sigma / sqrt(sum P^2), the sum being 2 ln 2 / (pi fwhm^2) for a Gaussian.
    expected = np.sqrt(SKY / GAIN) / np.sqrt(2 * np.log(2) / (np.pi * FWHM**2))
    np.testing.assert_allclose(error, expected, rtol=0.02)


def test_negative_sources_have_negative_fluxes():
    x, y = np.array([200.3]), np.array([180.8])
    frame = exposed(np.zeros(SHAPE)).with_(data=scene(x, y, [-5000.0]))
    assert psf_fluxes(frame, gaussian_psf(), x, y)[0] == pytest.approx(-5000, rel=2e-3)


def test_it_agrees_with_a_wide_aperture_of_photutils():
    x, y = places(4, step=40)
    frame = exposed(scene(x, y, np.geomspace(1e4, 1e6, len(x))), 5)
    found, error = psf_fluxes(frame, gaussian_psf(), x, y)
    table = aperture_photometry(frame.data.astype(float), CircularAperture(np.column_stack([x, y]), 8.0))
    noise = np.hypot(error, np.sqrt(np.pi * 64 * SKY / GAIN))
    assert (np.abs(found - table["aperture_sum"]) < 5 * noise + 2e-3 * found).all()


def test_a_psf_that_widens_across_the_image_is_followed():
    x, y = places(6)
    middle, wider = gaussian_psf(3.0).coefficients[0], gaussian_psf(4.0).coefficients[0]
    psf = PSF(
        np.stack([(middle + wider) / 2, (wider - middle) / 2, 0 * middle]), 2, gaussian_psf().size, SHAPE
    )
    share = x / (SHAPE[1] - 1)
    light = np.zeros(SHAPE)
    for xi, yi, w in zip(x, y, share, strict=True):
        light += 1e4 * ((1 - w) * gaussian(X - xi, Y - yi, 3.0) + w * gaussian(X - xi, Y - yi, 4.0))
    assert psf.at(0, 0).sum() == pytest.approx(1, abs=1e-5)
    np.testing.assert_allclose(psf_fluxes(exposed(light), psf, x, y)[0], 1e4, rtol=5e-3)


def test_a_bad_pixel_does_not_count_and_a_masked_core_has_no_flux():
    x, y = np.array([100.2, 200.4, 300.1]), np.array([100.3, 200.0, 299.8])
    light, mask = scene(x, y, np.full(3, 1e4)), np.zeros(SHAPE, np.uint16)
    mask[101, 100] = Flag.COSMIC_RAY
    mask[198:203, 198:203] = Flag.SATURATED
    frame = exposed(light, mask=mask)
    frame.data[101, 100] = 1e7
    flux, error = psf_fluxes(frame, gaussian_psf(), x, y)
    assert flux[0] == pytest.approx(1e4, rel=3e-3)
    assert error[0] > error[2]
    assert np.isnan(flux[1])
    assert error[1] == np.inf
    assert flux[2] == pytest.approx(1e4, rel=3e-3)


@pytest.mark.parametrize(("x", "y"), [(-1.0, 200.0), (-500.0, 200.0), (200.0, 400.0), (1e5, -1e5)])
def test_outside_the_image_there_is_no_flux(x, y):
    flux, error = psf_fluxes(exposed(np.zeros(SHAPE), 1), gaussian_psf(), np.array([x]), np.array([y]))
    assert np.isnan(flux[0])
    assert error[0] == np.inf


def test_no_positions_give_no_fluxes():
    flux, error = psf_fluxes(exposed(np.zeros(SHAPE), 1), gaussian_psf(), np.empty(0), np.empty(0))
    assert flux.shape == error.shape == (0,)


def test_without_a_variance_there_is_no_weight():
    with pytest.raises(PhotometryError, match="measure_noise comes before photometry; no variance is known"):
        psf_fluxes(Frame(np.ones(SHAPE)), gaussian_psf(), np.array([5.0]), np.array([5.0]))
