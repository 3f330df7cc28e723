"""Products are whole or absent, and a frame comes back as it was."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from astrid.errors import OutputError
from astrid.files.atomic import atomic_path
from astrid.images.frame import Flag, Frame
from astrid.images.reading import read_frame
from astrid.images.writing import write_fits

HERE = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tan_sip() -> WCS:
    header = fits.Header()
    cards = {
        "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 83.1, "CRVAL2": -67.3, "CRPIX1": 12.0,
        "CRPIX2": 9.0,
        "CD1_1": -6e-5, "CD1_2": 2e-6, "CD2_1": 3e-6, "CD2_2": 6e-5, "A_ORDER": 2, "A_1_1": 4e-5,
        "B_ORDER": 2, "B_2_0": -3e-5,
    }  # fmt: skip
    for key, value in cards.items():
        header[key] = value
    return WCS(header)


def full_frame() -> Frame:
    rng = np.random.default_rng(3)
    mask = np.zeros((20, 30), np.uint16)
    mask[2, 3], mask[4, 5], mask[6, 7] = Flag.BAD | Flag.TRAIL, Flag.COSMIC_RAY, Flag.SATURATED
    return Frame(
        rng.normal(100, 5, (20, 30)).astype(np.float32), mask,
        rng.uniform(20, 30, (20, 30)).astype(np.float32),
        np.array([[0, 0.2, 0], [0.2, 1, 0.2], [0, 0.2, 0]], np.float32), tan_sip(), gain=1.25, read_noise=4.5,
        saturation=60000.0, exposure=33.3, filter="r", mjd=59123.456789, zero_point=27.125, telescope="T",
        instrument="I",
    )  # fmt: skip


@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_a_frame_comes_back_as_it_was(suffix: str, tmp_path: Path) -> None:
    frame = full_frame()
    path = tmp_path / f"a{suffix}"
    write_fits(path, frame, history=["made for a test"])
    back = read_frame(path)
    for plane in ("data", "mask", "variance", "noise_correlation"):
        np.testing.assert_array_equal(getattr(back, plane), getattr(frame, plane))
    facts = (
        "gain",
        "read_noise",
        "saturation",
        "exposure",
        "filter",
        "mjd",
        "zero_point",
        "telescope",
        "instrument",
    )
    for fact in facts:
        assert getattr(back, fact) == getattr(frame, fact)
    x, y = np.array([0.0, 29.0, 3.3]), np.array([0.0, 19.0, 8.8])
    assert frame.wcs is not None
    assert back.wcs is not None
    np.testing.assert_allclose(back.wcs.all_pix2world(x, y, 0), frame.wcs.all_pix2world(x, y, 0), atol=1e-10)
    assert back.warnings == ()


@pytest.mark.real_data
def test_a_tpv_frame_comes_back_as_it_was(real_data: Path, tmp_path: Path) -> None:
    frame = read_frame(real_data / "images" / "decam_pair" / "DEC-OBS04a.mini.fits.gz")
    write_fits(tmp_path / "a.fits", frame)
    back = read_frame(tmp_path / "a.fits")
    assert frame.wcs is not None
    assert back.wcs is not None
    x = np.linspace(0, 255, 9)
    np.testing.assert_allclose(back.wcs.all_pix2world(x, x, 0), frame.wcs.all_pix2world(x, x, 0), atol=1e-9)


@HERE
@given(
    data=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int16, np.uint16, np.int32, np.uint8, np.bool_]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=6),
    )
)
def test_any_array_is_what_astropy_reads(data: np.ndarray, tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", data)
    np.testing.assert_array_equal(fits.getdata(tmp_path / "a.fits"), data)


@HERE
@given(
    value=st.one_of(
        st.floats(), st.integers(-(2**62), 2**62), st.booleans(), st.text(max_size=200), st.none()
    ),
    comment=st.text(max_size=100),
    line=st.text(max_size=300),
)
def test_any_card_and_history_can_be_written(value: object, comment: str, line: str, tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", np.eye(3), header={"THING": (value, comment)}, history=[line])
    header = fits.getheader(tmp_path / "a.fits")
    if isinstance(value, bool | int):
        assert header["THING"] == value
    elif isinstance(value, float) and np.isfinite(value):
        assert header["THING"] == pytest.approx(value, rel=1e-10)


def test_where_it_comes_from_is_in_the_header(tmp_path: Path) -> None:
    write_fits(tmp_path / "a.fits", np.eye(3), header={"METHOD": ("zogy", "how")}, history=["one", "two"])
    header = fits.getheader(tmp_path / "a.fits")
    assert header["CREATOR"].startswith("AstrID")
    assert (header["METHOD"], header.comments["METHOD"]) == ("zogy", "how")
    assert list(header["HISTORY"]) == ["one", "two"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_fits(tmp_path / f"{name}.fits", full_frame(), history=["x"])
    assert (tmp_path / "a.fits").read_bytes() == (tmp_path / "b.fits").read_bytes()


def test_an_exception_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def interrupted() -> None:
        with atomic_path(target) as path:
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_the_new_file_takes_the_name_and_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "other").touch()
    with atomic_path(tmp_path / "a.tar.gz") as path:
        assert path.name.endswith(".tar.gz")
        assert path.parent == tmp_path
        path.write_text("new")
    assert (tmp_path / "a.tar.gz").read_text() == "new"
    assert (tmp_path / "a.tar.gz").stat().st_mode == (tmp_path / "other").stat().st_mode


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_takes_no_more_is_said_and_nothing_is_left(code: int, tmp_path: Path) -> None:
    def full() -> None:
        with atomic_path(tmp_path / "a.fits") as path:
            path.write_text("half")
            raise OSError(code, os.strerror(code))

    with pytest.raises(OutputError, match=r"a\.fits cannot be written: ") as caught:
        full()
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX limits")
@pytest.mark.parametrize("suffix", [".fits", ".fits.gz"])
def test_a_product_that_does_not_fit_is_not_half_written(suffix: str, tmp_path: Path) -> None:
    code = (
        "import resource, sys, numpy as np\n"
        "from astrid.errors import OutputError\n"
        "from astrid.images.writing import write_fits\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))\n"
        "try:\n    write_fits(sys.argv[1], np.random.default_rng(1).normal(size=(300, 300)))\n"
        "except OutputError as error:\n    sys.stdout.write(str(error))\n"
    )
    target = str(tmp_path / f"a{suffix}")
    run = subprocess.run([sys.executable, "-c", code, target], capture_output=True, text=True, check=True)
    assert "cannot be written: " in run.stdout
    assert "choose another place" in run.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_error_about_another_file_is_not_explained_away(tmp_path: Path) -> None:
    def reads_an_input() -> None:
        with atomic_path(tmp_path / "a.fits"):
            (tmp_path / "input").read_text()

    with pytest.raises(FileNotFoundError):
        reads_an_input()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_or_a_name_that_is_a_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="create it first"):
        write_fits(tmp_path / "none" / "a.fits", np.eye(3))
    (tmp_path / "a.fits").mkdir()
    with pytest.raises(OutputError, match="it is a folder"):
        write_fits(tmp_path / "a.fits", np.eye(3))
    with pytest.raises(OutputError, match="cannot be written"):
        write_fits(tmp_path / ("x" * 400), np.eye(3))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_device_is_said() -> None:
    with pytest.raises(OutputError, match="cannot be written"):
        write_fits("/dev/full/a.fits", np.eye(3))
