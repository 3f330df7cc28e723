"""Whether a model applies to an item: is it like what the model was trained on, and if not, why not.

Simple summaries of each channel against their range in training; how sure the model is about an
item that is in range is another question (`prediction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from astrid.learn.bundle import Range, Statistic
from astrid.learn.task import Input

__all__ = ["RangeCheck", "training_ranges"]

_STATISTICS: tuple[Statistic, ...] = get_args(Statistic)
_QUANTILES = (0.001, 0.999)
_MARGIN = 0.5  # of the range's width, that an item may lie beyond it


def training_ranges(inputs: Mapping[str, Input], arrays: Mapping[str, NDArray[Any]]) -> tuple[Range, ...]:
    """The ranges of a training set.

    Parameters
    ----------
    inputs : mapping of str to Input
    arrays : mapping of str to (n, ...) float32 ndarray

    Returns
    -------
    ranges : tuple of Range
    """
    ranges = []
    for name, one in inputs.items():
        low, high = np.quantile(_summaries(one, np.asarray(arrays[name], np.float32)), _QUANTILES, axis=0)
        # of a single number all statistics are the same, and it may well be 0
        statistics = _STATISTICS[:1] if _single(one) else _STATISTICS
        for c, channel in enumerate(one.channels or ("",)):
            for s, statistic in enumerate(statistics):
                limits = {"low": float(low[c, s]), "high": float(high[c, s])}
                ranges.append(Range(input=name, channel=channel, statistic=statistic, **limits))
    return tuple(ranges)


class RangeCheck:
    """Compares items with the ranges of the training data.

    An item is out of range where a summary lies beyond the training's 0.1 to 99.9 % quantiles by
    more than half of their distance, or where a whole channel is constant.

    Parameters
    ----------
    ranges : sequence of Range
    inputs : mapping of str to Input
    """

    def __init__(self, ranges: Sequence[Range], inputs: Mapping[str, Input]) -> None:
        self._inputs = inputs
        self._ranges = {(one.input, one.channel, one.statistic): one for one in ranges}
        self._limits = {name: self._table(name, one) for name, one in inputs.items()}

    def __call__(self, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.str_]:
        """Why each item is not like the training data.

        Parameters
        ----------
        arrays : mapping of str to (n, ...) float32 ndarray

        Returns
        -------
        reasons : (n,) str ndarray
            Empty where the item is in range.
        """
        reasons: dict[int, str] = {}
        n = 0
        for name, one in self._inputs.items():
            n = len(arrays[name])
            found = _summaries(one, arrays[name])
            low, high = self._limits[name]
            outside = ~((found >= low) & (found <= high))
            if one.shape != (1,) and len(one.shape) > 1:
                outside[..., 0] |= found[..., 2] == found[..., 3]
            for row in np.flatnonzero(outside.any(axis=(1, 2))).tolist():
                c, s = (int(k) for k in np.argwhere(outside[row])[0])
                reasons.setdefault(row, self._reason(name, one, c, s, found[row, c]))
        return np.array([reasons.get(row, "") for row in range(n)], dtype=np.str_)

    def _table(self, name: str, one: Input) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        channels = one.channels or ("",)
        low = np.full((len(channels), len(_STATISTICS)), -np.inf)
        high = np.full_like(low, np.inf)
        for c, channel in enumerate(channels):
            for s, statistic in enumerate(_STATISTICS):
                limit = self._ranges.get((name, channel, statistic))
                if limit is not None:
                    margin = _MARGIN * (limit.high - limit.low)
                    low[c, s], high[c, s] = limit.low - margin, limit.high + margin
        return low, high

    def _reason(self, name: str, one: Input, c: int, s: int, found: NDArray[np.floating]) -> str:
        channel = one.channels[c] if one.channels else ""
        what = f"{name} {channel}".rstrip()
        if found[2] == found[3] and len(one.shape) > 1:
            return f"{what} is constant"
        limit = self._ranges[name, channel, _STATISTICS[s]]
        subject = what if _single(one) else f"{limit.statistic} of {what}"
        return f"{subject} is {found[s]:.4g}, in training it was {limit.low:.4g} to {limit.high:.4g}"


def _single(one: Input) -> bool:
    """Whether each channel is one number."""
    return len(one.shape) == 1 and (bool(one.channels) or one.shape == (1,))


def _summaries(one: Input, values: NDArray[np.float32]) -> NDArray[np.float64]:
    """The statistics of each item and channel, (n, channels, 5), in the order of `_STATISTICS`."""
    n, k = len(values), len(one.channels) or 1
    flat = values.reshape(n, -1, k)
    size = flat.shape[1]
    ones = np.ones(size, np.float32)
    # matrix products and contiguous extrema: several times faster than reductions over the middle axis
    with np.errstate(over="ignore"):  # fill values such as 3.4e38: infinite, and so out of any range
        mean = (ones @ flat).astype(np.float64) / size
        square = (ones @ (flat * flat)).astype(np.float64) / size
    across = np.ascontiguousarray(flat.transpose(0, 2, 1))
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
    return np.stack(
        [
            mean,
            deviation,
            across.max(axis=2),
            across.min(axis=2),
            np.count_nonzero(across == 0, axis=2) / size,
        ],
        axis=2,
    )
