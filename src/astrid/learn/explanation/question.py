"""Which number of a model is explained, and a counter of how often the model was asked for it.

The model is anything that maps inputs to logits, so a bundle's session and one with random
weights are asked alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from astrid.errors import UsageError
from astrid.learn.bundle import Bundle, Calibration
from astrid.learn.explanation.result import Unit
from astrid.learn.prediction import averaged
from astrid.learn.task import Binary, Head, HeatMap, Multiclass, Multilabel, Regression

__all__ = ["Arrays", "Question", "Score", "Target", "asked"]

Arrays = dict[str, NDArray[np.float32]]
Target = str | int | tuple[int, int] | None
Run = Callable[[Mapping[str, NDArray[np.float32]]], dict[str, NDArray[np.float32]]]

_BATCH_BYTES = 1 << 20  # of inputs; a network's inner layers hold some fifty times as much
_BATCH = 256


@dataclass(frozen=True)
class Question:
    """One number of a model's output.

    Parameters
    ----------
    name : str
        Of the head.
    head : Head
    index : int
        Along the (flattened) output.
    sign : int
        -1 for the negative label of a binary head.
    label : str
        What the number is about.
    of : {"logit", "probability", "value"}
    calibration : Calibration
    """

    name: str
    head: Head
    index: int
    sign: int
    label: str
    of: Unit
    calibration: Calibration

    def scores(self, outputs: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """The number for each item, (n,), from the (members, n, …) outputs of the model."""
        raw = outputs[self.name]
        flat = raw.reshape(*raw.shape[:2], -1)
        if self.of == "probability":
            found = averaged(flat, self.head, self.calibration).astype(np.float64)
            return found[:, self.index] if self.sign > 0 else 1 - found[:, self.index]
        values = flat.astype(np.float64).mean(axis=0)
        if self.centred:
            values = values - values.mean(axis=1, keepdims=True)
        return self.sign * values[:, self.index]

    @property
    def centred(self) -> bool:
        """Whether the mean over the classes is subtracted.

        References
        ----------
        Shrikumar et al. 2017, arXiv:1704.02685, section 3.6 (adjustments for softmax layers).
        """
        return isinstance(self.head, Multiclass)


class Score:
    """A model, asked one question about many items, in batches of bounded size.

    Parameters
    ----------
    run : callable
        From (n, …) inputs to the (members, n, …) logits of each head.
    question : Question
    item : mapping of str to ndarray
        The inputs of one item, for their size.
    """

    def __init__(self, run: Run, question: Question, item: Mapping[str, NDArray[np.float32]]) -> None:
        self._run, self._question, self.of = run, question, question.of
        size = sum(one.nbytes for one in item.values())
        self.batch = max(1, min(_BATCH, _BATCH_BYTES // max(size, 1)))
        self.evaluations = 0

    def __call__(self, n: int, build: Callable[[int, int], Arrays]) -> NDArray[np.float64]:
        """Score n items.

        Parameters
        ----------
        n : int
        build : callable
            Makes the inputs of items ``start`` to ``stop - 1``.

        Returns
        -------
        scores : (n,) float64 ndarray
        """
        scores = np.empty(n)
        for start in range(0, n, self.batch):
            stop = min(start + self.batch, n)
            scores[start:stop] = self._question.scores(self._run(build(start, stop)))
        self.evaluations += n
        return scores

    def one(self, item: Mapping[str, NDArray[np.float32]]) -> float:
        """Score one item, given without batch axis."""
        return float(self(1, lambda _start, _stop: {name: array[None] for name, array in item.items()})[0])


def asked(
    bundle: Bundle,
    outputs: Mapping[str, NDArray[np.float32]],
    head: str | None,
    target: Target,
    of: Unit,
) -> Question:
    """The question that a person asks about one item.

    Parameters
    ----------
    bundle : Bundle
    outputs : mapping of str to (members, 1, …) ndarray
        What the model says about the item: without a target, its highest class is explained.
    head : str, optional
        The first one if not given.
    target : str, int or (int, int), optional
        A label or the name of a number, its position, or row and column of a heat map's pixel.
        Not given: the positive label, the highest class, the first number, the highest pixel.
    of : {"logit", "probability"}
        Taken as ``value`` where the head has no probabilities.

    Raises
    ------
    UsageError
        There is no such head or target.
    """
    heads = bundle.task.heads
    name = next(iter(heads)) if head is None else head
    if name not in heads:
        raise UsageError(f"{bundle.name} has no head {name!r}; choose one of: {', '.join(heads)}")
    which = heads[name]
    calibration = bundle.card.head(name).calibration
    mean = outputs[name].mean(axis=0)[0]
    match which:
        case Binary():
            index = _position(name, which.labels, target, default=1)
            return Question(name, which, 0, 2 * index - 1, which.labels[index], of, calibration)
        case Multiclass() | Multilabel():
            index = _position(name, which.labels, target, default=int(mean.argmax()))
            return Question(name, which, index, 1, which.labels[index], of, calibration)
        case Regression():
            index = _position(name, which.names, target, default=0)
            return Question(name, which, index, 1, which.names[index], "value", calibration)
        case HeatMap():
            row, column = _pixel(name, which, target, int(mean.argmax()))
            index = row * which.shape[1] + column
            return Question(name, which, index, 1, f"pixel ({row}, {column})", "value", calibration)


def _position(head: str, labels: tuple[str, ...], target: Target, default: int) -> int:
    if target is None:
        return default
    if isinstance(target, int) and 0 <= target < len(labels):
        return target
    if target not in labels:
        raise UsageError(f"the head {head} has no target {target!r}; choose one of: {', '.join(labels)}")
    return labels.index(str(target))


def _pixel(name: str, head: HeatMap, target: Target, default: int) -> tuple[int, int]:
    rows, columns = head.shape
    if target is None:
        return divmod(default, columns)
    if isinstance(target, tuple) and 0 <= target[0] < rows and 0 <= target[1] < columns:
        return target
    raise UsageError(
        f"the target of the heat map {name} is {target!r}; give row and column, 0 to {rows - 1} and "
        f"0 to {columns - 1}"
    )
