"""How a model is trained: one typed configuration, from a file, a task and the command line.

The fields say what can be chosen; what each choice does is in `losses`, `augmentation`,
`sampling` and `training`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from astrid.errors import UsageError

__all__ = [
    "Loss",
    "Optimizer",
    "Schedule",
    "Split",
    "Training",
    "change_settings",
    "read_assignment",
    "read_settings",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Optimizer(_Frozen):
    """Which optimizer, and its step.

    Parameters
    ----------
    name : {"adam", "adamw", "sgd"}
    lr : float
        Learning rate.
    weight_decay, momentum : float
        The second for ``sgd`` only.
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(default=3e-4, gt=0)
    weight_decay: float = Field(default=0.0, ge=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)


class Schedule(_Frozen):
    """How the learning rate changes.

    Parameters
    ----------
    name : {"constant", "cosine", "one_cycle", "plateau"}
    warmup : float
        Share of all steps during which the rate rises from 0.
    factor, patience : float, int
        For ``plateau``: the rate is multiplied by `factor` after `patience` epochs without gain.
    """

    name: Literal["constant", "cosine", "one_cycle", "plateau"] = "constant"
    warmup: float = Field(default=0.0, ge=0, lt=1)
    factor: float = Field(default=0.3, gt=0, lt=1)
    patience: int = Field(default=5, ge=1)


class Loss(_Frozen):
    """The loss of each kind of head.

    Parameters
    ----------
    name : str
        ``auto`` takes binary cross-entropy for binary and multilabel heads, cross-entropy for
        multiclass, Huber for regression, and the mean absolute error for heat maps.
    gamma : float
        Focusing of ``focal``.
    beta : float
        Of ``class_balanced_focal``: (1 - beta) / (1 - beta^n) is the weight of a class of n items.
    delta : float
        Where ``huber`` becomes linear.
    bias_weight : float
        Of the mean bias error in ``mbe``.
    label_smoothing : float
    """

    name: Literal[
        "auto", "bce", "cross_entropy", "focal", "class_balanced_focal", "cost_weighted",
        "l1", "mae", "mse", "huber", "mbe",
    ] = "auto"  # fmt: skip
    gamma: float = Field(default=2.0, ge=0)
    beta: float = Field(default=0.999, ge=0, lt=1)
    delta: float = Field(default=1.0, gt=0)
    bias_weight: float = Field(default=1.0, ge=0)
    label_smoothing: float = Field(default=0.0, ge=0, lt=0.5)


class Split(_Frozen):
    """How rows are divided into training, validation and test.

    Parameters
    ----------
    by : {"group", "time", "column"}
        ``group`` draws whole groups; ``time`` puts the latest last; ``column`` takes the test
        and validation values of a column as they are given.
    column : str, optional
        For ``column``, e.g. ``telescope``, ``ccd``, ``survey``.
    test_values, validation_values : tuple of str
        For ``column``; where no validation values are given, groups are drawn from the rest.
    validation, test : float
        Shares of all groups (or of the time span's rows).
    """

    by: Literal["group", "time", "column"] = "group"
    column: str | None = None
    test_values: tuple[str, ...] = ()
    validation_values: tuple[str, ...] = ()
    validation: float = Field(default=0.1, ge=0, lt=1)
    test: float = Field(default=0.1, ge=0, lt=1)


