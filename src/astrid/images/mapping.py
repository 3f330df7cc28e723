"""`Mapping`: where each pixel of one image lies in another, on a grid of nodes.

Between the nodes the mapping is bilinear, so that warping an image costs what
scipy takes and not what a WCS takes for each pixel; nothing here touches pixels
(see `resampling`) or decides which mapping is right (see `alignment`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import AlignmentError

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["Mapping"]

FloatArray = NDArray[np.float64]
Displacement = Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]

FIRST_STEP = 64
SMALLEST_STEP = 4
LARGEST_SCALE_RATIO = 3.0
# Nodes that a WCS cannot place are put here, far from every image.
NOWHERE = -1.0e7


@dataclass(frozen=True, eq=False)
class Mapping:
    """Target (science) pixel to source (reference) pixel.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the target image.
    step : int, target px
        Distance of the nodes; node ``[j, i]`` stands at ``x = i * step``,
        ``y = j * step``. The last nodes lie on or beyond the last pixel.
    nodes : (my, mx, 2) float64 ndarray, source px
        ``x`` and ``y`` in the source, 0-based.
    error_px : float, source px
        Largest distance between the bilinear mapping and the exact one,
        measured in the middle of the cells and of their edges.
    """

    shape: tuple[int, int]
    step: int
    nodes: FloatArray
    error_px: float = 0.0

    def __call__(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Source position of target positions; linear beyond the outermost nodes.

        Parameters
        ----------
        x, y : float array_like, target px

        Returns
        -------
        x_source, y_source : float64 ndarray, source px
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        my, mx = self.nodes.shape[:2]
        i = np.clip(np.floor(x / self.step), 0, mx - 2).astype(np.intp)
        j = np.clip(np.floor(y / self.step), 0, my - 2).astype(np.intp)
        s = (x / self.step - i)[..., None]
        t = (y / self.step - j)[..., None]
        upper = (1 - s) * self.nodes[j, i] + s * self.nodes[j, i + 1]
        lower = (1 - s) * self.nodes[j + 1, i] + s * self.nodes[j + 1, i + 1]
        position = (1 - t) * upper + t * lower
        return position[..., 0], position[..., 1]

    def on_rows(self, first: int, last: int, margin: int = 0) -> tuple[FloatArray, FloatArray]:
        """Source positions of all target pixels of rows ``first`` to ``last - 1``.

        The rows must lie between two rows of nodes; `margin` adds rows on each side
        by extrapolation from the same nodes.

        Returns
        -------
        x_source, y_source : (last - first + 2 * margin, nx) float64 ndarray, source px
        """
        x, y = (self._expand(self.nodes[..., axis], first, last, margin) for axis in (0, 1))
        return x, y

    def area_on_rows(self, first: int, last: int) -> FloatArray:
        """Source area under each target pixel, (last - first, nx) float64, px^2 per px^2."""
        return self._expand(self.areas(), first, last)

    def areas(self) -> FloatArray:
        """Source area under a target pixel at each node, (my, mx) float64, px^2 per px^2."""
        along_y = np.gradient(self.nodes, self.step, axis=0)
        along_x = np.gradient(self.nodes, self.step, axis=1)
        determinant = along_x[..., 0] * along_y[..., 1] - along_x[..., 1] * along_y[..., 0]
        return np.abs(determinant)

    def jacobian(self) -> float:
        """Median source area under a target pixel, px^2 per px^2."""
        return float(np.median(self.areas()))

    def matrix(self) -> FloatArray:
        """Mean linear part, (2, 2) float64: source px per target px."""
        my, mx = self.nodes.shape[:2]
        along_x = (self.nodes[:, -1] - self.nodes[:, 0]).mean(0) / (self.step * (mx - 1))
        along_y = (self.nodes[-1] - self.nodes[0]).mean(0) / (self.step * (my - 1))
        return np.column_stack([along_x, along_y])

    def inverse(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Target position of source positions, by Newton steps with the mean linear part.

        Parameters
        ----------
        x, y : float array_like, source px

        Returns
        -------
        x_target, y_target : float64 ndarray, target px
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        back = np.linalg.inv(self.matrix())
        x_target = np.full(x.shape, (self.shape[1] - 1) / 2)
        y_target = np.full(y.shape, (self.shape[0] - 1) / 2)
        for _ in range(20):
            x_now, y_now = self(x_target, y_target)
            dx, dy = x - x_now, y - y_now
            x_target = x_target + back[0, 0] * dx + back[0, 1] * dy
            y_target = y_target + back[1, 0] * dx + back[1, 1] * dy
            if x.size == 0 or max(np.abs(dx).max(), np.abs(dy).max()) < 1e-7:
                break
        return x_target, y_target

    def integer_shift(self, tolerance: float = 0.005) -> tuple[int, int] | None:
        """Shift ``(dx, dy)`` in whole pixels if that is all there is, else None."""
        x, y = _node_positions(self.shape, self.step)
        offsets = self.nodes - np.stack([x, y], axis=-1)
        whole = np.rint(np.median(offsets, axis=(0, 1)))
        if np.abs(offsets - whole).max() > tolerance:
            return None
        return int(whole[0]), int(whole[1])

    def overlap(self, source_shape: tuple[int, int]) -> float:
        """Fraction of the target that lies on a source of this shape, 0 to 1."""
        y, x = np.meshgrid(*(np.linspace(0, n - 1, 65) for n in self.shape), indexing="ij")
        return float(_inside(np.stack(self(x, y), axis=-1), source_shape).mean())

    def displaced(self, displacement: Displacement, tolerance: float = 0.01) -> Mapping:
        """Add a smooth displacement, with nodes close enough together to follow it.

        Parameters
        ----------
        displacement : callable
            Target ``x, y`` to source ``dx, dy``, px, on arrays.
        tolerance : float, source px
            Largest error that bilinear interpolation of the displacement may add.

        Returns
        -------
        Mapping
        """
        step = self.step
        while True:
            x, y = _node_positions(self.shape, step / 2, step)
            fine = np.stack(displacement(x, y), axis=-1)
            error = _bilinear_error(fine)
            if error <= tolerance or step <= SMALLEST_STEP:
                break
            step //= 2
        x, y = x[::2, ::2], y[::2, ::2]
        nodes = np.stack(self(x, y), axis=-1) + fine[::2, ::2]
        return Mapping(self.shape, step, nodes, self.error_px + error)

    def _expand(self, values: FloatArray, first: int, last: int, margin: int = 0) -> FloatArray:
        """Interpolate one quantity of the nodes onto whole rows between two rows of nodes."""
        j = min(first // self.step, values.shape[0] - 2)
        columns = np.arange(self.shape[1])
        knots = np.arange(values.shape[1]) * self.step
        upper, lower = (np.interp(columns, knots, row) for row in values[j : j + 2])
        t = np.arange(first - margin, last + margin)[:, None] / self.step - j
        return upper + t * (lower - upper)

    @classmethod
    def from_affine(cls, matrix: ArrayLike, shape: tuple[int, int]) -> Mapping:
        """Exact mapping ``source = matrix @ (x, y, 1)``.

        Parameters
        ----------
        matrix : (2, 3) float array_like
        shape : (int, int)
            Rows and columns of the target.

        Returns
        -------
        Mapping
        """
        x, y = _node_positions(shape, FIRST_STEP)
        nodes = np.stack([x, y, np.ones_like(x)], axis=-1) @ np.asarray(matrix, np.float64).T
        return cls(shape, FIRST_STEP, nodes)

    @classmethod
    def from_wcs(
        cls,
        target_wcs: WCS,
        source_wcs: WCS,
        shape: tuple[int, int],
        source_shape: tuple[int, int] | None = None,
        tolerance: float = 0.01,
    ) -> Mapping:
        """Mapping through the sky, exact at the nodes, SIP and TPV included.

        The nodes start 64 px apart and the distance is halved until bilinear
        interpolation is within `tolerance` of the exact position in the middle
        of every cell and edge that touches the source.

        Parameters
        ----------
        target_wcs, source_wcs : `~astropy.wcs.WCS`
            Celestial, two axes.
        shape : (int, int)
            Rows and columns of the target.
        source_shape : (int, int), optional
            Rows and columns of the source; that of the target if not given.
        tolerance : float, source px

        Returns
        -------
        Mapping

        Raises
        ------
        AlignmentError
            Pixel scales more than a factor 3 apart, no overlap, or a WCS that
            cannot be inverted.
        """
        source_shape = shape if source_shape is None else source_shape
        _check_same_sky(target_wcs, source_wcs, shape, source_shape)
        step = FIRST_STEP
        while True:
            x, y = _node_positions(shape, step / 2, step)
            fine = _through_sky(target_wcs, source_wcs, x, y)
            near = _near_source(fine, source_shape)
            if not near.any():
                raise AlignmentError(
                    "the WCS put every pixel of one image outside the other; expected images that overlap: "
                    "choose another reference, or remove a wrong WCS to align on stars"
                )
            error = _bilinear_error(fine, near)
            if error <= tolerance:
                return cls(shape, step, fine[::2, ::2], error)
            step //= 2
            if step < SMALLEST_STEP:
                raise AlignmentError(
                    f"the WCS is not smooth: interpolation over {SMALLEST_STEP} px is {error:.2g} px off, "
                    f"expected {tolerance} px; remove the WCS to align on stars"
                )


def _node_positions(
    shape: tuple[int, int], spacing: float, step: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Positions of nodes `spacing` apart that cover an image in whole multiples of `step`."""
    step = int(spacing) if step is None else step
    per_step = round(step / spacing)
    rows, columns = (max(-(-(n - 1) // step), 1) * per_step + 1 for n in shape)
    y, x = np.meshgrid(np.arange(rows) * spacing, np.arange(columns) * spacing, indexing="ij")
    return x, y


def _bilinear_error(fine: FloatArray, where: NDArray[np.bool_] | None = None) -> float:
    """Largest error at the odd points of a grid when its even points are interpolated."""
    coarse = fine[::2, ::2]
    guess = np.empty_like(fine)
    guess[::2, ::2] = coarse
    guess[1::2, ::2] = (coarse[1:] + coarse[:-1]) / 2
    guess[:, 1::2] = (guess[:, 2::2] + guess[:, :-2:2]) / 2
    error = np.hypot(*np.moveaxis(guess - fine, -1, 0))
    return float((error if where is None else error[where]).max())


def _check_same_sky(target: WCS, source: WCS, shape: tuple[int, int], source_shape: tuple[int, int]) -> None:
    """Raise an AlignmentError for two images that cannot overlap or differ too much in scale."""
    from astropy.wcs.utils import proj_plane_pixel_area

    for wcs in (target, source):
        if wcs.naxis != 2 or not wcs.has_celestial:
            raise AlignmentError(
                f"a WCS has the axes {', '.join(wcs.wcs.ctype)}, expected two celestial ones; "
                "give the WCS of one image plane"
            )
    scales = [float(np.sqrt(proj_plane_pixel_area(wcs))) for wcs in (target, source)]
    if not LARGEST_SCALE_RATIO > scales[0] / scales[1] > 1 / LARGEST_SCALE_RATIO:
        raise AlignmentError(
            f"the pixel scales are {scales[0] * 3600:.3g} and {scales[1] * 3600:.3g} arcsec/px, expected "
            f"a ratio below {LARGEST_SCALE_RATIO:g}; choose a reference of similar scale or rebin one image"
        )
    centres, reach = [], 0.0
    for wcs, (ny, nx), scale in zip((target, source), (shape, source_shape), scales, strict=True):
        lon, lat = np.deg2rad(wcs.all_pix2world((nx - 1) / 2, (ny - 1) / 2, 0))
        centres.append(np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)]))
        reach += scale * float(np.hypot(nx, ny)) / 2
    chord = float(np.linalg.norm(centres[0] - centres[1]))
    distance = float(np.rad2deg(2 * np.arcsin(min(chord / 2, 1.0))))
    # Distortion may stretch a field beyond its nominal scale; 1.2 is generous.
    if not distance < 1.2 * reach:
        raise AlignmentError(
            f"the image centres are {distance:.3g} deg apart on the sky and the images reach only "
            f"{reach:.3g} deg, expected images that overlap; choose another reference"
        )


