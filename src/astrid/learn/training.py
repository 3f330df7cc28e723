"""Training any task on its data set: a run directory that can be broken off and taken up again.

This decides what a run is and when it may go on; what happens in it is in `module` and `journal`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.errors import DependencyError, TrainingError, UsageError
from astrid.learn.boosting import grow, is_grown
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset, class_counts
from astrid.learn.epoch_figures import figure_names
from astrid.learn.run import Run, earlier_run, identity, leads, load_run, prepared_run
from astrid.learn.sampling import class_weights, make_order
from astrid.learn.settings import Training
from astrid.learn.splits import Parts, check_labels, check_parts, make_parts
from astrid.learn.task import Task
from astrid.learn.tracking import quiet, tracked

if TYPE_CHECKING:
    from torch import nn

    from astrid.learn.journal import Journal
    from astrid.learn.module import Learner

__all__ = ["Run", "load_run", "train"]

log = logging.getLogger(__name__)

_PACKAGES = ("torch", "lightning")


def train(
    task: Task,
    dataset: Dataset,
    out: str | Path,
    settings: Training | None = None,
    *,
    parts: Parts | None = None,
    resume: bool = False,
    parent: Bundle | None = None,
    freeze: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
) -> Run:
    """Train a task.

    Each epoch leaves a state to go on from. What is drawn in an epoch follows from the seed and
    the epoch alone: a run that was killed and taken up again ends with the same weights, to the
    last bit on the same CPU with the same number of threads.

    Parameters
    ----------
    task : Task
    dataset : Dataset
    out : str or Path
        The run directory; new, or that of the run to be taken up.
    settings : Training, optional
        Those of the task if not given.
    parts : Parts, optional
        Made as the settings say if not given.
    resume : bool
        Go on with the run in `out`, if there is one; a run that is done is only read.
    parent : Bundle, optional
        The weights to begin from. Layers of the head that have another size stay fresh.
    freeze : sequence of str
        Beginnings of the names of parameters that are not to change.
    on_progress : callable, optional
        Called with the steps done and those of all epochs.
    on_epoch : callable, optional
        Called with the number of each finished epoch and its figures; what it raises ends the
        training, which can be taken up again.

    Returns
    -------
    run : Run

    Raises
    ------
    DatasetError
        The data cannot teach the task: another shape, an empty part, an empty class, one class only.
    LeakError
        A group is in two parts.
    TrainingError
        The run in `out` is of another task, data set or recipe, the parent does not fit, or the
        loss is no longer a number.
    UsageError
        A setting, a frozen layer or a figure that does not exist, or a run is in the way.
    DependencyError
        The extra ``train`` is not installed.
    OutputError
        The directory cannot be written.
    """
    chosen = task.training if settings is None else settings
    task = task.with_network_options(chosen.network_options)
    if chosen.head_epochs and parent is None:
        raise UsageError(
            "head_epochs is for a training that begins from a bundle; give a parent or set it to 0"
        )
    _need((*_PACKAGES, *chosen.trackers))
    dataset.check(task)
    path = Path(out)
    facts = identity(task, dataset, parent, freeze)
    earlier = earlier_run(path, facts, chosen, resume=resume or not leads())
    if earlier is not None:
        if earlier.done:
            return earlier
        if parts is not None and not _same_parts(parts, earlier.parts):
            raise TrainingError(f"{path}: was begun with another split; choose another --out")
        parts = earlier.parts
    parts = parts if parts is not None else make_parts(dataset, chosen.split, chosen.seed)
    check_parts(dataset, parts)
    check_labels(dataset, parts, task)
    with prepared_run(path, facts, chosen, parts, earlier) as record:
        if is_grown(task):
            if parent is not None or freeze:
                raise UsageError(f"{task.network} consists of trees, which begin from no other model")
            grow(task, dataset, path, chosen, parts, record, on_progress=on_progress, on_epoch=on_epoch)
        else:
            _fit(task, dataset, path, chosen, parts, parent, freeze, record, on_progress, on_epoch)
    return load_run(path)


def _fit(
    task: Task,
    dataset: Dataset,
    path: Path,
    settings: Training,
    parts: Parts,
    parent: Bundle | None,
    freeze: Sequence[str],
    record: dict[str, Any],
    on_progress: Callable[[int, int], None] | None,
    on_epoch: Callable[[int, Mapping[str, float]], None] | None,
) -> None:
    """All epochs that are left; the record is filled in."""
    from astrid.learn.journal import Journal
    from astrid.learn.loading import Batches, Items, batch_loader

    with quiet(), _threads(settings.threads), _own_random_numbers(settings.seed):
        learner, fresh = _learner(task, dataset, settings, parts, parent, freeze)
        record["parameters"] = sum(one.numel() for one in learner.network.parameters())
        record["fresh"] = fresh
        order = make_order(dataset, task, parts.train, settings.sampling, settings.seed)
        items = Items(dataset, task)
        journal = Journal(path, settings, on_progress=on_progress, on_epoch=on_epoch)
        journal.restore(learner)
        try:
            if not journal.ended:
                trainer = _trainer(path, settings, journal, bar=on_progress is None)
                pinned = trainer.strategy.root_device.type == "cuda"
                record["device"] = str(trainer.strategy.root_device)
                loaders = [
                    batch_loader(items, Batches(rows, settings.batch_size), settings.workers, pinned=pinned)
                    for rows in (order, parts.validation)
                ]
                with tracked(settings.trackers, path / "log", task.name, settings.model_dump()) as loggers:
                    journal.loggers = loggers
                    _run(trainer, learner, loaders, settings)
        finally:
            record |= {"epochs": journal.epochs, "best_epoch": journal.best_epoch, "best": journal.best}
        if leads():
            journal.finish()


def _run(trainer: Any, learner: Learner, loaders: Sequence[Any], settings: Training) -> None:
    """Lightning's fit, with its ways of ending made ours."""
    import torch

    try:
        trainer.fit(learner, *loaders)
    except SystemExit:
        # Lightning answers Ctrl-C by leaving the interpreter; that is for our caller to decide
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, signal.default_int_handler)
        raise KeyboardInterrupt from None
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            f"the device's memory does not suffice for batches of {settings.batch_size}; lower batch_size"
        ) from error


