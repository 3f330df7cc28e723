"""Pairs of images with a known truth: what the pipeline is tested, demonstrated and measured on.

The light is drawn in `scene`, detector flaws in `artefacts`, presets live in
`simulation_config`; nothing here knows how the pipeline works, so that its
truth is independent of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.images.artefacts import Artefacts, add_detector_flaws, add_stray_light, cut_holes, spill
from astrid.images.changes import TrueMapping, draw_changes
from astrid.images.frame import Flag, Frame
from astrid.images.scene import Galaxies, Light, MoffatPSF, add_galaxies, add_stars
from astrid.images.simulation_config import SimulationConfig

if TYPE_CHECKING:
    from astropy.table import Table
    from astropy.wcs import WCS

__all__ = ["SimulatedPair", "simulate_pair"]

_FLOOR = 0.02  # wings are drawn down to this part of the sky noise


@dataclass(frozen=True, eq=False)
class SimulatedPair:
    """A science and a reference frame, and all there is to know about them.

    Parameters
    ----------
    science, reference : Frame
        With WCS, gain, read noise, saturation and zero point; without PSF and
        variance, which the pipeline has to measure.
    truth : `~astropy.table.Table`
        What changed: ``kind`` (``transient``: only in the science frame,
        ``vanished``: only in the reference, ``variable``: a star that changed),
        ``present_in``, ``x``, ``y`` (science px, 0-based), ``ra``, ``dec`` (deg),
        ``flux`` (change in science ADU, signed), ``mag`` (of its size),
        ``snr_true`` (signed, on the difference), ``is_negative``, ``host`` (row
        of the galaxy in `sources`, -1 if none), ``host_offset`` (px), ``star``
        (row of the star in `sources`, -1 if none), ``observable`` (not on a
        masked or saturated pixel of either frame, and inside both).
    artefacts : `~astropy.table.Table`
        What is not sky: ``kind``, ``frame``, ``x``, ``y``, ``x2``, ``y2``
        (ends of lines), ``size`` (px), ``level`` (ADU).
    sources : `~astropy.table.Table`
        Stars and galaxies: ``kind``, ``x``, ``y``, ``x_reference``,
        ``y_reference`` (px), ``flux`` (science ADU), ``mag``.
    science_psf, reference_psf : Light
        The true PSFs.
    mapping : TrueMapping
        From science to reference pixels.
    config : SimulationConfig
    seed : int
    """

    science: Frame
    reference: Frame
    truth: Table
    artefacts: Table
    sources: Table
    science_psf: Light
    reference_psf: Light
    mapping: TrueMapping
    config: SimulationConfig
    seed: int


def simulate_pair(config: SimulationConfig | None = None, seed: int = 0) -> SimulatedPair:
    """Simulate a science and a reference frame of one field.

    Parameters
    ----------
    config : SimulationConfig, optional
        ``SimulationConfig.named("benchmark")`` if not given.
    seed : int
        The same seed and configuration give the same pixels.

    Returns
    -------
    SimulatedPair

    Notes
    -----
    A star of flux F science ADU has ``config.flux_ratio`` F ADU in the
    reference. `snr_true` is the S/N of the proper difference (Zackay, Ofek &
    Gal-Yam 2016) with the true PSFs and variances, the photons of neighbours,
    host and source included; see `sensitivity`.
    """
    config = SimulationConfig.named("benchmark") if config is None else config
    rng = np.random.default_rng(seed)
    mapping = _draw_mapping(config, rng)
    science_psf, reference_psf = _draw_psfs(config, rng)
    lights = (science_psf, reference_psf)
    stars, galaxies = _draw_stars(config, lights, rng), _draw_galaxies(config, rng)

    images = [np.zeros(config.shape), np.zeros(config.shape)]
    floors = [_FLOOR * np.sqrt(config.background_variance(which)) for which in ("science", "reference")]
    add_stars(images[0], science_psf, *stars, floors[0])
    on_reference = mapping(stars[0], stars[1])
    add_stars(images[1], reference_psf, *on_reference, config.flux_ratio * stars[2], floors[1])
    drawn = [_galaxy_light(config, light) for light in lights]
    add_galaxies(images[0], drawn[0], galaxies, galaxies.x, galaxies.y)
    where = mapping(galaxies.x, galaxies.y)
    add_galaxies(images[1], drawn[1], galaxies, *where, config.flux_ratio, mapping.turn)

    truth = draw_changes(config, images, lights, mapping, stars, galaxies, rng)
    in_science, in_reference = truth["present_in"] != "reference", truth["present_in"] == "reference"
    x, y, flux = (np.asarray(truth[name], float) for name in ("x", "y", "flux"))
    add_stars(images[0], science_psf, x[in_science], y[in_science], flux[in_science], floors[0])
    moved = mapping(x[in_reference], y[in_reference])
    add_stars(images[1], reference_psf, *moved, -config.flux_ratio * flux[in_reference], floors[1])

    artefacts = Artefacts()
    science = _expose(config, "science", images[0], lights[0], stars, artefacts, rng)
    moved_stars = (*on_reference, config.flux_ratio * stars[2])
    reference = _expose(config, "reference", images[1], lights[1], moved_stars, artefacts, rng)
    science = science.with_(wcs=_wcs(config))
    reference = reference.with_(wcs=_wcs(config, mapping.matrix))
    _complete(truth, science, reference, mapping)
    return SimulatedPair(
        science=science,
        reference=reference,
        truth=truth,
        artefacts=artefacts.table(),
        sources=_sources(config, stars, galaxies, mapping),
        science_psf=science_psf,
        reference_psf=reference_psf,
        mapping=mapping,
        config=config,
        seed=seed,
    )


def _draw_mapping(config: SimulationConfig, rng: np.random.Generator) -> TrueMapping:
    """Pointing offset and rotation that the WCS knows; shift, turn and warp that it does not."""
    ny, nx = config.shape
    centre = np.array([(nx - 1) / 2, (ny - 1) / 2])

    def about_centre(angle: float, scale: float, shift: ArrayLike) -> NDArray[np.float64]:
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return np.column_stack([turn, centre - turn @ centre + np.asarray(shift)])

    matrix = about_centre(np.radians(config.rotation), 1.0, config.pointing_offset)
    direction = rng.uniform(0, 2 * np.pi)
    shift = config.misregistration * np.array([np.cos(direction), np.sin(direction)])
    unknown = about_centre(np.radians(config.misrotation), 1.0, shift)
    unknown -= about_centre(0.0, 1.0, (0.0, 0.0))
    waves = np.zeros((2, 2, 4))
    if config.warp:
        # two long waves an axis: what distortion and the atmosphere leave behind
        waves[..., 0] = config.warp / 2
        waves[..., 1] = rng.uniform(0.6, 1.6, (2, 2)) * np.pi / nx * rng.choice([-1, 1], (2, 2))
        waves[..., 2] = rng.uniform(0.6, 1.6, (2, 2)) * np.pi / ny
        waves[..., 3] = rng.uniform(0, 2 * np.pi, (2, 2))
    return TrueMapping(matrix, unknown, waves)


def _draw_psfs(config: SimulationConfig, rng: np.random.Generator) -> tuple[Light, Light]:
    """Two PSFs with independent orientations and gradients."""
    if config.optics != "moffat":
        from astrid.images.galsim_scene import GalSimLight

        return (
            GalSimLight.of(config.optics, config.fwhm_science, config.pixel_scale),
            GalSimLight.of(config.optics, config.fwhm_reference, config.pixel_scale),
        )
    psfs = [
        MoffatPSF(
            config.shape,
            fwhm,
            beta,
            ellipticity,
            angle=rng.uniform(0, np.pi),
            variation=config.psf_variation,
            gradient=rng.uniform(0, 2 * np.pi),
            curvature=config.psf_curvature,
        )
        for fwhm, beta, ellipticity in (
            (config.fwhm_science, config.beta_science, config.ellipticity_science),
            (config.fwhm_reference, config.beta_reference, config.ellipticity_reference),
        )
    ]
    return psfs[0], psfs[1]


def _galaxy_light(config: SimulationConfig, light: Light) -> Light:
    """Who draws the galaxies through this PSF."""
    if config.galaxies == "galsim" and isinstance(light, MoffatPSF):
        from astrid.images.galsim_scene import GalSimLight

        return GalSimLight.from_moffat(light)
    return light


def _spread(
    config: SimulationConfig, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Draw n positions inside the science frame, and as many per area in a border around it."""
    ny, nx = config.shape
    border = (
        64.0
        + float(np.hypot(*config.pointing_offset))
        + max(nx, ny) * abs(np.sin(np.radians(config.rotation)))
    )
    outside = rng.poisson(n * ((nx + 2 * border) * (ny + 2 * border) / (nx * ny) - 1))
    x, y = rng.uniform(-0.5, nx - 0.5, n), rng.uniform(-0.5, ny - 0.5, n)
    xs, ys = [x], [y]
    missing = outside
    while missing > 0:
        u = rng.uniform(-border, nx + border, 2 * missing + 16)
        v = rng.uniform(-border, ny + border, 2 * missing + 16)
        away = np.flatnonzero((u < -0.5) | (u > nx - 0.5) | (v < -0.5) | (v > ny - 0.5))[:missing]
        xs.append(u[away])
        ys.append(v[away])
        missing -= len(away)
    return np.concatenate(xs), np.concatenate(ys)


