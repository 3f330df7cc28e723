"""The item that is explained: its axes, its parts, and what stands where a part is hidden.

A part is a set of numbers that is hidden together: one feature, one channel, one window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PredictionError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.explanation.question import Arrays
from astrid.learn.task import Input

__all__ = ["Item", "Parts", "window_sizes"]

_FEATURES = 64  # a vector longer than this without named features is a series
_CHANNELS = 16  # a matrix with more unnamed columns than this is an image
_PER_AXIS = {1: 24, 2: 7}  # windows along one axis, by the number of axes


@dataclass(frozen=True, eq=False)
class Parts:
    """The parts of an item.

    Parameters
    ----------
    n : int
    ids : dict of str to int64 ndarray
        For each input the part that a number belongs to; axes of length 1 belong together.
    names : tuple of str
    """

    n: int
    ids: dict[str, NDArray[np.int64]]
    names: tuple[str, ...]

    def spread(self, values: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """One value for each part, (n,), as one value for each number or group of numbers.

        The value of a part is shared equally by its numbers, so that sums stay what they are.
        """
        return {
            name: values[ids] / np.bincount(ids.ravel(), minlength=self.n)[ids]
            for name, ids in self.ids.items()
        }

    def copies(self, wanted: int | None) -> int:
        """How many copies with hidden parts a fit takes: 100 and ten for each part if not given.

        Raises
        ------
        UsageError
            Fewer copies than the fit has unknowns.
        """
        n = 100 + 10 * self.n if wanted is None else wanted
        if n < self.n + 2:
            raise UsageError(f"{n} samples are too few for {self.n} parts; give {self.n + 2} or more")
        return n


@dataclass(frozen=True, eq=False)
class Item:
    """One item, with what is known about its inputs.

    Parameters
    ----------
    inputs : dict of str to float32 ndarray
        Without batch axis.
    described : mapping of str to Input
    background : dict of str to (m, ...) float32 ndarray, optional
        Items of the training data, whose mean replaces what is hidden.
    ranges : dict of (str, str) to (float, float)
        What each feature was in training.
    """

    inputs: Arrays
    described: Mapping[str, Input]
    background: Arrays | None
    ranges: dict[tuple[str, str], tuple[float, float]]

    @classmethod
    def of(
        cls, bundle: Bundle, inputs: Mapping[str, NDArray[Any]], background: Mapping[str, NDArray[Any]] | None
    ) -> Item:
        """The item as the bundle sees it.

        Raises
        ------
        PredictionError
            A background that is of another shape, empty or not finite.
        """
        described = bundle.task.inputs
        ranges = {(r.input, r.channel): (r.low, r.high) for r in bundle.card.ranges if r.statistic == "mean"}
        item = {name: np.ascontiguousarray(inputs[name], np.float32) for name in described}
        if background is None:
            return cls(item, described, None, ranges)
        rows: Arrays = {}
        for name, one in described.items():
            if name not in background:
                raise PredictionError(f"the background has no {name}; give rows of {', '.join(described)}")
            array = np.ascontiguousarray(background[name], np.float32)
            if array.shape[1:] != one.shape or not len(array):
                raise PredictionError(
                    f"the background of {name} is of shape {array.shape}; give rows of shape {one.shape}"
                )
            if not np.isfinite(array).all():
                raise PredictionError(f"the background of {name} is not finite; leave such rows out")
            rows[name] = array
        if len({len(array) for array in rows.values()}) > 1:
            counts = ", ".join(f"{len(array)} of {name}" for name, array in rows.items())
            raise PredictionError(f"the background has unequal numbers of rows ({counts}); give whole items")
        return cls(item, described, rows, ranges)

    def positions(self, name: str) -> int:
        """How many leading axes of an input are positions (in an image, along a series); 0 for features."""
        one = self.described[name]
        named = bool(one.channels)
        match len(one.shape):
            case 1:
                return 0 if named or one.shape[0] <= _FEATURES else 1
            case 2:
                return 1 if named or one.shape[1] <= _CHANNELS else 2
        return len(one.shape) - 1

    def channel_names(self, name: str) -> tuple[str, ...]:
        """Names along the last axis; where the task gives none, the input's name and a number."""
        one = self.described[name]
        if one.channels:
            return one.channels
        if self.positions(name) == len(one.shape) or one.shape[-1] == 1:
            return (name,)
        return tuple(f"{name} {k}" for k in range(one.shape[-1]))

    @cached_property
    def numbers(self) -> int:
        """How many numbers the item has."""
        return sum(one.size for one in self.inputs.values())

    @cached_property
    def only_features(self) -> bool:
        """Whether no input has positions."""
        return not any(self.positions(name) for name in self.inputs)

    @cached_property
    def replacement(self) -> tuple[Arrays, str]:
        """What stands where a part is hidden, and in words.

        The mean of the background; without one, in images and series the median of each channel,
        for features the middle of their range in training, else 0.
        """
        if self.background is not None:
            rows = len(next(iter(self.background.values())))
            return (
                {name: array.mean(axis=0) for name, array in self.background.items()},
                f"the mean of {rows} background items",
            )
        found: Arrays = {}
        words: list[str] = []
        for name, array in self.inputs.items():
            positions = self.positions(name)
            if positions:
                found[name] = np.broadcast_to(_medians(array, positions), array.shape)
                words.append(f"the median of each channel of {name}")
                continue
            known = [self.ranges.get((name, channel)) for channel in self.described[name].channels]
            if known and all(known):
                found[name] = np.array([(low + high) / 2 for low, high in filter(None, known)], np.float32)
                words.append(f"the middle of the training range of {name}")
            else:
                found[name] = np.zeros_like(array)
                words.append(f"zeros for {name}")
        return found, ", ".join(words)

    def background_rows(self, most: int, seed: int, how: str) -> tuple[Arrays, str]:
        """At most so many rows of the background, drawn if there are more, and what they are in words.

        Parameters
        ----------
        most, seed : int
        how : str
            What is done with them, before their number: ``each of``, ``the mean of``.

        Returns
        -------
        rows : dict of str to (m, ...) float32 ndarray
            Without a background, the one item of `replacement`.
        words : str
        """
        if self.background is None:
            replacement, words = self.replacement
            return {name: array[None] for name, array in replacement.items()}, words
        rows = len(next(iter(self.background.values())))
        if rows <= most:
            return self.background, f"{how} {rows} background items"
        drawn = np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))
        return (
            {name: array[drawn] for name, array in self.background.items()},
            f"{how} {most} background items, drawn from {rows}",
        )

    def parts(self, kind: Literal["numbers", "channels", "windows"], window: int | None = None) -> Parts:
        """Divide the item.

        Parameters
        ----------
        kind : {"numbers", "channels", "windows"}
            Every number; every channel (of features: every number); or windows that do not
            overlap, over all channels together (of features: every number).
        window : int, optional
            Their size along each axis.
        """
        ids: dict[str, NDArray[np.int64]] = {}
        names: list[str] = []
        for name, array in self.inputs.items():
            positions = self.positions(name)
            if kind == "numbers" and positions:
                local, labels = _each_number(name, array.shape)
            elif kind == "windows" and positions:
                local, labels = _windows(name, array.shape, positions, window)
            else:
                labels = self.channel_names(name)
                shape = (1,) * positions + array.shape[positions:]
                local = np.arange(math.prod(shape)).reshape(shape)
            ids[name] = local + len(names)
            names.extend(labels)
        return Parts(len(names), ids, tuple(names))

    def masked(self, parts: Parts, keep: NDArray[np.bool_], hidden: Arrays) -> Arrays:
        """Copies of the item in which some parts are hidden.

        Parameters
        ----------
        parts : Parts
        keep : (n, parts.n) bool ndarray
        hidden : dict of str to ndarray
            What stands there instead: one item, or (n, ...) items.

        Returns
        -------
        copies : dict of str to (n, ...) float32 ndarray
        """
        return {
            name: np.where(keep[:, parts.ids[name]], array, hidden[name])
            for name, array in self.inputs.items()
        }


