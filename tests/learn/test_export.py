"""From trainings to a bundle: what is in it, what it gives, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from astrid.errors import BundleError, DatasetError, UsageError
from astrid.learn.applicability import training_ranges
from astrid.learn.bundle import Bundle, Measured
from astrid.learn.calibration import fit_temperature
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.decisions import least_cost_threshold
from astrid.learn.export import export, export_run
from astrid.learn.prediction import Predictor, calibrated
from astrid.learn.settings import Training
from astrid.learn.splits import Parts
from astrid.learn.task import Input, Multiclass, Regression, Task
from astrid.learn.training import Run

MakeRun = Callable[..., Run]


@pytest.fixture(scope="module")
def task(toy_task: Task) -> Task:
    return toy_task.model_copy(update={"network_options": {"dropout": 0.5}})


@pytest.fixture(scope="module")
def parts(toy_dataset: Dataset) -> Parts:
    field = toy_dataset.column("field")
    train, test = field < "field20", field >= "field35"
    return Parts(*(np.flatnonzero(rows) for rows in (train, ~train & ~test, test)))


@pytest.fixture(scope="module")
def make_run(
    task: Task,
    toy_dataset: Dataset,
    toy_bundle: Bundle,
    parts: Parts,
    tmp_path_factory: pytest.TempPathFactory,
) -> MakeRun:
    """A run directory as training leaves it, with the weights of the toy bundle."""

    def make(*, shift: float = 0.0, **changes: object) -> Run:
        path = tmp_path_factory.mktemp("run")
        weights = dict(toy_bundle.weights)
        weights["head.bias"] = weights["head.bias"] + np.float32(shift)
        save_file(weights, path / "best.safetensors")
        record = {
            "data": {"name": "toy", "hash": toy_dataset.info.hash, "n": 900}, "state": "done",
            "parent": "toy.old 0123", "command": f"astrid models train toy --seed {shift:g}",
        }  # fmt: skip
        fields = {"task": task, "settings": Training(seed=4), "parts": parts, "record": record} | changes
        return Run(path, **fields)

    return make


@pytest.fixture(scope="module")
def bundle(make_run: MakeRun, toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "toy.one"
    metrics = [Measured(name="AUCPR", value=0.9, n=200, on="test part of toy", kind="simulated")]
    return export_run(
        [make_run()], toy_dataset, out, "toy.one", mc_dropout=10, int8=True, metrics=metrics,
        licence="CC0-1.0", limits="Never at night.", seed=5,
    )  # fmt: skip


@pytest.fixture(scope="module")
def ensemble(make_run: MakeRun, toy_dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    out = tmp_path_factory.mktemp("bundles") / "toy.three"
    runs = [make_run(shift=shift) for shift in (0.0, 1.0, 2.0)]
    return export_run(
        runs,
        toy_dataset,
        out,
        "toy.three",
        calibration="none",
        alpha={"real": {"real": 0.1}},
        prevalence=0.01,
    )


def test_the_bundle_gives_what_the_network_gives(
    bundle: Bundle, make_run: MakeRun, toy_dataset: Dataset, parts: Parts
) -> None:
    import torch

    images = toy_dataset.take("image", parts.test)
    with torch.inference_mode():
        wanted = make_run().network()(image=torch.from_numpy(images))["real"].numpy()
    found = Predictor(bundle).logits({"image": images})["real"]
    np.testing.assert_allclose(found[0], wanted, atol=1e-4, rtol=1e-5)


def test_calibration_and_threshold_are_those_of_the_validation_part(
    bundle: Bundle, toy_dataset: Dataset, parts: Parts
) -> None:
    head = bundle.task.heads["real"]
    rows = parts.validation
    labels = toy_dataset.labels("real", head)[rows]
    logits = Predictor(bundle).logits({"image": toy_dataset.take("image", rows)})["real"]
    card = bundle.card.heads["real"]
    assert card.calibration.temperature == pytest.approx(
        fit_temperature(logits, labels).temperature, rel=1e-4
    )
    p = calibrated(logits, head, card.calibration)[0, :, 0]
    assert card.decision.threshold == pytest.approx(
        least_cost_threshold(labels, p, head.cost).threshold, abs=1e-4
    )
    assert card.calibration.fitted_on == f"validation part of toy, {len(rows)} items"
    assert card.conformal.n == {"bogus": int((labels == 0).sum()), "real": int((labels == 1).sum())}
    assert card.conformal.alpha["real"] < card.conformal.alpha["bogus"]


def test_rates_and_prevalence_that_were_given_are_in_the_card(ensemble: Bundle) -> None:
    card = ensemble.card.heads["real"]
    assert card.conformal.alpha == {"bogus": 0.05, "real": 0.1}
    assert card.decision.rule == "least expected cost, miss 20, false alarm 1, prevalence 0.01"


def test_a_prevalence_needs_a_head_of_yes_or_no(
    make_run: MakeRun, task: Task, toy_dataset: Dataset, tmp_path: Path
) -> None:
    heads = {"real": Multiclass(labels=("bogus", "real"))}
    run = make_run(task=task.model_copy(update={"heads": heads}))
    with pytest.raises(UsageError, match="toy has no head of yes or no"):
        export_run([run], toy_dataset, tmp_path / "b", "toy.b", prevalence=0.1)


def test_the_card_tells_how_the_model_was_made(bundle: Bundle, toy_dataset: Dataset, parts: Parts) -> None:
    card = bundle.card
    (data,) = card.data
    assert (data.name, data.hash, data.kind) == ("toy", toy_dataset.info.hash, "simulated")
    assert data.parts == {"train": 400, "validation": 300, "test": 200}
    assert data.recipe == {"seed": 42}
    assert card.training.seed == 4
    assert card.parent == "toy.old 0123"
    assert card.command == "astrid models train toy --seed 0"
    assert card.limits == "Only for tests. Never at night."
    assert card.licence == "CC0-1.0"
    assert card.metrics[0].name == "AUCPR"
    assert card.uncertainty.model_dump() == {"method": "mc_dropout", "passes": 10, "seed": 5}
    assert 0 <= card.parity < 1e-5
    images = {"image": toy_dataset.take("image", parts.train)}
    assert card.ranges == training_ranges(card.task.inputs, images)


def test_the_same_item_has_the_same_spread_and_another_seed_another(
    bundle: Bundle, toy_dataset: Dataset
) -> None:
    import torch

    from astrid.learn.uncertainty import Passes

    images = {"image": toy_dataset.take("image", np.arange(20))}
    one, again = (Predictor(bundle)(images).heads["real"].spread for _ in range(2))
    np.testing.assert_array_equal(one, again)
    np.testing.assert_allclose(
        Predictor(bundle)({"image": images["image"][3:4]}).heads["real"].spread[0], one[3], atol=1e-6
    )
    assert (one > 0).all()
    head, found = bundle.task.heads["real"], {}
    for seed in (5, 6):
        with torch.inference_mode():
            (logits,) = Passes(*bundle.networks(), bundle.task, 10, seed)(torch.from_numpy(images["image"]))
        found[seed] = calibrated(logits.numpy(), head, bundle.card.heads["real"].calibration).std(axis=0)
    np.testing.assert_allclose(one, found[5], atol=1e-5)  # the graph has the masks of its seed
    assert not np.allclose(one, found[6], atol=1e-3)


def test_what_eight_bits_lose_is_in_the_card(bundle: Bundle, parts: Parts) -> None:
    loss = bundle.card.int8
    assert loss["items"] == len(parts.validation)
    assert 0 < loss["real: mean change"] <= loss["real: largest change"] < 0.4
    assert loss["real: recall before"] > 0.9
    assert Predictor(bundle, int8=True).bundle is bundle


def test_the_members_of_an_ensemble_are_in_one_graph_and_their_weights_in_one_file(
    ensemble: Bundle, toy_dataset: Dataset
) -> None:
    assert ensemble.card.uncertainty.passes == 3
    assert "spread.onnx" not in ensemble.card.files
    logits = Predictor(ensemble).logits({"image": toy_dataset.take("image", np.arange(5))})["real"]
    np.testing.assert_allclose(np.diff(logits, axis=0), 1, atol=1e-4)
    np.testing.assert_allclose(
        ensemble.weights["2.head.bias"] - ensemble.weights["0.head.bias"], 2, atol=1e-6
    )
    assert ensemble.card.command.count("astrid models train") == 3
    assert ensemble.card.heads["real"].calibration.method == "none"


def test_a_network_without_dropout_gets_no_spread(
    make_run: MakeRun, toy_task: Task, toy_dataset: Dataset, tmp_path: Path
) -> None:
    made = export_run(
        [make_run(task=toy_task)], toy_dataset, tmp_path / "b", "toy.plain", calibration="isotonic"
    )
    assert made.card.uncertainty.method == "none"
    assert sorted(made.card.files) == ["model.onnx", "weights.safetensors"]
    assert made.card.heads["real"].calibration.method == "isotonic"


def test_a_model_with_classes_and_numbers_is_exported_whole(tmp_path: Path) -> None:
    task = Task(
        name="two",
        inputs={"x": Input(shape=(3,))},
        heads={"kind": Multiclass(labels=("a", "b", "c")), "size": Regression(names=("size",))},
        network="astrid.networks.dense:Dense",
    )
    rng = np.random.default_rng(0)
    with DatasetWriter(tmp_path / "data", name="two", inputs=task.inputs, kind="simulated") as writer:
        kinds = [("a", "b", "c")[row % 3] for row in range(90)]
        rows = {"group": [str(row) for row in range(90)], "kind": kinds, "size": rng.normal(size=90)}
        writer.append({"x": rng.normal(size=(90, 3)).astype(np.float32)}, rows)
    dataset = Dataset.open(tmp_path / "data")
    weights = {name: one.numpy() for name, one in task.build_network().state_dict().items()}
    save_file(weights, tmp_path / "best.safetensors")
    parts = Parts(*np.split(np.arange(90), (30, 60)))
    record = {"data": {"hash": dataset.info.hash}, "command": "none"}
    run = Run(tmp_path, task, Training(), parts, record)
    made = export_run([run], dataset, tmp_path / "b", "two.a", int8=True)
    assert set(made.card.heads) == {"kind"}
    assert {"kind: accuracy after", "size: largest change"} <= set(made.card.int8)
    found = Predictor(made)({"x": dataset.take("x", np.arange(5))})
    assert found.heads["kind"].values.shape == (5, 3)
    assert found.heads["size"].values.shape == (5, 1)


def test_what_does_not_go_together_is_refused(
    make_run: MakeRun, toy_task: Task, toy_dataset: Dataset, parts: Parts, tmp_path: Path
) -> None:
    out = tmp_path / "b"
    swapped = Parts(parts.validation, parts.train, parts.test)
    other_data = {**make_run().record, "data": {"name": "other", "hash": "0", "n": 3}}
    for runs, name, error, message in [
        ([], "toy.a", UsageError, "there is no training to export"),
        ([make_run()], "braai.a", UsageError, r"'braai\.a' does not fit task toy; call it toy\.<tag>"),
        ([make_run(), make_run(task=toy_task)], "toy.a", UsageError, "is of another task"),
        ([make_run(), make_run(parts=swapped)], "toy.a", UsageError, "has another split"),
        ([make_run(record=other_data)], "toy.a", BundleError, "was trained on other with another content"),
    ]:
        with pytest.raises(error, match=message):
            export_run(runs, toy_dataset, out, name)
    none = Parts(parts.train, parts.validation[:0], parts.test)
    with pytest.raises(UsageError, match="has no validation part"):
        export_run([make_run(parts=none)], toy_dataset, out, "toy.a")
    stars = np.flatnonzero(toy_dataset.column("real") == "real")
    only = Parts(parts.train, np.intersect1d(parts.validation, stars), parts.test)
    with pytest.raises(DatasetError, match="all labelled items are of one class"):
        export_run([make_run(parts=only)], toy_dataset, out, "toy.a", mc_dropout=0)
    assert not out.exists()


def test_passes_that_cannot_be_are_refused(make_run: MakeRun, task: Task) -> None:
    network = make_run().network()
    for networks, passes, message in [
        ([], 0, "there is no network"),
        ([network, network], 5, "the spread of an ensemble is that of its members"),
        ([network], 1, "1 passes with dropout have no spread"),
    ]:
        with pytest.raises(UsageError, match=message):
            export(networks, task, mc_dropout=passes)
