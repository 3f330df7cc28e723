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
    from astrid.learn.interest import expected_improvement, expected_interest
    from astrid.learn.keras import import_keras
    from astrid.learn.mixing import Queue, Shares, mixed_queue
    from astrid.learn.prediction import Prediction, Predictor
    from astrid.learn.queries import (
        bald,
        core_set,
        entropy,
        expected_cost,
        margin,
        novelty,
        random_order,
    )
    from astrid.learn.registry import Entry, find_bundle, list_bundles, live, set_stage
    from astrid.learn.revision import recalibrate, with_figures
    from astrid.learn.run import Run, load_run
    from astrid.learn.scores import read_arrays, write_scores
    from astrid.learn.settings import Loss, Optimizer, Schedule, Split, Training, read_settings
    from astrid.learn.splits import Parts, make_parts
    from astrid.learn.study import Study
    from astrid.learn.suspicion import suspicion
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
    from astrid.learn.votes import (
        Agreement,
        DawidSkene,
        Kappa,
        dawid_skene,
        kappa,
        majority,
        pairwise_kappa,
        tally,
    )

_MODULES = {
    "bundle": ("Bundle", "Card", "Measured"),
    "dataset": ("Dataset", "DatasetWriter"),
    "evaluation": ("Evaluation", "evaluate"),
    "evaluation_report": ("write_evaluation",),
    "explanation": ("Explanation", "explain"),
    "export": ("export_run",),
    "interest": ("expected_improvement", "expected_interest"),
    "keras": ("import_keras",),
    "mixing": ("Queue", "Shares", "mixed_queue"),
    "prediction": ("Prediction", "Predictor"),
    "queries": ("bald", "core_set", "entropy", "expected_cost", "margin", "novelty", "random_order"),
    "registry": ("Entry", "find_bundle", "list_bundles", "live", "set_stage"),
    "revision": ("recalibrate", "with_figures"),
    "run": ("Run", "load_run"),
    "scores": ("read_arrays", "write_scores"),
    "settings": ("Loss", "Optimizer", "Schedule", "Split", "Training", "read_settings"),
    "splits": ("Parts", "make_parts"),
    "study": ("Study",),
    "suspicion": ("suspicion",),
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
    "votes": (
        "Agreement",
        "DawidSkene",
        "Kappa",
        "dawid_skene",
        "kappa",
        "majority",
        "pairwise_kappa",
        "tally",
    ),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "Agreement",
    "Binary",
    "Bundle",
    "Card",
    "Cost",
    "Dataset",
    "DatasetWriter",
    "DawidSkene",
    "Entry",
    "Evaluation",
    "Explanation",
    "Figure",
    "HeatMap",
    "Input",
    "Kappa",
    "Loss",
    "Measured",
    "Multiclass",
    "Multilabel",
    "Optimizer",
    "Parts",
    "Prediction",
    "Predictor",
    "Queue",
    "Regression",
    "Run",
    "Schedule",
    "Shares",
    "Split",
    "Study",
    "Task",
    "Training",
    "Verification",
    "bald",
    "core_set",
    "dawid_skene",
    "entropy",
    "evaluate",
    "expected_cost",
    "expected_improvement",
    "expected_interest",
    "explain",
    "export_run",
    "find_bundle",
    "import_keras",
    "kappa",
    "list_bundles",
    "live",
    "load_run",
    "majority",
    "make_parts",
    "margin",
    "mixed_queue",
    "novelty",
    "pairwise_kappa",
    "random_order",
    "read_arrays",
    "read_settings",
    "recalibrate",
    "set_stage",
    "suspicion",
    "tally",
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
