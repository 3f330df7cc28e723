"""read_frame against astropy as the oracle, on made files of every kind and on the real ones."""

from __future__ import annotations

import bz2
import lzma
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.time import Time
from astropy.wcs import WCS, FITSFixedWarning
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import FrameError, UsageError
from astrid.images.frame import Flag, Frame
from astrid.images.reading import read_frame


def sky(shape: tuple[int, int] = (20, 30), seed: int = 1, level: float = 500.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(level, 10, shape).astype(np.float32)


def header(**cards: object) -> fits.Header:
    made = fits.Header([("GAIN", 1.5)])
    for key, value in cards.items():
        made[key.replace("_", "-")] = value
    return made


def write(path: Path, data: np.ndarray, **cards: object) -> Path:
    fits.PrimaryHDU(data, header(**cards)).writeto(path)
    return path


# --- pixels -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_pixel_type_keeps_its_values(kind: str, tmp_path: Path) -> None:
    data = np.random.default_rng(2).integers(3, 120, (9, 11)).astype(kind)
    frame = read_frame(write(tmp_path / "a.fits", data))
    np.testing.assert_array_equal(frame.data, data.astype(np.float32))
    assert frame.data.dtype == np.float32
    assert frame.data.dtype.isnative


def test_scaled_integers_are_unscaled(tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(np.array([[1, 2], [3, 40]], np.int16), header())
    hdu.header["BSCALE"], hdu.header["BZERO"] = 0.5, 100.0
    hdu.header.tofile(tmp_path / "a.fits")
    raw = (tmp_path / "a.fits").read_bytes() + np.array([[1, 2], [3, 40]], ">i2").tobytes().ljust(2880, b"\0")
    (tmp_path / "a.fits").write_bytes(raw)
    np.testing.assert_allclose(read_frame(tmp_path / "a.fits").data, [[100.5, 101], [101.5, 120]])


def test_blank_of_unsigned_integers_is_no_data(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", np.arange(600, dtype=np.uint16).reshape(20, 30) + 100)
    content = path.read_bytes().replace(
        b"GAIN    =                  1.5", b"BLANK   =               -32668"
    )  # 100 as it is stored
    path.write_bytes(content)
    frame = read_frame(path, overrides={"gain": 1.5})
    assert frame.mask[0, 0] == Flag.NO_DATA
    assert (frame.mask != 0).sum() == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 3.4e38, -3.4028235e38, 1e31])
def test_what_is_no_number_is_flagged_counted_and_said(value: float, tmp_path: Path) -> None:
    data = sky()
    data[3, 4:7] = value
    frame = read_frame(write(tmp_path / "a.fits", data))
    assert (frame.mask[3, 4:7] == Flag.NO_DATA).all()
    assert (frame.mask != 0).sum() == 3
    assert np.isfinite(frame.data).all()
    assert any(sentence.startswith("3 pixels (0.5 %)") for sentence in frame.warnings)


@pytest.mark.parametrize(
    ("suffix", "pack"), [(".bz2", bz2.compress), (".xz", lzma.compress), (".gz", None), ("", None)]
)
def test_compressed_files_hold_the_same_pixels(suffix: str, pack: object, tmp_path: Path) -> None:
    path = tmp_path / f"a.fits{suffix if pack is None else ''}"
    write(path, sky())
    if callable(pack):
        (tmp_path / f"a.fits{suffix}").write_bytes(pack(path.read_bytes()))
    np.testing.assert_array_equal(read_frame(tmp_path / f"a.fits{suffix}").data, sky())


@pytest.mark.parametrize("method", ["RICE_1", "GZIP_1", "GZIP_2", "HCOMPRESS_1", "PLIO_1"])
def test_tile_compressed_integers_are_exact(method: str, tmp_path: Path) -> None:
    data = np.random.default_rng(4).integers(800, 1200, (60, 50)).astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data, header(), compression_type=method)]).writeto(
        tmp_path / "a.fits.fz"
    )
    np.testing.assert_array_equal(read_frame(tmp_path / "a.fits.fz").data, data)


def test_an_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path / "a.fits", sky()[None])).shape == (20, 30)


# --- which HDU --------------------------------------------------------------------------------------


