"""Searching for a better recipe: trials of a task's training, by Optuna, that can be broken off and taken up.

What may be tried is in `space`; each trial is a run as `training` makes it, in a directory of its own.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from astrid.errors import DependencyError, OutputError, TrainingError, UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.learn.checkpoint import load_checkpoint
from astrid.learn.dataset import Dataset
from astrid.learn.run import STATE, identity
from astrid.learn.settings import Training, change_settings
from astrid.learn.space import Space, check_space, default_space, recipe
from astrid.learn.splits import Parts, make_parts
from astrid.learn.study import LEAST, Study, Trial, draw_study
from astrid.learn.task import Task
from astrid.learn.tracking import command, versions
from astrid.learn.training import train

__all__ = ["tune"]

_FILES = ("study.db", "study.json", "best.yaml", "importance.png", "trials")
_STARTUP = 10  # trials at random before the sampler learns from them
_PRUNE_AFTER = 5  # trials, whose median tells a hopeless one
_WARMUP = 3  # epochs that every trial gets


def tune(
    task: Task,
    dataset: Dataset,
    out: str | Path,
    settings: Training | None = None,
    *,
    trials: int = 20,
    space: Space | None = None,
    seed: int = 0,
    timeout: float | None = None,
    on_trial: Callable[[Trial], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Search for the recipe with the best monitored figure.

    The first trial is the recipe as it is. All trials have the same split and the same seed. The
    search can be killed at any moment: called again, it goes on with the trial that was broken
    off, and ends with the same trials as if it had not been. ``best.yaml`` is what training takes
    as its configuration. Only one process at a time may search in a directory.

    Parameters
    ----------
    task : Task
    dataset : Dataset
    out : str or Path
        Directory of the search; new, or that of the search to go on with.
    settings : Training, optional
        The recipe to begin from; that of the task if not given.
    trials : int
        In all, those of earlier calls included.
    space : mapping of str to Float, Integer or Choice, optional
        What to try; `default_space` if not given.
    seed : int
        Of the search; that of the trainings is in the settings.
    timeout : float, optional
        Stop at the end of an epoch after so many seconds; a later call goes on.
    on_trial : callable, optional
        Called with each trial that has ended.
    on_progress : callable, optional
        Called with the number of trials that have ended and of all.

    Returns
    -------
    study : Study

    Raises
    ------
    UsageError
        A setting that does not exist or cannot be tuned.
    DatasetError
        The data cannot teach the task.
    TrainingError
        The search in `out` is another one, or damaged.
    DependencyError
        The extra ``train`` is not installed.
    OutputError
        The directory cannot be written.
    """
    if trials < 1:
        raise UsageError(f"{trials} trials are none; give at least 1")
    base = task.training if settings is None else settings
    chosen = default_space(base) if space is None else dict(space)
    check_space(chosen, base, task)
    dataset.check(task)
    parts = make_parts(dataset, base.split, base.seed)
    path = Path(out)
    _begin(path, task, dataset, base, chosen, seed)
    with _opened(path, base.mode) as study:
        search = _Search(path, task, dataset, base, chosen, seed, parts, study)
        new = False
        end = None if timeout is None else time.monotonic() + timeout
        if on_progress is not None:
            on_progress(len(search.ended), trials)
        while len(search.ended) < trials:
            trial = search.step(end)
            if trial is None:
                break  # the time is up
            new = True
            if on_trial is not None:
                on_trial(trial)
            if on_progress is not None:
                on_progress(len(search.ended), trials)
            search.write()
        found = search.write(last=True)
        if new or not (path / "importance.png").exists():
            draw_study(path / "importance.png", found)
        return found


class _TimeIsUp(Exception):  # noqa: N818 - nothing is wrong
    """Ends a training at the end of an epoch, to be taken up later."""


class _Hopeless(Exception):  # noqa: N818
    """Ends a training that is worse than the others were."""


