"""Proper image subtraction: the optimal difference of two images, on overlapping tiles.

Everything that depends on the optics is in three small stamps A, B and P, such
that A * N and B * R show the static sky alike and P is a new source in N; with
A = F_r P_r, B = F_n P_n, P = P_n this is ZOGY, with A = 1 and B a fitted kernel it
is Alard-Lupton with its noise decorrelated. Nothing here detects; see `detection`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from astrid.images.frame import Frame
from astrid.images.psf import PSF

__all__ = ["MatchedPSFs", "Matching", "Response", "Subtraction", "subtract"]

_TILES = (160, 700)  # px
_CURVED = 0.005
_MARGIN = 16  # px beyond the stamps: how far the whitened filters ring

Stamp = NDArray[np.float32]
Image = NDArray[np.float32]
Spectrum = NDArray[np.complex64]


class Matching(Protocol):
    """How the two images are made alike at a place of the science image."""

    @property
    def size(self) -> int:
        """Side of the largest stamp, px."""

    @property
    def varies(self) -> bool:
        """Whether the stamps depend on the position."""

    @property
    def curvature(self) -> float:
        """Second-order change of the stamps' peaks from the middle of the image to its edge, relative."""

    def at(self, x: float, y: float) -> tuple[Stamp, Stamp, Stamp]:
        """Stamps A (convolves the science image), B (the reference) and P (a new source)."""


@dataclass(frozen=True, eq=False)
class MatchedPSFs:
    """The matching of ZOGY: each image is convolved with the other's PSF.

    Parameters
    ----------
    science, reference : PSF
    flux_ratio : float
        Flux of a source in the reference over its flux in the science image, F_r / F_n.
    """

    science: PSF
    reference: PSF
    flux_ratio: float

    @property
    def size(self) -> int:
        """Side of the largest stamp, px."""
        return max(self.science.size, self.reference.size)

    @property
    def varies(self) -> bool:
        """Whether either PSF depends on the position."""
        return self.science.degree > 0 or self.reference.degree > 0

    @property
    def curvature(self) -> float:
        """That of the PSF which curves more."""
        return max(self.science.curvature, self.reference.curvature)

    def at(self, x: float, y: float) -> tuple[Stamp, Stamp, Stamp]:
        """Stamps F_r P_r, F_n P_n and P_n, with F_n = 1."""
        science = self.science.at(x, y)
        return np.float32(self.flux_ratio) * self.reference.at(x, y), science, science


@dataclass(frozen=True, eq=False)
class Subtraction:
    """A difference image and what is needed to judge it; every array is (ny, nx) float32.

    Parameters
    ----------
    difference : ADU of the science image
        The proper difference D (eq. 13), scaled so that a new source of flux f
        appears as f P_D with a P_D of sum 1.
    score : S
        Matched-filter image (eq. 17), in units where a source of flux f peaks at f `gain`.
    science_score : S_n
        The part of S that comes from the science image: what would be there
        if nothing had been subtracted.
    variance : V(S)
        Pixel noise propagated through the filters (eqs. 25 to 29), source noise included.
    gain : F_S
        Response of S to a source of flux 1.
    response_at : callable
        Called with x, y: what a new source and a hit pixel look like there.
    """

    difference: Image
    score: Image
    science_score: Image
    variance: Image
    gain: Image
    response_at: Callable[[float, float], Response]


@dataclass(frozen=True, eq=False)
class Response:
    """What the filters make of a new source and of a hit pixel; every stamp is (size, size).

    Parameters
    ----------
    score : S around a new source, peak 1
    psf : P_D, the shape of a new source on D, sum 1 (eq. 14)
    science_hit, reference_hit : a single pixel that was hit in either frame, on D
    """

    score: Stamp
    psf: Stamp
    science_hit: Stamp
    reference_hit: Stamp

    @property
    def sigma(self) -> float:
        """Sigma, px, of the Gaussian with the curvature of the score at its peak."""
        middle = self.score.shape[0] // 2
        beside = [middle - 1, middle + 1]
        peak = float(self.score[middle, middle])
        curvature = 4 * peak - float(self.score[middle, beside].sum() + self.score[beside, middle].sum())
        return float(np.sqrt(2 * peak / max(curvature, 1e-30)))