def test_sci_is_preferred_to_the_planes_beside_it(tmp_path: Path) -> None:
    planes = [fits.ImageHDU(sky(seed=9), name=name) for name in ("ERR", "DQ", "WHT")]
    planes.insert(1, fits.ImageHDU(sky(seed=3), header(), "SCI"))
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(read_frame(tmp_path / "a.fits").data, sky(seed=3))


def test_ext_takes_numbers_names_and_versions(tmp_path: Path) -> None:
    chips = [fits.ImageHDU(sky(seed=i), header(), "SCI", ver=i) for i in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(tmp_path / "a.fits")
    with pytest.raises(FrameError, match="--ext"):
        read_frame(tmp_path / "a.fits")
    for ext, seed in ((1, 1), ("2", 2), ("sci", 1), ("SCI,2", 2)):
        np.testing.assert_array_equal(read_frame(tmp_path / "a.fits", ext=ext).data, sky(seed=seed))


def test_facts_of_the_primary_header_hold_for_its_extensions(tmp_path: Path) -> None:
    fits.HDUList(
        [
            fits.PrimaryHDU(header=header(EXPTIME=20.0, FILTER="r")),
            fits.ImageHDU(sky(), fits.Header([("GAIN", 2.0)])),
        ]
    ).writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits")
    assert (frame.gain, frame.exposure, frame.filter) == (2.0, 20.0, "r")


# --- facts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cards", "gain"),
    [
        ({"GAIN": 2.1}, 2.1),
        ({"GAIN": " 2.1 "}, 2.1),
        ({"GAIN": 139, "EGAIN": 0.25}, 0.25),  # a CMOS camera: GAIN is a setting
        ({"CCDGAIN": 4}, 4.0),
        ({"GAINA": 3.0, "GAINB": 4.0}, 3.5),
        ({"GAIN": 0.0, "CCDGAIN": 1.2}, 1.2),
        ({"HIERARCH ESO DET OUT1 GAIN": 0.5, "HIERARCH ESO DET OUT1 CONAD": 2.0}, 2.0),
    ],
)
def test_gain_conventions(cards: dict[str, object], gain: float, tmp_path: Path) -> None:
    hdu = fits.PrimaryHDU(sky())
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(tmp_path / "a.fits")
    assert read_frame(tmp_path / "a.fits").gain == pytest.approx(gain)


