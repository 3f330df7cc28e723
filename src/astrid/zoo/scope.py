"""What a light curve looks like, and what its source is.  Coughlin et al. 2021 (SCOPE), arXiv:2102.11304."""

from __future__ import annotations

from astrid.learn.settings import Optimizer, Schedule, Split, Training
from astrid.learn.task import Binary, Cost, Head, Input, Task
from astrid.lightcurves.classes import taxonomy
from astrid.lightcurves.variability import VERSION, numbers_of

__all__ = ["CLASSES", "SCOPE", "SCOPE_DNN"]

CLASSES = (
    "sin", "elp", "saw", "mp", "longt", "e", "ea", "eb", "ew", "wp", "hp", "dp",
    "bis", "blyr", "rscvn", "wuma",
    "puls", "rrlyr", "rrab", "rrc", "rrd", "rrblz", "lpv", "dscu", "ceph2", "acep",
)  # fmt: skip
"""Those of which at least 30 real stars are at hand, and as many that are not; a yes or no of each."""

# where probabilities are right, the threshold of least cost is SCOPE's 0.7
_COST = Cost(miss=3, false_alarm=7)
_HEADS: dict[str, Head] = {
    taxonomy()[code].code: Binary(labels=("other", code), cost=_COST) for code in CLASSES
}
_NAMES = tuple(numbers_of())
_FEATURES = {
    "features": Input(
        shape=(len(_NAMES),),
        unit="of each, see variability",
        meaning="statistics, Fourier terms and period figures; what is not defined is 0",
        channels=_NAMES,
    )
}
_IMAGE = {"dmdt": Input(shape=(26, 26, 1), meaning="pairs of points by dm (rows) and dt, of norm 1")}
_SPLIT = Split(by="column", column="part", test_values=("test",), validation_values=("validation",))
_LIMITS = (
    "For light curves like those of the Catalina survey: one band without a filter, 100 to 500 points in 5 "
    "to 8 years, of stars that are known to vary with a period. No star that does not vary, and none that "
    "varies irregularly, was seen in training: the roots of the trees (variable, periodic) are not judged, "
    "and a constant star will be given some class. Labels are those of Drake et al. 2014; classes are more "
    "alike in number than in the sky."
)

SCOPE = Task(
    name="scope",
    title="Classes of variable stars, each a yes or no, by boosted trees",
    paper="Coughlin et al. 2021, arXiv:2102.11304; Healy et al. 2024, arXiv:2312.00143",
    inputs=_FEATURES,  # trees gain nothing by the 676 cells of an image
    heads=_HEADS,
    represent="astrid.lightcurves.variability:variability",
    representation_version=VERSION,
    network="astrid.networks.trees:Trees",
    network_options={"depth": 4, "subsample": 0.8, "colsample": 0.4},
    training=Training(optimizer=Optimizer(lr=0.08), epochs=400, patience=15, split=_SPLIT, threads=1),
    group="star",
    limits=_LIMITS,
)

SCOPE_DNN = SCOPE.model_copy(
    update={
        "name": "scope_dnn",
        "title": "Classes of variable stars, each a yes or no, by a network with two branches",
        "inputs": _FEATURES | _IMAGE,
        "network": "astrid.networks.branches:Branches",
        "network_options": {"numbers": [256, 32], "images": [16, 32], "joint": 64},
        "training": Training(
            optimizer=Optimizer(name="adam", lr=2e-3),
            schedule=Schedule(name="plateau", patience=5),
            batch_size=128,
            epochs=60,
            patience=12,
            split=_SPLIT,
            threads=1,
        ),
    }
)
