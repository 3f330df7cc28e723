"""Whole batches from the memory-mapped arrays of a data set, as a PyTorch `DataLoader` gives them.

One gather a batch, with sorted rows, so that nothing is done for single items and a data set may
be larger than memory. Which rows come when is said by `sampling`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.utils.data import DataLoader, Sampler
from torch.utils.data import Dataset as TorchDataset

from astrid.errors import TrainingError
from astrid.learn.dataset import Dataset
from astrid.learn.sampling import Order
from astrid.learn.task import Task

__all__ = ["Batches", "Items", "batch_loader"]


class Items(TorchDataset[tuple[dict[str, Tensor], dict[str, Tensor]]]):
    """Inputs and targets of a task's data set, fetched by many row numbers at once.

    Parameters
    ----------
    dataset : Dataset
    task : Task
    """

    def __init__(self, dataset: Dataset, task: Task) -> None:
        self._dataset, self._task = dataset, task
        self._inputs = {name: _plain(dataset.arrays[name]) for name in task.inputs}
        self._targets = {name: _plain(dataset.labels(name, head)) for name, head in task.heads.items()}

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, rows: NDArray[np.int64]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The items of some rows, as tensors of their own."""
        return _gathered(self._inputs, rows), _gathered(self._targets, rows)

    def __reduce__(self) -> tuple[Any, ...]:
        # a reading process that is started afresh maps the files again instead of being sent them
        return _reopened, (str(self._dataset.path), self._task)


class Batches(Sampler[NDArray[np.int64]]):
    """Row numbers of each batch of an epoch, sorted within the batch.

    The batches of an epoch are as large as asked, or one smaller, so that none is tiny. Of several
    training processes each takes every so-manieth row.

    Parameters
    ----------
    order : Order or (n,) int64 ndarray
        A fixed order is that of validation.
    batch_size : int
    """

    def __init__(self, order: Order | NDArray[np.int64], batch_size: int) -> None:
        self._order, self._batch_size = order, batch_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes next."""
        self._epoch = epoch

    def __len__(self) -> int:
        n = len(self._mine(self._order.rows if isinstance(self._order, Order) else self._order))
        return -(-n // self._batch_size)

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        rows = self._order(self._epoch) if isinstance(self._order, Order) else self._order
        for batch in np.array_split(self._mine(rows), len(self)):
            yield np.sort(batch)

    def _mine(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The share of this process."""
        if not (distributed.is_available() and distributed.is_initialized()):
            return rows
        rank, world = distributed.get_rank(), distributed.get_world_size()
        if len(rows) < world:
            raise TrainingError(f"{len(rows)} rows cannot be shared by {world} processes; use fewer devices")
        # in training all processes must make the same number of steps
        equal = len(rows) // world if isinstance(self._order, Order) else len(rows)
        return rows[rank::world][:equal]


def batch_loader(
    items: Items, batches: Batches, workers: int = 0, *, pinned: bool = False
) -> DataLoader[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """A loader of whole batches.

    Parameters
    ----------
    items : Items
    batches : Batches
    workers : int
        Processes that read ahead; 0 reads in this one, which suffices where the file system is fast.
    pinned : bool
        Put batches where a GPU fetches them from without a copy.
    """
    return DataLoader(
        items,
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=pinned,
        generator=torch.Generator(),  # its seeds for the readers, whose draws must not move the network's
        persistent_workers=workers > 0,
    )


def _gathered(arrays: dict[str, NDArray[Any]], rows: NDArray[np.int64]) -> dict[str, Tensor]:
    return {name: torch.from_numpy(np.take(array, rows, axis=0)) for name, array in arrays.items()}


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """The array without the class `memmap`, whose bookkeeping costs more than the gather of a small batch."""
    return array.view(np.ndarray)


def _reopened(path: str, task: Task) -> Items:
    return Items(Dataset.open(path), task)
