"""What the site and the README take from the code and the results is what is there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from astrid.cli.main import NOUNS
from astrid.learn import registry
from astrid.learn.bundle import Card, Decision, HeadCard, Measured, save_bundle
from astrid.zoo import task, tasks


@pytest.fixture
def pages(repository: Path):
    spec = importlib.util.spec_from_file_location("pages", repository / "docs" / "pages.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_command_is_in_the_reference(pages):
    text = pages.commands()
    for noun in NOUNS:
        assert f"## astrid {noun}" in text
    assert "### astrid images difference" in text
    assert "`--reference`" in text


def test_the_figures_of_the_readme_are_those_of_the_last_run(pages, repository: Path):
    readme = (repository / "README.md").read_text(encoding="utf-8")
    assert pages.readme_figures() in readme, "run: python docs/pages.py"
    assert pages.readme_models() in readme, "run: python docs/pages.py"


def test_a_missed_goal_is_shown_as_missed(pages, tmp_path: Path, monkeypatch):
    row = {"value": 2.5, "unit": "s", "ok": False, "peer": None, "ratio": None, "n": 3, "data": "simulated"}
    peer = {
        **row,
        "name": "2048², same pair: CPU",
        "goal": "<= 2",
        "ok": False,
        "peer": "other 1.0: 2",
        "ratio": 1.25,
    }
    rows = [{**row, "name": "CPU", "goal": "<= 2"}, peer, {**peer, "peer": "third: 5"}]
    report = {"bench": "difference", "command": "astrid bench difference", "versions": {"astrid": "0"}}
    report |= {"cpu": "a processor", "date": "2026-01-02T03:04:05", "rows": rows}
    results = tmp_path / "benchmarks" / "results"
    results.mkdir(parents=True)
    (results / "difference.json").write_text(json.dumps(report))
    monkeypatch.setattr(pages, "REPOSITORY", tmp_path)
    assert "| CPU | 2.5 s | <= 2 | **missed** |" in pages.benchmarks()
    figures = pages.readme_figures()
    assert "| CPU | 2.5 s | <= 2 | **missed** | simulated |" in figures
    assert "| one simulated pair | AstrID | other 1.0 | third |" in figures
    assert "| CPU | 2.5 s | 2 | 5 |" in figures


def test_every_system_is_in_the_table_with_its_paper(pages):
    text = pages.systems()
    for name in tasks():
        assert f"| `{name}` |" in text
        assert task(name).paper in text


def test_a_bundle_that_is_shipped_has_its_card_on_the_site(pages, tmp_path: Path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    monkeypatch.setattr(registry, "_shipped_directory", lambda: shipped)
    assert "None yet" in pages.bundles()
    figures = [
        Measured(name="AUCPR", value=0.91, low=0.9, high=0.92, n=10, on="test | part", kind="simulated"),
        Measured(name="AUCPR", value=0.8, n=10, on="alerts", kind="real", domain="out"),
    ]
    head = HeadCard(decision=Decision(threshold=0.25, rule="least cost"))
    card = Card(
        name="braai.x", task=task("braai"), created="2026-01-01", metrics=figures, heads={"real": head},
        command="astrid models train braai", limits="Not for streaks.",
    )  # fmt: skip
    save_bundle(shipped / "braai.x", card, {"model.onnx": b""}, {"w": np.zeros(1)})
    text = pages.bundles()
    simulated, real = text.index("On simulated data"), text.index("On real data")
    assert "| AUCPR | 0.91 | 0.9 to 0.92 | 10 | test \\| part | as trained on |" in text[simulated:real]
    assert "| AUCPR | 0.8 |  | 10 | alerts | other than trained on |" in text[real:]
    for words in ("### braai.x", "| stage | live |", "0.25: least cost", "Not for streaks.", "train braai"):
        assert words in text


def test_every_column_of_alerts_is_in_the_guide(pages):
    from astrid.stream.columns import Columns

    text = pages.alert_columns()
    for one in Columns():
        assert f"| `{one.name}` | {one.type} |" in text
    assert "### Of ztf" in text
    assert "| `ztf_drb` | float64 |  | 0 … 1 | deep real/bogus score of the survey |" in text
