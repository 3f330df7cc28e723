"""A training that is killed at any moment leaves nothing half done, and the next one goes on from there."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from astrid.learn import registry
from astrid.learn.bundle import save_bundle
from astrid.learn.registry import list_bundles, live, set_stage
from astrid.review import promotion, retraining
from astrid.review.promotion import finish
from astrid.review.retraining import FOLDER, retrain
from astrid.review.rollback import rollback
from astrid.store import open_store

toy = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("toy_stream.py"))))

LEARN, FROZEN = range(120), range(1000, 1100)
QUICK = (
    "optimizer.lr=0.01", "batch_size=32", "threads=1", "accelerator=cpu", "augment=none", "precision=32",
)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A store and a weak bundle in use; the tests go on from one another."""
    folder = tmp_path_factory.mktemp("killed")
    data = toy.data_set(folder / "data", range(5000, 5060))
    weak = toy.bundle(folder / "weak", data, "braai.begin", epochs=1, optimizer=toy.Optimizer(lr=1e-9))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_shipped_directory", lambda: folder / "nothing")
        patch.setenv("ASTRID_BUNDLES", str(folder / "bundles"))
        toy.copy(weak, folder / "bundles")
        set_stage("braai.begin", "live")
        with open_store(folder / "store") as store:
            toy.fill(store, [*LEARN, *FROZEN])
            toy.freeze(store, FROZEN)
            toy.answer(store, [*LEARN, *FROZEN])
        yield folder


def train(store, on_progress=None):
    return retrain(store, user="ana", epochs=4, settings=QUICK, on_progress=on_progress)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(folder: Path, where: str | None, module: Any = retraining) -> None:
    """Train in another process, which is killed before it calls a function, or while it trains."""

    def work():
        if where is not None:
            setattr(module, where, die)
        with open_store(folder / "store") as store:
            train(store, lambda done, total: die() if where is None and total < 100 and done > 3 else None)

    process = multiprocessing.get_context("fork").Process(target=work)
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL


def test_killed_while_it_trains_nothing_is_left_but_a_folder_that_the_next_one_removes(place):
    killed(place, None)
    assert [one.name for one in list_bundles()] == ["braai.begin"]
    with open_store(place / "store") as store:
        assert store.trainings.list() == []


def test_killed_before_it_is_recorded_the_bundle_is_removed_by_the_next_one(place):
    killed(place, "judge")
    assert [(one.name, one.stage) for one in list_bundles()] == [
        ("braai.begin", "live"), ("braai.review1", "candidate"),
    ]  # fmt: skip
    assert (place / "store" / FOLDER / "braai.review1" / "data" / "dataset.json").is_file()
    killed(place, "build")  # which comes after the sweeping
    assert [one.name for one in list_bundles()] == ["braai.begin"]
    assert not (place / "store" / FOLDER / "braai.review1").exists()


def test_killed_between_the_record_and_the_change_the_change_is_made_by_the_next_command(place):
    killed(place, "set_stage", promotion)
    with open_store(place / "store") as store:
        (record,) = store.trainings.list()
        assert (record.verdict, live("braai").name) == ("promoting", "braai.begin")
        back = rollback(store, user="bob")  # finishes the promotion, and then goes back
        assert [one.verdict for one in store.trainings.list()] == ["promoted", "rolled back"]
        assert (back.bundle, back.against) == ("braai.begin", "braai.review1")
        assert live("braai").name == "braai.begin"


def test_a_promotion_that_somebody_has_overtaken_by_hand_is_not_made(place):
    before = registry.find_bundle("braai.begin")
    card = before.card.model_copy(update={"name": "braai.byhand"})
    files = {"model.onnx": (before.path / "model.onnx").read_bytes()}
    save_bundle(place / "bundles" / "braai.byhand", card, files, before.weights)
    set_stage("braai.byhand", "live")
    with open_store(place / "store") as store:
        store.trainings.settle(store.trainings.list()[0], "promoting")
        (done,) = finish(store.trainings, "braai")
    assert done.verdict == "kept"
    assert done.reason == "braai.review1 was not made live: braai.byhand was, meanwhile, by hand"
    assert live("braai").name == "braai.byhand"
