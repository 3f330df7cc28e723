"""Is a periodic dip of a star's light a planet?  Rao et al. 2021 (Nigraha), arXiv:2101.09227.

Two systems of one question: boosted trees on numbers, and the paper's network on folded curves.
"""

from __future__ import annotations

from astrid.learn.settings import Optimizer, Schedule, Split, Training
from astrid.learn.task import Binary, Cost, Figure, Head, Input, Task
from astrid.lightcurves.transits.numbers import NUMBERS_VERSION, ORBIT, SHAPE, SIGNAL, STAR

__all__ = ["TESS_TRANSITS", "TESS_TRANSIT_VIEWS"]

_DEPTH = "transit depth"

_NUMBERS = {
    "transit": Input(
        shape=(len(SIGNAL),),
        unit="log10, but for the second",
        meaning="the signal as it was found: d, relative difference of depths, h, 1, 1, 1, 1",
        channels=SIGNAL,
    ),
    "star": Input(
        shape=(len(STAR),),
        unit="TESS mag, K, dex, solar radius, solar mass",
        meaning="the star, as the TESS Input Catalog has it",
        channels=STAR,
    ),
    "orbit": Input(
        shape=(len(ORBIT),),
        unit="log10",
        meaning="what it would be as a planet: Earth radii, durations of a central transit, solar "
        "densities, K, d, 1",
        channels=ORBIT,
    ),
}
_SHAPE = Input(
    shape=(len(SHAPE),),
    unit=f"{_DEPTH}; bins for centres, log10 for scatters",
    meaning="the views in numbers: outside the dip, inside it, half a period later",
    channels=SHAPE,
)
_VIEWS = {
    "global_view": Input(
        shape=(201, 1), unit=_DEPTH, meaning="one period, the transit in the middle", channels=("flux",)
    ),
    "shifted_view": Input(
        shape=(201, 1), unit=_DEPTH, meaning="one period, a quarter of it later", channels=("flux",)
    ),
    "local_view": Input(shape=(81, 1), unit=_DEPTH, meaning="two durations on each side", channels=("flux",)),
    "half_phase_view": Input(
        shape=(81, 2),
        unit=_DEPTH,
        meaning="as the local view, on one scale",
        channels=("half_phase", "transit"),
    ),
}
_HEADS: dict[str, Head] = {"planet": Binary(labels=("other", "planet"), cost=Cost(miss=10, false_alarm=1))}
# stars fall into ten folds by their names: members of an ensemble differ in their seeds, not in their split
_SPLIT = Split(by="column", column="fold", test_values=("0", "1"), validation_values=("2", "3"))
_PAPER = "Rao et al. 2021, MNRAS 502, 2845, arXiv:2101.09227"
_PUBLISHED = (
    Figure(name="AUROC", value=0.908, where="test set, which shares stars with the training set"),
    Figure(name="recall at 0.7", value=0.919, where="known planets, of the same test set"),
)
_LIMITS = (
    "For signals found by a search for boxes or transits in light curves of TESS; the labels are the "
    "dispositions of a vetting team, candidates counted as planets."
)

TESS_TRANSITS = Task(
    name="tess_transits",
    title="Planets among the transit-like signals of stars",
    paper=_PAPER,
    inputs={**_NUMBERS, "shape": _SHAPE},
    heads=_HEADS,
    represent="astrid.survey.transit_search:candidate_inputs",
    representation_version=NUMBERS_VERSION,
    network="astrid.networks.trees:Trees",
    network_options={"depth": 4, "min_child_weight": 3.0, "subsample": 0.7, "colsample": 0.4},
    training=Training(
        optimizer=Optimizer(name="adam", lr=0.03), epochs=800, patience=80, trackers=(), split=_SPLIT
    ),
    group="star",
    published=_PUBLISHED,
    limits=_LIMITS,
)

TESS_TRANSIT_VIEWS = Task(
    name="tess_transit_views",
    title="Planets among the transit-like signals of stars, by their folded curves",
    paper=_PAPER,
    inputs={**_VIEWS, **_NUMBERS},
    heads=_HEADS,
    represent="astrid.survey.transit_search:candidate_inputs",
    representation_version=NUMBERS_VERSION,
    network="astrid.networks.branches:Branches",
    network_options={
        "joint": 32, "numbers": [32, 16], "curves": 8, "growth": 1, "convolutions": 1, "summary": 8,
        "dropout": 0.3,
    },
    training=Training(
        optimizer=Optimizer(name="adamw", lr=2e-3, weight_decay=1e-2),
        schedule=Schedule(name="one_cycle"),
        batch_size=64,
        epochs=30,
        patience=30,
        augment="mirror",
        split=_SPLIT,
    ),
    group="star",
    published=_PUBLISHED,
    limits=_LIMITS,
)  # fmt: skip
