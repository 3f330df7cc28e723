"""What catalogues say of a batch has one value for each alert, in the types and with the nulls promised."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrid.catalogs import import_catalog
from astrid.errors import CatalogError
from astrid.stream.columns import Columns
from astrid.stream.crossmatch import CatalogUse, Crossmatch


@pytest.fixture
def make(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "home"))

    def call(name, table, /, **options):
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.table(table), path)
        return import_catalog(path, name, **options)

    return call


STARS = {
    "id": pa.array([7, 8, 9], pa.int32()), "ra": [10.0, 10.0005, 300.0], "dec": [0.0, 0.0, -60.0],
    "G mag": pa.array([15.5, np.nan, 12.0], pa.float32()), "kind": ["star", None, "quasar"],
    "good": [True, False, None], "flags": pa.array([1, None, 3], pa.uint8()),
}  # fmt: skip


@pytest.fixture
def crossmatch(make):
    return Crossmatch([CatalogUse(make("stars", STARS), 5.0, ["G mag", "kind", "good", "flags"])])


def test_each_column_is_as_it_was_announced(crossmatch):
    arrays = crossmatch([10.0, 10.0006, 200.0, np.nan], [0.0, 0.0, 0.0, 1.0])
    assert list(arrays) == [column.name for column in crossmatch.columns]
    assert [array.type for array in arrays.values()] == [column.type for column in crossmatch.columns]
    assert {name: array.to_pylist() for name, array in arrays.items()} == {
        "stars_distance": [0.0, pytest.approx(0.36, abs=1e-6), np.inf, None],
        "stars_count": [2, 2, 0, None],
        "stars_id": [7, 8, None, None],
        "stars_g_mag": [15.5, None, None, None],
        "stars_kind": ["star", None, None, None],
        "stars_good": [True, False, None, None],
        "stars_flags": [1, None, None, None],
    }
    assert {str(column.type) for column in crossmatch.columns} == {"double", "int64", "string", "bool"}


def test_the_columns_fit_into_the_candidate_row(crossmatch):
    known = {column.name: column for column in Columns(crossmatch.columns)}
    assert known["stars_distance"].unit == "arcsec"
    assert known["stars_distance"].low == 0
    assert "5 arcsec" in known["stars_count"].meaning


def test_units_and_meanings_come_from_the_catalogue(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "home"))
    table = Table({"ra": [1.0], "dec": [1.0], "z": [0.5]})
    table["z"].description, table["z"].unit = "redshift of the host", "km/s"
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    column = Crossmatch([CatalogUse(import_catalog(tmp_path / "t.ecsv", "hosts"), 1.0, ["z"])]).columns[-1]
    assert (column.name, column.unit) == ("hosts_z", "km / s")
    assert "redshift of the host" in column.meaning


def test_a_batch_of_none_has_the_columns(crossmatch):
    arrays = crossmatch([], [])
    assert [(len(array), array.type) for array in arrays.values()] == [
        (0, one.type) for one in crossmatch.columns
    ]


def test_an_empty_catalogue_has_nothing_near(make):
    number = pa.array([], pa.float64())
    none = make("none", {"id": pa.array([], pa.int64()), "ra": number, "dec": number})
    arrays = Crossmatch([CatalogUse(none, 5.0)])([1.0], [1.0])
    assert {name: array.to_pylist() for name, array in arrays.items()} == {
        "none_distance": [np.inf], "none_count": [0], "none_id": [None],
    }  # fmt: skip


def test_stars_are_where_they_were_on_the_night(make):
    catalog = make(
        "moving", {"id": [1], "ra": [100.0], "dec": [0.0], "pmra": [2000.0], "pmdec": [0.0]}, epoch=2016.0
    )
    match = Crossmatch([CatalogUse(catalog, 1.0)])
    night = 51544.5 + 26 * 365.25
    there = [100.0 + 20 / 3600] * 2
    assert match(there, [0.0, 0.0], [night, np.nan])["moving_id"].to_pylist() == [1, None]


def test_the_nearest_of_each_and_their_number_are_those_of_astropy(make):
    rng = np.random.default_rng(0)
    ra, dec = rng.uniform(0, 2, 3000) % 360, rng.uniform(-1, 1, 3000)
    catalog = make("field", {"id": np.arange(3000), "ra": ra, "dec": dec})
    asked = SkyCoord(rng.uniform(0, 2, 200), rng.uniform(-1, 1, 200), unit="deg")
    arrays = Crossmatch([CatalogUse(catalog, 60.0)])(asked.ra.deg, asked.dec.deg)
    angles = asked[:, None].separation(SkyCoord(ra, dec, unit="deg")[None]).arcsec
    assert arrays["field_count"].to_pylist() == (angles <= 60).sum(axis=1).tolist()
    nearest = np.where(angles.min(axis=1) <= 60, angles.argmin(axis=1), None)
    assert arrays["field_id"].to_pylist() == nearest.tolist()


@pytest.mark.parametrize(
    ("radius", "columns", "said"),
    [(0.0, [], "expected more than 0"), (1.0, ["z"], "no column 'z'"),
     (1.0, ["G mag", "G-mag"], "both become 'c_g_mag'"),
     (1.0, ["distance"], "would be called 'c_distance'"), (1.0, ["spectrum"], "type list")],
)  # fmt: skip
def test_a_use_that_cannot_work_is_refused_before_the_first_batch(make, radius, columns, said):
    table = {
        "ra": [1.0],
        "dec": [1.0],
        "G mag": [1.0],
        "G-mag": [1.0],
        "distance": [1.0],
        "spectrum": [[1.0]],
    }
    with pytest.raises(CatalogError, match=said):
        Crossmatch([CatalogUse(make("c", table), radius, columns)])


def test_one_catalogue_used_twice_is_refused(make):
    use = CatalogUse(make("stars", STARS), 5.0)
    with pytest.raises(CatalogError, match="stars_count"):
        Crossmatch([use, use])


def test_a_batch_takes_milliseconds(make):
    rng = np.random.default_rng(0)
    n = 200_000
    dec = np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    catalog = make("large", {"id": np.arange(n), "ra": rng.uniform(0, 360, n), "dec": dec})
    match = Crossmatch([CatalogUse(catalog, 2.0)])
    ra, dec = rng.uniform(0, 360, 256), rng.uniform(-80, 80, 256)
    match(ra, dec)

    def once():
        start = time.perf_counter()
        match(ra, dec)
        return time.perf_counter() - start

    assert min(once() for _ in range(20)) < 0.01  # about 0.001 on an idle core
