"""Classifying with a bundle: ONNX Runtime, in batches, without torch.

What comes out is always a `Prediction`: probabilities, their spread, the decision, whether the
model applies, and which model it was. Making bundles and judging them happens elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from astrid.errors import BundleError, PredictionError
from astrid.learn.applicability import RangeCheck
from astrid.learn.bundle import Bundle, Calibration, Conformal
from astrid.learn.dataset import Dataset
from astrid.learn.task import Binary, Head, Multiclass, Multilabel

__all__ = ["HeadPrediction", "Prediction", "Predictor", "averaged", "calibrated"]


@dataclass(frozen=True, eq=False)
class HeadPrediction:
    """What a model says about n items for one head.

    Parameters
    ----------
    labels : tuple of str
        Of the columns of `values`; a binary head has one column, of its positive label.
    values : (n, k) float32 ndarray
        Calibrated probabilities; for regression and heat maps the numbers themselves.
    spread : (n, k) float32 ndarray
        Standard deviation over ensemble members or passes with dropout; NaN where the bundle has
        neither, or none was asked for.
    decision : (n,) str ndarray
        The label on this side of the threshold, or the most probable one; empty for regression.
    labels_in_set : (n,) str ndarray
        The conformal set: one label; several, joined by ``+`` (to a person); or ``novel`` for
        none. Empty where the bundle has no conformal quantiles.
    """

    labels: tuple[str, ...]
    values: NDArray[np.float32]
    spread: NDArray[np.float32]
    decision: NDArray[np.str_]
    labels_in_set: NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class Prediction:
    """What one bundle says about n items.

    Parameters
    ----------
    heads : dict of str to HeadPrediction
    applicable : (n,) str ndarray
        Empty where the item is in the range of the training data, else why it is not.
    bundle, hash : str
        Name and identity of the model.
    """

    heads: dict[str, HeadPrediction]
    applicable: NDArray[np.str_]
    bundle: str
    hash: str

    def __len__(self) -> int:
        return len(self.applicable)

    def to_columns(self) -> dict[str, NDArray[Any]]:
        """One column for each number, for a table: ``real``, ``real_spread``, ``real_decision``, …"""
        columns: dict[str, NDArray[Any]] = {}
        for name, head in self.heads.items():
            single = head.values.shape[1] == 1
            for k, label in enumerate(head.labels):
                column = name if single else f"{name}_{label}"
                columns[column] = head.values[:, k]
                columns[f"{column}_spread"] = head.spread[:, k]
            if head.decision.size and head.decision[0]:
                columns[f"{name}_decision"] = head.decision
            if head.labels_in_set.size and head.labels_in_set[0]:
                columns[f"{name}_set"] = head.labels_in_set
        columns["applicable"] = self.applicable
        return columns


class Predictor:
    """A bundle, ready to classify.

    Parameters
    ----------
    bundle : Bundle
    threads : int
        Of ONNX Runtime; more workers scale better than more threads.
    int8 : bool
        Use the quantised model of the bundle.

    Raises
    ------
    BundleError
        The model cannot be run, or is not what the card says.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 1, int8: bool = False) -> None:
        self.bundle = bundle
        self._threads = threads
        if int8 and "model.int8.onnx" not in bundle.card.files:
            raise BundleError(f"{bundle.name} has no quantised model; export it with --int8")
        self._run = _session(bundle, "model.int8.onnx" if int8 else "model.onnx", threads)
        self._spread_run: Any = None
        self._inputs = bundle.task.inputs
        self._shapes = {name: one.shape for name, one in self._inputs.items()}
        self._heads = tuple(bundle.task.heads.items())
        self._cards = {name: bundle.card.head(name) for name, _ in self._heads}
        self._names = [name for name, _ in self._heads]
        self._in_range = RangeCheck(bundle.card.ranges, self._inputs)

    def __call__(self, inputs: Mapping[str, NDArray[Any]], *, spread: bool = True) -> Prediction:
        """Classify a batch.

        Parameters
        ----------
        inputs : mapping of str to (n, ...) ndarray
            The inputs that the card names, channels last and in the card's order.
        spread : bool
            Also run the passes with dropout, where the bundle has them.

        Returns
        -------
        Prediction

        Raises
        ------
        PredictionError
            An input is absent, of another shape, or not finite.
        """
        arrays = self._checked(inputs)
        return self.concluded(arrays, self.logits(arrays), spread=spread)

    def concluded(
        self,
        arrays: Mapping[str, NDArray[np.float32]],
        outputs: Mapping[str, NDArray[np.float32]],
        *,
        spread: bool = True,
    ) -> Prediction:
        """What follows from what the network gave, for those who need its logits too.

        Parameters
        ----------
        arrays : mapping of str to (n, ...) float32 ndarray
            The inputs.
        outputs : mapping of str to (members, n, k) float32 ndarray
            What `logits` found for them.
        spread : bool
            As for a whole prediction.
        """
        passes = self._passes(arrays, outputs) if spread else None
        heads = {
            name: self._head(name, head, outputs[name], None if passes is None else passes[name])
            for name, head in self._heads
        }
        return Prediction(heads, self._in_range(arrays), self.bundle.name, self.bundle.hash)

    def batches(
        self,
        dataset: Dataset,
        rows: NDArray[np.integer] | None = None,
        *,
        batch_size: int = 128,
        spread: bool = False,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[tuple[NDArray[np.int64], Prediction]]:
        """Classify a data set in bounded memory.

        Parameters
        ----------
        dataset : Dataset
        rows : (n,) int ndarray, optional
            All rows, in order, if not given.
        batch_size : int
        spread : bool
            As for one batch.
        on_progress : callable, optional
            Told how many items are done, and of how many.

        Yields
        ------
        rows : (m,) int64 ndarray
        prediction : Prediction

        Raises
        ------
        PredictionError
            The data set does not fit the bundle.
        """
        self.check(dataset)
        order = np.arange(len(dataset)) if rows is None else np.asarray(rows, np.int64)
        for start in range(0, len(order), batch_size):
            index = order[start : start + batch_size]
            arrays = {name: dataset.take(name, index) for name in self._inputs}
            yield index, self(arrays, spread=spread)
            if on_progress:
                on_progress(start + len(index), len(order))

    def logits(self, arrays: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
        """What the network gives, without calibration: (members, n, k) for each head."""
        return dict(zip(self._names, self._run.run(self._names, arrays), strict=True))

    def probabilities(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Calibrated probabilities alone, (n, k) for each head: the shortest way for a stream.

        Raises
        ------
        PredictionError
            As for a whole prediction.
        """
        outputs = self.logits(self._checked(inputs))
        return {
            name: averaged(outputs[name], head, self._cards[name].calibration) for name, head in self._heads
        }

    def _checked(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        arrays: dict[str, NDArray[np.float32]] = {}
        for name, shape in self._shapes.items():
            if name not in inputs:
                raise PredictionError(
                    f"{self.bundle.name} takes {', '.join(self._shapes)}, and {name} is absent; give all"
                )
            array = np.ascontiguousarray(inputs[name], np.float32)
            if array.shape[1:] != shape:
                raise PredictionError(
                    f"{name} has items of shape {array.shape[1:]}, but {self.bundle.name} takes {shape}"
                    f"{_channel_note(self._inputs[name].channels)}; cut them anew"
                )
            # one pass of BLAS, which does not warn of an overflow: far cheaper than looking at each number
            if not math.isfinite(np.vdot(array, array)):
                self._report_not_finite(name, array)
            arrays[name] = array
        return arrays

    def _report_not_finite(self, name: str, array: NDArray[np.float32]) -> None:
        finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
        if not finite.all():
            raise PredictionError(
                f"{name} of item {int(np.argmin(finite))} is not finite; fill missing pixels as the "
                "representation does, or leave the item out"
            )

    def check(self, dataset: Dataset) -> None:
        """Make sure that a data set has the inputs, shapes and channels that the card names.

        Raises
        ------
        PredictionError
            An input is absent or of another shape, or its channels are others or in another order.
        """
        for name, wanted in self._inputs.items():
            found = dataset.info.inputs.get(name)
            if found is None:
                raise PredictionError(f"{dataset.path}: there is no input {name!r}, which the model takes")
            if found.shape != wanted.shape:
                raise PredictionError(
                    f"{dataset.path}: {name} has items of shape {found.shape}, but {self.bundle.name} takes "
                    f"{wanted.shape}; cut them anew"
                )
            if found.channels != wanted.channels:
                raise PredictionError(
                    f"{dataset.path}: the channels of {name} are {list(found.channels)}, but "
                    f"{self.bundle.name} takes {list(wanted.channels)}; write them in that order"
                )

    def _passes(
        self, arrays: Mapping[str, NDArray[np.float32]], outputs: Mapping[str, NDArray[np.float32]]
    ) -> Mapping[str, NDArray[np.float32]] | None:
        match self.bundle.card.uncertainty.method:
            case "ensemble":
                return outputs
            case "mc_dropout":
                if self._spread_run is None:
                    self._spread_run = _session(self.bundle, "spread.onnx", self._threads)
                return dict(zip(self._names, self._spread_run.run(self._names, arrays), strict=True))
        return None

    def _head(
        self, name: str, head: Head, logits: NDArray[np.float32], passes: NDArray[np.float32] | None
    ) -> HeadPrediction:
        found = self._cards[name]
        values = averaged(logits, head, found.calibration)
        n = len(values)
        if passes is None:
            spread = np.full(values.shape, np.nan, np.float32)
        else:
            spread = calibrated(passes, head, found.calibration).std(axis=0)
        blank = np.full(n, "")
        match head:
            case Binary():
                threshold = 0.5 if found.decision is None else found.decision.threshold
                decision = np.where(values[:, 0] >= threshold, head.labels[1], head.labels[0])
                sets = blank
                if found.conformal is not None:
                    both = np.concatenate([1 - values, values], axis=1)
                    sets = label_sets(both, head.labels, found.conformal)
                return HeadPrediction((head.labels[1],), values, spread, decision, sets)
            case Multiclass():
                decision = np.array(head.labels)[values.argmax(axis=1)]
                sets = blank if found.conformal is None else label_sets(values, head.labels, found.conformal)
                return HeadPrediction(head.labels, values, spread, decision, sets)
            case Multilabel():
                return HeadPrediction(head.labels, values, spread, blank, blank)
        names = getattr(head, "names", (name,))
        return HeadPrediction(tuple(names), values, spread, blank, blank)


def calibrated(logits: NDArray[np.float32], head: Head, calibration: Calibration) -> NDArray[np.float32]:
    """Probabilities from logits (..., k); numbers of regressions and maps are returned as they are.

    Parameters
    ----------
    logits : (..., k) float32 ndarray
    head : Head
    calibration : Calibration

    Returns
    -------
    values : float32 ndarray of the same shape
    """
    if head.kind in ("regression", "heatmap"):
        return logits
    scaled = logits if calibration.temperature == 1 else logits / np.float32(calibration.temperature)
    if head.kind == "multiclass":
        shifted = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
        return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True), np.float32)
    values: NDArray[np.float32] = expit(scaled)
    if calibration.method == "isotonic":
        return np.interp(values, calibration.x, calibration.y).astype(np.float32)
    return values


def averaged(logits: NDArray[np.float32], head: Head, calibration: Calibration) -> NDArray[np.float32]:
    """Probabilities of an ensemble: the mean over its members.

    An isotonic map is that of the mean, and comes after it; a temperature is that of each member.

    Parameters
    ----------
    logits : (members, n, ...) float32 ndarray
    head : Head
    calibration : Calibration

    Returns
    -------
    values : (n, ...) float32 ndarray
    """
    if len(logits) == 1:  # the usual case, and a mean of one costs more than all the rest
        return calibrated(logits[0], head, calibration)
    if calibration.method != "isotonic":
        return calibrated(logits, head, calibration).mean(axis=0)
    mean = calibrated(logits, head, Calibration()).mean(axis=0)
    return np.interp(mean, calibration.x, calibration.y).astype(np.float32)


def label_sets(
    probabilities: NDArray[np.float32], labels: tuple[str, ...], conformal: Conformal
) -> NDArray[np.str_]:
    """The conformal set of each item as text: labels joined by ``+``, or ``novel`` for none."""
    quantiles = np.array([conformal.quantile[label] for label in labels])
    member = 1 - probabilities <= quantiles
    codes = member @ (1 << np.arange(len(labels)))
    texts = {
        code: "+".join(label for k, label in enumerate(labels) if code >> k & 1) or "novel"
        for code in np.unique(codes).tolist()
    }
    return np.array([texts[code] for code in codes.tolist()], dtype=np.str_)


def _channel_note(channels: tuple[str, ...]) -> str:
    return f" (channels last: {', '.join(channels)})" if channels else ""


def _refusals() -> tuple[type[Exception], ...]:
    """What ONNX Runtime raises for a model that it cannot run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoModel",
        "NoSuchFile",
        "NotImplemented",
    )
    return (RuntimeError, ValueError, *(getattr(state, name) for name in names))


def _session(bundle: Bundle, file: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = bundle.path / file
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _refusals() as error:
        reason = " ".join(str(error).split())[:200]
        raise BundleError(f"{path}: cannot be run ({reason}); export the bundle again") from error
    given = {one.name: tuple(one.shape[1:]) for one in session.get_inputs()}
    wanted = {name: one.shape for name, one in bundle.task.inputs.items()}
    if given != wanted:
        raise BundleError(f"{path}: takes {given}, but the card says {wanted}; export the bundle again")
    outputs = {one.name for one in session.get_outputs()}
    if outputs != set(bundle.task.heads):
        raise BundleError(
            f"{path}: gives {sorted(outputs)}, but the card says {sorted(bundle.task.heads)}; "
            "export the bundle again"
        )
    return session
