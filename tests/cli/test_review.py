"""``astrid review`` from end to end, on real alerts: a queue is made, answers come and go as files."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.review.assignment import take
from astrid.review.labelling import answer
from astrid.store import open_store

pytestmark = pytest.mark.real_data


def astrid(*arguments: object) -> Any:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("review") / "store"
    packets = real_data / "alerts" / "fink_ztf_alerts_51.parquet"
    done = astrid("alerts", "ingest", "--store", folder, "--batch", 32, "--json", packets)
    assert done.exit_code == 0, done.stderr
    return folder


@pytest.fixture
def review(place: Path) -> Iterator[Any]:
    def run(verb: str, *arguments: object) -> dict[str, Any]:
        result = astrid("review", verb, *arguments, "--store", place, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    yield SimpleNamespace(run=run, store=place, text=lambda *said: astrid("review", *said, "--store", place))
    with open_store(place) as store:
        store.labels.save_queue("braai", [])


def test_a_queue_is_made_of_what_a_condition_lets_through(review: Any) -> None:
    made = review.run("queue", "-n", 10, "--sql", "magpsf < 20", "--frozen", 0.2, "--blind", 0.5)
    assert (made["n"], made["n_blind"]) == (10, 5)
    assert made["n_frozen"] >= 2
    assert made["bundle"] == "braai.sim1"
    status = review.run("status")
    assert status["n_waiting"] == 10
    assert "waiting" in review.text("status").stdout
    wrong = review.text("queue", "--sql", "magpsff < 20")
    assert wrong.exit_code == 1
    assert "magpsf" in wrong.stderr
    assert review.text("queue", "--shares", "uncertain=0.5").exit_code == 2
    assert "there is no share 'luck'" in review.text("queue", "--shares", "luck=1").stderr


def test_what_a_model_sees_in_the_images_tells_items_apart(review: Any) -> None:
    pytest.importorskip("torch")
    made = review.run("queue", "-n", 12, "--features", "embeddings", "--shares", "uncertain=0.5,random=0.5")
    assert made["features"] == "embeddings"
    assert made["n"] >= 12
    assert made["bundle"] == "braai.sim1"


def test_answers_are_exported_imported_compared_and_suspected(review: Any, tmp_path: Path) -> None:
    review.run("queue", "-n", 20, "--blind", 1.0, "--frozen", 0)
    with open_store(review.store) as store:
        for user, label in (("ada", "real"), ("bob", "bogus")):
            for item in take(store, "braai", user, n=8):
                key = f"key-{user}-{item.alert_id}"
                answer(store, "braai", user, item, key=key, label=label, seconds=2)
    out = tmp_path / "answers.csv"
    assert review.run("export", out)["n"] == 16
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["bundle"] for row in rows} == {"braai.sim1"}
    assert review.run("import", out) == {
        "n": 16, "n_new": 0, "n_known": 16, "n_rejected": 0, "reasons": {}, "rejects": None,
    }  # fmt: skip
    found = review.run("agreement")
    assert (found["n_shared"], found["n_divided"]) == (8, 8)
    assert found["pairs"][0]["agreed"] == 0
    assert "kappa" in review.text("agreement").stdout
    third = tmp_path / "third.csv"
    lines = ["candid,verdict", *(f"{row['alert_id']},0" for row in rows[:8]), "1,0"]
    third.write_text("\n".join(lines) + "\n")
    options = ("--survey", "ztf", "--user", "cyd", "--column", "alert_id=candid", "--column", "label=verdict")
    done = review.run("import", third, *options, "--value", "0=bogus")
    assert (done["n_new"], done["n_rejected"]) == (8, 1)
    assert review.text("import", third, "--column", "candid").exit_code == 2
    suspects = review.run("suspects")
    assert all(one["label"] == "bogus" and one["probability"] < 0.5 for one in suspects["suspects"])
    assert review.text("suspects").exit_code == 0
    status = review.run("status")
    assert status["n_answers"] == 24
    assert {one["name"] for one in status["people"]} == {"ada", "bob", "cyd"}
