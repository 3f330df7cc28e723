"""A catalogue of light curves is measured whole, source by source, and a run that was killed goes on."""

from __future__ import annotations

import json
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest

from astrid.catalogs import open_catalog
from astrid.errors import CatalogError, OutputError, UsageError
from astrid.lightcurves.dmdt import dmdt
from astrid.lightcurves.features import features
from astrid.lightcurves.reading import read_lightcurves
from astrid.survey.curve_catalog import SET_ASIDE, measure_catalog, run_status
from astrid.survey.curve_import import import_curves
from astrid.survey.curve_measures import Measures, prepared
from astrid.survey.curve_source import find_curve, open_curves

sky = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("curves.py"))))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Points, positions, and the catalogue that they were imported as."""
    folder = tmp_path_factory.mktemp("sky")
    points, places, periods = sky.write_sky(folder)
    done = import_curves(points, folder / "small", positions=places, partition_points=700)
    return SimpleNamespace(points=points, places=places, periods=periods, path=folder / "small", done=done)


@pytest.fixture(scope="module")
def measured(given, tmp_path_factory):
    """A run without Dask over the whole catalogue."""
    out = tmp_path_factory.mktemp("run") / "out"
    told = []
    run = measure_catalog(
        given.path, out, Measures(), keep=["kind"], on_progress=lambda *one: told.append(one)
    )
    return SimpleNamespace(out=out, run=run, told=told)


def rows_of(out: Path) -> dict[str, dict]:
    files = sorted((out / "dataset").rglob("*.parquet"))
    return {
        str(row["objectid"]): row
        for file in files
        for row in pq.read_table(file, partitioning=None).to_pylist()
    }


def files_of(out: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file() and path.name != "run.json"
    }


def test_an_import_holds_the_points_of_every_source_unchanged(given):
    assert given.done.n_sources == sky.N + 2
    assert given.done.n_partitions > 3
    source = open_curves(given.path)
    # LightCurve leaves points without a time and value out; flags stay
    for curve in read_lightcurves(given.points, on_problem=lambda name, error: None):
        found = find_curve(source, curve.name)
        assert np.array_equal(found.time, curve.time)
        assert np.array_equal(found.value, curve.value)
        assert np.array_equal(found.error, curve.error)
        assert np.array_equal(found.quality, curve.quality)
        assert found.time_scale == curve.time_scale


def test_what_cannot_be_imported_is_set_aside_with_the_reason(given, tmp_path):
    n = count_of(given.points, 1000 + sky.N + 1)
    reason = f"none of {n} points has both a time and a value; nothing is left"
    assert given.done.set_aside == {reason: 1}
    table = pq.read_table(given.path / "unreadable.parquet").to_pylist()
    assert [row["source"] for row in table] == [str(1000 + sky.N + 1)]
    few = tmp_path / "few.csv"
    few.write_text("\n".join(given.places.read_text().splitlines()[:11]) + "\n")
    done = import_curves(given.points, tmp_path / "part", positions=few)
    assert done.n_sources == 10
    assert done.set_aside["is not in the table of positions"] == sky.N - 8


def count_of(points: Path, name: int) -> int:
    return int(np.count_nonzero(pq.read_table(points)["objectid"].to_numpy() == name))


def test_every_source_has_the_row_that_it_has_on_its_own(given, measured):
    rows = rows_of(measured.out)
    assert len(rows) == sky.N + 1
    kinds = {line.split(",")[0]: line.split(",")[3] for line in given.places.read_text().splitlines()[1:]}
    for curve in read_lightcurves(given.points, on_problem=lambda name, error: None):
        if curve.name in rows and len(curve) > 3:
            alone = features(prepared(curve))
            row = rows[curve.name]
            assert {name: row[name] for name in alone} == pytest.approx(alone)
            assert row["n_points"] == len(curve) - 1  # the flagged one is left out
            assert row["kind"] == kinds[curve.name]


def test_sources_that_are_none_are_set_aside_and_those_that_lack_something_say_why(given, measured):
    run = measured.run
    assert run.state == "complete"
    assert (run.n_sources, run.n_measured, run.n_set_aside, run.n_with_problems) == (
        sky.N + 2,
        sky.N + 1,
        1,
        1,
    )
    assert run.reasons == {"every point has a quality flag; choose which to ignore": 1}
    (aside,) = [pq.read_table(path).to_pylist() for path in (measured.out / SET_ASIDE).rglob("*.parquet")]
    assert [row["objectid"] for row in aside] == [1000 + sky.N]
    short = rows_of(measured.out)[str(1000 + sky.N + 2)]
    assert short["problem"] == "2 points have an error; the statistics need 4"
    assert short["median"] is None
    assert measured.told[0] == (0, sky.N + 2)
    assert measured.told[-1] == (sky.N + 2, sky.N + 2)


def test_the_result_is_a_catalogue_whose_columns_all_say_what_they_are(given, measured):
    catalog = open_catalog(measured.out)
    assert catalog.n_rows == sky.N + 1
    ours = [one for one in catalog.schema if one.name not in ("objectid", "ra", "dec", "kind")]
    assert all((one.metadata or {}).get(b"description") for one in ours)
    assert catalog.schema.field("median").metadata[b"unit"] == b"mag"
    rows = rows_of(measured.out)
    found = catalog.nearest([row["ra"] for row in rows.values()], [row["dec"] for row in rows.values()], 1.0)
    assert [str(name) for name in found.rows["objectid"].to_pylist()] == list(rows)


KILLED = """
import os, signal, sys
from pathlib import Path
import astrid.survey.curve_partitions as partitions
from astrid.survey.curve_catalog import measure_catalog
from astrid.survey.curve_measures import Measures
write, n = partitions.pq.write_table, 0
def dying(table, path, **options):
    global n
    n += 1
    if n == int(sys.argv[3]):
        Path(path).write_bytes(b"half of a file")
        os.kill(os.getpid(), signal.SIGKILL)
    write(table, path, **options)
