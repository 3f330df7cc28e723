"""Claims of `learn.epoch_figures`: scikit-learn's figures, and none where a class is absent."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from astrid.learn.epoch_figures import figure_names, figures_of
from astrid.learn.task import Binary, HeatMap, Multiclass, Multilabel, Regression

RNG = np.random.default_rng(0)


def test_binary_figures_are_scikit_learns_over_labelled_items():
    truth = RNG.integers(0, 2, 300).astype(np.float32)
    logits = (truth + RNG.normal(size=300))[:, None] - 0.5
    padded = np.append(truth, [np.nan] * 5), np.concatenate([logits, np.zeros((5, 1))])
    found = figures_of(Binary(labels=("no", "yes")), padded[1], padded[0])
    (tn, fp), (fn, tp) = metrics.confusion_matrix(truth, logits[:, 0] >= 0)
    assert found["aucpr"] == pytest.approx(metrics.average_precision_score(truth, logits[:, 0]))
    assert found["fnr"] == pytest.approx(fn / (fn + tp))
    assert found["fpr"] == pytest.approx(fp / (fp + tn))


def test_multiclass_figures_are_scikit_learns():
    truth = RNG.integers(0, 3, 300)
    logits = 2 * np.eye(3)[truth] + RNG.normal(size=(300, 3))
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = figures_of(Multiclass(labels=("a", "b", "c")), logits, truth)
    assert found["aucpr"] == pytest.approx(
        metrics.average_precision_score(np.eye(3)[truth], shares, average="macro")
    )
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(truth, logits.argmax(axis=1))
    )


def test_multilabel_figure_is_scikit_learns():
    truth = RNG.integers(0, 2, (300, 2)).astype(np.float32)
    logits = truth + RNG.normal(size=(300, 2))
    found = figures_of(Multilabel(labels=("a", "b")), logits, truth)
    assert found["aucpr"] == pytest.approx(metrics.average_precision_score(truth, logits, average="macro"))


def test_errors_of_numbers_leave_absent_truth_out():
    truth = np.array([[1.0, np.nan], [3.0, 2.0]])
    found = figures_of(Regression(names=("u", "v")), np.array([[2.0, 9.0], [3.0, 0.0]]), truth)
    assert found == {"mae": 1.0, "bias": pytest.approx(-1 / 3)}


def test_figure_of_a_class_without_items_is_absent():
    ones = np.ones(5, np.float32)
    assert set(figures_of(Binary(labels=("no", "yes")), np.zeros((5, 1)), ones)) == {"fnr"}
    assert set(figures_of(Binary(labels=("no", "yes")), np.zeros((5, 1)), 0 * ones)) == {"fpr"}
    assert figures_of(Regression(names=("u",)), np.zeros((5, 1)), np.full((5, 1), np.nan)) == {}


def test_names_are_known_before_the_first_epoch():
    heads = {"real": Binary(labels=("no", "yes")), "map": HeatMap(shape=(2, 2), truth="m")}
    assert figure_names(heads) == (
        "training/loss", "validation/loss", "validation/real/loss", "validation/map/loss",
        "validation/real/aucpr", "validation/real/fnr", "validation/real/fpr", "validation/map/mae", "lr",
    )  # fmt: skip
    assert figure_names({"real": heads["real"]})[:3] == (
        "training/loss", "validation/loss", "validation/real/aucpr",
    )  # fmt: skip
