"""Labelled light curves become a data set: resumed where it was, whatever the workers, stars whole."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from astrid.errors import DataError, UsageError
from astrid.learn.dataset import Dataset
from astrid.survey import variables
from astrid.survey.labelled_stars import labelled_stars
from astrid.survey.variables import variable_stars

pytest.importorskip("numba")
pytest.importorskip("finufft")


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Six curves of five stars, 30 points each, and their labels; a part holds two of them."""
    monkeypatch.setattr(variables, "_PART", 2)
    rng = np.random.default_rng(1)
    columns = {"oid": [], "mjd": [], "mag": [], "magerr": []}
    for number in range(6):
        time = np.sort(rng.uniform(55000, 55020, 30))
        columns["oid"] += [f"s{number}"] * 30
        columns["mjd"] += time.tolist()
        columns["mag"] += (15 + 0.3 * np.cos(time * (2 + number)) + rng.normal(0, 0.02, 30)).tolist()
        columns["magerr"] += [0.02] * 30
    pq.write_table(pa.table(columns), tmp_path / "curves.parquet")
    lines = ["name,class,ra,dec,period_d"]
    for number in range(6):
        dec = -3.0 if number < 5 else -3.0 + 2 / 3600  # the sixth is the fifth, seen again
        lines.append(f"s{number},{'A' if number % 2 else 'B'},{10 + min(number, 4)},{dec},{number or ''}")
    lines.append("absent,A,0,0,1")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "curves.parquet", tmp_path / "labels.csv", tmp_path / "set"


def test_a_data_set_holds_all_inputs_and_what_the_table_knows(tables):
    seen = []
    summary = variable_stars(*tables, workers=1, on_progress=lambda *at: seen.append(at))
    dataset = Dataset.open(tables[2], verify=True)
    assert (summary.n_curves, summary.n_stars, summary.n_failed) == (6, 5, 0)
    assert summary.classes == {"A": 3, "B": 3}
    assert {name: one.shape for name, one in dataset.info.inputs.items()} == {
        "features": (91,), "folded": (32, 1), "dmdt": (22, 23, 1), "dmdt_overflow": (23, 24, 1),
        "dmdt_fine": (28, 23, 1),
    }  # fmt: skip
    assert dataset.rows["catalogue_period"].to_pylist() == [None, 1, 2, 3, 4, 5]
    assert dataset.groups().tolist() == ["s0", "s1", "s2", "s3", "s4", "s4"]
    assert np.square(dataset.arrays["dmdt_overflow"]).sum(axis=(1, 2, 3)) == pytest.approx(1)
    assert seen[-1] == (12, 12)
    assert seen == sorted(seen)


def test_the_period_of_the_table_does_not_go_in(tables):
    variable_stars(*tables, workers=1)
    before = Dataset.open(tables[2]).arrays["features"].copy()
    tables[1].write_text(tables[1].read_text().replace(",3\n", ",0.7\n"))
    variable_stars(*tables, workers=1)
    assert np.array_equal(before, Dataset.open(tables[2]).arrays["features"])


def test_it_goes_on_where_it_was(tables, monkeypatch):
    searched = []
    search = variables.search

    def counting(curve):
        searched.append(curve.name)
        if len(searched) == 3:
            raise KeyboardInterrupt
        return search(curve)

    monkeypatch.setattr(variables, "search", counting)
    with pytest.raises(KeyboardInterrupt):
        variable_stars(*tables, workers=1)
    assert not tables[2].exists()
    variable_stars(*tables, workers=1)
    assert searched == ["s0", "s1", "s2", "s2", "s3", "s4", "s5"]
    first = Dataset.open(tables[2]).info
    variable_stars(*tables, classes=["A"], workers=1)
    assert len(searched) == 7
    second = Dataset.open(tables[2])
    assert second.info.files["features.npy"] == first.files["features.npy"]
    assert second.rows["variable"].to_pylist() == [None, "A", None, "A", None, "A"]


def test_the_data_do_not_depend_on_the_workers(tables):
    variable_stars(*tables, workers=1)
    one = Dataset.open(tables[2]).info.files
    several = tables[2].with_name("several")
    variable_stars(*tables[:2], several, workers=2)
    assert Dataset.open(several).info.files == one


