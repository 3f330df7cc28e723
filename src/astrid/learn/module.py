"""Any task as a Lightning module: what happens in one step, and what is found in each epoch.

Whatever is drawn in an epoch follows from the seed and the epoch's number alone, so that a
training that was broken off goes on as if it had not been. When to stop and what to keep is the
business of `journal`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import lightning.pytorch as pl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LinearLR, LRScheduler, ReduceLROnPlateau
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from astrid.errors import TrainingError, UsageError
from astrid.learn.augmentation import Augmentation
from astrid.learn.epoch_figures import figures_of
from astrid.learn.losses import Objective
from astrid.learn.settings import Schedule, Training
from astrid.learn.task import Head, Task

__all__ = ["Learner", "rate_factor"]


_CHECK_EVERY = 50  # steps; asking a GPU for the loss more often would hold it up
_FIRST = 1e-3  # share of the rate that a warm-up begins with
_LAST = 1e-3  # share of the rate that cosine and one-cycle end with


class Learner(pl.LightningModule):
    """A network that learns a task.

    Parameters
    ----------
    task : Task
    settings : Training
    network : `torch.nn.Module`
    objective : Objective
    augment : callable, optional
    frozen : sequence of str
        Prefixes of the names of parameters that stay as they are.
    """

    def __init__(
        self,
        task: Task,
        settings: Training,
        network: nn.Module,
        objective: Objective,
        augment: Augmentation | None = None,
        *,
        frozen: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.task, self.settings = task, settings
        if settings.channels_last:
            network = network.to(memory_format=torch.channels_last)
        self.network = network
        self.objective = objective
        self.average: AveragedModel | None = None
        if settings.ema:
            average = get_ema_multi_avg_fn(settings.ema)
            self.average = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
            self.average.requires_grad_(False)
        self.plateau: ReduceLROnPlateau | None = None
        self.figures: dict[str, float] = {}
        self._augment = augment
        self._frozen, self._head = tuple(frozen), tuple(network.head_names)
        for name, parameter in network.named_parameters():
            if name.startswith(self._frozen):
                parameter.requires_grad_(False)
        if not any(parameter.requires_grad for parameter in network.parameters()):
            raise UsageError("every layer is frozen, so that nothing can be learned; freeze fewer")
        self._sum = torch.zeros(())
        self._n = 0
        self._judged: list[_Judged] = []

    @property
    def exported(self) -> nn.Module:
        """The network whose weights are kept: the average if there is one."""
        return self.network if self.average is None else self.average.module

    def configure_optimizers(self) -> Any:
        """Optimizer and, where the rate changes with each step, its schedule."""
        chosen = self.settings.optimizer
        parameters = [one for one in self.network.parameters() if one.requires_grad]
        optimizer: Optimizer
        match chosen.name:
            case "adam":
                optimizer = torch.optim.Adam(parameters, chosen.lr, weight_decay=chosen.weight_decay)
            case "adamw":
                optimizer = torch.optim.AdamW(parameters, chosen.lr, weight_decay=chosen.weight_decay)
            case "sgd":
                optimizer = torch.optim.SGD(
                    parameters, chosen.lr, momentum=chosen.momentum, weight_decay=chosen.weight_decay
                )
        schedule = self.settings.schedule
        stepping = schedule.warmup or schedule.name in ("cosine", "one_cycle")
        total = int(self.trainer.estimated_stepping_batches) if stepping else 0
        warmup = math.ceil(schedule.warmup * total)
        stepped: LRScheduler | None = None
        if schedule.name == "plateau":
            self.plateau = ReduceLROnPlateau(
                optimizer, mode=self.settings.mode, factor=schedule.factor, patience=schedule.patience
            )
            if warmup:  # it multiplies the rate as it finds it, so that both can act
                stepped = LinearLR(optimizer, start_factor=_FIRST, total_iters=warmup)
        elif stepping:
            stepped = LambdaLR(optimizer, lambda step: rate_factor(schedule, step, total))
        if stepped is None:
            return optimizer
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": stepped, "interval": "step"}}

    def on_train_epoch_start(self) -> None:
        """Draw from a new stream, and keep the statistics of frozen layers."""
        torch.manual_seed(self._draw_seed())
        self._sum = torch.zeros((), device=self.device)
        self._n = 0
        for name, module in self.network.named_modules():
            normalises = getattr(module, "running_mean", None) is not None
            if normalises and (name.startswith(self._frozen) or self._asleep(name)):
                module.eval()

    def training_step(self, batch: tuple[dict[str, Tensor], dict[str, Tensor]], batch_idx: int) -> Tensor:
        """The loss of a batch."""
        inputs, targets = batch
        if self._augment is not None:
            generator = torch.Generator(self.device).manual_seed(self._draw_seed(batch_idx))
            inputs, targets = self._augment(inputs, targets, generator)
        loss, _ = self.objective(self.network(**inputs), targets)
        seen = loss.detach()
        if (self.device.type == "cpu" or batch_idx % _CHECK_EVERY == 0) and not math.isfinite(seen):
            raise self._diverged(batch_idx + 1)
        n = len(next(iter(inputs.values())))
        self._sum += seen * n
        self._n += n
        return loss

    def on_after_backward(self) -> None:
        """In the first stage of a transfer only the last layers learn."""
        if self.current_epoch < self.settings.head_epochs:
            for name, parameter in self.network.named_parameters():
                if self._asleep(name):
                    parameter.grad = None

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Move the average."""
        if self.average is not None:
            self.average.update_parameters(self.network)

    def on_validation_epoch_start(self) -> None:
        """Forget the validation before."""
        self._judged = []

    def validation_step(self, batch: tuple[dict[str, Tensor], dict[str, Tensor]], batch_idx: int) -> None:
        """Note what the network says about a batch; figures come at the end of the epoch."""
        inputs, targets = batch
        outputs = self.exported(**inputs)
        loss, parts = self.objective(outputs, targets)
        n = len(next(iter(inputs.values())))
        self._judged.append(_Judged.of(self.task.heads, outputs, targets, n, float(loss), parts))

    def on_validation_epoch_end(self) -> None:
        """Gather the figures of the epoch."""
        found: list[tuple[float, int, list[_Judged]]] = [(float(self._sum), self._n, self._judged)]
        if self.trainer.world_size > 1:
            mine = found[0]
            found = [mine] * self.trainer.world_size
            torch.distributed.all_gather_object(found, mine)
        train_loss = sum(one[0] for one in found) / max(sum(one[1] for one in found), 1)
        judged = [one for of_process in found for one in of_process[2]]
        losses = _losses(self.task.heads, judged)
        if not all(math.isfinite(one) for one in (train_loss, *losses.values())):
            raise self._diverged(int(self.trainer.num_training_batches))
        self.figures = {
            "training/loss": train_loss,
            **losses,
            **_figures(self.task.heads, judged),
            "lr": float(self.optimizers(use_pl_optimizer=False).param_groups[0]["lr"]),
        }
        shown = {name: value for name, value in self.figures.items() if name.endswith("/loss")}
        self.log_dict(shown, prog_bar=True, logger=False, rank_zero_only=True)

    def _asleep(self, name: str) -> bool:
        """Whether a layer or parameter waits for the end of the first stage."""
        return self.current_epoch < self.settings.head_epochs and not name.startswith(self._head)

    def _draw_seed(self, *more: int) -> int:
        """A number for a stream of its own: of this training, epoch and process (and batch)."""
        entropy = (self.settings.seed, self.current_epoch, self.global_rank, *more)
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> np.uint64(1))

    def _diverged(self, step: int) -> TrainingError:
        chosen = self.settings
        clip = "set gradient_clip=1" if not chosen.gradient_clip else "lower gradient_clip"
        return TrainingError(
            f"the loss is not a finite number at step {step} of epoch {self.current_epoch}; lower "
            f"optimizer.lr (now {chosen.optimizer.lr:g}), {clip}"
            + ("" if chosen.precision == "32" else " or set precision=32")
        )


