"""A store of small alerts whose truth is known, people who answer about them, and a bundle to begin from."""

from __future__ import annotations

import io
import runpy
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import fastavro
import numpy as np
import pyarrow as pa

from astrid.alerts import centred_triplet, decode, packets_of
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.export import export_run
from astrid.learn.settings import Optimizer, Split, Training
from astrid.learn.task import Binary, Cost, Input, Task
from astrid.learn.training import train
from astrid.store import Batch
from astrid.store.labels import NewLabel, QueueRow
from astrid.store.store import Store

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "stream" / "samples.py")))

SIDE = 21
TASK = Task(
    name="braai",
    inputs={
        "triplet": Input(shape=(SIDE, SIDE, 3), channels=("science", "reference", "difference")),
    },
    heads={"real": Binary(labels=("bogus", "real"), cost=Cost(miss=20, false_alarm=1))},
    represent="astrid.images.cutouts:triplets",
    network="astrid.networks.vgg:VGG6",
    network_options={"normalization": "none", "width": 4},
    training=Training(
        epochs=6, batch_size=32, optimizer=Optimizer(lr=0.01), trackers=(), accelerator="cpu", threads=1,
        augment="none", split=Split(validation=0.2, test=0),
    ),
    group="field",
)  # fmt: skip
PER_OBJECT = 2  # alerts of one object


def is_real(number: int) -> bool:
    """Half of the objects are real, in no order."""
    return bool(np.random.default_rng([7, number // PER_OBJECT]).random() < 0.5)


def images(number: int) -> np.ndarray:
    """(3, SIDE, SIDE): a star that has appeared, or a dipole, in noise."""
    rng = np.random.default_rng([1, number])
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE // 2
    star = np.exp(-(x**2 + y**2) / (2 * 1.5**2))
    planes = rng.normal(size=(3, SIDE, SIDE))
    flux = rng.uniform(2, 5)
    shape = star if is_real(number) else np.roll(star, 1, axis=1) - np.roll(star, -1, axis=1)
    planes[2] += flux * shape
    return planes


def packet(number: int) -> bytes:
    record = {
        "schemavsn": "4.02", "objectId": object_id(number), "candid": number,
        "candidate": samples.candidate(number, 61345.0 + number * 1e-4), "prv_candidates": None,
        **{
            name: samples.stamp(plane)
            for name, plane in zip(samples.CUTOUTS, images(number), strict=True)
        },
    }  # fmt: skip
    stream = io.BytesIO()
    fastavro.writer(stream, samples.SCHEMA, [record], codec="null", sync_marker=b"s" * 16)
    return stream.getvalue()


def object_id(number: int) -> str:
    return f"ZTF26{number // PER_OBJECT:07d}"


def key(number: int) -> tuple[str, str]:
    return "ztf", str(number)


def fill(store: Store, numbers: Sequence[int]) -> None:
    """Store alerts."""
    n = len(numbers)
    rows = pa.table(
        {
            "survey": ["ztf"] * n,
            "alert_id": [str(one) for one in numbers],
            "object_id": [object_id(one) for one in numbers],
            "ra": pa.array([10.0] * n),
            "dec": pa.array([1.0] * n),
            "healpix": pa.array([1] * n, pa.int64()),
            "mjd": pa.array([61345.0 + one * 1e-4 for one in numbers]),
            "night": ["2026-11-01"] * n,
            "band": ["g"] * n,
            "magpsf": pa.array([18.0] * n),
        }
    )
    packets = [SimpleNamespace(content=lambda one=one: packet(one), suffix=".avro") for one in numbers]
    now = time.time()
    store.write(Batch(rows, packets, worker="test", started=now, arrived=now))


def freeze(store: Store, numbers: Sequence[int]) -> None:
    """Keep alerts for comparing models."""
    rows = [
        QueueRow("ztf", str(one), place, None, "random", frozen=True) for place, one in enumerate(numbers)
    ]
    store.labels.save_queue("braai", rows)


def answer(
    store: Store,
    numbers: Sequence[int],
    said: Callable[[int], bool] = is_real,
    *,
    user: str = "ana",
    at: float | None = None,
) -> None:
    """Somebody answers about alerts."""
    now = time.time() if at is None else at
    store.labels.add(
        [
            NewLabel(
                key=f"{user} {one} {now}", task="braai", survey="ztf", alert_id=str(one), user=user,
                answer="label", label="real" if said(one) else "bogus", at=now,
            )
            for one in numbers
        ]
    )  # fmt: skip


def triplets(numbers: Sequence[int]) -> np.ndarray:
    """As the model sees them."""
    return np.stack(
        [centred_triplet(decode(next(packets_of("x", packet(one), ".avro"))), SIDE) for one in numbers]
    )


def data_set(path: Path, numbers: Sequence[int], said: Callable[[int], bool] = is_real) -> Dataset:
    """An older data set of the task."""
    with DatasetWriter(path, name="older", inputs=TASK.inputs, kind="simulated", group="field") as writer:
        writer.append(
            {"triplet": triplets(numbers)},
            {
                "field": [object_id(one) for one in numbers],
                "real": ["real" if said(one) else "bogus" for one in numbers],
            },
        )
    return Dataset.open(path)


def bundle(folder: Path, data: Dataset, name: str, **changes: object) -> Bundle:
    """A bundle that was trained on a data set."""
    run = train(TASK, data, folder / "run", TASK.training.model_copy(update=changes))
    return export_run([run], data, folder / name, name, mc_dropout=0)


def copy(one: Bundle, folder: Path) -> None:
    """Put a bundle among the user's own."""
    shutil.copytree(one.path, folder / one.name)
