"""Sources are found where they were put, as bright and as wide as they are, and stars are told apart."""

from __future__ import annotations

import numpy as np
import pytest
from photutils.detection import DAOStarFinder
from scipy import ndimage

from astrid.errors import FrameError
from astrid.images.frame import Flag, Frame
from astrid.images.noise import measure_noise
from astrid.images.sources import find_sources, stars_of

SHAPE = (512, 512)
SIGMA = 5.0
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(float)


def moffat(r2, fwhm, beta=3.0):
    alpha2 = fwhm**2 / (4 * (2 ** (1 / beta) - 1))
    return (beta - 1) / (np.pi * alpha2) * (1 + r2 / alpha2) ** -beta


def gaussian(r2, fwhm):
    return 4 * np.log(2) / (np.pi * fwhm**2) * np.exp(-4 * np.log(2) * r2 / fwhm**2)


def grid(seed, step=42):
    """Places far from each other, each at its own fraction of a pixel."""
    rng = np.random.default_rng(seed)
    places = np.arange(step, SHAPE[0] - step / 2, step)
    x, y = (axis.ravel() + rng.uniform(-4, 4, len(places) ** 2) for axis in np.meshgrid(places, places))
    return x, y


def draw(x, y, flux, profile, elongation=1.0, reach=40):
    light = np.zeros(SHAPE)
    for xi, yi, fi in zip(x, y, flux, strict=True):
        box = np.s_[max(int(yi) - reach, 0) : int(yi) + reach, max(int(xi) - reach, 0) : int(xi) + reach]
        r2 = (X[box] - xi) ** 2 / elongation + (Y[box] - yi) ** 2 * elongation
        light[box] += fi * profile(r2)
    return light


def exposed(light, seed=1, mask=None):
    noise = SIGMA * np.random.default_rng(seed).standard_normal(SHAPE)
    return Frame(light + noise, mask=mask, variance=np.full(SHAPE, SIGMA**2, np.float32))


def matched(sources, x, y, radius=1.0):
    """For each place the index of the nearest source and whether it is near enough."""
    distance = np.hypot(sources.x[None, :] - x[:, None], sources.y[None, :] - y[:, None])
    return distance.argmin(axis=1), distance.min(axis=1) < radius


@pytest.mark.parametrize("fwhm", [2.2, 3.0, 5.5])
@pytest.mark.parametrize("profile", [moffat, gaussian])
def test_bright_stars_are_found_at_their_place_flux_and_width(profile, fwhm):
    x, y = grid(2)
    flux = np.geomspace(5e3, 2e5, len(x)) * (fwhm / 3) ** 2
    sources = find_sources(exposed(draw(x, y, flux, lambda r2: profile(r2, fwhm))))
    index, found = matched(sources, x, y)
    assert found.all()
    assert len(sources) <= len(x) + 1
    at = sources[index]
    assert np.hypot(at.x - x, at.y - y)[flux > 3e4].max() < 0.05
    assert abs((at.x - x).mean()) < 0.01
    assert abs((at.y - y).mean()) < 0.01
    # Fluxes are within one circle: a constant part of the whole, near the closed form at r = FWHM.
    part = at.flux / flux
    r = np.linspace(0, np.median(at.fwhm), 2000)
    whole = np.trapezoid(2 * np.pi * r * profile(r**2, fwhm), r)
    assert np.median(part) == pytest.approx(whole, abs=0.03)
    assert part[flux > 3e4].std() < 0.01
    # Widths are of a Gaussian through the core above its surroundings: rough, but the same for all.
    assert np.median(at.fwhm) == pytest.approx(fwhm, rel=0.25)
    assert at.fwhm[flux > 3e4].std() < 0.05 * fwhm
    assert np.median(at.elongation) < 1.05


def test_fluxes_fall_and_peaks_are_pixels():
    x, y = grid(3)
    frame = exposed(draw(x, y, np.geomspace(500, 1e5, len(x)), lambda r2: moffat(r2, 3.0)))
    sources = find_sources(frame)
    assert (np.diff(sources.flux) <= 0).all()
    assert np.isin(sources.peak.astype(np.float32), frame.data).all()
    assert (sources.flags == 0).all()


def test_signal_to_noise_is_that_of_the_aperture():
    x, y = grid(4)
    truth = draw(x, y, np.full(len(x), 3000.0), lambda r2: gaussian(r2, 3.0))
    runs = [find_sources(exposed(truth, seed)) for seed in range(20)]
    scatter = np.std([run[matched(run, x, y)[0]].flux for run in runs], axis=0)
    claimed = np.median([run.flux / run.snr for run in [r[matched(r, x, y)[0]] for r in runs]])
    assert np.median(scatter) == pytest.approx(claimed, rel=0.1)