def _power_law(
    low: float, high: float, slope: float, n: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw fluxes with N(>F) proportional to F^-slope between two limits, one in each n-th part of the law.

    Stratified, so that every seed has its brightest stars and nearly the same counts.
    """
    high = max(high, low * 1.001)
    share = (rng.permutation(n) + rng.random(n)) / max(n, 1)
    fluxes: NDArray[np.float64] = (low**-slope - share * (low**-slope - high**-slope)) ** (-1 / slope)
    return fluxes


def _draw_stars(
    config: SimulationConfig, lights: tuple[Light, Light], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    x, y = _spread(config, config.n_stars, rng)
    room = config.brightest_peak * (config.saturation - max(config.sky_science, config.sky_reference))
    brightest = room / max(lights[0].peak(), config.flux_ratio * lights[1].peak())
    inside, outside = config.n_stars, len(x) - config.n_stars
    law = (config.faintest_flux, brightest, config.count_slope)
    return x, y, np.concatenate([_power_law(*law, inside, rng), _power_law(*law, outside, rng)])


def _draw_galaxies(config: SimulationConfig, rng: np.random.Generator) -> Galaxies:
    x, y = _spread(config, config.n_galaxies, rng)
    n = len(x)
    flux = _power_law(4 * config.faintest_flux, 400 * config.faintest_flux, config.count_slope, n, rng)
    # bigger when brighter, with the scatter of real disc galaxies
    half_light = 2.5 * (flux / flux.min(initial=np.inf)) ** 0.25 * np.exp(0.25 * rng.standard_normal(n))
    return Galaxies(
        x=x,
        y=y,
        flux=flux,
        half_light=np.clip(half_light, 1.0, 20.0),
        axis_ratio=rng.uniform(0.25, 1.0, n),
        angle=rng.uniform(0, np.pi, n),
        bulge=rng.uniform(0.0, 0.6, n),
    )


def _expose(
    config: SimulationConfig,
    which: str,
    light: NDArray[np.float64],
    psf: Light,
    stars: tuple[NDArray[np.float64], ...],
    artefacts: Artefacts,
    rng: np.random.Generator,
) -> Frame:
    """Turn noiseless light into counts: sky, stray light, photons, detector, saturation, holes."""
    ny, nx = config.shape
    sky = config.sky_science if which == "science" else config.sky_reference
    light += sky
    if config.sky_gradient:
        slope = rng.normal(size=2) * config.sky_gradient * sky / 2
        light += slope[0] * np.linspace(-1, 1, nx) + slope[1] * np.linspace(-1, 1, ny)[:, None]
    if config.has_artefacts:
        add_stray_light(light, config, which, psf, stars, artefacts, rng)
    np.maximum(light, 0, out=light)
    counts = rng.poisson(light * config.gain).astype(np.float32) / np.float32(config.gain)
    if config.has_artefacts:
        add_detector_flaws(counts, config, which, artefacts, rng)
    counts += rng.standard_normal(counts.shape, np.float32) * np.float32(config.read_noise / config.gain)
    spill(counts, config.saturation, which, artefacts)
    mask = np.where(counts >= config.saturation, np.uint16(Flag.SATURATED), np.uint16(0))
    if config.has_artefacts:
        cut_holes(counts, config, which, artefacts, rng)
    return Frame(
        data=counts,
        mask=mask,
        gain=config.gain,
        read_noise=config.read_noise,
        saturation=config.saturation,
        exposure=config.exposure,
        filter=config.filter,
        mjd=config.mjd_science if which == "science" else config.mjd_reference,
        zero_point=config.zero_point + (0 if which == "science" else 2.5 * np.log10(config.flux_ratio)),
        telescope="simulated",
        instrument="simulated",
        name=f"simulated {which}",
    )


def _wcs(config: SimulationConfig, matrix: NDArray[np.float64] | None = None) -> WCS:
    """TAN on the middle of the frame; for the reference, the same sky through the known mapping."""
    from astropy.wcs import WCS

    ny, nx = config.shape
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [config.ra, config.dec]
    wcs.wcs.cunit = ["deg", "deg"]
    cd = np.diag([-config.pixel_scale, config.pixel_scale]) / 3600
    centre = np.array([(nx - 1) / 2, (ny - 1) / 2])
    if matrix is not None:
        centre = matrix[:, :2] @ centre + matrix[:, 2]
        cd = cd @ np.linalg.inv(matrix[:, :2])
    wcs.wcs.crpix = centre + 1
    wcs.wcs.cd = cd
    wcs.wcs.set()
    return wcs


def _complete(truth: Table, science: Frame, reference: Frame, mapping: TrueMapping) -> None:
    """Sky positions, and whether a change can be seen at all."""
    ra, dec = science.wcs.all_pix2world(truth["x"], truth["y"], 0)  # type: ignore[union-attr]  # set above
    truth.add_column(np.asarray(ra), name="ra", index=4)
    truth.add_column(np.asarray(dec), name="dec", index=5)
    seen = np.ones(len(truth), bool)
    for frame, (x, y) in (
        (science, (truth["x"], truth["y"])),
        (reference, mapping(truth["x"], truth["y"])),
    ):
        column, row = np.rint(np.asarray(x)).astype(int), np.rint(np.asarray(y)).astype(int)
        ny, nx = frame.shape
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                inside = (column + dx >= 0) & (column + dx < nx) & (row + dy >= 0) & (row + dy < ny)
                bits = frame.mask[np.clip(row + dy, 0, ny - 1), np.clip(column + dx, 0, nx - 1)]
                seen &= inside & (bits == 0)
    truth["observable"] = seen
    for name, unit in {"ra": "deg", "dec": "deg", "mag": "mag", "x": "pix", "y": "pix"}.items():
        truth[name].unit = unit


def _sources(
    config: SimulationConfig,
    stars: tuple[NDArray[np.float64], ...],
    galaxies: Galaxies,
    mapping: TrueMapping,
) -> Table:
    from astropy.table import Table

    n, m = config.n_stars, config.n_galaxies
    x, y = np.concatenate([stars[0][:n], galaxies.x[:m]]), np.concatenate([stars[1][:n], galaxies.y[:m]])
    flux = np.concatenate([stars[2][:n], galaxies.flux[:m]])
    u, v = mapping(x, y)
    return Table(
        {
            "kind": np.repeat(["star", "galaxy"], [n, m]),
            "x": x,
            "y": y,
            "x_reference": u,
            "y_reference": v,
            "flux": flux,
            "mag": config.zero_point - 2.5 * np.log10(flux),
        }
    )
