"""What is detected: every clear peak of either sign, once, and nothing below the threshold."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from astrid.images.detection import detect

FWHM = 3.0


def nothing_hidden(image: np.ndarray) -> np.ndarray:
    return np.zeros(image.shape, bool)


def bump(shape: tuple[int, int], x: float, y: float, height: float, fwhm: float = FWHM) -> np.ndarray:
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    radius2 = (rows - y) ** 2 + (columns - x) ** 2
    return (height * np.exp(-4 * np.log(2) * radius2 / fwhm**2)).astype(np.float32)


def smooth_noise(seed: int, scale: float) -> np.ndarray:
    white = np.random.default_rng(seed).standard_normal((60, 70))
    return np.asarray(scale * ndimage.gaussian_filter(white, 1.2), np.float32)


@settings(deadline=None)
@given(
    seed=st.integers(0, 10_000),
    scale=st.floats(5, 60),
    threshold=st.floats(1, 8),
    fwhm=st.floats(1.5, 6),
)
def test_no_peak_is_below_the_threshold_and_no_two_are_one(seed, scale, threshold, fwhm):
    image = smooth_noise(seed, scale)
    row, column = detect(image, nothing_hidden(image), threshold=threshold, fwhm=fwhm)
    height = image[row, column]
    assert (np.abs(height) >= threshold).all()
    assert (np.diff(np.abs(height)) <= 0).all()
    distance = np.hypot(row[:, None] - row, column[:, None] - column)
    distance[np.diag_indices(len(row))] = np.inf
    alike = np.sign(height)[:, None] == np.sign(height)
    assert (distance[alike] > fwhm).all()
    assert (distance[~alike] > 2 * fwhm).all()


@settings(deadline=None)
@given(seed=st.integers(0, 10_000), hidden=arrays(bool, (60, 70)))
def test_nothing_is_found_where_nothing_may_be_and_the_strongest_peak_always_is(seed, hidden):
    image = smooth_noise(seed, 30)
    row, column = detect(image, hidden, threshold=4, fwhm=FWHM)
    assert not hidden[row, column].any()
    row, column = detect(image, nothing_hidden(image), threshold=4, fwhm=FWHM)
    strongest = np.unravel_index(np.argmax(np.abs(image)), image.shape)
    if abs(image[strongest]) >= 4:
        assert (row[0], column[0]) == strongest


@settings(deadline=None)
@given(seed=st.integers(0, 10_000))
def test_swapping_the_images_finds_the_same_places(seed):
    image = smooth_noise(seed, 30)
    one, other = (detect(plane, nothing_hidden(image), threshold=4, fwhm=FWHM) for plane in (image, -image))
    assert set(zip(*one, strict=True)) == set(zip(*other, strict=True))


def test_sources_of_both_signs_are_found_at_their_places():
    image = bump((80, 90), 20, 30, 12) - bump((80, 90), 60, 50, 9) + bump((80, 90), 75, 10, 6)
    row, column = detect(image, nothing_hidden(image), threshold=5, fwhm=FWHM)
    assert list(zip(column, row, strict=True)) == [(20, 30), (60, 50), (75, 10)]


def test_the_side_lobe_of_a_stronger_source_is_claimed_by_it():
    image = bump((60, 60), 30, 30, 40) - bump((60, 60), 34.5, 30, 9)
    row, column = detect(image, nothing_hidden(image), threshold=5, fwhm=FWHM)
    assert list(zip(column, row, strict=True)) == [(30, 30)]


def test_a_weak_source_well_beside_a_strong_one_of_either_sign_is_its_own():
    image = bump((60, 60), 20, 30, 40) - bump((60, 60), 29, 30, 9) + bump((60, 60), 20, 37, 8)
    row, column = detect(image, nothing_hidden(image), threshold=5, fwhm=FWHM)
    assert set(zip(column, row, strict=True)) == {(20, 30), (29, 30), (20, 37)}


def test_a_flat_top_and_a_corner_count_once_and_a_flat_sky_not_at_all():
    image = np.zeros((30, 30), np.float32)
    assert len(detect(image, nothing_hidden(image))[0]) == 0
    image[10:12, 10:12] = 8
    image[0, 0] = 7
    row, column = detect(image, nothing_hidden(image), fwhm=FWHM)
    assert len(row) == 2
    assert {(int(row[1]), int(column[1]))} == {(0, 0)}
