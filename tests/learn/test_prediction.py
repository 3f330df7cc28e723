"""Prediction: probabilities as the formulas have them, decisions as the card has them, reasons in words."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from scipy.special import expit, softmax

from astrid.errors import BundleError, PredictionError
from astrid.learn.applicability import training_ranges
from astrid.learn.bundle import (
    Bundle,
    Calibration,
    Card,
    Conformal,
    Decision,
    HeadCard,
    Uncertainty,
    save_bundle,
)
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.prediction import Predictor, calibrated
from astrid.learn.task import Binary, Input, Multiclass, Multilabel, Regression, Task

CHANNELS = ("a", "b", "c")
DRAW = np.random.default_rng(1)
MEMBERS = DRAW.normal(size=(4, 3, 1)).astype(np.float32)  # weights of four linear models


def linear(weights, heads=("real",), shape=(3,)):
    """An ONNX graph: each head is the sum over the items' numbers, weighted; (members, n, k)."""
    weights = np.asarray(weights, np.float32)
    members, _, k = weights.shape
    nodes = [
        helper.make_node("Unsqueeze", ["x", "axis"], ["rows"]),
        *(helper.make_node("MatMul", ["rows", "weights"], [head]) for head in heads),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])],
        [helper.make_tensor_value_info(head, TensorProto.FLOAT, [members, "n", k]) for head in heads],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array([0]), "axis")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bundle(path, head=None, weights=MEMBERS[:1], spread=None, **facts):
    task = Task(
        name="toy",
        inputs={"x": Input(shape=(3,), channels=CHANNELS)},
        heads={"real": head or Binary(labels=("bogus", "real"))},
        network="nowhere:Net",
    )
    files = {"model.onnx": linear(weights)}
    if spread is not None:
        files["spread.onnx"] = linear(spread)
    card = Card(name="toy.one", task=task, created="2026-01-01", **facts)
    return save_bundle(path / "toy.one", card, files, {"weight": np.asarray(weights)})


@pytest.fixture
def items():
    return {"x": DRAW.normal(size=(50, 3)).astype(np.float32)}


def test_probabilities_are_the_logistic_of_the_logits_over_the_temperature(tmp_path, items):
    heads = {"real": HeadCard(calibration=Calibration(method="temperature", temperature=2.5))}
    predictor = Predictor(bundle(tmp_path, heads=heads))
    expected = expit(items["x"] @ MEMBERS[0] / 2.5)
    np.testing.assert_allclose(predictor(items).heads["real"].values, expected, rtol=2e-6)
    np.testing.assert_array_equal(
        predictor.probabilities(items)["real"], predictor(items).heads["real"].values
    )


def test_isotonic_knots_are_applied(tmp_path, items):
    knots = Calibration(method="isotonic", x=(0.0, 0.4, 1.0), y=(0.1, 0.2, 0.9))
    predictor = Predictor(bundle(tmp_path, heads={"real": HeadCard(calibration=knots)}))
    expected = np.interp(expit(items["x"] @ MEMBERS[0]), knots.x, knots.y)
    np.testing.assert_allclose(predictor(items).heads["real"].values, expected, rtol=1e-5)


def test_an_ensemble_gives_the_mean_probability_and_its_spread(tmp_path, items):
    predictor = Predictor(
        bundle(tmp_path, weights=MEMBERS, uncertainty=Uncertainty(method="ensemble", passes=4))
    )
    members = expit(items["x"] @ MEMBERS)
    found = predictor(items).heads["real"]
    np.testing.assert_allclose(found.values, members.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(found.spread, members.std(axis=0), atol=1e-6)


def test_passes_with_dropout_give_the_spread_and_leave_the_probability_alone(tmp_path, items):
    facts = {"spread": MEMBERS, "uncertainty": Uncertainty(method="mc_dropout", passes=4)}
    predictor = Predictor(bundle(tmp_path, **facts))
    found = predictor(items).heads["real"]
    np.testing.assert_allclose(found.values, expit(items["x"] @ MEMBERS[0]), rtol=2e-6)
    np.testing.assert_allclose(found.spread, expit(items["x"] @ MEMBERS).std(axis=0), atol=1e-6)
    assert np.isnan(predictor(items, spread=False).heads["real"].spread).all()


def test_classes_share_one_probability(tmp_path, items):
    weights = DRAW.normal(size=(1, 3, 3)).astype(np.float32)
    predictor = Predictor(bundle(tmp_path, head=Multiclass(labels=("a", "b", "c")), weights=weights))
    found = predictor(items).heads["real"]
    expected = softmax(items["x"] @ weights[0], axis=1)
    np.testing.assert_allclose(found.values, expected, atol=1e-6)
    assert found.decision.tolist() == [("a", "b", "c")[k] for k in expected.argmax(axis=1)]
    assert set(predictor(items).to_columns()) >= {"real_a", "real_c_spread", "real_decision", "applicable"}


def test_the_decision_is_taken_at_the_threshold_of_the_card(tmp_path, items):
    heads = {"real": HeadCard(decision=Decision(threshold=0.05, rule="least expected cost"))}
    found = Predictor(bundle(tmp_path, heads=heads))(items).heads["real"]
    assert ((found.decision == "real") == (found.values[:, 0] >= np.float32(0.05))).all()


def test_sets_name_what_cannot_be_told_apart_and_what_is_new(tmp_path):
    both = Conformal(
        alpha={"bogus": 0.1, "real": 0.1}, quantile={"bogus": 0.3, "real": 0.8}, n={"bogus": 9, "real": 9}
    )
    none = both.model_copy(update={"quantile": {"bogus": 0.3, "real": 0.3}})
    x = {"x": np.array([[-6, 0, 0], [-1, 0, 0], [0, 0, 0], [6, 0, 0]], np.float32)}
    weights = np.array([[[1.0], [0], [0]]])
    first = Predictor(bundle(tmp_path, weights=weights, heads={"real": HeadCard(conformal=both)}))(x)
    assert first.heads["real"].labels_in_set.tolist() == ["bogus", "bogus+real", "real", "real"]
    second = Predictor(bundle(tmp_path, weights=weights, heads={"real": HeadCard(conformal=none)}))(x)
    assert second.heads["real"].labels_in_set.tolist() == ["bogus", "bogus", "novel", "real"]


@given(st.floats(-1e4, 1e4, width=32), st.floats(0.05, 20))
def test_a_probability_is_one_for_any_logit(logit, temperature):
    head = Binary(labels=("no", "yes"))
    value = calibrated(np.array([[logit]], np.float32), head, Calibration(temperature=temperature))
    assert 0 <= value[0, 0] <= 1
    assert calibrated(np.array([[logit]], np.float32), Regression(names=("z",)), Calibration())[0, 0] == logit
    both = calibrated(np.array([[logit, -logit]], np.float32), Multilabel(labels=("a", "b")), Calibration())
    assert both.sum() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({}, "x is absent"),
        ({"x": np.zeros((2, 4), np.float32)}, r"items of shape \(4,\), but toy\.one takes \(3,\)"),
        ({"x": np.zeros(3, np.float32)}, "items of shape"),
        ({"x": np.array([[0, 0, 0], [0, np.nan, 0]])}, "x of item 1 is not finite"),
        ({"x": np.array([[0, 0, np.inf]])}, "x of item 0 is not finite"),
    ],
)
def test_input_that_does_not_fit_is_refused(tmp_path, change, sentence):
    with pytest.raises(PredictionError, match=sentence):
        Predictor(bundle(tmp_path))(change)


