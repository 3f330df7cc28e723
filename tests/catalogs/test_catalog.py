"""Matches in memory and by partitions are those of astropy, and come in order."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord, search_around_sky

from astrid.catalogs import open_catalog
from astrid.errors import CatalogError, UsageError


@pytest.fixture
def rows(make, sky):
    """A catalogue of many small partitions, and its positions."""
    ra, dec = sky(6000, 1)
    make("stars", {"ra": ra, "dec": dec, "n": np.arange(6000)}, partition_rows=150)
    return SkyCoord(ra, dec, unit="deg")


@pytest.mark.parametrize("cache_rows", [10_000, 1000])
@pytest.mark.parametrize("radius", [20.0, 900.0, 36000.0])
def test_all_rows_within_a_radius_are_those_that_astropy_finds(rows, sky, cache_rows, radius):
    catalog = open_catalog("stars", cache_rows=cache_rows)
    ra, dec = sky(120 if radius < 36000 else 12, 2)
    asked = SkyCoord(ra, dec, unit="deg")
    query, row, distance, _ = search_around_sky(asked, rows, radius * u.arcsec)
    found = catalog.within(ra, dec, radius)
    got = dict(
        zip(zip(found.query.tolist(), found.rows["n"].to_pylist(), strict=True), found.distance, strict=True)
    )
    assert set(got) == set(zip(query.tolist(), row.tolist(), strict=True))
    assert len(got) == len(found)
    for pair, true in zip(zip(query.tolist(), row.tolist(), strict=True), distance.arcsec, strict=True):
        assert got[pair] == pytest.approx(true, rel=1e-7, abs=1e-6)
    assert (np.lexsort((found.distance, found.query)) == np.arange(len(found))).all()
    assert (found.count == np.bincount(query, minlength=len(ra))[found.query]).all()


@pytest.mark.parametrize("cache_rows", [10_000, 1000])
def test_the_nearest_row_is_that_of_astropy(rows, sky, cache_rows):
    catalog = open_catalog("stars", cache_rows=cache_rows)
    ra, dec = sky(300, 3)
    row, distance, _ = SkyCoord(ra, dec, unit="deg").match_to_catalog_sky(rows)
    found = catalog.nearest(ra, dec, 3600.0)
    near = np.flatnonzero(distance.arcsec <= 3600)
    assert 50 < len(near) < 300
    assert found.query.tolist() == near.tolist()
    assert found.rows["n"].to_pylist() == row[near].tolist()


def test_a_large_catalogue_keeps_no_more_rows_in_memory_than_it_may(rows, sky):
    catalog = open_catalog("stars", cache_rows=1000)
    catalog.within(*sky(200, 4), 600.0)
    assert 0 < sum(len(block.index) for block in catalog._blocks.values()) <= 1000


def test_a_fast_star_is_found_in_another_partition_than_where_it_was(make):
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(44, 46, 500), rng.uniform(-1, 1, 500)
    ra[0], dec[0] = 44.99, 0.0  # 45 degrees is the edge between two base cells on the equator
    pm = np.zeros(500)
    pm[0] = 10_000.0
    make("fast", {"id": np.arange(500), "ra": ra, "dec": dec, "pmra": pm, "pmdec": pm * 0}, epoch=2000.0,
         partition_rows=100)  # fmt: skip
    later = 51544.5 + 100 * 365.25
    for cache_rows in (10_000, 120):
        catalog = open_catalog("fast", cache_rows=cache_rows)
        found = catalog.nearest([44.99 + 1000 / 3600], [0.0], 0.1, later)
        assert found.rows["id"].to_pylist() == [0]
        assert len(catalog.nearest([44.99 + 1000 / 3600], [0.0], 0.1)) == 0
        assert len(catalog.nearest([44.99], [0.0], 0.1, np.nan)) == 1


def test_a_position_that_is_not_known_matches_nothing(rows):
    found = open_catalog("stars").nearest([np.nan, rows.ra.deg[0], 1.0], [0.0, rows.dec.deg[0], np.inf], 1.0)
    assert found.query.tolist() == [1]


def test_right_ascension_may_run_beyond_the_circle(rows):
    catalog = open_catalog("stars")
    ra, dec = rows.ra.deg[:50], rows.dec.deg[:50]
    one, other = catalog.nearest(ra, dec, 1.0), catalog.nearest(ra - 360, dec, 1.0)
    assert one.rows.equals(other.rows)
    assert len(one) == 50


def test_only_the_columns_that_were_asked_for_are_there(rows):
    catalog = open_catalog("stars", columns=["n"])
    assert catalog.nearest([1.0], [2.0], 1e5).rows.schema.names == ["n"]
    assert catalog.select(["dec"]).within([1.0], [2.0], 1e5).rows.schema.names == ["dec"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([1.0, 2], [1.0], 1), "as many of both"),
        (([1.0], [91.0], 1), "declination 91"), (([1.0], [1.0], -1), "radius"),
        (([1.0], [1.0], np.nan), "radius"), (([1.0], [1.0], 1, [1.0, 2.0]), "dates have shape"),
    ],
)  # fmt: skip
def test_what_cannot_be_matched_is_refused(rows, arguments, said):
    with pytest.raises(CatalogError, match=said):
        open_catalog("stars").nearest(*arguments)


def test_a_catalogue_that_is_not_there_is_said_with_those_that_are(rows, tmp_path):
    with pytest.raises(UsageError, match="there are: stars"):
        open_catalog("nope")
    with pytest.raises(CatalogError, match="is not a catalogue"):
        open_catalog(tmp_path)
    with pytest.raises(CatalogError, match="no column 'z'; the columns are ra, dec, n"):
        open_catalog("stars", columns=["z"])


def test_a_partition_that_is_gone_is_named(rows, home):
    path = next((home / "stars" / "stars" / "dataset").rglob("*.parquet"))
    path.unlink()
    with pytest.raises(CatalogError, match=path.name):
        open_catalog("stars").nearest([1.0], [1.0], 1)
