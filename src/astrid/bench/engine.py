"""What the learning engine costs, beside the same thing done without it.

Every row is measured here and now; goals that are missed stay in the table.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from astrid.bench._scoring import scoring_rows
from astrid.bench._training_rate import step_rates
from astrid.bench.frame import ONE_THREAD, Report, Row, measure_process
from astrid.errors import DataError
from astrid.learn.registry import live

__all__ = ["run"]

_PACKAGES = ("torch", "lightning", "onnxruntime")


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Measure the learning engine.

    Parameters
    ----------
    quick : bool
        Fewer repeats, within a minute.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        There is no live bundle to score with.
    """
    say = on_stage or (lambda stage: None)
    rows: list[Row] = []
    say("training steps in turns with a bare loop")
    rows += _training_rows(turns=42 if quick else 122, steps=2)
    bundle = live("braai")
    if bundle is None:
        raise DataError("no bundle of braai is live; make one live with astrid models stage NAME live")
    rows += scoring_rows(bundle.path, quick, say)
    return Report("engine", tuple(rows), _PACKAGES)


def _training_rows(turns: int, steps: int) -> list[Row]:
    """The engine's step rate in units of the bare loop's, and the step itself."""
    rates = measure_process(step_rates, turns, steps, environment=ONE_THREAD).result
    n = len(rates.engine) * steps
    own, bare = (1e3 * float(np.median(one)) for one in (rates.engine, rates.bare))
    what = "VGG6, batches of 64, one thread"
    return [
        Row(f"training step rate over a bare PyTorch loop, {what}", rates.ratio, n=n, goal=">= 0.95"),
        Row(f"training step, processor time, {what}", own, "ms", n=n).beside("bare PyTorch loop", bare),
    ]
