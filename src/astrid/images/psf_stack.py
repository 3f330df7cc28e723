"""Measure the point spread function of a frame by stacking its stars.

Stars are carried to a grid finer than the pixels and each grid point follows a
low-order polynomial in position. The model that comes out is `psf.PSF`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from astrid.errors import PSFError
from astrid.images.frame import Frame
from astrid.images.psf import LOBES, PSF, grid_to_pixels, lanczos_matrix, moffat_psf, scaled, taper, terms
from astrid.images.sources import Sources, stars_of

__all__ = ["measure_psf"]

_MOST_STARS = 150
_CONSTANT_STARS = 40  # are enough for a PSF that does not vary
_FEWEST_STARS = 3
_ITERATIONS = 3
_CLIP = 5.0
_RING, _RING_PIXELS = 5, 100  # width, px, of the ring that tells a star's local sky; pixels it needs
_FLOOR = 0.003  # systematic error of one star's pixel, relative to the peak: undetected neighbours, shapes
_REACH = 4.0  # half side of a stamp in FWHM


def measure_psf(frame: Frame, sources: Sources, *, degree: int | None = None) -> PSF:
    """Measure the PSF of a frame on its stars.

    Stars are chosen by shape, cleared of their neighbours (wings subtracted, cores
    hidden) and stacked: the residual of every star against the current model is
    carried to the oversampled grid and fitted, point by point, by a polynomial in
    position with outliers clipped; position and flux of every star follow the model.

    Parameters
    ----------
    frame : Frame
        Background-subtracted, with its variance.
    sources : Sources
        All sources of the frame, neighbours included.
    degree : int, optional
        Degree of the variation, 0 to 2; chosen by the number of stars if not given.

    Returns
    -------
    psf : PSF

    Raises
    ------
    PSFError
        Fewer than 3 usable stars.

    References
    ----------
    Anderson & King 2000, PASP 112, 1360 (the effective PSF); Bertin 2011, ASPC 442, 435.
    """
    if frame.variance is None:
        raise PSFError(f"{frame.name}: measure_noise comes before measure_psf; the frame has no variance")
    chosen = np.flatnonzero(stars_of(sources))
    if len(chosen) < _FEWEST_STARS:
        raise _too_few(frame, len(chosen), f"are single, round and unsaturated, of {len(sources)} sources")
    fwhm = float(np.median(sources.fwhm[chosen]))
    half = int(np.clip(np.ceil(_REACH * fwhm), 7, 31))
    ny, nx = frame.shape
    x, y = sources.x[chosen], sources.y[chosen]
    chosen = chosen[(x > half) & (y > half) & (x < nx - 1 - half) & (y < ny - 1 - half)][
        : _MOST_STARS if degree is None else _CONSTANT_STARS
    ]
    if len(chosen) < _FEWEST_STARS:
        raise _too_few(frame, len(chosen), f"lie {half} px or more inside the image")
    if degree is None:
        degree = 2 if len(chosen) >= 60 else 1 if len(chosen) >= 20 else 0
    grid = _Grid(half, 2 if fwhm > 2.5 else 3)
    stack = _Stack(frame, sources, chosen, fwhm, grid, degree)
    for _ in range(_ITERATIONS):
        stack.iterate()
    return PSF(
        stack.coefficients.astype(float),
        grid.oversampling,
        2 * half + 1,
        frame.shape,
        int(stack.keep.sum()),
        stack.quality(),
    )


def _too_few(frame: Frame, found: int, what: str) -> PSFError:
    return PSFError(
        f"{frame.name}: {found} stars {what}, but a PSF needs {_FEWEST_STARS}; "
        "use a larger image or --method kernel"
    )


@dataclass(frozen=True)
class _Grid:
    """Geometry of the stamps (2 half + 1 px) and of the oversampled grid (2 reach + 1 points)."""

    half: int
    oversampling: int

    @property
    def reach(self) -> int:
        return self.half * self.oversampling + LOBES

    @property
    def points(self) -> int:
        return 2 * self.reach + 1

    def to_pixels(self, shift: NDArray[np.float64]) -> NDArray[np.float32]:
        return grid_to_pixels(shift, self.half, self.oversampling, self.points).astype(np.float32)

    def from_pixels(self, shift: NDArray[np.float64]) -> NDArray[np.float32]:
        """Matrices that interpolate pixel values at the grid points, (n, points, 2 half + 1)."""
        matrices = np.empty((len(shift), self.points, 2 * self.half + 1), np.float32)
        for phase in range(self.oversampling):
            rows = len(range(phase, self.points, self.oversampling))
            place = shift + self.half + (phase - self.reach) / self.oversampling
            matrices[:, phase :: self.oversampling] = lanczos_matrix(place, rows, 1, 2 * self.half + 1)
        return matrices

    def radius(self) -> NDArray[np.float64]:
        """Distance of each grid point from the middle, px."""
        offset = np.arange(-self.reach, self.reach + 1) / self.oversampling
        return np.asarray(np.hypot(offset[:, None], offset[None, :]))


class _Stack:
    """The stars, their neighbours and the model that they share, improved step by step."""

    def __init__(
        self,
        frame: Frame,
        sources: Sources,
        chosen: NDArray[np.int64],
        fwhm: float,
        grid: _Grid,
        degree: int,
    ) -> None:
        assert frame.variance is not None
        self.name, self.fwhm, self.grid = frame.name, fwhm, grid
        self.column = np.rint(sources.x[chosen]).astype(int)
        self.row = np.rint(sources.y[chosen]).astype(int)
        offset = np.arange(-grid.half, grid.half + 1)
        rows = self.row[:, None, None] + offset[None, :, None]
        columns = self.column[:, None, None] + offset[None, None, :]
        self.data = frame.data[rows, columns]
        variance = frame.variance[rows, columns]
        usable = (frame.mask[rows, columns] == 0) & (variance > 0)
        self.weight = np.where(usable, 1 / np.maximum(variance, 1e-30), 0).astype(np.float32)
        self.core = offset[:, None] ** 2 + offset[None, :] ** 2 <= (1.1 * fwhm) ** 2
        self._find_neighbours(sources, chosen, offset)
        self._subtract_local_sky(frame)
        self.dx = sources.x[chosen] - self.column
        self.dy = sources.y[chosen] - self.row
        self.flux = sources.flux[chosen]
        self.basis = terms(*scaled(sources.x[chosen], sources.y[chosen], frame.shape), degree).astype(
            np.float32
        )
        self.coefficients = np.zeros((self.basis.shape[1], grid.points, grid.points), np.float32)
        start = moffat_psf(0.95 * fwhm, frame.shape, half=grid.half, oversampling=grid.oversampling)
        self.coefficients[0] = start.coefficients[0]
        self.taper = taper(grid.reach, grid.oversampling, grid.half).astype(np.float32)
        self.keep = (self.weight[:, self.core] > 0).mean(axis=1) > 0.85
        self._need_stars()

    def _find_neighbours(
        self, sources: Sources, chosen: NDArray[np.int64], offset: NDArray[np.int64]
    ) -> None:
        tree = cKDTree(np.column_stack([sources.x, sources.y]))
        reach = 1.4 * self.grid.half + 2 * self.fwhm
        near = tree.query_ball_point(np.column_stack([self.column, self.row]), reach)
        star = np.repeat(np.arange(len(chosen)), [len(found) for found in near])
        other = np.concatenate([np.asarray(found, int) for found in near])
        real = other != chosen[star]
        self.star, other = star[real], other[real]
        self.near_dx = sources.x[other] - self.column[self.star]
        self.near_dy = sources.y[other] - self.row[self.star]
        self.near_flux = sources.flux[other].copy()
        # The cores of neighbours are hidden (their wings are subtracted): brighter ones reach further.
        ratio = np.maximum(self.near_flux / sources.flux[chosen[self.star]], 1e-6)
        radius = self.fwhm * np.clip(0.9 + 0.5 * np.log10(ratio * 30), 0.6, 3.0)
        shown = np.ones(self.data.shape, bool)
        for index, px, py, size in zip(self.star, self.near_dx, self.near_dy, radius, strict=True):
            shown[index] &= (offset[:, None] - py) ** 2 + (offset[None, :] - px) ** 2 >= size**2
        self.open_weight = self.weight.copy()
        self.weight *= shown

    def _subtract_local_sky(self, frame: Frame) -> None:
        """Take off the mean light about each star: faint sources that the sky estimate clips."""
        assert frame.variance is not None
        reach = self.grid.half + _RING
        offset = np.arange(-reach, reach + 1)
        v, u = (plane.ravel() for plane in np.meshgrid(offset, offset, indexing="ij"))
        ring = np.maximum(np.abs(u), np.abs(v)) > self.grid.half
        u, v = u[ring], v[ring]
        rows = np.clip(self.row[:, None] + v, 0, frame.shape[0] - 1)
        columns = np.clip(self.column[:, None] + u, 0, frame.shape[1] - 1)
        data, sigma = frame.data[rows, columns], np.sqrt(frame.variance[rows, columns])
        clean = (frame.mask[rows, columns] == 0) & (sigma > 0)
        for index, px, py in zip(self.star, self.near_dx, self.near_dy, strict=True):
            clean[index] &= (v - py) ** 2 + (u - px) ** 2 >= (1.5 * self.fwhm) ** 2
        clean &= np.abs(data) < 4 * np.where(sigma > 0, sigma, 1)
        count = clean.sum(axis=1)
        level = np.where(count > _RING_PIXELS, (data * clean).sum(axis=1) / np.maximum(count, 1), 0)
        self.data = self.data - level[:, None, None].astype(np.float32)

    def _need_stars(self) -> None:
        if self.keep.sum() < _FEWEST_STARS:
            raise PSFError(
                f"{self.name}: only {int(self.keep.sum())} isolated stars agree with one PSF, "
                f"{_FEWEST_STARS} are needed; use --method kernel"
            )

    def iterate(self) -> None:
        """Fit stars and neighbours to the model, then the model to the stars."""
        grids = np.tensordot(self.basis, self.coefficients, 1)
        clean = self.data - self._neighbours(grids)
        self._fit_stars(clean, grids)
        model = self._draw(grids)
        self.residual = clean - self.flux[:, None, None].astype(np.float32) * model
        self.keep &= (self.flux > 0) & (np.hypot(self.dx, self.dy) < 1.0 + 0.5 * self.fwhm)
        self._need_stars()
        misfit = np.sqrt(np.mean(self.residual[:, self.core] ** 2, axis=1)) / (
            self.flux * model[:, self.core].max(axis=1)
        ).clip(1e-30)
        middle = np.median(misfit[self.keep])
        spread = 1.4826 * np.median(np.abs(misfit[self.keep] - middle))
        self.keep &= misfit < middle + max(5 * spread, 0.02)
        self._need_stars()
        self.coefficients = (self.coefficients + self._smooth_wings(self._fit_grid())) * self.taper
        self.coefficients /= self.coefficients[0].sum() / self.grid.oversampling**2
        self._recentre()

    def quality(self) -> float:
        """Rms residual of the brighter stars' cores beyond their noise, relative to their peaks."""
        weight = self.weight[:, self.core][self.keep]
        seen = weight > 0
        beyond = self.residual[:, self.core][self.keep] ** 2 - 1 / np.where(seen, weight, 1)
        power = (beyond * seen).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)
        peak = np.maximum(self.data[:, self.core][self.keep].max(axis=1), 1e-30)
        bright = np.argsort(-peak)[: max(_FEWEST_STARS, len(peak) // 4)]
        return float(np.sqrt(max(float(np.median((power / peak**2)[bright])), 0.0)))

    def _draw(self, grids: NDArray[np.float32]) -> NDArray[np.float32]:
        to_x, to_y = self.grid.to_pixels(self.dx), self.grid.to_pixels(self.dy)
        return np.asarray(to_y @ grids @ to_x.transpose(0, 2, 1), np.float32)

    def _neighbours(self, grids: NDArray[np.float32]) -> NDArray[np.float32]:
        """Light of the neighbours on each stamp, their fluxes fitted to what the stars leave."""
        light: NDArray[np.float32] = np.zeros(self.data.shape, np.float32)
        if not len(self.star):
            return light
        to_x, to_y = self.grid.to_pixels(self.near_dx), self.grid.to_pixels(self.near_dy)
        drawn = to_y @ grids[self.star] @ to_x.transpose(0, 2, 1)
        rest = self.data - self.flux[:, None, None].astype(np.float32) * self._draw(grids)
        for _ in range(2):
            left = rest - light
            weight = drawn * self.open_weight[self.star]
            power = np.einsum("nij,nij->n", weight, drawn)
            gain = np.einsum("nij,nij->n", weight, left[self.star]) / np.maximum(power, 1e-30)
            # A neighbour beyond the stamp cannot be fitted there: its catalogue flux stands.
            seen = power > 0.2 * np.median(power)
            first = ~light.any()
            self.near_flux = np.where(
                seen, np.maximum((0 if first else self.near_flux) + gain, 0), self.near_flux
            )
            light = np.zeros(self.data.shape, np.float32)
            np.add.at(light, self.star, self.near_flux[:, None, None].astype(np.float32) * drawn)
        return light

    def _fit_stars(self, clean: NDArray[np.float32], grids: NDArray[np.float32]) -> None:
        """Flux and position of each star by linear least squares on its core, twice."""
        weight = self.weight[:, self.core].astype(float)
        for _ in range(2):
            model = self._draw(grids)
            slope_x, slope_y = (np.asarray(np.gradient(model, axis=axis)) for axis in (2, 1))
            planes = [plane[:, self.core] for plane in (model, -slope_x, -slope_y)]
            design = np.stack(planes, axis=2).astype(float)
            weighted = design * weight[:, :, None]
            normal = weighted.transpose(0, 2, 1) @ design
            right = weighted.transpose(0, 2, 1) @ clean[:, self.core, None].astype(float)
            scale = np.trace(normal, axis1=1, axis2=2)[:, None, None]
            solution = np.linalg.solve(normal + (1e-9 * scale + 1e-300) * np.eye(3), right)[..., 0]
            self.flux = solution[:, 0]
            safe = np.where(np.abs(self.flux) > 0, self.flux, 1)
            limit = 0.3 * self.fwhm
            self.dx = self.dx + np.clip(solution[:, 1] / safe, -limit, limit)
            self.dy = self.dy + np.clip(solution[:, 2] / safe, -limit, limit)

    def _fit_grid(self) -> NDArray[np.float32]:
        """Fit the residuals, at each grid point, by a polynomial in position with outliers clipped."""
        keep, count = self.keep, self.grid.points**2
        to_x = self.grid.from_pixels(self.dx[keep])
        to_y = self.grid.from_pixels(self.dy[keep])
        open_pixels = (self.weight[keep] > 0).astype(np.float32)
        flux = self.flux[keep].astype(np.float32)
        values = to_y @ (self.residual[keep] * open_pixels / flux[:, None, None]) @ to_x.transpose(0, 2, 1)
        values = values.reshape(len(values), count)
        # A grid point counts only where the pixel below it and its neighbours are open; there it
        # has that pixel's inverse variance, with a floor so that no single star may rule.
        shut = ndimage.maximum_filter((open_pixels == 0).view(np.uint8), (1, 3, 3), mode="nearest")
        inverse = np.where(shut, np.float32(0), self.weight[keep]) * (flux**2)[:, None, None]
        peak = self.coefficients[0].max()
        inverse /= 1 + inverse * np.float32(_FLOOR * peak) ** 2
        index = np.arange(len(values))[:, None, None]
        row, column = self._nearest(self.dy[keep]), self._nearest(self.dx[keep])
        weight = inverse[index, row[:, :, None], column[:, None, :]].reshape(len(values), count)
        spread = np.sqrt(1 / np.maximum(weight, 1e-30))
        basis = self.basis[keep]
        n_terms = basis.shape[1]
        products = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
        prior = 1e-3 * np.median(weight.max(axis=1)) * np.eye(n_terms)
        for last in (False, True):
            normal = (weight.T @ products).reshape(count, n_terms, n_terms).astype(float) + prior
            right = ((weight * values).T @ basis).astype(float)
            solution = np.linalg.solve(normal, right[..., None])[..., 0]
            if last:
                break
            misfit = np.abs(values - basis @ solution.T.astype(np.float32)) / spread
            weight[misfit > _CLIP] = 0
        update: NDArray[np.float32] = solution.T.reshape(n_terms, self.grid.points, self.grid.points).astype(
            np.float32
        )
        return update

    def _nearest(self, shift: NDArray[np.float64]) -> NDArray[np.int64]:
        """Index of the stamp pixel nearest to each grid point, (n, points)."""
        grid = np.arange(-self.grid.reach, self.grid.reach + 1) / self.grid.oversampling
        nearest = np.rint(grid[None, :] + shift[:, None]).astype(int) + self.grid.half
        return np.clip(nearest, 0, 2 * self.grid.half)

    def _smooth_wings(self, update: NDArray[np.float32]) -> NDArray[np.float32]:
        """Average what is added to the wings over neighbouring points: wings are smooth, noise is not.

        The update is smoothed and not the model, whose steep fall would be flattened.
        """
        width = 0.35 * self.fwhm * self.grid.oversampling
        blend = np.clip((self.grid.radius() - 1.0 * self.fwhm) / (0.6 * self.fwhm), 0, 1).astype(np.float32)
        smoothed: NDArray[np.float32] = update * (1 - blend) + blend * ndimage.gaussian_filter(
            update, (0, width, width)
        )
        return smoothed

    def _recentre(self) -> None:
        """Hold the windowed centroid of the model in the middle, everywhere in the image.

        What the model's centroid drifts by is given back to the stars' positions.
        """
        grids = np.tensordot(self.basis, self.coefficients, 1)
        offset = np.arange(-self.grid.reach, self.grid.reach + 1, dtype=np.float32) / self.grid.oversampling
        width = self.fwhm
        window = np.exp(-4 * np.log(2) * self.grid.radius() ** 2 / width**2).astype(np.float32)
        total = np.einsum("nij,ij->n", grids, window)
        # Twice: a Gaussian window of the same width halves the offset of a Gaussian.
        cx = 2 * np.einsum("nij,ij,j->n", grids, window, offset) / total
        cy = 2 * np.einsum("nij,ij,i->n", grids, window, offset) / total
        # First order: the drift of one iteration is a small part of a pixel.
        slope_y, slope_x = np.gradient(self.coefficients[0], 1 / self.grid.oversampling)
        fit_x, fit_y = (np.linalg.lstsq(self.basis, c, rcond=None)[0] for c in (cx, cy))
        self.coefficients = (
            self.coefficients + fit_x[:, None, None] * slope_x + fit_y[:, None, None] * slope_y
        )
        self.dx, self.dy = self.dx + cx, self.dy + cy