@dataclass(eq=False)
class _Search:
    """A search, while it goes on."""

    path: Path
    task: Task
    dataset: Dataset
    base: Training
    space: Space
    seed: int
    parts: Parts
    study: Any

    @property
    def ended(self) -> list[Any]:
        """Optuna's trials that need no more, in order."""
        from optuna.trial import TrialState

        return list(self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))

    def step(self, end: float | None) -> Trial | None:
        """One trial; None if the time was up before it ended."""
        from optuna.samplers import TPESampler

        number = len(self.ended)
        self._requeue()
        # a sampler for each trial: after a kill it draws what it would have drawn
        drawn = int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0])
        self.study.sampler = TPESampler(seed=drawn, n_startup_trials=_STARTUP)
        if number == 0 and not self.study.get_trials(deepcopy=False):
            self.study.enqueue_trial(recipe(self.space, self.base, self.task))
        trial = self.study.ask()
        values = {key: _suggested(trial, key, one) for key, one in self.space.items()}
        settings = change_settings(self.base, values, "the space")
        directory = self.path / "trials" / f"{number:04d}"
        try:
            self._train(trial, settings, directory, end)
        except _TimeIsUp:
            return None
        return _trial(number, self.ended[-1])

    def _train(self, trial: Any, settings: Training, directory: Path, end: float | None) -> None:
        from optuna.trial import TrialState

        def report(epoch: int, figures: Mapping[str, float]) -> None:
            trial.report(figures[self.base.monitor], epoch)
            trial.set_user_attr("epochs", epoch + 1)
            if trial.should_prune():
                raise _Hopeless

        def after(epoch: int, figures: Mapping[str, float]) -> None:
            report(epoch, figures)
            if end is not None and time.monotonic() > end:
                raise _TimeIsUp

        try:
            for one in _history(directory):  # of a training that was broken off
                report(int(one["epoch"]), one)
            run = train(
                self.task, self.dataset, directory, settings,
                parts=self.parts, resume=True, on_progress=_silent, on_epoch=after,
            )  # fmt: skip
        except _Hopeless:
            self.study.tell(trial, state=TrialState.PRUNED)
        except TrainingError as error:
            # pruned, for Optuna: it learns from those, and not from failures
            trial.set_user_attr("reason", str(error))
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, float(run.record["best"]))

    def _requeue(self) -> None:
        """Give up Optuna's trials of a process that is gone, and queue what they tried."""
        from optuna.trial import TrialState

        for left in self.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.study.tell(left.number, state=TrialState.FAIL)
            if set(left.params) == set(self.space):
                self.study.enqueue_trial(left.params)
            else:  # killed before it had begun: the recipe is queued anew, another is drawn anew
                self.study.enqueue_trial(left.system_attrs.get("fixed_params", {}))

    def write(self, *, last: bool = False) -> Study:
        """The search as it stands, as files and as a value; at the end also what made the difference."""
        trials = tuple(_trial(number, one) for number, one in enumerate(self.ended))
        completed = [one for one in trials if one.state == "completed"]
        sign = 1 if self.base.mode == "min" else -1
        best = min(completed, key=lambda one: sign * (one.value or 0.0), default=None)
        importance = self._importance() if last and len(completed) >= LEAST else {}
        settings = self.base if best is None else change_settings(self.base, best.values, "the best trial")
        study = Study(
            self.path, self.task.name, self.base.monitor, self.base.mode, trials, best, settings, importance
        )
        record = json.loads((self.path / "study.json").read_text("utf-8"))
        record["found"] = study.as_dict()
        _write(self.path / "study.json", json.dumps(record, indent=1) + "\n")
        if best is not None:
            head = (
                f"# trial {best.number} of {len(trials)}: {study.monitor} {best.value:.6g}\n"
                f"# astrid models train {self.task.name} --config best.yaml\n"
            )
            _write(self.path / "best.yaml", head + yaml.safe_dump(_nested(best.values), sort_keys=False))
        return study

    def _importance(self) -> dict[str, float]:
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        evaluator = FanovaImportanceEvaluator(seed=self.seed)
        try:
            found = get_param_importances(self.study, evaluator=evaluator)
        except (RuntimeError, ValueError):  # all trials alike: nothing can be said
            return {}
        return {name: float(share) for name, share in sorted(found.items(), key=lambda item: -item[1])}


