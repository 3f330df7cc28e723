"""The figures that every epoch of a training is followed by, one set for each kind of head.

They watch a training; the judgement of a finished model, with intervals, is in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.learn import metrics
from astrid.learn.task import Head

__all__ = ["figure_names", "figures_of"]

_FIGURES = {
    "binary": ("aucpr", "fnr", "fpr"), "multiclass": ("aucpr", "balanced_accuracy"), "multilabel": ("aucpr",),
    "regression": ("mae", "bias"), "heatmap": ("mae",),
}  # fmt: skip


def figure_names(heads: Mapping[str, Head]) -> tuple[str, ...]:
    """The names of all figures that an epoch of a task has, in order."""
    losses = [f"validation/{name}/loss" for name in heads] if len(heads) > 1 else []
    own = [f"validation/{name}/{figure}" for name, head in heads.items() for figure in _FIGURES[head.kind]]
    return ("training/loss", "validation/loss", *losses, *own, "lr")


def figures_of(head: Head, outputs: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
    """The figures of one head after an epoch.

    Parameters
    ----------
    head : Head
    outputs : (n, k) ndarray
        Logits or values.
    truth : ndarray
        As `Dataset.labels` gives it.

    Returns
    -------
    figures : dict of str to float
        Binary: ``aucpr``, and the rates of false negatives and false positives at 0.5. Multiclass:
        ``aucpr`` (mean over classes) and ``balanced_accuracy``. Multilabel: ``aucpr``. Regression:
        ``mae`` and ``bias``. Heat map: ``mae``. A figure that a class without items leaves
        undefined is absent.
    """
    match head.kind:
        case "binary":
            known = ~np.isnan(truth)
            positive, logits = truth[known] >= 0.5, outputs[known, 0]
            found = {"aucpr": _aucpr(positive, logits)}
            found["fnr"] = metrics.miss_rate(positive, logits, 0.0) if positive.any() else None
            found["fpr"] = None if positive.all() else metrics.false_alarm_rate(positive, logits, 0.0)
        case "multiclass":
            known = truth >= 0
            codes, logits = truth[known], outputs[known]
            present = np.unique(codes)
            # the softmax, not the logit: how sure one class is depends on the others
            shares = np.exp(logits - logits.max(axis=1, keepdims=True))
            shares = shares / shares.sum(axis=1, keepdims=True)
            found = {
                "aucpr": _mean([_aucpr(codes == k, shares[:, k]) for k in range(logits.shape[1])]),
                "balanced_accuracy": _mean(
                    [float(np.mean(logits[codes == k].argmax(axis=1) == k)) for k in present]
                ),
            }
        case "multilabel":
            known = ~np.isnan(truth)
            columns = range(truth.shape[1])
            found = {
                "aucpr": _mean(
                    [_aucpr(truth[known[:, k], k] >= 0.5, outputs[known[:, k], k]) for k in columns]
                )
            }
        case "regression":
            errors = (outputs - truth)[~np.isnan(truth)]
            found = {"mae": _mean(np.abs(errors)), "bias": _mean(errors)}
        case _:
            found = {"mae": _mean(outputs)}
    return {name: value for name, value in found.items() if value is not None}


def _aucpr(positive: NDArray[np.bool_], scores: NDArray[Any]) -> float | None:
    return metrics.aucpr(positive, scores) if positive.any() and not positive.all() else None


def _mean(values: Sequence[float | None] | NDArray[Any]) -> float | None:
    known = np.array([value for value in values if value is not None], np.float64)
    return float(known.mean()) if len(known) else None
