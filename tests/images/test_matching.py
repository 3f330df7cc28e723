"""Stars find their partners, and patterns that are not there are not found."""

from __future__ import annotations

import time
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import AlignmentError
from astrid.images.matching import match_sources, match_stars
from astrid.images.sources import Sources


def sources(x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> Sources:
    given = {"x": x, "y": y, "flux": flux, "snr": np.sqrt(flux), "flags": np.zeros(len(x), np.uint16)}
    columns = {field.name: given.get(field.name, np.ones(len(x))) for field in fields(Sources)}
    return Sources(**columns)[np.argsort(-flux)]


def sky(
    rng: np.random.Generator,
    matrix: np.ndarray,
    n: int = 400,
    side: float = 512,
    noise: float = 0.1,
    deeper: float = 1.0,
) -> tuple[Sources, Sources]:
    """Two lists of stars of one field: the second is seen through a matrix, to another depth."""
    x, y = rng.uniform(-1.5 * side, 2.5 * side, (2, 16 * n))
    flux = 100 * rng.pareto(0.8, x.size) + 100
    seen = (x > 0) & (x < side) & (y > 0) & (y < side)
    u, v = matrix @ [x, y, np.ones_like(x)]
    other = (u > 0) & (u < side) & (v > 0) & (v < side) & (flux > 100 * deeper)

    def observed(a: np.ndarray, b: np.ndarray, which: np.ndarray) -> Sources:
        jitter = rng.normal(0, noise, (2, which.sum()))
        brightness = flux[which] * rng.lognormal(0, 0.3, which.sum())
        return sources(a[which] + jitter[0], b[which] + jitter[1], brightness)

    return observed(x, y, seen), observed(u, v, other)


def similarity(angle: float, scale: float, flip: bool, dx: float, dy: float, side: float = 512) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    middle = np.full(2, side / 2)
    return np.column_stack([turn, middle + np.array([dx, dy]) - turn @ middle])


def corner_error(found: np.ndarray, true: np.ndarray, side: float = 512) -> float:
    corners = np.array([[0, side, 0, side], [0, 0, side, side], [1, 1, 1, 1]])
    return float(np.hypot(*((found - true) @ corners)).max())


@settings(max_examples=40, deadline=None)
@given(
    angle=st.floats(-3.2, 3.2),
    scale=st.floats(0.7, 1.45),
    flip=st.booleans(),
    dx=st.floats(-120, 120),
    dy=st.floats(-120, 120),
    seed=st.integers(0, 1000),
)
def test_any_rotation_shift_flip_and_scale_is_found(
    angle: float, scale: float, flip: bool, dx: float, dy: float, seed: int
) -> None:
    true = similarity(angle, scale, flip, dx, dy)
    match = match_stars(*sky(np.random.default_rng(seed), true))
    assert corner_error(match.matrix, true) < 0.5
    assert match.log10_chance < -4


@pytest.mark.parametrize("deeper", [0.3, 3.0, 10.0])
def test_images_of_different_depth_match(deeper: float) -> None:
    true = similarity(0.5, 1.0, False, 60, -80)
    match = match_stars(*sky(np.random.default_rng(4), true, deeper=deeper))
    assert corner_error(match.matrix, true) < 0.5


def test_a_crowded_field_matches() -> None:
    true = similarity(0.0, 1.0, False, 79, -60)
    match = match_stars(*sky(np.random.default_rng(5), true, n=3000, noise=0.3))
    assert corner_error(match.matrix, true) < 0.5


def test_few_stars_suffice_where_all_agree() -> None:
    rng = np.random.default_rng(6)
    x, y = rng.uniform(0, 1000, (2, 8))
    flux = rng.uniform(100, 1000, 8)
    match = match_stars(sources(x, y, flux), sources(1000 - y, x + 90, flux))
    assert len(match.science) == 8
    np.testing.assert_allclose(match.matrix, [[0, -1, 1000], [1, 0, 90]], atol=1e-6)


@pytest.mark.parametrize("n", [8, 30, 300, 3000])
def test_unrelated_fields_do_not_match(n: int) -> None:
    for seed in range(5):
        one, _ = sky(np.random.default_rng(seed), similarity(0, 1, False, 0, 0), n=n)
        two, _ = sky(np.random.default_rng(seed + 100), similarity(0, 1, False, 0, 0), n=n)
        with pytest.raises(AlignmentError, match=f"{len(one)} and {len(two)} stars"):
            match_stars(one, two)


def test_five_stars_are_too_few_and_the_message_says_how_many_are_needed() -> None:
    five = sources(*np.random.default_rng(7).uniform(0, 500, (2, 5)), np.arange(5.0) + 1)
    with pytest.raises(AlignmentError, match="5 and 5 stars, expected at least 6"):
        match_stars(five, five)


def test_stars_in_one_place_do_not_match_anything() -> None:
    one = sources(np.full(20, 5.0), np.full(20, 5.0), np.arange(20.0) + 1)
    with pytest.raises(AlignmentError):
        match_stars(one, one)


def test_patterns_are_found_quickly() -> None:
    pair = sky(np.random.default_rng(8), similarity(2.0, 1.1, True, 30, 40), n=2000)
    match_stars(*pair)
    start = time.process_time()
    match_stars(*pair)
    assert time.process_time() - start < 0.3


def test_nearest_neighbours_pair_only_if_mutual() -> None:
    x1, y1 = np.array([0.0, 10.0, 10.6]), np.zeros(3)
    x2, y2 = np.array([10.5, 0.2, 50.0]), np.zeros(3)
    first, second = match_sources(x1, y1, x2, y2, 2.0)
    assert list(zip(first, second, strict=True)) == [(0, 1), (2, 0)]


def test_nothing_pairs_with_nothing() -> None:
    none = np.empty(0)
    for first, second in (
        match_sources(none, none, none, none, 1.0),
        match_sources(np.zeros(1), np.zeros(1), none, none, 1.0),
        match_sources(np.zeros(1), np.zeros(1), np.full(1, 9.0), np.zeros(1), 1.0),
    ):
        assert first.size == second.size == 0
