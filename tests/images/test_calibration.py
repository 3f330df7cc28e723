"""Calibration undoes a known instrument, refuses to do so twice, and finds what crossed the frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from astrid.errors import CalibrationError, UsageError
from astrid.images.calibration import calibrate, calibrate_file
from astrid.images.frame import Flag, Frame
from astrid.images.reading import read_frame
from astrid.images.trails import find_trails, trail_mask

SHAPE = (60, 80)
EXPOSURE, DARK_EXPOSURE = 30.0, 300.0


class Instrument:
    """A detector without noise: raw = overscan level + bias + dark t + flat sky."""

    def __init__(self) -> None:
        rng = np.random.default_rng(11)
        self.sky = rng.uniform(1000, 3000, SHAPE)
        self.bias = rng.normal(0, 3, SHAPE)
        self.dark = rng.uniform(0, 2, SHAPE)  # ADU/s
        y, x = np.indices(SHAPE)
        flat = 1 + 0.2 * np.cos(x / 15) + 0.1 * y / SHAPE[0]
        self.flat = flat / np.median(flat)
        self.level = 300 + 5 * np.sin(np.arange(SHAPE[0]) / 7)  # of each row
        trimmed = self.bias + self.dark * EXPOSURE + self.flat * self.sky
        strip = np.zeros((SHAPE[0], 20))
        self.raw = np.hstack([strip, trimmed]) + self.level[:, None]

    def frame(self, data: np.ndarray, **facts: object) -> Frame:
        return Frame(data.astype(np.float32), **facts)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def instrument() -> Instrument:
    return Instrument()


def test_the_sky_is_recovered_from_raw_pixels(instrument: Instrument) -> None:
    done = calibrate(
        instrument.frame(instrument.raw, exposure=EXPOSURE, saturation=60000.0),
        bias=instrument.frame(instrument.bias),
        dark=instrument.frame(instrument.dark * DARK_EXPOSURE, exposure=DARK_EXPOSURE),
        flat=instrument.frame(instrument.flat * 20000),
        overscan="[1:20,1:60]",
        trim="[21:100,1:60]",
    )
    np.testing.assert_allclose(done.frame.data, instrument.sky, rtol=3e-6)
    assert list(done.steps) == ["overscan", "bias", "dark", "flat"]
    assert done.frame.saturation == pytest.approx(
        60000 - 300 - np.median(instrument.dark) * EXPOSURE, rel=0.01
    )


def test_a_dark_that_holds_the_bias_is_cleared_of_it(instrument: Instrument) -> None:
    offset = 1000.0
    raw = instrument.bias + offset + instrument.dark * EXPOSURE + instrument.sky
    done = calibrate(
        instrument.frame(raw, exposure=EXPOSURE),
        bias=instrument.frame(instrument.bias + offset),
        dark=instrument.frame(
            instrument.bias + offset + instrument.dark * DARK_EXPOSURE, exposure=DARK_EXPOSURE
        ),
    )
    np.testing.assert_allclose(done.frame.data, instrument.sky, rtol=1e-5)
    assert "its own bias" in done.steps["dark"]


def test_masters_of_the_raw_size_are_trimmed_with_it(instrument: Instrument) -> None:
    bias = np.hstack([np.zeros((60, 20)), instrument.bias])
    done = calibrate(
        instrument.frame(instrument.raw),
        bias=instrument.frame(bias),
        bad_pixels=np.hstack([np.ones((60, 20)), np.eye(60, 80)]),
        overscan="[1:20,1:60]",
        trim="[21:100,1:60]",
    )
    expected = instrument.dark * EXPOSURE + instrument.flat * instrument.sky
    np.testing.assert_allclose(done.frame.data, expected, rtol=1e-5)
    np.testing.assert_array_equal(done.frame.mask == Flag.BAD, np.eye(60, 80) == 1)


def test_dead_pixels_of_the_flat_are_flagged_and_not_divided_by(instrument: Instrument) -> None:
    flat = instrument.flat.copy()
    flat[3, 4], flat[5, 6] = 0.0, -1.0
    done = calibrate(instrument.frame(instrument.sky), flat=instrument.frame(flat))
    assert (done.frame.mask[3, 4], done.frame.mask[5, 6]) == (Flag.BAD, Flag.BAD)
    assert (done.frame.mask != 0).sum() == 2
    assert np.isfinite(done.frame.data).all()


def test_the_variance_is_divided_by_the_square_of_the_flat(instrument: Instrument) -> None:
    raw = instrument.frame(instrument.sky, variance=np.full(SHAPE, 100, np.float32))
    done = calibrate(raw, flat=instrument.frame(instrument.flat))
    assert done.frame.variance is not None
    np.testing.assert_allclose(done.frame.variance, 100 / instrument.flat**2, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"bias": (50, 50)}, "shape"),
        ({"overscan": "[1:20,1:600]"}, "does not lie in the image"),
        ({"overscan": "1 to 20"}, "not a section"),
        ({"bad_pixels": np.ones((3, 3))}, "shape"),
        ({"dark": SHAPE}, "--exposure"),
        ({"cosmic_rays": True}, "--gain"),
    ],
)
def test_what_does_not_fit_is_said(arguments: dict[str, object], says: str, instrument: Instrument) -> None:
    raw = instrument.frame(instrument.sky)
    given = {
        key: Frame(np.random.default_rng(1).normal(5, 1, value).astype(np.float32))
        if isinstance(value, tuple)
        else value
        for key, value in arguments.items()
    }
    with pytest.raises(CalibrationError, match=says) as caught:
        calibrate(raw, **given)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_the_flat_of_another_filter_is_refused(instrument: Instrument) -> None:
    with pytest.raises(CalibrationError, match="filter 'g'"):
        calibrate(
            instrument.frame(instrument.sky, filter="r"), flat=instrument.frame(instrument.flat, filter="g")
        )


def test_an_offset_is_not_taken_away_twice(instrument: Instrument) -> None:
    with pytest.raises(CalibrationError, match="overscan"):
        calibrate(
            instrument.frame(instrument.raw),
            bias=instrument.frame(instrument.bias + 300),
            overscan="[1:20,1:60]",
            trim="[21:100,1:60]",
        )


def test_a_dark_with_bias_is_not_scaled_without_it(instrument: Instrument) -> None:
    with pytest.raises(CalibrationError, match="give the bias too"):
        calibrate(
            instrument.frame(instrument.sky, exposure=30.0),
            dark=instrument.frame(instrument.bias + 1000, exposure=300.0),
        )


def test_nothing_asked_for_is_wrong_usage(instrument: Instrument) -> None:
    with pytest.raises(UsageError, match="no calibration step"):
        calibrate(instrument.frame(instrument.sky))


# --- files ------------------------------------------------------------------------------------------


def make_files(instrument: Instrument, folder: Path, **cards: object) -> dict[str, Path]:
    header = fits.Header()
    facts = {
        "GAIN": 1.6, "RDNOISE": 5.0, "EXPTIME": EXPOSURE, "FILTER": "r", "BIASSEC": "[1:20,1:60]",
        "TRIMSEC": "[21:100,1:60]", "OBJECT": "field 7", "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN",
        "CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 50.0, "CRPIX2": 30.0, "CDELT1": -1e-4, "CDELT2": 1e-4,
    }  # fmt: skip
    for key, value in {**facts, **cards}.items():
        header[key] = value
    header.add_history("taken at dusk")
    planes = {
        "raw": (instrument.raw, header),
        "bias": (instrument.bias, None),
        "dark": (instrument.dark * DARK_EXPOSURE, fits.Header([("EXPTIME", DARK_EXPOSURE)])),
        "flat": (instrument.flat, fits.Header([("FILTER", "r")])),
    }
    for name, (data, head) in planes.items():
        fits.PrimaryHDU(data.astype(np.float32), head).writeto(folder / f"{name}.fits")
    return {name: folder / f"{name}.fits" for name in planes}


def test_a_file_is_calibrated_and_says_so(instrument: Instrument, tmp_path: Path) -> None:
    paths = make_files(instrument, tmp_path)
    out = tmp_path / "out.fits"
    summary = calibrate_file(
        paths["raw"], out, bias=paths["bias"], dark=paths["dark"], flat=paths["flat"], overscan=True
    )
    assert summary.steps == ("overscan", "bias", "dark", "flat")
    assert summary.shape == SHAPE
    frame = read_frame(out)
    np.testing.assert_allclose(frame.data, instrument.sky, rtol=3e-6)
    assert (frame.gain, frame.exposure, frame.filter) == (1.6, EXPOSURE, "r")
    header = fits.getheader(out)
    assert (header["OBJECT"], header["ASTBIAS"], header["ASTFLAT"]) == ("field 7", "bias.fits", "flat.fits")
    history = " ".join(header["HISTORY"])
    assert "taken at dusk" in history
    assert "AstrID calibrate: bias" in history
    # 20 columns were cut off: the same sky at another pixel
    before = read_frame(paths["raw"]).wcs
    assert before is not None
    assert frame.wcs is not None
    np.testing.assert_allclose(frame.wcs.all_pix2world(0, 0, 0), before.all_pix2world(20, 0, 0), atol=1e-10)


@pytest.mark.parametrize("step", ["bias", "dark", "flat"])
def test_a_second_run_is_refused(step: str, instrument: Instrument, tmp_path: Path) -> None:
    paths = make_files(instrument, tmp_path)
    out = tmp_path / "out.fits"
    calibrate_file(
        paths["raw"], out, bias=paths["bias"], dark=paths["dark"], flat=paths["flat"], overscan=True
    )
    with pytest.raises(CalibrationError, match=f"the {step} step was done already"):
        calibrate_file(out, tmp_path / "twice.fits", **{step: paths[step]})  # type: ignore[arg-type]
    assert not (tmp_path / "twice.fits").exists()


@pytest.mark.parametrize(
    "cards", [{"FLATCOR": "T"}, {"INSTRUME": "DECam", "DESFLAT": "Thu"}, {"CALSTAT": "BDF"}]
)
def test_what_others_did_is_not_done_again(
    cards: dict[str, object], instrument: Instrument, tmp_path: Path
) -> None:
    paths = make_files(instrument, tmp_path, **cards)
    with pytest.raises(CalibrationError, match=next(key for key in cards if key != "INSTRUME")):
        calibrate_file(paths["raw"], tmp_path / "out.fits", flat=paths["flat"])


@pytest.mark.real_data
def test_a_real_frame_that_was_flat_fielded_is_not_flat_fielded(real_data: Path, tmp_path: Path) -> None:
    raw = real_data / "images" / "microlensing_series" / "AKB13475I0172.fits.gz"
    fits.PrimaryHDU(np.random.default_rng(1).normal(1, 0.1, (512, 512))).writeto(tmp_path / "flat.fits")
    with pytest.raises(CalibrationError, match="Flat="):
        calibrate_file(raw, tmp_path / "out.fits", flat=tmp_path / "flat.fits")
    # its overscan was cut off, though the header still has the section
    with pytest.raises(CalibrationError, match="trimmed already"):
        calibrate_file(raw, tmp_path / "out.fits", overscan=True)


# --- cosmic rays and trails -------------------------------------------------------------------------


def star_field(seed: int, shape: tuple[int, int] = (300, 320), n_stars: int = 60) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    image = np.full(shape, 400.0)
    for _ in range(n_stars):
        x0, y0, flux = rng.uniform(0, shape[1]), rng.uniform(0, shape[0]), 10 ** rng.uniform(3, 4.7)
        image += flux / (2 * np.pi * 1.5**2) * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.5**2))
    return image + rng.normal(0, np.sqrt(image / 1.5 + 9))


def test_injected_cosmic_rays_are_flagged_with_95_per_cent_completeness() -> None:
    rng = np.random.default_rng(21)
    image = star_field(20)
    truth = np.zeros(image.shape, bool)
    for _ in range(40):  # short tracks of 10 to 60 sigma in each pixel, sharper than any star
        x, y = rng.integers(8, 290, 2)
        dx, dy = rng.integers(-1, 2, 2)
        for step in range(rng.integers(1, 5)):
            truth[y + dy * step, x + dx * step] = True
    image[truth] += rng.uniform(180, 1100, int(truth.sum()))
    frame = Frame(image.astype(np.float32), gain=1.5, read_noise=4.0)
    found = calibrate(frame, cosmic_rays=True).frame.mask & Flag.COSMIC_RAY != 0
    assert (found & truth).sum() / truth.sum() > 0.95
    # beside their neighbours no more than one pixel in ten thousand, and so no star
    assert (found & ~ndimage.binary_dilation(truth, np.ones((3, 3)))).sum() <= 1e-4 * found.size


TRACKS = [(0, 60, 319, 210), (40, 299, 200, 0), (0, 280, 319, 25)]


@pytest.mark.parametrize("track", TRACKS)
@pytest.mark.parametrize("sigma", [0.7, 2.0, 20.0])
def test_a_trail_is_found_where_it_is(track: tuple[int, ...], sigma: float) -> None:
    image = star_field(30)
    x0, y0, x1, y1 = track
    y, x = np.indices(image.shape)
    across = ((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / np.hypot(x1 - x0, y1 - y0)
    noise = np.sqrt(400 / 1.5 + 9)
    image += sigma * noise * np.exp(-(across**2) / (2 * 1.3**2))
    found = find_trails(Frame(image.astype(np.float32)))
    assert len(found) == 1
    # both true ends lie on the measured line, and its ends near the true ones
    ends = np.array([[x0, y0], [x1, y1]], float)
    assert np.abs(found[0].distance(ends[:, 0], ends[:, 1])).max() < 1.0
    measured = np.array([[found[0].x0, found[0].y0], [found[0].x1, found[0].y1]])
    gaps = [np.hypot(*(measured - end).T).min() for end in ends]
    assert max(gaps) < 25
    mask = trail_mask(image.shape, found) != 0
    assert mask[np.abs(across) < 1.3].mean() > 0.9
    assert not mask[np.abs(across) > 12].any()


def test_trails_that_cross_are_all_found() -> None:
    image = star_field(31)
    y, x = np.indices(image.shape)
    for x0, y0, x1, y1 in TRACKS:
        across = ((x - x0) * (y1 - y0) - (y - y0) * (x1 - x0)) / np.hypot(x1 - x0, y1 - y0)
        image += 60 * np.exp(-(across**2) / (2 * 1.3**2))
    assert len(find_trails(Frame(image.astype(np.float32)))) == 3


@pytest.mark.parametrize("seed", range(40, 46))
def test_a_field_without_trails_has_none(seed: int) -> None:
    assert find_trails(Frame(star_field(seed).astype(np.float32))) == []


def test_a_hot_column_is_no_trail() -> None:
    image = star_field(50)
    image[:, 100] += 500
    assert find_trails(Frame(image.astype(np.float32))) == []


@pytest.mark.real_data
def test_real_fields_without_trails_have_none(real_data: Path) -> None:
    images = real_data / "images"
    for path in (
        *sorted((images / "microlensing_series").glob("*.gz"))[::8],
        *(images / "eso085_pair").glob("*"),
    ):
        assert find_trails(read_frame(path, require=())) == [], path


def test_trails_and_cosmic_rays_are_recorded_in_the_file(tmp_path: Path) -> None:
    image = star_field(60)
    y, x = np.indices(image.shape)
    image += 200 * np.exp(-((y - 0.5 * x - 20) ** 2) / (2 * 1.5**2))
    header = fits.Header([("GAIN", 1.5), ("RDNOISE", 4.0)])
    fits.PrimaryHDU(image.astype(np.float32), header).writeto(tmp_path / "raw.fits")
    summary = calibrate_file(tmp_path / "raw.fits", tmp_path / "out.fits", cosmic_rays=True, trails=True)
    assert summary.n_trail > 1000
    assert len(summary.trails) == 1
    assert ((read_frame(tmp_path / "out.fits").mask & Flag.TRAIL) != 0).sum() == summary.n_trail
    with pytest.raises(CalibrationError, match="done already"):
        calibrate_file(tmp_path / "out.fits", tmp_path / "twice.fits", trails=True)
