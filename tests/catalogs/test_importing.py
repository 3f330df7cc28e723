"""An import loses no row, gives a directory that HATS accepts, and appears whole or not at all."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from astrid.catalogs import catalogs_directory, import_catalog, list_catalogs, open_catalog, source
from astrid.catalogs.importing import SET_ASIDE
from astrid.errors import CatalogError, OutputError, UsageError


@pytest.mark.real_data
def test_every_supernova_of_the_published_table_is_where_the_table_says(real_data, home):
    path = real_data / "images" / "catalogs" / "sncat_compiled.txt.gz"
    catalog = import_catalog(path, "sne", ra="sn_ra", dec="sn_dec", id="sn_name")
    assert catalog.record["n_rows"] == catalog.n_rows == 6539
    assert catalog.record["n_set_aside"] == 0
    lines = gzip.decompress(path.read_bytes()).decode().splitlines()[2:]
    rows = [[field.strip() for field in line.split("|")] for line in lines]
    where = SkyCoord(
        [f"{row[25]} {row[26].replace('- ', '-').replace('+ ', '+')}" for row in rows], unit=("h", "deg")
    )
    found = catalog.within(where.ra.deg, where.dec.deg, 0.01)
    names = found.rows["sn_name"].to_pylist()
    assert {q for q, name in zip(found.query, names, strict=True) if rows[q][0] == name} == set(range(6539))
    blank = [k for k, row in enumerate(rows) if row[26].startswith("- ")]
    assert len(blank) == 1277
    assert (where.dec.deg[blank] <= 0).all()


def test_rows_without_a_position_are_set_aside_with_their_number_and_reason(make, home):
    catalog = make("t", {"ra": [1.0, None, 3, 4], "dec": [1.0, 2, 95, -4], "v": ["a", "b", "c", "d"]})
    assert catalog.n_rows == 2
    aside = pq.read_table(home / "t" / SET_ASIDE).to_pydict()
    assert aside["_row"] == [2, 3]
    assert aside["v"] == ["b", "c"]
    assert aside["_reason"][0] == "there is no right ascension"
    assert sum(catalog.record["reasons"].values()) == catalog.record["n_set_aside"] == 2


def test_the_parts_of_a_file_come_together_sorted_and_in_partitions_of_the_size_asked_for(
    make, home, sky, monkeypatch
):
    monkeypatch.setattr(source, "_ROWS", 700)
    ra, dec = sky(5000)
    told = []
    catalog = make("t", {"ra": ra, "dec": dec, "n": np.arange(5000)}, partition_rows=300,
                   on_progress=lambda done, total: told.append((done, total)))  # fmt: skip
    paths = sorted((home / "t" / "t" / "dataset").rglob("*.parquet"))
    assert len(paths) == catalog.n_partitions > 20
    numbers = []
    for path in paths:
        table = pq.read_table(path, partitioning=None)
        assert table.num_rows <= 300
        healpix = table["_healpix_29"].to_numpy()
        assert (np.diff(healpix) >= 0).all()
        order, pixel = int(path.parts[-3][7:]), int(path.stem[5:])
        assert (healpix >> 2 * (29 - order) == pixel).all()
        numbers += table["n"].to_pylist()
    assert sorted(numbers) == list(range(5000))
    assert told[-1] == (10000, 10000)
    assert not list((home / "t").glob(".*"))


def test_rows_all_at_one_place_are_one_partition_however_many(make):
    assert (
        make("t", {"ra": np.full(500, 3.0), "dec": np.full(500, -90.0)}, partition_rows=10).n_partitions == 1
    )


def test_columns_keep_their_units_meanings_and_values(tmp_path, home):
    table = Table({"RA": [0.1, 0.2], "Dec": [0.1, 0.2], "mag": np.array([17.5, 18], "f4"), "x": [1, 2]})
    table["RA"].unit = table["Dec"].unit = "rad"
    table["mag"].unit, table["mag"].description = "mag", "of the star"
    table.write(tmp_path / "t.fits")
    catalog = import_catalog(tmp_path / "t.fits", "t", columns=["mag"])
    assert catalog.schema.names == ["RA", "Dec", "mag"]
    assert catalog.schema.field("mag").metadata[b"unit"] == b"mag"
    found = catalog.nearest(np.degrees([0.2]), np.degrees([0.2]), 1e-3)
    assert found.rows["mag"].to_pylist() == [18.0]
    assert found.rows["RA"][0].as_py() == pytest.approx(np.degrees(0.2))


def test_proper_motions_are_brought_to_milliarcseconds_and_need_an_epoch(tmp_path, home):
    table = Table({"ra": [10.0], "dec": [60.0], "pmra": [1.0], "pmdec": [0.5]})
    table["pmra"].unit = table["pmdec"].unit = "arcsec / yr"
    table.write(tmp_path / "t.fits")
    with pytest.raises(CatalogError, match="no epoch"):
        import_catalog(tmp_path / "t.fits", "t")
    catalog = import_catalog(tmp_path / "t.fits", "t", epoch=2000.0)
    assert catalog.motion.fastest == pytest.approx(1000 * np.hypot(1, 0.5))
    ten_years = 51544.5 + 3652.5
    moved = catalog.nearest([10 + 10 / 3600 / np.cos(np.radians(60))], [60 + 5 / 3600], 0.01, ten_years)
    assert len(moved) == 1
    assert import_catalog(tmp_path / "t.fits", "still", motion=False).motion is None


def test_a_catalogue_is_replaced_only_when_that_is_asked_for(make):
    make("t", {"ra": [1.0], "dec": [1.0]})
    with pytest.raises(OutputError, match="--overwrite"):
        make("t", {"ra": [1.0, 2], "dec": [1.0, 2]})
    assert open_catalog("t").n_rows == 1
    assert make("t", {"ra": [1.0, 2], "dec": [1.0, 2]}, overwrite=True).n_rows == 2
    assert [catalog.name for catalog in list_catalogs()] == ["t"]


def test_an_import_that_fails_leaves_nothing_behind(tmp_path, home):
    path = tmp_path / "t.csv"
    path.write_text("ra,dec,ref_epoch,pmra,pmdec\n1,2,2016,1,1\n1,2,55197,1,1\n")
    with pytest.raises(CatalogError, match="expected Julian years"):
        import_catalog(path, "t")
    assert not home.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"ra": "nope", "dec": "dec"}, "no column 'nope'; the columns are ra, dec, n"),
        ({"ra": "ra"}, "name both"),
        ({"pmra": "n"}, "name both, pmra and pmdec"),
        ({"pmra": "n", "pmdec": "n", "epoch": 3.0}, "Julian year"),
        ({"pmra": "n", "pmdec": "w", "epoch": 2000.0}, "'w' is of type string"),
        ({"columns": ["z"]}, "column 'z'"),
    ],
)  # fmt: skip
def test_a_column_that_is_not_there_is_named_with_those_that_are(make, options, said):
    with pytest.raises(CatalogError, match=said):
        make("t", {"ra": [1.0], "dec": [2.0], "n": [1], "w": ["x"]}, **options)


def test_a_name_that_could_not_be_a_column_is_refused(tmp_path):
    with pytest.raises(UsageError, match="lower-case letters"):
        import_catalog(tmp_path / "t.csv", "Gaia DR3")


def test_no_row_at_all_is_an_empty_catalogue(make):
    catalog = make("t", {"ra": pa.array([], pa.float64()), "dec": pa.array([], pa.float64())})
    assert len(catalog.nearest([1.0], [2.0], 10)) == 0
    assert catalog.nearest([1.0], [2.0], 10).rows.schema.names == ["ra", "dec"]


def test_where_catalogues_are(monkeypatch, tmp_path):
    monkeypatch.delenv("ASTRID_CATALOGS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert catalogs_directory() == tmp_path / "astrid" / "catalogs"
    assert list_catalogs() == ()


def test_the_record_says_where_the_rows_came_from(make, home, tmp_path):
    make("t", {"ra": [1.0], "dec": [1.0]})
    record = json.loads((home / "t" / "import.json").read_text())
    assert record["source"] == str(tmp_path / "t.parquet")
    assert len(record["sha256"]) == 64
