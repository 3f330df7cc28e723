"""Imaginary telescopes: the ranges that simulated pairs are drawn from, and the drawing.

The numbers are in ``telescopes.toml`` beside this module; pixels are made in `astrid.images`.
"""

from __future__ import annotations

import math
import tomllib
import zlib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from pydantic import BaseModel, ConfigDict, model_validator

from astrid.errors import UsageError
from astrid.images.simulation_config import SimulationConfig

__all__ = ["Exposure", "Telescope", "draw_exposure", "telescopes"]

Range = tuple[float, float]

_SHARPEST = 1.8  # px FWHM; below this nothing that samples an image can be told from a cosmic ray
_CLEAN = 0.2  # share of the pairs without any artefact
# Share of the others whose registration and PSFs leave residuals at stars, by how many px of warp and
# how much more variation of the PSF.
_SLOPPY, _WARP, _VARIATION = 0.5, (0.4, 2.0), 0.1
_FIRST, _YEARS = 59_000.0, 4.0  # MJD of the first possible exposure, and how long the survey lasts


class Telescope(BaseModel):
    """What a telescope's pairs look like; ranges are (lowest, highest).

    Parameters
    ----------
    pixel_scale : float, arcsec/px
    seeing_science, seeing_reference : (float, float), arcsec FWHM
    ellipticity : (float, float)
        1 - b/a, of either frame.
    beta : (float, float)
        Exponents of the Moffat wings.
    depth : (float, float)
        Exposures of which the reference is the sum.
    sky : (float, float), ADU
        Of one exposure.
    gain : float, e-/ADU
    read_noise : float, e-
    saturation : float, ADU
    zero_point : float, mag
    exposure : float, s
    filters : tuple of str
    ccds : int
        Each has a gain, a read noise and a number of hot pixels of its own.
    stars, galaxies : (float, float)
        For 1024 x 1024 px.
    cosmic_rays, hot_pixels, hot_columns, ghosts, trails, holes : float
        Mean numbers for 1024 x 1024 px.
    misregistration, warp : (float, float), px
    psf_variation : (float, float)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    pixel_scale: float
    seeing_science: Range
    seeing_reference: Range
    ellipticity: Range
    beta: Range
    depth: Range
    sky: Range
    gain: float
    read_noise: float
    saturation: float
    zero_point: float
    exposure: float
    filters: tuple[str, ...]
    ccds: int
    stars: Range
    galaxies: Range
    cosmic_rays: float
    hot_pixels: float
    hot_columns: float
    ghosts: float
    trails: float
    holes: float
    misregistration: Range
    warp: Range
    psf_variation: Range

    @model_validator(mode="after")
    def _ordered(self) -> Telescope:
        for name, value in self:
            if isinstance(value, tuple) and isinstance(value[0], float) and not 0 <= value[0] <= value[1]:
                raise ValueError(f"{name} is {value}; give (lowest, highest), neither negative")
        return self


@cache
def telescopes() -> dict[str, Telescope]:
    """The telescopes by name, in the order of the file."""
    text = resources.files("astrid.survey").joinpath("telescopes.toml").read_text("utf-8")
    return {name: Telescope.model_validate(facts) for name, facts in tomllib.loads(text).items()}


@dataclass(frozen=True)
class Exposure:
    """One pair that a telescope could have taken.

    Parameters
    ----------
    telescope : str
    ccd : int
        From 1.
    config : SimulationConfig
    """

    telescope: str
    ccd: int
    config: SimulationConfig


def draw_exposure(
    name: str, seed: int, *, size: int = 1024, n_changes: int = 75, snr: Range = (4.0, 80.0)
) -> Exposure:
    """Draw a pair from a telescope's ranges.

    Parameters
    ----------
    name : str
        One of `telescopes`.
    seed : int
        The same seed gives the same pair.
    size : int, px
        Side of the frames.
    n_changes : int
        Changes in 1024 x 1024 px.
    snr : (float, float)
        Each pair's changes reach up to a S/N of its own, drawn evenly in the logarithm
        between three times the lowest and the highest: most changes are faint, as in the sky.

    Returns
    -------
    Exposure

    Raises
    ------
    UsageError
        No telescope of that name, or a frame that cannot be simulated.
    """
    if name not in telescopes():
        raise UsageError(f"no telescope is called {name!r}; choose from {', '.join(telescopes())}")
    telescope = telescopes()[name]
    rng = np.random.default_rng([seed, 1])  # not the stream that draws the pixels
    area = (size / 1024) ** 2
    ccd = int(rng.integers(1, telescope.ccds + 1))
    gain, read_noise, hot = _ccd(name, telescope, ccd)

    depth, sky = _even_log(telescope.depth, rng), _even_log(telescope.sky, rng)
    fwhm = [
        max(_SHARPEST, rng.uniform(*seeing) / telescope.pixel_scale)
        for seeing in (telescope.seeing_science, telescope.seeing_reference)
    ]
    noise = math.sqrt(sky / gain + (read_noise / gain) ** 2)
    point = noise * math.sqrt(4 * math.pi) * max(fwhm) / 2.3548  # flux of S/N 1 through a Gaussian
    clean = rng.random() < _CLEAN
    # nights differ: a pair has half to twice the artefacts of the mean one
    dirt = 0.0 if clean else area * 2.0 ** rng.uniform(-1, 1)
    sloppy = not clean and rng.random() < _SLOPPY
    science = _FIRST + rng.uniform(0, 365.25 * _YEARS)
    vanished, variable = rng.uniform(0.1, 0.35), rng.uniform(0.05, 0.3)
    config = SimulationConfig(
        shape=(size, size),
        n_stars=round(area * _even_log(telescope.stars, rng)),
        n_galaxies=round(area * _even_log(telescope.galaxies, rng)),
        n_transients=round(area * n_changes),
        fwhm_science=fwhm[0],
        fwhm_reference=fwhm[1],
        ellipticity_science=rng.uniform(*telescope.ellipticity),
        ellipticity_reference=rng.uniform(*telescope.ellipticity),
        beta_science=rng.uniform(*telescope.beta),
        beta_reference=rng.uniform(*telescope.beta),
        psf_variation=rng.uniform(*telescope.psf_variation) + _VARIATION * sloppy,
        psf_curvature=rng.uniform(0, 0.3),
        flux_ratio=depth * rng.uniform(0.85, 1.15),
        sky_science=sky,
        sky_reference=depth * sky * rng.uniform(0.7, 1.3),
        sky_gradient=rng.uniform(0, 0.1),
        gain=gain,
        read_noise=read_noise,
        saturation=telescope.saturation,
        faintest_flux=point * rng.uniform(4, 10),
        brightest_peak=rng.uniform(0.3, 1.0) if clean else 2.0 ** rng.uniform(-1, 4),
        count_slope=rng.uniform(0.5, 0.9),
        pointing_offset=(float(rng.uniform(-12, 12)), float(rng.uniform(-12, 12))),
        rotation=rng.uniform(-0.5, 0.5),
        misregistration=rng.uniform(*telescope.misregistration),
        misrotation=rng.uniform(-0.01, 0.01),
        warp=rng.uniform(*(_WARP if sloppy else telescope.warp)),
        snr_range=(snr[0], _even_log((3 * snr[0], max(snr[1], 3 * snr[0])), rng)),
        fraction_vanished=vanished,
        fraction_variable=variable,
        hosted_fraction=rng.uniform(0.3, 0.8),
        separation=20.0,
        n_cosmic_rays=int(rng.poisson(dirt * telescope.cosmic_rays)),
        n_hot_pixels=int(rng.poisson(dirt * telescope.hot_pixels * hot)),
        n_hot_columns=int(rng.poisson(dirt * telescope.hot_columns)),
        n_ghosts=int(rng.poisson(dirt * telescope.ghosts)),
        n_trails=int(rng.poisson(dirt * telescope.trails)),
        n_holes=int(rng.poisson(dirt * telescope.holes)),
        edge=0 if clean else int(rng.integers(0, 12)),
        pixel_scale=telescope.pixel_scale,
        ra=rng.uniform(0, 360),
        dec=math.degrees(math.asin(rng.uniform(-0.9, 0.9))),
        mjd_science=science,
        mjd_reference=science - rng.uniform(60, 700),
        exposure=telescope.exposure,
        filter=str(rng.choice(telescope.filters)),
        zero_point=telescope.zero_point + rng.normal(0, 0.1),
    )
    return Exposure(name, ccd, config)


def _ccd(name: str, telescope: Telescope, ccd: int) -> tuple[float, float, float]:
    """Gain, read noise and relative number of hot pixels of a CCD, whichever pair looks through it."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), ccd])
    gain = telescope.gain * rng.uniform(0.9, 1.1)
    return gain, telescope.read_noise * rng.uniform(0.9, 1.3), 2.0 ** rng.uniform(-1.5, 1.5)


def _even_log(limits: Range, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))
