"""Robustness of models whose symmetry is known."""

from __future__ import annotations

import json

import numpy as np
import pytest

from astrid.errors import DatasetError, UsageError
from astrid.learn.bundle import save_bundle
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.prediction import Predictor
from astrid.learn.robustness import ORIENTATIONS, robustness
from astrid.learn.task import HeatMap, Input, Multiclass, Regression, Task


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory, toy_bundle, toy_network_onnx):
    """The toy network with a filter that sees only what is on the right."""
    weights = {name: value.copy() for name, value in toy_bundle.weights.items()}
    weights["convolution.weight"][0, 1, :, :2] *= 0.2
    path = tmp_path_factory.mktemp("lopsided") / "toy.test"
    return save_bundle(path, toy_bundle.card, {"model.onnx": toy_network_onnx(weights)}, weights)


def test_orientations_are_the_eight_symmetries_of_a_square_and_can_be_undone():
    images = np.arange(2 * 3 * 3 * 2).reshape(2, 3, 3, 2)
    seen = {one.apply(images).tobytes() for one in ORIENTATIONS}
    assert len(seen) == 8
    for one in ORIENTATIONS:
        np.testing.assert_array_equal(one.undo(one.apply(images)), images)
        assert one.apply(images).shape == images.shape
    np.testing.assert_array_equal(ORIENTATIONS[0].apply(images), images)
    np.testing.assert_array_equal(
        ORIENTATIONS[1].apply(images)[0, ..., 0], [[4, 10, 16], [2, 8, 14], [0, 6, 12]]
    )


def test_a_network_of_round_filters_does_not_care(toy_bundle, toy_dataset):
    found = robustness(Predictor(toy_bundle), toy_dataset, resamples=10)
    assert found.spread.max() < 1e-5
    assert not found.changed.any()
    truth = (toy_dataset.column("real") == "real").astype(np.float32)
    p = Predictor(toy_bundle).probabilities({"image": np.asarray(toy_dataset.arrays["image"])})["real"][:, 0]
    np.testing.assert_allclose(found.error, np.abs(p - truth), atol=1e-5)


def test_a_lopsided_network_is_found_out_by_brute_force_too(lopsided, toy_dataset):
    predictor = Predictor(lopsided)
    seen = []
    found = robustness(
        predictor, toy_dataset, columns=("mag", "edge_distance"), resamples=20, on="all fields",
        on_progress=lambda *done: seen.append(done),
    )  # fmt: skip
    image = np.asarray(toy_dataset.arrays["image"][:300])
    flips = [image, image[:, ::-1], image[:, :, ::-1], image[:, ::-1, ::-1]]
    flips += [one.transpose(0, 2, 1, 3) for one in flips]
    p = np.stack([predictor.probabilities({"image": one})["real"][:, 0] for one in flips], axis=1)
    errors = np.abs(p - (toy_dataset.column("real") == "real")[:300, None])
    np.testing.assert_allclose(found.error[:300], np.median(errors, axis=1), atol=1e-5)
    np.testing.assert_allclose(found.spread[:300], errors.std(axis=1), atol=1e-5)
    threshold = lopsided.card.head("real").decision.threshold
    taken = p >= threshold
    assert (found.changed[:300] == (taken != taken[:, :1]).any(axis=1)).all()
    assert 0 < found.changed.mean() < 0.5
    assert seen[-1] == (900, 900)
    figures = {one.name: one for one in found.measured}
    assert figures["share of decisions that depend on the orientation"].value == found.changed.mean()
    assert all(one.low <= one.value <= one.high for one in found.measured)
    over = found.over("mag")
    assert over["middle"][-1] > over["middle"][0]  # faint stars are harder
    json.dumps(found.as_dict(), allow_nan=False)


def test_figure_shows_errors_sorted_both_ways_their_spread_and_the_columns(lopsided, toy_dataset, tmp_path):
    found = robustness(
        Predictor(lopsided), toy_dataset, columns=("mag", "edge_distance", "kind"), resamples=5
    )
    figure = found.plot()
    labels = [axes.get_xlabel() for axes in figure.axes if axes.get_visible()]
    assert labels == [
        "items, sorted by their error", "items, sorted by their spread", "error", "mag", "edge_distance",
    ]  # fmt: skip
    figure.savefig(tmp_path / "figure.png")


def test_maps_are_turned_back_before_they_are_judged(tmp_path, heat_map_bundle):
    rng = np.random.default_rng(5)
    maps = np.zeros((30, 6, 8), np.float32)
    maps[np.arange(30), rng.integers(1, 5, 30), rng.integers(1, 6, 30)] = 1
    image = np.roll(maps, 2, axis=2)[..., None]
    inputs = {"image": Input(shape=(6, 8, 1)), "place": Input(shape=(6, 8))}
    task = Task(
        name="where", inputs={"image": inputs["image"]}, network="none:none",
        heads={"place": HeatMap(shape=(6, 8), truth="place")},
    )  # fmt: skip
    with DatasetWriter(tmp_path / "d", name="maps", inputs=inputs, kind="simulated") as writer:
        writer.append({"image": image, "place": maps}, {"group": [str(k) for k in range(30)]})
    found = robustness(Predictor(heat_map_bundle(tmp_path / "b", task)), Dataset.open(tmp_path / "d"))
    assert len(found.orientations) == 4  # not square: only what keeps the shape
    assert (found.errors == 2).all()


def test_items_without_a_label_are_left_out(tmp_path, classes_of_images):
    predictor, dataset = classes_of_images(np.array(["a", "", "b", "a", "b"]))
    found = robustness(predictor, dataset, resamples=5)
    assert found.rows.tolist() == [0, 2, 3, 4]
    np.testing.assert_allclose(found.errors, 0.5, atol=1e-6)  # the same logits for each class


@pytest.fixture
def classes_of_images(tmp_path, toy_mean_onnx):
    def make(labels):
        task = Task(
            name="classes", inputs={"image": Input(shape=(4, 4, 1))}, network="none:none",
            heads={"type": Multiclass(labels=("a", "b"))},
        )  # fmt: skip
        with DatasetWriter(tmp_path / "d", name="classes", inputs=task.inputs, kind="real") as writer:
            image = np.random.default_rng(1).normal(size=(len(labels), 4, 4, 1))
            writer.append({"image": image}, {"group": np.arange(len(labels)), "type": labels})
        return Predictor(toy_mean_onnx(tmp_path / "b", task)), Dataset.open(tmp_path / "d")

    return make


def test_what_cannot_be_turned_is_told(toy_bundle, toy_dataset, linear_bundle, tmp_path, classes_of_images):
    with pytest.raises(UsageError, match="no head 'fake'; choose one of real"):
        robustness(Predictor(toy_bundle), toy_dataset, head="fake")
    task = Task(
        name="flat", inputs={"x": Input(shape=(1,))}, network="none:none",
        heads={"z": Regression(names=("z",))},
    )  # fmt: skip
    with DatasetWriter(tmp_path / "flat", name="flat", inputs=task.inputs, kind="real") as writer:
        writer.append({"x": np.ones((2, 1))}, {"group": ["a", "b"], "z": [1.0, 2.0]})
    bundle = linear_bundle(tmp_path / "c", task, {"z": np.eye(1)[None]})
    with pytest.raises(UsageError, match="takes no image"):
        robustness(Predictor(bundle), Dataset.open(tmp_path / "flat"))
    predictor, dataset = classes_of_images(np.array(["", ""]))
    with pytest.raises(DatasetError, match="no row has a label for type"):
        robustness(predictor, dataset)
