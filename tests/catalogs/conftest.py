"""Catalogues made for a test, in a place of its own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrid.catalogs import Catalog, import_catalog


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the catalogues of this test are."""
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def make(home: Path, tmp_path: Path) -> Callable[..., Catalog]:
    """Imports columns as a catalogue."""

    def call(name: str, table: dict[str, Any], /, **options: Any) -> Catalog:
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(table), path)
        return import_catalog(path, name, **options)

    return call


@pytest.fixture(scope="session")
def sky() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Positions over the whole sky, many of them near the poles and near right ascension 0."""

    def draw(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
        third = n // 3
        dec[:third] = rng.choice([-1, 1], third) * (90 - rng.exponential(0.5, third))
        ra[third : 2 * third] = rng.normal(0, 0.5, third) % 360
        dec[third : 2 * third] /= 10
        return ra, np.clip(dec, -90, 90)

    return draw
