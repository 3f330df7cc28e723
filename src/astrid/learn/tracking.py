"""The record of a training: its directory's files for people and machines, and other trackers.

Everything here is text, figures and versions; the state to go on from is in `checkpoint`.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from astrid._version import __version__
from astrid.errors import TrainingError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain

__all__ = [
    "command", "draw_curves", "quiet", "read_metrics", "read_record", "tracked", "versions", "write_metrics",
    "write_record",
]  # fmt: skip

_PACKAGES = ("numpy", "torch", "lightning", "safetensors", "scikit-learn")


def versions() -> dict[str, str]:
    """Versions of AstrID, Python and what a training's figures depend on."""
    found = {"astrid": __version__, "python": platform.python_version()}
    for name in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def command() -> str:
    """What this process was started with."""
    program, *arguments = sys.argv or ["python"]
    return shlex.join([Path(program).name or "python", *arguments])


def write_record(path: Path, record: Mapping[str, Any]) -> None:
    """Write ``run.json``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    text = json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False)
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", "utf-8")


def read_record(path: Path) -> dict[str, Any]:
    """Read ``run.json``.

    Raises
    ------
    TrainingError
        There is none, or it is damaged.
    """
    try:
        record = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise TrainingError(
            f"{path.parent}: is no training (it has no {path.name}); give a run directory"
        ) from error
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); train anew into another directory") from error
    if not isinstance(record, dict) or "task" not in record or "state" not in record:
        raise TrainingError(f"{path}: is not the record of a training; give a run directory")
    return record


def write_metrics(path: Path, history: Sequence[Mapping[str, float]]) -> None:
    """Write ``metrics.jsonl``, one line an epoch.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    with atomic_path(path) as partial:
        partial.write_text("".join(json.dumps(plain(one)) + "\n" for one in history), "utf-8")


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Read ``metrics.jsonl``.

    Raises
    ------
    TrainingError
        It cannot be read.
    """
    try:
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise TrainingError(f"{path}: cannot be read ({error}); give the directory of a training") from error


def draw_curves(path: Path, history: Sequence[Mapping[str, float]], monitor: str, best_epoch: int) -> None:
    """Draw the losses, every figure of the validation part and the learning rate against the epoch.

    Parameters
    ----------
    path : Path
        Of the PNG file.
    history : sequence of mapping
        One for each epoch, with ``epoch`` and its figures.
    monitor : str
        The figure that decides; it is marked.
    best_epoch : int

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = _panels(history)
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    width, height = 4.2 * columns, 3.0 * rows
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    # fixed margins in inches: a layout that is computed would draw everything twice
    margins = {
        "left": 0.6 / width,
        "right": 1 - 0.2 / width,
        "bottom": 0.5 / height,
        "top": 1 - 0.35 / height,
    }
    room = {"wspace": 0.8 / (4.2 - 0.8), "hspace": 0.85 / (3.0 - 0.85)}
    axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=margins | room).ravel()
    for axis, (title, names) in zip(axes, panels.items(), strict=False):
        for name in names:
            points = [(one["epoch"] + 1, one[name]) for one in history if name in one]
            part = name.split("/")[0] if "/" in name else None
            axis.plot(*zip(*points, strict=True), "o-", ms=2.5, lw=1.2, label=part)
        watched = monitor in names
        axis.axvline(best_epoch + 1, color="0.35", lw=0.9, ls="--", label="kept epoch" if watched else None)
        axis.set_title(f"{title} (decides)" if watched else title, fontsize=10)
        axis.set_xlabel("epoch", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(alpha=0.25)
        axis.xaxis.get_major_locator().set_params(integer=True)
        values = [one[name] for name in names for one in history if name in one]
        if title.endswith("loss") and min(values) > 0 and max(values) > 20 * min(values):
            axis.set_yscale("log")
        if len(names) > 1 or watched:
            axis.legend(fontsize=8, frameon=False)
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    with atomic_path(path) as partial:
        figure.savefig(partial, dpi=120, format="png")


@contextlib.contextmanager
def tracked(
    trackers: Sequence[str], directory: Path, name: str, facts: Mapping[str, Any]
) -> Iterator[list[Any]]:
    """Lightning's loggers, writing below `directory`, for the time of one training.

    Weights & Biases works without an account and without a network unless ``WANDB_MODE`` says
    otherwise; MLflow keeps an SQLite file unless ``MLFLOW_TRACKING_URI`` names another store.

    Parameters
    ----------
    trackers : sequence of {"tensorboard", "wandb", "mlflow"}
    directory : Path
    name : str
        Of the task.
    facts : mapping
        Settings, to be shown with the run.

    Yields
    ------
    loggers : list
    """
    loggers = [_logger(tracker, directory, name) for tracker in trackers]
    status = "failed"
    try:
        for logger in loggers:
            logger.log_hyperparams(plain(facts))
        yield loggers
        status = "success"
    finally:
        for logger in loggers:
            logger.finalize(status)
            if type(logger).__name__ == "WandbLogger":  # else the next training would write into this run
                logger.experiment.finish(int(status == "failed"))


def _logger(tracker: str, directory: Path, name: str) -> Any:
    from lightning.pytorch import loggers

    directory.mkdir(parents=True, exist_ok=True)
    match tracker:
        case "tensorboard":
            return loggers.TensorBoardLogger(directory, name="tensorboard", version="")
        case "wandb":
            offline = os.environ.get("WANDB_MODE", "offline") == "offline"
            settings = importlib.import_module("wandb").Settings(silent=True)
            return loggers.WandbLogger(
                name=directory.parent.name,
                project=name,
                save_dir=directory,
                offline=offline,
                settings=settings,
            )
        case _:
            store = os.environ.get("MLFLOW_TRACKING_URI", f"sqlite:///{directory.absolute() / 'mlflow.db'}")
            return loggers.MLFlowLogger(
                experiment_name=name, run_name=directory.parent.name, tracking_uri=store
            )


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's remarks about itself; warnings about the training still come through."""
    talkers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [talker.level for talker in talkers]
    for talker in talkers:
        talker.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            for message in _REMARKS:
                warnings.filterwarnings("ignore", message=message)
            yield
    finally:
        for talker, level in zip(talkers, levels, strict=True):
            talker.setLevel(level)


_REMARKS = (
    r".*does not have many workers",  # batches are gathered whole: more processes rarely help
    r"GPU available but not used",  # the user's own choice
    r"The ``noload`` loader strategy is deprecated",  # MLflow and a newer SQLAlchemy, likewise
    r".*sync_dist=True",  # `module` has gathered the figures itself
    r".*isinstance\(treespec, LeafSpec\)",  # Lightning and a newer torch, between themselves
)


def _panels(history: Sequence[Mapping[str, float]]) -> dict[str, list[str]]:
    """Figures to be drawn together, by the title of their panel."""
    panels: dict[str, list[str]] = {"loss": []}
    for name in dict.fromkeys(name for one in history for name in one):
        if name in ("epoch", "seconds"):
            continue
        title = "loss" if name in ("training/loss", "validation/loss") else name.removeprefix("validation/")
        title = "learning rate" if name == "lr" else title.replace("/", " ").replace("_", " ")
        panels.setdefault(title, []).append(name)
    return panels
