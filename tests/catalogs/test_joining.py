"""A table that is matched keeps its rows, and says how many found something."""

from __future__ import annotations

import pyarrow.parquet as pq
import pytest

from astrid.catalogs.joining import join_table
from astrid.errors import CatalogError


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text("id,ra,dec\na,10.0,0\nb,,\nc,200,5\nd,10.0001,0\n")
    return path


@pytest.fixture
def catalog(make):
    return make("stars", {"name": ["x", "y"], "ra": [10.0, 10.0002], "dec": [0.0, 0.0]})


def test_no_row_of_the_table_is_lost(table, catalog, tmp_path):
    joined = join_table(catalog, table, tmp_path / "out.parquet", radius=1.0)
    assert joined.as_dict() == {"n": 4, "n_unknown": 1, "n_matched": 2, "n_pairs": 2}
    rows = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert rows["id"] == ["a", "b", "c", "d"]
    assert rows["stars_name"][:3] == ["x", None, None]
    assert rows["stars_distance"] == [0.0, None, None, pytest.approx(0.36, abs=1e-6)]


def test_every_match_is_a_row(table, catalog, tmp_path):
    join_table(catalog, table, tmp_path / "out.parquet", radius=1.0, every=True)
    rows = pq.read_table(tmp_path / "out.parquet").to_pydict()
    assert rows["id"] == ["a", "a", "b", "c", "d", "d"]
    assert rows["stars_name"][:2] == ["x", "y"]


def test_a_column_that_would_be_there_twice_is_refused(catalog, tmp_path):
    path = tmp_path / "asked.csv"
    path.write_text("ra,dec,stars_name\n1,2,3\n")
    with pytest.raises(CatalogError, match="'stars_name'"):
        join_table(catalog, path, radius=1)
    with pytest.raises(CatalogError, match="no column 'z'"):
        join_table(catalog, path, radius=1, mjd="z")
