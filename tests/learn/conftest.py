"""A toy survey, task and bundle that the tests of the engine share.

The toy is real or bogus in small: images of 9 x 9 pixels, a reference and a difference, with a
star, a dipole, a cosmic ray or nothing in the middle. The weights of its network are written
here, so that a bundle is there without a training and without torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from astrid.learn.bundle import Bundle, Card, DataRecord, HeadCard, Uncertainty, save_bundle
from astrid.learn.calibration import fit_temperature
from astrid.learn.conformal import alphas_from_costs, fit_conformal
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.decisions import least_cost_threshold
from astrid.learn.prediction import Predictor, calibrated
from astrid.learn.task import Binary, Cost, Input, Task

SIDE = 9
HEAD = (130.0, -586.0, -524.0, -0.4, 2.2)  # twice a logistic regression: overconfident on purpose
KINDS = ("star", "nothing", "dipole", "cosmic_ray")


@pytest.fixture(scope="session")
def toy_task() -> Iterator[Task]:
    """Real or bogus on images of 9 x 9 pixels; its network is in ``toy_network``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield Task(
            name="toy",
            title="Toy real or bogus",
            inputs={
                "image": Input(
                    shape=(SIDE, SIDE, 2), unit="counts", meaning="cutouts",
                    channels=("reference", "difference"),
                )
            },
            heads={"real": Binary(labels=("bogus", "real"), cost=Cost(miss=20, false_alarm=1))},
            network="toy_network:ToyNetwork",
            group="field",
            time="mjd",
            limits="Only for tests.",
        )  # fmt: skip


@pytest.fixture(scope="session")
def dense_task(toy_task: Task) -> Task:
    """The toy's labels for a network with running statistics and dropout."""
    facts = {"network": "astrid.networks.dense:Dense", "network_options": {"hidden": [16], "dropout": 0.3}}
    return toy_task.model_copy(update=facts)


