"""Holes are filled from their rim for filtering, and the mask goes on saying that they are holes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrid.images.filling import fill_masked, flag_dead_borders
from astrid.images.frame import Flag, Frame

RAMP = np.add.outer(np.arange(200.0), 0.5 * np.arange(300.0)).astype(np.float32)


def with_hole(data: np.ndarray, where: tuple, flag: Flag, value: float = 1e6) -> Frame:
    data, mask = data.copy(), np.zeros(data.shape, np.uint16)
    data[where], mask[where] = value, flag
    return Frame(data, mask=mask)


def test_a_clean_frame_comes_back_as_it_is():
    frame = Frame(RAMP)
    assert fill_masked(frame) is frame


@pytest.mark.parametrize("column", [60, 127, 128])  # in a tile, and on either side of a seam
def test_a_bad_column_on_a_slope_is_interpolated(column):
    frame = fill_masked(with_hole(RAMP, np.s_[:, column], Flag.BAD))
    inside = slice(3, -3)
    np.testing.assert_allclose(frame.data[inside, column], RAMP[inside, column], atol=1e-3)
    assert (frame.mask[:, column] == (Flag.BAD | Flag.FILLED)).all()
    others = np.arange(300) != column
    np.testing.assert_array_equal(frame.data[:, others], RAMP[:, others])
    assert not frame.mask[:, others].any()


def test_what_was_in_the_hole_has_no_part_in_the_fill():
    where = np.s_[100:104, 120:131]
    first, second = (fill_masked(with_hole(RAMP, where, Flag.COSMIC_RAY, value)) for value in (-1e6, 1e6))
    np.testing.assert_array_equal(first.data, second.data)


def test_a_wide_hole_is_filled_to_its_middle():
    frame = fill_masked(with_hole(np.full((200, 200), 7, np.float32), np.s_[90:102, 90:102], Flag.NO_DATA))
    np.testing.assert_allclose(frame.data[90:102, 90:102], 7, rtol=1e-4)


def test_beyond_the_edge_the_fill_is_zero_and_lends_nothing():
    data, mask = np.full((64, 64), 5, np.float32), np.zeros((64, 64), np.uint16)
    data[:8], mask[:8], mask[8, 20] = 1e5, Flag.EDGE | Flag.NO_DATA, Flag.BAD
    frame = fill_masked(Frame(data, mask=mask))
    assert (frame.data[:8] == 0).all()
    assert not (frame.mask[:8] & Flag.FILLED).any()
    assert frame.data[8, 20] == pytest.approx(5, rel=1e-4)


def test_saturated_cores_stay_unless_asked_for():
    frame = with_hole(RAMP, np.s_[50, 50], Flag.SATURATED)
    assert fill_masked(frame).data[50, 50] == 1e6
    assert not fill_masked(frame).mask[50, 50] & Flag.FILLED
    assert fill_masked(frame, keep=Flag(0)).data[50, 50] == pytest.approx(RAMP[50, 50], abs=1e-3)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays(np.float32, (24, 30), elements=st.floats(-100, 100, width=32)),
    hnp.arrays(np.uint16, (24, 30), elements=st.sampled_from([0, 0, 0, 1, 2, 4, 8, 16, 24])),
)
def test_a_fill_lies_between_the_good_values_and_nothing_else_changes(data, mask):
    mask[0, 0] = 0
    frame = fill_masked(Frame(data, mask=mask))
    edge = mask & Flag.EDGE != 0
    holes = (mask & ~np.uint16(Flag.SATURATED) != 0) & ~edge
    known = data[~holes & ~edge]
    slack = 1e-3
    assert (frame.data[holes] >= min(known.min(), 0) - slack).all()
    assert (frame.data[holes] <= max(known.max(), 0) + slack).all()
    np.testing.assert_array_equal(frame.data[~holes & ~edge], known)
    np.testing.assert_array_equal(frame.mask & Flag.FILLED != 0, holes)


def test_dead_borders_are_flagged_and_one_more_line_is_not():
    data = np.random.default_rng(1).normal(size=(50, 60)).astype(np.float32)
    data[:3], data[-1], data[:, :2], data[:, -4:] = 0, 0, 0, 0
    frame = flag_dead_borders(Frame(data))
    dead = np.ones(data.shape, bool)
    dead[3:-1, 2:-4] = False
    np.testing.assert_array_equal(frame.mask == (Flag.NO_DATA | Flag.EDGE), dead)
    np.testing.assert_array_equal(frame.mask == 0, ~dead)


def test_a_constant_line_inside_the_image_is_no_border():
    data = np.random.default_rng(2).normal(size=(50, 60)).astype(np.float32)
    data[20] = 0
    frame = Frame(data)
    assert flag_dead_borders(frame) is frame
