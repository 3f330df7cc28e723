"""The items that a model is most wrong about, with all that a person needs to see why.

Which predictions are wrong, and how many are, is measured in `scored`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.files.record import plain
from astrid.learn.dataset import Dataset
from astrid.learn.findings import Mistake
from astrid.learn.prediction import Prediction, Predictor
from astrid.learn.scored import Scored
from astrid.learn.task import Binary, Multiclass, Multilabel, Regression

__all__ = ["mistakes"]

_MOST = 24
_CHANNELS = 4
"""Images with more channels are not shown."""


def mistakes(
    predictor: Predictor, dataset: Dataset, scored: Scored, columns: Mapping[str, NDArray[Any]]
) -> tuple[Mistake, ...]:
    """The items that the model is most wrong about, looked at once more.

    Parameters
    ----------
    predictor : Predictor
    dataset : Dataset
    scored : Scored
    columns : mapping of str to (n,) ndarray
        Columns of the scored items that are worth showing.

    Returns
    -------
    tuple of Mistake
        The worst first; of yes or no, the false alarms and then the missed.
    """
    picked = _most_wrong(scored)
    if not len(picked):
        return ()
    rows = scored.rows[picked]
    arrays = {name: dataset.take(name, rows) for name in predictor.bundle.task.inputs}
    prediction = predictor(arrays)
    images = {
        name: arrays[name]
        for name, one in predictor.bundle.task.inputs.items()
        if len(one.shape) == 3 and one.shape[-1] <= _CHANNELS and min(one.shape[:2]) > 1
    }
    ids = dataset.column("id") if "id" in dataset.rows.column_names else None
    return tuple(
        Mistake(
            row=int(row), id=str(row if ids is None else ids[row]), group=str(scored.groups[at]),
            **_said(scored, prediction, at, k),
            applicable=str(prediction.applicable[k]),
            columns={name: plain(values[at]) for name, values in columns.items()},
            images={name: block[k] for name, block in images.items()},
        )
        for k, (at, row) in enumerate(zip(picked.tolist(), rows.tolist(), strict=True))
    )  # fmt: skip


def _most_wrong(scored: Scored) -> NDArray[np.int64]:
    """Positions of the worst items; of yes or no, half of them of each kind."""
    wrong = scored.wrong
    match scored.head:
        case Binary():
            p, truth = scored.values[:, 0], scored.labels >= 0.5
            alarms = np.flatnonzero((wrong > 0) & ~truth)
            missed = np.flatnonzero((wrong > 0) & truth)
            half = _MOST // 2
            alarms = alarms[np.argsort(-p[alarms], kind="stable")][:half]
            return np.concatenate([alarms, missed[np.argsort(p[missed], kind="stable")][:half]])
        case Multiclass():
            sure = np.where(wrong > 0, scored.values.max(axis=1), 0)
        case Multilabel():
            off = np.abs(scored.values - np.nan_to_num(scored.labels, nan=0.5)).max(axis=1)
            sure = np.where(wrong > 0, off, 0)
        case _:
            sure = wrong
    worst = np.argsort(-sure, kind="stable")[:_MOST]
    return worst[sure[worst] > 0]


def _said(scored: Scored, prediction: Prediction, at: int, k: int) -> dict[str, Any]:
    """What is true and what was said about the item at `at`, number `k` of the prediction."""
    found = prediction.heads[scored.name]
    spread = float(found.spread[k].max())
    facts: dict[str, Any] = {
        "kind": "wrong",
        "spread": spread if np.isfinite(spread) else None,
        "labels_in_set": str(found.labels_in_set[k]),
    }
    values, labels = scored.values[at], scored.labels[at]
    match scored.head:
        case Binary():
            facts |= {"truth": str(scored.truth[at]), "said": str(found.decision[k])}
            facts |= {"kind": "missed" if labels >= 0.5 else "false alarm", "value": float(values[0])}
        case Multiclass():
            facts |= {"truth": str(scored.truth[at]), "said": str(found.decision[k])}
            facts["value"] = float(values.max())
        case Multilabel(labels=names):
            worst = int(np.abs(values - np.nan_to_num(labels, nan=0.5)).argmax())
            yes = "" if labels[worst] >= 0.5 else "not "
            other = "not " if labels[worst] >= 0.5 else ""
            facts |= {
                "truth": yes + names[worst],
                "said": other + names[worst],
                "value": float(values[worst]),
            }
        case Regression():
            worst = int(np.nan_to_num(np.abs(values - labels)).argmax())
            facts |= {"truth": f"{labels[worst]:.5g}", "said": f"{values[worst]:.5g}"}
            facts["value"] = float(values[worst] - labels[worst])
        case _:
            facts |= {"truth": "", "said": f"peak {values[1]:.3g} pixels off", "value": float(values[0])}
    return facts
