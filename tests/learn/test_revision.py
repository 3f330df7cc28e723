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


def test_rates_and_prevalence_that_are_given_take_the_place_of_those_that_follow(
    toy_bundle, toy_dataset, tmp_path
):
    usual = recalibrate(toy_bundle, toy_dataset, tmp_path / "a", "toy.a").card.heads["real"]
    rare = recalibrate(
        toy_bundle, toy_dataset, tmp_path / "b", "toy.b", alpha={"real": {"bogus": 0.2}}, prevalence=1e-3
    ).card.heads["real"]
    assert usual.conformal.alpha == {"bogus": 0.05, "real": 0.01}
    assert rare.conformal.alpha == {"bogus": 0.2, "real": 0.01}
    assert rare.conformal.quantile["bogus"] < usual.conformal.quantile["bogus"]
    assert rare.decision.threshold > usual.decision.threshold
    assert rare.decision.rule.endswith(", prevalence 0.001")
    assert "prevalence" not in usual.decision.rule


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"alpha": {"rael": {"real": 0.1}}}, "toy has no head 'rael' with sets of labels; those with: real"),
        ({"alpha": {"real": {"star": 0.1}}}, "a rate is given for 'star', but the labels of real are bogus"),
        ({"alpha": {"real": {"real": 1.5}}}, "the rate of absence of 'real' is 1.5"),
        ({"prevalence": 2.0}, "the prevalence is 2.0; give a share between 0 and 1"),
    ],
)
def test_a_rate_or_prevalence_that_cannot_be_is_refused(given, sentence, toy_bundle, toy_dataset, tmp_path):
    with pytest.raises(UsageError, match=sentence):
        recalibrate(toy_bundle, toy_dataset, tmp_path / "x", "toy.x", **given)
    assert not (tmp_path / "x").exists()


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
