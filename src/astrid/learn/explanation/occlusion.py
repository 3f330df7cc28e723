"""Occlusion: hide a part of the item and see how far the score falls.

A window is slid over the positions, over all channels at once or one channel at a time; or each
channel is hidden whole.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from astrid.learn.explanation.item import Item, window_sizes
from astrid.learn.explanation.question import Arrays, Score
from astrid.learn.explanation.result import Attribution

__all__ = ["channels", "occlusion"]

_Box = tuple[slice, ...]


def occlusion(score: Score, item: Item, *, by_channel: bool, window: int | None) -> Attribution:
    """How far the score falls where a window is hidden, as the mean over the windows that cover a position.

    Windows step by half their size, beginning beyond the edges, so that each position is covered
    alike often; features are hidden one by one.

    Parameters
    ----------
    score : Score
    item : Item
    by_channel : bool
        Hide one channel at a time.
    window : int, optional
        Size along each axis; chosen from the shape if not given.

    Returns
    -------
    Attribution
        Without `by_channel` the last axis of images and series has length 1.

    References
    ----------
    Zeiler & Fergus 2014, arXiv:1311.2901, section 4.2.
    """
    hidden, replaced_by = item.replacement
    whole = score.one(item.inputs)
    values: dict[str, NDArray[np.float64]] = {}
    for name, array in item.inputs.items():
        boxes = _boxes(array.shape, item.positions(name), by_channel, window)
        falls = whole - _scores(score, item.inputs, name, boxes, hidden)
        apart = by_channel or not item.positions(name)
        found = np.zeros(array.shape if apart else (*array.shape[: item.positions(name)], 1))
        if not apart and item.positions(name) == array.ndim:
            found = found[..., 0]
        times = np.zeros(found.shape)
        for box, fall in zip(boxes, falls, strict=True):
            found[box] += fall
            times[box] += 1
        values[name] = found / times
    return Attribution(values, replaced_by=replaced_by)


def channels(score: Score, item: Item) -> Attribution:
    """How far the score falls where a whole channel, or a feature, is hidden.

    Parameters
    ----------
    score : Score
    item : Item

    Returns
    -------
    Attribution
    """
    parts = item.parts("channels")
    hidden, replaced_by = item.replacement
    keep = ~np.eye(parts.n, dtype=bool)
    falls = score.one(item.inputs) - score(
        parts.n, lambda start, stop: item.masked(parts, keep[start:stop], hidden)
    )
    return Attribution(parts.spread(falls), replaced_by=replaced_by)


def _boxes(shape: tuple[int, ...], positions: int, by_channel: bool, window: int | None) -> list[_Box]:
    if not positions:
        return [(slice(k, k + 1),) for k in range(shape[0])]
    sizes = window_sizes(shape, positions, window)
    along = [_along(length, size) for length, size in zip(shape, sizes, strict=False)]
    last = [slice(k, k + 1) for k in range(shape[-1])] if by_channel else [slice(None)]
    return list(product(*along, last) if positions < len(shape) else product(*along))


def _along(length: int, size: int) -> list[slice]:
    """Windows of an even size (or of 1), cut off at both ends."""
    size += size % 2 if size > 1 else 0
    step = max(1, size // 2)
    starts = range(step - size, length, step)
    return [slice(max(start, 0), min(start + size, length)) for start in starts]


def _scores(
    score: Score, inputs: Arrays, name: str, boxes: list[_Box], hidden: Arrays
) -> NDArray[np.float64]:
    def build(start: int, stop: int) -> Arrays:
        copies = {
            other: np.broadcast_to(array, (stop - start, *array.shape)) for other, array in inputs.items()
        }
        copies[name] = copies[name].copy()
        for row, box in enumerate(boxes[start:stop]):
            copies[name][row][box] = hidden[name][box]
        return copies

    return score(len(boxes), build)
