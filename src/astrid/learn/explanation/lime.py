"""LIME: a linear model of the score around one item, fitted to copies in which parts are hidden.

The parts are windows of images and series, and single features. The fit is a ridge regression
weighted towards the copies that resemble the item.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid.learn.explanation.item import Item
from astrid.learn.explanation.question import Score
from astrid.learn.explanation.result import Attribution

__all__ = ["lime"]

_WIDTH = 0.25  # of the kernel, in cosine distance
_RIDGE = 1e-4  # of the sum of the weights: determines the fit, and shrinks it by less than 0.1 %


def lime(score: Score, item: Item, *, seed: int, samples: int | None, window: int | None) -> Attribution:
    """What each part adds in the linear model.

    Parameters
    ----------
    score : Score
    item : Item
    seed : int
        Of the copies; each part is hidden in half of them.
    samples : int, optional
        How many copies; 100 and ten for each part if not given.
    window : int, optional
        Size of a window along each axis; chosen from the shape if not given.

    Returns
    -------
    Attribution

    Raises
    ------
    UsageError
        Fewer copies than parts.

    References
    ----------
    Ribeiro et al. 2016, arXiv:1602.04938, section 3.3 and algorithm 1.
    """
    parts = item.parts("windows", window)
    n = parts.copies(samples)
    hidden, replaced_by = item.replacement
    keep = np.random.default_rng(seed).random((n, parts.n)) < 0.5
    keep[0] = True
    scores = score(n, lambda start, stop: item.masked(parts, keep[start:stop], hidden))
    distance = 1 - np.sqrt(keep.mean(axis=1))  # cosine distance from the vector of ones
    weight = np.exp(-0.5 * (distance / _WIDTH) ** 2)
    slopes, explained = _ridge(keep.astype(np.float64), scores, weight)
    note = f"the linear model explains {explained:.1%} of the (weighted) variance of {n} copies"
    return Attribution(parts.spread(slopes), replaced_by=replaced_by, notes=(note,))


def _ridge(
    x: NDArray[np.float64], y: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Slopes of the weighted ridge regression with intercept, and the share of variance it explains."""
    weight = weight / weight.sum()
    x, y = x - weight @ x, y - weight @ y
    slopes = np.linalg.solve((x.T * weight) @ x + _RIDGE * np.eye(x.shape[1]), (x.T * weight) @ y)
    variance = float(weight @ y**2)
    left = float(weight @ (y - x @ slopes) ** 2)
    return np.asarray(slopes, np.float64), 1.0 if variance == 0 else 1 - left / variance
