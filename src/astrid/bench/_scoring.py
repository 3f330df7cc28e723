"""What scoring with a bundle costs: one item beside bare onnxruntime, and a million from disk.

The figures do not depend on what the weights are; every process runs one thread.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from astrid.bench.frame import ONE_THREAD, Row, measure_process
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.prediction import Predictor

__all__ = ["scoring_rows"]

_BLOCK = 40  # calls in a row of one kind, before the other kind has its turn
_STORED = 20_000  # items on disk, read again and again: 1 GB, so that the memory cannot hold a million


def scoring_rows(path: Path, quick: bool, say: Callable[[str], None]) -> list[Row]:
    """The cost of predictions with the bundle in the directory `path`.

    Parameters
    ----------
    path : Path
    quick : bool
        Fewer calls, and 20,000 items instead of a million.
    say : callable
        Told the name of each stage.
    """
    say("one triplet beside bare onnxruntime")
    blocks = 15 if quick else 100
    alone = measure_process(_latencies, path, blocks, environment=ONE_THREAD).result
    bare, lean, whole = (1e3 * float(np.median(times)) for times in alone)
    peer = f"onnxruntime {onnxruntime.__version__} alone"

    def beside(times: np.ndarray[Any, Any]) -> float:
        return float(np.median(times / alone[0]))

    n = blocks * _BLOCK
    rows = [
        Row("one triplet, calibrated probability: time over bare", beside(alone[1]), goal="<= 1.1", n=n),
        Row("one triplet, whole prediction: time over bare", beside(alone[2]), n=n),
        Row("one triplet, calibrated probability", lean, "ms", n=n).beside(peer, bare),
        Row("one triplet, whole prediction", whole, "ms", n=n).beside(peer, bare),
    ]
    wanted = 20_000 if quick else 1_000_000
    say(f"{wanted:,} triplets from disk")
    with tempfile.TemporaryDirectory() as folder:
        stored = min(wanted, 2_000 if quick else _STORED)
        _store(Path(folder) / "set", Bundle.load(path), stored)
        few = measure_process(_score, path, Path(folder) / "set", stored, environment=ONE_THREAD)
        many = measure_process(_score, path, Path(folder) / "set", wanted, environment=ONE_THREAD)
    return [
        *rows,
        Row(f"{wanted:,} triplets from disk: a second of one core", wanted / many.cpu_s, "/s", n=wanted),
        Row(f"{wanted:,} triplets from disk: peak memory", many.peak_mb, "MiB", n=wanted),
        Row(
            f"{wanted:,} triplets from disk: memory over that of {stored:,}",
            many.peak_mb / few.peak_mb,
            goal="<= 1.1",
            n=wanted,
        ),
    ]


def _latencies(path: Path, blocks: int) -> tuple[np.ndarray[Any, Any], ...]:
    """Processor seconds of a call: bare, probabilities, whole prediction; block by block in turn."""
    bundle = Bundle.load(path)
    predictor = Predictor(bundle)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        str(path / "model.onnx"), options, providers=["CPUExecutionProvider"]
    )
    items = _items(bundle, 64, seed=0)
    feeds = [{name: array[k : k + 1] for name, array in items.items()} for k in range(64)]
    ways: tuple[Callable[[dict[str, Any]], Any], ...] = (
        lambda feed: session.run(None, feed),
        predictor.probabilities,
        lambda feed: predictor(feed, spread=False),
    )
    times = np.zeros((len(ways), blocks))
    for block in range(-2, blocks):  # the first two warm up
        for k, way in enumerate(ways):
            start = time.process_time()  # one thread: what others do meanwhile does not count
            for call in range(_BLOCK):
                way(feeds[call % 64])
            times[k, block] = (time.process_time() - start) / _BLOCK
    return tuple(times)


def _score(path: Path, stored: Path, wanted: int) -> float:
    predictor, dataset = Predictor(Bundle.load(path)), Dataset.open(stored)
    rows = np.arange(wanted) % len(dataset)
    total = 0.0
    for _, prediction in predictor.batches(dataset, rows):
        total += float(sum(head.values.sum() for head in prediction.heads.values()))
    return total


def _items(bundle: Bundle, n: int, seed: int) -> dict[str, np.ndarray[Any, Any]]:
    draw = np.random.default_rng(seed)
    return {
        name: draw.normal(size=(n, *one.shape)).astype(np.float32) for name, one in bundle.task.inputs.items()
    }


def _store(folder: Path, bundle: Bundle, n: int) -> None:
    inputs = bundle.task.inputs
    with DatasetWriter(folder, name="noise", inputs=inputs, kind="simulated") as writer:
        for start in range(0, n, 1000):
            size = min(1000, n - start)
            writer.append(_items(bundle, size, start), {"group": ["noise"] * size})
