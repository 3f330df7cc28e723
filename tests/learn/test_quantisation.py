"""Eight bits, and what they cost."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from astrid.errors import BundleError
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.graph import Graph
from astrid.learn.quantisation import quantisation_loss, quantise
from astrid.learn.task import Binary, Input, Task
from astrid.zoo.braai import BRAAI


@pytest.fixture(scope="module")
def model(toy_bundle: Bundle) -> bytes:
    return (toy_bundle.path / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def images(toy_dataset: Dataset) -> dict[str, np.ndarray]:
    return {"image": toy_dataset.take("image", np.arange(900))}


@pytest.fixture(scope="module")
def rounded(toy_bundle: Bundle, model: bytes, images: dict[str, np.ndarray]) -> bytes:
    return quantise(model, toy_bundle.task, {"image": images["image"][:200]})


def test_convolutions_and_layers_are_quantised_and_the_interface_stays(model: bytes, rounded: bytes) -> None:
    before, after = (onnx.load_from_string(one) for one in (model, rounded))
    assert [one.name for one in after.graph.input] == [one.name for one in before.graph.input]
    assert [one.name for one in after.graph.output] == [one.name for one in before.graph.output]
    made = {output: node.op_type for node in after.graph.node for output in node.output}
    inputs = [node.input[:2] for node in after.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    assert len(inputs) == 2
    assert all(made[name] == "DequantizeLinear" for pair in inputs for name in pair)


def test_the_loss_is_what_one_finds_by_hand(
    toy_bundle: Bundle, toy_dataset: Dataset, model: bytes, rounded: bytes, images: dict[str, np.ndarray]
) -> None:
    task, card = toy_bundle.task, toy_bundle.card
    labels = toy_dataset.labels("real", task.heads["real"])
    loss = quantisation_loss(model, rounded, task, images, {"real": labels}, card.heads)
    temperature, threshold = card.heads["real"].calibration.temperature, card.heads["real"].decision.threshold
    p, q = (
        1 / (1 + np.exp(-Graph(one, task).logits(images)["real"][0, :, 0].astype(float) / temperature))
        for one in (model, rounded)
    )
    assert loss["items"] == 900
    assert loss["real: largest change"] == pytest.approx(np.abs(p - q).max(), abs=1e-6)
    assert loss["real: mean change"] == pytest.approx(np.abs(p - q).mean(), abs=1e-6)
    assert loss["real: recall before"] == pytest.approx((p[labels == 1] >= threshold).mean(), abs=1e-3)
    assert loss["real: false-positive rate after"] == pytest.approx(
        (q[labels == 0] >= threshold).mean(), abs=1e-3
    )
    assert 0 < loss["real: mean change"] < 0.05


def test_a_model_without_layers_is_refused() -> None:
    task = Task(
        name="t", inputs={"x": Input(shape=(2,))}, heads={"y": Binary(labels=("a", "b"))}, network="n:N"
    )
    x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["n", 2])
    y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["n", 2])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "g", [x], [y])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    with pytest.raises(BundleError, match="n:N has no layer that can be quantised; export it without int8"):
        quantise(model.SerializeToString(), task, {"x": np.zeros((4, 2), np.float32)})


def test_braai_shrinks_to_a_third_or_less() -> None:
    from astrid.learn.export import export

    rng = np.random.default_rng(0)
    rows = {"triplet": rng.normal(100, 7, (16, 63, 63, 3)).astype(np.float32)}
    files = export([BRAAI.build_network()], BRAAI, int8_samples=rows).files
    assert len(files["model.int8.onnx"]) < len(files["model.onnx"]) / 3
