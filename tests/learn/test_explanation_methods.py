"""Explanations that ask the model only: against closed forms, brute force and other libraries."""

from __future__ import annotations

import importlib
import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from astrid.errors import PredictionError, UsageError
from astrid.learn.bundle import Calibration, HeadCard, Range
from astrid.learn.explanation import METHODS, explain
from astrid.learn.task import Binary, HeatMap, Input, Multiclass, Multilabel, Regression, Task

N = 5
FACTS = Input(shape=(N,), channels=tuple("abcde"))
YES = {"yes": Binary(labels=("no", "yes"))}
SIDE = 20
IMAGE = Input(shape=(SIDE, SIDE, 2), channels=("reference", "difference"))
SLOPES = np.array([1.5, -2.0, 0.0, 0.5, 3.0], np.float32)


@pytest.fixture(scope="module")
def models():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parent))
        yield importlib.import_module("explanation_models")


def task(inputs, heads=None):
    return Task(name="known", inputs=inputs, heads=heads or YES, network="nowhere:Nothing")


def interacting(models, path, slopes=SLOPES, product=2.0, **card):
    """slopes . x + product * a * b, as a logit."""
    constants = {
        "w": np.asarray(slopes, np.float32)[None, :, None], "k": np.float32(product),
        "a": np.array([0], np.int64), "b": np.array([1], np.int64), "one": np.array([0], np.int64),
    }  # fmt: skip
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["linear"]),
        helper.make_node("Gather", ["x", "a"], ["xa"], axis=1),
        helper.make_node("Gather", ["x", "b"], ["xb"], axis=1),
        helper.make_node("Mul", ["xa", "xb"], ["ab"]),
        helper.make_node("Mul", ["ab", "k"], ["kab"]),
        helper.make_node("Unsqueeze", ["kab", "one"], ["more"]),
        helper.make_node("Add", ["linear", "more"], ["yes"]),
    ]
    described = task({"x": FACTS})
    return models.bundle(path, described, models.graph(nodes, described, constants), **card)


@pytest.fixture(scope="module")
def facts(models, tmp_path_factory):
    return interacting(models, tmp_path_factory.mktemp("facts") / "b")


