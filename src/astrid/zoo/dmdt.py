"""Which kind of variable star is this?  Mahabal et al. 2017, arXiv:1709.06257.

From its dm-dt image, as the paper has it; and from features and our own period search, by boosted trees and
by a network, which the paper does not have.
"""

from __future__ import annotations

from astrid.learn.settings import Optimizer, Schedule, Split, Training
from astrid.learn.task import Figure, Input, Multiclass, Task
from astrid.lightcurves.variability import VERSION, numbers_of

__all__ = ["CRTS_BRANCHES", "CRTS_TREES", "DMDT", "DMDT_FINE", "EROS_TREES"]

_CRTS = Multiclass(labels=("EW", "EA", "RRab", "RRc", "RRd", "RS_CVn", "LPV"))
_EROS = Multiclass(labels=("binary", "cepheid", "rr_lyrae", "mira"))
_SPLIT = Split(by="column", column="part", test_values=("test",), validation_values=("validation",))
_PAPER = "Mahabal et al. 2017, arXiv:1709.06257"
_LIMITS = (
    "For light curves like those of the Catalina survey: one band without a filter, 100 to 500 points in 5 "
    "to 8 years. The labels are those of Drake et al. 2014; every star is of one of the seven classes here, "
    "and the classes are about as frequent as each other, which they are not in the sky."
)

_MEANING = "root of the share of pairs of points, by dm (rows) and dt"
_IMAGE = Input(shape=(22, 23, 1), meaning=_MEANING)
_FINE = Input(shape=(28, 23, 1), meaning=_MEANING)
_FOLDED = Input(shape=(32, 1), unit="range of the profile", meaning="folded, from the faintest bin")


def _numbers(*bands: str) -> Input:
    names = tuple(numbers_of(bands))
    return Input(
        shape=(len(names),),
        unit="of each, see variability",
        meaning="statistics, Fourier terms and period figures; what is not defined is 0",
        channels=names,
    )


_BOOSTING = Training(
    optimizer=Optimizer(lr=0.05), epochs=600, patience=30, class_weights=True, split=_SPLIT, threads=1
)

# Two layers of convolutions in each of two blocks, so few channels that a thousand stars suffice.
_SHALLOW = {
    "images": [8, 16], "separable": False, "cells": True, "joint": 32, "joint_dropout": 0.5,
}  # fmt: skip

DMDT = Task(
    name="dmdt",
    title="Classes of variable stars from dm-dt images",
    paper=_PAPER,
    inputs={"dmdt": _IMAGE},
    heads={"variable": _CRTS},
    represent="astrid.lightcurves.dmdt:dmdt",
    network="astrid.networks.branches:Branches",
    network_options=_SHALLOW,
    training=Training(
        optimizer=Optimizer(name="adamw", lr=2e-3, weight_decay=1e-3),
        schedule=Schedule(name="one_cycle"),
        batch_size=64,
        epochs=16,
        patience=16,
        split=_SPLIT,
        threads=1,
    ),
    group="star",
    published=(Figure(name="accuracy", value=0.83, where="7 classes, two thirds of the stars EW"),),
    limits=_LIMITS,
)

DMDT_FINE = DMDT.model_copy(
    update={
        "name": "dmdt_fine",
        "title": "Classes of variable stars from dm-dt images with finer steps of magnitude",
        "inputs": {"dmdt_fine": _FINE},
    }
)

CRTS_TREES = Task(
    name="crts_trees",
    title="Classes of variable stars from features and period, by boosted trees",
    paper=f"{_PAPER} has the classes; the features follow Coughlin et al. 2021, arXiv:2009.14071",
    inputs={"features": _numbers("")},
    heads={"variable": _CRTS},
    represent="astrid.lightcurves.variability:variability",
    representation_version=VERSION,
    network="astrid.networks.trees:Trees",
    network_options={"depth": 4, "min_child_weight": 3, "subsample": 0.7, "colsample": 0.3},
    training=_BOOSTING,
    group="star",
    published=DMDT.published,
    limits=_LIMITS,
)

CRTS_BRANCHES = Task(
    name="crts_branches",
    title="Classes of variable stars from features, period, folded profile and dm-dt image, by a network",
    paper=CRTS_TREES.paper,
    inputs={"features": _numbers(""), "folded": _FOLDED, "dmdt_fine": _FINE},
    heads={"variable": _CRTS},
    represent="astrid.lightcurves.variability:variability",
    representation_version=VERSION,
    network="astrid.networks.branches:Branches",
    network_options={
        **_SHALLOW, "numbers": [128, 64], "curves": 8, "kernel": 5, "joint": 48,
    },
    training=DMDT.training,
    group="star",
    published=DMDT.published,
    limits=_LIMITS,
)  # fmt: skip

EROS_TREES = Task(
    name="eros_trees",
    title="Types of variable stars in the Magellanic Clouds from features in two bands, by boosted trees",
    paper="Beaulieu et al. 1995, A&A 303, 137 (EROS-1); the table is that of the RAMP variable stars",
    inputs={"features": _numbers("b", "r")},
    heads={"variable": _EROS},
    represent="astrid.lightcurves.variability:variability",
    representation_version=VERSION,
    network="astrid.networks.trees:Trees",
    network_options={"depth": 4, "subsample": 0.7, "colsample": 0.5},
    training=_BOOSTING,
    group="star",
    limits=(
        "For light curves like those of EROS-1: two bands, about 120 points each in three years. Every star "
        "is of one of the four types here."
    ),
)
