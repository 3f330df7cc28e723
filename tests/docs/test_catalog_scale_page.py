"""The page on catalogues of light curves does what it says."""

from __future__ import annotations

from pathlib import Path


def test_the_page_imports_a_catalogue_and_runs_over_it(
    repository: Path, tmp_path: Path, monkeypatch, run_page
):
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "catalogs"))
    _, names = run_page(repository / "docs" / "guide" / "catalog_scale.md")
    assert (names["run"].state, names["run"].n_measured) == ("complete", 20)
    assert (tmp_path / "7.html").is_file()
    assert (tmp_path / "measured" / "run.json").is_file()