@pytest.mark.parametrize("value", [0.0, -1.0, "abc", True, "nan", "inf"])
def test_a_gain_that_cannot_be_is_said_and_not_used(value: object, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", sky(), GAIN=value)
    with pytest.raises(FrameError, match="--gain"):
        read_frame(path)
    frame = read_frame(path, require=())
    assert frame.gain is None
    assert any(sentence.startswith("GAIN = ") for sentence in frame.warnings)
    assert read_frame(path, overrides={"gain": 2.0}).warnings == ()


def test_overrides_win_and_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", sky(), EXPTIME=10.0, FILTER="g")
    given_facts = {
        "gain": "3.5", "read_noise": 4, "saturation": 505.0, "exposure": 60, "filter": "i", "mjd": 60000.25,
        "zero_point": 25.5,
    }  # fmt: skip
    frame = read_frame(path, overrides=given_facts)
    assert (frame.gain, frame.read_noise, frame.exposure, frame.filter) == (3.5, 4.0, 60.0, "i")
    assert (frame.mjd, frame.zero_point) == (60000.25, 25.5)
    np.testing.assert_array_equal(frame.mask == Flag.SATURATED, sky() >= 505.0)
    for wrong in ({"gain": 0}, {"gain": "x"}, {"exposure": float("nan")}, {"read_noise": -1}, {"colour": 1}):
        with pytest.raises(UsageError):
            read_frame(path, overrides=wrong)  # type: ignore[arg-type]


MID = Time("2020-03-01T04:05:36", scale="utc").mjd  # of a 60 s exposure that began at 04:05:06


@pytest.mark.parametrize(
    "cards",
    [
        {"MJD-AVG": MID},
        {"DATE-AVG": "2020-03-01T04:05:36"},
        {"MJD-OBS": MID - 30 / 86400},
        {"DATE-OBS": "2020-03-01T04:05:06"},
        {"DATE-OBS": "2020-03-01 04:05:06.000"},
        {"DATE-OBS": "2020-03-01", "UT": "04:05:06"},
        {"DATE-OBS": "2020-03-01", "UT": "4:05:06.00"},
        {"JD": MID - 30 / 86400 + 2400000.5},
        {"DATE-AVG": Time(MID, format="mjd", scale="utc").tai.isot, "TIMESYS": "TAI"},
        {"MJD-AVG": Time(MID, format="mjd", scale="utc").tt.mjd, "TIMESYS": "TT"},
    ],
)
def test_every_way_to_write_the_time_gives_the_middle_of_the_exposure(
    cards: dict[str, object], tmp_path: Path
) -> None:
    hdu = fits.PrimaryHDU(sky(), header(EXPTIME=60.0))
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits")
    assert frame.mjd == pytest.approx(MID, abs=1e-8)


@pytest.mark.parametrize("value", ["yesterday", "2020-13-45T99:00:00", -5.0, 1e9])
def test_a_time_that_cannot_be_is_said(value: object, tmp_path: Path) -> None:
    key = "DATE_OBS" if isinstance(value, str) else "MJD_OBS"
    frame = read_frame(write(tmp_path / "a.fits", sky(), **{key: value}))
    assert frame.mjd is None
    assert any("not a usable time" in sentence for sentence in frame.warnings)


# --- units ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", ["adu/s", "ADU / sec", "counts/s", "DN/s", "ct s-1", "count s**-1", "cps"])
def test_a_rate_becomes_total_counts_and_the_zero_point_follows(unit: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", sky(), BUNIT=unit, EXPTIME=100.0, MAGZP=20.0)
    frame = read_frame(path)
    np.testing.assert_allclose(frame.data, sky() * 100, rtol=1e-6)
    # a source of 1 count/s makes 100 counts: the same magnitude
    assert frame.zero_point == pytest.approx(25.0)
    assert frame.gain == 1.5


@pytest.mark.parametrize("unit", ["electron", "electrons", "e-", "ELECTRONS"])
def test_electrons_have_a_gain_of_one(unit: str, tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path / "a.fits", sky(), BUNIT=unit))
    assert frame.gain == 1.0
    assert any("the gain is 1 and not 1.5" in sentence for sentence in frame.warnings)


def test_a_rate_of_electrons_without_exposure_names_the_option(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", sky(), BUNIT="electron/s")
    with pytest.raises(FrameError, match="--exposure"):
        read_frame(path)
    assert read_frame(path, overrides={"exposure": 2.0}).data[0, 0] == pytest.approx(2 * sky()[0, 0])


@pytest.mark.parametrize("unit", ["MJy/sr", "K", "Jy/beam", "erg/s/cm2/Angstrom"])
def test_what_cannot_become_counts_is_refused_with_the_unit(unit: str, tmp_path: Path) -> None:
    with pytest.raises(FrameError, match="BUNIT"):
        read_frame(write(tmp_path / "a.fits", sky(), BUNIT=unit))


def test_a_surface_brightness_with_its_factor_becomes_counts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", sky(), BUNIT="MJy/sr", PHOTMJSR=0.5, PIXAR_SR=2.0e-14, EXPTIME=10.0)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.rename_keyword("PIXAR-SR", "PIXAR_SR")
    frame = read_frame(path)
    np.testing.assert_allclose(frame.data, sky() / 0.5 * 10, rtol=1e-6)
    # 1 MJy/sr over the pixel is 0.02 uJy... as AB magnitudes: 3631 Jy is 0 mag
    flux_jy = 1.0 * 1e6 * 2.0e-14  # of 1 MJy/sr in a pixel
    counts = 1.0 / 0.5 * 10
    assert frame.zero_point - 2.5 * np.log10(counts) == pytest.approx(-2.5 * np.log10(flux_jy / 3631))


def test_nanojansky_have_their_ab_zero_point(tmp_path: Path) -> None:
    assert read_frame(write(tmp_path / "a.fits", sky(), BUNIT="nJy")).zero_point == pytest.approx(31.4)


def test_an_unknown_unit_is_taken_for_counts_and_said(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path / "a.fits", sky(), BUNIT="furlong-ish"))
    np.testing.assert_array_equal(frame.data, sky())
    assert any("BUNIT" in sentence for sentence in frame.warnings)


# --- saturation, mask and variance ------------------------------------------------------------------


def test_the_saturation_keyword_flags_pixels(tmp_path: Path) -> None:
    data = sky()
    data[5, 5] = 60000
    frame = read_frame(write(tmp_path / "a.fits", data, SATURATE=50000.0))
    assert frame.mask[5, 5] == Flag.SATURATED
    assert (frame.mask != 0).sum() == 1


def test_a_ceiling_of_integers_is_taken_for_saturation_and_said(tmp_path: Path) -> None:
    data = sky().astype(np.uint16)
    data[2:5, 2:5] = 65535
    frame = read_frame(write(tmp_path / "a.fits", data))
    assert frame.saturation == 65535
    assert ((frame.mask & Flag.SATURATED) != 0).sum() == 9
    assert any("--saturation" in sentence for sentence in frame.warnings)


def test_an_integer_image_without_a_ceiling_has_no_saturation(tmp_path: Path) -> None:
    frame = read_frame(write(tmp_path / "a.fits", sky(level=30000).astype(np.uint16)))
    assert frame.saturation is None


@pytest.mark.parametrize(
    ("name", "plane"), [("VARIANCE", 25.0), ("ERR", 5.0), ("IVAR", 0.04), ("UNCERT", 5.0)]
)
def test_variance_planes_of_every_convention_give_the_same(name: str, plane: float, tmp_path: Path) -> None:
    own = tmp_path / "own.toml"
    own.write_text(f'extends = "generic"\nvariance_extensions = ["{name}"]\n')
    hdus = [fits.PrimaryHDU(sky(), header()), fits.ImageHDU(np.full((20, 30), plane, np.float32), name=name)]
    fits.HDUList(hdus).writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits", profile=own)
    assert frame.variance is not None
    np.testing.assert_allclose(frame.variance, 25.0, rtol=1e-6)


def test_the_variance_of_a_rate_is_that_of_the_total(tmp_path: Path) -> None:
    main = fits.PrimaryHDU(sky(), header(BUNIT="adu/s", EXPTIME=10.0))
    fits.HDUList([main, fits.ImageHDU(np.full((20, 30), 4.0, np.float32), name="VAR")]).writeto(
        tmp_path / "a.fits"
    )
    frame = read_frame(tmp_path / "a.fits")
    assert frame.variance is not None
    np.testing.assert_allclose(frame.variance, 400.0)


def test_a_plane_of_another_shape_is_ignored_and_said(tmp_path: Path) -> None:
    fits.HDUList([fits.PrimaryHDU(sky(), header()), fits.ImageHDU(sky((5, 5)), name="VAR")]).writeto(
        tmp_path / "a.fits"
    )
    frame = read_frame(tmp_path / "a.fits")
    assert frame.variance is None
    assert any("'VAR'" in sentence for sentence in frame.warnings)


def test_a_mask_file_is_read_by_the_bits_of_the_survey(tmp_path: Path) -> None:
    bits = np.zeros((20, 30), np.int16)
    bits[1, 1], bits[2, 2], bits[3, 3], bits[4, 4] = 1 << 8, 1 << 10, 1 << 1, (1 << 0) | (1 << 7)
    fits.PrimaryHDU(bits).writeto(tmp_path / "mask.fits")
    path = write(tmp_path / "a.fits", sky(), INSTRUME="ZTF/MOSAIC")
    mask = read_frame(path, overrides={"mask": str(tmp_path / "mask.fits")}).mask
    assert mask[1, 1] == Flag.SATURATED
    assert mask[2, 2] == Flag.NO_DATA
    assert mask[3, 3] == 0  # a source, no defect
    assert mask[4, 4] == Flag.TRAIL | Flag.COSMIC_RAY


def test_a_mask_file_of_another_shape_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.arange(20, dtype=np.int16).reshape(4, 5)).writeto(tmp_path / "mask.fits")
    with pytest.raises(FrameError, match=r"\(4, 5\)"):
        read_frame(write(tmp_path / "a.fits", sky()), overrides={"mask": str(tmp_path / "mask.fits")})


