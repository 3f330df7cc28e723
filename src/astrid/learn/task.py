"""A task: all there is to know about one learning problem, as data.

Everything else in this room works on any task and knows none by name. A task names its
network and its representation by ``"module:name"``, so that reading one loads neither.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from astrid.errors import UsageError
from astrid.learn.settings import Training

__all__ = [
    "Binary", "Cost", "Figure", "Head", "HeatMap", "Input", "Multiclass", "Multilabel", "Regression", "Task",
    "imported",
]  # fmt: skip


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cost(_Frozen):
    """What each error costs, in units of one item that a person looks at in vain.

    Parameters
    ----------
    miss : float
        Of an item of the class that is not found.
    false_alarm : float
        Of an item of another class that is taken for it.
    """

    miss: float = Field(default=1.0, gt=0)
    false_alarm: float = Field(default=1.0, gt=0)


class Input(_Frozen):
    """One named array that a network takes.

    Parameters
    ----------
    shape : tuple of int
        Of one item, channels last.
    unit : str
    meaning : str
        What the array is, for people.
    channels : tuple of str
        Names along the last axis, in order; a bundle is fed by these names and never guesses.
    """

    shape: tuple[int, ...]
    unit: str = ""
    meaning: str = ""
    channels: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Input:
        if not self.shape or min(self.shape) < 1:
            raise ValueError(f"shape is {self.shape}; give the positive sizes of one item")
        if self.channels and len(self.channels) != self.shape[-1]:
            raise ValueError(
                f"{len(self.channels)} channels are named but the last axis of shape {self.shape} has "
                f"{self.shape[-1]}"
            )
        return self


class Binary(_Frozen):
    """Yes or no: one logit.

    Parameters
    ----------
    labels : (str, str)
        Name of the negative class, then of the positive one.
    cost : Cost
        Of errors on the positive class.
    weight : float
        Of this head in the loss.
    """

    kind: Literal["binary"] = "binary"
    labels: tuple[str, str]
    cost: Cost = Cost()
    weight: float = Field(default=1.0, gt=0)

    @property
    def size(self) -> int:
        """Numbers in the network's output."""
        return 1


class Multiclass(_Frozen):
    """One of several classes: as many logits as labels.

    Parameters
    ----------
    labels : tuple of str
    costs : dict
        Label to the cost of errors on that class; 1 and 1 where not given.
    weight : float
        Of this head in the loss.
    """

    kind: Literal["multiclass"] = "multiclass"
    labels: Annotated[tuple[str, ...], Field(min_length=2)]
    costs: dict[str, Cost] = {}
    weight: float = Field(default=1.0, gt=0)

    @property
    def size(self) -> int:
        """Numbers in the network's output."""
        return len(self.labels)


class Multilabel(_Frozen):
    """Any number of labels at once: one logit for each.

    Parameters
    ----------
    labels : tuple of str
    costs : dict
        Label to the cost of errors on it.
    weight : float
        Of this head in the loss.
    """

    kind: Literal["multilabel"] = "multilabel"
    labels: Annotated[tuple[str, ...], Field(min_length=1)]
    costs: dict[str, Cost] = {}
    weight: float = Field(default=1.0, gt=0)

    @property
    def size(self) -> int:
        """Numbers in the network's output."""
        return len(self.labels)


class Regression(_Frozen):
    """One or several real numbers.

    Parameters
    ----------
    names : tuple of str
        Of the numbers; columns of the data set.
    unit : str
    outlier : float
        An error larger than this counts as an outlier, in `unit`.
    weight : float
        Of this head in the loss.
    """

    kind: Literal["regression"] = "regression"
    names: Annotated[tuple[str, ...], Field(min_length=1)]
    unit: str = ""
    outlier: float | None = None
    weight: float = Field(default=1.0, gt=0)

    @property
    def size(self) -> int:
        """Numbers in the network's output."""
        return len(self.names)


class HeatMap(_Frozen):
    """An image: what is where.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns.
    truth : str
        The array of the data set that holds the wanted map.
    scales : int
        The loss is taken at this many scales, each half as fine as the one before.
    weight : float
        Of this head in the loss.
    """

    kind: Literal["heatmap"] = "heatmap"
    shape: tuple[int, int]
    truth: str
    scales: int = Field(default=1, ge=1)
    weight: float = Field(default=1.0, gt=0)

    @property
    def size(self) -> int:
        """Numbers in the network's output."""
        return self.shape[0] * self.shape[1]


Head = Annotated[Binary | Multiclass | Multilabel | Regression | HeatMap, Field(discriminator="kind")]
"""What a network is asked."""


class Figure(_Frozen):
    """A published figure.

    Parameters
    ----------
    name : str
    value : float
    where : str
        Table, figure or section of the paper.
    """

    name: str
    value: float
    where: str = ""


class Task(_Frozen):
    """One learning problem.

    Parameters
    ----------
    name : str
        The system's name: lower case, digits and underscores.
    title, paper : str
        For people.
    inputs : dict of str to Input
    heads : dict of str to Head
        A head's name is the column of the data set with its labels.
    network : str
        ``"module:Class"``; called with ``inputs``, ``outputs`` and `network_options`.
    network_options : dict
    represent : str
        ``"module:function"`` that makes the inputs from a domain object, and its version.
    representation_version : int
    training : Training
        The recipe; every number can be changed for one run.
    group : str
        Column of the data set: rows of one group are never on both sides of a split.
    time : str, optional
        Column with the time, for splits by time.
    published : tuple of Figure
    limits : str
        Where the system must not be used, for the card.

    Raises
    ------
    ValueError
        A name that cannot be one, no input or no head.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    title: str = ""
    paper: str = ""
    inputs: dict[str, Input] = Field(min_length=1)
    heads: dict[str, Head] = Field(min_length=1)
    network: str
    network_options: dict[str, Any] = {}
    represent: str = ""
    representation_version: int = 1
    training: Training = Training()
    group: str = "group"
    time: str | None = None
    published: tuple[Figure, ...] = ()
    limits: str = ""

    @property
    def outputs(self) -> dict[str, int]:
        """Size of the network's output for each head."""
        return {name: head.size for name, head in self.heads.items()}

    def with_network_options(self, options: Mapping[str, Any]) -> Task:
        """The same task with some options of its network changed."""
        return self.model_copy(update={"network_options": {**self.network_options, **options}})

    def build_network(self) -> Any:
        """The untrained network, a `torch.nn.Module`; needs the extra ``train``.

        Raises
        ------
        UsageError
            There is no such network, or it does not take these options.
        """
        network = imported(self.network)
        shapes = {name: one.shape for name, one in self.inputs.items()}
        try:
            return network(inputs=shapes, outputs=self.outputs, **self.network_options)
        except TypeError as error:
            raise UsageError(
                f"task {self.name}: {self.network} does not take {self.network_options} ({error}); "
                "correct network_options"
            ) from error


def imported(path: str) -> Any:
    """The object called ``"module:name"``.

    Raises
    ------
    UsageError
        The path is of another form, or there is no such module or name.
    """
    module, separator, name = path.partition(":")
    if not (module and separator and name):
        raise UsageError(f"{path!r} names nothing; write it as 'package.module:name'")
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError as error:
        raise UsageError(f"{module} has no {name!r}; correct {path!r}") from error
    except ModuleNotFoundError as error:
        if error.name and not module.startswith(error.name):
            raise _missing(error.name) from error
        raise UsageError(f"there is no module {module!r}; correct {path!r}") from error


def _missing(package: str) -> Exception:
    from astrid.errors import DependencyError

    return DependencyError(f'{package} is not installed; pip install "astrid[train]"')
