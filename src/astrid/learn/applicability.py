"""Whether a model applies to an item: is it like what the model was trained on, and if not, why not.

Simple summaries of each channel against their range in training; how sure the model is about an
item that is in range is another question (`prediction`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.learn.bundle import Range
from astrid.learn.task import Input

__all__ = ["out_of_range", "training_ranges"]

_Statistic = Literal["mean", "std", "max", "min", "zeros"]
_STATISTICS: tuple[_Statistic, ...] = ("mean", "std", "max", "min", "zeros")
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
        for channel, values in _channels(name, one, np.asarray(arrays[name], np.float32)):
            for statistic in _STATISTICS:
                low, high = np.quantile(_summary(values, statistic), _QUANTILES)
                ranges.append(
                    Range(input=name, channel=channel, statistic=statistic, low=float(low), high=float(high))
                )
    return tuple(ranges)


def out_of_range(
    ranges: Sequence[Range], inputs: Mapping[str, Input], arrays: Mapping[str, NDArray[np.float32]]
) -> NDArray[np.str_]:
    """Why each item is not like the training data; empty where it is.

    An item is out of range where a summary lies beyond the training's 0.1 to 99.9 % quantiles by
    more than half of their distance, or where a whole channel is constant.

    Parameters
    ----------
    ranges : sequence of Range
    inputs : mapping of str to Input
    arrays : mapping of str to (n, ...) float32 ndarray

    Returns
    -------
    reasons : (n,) str ndarray
    """
    n = len(next(iter(arrays.values())))
    reasons: list[str] = [""] * n
    for name, one in inputs.items():
        for channel, values in _channels(name, one, arrays[name]):
            what = f"{name} {channel}".rstrip()
            if values.shape[1] > 1:
                for row in np.flatnonzero(values.min(axis=1) == values.max(axis=1)):
                    reasons[row] = reasons[row] or f"{what} is constant"
            for limit in ranges:
                if limit.input != name or limit.channel != channel:
                    continue
                found = _summary(values, limit.statistic)
                margin = _MARGIN * (limit.high - limit.low)
                for row in np.flatnonzero((found < limit.low - margin) | (found > limit.high + margin)):
                    reasons[row] = reasons[row] or (
                        f"{limit.statistic} of {what} is {found[row]:.4g}, in training {limit.low:.4g} to "
                        f"{limit.high:.4g}"
                    )
    return np.array(reasons, dtype=np.str_)


def _channels(name: str, one: Input, values: NDArray[np.float32]) -> list[tuple[str, NDArray[np.float32]]]:
    if not one.channels:
        return [("", values.reshape(len(values), -1))]
    return [(channel, values[..., k].reshape(len(values), -1)) for k, channel in enumerate(one.channels)]


def _summary(values: NDArray[np.float32], statistic: _Statistic) -> NDArray[np.float32]:
    match statistic:
        case "mean":
            return values.mean(axis=1)
        case "std":
            return values.std(axis=1)
        case "max":
            return values.max(axis=1)
        case "min":
            return values.min(axis=1)
    return np.mean(values == 0, axis=1, dtype=np.float32)
