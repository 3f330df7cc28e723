"""``astrid models`` from end to end: what a person types, and what comes back."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.learn import Bundle, DatasetWriter, Input, registry

SYSTEM = """
import torch
from torch import nn
from astrid.learn import Binary, Cost, Input, Optimizer, Task, Training


class SpotNet(nn.Module):
    head_names = ("last",)
    gradcam_layer = None

    def __init__(self, inputs, outputs):
        super().__init__()
        self.first, self.dropout = nn.Linear(25, 8), nn.Dropout(0.2)
        self.last = nn.Linear(8, outputs["spot"])

    def embed(self, image):
        return torch.relu(self.first(image.flatten(1)))

    def forward(self, image):
        return {"spot": self.last(self.dropout(self.embed(image)))}


SPOTS = Task(
    name="spots",
    title="Is there a spot?",
    inputs={"image": Input(shape=(5, 5, 1), unit="counts", channels=("difference",))},
    heads={"spot": Binary(labels=("no", "yes"), cost=Cost(miss=5))},
    network="spots:SpotNet",
    training=Training(epochs=6, batch_size=64, optimizer=Optimizer(lr=1e-2), trackers=()),
    group="night",
    limits="Only for tests.",
)
"""


def astrid(*arguments: object):
    """Run a command; an exception that is not an exit is a failure of the test."""
    result = CliRunner().invoke(app, ["models", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(*arguments: object) -> dict:
    """The JSON object of a command that went well."""
    result = astrid(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


def images(n: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    spot = rng.integers(0, 2, n)
    pixels = rng.normal(0, 1, (n, 5, 5, 1)).astype(np.float32)
    pixels[:, 2, 2, 0] += 4 * spot
    return pixels, spot


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A directory with a system and a data set, in which commands are given."""
    pytest.importorskip("lightning")
    folder = tmp_path_factory.mktemp("home")
    (folder / "spots.py").write_text(SYSTEM)
    pixels, spot = images(600)
    inputs = {"image": Input(shape=(5, 5, 1), channels=("difference",))}
    with DatasetWriter(
        folder / "data", name="spots", inputs=inputs, kind="simulated", group="night"
    ) as writer:
        rows = {
            "id": [f"s{k}" for k in range(600)],
            "night": [f"n{k // 20}" for k in range(600)],
            "spot": np.array(["no", "yes"])[spot],
            "camera": [("red", "blue")[k // 20 % 2] for k in range(600)],
        }
        writer.append({"image": pixels}, rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ASTRID_BUNDLES", str(folder / "bundles"))
        patch.setattr(registry, "_shipped_directory", lambda: folder / "shipped")
        patch.setattr(sys, "path", [*sys.path])
        yield folder
    sys.modules.pop("spots", None)


@pytest.fixture(scope="module")
def run(home):
    return said("train", "spots.py:SPOTS", "--data", "data", "--out", "run", "--seed", 3)


@pytest.fixture(scope="module")
def bundle(home, run):
    return said("export", "run", "--data", "data", "--name", "spots.a", "--mc-dropout", 4)


def test_a_training_ends_in_a_run_with_its_settings(home, run):
    assert (run["state"], run["epochs"], run["seed"], run["task"]) == ("done", 6, 3, "spots")
    assert sum(run["rows"].values()) == 600
    assert {"run.json", "config.yaml", "split.json", "metrics.jsonl", "best.safetensors"} <= {
        path.name for path in (home / "run").iterdir()
    }


def test_settings_come_from_a_file_and_then_from_the_command_line(home, tmp_path):
    (tmp_path / "recipe.yaml").write_text("epochs: 9\nbatch_size: 100\n")
    given = ("--config", tmp_path / "recipe.yaml", "--set", "epochs=1", "--set", "optimizer.lr=3e-4")
    astrid("train", "spots.py:SPOTS", "--data", "data", "--out", tmp_path / "run", *given)
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "epochs: 1\n" in config
    assert "batch_size: 100" in config
    assert "lr: 0.0003" in config
    assert "trackers: []" in config


def test_people_see_epochs_on_stderr_and_what_to_do_next(home, tmp_path):
    result = astrid(
        "train", "spots.py:SPOTS", "--data", "data", "--out", tmp_path / "run", "--set", "epochs=2"
    )
    assert result.stderr.count("epoch ") == 2
    assert "next: astrid models export" in result.stdout


def test_a_run_in_the_way_is_refused_and_resumed_when_asked(home, run):
    again = ("train", "spots.py:SPOTS", "--data", "data", "--out", "run", "--seed", 3)
    refused = astrid(*again)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert said(*again, "--resume")["epochs"] == run["epochs"]
    other = astrid(*again[:-1], 4, "--resume")
    assert other.exit_code == 1
    assert "seed" in other.stderr


def test_a_training_that_begins_from_a_bundle_names_it_as_parent(home, bundle, tmp_path):
    said(
        "train", "spots.py:SPOTS", "--data", "data", "--out", tmp_path / "run", "--parent", "spots.a",
        "--freeze", "first", "--set", "epochs=1",
    )  # fmt: skip
    made = said(
        "export", tmp_path / "run", "--data", "data", "--name", "spots.child", "--out", tmp_path / "b"
    )
    child, parent = Bundle.load(made["out"]), Bundle.load(home / "bundles" / "spots.a")
    assert child.card.parent == f"spots.a {parent.hash}"
    np.testing.assert_array_equal(child.weights["first.weight"], parent.weights["first.weight"])
    assert not np.array_equal(child.weights["last.weight"], parent.weights["last.weight"])


def test_an_exported_bundle_is_among_ones_own_and_calibrated(home, bundle):
    assert Path(bundle["out"]) == home / "bundles" / "spots.a"
    assert bundle["heads"]["spot"]["calibration"]["method"] == "temperature"
    assert bundle["uncertainty"]["passes"] == 4
    assert bundle["parity"] < 1e-5
    assert [entry["name"] for entry in said("list")["bundles"]] == ["spots.a"]
    assert "spots.a" in astrid("list").stdout
    refused = astrid("export", "run", "--data", "data", "--name", "spots.a")
    assert refused.exit_code == 2
    assert "there is a bundle spots.a already" in refused.stderr


def test_several_runs_become_an_ensemble(home, run, tmp_path):
    made = said("export", "run", "run", "--data", "data", "--name", "spots.two", "--out", tmp_path / "two")
    assert made["uncertainty"] == {"method": "ensemble", "passes": 2, "seed": 0}


def test_the_card_is_complete_for_people_and_machines(home, bundle):
    facts = said("card", "spots.a")
    assert facts["hash"] == bundle["hash"]
    assert facts["stage"] == "candidate"
    assert facts["card"]["task"]["name"] == "spots"
    text = astrid("card", "bundles/spots.a").stdout
    for words in (
        "Is there a spot?", "5 × 5 × 1, counts", "difference", "binary: no, yes", "600 rows, simulated",
        "temperature", "least expected cost, miss 5", "absent from at most", "Only for tests.",
    ):  # fmt: skip
        assert words in text, words


def test_a_sound_bundle_is_verified_and_a_damaged_one_is_not(home, bundle, tmp_path):
    found = said("verify", "spots.a")
    assert found["graphs"] == ["model.onnx", "spread.onnx"]
    assert found["parity"] < 1e-5
    assert "whole" in astrid("verify", "spots.a").stdout
    copy = shutil.copytree(home / "bundles" / "spots.a", tmp_path / "spots.a")
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"\0")
    bad = astrid("verify", copy)
    assert bad.exit_code == 1
    assert "SHA-256 differs" in bad.stderr
    assert bad.stderr.count("\n") == 1


def test_predictions_are_one_row_an_item(home, bundle, tmp_path):
    summary = said("predict", "spots.a", "--data", "data", "--out", tmp_path / "s.parquet", "--spread")
    assert (summary["n"], summary["n_set_aside"]) == (600, 0)
    rows = pq.read_table(tmp_path / "s.parquet")
    spot = images(600)[1]
    assert np.mean((np.array(rows["spot"]) > 0.5) == spot) > 0.9
    assert max(rows["spot_spread"].to_pylist()) > 0
    assert json.loads(rows.schema.metadata[b"astrid"])["bundle"] == "spots.a"


def test_an_npz_file_is_classified_by_the_names_of_its_channels(home, bundle, tmp_path):
    pixels = images(12)[0]
    pixels[4] = np.nan
    np.savez(tmp_path / "triplets.npz", difference=pixels[..., 0], science=pixels[..., 0], id=np.arange(12))
    summary = said("predict", "spots.a", "--data", tmp_path / "triplets.npz", "--out", tmp_path / "s.parquet")
    assert (summary["n_scored"], summary["n_set_aside"]) == (11, 1)
    problems = pq.read_table(tmp_path / "s.parquet")["problem"].to_pylist()
    assert [bool(one) for one in problems] == [k == 4 for k in range(12)]


def test_an_evaluation_takes_the_test_part_of_what_was_trained_on(home, run, bundle, tmp_path):
    given = ("--out", tmp_path / "report", "--slice", "camera", "--night-rate", 1000, "--resamples", 20)
    found = said("evaluate", "spots.a", "--data", "data", *given)
    assert found["n"] == run["rows"]["test"]
    figures = {one["name"]: one for one in found["metrics"]}
    assert figures["AUCPR"]["on"] == "spots, test part"
    assert figures["AUCPR"]["domain"] == "in"
    assert figures["AUCPR"]["low"] <= figures["AUCPR"]["value"] <= figures["AUCPR"]["high"]
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.html", "report.json"}
    whole = said("evaluate", "spots.a", "--data", "data", "--out", tmp_path / "all", "--part", "all",
                 "--resamples", 10)  # fmt: skip
    assert whole["n"] == 600


def test_figures_are_recorded_in_the_card_when_asked(home, bundle, tmp_path):
    copy = shutil.copytree(home / "bundles" / "spots.a", tmp_path / "spots.a")
    text = astrid("evaluate", copy, "--data", "data", "--out", tmp_path / "r", "--record", "--resamples", 20)
    assert "95 % interval" in text.stdout
    card = Bundle.load(copy)
    assert card.hash in text.stdout
    assert "AUCPR" in {one.name for one in card.card.metrics}
    assert "AUCPR" in astrid("card", copy).stdout
    refused = astrid("evaluate", copy, "--data", "data", "--out", tmp_path / "r", "--record", "--int8")
    assert refused.exit_code == 2


def test_a_bundle_is_calibrated_anew_on_other_data(home, bundle, tmp_path):
    pixels, spot = images(200, seed=1)
    inputs = {"image": Input(shape=(5, 5, 1), channels=("difference",))}
    with DatasetWriter(tmp_path / "night", name="night", inputs=inputs, kind="real") as writer:
        rows = {"group": [f"g{k // 10}" for k in range(200)], "spot": np.array(["no", "yes"])[spot]}
        writer.append({"image": pixels}, rows)
    made = said(
        "calibrate", "spots.a", "--data", tmp_path / "night", "--name", "spots.night", "--method",
        "isotonic", "--out", tmp_path / "b",
    )  # fmt: skip
    assert made["heads"]["spot"]["calibration"]["method"] == "isotonic"
    assert "night, 200 items" in made["heads"]["spot"]["calibration"]["fitted_on"]
    refused = astrid("evaluate", "spots.a", "--data", tmp_path / "night", "--part", "test")
    assert refused.exit_code == 2
    assert "was not trained on" in refused.stderr


def test_an_explanation_is_drawn_and_says_what_it_is_worth(home, bundle, tmp_path):
    spot = int(np.flatnonzero(images(600)[1])[0])
    found = said("explain", "spots.a", "--data", "data", "--row", spot, "--out", tmp_path / "why.png")
    assert found["method"] == "occlusion"
    assert found["sanity"] is not None
    assert "values" not in found
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "why.json").read_text())["values"]
    result = astrid("explain", "spots.a", "--data", "data", "--row", 600, "--out", tmp_path / "why.png")
    assert result.exit_code == 2
    assert "give 0 to 599" in result.stderr


