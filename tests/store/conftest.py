"""Stores on both databases, and batches for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from astrid.store import Batch, Pass, Score, open_store
from astrid.store.store import Store

BOTH = ("sqlite", "postgresql")


@pytest.fixture(params=BOTH)
def new_address(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], tuple[Path, str | None]]:
    """Gives folder and database of a store that does not exist yet, on each of the databases."""
    numbers = iter(range(1000))

    def new() -> tuple[Path, str | None]:
        database = None
        if request.param == "postgresql":
            database = request.getfixturevalue("postgresql").new_database()
        return tmp_path / f"store{next(numbers)}", database

    return new


@pytest.fixture
def store(new_address: Callable[[], tuple[Path, str | None]]) -> Iterator[Store]:
    with open_store(*new_address(), patience=10) as opened:
        yield opened


@pytest.fixture
def sqlite_store(tmp_path: Path) -> Iterator[Store]:
    """Where the database makes no difference."""
    with open_store(tmp_path / "store", patience=5) as opened:
        yield opened


@pytest.fixture(scope="session")
def make() -> Callable[..., Batch]:
    """Makes a batch of alerts with the given numbers; all that it holds follows from the arguments."""
    return make_batch


def make_batch(
    numbers: Sequence[int],
    *,
    night: str | Sequence[str | None] | None = "2026-11-01",
    survey: str = "ztf",
    bundles: Sequence[str] = ("braai.real1",),
    filters: Sequence[str] = ("everything",),
    edition: int = 0,
    size: int = 300,
    more: dict[str, Any] | None = None,
    **facts: Any,
) -> Batch:
    """Rows say which edition of the alert they are of, so that a test sees which one was stored."""
    n = len(numbers)
    ids = [f"{number:06d}" for number in numbers]
    places = [np.random.default_rng(number) for number in numbers]
    ra = [float(one.uniform(0, 360)) for one in places]
    dec = [float(np.degrees(np.arcsin(one.uniform(-1, 1)))) for one in places]
    rows = pa.table(
        {
            "survey": pa.array([survey] * n, pa.string()),
            "alert_id": pa.array(ids, pa.string()),
            "object_id": pa.array([f"object{number % 7}" for number in numbers], pa.string()),
            "ra": pa.array(ra, pa.float64()),
            "dec": pa.array(dec, pa.float64()),
            "healpix": pa.array(_healpix(ra, dec), pa.int64()),
            "mjd": pa.array([61345.0 + number / 1000 for number in numbers], pa.float64()),
            "night": pa.array([night] * n if night is None or isinstance(night, str) else night, pa.string()),
            "band": pa.array(["gri"[number % 3] for number in numbers], pa.string()),
            "magpsf": pa.array([18 + number % 50 / 20 for number in numbers], pa.float64()),
            "edition": pa.array([edition] * n, pa.int64()),
            "arrived": pa.array(
                [1_700_000_000_000_000 + number for number in numbers], pa.timestamp("us", "UTC")
            ),
            **(more or {}),
        }
    )
    packets = [_packet(number, edition, size) for number in numbers]
    scores = [
        Score(
            row,
            name,
            f"hash of {name}",
            "real",
            (numbers[row] % 100 + edition) / 200,
            0.01,
            "real",
            "real",
            "",
        )
        for row in range(n)
        for name in bundles
    ]
    passes = [Pass(row, name, f"hash of {name}") for row in range(n) for name in filters]
    facts = {"worker": "test", "started": time.time(), "arrived": time.time(), **facts}
    return Batch(rows, packets, scores, passes, {name: f"hash of {name}" for name in filters}, **facts)


def _packet(number: int, edition: int, size: int) -> Any:
    content = np.random.default_rng([number, edition]).bytes(size)
    return SimpleNamespace(content=lambda: content, suffix=".avro" if number % 2 else ".bin")


def _healpix(ra: list[float], dec: list[float]) -> list[int]:
    from astropy_healpix.healpy import ang2pix

    if not ra:
        return []
    return ang2pix(2**29, ra, dec, nest=True, lonlat=True).tolist()
