"""A frame is checked once, when it is made, and what is wrong with it is said in one sentence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame

ONES = np.ones((4, 6), np.float32)
NO_DATA = int(Flag.NO_DATA)


def test_a_plain_image_is_good_everywhere_and_keeps_its_values():
    frame = Frame(np.arange(24.0).reshape(4, 6))
    assert frame.shape == (4, 6)
    assert frame.good.all()
    assert frame.data.dtype == np.float32
    assert frame.mask.dtype == np.uint16
    np.testing.assert_array_equal(frame.data, np.arange(24.0).reshape(4, 6))


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf, 1e300])
def test_pixels_that_are_not_finite_become_zero_and_carry_no_data(broken):
    data = np.ones((4, 6))
    data[1, 2] = broken
    frame = Frame(data)
    assert frame.data[1, 2] == 0
    assert frame.mask[1, 2] == NO_DATA
    assert np.count_nonzero(frame.mask) == 1


def test_the_callers_arrays_are_never_changed():
    data, mask = np.array([[np.nan, 1.0]], np.float32), np.zeros((1, 2), np.uint16)
    Frame(data, mask=mask)
    assert np.isnan(data[0, 0])
    assert not mask.any()


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", ">i2", "<u2", "u1", "bool"])
def test_any_byte_order_and_number_type_gives_the_same_native_pixels(dtype):
    values = np.array([[0, 1, 1], [1, 0, 1]])
    frame = Frame(values.astype(dtype), variance=(values + 1).astype(dtype if dtype != "bool" else "u1"))
    assert frame.data.dtype.isnative
    assert frame.data.dtype == np.float32
    assert frame.variance.dtype.isnative
    assert frame.data.flags.c_contiguous
    np.testing.assert_array_equal(frame.data, values)


def test_a_strided_view_is_made_contiguous():
    assert Frame(np.arange(24.0).reshape(4, 6).T[:, ::2]).data.flags.c_contiguous


@pytest.mark.parametrize("variance", [0.0, -1.0, np.nan, np.inf])
def test_a_variance_that_is_not_positive_and_finite_tells_that_there_is_no_data(variance):
    plane = ONES.copy()
    plane[2, 3] = variance
    frame = Frame(ONES, variance=plane)
    assert frame.mask[2, 3] == NO_DATA
    assert frame.variance[2, 3] == 0
    assert frame.data[2, 3] == 1
    assert np.count_nonzero(frame.mask) == 1


def test_flags_that_were_given_stay_beside_those_that_are_found():
    frame = Frame(np.array([[np.nan, 1.0]]), mask=np.array([[2, 4]], np.int64))
    assert frame.mask.tolist() == [[Flag.SATURATED | Flag.NO_DATA, Flag.COSMIC_RAY]]


def test_a_boolean_mask_means_bad_pixels():
    frame = Frame(np.ones((1, 2)), mask=np.array([[True, False]]))
    assert frame.mask.tolist() == [[Flag.BAD, 0]]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"data": np.ones(5)}, "n.fits: expected a 2-D image, got 1 axes; choose one plane"),
        ({"data": np.ones((2, 3, 4))}, "n.fits: expected a 2-D image, got 3 axes"),
        ({"data": ONES, "mask": np.zeros((6, 4))}, r"the mask has shape \(6, 4\), the image \(4, 6\)"),
        ({"data": ONES, "variance": np.ones(24)}, r"the variance has shape \(24,\), the image \(4, 6\)"),
        ({"data": ONES * np.nan}, "no pixel has data; check that the right extension was read"),
        ({"data": ONES, "variance": ONES * 0}, "no pixel has data"),
        ({"data": np.ones((0, 0))}, "no pixel has data"),
        ({"data": np.array([["a", "b"]])}, "the pixels are not numbers .*; give a numeric array"),
        ({"data": ONES, "gain": 0.0}, "gain is 0.0, expected a positive number; give the right one"),
        ({"data": ONES, "gain": np.nan}, "gain is nan, expected a positive number"),
        ({"data": ONES, "exposure": -30.0}, "exposure is -30.0, expected a positive number"),
        ({"data": ONES, "saturation": np.inf}, "saturation is inf, expected a positive number"),
    ],
)
def test_what_cannot_be_an_image_is_refused_in_one_sentence(arguments, sentence):
    with pytest.raises(FrameError, match=sentence) as caught:
        Frame(**arguments, name="n.fits")
    assert str(caught.value).startswith("n.fits: ")
    assert "\n" not in str(caught.value)


def test_a_changed_copy_is_checked_again_and_the_original_stays():
    frame = Frame(ONES, gain=2.0)
    assert frame.with_(gain=3.0).gain == 3.0
    assert frame.gain == 2.0
    with pytest.raises(FrameError, match="gain is -1"):
        frame.with_(gain=-1.0)


def test_warnings_add_up_in_order():
    assert Frame(ONES).warn("first").warn("second", "third").warnings == ("first", "second", "third")


def test_the_repr_names_the_frame_and_its_size_but_no_pixels():
    assert repr(Frame(ONES)) == "<Frame frame: 6 x 4 px>"
    frame = Frame(ONES, name="a.fits", telescope="P48", filter="r", exposure=30.0)
    assert repr(frame) == "<Frame a.fits: 6 x 4 px, P48, r, 30 s>"


@settings(deadline=None, max_examples=80)
@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True, width=64)),
    hnp.arrays(np.uint16, (3, 4), elements=st.integers(0, 127)),
    hnp.arrays(np.float32, (3, 4), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)),
)
def test_whatever_comes_in_a_frame_is_finite_or_refused(data, mask, variance):
    with np.errstate(over="ignore"):
        alive = np.isfinite(data.astype(np.float32)) & np.isfinite(variance) & (variance > 0)
    alive &= mask & NO_DATA == 0
    if not alive.any():
        with pytest.raises(FrameError, match="no pixel has data"):
            Frame(data, mask=mask, variance=variance)
        return
    frame = Frame(data, mask=mask, variance=variance)
    assert np.isfinite(frame.data).all()
    assert np.isfinite(frame.variance).all()
    assert (frame.variance >= 0).all()
    np.testing.assert_array_equal(frame.mask & NO_DATA == 0, alive)
    np.testing.assert_array_equal(frame.mask & ~np.uint16(NO_DATA), mask & ~np.uint16(NO_DATA))
    again = frame.with_()
    np.testing.assert_array_equal(again.data, frame.data)
    np.testing.assert_array_equal(again.mask, frame.mask)