def test_a_search_goes_on_where_it_was_and_ends_in_a_recipe(home, tmp_path):
    (tmp_path / "space.yaml").write_text("optimizer.lr: {low: 1e-3, high: 1e-1, log: true}\n")
    given = ("spots.py:SPOTS", "--data", "data", "--out", tmp_path / "t", "--space", tmp_path / "space.yaml",
             "--set", "epochs=1")  # fmt: skip
    assert len(said("tune", *given, "--trials", 1)["trials"]) == 1
    found = said("tune", *given, "--trials", 2)
    assert [one["number"] for one in found["trials"]] == [0, 1]
    assert list(found["trials"][1]["values"]) == ["optimizer.lr"]
    said(
        "train",
        "spots.py:SPOTS",
        "--data",
        "data",
        "--out",
        tmp_path / "r",
        "--config",
        tmp_path / "t/best.yaml",
    )


def test_what_is_left_out_of_a_training_is_looked_for(home, tmp_path):
    given = ("--column", "night", "--value", "n3", "--out", tmp_path / "r", "--set", "epochs=1")
    found = said("retrospective", "spots.py:SPOTS", "--data", "data", *given)
    assert found["n_left_out"] == 20
    assert "distance to the nearest known" in {queue["score"] for queue in found["queues"]}
    assert (tmp_path / "r" / "retrospective.png").exists()
    refused = astrid("retrospective", "spots.py:SPOTS", "--data", "data", *given[:3], "n99")
    assert refused.exit_code == 1
    assert "no night is 'n99'" in refused.stderr