def toy_images(rng: np.random.Generator, kinds: np.ndarray, flux: np.ndarray) -> np.ndarray:
    """(n, 9, 9, 2) float32: what each kind looks like in noise of 1 count."""
    n = len(kinds)
    images = rng.normal(0, 1, (n, SIDE, SIDE, 2))
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2

    def star(dx, dy, width=1.2):
        shape = np.exp(-((x - dx[:, None, None]) ** 2 + (y - dy[:, None, None]) ** 2) / (2 * width**2))
        return shape / shape.sum(axis=(1, 2), keepdims=True)

    dx, dy = rng.normal(0, 0.3, (2, n))
    point = star(dx, dy)
    dipole = 6 * (star(dx + 0.5, dy) - star(dx - 0.5, dy))
    ray = np.zeros((n, SIDE, SIDE))
    ray[:, SIDE // 2, SIDE // 2 - 1 : SIDE // 2 + 1] = 0.25
    shapes = {"star": point, "dipole": dipole, "cosmic_ray": ray}
    for kind, shape in shapes.items():
        of_kind = kinds == kind
        images[of_kind, :, :, 1] += flux[of_kind, None, None] * shape[of_kind]
    images[..., 0] += rng.choice([0, 80], n)[:, None, None] * point
    return images.astype(np.float32)


@pytest.fixture(scope="session")
def toy_dataset(toy_task: Task, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """900 rows of 45 fields, a third of them real, with what tests slice by."""
    path = tmp_path_factory.mktemp("toy") / "data"
    rng = np.random.default_rng(42)
    n, fields = 900, 45
    kinds = rng.choice(KINDS, n, p=[1 / 3, 2 / 9, 2 / 9, 2 / 9])
    mag = rng.uniform(20, 22.5, n)
    with DatasetWriter(
        path, name="toy", inputs=toy_task.inputs, kind="simulated", group="field", time="mjd",
        recipe={"seed": 42}, labels="known from the simulation", licence="MIT",
    ) as writer:  # fmt: skip
        writer.append(
            {"image": toy_images(rng, kinds, 10 ** (-0.4 * (mag - 25)))},
            {
                "id": [f"toy{row:04d}" for row in range(n)],
                "field": [f"field{row % fields:02d}" for row in range(n)],
                "mjd": 60000 + np.sort(rng.uniform(0, 100, n)),
                "real": np.where(kinds == "star", "real", "bogus"),
                "kind": kinds,
                "mag": mag,
                "telescope": rng.choice(["north", "south"], n),
                "edge_distance": rng.integers(0, 500, n),
            },
        )
    return Dataset.open(path)


def toy_weights() -> dict[str, np.ndarray]:
    """Weights of ``ToyNetwork``, chosen by hand, and a logistic regression on the four features."""
    y, x = np.mgrid[-1:2, -1:2]
    blob = np.exp(-(x**2 + y**2) / (2 * 1.2**2))
    filters = np.zeros((4, 2, 3, 3))  # out, in, ny, nx
    filters[0, 1] = blob
    filters[1, 1] = -blob
    filters[2, 1] = np.where((x == 0) & (y == 0), 2, -0.5 * (np.abs(x) + np.abs(y) == 1))
    filters[3, 0] = blob
    return {
        "convolution.weight": filters.astype(np.float32),
        "convolution.bias": np.array([-0.5, -0.5, -0.3, -0.5], np.float32),
        "head.weight": np.array([HEAD[:4]], np.float32),
        "head.bias": np.array(HEAD[4:], np.float32),
    }


def toy_onnx(weights: Mapping[str, np.ndarray], heads: list[np.ndarray] | None = None) -> bytes:
    """The network as an ONNX graph; several last layers make an ensemble, (members, n, 1)."""
    members = [weights["head.weight"]] if heads is None else heads
    last = np.concatenate(members).T  # (4, members)
    constants = {
        "scale": np.float32(0.1), "filters": weights["convolution.weight"],
        "bias": weights["convolution.bias"], "last": last.astype(np.float32),
        "last_bias": np.repeat(weights["head.bias"], last.shape[1]), "back": np.array([2], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("Mul", ["image", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "filters", "bias"], ["maps"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["features"]),
        helper.make_node("Gemm", ["features", "last", "last_bias"], ["each"]),
        helper.make_node("Transpose", ["each"], ["turned"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["turned", "back"], ["real"]),
    ]
    return model_bytes(nodes, {"image": (SIDE, SIDE, 2)}, {"real": (len(members), 1)}, constants)


def model_bytes(
    nodes: list[onnx.NodeProto],
    inputs: Mapping[str, tuple[int, ...]],
    outputs: Mapping[str, tuple[int, ...]],
    constants: Mapping[str, np.ndarray],
) -> bytes:
    """A graph with the interface of a bundle's model: (n, ...) in, (members, n, ...) out."""
    graph = helper.make_graph(
        nodes,
        "toy",
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape])
            for name, shape in inputs.items()
        ],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [members, "n", *shape])
            for name, (members, *shape) in outputs.items()
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def save_toy(path: Path, task: Task, dataset: Dataset, *, members: int = 1) -> Bundle:
    """The toy network as a bundle, calibrated on the first 15 fields."""
    weights = toy_weights()
    rng = np.random.default_rng(7)
    spread = 0.0 if members == 1 else 0.15
    heads = [weights["head.weight"] * rng.normal(1, spread, (1, 4)) for _ in range(members)]
    method = "none" if members == 1 else "ensemble"
    card = Card(
        name="toy.test", task=task, created="2026-01-01T00:00:00+00:00",
        data=(DataRecord(name="toy", hash=dataset.info.hash, n=len(dataset), kind="simulated"),),
        uncertainty=Uncertainty(method=method, passes=members),
    )  # fmt: skip
    files = {"model.onnx": toy_onnx(weights, heads)}
    raw = save_bundle(path, card, files, weights)
    rows = np.flatnonzero(dataset.column("field") < "field15")
    logits = Predictor(raw).logits({"image": dataset.take("image", rows)})["real"]
    head = task.heads["real"]
    labels = dataset.labels("real", head)[rows]
    calibration = fit_temperature(logits, labels, fitted_on="15 fields of the toy data")
    p = calibrated(logits, head, calibration).mean(axis=0)
    found = HeadCard(
        calibration=calibration,
        conformal=fit_conformal(np.hstack([1 - p, p]), labels, head.labels, alphas_from_costs(head)),
        decision=least_cost_threshold(labels, p, head.cost),
    )
    return save_bundle(path, card.model_copy(update={"heads": {"real": found}}), files, weights)


@pytest.fixture(scope="session")
def toy_bundle(toy_task: Task, toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """``toy.test``: the toy network, calibrated and with a threshold; its weights fit ``ToyNetwork``."""
    return save_toy(tmp_path_factory.mktemp("toy") / "toy.test", toy_task, toy_dataset)


@pytest.fixture(scope="session")
def toy_ensemble(toy_task: Task, toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Five toy networks that differ in their last layer."""
    return save_toy(tmp_path_factory.mktemp("toy") / "toy.test", toy_task, toy_dataset, members=5)


@pytest.fixture(scope="session")
def linear_bundle() -> Callable[..., Bundle]:
    """Makes a bundle of any task with one flat input, from one (members, d, k) matrix a head."""

    def make(
        path: Path,
        task: Task,
        matrices: Mapping[str, np.ndarray],
        heads: Mapping[str, HeadCard] | None = None,
    ) -> Bundle:
        ((name, one),) = task.inputs.items()
        constants = {f"{head}_w": matrix.astype(np.float32) for head, matrix in matrices.items()}
        nodes = [helper.make_node("MatMul", [name, f"{head}_w"], [head]) for head in matrices]
        members = {head: matrix.shape[0] for head, matrix in matrices.items()}
        outputs = {head: (members[head], matrix.shape[2]) for head, matrix in matrices.items()}
        model = model_bytes(nodes, {name: one.shape}, outputs, constants)
        many = max(members.values())
        card = Card(
            name=f"{task.name}.linear", task=task, created="2026-01-01T00:00:00+00:00",
            uncertainty=Uncertainty(method="ensemble" if many > 1 else "none", passes=many),
            heads=dict(heads or {}),
        )  # fmt: skip
        return save_bundle(path, card, {"model.onnx": model}, {"w": np.zeros(1, np.float32)})

    return make


@pytest.fixture(scope="session")
def heat_map_bundle() -> Callable[[Path, Task], Bundle]:
    """Makes a bundle whose map is its image of one channel."""

    def make(path: Path, task: Task) -> Bundle:
        ((name, one),) = task.inputs.items()
        ((head, _),) = task.heads.items()
        axes = {"last": np.array([3], np.int64), "first": np.array([0], np.int64)}
        nodes = [
            helper.make_node("Squeeze", [name, "last"], ["flat"]),
            helper.make_node("Unsqueeze", ["flat", "first"], [head]),
        ]
        model = model_bytes(nodes, {name: one.shape}, {head: (1, *one.shape[:2])}, axes)
        card = Card(name=f"{task.name}.identity", task=task, created="2026-01-01T00:00:00+00:00")
        return save_bundle(path, card, {"model.onnx": model}, {"w": np.zeros(1, np.float32)})

    return make


@pytest.fixture(scope="session")
def toy_network_onnx() -> Callable[..., bytes]:
    """Turns weights of ``ToyNetwork`` into an ONNX graph."""
    return toy_onnx


@pytest.fixture(scope="session")
def toy_mean_onnx() -> Callable[[Path, Task], Bundle]:
    """Makes a bundle whose logits are all the mean of the image."""

    def make(path: Path, task: Task) -> Bundle:
        ((name, one),) = task.inputs.items()
        ((head, question),) = task.heads.items()
        weights = np.full((int(np.prod(one.shape)), question.size), 1 / np.prod(one.shape), np.float32)
        nodes = [
            helper.make_node("Flatten", [name], ["flat"]),
            helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
            helper.make_node("Unsqueeze", ["logits", "first"], [head]),
        ]
        constants = {"weights": weights, "first": np.array([0], np.int64)}
        model = model_bytes(nodes, {name: one.shape}, {head: (1, question.size)}, constants)
        card = Card(name=f"{task.name}.mean", task=task, created="2026-01-01T00:00:00+00:00")
        return save_bundle(path, card, {"model.onnx": model}, {"w": np.zeros(1, np.float32)})

    return make