def _begin(path: Path, task: Task, dataset: Dataset, base: Training, space: Space, seed: int) -> None:
    """Write down what is searched for, or make sure that it is what was."""
    facts = plain({
        **identity(task, dataset, None, ()), "settings": base.model_dump(mode="json"), "seed": seed,
        "space": {key: {"kind": type(one).__name__, **one.model_dump()} for key, one in space.items()},
    })  # fmt: skip
    try:
        present = sorted(entry.name for entry in path.iterdir()) if path.exists() else []
        foreign = [name for name in present if not name.startswith((*_FILES, "."))]
        if foreign:
            raise OutputError(
                f"{path} holds files that are of no search ({foreign[0]}); choose another --out"
            )
        (path / "trials").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}; choose another --out") from error
    file = path / "study.json"
    if not (path / "study.db").exists() and any((path / "trials").iterdir()):
        raise TrainingError(f"{path}: has trials, but their record study.db is absent; choose another --out")
    if not file.exists():
        _write(file, json.dumps({"command": command(), "versions": versions(), **facts}, indent=1) + "\n")
        return
    try:
        earlier = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainingError(f"{file}: cannot be read ({error}); choose another --out") from error
    for key, now in facts.items():
        if earlier.get(key) != now:
            raise TrainingError(
                f"{path}: was begun with another {key}; give the same or choose another --out"
            )


@contextmanager
def _opened(path: Path, mode: str) -> Iterator[Any]:
    """Optuna's study in the directory, quiet."""
    try:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError as error:
        raise DependencyError('tuning needs optuna; pip install "astrid[train]"') from error

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield optuna.create_study(
                storage=f"sqlite:///{(path / 'study.db').absolute()}",
                study_name="search",
                direction="minimize" if mode == "min" else "maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=_PRUNE_AFTER, n_warmup_steps=_WARMUP),
            )
    except SQLAlchemyError as error:
        reason = " ".join(str(error.__cause__ or error).split())
        raise TrainingError(
            f"{path / 'study.db'}: cannot be used ({reason}); choose another --out"
        ) from error
    finally:
        optuna.logging.set_verbosity(verbosity)


def _suggested(trial: Any, key: str, one: Any) -> Any:
    match type(one).__name__:
        case "Choice":
            return trial.suggest_categorical(key, one.choices)
        case "Integer":
            return trial.suggest_int(key, one.low, one.high, log=one.log)
        case _:
            return trial.suggest_float(key, one.low, one.high, log=one.log)


def _history(directory: Path) -> Sequence[Mapping[str, float]]:
    """Figures of the epochs that a training did before it was broken off."""
    state = directory / STATE
    return load_checkpoint(state)["history"] if state.exists() else ()


def _trial(number: int, found: Any) -> Trial:
    state: Literal["completed", "pruned", "failed"] = (
        "completed" if found.state.name == "COMPLETE" else "pruned"
    )
    reason = found.user_attrs.get("reason", "")
    return Trial(
        number=number,
        values=dict(found.params),
        state="failed" if reason else state,
        value=found.value if state == "completed" else None,
        epochs=int(found.user_attrs.get("epochs", 0)),
        reason=reason,
    )


def _nested(values: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *above, last = key.split(".")
        place = tree
        for part in above:
            place = place.setdefault(part, {})
        place[last] = value
    return tree


def _silent(done: int, total: int) -> None:
    """Progress of one trial, which nobody asked for."""


def _write(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, "utf-8")
