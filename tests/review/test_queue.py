"""A queue has its shares, its frozen part is drawn by chance and is never asked for learning."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from astrid.errors import UsageError
from astrid.learn.mixing import Shares
from astrid.review.features import believed, numeric
from astrid.review.labelling import answer
from astrid.review.queue import build
from astrid.review.vocabulary import questions
from astrid.store.store import Store
from astrid.stream.filters import Filter

N = 600


@pytest.fixture
def full(store: Store, people: SimpleNamespace) -> Store:
    people.fill(store, range(N // 2), per_object=2)
    people.fill(store, range(N // 2, N), per_object=2, night="2026-11-02")
    return store


def tell(store: Store, people: SimpleNamespace, numbers: list[int]) -> None:
    labels = [people.said(k, label="real" if people.probability(k) > 0.5 else "bogus") for k in numbers]
    store.labels.add(labels)


def test_of_each_object_the_newest_alert_is_asked_and_what_is_answered_is_not(
    full: Store, people: SimpleNamespace
) -> None:
    tell(full, people, [1, 3, 5])
    summary = build(full, "braai", n=1000, frozen_share=0.0)
    rows = full.labels.queue("braai")
    asked = {int(row.alert_id) for row in rows}
    assert asked == {k for k in range(1, N, 2) if k not in (1, 3, 5)}
    assert (summary.n_seen, summary.n_answered, summary.n) == (N // 2, 3, N // 2 - 3)
    assert (summary.bundle, summary.hash) == (people.BUNDLE, people.HASH)


def test_the_start_is_by_chance_and_later_the_undecided_come_first(
    full: Store, people: SimpleNamespace
) -> None:
    early = build(full, "braai", n=60, frozen_share=0.0)
    assert set(early.slots) == {"random", "diverse"}
    tell(full, people, list(range(1, 240, 2)))
    shares = Shares(uncertain=0.5, novel=0.25, random=0.25)
    later = build(full, "braai", n=60, frozen_share=0.0, shares=shares)
    assert later.slots == {"uncertain": 30, "novel": 15, "random": 15}
    rows = full.labels.queue("braai")
    # a miss costs 20 times as much as a false alarm: least sure is the model at 1 / 21
    p = {slot: np.array([people.probability(int(row.alert_id)) for row in rows if row.slot == slot])
         for slot in ("uncertain", "random")}  # fmt: skip
    distance = {slot: np.abs(np.log(one / (1 - one)) + np.log(20)).mean() for slot, one in p.items()}
    assert distance["uncertain"] < 0.6 * distance["random"]


def test_the_frozen_part_stays_and_none_of_its_objects_is_asked_otherwise(
    full: Store, people: SimpleNamespace
) -> None:
    first = build(full, "braai", n=100, frozen_share=0.2, seed=1)
    assert first.n_frozen == 20
    rows = full.labels.queue("braai")
    frozen = {row.item for row in rows if row.frozen}
    assert {row.slot for row in rows if row.frozen} == {"random"}
    places = [row.place for row in rows if row.frozen]
    assert np.ptp(np.diff(places)) <= 1  # evenly among the others
    answered = rows[places[0]]
    answer(full, "braai", "ada", answered.item, key="key-of-frozen", label="real")
    again = build(full, "braai", n=100, frozen_share=0.2, seed=2)
    after = full.labels.queue("braai", open_only=False)
    now = {row.item for row in after if row.frozen}
    assert frozen < now
    assert len(now) == 21  # one more was drawn for the one that is answered
    assert again.n == 100
    objects = {int(alert_id) // 2 for _, alert_id in now}
    assert not objects & {int(row.alert_id) // 2 for row in after if not row.frozen}
    assert full.labels.of_task("braai")["frozen"].to_pylist() == [True]


def test_the_frozen_part_is_drawn_from_all_and_from_no_object_that_was_learned_from(
    full: Store, people: SimpleNamespace
) -> None:
    tell(full, people, list(range(0, 200, 2)))  # older alerts of objects whose newest are not answered
    build(full, "braai", n=150, frozen_share=0.6, seed=4)
    frozen = [int(row.alert_id) for row in full.labels.queue("braai") if row.frozen]
    assert len(frozen) == 90
    assert min(frozen) > 200
    assert set(frozen) <= set(range(1, N, 2))
    everything = [people.probability(k) for k in range(201, N, 2)]
    assert ks_2samp([people.probability(k) for k in frozen], everything).pvalue > 0.05


def test_the_same_seed_makes_the_same_queue(full: Store) -> None:
    build(full, "braai", n=50, seed=5, blind_share=0.2, frozen_share=0.0)
    first = [(row.item, row.slot, row.blind) for row in full.labels.queue("braai")]
    full.labels.save_queue("braai", [])
    build(full, "braai", n=50, seed=5, blind_share=0.2, frozen_share=0.0)
    assert [(row.item, row.slot, row.blind) for row in full.labels.queue("braai")] == first
    assert sum(blind for _, _, blind in first) == 10


def test_a_filter_and_nights_limit_what_is_asked_and_a_few_are_weighed(full: Store) -> None:
    wanted = Filter(name="bright", sql="magpsf < 19")
    summary = build(full, "braai", n=500, filter=wanted, since="2026-11-02", most=40, frozen_share=0.0)
    rows = full.labels.queue("braai")
    assert summary.n == len(rows) == summary.n_considered == 40
    assert all(int(row.alert_id) >= N // 2 and int(row.alert_id) % 100 < 50 for row in rows)


def test_without_scores_items_are_asked_because_they_differ(store: Store, people: SimpleNamespace) -> None:
    people.fill(store, range(80), score={})
    summary = build(store, "braai", n=40, start=0, frozen_share=0.0)
    assert summary.bundle is None
    assert summary.slots.get("uncertain") is None
    assert summary.n == 40
    with pytest.raises(UsageError, match=r"the frozen share is 1\.5"):
        build(store, "braai", frozen_share=1.5)
    with pytest.raises(UsageError, match="a queue of 0 items"):
        build(store, "braai", n=0)


def test_alerts_without_images_are_not_asked_where_images_are_needed(
    store: Store, people: SimpleNamespace
) -> None:
    people.fill(store, range(4), more={"image_problem": ["no cutout", None, None, None]})
    assert build(store, "braai", n=9, frozen_share=0.0).n == 3


def test_an_empty_store_gives_an_empty_queue(store: Store) -> None:
    assert build(store, "braai", n=9).n == 0


def test_features_do_not_tell_where_and_when_and_bear_what_is_not_finite(
    store: Store, people: SimpleNamespace
) -> None:
    far = np.where(np.arange(50) % 2, np.inf, np.linspace(0, 5, 50))
    people.fill(store, range(50), more={"catalogue_distance": far, "rare": [1.0] * 5 + [None] * 45})
    keys = [people.key(k) for k in range(50)]
    names = ["ra", "mjd", "magpsf", "snr", "g_r", "catalogue_distance", "rare", "absent"]
    features = numeric(store, keys, names)
    assert features.shape == (50, 4)
    assert np.isfinite(features).all()
    assert np.abs(features).max() < 10
    rank = np.argsort(features[:, 1])
    snr = store.candidates(keys, ["snr"])["snr"].to_numpy()
    assert (np.diff(snr[rank]) >= 0).all()


def test_what_a_bundle_believes_comes_from_the_store(store: Store, people: SimpleNamespace) -> None:
    people.fill(store, range(20), score=lambda k: None if k == 3 else people.probability(k))
    people.fill(store, range(5), score={"braai.other": 0.25})
    keys = [people.key(k) for k in range(20)]
    said = believed(store, questions("braai"), keys)
    assert said.bundle == people.BUNDLE
    assert np.isnan(said.probabilities[3]).all()
    want = np.array([people.probability(k) for k in range(20) if k != 3])
    np.testing.assert_allclose(np.delete(said.probabilities, 3, axis=0)[:, 1], want)
    np.testing.assert_allclose(np.delete(said.probabilities, 3, axis=0).sum(axis=1), 1)
    other = believed(store, questions("braai"), keys, "braai.other")
    assert np.isfinite(other.probabilities[:, 0]).sum() == 5
