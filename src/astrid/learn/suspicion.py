"""Which of the given labels to look at again, because the model believes otherwise.

An order and nothing else: about one in five of the first ones is wrong where one in twenty of all
is, so nothing is ever changed by it without a person.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.learn.queries import checked_probabilities

__all__ = ["suspicion"]


def suspicion(p: NDArray[Any], given: NDArray[Any]) -> NDArray[np.float64]:
    """How much more the model believes in another label than in the given one.

    A model is surer of some classes than of others; each probability is therefore taken beside
    the mean one of the items that were given that class.

    Parameters
    ----------
    p : (n, k) ndarray
        Probabilities by models that were not trained on the item: from folds, or of a model that
        is older than the labels.
    given : (n,) int ndarray
        Number of the label that each item has; -1 for none, which has nothing to suspect.

    Returns
    -------
    value : (n,) float64 ndarray
        From 0 to 1, larger for what is to be looked at sooner; 0 without a label.

    Raises
    ------
    DatasetError
        No probabilities, another number of labels than of items, or a label out of range.

    References
    ----------
    Northcutt, Jiang & Chuang 2021, arXiv:1911.00068, section 3.1 (thresholds of the classes);
    Kuan & Mueller 2022, ICML DataPerf (their use for an order).
    """
    values = checked_probabilities(p)
    labels = np.asarray(given, np.int64)
    if labels.shape != (len(values),):
        raise DatasetError(f"there are {labels.size} labels for {len(values)} items; give one for each")
    n_classes = values.shape[1]
    if len(labels) and not -1 <= labels.min() <= labels.max() < n_classes:
        raise DatasetError(f"a label is not between -1 and {n_classes - 1}, the classes that p has")
    # how sure the model is of a class where it was given; of one that nobody gave it would have to be certain
    occurs = [(labels == k).any() for k in range(n_classes)]
    usual = np.array([values[labels == k, k].mean() if occurs[k] else 1.0 for k in range(n_classes)])
    shifted = values - usual + usual.max()
    shifted /= shifted.sum(axis=1, keepdims=True)
    place = np.maximum(labels, 0)[:, None]
    own = np.take_along_axis(shifted, place, axis=1)[:, 0]
    np.put_along_axis(shifted, place, -np.inf, axis=1)
    return np.where(labels >= 0, (1 - own + shifted.max(axis=1)) / 2, 0.0)
