"""``astrid catalogs`` from end to end."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app


def catalogs(*arguments):
    result = CliRunner().invoke(app, ["catalogs", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def said(*arguments):
    result = catalogs(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


@pytest.fixture
def sne(tmp_path, monkeypatch):
    """A catalogue with one row that has no position."""
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "home"))
    path = tmp_path / "sne.csv"
    path.write_text(
        "name,ra,dec,type\n2014dm,04 08 07.13,- 8 49 37.0,Ia\n2014x,04 08 08.13,- 8 49 37.0,\nbad,,1,II\n"
    )
    assert catalogs("import", path, "--name", "sne").exit_code == 0
    return path


def test_an_import_says_what_came_in_and_what_was_set_aside(sne):
    facts = said("info", "sne")
    assert (facts["n_rows"], facts["n_set_aside"], facts["id"]) == (2, 1, "name")
    assert facts["reasons"] == {"there is no right ascension": 1}
    shown = catalogs("info", "sne").stdout
    assert "there is no right ascension" in shown
    assert "2 in 1 partitions" in shown
    assert [one["name"] for one in said("list")["catalogs"]] == ["sne"]
    assert "sne" in catalogs("list").stdout


def test_a_southern_position_is_matched_in_degrees_and_in_hours(sne):
    for position in (("62.0297", "-8.8269"), ("04:08:07.13", "-08:49:37"), ("04 08 07.13", "- 8 49 37")):
        result = said("match", "sne", *position, "--radius", 60)
        assert [one["name"] for one in result["matches"]] == ["2014dm"]
        assert result["n"] == 2
    everything = said("match", "sne", "62.0297", "-8.8269", "--radius", 60, "--all")
    assert [one["name"] for one in everything["matches"]] == ["2014dm", "2014x"]
    assert "2014dm" in catalogs("match", "sne", "62.0297", "-8.8269", "--radius", 60).stdout
    assert "nothing of sne within 1 arcsec" in catalogs("match", "sne", "1", "2", "--radius", 1).stdout


def test_a_table_is_matched_into_a_file(sne, tmp_path):
    result = said("match", "sne", sne, "--radius", 1, "--out", tmp_path / "out.parquet")
    assert (result["n"], result["n_matched"], result["n_unknown"]) == (3, 2, 1)
    assert pq.read_table(tmp_path / "out.parquet")["sne_name"].to_pylist() == ["2014dm", "2014x", None]
    assert "matched" in catalogs("match", "sne", sne, "--radius", 1, "--all").stdout


def test_motions_and_their_epoch_are_taken_from_the_options(tmp_path, sne):
    path = tmp_path / "stars.csv"
    path.write_text("star_ra,star_dec,a,b\n10,0,1000,0\n")
    facts = said("import", path, "--name", "stars", "--pmra", "a", "--pmdec", "b", "--epoch", "2000")
    assert facts["motion"] == {"pmra": "a", "pmdec": "b", "epoch": 2000.0, "fastest": 1000.0}
    assert said("match", "stars", "10", "0", "--radius", 1, "--mjd", 51544.5)["n"] == 1
    assert said("match", "stars", "10", "0", "--radius", 1, "--mjd", 61000)["n"] == 0
    assert "1000.0 mas/yr" in catalogs("info", "stars").stdout
    facts = said("import", path, "--name", "stars", "--columns", "a", "--no-motion", "--overwrite")
    assert [one["name"] for one in facts["columns"]] == ["star_ra", "star_dec", "a"]


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("match", "nope", "1", "2", "--radius", 1), 2, "there is no catalogue 'nope' (there are: sne)"),
        (("match", "sne", "1", "x", "--radius", 1), 2, "the declination cannot be read"),
        (("match", "sne", "1", "2", "--radius", 1, "--every"), 2, "'--every' is not understood"),
        (
            ("match", "sne", "1", "2", "--radius", 1, "--out", "x.parquet"),
            2,
            "--out is for the matches of a table",
        ),
        (("match", "sne", "1", "2", "--radius", 1, "--mjd", "today"), 2, "expected a modified Julian date"),
        (("match", "sne", "gone.csv", "--radius", 1), 1, "gone.csv: there is no such file"),
        (("import", "gone.csv", "--name", "x"), 1, "gone.csv: there is no such file"),
        (("info", "./home"), 1, "is not a catalogue"),
    ],
)
def test_a_problem_is_one_sentence(sne, tmp_path, monkeypatch, arguments, code, sentence):
    monkeypatch.chdir(tmp_path)
    result = catalogs(*arguments)
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_column_that_is_missing_is_named_with_those_that_are_there(sne):
    result = catalogs("import", sne, "--name", "x", "--ra", "alpha", "--dec", "dec")
    assert result.exit_code == 1
    assert "no column 'alpha'; the columns are name, ra, dec, type" in result.stderr