def subtract(science: Frame, reference: Frame, matching: Matching) -> Subtraction:
    """Subtract a reference from a science image on the same grid.

    Each tile is filtered in Fourier space with the noise power of both images
    (correlated noise included); the filters vary linearly over the tile.

    Parameters
    ----------
    science, reference : Frame
        Background-subtracted, on one pixel grid, with variances; flagged pixels are
        used as they are, so fill them first.
    matching : Matching
        PSFs and flux ratio, or a fitted kernel.

    Returns
    -------
    subtraction : Subtraction

    References
    ----------
    Zackay, Ofek & Gal-Yam 2016, ApJ 830, 27 (arXiv:1601.02655), eqs. 13 to 17 and 25 to 29;
    Reiss & Lupton 2016, DMTN-021 (decorrelation of a kernel fit).
    """
    assert science.variance is not None and reference.variance is not None
    ny, nx = science.shape
    planes = {name: np.empty((ny, nx), np.float32) for name in ("d", "s", "sn", "v", "g")}
    levels = (_sky_variance(science), _sky_variance(reference))
    border = matching.size // 2 + _MARGIN
    # Filters are linear within a tile: what they curve must stay below a fraction of a per cent.
    tile = max(ny, nx) * np.sqrt(_CURVED / max(matching.curvature, 1e-9))
    for rows, columns in _tiles((ny, nx), float(np.clip(tile, *_TILES))):
        grid = _TileGrid(rows, columns, border)
        images = tuple(
            grid.cut(plane) for plane in (science.data, reference.data, science.variance, reference.variance)
        )
        for variance, level in zip(images[2:], levels, strict=True):
            # Where there is no pixel there is no noise to know; the sky's stands in.
            np.copyto(variance, np.float32(level), where=variance <= 0)
        result = _subtract_tile(images, levels, (science, reference), matching, grid)
        for name, plane in result.items():
            planes[name][rows, columns] = plane
    correlations = science.noise_correlation, reference.noise_correlation

    def response_at(x: float, y: float) -> Response:
        return _response(matching, x, y, border, levels, correlations)

    return Subtraction(planes["d"], planes["s"], planes["sn"], planes["v"], planes["g"], response_at)


