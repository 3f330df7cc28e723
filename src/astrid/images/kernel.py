"""Fit the kernel that makes the sharper frame look like the other: for PSFs that cannot be measured.

The kernel is free at every pixel and varies over the image by a polynomial; it is found
by linear least squares with a smoothness prior. The subtraction itself is `proper`'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy import linalg, ndimage

from astrid.errors import SubtractionError
from astrid.images.frame import Frame
from astrid.images.proper import Stamp
from astrid.images.psf import PSF, at_position, scaled, terms

__all__ = ["FittedKernel", "fit_kernel"]

_CELL = 32
_MOST_CELLS = 160
_FEWEST_CELLS = 4
_STRENGTHS = (1e-9, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
_CLIP = 5.0
_MISFIT = 0.05
_ONE = np.ones((1, 1), np.float32)


@dataclass(frozen=True, eq=False)
class FittedKernel:
    """The matching of Alard & Lupton: one frame is convolved, the other stays as it is.

    Parameters
    ----------
    coefficients : (n_terms, m, m) float64 ndarray
        Kernel for each polynomial term, m odd.
    convolved : {"science", "reference"}
    shape : (int, int)
    psf : PSF
        Of the science frame: what a new source looks like.
    background : (ny, nx) float32 ndarray, ADU
        What has to be taken off the science frame besides.
    chi2 : float
        Mean squared residual of the fit over its noise; 1 is right.
    smoothness : float
        Strength of the prior that predicted left-out cells best.
    n_cells : int
        Pieces of the image that took part.
    """

    coefficients: NDArray[np.float64]
    convolved: str
    shape: tuple[int, int]
    psf: PSF
    background: NDArray[np.float32]
    chi2: float
    smoothness: float
    n_cells: int

    @property
    def size(self) -> int:
        """Side of the largest stamp, px."""
        return max(self.psf.size, self.coefficients.shape[1])

    @property
    def varies(self) -> bool:
        """Whether the kernel or the PSF depends on the position."""
        return len(self.coefficients) > 1 or self.psf.degree > 0

    @property
    def curvature(self) -> float:
        """Second-order change of the kernel's or the PSF's peak to the edge, relative."""
        middle = self.coefficients.shape[1] // 2
        peak = self.coefficients[:, middle, middle]
        return max(float(np.abs(peak[3:]).max(initial=0) / abs(peak[0])), self.psf.curvature)

    @property
    def flux_ratio(self) -> float:
        """Flux in the reference over flux in the science frame, in the middle of the image."""
        total = float(self.kernel_at((self.shape[1] - 1) / 2, (self.shape[0] - 1) / 2).sum())
        return total if self.convolved == "science" else 1 / total

    def kernel_at(self, x: float, y: float) -> NDArray[np.float64]:
        """Kernel at a place of the image, (m, m)."""
        return at_position(self.coefficients, *scaled(x, y, self.shape))

    def at(self, x: float, y: float) -> tuple[Stamp, Stamp, Stamp]:
        """Stamps A, B and P; the frame that is not convolved has a single 1."""
        kernel = self.kernel_at(x, y).astype(np.float32)
        a, b = (kernel, _ONE) if self.convolved == "science" else (_ONE, kernel)
        return a, b, self.psf.at(x, y)


def fit_kernel(
    science: Frame, reference: Frame, psf: PSF, *, fwhm_reference: float, degree: int | None = None
) -> FittedKernel:
    """Fit the matching kernel on the pieces of the image that hold light.

    Parameters
    ----------
    science, reference : Frame
        Background-subtracted, on one grid, with variances, flagged pixels filled.
    psf : PSF
        Of the science frame, measured or assumed.
    fwhm_reference : float, px
    degree : int, optional
        Degree of the kernel's variation; chosen by the number of pieces if not given.

    Returns
    -------
    kernel : FittedKernel

    Raises
    ------
    SubtractionError
        Too little light in common, or a kernel that is not positive.

    References
    ----------
    Alard & Lupton 1998, ApJ 503, 325; Bramich 2008, MNRAS 386, L77 (free pixels);
    Becker et al. 2012, MNRAS 425, 1341 (smoothness prior).
    """
    convolved = "science" if psf.fwhm < fwhm_reference else "reference"
    sharp, broad = (science, reference) if convolved == "science" else (reference, science)
    half = int(np.clip(np.ceil(1.3 * max(psf.fwhm, fwhm_reference)), 4, 11))
    cells = _choose_cells(sharp, broad, half)
    if len(cells) < _FEWEST_CELLS:
        raise SubtractionError(
            f"{science.name}: only {len(cells)} pieces of the image hold light that both frames share, but a "
            f"kernel needs {_FEWEST_CELLS}; use deeper or larger frames"
        )
    if degree is None:
        degree = 2 if len(cells) >= 100 and half <= 7 else 1 if len(cells) >= 40 else 0
    fit = _Fit(sharp, broad, cells, half, degree)
    fit.solve()
    fit.clip()
    fit.solve()
    # The fit correlates; a convolution runs the kernel backwards.
    coefficients = fit.kernel[:, ::-1, ::-1].copy()
    total = float(coefficients[0].sum())
    if not total > 0:
        raise SubtractionError(
            f"{science.name}: the fitted kernel has the sum {total:.3g}, so the frames do not show the same "
            "stars; check that they belong together"
        )
    # The fit's sky belongs to the broad frame; seen from before the convolution it is weaker and opposite.
    background = fit.background(science.shape) * np.float32(-1 / total if convolved == "science" else 1)
    return FittedKernel(
        coefficients, convolved, science.shape, psf, background, fit.chi2(), fit.strength, len(cells)
    )


def _choose_cells(sharp: Frame, broad: Frame, half: int) -> list[tuple[int, int]]:
    """Corners (row, column) of the cells with the most light in both frames, brightest first."""
    assert sharp.variance is not None and broad.variance is not None
    ny, nx = sharp.shape
    snr2 = np.square(np.maximum(sharp.data, 0)) / np.maximum(sharp.variance, 1e-30)
    snr2 *= np.square(np.maximum(broad.data, 0)) / np.maximum(broad.variance, 1e-30)
    shared = np.sqrt(np.sqrt(snr2))
    shared[(sharp.mask | broad.mask) != 0] = 0
    # The noise alone gives about 0.6 per pixel; a star gives several at its core.
    lit = np.where(shared > 2.5, np.minimum(shared, 100), 0)
    corners = [
        (row, column)
        for row in range(half, ny - half - _CELL + 1, _CELL)
        for column in range(half, nx - half - _CELL + 1, _CELL)
    ]
    light = np.array([lit[row : row + _CELL, column : column + _CELL].sum() for row, column in corners])
    order = np.argsort(-light, kind="stable")[:_MOST_CELLS]
    return [corners[index] for index in order if light[index] > 30]


@dataclass(frozen=True, eq=False)
class _Gram:
    """Normal equations of one cell, a z = b, with the squared data c, over so many pixels."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: float
    pixels: int


