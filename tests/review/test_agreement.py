"""Agreement, suspects and progress: what is counted is what people said."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from astrid.review.agreement import agreement
from astrid.review.assignment import take
from astrid.review.labelling import answer
from astrid.review.progress import progress
from astrid.review.queue import build
from astrid.review.suspects import ask_again, suspects
from astrid.store.store import Store


def answers_of(n: int, wrong: float, seed: int) -> np.ndarray:
    truth = np.random.default_rng(0).random(n) < 0.4
    return truth ^ (np.random.default_rng(seed).random(n) < wrong)


def test_kappa_is_that_of_scikit_learn_and_the_careless_one_is_found(
    store: Store, people: SimpleNamespace
) -> None:
    n, wrong = 300, {"ada": 0.02, "bob": 0.05, "cyd": 0.3}
    given = {name: answers_of(n, rate, k + 1) for k, (name, rate) in enumerate(wrong.items())}
    store.labels.add(
        [
            people.said(k, name, "real" if given[name][k] else "bogus")
            for name in wrong
            for k in range(n)
            if name != "cyd" or k < 200
        ]
    )
    store.labels.add([people.said(999, "ada", None), people.said(999, "bob", "real")])
    report = agreement(store, "braai")
    assert (report.n_items, report.n_shared) == (n + 1, n)
    pairs = {(one.first, one.second): one for one in report.pairs}
    assert pairs["ada", "bob"].n == n
    assert pairs["ada", "bob"].kappa == pytest.approx(cohen_kappa_score(given["ada"], given["bob"]))
    assert pairs["ada", "cyd"].kappa == pytest.approx(
        cohen_kappa_score(given["ada"][:200], given["cyd"][:200])
    )
    assert pairs["bob", "cyd"].low < pairs["bob", "cyd"].kappa < pairs["bob", "cyd"].high
    reliability = {one.name: one.accuracy for one in report.people}
    for name, rate in wrong.items():
        assert reliability[name] == pytest.approx(1 - rate, abs=0.05)


def test_of_one_person_nothing_is_said(store: Store, people: SimpleNamespace) -> None:
    store.labels.add([people.said(k) for k in range(5)])
    report = agreement(store, "braai")
    assert report.pairs == ()
    assert [(one.name, one.n, one.n_shared, one.accuracy) for one in report.people] == [("ada", 5, 0, None)]
    assert agreement(store, "dmdt").n_items == 0


def test_wrong_answers_are_suspected_first_and_asked_of_somebody_else(
    store: Store, people: SimpleNamespace
) -> None:
    n, wrong = 200, {7, 50, 120}
    people.fill(store, range(n), score=lambda k: 0.95 if k % 2 else 0.05)
    build(store, "braai", n=20, frozen_share=0)
    store.labels.add(
        [people.said(k, label="real" if (k % 2 == 1) ^ (k in wrong) else "bogus") for k in range(n)]
    )
    found = suspects(store, "braai")
    assert {int(one.alert_id) for one in found} == wrong  # of the others the model believes the label
    assert all(one.users == ("ada",) and one.bundle == people.BUNDLE for one in found)
    assert found[0].probability == pytest.approx(0.05)
    before = store.labels.of_task("braai")
    assert ask_again(store, "braai", found) == 3
    assert store.labels.of_task("braai").equals(before)  # nothing is corrected
    assert take(store, "braai", "ada", n=5) == []
    mine = take(store, "braai", "bob", n=5)
    assert {int(one.alert_id) for one in mine} == wrong
    assert {one.slot for one in mine} == {"suspect"}
    answer(store, "braai", "bob", mine[0], key="key-of-bob", label="bogus")
    assert len(take(store, "braai", "cyd", n=5)) == 0
    assert suspects(store, "braai", bundle="braai.unknown") == []


def test_progress_tells_who_did_what_and_what_is_left(store: Store, people: SimpleNamespace) -> None:
    people.fill(store, range(40))
    build(store, "braai", n=20, frozen_share=0.5)
    items = [row for row in store.labels.queue("braai") if row.frozen][:2]
    for k, row in enumerate(items):
        answer(store, "braai", "ada", row.item, key=f"key-of-frozen{k}", label="real", seconds=3.0)
    other = next(row for row in store.labels.queue("braai") if not row.frozen)
    answer(store, "braai", "bob", other.item, key="key-of-bob", answer="unsure", seconds=3000.0)
    store.labels.add([people.said(39, "old", "bogus", at=86_400.0 * 20_000, source="file.csv")])
    found = progress(store, "braai")
    rows = store.labels.queue("braai", open_only=False)
    assert found.n_waiting == sum(row.open for row in rows) <= 17
    assert (found.n_frozen, found.n_frozen_answered) == (10, sum(row.frozen and not row.open for row in rows))
    assert found.n_answers == 4
    assert found.labels == {"real": 2, "unsure": 1, "bogus": 1}
    assert [(one.name, one.n, one.per_hour) for one in found.people] == [
        ("ada", 2, 1200.0), ("bob", 1, 30.0), ("old", 1, None),
    ]  # fmt: skip
    assert found.days[0].day == "2024-10-04"
    assert (found.days[-1].n, found.days[-1].people) == (3, 2)
    assert found.sources == {"review": 3, "file.csv": 1}
    assert found.trainings == ()
    assert found.as_dict()["agreement"]["n_shared"] == 0
    assert progress(store, "dmdt").n_answers == 0
