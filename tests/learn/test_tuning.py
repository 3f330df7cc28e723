"""A search for a better recipe: whole, broken off and taken up, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from astrid.errors import OutputError, TrainingError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.settings import Split, Training, read_settings
from astrid.learn.space import Choice, Float, Space
from astrid.learn.study import Study, Trial
from astrid.learn.task import Binary, Input, Task
from astrid.learn.tuning import tune

TASK = Task(
    name="product",
    inputs={"x": Input(shape=(4,))},
    heads={"y": Binary(labels=("no", "yes"))},
    network="astrid.networks.dense:Dense",
    network_options={"hidden": [16], "dropout": 0.0},
    training=Training(
        epochs=5, patience=5, split=Split(validation=0.2, test=0.2), threads=1, trackers=(),
        accelerator="cpu", batch_size=32,
    ),
)  # fmt: skip
SPACE: Space = {
    "optimizer.lr": Float(low=1e-6, high=0.1, log=True),
    "network_options.dropout": Choice(choices=(0.0, 0.3)),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    path = tmp_path_factory.mktemp("product") / "data"
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 4)).astype(np.float32)
    with DatasetWriter(path, name="product", inputs=TASK.inputs, kind="simulated") as writer:
        groups = [f"g{row % 30}" for row in range(300)]
        writer.append({"x": x}, {"group": groups, "y": np.where(x[:, 0] * x[:, 1] > 0, "yes", "no")})
    return Dataset.open(path)


@pytest.fixture(scope="module")
def whole(data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, list[Trial]]:
    """Eight trials without a break."""
    told: list[Trial] = []
    study = tune(
        TASK,
        data,
        tmp_path_factory.mktemp("whole") / "s",
        trials=8,
        space=SPACE,
        seed=2,
        on_trial=told.append,
    )
    return study, told


def plain(study: Study) -> list[dict]:
    return [vars(trial) for trial in study.trials]


def test_the_first_trial_is_the_recipe_itself(whole: tuple[Study, list[Trial]]) -> None:
    first = whole[0].trials[0]
    assert first.values == {"optimizer.lr": TASK.training.optimizer.lr, "network_options.dropout": 0.0}
    assert first.state == "completed"


def test_the_best_trial_is_the_one_with_the_least_loss_and_its_file_is_a_configuration(
    whole: tuple[Study, list[Trial]],
) -> None:
    study, told = whole
    assert tuple(told) == study.trials
    completed = [trial for trial in study.trials if trial.state == "completed"]
    assert study.best.value == min(trial.value for trial in completed)
    assert study.best.value < study.trials[0].value
    settings = read_settings(TASK.training, study.path / "best.yaml")
    assert settings == study.settings
    assert settings.optimizer.lr == study.best.values["optimizer.lr"]
    assert settings.network_options == {"dropout": study.best.values["network_options.dropout"]}


def test_each_trial_is_a_run_of_the_same_split_with_its_own_settings(
    whole: tuple[Study, list[Trial]],
) -> None:
    from astrid.learn.run import load_run

    study, _ = whole
    runs = [load_run(study.path / "trials" / f"{trial.number:04d}") for trial in study.trials]
    for trial, run in zip(study.trials, runs, strict=True):
        assert run.settings.optimizer.lr == trial.values["optimizer.lr"]
        assert run.task.network_options["dropout"] == trial.values["network_options.dropout"]
        assert run.settings.seed == TASK.training.seed
        np.testing.assert_array_equal(run.parts.validation, runs[0].parts.validation)
        if trial.state == "completed":
            assert run.record["best"] == trial.value


def test_a_hopeless_trial_is_ended_early(whole: tuple[Study, list[Trial]]) -> None:
    pruned = [trial for trial in whole[0].trials if trial.state == "pruned"]
    assert pruned
    assert all(3 < trial.epochs <= 5 and trial.value is None for trial in pruned)


def test_the_rate_of_learning_matters_more_than_a_little_dropout(whole: tuple[Study, list[Trial]]) -> None:
    study, _ = whole
    assert list(study.importance) == ["optimizer.lr", "network_options.dropout"]
    assert sum(study.importance.values()) == pytest.approx(1)
    assert (study.path / "importance.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((study.path / "study.json").read_text())["found"]["best"] == study.best.number


def test_a_search_that_is_broken_off_again_and_again_finds_the_same(
    whole: tuple[Study, list[Trial]], data: Dataset, tmp_path: Path
) -> None:
    wanted = plain(whole[0])[:3]
    calls = 0
    while True:  # each call ends after one epoch, as a kill would end it
        study = tune(TASK, data, tmp_path / "s", trials=3, space=SPACE, seed=2, timeout=1e-9)
        calls += 1
        if len(study.trials) == 3:
            break
        assert calls < 60
    assert calls > 10
    assert plain(study) == wanted


def test_more_trials_go_on_where_fewer_ended_and_fewer_do_nothing(data: Dataset, tmp_path: Path) -> None:
    short = TASK.model_copy(update={"training": TASK.training.model_copy(update={"epochs": 1})})
    seen: list[tuple[int, int]] = []

    def note(done: int, total: int) -> None:
        seen.append((done, total))

    first = tune(short, data, tmp_path / "s", trials=1, space=SPACE)
    more = tune(short, data, tmp_path / "s", trials=2, space=SPACE, on_progress=note)
    again = tune(short, data, tmp_path / "s", trials=1, space=SPACE)
    assert plain(more)[:1] == plain(first)
    assert plain(again) == plain(more)
    assert seen == [(1, 2), (2, 2)]
    assert more.importance == {}
    for change, what in [
        ({"space": {"ema": Float(low=0.1, high=0.9)}}, "space"),
        ({"space": SPACE, "seed": 3}, "seed"),
        ({"space": SPACE, "settings": Training(epochs=2)}, "settings"),
    ]:
        with pytest.raises(TrainingError, match=f"was begun with another {what}; give the same"):
            tune(short, data, tmp_path / "s", trials=2, **change)


def test_a_trial_whose_loss_is_no_number_fails_and_the_search_goes_on(data: Dataset, tmp_path: Path) -> None:
    settings = TASK.training.model_copy(update={"epochs": 1})
    space = {"optimizer.lr": Float(low=1e30, high=1e31)}
    study = tune(TASK, data, tmp_path / "s", settings, trials=2, space=space)
    assert {trial.state for trial in study.trials} == {"failed"}
    assert "lower optimizer.lr" in study.trials[0].reason
    assert study.best is None
    assert study.settings == settings
    assert not (tmp_path / "s" / "best.yaml").exists()


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "s"
    path.mkdir()
    return path


def test_a_directory_that_is_no_search_is_refused(data: Dataset, odd: Path) -> None:
    with pytest.raises(UsageError, match="0 trials are none"):
        tune(TASK, data, odd, trials=0, space=SPACE)
    (odd / "study.db").write_bytes(b"not a database at all" * 99)
    with pytest.raises(TrainingError, match=r"study\.db: cannot be used \(.*not a database") as caught:
        tune(TASK, data, odd, trials=1, space=SPACE)
    assert "\n" not in str(caught.value)
    (odd / "study.db").unlink()
    (odd / "trials" / "0000").mkdir()
    with pytest.raises(TrainingError, match=r"their record study\.db is absent"):
        tune(TASK, data, odd, trials=1, space=SPACE)
    (odd / "holiday.jpg").touch()
    with pytest.raises(OutputError, match=r"no search \(holiday\.jpg\)"):
        tune(TASK, data, odd, trials=1, space=SPACE)