def _through_sky(target: WCS, source: WCS, x: FloatArray, y: FloatArray) -> FloatArray:
    """Exact source position of target positions, (..., 2); NOWHERE where there is none."""
    from astropy.wcs import NoConvergence

    lon, lat = target.all_pix2world(x.ravel(), y.ravel(), 0)
    try:
        position = np.stack(source.all_world2pix(lon, lat, 0), axis=-1)
    except NoConvergence as error:
        # Far outside its image a SIP polynomial has no inverse; that matters
        # only for points on the image, which the caller sees as a broken cell.
        position = np.array(error.best_solution)
        for failed in (error.divergent, error.slow_conv):
            if failed is not None:
                position[failed] = np.nan
    position[~np.isfinite(position).all(axis=-1)] = NOWHERE
    return position.reshape(*x.shape, 2)


def _inside(position: FloatArray, shape: tuple[int, int], margin: float = 0.5) -> NDArray[np.bool_]:
    x, y = position[..., 0], position[..., 1]
    return (x >= -margin) & (x <= shape[1] - 1 + margin) & (y >= -margin) & (y <= shape[0] - 1 + margin)


def _near_source(fine: FloatArray, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Points on the source or next to one that is; all that they lean on must have a position."""
    from scipy.ndimage import binary_dilation

    square = np.ones((3, 3), bool)
    near = binary_dilation(_inside(fine, shape), square)
    if (fine[binary_dilation(near, square)] == NOWHERE).any():
        raise AlignmentError(
            "the WCS of the reference has no inverse on its own image, expected a distortion that is one "
            "to one there; remove the WCS to align on stars"
        )
    return np.asarray(near, bool)