@pytest.fixture(scope="module")
def brightest(models, tmp_path_factory):
    """The logit is the brightest pixel of the smoothed difference, and nothing of the reference."""
    kernel = np.zeros((1, 2, 3, 3), np.float32)
    kernel[0, 1] = 1 / 9
    nodes = [
        helper.make_node("Transpose", ["image"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["first", "kernel"], ["smooth"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalMaxPool", ["smooth"], ["top"]),
        helper.make_node("Flatten", ["top"], ["flat"]),
        helper.make_node("Unsqueeze", ["flat", "front"], ["yes"]),
    ]
    described = task({"image": IMAGE})
    constants = {"kernel": kernel, "front": np.array([0], np.int64)}
    path = tmp_path_factory.mktemp("brightest") / "b"
    return models.bundle(path, described, models.graph(nodes, described, constants))


def blob(row, column, seed=0):
    item = np.random.default_rng(seed).normal(0, 0.1, IMAGE.shape).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE]
    item[..., 1] += 5 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 2)
    return {"image": item}


def rows(n, seed=1):
    return {"x": np.random.default_rng(seed).normal(size=(n, N)).astype(np.float32)}


def score(x, slopes=SLOPES, product=2.0):
    return x @ slopes + product * x[..., 0] * x[..., 1]


numbers = st.lists(st.floats(-3, 3, width=32), min_size=N, max_size=N).map(lambda x: np.array(x, np.float32))


@settings(max_examples=15, deadline=None)
@given(item=numbers, background=st.lists(numbers, min_size=1, max_size=4).map(np.stack))
def test_exact_shapley_values_have_their_closed_form_and_add_up(facts, item, background):
    found = explain(facts, {"x": item}, background={"x": background}, sanity=False)
    assert found.method == "shapley_exact"
    expected = SLOPES * (item - background.mean(axis=0))
    for k, other in ((0, 1), (1, 0)):  # half of the product's change, over both orders of revealing
        expected[k] += 2.0 * np.mean((item[k] - background[:, k]) * (item[other] + background[:, other])) / 2
    np.testing.assert_allclose(found.values["x"], expected, atol=2e-5)
    assert found.values["x"][2] == pytest.approx(0, abs=1e-5)  # e is not used at all
    assert found.base_value == pytest.approx(np.mean(score(background)), abs=1e-4)
    assert abs(found.completeness_error) < 1e-4
    assert found.n_evals == 2**N * len(background)


def test_exact_shapley_values_are_the_mean_over_all_orders(facts):
    item, background = rows(1, 7)["x"][0], rows(3)["x"]
    shares = np.zeros(N)
    orders = list(itertools.permutations(range(N)))
    for order in orders:
        shown = background.astype(np.float64).copy()
        before = score(shown).mean()
        for k in order:
            shown[:, k] = item[k]
            after = score(shown).mean()
            shares[k] += (after - before) / len(orders)
            before = after
    found = explain(facts, {"x": item}, background={"x": background}, sanity=False)
    np.testing.assert_allclose(found.values["x"], shares, atol=1e-5)


def test_kernel_shap_estimates_the_exact_values(facts):
    item, background = {"x": rows(1, 7)["x"][0]}, {"x": rows(8)["x"].mean(axis=0, keepdims=True)}
    exact = explain(facts, item, method="shapley_exact", background=background, sanity=False)
    kernel = explain(facts, item, method="kernel_shap", background=background, samples=400, sanity=False)
    np.testing.assert_allclose(kernel.values["x"], exact.values["x"], atol=1e-2)
    assert kernel.base_value == pytest.approx(exact.base_value, abs=1e-5)
    assert abs(kernel.completeness_error) < 1e-3


def test_channels_of_an_image_have_exact_shapley_values(brightest):
    found = explain(brightest, blob(5, 12), method="shapley_exact", sanity=False)
    assert found.values["image"].shape == (1, 1, 2)
    reference, difference = found.values["image"].ravel()
    assert reference == pytest.approx(0, abs=1e-6)
    assert difference == pytest.approx(found.prediction - found.base_value, abs=1e-5)
    assert found.n_evals == 4


@pytest.mark.parametrize(("row", "column"), [(3, 3), (10, 16), (18, 1)])
def test_occlusion_finds_the_planted_blob_in_its_channel(brightest, row, column):
    together = explain(brightest, blob(row, column), sanity=False)
    assert together.method == "occlusion"
    assert together.values["image"].shape == (SIDE, SIDE, 1)
    y, x, _ = np.unravel_index(together.values["image"].argmax(), together.values["image"].shape)
    assert np.hypot(y - row, x - column) <= 3
    apart = explain(brightest, blob(row, column), method="occlusion_by_channel", sanity=False).values["image"]
    assert apart.shape == IMAGE.shape
    assert np.abs(apart[..., 0]).max() == 0
    np.testing.assert_allclose(apart[..., 1], together.values["image"][..., 0], atol=1e-5)
    whole = explain(brightest, blob(row, column), method="channels", sanity=False).values["image"]
    assert whole[0, 0, 0] == 0 < whole[0, 0, 1]


def test_occlusion_of_a_window_of_one_pixel_hides_each_pixel_alone(brightest):
    item = blob(8, 8)
    found = explain(brightest, item, method="occlusion", window=1, sanity=False)
    assert found.n_evals == 1 + SIDE * SIDE
    assert np.count_nonzero(found.values["image"] > 1e-3) <= 9  # those that the smoothing joins to the top


def test_lime_and_occlusion_and_kernel_shap_recover_a_linear_model(models, tmp_path):
    linear = interacting(models, tmp_path / "b", product=0)
    item, background = rows(1, 7)["x"][0], rows(6)
    expected = SLOPES * (item - background["x"].mean(axis=0))
    for method, tolerance in (("lime", 2e-3), ("occlusion", 1e-5), ("channels", 1e-5), ("kernel_shap", 1e-4)):
        found = explain(linear, {"x": item}, method=method, background=background, sanity=False)
        np.testing.assert_allclose(found.values["x"], expected, rtol=tolerance, atol=tolerance)
    lime = explain(linear, {"x": item}, method="lime", background=background, sanity=False)
    assert "explains 100.0%" in " ".join(lime.notes)
    assert lime.completeness_error is None


def test_lime_shares_the_value_of_a_window_among_its_pixels(brightest):
    found = explain(brightest, blob(10, 10), method="lime", window=5, sanity=False)
    windows = found.values["image"][..., 0].reshape(4, 5, 4, 5).swapaxes(1, 2).reshape(16, 25)
    assert np.ptp(windows, axis=1).max() == 0
    assert windows.sum(axis=1).argmax() == 2 * 4 + 2


def test_perturbation_gives_the_curve_of_a_known_function(facts):
    item = np.array([2.0, 0.5, -1.0, 2.0, 0.0], np.float32)
    found = explain(facts, {"x": item}, method="perturbation", of="logit", sanity=False)
    factors = found.response.factors
    assert factors[0] == 0.25
    assert factors[-1] == 4
    for k in range(N):
        x = np.repeat(item[None], len(factors), axis=0)
        x[:, k] *= factors
        np.testing.assert_allclose(found.response.scores[k], score(x), atol=1e-5)
    assert found.values["x"][0] == pytest.approx(3 * (1.5 + 2 * 0.5) * 2, abs=1e-5)  # at four times
    assert "no factor changes the logit through c, e" in found.notes  # one has no slope, one is 0
    probable = explain(facts, {"x": item}, method="perturbation", sanity=False)
    assert probable.of == "probability"
    np.testing.assert_allclose(probable.response.scores, 1 / (1 + np.exp(-found.response.scores)), atol=1e-6)


def test_temperature_changes_the_probability_that_is_explained_but_not_the_logit(models, tmp_path, facts):
    cool = interacting(
        models, tmp_path / "b",
        heads={"yes": HeadCard(calibration=Calibration(method="temperature", temperature=2.0))},
    )  # fmt: skip
    item = {"x": rows(1, 7)["x"][0]}
    plain, scaled = (explain(one, item, method="occlusion", sanity=False) for one in (facts, cool))
    np.testing.assert_array_equal(plain.values["x"], scaled.values["x"])
    assert scaled.probability == pytest.approx(1 / (1 + np.exp(-plain.prediction / 2)), abs=1e-6)
    probable = explain(cool, item, method="occlusion", of="probability", sanity=False)
    assert probable.prediction == pytest.approx(scaled.probability)


def heads_bundle(models, path, heads):
    """All heads are linear in the item."""
    described = task({"x": FACTS}, heads)
    rng = np.random.default_rng(0)
    constants, nodes = {"shape": np.array([1, -1, 2, 3], np.int64)}, []
    for name, head in heads.items():
        constants[f"{name}_w"] = rng.normal(size=(1, N, head.size)).astype(np.float32)
        made = "flat" if head.kind == "heatmap" else name
        nodes.append(helper.make_node("MatMul", ["x", f"{name}_w"], [made]))
        if head.kind == "heatmap":
            nodes.append(helper.make_node("Reshape", ["flat", "shape"], [name]))
    weights = {name: constants[f"{name}_w"][0] for name in heads}
    return models.bundle(path, described, models.graph(nodes, described, constants)), weights


def test_every_kind_of_head_is_explained_at_its_target(models, tmp_path):
    heads = {
        "kind": Multiclass(labels=("star", "galaxy", "asteroid")),
        "flags": Multilabel(labels=("edge", "trail")),
        "facts": Regression(names=("z", "age")),
        "map": HeatMap(shape=(2, 3), truth="map"),
    }
    bundle, weights = heads_bundle(models, tmp_path / "b", heads)
    item = rows(1, 7)["x"][0]

    def values(**arguments):
        return explain(bundle, {"x": item}, method="shapley_exact", sanity=False, **arguments)

    kind = values()
    slopes = weights["kind"] - weights["kind"].mean(axis=1, keepdims=True)  # only differences mean something
    highest = int((item @ weights["kind"]).argmax())
    assert kind.target == heads["kind"].labels[highest]
    np.testing.assert_allclose(kind.values["x"], slopes[:, highest] * item, atol=1e-5)
    odds = np.exp(item @ weights["kind"])
    assert kind.probability == pytest.approx(odds[highest] / odds.sum(), abs=1e-6)
    galaxy = values(target="galaxy")
    np.testing.assert_allclose(galaxy.values["x"], slopes[:, 1] * item, atol=1e-5)
    trail = values(head="flags", target=1)
    assert trail.target == "trail"
    np.testing.assert_allclose(trail.values["x"], weights["flags"][:, 1] * item, atol=1e-5)
    age = values(head="facts", target="age")
    assert age.of == "value"
    assert age.probability is None
    np.testing.assert_allclose(age.values["x"], weights["facts"][:, 1] * item, atol=1e-5)
    pixel = values(head="map", target=(1, 2))
    np.testing.assert_allclose(pixel.values["x"], weights["map"][:, 5] * item, atol=1e-5)
    brightest = values(head="map")
    row, column = divmod(int((item @ weights["map"]).argmax()), 3)
    assert brightest.target == f"pixel ({row}, {column})"


def test_without_a_background_features_are_set_to_the_middle_of_their_training_range(models, tmp_path, facts):
    ranges = tuple(
        Range(input="x", channel=name, statistic="mean", low=k, high=k + 2)
        for k, name in enumerate(FACTS.channels)
    )
    ranged = interacting(models, tmp_path / "b", product=0, ranges=ranges)
    item = np.arange(N, dtype=np.float32) + 3
    found = explain(ranged, {"x": item}, method="occlusion", sanity=False)
    np.testing.assert_allclose(found.values["x"], 2 * SLOPES, atol=1e-5)
    assert found.replaced_by == "the middle of the training range of x"
    assert explain(facts, {"x": item}, sanity=False).replaced_by == "zeros for x"


def test_an_item_that_the_model_does_not_apply_to_is_explained_with_a_warning(models, tmp_path):
    ranges = (Range(input="x", channel="a", statistic="mean", low=0, high=1),)
    found = explain(
        interacting(models, tmp_path / "b", ranges=ranges), {"x": np.full(N, 9, np.float32)}, sanity=False
    )
    assert any("may not apply: x a" in note for note in found.notes)


def test_what_random_weights_explain_alike_is_unmasked(models, tmp_path, facts):
    rng = np.random.default_rng(0)
    wide = Input(shape=(40,), channels=tuple(f"f{k}" for k in range(40)))
    described = task({"x": wide})
    nodes = [
        helper.make_node("Mul", ["x", "w"], ["weighted"]),
        helper.make_node("ReduceSum", ["weighted", "last"], ["sum"], keepdims=1),
        helper.make_node("Unsqueeze", ["sum", "front"], ["yes"]),
    ]
    shared = {"last": np.array([1], np.int64), "front": np.array([0], np.int64)}
    item = {"x": np.ones(40, np.float32)}
    slopes = rng.normal(size=40).astype(np.float32)
    learned = models.bundle(
        tmp_path / "1", described, models.graph(nodes, described, {"w": slopes[None], **shared})
    )
    fixed = models.bundle(tmp_path / "2", described, models.graph(nodes, described, {"w": slopes, **shared}))
    assert abs(explain(learned, item, method="occlusion").sanity) < 0.2
    assert explain(fixed, item, method="occlusion").sanity == pytest.approx(1)  # no kernel to draw anew


@pytest.mark.parametrize("method", ["occlusion", "lime", "kernel_shap", "shapley_exact", "perturbation"])
def test_the_same_seed_gives_the_same_explanation(facts, method):
    item, background = {"x": rows(1, 7)["x"][0]}, rows(100)
    cheap = method != "kernel_shap"
    first, second, other = (
        explain(facts, item, method=method, background=background, seed=seed, sanity=cheap).to_json()
        for seed in (3, 3, 4)
    )
    for one in (first, second, other):
        del one["seconds"]
    assert first == second
    assert (first["sanity"] is not None) == cheap
    if method in ("lime", "kernel_shap", "shapley_exact"):  # the last draws 64 of the 100 rows
        assert first["values"] != other["values"]


def test_an_explanation_is_stored_as_json(brightest, tmp_path):
    found = explain(brightest, blob(3, 3), window=5)
    found.save(tmp_path / "why.json")
    facts = json.loads((tmp_path / "why.json").read_text("utf-8"))
    assert facts == json.loads(json.dumps(found.to_json()))
    assert facts["bundle"] == "known.test"
    assert facts["hash"] == brightest.hash
    assert facts["method"] == "occlusion"
    assert facts["n_evals"] == found.n_evals
    assert facts["completeness_error"] is None
    assert facts["sanity"] == found.sanity
    np.testing.assert_allclose(facts["values"]["image"], found.values["image"], rtol=1e-6)


def test_progress_is_told_to_the_end(facts):
    told = []
    explain(facts, {"x": rows(1)["x"][0]}, on_progress=lambda done, total: told.append((done, total)))
    assert [done for done, _ in told] == list(range(1, told[-1][1] + 1))


def test_the_model_is_asked_in_batches_of_bounded_size():
    from astrid.learn.explanation.question import Question, Score

    sizes = []

    def run(arrays):
        sizes.append(len(arrays["x"]))
        return {"yes": arrays["x"][None, :, :1]}

    item = {"x": np.zeros(125_000, np.float32)}  # half a megabyte
    asked = Question("yes", YES["yes"], 0, 1, "yes", "logit", Calibration())
    ask = Score(run, asked, item)
    found = ask(7, lambda start, stop: {"x": np.repeat(np.arange(start, stop)[:, None], 125_000, axis=1)})
    np.testing.assert_array_equal(found, np.arange(7))
    assert max(sizes) <= 2
    assert ask.evaluations == 7


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"method": "gradcamm"}, UsageError, "choose one of: auto, occlusion"),
        ({"head": "no"}, UsageError, "no head 'no'; choose one of: yes"),
        ({"target": "maybe"}, UsageError, "no target 'maybe'; choose one of: no, yes"),
        ({"of": "value"}, UsageError, "give logit or probability"),
        ({"method": "lime", "samples": 3}, UsageError, "too few for 5 parts"),
        ({"method": "kernel_shap", "samples": 3}, UsageError, "too few for 5 parts"),
        ({"background": {}}, PredictionError, "the background has no x"),
        ({"background": {"x": np.zeros((2, 4))}}, PredictionError, r"give rows of shape \(5,\)"),
        ({"background": {"x": np.zeros((0, 5))}}, PredictionError, r"give rows of shape \(5,\)"),
        ({"background": {"x": np.full((1, 5), np.nan)}}, PredictionError, "not finite"),
        ({"inputs": {"x": np.full(5, np.nan)}}, PredictionError, "not finite"),
        ({"inputs": {"x": np.zeros(4)}}, PredictionError, "takes"),
        ({"inputs": {}}, PredictionError, "x is absent"),
    ],
)
def test_a_request_that_cannot_be_met_is_refused_in_a_sentence(facts, arguments, error, words):
    inputs = arguments.get("inputs", {"x": np.zeros(N, np.float32)})
    with pytest.raises(error, match=words):
        explain(facts, inputs, **{key: value for key, value in arguments.items() if key != "inputs"})


