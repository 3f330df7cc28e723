"""What a person would like to see next, learned from how interesting the items so far were to them.

A Gaussian process over features gives what an item is expected to be worth and how sure that is.
What an answer would teach a classifier is another question, which `queries` asks.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.learn.novelty import scaled
from astrid.learn.queries import checked_features

__all__ = ["expected_improvement", "expected_interest"]

_MOST_RATED = 1000
"""A Gaussian process costs the cube of its items; the latest so many are taken."""


def expected_improvement(
    mean: NDArray[Any], deviation: NDArray[Any], best: float, tradeoff: float = 0.0
) -> NDArray[np.float64]:
    """By how much normally distributed values are expected to exceed the best so far.

    Parameters
    ----------
    mean, deviation : (n,) ndarray
    best : float
    tradeoff : float
        Added to the best: larger values ask more where little is known.

    Returns
    -------
    value : (n,) float64 ndarray
        Mean of max(x - best - tradeoff, 0).

    References
    ----------
    Jones, Schonlau & Welch 1998, J. Global Optim. 13, 455, eq. 15.
    """
    from scipy.stats import norm

    above, width = np.asarray(mean, np.float64) - best - tradeoff, np.asarray(deviation, np.float64)
    known = width <= 0
    z = above / np.where(known, 1, width)
    return np.where(known, np.maximum(above, 0), above * norm.cdf(z) + width * norm.pdf(z))


def expected_interest(
    features: NDArray[Any],
    labelled: NDArray[np.integer],
    ratings: NDArray[Any],
    tradeoff: float = 0.5,
    seed: int = 0,
) -> NDArray[np.float64]:
    """How much more interesting than the best so far each item is expected to be.

    Parameters
    ----------
    features : (n, d) ndarray
        Each is brought to variance 1; a few tens of them at most, for with more all items are far
        from each other.
    labelled : (m,) int ndarray
        Items that were rated, the latest last; of more than 1000 the latest count.
    ratings : (m,) ndarray
        How interesting they are; larger for more, on any scale.
    tradeoff : float
        In units of the ratings: larger values ask more where little is known.
    seed : int
        Of the places from which the fit of the process begins.

    Returns
    -------
    value : (n,) float64 ndarray
        1 for all items where nothing was rated yet.

    Raises
    ------
    DatasetError
        A number that is not finite, another number of ratings than of items, or no such item.

    References
    ----------
    Lochner & Rudnick 2024, arXiv:2411.04188, section 3 (Protege).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, Matern, WhiteKernel

    values = checked_features(features)
    rows, given = np.asarray(labelled, np.int64), np.asarray(ratings, np.float64)
    if rows.shape != given.shape or rows.ndim != 1:
        raise DatasetError(
            f"{rows.size} items are rated, but there are {given.size} ratings; give one for each"
        )
    if not np.isfinite(given).all():
        raise DatasetError(f"rating {int(np.argmin(np.isfinite(given)))} is not finite; leave that item out")
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(values):
        raise DatasetError(f"an item is rated that is none of the {len(values)} items")
    if not len(rows):
        return np.ones(len(values))
    values = scaled(values, values)[0]
    rows, given = rows[-_MOST_RATED:], given[-_MOST_RATED:]
    width = float(given.std()) or 1.0
    reach = float(np.sqrt(values.shape[1]))  # distances grow with the number of features
    kernel = ConstantKernel(1.0, (1e-2, 1e2)) * Matern(reach, (1e-2 * reach, 1e2 * reach), nu=1.5)
    kernel += WhiteKernel(0.1, (1e-3, 1e1))
    # where all found the same, nothing tells how interest varies: as it stands, what is far is asked first
    fit = {"optimizer": None} if np.ptp(given) == 0 else {"n_restarts_optimizer": 1}
    process = GaussianProcessRegressor(kernel, random_state=seed, **fit)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a width at its bound is an answer too
        process.fit(values[rows], (given - given.mean()) / width)
    mean, deviation = process.predict(values, return_std=True)
    # of the interest itself, without the scatter of one person's ratings
    deviation = np.sqrt(np.maximum(deviation**2 - process.kernel_.k2.noise_level, 0))
    return expected_improvement(mean * width + given.mean(), deviation * width, float(given.max()), tradeoff)
