"""The page on catalogues does what it says."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq


def test_the_page_imports_and_matches_a_catalogue(repository: Path, tmp_path: Path, monkeypatch, run_page):
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "catalogs"))
    _, names = run_page(repository / "docs" / "guide" / "catalogs.md")
    assert names["found"].rows["name"].to_pylist() == ["Sirius"]
    assert names["arrays"]["stars_mag"].to_pylist() == [-1.46, None, None]
    assert pq.read_table(tmp_path / "matched.parquet")["stars_name"].to_pylist() == ["Vega", "Sirius", None]
