"""HATS and LSDB accept what is imported, and find what we find."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from astrid.errors import CatalogError, DependencyError

# LSDB does not yet follow pandas 3.1, and says so at import and with each catalogue
pytestmark = [
    pytest.mark.filterwarnings("ignore:The inplace keyword in NestedFrame:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'mode.chained_assignment' option:DeprecationWarning"),
]


@pytest.fixture
def lsdb():
    return pytest.importorskip("lsdb")


@pytest.fixture
def stars(make, sky):
    ra, dec = sky(1500, 5)
    rng = np.random.default_rng(0)
    pm = rng.normal(0, 300, (2, 1500))
    epoch = np.where(np.arange(1500) % 2, 2016.0, 2000.0)
    columns = {"id": np.arange(1500), "ra": ra, "dec": dec, "pmra": pm[0], "pmdec": pm[1], "ref_epoch": epoch}
    return make("stars", columns, partition_rows=400)


def test_hats_finds_nothing_amiss_in_an_import(lsdb, stars):
    from hats.io.validation import is_valid_collection

    assert is_valid_collection(stars.path, strict=True)
    opened = lsdb.open_catalog(stars.path)
    assert opened.hc_structure.catalog_info.total_rows == 1500
    assert sorted(opened.compute(progress_bar=False)["id"]) == list(range(1500))


@pytest.mark.slow
def test_lsdb_finds_the_nearest_rows_that_we_find_also_across_the_edges_of_partitions(lsdb, stars, sky):
    import pandas as pd

    rng = np.random.default_rng(1)
    ra, dec = sky(1500, 5)
    ra, dec = ra + rng.normal(0, 0.01, 1500), np.clip(dec + rng.normal(0, 0.01, 1500), -90, 90)
    frame = pd.DataFrame({"query": np.arange(1500), "ra": ra % 360, "dec": dec})
    left = lsdb.from_dataframe(frame, margin_threshold=None)
    right = lsdb.open_catalog(stars.path)
    theirs = left.crossmatch(
        right, radius_arcsec=50, suffixes=("", "_star"), suffix_method="overlapping_columns"
    )
    theirs = theirs.compute(progress_bar=False).sort_values("query")
    ours = stars.nearest(ra, dec, 50)
    assert theirs["query"].tolist() == ours.query.tolist()
    assert theirs["id"].tolist() == ours.rows["id"].to_pylist()
    assert np.allclose(theirs["_dist_arcsec"].to_numpy(float), ours.distance, atol=1e-6)
    assert 700 < len(ours) < 1500


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("mjd", [None, 62000.0])
def test_a_distributed_match_is_the_same_as_ours(lsdb, stars, sky, every, mjd):
    from astrid.catalogs.distributed import match_distributed

    ra, dec = sky(300, 6)
    ra[7] = np.nan
    far = match_distributed(stars.path, ra, dec, 1800.0, mjd, every=every, columns=["id", "pmra"])
    near = (stars.within if every else stars.nearest)(ra, dec, 1800.0, mjd)
    assert len(near) > 100
    for name in ("query", "distance", "count"):
        assert np.array_equal(getattr(far, name), getattr(near, name))
    assert far.rows.equals(near.rows.select(["id", "pmra"]))


def test_what_lsdb_cannot_open_is_named(lsdb, stars, tmp_path):
    from astrid.catalogs.distributed import match_distributed

    with pytest.raises(CatalogError, match="cannot be opened by LSDB"):
        match_distributed(tmp_path, [1.0], [1.0], 1.0)
    with pytest.raises(CatalogError, match="no column 'z'"):
        match_distributed(stars.path, [1.0], [1.0], 1.0, columns=["z"])


def test_without_lsdb_the_extra_is_named(monkeypatch):
    from astrid.catalogs.distributed import match_distributed

    monkeypatch.setitem(sys.modules, "lsdb", None)
    with pytest.raises(DependencyError, match=r"astrid\[scale\]"):
        match_distributed("x", [1.0], [1.0], 1.0)
