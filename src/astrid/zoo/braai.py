"""Real or bogus: did a point source change here?  Duev et al. 2019, arXiv:1907.11259."""

from __future__ import annotations

from astrid.learn.settings import Loss, Optimizer, Split, Training
from astrid.learn.task import Binary, Cost, Figure, Input, Task

__all__ = ["BRAAI"]

BRAAI = Task(
    name="braai",
    title="Real or bogus candidates of image differences",
    paper="Duev et al. 2019, MNRAS 489, 3582, arXiv:1907.11259",
    inputs={
        "triplet": Input(
            shape=(63, 63, 3),
            unit="counts",
            meaning="cutouts around a candidate, missing pixels 0",
            channels=("science", "reference", "difference"),
        )
    },
    heads={"real": Binary(labels=("bogus", "real"), cost=Cost(miss=20, false_alarm=1))},
    represent="astrid.images.cutouts:triplets",
    network="astrid.networks.vgg:VGG6",
    network_options={"normalization": "row_l2"},
    training=Training(
        loss=Loss(name="bce"),
        optimizer=Optimizer(name="adam", lr=3e-4),
        batch_size=64,
        epochs=200,
        patience=50,
        class_weights=True,
        augment="dihedral",  # the paper flips only; rotations by right angles are as harmless
        split=Split(validation=0.09, test=0.1),  # 81 / 9 / 10 %, but of fields
    ),
    group="field",
    published=(
        Figure(name="false negative rate at 0.5", value=0.011, where="test set, figure 6"),
        Figure(name="false positive rate at 0.5", value=0.029, where="test set, figure 6"),
    ),
    limits=(
        "For point sources that changed between two images; not for streaks, extended residuals of comets "
        "or satellites, nor for cutouts that were stretched, clipped or converted to 8 bits."
    ),
)