def test_the_gain_is_measured_from_the_slope_of_the_variance(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    counts = rng.exponential(3000, (200, 200)).astype(np.float32) + 200
    main = fits.PrimaryHDU(counts)
    variance = (counts / 2.3 + 30).astype(np.float32)
    fits.HDUList([main, fits.ImageHDU(variance, name="VARIANCE")]).writeto(tmp_path / "a.fits")
    frame = read_frame(tmp_path / "a.fits")
    assert frame.gain == pytest.approx(2.3, rel=1e-3)
    assert any("--gain" in sentence for sentence in frame.warnings)


# --- WCS --------------------------------------------------------------------------------------------

TAN = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.2,
    "CRPIX1": 15.0, "CRPIX2": 10.0,
    "CD1_1": -7e-5, "CD1_2": 1e-6, "CD2_1": 1e-6, "CD2_2": 7e-5,
}  # fmt: skip
SIP = {"A_ORDER": 2, "A_2_0": 3e-5, "B_ORDER": 2, "B_0_2": -2e-5}


def with_cards(path: Path, cards: dict[str, object]) -> Frame:
    hdu = fits.PrimaryHDU(sky(), header())
    for key, value in cards.items():
        hdu.header[key] = value
    hdu.writeto(path)
    return read_frame(path)


