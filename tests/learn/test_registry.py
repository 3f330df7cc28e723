"""The registry: bundles are found by name, listed even when damaged, and one of a system is live."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from astrid.errors import BundleError, UsageError
from astrid.learn import registry
from astrid.learn.bundle import Card, Measured, save_bundle
from astrid.learn.registry import find_bundle, list_bundles, live, set_stage
from astrid.learn.task import Binary, Input, Task


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Two empty directories: the package's and the user's."""
    shipped, mine = tmp_path / "shipped", tmp_path / "mine"
    shipped.mkdir()
    monkeypatch.setattr(registry, "_shipped_directory", lambda: shipped)
    monkeypatch.setenv("ASTRID_BUNDLES", str(mine))
    return shipped, mine


def bundle(directory: Path, name: str, **facts):
    directory.mkdir(exist_ok=True)
    task = Task(
        name=name.partition(".")[0],
        inputs={"x": Input(shape=(2,))},
        heads={"real": Binary(labels=("bogus", "real"))},
        network="nowhere:Nothing",
    )
    card = Card(name=name, task=task, created="2026-01-01", **facts)
    return save_bundle(directory / name, card, {"model.onnx": b"no model"}, {"w": np.ones(1, np.float32)})


def stages():
    return {entry.name: entry.stage for entry in list_bundles()}


def change_card(path: Path, **facts) -> None:
    card = json.loads((path / "card.json").read_text())
    (path / "card.json").write_text(json.dumps({**card, **facts}))


def test_without_bundles_the_list_is_empty_and_nothing_is_live(places):
    assert list_bundles() == ()
    assert live("braai") is None
    with pytest.raises(UsageError, match=r"no bundle 'braai\.x' \(there are: none\)"):
        find_bundle("braai.x")


def test_a_bundle_is_found_by_name_in_either_place_and_by_path(places):
    shipped, mine = places
    first, second = bundle(shipped, "braai.sim1"), bundle(mine, "braai.mine")
    assert find_bundle("braai.sim1").hash == first.hash
    assert find_bundle("braai.mine").hash == second.hash
    assert find_bundle(mine / "braai.mine").hash == second.hash
    assert find_bundle(str(mine / "braai.mine")).hash == second.hash


def test_a_name_is_never_taken_for_a_directory_of_that_name(places, tmp_path, monkeypatch):
    bundle(tmp_path, "braai.here")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"\./braai\.here"):
        find_bundle("braai.here")
    assert find_bundle("./braai.here").name == "braai.here"


def test_the_list_has_figures_and_origin(places):
    figure = Measured(name="AUCPR", value=0.9, n=10, on="test", kind="simulated")
    made = bundle(places[0], "braai.sim1", metrics=(figure,))
    (entry,) = list_bundles()
    assert (entry.system, entry.shipped, entry.created) == ("braai", True, "2026-01-01")
    assert entry.hash == made.hash
    assert entry.metrics == (figure,)
    assert entry.problem == ""


def damage_model(path: Path) -> None:
    (path / "model.onnx").write_bytes(b"another model")


def remove_model(path: Path) -> None:
    (path / "model.onnx").unlink()


def add_file(path: Path) -> None:
    (path / "virus.pkl").write_bytes(b"")


