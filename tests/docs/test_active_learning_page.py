"""The page on which labels are worth most does what it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def test_the_page_labels_two_hundred_items_once_each(repository: Path, run_page):
    _, names = run_page(repository / "docs" / "guide" / "active_learning.md")
    assert len(np.unique(names["labelled"])) == 200
    assert set(names["queue"].slot) == {"uncertain", "novel", "random"}
