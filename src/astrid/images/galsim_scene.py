"""Stars and galaxies drawn by GalSim, for PSFs and profiles that the built-in scene has not.

It needs the extra ``sim``; everything else of a simulation is the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DependencyError
from astrid.images.scene import Galaxies, MoffatPSF

__all__ = ["GalSimLight"]


@dataclass(frozen=True, eq=False)
class GalSimLight:
    """A GalSim profile as PSF, the same all over the image, the pixel included.

    Parameters
    ----------
    profile : galsim.GSObject
        In units of pixels.
    narrow : float, px
        About the FWHM; sets how large stamps are.
    """

    profile: Any
    narrow: float

    @classmethod
    def of(cls, optics: str, fwhm: float, pixel_scale: float) -> GalSimLight:
        """One of the PSFs that a `SimulationConfig` names.

        Parameters
        ----------
        optics : {"kolmogorov", "optical", "roman"}
            ``kolmogorov``: long exposure through the atmosphere. ``optical``: the
            same through an obscured, slightly astigmatic telescope with spider vanes, whose own
            diffraction is a third of the width. ``roman``: the F158 band of
            detector 8, drawn at `pixel_scale`; `fwhm` is not used.
        fwhm : float, px
            Of the atmosphere with the pixel.
        pixel_scale : float, arcsec/px

        Raises
        ------
        DependencyError
            GalSim is not installed.
        """
        galsim = _galsim()
        if optics == "roman":
            from galsim import roman

            sky = roman.getPSF(8, "H158", pupil_bin=8, wavelength=1577.0)  # nm, effective
            psf = galsim.Convolve([sky.dilate(1 / pixel_scale), galsim.Pixel(1.0)])
            return cls(psf, float(psf.calculateFWHM(scale=0.2)))
        psf = galsim.Kolmogorov(fwhm=fwhm)
        if optics == "optical":
            pupil = galsim.OpticalPSF(
                lam_over_diam=fwhm / 3, obscuration=0.3, astig1=0.05, coma1=0.03, nstruts=4, strut_thick=0.03
            )
            psf = galsim.Convolve([psf, pupil])
        return cls(psf, fwhm)

    @classmethod
    def from_moffat(cls, psf: MoffatPSF) -> GalSimLight:
        """The middle of a built-in PSF, so that GalSim's galaxies can go with it."""
        galsim = _galsim()
        shear = galsim.Shear(q=1 - psf.ellipticity, beta=psf.angle * galsim.radians)
        return cls(galsim.Moffat(beta=psf.beta, fwhm=psf.fwhm).shear(shear), psf.fwhm)

    def peak(self) -> float:
        """Largest value of any pixel of a star of flux 1."""
        return float(self.profile.max_sb)

    def at(self, x: float, y: float, size: int = 63) -> NDArray[np.float64]:
        """The PSF, (size, size) float64 of sum 1, centred on pixel size // 2."""
        stamp = self._draw(self.profile, size, size, 0.0, 0.0)
        return stamp / stamp.sum()

    def reach(self, flux: float, floor: float) -> int:
        """Half-size in px of the stamp outside which a star is fainter than `floor` ADU per pixel."""
        # the wings of all these fall at least as r^-3: atmosphere r^-11/3, spikes and rings r^-3
        top = abs(flux) * self.peak()
        radius = self.narrow * max(top / floor, 1.0) ** (1 / 3)
        return int(np.clip(radius, 5 * self.narrow, 400)) + 1

    def star(
        self, x: float, y: float, columns: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """A star of flux 1 at (x, y) on the given columns and rows, (rows, columns) float64."""
        middle = ((columns[0] + columns[-1]) / 2, (rows[0] + rows[-1]) / 2)
        return self._draw(self.profile, len(columns), len(rows), x - middle[0], y - middle[1])

    def galaxy(
        self, galaxies: Galaxies, i: int, x: float, y: float, turn: float, size: int
    ) -> NDArray[np.float64]:
        """A Sersic bulge and an exponential disc of flux 1 through this PSF, (size, size) float64."""
        galsim = _galsim()
        radius, bulge = float(galaxies.half_light[i]), float(galaxies.bulge[i])
        angle = (float(galaxies.angle[i]) + turn) * galsim.radians
        disc = galsim.Exponential(half_light_radius=radius, flux=1 - bulge)
        core = galsim.Sersic(n=3.0, half_light_radius=0.3 * radius, flux=bulge, trunc=6 * radius)
        ratio = float(galaxies.axis_ratio[i])
        light = disc.shear(galsim.Shear(q=ratio, beta=angle))
        light += core.shear(galsim.Shear(q=ratio**0.5, beta=angle))
        through = galsim.Convolve([light, self.profile])
        # the stamp's middle is pixel size // 2, GalSim's middle is (size - 1) / 2
        shift = size // 2 - (size - 1) / 2
        return self._draw(through, size, size, x - np.floor(x) + shift, y - np.floor(y) + shift)

    @staticmethod
    def _draw(profile: Any, nx: int, ny: int, dx: float, dy: float) -> NDArray[np.float64]:
        # "no_pixel": the profile already includes the pixel
        image = profile.drawImage(
            nx=nx, ny=ny, scale=1.0, offset=(dx, dy), method="no_pixel", dtype=np.float64
        )
        return np.asarray(image.array)


def _galsim() -> Any:
    try:
        import galsim
    except ImportError as error:
        raise DependencyError(
            'this simulation needs GalSim, which is not installed; pip install "astrid[sim]"'
        ) from error
    return galsim
