"""Simulated training data: labels follow the truth, and the data do not depend on how they were made."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from astrid.errors import OutputError, UsageError
from astrid.images.differencing import DifferenceConfig, difference
from astrid.images.measurement import COLUMNS
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.learn.dataset import Dataset
from astrid.learn.task import Binary
from astrid.survey.bogus_kinds import bogus_kinds
from astrid.survey.realbogus_data import TRIPLET, candidate_columns, simulate_realbogus
from astrid.survey.scoring import stacked

SMALL = {"size": 256, "names": ["goto-like", "atlas-like"]}
SEED = 2


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("simulated") / "realbogus"
    summary = simulate_realbogus(out, 2, seed=SEED, workers=1, **SMALL)
    return summary, Dataset.open(out, verify=True)


def test_the_data_set_has_both_classes_and_one_group_for_each_field(made):
    summary, data = made
    assert data.info.kind == "simulated"
    assert (data.info.group, data.info.time) == ("field", "mjd")
    assert data.info.inputs["triplet"] == TRIPLET
    assert summary.n_rows == len(data) == summary.n_real + summary.n_bogus
    labels = data.labels("real", Binary(labels=("bogus", "real")))
    assert (labels.sum(), (1 - labels).sum()) == (summary.n_real, summary.n_bogus)
    assert min(summary.n_real, summary.n_bogus) > 3
    assert sorted(set(data.groups())) == ["atlas-like-3", "goto-like-2"]
    assert len(set(data.column("id"))) == len(data)


def test_every_measured_column_is_there_and_labels_come_with_their_facts(made):
    _, data = made
    names = data.rows.column_names
    assert {*COLUMNS} - {"id"} <= {*names}
    assert data.rows.schema.field("flags").type == "string"
    assert data.rows.schema.field("snr").type == "double"
    real = data.column("real") == "real"
    assert set(data.column("kind")[real]) <= {"transient", "vanished", "variable"}
    assert (data.column("kind")[~real] == "").all()
    assert (data.column("bogus_kind")[real] == "").all()
    assert (data.column("bogus_kind")[~real] != "").all()
    true, snr = data.column("true_snr")[real], data.column("snr")[real]
    assert (true * snr > 0).all()
    assert (np.abs(true) >= 3.5).all()
    assert set(data.column("month")) <= {*range(1, 13)}


def test_the_middle_of_the_difference_has_the_sign_of_the_candidate(made):
    _, data = made
    real = data.column("real") == "real"
    middle = data.arrays["triplet"][real][:, 30:33, 30:33, 2].mean(axis=(1, 2))
    strong = np.abs(data.column("snr")[real]) > 6
    assert (np.sign(middle) == np.sign(data.column("snr")[real]))[strong].all()


def test_two_workers_give_the_bytes_of_one_and_a_longer_survey_begins_with_a_shorter(made, tmp_path):
    _, data = made
    simulate_realbogus(tmp_path / "again", 3, seed=SEED, workers=2, **SMALL)
    longer = Dataset.open(tmp_path / "again")
    assert longer.rows.slice(0, len(data)).to_pylist() == data.rows.to_pylist()
    np.testing.assert_array_equal(longer.arrays["triplet"][: len(data)], data.arrays["triplet"])
    assert [path.name for path in tmp_path.iterdir()] == ["again"]  # nothing hidden is left


def test_a_killed_survey_goes_on_where_it_was_and_ends_with_the_same_files(made, tmp_path):
    _, data = made
    out = tmp_path / "realbogus"
    script = tmp_path / "survey.py"
    script.write_text(
        "from astrid.survey.realbogus_data import simulate_realbogus\n"
        "if __name__ == '__main__':\n"
        f"    simulate_realbogus({str(out)!r}, 2, seed={SEED}, workers=1, **{SMALL!r})\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".realbogus.pairs-*/goto*.npz")) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not out.exists()
    progress = []
    simulate_realbogus(out, 2, seed=SEED, workers=1, on_progress=lambda *now: progress.append(now), **SMALL)
    assert progress[0][0] >= 1
    assert progress[-1] == (2, 2)
    assert Dataset.open(out).info.files == data.info.files


def test_a_pair_that_fails_is_set_aside_with_its_reason(tmp_path):
    names = ["winter-like", "atlas-like"]  # so small a frame of the first has too little light for a kernel
    summary = simulate_realbogus(tmp_path / "some", 2, seed=2, workers=1, names=names, size=112)
    recipe = Dataset.open(tmp_path / "some").info.recipe
    assert summary.n_failed == 1
    assert [*recipe["failed"]] == ["winter-like-2"]
    assert "a kernel needs 4" in recipe["failed"]["winter-like-2"]
    assert recipe["ranges"]["atlas-like"]["pixel_scale"] == 1.86


def test_bad_requests_are_refused_before_any_work(tmp_path):
    with pytest.raises(UsageError, match="no telescope is called 'hubble'"):
        simulate_realbogus(tmp_path / "a", 1, names=["hubble"])
    with pytest.raises(UsageError, match="0 pairs"):
        simulate_realbogus(tmp_path / "a", 0)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="holds files but no data set"):
        simulate_realbogus(tmp_path / "mine", 1)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        simulate_realbogus(tmp_path / "file", 1)
    with pytest.raises(OutputError, match="cannot be made"):
        simulate_realbogus(tmp_path / "file" / "below", 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "mine"]


@pytest.fixture(scope="module")
def flawed():
    config = SimulationConfig(
        shape=(384, 384),
        n_stars=150,
        n_galaxies=10,
        n_transients=0,
        n_cosmic_rays=12,
        n_hot_columns=1,
        n_trails=1,
        brightest_peak=6.0,
    )
    pair = simulate_pair(config, 5)
    return pair, difference(pair.science, pair.reference, DifferenceConfig(threshold=4.5))


def test_a_detection_at_a_cosmic_ray_is_called_one_and_so_are_columns_trails_and_full_pixels(flawed):
    pair, result = flawed
    kinds = np.array(bogus_kinds(pair, result))
    x, y = np.asarray(result.candidates["x"]), np.asarray(result.candidates["y"])
    rays = pair.artefacts[(pair.artefacts["kind"] == "cosmic ray") & (pair.artefacts["frame"] == "science")]
    for ray in rays:
        near = np.hypot(x - (ray["x"] + ray["x2"]) / 2, y - (ray["y"] + ray["y2"]) / 2) < 1.5
        assert set(kinds[near]) <= {"cosmic ray", "trail", "hot column"}
    trail = pair.artefacts[pair.artefacts["kind"] == "trail"][0]
    along = np.array([trail["x2"] - trail["x"], trail["y2"] - trail["y"]])
    across = (along[0] * (y - trail["y"]) - along[1] * (x - trail["x"])) / np.hypot(*along)
    assert np.isin(kinds[np.abs(across) < 1], ["trail", "cosmic ray", "hot column", "bleed"]).all()
    assert {"cosmic ray", "hot column", "trail"} <= {*kinds}


def test_columns_have_none_where_nothing_is_known(flawed):
    _, result = flawed
    keep = np.arange(3)
    columns = candidate_columns(result, keep)
    assert all(len(values) == 3 for values in columns.values())
    floats = [value for values in columns.values() for value in values if isinstance(value, float)]
    assert np.isfinite(floats).all()
    assert stacked(result.triplets, TRIPLET.channels, keep).shape == (3, 63, 63, 3)
    assert Path(str(columns["method"][0])).name in ("zogy", "kernel")
