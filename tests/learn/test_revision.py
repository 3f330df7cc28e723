"""A bundle with another card: found again on other data, never mistaken for the one before."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from astrid.errors import PredictionError, UsageError
from astrid.learn.bundle import Bundle, Measured
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.prediction import Predictor
from astrid.learn.revision import recalibrate, with_figures
from astrid.learn.task import Input


def test_recalibration_undoes_what_the_network_is_too_sure_of(toy_bundle, toy_dataset, tmp_path):
    rows = np.flatnonzero(toy_dataset.column("field") >= "field30")
    made = recalibrate(
        toy_bundle, toy_dataset, tmp_path / "toy.new", "toy.new", rows=rows, part="last 15 fields",
        command="the command",
    )  # fmt: skip
    card = made.card
    assert 1.5 < card.heads["real"].calibration.temperature < 3  # it was made twice too steep
    assert card.heads["real"].calibration.fitted_on == f"last 15 fields of toy, {len(rows)} items"
    assert card.parent == f"toy.test {toy_bundle.hash}"
    assert card.command.endswith("the command")
    assert made.hash != toy_bundle.hash
    for name, one in toy_bundle.weights.items():
        np.testing.assert_array_equal(made.weights[name], one)
    assert (made.path / "model.onnx").read_bytes() == (toy_bundle.path / "model.onnx").read_bytes()


def test_without_calibration_probabilities_are_those_of_the_network(toy_bundle, toy_dataset, tmp_path):
    made = recalibrate(toy_bundle, toy_dataset, tmp_path / "toy.raw", "toy.raw", calibration="none")
    images = {"image": toy_dataset.arrays["image"][:20]}
    logits = Predictor(made).logits(images)["real"][0, :, 0]
    np.testing.assert_allclose(Predictor(made)(images).heads["real"].values[:, 0], expit(logits), atol=1e-6)
    assert made.card.heads["real"].conformal is not None


def test_a_name_of_another_system_or_data_of_another_shape_are_refused(toy_bundle, toy_dataset, tmp_path):
    with pytest.raises(UsageError, match="does not fit task toy"):
        recalibrate(toy_bundle, toy_dataset, tmp_path / "x", "braai.new")
    inputs = {"image": Input(shape=(8, 8, 2), channels=("reference", "difference"))}
    with DatasetWriter(tmp_path / "small", name="small", inputs=inputs, kind="real") as writer:
        writer.append({"image": np.zeros((2, 8, 8, 2))}, {"group": ["a", "b"], "real": ["real", "bogus"]})
    with pytest.raises(PredictionError, match="cut them anew"):
        recalibrate(toy_bundle, Dataset.open(tmp_path / "small"), tmp_path / "x", "toy.new")
    assert not (tmp_path / "x").exists()


def test_figures_go_into_the_card_and_take_the_place_of_older_ones(toy_bundle, toy_dataset, tmp_path):
    made = recalibrate(toy_bundle, toy_dataset, tmp_path / "toy.new", "toy.new")
    assert made.card.metrics == ()

    def figure(name, value, on="toy, test part"):
        return Measured(name=name, value=value, n=10, on=on, kind="simulated")

    first = with_figures(made, [figure("AUCPR", 0.8), figure("ECE", 0.1)])
    second = with_figures(first, [figure("AUCPR", 0.9), figure("AUCPR", 0.7, on="other data")])
    found = {(one.name, one.on): one.value for one in Bundle.load(made.path).card.metrics}
    assert found == {
        ("ECE", "toy, test part"): 0.1, ("AUCPR", "toy, test part"): 0.9, ("AUCPR", "other data"): 0.7,
    }  # fmt: skip
    assert len({made.hash, first.hash, second.hash}) == 3
