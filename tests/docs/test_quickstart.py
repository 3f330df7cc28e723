"""The quickstart does what it says: its blocks are run in order, in one empty directory."""

from __future__ import annotations

from pathlib import Path


def test_every_block_of_the_quickstart_runs(repository: Path, tmp_path: Path, run_page):
    codes, _ = run_page(repository / "docs" / "quickstart.md")
    assert len(codes) > 5
    assert (tmp_path / "run1" / "report.html").stat().st_size > 0
