"""Scalings against numpy, and what they must not do to odd cutouts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrid.errors import UsageError
from astrid.networks.normalization import NORMALIZATIONS, normalization

SCALINGS = [name for name in NORMALIZATIONS if name != "none"]


def scaled(name: str, x: np.ndarray) -> np.ndarray:
    """Channels last in and out."""
    y = NORMALIZATIONS[name](torch.from_numpy(x).permute(0, 3, 1, 2))
    return y.permute(0, 2, 3, 1).numpy()


def stamps(seed: int = 0, n: int = 8, level: float = 200.0, sigma: float = 7.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (level + sigma * rng.standard_normal((n, 63, 63, 3))).astype(np.float32)


def test_row_l2_divides_each_row_of_each_channel_by_its_norm() -> None:
    x = stamps()
    expected = np.empty_like(x)
    for item in range(len(x)):
        for channel in range(3):  # as keras.utils.normalize: axis -1 of the two-dimensional cutout
            image = x[item, :, :, channel]
            expected[item, :, :, channel] = image / np.linalg.norm(image, axis=-1, keepdims=True)
    np.testing.assert_allclose(scaled("row_l2", x), expected, rtol=2e-6)


def test_cutout_l2_divides_each_channel_by_its_norm() -> None:
    x = stamps()
    expected = np.stack([[one[..., c] / np.linalg.norm(one[..., c]) for c in range(3)] for one in x])
    np.testing.assert_allclose(scaled("cutout_l2", x), expected.transpose(0, 2, 3, 1), rtol=2e-6)


def test_asinh_noise_measures_the_noise_of_an_empty_sky() -> None:
    y = scaled("asinh_noise", stamps(n=40))
    deviations = np.sinh(2 * y)
    assert deviations.std() == pytest.approx(1, abs=0.02)
    assert deviations.mean() == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("amplitude", [1e2, 1e4, 1e6])
def test_asinh_noise_hardly_feels_a_bright_star(amplitude: float) -> None:
    x = stamps(n=10, level=0.0)
    r2 = (np.arange(63) - 31)[:, None] ** 2 + (np.arange(63) - 31) ** 2
    star = amplitude * 7 * (1 + r2 / 4) ** -4.5  # a Moffat profile, wings included
    y = scaled("asinh_noise", (x + star[None, :, :, None]).astype(np.float32))
    corner = np.sinh(2 * y[:, :8, :8]) * 7
    assert corner.std() == pytest.approx(7, rel=0.15)


@pytest.mark.parametrize("gain", [0.01, 1.7, 300.0])
def test_asinh_noise_does_not_depend_on_gain_and_pedestal(gain: float) -> None:
    x = stamps(level=50.0)
    other = ((x + 30.0) * gain).astype(np.float32)
    one, two = (scaled("asinh_noise", array) for array in (x, other))
    np.testing.assert_allclose(one, two, atol=0.02)


def test_asinh_noise_does_not_count_filled_pixels() -> None:
    x = stamps(n=4)
    half = x.copy()
    half[:, :, :30] = 0
    y = scaled("asinh_noise", half)
    assert (y[:, :, :30] == 0).all()
    assert np.sinh(2 * y[:, :, 30:]).std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", SCALINGS)
def test_turned_and_mirrored_cutouts_are_scaled_alike_or_by_row_only(name: str) -> None:
    x = stamps(n=2)
    straight = scaled(name, x)
    np.testing.assert_allclose(scaled(name, x[:, :, ::-1].copy())[:, :, ::-1], straight, atol=1e-4)
    if name != "row_l2":
        turned = scaled(name, x.transpose(0, 2, 1, 3).copy()).transpose(0, 2, 1, 3)
        np.testing.assert_allclose(turned, straight, atol=1e-4)


@pytest.mark.parametrize("name", SCALINGS)
@pytest.mark.parametrize("value", [0.0, 1.0, 123.456, -1e5, 3.4028235e38, 1e-30])
def test_a_constant_cutout_is_scaled_to_finite_numbers(name: str, value: float) -> None:
    y = scaled(name, np.full((2, 63, 63, 3), value, np.float32))
    assert np.isfinite(y).all()
    if name == "asinh_noise" or value == 0:
        assert (y == 0).all()


@pytest.mark.parametrize("name", SCALINGS)
@settings(max_examples=40, deadline=None)
@given(
    x=hnp.arrays(
        np.float32, (2, 8, 9, 2), elements=st.floats(allow_nan=False, allow_infinity=False, width=32)
    )
)
def test_any_finite_cutout_is_scaled_to_finite_numbers(name: str, x: np.ndarray) -> None:
    assert np.isfinite(scaled(name, x)).all()


def test_an_unknown_scaling_is_refused_with_the_known_names() -> None:
    with pytest.raises(UsageError, match="there is no normalization 'minmax'; choose one of none, row_l2"):
        normalization("minmax")