def test_what_cannot_be_searched_is_set_aside_with_its_reason(tables):
    rows = pq.read_table(tables[0])
    constant = rows["mag"].to_numpy().copy()
    constant[30:60] = 15.0
    pq.write_table(rows.set_column(2, "mag", pa.array(constant)), tables[0])
    summary = variable_stars(*tables, workers=1)
    dataset = Dataset.open(tables[2])
    assert (summary.n_curves, summary.n_failed) == (5, 1)
    assert "same magnitude" in dataset.info.recipe["failed"]["s1"]
    assert "s1" not in dataset.rows["id"].to_pylist()


def test_two_bands_of_the_eros_table_are_read(tmp_path):
    rng = np.random.default_rng(0)
    kinds = [f"{kind}_points_{band}" for kind in ("time", "light", "error") for band in "br"]
    lines = ["," + ",".join(kinds)]
    for number in range(4):
        time = np.sort(rng.uniform(300, 500, 40))
        cells = [time, time + 0.04]
        cells += [19 + 0.3 * np.cos(time) + rng.normal(0, 0.05, 40) - shift for shift in (0, 0.6)]
        cells += [np.full(40, 0.05)] * 2
        lines.append(f"{number}," + ",".join(f'"{cell.round(3).tolist()}"' for cell in cells))
    curves, labels = tmp_path / "curves.csv", tmp_path / "labels.csv"
    curves.write_text("\n".join([*lines, '4,"[1.0, 2.0","[]","[]","[]","[]","[]"']) + "\n")
    labels.write_text(",period,type\n" + "".join(f"{k},6.28,{k + 1}.0\n" for k in range(4)))
    summary = variable_stars(curves, labels, tmp_path / "set", workers=1)
    assert summary.n_failed == 1
    assert set(summary.classes) == {"binary", "cepheid", "rr_lyrae", "mira"}
    dataset = Dataset.open(tmp_path / "set")
    assert set(dataset.info.inputs) == {"features", "folded"}
    names = dataset.info.inputs["features"].channels
    colour = dataset.arrays["features"][:, names.index("colour_b_r")]
    assert colour == pytest.approx(0.6, abs=0.05)
    assert dataset.column("period") == pytest.approx(2 * np.pi, rel=0.05)


def test_half_of_the_stars_test_whatever_else_is_there():
    parts = [variables._part(str(name)) for name in range(4000)]
    assert parts.count("test") == pytest.approx(2000, abs=100)
    assert parts.count("validation") == pytest.approx(400, abs=60)
    assert variables._part("1001004003261") == "train"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name,class\nother,A\n", "no light curve of .* is in .*; its first column must name them"),
        ("name,kind\ns0,A\n", "a row has no label .*expected a column class"),
        ("name,class\n", "has no row; give a table of labels"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tables, text, message):
    tables[1].write_text(text)
    with pytest.raises(DataError, match=message):
        labelled_stars(*tables[:2])


def test_a_class_that_no_star_has_and_no_workers_are_refused(tables):
    with pytest.raises(UsageError, match="is a C; choose from A, B"):
        variable_stars(*tables, classes=["C"])
    with pytest.raises(UsageError, match="0 workers were asked for"):
        variable_stars(*tables, workers=0)


def test_a_damaged_search_is_named(tables):
    with pytest.raises(UsageError):
        variable_stars(*tables, classes=["C"])
    variable_stars(*tables, workers=1)
    part = next(tables[2].parent.glob(".set.searches-*/00001.json"))
    assert json.loads(part.read_text())[0]["name"] == "s2"
    part.write_text("[{")
    with pytest.raises(DataError, match=r"00001\.json: cannot be read"):
        variable_stars(*tables, workers=1)


@pytest.mark.real_data
def test_real_stars_seen_twice_are_one(real_data):
    folder = real_data / "lightcurves" / "crts"
    stars = labelled_stars(folder / "crts_train_lc.parquet", folder / "crts_train_labels.csv")
    assert len(stars) == 5757
    assert len({star.group for star in stars}) == 5752
