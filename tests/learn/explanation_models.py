"""Small models whose explanations are known, for the tests of explanation: graphs, networks, bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from astrid.learn.bundle import Bundle, Card, Uncertainty, save_bundle
from astrid.learn.task import Binary, Input, Task


def graph(
    nodes: list[onnx.NodeProto],
    task: Task,
    constants: Mapping[str, np.ndarray],
    *,
    members: int = 1,
) -> bytes:
    """An ONNX graph with the interface that a bundle's model has."""
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *one.shape])
        for name, one in task.inputs.items()
    ]
    outputs = []
    for name, head in task.heads.items():
        shape = head.shape if head.kind == "heatmap" else (head.size,)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [members, "n", *shape]))
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "test", inputs, outputs, stored),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bundle(
    path: Path,
    task: Task,
    model: bytes,
    weights: Mapping[str, np.ndarray] | None = None,
    *,
    members: int = 1,
    **card,
) -> Bundle:
    """A bundle of a graph, and of weights if the network is to be built again."""
    method = "none" if members == 1 else "ensemble"
    described = Card(
        name=f"{task.name}.test", task=task, created="2026-01-01T00:00:00+00:00",
        uncertainty=Uncertainty(method=method, passes=members), **card,
    )  # fmt: skip
    return save_bundle(path, described, {"model.onnx": model}, weights or {"w": np.zeros(1, np.float32)})


