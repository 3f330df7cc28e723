"""A bundle: a trained model as one directory, with a card that says what it is and what it is not for.

Reading one checks every hash and version and refuses rather than guesses. Running one is the
business of `prediction`, making one that of `export`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from astrid._version import __version__
from astrid.errors import BundleError
from astrid.files.directory import product_directory
from astrid.files.record import sha256
from astrid.learn.settings import Training
from astrid.learn.task import Task

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "Bundle", "Calibration", "Card", "Conformal", "DataRecord", "Decision", "HeadCard", "Measured", "Range",
    "Statistic", "Uncertainty", "save_bundle",
]  # fmt: skip

FORMAT = 1
Statistic = Literal["mean", "std", "max", "min", "zeros"]
FILES = ("model.onnx", "spread.onnx", "model.int8.onnx", "weights.safetensors", "card.json", "metrics.json")
"""Every file that a bundle can hold; the first, the weights and the card are always there."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Calibration(_Frozen):
    """How a score becomes a probability.

    Parameters
    ----------
    method : {"none", "temperature", "isotonic"}
    temperature : float
        Logits are divided by it.
    x, y : tuple of float
        Knots of the isotonic map from uncalibrated to calibrated probability, of the positive
        class (binary) only.
    fitted_on : str
        Which data, and how many items.
    """

    method: Literal["none", "temperature", "isotonic"] = "none"
    temperature: float = Field(default=1.0, gt=0)
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()
    fitted_on: str = ""


class Conformal(_Frozen):
    """Class-conditional conformal sets: a label is in the set if its score is not above its quantile.

    The score of a label is 1 minus its calibrated probability.

    Parameters
    ----------
    alpha : dict of str to float
        Wanted rate of each label's absence from the sets of its own items.
    quantile : dict of str to float
    n : dict of str to int
        Items of each label that the quantiles were found on.
    fitted_on : str
    """

    alpha: dict[str, float]
    quantile: dict[str, float]
    n: dict[str, int]
    fitted_on: str = ""


class Decision(_Frozen):
    """The threshold on the calibrated probability, and why this one.

    Parameters
    ----------
    threshold : float
    rule : str
        Such as ``"least expected cost, miss 20, false alarm 1"`` or ``"miss at most 1 %"``.
    """

    threshold: float = Field(ge=0, le=1)
    rule: str


class HeadCard(_Frozen):
    """What was found about one head after training.

    Parameters
    ----------
    calibration : Calibration
    conformal : Conformal, optional
    decision : Decision, optional
        Of a binary head.
    """

    calibration: Calibration = Calibration()
    conformal: Conformal | None = None
    decision: Decision | None = None


class Uncertainty(_Frozen):
    """Where the spread of a prediction comes from.

    Parameters
    ----------
    method : {"none", "ensemble", "mc_dropout"}
        An ensemble's members are all in ``model.onnx``; the passes with dropout in ``spread.onnx``.
    passes : int
        Members, or passes with masks that were drawn once.
    seed : int
    """

    method: Literal["none", "ensemble", "mc_dropout"] = "none"
    passes: int = Field(default=1, ge=1)
    seed: int = 0


