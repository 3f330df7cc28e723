"""Candidates are scored by a bundle, sorted by it, and every product says which bundle it was."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from astropy.table import Table
from onnx import TensorProto, helper, numpy_helper

from astrid.errors import BundleError, DataError, UsageError
from astrid.images import read_packets
from astrid.learn import registry
from astrid.learn.bundle import Bundle, Card, Conformal, Decision, HeadCard, Range, Uncertainty, save_bundle
from astrid.learn.task import Binary, Input, Regression, Task
from astrid.survey import FrameFile, Pair, difference_files, difference_pairs
from astrid.survey.explanations import explain_candidate
from astrid.survey.scoring import SCORE_COLUMNS, choose_model, score_candidates, scored

TRIPLET = Input(shape=(63, 63, 3), channels=("science", "reference", "difference"))
TASK = Task(
    name="braai",
    inputs={"triplet": TRIPLET},
    heads={"real": Binary(labels=("bogus", "real"))},
    network="nowhere:Nothing",
)


def graph(members: tuple[float, ...], size: int = 63, head: str = "real") -> bytes:
    """A model whose logit is the difference's central pixel over 1000, plus each member's bias."""
    start, end, axes = np.array([31, 31, 2]), np.array([32, 32, 3]), np.array([1, 2, 3])
    constants = {
        "start": start, "end": end, "axes": axes, "scale": np.array(0.001, np.float32),
        "shape": np.array([1, -1, 1]), "bias": np.array(members, np.float32).reshape(-1, 1, 1),
    }  # fmt: skip
    nodes = [
        helper.make_node("Slice", ["triplet", "start", "end", "axes"], ["pixel"]),
        helper.make_node("Reshape", ["pixel", "shape"], ["column"]),
        helper.make_node("Mul", ["column", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "bias"], [head]),
    ]
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "toy",
            [helper.make_tensor_value_info("triplet", TensorProto.FLOAT, ["n", size, size, 3])],
            [helper.make_tensor_value_info(head, TensorProto.FLOAT, [len(members), "n", 1])],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def make(directory: Path, name: str = "braai.toy", task: Task = TASK, **facts) -> Bundle:
    size = task.inputs["triplet"].shape[0]
    card = Card(name=name, task=task, created="2026-01-01", **facts)
    members = (-0.5, 0.5) if card.uncertainty.method == "ensemble" else (0.0,)
    files = {"model.onnx": graph(members, size, next(iter(task.heads)))}
    if card.uncertainty.method == "mc_dropout":
        files["spread.onnx"] = graph((-1.0, 1.0))
    return save_bundle(directory / name, card, files, {"w": np.ones(1, np.float32)})


@pytest.fixture(scope="module")
def toy(tmp_path_factory) -> Bundle:
    head = HeadCard(
        decision=Decision(threshold=0.7, rule="for the test"),
        conformal=Conformal(
            alpha={"bogus": 0.1, "real": 0.1}, quantile={"bogus": 0.6, "real": 0.6}, n={"bogus": 9, "real": 9}
        ),
    )
    return make(
        tmp_path_factory.mktemp("bundles"),
        heads={"real": head},
        uncertainty=Uncertainty(method="ensemble", passes=2),
        ranges=(Range(input="triplet", channel="difference", statistic="max", low=-1e9, high=1e9),),
    )


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """No bundle but those that are put here."""
    directory = tmp_path / "bundles"
    directory.mkdir()
    empty = tmp_path / "nothing"
    monkeypatch.setattr(registry, "_shipped_directory", lambda: empty)
    monkeypatch.setenv("ASTRID_BUNDLES", str(directory))
    return directory


@pytest.fixture(scope="module")
def scored_run(files, toy, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "run"
    summary, result = difference_files(files.science, files.reference, out, model=toy, avro=True)
    return out, summary, result


def test_scores_are_those_of_the_model_computed_by_hand(run, toy):
    columns = score_candidates(run.result.triplets, toy)
    logit = run.result.triplets["difference"][:, 31, 31].astype(float) / 1000
    members = 1 / (1 + np.exp(-(logit + np.array([[-0.5], [0.5]]))))
    assert list(columns) == list(SCORE_COLUMNS)
    np.testing.assert_allclose(columns["real"], members.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(columns["real_spread"], members.std(axis=0), atol=1e-6)
    expected = np.where(members.mean(axis=0) >= 0.7, "real", "bogus")
    assert columns["real_decision"].tolist() == expected.tolist()


def test_passes_with_dropout_are_spared_for_what_is_surely_bogus(run, tmp_path):
    bundle = make(tmp_path, uncertainty=Uncertainty(method="mc_dropout", passes=2))
    triplets = {name: np.zeros((40, 63, 63), np.float32) for name in ("science", "reference", "difference")}
    logit = np.linspace(-8, 8, 40)
    triplets["difference"][:, 31, 31] = 1000 * logit
    columns = score_candidates(triplets, bundle)
    np.testing.assert_array_equal(columns["real_spread"].mask, columns["real"] < 0.01)
    passes = 1 / (1 + np.exp(-(logit + np.array([[-1.0], [1.0]]))))
    kept = ~columns["real_spread"].mask
    np.testing.assert_allclose(columns["real_spread"][kept], passes.std(axis=0)[kept], atol=1e-5)
    assert 0 < kept.sum() < 40


def test_candidates_keep_their_ids_and_cutouts_and_stand_by_probability(run, toy):
    found = scored(run.result, toy)
    real = np.asarray(found.candidates["real"])
    assert (np.diff(real) <= 0).all()
    before = {one["id"]: one for one in run.result.candidates}
    assert sorted(found.candidates["id"]) == sorted(before)
    np.testing.assert_array_equal(found.triplets["id"], found.candidates["id"])
    for row, one in enumerate(found.candidates):
        assert one["x"] == before[one["id"]]["x"]
        at = list(run.result.candidates["id"]).index(one["id"])
        np.testing.assert_array_equal(found.triplets["science"][row], run.result.triplets["science"][at])
    assert list(run.result.candidates.colnames) == [
        name for name in found.candidates.colnames if name not in SCORE_COLUMNS
    ]


def test_a_cutout_with_nan_is_unscored_says_why_and_stands_last(run, toy):
    triplets = {name: values.copy() for name, values in run.result.triplets.items()}
    triplets["science"][0, 3, 3] = np.nan
    found = scored(replace(run.result, triplets=triplets), toy)
    last = found.candidates[-1]
    assert last["id"] == run.result.candidates["id"][0]
    assert np.ma.is_masked(last["real"])
    assert last["real_decision"] == ""
    assert "not finite" in last["applicable"]
    assert not np.ma.getmaskarray(found.candidates["real"])[:-1].any()


def test_a_run_without_candidates_has_the_columns_all_the_same(run, toy):
    nothing = replace(
        run.result,
        candidates=run.result.candidates[:0],
        triplets={name: values[:0] for name, values in run.result.triplets.items()},
    )
    found = scored(nothing, toy)
    assert set(SCORE_COLUMNS) <= set(found.candidates.colnames)
    assert len(found.candidates) == 0


def test_every_product_has_the_scores_and_the_name_of_the_model(scored_run, toy):
    out, summary, result = scored_run
    assert (summary.model, summary.model_hash) == ("braai.toy", toy.hash)
    assert summary.n_real == sum(result.candidates["real_decision"] == "real")
    rows = pq.read_table(out / "candidates.parquet")
    text = Table.read(out / "candidates.ecsv")
    for table in (rows.column_names, text.colnames):
        assert table == result.candidates.colnames
    np.testing.assert_allclose(rows["real"].to_pylist(), result.candidates["real"], atol=1e-7)
    np.testing.assert_allclose(text["real"], result.candidates["real"], atol=1e-7)
    document = json.loads((out / "run.json").read_text())
    assert (document["model"], document["model_hash"]) == ("braai.toy", toy.hash)
    assert document["provenance"]["configuration"]["model"] == f"braai.toy {toy.hash}"
    assert "score" in document["stage_seconds"]
    packets, _ = read_packets(out / "alerts.avro")
    for name in SCORE_COLUMNS:
        assert packets[name].tolist() == result.candidates[name].tolist()
    assert set(packets["model"]) == {"braai.toy"}
    assert set(packets["model_hash"]) == {toy.hash}


def test_the_report_shows_probability_spread_decision_set_and_doubt(scored_run):
    out, summary, result = scored_run
    page = (out / "report.html").read_text()
    first = result.candidates[0]
    assert f"<b>{first['real']:.2f}</b> ± {first['real_spread']:.2f} real · decided" in page
    assert "By <strong>braai.toy</strong>" in page
    assert f"<strong>{summary.n_real}</strong> of {len(result.candidates)} candidates" in page
    places = [page.index(f'id="c{one}"') for one in result.candidates["id"]]
    assert places == sorted(places)
    assert '<option value="default">probability</option>' in page


def test_a_candidate_unlike_the_training_data_says_so_on_its_card(files, tmp_path):
    narrow = (Range(input="triplet", channel="difference", statistic="max", low=0, high=1),)
    bundle = make(tmp_path, ranges=narrow)
    _, result = difference_files(files.science, files.reference, tmp_path / "run", model=bundle)
    assert all("max of triplet difference is" in reason for reason in result.candidates["applicable"])
    assert "max of triplet difference is" in (tmp_path / "run" / "report.html").read_text()


def test_without_a_live_bundle_the_run_is_unscored_with_one_warning(files, mine, tmp_path):
    summary, result = difference_files(files.science, files.reference, tmp_path / "run")
    assert [one for one in summary.warnings if "scored" in one] == [
        "candidates are not scored: no bundle of braai is live"
    ]
    assert summary.model is None
    assert "real" not in result.candidates.colnames


def test_the_live_bundle_is_taken_unless_none_is_wanted(files, mine, tmp_path):
    make(mine)
    registry.set_stage("braai.toy", "live")
    summary, _ = difference_files(files.science, files.reference, tmp_path / "live")
    assert summary.model == "braai.toy"
    summary, _ = difference_files(files.science, files.reference, tmp_path / "none", model=None)
    assert summary.model is None
    assert not any("scored" in one for one in summary.warnings)


def test_a_live_bundle_that_is_damaged_or_takes_other_cutouts_is_a_warning(mine):
    bundle = make(mine)
    registry.set_stage("braai.toy", "live")
    assert choose_model("live", 63)[0].hash == bundle.hash
    assert choose_model("live", 31) == (
        None, "candidates are not scored: braai.toy takes cutouts of 63 px, these have 31 px",
    )  # fmt: skip
    (mine / "braai.toy" / "model.onnx").write_bytes(b"")
    found, warning = choose_model("live", 63)
    assert found is None
    assert "SHA-256 differs" in warning


MISFITS = {
    "cutouts of 63 px": (TASK, 31),
    "no binary head called 'real'": (TASK.model_copy(update={"heads": {"z": Regression(names=("z",))}}), 63),
    "not the triplet": (TASK.model_copy(update={"inputs": {"triplet": Input(shape=(63, 63, 3))}}), 63),
    "of version 2": (TASK.model_copy(update={"representation_version": 2}), 63),
}


@pytest.mark.parametrize("sentence", MISFITS)
def test_a_model_that_was_asked_for_and_does_not_fit_is_refused(sentence, tmp_path):
    task, size = MISFITS[sentence]
    bundle = make(tmp_path, task=task)
    with pytest.raises(UsageError, match=f"{sentence}.*choose another model"):
        choose_model(bundle, size)


def test_a_model_that_was_asked_for_and_is_damaged_or_absent_is_refused_before_the_work(
    files, mine, tmp_path
):
    make(mine)
    shutil.copytree(mine / "braai.toy", tmp_path / "copy")
    (tmp_path / "copy" / "weights.safetensors").write_bytes(b"")

    def stop(stage):
        assert stage == "reading"

    for model, problem in (("braai.other", UsageError), (tmp_path / "copy", BundleError)):
        with pytest.raises(problem):
            difference_files(files.science, files.reference, tmp_path / "run", model=model, on_stage=stop)
    assert not (tmp_path / "run").exists()


def test_a_batch_is_scored_and_another_model_makes_it_anew(files, mine, tmp_path):
    pool = ThreadPoolExecutor(1)  # processes of its own would cost ten seconds
    pairs = [Pair("one", FrameFile(files.science), FrameFile(files.reference))]
    first = make(mine)
    summary = difference_pairs(pairs, tmp_path / "out", model=first, executor=pool)
    assert summary.runs[0]["model"] == "braai.toy"
    again = difference_pairs(pairs, tmp_path / "out", model="braai.toy", executor=pool)
    assert again.n_skipped == 1
    other = make(mine, "braai.second", limits="another card, another identity")
    third = difference_pairs(pairs, tmp_path / "out", model=other, executor=pool)
    assert (third.n_done, third.runs[0]["model_hash"]) == (1, other.hash)


SCORING = """
import sys, numpy as np
from astrid.survey.scoring import choose_model, score_candidates
planes = {name: np.ones((3, 63, 63), np.float32) for name in ("science", "reference", "difference")}
print(score_candidates(planes, choose_model("live", 63)[0])["real_decision"].tolist())
print([name for name in ("torch", "lightning", "onnx", "sklearn", "torchvision") if name in sys.modules])
"""


def test_scoring_loads_nothing_of_training(mine):
    make(mine)
    registry.set_stage("braai.toy", "live")
    done = subprocess.run([sys.executable, "-c", SCORING], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['real', 'real', 'real']", "[]"]


@pytest.fixture(scope="module")
def plain_run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain")
    _, result = difference_files(files.science, files.reference, folder / "run", model=make(folder))
    return folder / "run", result


@pytest.fixture
def explained_run(plain_run, mine, tmp_path):
    """A copy of a run that was scored by a bundle of the registry."""
    make(mine)  # the same again, to the last byte
    return shutil.copytree(plain_run[0], tmp_path / "run"), plain_run[1]


def test_the_explanation_of_a_candidate_is_drawn_beside_the_run(explained_run):
    out, result = explained_run
    one = result.candidates[1]
    explanation, (picture, numbers) = explain_candidate(out, int(one["id"]))
    assert picture == out / "explanations" / f"candidate_{one['id']}_occlusion.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert json.loads(numbers.read_text())["bundle"] == "braai.toy"
    assert explanation.probability == pytest.approx(float(one["real"]), abs=1e-6)
    # the model looks at the central pixel of the difference alone
    values = np.abs(explanation.values["triplet"]).sum(axis=-1)
    assert np.hypot(*(np.array(np.unravel_index(values.argmax(), values.shape)) - 31)) < 10


def test_a_new_run_in_the_same_place_removes_the_explanations(explained_run, files):
    out, result = explained_run
    explain_candidate(out, int(result.candidates["id"][0]))
    difference_files(files.science, files.reference, out, model=None)
    assert not (out / "explanations").exists()


def test_an_explanation_needs_the_bundle_that_scored_the_run(explained_run, mine):
    out, result = explained_run
    shutil.rmtree(mine / "braai.toy")
    other = make(mine, limits="another")
    candidate = int(result.candidates["id"][0])
    with pytest.raises(BundleError, match=r"scored by another braai\.toy .*give --model braai\.toy"):
        explain_candidate(out, candidate)
    found, _ = explain_candidate(out, candidate, model="braai.toy")
    assert found.hash == other.hash


def test_a_candidate_or_run_that_is_not_there_is_one_sentence(explained_run, tmp_path):
    out, _ = explained_run
    with pytest.raises(UsageError, match="has no candidate 999999"):
        explain_candidate(out, 999999)
    with pytest.raises(DataError, match="no complete run"):
        explain_candidate(tmp_path / "nowhere", 1)
    (out / "run.json").write_text("{}")
    with pytest.raises(DataError, match="difference the pair again"):
        explain_candidate(out, 1)
