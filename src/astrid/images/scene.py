"""The light of a simulated field: point spread functions, stars and galaxies on a pixel grid.

Noise, detectors and truth tables are the business of `simulation`; nothing
here is random except the drawing of positions inside a galaxy's light.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Galaxies", "Light", "MoffatPSF", "add_galaxies", "add_stars"]

_DISC = 0.5  # Spergel index of an exponential disc (exact)
_BULGE = -0.6  # Spergel index closest to a de Vaucouleurs bulge
_BULGE_SIZE = 0.3  # half-light radius of the bulge in units of the disc's
_LARGEST_STAMP = 512


@dataclass(frozen=True, eq=False)
class Galaxies:
    """Bulge and disc galaxies, one entry of each array per galaxy.

    Parameters
    ----------
    x, y : (n,) float64 ndarray, px
        Centres, 0-based.
    flux : (n,) float64 ndarray, ADU
        Total flux.
    half_light : (n,) float64 ndarray, px
        Half-light radius of the disc along its major axis.
    axis_ratio : (n,) float64 ndarray
        Minor over major axis of the disc, 0 to 1.
    angle : (n,) float64 ndarray, rad
        Of the major axis, from x towards y.
    bulge : (n,) float64 ndarray
        Share of the flux in the bulge, 0 to 1.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    flux: NDArray[np.float64]
    half_light: NDArray[np.float64]
    axis_ratio: NDArray[np.float64]
    angle: NDArray[np.float64]
    bulge: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.x)

    def positions(
        self, index: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Draw one position inside each chosen galaxy, weighted by its light.

        Parameters
        ----------
        index : (m,) int64 ndarray
            Which galaxies; one may come up more than once.
        rng : `~numpy.random.Generator`

        Returns
        -------
        x, y : (m,) float64 ndarray, px

        Notes
        -----
        A Spergel profile has the Fourier transform (1 + k^2 c^2)^-(1 + nu): it is
        a Gaussian whose variance is 2 c^2 g with g drawn from Gamma(1 + nu), so
        the drawing is exact.
        """
        in_bulge = rng.random(len(index)) < self.bulge[index]
        nu = np.where(in_bulge, _BULGE, _DISC)
        disc, bulge = (_spergel_scale(value) for value in (_DISC, _BULGE))
        scale = self.half_light[index] * np.where(in_bulge, _BULGE_SIZE * bulge, disc)
        ratio = np.where(in_bulge, np.sqrt(self.axis_ratio[index]), self.axis_ratio[index])
        spread = scale * np.sqrt(2 * rng.gamma(1 + nu))
        major, minor = rng.standard_normal((2, len(index))) * spread
        minor = minor * ratio
        cos, sin = np.cos(self.angle[index]), np.sin(self.angle[index])
        return self.x[index] + cos * major - sin * minor, self.y[index] + sin * major + cos * minor


class Light(Protocol):
    """How one image turns a star or a galaxy into pixels: the seam between numpy and GalSim."""

    def peak(self) -> float:
        """Largest value of any pixel of a star of flux 1."""

    def at(self, x: float, y: float, size: int = 63) -> NDArray[np.float64]:
        """The PSF at a place, (size, size), centred on the middle pixel."""

    def reach(self, flux: float, floor: float) -> int:
        """Half-size of the stamp outside which a star is fainter than `floor` per pixel."""

    def star(
        self, x: float, y: float, columns: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """A star of flux 1 at (x, y) on the given columns and rows."""

    def galaxy(
        self, galaxies: Galaxies, i: int, x: float, y: float, turn: float, size: int
    ) -> NDArray[np.float64]:
        """A galaxy of flux 1 centred at (x, y) on a (size, size) stamp whose pixel size // 2 holds (x, y)."""


@dataclass(frozen=True)
class MoffatPSF:
    """An elliptical Moffat profile that varies smoothly over an image; the pixel is part of it.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the image.
    fwhm : float, px
        Geometric mean of the two axes, in the middle of the image.
    beta : float
        Exponent of the wings; surface brightness falls as r^(-2 beta).
    ellipticity : float
        1 - b/a, in the middle of the image.
    angle : float, rad
        Of the major axis, from x towards y.
    variation : float
        Relative change of the FWHM, and half the change of the ellipticity,
        from the middle to the edge of the image along `gradient`.
    gradient : float, rad
        Direction in which the FWHM grows.
    curvature : float
        Relative growth of the FWHM from the middle to the corners, with the
        square of the distance, as a curved focal surface makes it.

    References
    ----------
    Moffat 1969, A&A 3, 455.
    """

    shape: tuple[int, int]
    fwhm: float
    beta: float = 3.0
    ellipticity: float = 0.0
    angle: float = 0.0
    variation: float = 0.0
    gradient: float = 0.0
    curvature: float = 0.0

    def _form(self, x: float, y: float) -> tuple[float, float, float, float]:
        """Coefficients of q = a dx^2 + 2 b dx dy + c dy^2, and alpha in px, at a place."""
        u = 2 * x / max(self.shape[1] - 1, 1) - 1
        v = 2 * y / max(self.shape[0] - 1, 1) - 1
        along = u * np.cos(self.gradient) + v * np.sin(self.gradient)
        fwhm = self.fwhm * max(1 + self.variation * along + self.curvature * (u**2 + v**2) / 2, 0.2)
        e1 = self.ellipticity * np.cos(2 * self.angle) + 0.5 * self.variation * u
        e2 = self.ellipticity * np.sin(2 * self.angle) + 0.5 * self.variation * v
        ratio = 1 - min(np.hypot(e1, e2), 0.8)
        angle = 0.5 * np.arctan2(e2, e1)
        alpha = fwhm / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        cos, sin = np.cos(angle), np.sin(angle)
        a = (cos**2 * ratio + sin**2 / ratio) / alpha**2
        b = cos * sin * (ratio - 1 / ratio) / alpha**2
        c = (sin**2 * ratio + cos**2 / ratio) / alpha**2
        return a, b, c, alpha

    def peak(self) -> float:
        """Largest value of any pixel of a star of flux 1, anywhere in the image."""
        sharpest = self.fwhm * (1 - min(abs(self.variation) * np.sqrt(2), 0.8))
        alpha = sharpest / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        return float((self.beta - 1) / (np.pi * alpha**2))

    def at(self, x: float, y: float, size: int = 63) -> NDArray[np.float64]:
        """The PSF at (x, y), (size, size) float64 of sum 1, centred on pixel size // 2."""
        grid = np.arange(size, dtype=np.float64) - size // 2
        stamp = self.star(x, y, x + grid, y + grid)
        return stamp / stamp.sum()

    def reach(self, flux: float, floor: float) -> int:
        """Half-size in px of the stamp outside which a star is fainter than `floor` ADU per pixel."""
        widest = self.fwhm * (1 + self.curvature)
        alpha = widest / (2 * np.sqrt(2 ** (1 / self.beta) - 1))
        top = abs(flux) * (self.beta - 1) / (np.pi * alpha**2)
        radius = alpha * np.sqrt(max(top / floor, 1) ** (1 / self.beta) - 1)
        return int(np.clip(1.3 * radius, 2.5 * self.fwhm, 400)) + 1

    def star(
        self, x: float, y: float, columns: NDArray[np.float64], rows: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """A star of flux 1 at (x, y) on the given columns and rows, (rows, columns) float64."""
        a, b, c, alpha = self._form(x, y)
        dx, dy = columns - x, (rows - y)[:, None]
        q = a * dx**2 + (2 * b * dy) * dx + c * dy**2
        profile: NDArray[np.float64] = ((self.beta - 1) / (np.pi * alpha**2)) * (1 + q) ** -self.beta
        return profile

    def galaxy(
        self, galaxies: Galaxies, i: int, x: float, y: float, turn: float, size: int
    ) -> NDArray[np.float64]:
        """Galaxy `i` with flux 1, turned by `turn` rad, convolved with the PSF, (size, size) float64.

        The product of transforms is evaluated exactly, so the stamp carries no
        pixel phase of its own however sharp the bulge is.

        References
        ----------
        Spergel 2010, ApJS 191, 58 (arXiv:1007.3248), eq. 5.
        """
        transform = np.fft.rfft2(np.fft.ifftshift(self.at(x, y, size)))
        ky = 2 * np.pi * np.fft.fftfreq(size)[:, None]
        kx = 2 * np.pi * np.fft.rfftfreq(size)
        angle = galaxies.angle[i] + turn
        major = kx * np.cos(angle) + ky * np.sin(angle)
        minor = ky * np.cos(angle) - kx * np.sin(angle)
        ratio, bulge = galaxies.axis_ratio[i], galaxies.bulge[i]
        disc = galaxies.half_light[i] * _spergel_scale(_DISC)
        core = galaxies.half_light[i] * _BULGE_SIZE * _spergel_scale(_BULGE)
        light = (1 - bulge) * (1 + disc**2 * (major**2 + ratio**2 * minor**2)) ** -(1 + _DISC)
        light += bulge * (1 + core**2 * (major**2 + ratio * minor**2)) ** -(1 + _BULGE)
        phase = np.exp(-1j * (kx * (x - np.floor(x)) + ky * (y - np.floor(y))))
        stamp = np.fft.irfft2(transform * light * phase, s=(size, size))
        return np.asarray(np.fft.fftshift(stamp))


def add_stars(
    image: NDArray[np.float64], light: Light, x: ArrayLike, y: ArrayLike, flux: ArrayLike, floor: float
) -> None:
    """Add point sources to an image, in place.

    Parameters
    ----------
    image : (ny, nx) float64 ndarray, ADU
    light : Light
        The image's PSF.
    x, y : (n,) float, px
        May lie outside the image.
    flux : (n,) float, ADU
        May be negative.
    floor : float, ADU
        Wings fainter than this per pixel are not drawn.
    """
    ny, nx = image.shape
    for xi, yi, fi in zip(*map(np.atleast_1d, (x, y, flux)), strict=True):
        half = light.reach(fi, floor)
        left, right = max(int(xi) - half, 0), min(int(xi) + half + 2, nx)
        low, high = max(int(yi) - half, 0), min(int(yi) + half + 2, ny)
        if left < right and low < high:
            columns, rows = np.arange(left, right, dtype=float), np.arange(low, high, dtype=float)
            image[low:high, left:right] += fi * light.star(xi, yi, columns, rows)


def add_galaxies(
    image: NDArray[np.float64],
    light: Light,
    galaxies: Galaxies,
    x: ArrayLike,
    y: ArrayLike,
    scale: float = 1.0,
    turn: float = 0.0,
) -> None:
    """Add galaxies to an image, in place.

    Parameters
    ----------
    image : (ny, nx) float64 ndarray, ADU
    light : Light
        The image's PSF.
    galaxies : Galaxies
    x, y : (n,) float, px
        Where they fall on this image.
    scale : float
        Factor on their fluxes.
    turn : float, rad
        Rotation of this image against the one that `galaxies` describes.
    """
    ny, nx = image.shape
    for i, (xi, yi) in enumerate(zip(*map(np.atleast_1d, (x, y)), strict=True)):
        wanted = 2 * (8 * galaxies.half_light[i] + 24)
        size = int(min(2 ** np.ceil(np.log2(wanted)), _LARGEST_STAMP))
        left, low = int(np.floor(xi)) - size // 2, int(np.floor(yi)) - size // 2
        if left >= nx or low >= ny or left + size <= 0 or low + size <= 0:
            continue
        stamp = scale * galaxies.flux[i] * light.galaxy(galaxies, i, xi, yi, turn, size)
        x0, y0, x1, y1 = max(left, 0), max(low, 0), min(left + size, nx), min(low + size, ny)
        image[y0:y1, x0:x1] += stamp[y0 - low : y1 - low, x0 - left : x1 - left]


@lru_cache(maxsize=8)
def _spergel_scale(nu: float) -> float:
    """Scale length of a Spergel profile of unit half-light radius (Spergel 2010, eq. 8)."""
    from scipy.optimize import brentq
    from scipy.special import gamma, kv

    def missing(radius: float) -> float:
        outside = 2 * (1 + nu) * (radius / 2) ** (1 + nu) * kv(1 + nu, radius) / gamma(2 + nu)
        return float(outside) - 0.5

    return 1 / float(brentq(missing, 1e-3, 20.0))
