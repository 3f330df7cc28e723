"""``astrid models`` on bundles, from end to end: what a person types, and what comes back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from astrid.cli import model_options as options
from astrid.errors import UsageError
from astrid.learn import Binary, Bundle, DatasetWriter, Input, Multiclass, Regression, Task


@pytest.fixture(scope="module")
def bundle(home, run, said):
    return said("export", "run", "--data", "data", "--name", "spots.a", "--mc-dropout", 4)


def test_an_exported_bundle_is_among_ones_own_and_calibrated(home, bundle, models, said):
    assert Path(bundle["out"]) == home / "bundles" / "spots.a"
    assert bundle["heads"]["spot"]["calibration"]["method"] == "temperature"
    assert bundle["uncertainty"]["passes"] == 4
    assert bundle["parity"] < 1e-5
    assert [entry["name"] for entry in said("list")["bundles"]] == ["spots.a"]
    assert "spots.a" in models("list").stdout
    refused = models("export", "run", "--data", "data", "--name", "spots.a")
    assert refused.exit_code == 2
    assert "there is a bundle spots.a already" in refused.stderr


def test_several_runs_become_an_ensemble(home, run, tmp_path, said):
    made = said("export", "run", "run", "--data", "data", "--name", "spots.two", "--out", tmp_path / "two")
    assert made["uncertainty"] == {"method": "ensemble", "passes": 2, "seed": 0}


def test_the_card_is_complete_for_people_and_machines(home, bundle, models, said):
    facts = said("card", "spots.a")
    assert facts["hash"] == bundle["hash"]
    assert facts["stage"] == "candidate"
    assert facts["card"]["task"]["name"] == "spots"
    text = models("card", "bundles/spots.a").stdout
    for words in (
        "Is there a spot?", "5 × 5 × 1, counts", "difference", "binary: no, yes", "600 rows, simulated",
        "temperature", "least expected cost, miss 5", "absent from at most", "Only for tests.",
    ):  # fmt: skip
        assert words in text, words


def test_a_sound_bundle_is_verified_and_a_damaged_one_is_not(home, bundle, tmp_path, models, said):
    found = said("verify", "spots.a")
    assert found["graphs"] == ["model.onnx", "spread.onnx"]
    assert found["parity"] < 1e-5
    assert "whole" in models("verify", "spots.a").stdout
    copy = shutil.copytree(home / "bundles" / "spots.a", tmp_path / "spots.a")
    with (copy / "model.onnx").open("ab") as file:
        file.write(b"\0")
    bad = models("verify", copy)
    assert bad.exit_code == 1
    assert "SHA-256 differs" in bad.stderr
    assert bad.stderr.count("\n") == 1


def test_predictions_are_one_row_an_item(home, bundle, tmp_path, said, spot_images):
    summary = said("predict", "spots.a", "--data", "data", "--out", tmp_path / "s.parquet", "--spread")
    assert (summary["n"], summary["n_set_aside"]) == (600, 0)
    rows = pq.read_table(tmp_path / "s.parquet")
    spot = spot_images(600)[1]
    assert np.mean((np.array(rows["spot"]) > 0.5) == spot) > 0.9
    assert max(rows["spot_spread"].to_pylist()) > 0
    assert json.loads(rows.schema.metadata[b"astrid"])["bundle"] == "spots.a"


def test_an_npz_file_is_classified_by_the_names_of_its_channels(home, bundle, tmp_path, said, spot_images):
    pixels = spot_images(12)[0]
    pixels[4] = np.nan
    np.savez(tmp_path / "triplets.npz", difference=pixels[..., 0], science=pixels[..., 0], id=np.arange(12))
    summary = said("predict", "spots.a", "--data", tmp_path / "triplets.npz", "--out", tmp_path / "s.parquet")
    assert (summary["n_scored"], summary["n_set_aside"]) == (11, 1)
    problems = pq.read_table(tmp_path / "s.parquet")["problem"].to_pylist()
    assert [bool(one) for one in problems] == [k == 4 for k in range(12)]


def test_an_evaluation_takes_the_test_part_of_what_was_trained_on(home, run, bundle, tmp_path, said):
    given = ("--out", tmp_path / "report", "--slice", "camera", "--night-rate", 1000, "--resamples", 20)
    found = said("evaluate", "spots.a", "--data", "data", *given)
    assert found["n"] == run["rows"]["test"]
    figures = {one["name"]: one for one in found["metrics"]}
    assert figures["AUCPR"]["on"] == "spots, test part"
    assert figures["AUCPR"]["domain"] == "in"
    assert figures["AUCPR"]["low"] <= figures["AUCPR"]["value"] <= figures["AUCPR"]["high"]
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"report.html", "report.json"}
    whole = said("evaluate", "spots.a", "--data", "data", "--out", tmp_path / "all", "--part", "all",
                 "--resamples", 10, "--flips")  # fmt: skip
    assert whole["n"] == 600
    assert "median spread over orientations" in {one["name"] for one in whole["metrics"]}
    assert "median spread over orientations" not in figures


def test_figures_are_recorded_in_the_card_when_asked(home, bundle, tmp_path, models):
    copy = shutil.copytree(home / "bundles" / "spots.a", tmp_path / "spots.a")
    text = models("evaluate", copy, "--data", "data", "--out", tmp_path / "r", "--record", "--resamples", 20)
    assert "95 % interval" in text.stdout
    card = Bundle.load(copy)
    assert card.hash in text.stdout
    assert "AUCPR" in {one.name for one in card.card.metrics}
    assert "AUCPR" in models("card", copy).stdout
    refused = models("evaluate", copy, "--data", "data", "--out", tmp_path / "r", "--record", "--int8")
    assert refused.exit_code == 2


def test_a_bundle_is_calibrated_anew_on_other_data(home, bundle, tmp_path, models, said, spot_images):
    pixels, spot = spot_images(200, seed=1)
    inputs = {"image": Input(shape=(5, 5, 1), channels=("difference",))}
    with DatasetWriter(tmp_path / "night", name="night", inputs=inputs, kind="real") as writer:
        rows = {"group": [f"g{k // 10}" for k in range(200)], "spot": np.array(["no", "yes"])[spot]}
        writer.append({"image": pixels}, rows)
    made = said(
        "calibrate", "spots.a", "--data", tmp_path / "night", "--name", "spots.night", "--method",
        "isotonic", "--alpha", "yes=0.2", "--alpha", "spot.no=0.1", "--prevalence", "0.01",
        "--out", tmp_path / "b",
    )  # fmt: skip
    assert made["heads"]["spot"]["conformal"]["alpha"] == {"no": 0.1, "yes": 0.2}
    assert "prevalence 0.01" in made["heads"]["spot"]["decision"]["rule"]
    assert made["heads"]["spot"]["calibration"]["method"] == "isotonic"
    assert "night, 200 items" in made["heads"]["spot"]["calibration"]["fitted_on"]
    refused = models("evaluate", "spots.a", "--data", tmp_path / "night", "--part", "test")
    assert refused.exit_code == 2
    assert "was not trained on" in refused.stderr


def test_an_explanation_is_drawn_and_says_what_it_is_worth(home, bundle, tmp_path, models, said, spot_images):
    spot = int(np.flatnonzero(spot_images(600)[1])[0])
    found = said("explain", "spots.a", "--data", "data", "--row", spot, "--out", tmp_path / "why.png")
    assert found["method"] == "occlusion"
    assert found["sanity"] is not None
    assert "values" not in found
    assert (tmp_path / "why.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((tmp_path / "why.json").read_text())["values"]
    result = models("explain", "spots.a", "--data", "data", "--row", 600, "--out", tmp_path / "why.png")
    assert result.exit_code == 2
    assert "give 0 to 599" in result.stderr


def test_one_bundle_of_a_system_is_live(home, bundle, said):
    said("calibrate", "spots.a", "--data", "data", "--name", "spots.b")
    assert said("stage", "spots.a", "live")["stage"] == "live"
    assert said("stage", "spots.b", "live")["stage"] == "live"
    assert {one["name"]: one["stage"] for one in said("list")["bundles"]} == {
        "spots.a": "retired", "spots.b": "live",
    }  # fmt: skip


def test_a_damaged_bundle_is_listed_with_its_reason(home, bundle, models):
    copy = home / "bundles" / "spots.broken"
    shutil.copytree(home / "bundles" / "spots.a", copy)
    try:
        result = models("list")
        assert result.exit_code == 0
        assert "damaged" in result.stdout
        assert "expected spots.broken" in " ".join(result.stdout.split())
    finally:
        shutil.rmtree(copy)


def test_a_rate_names_its_head_where_several_have_sets():
    classes = Multiclass(labels=("a", "b", "c"))
    heads = {"kind": classes, "real": Binary(labels=("no", "yes")), "z": Regression(names=("z",))}
    task = Task(name="two", inputs={"x": Input(shape=(3,))}, heads=heads, network="nowhere:Nothing")
    found = options.rates(["kind.a=0.1", "kind.c=0.2", "real.yes=0.01"], task)
    assert found == {"kind": {"a": 0.1, "c": 0.2}, "real": {"yes": 0.01}}
    with pytest.raises(UsageError, match=r"names no head; write head\.label=0\.05, with one of: kind, real$"):
        options.rates(["yes=0.1"], task)


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
    "gives no rate": (["calibrate", "spots.a", "--data", "data", "--name", "spots.x", "--alpha", "yes"], 2),
    "the labels of spot are no, yes": (
        ["calibrate", "spots.a", "--data", "data", "--name", "spots.x", "--alpha", "maybe=0.1"],
        2,
    ),
    "choose one of auto": (["evaluate", "spots.a", "--data", "data", "--part", "best"], 2),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_what_cannot_be_done_is_one_sentence(sentence, home, bundle, tmp_path, models):
    arguments, code = WRONG[sentence]
    before = sorted(path.name for path in home.iterdir())
    result = models(*(tmp_path / "out" if word == "OUT" else word for word in arguments))
    assert result.exit_code == code, result.stderr
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""
    assert sorted(path.name for path in home.iterdir()) == before
