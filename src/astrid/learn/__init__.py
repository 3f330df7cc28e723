"""The one engine: data sets, training, evaluation, calibration, explanation, bundles, prediction.

Every public name of this room can be had from here; a module is loaded when one of its
names is first used, so that classifying loads nothing that only training needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from astrid.learn.bundle import Bundle, Card, Measured
    from astrid.learn.dataset import Dataset, DatasetWriter
    from astrid.learn.evaluation import Evaluation, evaluate
    from astrid.learn.evaluation_report import write_evaluation
    from astrid.learn.explanation import Explanation, explain
    from astrid.learn.export import export_run
    from astrid.learn.keras import import_keras
    from astrid.learn.prediction import Prediction, Predictor
    from astrid.learn.registry import Entry, find_bundle, list_bundles, live, set_stage
    from astrid.learn.revision import recalibrate, with_figures
    from astrid.learn.run import Run, load_run
    from astrid.learn.scores import read_arrays, write_scores
    from astrid.learn.settings import Loss, Optimizer, Schedule, Split, Training, read_settings
    from astrid.learn.splits import Parts, make_parts
    from astrid.learn.study import Study
    from astrid.learn.task import (
        Binary,
        Cost,
        Figure,
        HeatMap,
        Input,
        Multiclass,
        Multilabel,
        Regression,
        Task,
    )
    from astrid.learn.training import train
    from astrid.learn.tuning import tune
    from astrid.learn.verification import Verification, verify

_MODULES = {
    "bundle": ("Bundle", "Card", "Measured"),
    "dataset": ("Dataset", "DatasetWriter"),
    "evaluation": ("Evaluation", "evaluate"),
    "evaluation_report": ("write_evaluation",),
    "explanation": ("Explanation", "explain"),
    "export": ("export_run",),
    "keras": ("import_keras",),
    "prediction": ("Prediction", "Predictor"),
    "registry": ("Entry", "find_bundle", "list_bundles", "live", "set_stage"),
    "revision": ("recalibrate", "with_figures"),
    "run": ("Run", "load_run"),
    "scores": ("read_arrays", "write_scores"),
    "settings": ("Loss", "Optimizer", "Schedule", "Split", "Training", "read_settings"),
    "splits": ("Parts", "make_parts"),
    "study": ("Study",),
    "task": (
        "Binary",
        "Cost",
        "Figure",
        "HeatMap",
        "Input",
        "Multiclass",
        "Multilabel",
        "Regression",
        "Task",
    ),
    "training": ("train",),
    "tuning": ("tune",),
    "verification": ("Verification", "verify"),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Binary",
    "Bundle",
    "Card",
    "Cost",
    "Dataset",
    "DatasetWriter",
    "Entry",
    "Evaluation",
    "Explanation",
    "Figure",
    "HeatMap",
    "Input",
    "Loss",
    "Measured",
    "Multiclass",
    "Multilabel",
    "Optimizer",
    "Parts",
    "Prediction",
    "Predictor",
    "Regression",
    "Run",
    "Schedule",
    "Split",
    "Study",
    "Task",
    "Training",
    "Verification",
    "evaluate",
    "explain",
    "export_run",
    "find_bundle",
    "import_keras",
    "list_bundles",
    "live",
    "load_run",
    "make_parts",
    "read_arrays",
    "read_settings",
    "recalibrate",
    "set_stage",
    "train",
    "tune",
    "verify",
    "with_figures",
    "write_evaluation",
    "write_scores",
]


def __getattr__(name: str) -> Any:
    """Load the module of a public name at its first use."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(f"astrid.learn.{_MODULE_OF[name]}"), name)
    raise AttributeError(f"module 'astrid.learn' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
