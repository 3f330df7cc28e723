"""The verbs of ``astrid lightcurves`` about classes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.learn import Dataset, DatasetWriter, Input, Parts, export_run, train
from astrid.lightcurves.classes import taxonomy
from astrid.survey.scope_set import part_of
from astrid.zoo.scope import SCOPE


def called(*arguments: object) -> dict[str, object]:
    result = CliRunner().invoke(app, ["lightcurves", *map(str, arguments), "--json"])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a data set of 300 stars and a model of one class."""
    folder = tmp_path_factory.mktemp("round")
    rng = np.random.default_rng(0)
    yes = rng.random(300) < 0.5
    names = [f"s{k}" for k in range(300)]
    meanings = [taxonomy().meaning_of("crts", "EA" if one else "RRab") for one in yes]
    labels = {code: [one.get(code, np.nan) for one in meanings] for code in taxonomy().classes}
    parts = np.array([part_of(name) for name in names])
    with DatasetWriter(
        folder / "data", name="toy", inputs={"features": Input(shape=(2,))}, kind="simulated", group="star"
    ) as writer:
        features = rng.normal(0, 1, (300, 2)) + 2 * yes[:, None]
        rows = {"id": names, "star": names, "part": parts.tolist(), "labelled_by": [""] * 300, **labels}
        writer.append({"features": features.astype(np.float32)}, rows)
    task = SCOPE.model_copy(
        update={"inputs": {"features": Input(shape=(2,))}, "heads": {"ea": SCOPE.heads["ea"]}}
    )
    data = Dataset.open(folder / "data")
    settings = task.training.model_copy(update={"epochs": 10})
    run = train(
        task,
        data,
        folder / "run",
        settings,
        parts=Parts(*(np.flatnonzero(parts == one) for one in ("train", "validation", "test"))),
    )
    export_run([run], data, folder / "model", "scope.toy")
    return folder


def test_the_trees_are_shown_with_the_sources_of_a_data_set(place: Path) -> None:
    listed = called("classes", "--data", place / "data")["classes"]
    assert [one["code"] for one in listed] == list(taxonomy().classes)
    count = {one["code"]: one["sources"] for one in listed}
    assert count["ea"] + count["rrab"] == count["vnv"] == 300
    shown = CliRunner().invoke(app, ["lightcurves", "classes"]).stdout
    assert "RR Lyrae Blazhko" in shown
    assert "nnser" in shown


def test_a_round_goes_from_questions_to_answers_to_changes(place: Path, tmp_path: Path) -> None:
    model, data = place / "model", place / "data"
    asked = called("questions", model, "--data", data, "--out", tmp_path / "q.csv", "--sources", 10)
    lines = (tmp_path / "q.csv").read_text().splitlines()
    assert asked["sources"] == 10
    assert asked["questions"] == len(lines) - 1
    name, code, *rest = lines[1].split(",")
    answer = ",".join([name, code, "0.25", "ada", "2026-05-31T12:00", *rest[3:]])
    (tmp_path / "a.csv").write_text(f"{lines[0]}\n{answer}\n")
    summary = called("answers", tmp_path / "a.csv", "--data", data, "--out", tmp_path / "data1")
    assert summary["n_labelled"] == 1
    row = Dataset.open(tmp_path / "data1").column("id").tolist().index(name)
    assert Dataset.open(tmp_path / "data1").column(code)[row] == 0.25
    found = called("changes", model, model, "--data", tmp_path / "data1", "--resamples", 20)["classes"]
    assert [(one["code"], one["gain"]) for one in found] == [("ea", 0.0)]


def test_a_wrong_answer_is_one_line(place: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,class,value,who,when\ns1,ea,maybe,ada,2026-05-31\n")
    result = CliRunner().invoke(
        app,
        ["lightcurves", "answers", str(tmp_path / "a.csv"), "--data", str(place / "data"), "--out", "x"],
    )
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "row 1 has the value 'maybe'" in result.stderr
