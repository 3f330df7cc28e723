"""Networks as ONNX graphs: converted, and compared with what torch gives.

A graph takes the task's inputs by name, float32 (n, ...), and gives for each head its logits,
(members, n, ...). What a bundle needs beyond its graphs is put together in `export`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError
from astrid.learn.bundle import Calibration
from astrid.learn.prediction import calibrated
from astrid.learn.task import Task

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Graph", "largest_difference", "to_onnx"]

Arrays = Mapping[str, NDArray[np.float32]]

OPSET = 18  # what torch's exporter writes without converting; every supported ONNX Runtime reads it
_SHARED = 2**20  # numbers of an array that are compared with others
_TOLERANCE = 1e-5  # of a probability, between torch and ONNX Runtime
_ROWS = 256  # of the data, that are compared
_RANDOM = 64
_BATCH = 64  # larger ones are no faster on a CPU, and take more memory


class Graph:
    """An ONNX graph in memory that can be run.

    Parameters
    ----------
    model : bytes
    task : Task
    threads : int
    """

    def __init__(self, model: bytes, task: Task, *, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._task = task

    def logits(self, arrays: Arrays) -> dict[str, NDArray[np.float32]]:
        """(members, n, ...) for each head, from n items, batch by batch."""
        heads = list(self._task.heads)
        n = len(next(iter(arrays.values())))
        parts = []
        for start in range(0, max(n, 1), _BATCH):
            batch = {
                name: np.ascontiguousarray(arrays[name][start : start + _BATCH], np.float32)
                for name in self._task.inputs
            }
            parts.append(self._session.run(heads, batch))
        return {head: np.concatenate([one[k] for one in parts], axis=1) for k, head in enumerate(heads)}


def to_onnx(module: nn.Module, task: Task) -> bytes:
    """Convert a module that takes the task's inputs in order and gives a tuple with one tensor a head.

    The weights are inside, the number of items is free, and the same module gives the same bytes:
    what the exporter notes about the source code it came through is left out.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; `astrid.learn.uncertainty` makes such modules of networks.
    task : Task

    Returns
    -------
    model : bytes

    Raises
    ------
    BundleError
        The network does something that ONNX cannot say.
    """
    import torch
    from onnx_ir.passes.common import DeduplicateInitializersPass

    items = tuple(torch.zeros(2, *one.shape) for one in task.inputs.values())
    free = torch.export.Dim("n")
    try:
        with _quiet():
            program = torch.onnx.export(
                module,
                items,
                dynamo=True,
                input_names=list(task.inputs),
                output_names=list(task.heads),
                dynamic_shapes=(tuple({0: free} for _ in items),),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except (torch.onnx.OnnxExporterError, torch._dynamo.exc.UserError) as error:
        reason = " ".join(str(error.__cause__ or error).split())[:300]
        raise BundleError(
            f"{task.network} cannot be written as ONNX ({reason}); use operations that torch.onnx knows"
        ) from error
    # what the exporter computed in advance it wrote once for each use: trees were three times their size
    DeduplicateInitializersPass(size_limit=_SHARED)(program.model)
    model = program.model_proto
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
    del model.graph.metadata_props[:], model.metadata_props[:]
    model.graph.name = task.name
    return bytes(model.SerializeToString(deterministic=True))


def largest_difference(
    module: nn.Module, model: bytes, task: Task, rows: Arrays | None = None, *, seed: int = 0
) -> float:
    """Compare torch with ONNX Runtime on items of the data, on random ones and on zeros.

    Parameters
    ----------
    module : torch.nn.Module
        What `model` was made from.
    model : bytes
    task : Task
    rows : mapping of str to (n, ...) float32 ndarray, optional
        Items of the data; the random ones get their mean and deviation.
    seed : int

    Returns
    -------
    difference : float
        The largest in any probability; in other numbers relative to the larger of 1 and their size.

    Raises
    ------
    BundleError
        It is 1e-5 or more, or the network gives something that is not a number.
    """
    import torch

    graph = Graph(model, task)
    worst = 0.0
    for what, arrays in _trials(task, rows, seed).items():
        with torch.inference_mode():
            wanted = module(*(torch.from_numpy(arrays[name]) for name in task.inputs))
        found = graph.logits(arrays)
        for (name, head), tensor in zip(task.heads.items(), wanted, strict=True):
            one, other = (calibrated(each, head, Calibration()) for each in (tensor.numpy(), found[name]))
            difference = np.abs(one - other) / np.maximum(1, np.abs(one))
            if not np.isfinite(difference).all():
                raise BundleError(
                    f"{task.network}: {name} is not finite for {what}; correct the network, it must give "
                    "numbers for any finite input"
                )
            worst = max(worst, float(difference.max()))
    if worst >= _TOLERANCE:
        raise BundleError(
            f"{task.network}: torch and ONNX differ by {worst:.2g}, expected less than {_TOLERANCE:g}; look "
            "for operations that are done otherwise in ONNX"
        )
    return worst


def _trials(task: Task, rows: Arrays | None, seed: int) -> dict[str, Arrays]:
    rng = np.random.default_rng(seed)
    zeros = {name: np.zeros((2, *one.shape), np.float32) for name, one in task.inputs.items()}
    data, noise = {}, {}
    for name, one in task.inputs.items():
        mean, deviation = 0.0, 1.0
        if rows is not None:
            data[name] = np.ascontiguousarray(rows[name][:_ROWS], np.float32)
            mean, deviation = data[name].mean(dtype=np.float64), data[name].std(dtype=np.float64)
        noise[name] = (mean + deviation * rng.standard_normal((_RANDOM, *one.shape))).astype(np.float32)
    trials: dict[str, Arrays] = {"zeros": zeros, "random numbers": noise}
    return trials | ({"rows of the data": data} if data else {})


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on itself and on what else could be installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # torch calls its own deprecated functions
            warnings.simplefilter("ignore", FutureWarning)
            warnings.simplefilter("ignore", DeprecationWarning)
            # of several inputs the same number of items is wanted: that is what we mean
            warnings.filterwarnings("ignore", "# The axis name", UserWarning)
            yield
    finally:
        logger.setLevel(level)
