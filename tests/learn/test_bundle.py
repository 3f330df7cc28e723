"""Bundles: what was saved is what is loaded, and anything else is refused with its reason."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import BundleError
from astrid.learn.bundle import Bundle, Card, save_bundle
from astrid.learn.task import Binary, Input, Task

CARD = Card(
    name="toy.one",
    task=Task(
        name="toy",
        inputs={"x": Input(shape=(3,))},
        heads={"real": Binary(labels=("bogus", "real"))},
        network="nowhere:Net",
    ),
    created="2026-01-01T00:00:00+00:00",
)
WEIGHTS = {"layer.weight": np.arange(6, dtype=np.float32).reshape(2, 3)}


@pytest.fixture
def saved(tmp_path):
    return save_bundle(tmp_path / "toy.one", CARD, {"model.onnx": b"a model"}, WEIGHTS)


def test_a_bundle_comes_back_whole(saved):
    again = Bundle.load(saved.path, name="toy.one")
    assert again.hash == saved.hash
    assert again.task == CARD.task
    assert sorted(again.card.files) == ["model.onnx", "weights.safetensors"]
    np.testing.assert_array_equal(again.weights["layer.weight"], WEIGHTS["layer.weight"])


def test_the_hash_changes_with_any_content(saved, tmp_path):
    other = save_bundle(tmp_path / "other", CARD, {"model.onnx": b"another"}, WEIGHTS)
    assert other.hash != saved.hash
    assert save_bundle(tmp_path / "same", CARD, {"model.onnx": b"a model"}, WEIGHTS).hash == saved.hash


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda root: (root / "model.onnx").write_bytes(b"a m0del"), "SHA-256 differs"),
        (lambda root: (root / "model.onnx").unlink(), "model.onnx is absent"),
        (lambda root: (root / "model.pkl").write_bytes(b""), "model.pkl is not in the card"),
        (lambda root: (root / "card.json").unlink(), "is no bundle"),
        (lambda root: (root / "card.json").write_text("{"), "cannot be read"),
        (lambda root: (root / "card.json").write_text("[]"), "is not the card"),
        (lambda root: edit(root, format=99), "is of format 99, this AstrID reads up to 1"),
        (lambda root: edit(root, name="Toy"), "name: String should match"),
        (lambda root: edit(root, surprise=1), "surprise: Extra inputs"),
    ],
)
def test_a_bundle_that_is_not_what_it_was_is_refused(saved, damage, sentence):
    damage(saved.path)
    with pytest.raises(BundleError, match=sentence) as caught:
        Bundle.load(saved.path)
    assert "\n" not in str(caught.value)


def loaded_hash(path):
    try:
        return Bundle.load(path).hash
    except BundleError:
        return None


def edit(root, **changes):
    path = root / "card.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_bundle_of_another_name_is_refused(saved):
    with pytest.raises(BundleError, match=r"is toy\.one, expected toy\.two"):
        Bundle.load(saved.path, name="toy.two")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_anywhere_is_noticed(saved, tmp_path, data):
    name = data.draw(st.sampled_from(sorted([*saved.card.files, "card.json"])))
    content = bytearray((saved.path / name).read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    copy = tmp_path / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(saved.path, copy)
    (copy / name).write_bytes(bytes(content))
    assert loaded_hash(copy) != saved.hash


def test_only_what_a_bundle_can_hold_is_written(tmp_path):
    with pytest.raises(BundleError, match="cannot be"):
        save_bundle(tmp_path / "toy.one", CARD, {"model.onnx": b"", "model.pkl": b""}, WEIGHTS)
    with pytest.raises(BundleError, match="cannot be"):
        save_bundle(tmp_path / "toy.one", CARD, {}, WEIGHTS)
    assert list(tmp_path.iterdir()) == []
