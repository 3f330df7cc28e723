"""A small sky of light curves whose periods are known, and toy classifiers of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from onnx import TensorProto, helper, numpy_helper

from astrid.learn.bundle import Bundle, Card, save_bundle
from astrid.learn.task import Input, Multiclass, Task
from astrid.lightcurves.variability import numbers_of

N = 40
LABELS = ("EW", "RRab", "LPV")


def write_sky(folder: Path, seed: int = 0) -> tuple[Path, Path, dict[str, float]]:
    """Points and positions of 40 sines; and of three sources more: of flags only, of NaN, of three points."""
    rng = np.random.default_rng(seed)
    columns: dict[str, list] = {"objectid": [], "mjd": [], "mag": [], "magerr": [], "catflags": []}
    periods = {}
    for k in range(N + 3):
        n = 3 if k == N + 2 else int(rng.integers(60, 90))
        time = np.sort(55000 + rng.uniform(0, 400, n))
        period = float(rng.uniform(0.3, 0.9))
        mag = 15 + 0.4 * np.sin(2 * np.pi * time / period) + rng.normal(0, 0.03, n)
        periods[str(1000 + k)] = period
        columns["objectid"] += [1000 + k] * n
        columns["mjd"] += time.tolist()
        columns["mag"] += (np.full(n, np.nan) if k == N + 1 else mag).tolist()
        columns["magerr"] += [0.03] * n
        columns["catflags"] += [1] * n if k == N else [0] * (n - 1) + [1]
    points, places = folder / "points.parquet", folder / "places.csv"
    pq.write_table(pa.table(columns), points)
    ra, dec = rng.uniform(0, 360, N + 3), np.degrees(np.arcsin(rng.uniform(-1, 1, N + 3)))
    rows = [f"{1000 + k},{ra[k]:.6f},{dec[k]:.6f},{'abc'[k % 3]}" for k in range(N + 3)]
    places.write_text("\n".join(["objectid,ra,dec,kind", *rows]) + "\n")
    return points, places, periods


def toy_classifier(path: Path, what: str) -> Bundle:
    """Three classes: the logits are the sum over an input, times 0, 1 and -1."""
    inputs = {
        "dmdt": Input(shape=(22, 23, 1)),
        "folded": Input(shape=(32, 1)),
        "features": Input(shape=(len(numbers_of()),), channels=tuple(numbers_of())),
    }
    task = Task(
        name="toy",
        inputs={what: inputs[what]},
        heads={"variable": Multiclass(labels=LABELS)},
        network="no:thing",
    )
    cells = int(np.prod(inputs[what].shape))
    constants = {
        "flat": np.array([-1, cells], np.int64),
        "weight": np.tile(np.array([0, 1, -1], np.float32) / cells, (cells, 1)),
        "front": np.array([0], np.int64),
    }
    nodes = [
        helper.make_node("Reshape", [what, "flat"], ["row"]),
        helper.make_node("MatMul", ["row", "weight"], ["logit"]),
        helper.make_node("Unsqueeze", ["logit", "front"], ["variable"]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info(what, TensorProto.FLOAT, ["n", *inputs[what].shape])],
        [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [1, "n", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    card = Card(name=f"toy.{what}", task=task, created="2026-01-01")
    return save_bundle(
        path / f"toy.{what}", card, {"model.onnx": model.SerializeToString()}, {"w": np.ones(1, np.float32)}
    )
