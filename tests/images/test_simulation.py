"""A simulated pair is what its configuration and its truth table say it is."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid.errors import DependencyError, OutputError, UsageError
from astrid.images.artefacts import Artefacts, spill
from astrid.images.frame import Flag
from astrid.images.reading import read_frame
from astrid.images.scene import Galaxies, MoffatPSF, add_galaxies, add_stars
from astrid.images.sensitivity import optimal_filter
from astrid.images.simulated_survey import simulate_survey
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig

SMALL = SimulationConfig(shape=(256, 256), n_stars=60, n_galaxies=10, n_transients=6)


@pytest.fixture(scope="module")
def benchmark_pair():
    return simulate_pair(SimulationConfig.named("benchmark", shape=(1024, 1024), n_stars=750), 3)


@pytest.fixture(scope="module")
def demo():
    return simulate_pair(SimulationConfig.named("demo"), 5)


def test_the_same_seed_gives_the_same_pixels_and_another_seed_does_not():
    first, again, other = (simulate_pair(SMALL, seed) for seed in (4, 4, 5))
    np.testing.assert_array_equal(first.science.data, again.science.data)
    np.testing.assert_array_equal(first.reference.data, again.reference.data)
    assert all(first.truth["flux"] == again.truth["flux"])
    assert (first.science.data != other.science.data).mean() > 0.9


def test_noise_of_an_empty_frame_is_photons_plus_read_noise():
    config = replace(SMALL, n_stars=0, n_galaxies=0, n_transients=0, sky_science=300, gain=2.0, read_noise=8)
    data = simulate_pair(config, 1).science.data
    assert data.mean() == pytest.approx(300, abs=0.3)
    # Poisson in electrons: sky / gain; read noise in electrons: (8 / 2)^2
    assert data.var() == pytest.approx(300 / 2 + 16, rel=0.02)


def test_stars_agree_with_galsim_to_a_millionth_of_the_peak():
    galsim = pytest.importorskip("galsim")
    psf = MoffatPSF((101, 101), fwhm=3.3, beta=2.8, ellipticity=0.2, angle=0.6)
    image = np.zeros((101, 101))
    add_stars(image, psf, [50.3], [49.6], [1000.0], floor=1e-9)
    shear = galsim.Shear(q=0.8, beta=0.6 * galsim.radians)
    profile = galsim.Moffat(beta=2.8, fwhm=3.3, flux=1000).shear(shear)
    expected = profile.drawImage(nx=101, ny=101, scale=1, offset=(0.3, -0.4), method="no_pixel", dtype=float)
    np.testing.assert_allclose(image, expected.array, atol=1e-6 * image.max())


def test_star_has_the_fwhm_and_the_flux_that_photutils_measures():
    from astropy.modeling.fitting import TRFLSQFitter
    from astropy.modeling.models import Moffat2D
    from photutils.aperture import CircularAperture, aperture_photometry

    psf = MoffatPSF((121, 121), fwhm=4.2, beta=3.0)
    image = np.zeros((121, 121))
    add_stars(image, psf, [60.25], [59.5], [5000.0], floor=1e-9)
    inside = aperture_photometry(image, CircularAperture((60.25, 59.5), 50))["aperture_sum"][0]
    alpha = 4.2 / (2 * np.sqrt(2 ** (1 / 3) - 1))
    assert inside == pytest.approx(5000 * (1 - (1 + (50 / alpha) ** 2) ** -2), rel=1e-4)
    y, x = np.mgrid[:121, :121]
    fit = TRFLSQFitter()(Moffat2D(200, 60, 60, 3.0, 2.5), x, y, image)
    assert (fit.fwhm, fit.alpha.value) == pytest.approx((4.2, 3.0), rel=1e-3)
    assert (fit.x_0.value, fit.y_0.value) == pytest.approx((60.25, 59.5), abs=1e-4)


def test_psf_varies_as_it_is_told():
    psf = MoffatPSF((201, 401), fwhm=3.0, variation=0.1, gradient=0.0, curvature=0.2)
    # peak of a Moffat of beta 3 goes with the inverse square of its FWHM
    widths = [float(np.sqrt((2 / np.pi) / psf.star(x, y, np.array([x]), np.array([y]))[0, 0])) for x, y in (
        (200.0, 100.0), (400.0, 100.0), (0.0, 100.0), (400.0, 200.0)
    )]  # fmt: skip
    middle = 3.0 / (2 * np.sqrt(2 ** (1 / 3) - 1))
    assert np.array(widths) / middle == pytest.approx([1.0, 1.2, 1.0, 1.3])


@pytest.mark.parametrize("bulge", [0.0, 1.0])
def test_galaxies_agree_with_galsim_spergel_profiles(bulge):
    galsim = pytest.importorskip("galsim")
    psf = MoffatPSF((129, 129), fwhm=3.5, beta=3.5)
    galaxy = Galaxies(*(np.array([v]) for v in (64.3, 63.8, 2000.0, 6.0, 0.5, 0.7, bulge)))
    image = np.zeros((129, 129))
    add_galaxies(image, psf, galaxy, galaxy.x, galaxy.y)
    nu, radius, ratio = (-0.6, 1.8, np.sqrt(0.5)) if bulge else (0.5, 6.0, 0.5)
    # galsim's half-light radius is the circular one before a shear that keeps the area
    profile = galsim.Spergel(nu=nu, half_light_radius=radius * np.sqrt(ratio), flux=2000)
    profile = profile.shear(galsim.Shear(q=ratio, beta=0.7 * galsim.radians))
    expected = galsim.Convolve([profile, galsim.Moffat(beta=3.5, fwhm=3.5)]).drawImage(
        nx=129, ny=129, scale=1, offset=(0.3, -0.2), method="no_pixel", dtype=float
    )
    np.testing.assert_allclose(image, expected.array, atol=3e-3 * image.max())


def test_half_of_the_positions_drawn_in_a_galaxy_lie_within_its_half_light_radius():
    for bulge, radius in ((0.0, 6.0), (1.0, 1.8)):
        galaxy = Galaxies(*(np.array([v]) for v in (10.0, 20.0, 1.0, 6.0, 1.0, 0.3, bulge)))
        x, y = galaxy.positions(np.zeros(20_000, int), np.random.default_rng(1))
        assert np.median(np.hypot(x - 10, y - 20)) == pytest.approx(radius, rel=0.03)


def test_flux_ratio_is_reference_flux_over_science_flux_of_the_same_star(benchmark_pair):
    from photutils.aperture import CircularAperture, aperture_photometry

    sources = benchmark_pair.sources
    bright = sources[(sources["kind"] == "star") & (sources["flux"] > 3e4)]
    bright = bright[np.abs(np.stack([bright["x"], bright["y"]]) - 512).max(axis=0) < 480]
    fluxes = []
    for frame, x, y in (("science", "x", "y"), ("reference", "x_reference", "y_reference")):
        data = getattr(benchmark_pair, frame).data
        positions = np.stack([bright[x], bright[y]], axis=1)
        sums = aperture_photometry(data - np.median(data), CircularAperture(positions, 12))["aperture_sum"]
        alpha = getattr(benchmark_pair.config, f"fwhm_{frame}") / (2 * np.sqrt(2 ** (1 / 3) - 1))
        inside = 1 - (1 + (12 / alpha) ** 2) ** -2  # Moffat of beta 3 within the aperture
        fluxes.append(np.asarray(sums) / inside)
    assert np.median(fluxes[1] / fluxes[0]) == pytest.approx(0.8, rel=0.01)
    assert np.median(fluxes[0] / bright["flux"]) == pytest.approx(1.0, rel=0.02)
    zero_points = benchmark_pair.reference.zero_point - benchmark_pair.science.zero_point
    assert zero_points == pytest.approx(2.5 * np.log10(0.8))


def test_wcs_of_both_frames_agree_with_the_truth_but_for_the_misregistration(demo):
    pixels = np.random.default_rng(0).uniform(0, 1023, (2, 100))
    sky = demo.science.wcs.all_pix2world(*pixels, 0)
    by_wcs = np.array(demo.reference.wcs.all_world2pix(*sky, 0))
    residual = np.hypot(*(np.array(demo.mapping(*pixels)) - by_wcs))
    assert 0.2 < np.median(residual) < 0.8  # 0.4 px of shift, 0.005 deg of turn, 0.1 px of warp
    exact = simulate_pair(replace(SMALL, rotation=3.0, pointing_offset=(9.5, -4.0)), 0)
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 100))
    by_wcs = exact.reference.wcs.all_world2pix(*exact.science.wcs.all_pix2world(*pixels, 0), 0)
    np.testing.assert_allclose(exact.mapping(*pixels), by_wcs, atol=1e-6)


def test_optimal_snr_against_a_noiseless_reference_is_that_of_one_image_in_closed_form():
    y, x = np.mgrid[-31:32, -31:32]
    psfs = [np.exp(-(x**2 + y**2) / (2 * s**2)) / (2 * np.pi * s**2) for s in (1.5, 2.0)]
    best = optimal_filter(psfs[0], psfs[1], 25.0, 1e-9, 1.0)
    variance = best.variance(np.full((63, 63), 25.0), np.full((63, 63), 1e-9))
    # one image, Gaussian PSF: S/N = f / (2 sqrt(pi) s sigma)
    assert best.snr(500.0, variance, 0.0) == pytest.approx(500 / (2 * np.sqrt(np.pi) * 1.5 * 5), rel=1e-4)
    # two equal images: sqrt(2) less
    equal = optimal_filter(psfs[0], psfs[0], 25.0, 25.0, 1.0)
    variance = equal.variance(np.full((63, 63), 25.0), np.full((63, 63), 25.0))
    assert equal.snr(500.0, variance, 0.0) == pytest.approx(
        500 / (2 * np.sqrt(2 * np.pi) * 1.5 * 5), rel=1e-4
    )


def test_true_snr_is_that_of_the_proper_difference_of_many_noisy_pairs():
    """Score by the formulas for D and P_D (Zackay et al. 2016, eqs. 13 to 16), on 400 pairs with a host."""
    rng = np.random.default_rng(2)
    n, ratio, gain = 64, 0.7, 1.5
    y, x = np.mgrid[:n, :n] - n // 2
    sigmas, background = (1.3, 1.9), (260.0, 200.0)
    psfs = [np.exp(-(x**2 + y**2) / (2 * s**2)) / (2 * np.pi * s**2) for s in sigmas]
    hosts = [4e3 * np.exp(-(x**2 + y**2) / (2 * (16 + s**2))) / (2 * np.pi * (16 + s**2)) for s in sigmas]
    flux, scores = 900.0, []
    means = [hosts[0] + flux * psfs[0], ratio * hosts[1]]
    pn, pr = (np.fft.fft2(np.fft.ifftshift(psf)) for psf in psfs)
    below = np.sqrt(background[1] * np.abs(pn) ** 2 + background[0] * ratio**2 * np.abs(pr) ** 2 + 1e-12)
    p_d = ratio * pr * pn / below  # P_D times F_D
    for _ in range(400):
        images = [
            rng.poisson(mean * gain) / gain + rng.normal(0, np.sqrt(v), (n, n))
            for mean, v in zip(means, background, strict=True)
        ]
        science, reference = (np.fft.fft2(image) for image in images)
        difference = (ratio * pr * science - pn * reference) / below
        scores.append(np.fft.ifft2(difference * np.conj(p_d)).real[n // 2, n // 2])
    measured = np.mean(scores) / np.std(scores)

    cut = slice(1, 64)
    best = optimal_filter(psfs[0][cut, cut], psfs[1][cut, cut], *background, ratio)
    light = (hosts[0], ratio * hosts[1])
    maps = [(mean / gain + v)[cut, cut] for mean, v in zip(light, background, strict=True)]
    expected = best.snr(flux, best.variance(*maps), best.own_science / gain)
    assert measured == pytest.approx(expected, rel=4 / np.sqrt(2 * 400))
    assert best.flux_for(expected, best.variance(*maps), best.own_science / gain) == pytest.approx(flux)
    assert expected < 0.97 * best.snr(flux, best.variance(*(np.full((63, 63), v) for v in background)), 0.0)


def test_changes_are_of_the_kinds_the_sign_and_the_snr_that_were_asked_for(demo):
    truth = demo.truth
    assert sorted(set(truth["kind"])) == ["transient", "vanished", "variable"]
    assert sum(truth["kind"] == "vanished") == 4
    assert all(truth["is_negative"][truth["kind"] == "vanished"])
    assert not any(truth["is_negative"][truth["kind"] == "transient"])
    drawn = np.abs(truth["snr_true"][truth["kind"] != "variable"])
    assert drawn.min() >= 6
    assert drawn.max() <= 60
    assert all(truth["host"][truth["host_offset"] >= 0] >= 0)
    sky = demo.science.wcs.all_pix2world(truth["x"], truth["y"], 0)
    np.testing.assert_allclose(sky, [truth["ra"], truth["dec"]])
    np.testing.assert_allclose(truth["mag"], 27.0 - 2.5 * np.log10(np.abs(truth["flux"])))


def test_benchmark_pair_has_no_flaw_and_its_brightest_star_is_below_saturation(benchmark_pair):
    assert not benchmark_pair.science.mask.any()
    assert not benchmark_pair.reference.mask.any()
    assert len(benchmark_pair.artefacts) == 0
    assert 0.3 * 60_000 < benchmark_pair.science.data.max() < 60_000


def test_demo_holds_every_kind_of_artefact_and_says_where(demo):
    kinds = set(demo.artefacts["kind"])
    assert kinds == {
        "bleed", "cosmic ray", "edge", "ghost", "hole", "hot column", "hot pixel", "trail"
    }  # fmt: skip
    assert sum(demo.artefacts["kind"] == "cosmic ray") == 2 * demo.config.n_cosmic_rays
    hot = demo.artefacts[(demo.artefacts["kind"] == "hot pixel") & (demo.artefacts["frame"] == "science")]
    for row in hot:
        column, line = int(row["x"]), int(row["y"])
        around = np.median(demo.science.data[max(line - 2, 0) : line + 3, max(column - 2, 0) : column + 3])
        value = demo.science.data[line, column]
        flagged = demo.science.mask[line, column]
        assert flagged or value > around + 0.5 * row["level"]
    assert (demo.science.mask[:8] & Flag.NO_DATA).all()
    assert (demo.science.mask & Flag.SATURATED).any()


def test_bleeding_conserves_charge_and_stays_in_its_column():
    counts = np.full((200, 5), 100.0, np.float32)
    counts[98:103, 2] += [3000, 9000, 20000, 9000, 3000]
    before = counts.astype(float).sum(axis=0)
    record = Artefacts()
    spill(counts, 2000.0, "science", record)
    np.testing.assert_allclose(counts.astype(float).sum(axis=0), before, rtol=1e-6)
    assert counts.max() == 2000
    full = np.flatnonzero(counts[:, 2] == 2000)
    np.testing.assert_array_equal(full, np.arange(full[0], full[-1] + 1))
    assert record.table()["kind"][0] == "bleed"


def test_a_source_on_a_hole_or_outside_is_not_called_observable():
    config = replace(SMALL, n_transients=40, n_holes=60, separation=2.0)
    pair = simulate_pair(config, 2)
    column, row = np.rint(pair.truth["x"]).astype(int), np.rint(pair.truth["y"]).astype(int)
    holes = pair.science.mask[row, column] & Flag.NO_DATA > 0
    assert holes.any()
    assert not pair.truth["observable"][holes].any()
    assert pair.truth["observable"].any()


def test_files_of_a_survey_are_read_back_as_they_were_made(tmp_path):
    config = SimulationConfig.named("demo", shape=(256, 256), n_stars=60, n_galaxies=8, n_transients=4)
    pairs = simulate_survey(tmp_path / "survey", 2, config, seed=7)
    names = {path.name for path in pairs.parent.iterdir()}
    assert names == {"pairs.csv"} | {
        f"{kind}_00{i}.{suffix}"
        for i in (0, 1)
        for kind, suffix in (
            ("science", "fits"),
            ("reference", "fits"),
            ("truth", "ecsv"),
            ("artefacts", "ecsv"),
        )
    }
    made = simulate_pair(replace(config, ra=config.ra + 1), 8)
    frame = read_frame(pairs.parent / "science_001.fits")  # whose holes are 3.4e38
    missing = made.science.mask & Flag.NO_DATA > 0
    assert missing.any()
    assert (frame.mask[missing] != 0).all()
    np.testing.assert_array_equal(frame.data[~missing], made.science.data[~missing])
    assert (frame.mask[made.science.mask & Flag.SATURATED > 0] & Flag.SATURATED > 0).all()
    for fact in ("gain", "read_noise", "saturation", "exposure", "filter", "mjd", "zero_point"):
        assert getattr(frame, fact) == getattr(made.science, fact)


def test_a_survey_that_cannot_be_written_says_so_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be made"):
        simulate_survey(tmp_path / "file" / "out", 1, SMALL)
    with pytest.raises(UsageError, match="at least one"):
        simulate_survey(tmp_path, 0, SMALL)


@pytest.mark.parametrize("optics", ["kolmogorov", "optical"])
def test_galsim_draws_its_psfs_and_galaxies_with_the_same_fluxes(optics):
    pytest.importorskip("galsim")
    config = replace(
        SMALL, optics=optics, galaxies="galsim", fwhm_science=3.6, n_stars=1, n_galaxies=0, n_transients=1
    )
    pair = simulate_pair(replace(config, brightest_peak=0.5, faintest_flux=2e5), 1)
    star = pair.sources[0]
    y, x = np.mgrid[:256, :256]
    near = np.hypot(x - star["x"], y - star["y"]) < 30
    if min(star["x"], star["y"], 255 - star["x"], 255 - star["y"]) > 30:
        total = (pair.science.data[near] - 400).sum()
        assert total == pytest.approx(star["flux"], rel=0.05)
    assert pair.science_psf.at(0, 0).sum() == pytest.approx(1)


def test_galsim_galaxies_follow_the_built_in_psf():
    pytest.importorskip("galsim")
    config = replace(SMALL, galaxies="galsim", n_stars=0, n_galaxies=12, n_transients=2)
    ours, theirs = (simulate_pair(replace(config, galaxies=name), 3) for name in ("spergel", "galsim"))
    total = [(pair.science.data - 400.0).sum() for pair in (ours, theirs)]
    assert total[0] == pytest.approx(total[1], rel=0.05)


def test_without_galsim_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "galsim", None)
    with pytest.raises(DependencyError, match=r'pip install "astrid\[sim\]"'):
        simulate_pair(replace(SMALL, optics="kolmogorov"), 0)


def test_unknown_presets_and_fields_are_named():
    with pytest.raises(UsageError, match="benchmark, demo, survey"):
        SimulationConfig.named("demoo")
    with pytest.raises(UsageError, match="'seeing'"):
        SimulationConfig.named("demo", seeing=3)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shape", (10, 10)),
        ("n_stars", 2.5),
        ("snr_range", (5.0, 3.0)),
        ("pointing_offset", (1.0, np.nan)),
        ("galaxies", "hubble"),
        ("optics", "glass"),
        ("fraction_vanished", 1.5),
        ("edge", 200),
        ("saturation", 300.0),
    ],
)
def test_what_cannot_be_simulated_is_refused_in_one_sentence(field, value):
    with pytest.raises(UsageError) as caught:
        replace(SMALL, **{field: value})
    message = str(caught.value)
    assert field in message or "sky" in message
    assert "\n" not in message


@given(
    field=st.sampled_from(["fwhm_science", "gain", "flux_ratio", "psf_variation", "warp", "beta_reference"]),
    value=st.floats(allow_nan=True, allow_infinity=True),
)
def test_any_number_is_either_within_its_limits_or_refused(field, value):
    from astrid.images.simulation_config import _LIMITS

    low, high = _LIMITS[field]
    if low <= value <= high:
        assert getattr(replace(SMALL, **{field: value}), field) == value
    else:
        with pytest.raises(UsageError, match=field):
            replace(SMALL, **{field: value})
