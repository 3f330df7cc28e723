"""A mapping is the WCS, to within what it states."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import AlignmentError
from astrid.images.mapping import Mapping


def tan(ra: float = 150.0, dec: float = 2.0, rotation: float = 0.0, scale: float = 0.5, n: int = 512) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.crpix = [n / 2, n / 2]
    c, s = np.cos(rotation), np.sin(rotation)
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600
    return wcs


def sip(a: float, n: int = 512) -> WCS:
    header = tan(n=n).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    for axis in "AB":
        header[f"{axis}_ORDER"] = 2
        header[f"{axis}_2_0"], header[f"{axis}_0_2"], header[f"{axis}_1_1"] = a, -a / 2, a / 3
    return WCS(header)


def exact(target: WCS, source: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.array(source.all_world2pix(*target.all_pix2world(x, y, 0), 0))


@settings(max_examples=20, deadline=None)
@given(
    rotation=st.floats(-3.2, 3.2),
    dec=st.floats(-89.9, 89.9),
    scale=st.floats(0.7, 2.0),
    offset=st.floats(-0.01, 0.01),
)
def test_mapping_is_the_wcs_to_within_its_stated_error(
    rotation: float, dec: float, scale: float, offset: float
) -> None:
    target, source = tan(dec=dec), tan(dec=dec + offset if abs(dec + offset) < 90 else dec, rotation=rotation)
    source.wcs.cd = source.wcs.cd * scale
    mapping = Mapping.from_wcs(target, source, (512, 400))
    x, y = np.random.default_rng(0).uniform(0, [[399], [511]], (2, 300))
    error = np.hypot(*(np.array(mapping(x, y)) - exact(target, source, x, y)))
    assert mapping.error_px <= 0.01
    assert error.max() <= 1.1 * mapping.error_px + 1e-6


@pytest.mark.parametrize("a", [1e-6, 2e-5, 1e-4])
def test_distorted_wcs_gets_as_many_nodes_as_it_needs(a: float) -> None:
    target, source = tan(), sip(a)
    mapping = Mapping.from_wcs(target, source, (512, 512))
    x, y = np.random.default_rng(0).uniform(60, 450, (2, 300))
    error = np.hypot(*(np.array(mapping(x, y)) - exact(target, source, x, y)))
    assert error.max() <= 1.1 * mapping.error_px + 1e-6 <= 0.012
    assert (mapping.step < 64) == (a > 1e-5)


def test_a_distortion_that_has_no_inverse_far_outside_its_image_does_no_harm() -> None:
    source = sip(4e-4, n=128)
    target = tan(n=1024)
    mapping = Mapping.from_wcs(target, source, (1024, 1024), (128, 128))
    x, y = np.random.default_rng(0).uniform(470, 550, (2, 200))
    assert np.hypot(*(np.array(mapping(x, y)) - exact(target, source, x, y))).max() < 0.012


def test_images_far_apart_are_refused_with_their_distance() -> None:
    with pytest.raises(AlignmentError, match=r"1 deg apart .* reach only 0\.10"):
        Mapping.from_wcs(tan(), tan(dec=3.0), (512, 512))


def test_images_side_by_side_do_not_overlap() -> None:
    with pytest.raises(AlignmentError, match="every pixel of one image outside"):
        Mapping.from_wcs(tan(), tan(dec=2.0 + 600 * 0.5 / 3600), (512, 512))


def test_pixel_scales_a_factor_ten_apart_are_refused_and_both_named() -> None:
    with pytest.raises(AlignmentError, match=r"0\.5 and 5 arcsec/px"):
        Mapping.from_wcs(tan(), tan(scale=5.0), (512, 512))


def test_a_wcs_that_is_not_celestial_is_refused() -> None:
    with pytest.raises(AlignmentError, match="celestial"):
        Mapping.from_wcs(tan(), WCS(naxis=2), (512, 512))


def test_inverse_returns_to_where_it_came_from() -> None:
    mapping = Mapping.from_wcs(tan(), tan(rotation=2.0, scale=0.4), (512, 512)).displaced(
        lambda x, y: (np.sin(x / 90), np.cos(y / 120))
    )
    x, y = np.random.default_rng(0).uniform(0, 511, (2, 100))
    np.testing.assert_allclose(mapping.inverse(*mapping(x, y)), [x, y], atol=1e-6)


def test_jacobian_is_the_ratio_of_the_pixel_areas() -> None:
    assert Mapping.from_wcs(tan(scale=0.6), tan(scale=0.4), (512, 512)).jacobian() == pytest.approx(
        2.25, rel=1e-4
    )


def test_displacement_is_added_to_within_the_tolerance() -> None:
    def wave(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 0.8 * np.sin(x / 60 + y / 200), 0.5 * np.cos(y / 50)

    mapping = Mapping.from_affine([[1, 0, 3], [0, 1, -2]], (300, 400)).displaced(wave)
    x, y = np.random.default_rng(0).uniform(0, 299, (2, 1000))
    dx, dy = wave(x, y)
    error = np.hypot(*(np.array(mapping(x, y)) - [x + 3 + dx, y - 2 + dy]))
    assert error.max() < 1.2 * mapping.error_px < 0.02


def test_whole_shifts_are_recognised_and_others_are_not() -> None:
    assert Mapping.from_affine([[1, 0, 7], [0, 1, -3]], (100, 90)).integer_shift() == (7, -3)
    assert Mapping.from_affine([[1, 0, 7.1], [0, 1, -3]], (100, 90)).integer_shift() is None
    assert Mapping.from_affine([[-1, 0, 89], [0, 1, 0]], (100, 90)).integer_shift() is None


def test_rows_are_the_same_positions_as_points() -> None:
    mapping = Mapping.from_wcs(tan(), tan(rotation=0.3), (150, 200))
    y, x = np.mgrid[64:128, :200]
    np.testing.assert_allclose(mapping.on_rows(64, 128), mapping(x, y), atol=1e-9)


def test_overlap_is_the_covered_fraction() -> None:
    assert Mapping.from_affine([[1, 0, 50], [0, 1, 0]], (100, 100)).overlap((100, 100)) == pytest.approx(
        0.5, abs=0.02
    )


def test_mapping_a_large_image_costs_little() -> None:
    target, source = tan(n=2048), tan(n=2048, rotation=0.1)
    Mapping.from_wcs(target, source, (2048, 2048))
    start = time.process_time()
    Mapping.from_wcs(target, source, (2048, 2048))
    assert time.process_time() - start < 0.1


@pytest.mark.real_data
def test_real_tpv_frames_of_one_grid_map_onto_themselves(real_data: Path) -> None:
    folder = real_data / "images" / "decam_pair"
    one, two = (WCS(fits.getheader(folder / f"DEC-{name}.mini.fits.gz")) for name in ("OBS04a", "OBS18a"))
    assert Mapping.from_wcs(one, two, (256, 256)).integer_shift(1e-6) == (0, 0)
