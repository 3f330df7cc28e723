"""A kernel that was put in comes out again, and the difference made with it is honest."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from astrid.errors import SubtractionError
from astrid.images.frame import Frame
from astrid.images.kernel import fit_kernel
from astrid.images.noise import robust_sigma
from astrid.images.proper import subtract
from astrid.images.psf import moffat_psf

SHAPE = (288, 300)
NOISE = 4.0
SHARP, BROAD = 2.2, 3.2


def gaussian(sigma_x: float, sigma_y: float, x: float, y: float, half: int = 6) -> np.ndarray:
    rows, columns = np.mgrid[-half : half + 1, -half : half + 1]
    kernel = np.exp(-0.5 * (((columns - x) / sigma_x) ** 2 + ((rows - y) / sigma_y) ** 2))
    return kernel / kernel.sum()


# wider along x, off the middle: no symmetry that a flipped kernel could hide behind
KERNEL = 0.8 * gaussian(1.15, 0.85, 0.4, -0.3)


def stars(seed: int = 2, n: int = 200) -> np.ndarray:
    """A field of point sources seen sharply."""
    rng = np.random.default_rng(seed)
    psf = moffat_psf(SHARP, SHAPE)
    image = np.zeros((SHAPE[0] + 80, SHAPE[1] + 80))
    for x, y in rng.uniform((20, 20), (SHAPE[1] + 60, SHAPE[0] + 60), (n, 2)):
        stamp, (row, column) = psf.draw(x, y)
        image[row : row + len(stamp), column : column + len(stamp)] += 20_000 * rng.pareto(1.0) ** 0.5 * stamp
    return image[40:-40, 40:-40]


def exposed(light: np.ndarray, seed: int, sky: float = 0.0) -> Frame:
    variance = np.full(SHAPE, NOISE**2) + np.maximum(light, 0) / 2
    return Frame(np.random.default_rng(seed).normal(light, np.sqrt(variance)) + sky, variance=variance)


@pytest.fixture(scope="module")
def light():
    sharp = stars()
    return sharp, ndimage.convolve(sharp, KERNEL, mode="constant")


@pytest.fixture(scope="module")
def pair(light):
    """The science frame is the reference seen through `KERNEL`, on a sky of 7 ADU."""
    return exposed(light[1], 11, sky=7.0), exposed(light[0], 12)


@pytest.fixture(scope="module")
def fit(pair):
    return fit_kernel(*pair, moffat_psf(BROAD, SHAPE), fwhm_reference=SHARP, degree=0)


def seen_through_the_optics(kernel: np.ndarray) -> np.ndarray:
    """What the kernel makes of a star; its single pixels are known less well than that."""
    return ndimage.convolve(moffat_psf(SHARP, SHAPE).at(150, 140).astype(float), kernel, mode="constant")


def test_a_known_kernel_is_recovered(fit):
    found = fit.kernel_at(150, 140)
    known = KERNEL[1:-1, 1:-1]
    assert found.shape == known.shape
    assert np.abs(found - known).max() < 0.12 * known.max()
    expected = seen_through_the_optics(KERNEL)
    assert np.abs(seen_through_the_optics(found) - expected).max() < 0.01 * expected.max()
    assert fit.chi2 == pytest.approx(1, abs=0.3)


def test_its_sum_is_the_flux_ratio_and_its_constant_the_sky(fit):
    # a star of flux F in the reference has 0.8 F in the science frame
    assert fit.flux_ratio == pytest.approx(1 / 0.8, rel=0.01)
    assert np.median(fit.background) == pytest.approx(7.0, abs=0.3)


def test_the_other_way_round_the_science_frame_is_convolved(light):
    science, reference = exposed(light[0], 13, sky=7.0), exposed(light[1], 14)
    fit = fit_kernel(science, reference, moffat_psf(SHARP, SHAPE), fwhm_reference=BROAD, degree=0)
    assert fit.convolved == "science"
    assert fit.flux_ratio == pytest.approx(0.8, rel=0.01)
    assert np.median(fit.background) == pytest.approx(7.0, abs=0.4)


def test_the_broad_frame_is_never_convolved(fit):
    assert fit.convolved == "reference"


def test_the_difference_of_one_scene_has_unit_significance(pair, fit):
    science, reference = pair
    found = subtract(science.with_(data=science.data - fit.background), reference, fit)
    z = (found.score / np.sqrt(found.variance))[30:-30, 30:-30]
    assert robust_sigma(z) == pytest.approx(1, abs=0.05)
    assert abs(np.median(z)) < 0.1


def test_a_new_source_has_its_flux(pair, fit):
    science, reference = pair
    psf = moffat_psf(BROAD, SHAPE)
    stamp, (row, column) = psf.draw(210, 170)
    image = science.data.astype(float) - fit.background
    image[row : row + len(stamp), column : column + len(stamp)] += 20_000 * stamp
    before = subtract(science.with_(data=science.data - fit.background), reference, fit)
    after = subtract(science.with_(data=image), reference, fit)
    flux = (after.score - before.score) / after.gain
    assert flux[170, 210] == pytest.approx(20_000, rel=0.003)


def test_a_transient_does_not_bend_the_kernel(pair, fit):
    science, reference = pair
    stamp, (row, column) = moffat_psf(BROAD, SHAPE).draw(120, 250)
    image = science.data.copy()
    image[row : row + len(stamp), column : column + len(stamp)] += 30_000 * stamp
    again = fit_kernel(science.with_(data=image), reference, fit.psf, fwhm_reference=SHARP, degree=0)
    before, after = (seen_through_the_optics(kernel.kernel_at(150, 140)) for kernel in (fit, again))
    assert np.abs(after - before).max() < 0.01 * before.max()


def test_frames_without_light_in_common_are_refused_in_one_sentence():
    nothing = np.zeros(SHAPE)
    science, reference = exposed(nothing, 1).with_(name="night.fits"), exposed(nothing, 2)
    with pytest.raises(
        SubtractionError, match=r"night\.fits: only \d pieces .* use deeper or larger frames$"
    ):
        fit_kernel(science, reference, moffat_psf(BROAD, SHAPE), fwhm_reference=SHARP, degree=0)


def test_frames_of_opposite_sense_are_refused(light):
    rng = np.random.default_rng(3)
    science, reference = exposed(-light[1], 5), exposed(light[0], 6)
    ghost = np.where(rng.random(SHAPE) < 0.02, np.float32(60), science.data)
    with pytest.raises(SubtractionError, match=r"so the frames do not show the same stars|only \d+ pieces"):
        fit_kernel(
            science.with_(data=ghost), reference, moffat_psf(BROAD, SHAPE), fwhm_reference=SHARP, degree=0
        )
