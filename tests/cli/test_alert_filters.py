"""``astrid alerts filter`` and ``replay`` from end to end: tried, saved, asked live, replayed, retired."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app


def astrid(*arguments: object):
    result = CliRunner().invoke(app, ["alerts", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def place(real_data, tmp_path_factory):
    """A store into which half of the packets came before a filter was saved, and half after."""
    folder = tmp_path_factory.mktemp("filters") / "store"
    take = ("ingest", "--store", folder, "--no-scores", "--batch", 16, "--json")
    assert astrid(*take, real_data / "alerts" / "ztf_alerts_dev.tar.gz").exit_code == 0
    saved = astrid(
        "filter", "--sql", "magpsf < 18 and ztf_drb > 0.5", "--store", folder, "--save", "bright", "--json"
    )
    assert saved.exit_code == 0, saved.stderr
    assert astrid(*take, real_data / "alerts" / "fink_ztf_alerts_51.parquet").exit_code == 0
    return folder


@pytest.mark.real_data
def test_a_condition_is_tried_on_what_is_stored(place, tmp_path):
    out = tmp_path / "rows.parquet"
    shown = json.loads(
        astrid(
            "filter", "--sql", "magpsf < 18 and band = 'g'", "--store", place, "--since", "2023-01-01",
            "--out", out, "--json",
        ).stdout
    )  # fmt: skip
    rows = pq.read_table(out)
    assert shown["n_passed"] == len(rows) > 5
    assert max(rows["magpsf"].to_pylist()) < 18
    assert set(rows["band"].to_pylist()) == {"g"}
    assert min(rows["night"].to_pylist()) >= "2023-01-01"
    assert "history" in rows.column_names
    assert shown["rows"][0]["alert_id"] == rows["alert_id"][0].as_py()
    text = astrid("filter", "--sql", "magpsf < 18 and ztf_drb > 0.5", "--store", place).stdout
    assert "ztf_drb" in text
    none = json.loads(
        astrid("filter", "--sql", "magpsf < 5", "--store", place, "--json", "--out", out).stdout
    )
    assert none["warnings"] == ["none of the 100 stored alerts passes"]
    assert pq.read_table(out).num_rows == 0


@pytest.mark.real_data
def test_what_was_saved_is_asked_of_the_next_batch_and_replay_agrees(place):
    (one,) = json.loads(astrid("filter", "--list", "--store", place, "--json").stdout)["filters"]
    assert (one["name"], one["active"]) == ("bright", True)
    compared = json.loads(
        astrid("replay", "--filter", "bright", "--compare", "--store", place, "--json").stdout
    )
    assert compared["same"]
    assert compared["n"] == 51
    assert compared["n_live"] == compared["n_replay"] == one["n_passed"] > 0
    text = astrid("replay", "--filter", "bright", "--compare", "--store", place).stdout
    assert "the same, alert by alert" in text
    whole = json.loads(astrid("replay", "--filter", "bright", "--store", place, "--json").stdout)
    assert whole["n"] == 100
    assert whole["n_passed"] > compared["n_live"]


@pytest.mark.real_data
def test_a_file_is_replayed_as_its_text(place, tmp_path):
    path = tmp_path / "my_sn.sql"
    path.write_text("-- young ones\nage < 30\n  and magpsf < 19 -- not too faint\n")
    one = json.loads(astrid("replay", "--filter", path, "--store", place, "--json").stdout)
    other = json.loads(
        astrid("filter", "--sql", "age < 30 and magpsf < 19", "--store", place, "--json").stdout
    )
    again = json.loads(astrid("filter", "--sql", path, "--store", place, "--json").stdout)
    assert one["n_passed"] == other["n_passed"] == again["n_passed"] > 0


@pytest.mark.real_data
def test_regions_watch_lists_limits_and_retirement(place, tmp_path):
    table = pq.read_table(_all(place, tmp_path))
    row = table.slice(3, 1).to_pylist()[0]
    targets = tmp_path / "targets.csv"
    targets.write_text(f"name,ra,dec\nmine,{row['ra']},{row['dec'] + 1 / 3600}\n")
    found = json.loads(astrid("filter", "--watch-list", targets, "--store", place, "--json").stdout)
    assert row["alert_id"] in [one["alert_id"] for one in found["rows"]]
    far = json.loads(
        astrid("filter", "--watch-list", targets, "--radius", 0.5, "--store", place, "--json").stdout
    )
    assert far["n_passed"] == 0
    saved = astrid(
        "filter", "--region", "0/0-11", "--store", place, "--save", "sky", "--limit-per-hour", 5,
        "--sink", f"files:{tmp_path / 'out'}", "--json",
    )  # fmt: skip
    assert json.loads(saved.stdout)["warnings"] == ["every one of the 100 stored alerts passes"]
    listed = json.loads(astrid("filter", "--list", "--store", place, "--json").stdout)["filters"]
    sky = next(one for one in listed if one["name"] == "sky")
    assert (sky["limit_per_hour"], sky["region"], len(sky["sinks"])) == (5, True, 1)
    assert astrid("filter", "--retire", "sky", "--store", place).exit_code == 0
    assert "no" in astrid("filter", "--list", "--store", place).stdout
    assert astrid("filter", "--retire", "sky", "--store", place).exit_code == 1


def _all(place, folder):
    out = folder / "all.parquet"
    astrid("filter", "--sql", "true", "--store", place, "--out", out)
    return out


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("filter", "--sql", "magpfs < 19"), 1, "is magpsf meant?"),
        (("filter", "--sql", "magpsf < 19 and magpsf > 20", "--save", "no"), 1, "never true together"),
        (("filter", "--sql", "magpsf", "--save", "no"), 1, "neither true nor false"),
        (("filter", "--sql", "missing.sql"), 1, "cannot be read"),
        (("filter", "--sql", "magpsf < 19", "--save", "a b"), 1, "of the filter"),
        (("filter", "--sql", "magpsf < 19", "--sink", "files:x"), 2, "--save"),
        (("filter", "--sql", "magpsf < 19", "--save", "x", "--sink", "pigeon:home"), 2, "pigeon"),
        (("filter", "--region", "nowhere"), 1, "MOC"),
        (("filter", "--save", "x"), 2, "nothing to filter by"),
        (("replay", "--filter", "unheard"), 1, "there is no filter 'unheard'"),
        (("replay", "--filter", "a.sql", "--compare"), 2, "saved filter"),
    ],
)
def test_problems_are_one_line_and_an_exit_code(place, arguments, code, words):
    done = astrid(*arguments, "--store", place)
    assert (done.exit_code, done.stderr.count("\n")) == (code, 1)
    assert words in done.stderr
    assert "no" not in [
        one["name"]
        for one in json.loads(astrid("filter", "--list", "--store", place, "--json").stdout)["filters"]
    ]


def test_columns_are_listed_before_there_is_a_store(tmp_path):
    listed = json.loads(astrid("filter", "--columns", "--store", tmp_path / "none", "--json").stdout)[
        "columns"
    ]
    drb = next(one for one in listed if one["name"] == "ztf_drb")
    assert (drb["low"], drb["high"], drb["type"]) == (0, 1, "float64")
    assert not (tmp_path / "none").exists()
    absent = astrid("filter", "--sql", "ra > 1", "--store", tmp_path / "none")
    assert (absent.exit_code, "there is no store" in absent.stderr) == (1, True)
    saved = astrid("filter", "--sql", "ra > 1", "--store", tmp_path / "new", "--save", "first", "--json")
    assert json.loads(saved.stdout)["saved"] == "first"
