"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from collections.abc import Iterator
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


@pytest.fixture(scope="session", autouse=True)
def no_bundles_of_the_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests see no bundle but those that come with the package or that they make."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASTRID_BUNDLES", str(tmp_path_factory.mktemp("bundles")))
        yield
