"""``astrid images`` from end to end: what a person types, and what comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.images.simulated_survey import write_pair
from astrid.images.simulation import simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.survey import PRODUCTS, read_pairs


def astrid(*arguments: object):
    """Run a command; an exception that is not an exit is a failure of the test."""
    result = CliRunner().invoke(app, ["images", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def field(folder: Path, seed: int, **changes) -> tuple[Path, Path]:
    numbers = {"shape": (256, 256), "n_stars": 70, "n_galaxies": 4, "n_transients": 4, "snr_range": (15, 40)}
    pair = simulate_pair(SimulationConfig(**{**numbers, **changes}), seed=seed)
    science, reference, _, _ = write_pair(folder, pair, str(seed))
    return folder / science, folder / reference


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Path, Path]:
    return field(tmp_path_factory.mktemp("pair"), 1)


@pytest.fixture(scope="module")
def change(pair, tmp_path_factory):
    """Make a science file with other pixels or another header."""
    data, header = fits.getdata(pair[0], header=True)
    folder = tmp_path_factory.mktemp("changed")

    def make(name, pixels=None, without=(), **cards):
        changed = header.copy()
        for keyword in without:
            changed.remove(keyword)
        changed.update(cards)
        path = folder / f"{name}.fits"
        fits.PrimaryHDU(data if pixels is None else pixels(data), changed).writeto(path, overwrite=True)
        return path

    return make


def test_json_is_one_object_with_the_promised_figures(pair, tmp_path):
    result = astrid("difference", *pair, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["n_candidates"] >= 4
    assert figures["registration_rms_px"] < 0.1
    assert figures["significance_sigma"] == pytest.approx(1, abs=0.05)
    assert figures["limiting_mag_5sigma"] > 15
    for name in ("method", "flux_ratio", "seconds", "peak_memory_mb", "warnings"):
        assert name in figures
    assert {path.name for path in (tmp_path / "run").iterdir()} == set(PRODUCTS) - {"alerts.avro"}
    document = json.loads((tmp_path / "run" / "run.json").read_text())
    assert {name: document[name] for name in figures} == figures


def test_people_get_a_table_and_the_path_of_the_report(pair, tmp_path):
    result = astrid(
        "difference", *pair, "--out", tmp_path / "run", "--avro", "--threshold", 8, "--cutout-size", 31
    )
    assert result.exit_code == 0
    words = "".join(result.stdout.split())
    assert f"{tmp_path}/run/report.html" in words
    assert "clean" in words
    assert (tmp_path / "run" / "alerts.avro").exists()
    candidates = Table.read(tmp_path / "run" / "candidates.ecsv")
    assert (np.abs(candidates["snr"]) >= 8).all()
    assert np.load(tmp_path / "run" / "triplets.npz")["science"].shape[1:] == (31, 31)


def test_facts_on_the_command_line_are_those_of_the_right_image(pair, tmp_path):
    astrid(
        "difference", *pair, "--out", tmp_path / "run", "--gain", 1.4, "--reference-gain", 1.6,
        "--filter", "z", "--zero-point", 26, "--json",
    )  # fmt: skip
    inputs = json.loads((tmp_path / "run" / "run.json").read_text())["provenance"]["inputs"]
    assert inputs["science"]["given"] == {"gain": 1.4, "filter": "z", "zero_point": 26.0}
    assert inputs["reference"]["given"] == {"gain": 1.6, "filter": "z"}


def test_the_same_image_turned_by_180_degrees_is_turned_back(change, pair, tmp_path):
    no_wcs = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2")
    turned = change("turned", lambda data: data[::-1, ::-1], without=no_wcs)
    result = astrid("difference", turned, pair[1], "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["registration_rms_px"] < 0.1


def far(folder: Path, **changes):
    return field(folder, 9, **changes)


BAD = {
    "not FITS": (lambda c, p, d: write(d / "text.fits", b"Dear reader, " * 300), "not a FITS file"),
    "zero-byte file": (lambda c, p, d: write(d / "empty.fits", b""), "the file is empty"),
    "truncated": (lambda c, p, d: write(d / "half.fits", p[0].read_bytes()[:90_000]), "truncated"),
    "no image HDU": (lambda c, p, d: hdus(d / "none.fits", fits.PrimaryHDU()), "holds no image"),
    "a table only": (
        lambda c, p, d: hdus(d / "table.fits", fits.PrimaryHDU(), fits.BinTableHDU(Table({"a": [1, 2]}))),
        "only tables",
    ),
    "all NaN": (lambda c, p, d: c("nan", lambda x: np.full_like(x, np.nan)), "no pixel has data"),
    "constant": (lambda c, p, d: c("flat", lambda x: np.full_like(x, 7)), "every pixel has the value 7"),
    "a cube": (lambda c, p, d: c("cube", lambda x: np.stack([x] * 3)), "is a cube"),
    "missing gain": (lambda c, p, d: c("gain", without=["GAIN"]), "pass --gain"),
    "no overlap": (lambda c, p, d: far(d, ra=155.0)[0], "overlap"),
    "pixels 10 times as large": (lambda c, p, d: far(d, pixel_scale=10.0)[0], "align|match|star|scale"),
    "5 stars": (lambda c, p, d: far(d, n_stars=5, n_galaxies=0, n_transients=0)[0], "star|light|match"),
    "saturated field": (
        lambda c, p, d: c("full", lambda x: x * 0 + 65_000 + np.arange(x.size).reshape(x.shape) % 7),
        "mask|saturat",
    ),
    "no such file": (lambda c, p, d: d / "nowhere.fits", "no such file"),
    "a directory": (lambda c, p, d: d, "directory"),
}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def hdus(path: Path, *units) -> Path:
    fits.HDUList(list(units)).writeto(path)
    return path


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_sentence_exit_1_and_nothing_written(kind, change, pair, tmp_path):
    make, message = BAD[kind]
    data = tmp_path / "data"
    data.mkdir()
    out = tmp_path / "out"
    result = astrid("difference", make(change, pair, data), pair[1], "--out", out / "run")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    assert re.search(message, result.stderr), result.stderr
    assert not out.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_a_bad_reference_is_named_as_such(change, pair, tmp_path):
    bad = change("gain", without=["GAIN"])
    result = astrid("difference", pair[0], bad, "--out", tmp_path / "run")
    assert result.exit_code == 1
    assert bad.name in result.stderr


def test_an_output_that_cannot_be_written_is_one_sentence(pair, tmp_path):
    blocker = tmp_path / "file"
    blocker.write_text("here first")
    for out in (blocker, blocker / "run"):
        result = astrid("difference", *pair, "--out", out)
        assert result.exit_code == 1
        assert result.stderr.count("\n") == 1
        assert "choose another --out" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_errors_in_json_are_json(tmp_path):
    result = astrid(
        "difference", tmp_path / "a.fits", tmp_path / "b.fits", "--out", tmp_path / "run", "--json"
    )
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"]["kind"] == "DataError"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["difference", "one.fits"], "expected two"),
        (["difference", "a.fits", "b.fits", "--batch", "c.csv"], "give either"),
        (["difference", "a.fits", "b.fits", "--method", "magic"], "choose one of"),
        (["difference", "a.fits", "b.fits", "--threshold", "0"], "threshold"),
        (["difference", "a.fits", "b.fits", "--cutout-size", "64"], "odd"),
        (["difference", "--batch", "nowhere.csv"], "no such file"),
        (["photometry", "a.fits", "--reference", "b.fits"], "--at"),
        (["photometry", "a.fits", "--reference", "b.fits", "--at", "1;2"], "two numbers"),
        (["photometry", "a.fits", "--reference", "b.fits", "--at", "1,nan"], "finite"),
        (["photometry", "a.fits", "--reference", "b.fits", "--at", "1,2", "--out", "c.txt"], ".ecsv"),
        (["inject", "a.fits", "b.fits", "--magnitudes", "20"], "two numbers"),
        (["simulate", "--preset", "unicorn"], "unicorn"),
    ],
)
def test_a_wrong_request_is_exit_2(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = astrid(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_batch_ends_with_1_if_a_pair_failed_and_does_the_rest(pair, tmp_path):
    (tmp_path / "pairs.csv").write_text(
        f"name,science,reference\ngood,{pair[0]},{pair[1]}\nbad,nowhere.fits,{pair[1]}\n"
    )
    command = ("difference", "--batch", tmp_path / "pairs.csv", "--out", tmp_path / "night", "--workers", 1)
    result = astrid(*command, "--json")
    assert result.exit_code == 1
    assert "1 of 2 pairs failed" in result.stderr
    assert [run["status"] for run in json.loads(result.stdout)["runs"]] == ["done", "failed"]
    (tmp_path / "pairs.csv").write_text(f"name,science,reference\ngood,{pair[0]},{pair[1]}\n")
    result = astrid(*command)
    assert result.exit_code == 0
    assert "1 skipped" in result.stdout


def test_demo_recovers_what_it_put_in(tmp_path):
    result = astrid("demo", "--out", tmp_path / "demo", "--seed", 0, "--json")
    assert result.exit_code == 0
    found = json.loads(result.stdout)["recovery"]
    assert found["n_expected"] >= 15
    assert found["n_missed"] == 0
    assert found["n_clean"] + found["n_flagged"] == found["n_expected"]
    assert (tmp_path / "demo" / "report.html").exists()
    assert (tmp_path / "demo" / "field" / "truth_demo.ecsv").exists()


def test_a_simulated_survey_is_a_batch(tmp_path):
    result = astrid("simulate", "--out", tmp_path / "sky", "-n", 2, "--size", 256, "--seed", 3, "--json")
    assert result.exit_code == 0
    listed = Path(json.loads(result.stdout)["pairs"])

    pairs = read_pairs(listed)
    assert [pair.name for pair in pairs] == ["000", "001"]
    assert all(pair.science.path.exists() and pair.truth.exists() for pair in pairs)


def test_injection_measures_depth(pair, tmp_path):
    result = astrid("inject", *pair, "--out", tmp_path / "depth", "-n", 5, "--bins", 2, "--json")
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["n_injected"] == 5
    assert {path.name for path in (tmp_path / "depth").iterdir()} == {
        "injections.parquet", "injections.ecsv", "completeness.png", "run.json",
    }  # fmt: skip
    assert len(Table.read(tmp_path / "depth" / "injections.ecsv")) == 5


@pytest.mark.parametrize("suffix", [".ecsv", ".parquet"])
def test_photometry_follows_a_transient(tmp_path, suffix):
    pytest.importorskip("astrid.images.forced")
    science, reference = field(tmp_path, 5)
    truth = Table.read(tmp_path / "truth_5.ecsv")
    best = truth[np.argmax(truth["snr_true"])]
    out = tmp_path / f"curve{suffix}"
    result = astrid(
        "photometry", science, reference, "--reference", reference, "--radec", f"{best['ra']},{best['dec']}",
        "--out", out, "--json",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    curve = json.loads(result.stdout)
    seen, before = curve["rows"]
    assert seen["snr"] > 10
    assert abs(before["snr"]) < 3
    assert curve["n_frames"] == 2
    assert out.exists()
    assert out.with_suffix(".png").exists()


def test_calibrate_takes_off_the_bias(pair, tmp_path):
    data, header = fits.getdata(pair[0], header=True)
    raw, bias = tmp_path / "raw.fits", tmp_path / "bias.fits"
    fits.PrimaryHDU(data + 500, header).writeto(raw)
    fits.PrimaryHDU(np.full_like(data, 500) + np.arange(data.shape[1]) % 2, header).writeto(bias)
    result = astrid("calibrate", raw, "--bias", bias, "--out", tmp_path / "image.fits", "--json")
    assert result.exit_code == 0
    assert "bias" in json.loads(result.stdout)["steps"]
    calibrated = fits.getdata(tmp_path / "image.fits")
    assert np.median(calibrated - data) == pytest.approx(-0.5, abs=0.51)
    twice = astrid("calibrate", tmp_path / "image.fits", "--bias", bias, "--out", tmp_path / "twice.fits")
    assert twice.exit_code == 1
    assert not (tmp_path / "twice.fits").exists()


@pytest.mark.real_data
def test_the_real_transient_is_the_strongest_clean_candidate(real_data, tmp_path):
    folder = real_data / "images" / "decam_pair"
    names = ("DEC-OBS04a.mini.fits.gz", "DEC-OBS18a.mini.fits.gz")
    result = astrid("difference", *(folder / name for name in names), "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    candidates = Table.read(tmp_path / "run" / "candidates.ecsv")
    here = np.hypot(candidates["x"] - 129, candidates["y"] - 127.5) < 3
    assert here.sum() == 1
    assert candidates["snr"][here][0] > 10
