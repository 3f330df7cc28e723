"""Angles are read as astropy reads them, however they are written; what cannot be read has a reason."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from astropy.coordinates import Angle
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.catalogs.positions import REASONS, degrees, guess_column, guess_positions, positions
from astrid.errors import CatalogError


@settings(deadline=None)
@given(
    sign=st.sampled_from(["+", "-", "", "- ", "+ "]),
    parts=st.tuples(st.integers(0, 89), st.integers(0, 59), st.integers(0, 59999)),
    separators=st.sampled_from([":: ", "   ", "dms", "°'\"", "::"]),
    padding=st.sampled_from(["", " ", "  "]),
)
def test_a_sexagesimal_declination_is_what_astropy_says(sign, parts, separators, padding):
    whole, minutes, thousandths = parts
    a, b, c = (separators + "  ")[:3]
    text = f"{padding}{sign}{whole}{a}{minutes:02d}{b}{thousandths / 1000:06.3f}{c.strip()}{padding}"
    plain = f"{sign.strip()}{whole}d{minutes}m{thousandths / 1000:.3f}s"
    read, given_ = degrees(pa.array([text]))
    assert given_[0]
    assert read[0] == pytest.approx(Angle(plain).deg, abs=1e-12)


@pytest.mark.parametrize(
    ("text", "degrees_"),
    [
        ("04 08 07.13", 62.0297083333), ("04:08:07.13", 62.0297083333), ("4h08m07.13s", 62.0297083333),
        ("62.0297", 62.0297), ("12d30m", 12.5), ("12 30", 187.5), ("1.5e1", 15), ("  7 ", 7), ("24 00 00", 0),
        ("-30.5", 329.5),
    ],
)  # fmt: skip
def test_a_right_ascension_in_parts_is_in_hours_and_a_number_in_degrees(text, degrees_):
    ra, _, reason = positions(pa.array([text]), pa.array(["0"]))
    assert reason[0] == 0
    assert ra[0] == pytest.approx(degrees_, abs=1e-8)


def test_a_declination_with_a_blank_after_its_sign_keeps_the_sign():
    _, dec, reason = positions(pa.array(["1"] * 3), pa.array(["- 8 49 37.0", "- 0 15 19.0", "+ 8 38 30.6"]))
    assert not reason.any()
    assert dec == pytest.approx([-8.826944444, -0.255277778, 8.641833333])


def test_every_row_that_has_no_position_says_why():
    ra = [None, "1", "x", "1", "1", "400", "1", "12 75 00", "", "nan"]
    dec = ["1", None, "1", "1 2 3 4", "95", "1", "-90.0001", "1", "1", "1"]
    lon, lat, reason = positions(pa.array(ra), pa.array(dec))
    assert [REASONS[code] for code in reason] == [
        REASONS[code] for code in (1, 2, 3, 4, 6, 5, 6, 3, 1, 1)
    ]  # fmt: skip
    assert np.isnan(lon).all()
    assert np.isnan(lat).all()


def test_numbers_of_any_type_and_unit_become_degrees():
    values = pa.array([1.5, None, np.nan, np.inf])
    lon, lat, reason = positions(values, values, "rad", "h")
    assert lon[0] == pytest.approx(np.degrees(1.5))
    assert lat[0] == 22.5
    assert reason.tolist() == [0, 1, 1, 5]
    assert degrees(pa.array([Decimal("12.25")]))[0][0] == 12.25
    assert degrees(pa.array([7], pa.int16()))[0][0] == 7
    assert not degrees(pa.nulls(2))[1].any()


def test_what_is_no_angle_is_refused():
    with pytest.raises(CatalogError, match="type bool"):
        degrees(pa.array([True]))
    with pytest.raises(CatalogError, match="unit 'mag'"):
        degrees(pa.array([1.0]), "mag")


@pytest.mark.parametrize(
    ("names", "pair"),
    [
        (["x", "RA", "Dec"], ("RA", "Dec")),
        (["RAJ2000", "DEJ2000", "RA_ICRS", "DE_ICRS"], ("RA_ICRS", "DE_ICRS")),
        (["_RAJ2000", "_DEJ2000"], ("_RAJ2000", "_DEJ2000")),
        (["star_ra", "star_dec"], ("star_ra", "star_dec")),
        (["ALPHA_J2000", "DELTA_J2000"], ("ALPHA_J2000", "DELTA_J2000")),
    ],
)  # fmt: skip
def test_positions_are_known_by_their_usual_names(names, pair):
    assert guess_positions(names, "here") == pair


def test_several_pairs_of_positions_are_named_and_none_lists_the_columns():
    with pytest.raises(CatalogError, match="sn_ra, sn_dec and gal_ra, gal_dec"):
        guess_positions(["sn_ra", "gal_ra", "sn_dec", "gal_dec"], "here")
    with pytest.raises(CatalogError, match="of l, b"):
        guess_positions(["l", "b"], "here")


def test_the_names_of_surveys_are_known():
    assert guess_column("id", ["ra", "Source_ID"]) == "Source_ID"
    assert guess_column("pmdec", ["pmRA", "pmDE"]) == "pmDE"
    assert guess_column("epoch", ["ra"]) is None