class Training(_Frozen):
    """The recipe of a training.

    Parameters
    ----------
    seed : int
        Of everything that is drawn: the split, the first weights, the order, the augmentation.
    epochs, patience : int
        At most so many epochs; stop after `patience` epochs without gain in `monitor`.
    monitor : str
        A logged figure; the best epoch is the one that is exported.
    mode : {"min", "max"}
        Whether a small or a large `monitor` is good.
    batch_size : int
    optimizer, schedule, loss, split
        See their classes.
    sampling : {"shuffle", "balanced", "weighted"}
        ``balanced`` draws every class of the first classifying head alike often, ``weighted`` by
        the column ``weight``.
    class_weights : bool
        Weigh each class in the loss by one over its number.
    augment : str
        ``none``, ``dihedral``, ``mirror``, or ``"module:function"``.
    precision : {"32", "bf16", "16", "auto"}
        ``auto`` takes bf16 where the processor has it.
    channels_last : bool
    gradient_clip : float
        Largest norm of the gradient; 0 for no limit.
    ema : float
        Decay of the moving average of the weights that is exported; 0 for none.
    head_epochs : int
        For so many first epochs only the network's last layers learn; for a training that begins
        from another model.
    accelerator, devices : str, int or "auto"
        As Lightning has them; several GPUs need no more than ``devices: 4``.
    threads : int
        Of the CPU; 0 leaves it to torch.
    workers : int
        Processes that read the data; 0 reads in the training process.
    trackers : tuple of {"tensorboard", "wandb", "mlflow"}
        Beside the run directory's own ``metrics.jsonl``.
    network_options : dict
        Options of the network that are not as the task has them, such as ``normalization``.
    """

    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=100, ge=1)
    patience: int = Field(default=20, ge=1)
    monitor: str = "validation/loss"
    mode: Literal["min", "max"] = "min"
    batch_size: int = Field(default=64, ge=1)
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    loss: Loss = Loss()
    split: Split = Split()
    sampling: Literal["shuffle", "balanced", "weighted"] = "shuffle"
    class_weights: bool = False
    augment: str = "none"
    precision: Literal["32", "bf16", "16", "auto"] = "32"
    channels_last: bool = True
    gradient_clip: float = Field(default=0.0, ge=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    head_epochs: int = Field(default=0, ge=0)
    accelerator: str = "auto"
    devices: int | str = "auto"
    threads: int = Field(default=0, ge=0)
    workers: int = Field(default=0, ge=0)
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ("tensorboard",)
    network_options: dict[str, Any] = {}

    @field_validator("precision", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value  # YAML reads 32 as a number


def read_settings(
    base: Training, path: str | Path | None = None, assignments: Sequence[str] = ()
) -> Training:
    """The recipe `base`, changed by a YAML file and then by ``key=value`` assignments.

    Parameters
    ----------
    base : Training
        Usually that of a task.
    path : str or Path, optional
        A YAML file with any of the fields.
    assignments : sequence of str
        Like ``optimizer.lr=3e-4``; values are YAML.

    Raises
    ------
    UsageError
        A file that cannot be read, a field that does not exist or a value that it cannot have.
    """
    values = base.model_dump()
    if path is not None:
        _update(values, _from_file(Path(path)), str(path))
    for assignment in assignments:
        key, value = read_assignment(assignment, "optimizer.lr=3e-4")
        _update(values, _nested(key.split("."), value), f"--set {assignment}")
    return _checked(values)


def read_assignment(assignment: str, example: str) -> tuple[str, Any]:
    """Key and value of an assignment; the value is YAML.

    Parameters
    ----------
    assignment : str
    example : str
        One that is right, for the message.

    Raises
    ------
    UsageError
        It has no key or no value, or a value that is no YAML.
    """
    key, separator, text = assignment.partition("=")
    if not (key and separator):
        raise UsageError(f"--set {assignment!r} sets nothing; write it as {example}")
    return key.strip(), _value(text)


def change_settings(base: Training, changes: Mapping[str, Any], source: str) -> Training:
    """The recipe `base` with some settings changed.

    Parameters
    ----------
    base : Training
    changes : mapping of str to object
        Path, such as ``optimizer.lr``, to value.
    source : str
        Where the changes come from, for messages.

    Raises
    ------
    UsageError
        There is no such setting, or it does not take the value.
    """
    values = base.model_dump()
    for key, value in changes.items():
        _update(values, _nested(key.split("."), value), source)
    return _checked(values)


def _from_file(path: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"{path}: cannot be read as YAML ({reason}); give a file of settings") from error
    if not isinstance(content or {}, Mapping):
        raise UsageError(f"{path}: holds no settings; write lines like 'epochs: 30'")
    return content or {}


def _value(text: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UsageError(f"{text!r} is no value ({' '.join(str(error).split())}); quote it") from error
    if isinstance(value, str):  # YAML 1.1 reads 3e-4 as text
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _nested(keys: Sequence[str], value: Any) -> dict[str, Any]:
    return {keys[0]: value if len(keys) == 1 else _nested(keys[1:], value)}


def _update(values: dict[str, Any], changes: Mapping[str, Any], source: str) -> None:
    for key, value in changes.items():
        if key not in values:
            known = ", ".join(sorted(values))
            raise UsageError(f"{source}: there is no setting {key!r}; choose one of: {known}")
        if isinstance(values[key], dict) and isinstance(value, Mapping):
            if key == "network_options":  # only the network knows which there are
                values[key] = {**values[key], **value}
            else:
                _update(values[key], value, source)
        else:
            values[key] = value


def _checked(values: Mapping[str, Any]) -> Training:
    try:
        return Training.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where} is {first['input']!r}: {first['msg']}; correct it") from error
