"""One answer of several people, beside scikit-learn, resampling, the likelihood itself, and real votes."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from astrid.errors import DatasetError
from astrid.learn.votes import dawid_skene, kappa, majority, pairwise_kappa, tally


def answered(rng, truth, confusion, asked=1.0):
    """Answers of people with these confusions to items of these classes, as three columns."""
    items, people = np.meshgrid(np.arange(len(truth)), np.arange(len(confusion)), indexing="ij")
    some = rng.random(items.shape) < asked
    items, people = items[some], people[some]
    u = rng.random(len(items))
    answers = (u[:, None] > np.cumsum(confusion[people, truth[items]], axis=1)).sum(axis=1)
    return items, people, answers


def test_votes_are_counted_and_ties_have_no_majority():
    votes = tally([0, 0, 0, 1, 1, 3], [1, 1, 0, 0, 2, 2], n_items=4, n_classes=3)
    assert votes.tolist() == [[1, 2, 0], [1, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert majority(votes).tolist() == [1, -1, -1, 2]


def test_reliability_and_classes_are_found_again():
    rng = np.random.default_rng(3)
    truth = rng.choice(3, 4000, p=[0.6, 0.3, 0.1])
    good, poor = np.full((3, 3), 0.05) + 0.85 * np.eye(3), np.full((3, 3), 0.2) + 0.4 * np.eye(3)
    confusion = np.array([good, good, poor, poor, poor])
    items, people, answers = answered(rng, truth, confusion, asked=0.8)
    found = dawid_skene(items, people, answers, 3, n_items=4000, smoothing=0)
    np.testing.assert_allclose(found.confusion, confusion, atol=0.07)
    np.testing.assert_allclose(found.prior, [0.6, 0.3, 0.1], atol=0.03)
    by_vote = majority(tally(items, answers, 4000, 3)) == truth
    assert (found.posterior.argmax(axis=1) == truth).mean() > by_vote.mean() + 0.05


def test_it_is_the_maximum_of_the_likelihood():
    """No small step from the fit makes the answers likelier, by the likelihood written out."""
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 2, 300)
    confusion = np.array([[[0.9, 0.1], [0.2, 0.8]], [[0.7, 0.3], [0.1, 0.9]], [[0.8, 0.2], [0.3, 0.7]]])
    items, people, answers = answered(rng, truth, confusion)
    found = dawid_skene(items, people, answers, 2, smoothing=0, tolerance=1e-13, most_rounds=20_000)

    def likelihood(prior, table):
        total = 0.0
        for item in range(300):
            own = items == item
            total += np.log(sum(prior[k] * np.prod(table[people[own], k, answers[own]]) for k in range(2)))
        return total

    best = likelihood(found.prior, found.confusion)
    assert best == pytest.approx(found.log_likelihood)
    for step in (1e-3, -1e-3):
        assert likelihood(found.prior + np.array([step, -step]), found.confusion) < best
        for person in range(3):
            for k in range(2):
                moved = found.confusion.copy()
                moved[person, k] += [step, -step]
                assert likelihood(found.prior, moved) < best


def test_unanimous_people_are_right_for_sure_and_an_unasked_item_has_the_prior():
    items, people = np.repeat(np.arange(4), 3), np.tile(["a", "b", "c"], 4)
    answers = np.repeat([0, 1, 1, 0], 3)
    found = dawid_skene(items, people, answers, 2, n_items=5, smoothing=0)
    np.testing.assert_allclose(found.posterior[:4], np.eye(2)[[0, 1, 1, 0]], atol=1e-12)
    np.testing.assert_allclose(found.posterior[4], [0.5, 0.5])
    np.testing.assert_allclose(found.confusion, np.tile(np.eye(2), (3, 1, 1)), atol=1e-12)
    assert found.people.tolist() == ["a", "b", "c"]


def test_smoothing_keeps_somebody_with_one_answer_from_being_perfect():
    items, people, answers = [0, 0, 0, 1, 1], ["a", "b", "new", "a", "b"], [0, 0, 0, 1, 1]
    assert dawid_skene(items, people, answers, 2, smoothing=0.5).confusion[2].max() < 0.9


def test_kappa_is_that_of_scikit_learn():
    rng = np.random.default_rng(5)
    for classes in (2, 4):
        a = rng.integers(0, classes, 250)
        b = np.where(rng.random(250) < 0.6, a, rng.integers(0, classes, 250))
        assert kappa(a, b).value == pytest.approx(cohen_kappa_score(a, b))
    assert kappa(["x", "y"], ["x", "y"]).value == 1
    nothing = kappa([1, 1, 1], [1, 1, 1])
    assert (nothing.value, nothing.low, nothing.agreed) == (None, None, 1)


def test_interval_of_kappa_is_that_of_resampling():
    rng = np.random.default_rng(6)
    a = rng.choice(3, 600, p=[0.6, 0.3, 0.1])
    b = np.where(rng.random(600) < 0.7, a, rng.integers(0, 3, 600))
    drawn = [cohen_kappa_score(a[i], b[i]) for i in rng.integers(0, 600, (400, 600))]
    found = kappa(a, b)
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * np.std(drawn), rel=0.1)


def test_pairs_answer_the_same_items_and_the_last_answer_counts():
    items = [1, 2, 3, 4, 1, 2, 3, 1, 1]
    people = ["eve", "eve", "eve", "eve", "bo", "bo", "bo", "al", "bo"]
    answers = [0, 1, 1, 0, 1, 1, 0, 1, 0]
    (only,) = pairwise_kappa(items, people, answers)
    assert (only.first, only.second, only.kappa.n) == ("bo", "eve", 3)
    assert only.kappa.agreed == pytest.approx(2 / 3)
    assert len(pairwise_kappa(items, people, answers, at_least=1)) == 3


@pytest.mark.real_data
def test_volunteers_together_say_what_a_latent_class_analysis_said(real_data):
    with gzip.open(real_data / "review" / "meerlicht_votes.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name.startswith("volunteer")]
    table = np.array([[int(float(row[name])) for name in names] for row in rows])
    upstream = np.array([int(float(row["label"])) for row in rows])
    items, people = np.repeat(np.arange(len(table)), 10), np.tile(names, len(table))
    found = dawid_skene(items, people, table.ravel(), 2)
    assert (found.posterior.argmax(axis=1) == upstream).mean() >= 0.999
    assert (majority(tally(items, table.ravel(), len(table), 2)) == upstream).mean() < 0.995
    pairs = pairwise_kappa(items, people, table.ravel())
    assert len(pairs) == 45
    a, b = (table[:, names.index(name)] for name in (pairs[0].first, pairs[0].second))
    assert pairs[0].kappa.value == pytest.approx(cohen_kappa_score(a, b))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tally([0, 1], [0], 2, 2), "2 items for 1 answers"),
        (lambda: tally([0, 2], [0, 1], 2, 2), "item 2 is meant, but they are numbered from 0 to 1"),
        (lambda: tally([0], [-1], 2, 2), "answer -1 is meant"),
        (lambda: majority([1, 2]), r"shape \(2,\)"),
        (lambda: dawid_skene([], [], [], 2), "there is no answer"),
        (lambda: dawid_skene([0, 1], ["a"], [0, 1], 2), "1 people are named for 2 answers"),
        (lambda: kappa([1], [1, 2]), "gave 1 answers and the other 2"),
        (lambda: pairwise_kappa([1], ["a"], [1, 2]), "1 items, 1 people and 2 answers"),
    ],
)
def test_what_cannot_be_counted_is_told(call, words):
    with pytest.raises(DatasetError, match=words):
        call()
