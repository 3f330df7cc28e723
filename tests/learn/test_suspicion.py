"""Suspicious labels beside cleanlab, and that wrong ones come first."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.errors import DatasetError
from astrid.learn.suspicion import suspicion

P = np.array(
    [
        [0.30, 0.45, 0.25],
        [0.20, 0.05, 0.75],
        [0.01, 0.83, 0.16],
        [0.26, 0.47, 0.27],
        [0.23, 0.28, 0.49],
        [0.05, 0.77, 0.18],
    ]
)
GIVEN = np.array([0, 1, 2, 0, 1, 2])
QUALITY = np.array([0.39183673, 0.21632653, 0.22448980, 0.36734694, 0.41632653, 0.25714286])
"""What cleanlab 2.9.0 says of them: normalised margin, with adjusted probabilities."""


def test_suspicion_is_one_less_the_label_quality_of_cleanlab():
    np.testing.assert_allclose(suspicion(P, GIVEN), 1 - QUALITY, atol=1e-8)


def test_it_is_that_of_the_cleanlab_at_hand():
    rank = pytest.importorskip("cleanlab.rank")
    rng = np.random.default_rng(0)
    for k in (2, 4):
        p, given = rng.dirichlet(np.ones(k), 200), np.arange(200) % k
        wanted = rank.get_label_quality_scores(given, p, method="normalized_margin", adjust_pred_probs=True)
        np.testing.assert_allclose(suspicion(p, given), 1 - wanted)


def test_wrong_labels_come_first():
    """Five labels of a hundred are wrong; the model is right but unsure, and less sure of the rare class."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import cross_val_predict

    rng = np.random.default_rng(1)
    truth = (rng.random(3000) < 0.2).astype(int)
    features = rng.normal(size=(3000, 2)) + 2.5 * truth[:, None]
    wrong = rng.random(3000) < 0.05
    given = np.where(wrong, 1 - truth, truth)
    p = cross_val_predict(LogisticRegression(), features, given, method="predict_proba")
    first = np.argsort(-suspicion(p, given))[:150]
    assert wrong[first].mean() > 0.7


def test_no_label_is_not_suspicious_and_a_class_that_nobody_gave_is_believed_only_when_certain():
    value = suspicion([[0.2, 0.8], [0.9, 0.1], [0.4, 0.6]], [0, 0, -1])
    assert value[2] == 0
    assert value[0] > value[1]
    assert ((value >= 0) & (value <= 1)).all()


@pytest.mark.parametrize(
    ("given", "words"),
    [([0], "1 labels for 2 items"), ([0, 2], "between -1 and 1"), ([-2, 0], "between -1 and 1")],
)
def test_labels_that_do_not_fit_are_told(given, words):
    with pytest.raises(DatasetError, match=words):
        suspicion(np.full((2, 2), 0.5), given)
