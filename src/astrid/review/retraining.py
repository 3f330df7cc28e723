"""Learning from answers: a training that goes on from the model in use, compared with it, and recorded.

A training that is killed leaves a folder that nothing points to, which the next one sweeps away; which model
wins is decided in `promotion`, and what it learns from in `training_set`.
"""

from __future__ import annotations

import fcntl
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.errors import DataError, DatasetError, OutputError, StoreError, UsageError
from astrid.learn.bundle import Bundle, save_bundle
from astrid.learn.dataset import Dataset
from astrid.learn.export import export_run
from astrid.learn.registry import list_bundles, live, set_stage, user_directory
from astrid.learn.revision import with_figures
from astrid.learn.settings import Training, read_settings
from astrid.review.promotion import LEAST_FROZEN, Comparison, compare, finish, judge
from astrid.review.stopping import Outlook, outlook
from astrid.review.training_set import Source, TrainingSet, build, only_head
from astrid.review.votes import Consensus, consensus
from astrid.store.trainings import TrainingRecord
from astrid.stream.scores import misfit

if TYPE_CHECKING:
    from astrid.store.store import Store

__all__ = ["FOLDER", "Retrained", "alone", "retrain", "trained"]

FOLDER = "trainings"
"""In the folder of the store: one folder of each training, of which the latest is kept."""

EPOCHS = 12

_LOCK = ".lock"
_TAG = "review"
_LR = 2e-4  # a fifth of what the networks began with: they are to be corrected, not taught anew
_HEAD_EPOCHS = 2
_FLAT_FACTOR = 1.5  # so many times the answers are awaited where the learning curve is flat

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Retrained:
    """What came of asking for a training.

    Parameters
    ----------
    record : TrainingRecord or None
        None where there was none.
    reason : str
        Why the model in use was replaced, was kept, or nothing was trained: one sentence.
    outlook : Outlook
        Whether more answers are worth their time.
    """

    record: TrainingRecord | None
    reason: str
    outlook: Outlook


