"""A model in 8-bit integers: smaller and somewhat faster, at a loss that is measured and written down.

Only convolutions, dense layers and what lies between them are quantised: the scaling of the inputs
spans too many decades for 8 bits. The exact model always stays in the bundle beside this one.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError
from astrid.learn.bundle import HeadCard
from astrid.learn.graph import Graph
from astrid.learn.prediction import averaged
from astrid.learn.task import Binary, Multiclass, Task

__all__ = ["quantisation_loss", "quantise"]

Arrays = Mapping[str, NDArray[np.float32]]

_KINDS = ["Conv", "Gemm", "MatMul", "MaxPool", "Relu", "Reshape", "Transpose"]
_BATCH = 32


def quantise(model: bytes, task: Task, samples: Arrays) -> bytes:
    """The model with static 8-bit quantisation (QDQ; one scale for each channel of the weights).

    Parameters
    ----------
    model : bytes
        ONNX.
    task : Task
    samples : mapping of str to (n, ...) float32 ndarray
        Items of the data, from which the ranges of all layers are taken; a few hundred.

    Returns
    -------
    model : bytes
        ONNX with the same inputs and outputs.

    Raises
    ------
    BundleError
        The model has no layer that can be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    graph = onnx.load_from_string(model).graph
    if not any(node.op_type in ("Conv", "Gemm", "MatMul") for node in graph.node):
        raise BundleError(f"{task.network} has no layer that can be quantised; export it without int8")
    with tempfile.TemporaryDirectory() as folder, _quiet():
        given, prepared, result = (Path(folder) / f"{name}.onnx" for name in ("given", "prepared", "int8"))
        given.write_bytes(model)
        quant_pre_process(given, prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared,
            result,
            _reader(task, samples),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_KINDS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return result.read_bytes()


def quantisation_loss(
    model: bytes,
    quantised: bytes,
    task: Task,
    arrays: Arrays,
    labels: Mapping[str, NDArray[Any]],
    heads: Mapping[str, HeadCard],
) -> dict[str, float]:
    """What quantisation changes, on labelled items that were not trained on.

    Parameters
    ----------
    model, quantised : bytes
        ONNX.
    task : Task
    arrays : mapping of str to (n, ...) float32 ndarray
    labels : mapping of str to ndarray
        Of each head that has classes, as the data set gives them.
    heads : mapping of str to HeadCard
        Calibration and threshold.

    Returns
    -------
    loss : dict of str to float
        For each head the largest and the mean change of its probabilities (or numbers); of a
        binary head also recall and false-positive rate at its threshold, of a multiclass head the
        accuracy, before and after.
    """
    exact, rounded = (Graph(one, task).logits(arrays) for one in (model, quantised))
    loss: dict[str, float] = {"items": float(len(next(iter(arrays.values()))))}
    for name, head in task.heads.items():
        card = heads.get(name, HeadCard())
        before, after = (averaged(one[name], head, card.calibration) for one in (exact, rounded))
        change = np.abs(after - before)
        loss[f"{name}: largest change"] = float(change.max())
        loss[f"{name}: mean change"] = float(change.mean())
        if name not in labels:
            continue
        for when, values in (("before", before), ("after", after)):
            for figure, value in _figures(head, card, values, labels[name]).items():
                loss[f"{name}: {figure} {when}"] = value
    return loss


def _figures(head: Any, card: HeadCard, values: NDArray[Any], labels: NDArray[Any]) -> dict[str, float]:
    match head:
        case Binary():
            threshold = 0.5 if card.decision is None else card.decision.threshold
            taken = values[:, 0] >= threshold
            positive, negative = labels >= 0.5, labels < 0.5
            shares = {"recall": positive, "false-positive rate": negative}
            return {figure: float(taken[rows].mean()) for figure, rows in shares.items() if rows.any()}
        case Multiclass() if (labels >= 0).any():
            known = labels >= 0
            return {"accuracy": float((values.argmax(axis=1) == labels)[known].mean())}
    return {}


def _reader(task: Task, samples: Arrays) -> Any:
    """The samples, batch by batch, as ONNX Runtime asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Batches(CalibrationDataReader):
        def __init__(self) -> None:
            n = len(next(iter(samples.values())))
            self.starts = iter(range(0, n, _BATCH))

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            start = next(self.starts, None)
            if start is None:
                return None
            return {
                name: np.ascontiguousarray(samples[name][start : start + _BATCH], np.float32)
                for name in task.inputs
            }

    return Batches()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without ONNX Runtime's advice, which goes to the root logger."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
