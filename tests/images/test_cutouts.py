"""A cutout shows the pixels around its place, says how much of it was made up, and never fails at an edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid.errors import UsageError
from astrid.images.cutouts import cut, triplets

sizes = st.integers(1, 20).map(lambda half: 2 * half + 1)
places = st.floats(-60, 90, allow_nan=False)


def counting(ny: int, nx: int) -> np.ndarray:
    """An image without two equal pixels and without a zero."""
    return np.arange(1, ny * nx + 1, dtype=np.float32).reshape(ny, nx)


@given(ny=st.integers(1, 40), nx=st.integers(1, 40), x=places, y=places, size=sizes)
def test_a_cutout_is_the_image_on_a_field_of_zeros_and_the_padding_record_is_exact(ny, nx, x, y, size):
    image = counting(ny, nx)
    stamps, padded = cut(image, np.array([x]), np.array([y]), size)
    # the oracle: an image with so wide a border of zeros that nothing falls off it
    border = 200
    field = np.pad(image, border)
    row, column = round(y) + border - size // 2, round(x) + border - size // 2
    np.testing.assert_array_equal(stamps[0], field[row : row + size, column : column + size])
    real = np.pad(np.ones((ny, nx), bool), border)[row : row + size, column : column + size]
    left, right, bottom, top = padded[0]
    expected = np.zeros((size, size), bool)
    expected[bottom : size - top, left : size - right] = True
    np.testing.assert_array_equal(real, expected)


@given(x=st.integers(0, 39), y=st.integers(0, 29), size=sizes, dx=st.floats(-0.49, 0.49))
def test_the_pixel_nearest_to_the_place_is_the_middle_of_the_cutout(x, y, size, dx):
    image = counting(30, 40)
    stamps, _ = cut(image, np.array([x + dx]), np.array([y - dx]), size)
    assert stamps[0, size // 2, size // 2] == image[y, x]


def test_a_cutout_far_off_the_image_is_all_padding():
    stamps, padded = cut(counting(30, 40), np.array([-500.0, 20.0]), np.array([15.0, 9000.0]), 11)
    assert not stamps.any()
    assert padded[0, 0] == 11
    assert padded[1, 3] == 11


@pytest.mark.parametrize("size", [0, 1, 2, 64, -5])
def test_an_even_or_tiny_size_is_refused_in_one_sentence(size):
    with pytest.raises(UsageError, match=rf"cutout size is {size}; give an odd number of pixels, 3 or more$"):
        cut(counting(9, 9), np.array([4.0]), np.array([4.0]), size)


def test_triplets_hold_the_three_images_at_one_place_under_their_candidates_numbers():
    images = {name: counting(50, 60) * scale for name, scale in zip("abc", (1, -1, 10), strict=True)}
    found = triplets(images, np.array([7, 9]), np.array([3.0, 30.2]), np.array([48.0, 20.4]), 21)
    assert found["a"].dtype == np.float32
    assert found["a"].shape == (2, 21, 21)
    np.testing.assert_array_equal(found["id"], [7, 9])
    np.testing.assert_array_equal(found["padded"], [[7, 0, 0, 9], [0, 0, 0, 0]])
    np.testing.assert_array_equal(found["b"], -found["a"])
    np.testing.assert_array_equal(found["c"], 10 * found["a"])


def test_no_candidates_give_empty_triplets_of_the_right_shape():
    found = triplets({"difference": counting(50, 60)}, np.array([]), np.array([]), np.array([]), 21)
    assert found["difference"].shape == (0, 21, 21)
    assert found["padded"].shape == (0, 4)
