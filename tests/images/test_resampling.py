"""Resampling keeps light where it belongs, and says truly what it does to the noise."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from astrid.errors import AlignmentError
from astrid.images.frame import Flag, Frame
from astrid.images.mapping import Mapping
from astrid.images.resampling import resample


def about(centre: float, angle: float, scale: float = 1.0, flip: bool = False) -> np.ndarray:
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if flip else 1.0, 1.0])
    middle = np.array([centre, centre])
    return np.column_stack([turn, middle + np.array([0.3, -0.4]) - turn @ middle])


def gaussian(x: np.ndarray, y: np.ndarray, x0: float, y0: float, sigma: float) -> np.ndarray:
    return np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * sigma**2)) / (2 * np.pi * sigma**2)


NOISE_CASES = {
    "half a pixel": [[1, 0, 0.5], [0, 1, 0.5]],
    "one phase": [[1, 0, 0.25], [0, 1, 7.5]],
    "small turn": [[1.001, 0.0015, 0.3], [-0.0015, 1.001, -0.3]],
    "rotated": about(512, 0.3),
    "flipped": about(512, 0.0, flip=True),
    "coarser pixels": about(512, 0.1, 1.4),
    "finer pixels": about(512, 0.0, 0.7),
}


@pytest.mark.parametrize("matrix", NOISE_CASES.values(), ids=NOISE_CASES.keys())
def test_stated_noise_is_the_measured_noise(matrix: np.ndarray) -> None:
    n = 1024
    rng = np.random.default_rng(5)
    frame = Frame(rng.normal(0, 3, (n, n)), variance=np.full((n, n), 9.0))
    result = resample(frame, Mapping.from_affine(matrix, (n, n)))
    assert result.variance is not None
    assert result.noise_correlation is not None
    good = result.good.astype(float)
    middle = len(result.noise_correlation) // 2
    for dy, dx, tolerance in ((0, 0, 0.007), (0, 1, 0.006), (1, 0, 0.006), (1, 1, 0.006), (0, 2, 0.006)):
        other = np.roll(result.data * good, (-dy, -dx), (0, 1))
        pairs = good * np.roll(good, (-dy, -dx), (0, 1))
        measured = (result.data * other * good).sum() / pairs.sum()
        variance = float(result.variance[result.good].mean())
        stated = float(result.noise_correlation[middle + dy, middle + dx]) * variance
        assert measured == pytest.approx(stated, abs=tolerance * variance)


def test_noise_in_large_apertures_is_kept() -> None:
    n = 1024
    matrix = about(512, 0.2, 1.2)
    noise = np.random.default_rng(6).normal(0, 1, (n, n))
    frame = Frame(noise, variance=np.ones((n, n)))
    result = resample(frame, Mapping.from_affine(matrix, (n, n)))
    assert result.variance is not None
    assert result.noise_correlation is not None
    side = 16
    inner = slice(192, 192 + 640)
    sums = result.data[inner, inner].reshape(640 // side, side, 640 // side, side).sum((1, 3))
    # A 16 px square covers (16 * 1.2)^2 source pixels of unit variance.
    assert sums.var() == pytest.approx((side * 1.2) ** 2, rel=0.12)
    stated = result.variance[n // 2, n // 2] * result.noise_correlation.sum() * side**2
    assert stated == pytest.approx((side * 1.2) ** 2, rel=1e-3)


@pytest.mark.parametrize("matrix", [NOISE_CASES["half a pixel"], NOISE_CASES["rotated"]])
def test_noise_that_was_correlated_before_stays_described(matrix: np.ndarray) -> None:
    n = 1024
    kernel = np.outer([0.25, 0.5, 0.25], [0.1, 0.8, 0.1])
    noise = ndimage.convolve(np.random.default_rng(7).normal(size=(n, n)), kernel, mode="wrap")
    autocovariance = np.outer(
        np.convolve([0.25, 0.5, 0.25], [0.25, 0.5, 0.25]), np.convolve([0.1, 0.8, 0.1], [0.1, 0.8, 0.1])
    )
    power = autocovariance[2, 2]
    frame = Frame(noise, variance=np.full((n, n), power), noise_correlation=autocovariance / power)
    result = resample(frame, Mapping.from_affine(matrix, (n, n)))
    assert result.noise_correlation is not None
    middle = len(result.noise_correlation) // 2
    good = result.good
    # The rotated autocovariance is interpolated linearly: a few per cent.
    assert result.data[good].var() == pytest.approx(
        power * result.noise_correlation[middle, middle], rel=0.01 if matrix[0][1] == 0 else 0.08
    )


@settings(max_examples=15, deadline=None)
@given(
    scale=st.sampled_from([0.8, 1.0, 1.5]),
    angle=st.floats(-3.2, 3.2),
    flip=st.booleans(),
    x=st.floats(95, 105),
    y=st.floats(95, 105),
)
def test_flux_of_a_star_is_conserved(scale: float, angle: float, flip: bool, x: float, y: float) -> None:
    row, column = np.mgrid[:200, :200]
    frame = Frame(1000 * gaussian(column, row, x, y, 1.8))
    result = resample(frame, Mapping.from_affine(about(100, angle, scale, flip), (200, 200)))
    assert result.data.sum() == pytest.approx(1000, rel=1e-3)


@pytest.mark.parametrize("angle", [0.0, 0.001, 0.01, 1.0, np.pi])
def test_a_gaussian_star_lands_where_it_should(angle: float) -> None:
    row, column = np.mgrid[:200, :300]
    sigma = 3.0 / 2.3548
    stars = [(60.2, 50.7), (100.5, 99.5), (140.0, 30.3), (250.9, 160.1)]
    frame = Frame(sum(gaussian(column, row, x, y, sigma) for x, y in stars))
    matrix = about(100, angle)
    mapping = Mapping.from_affine(matrix, (200, 200))
    back = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    row, column = np.mgrid[:200, :200]
    expected = sum(gaussian(column, row, *(back @ [x, y, 1])[:2], sigma) for x, y in stars)
    result = resample(frame, mapping)
    error = np.where(result.good, result.data - expected, 0)
    assert np.abs(error).max() < 3e-3 * expected.max()


@settings(max_examples=15, deadline=None)
@given(
    turn=st.floats(-0.0019, 0.0019),
    dx=st.floats(-5, 5),
    dy=st.floats(-5, 5),
    scale=st.floats(0.999, 1.001),
)
def test_fast_interpolation_is_that_of_scipy(turn: float, dx: float, dy: float, scale: float) -> None:
    row, column = np.mgrid[:150, :320]
    rng = np.random.default_rng(2)
    data = sum(
        gaussian(column, row, x, y, 1.3)
        for x, y in zip(rng.uniform(0, 320, 40), rng.uniform(0, 150, 40), strict=True)
    )
    matrix = np.array([[scale, -turn, dx], [turn, scale, dy]])
    mapping = Mapping.from_affine(matrix, data.shape)
    if mapping.integer_shift() is not None:
        return
    x, y = mapping(column, row)
    expected = ndimage.map_coordinates(data, [y, x], order=5, mode="mirror") * scale**2
    result = resample(Frame(data), mapping)
    np.testing.assert_allclose(
        result.data[result.good], expected[result.good], atol=4e-4 * data.max(), rtol=0
    )


def test_whole_shifts_are_copies() -> None:
    data = np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32)
    frame = Frame(data, variance=np.ones((60, 80)))
    result = resample(frame, Mapping.from_affine([[1, 0, 5], [0, 1, -3]], (60, 80)))
    np.testing.assert_array_equal(result.data[3:, :75], data[:57, 5:])
    assert result.noise_correlation is None
    assert (result.mask[:3] == Flag.EDGE | Flag.NO_DATA).all()
    assert (result.mask[:, 75:] == Flag.EDGE | Flag.NO_DATA).all()
    assert (result.mask[3:, :75] == 0).all()


def test_the_same_grid_is_left_alone() -> None:
    data = np.random.default_rng(0).normal(size=(60, 80)).astype(np.float32)
    result = resample(Frame(data), Mapping.from_affine([[1, 0, 0], [0, 1, 0]], (60, 80)))
    np.testing.assert_array_equal(result.data, data)
    assert not result.mask.any()


def test_broken_pixels_do_not_ring() -> None:
    row, column = np.mgrid[:100, :100]
    clean = 100 * np.exp(-((column - 50) ** 2 + (row - 50) ** 2) / 800.0)
    broken = clean.copy()
    broken[30, 40], broken[60:70, 20:30], broken[80, 80] = 1e5, np.nan, -3e4
    mask = np.zeros((100, 100), np.uint16)
    mask[30, 40], mask[80, 80] = Flag.BAD, Flag.COSMIC_RAY
    mapping = Mapping.from_affine([[1, 0, 0.5], [0, 1, 0.5]], (100, 100))
    result, undisturbed = resample(Frame(broken, mask=mask), mapping), resample(Frame(clean), mapping)
    good = result.good
    assert np.abs(result.data - undisturbed.data)[good].max() < 0.5
    assert (~good).sum() < 800


def test_flags_travel_with_their_pixels_and_reach_one_further() -> None:
    mask = np.zeros((64, 64), np.uint16)
    mask[20, 30] = Flag.SATURATED
    mask[40, 10] = Flag.BAD
    result = resample(
        Frame(np.ones((64, 64)), mask=mask), Mapping.from_affine([[1, 0, 2.4], [0, 1, 0.2]], (64, 64))
    )
    rows, columns = np.nonzero(result.mask & Flag.SATURATED)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (19, 21, 27, 29)
    assert (result.mask & Flag.BAD).astype(bool).sum() == 9


def test_outside_the_reference_there_is_no_data() -> None:
    frame = Frame(np.full((64, 64), 7.0), variance=np.ones((64, 64)))
    result = resample(frame, Mapping.from_affine([[1, 0, -20.3], [0, 1, 0.4]], (64, 64)))
    outside = (result.mask & Flag.NO_DATA) != 0
    assert outside[:, :19].all()
    assert not outside[:63, 20:].any()
    assert (result.data[outside] == 0).all()
    assert (result.mask[outside] & Flag.EDGE).all()
    np.testing.assert_allclose(result.data[result.good], 7.0, rtol=1e-5)


def test_no_pixel_in_common_is_refused() -> None:
    for shift in (500.5, 500.0):
        with pytest.raises(AlignmentError, match="no pixel falls"):
            resample(Frame(np.ones((64, 64))), Mapping.from_affine([[1, 0, shift], [0, 1, 0]], (64, 64)))


def test_variance_stays_positive_beside_a_bright_star() -> None:
    row, column = np.mgrid[:64, :64]
    variance = 10 + 1e6 * gaussian(column, row, 32, 32, 0.7)
    result = resample(
        Frame(np.zeros((64, 64)), variance=variance),
        Mapping.from_affine([[1, 0, 0.5], [0, 1, 0.5]], (64, 64)),
    )
    assert result.variance is not None
    assert (result.variance[result.good] >= 9.99).all()


def test_resampling_costs_what_scipy_costs() -> None:
    n = 1024
    frame = Frame(np.random.default_rng(0).normal(size=(n, n)), variance=np.ones((n, n)))
    mapping = Mapping.from_affine([[1, 0.001, 0.3], [-0.001, 1, 0.4]], (n, n))
    resample(frame, mapping)
    start = time.process_time()
    resample(frame, mapping)
    assert time.process_time() - start < 0.4
