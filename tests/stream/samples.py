"""Small packets of ZTF's kind, with all that the path looks at, and bundles whose answer is known."""

from __future__ import annotations

import gzip
import io

import fastavro
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from astrid.learn.bundle import Bundle, Card, save_bundle
from astrid.learn.task import Binary, Input, Multiclass, Task

PLANES = ("science", "reference", "difference")
SIZE = 15  # px
CUTOUTS = ("cutoutScience", "cutoutTemplate", "cutoutDifference")

CANDIDATE = {
    "candid": "long", "jd": "double", "fid": "int", "ra": "double", "dec": "double", "magpsf": "float",
    "sigmapsf": "float", "diffmaglim": ["null", "float"], "isdiffpos": "string", "xpos": "float",
    "ypos": "float", "drb": ["null", "float"],
}  # fmt: skip
STAMP = {
    "type": "record", "name": "stamp", "namespace": "ztf.alert",
    "fields": [{"name": "fileName", "type": "string"}, {"name": "stampData", "type": "bytes"}],
}  # fmt: skip


def _record(name: str) -> dict:
    fields = [{"name": field, "type": kind} for field, kind in CANDIDATE.items()]
    return {"type": "record", "name": name, "fields": fields}


SCHEMA = fastavro.parse_schema(
    {
        "type": "record", "name": "alert", "namespace": "ztf",
        "fields": [
            {"name": "schemavsn", "type": "string"},
            {"name": "objectId", "type": "string"},
            {"name": "candid", "type": "long"},
            {"name": "candidate", "type": _record("candidate")},
            {"name": "prv_candidates", "type": [
                "null",
                {"type": "array", "items": _record("prv")},
            ]},
            {"name": "cutoutScience", "type": ["null", STAMP]},
            {"name": "cutoutTemplate", "type": ["null", "ztf.alert.stamp"]},
            {"name": "cutoutDifference", "type": ["null", "ztf.alert.stamp"]},
        ],
    }
)  # fmt: skip


def stamp(image) -> dict:
    ny, nx = image.shape
    cards = {"SIMPLE": "T", "BITPIX": -32, "NAXIS": 2, "NAXIS1": nx, "NAXIS2": ny}
    header = b"".join(f"{name:8}= {value!s:>20}".ljust(80).encode() for name, value in cards.items())
    content = (header + b"END".ljust(80)).ljust(2880) + image.astype(">f4").tobytes()
    return {"fileName": "s.fits.gz", "stampData": gzip.compress(content, mtime=0)}


def candidate(number: int, mjd: float, **facts) -> dict:
    rng = np.random.default_rng(number)
    return {
        "candid": number, "jd": mjd + 2400000.5, "fid": 1 + number % 2, "ra": rng.uniform(0, 360),
        "dec": rng.uniform(-80, 80), "magpsf": 15 + 0.01 * (number % 500), "sigmapsf": 0.1,
        "diffmaglim": 20.5, "isdiffpos": "t", "xpos": 500.0, "ypos": 600.0, "drb": 0.9, **facts,
    }  # fmt: skip


def packet(number: int, *, size: int = SIZE, images: bool = True, history: int = 2, **facts) -> bytes:
    """An Avro file; the height of the candidate in its images follows from the number."""
    rng = np.random.default_rng(number)
    planes = rng.normal(size=(3, size, size))
    planes[2, size // 2, size // 2] = peak(number)
    record = {
        "schemavsn": "4.02", "objectId": f"ZTF26{number % 50:07d}", "candid": number,
        "candidate": candidate(number, 61345.0 + number * 1e-4, **facts),
        "prv_candidates": [candidate(10**6 + 10 * number + k, 61340.0 + k) for k in range(history)],
        **{name: stamp(plane) if images else None for name, plane in zip(CUTOUTS, planes, strict=True)},
    }  # fmt: skip
    stream = io.BytesIO()
    fastavro.writer(stream, SCHEMA, [record], codec="null", sync_marker=b"s" * 16)
    return stream.getvalue()


def peak(number: int) -> float:
    return (number % 41) / 10 - 2


def graph(size: int, channels: int, weights: np.ndarray, head: str) -> bytes:
    """A model whose logits are the central pixels times a matrix: (channels, labels)."""
    middle = size // 2
    constants = {
        "start": np.array([middle, middle]), "end": np.array([middle + 1, middle + 1]),
        "axes": np.array([1, 2]), "shape": np.array([1, -1, channels]), "w": weights.astype(np.float32)[None],
    }  # fmt: skip
    nodes = [
        helper.make_node("Slice", ["triplet", "start", "end", "axes"], ["pixel"]),
        helper.make_node("Reshape", ["pixel", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], [head]),
    ]
    graph = helper.make_graph(
        nodes,
        "toy",
        [helper.make_tensor_value_info("triplet", TensorProto.FLOAT, ["n", size, size, channels])],
        [helper.make_tensor_value_info(head, TensorProto.FLOAT, [1, "n", weights.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def bundle(
    folder, name: str, weights, *, size=63, planes=PLANES, head="real", labels=None, **facts
) -> Bundle:
    weights = np.array(weights, float)
    kind = Binary(labels=("bogus", "real")) if labels is None else Multiclass(labels=labels)
    one = Input(shape=(size, size, len(planes)), channels=planes)
    task = Task(name=name.partition(".")[0], inputs={"triplet": one}, heads={head: kind}, network="no:Where")
    card = Card(name=name, task=task.model_copy(update=facts), created="2026-01-01")
    files = {"model.onnx": graph(size, len(planes), weights, head)}
    return save_bundle(folder / name, card, files, {"w": np.ones(1, np.float32)})