def test_a_window_larger_than_the_image_is_refused(brightest):
    with pytest.raises(UsageError, match="20 x 20 positions"):
        explain(brightest, blob(3, 3), window=21)


def test_too_many_parts_for_exact_shapley_values_are_refused(models, tmp_path):
    wide = Input(shape=(13,), channels=tuple("abcdefghijklm"))
    described = task({"x": wide})
    nodes = [helper.make_node("MatMul", ["x", "w"], ["yes"])]
    constants = {"w": np.ones((1, 13, 1), np.float32)}
    bundle = models.bundle(tmp_path / "b", described, models.graph(nodes, described, constants))
    item = {"x": np.ones(13, np.float32)}
    assert explain(bundle, item, sanity=False).method == "lime"
    with pytest.raises(UsageError, match="13 numbers and 13 channels"):
        explain(bundle, item, method="shapley_exact")


def test_a_server_without_torch_captum_and_onnx_explains_all_the_same(facts):
    program = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "captum", "onnx", "lightning", "sklearn"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import numpy as np
from astrid.errors import DependencyError
from astrid.learn.bundle import Bundle
from astrid.learn.explanation import METHODS, explain
bundle, item = Bundle.load({str(facts.path)!r}), {{"x": np.ones({N}, np.float32)}}
for method in METHODS:
    try:
        found = explain(bundle, item, method=method)
    except DependencyError as error:
        print(method, "needs", "astrid[train]" in str(error))
    else:
        print(method, found.sanity, any("needs onnx" in note for note in found.notes))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    heavy = {"kernel_shap", "gradcam", "integrated_gradients", "deeplift_shap"}
    assert said == {method: "needs True" if method in heavy else "None True" for method in METHODS}


def test_importing_the_explanations_loads_no_torch():
    heavy = ("torch", "captum", "onnx", "sklearn", "matplotlib")
    program = f"import sys, astrid.learn.explanation; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