class Measured(_Frozen):
    """One figure, with its interval and what it was measured on.

    Parameters
    ----------
    name : str
        Such as ``"AUCPR"``.
    value : float
    low, high : float, optional
        95 % interval by bootstrap over groups.
    n : int
        Items.
    on : str
        Which data set and part of it.
    kind : {"real", "simulated"}
    domain : {"in", "out"}
        Whether the data are of the kind that was trained on.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    n: int
    on: str
    kind: Literal["real", "simulated"]
    domain: Literal["in", "out"] = "in"


class DataRecord(_Frozen):
    """The data that a model was trained on.

    Parameters
    ----------
    name, hash : str
    n : int
        Rows in all.
    kind : {"real", "simulated"}
    recipe : dict
        As the data set has it.
    labels, licence : str
    parts : dict of str to int
        Rows of each part of the split.
    """

    name: str
    hash: str
    n: int
    kind: Literal["real", "simulated"]
    recipe: dict[str, Any] = {}
    labels: str = ""
    licence: str = ""
    parts: dict[str, int] = {}


class Range(_Frozen):
    """What a summary of one channel of an input was in training: its 0.1 and 99.9 % quantiles.

    Parameters
    ----------
    input, channel : str
    statistic : Statistic
        ``zeros`` is the share of numbers that are exactly 0.
    low, high : float
    """

    input: str
    channel: str
    statistic: Statistic
    low: float
    high: float


class Card(_Frozen):
    """All there is to know about one trained model.

    Parameters
    ----------
    format : int
    name : str
        ``system.tag``, such as ``braai.sim1``.
    task : Task
    created, software : str
    files : dict of str to str
        SHA-256 of every file but the card itself.
    origin : str
        ``trained``, or where imported weights come from.
    licence : str
    parent : str
        Name and hash of the bundle that the training began from.
    data : tuple of DataRecord
    training : Training, optional
        The recipe as it was used, seed and split included.
    command : str
        What makes the model again.
    heads : dict of str to HeadCard
    uncertainty : Uncertainty
    ranges : tuple of Range
        What is "in range"; see `Range`.
    metrics : tuple of Measured
    parity : float
        Largest difference between the network's probabilities in torch and in ONNX.
    int8 : dict
        Where there is a quantised model: what it loses at the operating threshold.
    limits : str
        Where the model must not be used.
    """

    format: int = FORMAT
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*\.[a-z0-9][a-z0-9_-]*$")
    task: Task
    created: str
    software: str = f"AstrID {__version__}"
    files: dict[str, str] = {}
    origin: str = "trained"
    licence: str = "MIT"
    parent: str = ""
    data: tuple[DataRecord, ...] = ()
    training: Training | None = None
    command: str = ""
    heads: dict[str, HeadCard] = {}
    uncertainty: Uncertainty = Uncertainty()
    ranges: tuple[Range, ...] = ()
    metrics: tuple[Measured, ...] = ()
    parity: float | None = None
    int8: dict[str, float] = {}
    limits: str = ""

    @property
    def system(self) -> str:
        """The part of the name before the dot."""
        return self.name.partition(".")[0]

    def head(self, name: str) -> HeadCard:
        """What was found about the head `name`; nothing, if it was never calibrated."""
        return self.heads.get(name, HeadCard())


@dataclass(frozen=True)
class Bundle:
    """A bundle that was read and found whole.

    Parameters
    ----------
    path : Path
    card : Card
    hash : str
        SHA-256 of the card, which holds the hashes of everything else: the model's identity.
    """

    path: Path
    card: Card
    hash: str

    @classmethod
    def load(cls, path: str | Path, *, name: str | None = None) -> Bundle:
        """Read the bundle in the directory `path` and check all of it.

        Parameters
        ----------
        path : str or Path
        name : str, optional
            The name that it must have.

        Raises
        ------
        BundleError
            There is none, a file is absent, foreign or damaged, or the format is newer than ours.
        """
        root = Path(path)
        card, digest = _card(root)
        if name is not None and card.name != name:
            raise BundleError(f"{root}: is {card.name}, expected {name}; correct the path or the name")
        present = {entry.name for entry in root.iterdir() if not entry.name.startswith(".")}
        absent = sorted(set(card.files) - present)
        if absent:
            raise BundleError(f"{root}: {absent[0]} is absent; fetch or export the bundle again")
        foreign = sorted(present - set(card.files) - {"card.json"})
        if foreign:
            raise BundleError(
                f"{root}: {foreign[0]} is not in the card; remove it or export the bundle again"
            )
        for file, expected in card.files.items():
            if sha256(root / file) != expected:
                raise BundleError(
                    f"{root / file}: its content is not what the card says (SHA-256 differs); fetch or "
                    "export the bundle again"
                )
        return cls(root, card, digest)

    @property
    def name(self) -> str:
        """``system.tag``."""
        return self.card.name

    @property
    def task(self) -> Task:
        """What the model was trained for."""
        return self.card.task

    @cached_property
    def weights(self) -> dict[str, NDArray[Any]]:
        """The network's parameters by name."""
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.path / "weights.safetensors"
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path}: cannot be read ({error}); export the bundle again") from error

    def networks(self) -> list[nn.Module]:
        """The network in torch with its weights, or the members of an ensemble, ready to predict.

        Raises
        ------
        UsageError
            The module of the network cannot be found.
        BundleError
            The weights do not fit it.
        """
        import torch

        weights = {name: torch.from_numpy(np.array(one)) for name, one in self.weights.items()}
        uncertainty = self.card.uncertainty
        members = [f"{k}." for k in range(uncertainty.passes)] if uncertainty.method == "ensemble" else [""]
        networks: list[nn.Module] = []
        for prefix in members:
            network = self.task.build_network()
            own = {name.removeprefix(prefix): one for name, one in weights.items() if name.startswith(prefix)}
            try:
                network.load_state_dict(own)
            except RuntimeError as error:
                reason = " ".join(str(error).split())[:200]
                raise BundleError(
                    f"{self.path}: the weights do not fit {self.task.network} ({reason}); export it again"
                ) from error
            networks.append(network.eval())
        return networks


def save_bundle(
    path: str | Path,
    card: Card,
    files: Mapping[str, bytes],
    weights: Mapping[str, NDArray[Any]],
) -> Bundle:
    """Write a bundle, whole or not at all, and read it back.

    Parameters
    ----------
    path : str or Path
        A directory that does not exist, is empty or holds a bundle, which is replaced.
    card : Card
        Its `files` are filled in here.
    files : mapping of str to bytes
        ``model.onnx`` and any other of `FILES`.
    weights : mapping of str to ndarray

    Raises
    ------
    OutputError
        The directory cannot be written.
    BundleError
        A file that a bundle cannot hold, or no model.
    """
    from safetensors.numpy import save

    unknown = sorted(set(files) - set(FILES))
    if unknown or "model.onnx" not in files:
        raise BundleError(f"a bundle of {sorted(files)} cannot be; it holds model.onnx and any of {FILES}")
    contents = {
        **files,
        "weights.safetensors": save({name: np.asarray(one, order="C") for name, one in weights.items()}),
    }
    with product_directory(path, names=FILES, last="card.json") as staging:
        for name, content in contents.items():
            (staging / name).write_bytes(content)
        card = card.model_copy(update={"files": {name: sha256(staging / name) for name in sorted(contents)}})
        (staging / "card.json").write_text(card.model_dump_json(indent=1) + "\n", "utf-8")
    return Bundle.load(path)


def _card(root: Path) -> tuple[Card, str]:
    path = root / "card.json"
    try:
        facts = json.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise BundleError(f"{root}: is no bundle (it has no card.json); give a bundle's directory") from error
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); fetch or export the bundle again") from error
    if not isinstance(facts, dict) or not isinstance(facts.get("format"), int):
        raise BundleError(f"{path}: is not the card of a bundle; give a bundle's directory")
    if facts["format"] > FORMAT:
        raise BundleError(
            f"{path}: is of format {facts['format']}, this AstrID reads up to {FORMAT}; update AstrID"
        )
    try:
        return Card.model_validate(facts), sha256(path)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {where}: {first['msg']}; fetch or export the bundle again") from error
