"""A light curve at a given place: true fluxes on the reference's scale, and a row for every frame."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from astrid.errors import PhotometryError, UsageError
from astrid.images.forced import LIGHT_CURVE_COLUMNS, forced_photometry
from astrid.images.frame import Frame
from astrid.images.scene import MoffatPSF, add_stars

SHAPE = (300, 310)
PLACE = (140.3, 163.6)  # px of the reference
CONSTANT = 3000.0  # ADU that the source has in every frame
FADING = (12_000.0, 5000.0, 2000.0, 0.0, 0.0)  # ADU on top of it, on the scale of the reference
GAIN, SKY = 2.0, 300.0


def exposure(
    seed: int, extra: float, *, fwhm: float, transparency: float, shift=(0.0, 0.0), **facts
) -> Frame:
    """One field of stars, seen through this seeing and sky, moved by `shift` px, which the WCS knows."""
    rng = np.random.default_rng(77)
    n = 260
    x, y = rng.uniform(-80, SHAPE[1] + 80, n), rng.uniform(-80, SHAPE[0] + 80, n)
    far = np.hypot(x - PLACE[0], y - PLACE[1]) > 12
    x, y, flux = x[far], y[far], (2000 * (1 - rng.random(n)) ** -0.9).clip(max=120_000)[far]
    x, y = np.append(x, PLACE[0]) + shift[0], np.append(y, PLACE[1]) + shift[1]
    flux = transparency * np.append(flux, CONSTANT + extra)
    light = np.zeros(SHAPE)
    inside = (x > -10) & (y > -10) & (x < SHAPE[1] + 10) & (y < SHAPE[0] + 10)
    add_stars(light, MoffatPSF(SHAPE, fwhm, 3.0), x[inside], y[inside], flux[inside], 0.02)
    electrons = np.random.default_rng(seed).poisson((light + SKY) * GAIN)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix = [155.0 + shift[0], 150.0 + shift[1]]
    wcs.wcs.cd = np.diag([-1, 1]) / 3600
    given = {"gain": GAIN, "wcs": wcs, "zero_point": 26.0, "mjd": 60_000.0 + seed, "name": f"night {seed}"}
    return Frame(electrons / GAIN, **(given | facts))


@pytest.fixture(scope="module")
def reference():
    return exposure(100, 0.0, fwhm=3.2, transparency=1.0)


@pytest.fixture(scope="module")
def frames():
    conditions = zip(
        FADING, (3.0, 3.6, 2.8, 3.3, 4.0), (1.0, 0.8, 1.2, 0.9, 1.1),
        ((0, 0), (3.4, -2.7), (-5.1, 4.2), (0.5, 0.5), (2.3, 7.7)), strict=True,
    )  # fmt: skip
    return [
        exposure(seed, extra, fwhm=fwhm, transparency=transparency, shift=shift)
        for seed, (extra, fwhm, transparency, shift) in enumerate(conditions, start=1)
    ]


@pytest.fixture(scope="module")
def light_curve(frames, reference):
    return forced_photometry(frames, reference, at=PLACE)


def test_fluxes_are_true_on_the_scale_of_the_reference_within_their_errors(light_curve):
    pull = (np.asarray(light_curve["flux"]) - FADING) / np.asarray(light_curve["flux_err"])
    assert (np.abs(pull) < 4).all()
    assert np.sum(pull**2) < 15  # 1 % of the chi-squared distribution with 5 degrees of freedom
    np.testing.assert_allclose(light_curve["snr"], light_curve["flux"] / light_curve["flux_err"])


def test_where_nothing_changed_there_is_no_detection_but_a_limit(light_curve):
    assert (np.abs(np.asarray(light_curve["snr"])[3:]) < 4).all()
    assert light_curve["mag"].mask[3:].all()
    assert not light_curve["mag"].mask[:3].any()
    error = np.asarray(light_curve["flux_err"])
    np.testing.assert_allclose(light_curve["limiting_mag"], 26.0 - 2.5 * np.log10(5 * error))


def test_magnitudes_are_those_of_the_true_fluxes(light_curve):
    expected = 26.0 - 2.5 * np.log10(FADING[0])
    assert light_curve["mag"][0] == pytest.approx(expected, abs=4 * light_curve["mag_err"][0])


def test_the_table_says_where_and_when_and_how_well(light_curve):
    assert light_curve.colnames == list(LIGHT_CURVE_COLUMNS)
    np.testing.assert_allclose(light_curve["mjd"], [60_001, 60_002, 60_003, 60_004, 60_005])
    np.testing.assert_allclose(light_curve["x"][:3], PLACE[0] + np.array([0, 3.4, -5.1]), atol=0.1)
    np.testing.assert_allclose(light_curve["flux_ratio"], 1 / np.array([1.0, 0.8, 1.2, 0.9, 1.1]), rtol=0.02)
    assert (np.asarray(light_curve["registration_rms_px"], float) < 0.1).all()


def test_a_place_on_the_sky_gives_what_its_pixel_gives(frames, reference, light_curve):
    radec = tuple(float(value) for value in reference.wcs.all_pix2world(*PLACE, 0))
    again = forced_photometry(frames[:1], reference, radec=radec)
    assert again["flux"][0] == pytest.approx(light_curve["flux"][0], rel=1e-4)


def test_a_frame_that_cannot_be_measured_keeps_its_row_and_the_reason(frames, reference):
    outside = exposure(50, 0.0, fwhm=3.0, transparency=1.0, shift=(0.0, 170.0))
    table = forced_photometry([outside, frames[0].with_(gain=None), frames[0]], reference, at=PLACE)
    assert len(table) == 3
    assert "where the frame has no data" in table["reason"][0]
    assert "--gain" in table["reason"][1]
    assert list(table["flags"]) == ["not_measured", "not_measured", ""]
    assert list(table["flux"].mask) == [True, True, False]
    assert table["mjd"][0] == 60_050


def test_near_the_edge_a_flux_is_measured_and_flagged(reference):
    close = exposure(51, 0.0, fwhm=3.0, transparency=1.0, shift=(0.0, 131.5))
    table = forced_photometry([close], reference, at=PLACE)
    assert "edge" in table["flags"][0].split(",")
    assert np.isfinite(table["flux"][0])


def test_no_frames_give_an_empty_table_with_all_columns(reference):
    table = forced_photometry([], reference, at=PLACE)
    assert len(table) == 0
    assert table.colnames == list(LIGHT_CURVE_COLUMNS)


def test_a_request_that_means_nothing_is_refused_in_one_sentence(reference):
    with pytest.raises(UsageError, match="needs one position; give either"):
        forced_photometry([], reference)
    with pytest.raises(UsageError, match="needs one position; give either"):
        forced_photometry([], reference, at=PLACE, radec=(150.0, 2.0))
    with pytest.raises(PhotometryError, match=r"\(900\.0, 5\.0\) is not on the image of 310 x 300 pixels"):
        forced_photometry([], reference, at=(900.0, 5.0))
    with pytest.raises(PhotometryError, match="no WCS"):
        forced_photometry([], reference.with_(wcs=None), radec=(150.0, 2.0))
    with pytest.raises(PhotometryError, match="is not on the image"):
        forced_photometry([], reference, radec=(150.9, 2.0))
