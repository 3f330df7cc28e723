"""A run: the directory of one training, what it holds, and when it may be taken up again.

The training itself is in `training`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from astrid.errors import OutputError, TrainingError, UsageError
from astrid.files.atomic import atomic_path
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.settings import Training
from astrid.learn.splits import Parts
from astrid.learn.task import Task
from astrid.learn.tracking import command, read_record, versions, write_record

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Run", "earlier_run", "identity", "leads", "load_run", "prepared_run"]

STATE = Path("checkpoints", "last.safetensors")
"""Where a run directory has what is needed to go on."""

# may differ when a run is taken up again: they change how fast it is, not what comes out
_MACHINERY = ("accelerator", "devices", "threads", "workers", "trackers")


@dataclass(frozen=True, eq=False)
class Run:
    """A training and its directory.

    Parameters
    ----------
    path : Path
    task : Task
    settings : Training
    parts : Parts
    record : dict
        The content of ``run.json``.
    """

    path: Path
    task: Task
    settings: Training
    parts: Parts
    record: dict[str, Any]

    @property
    def done(self) -> bool:
        """Whether the training came to its end."""
        return bool(self.record["state"] == "done")

    def best_weights(self) -> dict[str, NDArray[Any]]:
        """Parameters and buffers of the best epoch, by name.

        Raises
        ------
        TrainingError
            No epoch was finished, or the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.numpy import load_file

        path = self.path / "best.safetensors"
        try:
            return dict(load_file(path))
        except FileNotFoundError as error:
            raise TrainingError(f"{self.path}: no epoch was finished; resume the training") from error
        except (SafetensorError, OSError) as error:
            raise TrainingError(f"{path}: cannot be read ({error}); train anew") from error

    def network(self) -> nn.Module:
        """The network with the best weights, ready to predict."""
        import torch

        network: nn.Module = self.task.build_network()
        weights = {name: torch.from_numpy(one) for name, one in self.best_weights().items()}
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise TrainingError(
                f"{self.path}: the weights do not fit {self.task.network} ({reason}); train anew"
            ) from error
        return network.eval()


def load_run(path: str | Path) -> Run:
    """Read the run in the directory `path`.

    Raises
    ------
    TrainingError
        There is none, or it is damaged.
    """
    root = Path(path)
    record = read_record(root / "run.json")
    try:
        task = Task.model_validate(record["task"])
        settings = Training.model_validate(yaml.safe_load((root / "config.yaml").read_text("utf-8")))
    except (ValidationError, OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise TrainingError(f"{root}: its task or settings cannot be read ({reason}); train anew") from error
    return Run(root, task, settings, Parts.load(root / "split.json"), record)


def identity(task: Task, dataset: Dataset, parent: Bundle | None, freeze: Sequence[str]) -> dict[str, Any]:
    """What makes a run this one and not another, beside its settings; part of ``run.json``."""
    return {
        "task": task.model_dump(mode="json", exclude={"training"}),  # the recipe as used is in config.yaml
        "data": {"name": dataset.info.name, "hash": dataset.info.hash, "n": len(dataset)},
        "parent": "" if parent is None else f"{parent.name} {parent.hash}",
        "freeze": list(freeze),
    }


def earlier_run(path: Path, facts: Mapping[str, Any], settings: Training, *, resume: bool) -> Run | None:
    """The run that is in the directory already, if it may be taken up; None if there is none.

    Raises
    ------
    OutputError
        The directory holds something else.
    UsageError
        There is a run and it is not to be taken up.
    TrainingError
        There is a run of another task, data set, parent or recipe.
    """
    try:
        entries = [entry.name for entry in path.iterdir() if not entry.name.startswith(".")]
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OutputError(
            f"{path} cannot be a run directory: {error.strerror}; choose another --out"
        ) from error
    if "run.json" not in entries:
        if entries:
            raise OutputError(
                f"{path} holds files that are of no training ({entries[0]}); choose another --out"
            )
        return None
    begun = (path / STATE).exists()
    if not begun and read_record(path / "run.json")["state"] == "stopped":
        return None  # it ended before its first epoch did, such as by a wrong setting: nothing is lost
    if not resume:
        raise UsageError(
            f"{path} holds a training already; pass --resume to go on with it or choose another --out"
        )
    run = load_run(path)
    words = {"task": "task", "data": "data set", "parent": "parent", "freeze": "set of frozen layers"}
    for key, word in words.items():
        if run.record.get(key) != facts[key]:
            raise TrainingError(
                f"{path}: was begun with another {word} ({_named(run.record.get(key))}, now "
                f"{_named(facts[key])}); choose another --out"
            )
    old, new = run.settings.model_dump(), settings.model_dump()
    for key in old:
        if key not in _MACHINERY and old[key] != new[key]:
            raise TrainingError(
                f"{path}: was begun with {key} = {old[key]}, now {new[key]}; give the same or another --out"
            )
    return run


@contextlib.contextmanager
def prepared_run(
    path: Path, facts: Mapping[str, Any], settings: Training, parts: Parts, earlier: Run | None
) -> Iterator[dict[str, Any]]:
    """A run directory with its record, which says in the end how the training ended.

    Raises
    ------
    OutputError
        The directory cannot be written.
    """
    record: dict[str, Any] = {
        "format": 1, "state": "running", **facts, "seed": settings.seed, "parts": parts.counts,
        "split_note": parts.note, "command": command(), "versions": versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "epochs": 0, "best_epoch": -1, "best": None, "monitor": settings.monitor,
    }  # fmt: skip
    if earlier is not None:
        record["created"] = earlier.record["created"]
        record["resumed"] = [
            *earlier.record.get("resumed", []),
            datetime.now(UTC).isoformat(timespec="seconds"),
        ]
    if not leads():
        yield record
        return
    try:
        (path / "checkpoints").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --out") from error
    with atomic_path(path / "config.yaml") as partial:
        partial.write_text(yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False), "utf-8")
    if earlier is None:
        parts.save(path / "split.json")
    write_record(path / "run.json", record)
    try:
        yield record
        record["state"] = "done"
    except BaseException:
        record["state"] = "stopped"
        raise
    finally:
        write_record(path / "run.json", record)


def leads() -> bool:
    """Whether this is the first of several training processes; only that one writes."""
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))


def _named(value: Any) -> Any:
    return value.get("name", value) if isinstance(value, Mapping) else value or "none"
