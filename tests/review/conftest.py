"""A store of alerts whose images nobody looks at: rows and scores that follow from their numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from astrid.store import Batch, Score, open_store
from astrid.store.labels import NewLabel
from astrid.store.store import Store

BUNDLE, HASH = "braai.old", "hash of braai.old"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store", patience=10) as opened:
        yield opened


@pytest.fixture
def people() -> SimpleNamespace:
    """What the tests of a queue do with a store."""
    return SimpleNamespace(fill=fill, key=key, said=said, probability=probability, BUNDLE=BUNDLE, HASH=HASH)


def key(number: int) -> tuple[str, str]:
    return "ztf", f"{number:05d}"


def probability(number: int) -> float:
    """Of being real, by the bundle."""
    return float(np.random.default_rng([3, number]).beta(0.3, 0.6))


def fill(
    store: Store,
    numbers: Sequence[int],
    *,
    night: str = "2026-11-01",
    per_object: int = 1,
    score: Callable[[int], float | None] | dict[str, float] = probability,
    more: dict[str, Any] | None = None,
) -> None:
    """Store alerts, with what a bundle says of them."""
    n = len(numbers)
    rng = np.random.default_rng(list(numbers))
    rows = pa.table(
        {
            "survey": ["ztf"] * n,
            "alert_id": [key(one)[1] for one in numbers],
            "object_id": [f"object{one // per_object:05d}" for one in numbers],
            "ra": pa.array([10.0] * n),
            "dec": pa.array([1.0] * n),
            "healpix": pa.array([1] * n, pa.int64()),
            "mjd": pa.array([61345.0 + one * 1e-4 for one in numbers]),
            "night": [night] * n,
            "band": ["gri"[one % 3] for one in numbers],
            "magpsf": pa.array([17 + one % 100 / 25 for one in numbers]),
            "snr": pa.array(rng.lognormal(2, 1, n)),
            "n_detections": pa.array(rng.integers(0, 30, n)),
            "g_r": pa.array(np.where(rng.random(n) < 0.3, np.nan, rng.normal(size=n)), from_pandas=True),
            "image_problem": pa.array([None] * n, pa.string()),
            **(more or {}),
        }
    )
    packets = [SimpleNamespace(content=lambda one=one: b"packet %d" % one, suffix=".bin") for one in numbers]
    said_by = dict.fromkeys(score, None) if isinstance(score, dict) else {BUNDLE: None}
    scores = [
        Score(row, name, f"hash of {name}", "real", score[name] if isinstance(score, dict) else score(one))
        for row, one in enumerate(numbers)
        for name in said_by
    ]
    now = time.time()
    store.write(Batch(rows, packets, scores, worker="test", started=now, arrived=now))


def said(number: int, user: str = "ada", label: str | None = "real", **facts: Any) -> NewLabel:
    """An answer, as the store takes it."""
    survey, alert_id = key(number)
    values = {"key": f"{user}-{number}-{label}", "task": "braai", "survey": survey, "alert_id": alert_id}
    values |= {"user": user, "answer": "label" if label else "unsure", "label": label, "at": time.time()}
    return NewLabel(**{**values, **facts})
