"""The highest peaks of a periodogram.

Local maxima that are apart; what they mean is decided elsewhere.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError

__all__ = ["highest_peaks"]


def highest_peaks(
    power: ArrayLike, count: int, apart: int = 10, usable: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Find the highest local maxima.

    Parameters
    ----------
    power : (m,) array_like
        Higher is better: negate an entropy.
    count : int
        At most so many.
    apart : int
        Samples between two peaks; of two that are nearer the higher one is kept.
    usable : (m,) bool ndarray, optional
        Where a peak may be.

    Returns
    -------
    index : (<= count,) int64 ndarray
        The highest first.

    Raises
    ------
    LightCurveError
        Nothing is usable.
    """
    values = np.asarray(power, dtype=np.float64)
    allowed = np.ones(values.size, dtype=bool) if usable is None else usable
    if not allowed.any():
        raise LightCurveError(
            "every trial frequency is masked; mask fewer, or widen the range of frequencies"
        )
    padded = np.concatenate([[-np.inf], np.where(allowed, values, -np.inf), [-np.inf]])
    local = np.flatnonzero((padded[1:-1] > padded[:-2]) & (padded[1:-1] >= padded[2:]) & allowed)
    if local.size == 0:
        local = np.array([int(np.argmax(padded[1:-1]))])
    # with `count` peaks, each has fewer than 2 * apart / 2 others near it: no need to order them all
    enough = min(local.size, count * (apart + 1))
    local = local[np.argpartition(-values[local], enough - 1)[:enough]]
    local = local[np.argsort(-values[local], kind="stable")]
    kept: list[int] = []
    for index in local:
        if all(abs(int(index) - other) >= apart for other in kept):
            kept.append(int(index))
            if len(kept) == count:
                break
    return np.array(kept, dtype=np.int64)
