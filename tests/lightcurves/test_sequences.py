"""Padded sequences hold the points as they are, and nothing where there are none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from astrid.errors import LightCurveError, UsageError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.sequences import padded_curves


def _curve(n: int, seed: int = 0) -> LightCurve:
    random = np.random.default_rng(seed)
    band = random.choice(["g", "r", "i"], n)
    band[0] = "g"
    return LightCurve(
        58000 + np.arange(n) * 1.5, random.uniform(15, 20, n), random.uniform(0.01, 0.1, n), band=band
    )


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=5),
    st.integers(1, 20),
    st.sampled_from(["first", "last"]),
)
def test_every_point_that_fits_is_there_once(sizes, length, keep):
    curves = [_curve(n, seed) for seed, n in enumerate(sizes)]
    padded = padded_curves(curves, length, keep=keep)
    for row, curve in enumerate(curves):
        names = np.array(curve.bands)[curve.band]
        chosen = np.flatnonzero(names != "i")
        chosen = chosen[:length] if keep == "first" else chosen[-length:]
        n = len(chosen)
        assert_array_equal(padded.mask[row], np.arange(length) < n)
        assert_allclose(padded.value[row, :n], curve.value[chosen], rtol=1e-6)
        assert_allclose(padded.error[row, :n], curve.error[chosen], rtol=1e-6)
        assert_allclose(padded.time[row, :n], curve.time[chosen] - curve.time[chosen[0]])
        assert [("g", "r")[code] for code in padded.band[row, :n]] == list(names[chosen])
    outside = ~padded.mask
    assert (padded.band[outside] == -1).all()
    for array in (padded.time, padded.value, padded.error):
        assert (array[outside] == 0).all()


def test_points_without_an_error_are_left_out():
    curve = LightCurve([1, 2, 3], [15, 16, 17], [0.1, np.nan, 0.1], band="g")
    padded = padded_curves([curve], 4)
    assert_array_equal(padded.value[0], [15, 17, 0, 0])


def test_what_has_no_sequence_is_refused_by_name():
    with pytest.raises(LightCurveError, match="star: no point in g, r has an error"):
        padded_curves([LightCurve([1], [15], [0.1], band="z", name="star")], 3)
    with pytest.raises(LightCurveError, match="star: no point in g, r has an error"):
        padded_curves([LightCurve([1], [15], band="g", name="star")], 3)
    with pytest.raises(LightCurveError, match="in nJy, but others in mag"):
        padded_curves([_curve(3), LightCurve([1], [15], [1], band="g", unit="nJy")], 3)
    with pytest.raises(UsageError, match="length 0"):
        padded_curves([], 0)
    with pytest.raises(UsageError, match="each band once"):
        padded_curves([], 3, ("g", "g"))
