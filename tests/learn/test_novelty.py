"""Novelty scores beside brute force, scipy and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist, mahalanobis
from sklearn.covariance import LedoitWolf
from sklearn.ensemble import IsolationForest

from astrid.errors import DatasetError
from astrid.learn import novelty
from astrid.learn.novelty import embeddings, novelty_scores


@pytest.fixture
def cloud():
    rng = np.random.default_rng(1)
    return rng.normal(0, [1, 10, 0.1], (500, 3)), rng.normal(0, [1, 10, 0.1], (40, 3))


def test_neighbours_are_those_of_brute_force_in_units_of_the_widths(cloud):
    known, items = cloud
    distances = np.sort(cdist(items / known.std(axis=0), known / known.std(axis=0)), axis=1)
    np.testing.assert_allclose(novelty_scores(known, items, neighbours=7), distances[:, :7].mean(axis=1))


def test_mahalanobis_distance_is_that_of_scipy(cloud):
    known, items = cloud
    fitted = LedoitWolf().fit((known - known.mean(axis=0)) / known.std(axis=0))
    wanted = [
        mahalanobis((item - known.mean(axis=0)) / known.std(axis=0), fitted.location_, fitted.precision_)
        for item in items
    ]
    np.testing.assert_allclose(novelty_scores(known, items, "mahalanobis"), wanted)


def test_isolation_is_that_of_scikit_learn(cloud):
    known, items = cloud
    scaled = [(one - known.mean(axis=0)) / known.std(axis=0) for one in (known, items)]
    forest = IsolationForest(n_estimators=200, random_state=3).fit(scaled[0])
    np.testing.assert_allclose(
        novelty_scores(known, items, "isolation", seed=3), -forest.score_samples(scaled[1])
    )


@pytest.mark.parametrize("method", ["neighbours", "mahalanobis", "isolation"])
def test_what_lies_apart_scores_highest(cloud, method):
    known, items = cloud
    items = np.concatenate([items, [[6, -60, 0.6]]])  # 6 widths away in each feature
    assert novelty_scores(known, items, method).argmax() == 40


def test_a_feature_that_never_varied_does_not_count(cloud):
    known, items = cloud
    wider = [np.column_stack([one, np.full(len(one), 7.0)]) for one in (known, items)]
    wider[1][:, 3] = 9
    np.testing.assert_allclose(novelty_scores(*wider), novelty_scores(known, items))


def test_many_known_items_are_drawn_from_by_the_seed(cloud, monkeypatch):
    known, items = cloud
    monkeypatch.setattr(novelty, "_MOST_KNOWN", 200)
    first, again, other = (novelty_scores(known, items, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert np.corrcoef(first, other)[0, 1] > 0.9


def test_embeddings_are_what_the_network_makes_of_any_rows(toy_task, toy_bundle, toy_dataset):
    import torch

    network = toy_task.build_network()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in toy_bundle.weights.items()})
    rows = np.array([5, 3, 800, 77])
    seen = []
    found = embeddings(
        network, toy_task, toy_dataset, rows, batch_size=3, on_progress=lambda *done: seen.append(done)
    )
    with torch.no_grad():
        wanted = network.embed(image=torch.from_numpy(toy_dataset.arrays["image"][rows]))
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5)
    assert seen == [(3, 4), (4, 4)]
    assert network.training  # left as it was


@pytest.mark.parametrize(
    ("known", "items", "words"),
    [
        (np.zeros((3, 2)), np.zeros((3, 3)), r"\(3, 2\) and those of the items \(3, 3\)"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "fewer than two"),
        (np.zeros((5, 2)), np.zeros((3, 2)), "no feature of the known items varies"),
        (np.eye(2), np.array([[0, np.nan]]), "given item 0 is not finite"),
        (np.array([[0, 1], [np.inf, 0]]), np.eye(2), "known item 1 is not finite"),
    ],
)
def test_what_has_no_novelty_is_told_in_one_sentence(known, items, words):
    with pytest.raises(DatasetError, match=words):
        novelty_scores(known, items)
