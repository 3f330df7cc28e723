"""Conformal sets and thresholds beside MAPIE, crepes, and what the theory promises."""

from __future__ import annotations

import numpy as np
import pytest
from crepes import ConformalClassifier
from mapie.classification import SplitConformalClassifier
from mapie.risk_control import BinaryClassificationController
from scipy.special import expit, softmax
from scipy.stats import beta

from astrid.errors import DatasetError, UsageError
from astrid.learn.conformal import (
    alphas_from_costs,
    coverage,
    fit_conformal,
    needed_items,
    risk_threshold,
)
from astrid.learn.prediction import label_sets
from astrid.learn.task import Binary, Cost, Multiclass, Regression

LABELS = ("bogus", "real")


def scored(n, seed, share=0.1):
    """Probabilities for each label, and the true codes, of a rare class that is hard to tell."""
    rng = np.random.default_rng(seed)
    codes = (rng.random(n) < share).astype(int)
    p = expit(3 * codes - 3 + rng.normal(0, 1.5, n)).astype(np.float32)
    return np.stack([1 - p, p], axis=1), codes


def members(probabilities, conformal, labels=LABELS):
    """The sets as (n, labels) bool."""
    texts = label_sets(probabilities, labels, conformal)
    return np.array([[label in text.split("+") for label in labels] for text in texts])


def test_quantile_is_the_finite_sample_rank_of_the_scores():
    p = np.linspace(0.005, 0.995, 199, dtype=np.float32)
    both = np.stack([1 - p, p], axis=1)
    scores = np.sort((1 - both[:, 1]).astype(np.float64))
    fitted = fit_conformal(
        np.concatenate([both, both[:, ::-1]]), np.repeat([1, 0], 199), ("no", "yes"), {"no": 0.5, "yes": 0.05}
    )
    assert fitted.quantile["yes"] == scores[190 - 1]  # ceil(200 * 0.95) = 190
    assert fitted.quantile["no"] == scores[100 - 1]
    assert fitted.n == {"no": 199, "yes": 199}


@pytest.mark.parametrize("alpha", [{"bogus": 0.05, "real": 0.01}, {"bogus": 0.1, "real": 0.2}])
def test_sets_are_those_of_crepes_with_one_category_a_class(alpha):
    p, codes = scored(6000, 1)
    fresh, _ = scored(2000, 2)
    found = members(fresh, fit_conformal(p, codes, LABELS, alpha))
    oracle = ConformalClassifier().fit(1 - p[np.arange(len(codes)), codes], bins=codes)
    for code, label in enumerate(LABELS):
        bins = np.full(len(fresh), code)
        sets = oracle.predict_set(
            (1 - fresh[:, code])[:, None], bins=bins, confidence=1 - alpha[label], smoothing=False
        )
        assert (np.asarray(sets)[:, 0].astype(bool) == found[:, code]).all()


class Given:
    """A classifier whose probabilities are its input."""

    def __init__(self, n):
        self.classes_ = np.arange(n)

    def fit(self, x, y):
        return self

    def predict_proba(self, x):
        return np.asarray(x)

    def predict(self, x):
        return self.predict_proba(x).argmax(axis=1)

    def __sklearn_is_fitted__(self):
        return True


def test_sets_are_those_of_mapie_on_the_items_of_one_class():
    rng = np.random.default_rng(3)
    labels = ("a", "b", "c")
    p = softmax(rng.normal(0, 2, (900, 3)), axis=1)
    codes = np.array([rng.choice(3, p=row) for row in p])
    fresh = softmax(rng.normal(0, 2, (400, 3)), axis=1)
    found = members(
        fresh.astype(np.float32), fit_conformal(p, codes, labels, dict.fromkeys(labels, 0.1)), labels
    )
    for code in range(3):
        of_class = codes == code
        oracle = SplitConformalClassifier(Given(3), confidence_level=0.9, conformity_score="lac", prefit=True)
        with pytest.warns(UserWarning, match="less labels"):  # that is the point here
            oracle.conformalize(p[of_class], codes[of_class])
        _, sets = oracle.predict_set(fresh)
        agree = sets[:, code, 0] == found[:, code]
        assert agree.mean() > 0.995  # double precision there, single here


def test_each_class_is_covered_as_promised_also_the_rare_one():
    alpha = {"bogus": 0.05, "real": 0.01}
    kept = []
    for seed in range(40):
        conformal = fit_conformal(*scored(3000, seed), LABELS, alpha)
        p, codes = scored(3000, 1000 + seed)
        sets = label_sets(p, LABELS, conformal)
        kept.append(list(coverage(sets, np.array(LABELS)[codes]).values()))
    bogus, real = np.mean(kept, axis=0)
    assert bogus == pytest.approx(0.95, abs=0.005)
    assert real == pytest.approx(0.99, abs=0.005)


def test_a_class_with_too_few_items_is_in_every_set_and_the_card_says_so():
    p, codes = scored(500, 4)
    rare = int(codes.sum())
    assert rare < needed_items(0.01) == 99
    conformal = fit_conformal(p, codes, LABELS, {"bogus": 0.05, "real": 0.01}, fitted_on="validation")
    assert conformal.quantile["real"] == 1
    assert members(p, conformal)[:, 1].all()
    assert conformal.fitted_on == f"validation; real is in every set: {rare} items, 99 are needed for 0.01"


