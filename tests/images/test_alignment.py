"""Two frames come onto one grid, by WCS, by stars or by both, and the error is stated honestly."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import sep
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from astrid.errors import AlignmentError
from astrid.images.alignment import align
from astrid.images.frame import Flag, Frame
from astrid.images.sources import Sources

SIDE = 400


def listed(x: np.ndarray, y: np.ndarray, flux: np.ndarray, snr: np.ndarray, fwhm: float = 3.0) -> Sources:
    return table(x=x, y=y, flux=flux, snr=snr, fwhm=np.full(len(x), fwhm), peak=flux / 10)


def table(*, flags: np.ndarray | None = None, **columns: np.ndarray) -> Sources:
    """Sources with the columns that matter here; the others say "a round star"."""
    n = len(columns["x"])
    given = {"flags": np.zeros(n, np.uint16) if flags is None else flags, **columns}
    sources = Sources(**{field.name: given.get(field.name, np.ones(n)) for field in fields(Sources)})
    return sources[np.argsort(-sources.flux)]


def plain(name: str, wcs: WCS | None = None, side: int = SIDE) -> Frame:
    """A frame whose pixels do not matter, because its sources are given."""
    return Frame(np.zeros((side, side)), wcs=wcs, name=name)


def field(
    rng: np.random.Generator, transform, n: int = 400, noise: float = 0.02, side: int = SIDE
) -> tuple[Sources, Sources]:
    """Stars of a science frame and, at ``transform(x, y)``, of a reference."""
    x, y = rng.uniform(-side, 2 * side, (2, 9 * n))
    flux = 500 * (rng.pareto(0.8, x.size) + 1)
    u, v = transform(x, y)
    tables = []
    for a, b in ((x, y), (u, v)):
        seen = (a > 3) & (a < side - 4) & (b > 3) & (b < side - 4)
        jitter = rng.normal(0, noise, (2, seen.sum()))
        snr = np.full(seen.sum(), 100.0)
        tables.append(listed(a[seen] + jitter[0], b[seen] + jitter[1], flux[seen], snr))
    return tables[0], tables[1]


def affine(angle: float, scale: float, flip: bool, dx: float, dy: float):
    c, s = scale * np.cos(angle), scale * np.sin(angle)
    turn = np.array([[c, -s], [s, c]]) @ np.diag([-1.0 if flip else 1.0, 1.0])

    def transform(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        middle = (SIDE - 1) / 2
        centred = np.stack([np.asarray(x) - middle, np.asarray(y) - middle])
        return np.tensordot(turn, centred, 1) + np.reshape(
            [middle + dx, middle + dy], (2,) + (1,) * np.ndim(x)
        )

    return transform


def warped(amplitude: float):
    def transform(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                x + 0.6 + amplitude * np.sin(x / 150 + y / 300),
                y - 0.4 + amplitude * np.cos(y / 170 - x / 400),
            ]
        )

    return transform


def tan(offset_px: tuple[float, float] = (0.0, 0.0), scale: float = 0.5, rotation: float = 0.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [SIDE / 2 + 0.5 + offset_px[0], SIDE / 2 + 0.5 + offset_px[1]]
    c, s = np.cos(rotation), np.sin(rotation)
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * scale / 3600
    return wcs


def error_of(mapping, transform, side: int = SIDE) -> float:
    """Rms distance per axis from the truth, where the frames overlap."""
    y, x = np.mgrid[10 : side - 10 : 20, 10 : side - 10 : 20].astype(float)
    true = np.asarray(transform(x, y))
    inside = ((true > 0) & (true < side - 1)).all(axis=0)
    return float(np.sqrt((np.subtract(mapping(x, y), true)[:, inside] ** 2).mean()))


@settings(max_examples=15, deadline=None)
@given(
    angle=st.floats(-3.2, 3.2),
    scale=st.floats(0.75, 1.4),
    flip=st.booleans(),
    dx=st.floats(-100, 100),
    dy=st.floats(-100, 100),
    seed=st.integers(0, 100),
)
def test_without_wcs_any_orientation_is_recovered(
    angle: float, scale: float, flip: bool, dx: float, dy: float, seed: int
) -> None:
    transform = affine(angle, scale, flip, dx, dy)
    science, reference = field(np.random.default_rng(seed), transform)
    result = align(plain("ref"), plain("sci"), reference, science)
    assert result.method == "stars"
    assert error_of(result.mapping, transform) < 0.02
    assert result.frame.shape == (SIDE, SIDE)


@pytest.mark.parametrize("amplitude", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("n", [100, 1500])
def test_warps_that_the_wcs_does_not_know_are_found(amplitude: float, n: int) -> None:
    transform = warped(amplitude)
    science, reference = field(np.random.default_rng(1), transform, n=n)
    result = align(plain("ref", tan()), plain("sci", tan()), reference, science)
    assert result.method == "wcs+stars"
    assert error_of(result.mapping, transform) < (0.03 if n == 100 else 0.01)


@pytest.mark.parametrize("noise", [0.01, 0.05])
def test_stated_rms_is_that_of_the_centroids(noise: float) -> None:
    science, reference = field(np.random.default_rng(2), affine(0.3, 1.0, False, 20, 5), noise=noise)
    result = align(plain("ref"), plain("sci"), reference, science)
    assert result.rms_px == pytest.approx(np.sqrt(2) * noise, rel=0.15)


def test_stated_rms_is_in_science_pixels() -> None:
    science, reference = field(np.random.default_rng(2), affine(0.3, 1.4, False, 0, 0), noise=0.02)
    result = align(plain("ref"), plain("sci"), reference, science)
    assert result.rms_px == pytest.approx(np.hypot(0.02, 0.02 / 1.4), rel=0.15)


def test_wrong_pairs_and_moving_stars_do_not_pull_the_fit() -> None:
    rng = np.random.default_rng(3)
    transform = warped(0.3)
    science, reference = field(rng, transform)
    moved = rng.random(len(reference)) < 0.25
    x = reference.x + np.where(moved, rng.uniform(0.2, 2.0, len(reference)), 0)
    spoiled = listed(x, reference.y, reference.flux, reference.snr)
    result = align(plain("ref", tan()), plain("sci", tan()), spoiled, science)
    assert error_of(result.mapping, transform) < 0.03


def test_frames_of_one_grid_are_not_resampled() -> None:
    rng = np.random.default_rng(4)
    science, reference = field(rng, affine(0, 1, False, 0, 0))
    pixels = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    for wcs in (tan(), None):
        result = align(Frame(pixels, wcs=wcs, name="ref"), plain("sci", wcs), reference, science)
        np.testing.assert_array_equal(result.frame.data, pixels)
        assert result.frame.noise_correlation is None
        assert result.frame.wcs is wcs


def test_whole_pixel_shifts_are_copied() -> None:
    rng = np.random.default_rng(4)
    science, reference = field(rng, affine(0, 1, False, 7, -3))
    pixels = rng.normal(size=(SIDE, SIDE)).astype(np.float32)
    result = align(Frame(pixels, name="ref"), plain("sci"), reference, science)
    np.testing.assert_array_equal(result.frame.data[3:, :393], pixels[:397, 7:])


def test_a_small_but_certain_shift_is_applied() -> None:
    transform = affine(0, 1, False, 0.05, 0.0)
    science, reference = field(np.random.default_rng(4), transform)
    result = align(plain("ref", tan()), plain("sci", tan()), reference, science)
    assert error_of(result.mapping, transform) < 0.01


@pytest.mark.parametrize(("dx", "dy"), [(4.0, -6.0), (150.0, 60.0)])
def test_a_wcs_that_is_off_is_corrected_or_overruled(dx: float, dy: float) -> None:
    transform = affine(0.001, 1, False, dx, dy)
    science, reference = field(np.random.default_rng(5), transform)
    result = align(plain("ref.fits", tan()), plain("sci.fits", tan()), reference, science)
    assert error_of(result.mapping, transform) < 0.02
    if dx < 10:
        assert result.method == "wcs+stars"
        assert not result.warnings
    else:
        assert result.method == "stars"
        assert "ref.fits on sci.fits: the WCS is off by 16" in result.warnings[0]


def test_a_wcs_that_puts_overlapping_images_apart_is_overruled() -> None:
    transform = affine(0.0, 1, False, 10.3, 20.2)
    science, reference = field(np.random.default_rng(5), transform)
    result = align(plain("ref", tan((5000, 0))), plain("sci", tan()), reference, science)
    assert error_of(result.mapping, transform) < 0.02
    assert "put the images apart" in result.warnings[0]


def test_images_without_overlap_are_refused() -> None:
    science, _ = field(np.random.default_rng(6), affine(0, 1, False, 0, 0))
    reference, _ = field(np.random.default_rng(7), affine(0, 1, False, 0, 0))
    with pytest.raises(AlignmentError, match=r"ref\.fits on sci\.fits: the image centres are"):
        align(plain("ref.fits", tan((5000, 0))), plain("sci.fits", tan()), reference, science)
    with pytest.raises(AlignmentError, match="no star pattern"):
        align(plain("ref"), plain("sci"), reference, science)


def test_a_pixel_scale_ten_times_larger_is_refused() -> None:
    science, _ = field(np.random.default_rng(6), affine(0, 1, False, 0, 0))
    reference, _ = field(np.random.default_rng(7), affine(0, 1, False, 0, 0))
    with pytest.raises(AlignmentError, match=r"0\.5 and 5 arcsec/px"):
        align(plain("ref", tan(scale=5.0)), plain("sci", tan()), reference, science)


def test_five_stars_need_a_wcs() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.uniform(20, 380, (2, 5))
    stars = listed(x, y, np.arange(5.0) + 1000, np.full(5, 100.0))
    with pytest.raises(
        AlignmentError, match="ref on sci: the images have 5 and 5 stars, expected at least 6"
    ):
        align(plain("ref"), plain("sci"), stars, stars)
    result = align(plain("ref", tan()), plain("sci", tan()), stars, stars)
    assert result.method == "wcs+stars"
    assert result.n_stars == 5


def test_too_few_stars_to_refine_leave_the_wcs_and_a_warning() -> None:
    nothing = listed(np.empty(0), np.empty(0), np.empty(0), np.empty(0))
    result = align(plain("ref", tan()), plain("sci", tan((30.5, 0))), nothing, nothing)
    assert result.method == "wcs"
    assert result.n_stars == 0
    assert np.isnan(result.rms_px)
    assert "rests on the WCS alone" in result.warnings[0]


def test_small_overlap_is_said() -> None:
    transform = affine(0, 1, False, 350, 0)
    science, reference = field(np.random.default_rng(9), transform, n=2000)
    result = align(plain("ref", tan((350, 0))), plain("sci", tan()), reference, science)
    assert any("covers only 12% of sci" in sentence for sentence in result.warnings)


def painted(positions: np.ndarray, flux: np.ndarray, noise: np.ndarray) -> Frame:
    row, column = np.mgrid[:200, :200]
    data = noise.copy()
    for (x, y), f in zip(positions, flux, strict=True):
        data += f * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 1.5**2))
    return Frame(data, variance=np.ones((200, 200)), name="painted")


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("flip", [False, True])
def test_rotated_and_flipped_pixels_come_back(turns: int, flip: bool) -> None:
    rng = np.random.default_rng(10)
    science = painted(rng.uniform(10, 190, (40, 2)), rng.uniform(50, 2000, 40), rng.normal(size=(200, 200)))
    turned = np.rot90(science.data[:, ::-1] if flip else science.data, turns)
    reference = Frame(turned, variance=np.ones((200, 200)), name="turned")
    result = align(reference, science, stars_in(reference, 3.5), stars_in(science, 3.5))
    inner = np.s_[3:-3, 3:-3]
    difference = (result.frame.data - science.data)[inner]
    # The same noise is in both, so what is left is interpolation and registration alone.
    assert np.abs(difference).max() < 0.02 * science.data.max()
    assert difference.std() < 1.0


def test_aligning_costs_little_beside_resampling() -> None:
    science, reference = field(np.random.default_rng(11), warped(0.3), n=2500)
    frames = plain("ref", tan()), plain("sci", tan())
    align(*frames, reference, science)
    start = time.process_time()
    align(*frames, reference, science)
    assert time.process_time() - start < 0.4


def stars_in(frame: Frame, fwhm: float) -> Sources:
    """Local maxima of a smoothed image with windowed centroids: a finder of the tests' own."""
    sigma = fwhm / 2.3548
    smooth = ndimage.gaussian_filter(frame.data, sigma)
    scatter = 1.4826 * np.median(np.abs(frame.data - np.median(frame.data)))
    threshold = 5 * scatter / (2 * np.sqrt(np.pi) * sigma)
    y, x = np.nonzero(
        (smooth == ndimage.maximum_filter(smooth, 2 * int(fwhm / 2) + 1)) & (smooth > threshold)
    )
    xw, yw, _ = sep.winpos(frame.data, x.astype(float), y.astype(float), np.full(len(x), sigma))
    flux = np.maximum(sep.sum_circle(frame.data, xw, yw, fwhm)[0], 1.0)
    snr = flux / np.sqrt(flux / 1.9 + np.pi * fwhm**2 * scatter**2)
    ny, nx = frame.shape
    flags = np.where(
        (x < fwhm) | (y < fwhm) | (x > nx - 1 - fwhm) | (y > ny - 1 - fwhm),
        np.uint16(Flag.EDGE),
        np.uint16(0),
    )
    near_saturated = ndimage.binary_dilation(frame.mask & Flag.SATURATED, iterations=2)
    flags |= np.where(near_saturated[y, x], np.uint16(Flag.SATURATED), np.uint16(0))
    kept = np.hypot(xw - x, yw - y) < fwhm / 2
    columns = {"x": xw, "y": yw, "flux": flux, "snr": snr, "fwhm": np.full(len(x), fwhm), "flags": flags}
    return table(**{name: column[kept] for name, column in columns.items()})


