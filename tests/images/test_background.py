"""The sky is what lies under the sources, and nothing of them goes into it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from astrid.errors import FrameError
from astrid.images.background import blocks, source_mask, subtract_background, whole_pixels
from astrid.images.frame import Flag, Frame

SHAPE = (512, 512)
SIGMA = 10.0
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)
SKY = 300 + 0.2 * X - 0.1 * Y + 40 * np.sin(X / 150) * np.cos(Y / 200)


def stars(n: int, seed: int, faintest: float = 500.0, fwhm: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian stars of a power law of fluxes: their light, and the pixels of their centres."""
    rng = np.random.default_rng(seed)
    row, column = rng.integers(8, 504, (2, n))
    light = np.zeros(SHAPE)
    np.add.at(light, (row, column), faintest * (1 + rng.pareto(0.8, n)).clip(0, 500))
    return ndimage.gaussian_filter(light, fwhm / 2.3548), np.column_stack([row, column])


def noise(seed: int) -> np.ndarray:
    return SIGMA * np.random.default_rng(seed).standard_normal(SHAPE)


def test_a_bending_sky_is_recovered_below_the_stars():
    light, _ = stars(300, seed=1)
    frame, sky = subtract_background(Frame(SKY + light + noise(2)), mesh=32)
    error = (sky - SKY)[16:-16, 16:-16]
    assert abs(error.mean()) < 0.1 * SIGMA
    assert np.sqrt((error**2).mean()) < 0.2 * SIGMA
    assert np.abs(error).max() < SIGMA
    np.testing.assert_allclose(frame.data + sky, SKY + light + noise(2), rtol=1e-5)


def test_a_brighter_star_does_not_lift_its_own_sky():
    star = 2e5 * np.exp(-((X - 250) ** 2 + (Y - 260) ** 2) / (2 * 3.0**2))
    skies = [subtract_background(Frame(SKY + k * star + noise(3)))[1] for k in (0, 1)]
    assert np.abs(skies[1] - skies[0]).max() < 0.25 * SIGMA


def test_in_a_crowd_the_sky_is_not_guessed_from_masked_cells():
    light, _ = stars(9000, seed=4, faintest=200)
    data = 300 + light + noise(5)
    assert source_mask((light + noise(5)).astype(np.float32), SIGMA).mean() > 0.5
    _, sky = subtract_background(Frame(data))
    # What nobody can tell from sky is the light of the faintest pixels; the mean is far above it.
    assert 300 - SIGMA < np.median(sky) < 300 + np.percentile(light, 40)
    assert np.median(sky) < 300 + 0.5 * light.mean()


def test_every_star_that_stands_out_is_masked_and_little_else():
    light, places = stars(200, seed=6)
    mask = source_mask((light + noise(7)).astype(np.float32), SIGMA)
    bright = light[tuple(places.T)] > 5 * SIGMA
    assert bright.sum() > 40
    assert mask[tuple(places[bright].T)].all()
    assert mask[light > 3 * SIGMA].mean() > 0.99
    far = ndimage.maximum_filter(light, 15) < 0.01 * SIGMA
    assert far.mean() > 0.5
    assert mask[far].mean() < 0.02


def test_without_a_sigma_the_mask_takes_the_noise_from_the_image():
    light, _ = stars(100, seed=8)
    data = (light + noise(9)).astype(np.float32)
    given_, found = source_mask(data, SIGMA), source_mask(data, None)
    assert (given_ == found).mean() > 0.98


def test_correlated_noise_is_not_masked_as_sources():
    data = ndimage.gaussian_filter(noise(10), 1.5).astype(np.float32)
    assert source_mask(data, float(data.std())).mean() > 0.1
    assert source_mask(data, None).mean() < 0.05


def test_pixels_without_data_stay_zero_and_do_not_count():
    data = SKY + noise(11)
    data[100:200, 50:90] = np.nan
    data[300, 300] = 1e7
    mask = np.zeros(SHAPE, np.uint16)
    mask[300, 300] = Flag.COSMIC_RAY
    frame, sky = subtract_background(Frame(data, mask=mask))
    assert (frame.data[100:200, 50:90] == 0).all()
    assert np.abs((sky - SKY)[90:210, 40:100]).max() < SIGMA
    assert frame.mask[300, 300] == Flag.COSMIC_RAY


def test_the_frame_that_was_given_is_not_changed():
    frame = Frame(SKY + noise(12))
    before = frame.data.copy()
    subtract_background(frame)
    np.testing.assert_array_equal(frame.data, before)


@pytest.mark.parametrize("shape", [(101, 77), (64, 200), (17, 19)])
def test_odd_and_small_images_have_a_sky_too(shape):
    rng = np.random.default_rng(13)
    frame, sky = subtract_background(Frame(200 + rng.standard_normal(shape)))
    assert sky.shape == frame.shape == shape
    np.testing.assert_allclose(sky, 200, atol=0.5)


def test_a_mesh_that_follows_the_stars_is_refused():
    with pytest.raises(FrameError, match="a background mesh of 8 px is too small; give 16 or more"):
        subtract_background(Frame(SKY), mesh=8)


def test_an_image_that_is_masked_everywhere_has_no_sky():
    frame = Frame(SKY, mask=np.full(SHAPE, Flag.BAD, np.uint16))
    with pytest.raises(FrameError, match="every pixel is masked, so no sky can be measured; check the mask"):
        subtract_background(frame)


@settings(deadline=None, max_examples=50)
@given(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), st.integers(0, 999))
def test_blocks_are_sums_of_four_and_an_odd_last_line_is_doubled(shape, seed):
    data = np.random.default_rng(seed).integers(-99, 99, shape).astype(np.float32)
    sums = blocks(data)
    for i, j in np.ndindex(sums.shape):
        rows, columns = (2 * i, min(2 * i + 1, shape[0] - 1)), (2 * j, min(2 * j + 1, shape[1] - 1))
        assert sums[i, j] == sum(data[r, c] for r in rows for c in columns)
    whole = whole_pixels(sums, shape)
    assert whole.shape == shape
    for r, c in np.ndindex(shape):
        assert whole[r, c] == sums[r // 2, c // 2]
