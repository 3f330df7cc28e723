"""Evaluations of toy models beside scikit-learn, brute force and what was put in."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as oracle

from astrid.errors import DatasetError, PredictionError, UsageError
from astrid.learn.bundle import Calibration, Conformal, HeadCard, Uncertainty, save_bundle
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.evaluation import evaluate
from astrid.learn.prediction import Predictor
from astrid.learn.task import HeatMap, Input, Multiclass, Multilabel, Regression, Task


@pytest.fixture(scope="module")
def held_out(toy_dataset):
    """Rows of the fields that the toy bundle was not calibrated on."""
    return np.flatnonzero(toy_dataset.column("field") >= "field15")


@pytest.fixture(scope="module")
def evaluation(toy_ensemble, toy_dataset, held_out):
    return evaluate(
        Predictor(toy_ensemble), toy_dataset, held_out, on="30 fields", night_rate=5000,
        slices=("mag", "kind", "telescope"), resamples=60,
    )  # fmt: skip


def table(path, columns, x, kind="real", group=None):
    """A data set of one flat input."""
    n = len(x)
    with DatasetWriter(
        path, name="table", inputs={"x": Input(shape=x.shape[1:])}, kind=kind, group="group"
    ) as writer:
        writer.append({"x": x}, {"group": group or [f"g{k // 5}" for k in range(n)], **columns})
    return Dataset.open(path)


def test_figures_are_those_of_scikit_learn_on_the_predictions(
    evaluation, toy_ensemble, toy_dataset, held_out
):
    p = Predictor(toy_ensemble).probabilities({"image": toy_dataset.take("image", held_out)})["real"][:, 0]
    truth = toy_dataset.column("real")[held_out] == "real"
    threshold = toy_ensemble.card.head("real").decision.threshold
    taken = p >= threshold
    wanted = {
        "AUCPR": oracle.average_precision_score(truth, p),
        "AUROC": oracle.roc_auc_score(truth, p),
        "FNR at the threshold": 1 - oracle.recall_score(truth, taken),
        "FPR at the threshold": taken[~truth].mean(),
        "FNR at 0.5": (p < 0.5)[truth].mean(),
        "F1": oracle.f1_score(truth, taken),
        "balanced accuracy": oracle.balanced_accuracy_score(truth, taken),
        "precision": oracle.precision_score(truth, taken),
        "Brier score": oracle.brier_score_loss(truth, p),
        "log loss": oracle.log_loss(truth, p.astype(np.float64)),
    }
    for name, value in wanted.items():
        figure = evaluation.figure(name)
        assert figure.value == pytest.approx(value, abs=1e-6), name
        assert figure.low <= figure.value <= figure.high, name
        assert (figure.n, figure.on, figure.kind) == (len(held_out), "toy, 30 fields", "simulated")
    (head,) = evaluation.heads
    assert head.confusion.tolist() == oracle.confusion_matrix(truth, taken).tolist()
    assert head.counts == {"bogus": int((~truth).sum()), "real": int(truth.sum())}


def test_calibration_is_judged_before_and_after(evaluation):
    assert evaluation.figure("log loss").value < evaluation.figure("log loss before calibration").value
    (curves,) = evaluation.heads[0].curves
    before, after = (
        np.average(np.abs(one.observed - one.probability), weights=one.n)
        for one in (curves.reliability_before, curves.reliability)
    )
    assert evaluation.figure("ECE").value == pytest.approx(after)
    assert evaluation.figure("ECE before calibration").value == pytest.approx(before)
    parts = curves.brier
    assert evaluation.figure("Brier score").value == pytest.approx(
        parts.miscalibration - parts.discrimination + parts.uncertainty
    )


def test_curves_are_thinned_without_losing_their_ends_or_area(evaluation):
    (curves,) = evaluation.heads[0].curves
    assert curves.recall[-1] == curves.fpr[-1] == 1
    area = np.trapezoid(np.append(0, curves.recall), np.append(0, curves.fpr))
    assert area == pytest.approx(evaluation.figure("AUROC").value, abs=0.01)
    assert curves.cost.cost.min() <= curves.cost.cost[np.argmin(np.abs(curves.cost.threshold - 0.5))]


def test_price_table_begins_with_the_chosen_threshold_and_counts_a_night(evaluation, toy_ensemble):
    (curves,) = evaluation.heads[0].curves
    chosen = curves.prices[0]
    assert chosen.threshold == toy_ensemble.card.head("real").decision.threshold
    assert chosen.rule.startswith("least expected cost, miss 20")
    counts = evaluation.heads[0].counts
    per_item = 5000 / sum(counts.values())
    assert chosen.found + chosen.missed == pytest.approx(counts["real"] * per_item)
    by_rule = {price.rule: price for price in curves.prices}
    assert by_rule["recall 99 %"].miss <= 0.01
    assert by_rule["least cost on these data"].cost == min(price.cost for price in curves.prices)
    assert by_rule["recall 99 %"].to_look_at > by_rule["recall 90 %"].to_look_at


def test_slices_hold_every_row_once_and_name_their_edges(evaluation, held_out):
    (head,) = evaluation.heads
    by_column = {}
    for one in head.slices:
        by_column.setdefault(one.column, []).append(one)
    assert list(by_column) == ["mag", "kind", "telescope"]
    assert all(sum(one.n for one in part) == len(held_out) for part in by_column.values())
    mags = by_column["mag"]
    assert [one.low for one in mags[1:]] == [one.high for one in mags[:-1]]
    fnr = [next(figure.value for figure in one.measured if figure.name == "FNR") for one in mags]
    assert fnr[-1] > fnr[0]  # faint ones are missed
    kinds = {one.name: {figure.name for figure in one.measured} for one in by_column["kind"]}
    assert kinds == {"star": {"FNR"}, "nothing": {"FPR"}, "dipole": {"FPR"}, "cosmic_ray": {"FPR"}}


def test_spread_of_an_ensemble_is_larger_where_it_is_wrong(evaluation, held_out):
    check = evaluation.heads[0].spread
    assert check.n == len(held_out)
    assert check.measured.name == "AUROC of the spread for errors"
    assert 0.5 < check.measured.value < 1
    assert (np.diff(check.spread) >= 0).all()


def test_sets_are_counted_and_their_coverage_is_measured(evaluation):
    (head,) = evaluation.heads
    assert head.sets.wanted == {"bogus": 0.95, "real": 0.99}
    for label in ("bogus", "real"):
        inside = sum(counts[label] for text, counts in head.sets.counts.items() if label in text.split("+"))
        assert evaluation.figure(f"sets hold {label}").value == pytest.approx(inside / head.counts[label])
    assert evaluation.figure("sets hold real").value > 0.95


def test_worst_mistakes_are_the_surest_wrong_ones(evaluation, toy_dataset):
    mistakes = evaluation.heads[0].mistakes
    for kind in ("false alarm", "missed"):
        values = [one.value for one in mistakes if one.kind == kind]
        assert values == sorted(values, reverse=kind == "false alarm")
    truth = toy_dataset.column("real")
    for one in mistakes:
        assert one.truth == truth[one.row] != one.said
        assert one.id == f"toy{one.row:04d}"
        assert set(one.columns) == {"mag", "kind", "telescope"}
        assert one.spread > 0
        np.testing.assert_array_equal(one.images["image"], toy_dataset.arrays["image"][one.row])


def test_everything_goes_into_json_without_images(evaluation):
    text = json.dumps(evaluation.as_dict(), allow_nan=False)
    facts = json.loads(text)
    assert facts["heads"][0]["measured"][0]["name"] == "AUCPR"
    assert "images" not in facts["heads"][0]["mistakes"][0]
    assert len(text) < 200_000


def test_same_seed_same_figures_and_progress_reaches_the_end(toy_bundle, toy_dataset, held_out):
    seen = []
    runs = [
        evaluate(
            Predictor(toy_bundle), toy_dataset, held_out, resamples=20, seed=5, slices=("mag",),
            on_progress=lambda *done: seen.append(done),
        )
        for _ in range(2)
    ]  # fmt: skip
    assert runs[0].as_dict() == runs[1].as_dict()
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen[: len(seen) // 2]] == sorted(done for done, _ in seen[: len(seen) // 2])


def test_several_classes(tmp_path, linear_bundle):
    labels = ("a", "b", "c")
    task = Task(
        name="classes", inputs={"x": Input(shape=(3,))}, network="none:none",
        heads={"type": Multiclass(labels=labels)},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 3, 400)
    x = (np.eye(3)[codes] + rng.normal(0, 0.5, (400, 3))).astype(np.float32)
    names = np.array(labels)[codes]
    names[:7] = ""
    data = table(tmp_path / "d", {"type": names}, x)
    card = HeadCard(
        calibration=Calibration(method="temperature", temperature=2.0),
        conformal=Conformal(
            alpha=dict.fromkeys(labels, 0.1), quantile=dict.fromkeys(labels, 0.8), n=dict.fromkeys(labels, 99)
        ),
    )
    bundle = linear_bundle(tmp_path / "b", task, {"type": 3 * np.eye(3)[None]}, {"type": card})
    found = evaluate(Predictor(bundle), data, resamples=20)
    (head,) = found.heads
    p = np.exp(1.5 * x[7:]) / np.exp(1.5 * x[7:]).sum(axis=1, keepdims=True)
    truth, chosen = codes[7:], p.argmax(axis=1)
    assert (head.n, head.unlabelled) == (393, 7)
    assert head.confusion.tolist() == oracle.confusion_matrix(truth, chosen).tolist()
    assert found.figure("macro F1").value == pytest.approx(oracle.f1_score(truth, chosen, average="macro"))
    assert found.figure("balanced accuracy").value == pytest.approx(
        oracle.balanced_accuracy_score(truth, chosen)
    )
    assert found.figure("b: AUCPR").value == pytest.approx(
        oracle.average_precision_score(truth == 1, p[:, 1])
    )
    assert found.figure("log loss").value == pytest.approx(oracle.log_loss(truth, p), rel=1e-5)
    assert found.figure("log loss").value != found.figure("log loss before calibration").value
    assert [one.label for one in head.curves] == list(labels)
    assert sum(sum(counts.values()) for counts in head.sets.counts.values()) == 393
    assert all(one.truth != one.said for one in head.mistakes)
    assert head.mistakes[0].value == max(one.value for one in head.mistakes)


def test_several_labels_at_once(tmp_path, linear_bundle):
    task = Task(
        name="tags", inputs={"x": Input(shape=(2,))}, network="none:none",
        heads={"tags": Multilabel(labels=("hot", "variable"))},
    )  # fmt: skip
    rng = np.random.default_rng(2)
    truth = rng.random((300, 2)) < 0.4
    x = (4 * truth - 2 + rng.normal(0, 2, (300, 2))).astype(np.float32)
    tags = [[name for name, yes in zip(("hot", "variable"), row, strict=True) if yes] for row in truth]
    data = table(tmp_path / "d", {"tags": tags}, x)
    bundle = linear_bundle(tmp_path / "b", task, {"tags": np.eye(2)[None]})
    found = evaluate(Predictor(bundle), data, resamples=20)
    for k, name in enumerate(("hot", "variable")):
        assert found.figure(f"{name}: AUROC").value == pytest.approx(
            oracle.roc_auc_score(truth[:, k], expit(x[:, k]))
        )
    assert found.heads[0].confusion is None
    assert found.heads[0].sets is None
    assert found.heads[0].mistakes[0].truth.removeprefix("not ") in ("hot", "variable")


def test_numbers_and_their_outliers(tmp_path, linear_bundle):
    task = Task(
        name="redshift", inputs={"x": Input(shape=(1,))}, network="none:none",
        heads={"redshift": Regression(names=("z",), outlier=0.15)},
    )  # fmt: skip
    rng = np.random.default_rng(3)
    truth = rng.uniform(0, 1, 500)
    x = (truth + 0.02 + rng.normal(0, 0.05, 500))[:, None].astype(np.float32)
    x[:10] += 1
    z = truth.astype(object)
    z[-3:] = None
    data = table(tmp_path / "d", {"z": z.tolist()}, x)
    members = np.array([0.9, 1.0, 1.1])[:, None, None]
    bundle = linear_bundle(tmp_path / "b", task, {"redshift": members})
    found = evaluate(Predictor(bundle), data, resamples=50, slices=("z",))
    errors = x[:-3, 0] - truth[:-3]
    (head,) = found.heads
    assert (head.n, head.unlabelled) == (497, 3)
    assert found.figure("bias").value == pytest.approx(errors.mean(), abs=1e-6)
    assert found.figure("outlier fraction").value == pytest.approx((np.abs(errors) > 0.15).mean())
    assert found.figure("NMAD").value == pytest.approx(0.05, rel=0.15)
    (residuals,) = head.residuals
    assert residuals.n.sum() == 497
    assert np.abs(residuals.middle - 0.02).max() < 0.03
    assert head.spread.measured.name == "rank correlation of spread and error"
    assert {one.row for one in head.mistakes[:10]} == set(range(10))
    assert {one.name for one in head.slices[0].measured} == {"bias", "NMAD", "outlier fraction"}
    assert json.dumps(found.as_dict(), allow_nan=False)


def test_heads_of_one_task_are_told_apart_by_a_prefix(tmp_path, linear_bundle):
    task = Task(
        name="two", inputs={"x": Input(shape=(1,))}, network="none:none",
        heads={"mass": Regression(names=("mass",)), "radius": Regression(names=("radius",))},
    )  # fmt: skip
    x = np.random.default_rng(4).normal(size=(60, 1)).astype(np.float32)
    data = table(tmp_path / "d", {"mass": x[:, 0] + 1, "radius": 2 * x[:, 0]}, x)
    bundle = linear_bundle(tmp_path / "b", task, {"mass": np.eye(1)[None], "radius": np.eye(1)[None]})
    found = evaluate(Predictor(bundle), data, resamples=20)
    assert found.figure("mass: bias").value == pytest.approx(-1, abs=1e-6)
    assert found.figure("radius: bias").value == pytest.approx(-x.mean(), abs=1e-6)
    with pytest.raises(UsageError, match="choose one of: mass: bias"):
        found.figure("bias")


def test_maps_are_judged_by_their_mean_error_and_their_peak(tmp_path, heat_map_bundle):
    rng = np.random.default_rng(5)
    maps = np.zeros((40, 8, 8), np.float32)
    y, x = rng.integers(1, 6, (2, 40))
    maps[np.arange(40), y, x] = 1
    maps[0] = 0  # nothing to be found
    image = np.roll(maps, 1, axis=2)[..., None]  # the "network" returns its input: one pixel off
    task = Task(
        name="where", inputs={"image": Input(shape=(8, 8, 1))}, network="none:none",
        heads={"place": HeatMap(shape=(8, 8), truth="place")},
    )  # fmt: skip
    inputs = {"image": Input(shape=(8, 8, 1)), "place": Input(shape=(8, 8))}
    with DatasetWriter(tmp_path / "d", name="maps", inputs=inputs, kind="simulated") as writer:
        writer.append({"image": image, "place": maps}, {"group": [str(k // 4) for k in range(40)]})
    found = evaluate(
        Predictor(heat_map_bundle(tmp_path / "b", task)), Dataset.open(tmp_path / "d"), resamples=10
    )
    assert found.figure("median offset of the peak in pixels").value == 1
    assert found.figure("share of peaks within 2 pixels").value == 1
    assert found.figure("mean absolute error").value == pytest.approx(39 / 40 * 2 / 64)


def test_one_class_only_is_told_in_one_sentence(toy_bundle, toy_dataset):
    stars = np.flatnonzero(toy_dataset.column("kind") == "star")
    with pytest.raises(DatasetError, match=f"real: all {len(stars)} labelled items are of one class"):
        evaluate(Predictor(toy_bundle), toy_dataset, stars)


def test_nothing_to_evaluate_and_unknown_columns_are_told(toy_bundle, toy_dataset):
    with pytest.raises(DatasetError, match="no row to evaluate"):
        evaluate(Predictor(toy_bundle), toy_dataset, np.array([], int))
    with pytest.raises(DatasetError, match="no column 'seeing'"):
        evaluate(Predictor(toy_bundle), toy_dataset, slices=("seeing",))


def test_channels_in_another_order_are_refused(toy_bundle, toy_dataset):
    turned = toy_dataset.info.inputs["image"].model_copy(update={"channels": ("difference", "reference")})
    other = replace(toy_dataset, info=toy_dataset.info.model_copy(update={"inputs": {"image": turned}}))
    with pytest.raises(PredictionError, match="channels of image"):
        evaluate(Predictor(toy_bundle), other)


def test_passes_with_dropout_give_the_spread_of_a_sample(
    tmp_path, toy_ensemble, toy_bundle, toy_dataset, monkeypatch
):
    monkeypatch.setattr("astrid.learn.evaluation._SPREAD_ROWS", 100)
    card = toy_bundle.card.model_copy(update={"uncertainty": Uncertainty(method="mc_dropout", passes=5)})
    models = {"model.onnx": toy_bundle, "spread.onnx": toy_ensemble}
    files = {name: (bundle.path / "model.onnx").read_bytes() for name, bundle in models.items()}
    bundle = save_bundle(tmp_path / "toy.test", card, files, toy_bundle.weights)
    found = evaluate(Predictor(bundle), toy_dataset, resamples=10)
    assert found.heads[0].spread.n == 100
    assert found.figure("AUCPR").value == evaluate(Predictor(toy_bundle), toy_dataset).figure("AUCPR").value
