"""The figures of two models on the same answers, and the rule that is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_curve

from astrid.learn.task import Cost
from astrid.review.promotion import AUCPR, COST, Change, Comparison, changes, judge

RNG = np.random.default_rng(11)
N = 400
TRUTH = RNG.random(N) < 0.3
GROUPS = np.repeat(np.arange(N // 2), 2)


def scored(strength: float, seed: int = 0, truth=TRUTH) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=len(truth))
    return 1 / (1 + np.exp(-(strength * (2 * truth - 1) + noise)))


def measured(before, after, **facts) -> dict[str, Change]:
    given = {"thresholds": (0.4, 0.6), "cost": Cost(miss=20, false_alarm=1), "resamples": 400, **facts}
    return {one.name: one for one in changes(TRUTH, before, after, GROUPS, **given)}


def comparison(**found: tuple[float, float, float, float, float]) -> Comparison:
    """From before, after, gain, low, high of each figure."""
    names = {"aucpr": AUCPR, "cost": COST}
    rows = [Change(names[name], *values, None, None, None, None) for name, values in found.items()]
    return Comparison(tuple(rows), {"bogus": 200, "real": 40}, 100)


def test_figures_are_those_of_another_library():
    before, after = scored(0.5), scored(1.5)
    found = measured(before, after)
    assert found[AUCPR].before == pytest.approx(average_precision_score(TRUTH, before))
    assert found[AUCPR].after == pytest.approx(average_precision_score(TRUTH, after))
    fpr, recall, _ = roc_curve(TRUTH, after, drop_intermediate=False)
    assert found["recall at FPR 1 %"].after == pytest.approx(recall[fpr <= 0.01].max())
    missed, alarms = (TRUTH & (after < 0.6)).sum(), (~TRUTH & (after >= 0.6)).sum()
    assert found[COST].after == pytest.approx((20 * missed + alarms) / N)
    for one in found.values():
        sign = -1 if one.name == COST else 1
        assert one.gain == pytest.approx(sign * (one.after - one.before))
        assert one.low <= one.gain <= one.high
        assert one.before_low <= one.before <= one.before_high


def test_the_same_model_gains_nothing_for_certain():
    one = measured(scored(1), scored(1), thresholds=(0.5, 0.5))[AUCPR]
    assert (one.gain, one.low, one.high) == (0, 0, 0)


def test_models_are_asked_about_the_same_answers():
    # an alike model: the interval of the difference is far narrower than those of the figures
    before = scored(1)
    one = measured(before, before + RNG.normal(0, 0.01, N))[AUCPR]
    assert one.high - one.low < 0.3 * (one.after_high - one.after_low)


def test_a_model_that_is_no_better_is_rarely_promoted():
    promoted = 0
    for trial in range(120):
        rng = np.random.default_rng(trial)
        truth = rng.random(200) < 0.3
        before, after = scored(1, 2 * trial, truth), scored(1, 2 * trial + 1, truth)
        found = changes(
            truth, before, after, np.arange(200), thresholds=(0.5, 0.5), cost=Cost(), resamples=100
        )
        promoted += judge(Comparison(found, {"bogus": 140, "real": 60}, 200))[0]
    assert promoted <= 10  # 3 are expected, and more than 10 have a chance of 1 in 3000


BETTER = (0.8, 0.9, 0.1, 0.04, 0.15)
RISES = "AUCPR rises from 0.800 to 0.900, a change of +0.0400 to +0.1500"


@pytest.mark.parametrize(
    ("ranked", "paid", "wins", "said"),
    [
        (BETTER, (2, 1, 1, 0.2, 1.8), True, f"it is better on the 240 frozen answers: {RISES}"),
        (
            (0.8, 0.82, 0.02, -0.01, 0.05), (2, 1, 1, 0.2, 1.8), False,
            "no gain can be told on the 240 frozen answers: AUCPR rises from 0.800 to 0.820, a",
        ),
        (
            (0.8, 0.7, -0.1, -0.15, -0.05), (2, 2, 0, -0.2, 0.2), False,
            "it is worse on the 240 frozen answers: AUCPR falls from 0.800 to 0.700, a change of -0.1500 to",
        ),
        (
            BETTER, (1, 2, -1, -1.5, -0.5), False,
            "its decisions cost more on the 240 frozen answers (cost of an item rises from 1.000 to 2.000, a",
        ),
        (
            BETTER, (1, 2, -1, -1.5, -0.5), False,
            f"change of +0.5000 to +1.5000), though {RISES}",
        ),
    ],
)  # fmt: skip
def test_the_rule(ranked, paid, wins, said):
    found, reason = judge(comparison(aucpr=ranked, cost=paid))
    assert found == wins
    assert said in reason


def test_too_few_frozen_answers_decide_nothing():
    won = comparison(aucpr=(0.8, 0.9, 0.1, 0.04, 0.15), cost=(2, 1, 1, 0.2, 1.8))
    wins, said = judge(won, least=50)
    assert not wins
    assert said.startswith("40 of the 240 frozen answers are real and 50 of each label are needed to compare")
    assert not judge(Comparison((), {"bogus": 30, "real": 0}, 30))[0]