def real_frame(path: Path, fwhm: float | None = None) -> tuple[Frame, Sources]:
    pixels, header = fits.getdata(path, header=True)
    data = pixels.astype(np.float32)
    mask = np.where(data > 60_000, np.uint16(Flag.SATURATED), np.uint16(0))
    sky = sep.Background(data, bw=64, bh=64)
    frame = Frame(
        data - sky.back(), mask=mask, variance=np.full(data.shape, sky.globalrms**2), name=path.name
    )
    return frame, stars_in(frame, header["PFWHM"] if fwhm is None else fwhm)


@pytest.mark.real_data
def test_real_crowded_frames_without_wcs_align_to_a_tenth_of_a_pixel(real_data: Path) -> None:
    paths = sorted((real_data / "images" / "microlensing_series").glob("*.fits.gz"))
    reference, reference_stars = real_frame(next(path for path in paths if "0172" in path.name))
    assert len(paths) == 24
    for path in paths:
        science, stars = real_frame(path)
        result = align(reference, science, reference_stars, stars)
        assert result.rms_px < 0.1, path.name
        assert result.n_stars > 200, path.name
    # What the data's description says of frame 028: the event is at (257, 251) there, (271.5, 225.7) in 172.
    science, stars = real_frame(next(path for path in paths if "0028" in path.name))
    mapping = align(reference, science, reference_stars, stars).mapping
    np.testing.assert_allclose(np.ravel(mapping(257.0, 251.0)), [271.5, 225.7], atol=1.0)


