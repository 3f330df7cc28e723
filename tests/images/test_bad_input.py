"""Whatever bytes come in: a Frame, or one FrameError with one sentence, and no warning escapes."""

from __future__ import annotations

import gzip
import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import FrameError
from astrid.images.frame import Frame
from astrid.images.reading import read_frame

QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def sky(shape: tuple[int, int] = (12, 10), seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(100, 5, shape).astype(np.float32)


def as_bytes(*hdus: fits.PrimaryHDU) -> bytes:
    buffer = io.BytesIO()
    fits.HDUList(list(hdus)).writeto(buffer)
    return buffer.getvalue()


def good_header() -> fits.Header:
    header = fits.Header()
    header["GAIN"] = 1.7
    header["EXPTIME"] = 30.0
    header["MJD-OBS"] = 59000.5
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 150.0, 2.0
    header["CRPIX1"], header["CRPIX2"] = 5.0, 6.0
    header["CDELT1"], header["CDELT2"] = -1e-4, 1e-4
    return header


def multi_extension() -> bytes:
    mask = fits.ImageHDU(np.zeros((12, 10), np.uint8), name="MASK")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(3.0))], name="CAT")
    return as_bytes(
        fits.PrimaryHDU(header=good_header()), fits.ImageHDU(sky(), good_header(), "SCI"), mask, table
    )


def compressed() -> bytes:
    data = np.random.default_rng(3).integers(900, 1100, (40, 40)).astype(np.int16)
    return as_bytes(fits.PrimaryHDU(), fits.CompImageHDU(data, good_header(), compression_type="RICE_1"))


SAMPLES = {
    "plain": as_bytes(fits.PrimaryHDU(sky(), good_header())),
    "extensions": multi_extension(),
    "compressed": compressed(),
    "unsigned": as_bytes(fits.PrimaryHDU(sky().astype(np.uint16), good_header())),
    "gzip": gzip.compress(as_bytes(fits.PrimaryHDU(sky(), good_header())), mtime=0),
}


def outcome(path: Path, content: bytes) -> Frame | FrameError:
    path.write_bytes(content)
    try:
        return read_frame(path)
    except FrameError as error:
        sentence = str(error)
        assert sentence.startswith(str(path)), sentence
        assert "\n" not in sentence
        return error


def refusal(path: Path, **options: object) -> str:
    with pytest.raises(FrameError) as caught:
        read_frame(path, **options)  # type: ignore[arg-type]
    sentence = str(caught.value)
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_samples_are_read(sample: str, tmp_path: Path) -> None:
    assert isinstance(outcome(tmp_path / "a.fits", SAMPLES[sample]), Frame)


@QUICK
@given(data=st.data(), sample=st.sampled_from(sorted(SAMPLES)), value=st.integers(0, 255))
def test_one_changed_byte_gives_a_frame_or_a_sentence(
    data: st.DataObject, sample: str, value: int, tmp_path: Path
) -> None:
    content = bytearray(SAMPLES[sample])
    content[data.draw(st.integers(0, len(content) - 1))] = value
    assert isinstance(outcome(tmp_path / "a.fits", bytes(content)), Frame | FrameError)


@QUICK
@given(data=st.data(), sample=st.sampled_from(sorted(SAMPLES)), letters=st.binary(min_size=1, max_size=80))
def test_a_changed_header_card_gives_a_frame_or_a_sentence(
    data: st.DataObject, sample: str, letters: bytes, tmp_path: Path
) -> None:
    content = bytearray(SAMPLES[sample])
    start = data.draw(st.integers(0, 35)) * 80 + data.draw(st.integers(0, 79))
    content[start : start + len(letters)] = letters
    assert isinstance(outcome(tmp_path / "a.fits", bytes(content)), Frame | FrameError)


@QUICK
@given(data=st.data(), sample=st.sampled_from(sorted(SAMPLES)))
def test_a_file_cut_anywhere_is_refused_or_has_all_its_pixels(
    data: st.DataObject, sample: str, tmp_path: Path
) -> None:
    content = SAMPLES[sample]
    length = data.draw(st.integers(0, len(content) - 1))
    result = outcome(tmp_path / "a.fits", content[:length])
    if isinstance(result, Frame):
        # a cut between two HDUs, or in the padding after one, leaves a whole image
        whole = outcome(tmp_path / "b.fits", content)
        assert isinstance(whole, Frame)
        assert sample != "gzip"
        np.testing.assert_array_equal(result.data, whole.data)


@QUICK
@given(content=st.binary(max_size=6000))
def test_random_bytes_are_refused(content: bytes, tmp_path: Path) -> None:
    assert isinstance(outcome(tmp_path / "a.fits", content), FrameError)


@QUICK
@given(content=st.binary(max_size=3000))
def test_random_bytes_after_a_good_start_are_refused(content: bytes, tmp_path: Path) -> None:
    start = SAMPLES["plain"][:160]
    assert isinstance(outcome(tmp_path / "a.fits", start + content), FrameError)


def test_an_empty_file_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.fits").touch()
    assert "empty (0 bytes)" in refusal(tmp_path / "a.fits")


