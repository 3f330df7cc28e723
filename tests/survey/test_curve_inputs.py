"""What shipped bundles are given is what they have learned from."""

from __future__ import annotations

import numpy as np
import pytest

from astrid.learn.registry import find_bundle
from astrid.survey.curve_inputs import CurveInputs
from astrid.survey.curve_measures import Measures, measure, prepared
from astrid.survey.labelled_stars import labelled_stars
from astrid.survey.variables import _part


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "least"), [("dmdt.crts1", 0.68), ("dmdt_fine.crts1", 0.70)])
def test_classes_of_real_stars_are_as_good_as_the_card_of_the_bundle_says(real_data, name, least):
    folder = real_data / "lightcurves" / "crts"
    stars = labelled_stars(folder / "crts_train_lc.parquet", folder / "crts_train_labels.csv")
    classes = find_bundle(name).task.heads["variable"].labels
    test = [one for one in stars if _part(one.group) == "test" and one.label in classes]
    chosen = [test[i] for i in np.random.default_rng(0).choice(len(test), 300, replace=False)]
    table, _ = measure([prepared(one.curve) for one in chosen], Measures(features=False, models=(name,)))
    said = table[f"{name.replace('.', '_')}_decision"].to_pylist()
    assert np.mean([one == star.label for one, star in zip(said, chosen, strict=True)]) > least


@pytest.mark.parametrize("name", ["crts_trees.crts1", "eros_trees.eros1", "dmdt.crts1", "dmdt_fine.crts1"])
def test_every_shipped_model_of_variable_stars_can_be_shown_a_light_curve(name):
    assert CurveInputs(find_bundle(name)).needs_period is (not name.startswith("dmdt"))
