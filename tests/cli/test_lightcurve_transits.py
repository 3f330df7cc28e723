"""``astrid lightcurves transits`` and ``astrid data transits`` from end to end."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.learn.dataset import Dataset

pytest.importorskip("numba")


def astrid(*arguments: object):
    result = CliRunner().invoke(app, [*map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def star(real_data):
    return real_data / "lightcurves" / "kepler_tess_lc" / "kplr_10848459.fits.gz"


@pytest.mark.real_data
def test_a_star_gets_a_sheet_a_verdict_and_one_json_object(star, tmp_path):
    numbers = "teff=5700, radius=1.0,mass=1,tmag=13"
    result = astrid("lightcurves", "transits", star, "--out", tmp_path, "--star", numbers, "--json")
    assert result.exit_code == 0
    (one,) = json.loads(result.stdout)["results"]
    (found,) = one["candidates"]
    assert found["period"] == pytest.approx(1.7367, rel=1e-3)
    assert found["score"]["bundle"].startswith("tess_transits.")
    assert one["star_filled"] == {}
    assert {path.name for path in tmp_path.iterdir()} == {"10848459.json", "10848459.1.png"}


@pytest.mark.real_data
def test_a_person_is_told_what_stands_in_for_the_star_and_what_could_not_be_read(star, tmp_path):
    bad = tmp_path / "bad.csv"
    bad.write_text("mjd,flux\n1,\n")
    result = astrid("lightcurves", "transits", star, bad, "--out", tmp_path / "out", "--period-max", 3)
    assert result.exit_code == 0
    assert "1.73" in result.stdout
    assert "medians of the training set" in " ".join(result.stdout.split())
    assert "bad.csv" in result.stdout


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--star", "age=5"], 2, "give any of tmag"),
        (["--star", "teff=hot"], 2, "give a number"),
        (["--star", "radius=-1"], 2, "radius is -1"),
        ([], 1, "there is no such file"),
    ],
)
def test_problems_are_one_line_and_an_exit_code(tmp_path, options, code, message):
    result = astrid("lightcurves", "transits", tmp_path / "none.fits", "--out", tmp_path / "out", *options)
    assert result.exit_code == code
    assert message in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.real_data
def test_published_views_become_a_data_set(real_data, tmp_path):
    views = real_data / "lightcurves" / "tess_views" / "nigraha_val.npz"
    result = astrid("data", "transits", views, "--out", tmp_path / "set", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["n_signals"] == len(Dataset.open(tmp_path / "set")) == 516
