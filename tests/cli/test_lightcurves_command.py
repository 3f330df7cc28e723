"""``astrid lightcurves`` and ``astrid survey`` say what they measured, and what they could not."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.lightcurves.dmdt import SCOPE, dmdt
from astrid.lightcurves.reading import read_lightcurves

sky = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "survey" / "curves.py")))


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sky")
    points, places, periods = sky.write_sky(folder)
    one = folder / "star.csv"
    table = pq.read_table(points).to_pandas()
    table[table.objectid == 1005].drop(columns="objectid").to_csv(one, index=False)
    return SimpleNamespace(points=points, places=places, periods=periods, star=one, folder=folder)


def said(*words, code=0):
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


def told(*words):
    result = CliRunner().invoke(app, [*map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_features_go_into_a_table_and_what_cannot_be_used_is_listed(given, tmp_path):
    result = said("lightcurves", "features", given.points, "--out", tmp_path / "table.parquet")
    assert result["n_measured"] == sky.N + 1
    assert {one["name"] for one in result["set_aside"]} == {"1040", "1041"}
    table = pq.read_table(tmp_path / "table.parquet")
    assert table.num_rows == sky.N + 1 == len(result["rows"])
    assert table.schema.field("median").metadata[b"unit"] == b"mag"
    text = told("lightcurves", "features", given.points, "--out", tmp_path / "again.parquet")
    assert "21 more sources" in text
    assert "every point has a quality flag" in text


def test_a_period_is_found_from_the_command_line(given):
    result = said("lightcurves", "periods", given.star, "--maximum", 4)
    (row,) = result["rows"]
    ratio = row["period"] / given.periods["1005"]
    assert min(abs(ratio - 1), abs(ratio - 2)) < 1e-3
    assert "period, d" in told("lightcurves", "periods", given.star, "--maximum", 4)


def test_why_a_source_is_not_measured_is_shown(tmp_path):
    one = tmp_path / "one.csv"
    one.write_text("mjd,mag,magerr\n59000,15,0.1\n")
    text = told("lightcurves", "features", one, "--out", tmp_path / "table.parquet")
    assert "not wholly measured" in text


def test_images_are_those_of_the_library_in_both_formats(given, tmp_path):
    for suffix in (".npz", ".parquet"):
        out = tmp_path / f"images{suffix}"
        result = said(
            "lightcurves", "dmdt", given.points, "--out", out, "--grid", "scope", "--scaling", "unit"
        )
        assert result["n_images"] == sky.N + 1
        assert (tmp_path / "images.png").read_bytes().startswith(b"\x89PNG")
        if suffix == ".npz":
            with np.load(out) as data:
                names, images = data["name"].tolist(), data["image"]
                assert data["dm"].tolist() == list(SCOPE.dm)
        else:
            table = pq.read_table(out)
            names, images = (
                table["name"].to_pylist(),
                np.array(table["image"].to_pylist()).reshape(-1, 26, 26),
            )
            assert table.schema.field("image").metadata[b"grid"] == b"scope"
        for curve in read_lightcurves(given.points, on_problem=lambda name, error: None):
            if curve.name in names:
                assert np.array_equal(images[names.index(curve.name)], dmdt(curve.good(), SCOPE, "unit"))


def test_with_labels_each_class_has_its_median_image(given, tmp_path):
    labels = tmp_path / "labels.csv"
    rows = [f"{1000 + k},{'even' if k % 2 == 0 else 'odd'}" for k in range(30)]
    labels.write_text("\n".join(["name,class", *rows]))
    out = tmp_path / "images.npz"
    result = said("lightcurves", "dmdt", given.points, "--out", out, "--labels", labels)
    with np.load(out) as data:
        wanted = ["" if int(n) >= 1030 else ("odd", "even")[int(n) % 2 == 0] for n in data["name"].tolist()]
        assert data["class"].tolist() == wanted
    assert result["classes"] == {name: wanted.count(name) for name in ("even", "odd")}
    labels.write_text("name,class\nnobody,odd\n")
    words = [str(one) for one in ("lightcurves", "dmdt", given.points, "--out", out, "--labels", labels)]
    refused = CliRunner().invoke(app, words)
    assert "no light curve is in" in refused.stderr


def test_a_source_is_imported_shown_and_its_catalogue_run_over(given, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "catalogs"))
    monkeypatch.chdir(tmp_path)
    done = said("lightcurves", "import", given.points, "--positions", given.places, "--name", "small")
    assert (done["n_sources"], done["set_aside"]) == (42, done["set_aside"])
    shown = said("lightcurves", "show", "1005", "--catalog", "small", "--period", 0.5)
    assert shown["name"] == "1005"
    assert shown["period"] == 0.5
    assert (tmp_path / "1005.html").is_file()
    run = said("survey", "lightcurves", "small", "--features", "--out", tmp_path / "out", "--keep", "kind")
    assert run["state"] == "complete"
    assert said("survey", "status", tmp_path / "out")["n_measured"] == 41
    assert "every point has a quality flag" in told("survey", "status", tmp_path / "out")
    reference = said(
        "lightcurves", "show", given.star, "--out", tmp_path / "star.html", "--reference", tmp_path / "out"
    )
    assert reference["reference"].startswith("41 sources")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("lightcurves", "show", "nothing.csv"), "there is no file"),
        (("lightcurves", "periods", "nothing.csv"), "there is no such file"),
        (("lightcurves", "periods", "{points.parent}"), "is a folder; give its files"),
        (("lightcurves", "dmdt", "{star}", "--out", "x.npz", "--grid", "mine"), "there is no grid 'mine'"),
        (("lightcurves", "dmdt", "{star}", "--out", "x.txt"), "ends in .npz or .parquet"),
        (("lightcurves", "show", "{points}"), "has several sources, 1000, 1001"),
        (("lightcurves", "show", "{points}", "--id", "7"), "no usable light curve called 7"),
        (("lightcurves", "import", "{points}"), "either --name or --out"),
        (("lightcurves", "import", "{points}", "--name", "Big"), "lower-case letters"),
        (("lightcurves", "import", "{points}", "--name", "small"), "no source can be imported"),
        (("lightcurves", "periods", "{star}", "--column", "time"), "write it as time=MJD"),
        (("survey", "lightcurves", "./none", "--features", "--out", "out"), "is not a catalogue"),
        (("survey", "lightcurves", "./none", "--out", "out"), "nothing is to be measured"),
        (("survey", "status", "."), "holds no run over light curves"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(given, tmp_path, monkeypatch, words, sentence):
    monkeypatch.setenv("ASTRID_CATALOGS", str(tmp_path / "catalogs"))
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, [word.format(star=given.star, points=given.points) for word in words])
    assert result.exit_code in (1, 2)
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
