"""Candidates and what a real/bogus model says about each: probability, spread, decision, applicability.

Chooses the model and puts its words beside the measurements; ONNX Runtime does the work, so that
torch is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError, UsageError

if TYPE_CHECKING:
    from astropy.table import Row, Table

    from astrid.images.differencing import DifferenceResult
    from astrid.learn.bundle import Bundle
    from astrid.learn.prediction import HeadPrediction, Predictor
    from astrid.learn.task import Head

__all__ = [
    "LIVE", "SCORE_COLUMNS", "choose_model", "classify", "head_labels", "is_scored", "score_candidates",
    "scored", "stacked",
]  # fmt: skip

LIVE = "live"
"""Instead of a model's name: the live bundle of the system ``braai``, if there is one."""

SCORE_COLUMNS = {
    "real": "probability that the change is real, calibrated; null where it could not be scored",
    "real_spread": "its standard deviation over ensemble members or passes with dropout; null below 0.01",
    "real_decision": "real or bogus: the side of the model's threshold",
    "real_set": "conformal set: one label, real and bogus joined by + (to a person), or novel",
    "applicable": "empty where the model applies, else why the candidate is unlike its training data",
}
"""The columns that scoring adds to the candidate table."""

_SYSTEM = "braai"
_HEAD = "real"
_BATCH = 32  # candidates at a time: the inner layers of many more leave the cache of the processor
_SPREAD_FROM = 0.01  # passes with dropout cost 20 times as much as the score: not for what is surely bogus
_NOT_FINITE = "a cutout has pixels that are not finite"


def choose_model(model: Bundle | str | Path | None, cutout_size: int) -> tuple[Bundle | None, str]:
    """The bundle that a run is scored with, or the reason why there is none.

    Parameters
    ----------
    model : Bundle, str, Path or None
        A bundle, its name or path; `LIVE`; or None for no scores.
    cutout_size : int, px
        Of the run.

    Returns
    -------
    bundle : Bundle or None
    warning : str
        Why candidates stay unscored although nobody asked for that; else empty.

    Raises
    ------
    UsageError, BundleError
        The model that was asked for does not exist, is damaged, or takes other cutouts. A live
        bundle that nobody asked for by name is not worth failing for: it becomes a warning.
    """
    if model is None:
        return None, ""
    from astrid.learn.bundle import Bundle
    from astrid.learn.registry import find_bundle, live

    if model != LIVE:
        bundle = model if isinstance(model, Bundle) else find_bundle(model)
        misfit = _misfit(bundle, cutout_size)
        if misfit:
            raise UsageError(f"{misfit}; choose another model, or none")
        return bundle, ""
    try:
        found = live(_SYSTEM)
    except BundleError as error:
        return None, f"candidates are not scored: {error}"
    if found is None:
        return None, f"candidates are not scored: no bundle of {_SYSTEM} is live"
    misfit = _misfit(found, cutout_size)
    return (None, f"candidates are not scored: {misfit}") if misfit else (found, "")


def _misfit(bundle: Bundle, size: int) -> str:
    """Why the model cannot score cutouts of this size; empty if it can."""
    from astrid.images.cutouts import TRIPLET_VERSION

    task = bundle.task
    head = task.heads.get(_HEAD)
    if head is None or head.kind != "binary":
        return f"{bundle.name} has no binary head called {_HEAD!r}"
    planes = {"science", "reference", "difference"}
    channels = [one.channels for one in task.inputs.values()]
    if len(channels) != 1 or not channels[0] or not set(channels[0]) <= planes:
        return f"{bundle.name} takes {', '.join(task.inputs)}, which is not the triplet of a candidate"
    if task.representation_version != TRIPLET_VERSION:
        return (
            f"{bundle.name} takes triplets of version {task.representation_version}, these are of version "
            f"{TRIPLET_VERSION}"
        )
    (wanted,) = (one.shape for one in task.inputs.values())
    given = (size, size, len(channels[0]))
    return "" if wanted == given else f"{bundle.name} takes cutouts of {wanted[0]} px, these have {size} px"


def score_candidates(triplets: Mapping[str, NDArray[Any]], bundle: Bundle) -> dict[str, NDArray[Any]]:
    """What the model says about each candidate.

    Parameters
    ----------
    triplets : mapping
        ``science``, ``reference``, ``difference``: (n, size, size) float32, as `cutouts.triplets`
        makes them.
    bundle : Bundle
        As `choose_model` gives it.

    Returns
    -------
    columns : dict of str to (n,) ndarray
        `SCORE_COLUMNS`; probability and spread are masked where they are not known.

    Raises
    ------
    BundleError
        The model cannot be run.
    """
    from astrid.learn.prediction import Predictor

    ((_, one),) = bundle.task.inputs.items()
    heads, applicable = classify(Predictor(bundle), stacked(triplets, one.channels))
    head = heads[_HEAD]
    return {
        "real": np.ma.masked_invalid(head.values[:, 0]),
        "real_spread": np.ma.masked_invalid(head.spread[:, 0]),
        "real_decision": head.decision,
        "real_set": head.labels_in_set,
        "applicable": applicable,
    }


