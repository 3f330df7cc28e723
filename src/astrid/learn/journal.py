"""What is kept of a training at the end of each epoch, and when it ends.

One file holds all that is needed to go on; the table of figures, the curves and the best weights
are written from it. What happens within an epoch is in `module`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor

from astrid.errors import TrainingError
from astrid.files.atomic import atomic_path
from astrid.learn.checkpoint import load_checkpoint, save_checkpoint
from astrid.learn.module import Learner
from astrid.learn.run import STATE
from astrid.learn.settings import Training
from astrid.learn.tracking import draw_curves, write_metrics

__all__ = ["Journal"]

_CURVES_EVERY = 10.0  # s


class Journal(pl.Callback):
    """Keeps the best weights, the figures and the state; stops a training that gains no more.

    Parameters
    ----------
    path : Path
        The run directory.
    settings : Training
    on_progress : callable, optional
        Called with the number of steps done and of all.
    on_epoch : callable, optional
        Called with the number of an epoch and its figures.
    """

    def __init__(
        self,
        path: Path,
        settings: Training,
        *,
        on_progress: Callable[[int, int], None] | None = None,
        on_epoch: Callable[[int, Mapping[str, float]], None] | None = None,
    ) -> None:
        self.history: list[dict[str, float]] = []
        self.best: float | None = None
        self.best_epoch = -1
        self.best_weights: dict[str, Tensor] = {}
        self.loggers: Sequence[Any] = ()
        self._path, self._settings = path, settings
        self._on_progress, self._on_epoch = on_progress, on_epoch
        self._pending: dict[str, Any] | None = None
        self._began = self._drawn = time.monotonic()
        self._total = 0

    @property
    def epochs(self) -> int:
        """Epochs that are done."""
        return len(self.history)

    @property
    def ended(self) -> bool:
        """Whether there is nothing left to do."""
        waited = self.epochs - 1 - self.best_epoch
        return self.epochs >= self._settings.epochs or (self.epochs > 0 and waited >= self._settings.patience)

    @property
    def state_path(self) -> Path:
        """Where the state is."""
        return self._path / STATE

    def restore(self, learner: Learner) -> bool:
        """Take up the state of an earlier training; False if there is none.

        Raises
        ------
        TrainingError
            The state is damaged or of another network.
        """
        if not self.state_path.exists():
            return False
        state = load_checkpoint(self.state_path)
        try:
            learner.network.load_state_dict(state["network"])
            if learner.average is not None:
                learner.average.load_state_dict(state["average"])
            self.history, self.best, self.best_epoch = state["history"], state["best"], state["best_epoch"]
            self.best_weights = state["best_weights"]
        except (RuntimeError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self.state_path}: does not fit the network ({str(error).splitlines()[0]}); train anew "
                "into another directory"
            ) from error
        self._pending = state
        return True

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Give optimizer and schedule their earlier state."""
        self._total = int(trainer.num_training_batches) * self._settings.epochs
        state, self._pending = self._pending, None
        if state is None:
            return
        if trainer.is_global_zero:
            self._write(last=False)  # a kill between the state and these leaves them behind
        (optimizer,) = trainer.optimizers
        optimizer.load_state_dict(state["optimizer"])
        _reshape(optimizer)
        for config, kept in zip(trainer.lr_scheduler_configs, state["schedules"], strict=True):
            config.scheduler.load_state_dict(kept)
        if _learner(pl_module).plateau is not None:
            _learner(pl_module).plateau.load_state_dict(state["plateau"])  # type: ignore[union-attr]
        if state["scaler"]:
            trainer.precision_plugin.load_state_dict(state["scaler"])

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Say how far it is."""
        if self._on_progress is not None and trainer.is_global_zero:
            done = trainer.current_epoch * int(trainer.num_training_batches) + batch_idx + 1
            self._on_progress(done, self._total)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Judge the epoch and write down all that is needed to go on."""
        learner = _learner(pl_module)
        figures = dict(learner.figures)
        value = self._watched(figures)
        epoch = trainer.current_epoch
        gain = self.best is None or (value < self.best if self._settings.mode == "min" else value > self.best)
        if gain:
            self.best, self.best_epoch = value, epoch
            self.best_weights = {
                name: one.detach().cpu().contiguous().clone()
                for name, one in learner.exported.state_dict().items()
            }
        if learner.plateau is not None:
            learner.plateau.step(value)
        self.history.append({"epoch": epoch, "seconds": round(time.monotonic() - self._began, 3), **figures})
        if trainer.is_global_zero:
            self._keep(trainer, learner)
            for logger in self.loggers:
                logger.log_metrics(figures, step=epoch)
        if self._on_epoch is not None and trainer.is_global_zero:
            self._on_epoch(epoch, figures)
        trainer.should_stop = self.ended

    def finish(self) -> None:
        """Write the products of a training that has ended."""
        self._write(last=True)
        if self._on_progress is not None:
            self._on_progress(max(self._total, 1), max(self._total, 1))

    def _watched(self, figures: Mapping[str, float]) -> float:
        name = self._settings.monitor
        if not math.isfinite(figures.get(name, math.nan)):
            raise TrainingError(
                f"{name}, which is monitored, has no value; give the validation part items of every class, "
                "lower optimizer.lr, or monitor validation/loss"
            )
        return figures[name]

    def _keep(self, trainer: pl.Trainer, learner: Learner) -> None:
        (optimizer,) = trainer.optimizers
        state = {
            "network": learner.network.state_dict(),
            "average": None if learner.average is None else learner.average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedules": [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs],
            "plateau": None if learner.plateau is None else learner.plateau.state_dict(),
            "scaler": trainer.precision_plugin.state_dict(),
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
            "best_weights": self.best_weights,
        }
        save_checkpoint(self.state_path, state)
        self._write(last=False)

    def _write(self, *, last: bool) -> None:
        """Everything that follows from the state, for people and for what comes after."""
        from safetensors.torch import save_file

        if not self.history:
            return
        with atomic_path(self._path / "best.safetensors") as partial:
            save_file(self.best_weights, partial, {"epoch": str(self.best_epoch)})
        write_metrics(self._path / "metrics.jsonl", self.history)
        if last or time.monotonic() - self._drawn > _CURVES_EVERY:
            self._drawn = time.monotonic()
            draw_curves(self._path / "curves.png", self.history, self._settings.monitor, self.best_epoch)


def _learner(module: pl.LightningModule) -> Learner:
    if not isinstance(module, Learner):
        raise TypeError(f"a Journal keeps a Learner, not a {type(module).__name__}")
    return module


def _reshape(optimizer: torch.optim.Optimizer) -> None:
    """Lay moments out in memory as their parameters are, so that sums are rounded as before."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[name] = torch.empty_like(parameter).copy_(value)