DAMAGES = {
    "content": (damage_model, "SHA-256 differs"),
    "absent file": (remove_model, r"model\.onnx is absent"),
    "foreign file": (add_file, r"virus\.pkl is not in the card"),
    "newer format": (lambda path: change_card(path, format=99), "format 99.*update AstrID"),
    "other name": (lambda path: change_card(path, name="braai.other"), r"is braai\.other, expected braai\.x"),
    "no card": (lambda path: (path / "card.json").unlink(), "no bundle"),
    "not JSON": (lambda path: (path / "card.json").write_text("{"), "cannot be read"),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_bundle_is_listed_with_one_sentence_and_not_used(places, kind):
    bundle(places[1], "braai.good")
    bundle(places[1], "braai.x")
    damage, sentence = DAMAGES[kind]
    damage(places[1] / "braai.x")
    good, bad = list_bundles()
    assert good.problem == ""
    assert "\n" not in bad.problem
    with pytest.raises(BundleError, match=sentence):
        find_bundle("braai.x")
    with pytest.raises(BundleError, match=sentence):
        set_stage("braai.x", "live")


def test_the_only_shipped_bundle_is_live_and_the_users_are_candidates(places):
    shipped, mine = places
    bundle(shipped, "braai.sim1")
    bundle(mine, "braai.mine")
    assert stages() == {"braai.sim1": "live", "braai.mine": "candidate"}
    assert live("braai").name == "braai.sim1"


def test_a_system_stands_for_its_live_bundle(places):
    shipped, mine = places
    first, second = bundle(shipped, "braai.sim1"), bundle(mine, "braai.mine")
    assert find_bundle("braai").hash == first.hash
    set_stage("braai.mine", "live")
    assert find_bundle("braai").hash == second.hash
    with pytest.raises(UsageError, match="no bundle 'scope'"):
        find_bundle("scope")


def test_of_several_shipped_bundles_a_file_names_the_default(places):
    shipped, _ = places
    for tag in ("sim1", "sim2"):
        bundle(shipped, f"braai.{tag}")
    assert live("braai") is None
    (shipped / "live.json").write_text('{"braai": "braai.sim2"}')
    assert live("braai").name == "braai.sim2"
    assert stages() == {"braai.sim1": "candidate", "braai.sim2": "live"}


def test_exactly_one_bundle_of_a_system_is_live(places):
    shipped, mine = places
    bundle(shipped, "braai.sim1")
    for name in ("braai.a", "braai.b", "other.x"):
        bundle(mine, name)
    assert set_stage("braai.a", "live").stage == "live"
    assert set_stage("other.x", "live").stage == "live"
    assert set_stage("braai.b", "live").stage == "live"
    assert stages() == {
        "braai.sim1": "retired",
        "braai.a": "retired",
        "braai.b": "live",
        "other.x": "live",
    }
    set_stage("braai.sim1", "live")
    assert live("braai").name == "braai.sim1"


@pytest.mark.parametrize("stage", ["candidate", "retired"])
def test_a_system_can_be_left_without_a_live_bundle(places, stage):
    bundle(places[0], "braai.sim1")
    assert set_stage("braai.sim1", stage).stage == stage
    assert live("braai") is None
    assert stages() == {"braai.sim1": stage}


def test_a_live_bundle_that_is_gone_is_named(places):
    bundle(places[1], "braai.a")
    set_stage("braai.a", "live")
    shutil.rmtree(places[1] / "braai.a")
    with pytest.raises(BundleError, match=r"braai\.a is live but is gone"):
        live("braai")


def test_two_bundles_of_one_name_are_refused(places):
    for directory in places:
        bundle(directory, "braai.sim1")
    with pytest.raises(BundleError, match=r"two bundles are called braai\.sim1"):
        find_bundle("braai.sim1")
    assert all("two bundles" in entry.problem for entry in list_bundles())


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 2}', '{"live": 3}'])
def test_a_broken_record_of_stages_is_one_sentence(places, text):
    places[1].mkdir()
    (places[1] / "stages.json").write_text(text)
    with pytest.raises(BundleError, match=r"stages\.json") as problem:
        list_bundles()
    assert "\n" not in str(problem.value)


def test_an_unknown_stage_or_name_is_refused(places):
    bundle(places[1], "braai.a")
    with pytest.raises(UsageError, match="candidate, live, retired"):
        set_stage("braai.a", "famous")
    with pytest.raises(UsageError, match="no bundle"):
        set_stage("braai.b", "retired")
    assert not (places[1] / "stages.json").exists()


def test_the_users_directory_follows_the_platform(monkeypatch, tmp_path):
    monkeypatch.delenv("ASTRID_BUNDLES", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert registry.user_directory() == tmp_path / "astrid" / "bundles"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert registry.user_directory() == tmp_path / ".local" / "share" / "astrid" / "bundles"
