"""`Distortion`: a smooth displacement fitted to matched stars, no more complex than they can tell.

A polynomial and its honest error; which stars are matched is decided in
`matching` and `alignment`, and `mapping` applies the displacement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import chebyshev
from numpy.typing import ArrayLike, NDArray

__all__ = ["Distortion", "fit_distortion"]

FloatArray = NDArray[np.float64]

# Fewest stars for a polynomial of order 0, 1, 2, ...: some twenty for each coefficient.
STARS_FOR_ORDER = (1, 10, 30, 100, 250, 400, 600)
# A star farther off than this many sigma (both axes together) has no say.
CLIP = 5.0
# Beyond the outermost stars a curved polynomial knows nothing: there it is held constant.
REACH = 1.1
FLOOR = 0.01  # px: no centroid is better than that
MEDIAN_SQUARE = 2 * np.log(2.0)  # median of the squared length of a 2-D normal deviate of unit sigma


@dataclass(frozen=True, eq=False)
class Distortion:
    """Displacement as a function of position, a Chebyshev polynomial in each axis.

    Parameters
    ----------
    order : int
        Total degree; -1 is no displacement at all.
    centre, half : (2,) float64 ndarray, px
        Middle and half size of the box of the stars.
    coefficients : (k, 2) float64 ndarray, px
        For the displacement in x and in y, terms by rising total degree.
    left_out : (n, 2) float64 ndarray, px
        Displacement of each star less what the others predict for it.
    scatter : float, px
        Robust rms of `left_out` per axis.
    """

    order: int
    centre: FloatArray
    half: FloatArray
    coefficients: FloatArray
    left_out: FloatArray
    scatter: float

    def __call__(self, x: ArrayLike, y: ArrayLike) -> tuple[FloatArray, FloatArray]:
        """Displacement at positions, px."""
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        if self.order < 0:
            return np.zeros(x.shape), np.zeros(x.shape)
        design = _design(x.ravel(), y.ravel(), self.centre, self.half, self.order)
        dx, dy = (design @ self.coefficients).T
        return dx.reshape(x.shape), dy.reshape(x.shape)


def fit_distortion(
    x: FloatArray,
    y: FloatArray,
    dx: FloatArray,
    dy: FloatArray,
    sigma: FloatArray,
    *,
    largest_order: int = 6,
    allow_none: bool = False,
) -> Distortion:
    """Fit a displacement to stars, robustly, with the order that predicts left-out stars best.

    Parameters
    ----------
    x, y : (n,) float64 ndarray, px
    dx, dy : (n,) float64 ndarray, px
        Displacement of each star.
    sigma : (n,) float64 ndarray, px
        Its error per axis from photon noise; the scatter that the stars show beyond it
        is measured and added.
    largest_order : int
        0 to 6. Fewer stars than `STARS_FOR_ORDER` lower it.
    allow_none : bool
        Whether "no displacement" may be the answer (order -1).

    Returns
    -------
    distortion : Distortion

    Notes
    -----
    All orders come from one QR decomposition, and the residual of a left-out star is
    its residual over 1 - h, h being its leverage (Allen 1974, Technometrics 16, 125).
    """
    order = max(o for o, n in enumerate(STARS_FOR_ORDER) if o == 0 or (n <= len(x) and o <= largest_order))
    low = np.array([x.min(), y.min()])
    high = np.array([x.max(), y.max()])
    centre, half = (low + high) / 2, np.maximum((high - low) / 2, 1.0)
    design = _design(x, y, centre, half, order)
    displacement = np.column_stack([dx, dy])
    residual = displacement - np.median(displacement, axis=0)
    weight = np.ones(len(x))
    for _ in range(4):
        square = (residual**2).sum(axis=1)
        variance = _measured_variance(square, sigma)
        # Tukey's biweight: outliers fade away instead of being cut.
        weight = np.clip(1 - square / variance / (2 * CLIP**2), 0, None) ** 2 / variance
        root = np.sqrt(weight)[:, None]
        q, r = np.linalg.qr(root * design)
        projection = q.T @ (root * displacement)
        residual = displacement - design @ _solve(r, projection)
    best, best_loss = 0, np.inf
    for candidate in range(-1 if allow_none else 0, order + 1):
        k = _terms(candidate)
        leverage = (q[:, :k] ** 2).sum(axis=1)
        left_out = (root * displacement - q[:, :k] @ projection[:k]) / (1 - leverage)[:, None]
        loss = float(np.minimum((left_out**2).sum(axis=1), CLIP**2).sum()) + 2 * k
        if loss < best_loss:
            best, best_loss = candidate, loss
    k = _terms(best)
    coefficients = _solve(r[:k, :k], projection[:k])
    leverage = (q[:, :k] ** 2).sum(axis=1)
    left_out = (displacement - design[:, :k] @ coefficients) / (1 - leverage)[:, None]
    scatter = float(np.sqrt(np.median((left_out**2).sum(axis=1)) / MEDIAN_SQUARE))
    return Distortion(best, centre, half, coefficients, left_out, scatter)


def _terms(order: int) -> int:
    return (order + 1) * (order + 2) // 2


def _design(x: FloatArray, y: FloatArray, centre: FloatArray, half: FloatArray, order: int) -> FloatArray:
    """Chebyshev products at positions, (n, k), by rising total degree, so that orders are nested."""
    u, v = (x - centre[0]) / half[0], (y - centre[1]) / half[1]
    if order > 1:
        u, v = np.clip(u, -REACH, REACH), np.clip(v, -REACH, REACH)
    along_x, along_y = chebyshev.chebvander(u, order), chebyshev.chebvander(v, order)
    columns = [along_x[:, total - j] * along_y[:, j] for total in range(order + 1) for j in range(total + 1)]
    return np.column_stack(columns)


def _solve(r: FloatArray, projection: FloatArray) -> FloatArray:
    """Coefficients from a QR decomposition; directions that no star constrains stay zero."""
    return np.asarray(np.linalg.lstsq(r, projection, rcond=1e-10)[0]) if len(r) else projection


def _measured_variance(square: FloatArray, sigma: FloatArray) -> FloatArray:
    """Variance per axis as the stars show it: photon noise times a factor, plus a floor.

    The factor comes from the fainter half, the floor from the brightest tenth.
    """
    order = np.argsort(sigma, kind="stable")
    faint, bright = order[len(order) // 2 :], order[: max(10, len(order) // 10)]
    factor = max(float(np.median(square[faint] / sigma[faint] ** 2)) / MEDIAN_SQUARE, 1.0)
    floor = float(np.median(square[bright] / MEDIAN_SQUARE - factor * sigma[bright] ** 2))
    return np.asarray(factor * sigma**2 + max(floor, FLOOR**2))
