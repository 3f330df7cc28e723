"""Light curves come out of the files of every survey; a damaged file ends in one sentence."""

from __future__ import annotations

import gzip
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from astrid.errors import AstridError, LightCurveError, UsageError
from astrid.lightcurves import tables
from astrid.lightcurves.reading import from_measurements, read_lightcurve, read_lightcurves

IRSA = """oid,expid,hjd,mjd,mag,magerr,catflags,filtercode,ra,dec
686103400034440,50156281,2458198.85,58198.34,15.52,0.014,0,zr,298.0025,29.871
686103400034440,50650000,2458200.85,58200.34,15.55,0.015,32768,zr,298.0025,29.871
686103400106565,50650000,2458200.85,58200.34,16.55,0.025,0,zg,298.0026,29.872
"""
ASASSN_1 = """HJD,UT Date,Camera,FWHM,Limit,mag,mag_err,flux(mJy),flux_err,Filter
2457420.61,2016-02-02,bd,1.4,16.1,13.27,0.02,18.9,0.3,V
2457421.61,2016-02-03,bd,1.4,16.1,>16.1,99.990,0.1,0.3,V
"""
ASASSN_2 = """###########
# ASAS-SN Sky Patrol
###########
JD,Flux,Flux Error,Mag,Mag Error,Limit,FWHM,Filter,Quality,Camera
2457420.61,18.9,0.3,13.27,0.02,16.1,1.4,V,G,bd
2457421.61,17.9,0.3,13.30,0.02,16.1,1.4,g,B,bq
"""
CRTS = """MasterID,Mag,Magerr,RA,Dec,MJD,Blend
1001,15.1,0.05,10.0,-2.6,53563.4,0
1001,15.2,0.05,10.0,-2.6,53570.4,1
"""


