"""Batches: every pair ends somewhere, one that fails stops no other, and a killed batch can go on."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, Executor, ThreadPoolExecutor
from pathlib import Path

import pytest
from astropy.io import fits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from astrid.errors import UsageError
from astrid.images.differencing import DifferenceConfig
from astrid.survey import PRODUCTS, FrameFile, Pair, difference_pairs, read_pairs

TIMED = {"report.html", "run.json"}


def listed(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text)
    return path


def test_a_list_says_how_to_read_each_frame(tmp_path):
    path = listed(
        tmp_path,
        "science,reference,name,gain,reference_gain,ext,reference_ext,filter,mask,profile\n"
        "new.fits,old.fits,first,1.5,,SCI,2,r,m.fits,ztf\n"
        "sub/new.fits,/data/old.fits,,,,,,,,\n",
    )
    first, second = read_pairs(path, (FrameFile(Path(), overrides={"gain": 9.0}), FrameFile(Path())))
    assert first == Pair(
        "first",
        FrameFile(
            tmp_path / "new.fits",
            "SCI",
            "ztf",
            {"gain": 1.5, "filter": "r", "mask": str(tmp_path / "m.fits")},
        ),
        FrameFile(tmp_path / "old.fits", 2, None, {}),
    )
    assert second.name == "new"
    assert second.science.overrides == {"gain": 9.0}
    assert second.reference.path == Path("/data/old.fits")


def test_one_science_frame_against_several_references_gets_names_of_its_own(tmp_path):
    path = listed(tmp_path, "science,reference\nnew.fits.gz,a.fits\nnew.fits.gz,b.fits\n")
    assert [pair.name for pair in read_pairs(path)] == ["new", "new-2"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column science"),
        ("science,reference\n", "the list is empty"),
        ("science\na.fits\n", "no column reference"),
        ("science,reference,gian\na,b,1\n", "unknown column 'gian'"),
        ("science,reference,gain\na,b,lots\n", "line 2: gain is 'lots', expected a number"),
        ("science,reference\na,\n", "line 2: science or reference is empty"),
        ("science,reference,name\na,b,x\nc,d,x\n", "line 3: the name 'x' is used twice"),
        ("science,reference,name\na,b,../x\n", "not a plain name"),
        ("science,reference,name\na,b,..\n", "not a plain name"),
    ],
)
def test_a_list_that_cannot_be_understood_is_refused(tmp_path, text, message):
    with pytest.raises(UsageError, match=message) as problem:
        read_pairs(listed(tmp_path, text))
    assert "\n" not in str(problem.value)


def test_a_list_that_is_not_there_or_not_text_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        read_pairs(tmp_path / "none.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00\x81science")
    with pytest.raises(UsageError, match="not a readable CSV"):
        read_pairs(tmp_path / "binary.csv")


@given(
    st.binary(max_size=200) | st.text(max_size=200).map(lambda text: ("science,reference\n" + text).encode())
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_list_holds_the_answer_is_pairs_or_one_sentence(tmp_path, content):
    path = tmp_path / "fuzz.csv"
    path.write_bytes(content)
    try:
        pairs = read_pairs(path)
    except UsageError:
        return
    assert all(pair.name == Path(pair.name).name for pair in pairs)
    assert len({pair.name for pair in pairs}) == len(pairs) > 0


@pytest.fixture(scope="module")
def three(simulated):
    """Three pairs, the middle one of which cannot be differenced."""
    good, other = simulated(2), simulated(3)
    broken = good.science.with_name("broken.fits")
    broken.write_bytes(good.science.read_bytes()[:4000])
    return [
        Pair("one", FrameFile(good.science), FrameFile(good.reference), good.truth),
        Pair("two", FrameFile(broken), FrameFile(good.reference)),
        Pair("three", FrameFile(other.science), FrameFile(other.reference)),
    ]


def test_a_failed_pair_is_set_aside_and_the_rest_goes_on_and_a_second_start_skips(three, tmp_path):
    seen = []
    with ThreadPoolExecutor(1) as executor:
        summary = difference_pairs(three, tmp_path, executor=executor, on_pair=seen.append)
        assert [entry["status"] for entry in summary.runs] == ["done", "failed", "done"]
        assert (summary.n_done, summary.n_failed, summary.n_skipped) == (2, 1, 0)
        assert len(seen) == 3
        assert "truncated" in summary.runs[1]["reason"]
        with (tmp_path / "failed.csv").open() as file:
            assert [row["name"] for row in csv.DictReader(file)] == ["two"]
        assert json.loads((tmp_path / "summary.json").read_text())["n_failed"] == 1
        assert not (tmp_path / "two").exists()
        assert "injected" in (tmp_path / "one" / "report.html").read_text()

        stamp = (tmp_path / "one" / "run.json").stat().st_mtime_ns
        again = difference_pairs(three, tmp_path, executor=executor)
        assert [entry["status"] for entry in again.runs] == ["skipped", "failed", "skipped"]
        assert (tmp_path / "one" / "run.json").stat().st_mtime_ns == stamp
        assert again.runs[0]["n_candidates"] == summary.runs[0]["n_candidates"]

        other = difference_pairs(three[:1], tmp_path, executor=executor, config=DifferenceConfig(threshold=6))
        assert other.runs[0]["status"] == "done"  # another configuration is another run
        (tmp_path / "one" / "mask.fits").unlink()
        repaired = difference_pairs(
            three[:1], tmp_path, executor=executor, config=DifferenceConfig(threshold=6)
        )
        assert repaired.runs[0]["status"] == "done"  # a product was missing
        assert not (tmp_path / "failed.csv").exists()


def test_an_unexpected_error_is_a_reason_too(three, tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("a bug")

    monkeypatch.setattr("astrid.survey.pairs.difference_files", broken)
    with ThreadPoolExecutor(1) as executor:
        summary = difference_pairs(three[:1], tmp_path, executor=executor)
    assert summary.runs[0]["reason"] == "unexpected RuntimeError: a bug"


class Broken(Executor):
    """An executor whose workers are gone."""

    def submit(self, *args, **kwargs):
        raise BrokenExecutor("gone")


def test_pairs_of_a_broken_executor_are_set_aside(three, tmp_path):
    summary = difference_pairs(three, tmp_path, executor=Broken())
    assert summary.n_failed == 3
    assert "was killed" in summary.runs[0]["reason"]


def batch(folder: Path, out: Path) -> list[str]:
    program = "import sys; from astrid.cli.main import main; main()"
    return [
        sys.executable, "-c", program, "images", "difference", "--batch", str(folder / "pairs.csv"),
        "--out", str(out), "--workers", "1", "--json",
    ]  # fmt: skip


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_a_killed_batch_started_again_ends_with_the_same_products(simulated, tmp_path):
    pairs = [simulated(seed) for seed in (4, 6)]
    listed(
        tmp_path,
        "name,science,reference\n" + "".join(f"{i},{p.science},{p.reference}\n" for i, p in enumerate(pairs)),
    )
    out = tmp_path / "killed"
    with subprocess.Popen(
        batch(tmp_path, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        end = time.monotonic() + 60
        while not (out / "0").exists() and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)  # the parent only: its worker must notice
    assert (out / "0" / "run.json").exists()
    assert not (out / "summary.json").exists()
    for run in out.iterdir():  # what is there is whole
        if not run.name.startswith("."):
            assert {path.name for path in run.iterdir()} == set(PRODUCTS) - {"alerts.avro"}
    stamp = (out / "0" / "run.json").stat().st_mtime_ns
    again = subprocess.run(batch(tmp_path, out), capture_output=True, text=True, check=True)
    statuses = {run["name"]: run["status"] for run in json.loads(again.stdout)["runs"]}
    assert statuses["0"] == "skipped"
    assert (out / "0" / "run.json").stat().st_mtime_ns == stamp
    assert sorted(path.name for path in out.iterdir()) == ["0", "1", "summary.json"]

    whole = tmp_path / "whole"
    with ThreadPoolExecutor(1) as executor:
        difference_pairs(read_pairs(tmp_path / "pairs.csv"), whole, executor=executor)
    for i in range(2):
        for name in ("difference.fits", "significance.fits", "mask.fits"):
            killed_data, whole_data = (root / str(i) / name for root in (out, whole))
            assert (fits.getdata(killed_data) == fits.getdata(whole_data)).all()
        tables = [(root / str(i) / "candidates.ecsv").read_text().split("\n") for root in (out, whole)]
        rows = [[line for line in lines if not line.startswith("#")] for lines in tables]
        assert rows[0] == rows[1]


def test_a_pair_whose_process_is_killed_does_not_take_the_others_along(three, tmp_path):
    killer = "astrid.survey.pairs"
    program = f"""
import os, signal, sys
import {killer} as pairs
from astrid.survey import FrameFile, Pair
from pathlib import Path

class Deadly(FrameFile):
    def record(self):
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    good = [FrameFile(Path(p)) for p in sys.argv[2:4]]
    todo = [Pair("good", *good), Pair("deadly", Deadly(Path("x")), good[1])]
    print([run["status"] for run in pairs.difference_pairs(todo, sys.argv[1], workers=1).runs])
"""
    script = tmp_path / "deadly.py"
    script.write_text(program)
    good = three[0]
    done = subprocess.run(
        [sys.executable, script, tmp_path / "out", good.science.path, good.reference.path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "['done', 'failed']"
    assert "was killed" in (tmp_path / "out" / "failed.csv").read_text()
