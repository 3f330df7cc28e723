"""Expected interest beside numerical integration and scikit-learn's own process."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from astrid.errors import DatasetError
from astrid.learn.interest import expected_improvement, expected_interest


@pytest.mark.parametrize(("mean", "deviation"), [(0, 1), (3, 0.5), (-2, 4), (4.9, 0.01)])
@pytest.mark.parametrize("tradeoff", [0, 0.5])
def test_expected_improvement_is_the_integral(mean, deviation, tradeoff):
    best = 2.5
    edge = best + tradeoff
    wanted, _ = quad(
        lambda x: (x - edge) * norm.pdf(x, mean, deviation),
        edge,
        max(edge, mean + 12 * deviation),
        epsabs=1e-12,
    )
    assert expected_improvement([mean], [deviation], best, tradeoff)[0] == pytest.approx(wanted, abs=1e-9)


def test_what_is_known_for_sure_improves_by_its_difference():
    np.testing.assert_array_equal(expected_improvement([1, 4], [0, 0], 2.0, 0.5), [0, 1.5])


def test_interest_is_expected_near_what_was_rated_well():
    rng = np.random.default_rng(0)
    features = rng.uniform(-3, 3, (400, 2))
    ratings = 5 * np.exp(-((features - 1) ** 2).sum(axis=1))
    labelled = rng.permutation(400)[:80]
    value = expected_interest(features, labelled, ratings[labelled] + rng.normal(0, 0.1, 80), tradeoff=0)
    best = np.argsort(-value)[:20]
    assert np.linalg.norm(features[best] - 1, axis=1).max() < 1.5
    assert (value >= 0).all()


def test_a_scale_of_ratings_changes_nothing_but_the_scale():
    rng = np.random.default_rng(1)
    features, labelled, ratings = rng.normal(size=(100, 3)), np.arange(30), rng.integers(0, 6, 30)
    plain = expected_interest(features, labelled, ratings, 0.5)
    np.testing.assert_allclose(
        expected_interest(features, labelled, 10.0 * ratings, 5), 10 * plain, rtol=1e-6
    )


def test_where_nothing_was_interesting_the_farthest_is_asked():
    features = np.linspace(0, 10, 50)[:, None]
    value = expected_interest(features, np.arange(10), np.zeros(10))
    assert (np.diff(value[10:]) > 0).all()


def test_without_ratings_all_are_alike():
    np.testing.assert_array_equal(expected_interest(np.eye(3), np.empty(0, int), []), 1)


@pytest.mark.parametrize(
    ("labelled", "ratings", "words"),
    [
        ([0, 1], [1], "2 items are rated, but there are 1 ratings"),
        ([0], [np.nan], "rating 0 is not finite"),
        ([3], [1], "none of the 3 items"),
    ],
)
def test_ratings_that_fit_no_item_are_told(labelled, ratings, words):
    with pytest.raises(DatasetError, match=words):
        expected_interest(np.eye(3), labelled, ratings)
