"""Is a periodic dip of a star's light a planet?  Rao et al. 2021 (Nigraha), arXiv:2101.09227."""

from __future__ import annotations

from astrid.learn.settings import Optimizer, Split, Training
from astrid.learn.task import Binary, Cost, Figure, Input, Task

__all__ = ["TESS_TRANSITS"]

_DEPTH = "transit depth"

TESS_TRANSITS = Task(
    name="tess_transits",
    title="Planets among the transit-like signals of stars",
    paper="Rao et al. 2021, MNRAS 502, 2845, arXiv:2101.09227",
    inputs={
        "global_view": Input(
            shape=(201, 1), unit=_DEPTH, meaning="one period, the transit in the middle", channels=("flux",)
        ),
        "shifted_view": Input(
            shape=(201, 1), unit=_DEPTH, meaning="one period, a quarter of it later", channels=("flux",)
        ),
        "local_view": Input(
            shape=(81, 1), unit=_DEPTH, meaning="two durations on each side", channels=("flux",)
        ),
        "odd_even_view": Input(
            shape=(81, 2), unit=_DEPTH, meaning="as the local view", channels=("odd", "even")
        ),
        "transit": Input(
            shape=(7,),
            unit="log10, but for the second",
            meaning="the signal as it was found: d, relative difference of depths, h, 1, 1, 1, 1",
            channels=("period", "odd_even", "duration", "depth", "transits", "snr", "sde"),
        ),
        "star": Input(
            shape=(5,),
            unit="TESS mag, K, dex, solar radius, solar mass",
            meaning="the star, as the TESS Input Catalog has it",
            channels=("tmag", "teff", "logg", "radius", "mass"),
        ),
    },
    heads={"planet": Binary(labels=("other", "planet"), cost=Cost(miss=10, false_alarm=1))},
    represent="astrid.lightcurves.transits:views",
    network="astrid.networks.branches:Branches",
    network_options={"joint": 32, "numbers": [32, 16], "curves": 8},
    training=Training(
        optimizer=Optimizer(name="adamw", lr=1e-3, weight_decay=1e-3),
        batch_size=64,
        epochs=60,
        patience=12,
        class_weights=True,
        augment="mirror",
        split=Split(validation=0.15, test=0.25),
    ),
    group="star",
    published=(
        Figure(name="AUROC", value=0.908, where="test set, which shares stars with the training set"),
        Figure(name="recall at 0.7", value=0.919, where="known planets, of the same test set"),
    ),
    limits=(
        "For signals found by a search for boxes or transits in light curves of TESS; the labels are the "
        "dispositions of a vetting team, candidates counted as planets."
    ),
)
