"""Rows within a radius are exactly those that the angles between all pairs say."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.time import Time
from astropy_healpix import healpix_to_lonlat
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.catalogs.search import (
    ORDER,
    SkyIndex,
    healpix29,
    motion_of,
    reach_order,
    surroundings,
    unit_vectors,
)

RADIUS = st.floats(np.log10(0.1), np.log10(36000)).map(lambda exponent: 10.0**exponent)
SPOT = st.tuples(st.floats(0, 360), st.sampled_from([-90.0, -89.999, -41.8, 0.0, 41.8103, 60.0, 89.9, 90.0]))


def index_of(ra, dec, motion=None):
    healpix = healpix29(ra, dec)
    order = np.argsort(healpix, kind="stable")
    if motion is not None:
        motion = motion_of(ra[order], dec[order], *(one[order] for one in motion))
    return SkyIndex(ra[order], dec[order], healpix[order], motion), order


def pairs_of(index, order, *arguments):
    found = index.find(*arguments)
    return {
        (int(q), int(order[r])): d for q, r, d in zip(found.query, found.row, found.distance, strict=True)
    }


@settings(max_examples=150, deadline=None)
@given(spot=SPOT, radius=RADIUS, seed=st.integers(0, 2**31))
def test_the_rows_of_a_cluster_anywhere_are_those_that_astropy_finds(spot, radius, seed):
    rng = np.random.default_rng(seed)
    centre = SkyCoord(*spot, unit="deg")
    rows = centre.directional_offset_by(
        rng.uniform(0, 360, 60) * u.deg, 3 * radius * rng.random(60) * u.arcsec
    )
    asked = centre.directional_offset_by(
        rng.uniform(0, 360, 5) * u.deg, 3 * radius * rng.random(5) * u.arcsec
    )
    index, order = index_of(rows.ra.deg, rows.dec.deg)
    found = pairs_of(index, order, asked.ra.deg, asked.dec.deg, radius)
    true = asked[:, None].separation(rows[None]).arcsec
    sure = np.abs(true - radius) > 1e-6
    expected = {(i, j) for i, j in np.argwhere((true <= radius) & sure)}
    assert {pair for pair in found if sure[pair]} == expected
    for pair, distance in found.items():
        assert distance == pytest.approx(true[pair], rel=1e-7, abs=1e-7)


def test_neighbouring_cells_hold_the_whole_disc_even_where_cells_are_narrowest():
    rng = np.random.default_rng(5)
    n, order = 300_000, 12
    side = 1 << order
    # along the edges of the base cells, where the cells near the poles are narrow
    x = np.where(rng.random(n) < 0.5, 0, rng.integers(0, side, n))
    y = np.where(rng.random(n) < 0.5, side - 1, rng.integers(0, side, n))
    bits = np.arange(order)
    inner = (((x[:, None] >> bits & 1) << 2 * bits) | ((y[:, None] >> bits & 1) << 2 * bits + 1)).sum(axis=1)
    offset = rng.choice([1e-5, 0.5, 1 - 1e-5], (2, n))
    lon, lat = healpix_to_lonlat(rng.integers(0, 12, n) * side**2 + inner, side, *offset, order="nested")
    reach = 0.65 / side
    assert reach_order(reach * (1 - 1e-9)) == order
    angle = rng.uniform(0, 2 * np.pi, n)
    middle = unit_vectors(lon.deg, lat.deg)
    east = np.stack([-np.sin(lon.rad), np.cos(lon.rad), 0 * lon.rad], axis=1)
    rim = np.cos(angle)[:, None] * east + np.sin(angle)[:, None] * np.cross(middle, east)
    rim = np.cos(reach) * middle + np.sin(reach) * rim
    cells = healpix29(np.degrees(np.arctan2(rim[:, 1], rim[:, 0])) % 360, np.degrees(np.arcsin(rim[:, 2])))
    around = surroundings(healpix29(lon.deg, lat.deg), order)
    assert (around == (cells >> 2 * (ORDER - order))[:, None]).any(axis=1).all()


def test_a_radius_of_half_the_sky_is_searched_row_by_row(sky):
    ra, dec = sky(400)
    index, order = index_of(ra, dec)
    found = pairs_of(index, order, ra[:3], dec[:3], 90 * 3600.0)
    points = SkyCoord(ra, dec, unit="deg")
    assert len(found) == (points[:3, None].separation(points[None]).deg <= 90).sum()


def test_many_candidates_are_taken_in_parts(sky, monkeypatch):
    ra, dec = sky(1500)
    index, order = index_of(ra, dec)
    whole = pairs_of(index, order, ra, dec, 3600.0)
    monkeypatch.setattr("astrid.catalogs.search._CHUNK", 50)
    assert pairs_of(index, order, ra, dec, 3600.0) == whole


def test_rows_at_one_place_are_all_found_in_the_order_of_the_catalogue():
    ra, dec = np.full(5, 359.9999999), np.full(5, 12.0)
    index, _ = index_of(ra, dec)
    found = index.find(np.array([1e-9]), np.array([12.0]), 0.1)
    assert found.row.tolist() == [0, 1, 2, 3, 4]
    assert found.query.tolist() == [0] * 5


@pytest.mark.parametrize("n", [0, 1])
def test_an_index_of_no_rows_or_of_one_can_be_searched(n):
    index, _ = index_of(np.full(n, 10.0), np.full(n, 90.0))
    assert len(index.find(np.array([200.0, 10]), np.array([90.0, 0]), 1.0).row) == n


def test_rows_are_where_astropy_moves_them():
    rng = np.random.default_rng(2)
    n = 300
    ra, dec = rng.uniform(0, 360, n), np.degrees(np.arcsin(rng.uniform(-1, 1, n)))
    dec[:10] = 89.9999
    pmra, pmdec = rng.normal(0, 300, n), rng.normal(0, 300, n)
    pmra[20:25] = 1e4  # as fast as Barnard's star
    epoch = rng.choice([1991.25, 2000.0, 2016.0], n)
    index, order = index_of(ra, dec, (pmra, pmdec, epoch))
    year = 2031.4
    stars = SkyCoord(
        ra * u.deg, dec * u.deg, pm_ra_cosdec=pmra * u.mas / u.yr, pm_dec=pmdec * u.mas / u.yr,
        distance=10 * u.pc, radial_velocity=0 * u.km / u.s, obstime=Time(epoch, format="jyear", scale="tcb"),
    )  # fmt: skip
    moved = stars.apply_space_motion(new_obstime=Time(year, format="jyear", scale="tcb"))
    found = pairs_of(index, order, moved.ra.deg, moved.dec.deg, 0.002, np.full(n, year))
    assert {(i, i) for i in range(n)} <= set(found)
    standing = pairs_of(index, order, moved.ra.deg, moved.dec.deg, 0.002, np.full(n, np.nan))
    assert len(standing) < 5


def test_a_row_without_a_motion_or_an_epoch_stands_still():
    one, nan = np.array([100.0, 200.0]), np.nan
    index, order = index_of(
        one, np.zeros(2), (np.array([nan, 5e3]), np.array([5.0, 0]), np.array([2000.0, nan]))
    )
    found = pairs_of(index, order, one, np.zeros(2), 1e-6, np.full(2, 2030.0))
    assert set(found) == {(0, 0), (1, 1)}
