"""The bundles of SCOPE's classes that come with AstrID."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from astrid.learn import find_bundle, live
from astrid.learn.bundle import Bundle
from astrid.lightcurves.classes import taxonomy
from astrid.survey.curve_measures import Measures, measure, prepared
from astrid.survey.labelled_stars import labelled_stars
from astrid.survey.scope_set import FEWEST, part_of
from astrid.zoo.scope import CLASSES


@pytest.fixture(params=["scope.crts1", "scope_dnn.crts1"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return find_bundle(request.param)


def test_the_trees_are_live() -> None:
    found = live("scope")
    assert found is not None
    assert found.name == "scope.crts1"


def test_each_class_has_its_calibration_its_threshold_and_figures_with_intervals(bundle: Bundle) -> None:
    assert tuple(bundle.task.heads) == CLASSES
    figures = {one.name: one for one in bundle.card.metrics}
    for code in CLASSES:
        head = bundle.card.head(code)
        assert head.calibration is not None
        assert "validation part" in head.calibration.fitted_on
        assert head.decision is not None
        assert 0 < head.decision.threshold <= 1
        area = figures[f"{code}: AUCPR"]
        assert area.kind == "real"
        assert area.low <= area.value <= area.high


def test_a_bundle_is_small_and_knows_no_machine(bundle: Bundle) -> None:
    files = list(bundle.path.iterdir())
    assert sum(one.stat().st_size for one in files) < 2e6
    command = bundle.card.command.split()
    assert not any(Path(word).is_absolute() for word in command)


@pytest.mark.real_data
def test_real_stars_are_classified_from_their_light_curves(real_data: Path) -> None:
    folder = real_data / "lightcurves" / "crts"
    stars = labelled_stars(folder / "crts_train_lc.parquet", folder / "crts_train_labels.csv")
    counts = {
        code: sum((taxonomy().meaning_of("crts", one.label).get(code) or 0) >= 0.5 for one in stars)
        for code in ("rrab", "ea", "acep")
    }
    assert min(counts.values()) >= FEWEST
    test = [one for one in stars if part_of(one.group) == "test" and one.label in ("RRab", "EA")]
    chosen = [test[k] for k in np.random.default_rng(0).choice(len(test), 24, replace=False)]
    table, _ = measure([prepared(one.curve) for one in chosen], Measures(features=False, models=("scope",)))
    for code, label in (("rrab", "RRab"), ("ea", "EA")):
        p = np.array(table[f"scope_crts1_{code}"].to_pylist())
        yes = np.array([one.label == label for one in chosen])
        assert np.mean((p > 0.5) == yes) >= 22 / 24


@pytest.mark.real_data
def test_most_stars_that_do_not_vary_are_outside_of_what_was_learned(real_data: Path) -> None:
    folder = real_data / "lightcurves" / "crts"
    stars = labelled_stars(folder / "crts_train_lc.parquet", folder / "crts_train_labels.csv")[::500]
    rng = np.random.default_rng(0)
    still = []
    for one in stars:
        curve = prepared(one.curve)
        noise = rng.normal(0, 1, len(curve.value)) * curve.error
        still.append(replace(curve, value=np.median(curve.value) + noise))
    table, _ = measure(still, Measures(features=False, models=("scope",)))
    refused = [one != "" for one in table["scope_crts1_applicable"].to_pylist()]
    assert len(refused) >= 10
    assert np.mean(refused) >= 0.7