def test_large_finite_numbers_are_not_taken_for_infinity(tmp_path):
    assert len(Predictor(bundle(tmp_path))({"x": np.full((1, 3), 3e38, np.float32)})) == 1


def test_a_data_set_is_scored_in_batches_in_the_order_asked_for(tmp_path, items):
    with DatasetWriter(
        tmp_path / "set", name="toy", inputs={"x": Input(shape=(3,), channels=CHANNELS)}, kind="simulated"
    ) as writer:
        writer.append(items, {"group": ["g"] * 50})
    told = []
    rows = np.arange(49, -1, -1)
    predictor = Predictor(bundle(tmp_path))
    parts = list(
        predictor.batches(
            Dataset.open(tmp_path / "set"), rows, batch_size=7, on_progress=lambda *n: told.append(n)
        )
    )
    assert np.concatenate([index for index, _ in parts]).tolist() == rows.tolist()
    found = np.concatenate([one.heads["real"].values for _, one in parts])
    np.testing.assert_allclose(found, predictor(items).heads["real"].values[::-1], rtol=1e-6)
    assert told[-1] == (50, 50)


def test_channels_in_another_order_are_refused_and_never_guessed(tmp_path, items):
    inputs = {"x": Input(shape=(3,), channels=("b", "a", "c"))}
    with DatasetWriter(tmp_path / "set", name="toy", inputs=inputs, kind="simulated") as writer:
        writer.append(items, {"group": ["g"] * 50})
    with pytest.raises(PredictionError, match=r"channels of x are \['b', 'a', 'c'\]"):
        next(Predictor(bundle(tmp_path)).batches(Dataset.open(tmp_path / "set")))


def test_a_graph_that_is_not_what_the_card_says_is_refused(tmp_path):
    good = bundle(tmp_path)
    other = save_bundle(
        tmp_path / "other", good.card, {"model.onnx": linear(MEMBERS[:1], ("fake",))}, good.weights
    )
    with pytest.raises(BundleError, match=r"gives \['fake'\], but the card says \['real'\]"):
        Predictor(other)
    wrong = save_bundle(tmp_path / "wrong", good.card, {"model.onnx": b"no graph"}, good.weights)
    with pytest.raises(BundleError, match="cannot be run"):
        Predictor(wrong)
    with pytest.raises(BundleError, match="has no quantised model"):
        Predictor(good, int8=True)
    assert isinstance(Bundle.load(good.path), Bundle)


def test_an_item_unlike_the_training_data_is_told_why(tmp_path):
    images = DRAW.normal(size=(3000, 8, 8, 2)).astype(np.float32)
    inputs = {"image": Input(shape=(8, 8, 2), channels=("science", "difference"))}
    ranges = training_ranges(inputs, {"image": images})
    from astrid.learn.applicability import RangeCheck

    check = RangeCheck(ranges, inputs)
    reasons = check({"image": images})
    assert (reasons == "").mean() > 0.99
    odd = images[:4].copy()
    odd[0] *= 1000
    odd[1, ..., 1] = 5
    odd[2, :6, :, 0] = 0
    found = check({"image": odd})
    assert "of image science is" in found[0]
    assert found[1] == "image difference is constant"
    assert "in training it was" in found[2]
    assert found[3] == ""


def test_the_ranges_are_the_quantiles_of_the_summaries():
    x = DRAW.normal(size=(500, 4, 4)).astype(np.float32)
    ranges = training_ranges({"x": Input(shape=(4, 4))}, {"x": x})
    flat = x.reshape(500, -1).astype(float)
    expected = {
        "mean": flat.mean(1),
        "std": flat.std(1),
        "max": flat.max(1),
        "min": flat.min(1),
        "zeros": (flat == 0).mean(1),
    }
    for one in ranges:
        low, high = np.quantile(expected[one.statistic], [0.001, 0.999])
        assert (one.low, one.high) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))
