"""Options that several verbs of ``astrid models`` share, and what they mean together.

Only the words of the command line; what is done with them is in `models` and `model_making`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from astrid.learn.bundle import Bundle
    from astrid.learn.dataset import Dataset
    from astrid.learn.task import Task

__all__ = [
    "Alpha", "BundleName", "Data", "Json", "NewName", "NewPlace", "Part", "Prevalence", "Seed", "TaskName",
    "Threads", "found_task", "item_and_background", "new_bundle_path", "own_modules", "part_rows", "rates",
    "source", "with_network_options",
]  # fmt: skip

Alpha = Annotated[
    list[str] | None,
    typer.Option(
        help="How often a label may be absent from the sets of its own items, such as real=0.01; "
        "HEAD.LABEL=RATE where several heads have sets; from the task's costs if not given; may be repeated.",
        metavar="LABEL=RATE",
    ),
]
BundleName = Annotated[
    str,
    typer.Argument(help="A bundle's name, system.tag, or its path.", metavar="BUNDLE", show_default=False),
]
TaskName = Annotated[
    str,
    typer.Argument(
        help="A system of AstrID, or your own as file.py:NAME or module:NAME.",
        metavar="TASK",
        show_default=False,
    ),
]
Data = Annotated[
    Path, typer.Option("--data", help="Directory of a data set.", metavar="DIR", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Seed = Annotated[int, typer.Option(help="Seed of all random numbers.", min=0)]
Threads = Annotated[
    int, typer.Option(help="Of ONNX Runtime; more processes scale better than more threads.", min=1)
]
Prevalence = Annotated[
    float | None,
    typer.Option(help="Share of positive items in a night, if not that of the data.", metavar="SHARE"),
]
Part = Annotated[
    str,
    typer.Option(
        help="all; train, validation or test of the bundle's own split; or auto: that which it has not seen.",
        metavar="PART",
    ),
]
NewName = Annotated[
    str,
    typer.Option("--name", help="Name of the new bundle, system.tag.", metavar="NAME", show_default=False),
]
NewPlace = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="Directory of the new bundle; among your own bundles if not given.", metavar="DIR"
    ),
]


def own_modules() -> None:
    """Let modules of the present directory be found, behind all others: there may be somebody's network."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)


def found_task(name: str) -> Task:
    """The task of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    from astrid.zoo import task

    own_modules()
    return task(name)


def new_bundle_path(name: str, out: Path | None) -> Path:
    """Where a new bundle goes.

    Raises
    ------
    UsageError
        There is a bundle of this name, which another model must not take.
    """
    from astrid.learn.registry import list_bundles, user_directory

    if out is not None:
        return out
    if any(entry.name == name for entry in list_bundles()):
        raise UsageError(f"there is a bundle {name} already; give another --name, or a directory with --out")
    return user_directory() / name


def rates(given: Sequence[str], task: Task) -> dict[str, dict[str, float]]:
    """Rates of absence by head and label, from LABEL=RATE or HEAD.LABEL=RATE.

    Raises
    ------
    UsageError
        A text that is neither, or one that leaves open which head it is for.
    """
    from astrid.learn.task import Binary, Multiclass

    heads = [name for name, one in task.heads.items() if isinstance(one, (Binary, Multiclass))]
    found: dict[str, dict[str, float]] = {}
    for text in given:
        key, _, value = text.rpartition("=")
        head, _, label = key.partition(".")
        if head not in heads or not label:
            if len(heads) != 1:
                known = ", ".join(heads) or "none"
                raise UsageError(
                    f"--alpha {text!r} names no head; write head.label=0.05, with one of: {known}"
                )
            head, label = heads[0], key
        try:
            found.setdefault(head, {})[label] = float(value)
        except ValueError as error:
            raise UsageError(f"--alpha {text!r} gives no rate; write it as label=0.05") from error
    return found


def source(data: Path, bundle: Bundle) -> Dataset | Mapping[str, NDArray[Any]]:
    """A data set, or the arrays of an ``.npz`` file."""
    from astrid.learn.dataset import Dataset
    from astrid.learn.scores import read_arrays

    return read_arrays(data, bundle) if data.suffix == ".npz" else Dataset.open(data)


def item_and_background(
    given: Dataset | Mapping[str, NDArray[Any]], bundle: Bundle, row: int, background: int, seed: int
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]] | None]:
    """The inputs of one row, and of others that are drawn at random; None where there are none.

    Raises
    ------
    UsageError
        There is no such row.
    PredictionError
        The data do not fit the bundle.
    """
    import numpy as np

    from astrid.learn.dataset import Dataset
    from astrid.learn.prediction import Predictor

    names = list(bundle.task.inputs)
    n = len(given) if isinstance(given, Dataset) else len(given[names[0]])
    if row >= n:
        raise UsageError(f"--row is {row} but there are {n} rows; give 0 to {n - 1}")
    others = np.setdiff1d(np.random.default_rng(seed).permutation(n)[: background + 1], [row])[:background]

    def taken(rows: NDArray[Any]) -> dict[str, NDArray[Any]]:
        if isinstance(given, Dataset):
            return {name: given.take(name, rows) for name in names}
        return {name: given[name][rows] for name in names}

    if isinstance(given, Dataset):
        Predictor(bundle).check(given)
    item = {name: array[0] for name, array in taken(np.array([row])).items()}
    return item, taken(others) if len(others) else None


def part_rows(bundle: Bundle, dataset: Dataset, part: str, *, own: str) -> tuple[NDArray[Any] | None, str]:
    """The rows to take, None for all, and what they are called.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
    part : str
        ``all``; ``train``, ``validation`` or ``test`` of the split that the bundle was trained with;
        or ``auto``: all, but of the data that it was trained on only `own`.
    own : str

    Raises
    ------
    UsageError
        No such part, or the bundle was trained on other data, whose split says nothing about these.
    """
    if part not in ("auto", "all", "train", "validation", "test"):
        raise UsageError(f"--part is {part!r}; choose one of auto, all, train, validation, test")
    training = bundle.card.training
    trained_on = training is not None and dataset.info.hash in {one.hash for one in bundle.card.data}
    if part == "auto":
        part = own if trained_on else "all"
    if part == "all":
        return None, ""
    if not trained_on or training is None:
        raise UsageError(
            f"{bundle.name} was not trained on {dataset.path}, so none of it is its {part} part; "
            "give --part all"
        )
    from astrid.learn.splits import make_parts

    return getattr(make_parts(dataset, training.split, training.seed), part), f"{part} part"


def with_network_options(task: Task, assignments: Sequence[str]) -> Task:
    """The task with other options of its network.

    Raises
    ------
    UsageError
        An assignment that is none.
    """
    from astrid.learn.settings import read_assignment

    chosen = (read_assignment(one, "normalization=row_l2") for one in assignments)
    return task.with_network_options(dict(chosen))