partitions.pq.write_table = dying
measure_catalog(Path(sys.argv[1]), sys.argv[2], Measures(), keep=["kind"], resume=True)
"""


def test_a_run_that_is_killed_while_it_writes_ends_with_the_same_bytes(given, measured, tmp_path):
    out = tmp_path / "out"
    for when in (3, 2):
        command = [sys.executable, "-c", KILLED, str(given.path), str(out), str(when)]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        status = run_status(out)
        assert status.state == "running"
        assert 0 < status.n_done < status.n_partitions
        assert list(out.rglob(".partial-*"))
    with pytest.raises(OutputError, match="not complete; pass --resume"):
        measure_catalog(given.path, out, Measures(), keep=["kind"])
    run = measure_catalog(given.path, out, Measures(), keep=["kind"], resume=True)
    assert run.state == "complete"
    theirs = {name: data for name, data in files_of(measured.out).items() if "properties" not in name}
    ours = {name: data for name, data in files_of(out).items() if "properties" not in name}
    assert ours == theirs


def test_a_run_goes_on_only_as_it_was_started(given, measured, tmp_path):
    with pytest.raises(UsageError, match="measures was"):
        measure_catalog(given.path, measured.out, Measures(maximum=10), keep=["kind"], resume=True)
    with pytest.raises(UsageError, match="kept was"):
        measure_catalog(given.path, measured.out, Measures(), resume=True)
    with pytest.raises(OutputError, match="is complete"):
        measure_catalog(given.path, measured.out, Measures(), keep=["kind"])
    before = files_of(measured.out)
    again = measure_catalog(given.path, measured.out, Measures(), keep=["kind"], resume=True)
    cost = {"memory": {}, "cpu_seconds": 0.0}
    assert again.as_dict() | cost == measured.run.as_dict() | cost
    assert files_of(measured.out) == before
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something else"):
        measure_catalog(given.path, tmp_path, Measures())


def test_a_partition_that_cannot_be_read_is_told_and_worked_through_later(given, measured, tmp_path):
    copy = tmp_path / "small"
    shutil.copytree(given.path, copy)
    damaged = sorted((copy / "small" / "dataset").rglob("Npix=*.parquet"))[1]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:200])
    run = measure_catalog(copy, tmp_path / "out", Measures(), keep=["kind"])
    assert run.state == "incomplete"
    (problem,) = run.failed.values()
    assert "cannot be read" in problem
    assert run_status(tmp_path / "out").failed == run.failed
    damaged.write_bytes(whole)
    run = measure_catalog(copy, tmp_path / "out", Measures(), keep=["kind"], resume=True)
    assert (run.state, run.failed) == ("complete", {})
    assert rows_of(tmp_path / "out") == rows_of(measured.out)


def test_periods_and_classes_are_those_of_each_curve(given, tmp_path):
    few = tmp_path / "few.csv"
    few.write_text("\n".join(given.places.read_text().splitlines()[:7]) + "\n")
    import_curves(given.points, tmp_path / "few", positions=few)
    bundles = [sky.toy_classifier(tmp_path, what) for what in ("dmdt", "features")]
    measures = Measures(features=False, models=tuple(str(one.path) for one in bundles), maximum=4)
    assert measures.searches  # because a model needs it
    run = measure_catalog(tmp_path / "few", tmp_path / "out", measures)
    assert run.n_with_problems == 0
    curves = {one.name: one for one in read_lightcurves(given.points, on_problem=lambda name, error: None)}
    for name, row in rows_of(tmp_path / "out").items():
        ratio = row["period"] / given.periods[name]
        assert min(abs(ratio - 1), abs(ratio - 2)) < 1e-3  # a sine may be half an orbit
        logit = float(dmdt(curves[name].good(), scaling="root").mean(dtype=np.float64))
        wanted = np.exp([0, logit, -logit]) / np.exp([0, logit, -logit]).sum()
        said = [row[f"toy_dmdt_{label}"] for label in sky.LABELS]
        assert said == pytest.approx(wanted, abs=1e-6)
        assert row["toy_dmdt_decision"] == "RRab"
        assert row["toy_features_decision"] in sky.LABELS
        assert row["toy_dmdt_applicable"] == ""
    with pytest.raises(UsageError, match="measures was"):
        measure_catalog(
            tmp_path / "few", tmp_path / "out", Measures(features=False, periods=True), resume=True
        )


def test_a_catalogue_without_points_and_one_that_is_not_there_are_refused(given, measured, tmp_path):
    with pytest.raises(CatalogError, match="no nested column"):
        measure_catalog(measured.out, tmp_path / "out", Measures())
    with pytest.raises(CatalogError, match="is not a catalogue"):
        measure_catalog(tmp_path / "none", tmp_path / "out", Measures())
    with pytest.raises(CatalogError, match="no column 'colour'"):
        measure_catalog(given.path, tmp_path / "out", Measures(), keep=["colour"])
    with pytest.raises(UsageError, match="nothing is to be measured"):
        Measures(features=False)
    assert not (tmp_path / "out").exists()


def test_a_source_is_found_by_its_name(given):
    source = open_curves(given.path)
    assert find_curve(source, "1007").name == "1007"
    with pytest.raises(CatalogError, match="no source '99'"):
        find_curve(source, "99")


def test_the_record_of_a_run_can_be_read_by_people(measured):
    record = json.loads((measured.out / "run.json").read_text())
    assert record["settings"]["measures"]["features"] is True
    assert record["n_measured"] == sky.N + 1