class _Judged:
    """What the network said about a batch of the validation part."""

    def __init__(
        self, n: int, losses: dict[str, float], items: dict[str, tuple[NDArray[Any], NDArray[Any]]]
    ) -> None:
        self.n, self.losses, self.items = n, losses, items

    @classmethod
    def of(
        cls,
        heads: Mapping[str, Head],
        outputs: Mapping[str, Tensor],
        targets: Mapping[str, Tensor],
        n: int,
        loss: float,
        parts: Mapping[str, Tensor],
    ) -> _Judged:
        items = {}
        for name, head in heads.items():
            said, truth = outputs[name].float(), targets[name]
            if head.kind == "heatmap":  # a map is too large to keep: its mean absolute error will do
                said, truth = (said - truth).abs().mean((1, 2)), torch.zeros(len(said))
            items[name] = (said.cpu().numpy(), truth.cpu().numpy())
        losses = {"": loss} | {name: float(part) for name, part in parts.items()}
        return cls(n, losses, items)


def _losses(heads: Mapping[str, Head], judged: Sequence[_Judged]) -> dict[str, float]:
    """Loss of the validation part, and of each head where there are several."""
    sizes = [one.n for one in judged]
    found = {}
    for name in ("", *heads) if len(heads) > 1 else ("",):
        loss = float(np.average([one.losses[name] for one in judged], weights=sizes))
        found[f"validation/{name}/loss" if name else "validation/loss"] = loss
    return found


def _figures(heads: Mapping[str, Head], judged: Sequence[_Judged]) -> dict[str, float]:
    """The figures of each head."""
    found: dict[str, float] = {}
    for name, head in heads.items():
        said = np.concatenate([one.items[name][0] for one in judged])
        truth = np.concatenate([one.items[name][1] for one in judged])
        found |= {f"validation/{name}/{key}": value for key, value in figures_of(head, said, truth).items()}
    return found


def rate_factor(schedule: Schedule, step: int, total: int) -> float:
    """Learning rate at a step, in units of the wanted one.

    Parameters
    ----------
    schedule : Schedule
        ``one_cycle`` rises along a cosine for the first 30 % (or `warmup`) from a 25th and falls
        to a thousandth, ``cosine`` falls so after the warm-up.
    step, total : int

    Returns
    -------
    factor : float

    References
    ----------
    Loshchilov & Hutter 2017, arXiv:1608.03983, eq. 5; Smith & Topin 2018, arXiv:1708.07120.
    """
    one_cycle = schedule.name == "one_cycle"
    share = schedule.warmup or (0.3 if one_cycle else 0.0)
    warmup = math.ceil(share * total)
    if step < warmup:
        if one_cycle:
            return _between(1 / 25, 1.0, step / warmup)
        return _FIRST + (1 - _FIRST) * step / warmup
    if schedule.name == "constant":
        return 1.0
    return _between(1.0, _LAST, min((step - warmup) / max(total - warmup, 1), 1.0))


def _between(start: float, end: float, share: float) -> float:
    """Half a cosine from one value to another."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
