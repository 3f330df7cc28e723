"""What a search leaves for a classifier: finite numbers that mean what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import LightCurveError
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periodicity import (
    PERIODICITY,
    Search,
    folded_profile,
    periodicity,
    points_of,
    search,
)
from astrid.lightcurves.variability import numbers_of, variability

pytest.importorskip("numba")
pytest.importorskip("finufft")


def star(shape, n=220, baseline=300.0, noise=0.03, seed=1, band=None):
    """Points as a survey has them, of a star whose magnitude is 15 + shape(time)."""
    rng = np.random.default_rng(seed)
    time = 55000 + np.sort(np.floor(rng.uniform(0, baseline, n)) * 0.9973 + rng.uniform(-0.15, 0.15, n))
    mag = 15 + shape(time) + rng.normal(0, noise, n)
    return LightCurve(time, mag, np.full(n, noise), band, name="star")


def two_modes(time, first=0.3512, ratio=0.7445, second=0.12):
    """A first overtone with the fundamental mode beside it."""
    fast = 0.2 * np.cos(2 * np.pi * time / first)
    return fast + second * np.cos(2 * np.pi * time * ratio / first + 1.0)


def found(curve):
    result = search(curve, maximum=8.0)
    return periodicity(points_of(curve), result), result


def test_the_second_mode_of_a_double_mode_star_is_found_at_its_ratio():
    numbers, result = found(star(two_modes))
    assert 1 / result.frequency[0] == pytest.approx(0.3512, rel=1e-3)
    assert numbers["overtone_ratio"] == pytest.approx(0.7445, rel=1e-3)
    assert numbers["overtone_power"] > 0.7
    assert numbers["overtone_share"] > 0.95
    alone, _ = found(star(lambda time: two_modes(time, second=0.0)))
    assert alone["overtone_power"] < 0.2


def test_the_ratio_is_sought_on_the_other_side_too():
    numbers, result = found(star(lambda time: two_modes(time, second=0.35)))
    assert 1 / result.frequency[0] == pytest.approx(0.3512 / 0.7445, rel=1e-3)
    assert numbers["fundamental_ratio"] == pytest.approx(0.7445, rel=1e-3)
    assert numbers["fundamental_power"] > numbers["overtone_power"]


def test_no_second_mode_is_sought_where_no_pulsator_is():
    numbers, _ = found(star(lambda time: 0.2 * np.cos(2 * np.pi * time / 30.0)))
    assert numbers["overtone_power"] == numbers["fundamental_power"] == numbers["overtone_ratio"] == 0


def test_what_is_fast_is_sought_only_where_its_sine_is():
    curve = star(lambda time: 0.2 * np.cos(2 * np.pi * time / 0.14))
    assert 1 / search(curve, maximum=8.0).frequency[0] == pytest.approx(0.14, rel=1e-3)


def test_a_folded_eclipse_begins_the_profile():
    def eclipse(time):
        distance = np.abs((time / 1.37) % 1 - 0.5)
        return 0.8 * np.exp(-((distance / 0.04) ** 2))

    profile, scatter = folded_profile(points_of(star(eclipse, n=600)), 1 / 1.37)
    assert profile.shape == (32,)
    assert profile[0] == profile.max() == 1
    assert profile.min() == 0
    assert profile[5:27].max() < 0.2
    assert scatter < 0.1


def test_empty_bins_are_bridged():
    curve = star(lambda time: 0.3 * np.cos(2 * np.pi * time), n=30)
    profile, _ = folded_profile(points_of(curve), 0.01)
    assert np.isfinite(profile).all()


def test_a_search_survives_its_own_json():
    _, result = found(star(two_modes, n=60))
    assert Search.from_dict(json.loads(json.dumps(result.as_dict()))) == result


@settings(max_examples=12, deadline=None)
@given(
    n=st.integers(8, 60),
    seed=st.integers(0, 1000),
    noise=st.floats(1e-3, 2.0),
    period=st.floats(0.2, 50.0),
)
def test_every_number_is_finite_and_in_its_place(n, seed, noise, period):
    curve = star(lambda time: np.cos(2 * np.pi * time / period), n, 40.0, noise, seed)
    points = points_of(curve)
    result = search(curve, maximum=4.0)
    numbers = variability(curve, points, result)
    assert list(numbers) == list(numbers_of())
    assert np.isfinite(np.asarray(list(numbers.values()), np.float32)).all()
    assert set(PERIODICITY) <= set(numbers)


def test_two_bands_have_numbers_of_their_own_and_a_colour():
    blue = star(lambda time: 0.4 * np.cos(2 * np.pi * time / 3.3), n=120)
    red = star(lambda time: 0.2 * np.cos(2 * np.pi * time / 3.3) - 0.7, n=120, seed=2)
    both = LightCurve(
        np.concatenate([blue.time, red.time]),
        np.concatenate([blue.value, red.value]),
        np.concatenate([blue.error, red.error]),
        ["b"] * 120 + ["r"] * 120,
        name="star",
    )
    points, result = points_of(both), search(both, maximum=4.0)
    numbers = variability(both, points, result, ("b", "r"))
    assert list(numbers) == list(numbers_of(("b", "r")))
    assert numbers["colour_b_r"] == pytest.approx(0.7, abs=0.1)
    assert numbers["amplitude_b_r"] == pytest.approx(np.log10(2), abs=0.06)
    assert numbers["base_amp_b"] == pytest.approx(0.4, abs=0.03)
    assert numbers["base_amp_r"] == pytest.approx(0.2, abs=0.03)
    alone = variability(blue, points_of(blue), search(blue, maximum=4.0), ("b", "r"))
    assert alone["median_r"] == alone["colour_b_r"] == 0


def test_names_are_given_once():
    assert "sine_base" in numbers_of()
    assert len(numbers_of()) == 91
    assert len(numbers_of(("b", "r"))) == 2 * (91 - len(PERIODICITY)) + len(PERIODICITY) + 2


def test_fluxes_and_curves_without_errors_are_refused_by_name():
    curve = star(two_modes, n=30)
    with pytest.raises(LightCurveError, match="star: the search is of magnitudes, not nJy"):
        points_of(LightCurve(curve.time, curve.value, curve.error, unit="nJy", name="star"))
    with pytest.raises(LightCurveError, match="star: no point has an error"):
        points_of(LightCurve(curve.time, curve.value, name="star"))
