"""Verification runs every graph and finds weights that are not those of the graph."""

from __future__ import annotations

import pytest

from astrid.errors import BundleError
from astrid.learn import verification
from astrid.learn.bundle import save_bundle
from astrid.learn.verification import verify


def saved(bundle, path, weights=None, **changes):
    """The bundle again, with other weights or another card."""
    files = {name: (bundle.path / name).read_bytes() for name in bundle.card.files if name.endswith("onnx")}
    return save_bundle(path, bundle.card.model_copy(update=changes), files, weights or bundle.weights)


def test_a_sound_bundle_agrees_with_torch(toy_bundle):
    pytest.importorskip("torch")
    found = verify(toy_bundle)
    assert found.graphs == ("model.onnx",)
    assert found.files == ("model.onnx", "weights.safetensors")
    assert found.parity < 1e-5
    assert found.note == ""


def test_weights_of_another_training_are_found(toy_bundle, tmp_path):
    pytest.importorskip("torch")
    weights = {name: 1.1 * one for name, one in toy_bundle.weights.items()}
    with pytest.raises(BundleError, match="torch and ONNX differ by"):
        verify(saved(toy_bundle, tmp_path / "toy.test", weights))
    del weights["head.bias"]
    with pytest.raises(BundleError, match="the weights do not fit"):
        verify(saved(toy_bundle, tmp_path / "toy.test", weights))


def test_a_network_that_is_not_here_is_no_fault_of_the_bundle(toy_bundle, tmp_path):
    task = toy_bundle.task.model_copy(update={"network": "nowhere:Net"})
    found = verify(saved(toy_bundle, tmp_path / "toy.test", task=task))
    assert found.parity is None
    assert "there is no module 'nowhere'" in found.note


def test_without_torch_the_graphs_are_run_all_the_same(toy_bundle, monkeypatch):
    monkeypatch.setattr(verification.importlib.util, "find_spec", lambda name: None)
    found = verify(toy_bundle)
    assert (found.parity, found.note) == (None, "torch is not installed")
    assert found.graphs == ("model.onnx",)
