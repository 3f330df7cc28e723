"""Networks as ONNX: the same numbers, whatever the number of items."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from astrid.errors import BundleError
from astrid.learn.graph import OPSET, Graph, largest_difference, to_onnx
from astrid.learn.task import Binary, HeatMap, Input, Multiclass, Regression, Task
from astrid.learn.uncertainty import Members

TASK = Task(
    name="several",
    inputs={"image": Input(shape=(8, 8, 2)), "table": Input(shape=(3,))},
    heads={
        "kind": Multiclass(labels=("a", "b", "c")),
        "real": Binary(labels=("no", "yes")),
        "size": Regression(names=("height", "width")),
        "where": HeatMap(shape=(8, 8), truth="map"),
    },
    network="somebody:Net",
)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.convolution = nn.Conv2d(2, 4, 3, padding=1)
        self.layers = nn.ModuleDict(
            {name: nn.Linear(7, k) for name, k in (("kind", 3), ("real", 1), ("size", 2))}
        )

    def forward(self, table: Tensor, image: Tensor) -> dict[str, Tensor]:
        maps = self.convolution(image.permute(0, 3, 1, 2)).relu()
        features = torch.cat([maps.mean(dim=(2, 3)), table], dim=1)
        outputs = {name: layer(features) for name, layer in self.layers.items()}
        return {**outputs, "where": maps.sum(dim=1)}


class Odd(Net):
    """Gives something that is no number for an item of zeros."""

    def forward(self, table: Tensor, image: Tensor) -> dict[str, Tensor]:
        return super().forward(table / table.norm(dim=1, keepdim=True), image)


class Untraceable(Net):
    def forward(self, table: Tensor, image: Tensor) -> dict[str, Tensor]:
        return super().forward(table if float(table.sum()) > 0 else -table, image)


@pytest.fixture(scope="module")
def module() -> Members:
    return Members([Net(), Net()], TASK)


@pytest.fixture(scope="module")
def model(module: Members) -> bytes:
    return to_onnx(module, TASK)


def items(n: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(n)
    return {name: rng.normal(0, 3, (n, *one.shape)).astype(np.float32) for name, one in TASK.inputs.items()}


def test_the_interface_is_named_by_the_task_and_free_in_the_number_of_items(model: bytes) -> None:
    graph = onnx.load_from_string(model).graph
    shape = {one.name: [d.dim_value or d.dim_param for d in one.type.tensor_type.shape.dim]
             for one in (*graph.input, *graph.output)}  # fmt: skip
    assert shape == {
        "image": ["n", 8, 8, 2], "table": ["n", 3],
        "kind": [2, "n", 3], "real": [2, "n", 1], "size": [2, "n", 2], "where": [2, "n", 8, 8],
    }  # fmt: skip
    assert onnx.load_from_string(model).opset_import[0].version == OPSET


@pytest.mark.parametrize("n", [1, 2, 7, 8, 9, 40])
def test_onnx_gives_what_torch_gives_for_any_number_of_items(module: Members, model: bytes, n: int) -> None:
    arrays = items(n)
    with torch.inference_mode():
        wanted = module(*(torch.from_numpy(arrays[name]) for name in TASK.inputs))
    found = Graph(model, TASK).logits(arrays)
    for name, tensor in zip(TASK.heads, wanted, strict=True):
        np.testing.assert_allclose(found[name], tensor.numpy(), atol=1e-5)


def test_the_difference_is_measured_and_small(module: Members, model: bytes) -> None:
    assert 0 <= largest_difference(module, model, TASK, items(20)) < 1e-5


def test_the_same_network_gives_the_same_bytes_without_a_trace_of_this_machine(
    module: Members, model: bytes
) -> None:
    assert to_onnx(module, TASK) == model
    assert b".py" not in model
    assert str(torch.__file__).rpartition("/torch")[0].encode() not in model


def test_other_weights_are_noticed(module: Members) -> None:
    other = Members([Net(), Net()], TASK)
    with torch.no_grad():
        other.networks[1].layers["real"].bias += 0.01
    with pytest.raises(BundleError, match=r"somebody:Net: torch and ONNX differ by 0\.0"):
        largest_difference(module, to_onnx(other, TASK), TASK)


def test_a_network_that_gives_no_number_for_zeros_is_refused() -> None:
    odd = Members([Odd()], TASK)
    with pytest.raises(BundleError, match="kind is not finite for zeros; correct the network"):
        largest_difference(odd, to_onnx(odd, TASK), TASK)


def test_a_network_that_onnx_cannot_say_is_refused_in_one_sentence() -> None:
    with pytest.raises(BundleError, match="somebody:Net cannot be written as ONNX") as caught:
        to_onnx(Members([Untraceable()], TASK), TASK)
    assert "\n" not in str(caught.value)


def test_the_modules_that_make_bundles_load_neither_torch_nor_onnx() -> None:
    modules = ("export", "graph", "keras", "quantisation", "space", "study", "tuning")
    code = (
        f"import sys, {', '.join('astrid.learn.' + one for one in modules)}\n"
        "heavy = {'torch', 'lightning', 'onnx', 'onnxruntime', 'optuna', 'h5py', 'sklearn', 'matplotlib'}\n"
        "sys.exit(' '.join(sorted(heavy & set(sys.modules))) or 0)"
    )
    found = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