def window_sizes(shape: tuple[int, ...], positions: int, window: int | None) -> tuple[int, ...]:
    """Size of a window along each axis of positions, chosen from the shape if not given.

    Raises
    ------
    UsageError
        A window that is not positive or larger than the input.
    """
    if window is None:
        count = _PER_AXIS.get(positions, 5)
        return tuple(math.ceil(size / count) for size in shape[:positions])
    if not 1 <= window <= max(shape[:positions]):
        raise UsageError(
            f"the window is {window}, but the input has {' x '.join(map(str, shape[:positions]))} positions; "
            "give a smaller one"
        )
    return tuple(min(window, size) for size in shape[:positions])


def _medians(array: NDArray[np.float32], positions: int) -> NDArray[np.float32]:
    axes = tuple(range(positions))
    return np.asarray(np.median(array, axis=axes, keepdims=True), np.float32)


def _each_number(name: str, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    ids = np.arange(math.prod(shape)).reshape(shape)
    return ids, tuple(f"{name}[{', '.join(map(str, where))}]" for where in np.ndindex(shape))


def _windows(
    name: str, shape: tuple[int, ...], positions: int, window: int | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    sizes = window_sizes(shape, positions, window)
    along = [np.arange(size) // step for size, step in zip(shape, sizes, strict=False)]
    counts = tuple(int(one[-1]) + 1 for one in along)
    ids = np.ravel_multi_index(np.ix_(*along), counts)
    labels = tuple(
        f"{name}[{', '.join(_span(*one) for one in zip(where, sizes, shape, strict=False))}]"
        for where in np.ndindex(*counts)
    )
    return ids.reshape(ids.shape + (1,) * (len(shape) - positions)), labels


def _span(k: int, step: int, size: int) -> str:
    return f"{k * step}:{min((k + 1) * step, size)}"
