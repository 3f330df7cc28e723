"""A model that learns from answers replaces the one in use where its gain is sure, and only there."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from astrid.errors import StoreError, TrainingError, UsageError
from astrid.learn import registry
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, list_bundles, live, set_stage
from astrid.review.promotion import AUCPR
from astrid.review.retraining import FOLDER, alone, retrain
from astrid.review.rollback import rollback
from astrid.store import open_store

toy = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_stream.py"))))

LEARN = range(160)
FROZEN = range(1000, 1120)
QUICK = (
    "optimizer.lr=0.01",
    "batch_size=32",
    "threads=1",
    "accelerator=cpu",
    "augment=none",
    "precision=32",
)
UNSEEN = range(3000, 3040)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A weak bundle, which has learned nothing, and a good one."""
    folder = tmp_path_factory.mktemp("made")
    data = toy.data_set(folder / "data", range(5000, 5300))
    weak = toy.bundle(folder / "weak", data, "braai.begin", epochs=1, optimizer=toy.Optimizer(lr=1e-9))
    good = toy.bundle(folder / "good", data, "braai.begin")
    return SimpleNamespace(weak=weak, good=good, data=data)


@pytest.fixture
def use(tmp_path, monkeypatch):
    """Puts a bundle in use, with no others."""
    folder = tmp_path / "bundles"
    monkeypatch.setattr(registry, "_shipped_directory", lambda: tmp_path / "nothing")
    monkeypatch.setenv("ASTRID_BUNDLES", str(folder))

    def put(bundle):
        toy.copy(bundle, folder)
        set_stage(bundle.name, "live")

    return put


@pytest.fixture
def store(tmp_path):
    """With alerts, of which some are frozen; all of those are answered rightly."""
    with open_store(tmp_path / "store") as opened:
        toy.fill(opened, [*LEARN, *FROZEN])
        toy.freeze(opened, FROZEN)
        toy.answer(opened, FROZEN, user="bob")
        yield opened


def probabilities():
    return Predictor(live("braai")).probabilities({"triplet": toy.triplets(UNSEEN)})["real"]


def again(store, **facts):
    return retrain(store, user="ana", **{"epochs": 5, "settings": QUICK, **facts})


def test_good_answers_promote_a_model_over_a_weak_one_and_rollback_restores_its_predictions(store, use, made):
    use(made.weak)
    before = probabilities()
    toy.answer(store, LEARN)
    assert again(store, min_new=200).reason == (
        "160 items were answered since the last training and 200 are awaited"
    )
    result = again(store, min_new=160)
    record = result.record
    assert record.verdict == "promoted", result.reason
    assert live("braai").hash == record.hash == find_bundle("braai.review1").hash
    assert (record.against, record.against_hash) == ("braai.begin", made.weak.hash)
    assert (record.n_labels, record.n_frozen, record.user) == (len(LEARN), len(FROZEN), "ana")
    gain = next(one for one in record.figures["compared"] if one["name"] == AUCPR)
    assert 0 < gain["low"] < gain["gain"] < gain["high"]
    assert "it is better on the 120 frozen answers: AUCPR rises from 0." in result.reason
    truth = np.array([toy.is_real(one) for one in UNSEEN])
    after = probabilities()[:, 0]
    assert after[truth].mean() > after[~truth].mean() + 0.3  # of alerts that nobody was asked about
    card = live("braai").card
    assert card.parent == f"braai.begin {made.weak.hash}"
    assert next(one for one in card.metrics if one.name == AUCPR).value == pytest.approx(gain["after"])
    assert store.trainings.list("braai") == [record]

    back = rollback(store, user="bob", reason="too many ghosts")
    assert (back.verdict, back.bundle, back.against) == ("rolled back", "braai.begin", "braai.review1")
    assert (back.user, back.reason) == ("bob", "too many ghosts")
    assert live("braai").hash == made.weak.hash
    np.testing.assert_array_equal(probabilities(), before)
    assert [one.verdict for one in store.trainings.list()] == ["promoted", "rolled back"]
    with pytest.raises(UsageError, match=r"braai\.begin is live for braai, which no retraining"):
        rollback(store, user="bob")


def test_wrong_answers_do_not_replace_a_good_model_and_earlier_candidates_are_retired(store, use, made):
    use(made.good)
    before = probabilities()
    toy.answer(store, LEARN[:100], lambda one: not toy.is_real(one))
    result = again(store)
    assert result.record.verdict == "kept"
    assert result.reason.startswith("it is worse on the 120 frozen answers: AUCPR falls from")
    assert live("braai").hash == made.good.hash
    np.testing.assert_array_equal(probabilities(), before)
    stages = {entry.name: entry.stage for entry in list_bundles()}
    assert stages == {"braai.begin": "live", "braai.review1": "candidate"}

    assert again(store, min_new=1).record is None
    toy.answer(store, LEARN[100:120])
    second = again(store, min_new=20, epochs=1).record
    assert (second.bundle, second.n_labels) == ("braai.review2", 120)
    stages = {entry.name: entry.stage for entry in list_bundles()}
    assert stages == {"braai.begin": "live", "braai.review1": "retired", "braai.review2": "candidate"}
    # only the folder of the last training is kept
    assert [one.name for one in (store.folder / FOLDER).iterdir() if one.is_dir()] == ["braai.review2"]


def test_too_few_answers_say_so_and_are_recorded(store, use, made):
    use(made.good)
    toy.answer(store, LEARN[:12])
    with pytest.raises(TrainingError, match="of the answers that can be learned from are"):
        again(store)
    (record,) = store.trainings.list()
    assert (record.verdict, record.bundle) == ("failed", None)
    assert not (store.folder / FOLDER / "braai.review1").exists()


def test_one_training_at_a_time(store, use, made):
    use(made.good)
    with alone(store), pytest.raises(StoreError, match="another process trains"):
        again(store)


def test_without_a_bundle_in_use_it_says_what_to_do(store, use, made):
    use(made.good)
    set_stage("braai.begin", "retired")
    with pytest.raises(UsageError, match=r"no bundle of braai is live, .* astrid models stage NAME live"):
        again(store)


def test_an_interrupted_training_leaves_nothing(store, use, made):
    use(made.weak)
    toy.answer(store, LEARN)
    seen = []

    def stop(done, total):
        seen.append(total)
        if total != seen[0]:  # the alerts are read, and the training has begun
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        again(store, on_progress=stop)
    assert store.trainings.list() == []
    assert [one.name for one in list_bundles()] == ["braai.begin"]
    assert not any(one.is_dir() for one in (store.folder / FOLDER).iterdir())
