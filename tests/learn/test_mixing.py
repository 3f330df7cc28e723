"""The mixed queue: its shares, its start, and that it teaches a model more than chance does."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from astrid.errors import DatasetError, UsageError
from astrid.learn.mixing import Shares, levelled, mixed_queue
from astrid.learn.queries import expected_cost


@pytest.fixture
def items():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(600, 4))
    real = 1 / (1 + np.exp(-3 * features[:, 0]))
    return np.column_stack([1 - real, real]), features


@settings(max_examples=25, deadline=None)
@given(
    n=st.integers(0, 80), labelled=st.sets(st.integers(0, 59)), start=st.integers(0, 70),
    seed=st.integers(0, 9), described=st.sampled_from(["both", "p", "features"]), constant=st.booleans(),
)  # fmt: skip
def test_each_item_is_asked_once_and_none_that_is_labelled(n, labelled, start, seed, described, constant):
    rng = np.random.default_rng(1)
    p = rng.dirichlet([1, 1, 1], 60) if described != "features" else None
    features = rng.normal(size=(60, 12)) * (not constant) if described != "p" else None
    have = np.array(sorted(labelled), int)
    found = mixed_queue(probabilities=p, features=features, labelled=have, n=n, seed=seed, start=start)
    assert len(found.order) == len(found.value) == len(found.slot) == min(n, 60 - len(have))
    assert len(set(found.order.tolist())) == len(found.order)
    assert not labelled & set(found.order.tolist())
    early = found.slot[: max(start - len(have), 0)]
    assert set(early) <= {"diverse", "random"}
    again = mixed_queue(probabilities=p, features=features, labelled=have, n=n, seed=seed, start=start)
    np.testing.assert_array_equal(again.order, found.order)


def test_each_beginning_of_the_queue_has_the_shares_of_the_whole(items):
    p, features = items
    shares = Shares(uncertain=0.5, novel=0.2, random=0.2, interest=0.1)
    found = mixed_queue(
        probabilities=p,
        features=features,
        labelled=np.arange(100),
        n=200,
        shares=shares,
        ratings=np.arange(100.0),
    )
    for length in (10, 50, 200):
        counts = Counter(found.slot[:length])
        for slot, share in vars(shares).items():
            assert abs(counts[slot] - share * length) <= 2, (slot, length)


def test_shares_that_cannot_be_had_go_to_the_random_ones(items):
    p, _ = items
    found = mixed_queue(probabilities=p, features=None, labelled=np.arange(100), n=100)
    assert Counter(found.slot) == {"uncertain": 85, "random": 15}
    assert set(mixed_queue(probabilities=p, features=None, labelled=[], n=50).slot) == {"random"}


def test_the_start_visits_each_group_of_like_items_before_it_comes_back():
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(12, 5)) * 20
    sizes = np.array([200, 100, 80, 60, 50, 40, 30, 20, 20, 20, 20, 20])
    group = np.repeat(np.arange(12), sizes)
    features = centres[group] + rng.normal(size=(len(group), 5)) * 0.1
    labelled = np.flatnonzero(group == 3)[:1]
    found = mixed_queue(probabilities=None, features=features, labelled=labelled, n=11, start=12)
    diverse = np.array([slot == "diverse" for slot in found.slot])
    asked = group[found.order[diverse]]
    assert diverse.sum() >= 9
    assert len(set(asked.tolist())) >= len(asked) - 1
    assert 3 not in asked


def test_uncertain_items_are_the_costliest_but_not_alike(items):
    p, features = items
    # each undecided item has four twins: a plain order would ask all of them
    p, features = np.repeat(p, 5, axis=0), np.repeat(features, 5, axis=0)
    features += np.random.default_rng(3).normal(0, 1e-3, features.shape)
    labelled = np.arange(0, 500, 5)
    only = Shares(uncertain=1, novel=0, random=0)
    cost = np.array([1.0, 3.0])
    found = mixed_queue(
        probabilities=p, features=features, labelled=labelled, n=40, start=0, shares=only, cost=cost
    )
    value = expected_cost(p, cost)
    np.testing.assert_allclose(found.value, value[found.order])
    assert found.value.min() > np.quantile(value, 0.8)
    plain = np.argsort(-value)[:40]
    assert len(set((found.order // 5).tolist())) > 1.5 * len(set((plain // 5).tolist()))
    assert pdist(features[found.order]).min() > pdist(features[plain]).min()


def test_novel_slot_asks_what_is_unlike_all_labelled(items):
    p, features = items
    features[555] = 30
    found = mixed_queue(probabilities=p, features=features, labelled=np.arange(200), n=40)
    assert 555 in found.order.tolist()
    assert found.slot[found.order.tolist().index(555)] == "novel"


def test_interest_slot_asks_near_what_was_rated_well(items):
    p, features = items
    labelled = np.arange(150)
    ratings = (features[:150, 1] > 1) * 5.0
    shares = Shares(uncertain=0, novel=0, random=0, interest=1)
    found = mixed_queue(
        probabilities=p, features=features, labelled=labelled, n=20, shares=shares, ratings=ratings
    )
    assert (features[found.order, 1] > 1).mean() > 2 * (features[150:, 1] > 1).mean()


def test_levelled_features_do_not_depend_on_units_or_tails(items):
    _, features = items
    np.testing.assert_allclose(levelled(features), levelled(1e3 * features + 7), atol=1e-9)
    far = features.copy()
    far[0, 0] = 1e9
    assert np.abs(levelled(far)).max() < 30
    assert levelled(far)[1:, 0].std() > 0.5  # the others are still apart
    sparse = np.where(np.arange(600) % 10 == 0, 5.0, 0.0)[:, None]  # no quartiles, but two kinds
    assert np.unique(levelled(sparse)).size == 2
    assert levelled(np.column_stack([features] * 5)).shape == (600, 10)
    assert levelled(np.ones((5, 2))) is None


def test_labels_of_the_queue_teach_more_than_labels_by_chance():
    """Rare objects in a curved region: four divisions, each with the same twenty labels at first."""
    from sklearn.ensemble import RandomForestClassifier

    from astrid.learn.metrics import aucpr

    reached = {"mixed": [], "random": []}
    for seed in range(4):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(1500, 5))
        y = (x[:, 0] ** 2 + x[:, 1] > 2.2).astype(int)
        pool, test = np.arange(1000), np.arange(1000, 1500)
        first = np.concatenate([rng.permutation(1000)[:18], np.flatnonzero(y[:1000])[:2]])
        for name in reached:
            have = np.unique(first)
            while len(have) < 160:
                forest = RandomForestClassifier(20, random_state=seed).fit(x[have], y[have])
                p = forest.predict_proba(x[pool])
                if name == "mixed":
                    new = mixed_queue(probabilities=p, features=x[pool], labelled=have, n=20, start=60).order
                else:
                    new = rng.permutation(np.setdiff1d(pool, have))[:20]
                have = np.concatenate([have, new])
            forest = RandomForestClassifier(50, random_state=seed).fit(x[have], y[have])
            reached[name].append(aucpr(y[test], forest.predict_proba(x[test])[:, 1]))
    assert np.mean(reached["mixed"]) > np.mean(reached["random"]) + 0.02


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ({"probabilities": None, "features": None}, DatasetError, "neither probabilities nor features"),
        ({"features": np.zeros((3, 2))}, DatasetError, "of 2 items and features of 3"),
        ({"labelled": np.array([2])}, DatasetError, "item 2 is meant"),
        ({"features": np.array([[0.0], [np.nan]])}, DatasetError, "item 1 is not finite"),
        ({"cost": np.array([1.0])}, UsageError, "one above 0 for each of 2 classes"),
    ],
)
def test_what_makes_no_queue_is_told(facts, error, words):
    given = {
        "probabilities": np.full((2, 2), 0.5),
        "features": None,
        "labelled": np.empty(0, int),
        "start": 0,
    }
    with pytest.raises(error, match=words):
        mixed_queue(**(given | facts), n=5)


def test_shares_sum_to_one():
    for wrong in ((0.5, 0.1, 0.1), (1.2, -0.2, 0.0), (np.nan, 0.5, 0.5)):
        with pytest.raises(UsageError, match="0 or more and sum to 1"):
            Shares(*wrong)
