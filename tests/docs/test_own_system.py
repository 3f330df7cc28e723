"""The page on one's own system does what it says, in no more lines than it says."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch):
    """An empty directory, from which modules are found as from that of a person, and a place for bundles."""
    monkeypatch.setenv("ASTRID_BUNDLES", str(tmp_path / "bundles"))
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("rings", None)


def test_sixty_lines_lead_from_a_folder_of_arrays_to_a_served_and_explained_bundle(
    repository: Path, here: Path, run_page
):
    pytest.importorskip("lightning")
    codes, names = run_page(repository / "docs" / "guide" / "own_system.md")
    assert sum(bool(line.strip()) for code in codes for line in code.splitlines()) <= 60
    assert names["ring"].decision.tolist() == ["ring"]
    assert names["prediction"].bundle == "rings.v1"
    rows = pq.read_table(here / "scores.parquet").to_pydict()
    assert len(rows["ring"]) == 1200
    assert max(rows["ring_spread"]) > 0.01
    card = json.loads((here / "bundles" / "rings.v1" / "card.json").read_text())
    figures = {one["name"]: one["value"] for one in card["metrics"]}
    assert figures["AUCPR"] > 0.95
    for name in ("report/report.html", "why.png", "run/curves.png"):
        assert (here / name).stat().st_size > 0