def test_a_missing_file_is_named_so(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "a.fits")


def test_a_folder_is_named_so(tmp_path: Path) -> None:
    assert "folder" in refusal(tmp_path)


@pytest.mark.skipif(sys.platform == "win32" or not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root")
def test_a_file_without_permission_is_named_so(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    path.write_bytes(SAMPLES["plain"])
    path.chmod(0)
    assert "permission denied" in refusal(path)


def test_text_is_no_fits(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_text("not FITS at all\n" * 400)
    assert "not a FITS file" in refusal(tmp_path / "a.fits")


def test_a_truncated_file_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(as_bytes(fits.PrimaryHDU(sky((200, 200)), good_header()))[:20000])
    assert "truncated" in refusal(tmp_path / "a.fits")


def test_a_truncated_extension_that_is_not_needed_is_still_refused(tmp_path: Path) -> None:
    extra = fits.ImageHDU(sky((100, 100)), name="SKY")
    content = as_bytes(fits.PrimaryHDU(sky(), good_header()), extra)
    (tmp_path / "a.fits").write_bytes(content[:-20000])
    assert "truncated" in refusal(tmp_path / "a.fits")


def test_absurd_axes_are_refused_before_memory_is_asked_for(tmp_path: Path) -> None:
    content = SAMPLES["plain"].replace(b"NAXIS1  =                   10", b"NAXIS1  =           9999999999")
    (tmp_path / "a.fits").write_bytes(content)
    assert "truncated" in refusal(tmp_path / "a.fits")


def test_absurd_axes_of_a_compressed_image_are_refused(tmp_path: Path) -> None:
    content = compressed().replace(b"ZNAXIS1 =                   40", b"ZNAXIS1 =            999999999")
    (tmp_path / "a.fits").write_bytes(content)
    assert "damaged" in refusal(tmp_path / "a.fits")


def test_an_absurd_number_of_columns_is_refused_at_once(tmp_path: Path) -> None:
    content = compressed().replace(b"TFIELDS =                    1", b"TFIELDS =          99999999999")
    (tmp_path / "a.fits").write_bytes(content)
    assert "damaged" in refusal(tmp_path / "a.fits")


def test_a_table_only_is_named_so(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=np.arange(3.0))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "a.fits")
    assert "only tables" in refusal(tmp_path / "a.fits")


def test_no_image_is_named_so(tmp_path: Path) -> None:
    fits.PrimaryHDU().writeto(tmp_path / "a.fits")
    assert "no image" in refusal(tmp_path / "a.fits")


def test_a_spectrum_is_no_image(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.arange(50.0)).writeto(tmp_path / "a.fits")
    assert "no image" in refusal(tmp_path / "a.fits")


def test_a_cube_is_named_so(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.ones((3, 8, 9), np.float32)).writeto(tmp_path / "a.fits")
    sentence = refusal(tmp_path / "a.fits")
    assert "cube of 9 x 8 x 3" in sentence
    assert "--ext" in sentence


@pytest.mark.parametrize("value", [np.nan, np.inf, np.float32(3.4e38)])
def test_an_image_without_a_number_is_named_so(value: float, tmp_path: Path) -> None:
    fits.PrimaryHDU(np.full((8, 9), value, np.float32)).writeto(tmp_path / "a.fits")
    assert "no pixel has data" in refusal(tmp_path / "a.fits")


def test_a_constant_image_is_named_with_its_value(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.full((8, 9), 7, np.int16)).writeto(tmp_path / "a.fits")
    assert "every pixel has the value 7" in refusal(tmp_path / "a.fits")


def test_a_missing_gain_names_the_keywords_and_the_option(tmp_path: Path) -> None:
    fits.PrimaryHDU(sky()).writeto(tmp_path / "a.fits")
    sentence = refusal(tmp_path / "a.fits")
    assert "GAIN" in sentence
    assert "--gain" in sentence


def test_several_images_of_equal_standing_need_a_choice(tmp_path: Path) -> None:
    chips = [fits.ImageHDU(sky(seed=i), good_header(), name=f"CCD{i}") for i in range(3)]
    fits.HDUList([fits.PrimaryHDU(), *chips]).writeto(tmp_path / "a.fits")
    sentence = refusal(tmp_path / "a.fits")
    assert "--ext" in sentence
    assert "CCD2" in sentence


@pytest.mark.parametrize("ext", [9, -1, "NONE", "SCI,4"])
def test_an_hdu_that_is_not_there_is_named_so(ext: int | str, tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(SAMPLES["extensions"])
    assert "there is no HDU" in refusal(tmp_path / "a.fits", ext=ext)


def test_an_hdu_without_an_image_is_named_so(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(SAMPLES["extensions"])
    assert "holds no image" in refusal(tmp_path / "a.fits", ext="CAT")


def test_bytes_after_the_last_hdu_are_said(tmp_path: Path) -> None:
    (tmp_path / "a.fits").write_bytes(SAMPLES["plain"] + b"trailing" * 10)
    assert any("after the last HDU" in sentence for sentence in read_frame(tmp_path / "a.fits").warnings)