@pytest.mark.real_data
def test_real_consecutive_frames_are_a_tenth_of_a_pixel_apart(real_data: Path) -> None:
    (one, one_stars), (two, two_stars) = (
        real_frame(path, 4.0) for path in sorted((real_data / "images" / "eso085_pair").glob("*.gz"))
    )
    there = align(one, two, one_stars, two_stars)
    back = align(two, one, two_stars, one_stars)
    assert there.rms_px < 0.05
    x, y = np.random.default_rng(0).uniform(50, 650, (2, 50))
    np.testing.assert_allclose(back.mapping(*there.mapping(x, y)), [x, y], atol=0.05)


@pytest.mark.real_data
def test_real_frames_with_tpv_wcs_are_refined_alike_by_every_pair(real_data: Path) -> None:
    folder = real_data / "images" / "decam_pair"
    frames = {}
    for name, fwhm in (("OBS04a", 5.2), ("OBS04b", 5.2), ("OBS18a", 3.9), ("OBS18b", 4.1)):
        path = folder / f"DEC-{name}.mini.fits.gz"
        frame, stars = real_frame(path, fwhm)
        frames[name] = frame.with_(wcs=WCS(fits.getheader(path))), stars
    offsets = []
    for science in ("OBS04a", "OBS04b"):
        for reference in ("OBS18a", "OBS18b"):
            result = align(frames[reference][0], frames[science][0], frames[reference][1], frames[science][1])
            assert result.method == "wcs+stars"
            assert result.rms_px < 0.25
            offsets.append(np.ravel(result.mapping(128.0, 128.0)) - 128)
    # The epochs are half a pixel apart on their common grid, as the stars say in each pair.
    assert np.std(offsets, axis=0).max() < 0.1
    assert -0.7 < np.mean(offsets, axis=0)[0] < -0.4
