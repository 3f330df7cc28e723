"""The benchmark frame: goals are judged, peers compared, processes measured, files whole."""

from __future__ import annotations

import json
import math
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astrid.bench.frame import Report, Row, measure_process, meets, run
from astrid.errors import DataError, OutputError, UsageError


@pytest.mark.parametrize(
    ("value", "goal", "met"),
    [
        (3.0, "<= 3", True),
        (3.0, "< 3", False),
        (0.98, ">= 0.98", True),
        (12.9, "> 13", False),
        (1.009, "= 1 ± 0.01", True),
        (0.98, "= 1 +- 0.01", False),
        (150, "= 150", True),
        (math.nan, "<= 3", None),
        (None, "<= 3", None),
        (1.0, None, None),
    ],
)
def test_a_goal_is_judged(value, goal, met):
    assert meets(value, goal) is met


def test_a_goal_that_cannot_be_read_is_an_error():
    with pytest.raises(ValueError, match="about three"):
        meets(1.0, "about three")


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_can_be_a_bound(value, bound):
    assert meets(value, f"<= {bound!r}") is (value <= bound)


def test_a_goal_without_a_value_is_missed():
    assert Row("recall", None, goal=">= 0.98").ok is False
    assert Row("recall", None).ok is None


def test_a_peer_stands_beside_the_row_with_its_figure_and_ratio():
    row = Row("recall", 0.98, goal=">= 0.98").beside("sfft 1.6", 0.49)
    assert (row.peer, row.ratio, row.ok) == ("sfft 1.6: 0.49", pytest.approx(2.0), True)
    assert Row("recall", 0.98).beside("sfft 1.6", None).ratio is None


def test_the_file_holds_exactly_what_was_agreed(tmp_path):
    report = Report("difference", (Row("noise", float("nan"), "s", "real", 3, "<= 1"),))
    report.save(tmp_path / "difference.json")
    saved = json.loads((tmp_path / "difference.json").read_text())
    assert list(saved) == ["bench", "command", "versions", "cpu", "date", "rows"]
    (row,) = saved["rows"]
    assert list(row) == ["name", "value", "unit", "goal", "ok", "peer", "ratio", "n", "data"]
    assert row["value"] is None
    assert row["ok"] is False
    assert [path.name for path in tmp_path.iterdir()] == ["difference.json"]


def test_an_unwritable_place_is_an_output_error(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        Report("difference", ()).save(tmp_path / "absent" / "difference.json")


def test_an_unknown_benchmark_is_wrong_usage():
    with pytest.raises(UsageError, match="no benchmark 'nonsense'"):
        run("nonsense")


def burn(seconds: float, threads: int = 1) -> int:
    """Use the processor for `seconds` of CPU time altogether."""

    def spin() -> None:
        start = time.thread_time()
        while time.thread_time() - start < seconds / threads:
            pass

    workers = [threading.Thread(target=spin) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return os.getpid()


def allocate(megabytes: int) -> int:
    return len(bytearray(os.urandom(1)) * (megabytes * 2**20))


def die() -> None:
    os._exit(9)


def test_a_process_is_charged_for_all_its_threads():
    measured = measure_process(burn, 0.3, threads=2)
    assert measured.result != os.getpid()
    assert measured.cpu_s == pytest.approx(0.3, rel=0.5)


def test_peak_memory_is_the_childs_and_not_ours():
    ours = bytearray(os.urandom(1)) * (300 * 2**20)
    small, large = measure_process(allocate, 1), measure_process(allocate, 100)
    del ours
    assert 80 < large.peak_mb - small.peak_mb < 130
    assert small.peak_mb < 250


def test_a_killed_process_is_a_named_problem():
    with pytest.raises(DataError, match="was killed"):
        measure_process(die)
