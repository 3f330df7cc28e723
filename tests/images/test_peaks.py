"""Local maxima are those of a maximum filter, wherever one cares to look."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from astrid.images.peaks import local_maxima

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


def filtered(image: np.ndarray, reach: int) -> np.ndarray:
    return ndimage.maximum_filter(image, 2 * reach + 1, mode="constant", cval=-np.inf)


@settings(deadline=None, max_examples=100)
@given(SHAPES, st.integers(0, 2**32 - 1), st.integers(1, 4), st.data())
def test_peaks_without_ties_are_those_of_a_maximum_filter(shape, seed, reach, data):
    image = np.random.default_rng(seed).permutation(shape[0] * shape[1]).reshape(shape).astype(np.float32)
    where = data.draw(hnp.arrays(bool, shape))
    expected = np.nonzero((image == filtered(image, reach)) & where)
    np.testing.assert_array_equal(local_maxima(image, where, reach), expected)


@settings(deadline=None, max_examples=100)
@given(
    SHAPES.flatmap(lambda shape: hnp.arrays(np.float32, shape, elements=st.integers(0, 2))), st.integers(1, 3)
)
def test_of_equal_neighbours_only_the_last_stands_and_no_higher_one_is_passed_over(image, reach):
    row, column = local_maxima(image, np.ones(image.shape, bool), reach)
    assert (image[row, column] == filtered(image, reach)[row, column]).all()
    apart = np.maximum(abs(row[:, None] - row), abs(column[:, None] - column)) + 99 * np.eye(len(row))
    assert (apart > reach).all()
    # A peak is missing only where an equal pixel later in reading order took its place.
    index = np.arange(image.size, dtype=float).reshape(image.shape)
    ranked = image * image.size + index
    np.testing.assert_array_equal((row, column), np.nonzero(ranked == filtered(ranked, reach)))


def test_a_flat_image_has_one_peak_where_it_is_looked_for_and_none_where_it_is_not():
    flat = np.ones((5, 7), np.float32)
    row, column = local_maxima(flat, np.ones(flat.shape, bool), 9)
    assert (row.tolist(), column.tolist()) == ([4], [6])
    row, column = local_maxima(flat, np.zeros(flat.shape, bool), 1)
    assert len(row) == len(column) == 0


def test_a_peak_in_the_corner_counts():
    image = np.zeros((8, 8), np.float32)
    image[0, 0], image[7, 7] = 3, 2
    row, column = local_maxima(image, image > 1, 2)
    assert list(zip(row, column, strict=True)) == [(0, 0), (7, 7)]
