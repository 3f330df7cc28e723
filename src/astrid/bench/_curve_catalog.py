"""The rows of `lightcurves` about runs over catalogues: the Catalina survey through LSDB on two workers.

One run goes through; another of the same is killed in the middle and started again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from astrid.bench.frame import Row
from astrid.errors import AstridError
from astrid.survey.curve_catalog import CurveRun, measure_catalog, run_status
from astrid.survey.curve_import import import_curves
from astrid.survey.curve_measures import Measures

__all__ = ["rows"]

_WORKERS = 2
_PATIENCE = 900.0  # s for the run that is to be killed
_PARTITION = 100_000  # points: 40 partitions of the whole
_SEARCHED = 300  # sources whose periods are searched for
_MODEL = "crts_trees.crts1"


def rows(quick: bool, say: Callable[[str], None], real_data: Path) -> list[Row]:
    """All rows about runs over catalogues.

    Parameters
    ----------
    quick : bool
        600 sources instead of 5,757, no periods, and nothing killed.
    say : callable
        Called with the name of each stage.
    real_data : Path
        Holds ``lightcurves/crts``.
    """
    crts = real_data / "lightcurves" / "crts"
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        say("catalogue: import of the Catalina survey")
        labels = _first(crts / "crts_train_labels.csv", home, 600 if quick else None)
        began = time.perf_counter()
        done = import_curves(
            crts / "crts_train_lc.parquet", home / "crts", positions=labels,
            partition_points=_PARTITION // (4 if quick else 1),
        )  # fmt: skip
        rate = done.n_points / (time.perf_counter() - began)
        found = [_row("points imported into a nested HATS catalogue, a second", rate, "1/s", done.n_points)]
        say("catalogue: features through LSDB on two workers")
        whole, first, last = _timed(home / "crts", home / "whole", Measures())
        found += _run_rows("features", whole, first, last)
        found.append(_row("start of two workers until the first partition", first[0], "s", whole.n_sources))
        if quick:
            return found
        say("catalogue: the same, killed in the middle and started again")
        found += _killed_rows("features", home / "crts", home / "whole", whole.n_partitions // 3)
        say(f"catalogue: periods and classes of {_SEARCHED} sources on two workers")
        few = _first(crts / "crts_train_labels.csv", home, _SEARCHED)
        import_curves(
            crts / "crts_train_lc.parquet", home / "few", positions=few, partition_points=_PARTITION // 10
        )
        what, measures = "features, periods and classes", Measures(periods=True, models=(_MODEL,))
        run, first, last = _timed(home / "few", home / "classes", measures)
        found += _run_rows(f"{what} by {_MODEL}", run, first, last)
        say("catalogue: the same, killed in the middle and started again")
        found += _killed_rows(
            what, home / "few", home / "classes", run.n_partitions // 3, periods=True, model=_MODEL
        )
    return found


def _row(name: str, value: float | None, unit: str, n: int, goal: str | None = None) -> Row:
    return Row(name, value, unit, "real", n, goal)


def _run_rows(what: str, run: CurveRun, first: Moment, last: Moment) -> list[Row]:
    n, name = run.n_sources, f"{what}, LSDB on two workers"
    return [
        _row(f"{name}: sources a second, from the first partition on", _rate(first, last), "1/s", n),
        _row(f"{name}: sources a second of the processor", n / max(run.cpu_seconds, 1e-9), "1/s", n),
        _row(f"{name}: highest memory of a worker", max(run.memory.values()), "MB", n, "<= 1000"),
    ]


Moment = tuple[float, int]
"""Seconds, and the sources that were done by then."""


def _timed(catalog: Path, out: Path, measures: Measures) -> tuple[CurveRun, Moment, Moment]:
    """A run, and when its first and its last partition were done."""
    began = time.perf_counter()
    moments: list[Moment] = []
    run = measure_catalog(
        catalog, out, measures, workers=_WORKERS,
        on_progress=lambda done, total: moments.append((time.perf_counter() - began, done)),
    )  # fmt: skip
    return run, moments[1], moments[-1]


def _rate(first: Moment, last: Moment) -> float | None:
    return (last[1] - first[1]) / (last[0] - first[0]) if last[0] > first[0] else None


def _first(labels: Path, home: Path, n: int | None) -> Path:
    """A table of some of the positions, drawn evenly; of all, where none is asked."""
    if n is None:
        return labels
    head, *lines = labels.read_text("utf-8").splitlines()
    chosen = np.linspace(0, len(lines) - 1, min(n, len(lines))).astype(int)
    path = home / f"positions{n}.csv"
    path.write_text("\n".join([head, *(lines[k] for k in chosen)]) + "\n", "utf-8")
    return path


def _killed_rows(
    what: str, catalog: Path, whole: Path, partitions: int, *, periods: bool = False, model: str | None = None
) -> list[Row]:
    """A run of which some partitions were there when it was killed, beside the same run as a whole."""
    out = whole.with_name(f"{whole.name}_killed")
    words = ["--features", *(["--periods"] if periods else []), *(["--classify", model] if model else [])]
    at = _killed(catalog, out, partitions, words)
    measures = Measures(periods=periods, models=(model,) if model else ())
    again = measure_catalog(catalog, out, measures, workers=_WORKERS, resume=True)
    n = again.n_partitions
    return [
        _row(f"{what}, killed in the middle: partitions that were there", float(at), "", n),
        _row(f"{what}, started again: share of partitions with the same bytes", _same(whole, out), "", n,
             "= 1"),
    ]  # fmt: skip


def _killed(catalog: Path, out: Path, partitions: int, measures: Sequence[str]) -> int:
    """Start a run as a command, kill its process when it has some partitions; how many it has then."""
    words = [
        "survey", "lightcurves", str(catalog), *measures, "--out", str(out), "--workers", str(_WORKERS),
        "--json",
    ]  # fmt: skip
    command = [sys.executable, "-c", "from astrid.cli.main import main; main()", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:  # noqa: S603
        until = time.monotonic() + _PATIENCE
        while process.poll() is None and time.monotonic() < until:
            if _there(out) >= partitions:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                break
            time.sleep(0.02)
        else:
            process.kill()
            raise AstridError(
                f"the run that was to be killed ended by itself ({process.returncode}); try again"
            )
    # its workers end when they notice
    before, now = -1, _there(out)
    while before != now:
        time.sleep(3)
        before, now = now, _there(out)
    return run_status(out).n_done


def _there(out: Path) -> int:
    return sum(1 for _ in (out / "dataset").rglob("Npix=*.parquet"))


def _same(one: Path, other: Path) -> float:
    names: Sequence[Path] = sorted(
        path.relative_to(one) for path in (one / "dataset").rglob("Npix=*.parquet")
    )
    equal = [
        (other / name).is_file() and (other / name).read_bytes() == (one / name).read_bytes()
        for name in names
    ]
    return float(np.mean(equal))
