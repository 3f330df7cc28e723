"""Profiles as data: each shipped table against a header of its survey, and what a user may write."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time

from astrid.errors import UsageError
from astrid.images.frame import Flag, Frame
from astrid.images.profiles import all_profiles, detect_profile, load_profile, profile_names
from astrid.images.provenance import steps_done
from astrid.images.reading import read_frame

SURVEYS = ("ztf", "ps1", "decam", "uvot", "lco", "roman", "jwst", "rubin")


def sky(shape: tuple[int, int] = (20, 30), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(500, 10, shape).astype(np.float32)


def hdu(
    data: np.ndarray | None, cards: dict[str, object], name: str | None = None
) -> fits.PrimaryHDU | fits.ImageHDU:
    made = fits.PrimaryHDU(data) if name is None else fits.ImageHDU(data, name=name)
    for key, value in cards.items():
        made.header[key] = value
    return made


def read(tmp_path: Path, *hdus: fits.PrimaryHDU | fits.ImageHDU) -> Frame:
    fits.HDUList(list(hdus)).writeto(tmp_path / "a.fits")
    return read_frame(tmp_path / "a.fits")


def test_every_survey_has_a_table() -> None:
    assert {*SURVEYS, "generic", "astrid"} == set(profile_names())
    assert all_profiles()[0].name == "astrid"
    assert all_profiles()[-1].name == "generic"


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ({"INSTRUME": "ZTF/MOSAIC"}, "ztf"),
        ({"FPA.TELESCOPE": "PS1", "FPA.INSTRUMENT": "GPC1"}, "ps1"),
        ({"INSTRUME": "DECam"}, "decam"),
        ({"TELESCOP": "SWIFT", "INSTRUME": "UVOTA"}, "uvot"),
        ({"TELESCOP": "SWIFT", "INSTRUME": "XRT"}, "generic"),
        ({"ORIGIN": "LCOGT"}, "lco"),
        ({"TELESCOP": "JWST", "INSTRUME": "NIRCAM"}, "jwst"),
        ({"TELESCOP": "Roman"}, "roman"),
        ({"INSTRUME": "LSSTComCam"}, "rubin"),
        ({"CREATOR": "AstrID 0.1", "INSTRUME": "DECam"}, "astrid"),
        ({}, "generic"),
        ({"TELESCOP": 17, "INSTRUME": False}, "generic"),
    ],
)
def test_the_header_tells_the_survey(header: dict[str, object], name: str) -> None:
    assert detect_profile(header).name == name


def test_ztf(tmp_path: Path) -> None:
    cards = {
        "INSTRUME": "ZTF/MOSAIC", "GAIN": 6.2, "READNOI": 10.5, "SATURATE": 480.0, "EXPTIME": 30.0,
        "FILTER": "ZTF_r", "MAGZP": 26.3, "OBSMJD": 58800.25,
    }  # fmt: skip
    frame = read(tmp_path, hdu(sky(), cards))
    assert (frame.gain, frame.read_noise, frame.filter, frame.zero_point) == (6.2, 10.5, "ZTF_r", 26.3)
    assert frame.mjd == pytest.approx(58800.25 + 15 / 86400)
    assert ((frame.mask & Flag.SATURATED) != 0).any()


def test_ps1_pixels_come_out_of_their_asinh_scale(tmp_path: Path) -> None:
    # the pixel v stands for BOFFSET + 2 BSOFTEN sinh(v / 1.0857362), so make v from known counts
    counts = sky().astype(np.float64)
    stored = 1.0857362047581296 * np.arcsinh((counts - 3.0) / (2 * 100.0))
    cards = {
        "HIERARCH FPA.TELESCOPE": "PS1", "BSOFTEN": 100.0, "BOFFSET": 3.0, "HIERARCH CELL.GAIN": 1.1,
        "EXPTIME": 900.0, "HIERARCH FPA.ZP": 25.0, "HIERARCH FPA.FILTERID": "r.00000",
    }  # fmt: skip
    frame = read(tmp_path, hdu(stored, cards))
    np.testing.assert_allclose(frame.data, counts, rtol=1e-6)
    assert frame.zero_point == pytest.approx(25.0 + 2.5 * np.log10(900))
    assert (frame.gain, frame.filter) == (1.1, "r.00000")


@pytest.mark.parametrize(("values", "convention"), [((3, 5, 8, 1), "codes"), ((2, 16, 1024, 1), "bits")])
def test_decam_masks_of_both_conventions(values: tuple[int, ...], convention: str, tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.int32)
    mask[0, :4] = values
    if convention == "bits":
        mask[5, 5] = 64
    frame = read(
        tmp_path, hdu(sky(), {"INSTRUME": "DECam", "GAINA": 4.0, "GAINB": 4.2}), hdu(mask, {}, "MSK")
    )
    expected = [Flag.SATURATED, Flag.COSMIC_RAY, Flag.TRAIL, Flag.BAD]
    assert [Flag(int(value)) for value in frame.mask[0, :4]] == expected
    assert frame.gain == pytest.approx(4.1)


def test_uvot_counts_photons_and_keeps_mission_time(tmp_path: Path) -> None:
    cards = {
        "TELESCOP": "SWIFT", "INSTRUME": "UVOTA", "FILTER": "UVW2", "EXPOSURE": 100.0, "TSTART": 3.0e8,
        "TSTOP": 3.0e8 + 120.0, "MJDREFI": 51910, "MJDREFF": 7.4287037e-4, "TIMESYS": "TT",
    }  # fmt: skip
    image = hdu(np.random.default_rng(2).poisson(3.0, (20, 30)).astype(np.int16), cards, "W2300000000I")
    frame = read(tmp_path, fits.PrimaryHDU(), image)
    assert (frame.gain, frame.read_noise, frame.exposure) == (1.0, 0.0, 100.0)
    # a source of AB magnitude 19.11 gives 1 count/s
    assert frame.zero_point == pytest.approx(19.11 + 5.0)
    middle = Time(51910 + 7.4287037e-4 + (3.0e8 + 60.0) / 86400, format="mjd", scale="tt").utc.mjd
    assert frame.mjd == pytest.approx(middle, abs=1e-7)


def test_lco_planes_and_rate_zero_point(tmp_path: Path) -> None:
    bpm = np.zeros((20, 30), np.uint8)
    bpm[1, 1], bpm[2, 2] = 1, 8
    cards = {
        "ORIGIN": "LCOGT", "GAIN": 1.0, "RDNOISE": 8.0, "EXPTIME": 60.0, "L1ZP": 23.0, "MAXLIN": 128000.0,
        "FILTER": "rp",
    }  # fmt: skip
    frame = read(
        tmp_path,
        fits.PrimaryHDU(),
        hdu(sky(), cards, "SCI"),
        hdu(bpm, {}, "BPM"),
        hdu(np.full((20, 30), 3.0, np.float32), {}, "ERR"),
    )
    assert frame.variance is not None
    assert frame.variance[0, 0] == pytest.approx(9.0)
    assert (frame.mask[1, 1], frame.mask[2, 2]) == (Flag.BAD, Flag.COSMIC_RAY)
    assert frame.zero_point == pytest.approx(23.0 + 2.5 * np.log10(60))


def test_jwst_surface_brightness_becomes_counts_and_the_gain_comes_from_the_noise(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    counts = rng.exponential(2000, (120, 120)) + 50
    gain, seconds, factor = 1.8, 200.0, 0.4
    error = np.sqrt(counts / gain + 25) / seconds * factor
    dq = np.zeros((120, 120), np.uint32)
    dq[3, 3], dq[4, 4] = 2**31, 3
    main = {
        "TELESCOP": "JWST",
        "INSTRUME": "NIRCAM",
        "FILTER": "F200W",
        "XPOSURE": seconds,
        "EXPMID": 60000.5,
    }
    image = {"BUNIT": "MJy/sr", "PHOTMJSR": factor, "PIXAR_SR": 2.3e-14}
    frame = read(
        tmp_path,
        hdu(None, main),
        hdu((counts / seconds * factor).astype(np.float32), image, "SCI"),
        hdu(error.astype(np.float32), {}, "ERR"),
        hdu(dq, {}, "DQ"),
    )
    assert frame.gain == pytest.approx(gain, rel=0.01)
    assert (frame.mjd, frame.exposure, frame.filter) == (60000.5, 200.0, "F200W")
    assert frame.mask[3, 3] == Flag.NO_DATA
    assert frame.mask[4, 4] == Flag.BAD | Flag.SATURATED
    np.testing.assert_allclose(frame.data, counts, rtol=1e-5)


def test_rubin_planes_are_numbered_by_their_own_header(tmp_path: Path) -> None:
    mask = np.zeros((20, 30), np.int32)
    mask[1, 1], mask[2, 2], mask[3, 3] = 1 << 5, 1 << 9, 1 << 2
    variance = sky().astype(np.float64) / 0.7
    frame_cards = {"INSTRUME": "LSSTComCam", "GAIN": 0.7, "EXPTIME": 30.0, "FILTBAND": "i"}
    frame = read(
        tmp_path,
        hdu(None, {**frame_cards, "DATE-AVG": "2024-11-09T06:12:37.000", "TIMESYS": "TAI"}),
        hdu(sky(), {"BUNIT": "nJy"}, "IMAGE"),
        hdu(mask, {"MP_SAT": 5, "HIERARCH MP_NO_DATA": 9, "HIERARCH MP_DETECTED": 2}, "MASK"),
        hdu(variance, {}, "VARIANCE"),
    )
    assert frame.mask[1, 1] == Flag.SATURATED
    assert frame.mask[2, 2] == Flag.NO_DATA
    assert frame.mask[3, 3] == 0
    assert frame.zero_point == pytest.approx(31.4)
    assert frame.mjd == pytest.approx(Time("2024-11-09T06:12:00", scale="utc").mjd, abs=1e-7)


def test_roman_takes_no_zero_point_it_cannot_trust(tmp_path: Path) -> None:
    frame = read(tmp_path, hdu(sky(), {"TELESCOP": "Roman", "GAIN": 1.0, "ZPTMAG": 25.8, "EXPTIME": 50.0}))
    assert frame.zero_point is None
    assert frame.telescope == "Roman"


@pytest.mark.parametrize(
    ("header", "steps"),
    [
        ({"INSTRUME": "DECam", "DESBIAS": "Thu Aug 9", "DESFLAT": "Thu Aug 9"}, {"bias", "flat"}),
        ({"INSTRUME": "DECam", "PROCTYPE": "InstCal"}, {"overscan", "bias", "dark", "flat"}),
        ({"INSTRUME": "DECam", "PROCTYPE": "raw"}, set()),
        ({"ORIGIN": "LCOGT", "RLEVEL": 91}, {"overscan", "bias", "dark", "flat"}),
        ({"ORIGIN": "LCOGT", "RLEVEL": 0, "L1IDBIAS": "N/A"}, set()),
        ({"INSTRUME": "ZTF/MOSAIC", "MAGZP": 26.2}, {"overscan", "bias", "dark", "flat"}),
        ({"INSTRUME": "ZTF/MOSAIC"}, set()),
        ({"BIASCOR": True, "FLATCOR": False}, {"bias"}),
        ({"CALSTAT": "BDF"}, {"bias", "dark", "flat"}),
        ({"ASTBIAS": "b.fits", "INSTRUME": "any"}, {"bias"}),
        ({}, set()),
    ],
)
def test_the_header_tells_what_was_done(header: dict[str, object], steps: set[str]) -> None:
    assert set(steps_done(header)) == steps


@pytest.mark.real_data
def test_the_real_headers_tell_what_was_done(real_data: Path) -> None:
    decam = fits.getheader(real_data / "images" / "decam_pair" / "DEC-OBS04a.mini.fits.gz")
    done = steps_done(decam)
    assert {"overscan", "bias", "flat"} <= set(done)
    assert done["bias"].startswith(("DESBIAS", "PROCTYPE"))
    saao = fits.getheader(real_data / "images" / "microlensing_series" / "AKB13475I0172.fits.gz")
    assert set(steps_done(saao)) == {"flat"}
    assert "Flat=" in steps_done(saao)["flat"]


# --- a user's own table -----------------------------------------------------------------------------


def test_a_users_table_extends_a_shipped_one(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('extends = "generic"\nfill_values = [-999]\n[keywords]\ngain = ["MYGAIN"]\n')
    data = sky()
    data[0, 0] = -999
    fits.HDUList([hdu(data, {"MYGAIN": 3.0, "GAIN": 9.0, "EXPTIME": 7.0})]).writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits", profile=own)
    assert (frame.gain, frame.exposure) == (3.0, 7.0)
    assert frame.mask[0, 0] == Flag.NO_DATA
    assert load_profile(own).name == "mine"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('gains = ["GAIN"]', "unknown key 'gains'"),
        ("[keywords]\ncolour = ['C']", "colour"),
        ("[keywords]\ngain = 'GAIN'", "keywords"),
        ("unit = 3", "unit"),
        ("variance_kind = 'rms'", "rms"),
        ("mask_nonzero = 'UGLY'", "UGLY"),
        ("[[time]]\nkeyword = 'T'\nat = 'dawn'", "dawn"),
        ("[[time]]\nkey = 'T'", "time"),
        ("[mask_bits]\nx = 'BAD'", "mask_bits"),
        ("detect = [{ TELESCOP = '(' }]", "detect"),
        ("this is not toml", "TOML"),
        ("extends = 'hubble'", "hubble"),
    ],
)
def test_a_table_that_means_nothing_is_refused_in_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        load_profile(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)


def test_a_profile_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="ztf"):
        load_profile("hubble")
    with pytest.raises(UsageError, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
