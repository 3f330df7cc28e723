"""The numbers that describe a simulated pair, checked once, and the presets by name.

It draws nothing; see `simulation`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError

__all__ = ["SimulationConfig"]

# field: (lowest, highest), both allowed
_LIMITS: dict[str, tuple[float, float]] = {
    "n_stars": (0, 10_000_000),
    "n_galaxies": (0, 1_000_000),
    "n_transients": (0, 100_000),
    "fwhm_science": (1.0, 50.0),
    "fwhm_reference": (1.0, 50.0),
    "ellipticity_science": (0.0, 0.7),
    "ellipticity_reference": (0.0, 0.7),
    "beta_science": (1.5, 20.0),
    "beta_reference": (1.5, 20.0),
    "psf_variation": (0.0, 0.4),
    "psf_curvature": (0.0, 1.0),
    "flux_ratio": (1e-3, 1e3),
    "sky_science": (0.0, 1e6),
    "sky_reference": (0.0, 1e6),
    "sky_gradient": (0.0, 1.0),
    "gain": (1e-3, 1e3),
    "read_noise": (0.0, 1e3),
    "saturation": (1.0, 1e9),
    "faintest_flux": (1e-3, 1e9),
    "brightest_peak": (1e-3, 1e3),
    "count_slope": (0.1, 3.0),
    "rotation": (-180.0, 180.0),
    "misregistration": (0.0, 50.0),
    "misrotation": (-5.0, 5.0),
    "warp": (0.0, 5.0),
    "fraction_vanished": (0.0, 1.0),
    "fraction_variable": (0.0, 1.0),
    "hosted_fraction": (0.0, 1.0),
    "separation": (0.0, 1000.0),
    "n_cosmic_rays": (0, 1_000_000),
    "n_hot_pixels": (0, 1_000_000),
    "n_hot_columns": (0, 10_000),
    "n_ghosts": (0, 1000),
    "n_trails": (0, 1000),
    "n_holes": (0, 10_000),
    "edge": (0, 10_000),
    "pixel_scale": (1e-3, 3600.0),
    "ra": (0.0, 360.0),
    "dec": (-90.0, 90.0),
    "exposure": (1e-6, 1e9),
    "zero_point": (-100.0, 100.0),
}


@dataclass(frozen=True)
class SimulationConfig:
    """What a simulated pair looks like.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns, at least 64 each.
    n_stars, n_galaxies, n_transients : int
        Inside the science frame; stars and galaxies go on beyond its edges.
    fwhm_science, fwhm_reference : float, px
    ellipticity_science, ellipticity_reference : float
        1 - b/a.
    beta_science, beta_reference : float
        Exponents of the Moffat wings.
    psf_variation : float
        Relative change of the FWHM from the middle to the edge; each frame has
        its own direction.
    flux_ratio : float
        Reference flux of a star over its science flux, in ADU.
    sky_science, sky_reference : float, ADU
    sky_gradient : float
        Typical change of the sky over the frame, relative to the sky.
    gain : float, e-/ADU
    read_noise : float, e-
    saturation : float, ADU
    faintest_flux : float, ADU
        Of stars, in the science frame; galaxies begin at four times this.
    brightest_peak : float
        Peak of the brightest possible star over the saturation level, in the
        frame where it is higher; above 1 stars saturate and bleed.
    count_slope : float
        N(>F) is proportional to F^-slope; 0.75 is a factor of 2 a magnitude.
    pointing_offset : (float, float), px
        Of the reference, known to its WCS.
    rotation : float, deg
        Of the reference, known to its WCS.
    misregistration : float, px
        Length of a shift of the reference that its WCS does not know.
    misrotation : float, deg
        Turn of the reference that its WCS does not know.
    warp : float, px
        Amplitude of local displacements that the WCS does not know.
    snr_range : (float, float)
        S/N of the changes on the difference, drawn uniformly.
    fraction_vanished : float
        Share of the changes that are only in the reference: negative ones.
    fraction_variable : float
        Share of the changes that are stars, present in both, of either sign.
    hosted_fraction : float
        Share of the rest that lies in galaxies, weighted by their light.
    separation : float, px
        Least distance between two changes.
    n_cosmic_rays, n_hot_pixels, n_hot_columns, n_ghosts, n_trails, n_holes : int
        Artefacts in each of the two frames; trails only in the science frame.
    edge : int, px
        Width of a border without data in each frame.
    pixel_scale : float, arcsec/px
    ra, dec : float, deg
        Centre of the science frame.
    mjd_science, mjd_reference : float, days
    exposure : float, s
    filter : str
    zero_point : float, mag
        Of the science frame, for 1 ADU.
    galaxies : {"spergel", "galsim"}
        Profiles: built in, or Sersic bulges and discs by GalSim (extra ``sim``).
    optics : {"moffat", "kolmogorov", "optical", "roman"}
        PSF: built in, or one of GalSim's (extra ``sim``).

    Raises
    ------
    UsageError
        A number outside its limits, or an unknown name.
    """

    shape: tuple[int, int] = (1024, 1024)
    n_stars: int = 750
    n_galaxies: int = 75
    n_transients: int = 40
    fwhm_science: float = 3.0
    fwhm_reference: float = 4.2
    ellipticity_science: float = 0.02
    ellipticity_reference: float = 0.04
    beta_science: float = 3.0
    beta_reference: float = 3.0
    psf_variation: float = 0.0
    psf_curvature: float = 0.0
    flux_ratio: float = 0.8
    sky_science: float = 400.0
    sky_reference: float = 320.0
    sky_gradient: float = 0.0
    gain: float = 1.5
    read_noise: float = 6.0
    saturation: float = 60_000.0
    faintest_flux: float = 500.0
    brightest_peak: float = 0.85
    count_slope: float = 0.75
    pointing_offset: tuple[float, float] = (0.0, 0.0)
    rotation: float = 0.0
    misregistration: float = 0.0
    misrotation: float = 0.0
    warp: float = 0.0
    snr_range: tuple[float, float] = (3.0, 30.0)
    fraction_vanished: float = 0.0
    fraction_variable: float = 0.0
    hosted_fraction: float = 0.3
    separation: float = 15.0
    n_cosmic_rays: int = 0
    n_hot_pixels: int = 0
    n_hot_columns: int = 0
    n_ghosts: int = 0
    n_trails: int = 0
    n_holes: int = 0
    edge: int = 0
    pixel_scale: float = 1.0
    ra: float = 150.1
    dec: float = 2.2
    mjd_science: float = 60500.25
    mjd_reference: float = 60380.25
    exposure: float = 60.0
    filter: str = "r"
    zero_point: float = 27.0
    galaxies: str = "spergel"
    optics: str = "moffat"

    def __post_init__(self) -> None:
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not (isinstance(value, (int, float, np.number)) and low <= value <= high):
                raise UsageError(f"{name} is {value!r}; give a number from {low:g} to {high:g}")
            if isinstance(low, int) and value != int(value):
                raise UsageError(f"{name} is {value!r}; give a whole number")
        if np.shape(self.shape) != (2,) or min(self.shape) < 64 or max(self.shape) > 32768:
            raise UsageError(f"shape is {self.shape}; give (rows, columns), each from 64 to 32768")
        if np.shape(self.pointing_offset) != (2,) or not np.isfinite(self.pointing_offset).all():
            raise UsageError(f"pointing_offset is {self.pointing_offset}; give (x, y) in px")
        if np.shape(self.snr_range) != (2,) or not 0 < self.snr_range[0] <= self.snr_range[1] < 1e5:
            raise UsageError(f"snr_range is {self.snr_range}; give (lowest, highest), both positive")
        shares = self.fraction_vanished + self.fraction_variable
        if shares > 1:
            raise UsageError(
                f"fraction_vanished + fraction_variable is {shares:g}; give shares up to 1 in all"
            )
        if self.fraction_variable > 0 and self.n_stars == 0:
            raise UsageError("fraction_variable is positive but n_stars is 0; give stars, or no variables")
        if max(self.sky_science, self.sky_reference) >= self.saturation:
            raise UsageError(f"the sky is above the saturation level {self.saturation:g}; raise saturation")
        if 2 * self.edge >= min(self.shape) - 32:
            raise UsageError(f"edge is {self.edge} px, which leaves nothing of {self.shape}; make it smaller")
        if self.galaxies not in ("spergel", "galsim"):
            raise UsageError(f"galaxies is {self.galaxies!r}; choose 'spergel' or 'galsim'")
        if self.optics not in ("moffat", "kolmogorov", "optical", "roman"):
            raise UsageError(
                f"optics is {self.optics!r}; choose 'moffat', 'kolmogorov', 'optical' or 'roman'"
            )
        if self.background_variance("science") <= 0 or self.background_variance("reference") <= 0:
            raise UsageError("sky and read_noise are both 0; a frame without noise has no S/N, raise one")

    @classmethod
    def named(cls, name: str, **changes: Any) -> SimulationConfig:
        """A preset, with some of its numbers changed.

        Parameters
        ----------
        name : {"benchmark", "demo", "survey"}
            ``benchmark``: 2048 x 2048, 3000 stars, 300 galaxies, 150 transients
            of S/N 3 to 30, half a pixel of misregistration, no artefact.
            ``demo``: 1024 x 1024, 20 changes of S/N 6 to 60, every kind of
            artefact once or a few times. ``survey``: as ``demo``, denser in
            everything, with variables.
        **changes
            Fields of the configuration.

        Raises
        ------
        UsageError
            No preset or no field of that name.
        """
        if name not in _PRESETS:
            raise UsageError(f"no preset is called {name!r}; choose one of {', '.join(sorted(_PRESETS))}")
        unknown = set(changes) - {field.name for field in fields(cls)}
        if unknown:
            raise UsageError(
                f"a simulation has no {sorted(unknown)[0]!r}; see SimulationConfig for its fields"
            )
        return replace(_PRESETS[name], **changes)

    def background_variance(self, which: str) -> float:
        """Variance of a pixel of empty sky in the ``science`` or ``reference`` frame, ADU^2."""
        sky = self.sky_science if which == "science" else self.sky_reference
        return sky / self.gain + (self.read_noise / self.gain) ** 2

    def kinds(self) -> NDArray[np.str_]:
        """The kind of each change, (n_transients,) str, in no particular order."""
        vanished = round(self.n_transients * self.fraction_vanished)
        variable = min(round(self.n_transients * self.fraction_variable), self.n_transients - vanished)
        counts = [self.n_transients - vanished - variable, vanished, variable]
        return np.repeat(["transient", "vanished", "variable"], counts)

    def inside(self, x: float, y: float) -> bool:
        """Whether a pixel is far enough from the edges for a change to be put there."""
        margin = self.edge + 2 * max(self.fwhm_science, self.fwhm_reference)
        ny, nx = self.shape
        return margin <= x <= nx - 1 - margin and margin <= y <= ny - 1 - margin

    @property
    def has_artefacts(self) -> bool:
        """Whether anything but sky is in the frames, saturation apart."""
        counts = (self.n_cosmic_rays, self.n_hot_pixels, self.n_hot_columns, self.n_ghosts)
        return any((*counts, self.n_trails, self.n_holes, self.edge))


_PRESETS: dict[str, SimulationConfig] = {
    "benchmark": SimulationConfig(
        shape=(2048, 2048),
        n_stars=3000,
        n_galaxies=300,
        n_transients=150,
        misregistration=0.5,
        misrotation=0.002,
    ),
    "demo": SimulationConfig(
        shape=(1024, 1024),
        n_stars=700,
        n_galaxies=120,
        n_transients=20,
        fwhm_science=3.6,
        fwhm_reference=3.0,
        ellipticity_science=0.06,
        ellipticity_reference=0.03,
        beta_science=3.0,
        beta_reference=3.4,
        psf_variation=0.03,
        flux_ratio=1.3,
        sky_science=700.0,
        sky_reference=400.0,
        sky_gradient=0.05,
        brightest_peak=8.0,
        pointing_offset=(7.3, -5.6),
        rotation=0.2,
        misregistration=0.4,
        misrotation=0.005,
        warp=0.1,
        snr_range=(6.0, 60.0),
        fraction_vanished=0.2,
        fraction_variable=0.1,
        hosted_fraction=0.7,
        n_cosmic_rays=25,
        n_hot_pixels=15,
        n_hot_columns=2,
        n_ghosts=1,
        n_trails=1,
        n_holes=2,
        edge=8,
    ),
}
_PRESETS["survey"] = replace(
    _PRESETS["demo"],
    n_stars=1500,
    n_galaxies=250,
    n_transients=60,
    snr_range=(4.0, 60.0),
    psf_variation=0.05,
    fraction_variable=0.2,
    n_cosmic_rays=60,
    n_hot_pixels=40,
    n_hot_columns=4,
    n_ghosts=3,
    n_trails=2,
    n_holes=5,
)