def _written(tmp_path: Path, text: str, name: str = "table.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_the_archive_of_ztf(tmp_path):
    red, green = read_lightcurves(_written(tmp_path, IRSA))
    assert (red.name, red.bands, green.bands) == ("686103400034440", ("r",), ("g",))
    assert_array_equal(red.time, [58198.34, 58200.34])
    assert_array_equal(red.quality, [0, 32768])
    assert (red.time_scale, red.ra, red.unit) == ("utc", 298.0025, "mag")
    with pytest.raises(LightCurveError, match="several sources; use read_lightcurves"):
        read_lightcurve(tmp_path / "table.csv")


@pytest.mark.parametrize(("text", "n", "bands"), [(ASASSN_1, 1, ("V",)), (ASASSN_2, 2, ("V", "g"))])
def test_asassn_of_both_portals(tmp_path, text, n, bands):
    curve = read_lightcurve(_written(tmp_path, text))
    assert (len(curve), curve.bands, curve.unit) == (n, bands, "mag")
    assert_allclose(curve.value[0], 13.27)
    assert_allclose(curve.time[0], 57420.11)
    if n == 2:
        assert_array_equal(curve.quality, [0, 1])
    else:
        assert curve.timed_at == "heliocentre"
        assert curve.warnings == ("1 of 2 points have no time or value",)


def test_flux_can_be_chosen_instead(tmp_path):
    curve = read_lightcurve(_written(tmp_path, ASASSN_1), columns={"flux": "flux(mJy)"})
    assert curve.unit == "nJy"
    assert_allclose(curve.value, [18.9e6, 0.1e6])
    assert_allclose(curve.error, [0.3e6, 0.3e6])


def test_the_tables_of_crts(tmp_path):
    curve = read_lightcurve(_written(tmp_path, CRTS))
    assert (curve.name, len(curve)) == ("1001", 2)
    assert_array_equal(curve.good().value, [15.1])


def test_a_table_without_a_header_needs_names(tmp_path):
    path = _written(tmp_path, "2458000.5 100.0 1.0\n2458001.5 101.0 1.0\n")
    with pytest.raises(LightCurveError, match="no column is known as time; it has 1, 2, 3"):
        read_lightcurve(path)
    curve = read_lightcurve(path, columns={"time": "1", "flux": "2", "error": "3"}, time_format="bjd")
    assert_array_equal(curve.time, [58000, 58001])
    assert (curve.unit, curve.timed_at) == ("flux", "barycentre")


def test_a_compressed_ecsv_brings_its_units(tmp_path):
    astropy_table = pytest.importorskip("astropy.table")
    table = astropy_table.Table({"mjd": [1.0, 2.0], "flux": [3.0, 4.0], "flux_err": [1.0, 1.0]}, masked=True)
    table["flux"].unit = "nJy"
    table["flux"].mask[1] = True
    table.write(tmp_path / "curve.ecsv", format="ascii.ecsv")
    path = tmp_path / "curve.ecsv.gz"
    path.write_bytes(gzip.compress((tmp_path / "curve.ecsv").read_bytes()))
    curve = read_lightcurve(path)
    assert (curve.unit, len(curve)) == ("nJy", 1)


def _flat(path: Path, ids: list[int]) -> Path:
    n = len(ids)
    columns = {
        "diaObjectId": ids,
        "midpointMjdTai": np.arange(n, dtype=float),
        "psfFlux": np.arange(n) * 10.0,
    }
    pq.write_table(pa.table(columns | {"psfFluxErr": np.ones(n), "band": ["g", "r"] * (n // 2)}), path)
    return path


@pytest.mark.parametrize("rows", [1, 3, 5, 100])
def test_dia_sources_of_lsst_come_out_whole_however_the_batches_fall(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(tables, "_ROWS", rows)
    path = _flat(tmp_path / "dia.parquet", [7, 7, 7, 9, 9, 11, 11, 11, 11, 12])
    curves = list(read_lightcurves(path))
    assert [(curve.name, len(curve)) for curve in curves] == [("7", 3), ("9", 2), ("11", 4), ("12", 1)]
    assert all((curve.unit, curve.time_scale) == ("nJy", "tai") for curve in curves)
    assert_array_equal(np.concatenate([curve.value for curve in curves]), np.arange(10) * 10.0)


def test_scattered_rows_are_refused_not_split(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "_ROWS", 2)
    path = _flat(tmp_path / "dia.parquet", [7, 7, 9, 9, 7, 7, 12, 12])
    with pytest.raises(LightCurveError, match="rows of diaObjectId 7 are not together"):
        list(read_lightcurves(path))


POINTS = [
    [
        {"mjd": 2.0, "mag": 16.0, "magerr": 0.1, "band": "r"},
        {"mjd": 1.0, "mag": 15.0, "magerr": 0.1, "band": "g"},
    ],
    [],
    [{"mjd": 5.0, "mag": 17.0, "magerr": 0.2, "band": "g"}],
    None,
]


@pytest.mark.parametrize("layout", ["struct of lists", "list of structs"])
def test_nested_columns_of_both_layouts(tmp_path, layout):
    if layout == "list of structs":
        nested = pa.array(POINTS)
    else:
        keys = ("mjd", "mag", "magerr", "band")
        lists = {
            key: [None if row is None else [point[key] for point in row] for row in POINTS] for key in keys
        }
        nested = pa.StructArray.from_arrays(
            [
                pa.array(rows, pa.list_(pa.string() if key == "band" else pa.float64()))
                for key, rows in lists.items()
            ],
            names=list(lists),
        )
    table = pa.table(
        {"objectid": [1, 2, 3, 4], "ra": [10.0, 11, 12, 13], "dec": [0.0, 1, 2, 3], "lc": nested}
    )
    pq.write_table(table, tmp_path / "nested.parquet")
    problems: dict[str, str] = {}
    curves = list(
        read_lightcurves(
            tmp_path / "nested.parquet", on_problem=lambda name, error: problems.update({name: str(error)})
        )
    )
    assert [(curve.name, len(curve), curve.ra) for curve in curves] == [("1", 2, 10.0), ("3", 1, 12.0)]
    assert_array_equal(curves[0].value, [15, 16])
    assert curves[0].bands == ("g", "r")
    assert set(problems) == {"2", "4"}
    with pytest.raises(LightCurveError, match="2: there are no points"):
        list(read_lightcurves(tmp_path / "nested.parquet"))


def test_a_frame_of_nested_pandas_is_read_without_pandas(tmp_path):
    nested_pandas = pytest.importorskip("nested_pandas")
    pandas = pytest.importorskip("pandas")
    base = pandas.DataFrame({"id": [5, 6], "ra": [1.0, 2.0], "dec": [3.0, 4.0]}, index=[0, 1])
    points = pandas.DataFrame(
        {"mjd": [1.0, 2, 3], "mag": [15.0, 16, 17], "band": ["g", "r", "g"]}, index=[0, 0, 1]
    )
    frame = nested_pandas.NestedFrame(base).join_nested(points, "lightcurve")
    frame.to_parquet(tmp_path / "frame.parquet")
    first, second = read_lightcurves(tmp_path / "frame.parquet")
    assert (first.name, len(first), first.dec, second.name) == ("5", 2, 3.0, "6")


def test_the_history_of_an_alert_keeps_the_sign_of_its_fluxes():
    rows = [
        SimpleNamespace(mjd=2.0, band="g", flux=-50.0, flux_err=5.0),
        SimpleNamespace(mjd=1.0, band="r", flux=80.0, flux_err=None),
        SimpleNamespace(mjd=3.0, band="r", flux=None, flux_err=None),
    ]
    curve = from_measurements(rows, name="ZTF1", time_scale="utc")
    assert_array_equal(curve.value, [80, -50])
    assert curve.unit == "nJy"
    with pytest.raises(LightCurveError, match="no measurement has a time and a flux"):
        from_measurements(rows[2:])


def _kepler(tmp_path: Path, unit: str = "BJD - 2454833", **keywords) -> Path:
    fits = pytest.importorskip("astropy.io.fits")
    columns = [
        fits.Column("TIME", "D", unit, array=[131.5, 132.5, np.nan]),
        fits.Column("SAP_FLUX", "E", "e-/s", array=[9.0, 9.0, 9.0]),
        fits.Column("PDCSAP_FLUX", "E", "e-/s", array=[10.0, 11.0, 12.0]),
        fits.Column("PDCSAP_FLUX_ERR", "E", "e-/s", array=[1.0, 1.0, 1.0]),
        fits.Column("QUALITY", "J", array=[0, 128, 0]),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="LIGHTCURVE")
    table.header.update(keywords)
    table.header["OBJECT"] = "KIC 1"
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "llc.fits")
    return tmp_path / "llc.fits"


@pytest.mark.parametrize("keywords", [{"BJDREFI": 2454833, "BJDREFF": 0.0}, {}])
def test_kepler_times_are_barycentric_whichever_way_their_zero_is_told(tmp_path, keywords):
    curve = read_lightcurve(_kepler(tmp_path, **keywords))
    assert_allclose(curve.time, [54964.0, 54965.0])
    assert_array_equal(curve.value, [10, 11])
    assert_array_equal(curve.quality, [0, 128])
    assert (curve.time_scale, curve.timed_at, curve.name, curve.unit) == (
        "tdb",
        "barycentre",
        "KIC 1",
        "e-/s",
    )
    assert_array_equal(read_lightcurve(tmp_path / "llc.fits", columns={"flux": "SAP_FLUX"}).value, [9, 9])


def test_a_time_without_a_zero_is_refused(tmp_path):
    with pytest.raises(LightCurveError, match="neither BJDREFI nor a unit tells the zero of TIME"):
        read_lightcurve(_kepler(tmp_path, unit="d"))


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", {}, "the file is empty"),
        ("# only\n# words\n", {}, "only comments"),
        ("mjd,mag\n", {}, "a header and no row"),
        ("mjd,mjd\n1,2\n", {}, "two columns have the same name"),
        ("a,b\n1,2\n", {}, "no column is known as time; it has a, b"),
        ("mjd,b\n1,2\n", {}, "no column is known as magnitude or flux"),
        ("mjd,mag\n1,bright\n", {}, "mag of row 1 is 'bright'"),
        ("jd,mag\n2458000,15\n", {"time_format": "mjd"}, "time_format='jd'"),
    ],
)
def test_a_table_that_is_no_light_curve_is_refused_by_name(tmp_path, text, options, message):
    with pytest.raises(LightCurveError, match=message):
        read_lightcurve(_written(tmp_path, text), **options)


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(LightCurveError, match="there is no such file"):
        read_lightcurve(tmp_path / "absent.csv")
    path = _written(tmp_path, CRTS)
    with pytest.raises(UsageError, match="there is no column 'magnitude'"):
        read_lightcurve(path, columns={"mag": "magnitude"})
    with pytest.raises(UsageError, match="'colour' is no part"):
        read_lightcurve(path, columns={"colour": "Mag"})
    with pytest.raises(UsageError, match="time_format 'unix' is none"):
        read_lightcurve(path, time_format="unix")


@pytest.mark.parametrize("kind", ["csv", "ecsv", "parquet", "nested", "fits", "gz"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_ends_in_one_sentence(tmp_path_factory, kind, data):
    content = _intact(kind, tmp_path_factory)
    edits = data.draw(
        st.lists(st.tuples(st.integers(0, len(content) - 1), st.binary(min_size=1, max_size=4)), max_size=4)
    )
    cut = data.draw(st.integers(0, len(content)))
    damaged = bytearray(content)
    for place, new in edits:
        damaged[place : place + len(new)] = new
    path = tmp_path_factory.getbasetemp() / f"damaged.{kind}"
    path.write_bytes(bytes(damaged[:cut] if data.draw(st.booleans()) else damaged))
    curves, refusal = [], ""
    try:
        curves = list(read_lightcurves(path))
    except AstridError as error:
        refusal = str(error)
    assert "\n" not in refusal
    assert all(len(curve) for curve in curves)


_INTACT: dict[str, bytes] = {}


def _intact(kind: str, factory) -> bytes:
    if kind not in _INTACT:
        folder = factory.mktemp("intact")
        if kind == "fits":
            path = _kepler(folder, BJDREFI=2454833)
        elif kind == "parquet":
            path = _flat(folder / "a", [1, 1, 2, 2])
        elif kind == "nested":
            pq.write_table(pa.table({"id": [1, 2, 3, 4], "lc": pa.array(POINTS)}), folder / "a")
            path = folder / "a"
        elif kind == "ecsv":
            from astropy.table import Table

            Table({"mjd": [1.0, 2.0], "mag": [15.0, 16.0]}).write(folder / "a", format="ascii.ecsv")
            path = folder / "a"
        else:
            path = folder / "a"
            path.write_bytes(gzip.compress(IRSA.encode()) if kind == "gz" else IRSA.encode())
        _INTACT[kind] = path.read_bytes()
    return _INTACT[kind]


@pytest.mark.real_data
def test_every_real_curve_of_crts_is_read(real_data):
    labels = (real_data / "lightcurves/crts/crts_train_labels.csv").read_text().splitlines()[1:]
    known = {line.split(",")[0]: int(line.split(",")[4]) for line in labels}
    curves = {
        curve.name: curve for curve in read_lightcurves(real_data / "lightcurves/crts/crts_train_lc.parquet")
    }
    assert set(curves) == set(known)
    left_out = sum(known[name] - len(curve) for name, curve in curves.items())
    said = sum(int(note.split()[0]) for curve in curves.values() for note in curve.warnings)
    assert left_out == said
    assert left_out < 500


@pytest.mark.real_data
def test_real_kepler_curves_are_read(real_data):
    paths = sorted((real_data / "lightcurves/kepler_tess_lc").glob("kplr*.fits.gz"))
    assert len(paths) == 7
    for path in paths:
        curve = read_lightcurve(path)
        assert len(curve) > 400
        assert 54900 < curve.time[0] < 55100, "Kepler's first year"
        assert curve.bands == ("Kepler",)
