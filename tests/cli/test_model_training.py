"""Trainings, searches and imports from end to end: what a person types, and what comes back."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.learn import Bundle, DatasetWriter, Input


def test_a_training_ends_in_a_run_with_its_settings(home, run):
    assert (run["state"], run["epochs"], run["seed"], run["task"]) == ("done", 6, 3, "spots")
    assert sum(run["rows"].values()) == 600
    assert {"run.json", "config.yaml", "split.json", "metrics.jsonl", "best.safetensors"} <= {
        path.name for path in (home / "run").iterdir()
    }


def test_settings_come_from_a_file_and_then_from_the_command_line(home, tmp_path, models):
    (tmp_path / "recipe.yaml").write_text("epochs: 9\nbatch_size: 100\n")
    given = ("--config", tmp_path / "recipe.yaml", "--set", "epochs=1", "--set", "optimizer.lr=3e-4")
    models("train", "spots.py:SPOTS", "--data", "data", "--out", tmp_path / "run", *given)
    config = (tmp_path / "run" / "config.yaml").read_text()
    assert "epochs: 1\n" in config
    assert "batch_size: 100" in config
    assert "lr: 0.0003" in config
    assert "trackers: []" in config


def test_people_see_epochs_on_stderr_and_what_to_do_next(home, tmp_path, models):
    result = models(
        "train", "spots.py:SPOTS", "--data", "data", "--out", tmp_path / "run", "--set", "epochs=2"
    )
    assert result.stderr.count("epoch ") == 2
    assert "next: astrid models export" in result.stdout


def test_a_run_in_the_way_is_refused_and_resumed_when_asked(home, run, models, said):
    again = ("train", "spots.py:SPOTS", "--data", "data", "--out", "run", "--seed", 3)
    refused = models(*again)
    assert refused.exit_code == 2
    assert "--resume" in refused.stderr
    assert said(*again, "--resume")["epochs"] == run["epochs"]
    other = models(*again[:-1], 4, "--resume")
    assert other.exit_code == 1
    assert "seed" in other.stderr


def test_a_training_that_begins_from_a_bundle_names_it_as_parent(home, run, tmp_path, said):
    said("export", "run", "--data", "data", "--name", "spots.a", "--mc-dropout", 0)
    said(
        "train", "spots.py:SPOTS", "--data", "data", "--out", tmp_path / "run", "--parent", "spots.a",
        "--freeze", "first", "--set", "epochs=1",
    )  # fmt: skip
    made = said(
        "export", tmp_path / "run", "--data", "data", "--name", "spots.child", "--out", tmp_path / "b",
        "--mc-dropout", 0,
    )  # fmt: skip
    child, parent = Bundle.load(made["out"]), Bundle.load(home / "bundles" / "spots.a")
    assert child.card.parent == f"spots.a {parent.hash}"
    np.testing.assert_array_equal(child.weights["first.weight"], parent.weights["first.weight"])
    assert not np.array_equal(child.weights["last.weight"], parent.weights["last.weight"])


def test_a_search_goes_on_where_it_was_and_ends_in_a_recipe(home, tmp_path, said):
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


def test_what_is_left_out_of_a_training_is_looked_for(home, tmp_path, models, said):
    given = ("--column", "night", "--value", "n3", "--out", tmp_path / "r", "--set", "epochs=1")
    found = said("retrospective", "spots.py:SPOTS", "--data", "data", *given)
    assert found["n_left_out"] == 20
    assert "distance to the nearest known" in {queue["score"] for queue in found["queues"]}
    assert (tmp_path / "r" / "retrospective.png").exists()
    refused = models("retrospective", "spots.py:SPOTS", "--data", "data", *given[:3], "n99")
    assert refused.exit_code == 1
    assert "no night is 'n99'" in refused.stderr


@pytest.mark.real_data
def test_published_keras_weights_become_a_bundle(home, real_data, tmp_path, said):
    file = real_data / "images" / "braai" / "d6_m7.weights.h5"
    made = said(
        "import", "keras", file, "--task", "braai", "--set", "normalization=row_l2", "--name", "braai.d6_m7",
        "--origin", "Duev et al. 2019", "--licence", "MIT", "--out", tmp_path / "b",
    )  # fmt: skip
    card = Bundle.load(tmp_path / "b").card
    assert made["name"] == card.name == "braai.d6_m7"
    assert card.origin.startswith("Duev et al. 2019")
    assert card.licence == "MIT"


def test_one_class_only_is_refused_before_a_training(home, tmp_path, models, spot_images):
    inputs = {"image": Input(shape=(5, 5, 1), channels=("difference",))}
    with DatasetWriter(tmp_path / "one", name="one", inputs=inputs, kind="real", group="night") as writer:
        writer.append({"image": spot_images(4)[0]}, {"night": list("abcd"), "spot": ["yes"] * 4})
    result = models("train", "spots.py:SPOTS", "--data", tmp_path / "one", "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert "no row of spot is 'no'" in result.stderr
    assert not (tmp_path / "run").exists()
