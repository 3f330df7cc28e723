"""Claims of `learn.loading`: every row once, whole batches, bounded memory, processes that share."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.loading import Batches, Items, batch_loader
from astrid.learn.sampling import Order
from astrid.learn.task import Binary, HeatMap, Input, Multiclass, Multilabel, Regression, Task


@pytest.fixture(scope="module")
def numbered(tmp_path_factory) -> tuple[Task, Dataset]:
    """205 rows whose inputs and targets say which row they are."""
    path = tmp_path_factory.mktemp("numbered") / "data"
    n = 205
    task = Task(
        name="numbered",
        inputs={"image": Input(shape=(3, 3, 1)), "facts": Input(shape=(2,))},
        heads={
            "real": Binary(labels=("no", "yes")),
            "type": Multiclass(labels=("a", "b", "c")),
            "tags": Multilabel(labels=("x", "y")),
            "size": Regression(names=("row",)),
            "where": HeatMap(shape=(3, 3), truth="map"),
        },
        network="astrid.networks.dense:Dense",
    )
    number = np.arange(n, dtype=np.float32)
    arrays = {
        "image": np.broadcast_to(number[:, None, None, None], (n, 3, 3, 1)),
        "facts": np.stack([number, -number], axis=1),
        "map": np.broadcast_to(number[:, None, None], (n, 3, 3)),
    }
    rows = {
        "group": [f"g{k}" for k in range(n)],
        "real": [None if k == 7 else "yes" if k % 2 else "no" for k in range(n)],
        "type": ["abc"[k % 3] for k in range(n)],
        "tags": [["x"] if k % 2 else ["x", "y"] for k in range(n)],
        "row": number,
    }
    inputs = {**task.inputs, "map": Input(shape=(3, 3))}
    with DatasetWriter(path, name="numbered", inputs=inputs, kind="simulated") as writer:
        writer.append(arrays, rows)
    return task, Dataset.open(path)


def loaded(numbered, batches, workers=0):
    task, dataset = numbered
    return list(batch_loader(Items(dataset, task), batches, workers))


def test_epoch_brings_every_row_once_with_what_belongs_to_it(numbered):
    batches = loaded(numbered, Batches(Order(np.arange(205), 1), 20))
    rows = torch.cat([inputs["facts"][:, 0] for inputs, _ in batches])
    assert sorted(rows.tolist()) == list(range(205))
    for inputs, targets in batches:
        row = inputs["facts"][:, 0]
        assert torch.equal(inputs["image"][:, 1, 2, 0], row)
        assert torch.equal(targets["where"][:, 2, 1], row)
        assert torch.equal(targets["size"][:, 0], row)
        assert torch.equal(targets["type"], row.long() % 3)
        assert torch.equal(targets["tags"], torch.stack([torch.ones_like(row), 1 - row % 2], dim=1))
        assert torch.equal(torch.nan_to_num(targets["real"], 9), torch.where(row == 7, 9, row % 2))


def test_batches_are_as_large_as_asked_or_one_smaller_and_none_is_tiny(numbered):
    sizes = [len(inputs["facts"]) for inputs, _ in loaded(numbered, Batches(Order(np.arange(205), 1), 20))]
    assert sizes == [19] * 7 + [18] * 4 or sorted(sizes) == [18] * 4 + [19] * 7
    assert len(Batches(np.arange(205), 20)) == 11
    assert len(Batches(np.arange(3), 20)) == 1


def test_epochs_differ_and_come_again(numbered):
    batches = Batches(Order(np.arange(205), 1), 64)
    first = [rows.tolist() for rows in batches]
    batches.set_epoch(1)
    second = [rows.tolist() for rows in batches]
    batches.set_epoch(0)
    assert first != second
    assert [rows.tolist() for rows in batches] == first


def test_fixed_order_stays(numbered):
    batches = loaded(numbered, Batches(np.arange(50, 60), 4))
    assert torch.cat([inputs["facts"][:, 0] for inputs, _ in batches]).tolist() == list(range(50, 60))


def test_batches_may_be_changed_without_changing_the_data(numbered):
    task, dataset = numbered
    inputs, targets = Items(dataset, task)[np.array([3, 4])]
    inputs["image"] += 1
    targets["real"] += 1
    again, labels = Items(dataset, task)[np.array([3, 4])]
    assert again["image"][0, 0, 0, 0] == 3
    assert labels["real"].tolist() == [1, 0]


def test_reading_processes_bring_the_same_batches(numbered):
    order = Batches(Order(np.arange(205), 1), 64)
    for one, other in zip(loaded(numbered, order), loaded(numbered, order, workers=1), strict=True):
        assert torch.equal(one[0]["image"], other[0]["image"])
        assert torch.equal(one[1]["type"], other[1]["type"])


def test_items_travel_to_a_fresh_process_as_a_path_not_as_data(numbered):
    task, dataset = numbered
    sent = pickle.dumps(Items(dataset, task))
    assert len(sent) < 4000 < dataset.arrays["image"].nbytes
    inputs, _ = pickle.loads(sent)[np.array([8])]  # noqa: S301 (made here)
    assert inputs["facts"][0, 0] == 8


def test_reading_moves_no_random_number_of_the_network(numbered):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    loaded(numbered, Batches(np.arange(20), 4))
    assert torch.equal(torch.rand(3), expected)


def test_processes_of_one_training_share_the_rows_and_make_the_same_number_of_steps(monkeypatch):
    from torch import distributed

    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 3)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        batches = Batches(Order(np.arange(100), 1), 8)
        shares.append(np.concatenate(list(batches)))
        assert len(batches) == 5
        judged = np.concatenate(list(Batches(np.arange(100), 8)))
        assert judged.tolist() == list(range(rank, 100, 3))
    assert len(np.unique(np.concatenate(shares))) == 99


_LARGER = """
import resource, sys
import numpy as np
from astrid.learn.dataset import Dataset
from astrid.learn.loading import Batches, Items, batch_loader
from astrid.learn.sampling import Order
from astrid.learn.task import Binary, Input, Task

heads = {"real": Binary(labels=("no", "yes"))}
task = Task(name="large", inputs={"x": Input(shape=(128, 1024))}, heads=heads, network="a:b")
dataset = Dataset.open(sys.argv[1])
limit = 200 * 2**20  # of memory that is not a file's
used = int(next(line for line in open("/proc/self/status") if line.startswith("VmData")).split()[1]) * 1024
resource.setrlimit(resource.RLIMIT_DATA, (used + limit, used + limit))
rows = 0
batches = Batches(Order(np.arange(len(dataset)), 0), 64)
for inputs, targets in batch_loader(Items(dataset, task), batches):
    rows += len(targets["real"])
    assert inputs["x"].shape[1:] == (128, 1024)
print(rows, dataset.arrays["x"].nbytes > limit)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of memory is set as Linux has it")
def test_data_set_larger_than_memory_is_read_whole(tmp_path):
    n = 600
    inputs = {"x": Input(shape=(128, 1024))}
    with DatasetWriter(tmp_path / "data", name="large", inputs=inputs, kind="simulated") as writer:
        for start in range(0, n, 100):
            rows = {"group": [f"g{start + k}" for k in range(100)], "real": ["no", "yes"] * 50}
            writer.append({"x": np.zeros((100, 128, 1024), np.float32)}, rows)
    done = subprocess.run(
        [sys.executable, "-c", _LARGER, str(tmp_path / "data")], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["600", "True"], done.stderr