def retrain(
    store: Store,
    task: str = "braai",
    *,
    user: str,
    source: Source | None = None,
    min_new: int = 0,
    least_frozen: int = LEAST_FROZEN,
    epochs: int = EPOCHS,
    settings: Sequence[str] = (),
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Retrained:
    """Train the bundle of a task that is in use on what people answered, and promote it if it is better.

    The new bundle, ``task.reviewN``, begins from the weights of the one in use and is a candidate. Both are
    asked about the frozen answers, of whose objects none was learned from; the new one becomes live if it
    wins by the intervals, and stays a candidate until the next training if not.

    Parameters
    ----------
    store : Store
    task : str
    user : str
        Who asks for it.
    source : Source, optional
        An older data set, and what is needed to read packets.
    min_new : int
        Train only if so many items were answered since the last training; where the learning curve is
        flat, half as many again as then are awaited. 0 trains at once.
    least_frozen : int
        Frozen answers of each label without which no model is promoted.
    epochs : int
    settings : sequence of str
        Changes of the recipe, such as ``optimizer.lr=1e-4``.
    seed : int
    on_progress : callable, optional
        Called with what is done and of how much: first alerts that are read, then steps of the training.

    Returns
    -------
    Retrained

    Raises
    ------
    UsageError
        No bundle of the task is live, or it is none that can go on from; a setting that does not exist.
    TrainingError, DatasetError
        There is too little to learn from, or the training has failed, which is recorded.
    StoreError
        Another training of this store runs.
    DependencyError
        The extra ``train`` is not installed.
    """
    with alone(store):
        finish(store.trainings, task)
        _sweep(store)
        records = store.trainings.list(task)
        at = time.time()
        present = _in_use(task)
        _, kind = only_head(present.task)
        answers = consensus(store.labels.of_task(task), kind.labels)
        last = trained(records)
        advice = outlook(last)
        waiting = _waiting(answers, last[-1] if last else None, advice, min_new)
        if waiting:
            return Retrained(None, waiting, advice)
        recipe = _recipe(present, epochs, settings, seed)
        name = _next_name(task, records)
        home = store.folder / FOLDER / name
        record = TrainingRecord(
            0, task, at, user, None, None, present.name, present.hash, 0, 0, "failed", "", {}
        )
        begun = time.monotonic()
        try:
            frozen = [row.item for row in store.labels.queue(task, None, open_only=False) if row.frozen]
            given = replace(source or Source(), earlier=_earlier(store, last))
            found = build(
                store, present.task, answers, frozen, home / "data", given, seed=seed, on_progress=on_progress
            )
            bundle, comparison = _trained(found, present, recipe, home, name, seed, on_progress)
        except BaseException as error:
            shutil.rmtree(home, ignore_errors=True)
            if isinstance(error, DataError):
                store.trainings.add(record._replace(reason=str(error)))
            raise
        wins, reason = judge(comparison, least_frozen)
        record = store.trainings.add(
            record._replace(
                bundle=bundle.name,
                hash=bundle.hash,
                n_labels=sum(found.learned.values()),
                n_frozen=sum(found.frozen.values()),
                verdict="promoting" if wins else "kept",
                reason=reason,
                figures=_figures(found, comparison, answers, recipe, seed, time.monotonic() - begun),
            )
        )
        done = finish(store.trainings, task)
        record = done[-1] if done else record
        _retire(last)
        _sweep(store)
        return Retrained(record, record.reason, outlook([*last, record]))


def trained(records: Sequence[TrainingRecord]) -> list[TrainingRecord]:
    """Those records that are of a training that came to its end; the others are steps back or failed."""
    return [one for one in records if one.n_labels > 0]


@contextmanager
def alone(store: Store) -> Iterator[None]:
    """Let no other process train for this store; the system opens the lock of who is killed.

    Raises
    ------
    StoreError
        One does.
    OutputError
        The folder cannot be written.
    """
    folder = store.folder / FOLDER
    try:
        folder.mkdir(exist_ok=True)
        file = (folder / _LOCK).open("w")
    except OSError as error:
        raise OutputError(f"{folder} cannot be written ({error.strerror}); check its disk") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StoreError(
                f"another process trains for {store.folder}; wait until it has done so"
            ) from error
        yield


def _in_use(task: str) -> Bundle:
    """The bundle that a training goes on from."""
    present = live(task)
    if present is None:
        raise UsageError(
            f"no bundle of {task} is live, so there is nothing to go on from; make one live with astrid "
            "models stage NAME live"
        )
    problem = misfit(present)
    if problem:
        raise UsageError(f"{present.name} cannot learn from alerts: {problem}; make another bundle live")
    if present.card.uncertainty.method == "ensemble":
        raise UsageError(
            f"{present.name} is an ensemble, from which no single network can go on; make one of a single "
            "network live"
        )
    return present


def _waiting(answers: Consensus, last: TrainingRecord | None, advice: Outlook, min_new: int) -> str:
    """Why it is not yet time to train; empty if it is."""
    if not min_new:
        return ""
    free = ~answers.frozen
    new = int((free & (answers.at > (last.at if last else 0))).sum())
    if new < min_new:
        return f"{new} items were answered since the last training and {min_new} are awaited"
    if advice.flat and last is not None and free.sum() < _FLAT_FACTOR * last.n_labels:
        return (
            f"there are {free.sum()} answers and {round(_FLAT_FACTOR * last.n_labels)} are awaited, because "
            f"{advice.advice}"
        )
    return ""


def _recipe(present: Bundle, epochs: int, settings: Sequence[str], seed: int) -> Training:
    """That of the model in use, made gentle: a short training that goes on from it."""
    base = present.card.training or present.task.training
    gentle = base.model_copy(
        update={
            "seed": seed,
            "epochs": epochs,
            "patience": epochs,
            "batch_size": min(base.batch_size, 64),
            "optimizer": base.optimizer.model_copy(update={"lr": min(base.optimizer.lr, _LR)}),
            "schedule": base.schedule.model_copy(update={"name": "one_cycle"}),
            "head_epochs": min(_HEAD_EPOCHS, epochs // 3),
            "class_weights": True,
            "sampling": "shuffle",
            "ema": 0.0,
            "precision": "auto",
            "accelerator": "auto",
            "devices": "auto",
            "workers": 0,
            "trackers": (),
            "network_options": {},  # they are in the task already
        }
    )
    return read_settings(gentle, None, settings)


def _next_name(task: str, records: Sequence[TrainingRecord]) -> str:
    names = [entry.name for entry in list_bundles()] + [one.bundle or "" for one in records]
    pattern = re.compile(rf"{re.escape(task)}\.{_TAG}(\d+)")
    numbers = [int(found[1]) for name in names if (found := pattern.fullmatch(name))]
    return f"{task}.{_TAG}{max(numbers, default=0) + 1}"


def _earlier(store: Store, last: Sequence[TrainingRecord]) -> Dataset | None:
    """The data set of the last training, if it is still there."""
    with suppress(DatasetError):
        if last:
            return Dataset.open(store.folder / FOLDER / str(last[-1].bundle) / "data")
    return None


def _trained(
    found: TrainingSet,
    present: Bundle,
    recipe: Training,
    home: Path,
    name: str,
    seed: int,
    on_progress: Progress | None,
) -> tuple[Bundle, Comparison]:
    """The new bundle, among the user's own, and how it compares."""
    from astrid.learn.training import train

    run = train(
        present.task, found.dataset, home / "run", recipe, parts=found.parts, parent=present,
        on_progress=on_progress or _silent,
    )  # fmt: skip
    passes = present.card.uncertainty.passes if present.card.uncertainty.method == "mc_dropout" else 0
    draft = export_run(
        [run], found.dataset, home / name, name, mc_dropout=passes, prevalence=found.prevalence,
        int8="model.int8.onnx" in present.card.files, licence=present.card.licence, seed=seed,
    )  # fmt: skip
    comparison = compare(present, draft, found.dataset, found.parts.test, seed=seed)
    draft = with_figures(draft, comparison.measured(f"frozen {found.dataset.info.name}"))
    files = {one: (draft.path / one).read_bytes() for one in draft.card.files if one != "weights.safetensors"}
    bundle = save_bundle(user_directory() / name, draft.card, files, draft.weights)
    shutil.rmtree(home / name)
    return bundle, comparison


def _silent(done: int, total: int) -> None:
    """Without it, a bar of its own would be drawn."""


def _figures(
    found: TrainingSet,
    comparison: Comparison,
    answers: Consensus,
    recipe: Training,
    seed: int,
    seconds: float,
) -> dict[str, Any]:
    return {
        **comparison.as_dict(),
        "learned": found.learned,
        "base_rows": found.n_base,
        "left_out": dict(found.left_out),
        "votes": answers.method,
        "prevalence": found.prevalence,
        "epochs": recipe.epochs,
        "seed": seed,
        "seconds": round(seconds, 1),
    }


def _retire(earlier: Sequence[TrainingRecord]) -> None:
    """Earlier candidates have had their turn, and each costs a pass over every alert that comes."""
    stages = {entry.name: entry.stage for entry in list_bundles()}
    for record in earlier:
        if stages.get(str(record.bundle)) == "candidate":
            set_stage(str(record.bundle), "retired")


def _sweep(store: Store) -> None:
    """Remove what a killed training has left, and the folders of all but the last that came to its end."""
    records = store.trainings.list()
    latest = {one.task: str(one.bundle) for one in trained(records)}
    for folder in (store.folder / FOLDER).iterdir():
        if folder.is_dir() and folder.name not in latest.values():
            if folder.name not in {one.bundle for one in records}:
                _remove_unrecorded(folder)
            shutil.rmtree(folder, ignore_errors=True)


def _remove_unrecorded(folder: Path) -> None:
    """Remove a bundle that was written by a process which was killed before it could record it."""
    entry = next((one for one in list_bundles() if one.name == folder.name), None)
    if entry is None or entry.shipped or entry.stage != "candidate" or entry.problem:
        return
    with suppress(DatasetError):  # killed even before there was a data set: the bundle is somebody else's
        made_from = Dataset.open(folder / "data").info.hash
        if any(one.hash == made_from for one in Bundle.load(entry.path).card.data):
            shutil.rmtree(entry.path, ignore_errors=True)
