"""The data set of published views: what is in it, and how its stars are divided."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from astrid.errors import DatasetError
from astrid.learn.dataset import Dataset
from astrid.learn.splits import check_parts, make_parts
from astrid.lightcurves.transits import SIGNAL, STAR
from astrid.survey.transit_sets import FOLDS, transit_views
from astrid.survey.transit_star import MEDIAN_STAR
from astrid.zoo.tess_transits import TESS_TRANSIT_VIEWS, TESS_TRANSITS

FILES = ("nigraha_train.npz", "nigraha_val.npz")


@pytest.fixture(scope="module")
def made(real_data, tmp_path_factory):
    folder = real_data / "lightcurves" / "tess_views"
    out = tmp_path_factory.mktemp("views") / "set"
    return transit_views([folder / name for name in FILES], out), Dataset.open(out)


@pytest.mark.real_data
def test_every_signal_is_there_with_its_label(made):
    summary, data = made
    assert (summary.n_signals, summary.n_stars, summary.n_planets) == (2336, 1783, 508)
    assert len(data) == 2336
    assert data.labels("planet", TESS_TRANSITS.heads["planet"]).sum() == 508
    for task in (TESS_TRANSITS, TESS_TRANSIT_VIEWS):
        data.check(task)
        assert all(np.isfinite(data.take(name, np.arange(2336))).all() for name in task.inputs)


@pytest.mark.real_data
def test_no_star_is_on_both_sides_whatever_the_seed(made):
    _, data = made
    parts = [make_parts(data, TESS_TRANSITS.training.split, seed) for seed in (1, 2)]
    check_parts(data, parts[0])
    assert np.array_equal(parts[0].test, parts[1].test)
    assert len(np.unique(data.column("fold"))) == FOLDS
    assert 0.15 < len(parts[0].test) / len(data) < 0.25


@pytest.mark.real_data
def test_half_a_period_from_a_planet_nothing_happens(made):
    """The source calls this view odd and even; what it shows is the other half of the orbit, and the dip."""
    _, data = made
    loud = data.take("transit", np.arange(len(data)))[:, SIGNAL.index("snr")] > 1.5
    planet = data.column("planet") == "planet"
    views = data.take("half_phase_view", np.flatnonzero(loud & planet))
    local = data.take("local_view", np.flatnonzero(loud & planet))
    assert np.median(views[:, 36:45, 0]) == pytest.approx(1, abs=0.05)
    assert np.median(views[:, 36:45, 1]) < -0.6
    assert np.median(np.abs(views[:, :, 1] - local[:, :, 0])) < 0.02


@pytest.mark.real_data
def test_medians_that_stand_for_unknown_stars_are_those_of_the_set(made):
    _, data = made
    medians = np.median(data.take("star", np.arange(len(data))), axis=0)
    assert dict(zip(STAR, medians.tolist(), strict=True)) == pytest.approx(MEDIAN_STAR, rel=5e-3)


def test_tables_that_do_not_fit_are_refused(tmp_path):
    views = {"global_view": 201, "shifted_global_view": 201, "local_view": 81, "odd_even_view": 162}
    np.savez(tmp_path / "a.npz", **{name: np.ones((2, n), np.float32) for name, n in views.items()})
    with pytest.raises(DatasetError, match="give both"):
        transit_views([tmp_path / "a.npz"], tmp_path / "out")
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["TIC_ID", "Disposition", "Period"], ["1", "PC", "2.0"]])
    with pytest.raises(DatasetError, match="2 rows"):
        transit_views([tmp_path / "a.npz"], tmp_path / "out")
