"""Explanations by gradients: completeness, closed forms, and what stands behind a normalisation."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from astrid.errors import BundleError, UsageError
from astrid.learn.bundle import Bundle, save_bundle
from astrid.learn.explanation import explain
from astrid.learn.task import Binary, Input, Multiclass, Task

SIDE = 12
IMAGE = Input(shape=(SIDE, SIDE, 2), channels=("reference", "difference"))
REAL = {"real": Binary(labels=("bogus", "real"))}
KINDS = {"kind": Multiclass(labels=("star", "galaxy", "asteroid"))}


@pytest.fixture(scope="module")
def models():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("explanation_models")


def task(network, heads=REAL, inputs=None):
    return Task(
        name="known", inputs=inputs or {"image": IMAGE}, heads=heads, network=f"explanation_models:{network}"
    )


def image(seed=0):
    return np.random.default_rng(seed).normal(1, 1, IMAGE.shape).astype(np.float32)


def images(n, seed=1):
    return {"image": np.random.default_rng(seed).normal(1, 1, (n, *IMAGE.shape)).astype(np.float32)}


@pytest.fixture(scope="module")
def small(models, tmp_path_factory) -> Bundle:
    return models.small_bundle(tmp_path_factory.mktemp("small") / "b", task("SmallNet"))


@pytest.fixture(scope="module")
def several(models, tmp_path_factory) -> Bundle:
    return models.small_bundle(tmp_path_factory.mktemp("several") / "b", task("SmallNet", KINDS))


@pytest.mark.parametrize("background", [None, images(5)], ids=["none", "rows"])
@pytest.mark.parametrize("which", ["small", "several"])
def test_integrated_gradients_add_up_to_the_logit(which, background, request):
    found = explain(
        request.getfixturevalue(which), {"image": image()}, method="integrated_gradients",
        background=background, sanity=False,
    )  # fmt: skip
    assert found.of == "logit"
    assert abs(found.completeness_error) < 0.01 * np.abs(found.values["image"]).sum()
    total = found.values["image"].sum() + found.base_value
    assert found.completeness_error == pytest.approx(total - found.prediction)


@pytest.mark.parametrize("background", [None, images(5)], ids=["none", "rows"])
@pytest.mark.parametrize("which", ["small", "several"])
def test_deeplift_adds_up_although_the_network_calls_its_activations_as_functions(which, background, request):
    found = explain(
        request.getfixturevalue(which), {"image": image()}, method="deeplift_shap",
        background=background, sanity=False,
    )  # fmt: skip
    assert abs(found.completeness_error) < 1e-4 * max(1, abs(found.prediction - found.base_value))


def test_values_lie_behind_the_normalisation_where_images_of_any_brightness_are_alike(small):
    faint, bright = (
        explain(small, {"image": scale * image()}, method="integrated_gradients", sanity=False)
        for scale in (1, 1000)
    )
    np.testing.assert_allclose(faint.values["image"], bright.values["image"], atol=1e-5)
    assert np.abs(faint.values["image"]).max() > 0.01  # along brightness alone they would all be 0
    assert any("normalisation" in note for note in faint.notes)


@pytest.fixture(scope="module")
def bars(models, tmp_path_factory) -> Bundle:
    """Looks for upright bars, and takes level ones as a sign of the opposite."""
    return models.bars_bundle(tmp_path_factory.mktemp("bars") / "b", task("Bars"), (3.0, -2.0))


def two_bars():
    """An upright bar in the upper right, a level one in the lower left."""
    item = np.zeros(IMAGE.shape, np.float32)
    item[7:11, 8] = 1
    item[2, 1:5] = 1
    return {"image": item}


def test_gradcam_shines_where_the_network_looks_and_keeps_what_speaks_against(bars):
    values = explain(bars, two_bars(), method="gradcam", sanity=False).values["image"]
    assert values.shape == (SIDE, SIDE, 1)
    half = SIDE // 2
    assert np.unravel_index(values.argmax(), values.shape)[0] >= half
    assert np.unravel_index(values.argmax(), values.shape)[1] >= half
    assert values[half:, half:].sum() > 5 * np.abs(values[half:, :half]).sum()
    assert values[:half, :half].sum() < 0


def test_the_other_label_is_explained_with_the_opposite_sign(bars):
    real, bogus = (
        explain(bars, two_bars(), method="gradcam", target=target, sanity=False)
        for target in ("real", "bogus")
    )
    np.testing.assert_allclose(bogus.values["image"], -real.values["image"])
    assert bogus.prediction == pytest.approx(-real.prediction)
    assert bogus.probability == pytest.approx(1 - real.probability)


def test_an_ensemble_is_explained_by_the_mean_over_its_members(models, tmp_path):
    torch = pytest.importorskip("torch")
    both = models.small_bundle(tmp_path / "both", task("SmallNet"), members=2)
    item = {"image": image()}
    alone = []
    for m in range(2):
        own = {key.removeprefix(f"{m}."): one for key, one in both.weights.items() if key.startswith(f"{m}.")}
        network = both.task.build_network()
        network.load_state_dict({key: torch.from_numpy(np.array(one)) for key, one in own.items()})
        graph = models.small_graph(both.task, [network.eval()])
        alone.append(models.bundle(tmp_path / f"{m}", both.task, graph, own))
    for method in ("integrated_gradients", "deeplift_shap", "gradcam", "occlusion"):
        whole = explain(both, item, method=method, sanity=False)
        parts = [explain(one, item, method=method, sanity=False).values["image"] for one in alone]
        np.testing.assert_allclose(whole.values["image"], np.mean(parts, axis=0), atol=1e-5)
        assert any("2 members" in note for note in whole.notes)


def test_inputs_that_are_joined_inside_are_explained_together(models, tmp_path):
    inputs = {"image": IMAGE, "facts": Input(shape=(3,), channels=("seeing", "airmass", "magnitude"))}
    joined = models.joined_bundle(tmp_path / "b", task("Joined", inputs=inputs))
    item = {"image": image(), "facts": np.array([1.0, -2.0, 0.5], np.float32)}
    slopes = joined.weights["head.weight"][0, 3:]
    for method in ("integrated_gradients", "deeplift_shap"):
        found = explain(joined, item, method=method, sanity=False)
        assert abs(found.completeness_error) < 1e-3
        np.testing.assert_allclose(
            found.values["facts"], slopes * item["facts"], atol=1e-5
        )  # linear in these
    seen = explain(joined, item, method="gradcam", sanity=False)
    assert set(seen.values) == {"image"}
    assert any("other than image" in note for note in seen.notes)


@pytest.mark.parametrize("method", ["integrated_gradients", "deeplift_shap", "gradcam"])
def test_random_weights_change_the_explanation_and_the_same_seed_gives_the_same(small, method):
    first, second = (explain(small, {"image": image()}, method=method, seed=4) for _ in range(2))
    assert -1 <= first.sanity < 0.9
    assert first.sanity == second.sanity
    np.testing.assert_array_equal(first.values["image"], second.values["image"])
    assert first.n_evals == second.n_evals > 0


def test_gradients_are_of_the_logit_only(small):
    with pytest.raises(UsageError, match="explains the logit"):
        explain(small, {"image": image()}, method="deeplift_shap", of="probability")


def test_a_network_without_a_convolution_has_no_gradcam(tmp_path, models):
    dense = models.dense_bundle(tmp_path / "b")
    with pytest.raises(UsageError, match="no convolution"):
        explain(dense, {"x": np.ones(6, np.float32)}, method="gradcam")


def test_weights_that_do_not_fit_the_network_are_refused(small, tmp_path):
    files = {"model.onnx": (small.path / "model.onnx").read_bytes()}
    wrong = save_bundle(tmp_path / "b", small.card, files, {"conv1.weight": np.zeros(3, np.float32)})
    with pytest.raises(BundleError, match="do not fit"):
        explain(wrong, {"image": image()}, method="integrated_gradients")
