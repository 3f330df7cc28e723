"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The directory with the real images; tests that ask for it are skipped where it is absent."""
    given = os.environ.get("ASTRID_REAL_DATA")
    root = Path(given) if given else REPOSITORY.parent / "shared" / "data"
    if not root.is_dir():
        pytest.skip(f"no real data at {root}; set ASTRID_REAL_DATA to the directory that holds images/")
    return root


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return REPOSITORY
