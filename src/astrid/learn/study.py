"""What a search for a better recipe found: its trials, the best of them, and what made the difference.

The search itself is in `tuning`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.learn.settings import Training

__all__ = ["LEAST", "Study", "Trial", "draw_study"]

LEAST = 4
"""Completed trials that are needed to say what matters."""


@dataclass(frozen=True)
class Trial:
    """One recipe that was tried.

    Parameters
    ----------
    number : int
    values : dict of str to object
        The settings that were tried.
    state : {"completed", "pruned", "failed"}
        ``pruned``: stopped early because it was worse than half of the others at that epoch.
        ``failed``: its loss was no longer a number, or its batches did not fit into memory.
    value : float, optional
        The best of the monitored figure over all epochs.
    epochs : int
    reason : str
        Why it failed.
    """

    number: int
    values: dict[str, Any]
    state: Literal["completed", "pruned", "failed"]
    value: float | None
    epochs: int
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """All trials of a search.

    Parameters
    ----------
    path : Path
    task, monitor : str
    mode : {"min", "max"}
    trials : tuple of Trial
    best : Trial, optional
        None while no trial was completed.
    settings : Training
        The recipe of the best trial, or the one that was begun with.
    importance : dict of str to float
        Share of each setting in what made trials differ, the largest first; empty below four
        completed trials.
    """

    path: Path
    task: str
    monitor: str
    mode: str
    trials: tuple[Trial, ...]
    best: Trial | None
    settings: Training
    importance: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The study as plain values."""
        return {
            "out": str(self.path), "task": self.task, "monitor": self.monitor, "mode": self.mode,
            "trials": [plain(vars(trial)) for trial in self.trials],
            "best": None if self.best is None else self.best.number,
            "importance": self.importance,
        }  # fmt: skip


def draw_study(path: Path, study: Study) -> None:
    """Draw what each trial came to, and which settings made the difference.

    Parameters
    ----------
    path : Path
        Of the PNG file.
    study : Study

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.6, 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    done = [(one.number, one.value) for one in study.trials if one.value is not None]
    if done:
        left.plot(*zip(*done, strict=True), "o", ms=4, label="completed")
        better = min if study.mode == "min" else max
        best = [better(value for _, value in done[: k + 1]) for k in range(len(done))]
        left.step([number for number, _ in done], best, where="post", lw=1, label="best so far")
    for one in study.trials:
        if one.value is None:
            left.axvline(one.number, color="0.75", lw=0.8, ls=":" if one.state == "pruned" else "-")
    left.set_xlabel("trial (dotted: pruned, grey: failed)", fontsize=9)
    left.set_ylabel(study.monitor, fontsize=9)
    if done:
        left.legend(fontsize=8, frameon=False)
    names = list(study.importance)[::-1]
    right.barh(names, [study.importance[name] for name in names])
    right.set_xlabel("importance" if names else f"importance: needs {LEAST} completed trials", fontsize=9)
    for axis in (left, right):
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120, format="png")
