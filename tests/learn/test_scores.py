"""Scores of a whole data set: one row an item, none lost, in bounded memory."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pyarrow.parquet as pq
import pytest

from astrid.errors import OutputError, PredictionError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.prediction import Predictor
from astrid.learn.scores import read_arrays, write_scores
from astrid.learn.task import Input


def read(path):
    return pq.read_table(path).to_pydict()


def test_a_file_holds_what_the_predictor_says(toy_bundle, toy_dataset, tmp_path):
    seen = []
    summary = write_scores(
        toy_bundle, toy_dataset, tmp_path / "a.parquet", batch_size=128, command="the command",
        on_progress=lambda done, total: seen.append((done, total)),
    )  # fmt: skip
    expected = Predictor(toy_bundle)({"image": toy_dataset.arrays["image"]}, spread=False)
    rows = read(tmp_path / "a.parquet")
    np.testing.assert_allclose(rows["real"], expected.heads["real"].values[:, 0], atol=1e-6)
    assert rows["real_decision"] == expected.heads["real"].decision.tolist()
    assert rows["real_set"] == expected.heads["real"].labels_in_set.tolist()
    assert rows["real_spread"] == [None] * len(toy_dataset)
    assert rows["id"] == toy_dataset.rows["id"].to_pylist()
    assert rows["row"] == list(range(len(toy_dataset)))
    assert set(rows["problem"]) == {""}
    assert (summary.n, summary.n_scored, summary.n_set_aside) == (900, 900, 0)
    assert (summary.bundle, summary.hash) == (toy_bundle.name, toy_bundle.hash)
    assert seen[-1] == (900, 900)
    facts = json.loads(pq.read_schema(tmp_path / "a.parquet").metadata[b"astrid"])
    assert (facts["hash"], facts["command"]) == (toy_bundle.hash, "the command")


@pytest.mark.parametrize("batch_size", [1, 7, 900, 5000])
def test_the_size_of_a_batch_changes_nothing(toy_bundle, toy_dataset, tmp_path, batch_size):
    images = toy_dataset.arrays["image"][:40]
    write_scores(toy_bundle, {"image": images}, tmp_path / "a.parquet", batch_size=batch_size)
    expected = Predictor(toy_bundle)({"image": images}).heads["real"].values[:, 0]
    np.testing.assert_allclose(read(tmp_path / "a.parquet")["real"], expected, atol=1e-6)


def test_the_spread_of_an_ensemble_is_there_when_asked_for(toy_ensemble, toy_dataset, tmp_path):
    images = toy_dataset.arrays["image"][:10]
    write_scores(toy_ensemble, {"image": images}, tmp_path / "a.parquet", spread=True)
    expected = Predictor(toy_ensemble)({"image": images}).heads["real"].spread[:, 0]
    np.testing.assert_allclose(read(tmp_path / "a.parquet")["real_spread"], expected, atol=1e-6)
    assert expected.max() > 0.01


def test_items_that_cannot_be_scored_keep_their_row_and_say_why(toy_bundle, toy_dataset, tmp_path):
    images = np.array(toy_dataset.arrays["image"][:20])
    images[3, 0, 0, 0] = np.nan
    images[10:15, 4, 4, 1] = np.inf
    source = {"image": images, "id": np.arange(100, 120)}
    summary = write_scores(toy_bundle, source, tmp_path / "a.parquet", batch_size=5)
    rows = read(tmp_path / "a.parquet")
    bad = [3, 10, 11, 12, 13, 14]
    assert [k for k, problem in enumerate(rows["problem"]) if problem] == bad
    assert rows["problem"][3] == "image has numbers that are not finite"
    assert all(rows["real"][k] is None and rows["real_decision"][k] == "" for k in bad)
    assert sum(value is None for value in rows["real"]) == len(bad)
    assert rows["id"] == list(range(100, 120))
    assert (summary.n_scored, summary.n_set_aside) == (14, 6)


def test_nothing_to_score_is_an_empty_table_with_all_columns(toy_bundle, tmp_path):
    write_scores(toy_bundle, {"image": np.zeros((0, 9, 9, 2))}, tmp_path / "a.parquet")
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.num_rows == 0
    assert {"row", "real", "real_decision", "applicable", "problem"} <= set(table.column_names)


def test_memory_does_not_grow_with_the_data_set(toy_bundle, toy_task, tmp_path):
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "big", name="big", inputs=toy_task.inputs, kind="simulated") as writer:
        for block in range(30):
            images = rng.normal(size=(2000, 9, 9, 2)).astype(np.float32)
            writer.append({"image": images}, {"group": [f"g{block}"] * 2000})
    dataset = Dataset.open(tmp_path / "big")
    write_scores(toy_bundle, {"image": np.zeros((1, 9, 9, 2))}, tmp_path / "a.parquet")  # imports
    tracemalloc.start()
    write_scores(toy_bundle, dataset, tmp_path / "a.parquet")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6 < (tmp_path / "big" / "image.npy").stat().st_size
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.num_row_groups == 3


def test_an_interrupted_file_is_not_there(toy_bundle, toy_dataset, tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scores(toy_bundle, toy_dataset, tmp_path / "a.parquet", on_progress=interrupt)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="its folder does not exist"):
        write_scores(toy_bundle, toy_dataset, tmp_path / "no" / "a.parquet")


def test_channels_by_their_own_names_are_put_in_the_order_of_the_card(toy_bundle, toy_dataset, tmp_path):
    images = toy_dataset.arrays["image"][:5]
    np.savez(tmp_path / "a.npz", difference=images[..., 1], reference=images[..., 0], id=np.arange(5))
    arrays = read_arrays(tmp_path / "a.npz", toy_bundle)
    np.testing.assert_array_equal(arrays["image"], images)
    assert arrays["id"].tolist() == list(range(5))
    np.savez(tmp_path / "b.npz", image=images, other=np.zeros(2))
    np.testing.assert_array_equal(read_arrays(tmp_path / "b.npz", toy_bundle)["image"], images)


def pickled(path):
    np.savez(path, image=np.array([{}], object))


FILES = {
    "no such file": lambda path: None,
    "cannot be read": lambda path: path.write_bytes(b"PK no zip"),
    "neither an array 'image' nor its channels": lambda path: np.savez(path, reference=np.zeros((2, 9, 9))),
    "differ in shape": lambda path: np.savez(
        path, reference=np.zeros((2, 9, 9)), difference=np.zeros((3, 9, 9))
    ),
    "Object arrays cannot be loaded": pickled,
}


@pytest.mark.parametrize("sentence", FILES)
def test_a_file_without_the_inputs_is_one_sentence(sentence, toy_bundle, tmp_path):
    FILES[sentence](tmp_path / "a.npz")
    with pytest.raises(PredictionError, match=sentence) as problem:
        read_arrays(tmp_path / "a.npz", toy_bundle)
    assert "\n" not in str(problem.value)


def test_data_that_do_not_fit_are_refused_before_a_file_is_begun(toy_bundle, toy_task, tmp_path):
    swapped = {"image": Input(shape=(9, 9, 2), channels=("difference", "reference"))}
    with DatasetWriter(tmp_path / "data", name="x", inputs=swapped, kind="real") as writer:
        writer.append({"image": np.zeros((2, 9, 9, 2))}, {"group": ["a", "b"]})
    for source, sentence in (
        (Dataset.open(tmp_path / "data"), "in that order"),
        ({"image": np.zeros((2, 9, 9, 2)), "id": np.zeros(3)}, r"\[2, 3\] items"),
        ({"image": np.zeros((2, 8, 8, 2))}, "cut them anew"),
    ):
        with pytest.raises(PredictionError, match=sentence):
            write_scores(toy_bundle, source, tmp_path / "a.parquet")
    with pytest.raises(UsageError, match="at least 1"):
        write_scores(toy_bundle, {"image": np.zeros((2, 9, 9, 2))}, tmp_path / "a.parquet", batch_size=0)
    assert not (tmp_path / "a.parquet").exists()
