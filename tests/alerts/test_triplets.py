"""Triplets mean the same for all surveys: the sky at zero, the candidate in the middle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from astrid.alerts import Alert, centred_triplet, missing_pixels, raw_triplet, read_alerts
from astrid.alerts.alert import Cutout, Measurement
from astrid.errors import PacketError


def alert(*images, x=1000.0, y=1000.0, flipped=False) -> Alert:
    cutouts = dict(zip(("science", "reference", "difference"), map(Cutout, images), strict=True))
    detection = Measurement(mjd=59000.0, positive=not flipped)
    return Alert("ztf", "1", 10.0, 10.0, detection, None, "", "utc", None, cutouts, x, y, flipped, {})


def test_raw_stamps_keep_overflows_and_are_padded_at_the_high_end():
    science = np.full((51, 63), 7, np.float32)
    science[0, 0], science[0, 1] = np.nan, np.inf
    raw = raw_triplet(alert(science, science, science))
    assert raw[0, 0, 0] == 0
    assert raw[0, 1, 0] == np.finfo(np.float32).max
    assert (raw[51:] == 0).all()
    assert (raw[1:51] == 7).all()
    with pytest.raises(PacketError, match="65 x 65 px"):
        raw_triplet(alert(*[np.zeros((65, 65), np.float32)] * 3))


def test_the_sky_is_taken_off_and_the_difference_is_always_science_minus_reference():
    rng = np.random.default_rng(0)
    science = rng.normal(200, 1, (63, 63)).astype(np.float32)
    template = rng.normal(300, 1, (63, 63)).astype(np.float32)
    difference = rng.normal(0, 1, (63, 63)).astype(np.float32)
    template[31, 31] += 50
    difference[31, 31] += 50  # the packet of a faded source has reference minus science
    triplet = centred_triplet(alert(science, template, difference, flipped=True))
    assert np.median(triplet[..., 0]) == pytest.approx(0, abs=1e-3)
    assert np.median(triplet[..., 1]) == pytest.approx(0, abs=1e-3)
    np.testing.assert_array_equal(triplet[..., 2], -difference)
    positive = centred_triplet(alert(science, template, difference))
    np.testing.assert_array_equal(positive[..., 2], difference)


def test_missing_pixels_are_zero_and_counted():
    image = np.full((63, 63), 10, np.float32)
    image[:5] = np.nan
    image[5, 0] = np.finfo(np.float32).max
    record = alert(image, image, image)
    triplet = centred_triplet(record)
    assert np.isfinite(triplet).all()
    assert (triplet[:5] == 0).all()
    assert triplet[5, 0, 0] == 0
    assert missing_pixels(record) == {"science": 316, "reference": 316, "difference": 316}
    with pytest.raises(PacketError, match="no pixel with a value"):
        centred_triplet(alert(np.full((63, 63), np.nan, np.float32), image, image))


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3072), st.integers(1, 3080))
@example(1, 3080)  # both axes are clipped alike, one at its low and one at its high end
def test_the_candidate_is_in_the_middle_whichever_edge_has_clipped_its_stamp(xpos, ypos):
    # a chip of 3072 x 3080 px, cut as a survey does: what is beyond the edge is left out
    low, left = max(ypos - 1 - 31, 0), max(xpos - 1 - 31, 0)
    high, right = min(ypos - 1 + 32, 3080), min(xpos - 1 + 32, 3072)
    stamp = np.zeros((high - low, right - left), np.float32)
    stamp[ypos - 1 - low, xpos - 1 - left] = 100
    triplet = centred_triplet(alert(stamp, stamp, stamp, x=float(xpos - 1), y=float(ypos - 1)))
    # a corner that clips both axes alike is not told from a smaller stamp
    if not (stamp.shape[0] == stamp.shape[1] < 63 and xpos > 32 and ypos > 32):
        assert (triplet[31, 31] == 100).all()
    assert (triplet.sum(axis=(0, 1)) == 100).all()


def test_infinite_and_absurd_pixels_are_missing_and_warn_nobody():
    image = np.full((63, 63), -10, np.float32)
    image[0, :3] = np.inf, -np.inf, np.finfo(np.float32).max
    triplet = centred_triplet(alert(image, image, image))
    assert (triplet[..., :2] == 0).all()
    assert (triplet[0, :3] == 0).all()


def test_smaller_and_larger_stamps_of_other_surveys_keep_their_middle():
    for size in (61, 81):
        stamp = np.zeros((size, size), np.float32)
        stamp[size // 2, size // 2] = 9
        assert (centred_triplet(alert(stamp, stamp, stamp))[31, 31] == 9).all()


@pytest.mark.real_data
def test_a_clipped_real_stamp_is_filled_on_the_side_of_the_edge(real_data):
    alerts = {one.alert_id: one for one in read_alerts([real_data / "alerts" / "edge_cases.tar.gz"])}
    triplet = centred_triplet(alerts["595277915515015000"])
    assert (triplet[:12] == 0).all()
    assert (triplet[12:] != 0).any(axis=(1, 2)).all()
    inner = np.abs(triplet[29:34, 29:34, 2]).max()
    assert inner == np.abs(triplet[24:39, 24:39, 2]).max()  # the candidate, in the middle