def test_the_needed_items_are_the_fewest_that_leave_a_label_out():
    for alpha in (0.01, 0.05, 0.1, 0.3):
        n = needed_items(alpha)
        for items, always in ((n - 1, True), (n, False)):
            p = np.linspace(0.1, 0.9, items)
            both = np.stack([1 - p, p], axis=1)
            codes = np.ones(items)
            both = np.concatenate([both, [[0.9, 0.1]]])
            fitted = fit_conformal(both, np.append(codes, 0), LABELS, {"bogus": 0.5, "real": alpha})
            assert (fitted.quantile["real"] == 1) is always


def test_nothing_fits_gives_novel_and_everything_fits_gives_all_labels():
    p, codes = scored(4000, 5)
    strict = fit_conformal(p, codes, LABELS, {"bogus": 0.3, "real": 0.3})
    lax = fit_conformal(p, codes, LABELS, {"bogus": 0.01, "real": 0.01})
    assert "novel" in label_sets(p, LABELS, strict)
    assert "bogus+real" in label_sets(p, LABELS, lax)


def test_rates_follow_the_costs():
    head = Binary(labels=LABELS, cost=Cost(miss=20, false_alarm=1))
    assert alphas_from_costs(head) == {"bogus": 0.05, "real": 0.01}
    head = Binary(labels=LABELS, cost=Cost(miss=2, false_alarm=1))
    assert alphas_from_costs(head) == {"bogus": 0.05, "real": 0.025}
    head = Binary(labels=LABELS, cost=Cost(miss=1, false_alarm=2))
    assert alphas_from_costs(head) == {"bogus": 0.025, "real": 0.05}
    three = Multiclass(labels=("a", "b", "c"), costs={"b": Cost(miss=2.5)})
    assert alphas_from_costs(three, largest=0.1) == {"a": 0.1, "b": 0.04, "c": 0.1}


def test_threshold_of_few_misses_is_that_of_mapies_learn_then_test():
    p, codes = scored(8000, 6)
    candidates = np.unique(p[codes == 1, 1]).astype(np.float64)
    oracle = BinaryClassificationController(
        lambda x: np.stack([1 - x[:, 0], x[:, 0]], axis=1), risk="recall", target_level=0.95,
        confidence_level=0.9, list_predict_params=candidates, fwer_method="fixed_sequence",
    )  # fmt: skip
    oracle.calibrate(p[:, 1:].astype(np.float64), codes)
    highest = np.max(oracle.valid_predict_params)
    found = risk_threshold(codes, p[:, 1], miss=0.05, delta=0.1)
    misses = [int((p[codes == 1, 1] < t).sum()) for t in (found, highest)]
    assert abs(misses[0] - misses[1]) <= 1  # MAPIE rounds the number of misses up, of a product of floats


def test_promised_misses_are_kept_with_the_promised_confidence():
    rng = np.random.default_rng(7)
    n, miss, delta = 400, 0.02, 0.1
    drawn = np.array([risk_threshold(np.ones(n), rng.random(n), miss, delta) for _ in range(2000)])
    assert (drawn > miss).mean() <= delta + 0.02  # of uniform scores, a threshold is its own share of misses
    allowed = int(np.count_nonzero(beta.sf(miss, np.arange(1, 40), n - np.arange(1, 40) + 1) <= delta))
    assert drawn.mean() == pytest.approx(allowed / (n + 1), rel=0.05)  # order statistics of Wilks


def test_risk_control_on_the_average_is_tight():
    rng = np.random.default_rng(8)
    drawn = [risk_threshold(np.ones(999), rng.random(999), 0.01, delta=None) for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: risk_threshold(np.ones(100), np.ones(100)), DatasetError, "100 positive .* at least 230"),
        (lambda: risk_threshold(np.ones(50), np.ones(50), delta=None), DatasetError, "at least 99"),
        (lambda: risk_threshold(np.ones(1), np.ones(1), miss=1.5), UsageError, "between 0 and 1"),
        (
            lambda: fit_conformal(np.full((3, 2), 0.5), np.zeros(3), LABELS, {"bogus": 0.1, "real": 0.1}),
            DatasetError,
            "no item is 'real'",
        ),
        (
            lambda: fit_conformal(np.full((2, 2), np.nan), np.arange(2), LABELS, {"bogus": 0.1, "real": 0.1}),
            DatasetError,
            "'bogus' is not finite",
        ),
        (lambda: fit_conformal(np.ones((2, 1)), np.arange(2), LABELS, {}), DatasetError, r"\(2, 1\)"),
        (lambda: fit_conformal(np.ones((2, 2)), np.arange(2), LABELS, {}), UsageError, "'bogus' is nan"),
        (lambda: alphas_from_costs(Regression(names=("z",))), UsageError, "regression"),
        (lambda: alphas_from_costs(Binary(labels=LABELS), largest=0), UsageError, "0 < smallest"),
    ],
)
def test_a_promise_that_cannot_be_made_is_told_in_one_sentence(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_230_items_are_the_fewest_for_one_percent_with_90_percent_confidence():
    assert risk_threshold(np.ones(230), np.linspace(0.1, 1, 230)) == pytest.approx(0.1)