def test_one_bundle_of_a_system_is_live(home, bundle):
    said("calibrate", "spots.a", "--data", "data", "--name", "spots.b")
    assert said("stage", "spots.a", "live")["stage"] == "live"
    assert said("stage", "spots.b", "live")["stage"] == "live"
    assert {one["name"]: one["stage"] for one in said("list")["bundles"]} == {
        "spots.a": "retired", "spots.b": "live",
    }  # fmt: skip


def test_a_damaged_bundle_is_listed_with_its_reason(home, bundle):
    copy = home / "bundles" / "spots.broken"
    shutil.copytree(home / "bundles" / "spots.a", copy)
    try:
        result = astrid("list")
        assert result.exit_code == 0
        assert "damaged" in result.stdout
        assert "expected spots.broken" in " ".join(result.stdout.split())
    finally:
        shutil.rmtree(copy)


@pytest.mark.real_data
def test_published_keras_weights_become_a_bundle(home, real_data, tmp_path):
    file = real_data / "images" / "braai" / "d6_m7.weights.h5"
    made = said(
        "import", "keras", file, "--task", "braai", "--set", "normalization=row_l2", "--name", "braai.d6_m7",
        "--origin", "Duev et al. 2019", "--licence", "MIT", "--out", tmp_path / "b",
    )  # fmt: skip
    card = Bundle.load(tmp_path / "b").card
    assert made["name"] == card.name == "braai.d6_m7"
    assert card.origin.startswith("Duev et al. 2019")
    assert card.licence == "MIT"


