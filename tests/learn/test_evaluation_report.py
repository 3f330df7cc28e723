"""The page of an evaluation: whole, self-contained, and saying what was measured."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

from astrid.errors import OutputError
from astrid.learn.bundle import Calibration, Conformal, HeadCard
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.evaluation import evaluate
from astrid.learn.evaluation_report import write_evaluation
from astrid.learn.prediction import Predictor
from astrid.learn.robustness import robustness
from astrid.learn.task import HeatMap, Input, Multiclass, Multilabel, Regression, Task

VOID = {"meta", "link", "img", "br", "input"}


class Balance(HTMLParser):
    """Fails where a tag is closed that was not opened last."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def checked(path):
    """The page, after checks that hold for any of them."""
    text = path.read_text("utf-8")
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    plots = re.findall(r'<svg class="plot".*?</svg>', text, flags=re.DOTALL)
    assert plots
    for plot in plots:
        ET.fromstring(plot.replace("<svg", '<svg xmlns:xlink="http://www.w3.org/1999/xlink"', 1))  # noqa: S314
    assert not re.search(r'(?:src|href)="(?!data:|#)', text)  # nothing is fetched
    assert "#0a0b" not in text  # every stand-in became a colour of the page
    assert "nan" not in re.sub(r"data:image[^\"]+", "", text)
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    return text


@pytest.fixture(scope="module")
def evaluation(toy_ensemble, toy_dataset):
    rows = np.flatnonzero(toy_dataset.column("field") >= "field15")
    return evaluate(
        Predictor(toy_ensemble), toy_dataset, rows, on="30 fields", night_rate=5000, prevalence=0.02,
        slices=("mag", "kind"), resamples=20,
    )  # fmt: skip


def test_page_of_a_yes_or_no_says_what_was_measured(evaluation, tmp_path):
    text = checked(write_evaluation(evaluation, tmp_path / "out", command="astrid models evaluate toy.test"))
    missed = evaluation.figure("FNR at the threshold").value
    assert f"Misses {100 * missed:.2f} % of real" in text
    assert "For 5,000 items a night, 2.00 % of them real, as was given" in text
    assert "simulated data" in text
    assert "Limits of the model: Only for tests." in text
    assert text.count("<img ") == len(evaluation.heads[0].mistakes)
    assert "astrid models evaluate toy.test" in text
    for title in ("Precision and recall", "Do probabilities come true?", "By mag", "Sets with a promise"):
        assert title in text


def test_numbers_beside_the_page_are_those_of_the_evaluation(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    assert facts["bundle"] == "toy.test"
    assert facts["heads"] == evaluation.as_dict()["heads"]
    assert facts["software"].startswith("AstrID ")


def test_what_was_said_of_turned_images_is_on_the_page_and_in_the_numbers(
    evaluation, toy_ensemble, toy_dataset, tmp_path
):
    turned = robustness(Predictor(toy_ensemble), toy_dataset, np.arange(40), columns=("mag",), resamples=5)
    text = checked(write_evaluation(evaluation, tmp_path / "out", turned=turned))
    assert "However it is turned" in text
    assert "40 items in 8 flips and rotations" in text
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    assert facts["orientations"] == turned.as_dict()
    assert "mag" in facts["orientations"]["over"]


def test_a_page_is_replaced_but_no_foreign_file(evaluation, tmp_path):
    out = tmp_path / "out"
    first = write_evaluation(evaluation, out).read_text("utf-8")
    assert write_evaluation(evaluation, out).read_text("utf-8") == first  # the same every time
    assert sorted(path.name for path in out.iterdir()) == ["report.html", "report.json"]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").touch()
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write_evaluation(evaluation, tmp_path / "mine")


def test_a_threshold_for_another_prevalence_is_warned_of(evaluation, tmp_path):
    text = write_evaluation(evaluation, tmp_path / "out").read_text("utf-8")
    assert re.search(r"The threshold 0\.\d+ on real costs \d\.\d times what the best one", text)


def test_pages_of_all_other_heads(tmp_path, linear_bundle, heat_map_bundle):
    labels = ("a <b>", "c & d", "e")
    rng = np.random.default_rng(1)
    task = Task(
        name="many", title="Many & <more>", inputs={"x": Input(shape=(3,))}, network="none:none",
        heads={
            "type": Multiclass(labels=labels),
            "tags": Multilabel(labels=("hot", "variable")),
            "z": Regression(names=("z", "mass"), unit="", outlier=0.5),
        },
    )  # fmt: skip
    codes = rng.integers(0, 3, 200)
    x = (np.eye(3)[codes] + rng.normal(0, 0.5, (200, 3))).astype(np.float32)
    with DatasetWriter(tmp_path / "d", name="many", inputs=task.inputs, kind="real") as writer:
        writer.append(
            {"x": x},
            {
                "group": [str(k // 5) for k in range(200)],
                "type": np.array(labels)[codes],
                "tags": [["hot"] if value > 0.5 else ["variable"] for value in x[:, 0]],
                "z": x[:, 0],
                "mass": x[:, 1] + rng.normal(0, 0.1, 200),
                "seeing": rng.uniform(1, 2, 200),
            },
        )
    card = HeadCard(
        calibration=Calibration(method="temperature", temperature=2.0),
        conformal=Conformal(
            alpha=dict.fromkeys(labels, 0.01), quantile=dict.fromkeys(labels, 0.3), n=dict.fromkeys(labels, 9)
        ),
    )
    matrices = {
        "type": 3 * np.eye(3)[None],
        "tags": np.array([[[3.0, -3], [0, 0], [0, 0]]]),
        "z": np.eye(3)[None, :, :2],
    }
    bundle = linear_bundle(tmp_path / "b", task, matrices, {"type": card})
    found = evaluate(Predictor(bundle), Dataset.open(tmp_path / "d"), slices=("seeing",), resamples=10)
    text = checked(write_evaluation(found, tmp_path / "out"))
    assert "Many &amp; &lt;more&gt;" in text
    assert "<b>c & d" not in text
    assert "less than the 99.0 % that were promised" in text
    assert "Errors of mass" in text


def test_page_of_maps(tmp_path, heat_map_bundle):
    rng = np.random.default_rng(2)
    maps = rng.random((80, 8, 8)).astype(np.float32)
    inputs = {"image": Input(shape=(8, 8, 1)), "place": Input(shape=(8, 8))}
    task = Task(
        name="where", inputs={"image": inputs["image"]}, network="none:none",
        heads={"place": HeatMap(shape=(8, 8), truth="place")},
    )  # fmt: skip
    with DatasetWriter(tmp_path / "d", name="maps", inputs=inputs, kind="simulated") as writer:
        image = maps[..., None] + rng.normal(0, 0.05, (80, 8, 8, 1))
        columns = {"group": [str(k // 4) for k in range(80)], "mag": rng.uniform(20, 22, 80)}
        writer.append({"image": image, "place": maps}, columns)
    found = evaluate(
        Predictor(heat_map_bundle(tmp_path / "b", task)), Dataset.open(tmp_path / "d"), resamples=10,
        slices=("mag",),
    )  # fmt: skip
    text = checked(write_evaluation(found, tmp_path / "out"))
    assert "Mean absolute error 0.04" in text
    assert text.count("<img ") == 24
