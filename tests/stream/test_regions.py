"""Regions and watch lists against astropy's own spherical geometry."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from astropy_healpix import HEALPix
from mocpy import MOC

from astrid.errors import FilterError
from astrid.stream.filters import Filter, FilterBank
from astrid.stream.regions import Region, Target, WatchList, read_region, read_watch_list


@pytest.fixture(scope="module")
def sky():
    rng = np.random.default_rng(7)
    return rng.random(20_000) * 360, np.degrees(np.arcsin(rng.random(20_000) * 2 - 1))


def test_a_region_is_the_same_from_every_kind_of_file_and_is_right(tmp_path, sky):
    moc = MOC.from_cone(350 * u.deg, 60 * u.deg, radius=25 * u.deg, max_depth=7)
    given = [moc.to_string(format="ascii"), moc.to_string(format="json")]
    for suffix, kind in ((".fits", "fits"), (".json", "json"), (".txt", "ascii")):
        path = tmp_path / f"region{suffix}"
        moc.save(path, format=kind)
        given.append(path)
    regions = {read_region(one) for one in given}
    assert len(regions) == 1
    found = Region(regions.pop()).holds(*sky)
    # the cells of the MOC itself, by another library
    cells = HEALPix(2**7, order="nested").lonlat_to_healpix(sky[0] * u.deg, sky[1] * u.deg)
    expected = np.isin(cells, moc.to_order(7).flatten())
    np.testing.assert_array_equal(found, expected)
    assert 500 < found.sum() < 1500


@pytest.mark.parametrize("given", ["nothing", "", "{}", "3/99999", '{"3": [5000]}', "/no/such/file.fits"])
def test_what_is_no_region_is_refused(given):
    with pytest.raises(FilterError, match="MOC"):
        read_region(given)


def test_a_position_that_is_not_known_is_nowhere():
    known = np.array([np.nan, 10.0, 10.0]), np.array([0.0, np.nan, 0.0])
    assert Region("0/0-11").holds(*known).tolist() == [False, False, True]
    target = Target(name="a", ra=10, dec=0, radius=3600)
    assert WatchList((target,)).holds(*known).tolist() == [False, False, True]


def test_watched_are_those_within_the_radius_of_each_target():
    rng = np.random.default_rng(3)
    ra, dec = rng.random(300) * 360, np.degrees(np.arcsin(rng.random(300) * 2 - 1))
    ra[:4], dec[:4] = (0.0, 359.9999, 120.0, 10.0), (0.0, 0.0, 90.0, -90.0)
    targets = tuple(
        Target(name=str(k), ra=a, dec=d, radius=r)
        for k, (a, d, r) in enumerate(
            zip(ra.tolist(), dec.tolist(), rng.choice([0.5, 2.0, 600.0], 300).tolist(), strict=True)
        )
    )
    places = SkyCoord(ra * u.deg, dec * u.deg)
    near = places.directional_offset_by(
        rng.random(300) * 360 * u.deg, rng.choice([0.3, 1.0, 3.0, 700.0], 300) * u.arcsec
    )
    radii = np.array([one.radius for one in targets])
    expected = (near[:, None].separation(places[None, :]).arcsec <= radii[None, :]).any(axis=1)
    np.testing.assert_array_equal(WatchList(targets).holds(near.ra.deg, near.dec.deg), expected)
    assert 50 < expected.sum() < 250


def test_watch_lists_are_read_from_the_usual_tables(tmp_path):
    rows = {"name": ["M 31", "M 33"], "ra": [10.6847, 23.4621], "dec": [41.2688, 30.6599]}
    Table(rows).write(tmp_path / "a.csv")
    pq.write_table(pa.table(rows), tmp_path / "b.parquet")
    QTable({"name": rows["name"], "ra": np.radians(rows["ra"]) * u.rad, "dec": rows["dec"] * u.deg}).write(
        tmp_path / "c.ecsv"
    )
    (tmp_path / "d.csv").write_text(
        "id,RAJ2000,DEJ2000,radius\nM 31,00:42:44.33,+41:16:07.7,7\nM 33,01:33:50.9,+30:39:35.6,\n"
    )
    for name in ("a.csv", "b.parquet", "c.ecsv"):
        targets = read_watch_list(tmp_path / name, 3.0)
        assert [one.name for one in targets] == rows["name"]
        assert [one.radius for one in targets] == [3.0, 3.0]
        np.testing.assert_allclose([one.ra for one in targets], rows["ra"], atol=1e-9)
    targets = read_watch_list(tmp_path / "d.csv", 3.0)
    assert [one.radius for one in targets] == [7.0, 3.0]
    np.testing.assert_allclose([one.ra for one in targets], rows["ra"], atol=1e-3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a,b\n1,2\n", "name ra and dec"),
        ("ra,dec\n", "no target"),
        ("ra,dec\n10,95\n", "row 1"),
        ("ra,dec\n10,5\n,5\n", "row 2"),
        ("ra,dec,radius\n10,5,-3\n", "radius of -3"),
    ],
)
def test_a_watch_list_that_cannot_be_used_is_refused(tmp_path, content, words):
    path = tmp_path / "list.csv"
    path.write_text(content)
    with pytest.raises(FilterError, match=words):
        read_watch_list(path, 2.0)


def test_a_filter_asks_for_all_three(tmp_path):
    table = pa.table(
        {"ra": [10.0, 10.0, 200.0, None], "dec": [5.0, 5.0, 5.0, 5.0], "magpsf": [18.0, 20.0, 18.0, 18.0]}
    )
    region = read_region(
        MOC.from_cone(10 * u.deg, 5 * u.deg, radius=1 * u.deg, max_depth=9).to_string(format="ascii")
    )
    target = Target(name="a", ra=200, dec=5, radius=1)
    filters = [
        Filter(name="region", region=region),
        Filter(name="watched", watch_list=(target,)),
        Filter(name="sql", sql="magpsf < 19", region=region),
        Filter(name="all", sql="magpsf < 19", region=region, watch_list=(target,)),
    ]
    bank = FilterBank(filters)
    assert {name: rows.tolist() for name, rows in bank.passes(table).items()} == {
        "region": [True, True, False, False],
        "watched": [False, False, True, False],
        "sql": [True, False, False, False],
        "all": [False, False, False, False],
    }
    assert set(bank.columns) == {"magpsf", "ra", "dec"}