WRONG = {
    "there is no bundle": (["card", "spots.none"], 2),
    "there is no system": (["train", "nothing", "--data", "data"], 2),
    "is no data set": (["train", "spots.py:SPOTS", "--data", "bundles"], 1),
    "there is no setting": (
        ["train", "spots.py:SPOTS", "--data", "data", "--set", "magic=1", "--out", "no"],
        2,
    ),
    "sets nothing": (["train", "spots.py:SPOTS", "--data", "data", "--set", "epochs", "--out", "no"], 2),
    "no layer of": (["train", "spots.py:SPOTS", "--data", "data", "--freeze", "zzz", "--out", "OUT"], 2),
    "is no training": (["export", "nowhere", "--data", "data", "--name", "spots.x"], 1),
    "does not fit task": (["export", "run", "--data", "data", "--name", "braai.x"], 2),
    "candidate, live, retired": (["stage", "spots.a", "famous"], 2),
    "there is no such file": (["predict", "spots.a", "--data", "nothing.npz"], 1),
    "has no quantised model": (["predict", "spots.a", "--data", "data", "--int8"], 1),
    "there is no method": (["explain", "spots.a", "--data", "data", "--row", "0", "--method", "tarot"], 2),
    "there is no column": (["evaluate", "spots.a", "--data", "data", "--slice", "moon"], 1),
    "choose one of auto": (["evaluate", "spots.a", "--data", "data", "--part", "best"], 2),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_cannot_be_done_is_one_sentence(sentence, home, bundle, tmp_path):
    arguments, code = WRONG[sentence]
    before = sorted(path.name for path in home.iterdir())
    result = astrid(*(tmp_path / "out" if word == "OUT" else word for word in arguments))
    assert result.exit_code == code, result.stderr
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(path.name for path in home.iterdir()) == before


def test_one_class_only_is_refused_before_a_training(home, tmp_path):
    inputs = {"image": Input(shape=(5, 5, 1), channels=("difference",))}
    with DatasetWriter(tmp_path / "one", name="one", inputs=inputs, kind="real", group="night") as writer:
        writer.append({"image": images(4)[0]}, {"night": list("abcd"), "spot": ["yes"] * 4})
    result = astrid("train", "spots.py:SPOTS", "--data", tmp_path / "one", "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "no row of spot is 'no'" in result.stderr
    assert not (tmp_path / "run").exists()