def sky_of(cards: dict[str, object], x: float, y: float) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return np.array(WCS(fits.Header(cards)).all_pix2world(x, y, 0))


def test_sip_and_tan_agree_with_astropy(tmp_path: Path) -> None:
    for number, cards in enumerate((TAN, {**TAN, **SIP, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"})):
        frame = with_cards(tmp_path / f"{number}.fits", cards)
        assert frame.wcs is not None
        assert frame.warnings == ()
        np.testing.assert_allclose(
            frame.wcs.all_pix2world(29.0, 3.0, 0), sky_of(cards, 29.0, 3.0), atol=1e-12
        )


def test_sip_without_its_name_is_applied_and_said(tmp_path: Path) -> None:
    frame = with_cards(tmp_path / "a.fits", {**TAN, **SIP})
    named = {**TAN, **SIP, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.all_pix2world(29.0, 3.0, 0), sky_of(named, 29.0, 3.0), atol=1e-12)
    assert any("SIP" in sentence for sentence in frame.warnings)


def test_the_name_sip_without_coefficients_is_plain_tan_and_said(tmp_path: Path) -> None:
    frame = with_cards(tmp_path / "a.fits", {**TAN, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"})
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.all_pix2world(29.0, 3.0, 0), sky_of(TAN, 29.0, 3.0), atol=1e-12)
    assert any("SIP" in sentence for sentence in frame.warnings)


def test_scamp_polynomials_under_the_name_tan_are_tpv_and_said(tmp_path: Path) -> None:
    pv = {"PV1_1": 1.01, "PV2_1": 0.99, "PV1_7": 0.02, "PV2_7": -0.01}
    frame = with_cards(tmp_path / "a.fits", {**TAN, **pv})
    tpv = {**TAN, **pv, "CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV"}
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.all_pix2world(29.0, 3.0, 0), sky_of(tpv, 29.0, 3.0), atol=1e-12)
    assert any("TPV" in sentence for sentence in frame.warnings)


def test_no_celestial_axes_mean_no_wcs_and_no_complaint(tmp_path: Path) -> None:
    for number, cards in enumerate(({}, {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR", "CDELT1": 1.0})):
        frame = with_cards(tmp_path / f"{number}.fits", cards)
        assert frame.wcs is None
        assert frame.warnings == ()


@pytest.mark.parametrize(
    "damage",
    [
        {"CD1_1": 0.0, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 0.0},
        {"CD1_1": 1e6},
        {"CRVAL1": "150 degrees"},
        {"CTYPE1": "RA---XYZ", "CTYPE2": "DEC--XYZ"},
        {"CTYPE2": "RA---TAN"},
        {"A_ORDER": 50, "B_ORDER": 50},
        {"CRPIX1": 1e30},
        {"CUNIT1": "parsec"},
    ],
)
def test_a_broken_wcs_is_left_out_with_a_sentence(damage: dict[str, object], tmp_path: Path) -> None:
    frame = with_cards(tmp_path / "a.fits", {**TAN, **damage})
    assert frame.wcs is None
    assert any("WCS is not usable" in sentence for sentence in frame.warnings)
    with pytest.raises(FrameError, match="WCS"):
        read_frame(tmp_path / "a.fits", require=("wcs",))


# --- any header at all ------------------------------------------------------------------------------

KEYWORDS = [
    "GAIN", "EGAIN", "RDNOISE", "SATURATE", "EXPTIME", "FILTER", "MAGZP", "MJD-OBS", "DATE-OBS", "UT", "JD",
    "TIMESYS", "BUNIT", "TELESCOP", "INSTRUME", "ORIGIN", "CREATOR", "PHOTMJSR", "BSOFTEN", "BOFFSET",
    "CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CD1_1", "CD2_2", "CDELT1", "CDELT2", "CUNIT1", "PV1_5",
    "PV2_1", "A_ORDER", "B_ORDER", "A_0_2", "LONPOLE", "LATPOLE", "EQUINOX", "RADESYS", "TSTART", "TSTOP",
    "MJDREFI", "MJDREFF", "MP_SAT", "EXPSTART", "OBSMJD", "HIERARCH CELL.GAIN", "HIERARCH FPA.ZP",
]  # fmt: skip
WORDS = st.sampled_from([
    "RA---TAN", "DEC--TAN", "RA---TPV", "DEC--TPV-SIP", "deg", "e-/s", "MJy/sr", "adu", "2020-01-01T00:00:00",
    "PS1", "JWST", "ZTF", "UVOTA", "TT", "DECam", "AstrID", "LSSTCam", "", "N/A",
])  # fmt: skip
VALUES = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**63), 2**63),
    st.booleans(),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    WORDS,
    st.none(),
)


@settings(
    max_examples=250,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(cards=st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=14))
def test_any_values_of_any_keywords_give_a_frame_or_a_sentence(
    cards: dict[str, object], tmp_path: Path
) -> None:
    hdu = fits.PrimaryHDU(sky())
    for key, value in cards.items():
        try:
            hdu.header[key] = value
        except ValueError:  # longer than a card
            continue
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of astropy about the cards that this test makes
        hdu.writeto(tmp_path / "a.fits", overwrite=True, output_verify="ignore")
    try:
        frame = read_frame(tmp_path / "a.fits")
    except FrameError as error:
        sentence = str(error)
    else:
        sentence = " ".join(frame.warnings)
        assert frame.gain is not None
        assert np.isfinite(frame.data).all()
    assert "\n" not in sentence


# --- real files -------------------------------------------------------------------------------------


@pytest.mark.real_data
def test_every_real_image_is_read_with_the_pixels_astropy_gives(real_data: Path) -> None:
    paths = sorted((real_data / "images").glob("*/*.f*.gz"))
    assert len(paths) >= 38
    for path in paths:
        frame = read_frame(path, require=())
        np.testing.assert_array_equal(frame.data, fits.getdata(path).astype(np.float32))


@pytest.mark.real_data
def test_decam_facts_and_tpv_wcs(real_data: Path) -> None:
    path = real_data / "images" / "decam_pair" / "DEC-OBS04a.mini.fits.gz"
    frame = read_frame(path)
    assert frame.gain == pytest.approx(3.984046692260535)
    assert frame.read_noise == pytest.approx(11.83702)
    assert frame.saturation == pytest.approx(46536.1041736873)
    assert frame.wcs is not None
    # the transient of the README
    ra, dec = frame.wcs.all_pix2world(129.0, 127.5, 0)
    assert ra == pytest.approx(318.108, abs=1e-3)
    assert dec == pytest.approx(-66.0158, abs=2e-4)
    assert frame.warnings == ()


@pytest.mark.real_data
def test_the_series_has_the_heliocentric_times_of_its_own_headers(real_data: Path) -> None:
    for path in sorted((real_data / "images" / "microlensing_series").glob("*.gz")):
        frame = read_frame(path)
        own = fits.getheader(path)
        assert frame.mjd is not None
        # PHJDMID is heliocentric: it differs by the 8.5 minutes of light from the Sun at most
        assert abs(frame.mjd + 2400000.5 - own["PHJDMID"]) < 8.5 / 1440
        assert (frame.gain, frame.read_noise, frame.wcs) == (1.9, 5.0, None)
        assert frame.saturation == 65300


@pytest.mark.real_data
def test_a_real_file_without_gain_needs_it_given(real_data: Path) -> None:
    path = real_data / "images" / "eso085_pair" / "aligned_eso085-030-004.fit.gz"
    with pytest.raises(FrameError, match="--gain"):
        read_frame(path)
    assert read_frame(path, overrides={"gain": 1.5}).gain == 1.5
