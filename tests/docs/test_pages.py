"""What the site and the README take from the code and the results is what is there."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from astrid.cli.main import NOUNS


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
