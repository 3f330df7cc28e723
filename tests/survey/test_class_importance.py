"""Which numbers classes are told by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from astrid.learn import Bundle, Dataset, DatasetWriter, Input, Parts, export_run, train
from astrid.survey.class_importance import draw_importance, importance
from astrid.survey.scope_set import part_of
from astrid.zoo.scope import SCOPE

NAMES = ("median", "log_period", "orbit_amp", "skew")


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Dataset]:
    """A class that the period alone tells, and one that the period and the amplitude tell together."""
    folder = tmp_path_factory.mktemp("importance")
    rng = np.random.default_rng(0)
    n = 1200
    x = rng.normal(size=(n, 4)).astype(np.float32)
    names = [f"s{k}" for k in range(n)]
    part = np.array([part_of(name) for name in names])
    inputs = {"features": Input(shape=(4,), channels=NAMES)}
    with DatasetWriter(folder / "d", name="toy", inputs=inputs, kind="simulated", group="star") as writer:
        writer.append(
            {"features": x},
            {
                "star": names,
                "part": part.tolist(),
                "rrab": (x[:, 1] > 0).astype(float).tolist(),
                "ea": (x[:, 1] * x[:, 2] > 0).astype(float).tolist(),
            },
        )
    heads = {code: SCOPE.heads[code] for code in ("rrab", "ea")}
    task = SCOPE.model_copy(update={"inputs": inputs, "heads": heads})
    dataset = Dataset.open(folder / "d")
    parts = Parts(*(np.flatnonzero(part == one) for one in ("train", "validation", "test")))
    # SCOPE's share of columns is one of these four, and no tree of one column tells a product of two
    options = {"network_options": {"colsample": 1.0}}
    settings = task.training.model_copy(update={"epochs": 60} | options)
    run = train(task, dataset, folder / "run", settings, parts=parts)
    return export_run([run], dataset, folder / "scope.toy", "scope.toy"), dataset


def test_what_tells_a_class_is_what_is_lost(told: tuple[Bundle, Dataset], tmp_path: Path) -> None:
    found = importance(*told)
    loss = {
        name: dict(zip(found.classes, row, strict=True))
        for name, row in zip(found.names, found.loss, strict=True)
    }
    assert loss["log_period"]["rrab"] > 0.3
    assert abs(loss["orbit_amp"]["rrab"]) < 0.02
    assert min(loss["log_period"]["ea"], loss["orbit_amp"]["ea"]) > 0.2
    assert max(abs(value) for name in ("median", "skew") for value in loss[name].values()) < 0.05
    assert found.families == ("all statistics", "all Fourier terms", "all of the period")
    period = found.families.index("all of the period")
    assert found.family_loss[period] == pytest.approx(found.loss[NAMES.index("log_period")])
    draw_importance(found, tmp_path / "importance.png")
    assert (tmp_path / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_losses(told: tuple[Bundle, Dataset]) -> None:
    one, other = (importance(*told, repeats=1, seed=3) for _ in range(2))
    assert np.array_equal(one.loss, other.loss)
