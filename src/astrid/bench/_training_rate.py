"""The rate of training steps of the engine beside that of a bare PyTorch loop.

Both train the same network with the same optimizer on batches of the same size, in turns of a few
steps, so that whatever else the machine does slows both; the engine reads its batches from disk.
What counts is processor time, on one thread: that of the clock follows the load of the machine.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.settings import Optimizer, Split, Training
from astrid.learn.task import Binary, Input, Task

__all__ = ["Rates", "step_rates"]

_BATCH = 64
_INPUT = Input(shape=(63, 63, 3), channels=("science", "reference", "difference"))
_WARMUP = 2  # turns of both that do not count


@dataclass
class Rates:
    """What was measured, turn by turn.

    Parameters
    ----------
    engine, bare : list of float, s
        Processor time of one step, on the average over a turn.
    """

    engine: list[float] = field(default_factory=list)
    bare: list[float] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        """Rate of the engine over that of the bare loop, the median of neighbouring turns."""
        return float(np.median(np.array(self.bare) / np.array(self.engine)))


def step_rates(turns: int, steps: int) -> Rates:
    """Train a network of the size of braai's, in turns with a bare loop.

    Parameters
    ----------
    turns : int
        Of each; the first two do not count.
    steps : int
        Of one turn.

    Returns
    -------
    rates : Rates
    """
    from astrid.learn.training import train

    task = Task(
        name="rate",
        inputs={"triplet": _INPUT},
        heads={"real": Binary(labels=("bogus", "real"))},
        network="astrid.networks.vgg:VGG6",
        training=Training(
            epochs=1, batch_size=_BATCH, optimizer=Optimizer(lr=3e-4), threads=1,
            trackers=(), accelerator="cpu",
            split=Split(by="column", column="part", test_values=("test",), validation_values=("validation",)),
        ),
    )  # fmt: skip
    rates = Rates()
    with tempfile.TemporaryDirectory(prefix="astrid-bench-") as directory:
        dataset = _dataset(Path(directory) / "data", turns * steps * _BATCH)
        turn = _Turns(rates, steps, _bare_loop(task, dataset))
        train(task, dataset, Path(directory) / "run", on_progress=turn)
    rates.engine, rates.bare = rates.engine[_WARMUP:], rates.bare[_WARMUP:]
    return rates


class _Turns:
    """Called after each step of the engine; after some of them the bare loop has its turn."""

    def __init__(self, rates: Rates, steps: int, bare: Callable[[int], None]) -> None:
        self._rates, self._steps, self._bare = rates, steps, bare
        self._began: float | None = None
        self._done = 0

    def __call__(self, done: int, total: int) -> None:
        if done % self._steps or done == self._done:
            return  # the last step is reported twice, the second time when everything is written
        self._done = done
        now = time.process_time()
        if self._began is not None:
            self._rates.engine.append((now - self._began) / self._steps)
            self._bare(self._steps)
            self._rates.bare.append((time.process_time() - now) / self._steps)
        self._began = time.process_time()


def _bare_loop(task: Task, dataset: Dataset) -> Callable[[int], None]:
    """So many steps as one would write them by hand, on batches that lie in memory."""
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    network = task.build_network().to(memory_format=torch.channels_last).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=task.training.optimizer.lr)
    images = torch.from_numpy(np.array(dataset.arrays["triplet"][: 8 * _BATCH])).split(_BATCH)
    labels = torch.from_numpy(dataset.labels("real", task.heads["real"])[: 8 * _BATCH]).split(_BATCH)

    def run(steps: int) -> None:
        for step in range(steps):
            logits = network(triplet=images[step % 8])["real"][:, 0]
            loss = binary_cross_entropy_with_logits(logits, labels[step % 8])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return run


def _dataset(path: Path, n: int) -> Dataset:
    """Noise with labels, and a few rows for each of the other parts."""
    rng = np.random.default_rng(0)
    with DatasetWriter(path, name="noise", inputs={"triplet": _INPUT}, kind="simulated") as writer:
        for part, rows in (("train", n), ("validation", 2), ("test", 2)):
            for start in range(0, rows, 1024):
                here = range(start, min(start + 1024, rows))
                writer.append(
                    {"triplet": rng.standard_normal((len(here), *_INPUT.shape), np.float32)},
                    {
                        "group": [f"{part}{row}" for row in here],
                        "part": [part] * len(here),
                        "real": ["real" if row % 2 else "bogus" for row in here],
                    },
                )
    return Dataset.open(path)