def test_elongated_stars_are_measured_so():
    x, y = grid(5)
    sources = find_sources(exposed(draw(x, y, np.full(len(x), 5e4), lambda r2: gaussian(r2, 4.0), 1.3)))
    # The smoothing before the measurement rounds them a little.
    assert 1.15 < np.median(sources.elongation) < 1.35


def test_it_finds_what_daofind_finds():
    rng = np.random.default_rng(6)
    x, y, flux = rng.uniform(10, 502, 400), rng.uniform(10, 502, 400), 200 * (1 + rng.pareto(0.8, 400))
    frame = exposed(draw(x, y, flux.clip(0, 1e5), lambda r2: gaussian(r2, 3.0)))
    ours = find_sources(frame)
    finder = DAOStarFinder(10 * SIGMA, 3.0, exclude_border=True)
    theirs = finder(frame.data.astype(float))
    names = [
        name for name in ("x_centroid", "xcentroid", "y_centroid", "ycentroid") if name in theirs.colnames
    ]
    _, found = matched(ours, *(np.asarray(theirs[name], float) for name in names), radius=1.5)
    assert len(theirs) > 60
    assert found.mean() > 0.97


def test_empty_sky_has_no_sources_even_where_its_noise_is_correlated():
    white = np.random.default_rng(7).standard_normal(SHAPE)
    assert len(find_sources(Frame(white, variance=np.ones(SHAPE)))) <= 2
    triangle = np.outer([1, 2, 1], [1, 2, 1]) / 16
    smooth = measure_noise(Frame(ndimage.convolve(white, triangle), gain=1e9))
    assert smooth.noise_correlation is not None
    assert len(find_sources(smooth)) <= 3
    assert len(find_sources(Frame(np.zeros(SHAPE), variance=np.ones(SHAPE)))) == 0


def test_flags_tell_what_touches_a_core_and_masked_pixels_hold_no_source():
    x, y = np.array([100.0, 200.0, 300.0, 2.0]), np.array([100.0, 200.0, 300.0, 400.0])
    mask = np.zeros(SHAPE, np.uint16)
    mask[100, 101], mask[196:205, 196:205] = Flag.SATURATED, Flag.BAD
    sources = find_sources(exposed(draw(x, y, np.full(4, 5e4), lambda r2: moffat(r2, 3.0)), mask=mask))
    index, found = matched(sources, x, y)
    assert found.tolist() == [True, False, True, True]
    flags = sources.flags[index]
    assert (flags[0], flags[2], flags[3]) == (Flag.SATURATED, 0, Flag.EDGE)


def test_stars_are_chosen_and_galaxies_blends_and_saturated_ones_are_not():
    x, y = grid(8)
    kind = np.resize(["star", "star", "star", "galaxy", "blend", "saturated"], len(x))
    kind = np.random.default_rng(9).permutation(kind)
    flux = np.random.default_rng(10).uniform(2e4, 1e5, len(x))
    light = draw(*(a[kind != "galaxy"] for a in (x, y, flux)), lambda r2: moffat(r2, 3.0))
    # An exponential disc of half-light radius 3 px seen through the same air.
    galaxies = draw(
        *(a[kind == "galaxy"] for a in (x, y, flux)),
        lambda r2: np.exp(-np.sqrt(r2) / 1.8) / (2 * np.pi * 1.8**2),
        1.5,
    )
    light += ndimage.gaussian_filter(galaxies, 3.0 / 2.3548)
    blend = kind == "blend"
    light += draw(x[blend] + 3.0, y[blend] + 1.5, 0.8 * flux[blend], lambda r2: moffat(r2, 3.0))
    mask = np.zeros(SHAPE, np.uint16)
    for xi, yi in zip(x[kind == "saturated"], y[kind == "saturated"], strict=True):
        mask[round(yi), round(xi)] = Flag.SATURATED
    sources = find_sources(exposed(light, mask=mask))
    chosen = sources[stars_of(sources)]
    _, taken = matched(chosen, x, y, radius=3.0)
    assert taken[kind == "star"].mean() > 0.95
    for other in ("galaxy", "blend", "saturated"):
        assert taken[kind == other].mean() < 0.05, other
    assert not stars_of(sources, snr=1e9).any()


def test_without_a_variance_there_is_no_threshold():
    with pytest.raises(
        FrameError, match="measure_noise comes before find_sources; the frame has no variance"
    ):
        find_sources(Frame(np.ones(SHAPE)))
