"""The peer of a network on pixels: a random forest on the measured features of the same candidates."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.images.artefact_flags import FLAGS
from astrid.learn.dataset import Dataset
from astrid.learn.task import Binary

__all__ = ["FEATURES", "features", "fitted_forest"]

FEATURES = (
    "snr", "flux", "flux_err", "fwhm", "elongation", "sharpness", "roundness", "dipole", "masked_fraction",
    "edge_distance", "star_distance", "star_mag", "mag", "galaxy_offset", "seeing", "seeing_reference",
)  # fmt: skip
"""Columns of a data set that do not say where on the sky or in the frame a candidate is."""

_TREES = 500


def features(dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The features of some rows, with one column for each flag; NaN where not known.

    Returns
    -------
    features : (n, 16 + flags) float32 ndarray
    """
    numbers = [dataset.column(name).astype(np.float32)[rows] for name in FEATURES]
    texts = dataset.column("flags")[rows]
    flags = [np.array([flag in text.split(",") for text in texts], np.float32) for flag in FLAGS]
    return np.stack([*numbers, *flags], axis=1)


def fitted_forest(dataset: Dataset, rows: NDArray[np.int64], seed: int = 0) -> Any:
    """A random forest that tells real from bogus by `features`."""
    from sklearn.ensemble import RandomForestClassifier

    labels = dataset.labels("real", Binary(labels=("bogus", "real")))[rows]
    forest = RandomForestClassifier(
        _TREES, min_samples_leaf=3, class_weight="balanced", n_jobs=2, random_state=seed
    )
    return forest.fit(features(dataset, rows), labels >= 0.5)