def classify(
    predictor: Predictor, stack: NDArray[np.float32], *, dropout: bool = True
) -> tuple[dict[str, HeadPrediction], NDArray[np.str_]]:
    """What a model says about each item of a stack, whatever its heads.

    Parameters
    ----------
    predictor : Predictor
        Of a bundle with one input.
    stack : (n, size, size, k) float32 ndarray
        With the channels of the bundle.
    dropout : bool
        Also the passes with dropout, where the bundle has them: ten times the cost of all the rest.
        What is surely none of the positive labels is spared them.

    Returns
    -------
    heads : dict of str to HeadPrediction
        NaN and empty where pixels are not finite.
    applicable : (n,) str ndarray
        Empty where the model applies, else why not.
    """
    from astrid.learn.prediction import HeadPrediction

    ((name, _),) = predictor.bundle.task.inputs.items()
    n = len(stack)
    finite = np.isfinite(stack.sum(axis=(1, 2, 3), dtype=np.float64))
    rows = np.flatnonzero(finite)
    with_dropout = predictor.bundle.card.uncertainty.method == "mc_dropout"
    found = [predictor({name: stack[batch]}, spread=not with_dropout) for batch in _batches(rows)]
    heads: dict[str, HeadPrediction] = {}
    for head, kind in predictor.bundle.task.heads.items():
        parts = [one.heads[head] for one in found]
        values, spread = np.full((2, n, kind.size), np.nan, np.float32)
        if parts:
            values[rows] = np.concatenate([one.values for one in parts])
            spread[rows] = np.concatenate([one.spread for one in parts])
        decision = _spread_out([one.decision for one in parts], rows, n)
        sets = _spread_out([one.labels_in_set for one in parts], rows, n)
        heads[head] = HeadPrediction(head_labels(head, kind), values, spread, decision, sets)
    applicable = np.where(finite, _spread_out([one.applicable for one in found], rows, n), _NOT_FINITE)
    if with_dropout and dropout:
        for batch in _batches(rows[_worth_a_spread(heads, predictor.bundle)[rows]]):
            for head, one in predictor({name: stack[batch]}).heads.items():
                heads[head].spread[batch] = one.spread
    return heads, applicable


def head_labels(name: str, head: Head) -> tuple[str, ...]:
    """What the numbers of a head are called; of yes or no there is one, of the positive label."""
    from astrid.learn.task import Binary, Multiclass, Multilabel, Regression

    if isinstance(head, Binary):
        return head.labels[1:]
    if isinstance(head, Multiclass | Multilabel):
        return head.labels
    return head.names if isinstance(head, Regression) else (name,)


def _spread_out(parts: list[NDArray[np.str_]], rows: NDArray[np.int64], n: int) -> NDArray[np.str_]:
    """Words at their rows, empty elsewhere."""
    words = np.concatenate([np.zeros(0, np.str_), *parts])
    out = np.zeros(n, words.dtype)
    out[rows] = words
    return out


def _worth_a_spread(heads: Mapping[str, HeadPrediction], bundle: Bundle) -> NDArray[np.bool_]:
    kinds = bundle.task.heads
    return np.logical_or.reduce(
        [
            one.values[:, 0] >= _SPREAD_FROM
            if kinds[name].kind == "binary"
            else np.isfinite(one.values[:, 0])
            for name, one in heads.items()
        ]
    )


def _batches(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows[start : start + _BATCH] for start in range(0, len(rows), _BATCH)]


def scored(result: DifferenceResult, bundle: Bundle) -> DifferenceResult:
    """The result with `SCORE_COLUMNS` in its candidate table, and the most probable candidates first.

    Candidates keep their ``id``; those that could not be scored come last.

    Parameters
    ----------
    result : DifferenceResult
    bundle : Bundle

    Returns
    -------
    DifferenceResult
        Its cutouts are in the order of the table.
    """
    from astropy.table import Column, MaskedColumn

    columns = score_candidates(result.triplets, bundle)
    candidates = result.candidates.copy()
    for name, values in columns.items():
        kind = MaskedColumn if np.ma.isMaskedArray(values) else Column
        candidates[name] = kind(values, description=SCORE_COLUMNS[name])
    order = np.argsort(-np.ma.filled(columns["real"], -1), kind="stable")
    return replace(
        result,
        candidates=candidates[order],
        triplets={name: values[order] for name, values in result.triplets.items()},
    )


def is_scored(candidates: Table | Row) -> bool:
    """Whether a candidate table, or a row of one, has `SCORE_COLUMNS`."""
    return "real" in candidates.colnames


def stacked(
    triplets: Mapping[str, NDArray[Any]], channels: tuple[str, ...], rows: NDArray[np.int64] | None = None
) -> NDArray[np.float32]:
    """Cutouts, all or some, with their channels last as networks take them: (n, size, size, k) float32."""
    wanted = slice(None) if rows is None else rows
    return np.stack([np.asarray(triplets[channel], np.float32)[wanted] for channel in channels], axis=-1)
