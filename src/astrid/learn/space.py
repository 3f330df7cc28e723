"""What a search may try: for each setting its range or its choices, and where the recipe itself lies.

The search is in `tuning`; what each setting does, in `settings`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from astrid.errors import UsageError
from astrid.learn.settings import Training, change_settings
from astrid.learn.task import Task

__all__ = ["Choice", "Float", "Integer", "Space", "check_space", "default_space", "read_space", "recipe"]

_FIXED = ("seed", "split", "monitor", "mode", "accelerator", "devices", "threads", "workers", "trackers")
"""Settings that change what is measured, or only how fast."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Float(_Frozen):
    """A number between two others.

    Parameters
    ----------
    low, high : float
    log : bool
        Tried evenly in its logarithm.
    """

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Float:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self.low} to {self.high} is no range; give low < high, above 0 for log")
        return self

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return isinstance(value, int | float) and self.low <= value <= self.high


class Integer(_Frozen):
    """A whole number between two others, both included.

    Parameters
    ----------
    low, high : int
    log : bool
        Tried evenly in its logarithm.
    """

    low: int
    high: int
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Integer:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError(f"{self.low} to {self.high} is no range; give low < high, above 0 for log")
        return self

    def holds(self, value: Any) -> bool:
        """Whether a value lies in the range."""
        return isinstance(value, int) and self.low <= value <= self.high


class Choice(_Frozen):
    """One of several values.

    Parameters
    ----------
    choices : tuple of str, float, int or bool
    """

    choices: tuple[str | bool | int | float, ...] = Field(min_length=2)

    def holds(self, value: Any) -> bool:
        """Whether a value is one of them."""
        return any(value == one and type(value) is type(one) for one in self.choices)


Space = Mapping[str, Float | Integer | Choice]
"""Path of a setting, such as ``optimizer.lr`` or ``network_options.normalization``, to what may be tried."""


def default_space(settings: Training) -> dict[str, Float | Integer | Choice]:
    """What is worth trying for any task; the recipe itself lies in it."""
    rate, decay = settings.optimizer.lr, settings.optimizer.weight_decay
    return {
        "optimizer.lr": Float(low=rate / 30, high=rate * 30, log=True),
        "optimizer.weight_decay": Choice(choices=tuple(sorted({0.0, 1e-5, 1e-4, 1e-3, decay}))),
        "batch_size": Choice(choices=tuple(sorted({32, 64, 128, settings.batch_size}))),
        "schedule.name": Choice(choices=("constant", "cosine", "one_cycle", "plateau")),
        "ema": Choice(choices=tuple(sorted({0.0, 0.99, 0.999, settings.ema}))),
    }


def read_space(path: str | Path) -> dict[str, Float | Integer | Choice]:
    """A space from a YAML file, with lines like ``optimizer.lr: {low: 1e-5, high: 1e-2, log: true}``.

    A range of two whole numbers is one of whole numbers; ``{choices: [32, 64]}`` names values.

    Raises
    ------
    UsageError
        The file cannot be read, or something in it is neither a range nor choices.
    """
    file = Path(path)
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{file}: cannot be read as YAML ({reason}); give a file of ranges and choices"
        ) from error
    if not isinstance(content, dict) or not content:
        raise UsageError(f"{file}: holds no space; write lines like 'batch_size: {{choices: [32, 64]}}'")
    return {str(key): _one(value, f"{file}: {key}") for key, value in content.items()}


def check_space(space: Space, settings: Training, task: Task) -> None:
    """Make sure that every setting exists, takes the values and may be searched, before the first training.

    Raises
    ------
    UsageError
        One does not.
    """
    if not space:
        raise UsageError("the space is empty; give at least one setting with its range or choices")
    for key, one in space.items():
        top = key.partition(".")[0]
        if top in _FIXED:
            raise UsageError(
                f"{key} cannot be tuned: trials would not be comparable; take it out of the space"
            )
        if settings.monitor.endswith("loss") and top in ("loss", "class_weights"):
            raise UsageError(
                f"{key} changes what {settings.monitor} means; monitor another figure to tune it, such as "
                "validation/<head>/aucpr"
            )
        for value in one.choices if isinstance(one, Choice) else (one.low, one.high):
            chosen = change_settings(settings, {key: value}, "the space")
            if top == "network_options":
                task.with_network_options(chosen.network_options).build_network()


def recipe(space: Space, settings: Training, task: Task) -> dict[str, Any]:
    """Where the recipe itself lies in a space; settings that lie outside are absent."""
    values = settings.model_dump()
    values["network_options"] = {**task.network_options, **settings.network_options}
    found = {}
    for key, one in space.items():
        value: Any = values
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if one.holds(value):
            found[key] = value
    return found


def _one(value: Any, where: str) -> Float | Integer | Choice:
    if not isinstance(value, dict):
        raise UsageError(
            f"{where}: is {value!r}, expected a range like {{low: 1, high: 5}} or {{choices: [1, 2]}}"
        )
    try:
        given = {name: _number(one) if name in ("low", "high") else one for name, one in value.items()}
        if "choices" in given:
            return Choice.model_validate(given)
        whole = all(type(given.get(name)) is int for name in ("low", "high"))
        return Integer.model_validate(given) if whole else Float.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UsageError(f"{where}: {place} {first['msg']}; correct it".replace("  ", " ")) from error


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return float(value)  # YAML 1.1 reads 1e-5 as text
    except ValueError:
        return value
