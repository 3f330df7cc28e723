"""The models that the service answers with: bundles, loaded once, and again when there are others.

What a model says is put into plain values here; what is shown to it is made in the routes.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import AstridError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.prediction import HeadPrediction, Predictor
from astrid.learn.registry import find_bundle, list_bundles
from astrid.service.errors import Problem
from astrid.service.state import State
from astrid.survey.curve_inputs import CurveInputs
from astrid.survey.realbogus_data import TRIPLET

__all__ = ["LIVE", "Model", "Models", "get_models", "ready", "said_of"]

log = logging.getLogger(__name__)

LIVE = "live"
"""Instead of a name: the bundle in use of the system that judges candidates."""

_SYSTEM = "braai"
_LOOK_AGAIN = 20.0  # s
_MOST = 32  # networks that are kept in memory
_MAKING = threading.Lock()


@dataclass(frozen=True)
class Model:
    """One bundle that can be asked.

    Parameters
    ----------
    name : str
    stage : str
        ``live``, ``candidate`` or ``retired``; ``served`` of a folder.
    bundle : Bundle
    kind : str
        What is shown to it: ``triplets``, ``light curves``, ``transits``, or ``tensors`` where only whoever
        asks can make its inputs.
    """

    name: str
    stage: str
    bundle: Bundle
    kind: str

    @property
    def version(self) -> str:
        """The first letters of the hash."""
        return self.bundle.hash[:12]

    def as_dict(self) -> dict[str, Any]:
        """What is known of it in short."""
        card, task = self.bundle.card, self.bundle.task
        return {
            "name": self.name,
            "version": self.version,
            "hash": self.bundle.hash,
            "system": task.name,
            "title": task.title,
            "paper": task.paper,
            "stage": self.stage,
            "kind": self.kind,
            "created": card.created,
            "licence": card.licence,
            "limits": card.limits,
            "uncertainty": card.uncertainty.method,
            "inputs": {name: one.model_dump(mode="json") for name, one in task.inputs.items()},
            "heads": {name: one.model_dump(mode="json") for name, one in task.heads.items()},
            "metrics": [one.model_dump(mode="json") for one in card.metrics],
        }


class Models:
    """The models of a service.

    Parameters
    ----------
    chosen : tuple of str
        Names, or paths of folders; all of the registry that are not retired, if none is given.
    """

    def __init__(self, chosen: tuple[str, ...] = ()) -> None:
        self._chosen = chosen
        self._lock = threading.Lock()
        self._listed: dict[str, Model] = {}
        self._read = float("-inf")
        self._predictors: OrderedDict[str, Predictor] = OrderedDict()

    def listed(self) -> dict[str, Model]:
        """Every model by its name, in the order of the names."""
        with self._lock:
            if time.monotonic() - self._read > _LOOK_AGAIN:
                self._listed, self._read = self._found(), time.monotonic()
            return self._listed

    def find(self, name: str) -> Model:
        """The model of a name, or the one in use for `LIVE`.

        Raises
        ------
        Problem
            404 where there is none.
        """
        listed = self.listed()
        if name == LIVE:
            for model in listed.values():
                if model.stage == "live" and model.bundle.task.name == _SYSTEM:
                    return model
            raise Problem(404, f"no model of {_SYSTEM} is live; name one of {', '.join(listed) or 'none'}")
        if name not in listed:
            raise Problem(404, f"there is no model {name[:80]!r} here; GET /api/v1/models lists them")
        return listed[name]

    def predictor(self, model: Model) -> Predictor:
        """The model, ready to classify; threads can share it."""
        key = model.bundle.hash
        with self._lock:
            if key in self._predictors:
                self._predictors.move_to_end(key)
                return self._predictors[key]
            found = self._predictors[key] = Predictor(model.bundle)
            while len(self._predictors) > _MOST:
                self._predictors.popitem(last=False)
            return found

    def _found(self) -> dict[str, Model]:
        places: list[tuple[str, str, Bundle]] = []
        if self._chosen:
            stages = {entry.name: entry.stage for entry in list_bundles()}
            for one in self._chosen:
                bundle = find_bundle(Path(one) if "/" in one else one)
                places.append((bundle.name, stages.get(bundle.name, "served"), bundle))
        else:
            for entry in list_bundles():
                if entry.problem:
                    log.warning("the service has no model %s: %s", entry.name, entry.problem)
                elif entry.stage != "retired":
                    places.append((entry.name, entry.stage, Bundle.load(entry.path, name=entry.name)))
        made = (Model(name, stage, bundle, _kind(bundle)) for name, stage, bundle in places)
        return {model.name: model for model in sorted(made, key=lambda model: model.name)}


def _kind(bundle: Bundle) -> str:
    inputs = bundle.task.inputs
    if len(inputs) == 1:
        (only,) = inputs.values()
        if only.channels and set(only.channels) <= set(TRIPLET.channels) and len(only.shape) == 3:
            return "triplets"
    if "planet" in bundle.task.heads:
        return "transits"
    try:
        CurveInputs(bundle)
    except UsageError:
        return "tensors"
    return "light curves"


def get_models(state: State) -> Models:
    """The models of a service, which are loaded when they are first asked for."""
    with _MAKING:
        found = state.shared.get("models")
        if found is None:
            found = state.shared["models"] = Models(tuple(state.settings.bundles))
    return found


def ready(state: State) -> bool:
    """Whether the models can be listed and the live one be asked."""
    models = get_models(state)
    try:
        listed = models.listed()
        for model in listed.values():
            if model.stage == "live":
                models.predictor(model)
    except AstridError as error:
        log.warning("the models are not ready: %s", error)
        return False
    return bool(listed)


def said_of(
    heads: dict[str, HeadPrediction], applicable: NDArray[np.str_], row: int
) -> dict[str, Any] | None:
    """What a model says of one item as plain values; None where it could not be asked.

    Parameters
    ----------
    heads : dict of str to HeadPrediction
    applicable : (n,) str ndarray
    row : int
    """
    said = {}
    for name, head in heads.items():
        values, spread = head.values[row].tolist(), head.spread[row].tolist()
        if values[0] != values[0]:  # NaN: pixels that are not finite
            return None
        said[name] = {
            "values": dict(zip(head.labels, values, strict=True)),
            "spread": dict(zip(head.labels, spread, strict=True)) if spread[0] == spread[0] else None,
            "decision": str(head.decision[row]) or None,
            "set": str(head.labels_in_set[row]) or None,
        }
    return {"heads": said, "applicable": str(applicable[row])}
