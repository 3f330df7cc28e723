"""The sanity check of an explanation: does it change when what the network has learned is destroyed?

Every kernel is drawn anew with its own scale, the explanation is made again, and the two are
compared by rank.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError
from astrid.learn.bundle import Bundle
from astrid.learn.explanation.result import Attribution

__all__ = ["draws_for", "randomised_kernel", "randomised_model", "similarity"]

FEWEST = 3
"""With fewer values, ranks say nothing."""

_ROUNDING = 1e-5  # of the largest value: smaller ones have no rank of their own


def randomised_kernel(weights: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Normal weights of the same shape, type and root mean square.

    Vectors (biases, what a normalisation learned) are returned as they are: without kernels that
    fit them they carry nothing, and a variance must stay positive.
    """
    if weights.ndim < 2 or not np.issubdtype(weights.dtype, np.floating):
        return weights
    scale = float(np.sqrt(np.mean(np.square(weights, dtype=np.float64))))
    return rng.normal(0, scale, weights.shape).astype(weights.dtype)


def randomised_model(
    bundle: Bundle, seed: int
) -> Callable[[Mapping[str, NDArray[np.float32]]], dict[str, NDArray[np.float32]]] | None:
    """The bundle's graph with random kernels, ready to run; None where the package onnx is absent.

    Parameters
    ----------
    bundle : Bundle
    seed : int

    Returns
    -------
    run : callable or None
        From inputs to the logits of each head.

    Raises
    ------
    BundleError
        The graph cannot be read.
    """
    try:
        import onnx
    except ImportError:
        return None
    import onnxruntime

    path = bundle.path / "model.onnx"
    try:
        model = onnx.load(path)
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); export the bundle again") from error
    rng = np.random.default_rng(seed)
    for one in model.graph.initializer:
        if one.data_type == onnx.TensorProto.FLOAT:
            kernel = randomised_kernel(onnx.numpy_helper.to_array(one), rng)
            one.CopyFrom(onnx.numpy_helper.from_array(kernel, one.name))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_cpu_mem_arena = False  # several such models follow one another, each would keep its own
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    heads = list(bundle.task.heads)

    def run(arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(heads, session.run(heads, dict(arrays)), strict=True))

    return run


def draws_for(found: Attribution) -> int:
    """How many random networks: the more, the fewer the values and so the noisier each correlation."""
    size = _sizes(found).size
    return 30 if size < 8 else 10 if size < 64 else 3


def similarity(found: Attribution, random: Attribution) -> float | None:
    """Spearman's rank correlation between the sizes of two attributions.

    Parameters
    ----------
    found, random : Attribution

    Returns
    -------
    correlation : float or None
        0 where the second says nothing at all; None where the first does, or has fewer than three
        values.
    """
    from scipy.stats import spearmanr

    first, second = _sizes(found), _sizes(random)
    if first.size < FEWEST or np.ptp(first) == 0:
        return None
    return 0.0 if np.ptp(second) == 0 else float(spearmanr(first, second).statistic)


def _sizes(attribution: Attribution) -> NDArray[np.float64]:
    sizes = np.abs(np.concatenate([one.ravel() for one in attribution.values.values()]))
    sizes[sizes < _ROUNDING * sizes.max()] = 0
    return sizes