class _Fit:
    """The linear system of a kernel that varies over the image, assembled cell by cell.

    Within a cell the polynomial is constant, so that each cell needs one small matrix
    and the large one is a sum of Kronecker products (Alard 2000, A&AS 144, 363).
    """

    def __init__(
        self, sharp: Frame, broad: Frame, cells: list[tuple[int, int]], half: int, degree: int
    ) -> None:
        assert sharp.variance is not None and broad.variance is not None
        self.half, self.side, self.degree = half, 2 * half + 1, degree
        shut = ndimage.maximum_filter((sharp.mask != 0).view(np.uint8), self.side, mode="constant") != 0
        shut |= broad.mask != 0
        # Noise of the sharp frame enters through the kernel, whose square sums to about 1 / 4 pi sigma^2.
        variance = broad.variance + 0.3 * sharp.variance
        self.weight = np.where(shut, 0, 1 / np.maximum(variance, 1e-30)).astype(np.float32)
        self.sharp, self.broad, self.cells = sharp.data, broad.data, cells
        centres = np.array(cells, float).reshape(-1, 2) + _CELL / 2
        u, v = scaled(centres[:, 1], centres[:, 0], sharp.shape)
        self.basis, self.sky = terms(u, v, degree), terms(u, v, 1)
        self.n_terms = self.basis.shape[1]
        self.prior = _prior(half)
        self.grams = [self._gram(cell, self._weight(cell)) for cell in cells]
        self.strength = _STRENGTHS[0]
        self.solution = np.zeros(self.n_terms * self.side**2 + 3)

    @property
    def kernel(self) -> NDArray[np.float64]:
        """Coefficients, (n_terms, side, side)."""
        return self.solution[:-3].reshape(self.n_terms, self.side, self.side)

    def background(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Fitted difference of the skies, broad minus convolved sharp."""
        u, v = scaled(np.arange(shape[1], dtype=float), np.arange(shape[0], dtype=float), shape)
        plane = self.solution[-3] + self.solution[-2] * u[None, :] + self.solution[-1] * v[:, None]
        return np.asarray(plane, np.float32)

    def chi2(self) -> float:
        """Median over the cells of the mean squared residual over its noise."""
        return float(np.median([self._misfit(index) for index in range(len(self.cells))]))

    def solve(self) -> None:
        """Fit with the prior that predicts every other cell best."""
        index = np.arange(len(self.cells))
        even, odd = self._system(index[::2]), self._system(index[1::2])
        losses = []
        for strength in _STRENGTHS:
            loss = 0.0
            for system, held_out in ((even, index[1::2]), (odd, index[::2])):
                self.solution = self._solution(system, strength)
                loss += sum(min(self._misfit(cell), 25.0) for cell in held_out)
            losses.append(loss)
        self.strength = _STRENGTHS[int(np.argmin(losses))]
        whole = tuple(one + other for one, other in zip(even, odd, strict=True))
        self.solution = self._solution(whole, self.strength)

    def clip(self) -> None:
        """Leave out pixels far off the fit: transients, cosmic rays, saturated wings."""
        for index, cell in enumerate(self.cells):
            weight = self._weight(cell)
            patches, data = self._design(cell)
            model = patches @ self._local(index)
            # A few per cent of a bright star is misfit, not an outlier: its pixels must stay.
            error = np.sqrt(1 / np.maximum(weight, 1e-30) + np.square(_MISFIT * model))
            weight[np.abs(data - model) > _CLIP * error] = 0
            self.grams[index] = self._gram(cell, weight)

    def _weight(self, cell: tuple[int, int]) -> NDArray[np.float32]:
        row, column = cell
        return self.weight[row : row + _CELL, column : column + _CELL].ravel().copy()

    def _design(self, cell: tuple[int, int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Neighbourhood of every pixel of the sharp frame and a constant; data of the broad one."""
        row, column = cell
        box = self.sharp[
            row - self.half : row + _CELL + self.half, column - self.half : column + _CELL + self.half
        ]
        patches = sliding_window_view(box, (self.side, self.side)).reshape(_CELL * _CELL, self.side**2)
        constant = np.ones((_CELL * _CELL, 1), np.float32)
        data = self.broad[row : row + _CELL, column : column + _CELL].ravel()
        return np.concatenate([patches, constant], axis=1), data

    def _gram(self, cell: tuple[int, int], weight: NDArray[np.float32]) -> _Gram:
        patches, data = self._design(cell)
        root = np.sqrt(weight)
        patches, data = patches * root[:, None], data * root
        return _Gram(
            (patches.T @ patches).astype(float),
            (patches.T @ data).astype(float),
            float(np.vdot(data, data)),
            int((weight > 0).sum()),
        )

    def _local(self, index: int) -> NDArray[np.float64]:
        """Kernel and sky of one cell."""
        kernel = np.tensordot(self.basis[index], self.kernel, 1).ravel()
        return np.append(kernel, self.sky[index] @ self.solution[-3:])

    def _misfit(self, index: int) -> float:
        gram, z = self.grams[index], self._local(index)
        return float((z @ gram.a @ z - 2 * gram.b @ z + gram.c) / max(gram.pixels, 1))

    def _system(self, chosen: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Normal matrix and right side of the whole field from some of its cells."""
        inner, n_terms = self.side**2, self.n_terms
        size = n_terms * inner
        a = np.stack([self.grams[index].a for index in chosen])
        b = np.stack([self.grams[index].b for index in chosen])
        phi, psi = self.basis[chosen], self.sky[chosen]
        normal, right = np.zeros((size + 3, size + 3)), np.zeros(size + 3)
        blocks = normal[:size, :size].reshape(n_terms, inner, n_terms, inner)
        for one in range(n_terms):
            for other in range(one + 1):
                block = np.tensordot(phi[:, one] * phi[:, other], a[:, :inner, :inner], 1)
                blocks[one, :, other] = blocks[other, :, one] = block
        mixed = np.einsum("cp,cq,ci->piq", phi, psi, a[:, :inner, inner]).reshape(size, 3)
        normal[:size, size:], normal[size:, :size] = mixed, mixed.T
        normal[size:, size:] = np.einsum("cp,cq,c->pq", psi, psi, a[:, inner, inner])
        right[:size] = np.einsum("cp,ci->pi", phi, b[:, :inner]).ravel()
        right[size:] = psi.T @ b[:, inner]
        return normal, right

    def _solution(self, system: tuple[NDArray[np.float64], ...], strength: float) -> NDArray[np.float64]:
        normal, right = system[0].copy(), system[1]
        inner = self.side**2
        scale = float(np.trace(normal[:inner, :inner])) / inner
        for term in range(self.n_terms):
            block = slice(term * inner, (term + 1) * inner)
            normal[block, block] += strength * scale * self.prior
        normal[-3:, -3:] += 1e-9 * np.eye(3) * max(float(np.trace(normal[-3:, -3:])), 1e-30)
        return np.asarray(linalg.solve(normal, right, assume_a="pos", overwrite_a=True))


def _prior(half: int) -> NDArray[np.float64]:
    """Quadratic form that grows with roughness and with power far from the middle."""
    side = 2 * half + 1
    second = np.diff(np.eye(side + 2), 2, axis=0)[:, 1:-1]
    rough = np.kron(second.T @ second, np.eye(side)) + np.kron(np.eye(side), second.T @ second)
    offset = np.arange(-half, half + 1)
    radius = np.hypot(offset[:, None], offset[None, :]).ravel() / half
    return np.asarray(rough + np.diag(0.1 + 3 * radius**4))