def _sky_variance(frame: Frame) -> float:
    assert frame.variance is not None
    good = frame.variance[frame.mask == 0]
    if not good.size:
        good = frame.variance[frame.variance > 0]
    # The median would count sources in; the 40th percentile is still sky in a crowded field.
    sample = good[:: max(1, good.size // 100_000)]
    return float(np.percentile(sample, 40))


def _tiles(shape: tuple[int, int], tile: float) -> Iterator[tuple[slice, slice]]:
    """Cover an image with tiles of nearly equal sides no larger than wanted."""
    edges = [np.linspace(0, side, int(np.ceil(side / tile)) + 1).astype(int) for side in shape]
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            yield slice(int(top), int(bottom)), slice(int(left), int(right))


class _TileGrid:
    """One tile with its border: cutting from the image, transforming and cutting back."""

    def __init__(self, rows: slice, columns: slice, border: int) -> None:
        self.rows, self.columns, self.border = rows, columns, border
        self.inner = (rows.stop - rows.start, columns.stop - columns.start)
        self.shape = tuple(fft.next_fast_len(side + 2 * border, real=True) for side in self.inner)
        self.centre = ((columns.start + columns.stop - 1) / 2, (rows.start + rows.stop - 1) / 2)

    def cut(self, plane: Image) -> Image:
        """The tile with its border, 0 beyond the image."""
        result = np.zeros(self.shape, np.float32)
        sources, targets = [], []
        for start, side, length in zip(
            (self.rows.start, self.columns.start), self.shape, plane.shape, strict=True
        ):
            first, last = start - self.border, start - self.border + side
            sources.append(slice(max(first, 0), min(last, length)))
            targets.append(slice(max(-first, 0), side - max(last - length, 0)))
        result[tuple(targets)] = plane[tuple(sources)]
        return result

    def forward(self, image: Image) -> Spectrum:
        spectrum: Spectrum = fft.rfft2(image)
        return spectrum

    def backward(self, spectrum: Spectrum) -> Image:
        """Inverse transform, border cut off."""
        full = fft.irfft2(spectrum, s=self.shape, overwrite_x=True)
        return full[self.border : self.border + self.inner[0], self.border : self.border + self.inner[1]]

    def kernel(self, stamp: Stamp) -> Spectrum:
        """Transform of a small odd stamp centred on the origin."""
        padded = np.zeros(self.shape, np.float32)
        half_y, half_x = stamp.shape[0] // 2, stamp.shape[1] // 2
        padded[: stamp.shape[0], : stamp.shape[1]] = stamp
        return self.forward(np.roll(padded, (-half_y, -half_x), (0, 1)))


@dataclass(frozen=True, eq=False)
class _Filters:
    """Transforms of the filters of one place: D = dn N - dr R, S = kn N - kr R."""

    dn: Spectrum
    dr: Spectrum
    kn: Spectrum
    kr: Spectrum
    gain: float

    def minus(self, other: _Filters, over: float) -> _Filters:
        scale = np.float32(1 / over)
        return _Filters(
            (self.dn - other.dn) * scale,
            (self.dr - other.dr) * scale,
            (self.kn - other.kn) * scale,
            (self.kr - other.kr) * scale,
            (self.gain - other.gain) / over,
        )


def _filters(
    matching: Matching,
    x: float,
    y: float,
    grid: _TileGrid,
    noise: tuple[NDArray[np.float32], NDArray[np.float32]],
) -> _Filters:
    """Filters at one place from its stamps and the noise power of both images."""
    stamp_a, stamp_b, stamp_p = matching.at(x, y)
    a, b = grid.kernel(stamp_a), grid.kernel(stamp_b)
    p = b if stamp_p is stamp_b else grid.kernel(stamp_p)
    power = noise[0] * _squared(a) + noise[1] * _squared(b)
    # Where both PSFs vanish there is no signal; the floor keeps their noise from being divided by 0.
    power += np.float32(1e-7) * power[0, 0]
    source = a * p
    white = 1 / np.sqrt(power)
    scale = np.float32(1 / (abs(source[0, 0]) * white[0, 0]))  # 1 / F_D, eq. 15 at zero frequency
    matched = np.conj(source) / power
    response = np.full(power.shape[1], 2.0)
    response[0] = 1.0
    if grid.shape[1] % 2 == 0:
        response[-1] = 1.0
    gain = float((_squared(source) / power).astype(float).sum(axis=0) @ response) / (
        grid.shape[0] * grid.shape[1]
    )
    return _Filters(a * white * scale, b * white * scale, matched * a, matched * b, gain)


def _subtract_tile(
    images: tuple[Image, ...],
    levels: tuple[float, float],
    frames: tuple[Frame, Frame],
    matching: Matching,
    grid: _TileGrid,
) -> dict[str, Image]:
    colours = tuple(_colour(frame.noise_correlation, grid) for frame in frames)
    noise = (np.float32(levels[0]) * colours[0], np.float32(levels[1]) * colours[1])
    x0, y0 = grid.centre
    middle = _filters(matching, x0, y0, grid, noise)
    n, r = grid.forward(images[0]), grid.forward(images[1])
    difference = grid.backward(middle.dn * n - middle.dr * r)
    science_part = middle.kn * n
    score = grid.backward(science_part - middle.kr * r)
    science_score = grid.backward(science_part)
    gain = np.full(grid.inner, middle.gain, np.float32)
    if matching.varies:
        step = max(grid.inner) / 4
        across = (np.arange(grid.inner[1], dtype=np.float32) - np.float32((grid.inner[1] - 1) / 2))[None, :]
        along = (np.arange(grid.inner[0], dtype=np.float32) - np.float32((grid.inner[0] - 1) / 2))[:, None]
        for ramp, place in ((across, (x0 + step, y0)), (along, (x0, y0 + step))):
            slope = _filters(matching, *place, grid, noise).minus(middle, step)
            difference = difference + ramp * grid.backward(slope.dn * n - slope.dr * r)
            score = score + ramp * grid.backward(slope.kn * n - slope.kr * r)
            gain += ramp * np.float32(slope.gain)
    variance_spectrum = np.zeros_like(n)
    floor = 0.0
    for kernel, colour, variance, level in zip(
        (middle.kn, middle.kr), colours, images[2:], levels, strict=True
    ):
        # eqs. 26 and 27: V(S) is the variance map convolved with the squared filter; correlated
        # noise is white noise that went through a filter of its own, which joins the kernel.
        squared = np.square(fft.irfft2(kernel * np.sqrt(colour), s=grid.shape))
        floor += level * float(squared.sum(dtype=float))
        # The sky is taken out first: single precision is then spent on the sources.
        variance_spectrum += grid.forward(variance - np.float32(level)) * grid.forward(squared)
    variance = np.maximum(grid.backward(variance_spectrum), 0) + np.float32(floor)
    return {"d": difference, "s": score, "sn": science_score, "v": variance, "g": gain}


def _response(
    matching: Matching,
    x: float,
    y: float,
    border: int,
    levels: tuple[float, float],
    correlations: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None],
) -> Response:
    """Filters of one place applied to a new source and to single pixels."""
    half = matching.size // 2
    grid = _TileGrid(slice(0, 2 * half + 1), slice(0, 2 * half + 1), border)
    colours = [_colour(correlation, grid) for correlation in correlations]
    noise = (np.float32(levels[0]) * colours[0], np.float32(levels[1]) * colours[1])
    filters = _filters(matching, x, y, grid, noise)
    source = grid.kernel(matching.at(x, y)[2])
    stamps = []
    # A hit came before any resampling, which spreads it as it spreads the noise.
    hits = filters.dn * np.sqrt(colours[0]), filters.dr * np.sqrt(colours[1])
    for spectrum in (filters.kn * source, filters.dn * source, *hits):
        image = np.roll(fft.irfft2(spectrum, s=grid.shape), (half, half), (0, 1))
        stamps.append(image[: 2 * half + 1, : 2 * half + 1].copy())
    return Response(stamps[0] / stamps[0].max(), stamps[1] / stamps[1].sum(), stamps[2], stamps[3])


def _squared(spectrum: Spectrum) -> NDArray[np.float32]:
    return np.asarray(np.square(spectrum.real) + np.square(spectrum.imag))


def _colour(correlation: NDArray[np.float32] | None, grid: _TileGrid) -> NDArray[np.float32]:
    """Noise power relative to white noise of the same variance at each frequency."""
    if correlation is None:
        return np.ones((1, 1), np.float32)
    # A measured autocorrelation that is cut off need not be positive definite.
    return np.maximum(grid.kernel(correlation).real, np.float32(1e-3))