class SmallNet(nn.Module):
    """A small relative of the real/bogus network: divided by its norm, activations called as functions."""

    head_names = ("heads",)
    gradcam_layer = "conv2"

    def __init__(self, inputs, outputs):
        super().__init__()
        ((self.input, (side, _, channels)),) = inputs.items()
        ((self.output, k),) = outputs.items()
        self.conv1 = nn.Conv2d(channels, 4, 3)
        self.pool = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(4, 6, 3)
        self.dense = nn.Linear(6 * ((side - 2) // 2 - 2) ** 2, 8)
        self.heads = nn.Linear(8, k)

    def embed(self, **inputs: Tensor) -> Tensor:
        x = inputs[self.input]
        x = 10 * x / x.square().sum(dim=(1, 2, 3), keepdim=True).sqrt()
        x = self.pool(self.conv1(x.permute(0, 3, 1, 2)).relu())
        x = torch.relu(self.conv2(x))
        return nn.functional.relu(self.dense(x.flatten(1)))

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        return {self.output: self.heads(self.embed(**inputs))}


def small_graph(task: Task, networks: list[nn.Module]) -> bytes:
    """`SmallNet`, or an ensemble of them, as a graph."""
    (name,), (head,) = task.inputs, task.heads
    constants: dict[str, np.ndarray] = {"ten": np.float32(10), "front": np.array([0], np.int64)}
    nodes = [
        helper.make_node("ReduceL2", [name], ["norm"], axes=[1, 2, 3]),
        helper.make_node("Mul", [name, "ten"], ["larger"]),
        helper.make_node("Div", ["larger", "norm"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["first"], perm=[0, 3, 1, 2]),
    ]
    for m, network in enumerate(networks):
        for key, value in network.state_dict().items():
            constants[f"{m}.{key}"] = value.numpy()

        def layer(kind, given, made, key, m=m, **attributes):
            inputs = [given, f"{m}.{key}.weight", f"{m}.{key}.bias"]
            return helper.make_node(kind, inputs, [f"{m}.{made}"], **attributes)

        nodes += [
            layer("Conv", "first", "a", "conv1"),
            helper.make_node("Relu", [f"{m}.a"], [f"{m}.b"]),
            helper.make_node("MaxPool", [f"{m}.b"], [f"{m}.c"], kernel_shape=[2, 2], strides=[2, 2]),
            layer("Conv", f"{m}.c", "d", "conv2"),
            helper.make_node("Relu", [f"{m}.d"], [f"{m}.e"]),
            helper.make_node("Flatten", [f"{m}.e"], [f"{m}.f"]),
            layer("Gemm", f"{m}.f", "g", "dense", transB=1),
            helper.make_node("Relu", [f"{m}.g"], [f"{m}.h"]),
            layer("Gemm", f"{m}.h", "i", "heads", transB=1),
            helper.make_node("Unsqueeze", [f"{m}.i", "front"], [f"{m}.j"]),
        ]
    nodes.append(helper.make_node("Concat", [f"{m}.j" for m in range(len(networks))], [head], axis=0))
    return graph(nodes, task, constants, members=len(networks))


def small_bundle(path: Path, task: Task, *, seed: int = 0, members: int = 1) -> Bundle:
    """A bundle of `SmallNet` with random weights, large enough that it bends."""
    torch.manual_seed(seed)
    networks = [task.build_network().eval() for _ in range(members)]
    with torch.no_grad():
        for parameter in (one for network in networks for one in network.parameters()):
            parameter.mul_(3)
    weights = {}
    for m, network in enumerate(networks):
        prefix = "" if members == 1 else f"{m}."
        weights |= {prefix + key: value.numpy() for key, value in network.state_dict().items()}
    return bundle(path, task, small_graph(task, networks), weights, members=members)


class Bars(nn.Module):
    """Two filters, for upright and for level bars; the mean of each map; one layer."""

    head_names = ("head",)
    gradcam_layer = "conv"

    def __init__(self, inputs, outputs):
        super().__init__()
        ((self.input, (_, _, channels)),) = inputs.items()
        ((self.output, k),) = outputs.items()
        self.conv = nn.Conv2d(channels, 2, 3, padding=1)
        self.head = nn.Linear(2, k)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        x = self.conv(inputs[self.input].permute(0, 3, 1, 2)).relu()
        return {self.output: self.head(x.mean(dim=(2, 3)))}


def bars_bundle(path: Path, task: Task, slopes: tuple[float, float]) -> Bundle:
    """`Bars`, with a slope for each of its two maps."""
    ((name, one),) = task.inputs.items()
    (head,) = task.heads
    upright = np.array([[-1, 2, -1]] * 3, np.float32)
    kernels = np.stack([np.stack([one_way] * one.shape[2]) for one_way in (upright, upright.T)])
    weights = {
        "conv.weight": np.ascontiguousarray(kernels),
        "conv.bias": np.zeros(2, np.float32),
        "head.weight": np.array([slopes], np.float32),
        "head.bias": np.zeros(1, np.float32),
    }
    nodes = [
        helper.make_node("Transpose", [name], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "conv.weight", "conv.bias"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "head.weight", "head.bias"], ["e"], transB=1),
        helper.make_node("Unsqueeze", ["e", "front"], [head]),
    ]
    constants = {**weights, "front": np.array([0], np.int64)}
    return bundle(path, task, graph(nodes, task, constants), weights)


class Joined(nn.Module):
    """An image and some facts, joined after the image's convolution."""

    head_names = ("head",)
    gradcam_layer = "conv"

    def __init__(self, inputs, outputs):
        super().__init__()
        ((self.output, k),) = outputs.items()
        self.conv = nn.Conv2d(inputs["image"][2], 3, 3)
        self.head = nn.Linear(3 + inputs["facts"][0], k)

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        image = self.conv(inputs["image"].permute(0, 3, 1, 2)).relu().mean(dim=(2, 3))
        return {self.output: self.head(torch.cat([image, inputs["facts"]], dim=1))}


def joined_bundle(path: Path, task: Task) -> Bundle:
    """`Joined` with random weights."""
    torch.manual_seed(3)
    weights = {key: value.numpy() for key, value in task.build_network().state_dict().items()}
    (head,) = task.heads
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "conv.weight", "conv.bias"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("GlobalAveragePool", ["b"], ["c"]),
        helper.make_node("Flatten", ["c"], ["d"]),
        helper.make_node("Concat", ["d", "facts"], ["e"], axis=1),
        helper.make_node("Gemm", ["e", "head.weight", "head.bias"], ["f"], transB=1),
        helper.make_node("Unsqueeze", ["f", "front"], [head]),
    ]
    constants = {**weights, "front": np.array([0], np.int64)}
    return bundle(path, task, graph(nodes, task, constants), weights)


def dense_bundle(path: Path) -> Bundle:
    """A dense network of six features with random weights; its inputs have mean 0 and variance 1."""
    task = Task(
        name="known", inputs={"x": Input(shape=(6,), channels=tuple("abcdef"))},
        heads={"real": Binary(labels=("no", "yes"))}, network="astrid.networks.dense:Dense",
        network_options={"hidden": (8, 5)},
    )  # fmt: skip
    torch.manual_seed(1)
    network = task.build_network().eval()
    weights = {key: value.numpy() for key, value in network.state_dict().items()}
    nodes, given = [helper.make_node("Mul", ["x", "scale"], ["s"])], "s"
    for k, key in enumerate(("trunk.0", "trunk.3", "heads.real_out")):
        nodes.append(helper.make_node("Gemm", [given, f"{key}.weight", f"{key}.bias"], [f"g{k}"], transB=1))
        nodes.append(helper.make_node("Relu", [f"g{k}"], [f"r{k}"]))
        given = f"r{k}"
    nodes[-1] = helper.make_node("Unsqueeze", ["g2", "front"], ["real"])
    constants = {key: value for key, value in weights.items() if value.ndim and value.dtype == np.float32}
    scale = np.float32(1 / np.sqrt(1 + network.standardize.eps))
    constants |= {"scale": scale, "front": np.array([0], np.int64)}
    return bundle(path, task, graph(nodes, task, constants), weights)
