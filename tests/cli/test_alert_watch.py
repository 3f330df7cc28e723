"""``astrid alerts watch``, ``drift`` and ``report`` from end to end."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.store import Batch, Pass, open_store

NIGHTS = ("2026-11-18", "2026-11-19", "2026-11-20")


def astrid(*arguments: object):
    result = CliRunner().invoke(app, ["alerts", *map(str, arguments)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


class Bytes:
    suffix = ".avro"

    def content(self) -> bytes:
        return b"no packet at all"


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Three nights of 150 alerts; in the last one the model gives other scores."""
    folder = tmp_path_factory.mktemp("store")
    rng = np.random.default_rng(0)
    with open_store(folder) as opened:
        for k, night in enumerate(NIGHTS):
            n = 150
            score = rng.beta(4, 1, n) if k < 2 else rng.beta(1, 4, n)
            table = pa.table(
                {
                    "survey": ["ztf"] * n,
                    "alert_id": [f"{night}/{row}" for row in range(n)],
                    "object_id": [f"object{row}" for row in range(n)],
                    "ra": rng.uniform(0, 360, n),
                    "dec": rng.uniform(-30, 80, n),
                    "healpix": pa.nulls(n, pa.int64()),
                    "mjd": 61362.2 + k + np.sort(rng.random(n)) / 3,
                    "night": [night] * n,
                    "band": ["r"] * n,
                    "magpsf": rng.normal(19, 1, n),
                    "braai_x1": score,
                    "braai_x1_decision": np.where(score > 0.5, "real", "bogus"),
                    "braai_x1_set": np.where(score > 0.5, "real", "bogus"),
                    "braai_x1_hash": ["abc"] * n,
                }
            )
            opened.write(
                Batch(
                    table, [Bytes()] * n, passes=[Pass(0, "bright", "h")], filters={"bright": "h"},
                    worker="w", behind=5, started=time.time() - 2, arrived=time.time() - 1,
                )
            )  # fmt: skip
    return folder


def test_one_look_as_json_and_for_people(store):
    seen = json.loads(astrid("watch", "--store", store, "--once", "--json").stdout)
    assert (seen["night"], seen["behind"], seen["digest"]["n"]) == (NIGHTS[-1], 5, 150)
    assert seen["rate_night"] == pytest.approx(75, rel=0.5)
    assert seen["latency_p50"] == pytest.approx(1000, rel=0.8)
    assert seen["drift"]["verdict"] == "act"
    assert sum(seen["digest"]["scores"]["braai_x1"]["histogram"]) == 150
    text = astrid("watch", "--store", store).stdout  # no terminal: as with --once
    for words in ("5 messages", "braai_x1", "█", "bright", "drift: act against 300 alerts of 2 nights"):
        assert words in text
    earlier = json.loads(
        astrid("watch", "--store", store, "--once", "--json", "--night", NIGHTS[0], "--no-drift").stdout
    )
    assert (earlier["night"], earlier["drift"]) == (NIGHTS[0], None)


def test_verdict_of_a_night(store):
    found = json.loads(astrid("drift", "--store", store, "--json").stdout)
    assert (found["night"], found["verdict"], found["n_reference"]) == (NIGHTS[-1], "act", 300)
    assert found["reasons"][0].startswith("braai_x1 has moved in ztf r: median")
    assert found["coverage"] is None
    same = json.loads(astrid("drift", "--store", store, "--night", NIGHTS[1], "--json").stdout)
    assert (same["verdict"], same["nights"]) == ("ok", [NIGHTS[0]])
    assert "drift: act" in astrid("drift", "--store", store).stdout


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_labels_give_the_coverage(store, tmp_path, suffix):
    path = tmp_path / f"labels.{suffix}"
    table = pa.table(
        {
            "survey": ["ztf"] * 40,
            "alert_id": [f"{NIGHTS[1]}/{row}" for row in range(40)],
            "label": ["real"] * 40,
        }
    )
    if suffix == "csv":
        import pyarrow.csv

        pyarrow.csv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    options = ("--store", store, "--night", NIGHTS[1], "--labels", path, "--json")
    (one,) = json.loads(astrid("drift", *options).stdout)["coverage"]
    assert (one["model"], one["label"], one["n"]) == ("braai_x1", "real", 40)
    assert 0.8 < one["share"] < 1
    path.write_text("survey,alert_id\n") if suffix == "csv" else pq.write_table(table.drop(["label"]), path)
    refused = astrid("drift", *options)
    assert refused.exit_code == 1
    assert "there is no column label; expected survey, alert_id, label" in refused.stderr


def test_report_of_a_night(store, tmp_path):
    done = json.loads(
        astrid("report", "--store", store, "--night", NIGHTS[-1], "--out", tmp_path / "n", "--json").stdout
    )
    text = Path(done["page"]).read_text("utf-8")
    assert "the scores should not be trusted" in text
    assert text.count("<svg") > 3
    assert json.loads(Path(done["numbers"]).read_text("utf-8"))["n"] == 150


def test_a_store_that_is_not_there_is_said_and_not_made(tmp_path):
    for verb in (("watch", "--once"), ("drift",), ("report", "--out", tmp_path / "out")):
        done = astrid(*verb, "--store", tmp_path / "none")
        assert done.exit_code == 1
        assert "there is no store of alerts" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
    done = astrid("watch", "--json", "--store", tmp_path)
    assert done.exit_code == 2
    assert "add --once" in done.stderr


def test_a_store_that_is_locked_is_said_in_one_line(store):
    other = sqlite3.connect(store / "astrid.db", isolation_level=None)
    try:
        other.execute("PRAGMA locking_mode=EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE batches SET worker = worker")
        done = astrid("watch", "--store", store, "--once")
    finally:
        other.rollback()
        other.close()
    assert done.exit_code == 1
    assert "locked" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_watching_on_a_terminal_goes_on_until_ctrl_c_and_ends_well(store):
    master, slave = pty.openpty()
    code = "import sys; from astrid.cli.main import main; sys.argv = ['astrid'] + sys.argv[1:]; main()"
    command = [sys.executable, "-c", code, "alerts", "watch", "--store", str(store), "--every", "0.2"]
    process = subprocess.Popen(
        command, stdin=slave, stdout=slave, stderr=subprocess.PIPE, env={**os.environ, "TERM": "xterm"}
    )
    os.close(slave)
    seen = b""
    deadline = time.monotonic() + 60
    while b"bright" not in seen and time.monotonic() < deadline:
        if select.select([master], [], [], 1)[0]:
            seen += os.read(master, 65536)
    assert b"bright" in seen
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    end = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < end:
        if select.select([master], [], [], 0.2)[0]:
            try:
                seen += os.read(master, 65536)
            except OSError:  # the other end is closed
                break
    assert process.wait(timeout=20) == 0
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    os.close(master)
    assert b"\x1b[?1049l" in seen  # the screen is as it was before
