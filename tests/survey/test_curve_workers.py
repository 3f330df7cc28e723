"""Dask's workers and LSDB give what one process gives, and what we write is what they read."""

from __future__ import annotations

import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from astrid.errors import AstridError, CatalogError, UsageError
from astrid.lightcurves.reading import read_lightcurves
from astrid.survey.curve_catalog import measure_catalog
from astrid.survey.curve_import import import_curves
from astrid.survey.curve_measures import Measures
from astrid.survey.curve_source import open_curves

# LSDB does not yet follow pandas 3.1, and says so at import and with each catalogue
pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The inplace keyword in NestedFrame:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment' option:DeprecationWarning"),
]

sky = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("curves.py"))))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sky")
    points, places, _ = sky.write_sky(folder)
    import_curves(points, folder / "small", positions=places, partition_points=700)
    return SimpleNamespace(points=points, path=folder / "small")


@pytest.fixture
def lsdb():
    return pytest.importorskip("lsdb")


def test_lsdb_reads_the_points_of_an_import(lsdb, given):
    from hats.io.validation import is_valid_collection

    assert is_valid_collection(given.path, strict=True)
    frame = lsdb.open_catalog(given.path, columns="all").compute(progress_bar=False)
    rows = {str(row["objectid"]): row["lc"] for _, row in frame.iterrows()}
    assert len(rows) == sky.N + 2
    for curve in read_lightcurves(given.points, on_problem=lambda name, error: None):
        points = rows[curve.name]
        assert np.array_equal(points["mjd"].to_numpy(float), curve.time)
        assert np.array_equal(points["mag"].to_numpy(float), curve.value)
        assert np.array_equal(points["quality"].to_numpy(int), curve.quality)


def test_two_workers_write_what_one_process_writes_and_lsdb_reads_it(lsdb, given, tmp_path):
    from hats.io.validation import is_valid_catalog

    alone = measure_catalog(given.path, tmp_path / "alone", Measures())
    told = []
    spread = measure_catalog(
        given.path, tmp_path / "spread", Measures(), workers=2, on_progress=lambda *one: told.append(one)
    )
    assert spread.state == "complete"
    other = {"out": "", "memory": {}, "cpu_seconds": 0.0}
    assert spread.as_dict() | other == alone.as_dict() | other
    assert all(0 < one < 2000 for one in spread.memory.values())
    assert told[-1] == (sky.N + 2, sky.N + 2)
    for folder in ("dataset", "set_aside"):
        files = sorted((tmp_path / "alone" / folder).rglob("*.parquet"))
        assert files
        for file in files:
            theirs = tmp_path / "spread" / file.relative_to(tmp_path / "alone")
            assert theirs.read_bytes() == file.read_bytes()
    assert is_valid_catalog(tmp_path / "spread", strict=True)
    frame = lsdb.open_catalog(tmp_path / "spread").compute(progress_bar=False)
    assert len(frame) == sky.N + 1


def test_a_scheduler_that_is_not_there_is_told_in_a_sentence(lsdb, given, tmp_path, monkeypatch):
    import distributed

    def refuse(*arguments, **options):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(AstridError, match="no Dask scheduler answers"):
        measure_catalog(given.path, tmp_path / "out", Measures(), scheduler="tcp://127.0.0.1:1")


def test_what_lies_elsewhere_is_opened_by_lsdb_and_needs_workers(lsdb, given, tmp_path):
    address = f"file://{given.path}"
    here, there = open_curves(given.path), open_curves(address)
    assert not there.local
    assert (there.cells, there.n_rows, there.nested) == (here.cells, here.n_rows, here.nested)
    assert (there.ra, there.dec, there.name, there.layout) == (here.ra, here.dec, here.name, here.layout)
    with pytest.raises(UsageError, match="not on this disk; give workers"):
        measure_catalog(address, tmp_path / "out", Measures())
    with pytest.raises(CatalogError, match="LSDB cannot open it"):
        open_curves("memory://nowhere")