def _learner(
    task: Task,
    dataset: Dataset,
    settings: Training,
    parts: Parts,
    parent: Bundle | None,
    freeze: Sequence[str],
) -> tuple[Learner, list[str]]:
    """The network that learns, and the names of parameters that the parent could not give."""
    from astrid.learn.augmentation import augmentation
    from astrid.learn.losses import Objective
    from astrid.learn.module import Learner

    known = figure_names(task.heads)
    if settings.monitor not in known:
        listed = ", ".join(known)
        raise UsageError(f"there is no figure {settings.monitor!r} to monitor; choose one of {listed}")
    network = task.build_network()
    fresh = [] if parent is None else _inherit(network, task, parent)
    names = [name for name, _ in (*network.named_parameters(), *network.named_modules()) if name]
    for prefix in freeze:
        if not any(name.startswith(prefix) for name in names):
            layers = ", ".join(name for name, _ in network.named_children())
            raise UsageError(f"no layer of {task.network} is called {prefix!r}…; choose from {layers}")
    counts, weights = {}, {}
    for name, head in task.heads.items():
        if head.kind in ("binary", "multiclass", "multilabel"):
            labels = dataset.labels(name, head)[parts.train]
            counts[name] = class_counts(labels, head)
            if settings.class_weights and head.kind != "multilabel":
                weights[name] = class_weights(labels, head)
    objective = Objective(task.heads, settings.loss, counts=counts, weights=weights)
    return Learner(task, settings, network, objective, augmentation(settings.augment), frozen=freeze), fresh


def _inherit(network: nn.Module, task: Task, parent: Bundle) -> list[str]:
    """Give a network the weights of a bundle; the names of those of the head that did not fit."""
    import torch

    for name, one in task.inputs.items():
        theirs = parent.task.inputs.get(name)
        if theirs is None or theirs.shape[-1] != one.shape[-1] or theirs.channels != one.channels:
            has = "none" if theirs is None else f"shape {theirs.shape} and channels {list(theirs.channels)}"
            raise TrainingError(
                f"the input {name} of task {task.name} has shape {one.shape} and channels "
                f"{list(one.channels)}, that of {parent.name} {has}; begin from a bundle with the same"
            )
    own, given = network.state_dict(), parent.weights
    head = tuple(network.head_names)
    fresh = []
    for name, value in own.items():
        if name in given and given[name].shape == tuple(value.shape):
            own[name] = torch.from_numpy(np.array(given[name]))
        elif name.startswith(head):
            fresh.append(name)
        else:
            there = f"of shape {given[name].shape}" if name in given else "absent"
            raise TrainingError(
                f"{parent.name}: {name} is {there}, {task.network} needs {tuple(value.shape)}; begin from a "
                "bundle of the same network"
            )
    network.load_state_dict(own)
    if fresh:
        log.info("%s: other size in %s, so %s begins afresh", parent.name, task.name, ", ".join(fresh))
    return fresh


def _trainer(path: Path, settings: Training, journal: Journal, *, bar: bool) -> Any:
    from lightning.pytorch import Trainer
    from lightning.pytorch.callbacks import RichProgressBar
    from rich.console import Console

    bar = bar and Console().is_terminal
    trainer = Trainer(
        default_root_dir=path,
        accelerator=settings.accelerator,
        devices=settings.devices,
        max_epochs=settings.epochs,
        precision=_precision(settings),
        gradient_clip_val=settings.gradient_clip or None,
        callbacks=[journal, *([RichProgressBar(leave=True)] if bar else [])],
        enable_progress_bar=bar,
        enable_checkpointing=False,  # Lightning's are pickles
        enable_model_summary=False,
        logger=False,  # the journal feeds the loggers, once an epoch
        num_sanity_val_steps=0,
        use_distributed_sampler=False,  # `Batches` shares the rows out
    )
    progress = trainer.fit_loop.epoch_progress.current
    progress.ready = progress.started = progress.processed = progress.completed = journal.epochs
    return trainer


def _precision(settings: Training) -> str:
    """Lightning's name of the precision."""
    import torch

    match settings.precision:
        case "bf16":
            return "bf16-mixed"
        case "16":
            return "16-mixed"
        case "auto":
            if torch.cuda.is_available() and settings.accelerator in ("auto", "gpu", "cuda"):
                return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
            on_cpu = settings.accelerator == "cpu" or not torch.backends.mps.is_available()
            return "bf16-mixed" if on_cpu and torch.cpu._is_avx512_bf16_supported() else "32-true"
        case _:
            return "32-true"


def _need(packages: Sequence[str]) -> None:
    for package in packages:
        if importlib.util.find_spec(package) is None:
            extra = "track" if package in ("wandb", "mlflow") else "train"
            raise DependencyError(
                f'this training needs {package}, which is not installed; pip install "astrid[{extra}]"'
            )


def _same_parts(one: Parts, other: Parts) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in one.counts)


@contextlib.contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    if number:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _own_random_numbers(seed: int) -> Iterator[None]:
    """Seed torch, and give the caller its random numbers back."""
    import torch

    with torch.random.fork_rng(devices=list(range(torch.cuda.device_count()))):
        torch.manual_seed(seed)
        yield
