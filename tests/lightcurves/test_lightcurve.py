"""A light curve is in order, whatever came in; what cannot be one is refused in one sentence."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from astrid.errors import LightCurveError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.timing import TIME_FORMATS, at_barycentre, to_mjd

numbers = st.one_of(st.floats(), st.sampled_from([0.0, 1.0, 58000.0, 15.0, 99.0, np.inf, -np.inf, np.nan]))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(numbers, numbers, numbers, st.sampled_from("gri"), st.integers(0, 3)), max_size=12),
    st.sampled_from(["mag", "nJy"]),
)
def test_whatever_comes_in_ends_in_order_or_in_one_sentence(rows, unit):
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], [], []]
    try:
        curve = LightCurve(*columns[:3], band=columns[3], quality=columns[4], unit=unit)
    except LightCurveError as error:
        refusal = str(error)
    else:
        refusal = ""
    if refusal:
        assert re.fullmatch("light curve: [^;\\n]+; [^;\\n]+", refusal)
        return
    assert 1 <= len(curve) <= len(rows)
    assert np.isfinite(curve.time).all()
    assert np.isfinite(curve.value).all()
    assert (np.diff(curve.time) >= 0).all()
    assert len(set(zip(*_points(curve), strict=True))) == len(curve)
    assert curve.error is None or (np.isnan(curve.error) | (curve.error > 0)).all()
    assert set(np.unique(curve.band)) == set(range(len(curve.bands)))
    dropped = sum(int(re.match(r"\d+", note)[0]) for note in curve.warnings if "no error" not in note)
    assert len(curve) + dropped == len(rows), "no point may be lost unsaid"
    again = replace(curve)
    for old, new in zip(_points(curve), _points(again), strict=True):
        assert_array_equal(old, new)


def _points(curve: LightCurve):
    error = np.zeros(len(curve)) if curve.error is None else np.nan_to_num(curve.error, nan=-1)
    return curve.time, curve.value, error, np.array(curve.bands)[curve.band], curve.quality


def test_points_are_sorted_with_all_that_belongs_to_them():
    curve = LightCurve([3, 1, 2], [13, 11, 12], [0.3, 0.1, 0.2], band=["r", "g", "i"], quality=[30, 10, 20])
    assert_array_equal(curve.time, [1, 2, 3])
    assert_array_equal(curve.value, [11, 12, 13])
    assert_array_equal(curve.error, [0.1, 0.2, 0.3])
    assert_array_equal(curve.quality, [10, 20, 30])
    assert [curve.bands[code] for code in curve.band] == ["g", "i", "r"]


def test_only_exact_repetitions_are_left_out():
    curve = LightCurve([1, 1, 1, 1], [15, 15, 15.1, 15], [0.1] * 4, band=["g", "g", "g", "r"])
    assert len(curve) == 3
    assert curve.warnings == ("1 of 4 points repeat another exactly",)


def test_a_magnitude_without_an_error_stays_and_says_so():
    curve = LightCurve([1, 2, 3], [15, 16, 17], [0.1, 99.99, -1])
    assert_array_equal(np.isfinite(curve.error), [True, False, False])
    assert curve.warnings == ("2 of 3 points have no error",)
    assert LightCurve([1, 2], [15, 16], [0, np.nan]).error is None


def test_one_point_and_a_constant_are_light_curves():
    assert len(LightCurve([58000.0], [15.0])) == 1
    assert len(LightCurve(np.arange(5.0), np.full(5, 15.0))) == 5


@pytest.mark.parametrize(
    ("columns", "facts", "message"),
    [
        (([], []), {}, "there are no points"),
        (([1, 2], [np.nan, 99.0]), {}, "none of 2 points"),
        (([1, 2], [15]), {}, "2 times but 1 of value"),
        (([2458000.5], [15]), {}, "time_format='jd'"),
        (([[1, 2]], [[15, 16]]), {}, "time has 2 axes"),
        (([1], ["x"]), {}, "value is not all numbers"),
        (([1], [15]), {"time_scale": "gps"}, "time scale 'gps'"),
        (([1], [15]), {"dec": 91.0}, "dec is 91.0"),
        (([1], [15]), {"band": np.array([3]), "bands": ("g",)}, "band code"),
    ],
)
def test_what_is_no_light_curve_is_refused_by_name(columns, facts, message):
    with pytest.raises(LightCurveError, match=re.escape(message)):
        LightCurve(*columns, **facts)


def test_a_band_keeps_its_points_only():
    curve = LightCurve([1, 2, 3], [15, 16, 17], band=["g", "r", "g"], name="star")
    green = curve.in_band("g")
    assert_array_equal(green.value, [15, 17])
    assert green.bands == ("g",)
    with pytest.raises(LightCurveError, match="no point in band 'z'; it has 'g', 'r'"):
        curve.in_band("z")


def test_good_points_are_those_without_flags():
    curve = LightCurve([1, 2, 3], [15, 16, 17], quality=[0, 4, 0])
    assert_array_equal(curve.good().time, [1, 3])
    with pytest.raises(LightCurveError, match="every point has a quality flag"):
        LightCurve([1], [15], quality=[1]).good()


@given(st.floats(1e-3, 1e4), st.lists(st.floats(0, 1e5), min_size=1, max_size=20))
def test_phases_are_from_0_to_below_1_and_repeat_with_the_period(period, times):
    curve = LightCurve(times, np.full(len(times), 15.0))
    phase = curve.folded(period)
    assert ((phase >= 0) & (phase < 1)).all()
    cycles = (curve.time - curve.time[0]) / period - phase
    assert_allclose(cycles, np.round(cycles), atol=1e-6)


def test_magnitudes_and_fluxes_go_round():
    mag = LightCurve([1, 2], [20.0, 21.0], [0.05, 0.1])
    flux = mag.as_flux()
    assert flux.unit == "nJy"
    assert_allclose(flux.value[0], 36307.8, rtol=1e-5)  # 3631 Jy at AB 0, and 20 mag are a factor 1e8
    back = flux.as_mag()
    assert_allclose(back.value, mag.value, rtol=1e-12)
    assert_allclose(back.error, mag.error, rtol=1e-12)


def test_a_negative_flux_has_no_magnitude_and_is_counted():
    curve = LightCurve([1, 2, 3], [100.0, -5.0, 200.0], unit="nJy").as_mag()
    assert len(curve) == 2
    assert "1 of 3 points have no positive flux and no magnitude" in curve.warnings
    with pytest.raises(LightCurveError, match="no known zero point"):
        LightCurve([1], [1.0], unit="e-/s").as_mag()
    with pytest.raises(LightCurveError, match="no flux is positive"):
        LightCurve([1], [-1.0], unit="nJy").as_mag()


@pytest.mark.parametrize("format", TIME_FORMATS)
def test_formats_of_time_are_those_of_astropy(format):
    astropy_time = pytest.importorskip("astropy.time")
    mjd = 58849.25
    known = {"bkjd": mjd + 2400000.5 - 2454833, "btjd": mjd + 2400000.5 - 2457000, "rjd": mjd + 0.5}
    value = known.get(format, mjd if format == "mjd" else astropy_time.Time(mjd, format="mjd").jd)
    assert_allclose(to_mjd([value], format), mjd, atol=1e-9)


def test_an_unknown_format_is_refused():
    with pytest.raises(LightCurveError, match="time format 'unix'"):
        to_mjd([1.0], "unix")


def test_the_barycentre_sees_a_star_of_the_ecliptic_up_to_500_seconds_earlier_or_later():
    mjd = 58849 + np.arange(0, 365, 5.0)
    curve = LightCurve(mjd, np.full(len(mjd), 15.0), ra=90.0, dec=23.44, time_scale="utc")
    corrected = at_barycentre(curve, site=(-116.863, 33.356, 1712.0))
    delay = (corrected.time - curve.time) * 86400 - 69.184  # TT - UTC of 2020, which is TDB - UTC to 2 ms
    assert corrected.time_scale == "tdb"
    assert corrected.timed_at == "barycentre"
    # the Earth is 0.983 to 1.017 au from the Sun, the Sun up to 0.01 au from the barycentre
    assert 485 < delay.max() < 515
    assert -515 < delay.min() < -485
    night = mjd[np.argmax(delay)] % 365.25
    assert abs(night - (59205 % 365.25)) < 8 or abs(night - (58840 % 365.25)) < 8, (
        "the star is opposite the Sun"
    )
    geocentre = at_barycentre(curve)
    assert_allclose(geocentre.time * 86400, corrected.time * 86400, atol=0.0225, rtol=0)


def test_times_are_corrected_once_and_not_by_guess():
    facts = {"time": [58849.0], "value": [15.0], "ra": 10.0, "dec": 0.0}
    with pytest.raises(LightCurveError, match="time scale is unknown"):
        at_barycentre(LightCurve(**facts))
    with pytest.raises(LightCurveError, match="no position"):
        at_barycentre(LightCurve([58849.0], [15.0], time_scale="utc"))
    with pytest.raises(LightCurveError, match="correct those at the observatory"):
        at_barycentre(at_barycentre(LightCurve(**facts, time_scale="utc")))
