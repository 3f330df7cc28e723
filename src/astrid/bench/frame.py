"""The frame of a benchmark: rows with goals and peers, and the report that holds them.

It knows no benchmark by name (they are the modules beside it) and no science.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import platform
import re
import shlex
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import astrid.bench
from astrid._version import __version__
from astrid.bench._cost import ONE_THREAD, Measured, measure_process
from astrid.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "ONE_THREAD", "Measured", "Report", "Row", "benchmarks", "cpu", "measure_process", "meets", "run",
    "versions",
]  # fmt: skip

_GOAL = re.compile(r"\s*(<=|>=|<|>|=)\s*([-+0-9.eE]+)\s*(?:(?:±|\+-)\s*([0-9.eE+-]+))?\s*")


def meets(value: float | None, goal: str | None) -> bool | None:
    """Whether `value` meets `goal`; None when there is nothing to compare.

    Parameters
    ----------
    value : float or None
        What was measured; None or NaN when it could not be.
    goal : str or None
        ``"<= 3"``, ``"< 3"``, ``">= 0.98"``, ``"> 13"``, ``"= 150"`` or, within a
        tolerance, ``"= 1 ± 0.01"`` (``+-`` for ``±``).

    Raises
    ------
    ValueError
        The goal is written in another way.
    """
    if goal is None:
        return None
    parsed = _GOAL.fullmatch(goal)
    if parsed is None:
        raise ValueError(f"goal {goal!r} is not of the form '<= 3', '>= 0.98' or '= 1 ± 0.01'")
    relation, bound, tolerance = parsed.group(1), float(parsed.group(2)), float(parsed.group(3) or 0)
    if value is None or value != value:
        return None
    match relation:
        case "<=":
            return value <= bound
        case ">=":
            return value >= bound
        case "<":
            return value < bound
        case ">":
            return value > bound
        case _:
            return abs(value - bound) <= tolerance


@dataclass(frozen=True)
class Row:
    """One measured figure, with its goal and the peer it stands beside.

    Parameters
    ----------
    name : str
    value : float or None
        What was measured; None when it could not be.
    unit : str
        Empty for a pure number.
    data : {"real", "simulated"}
        Never mixed in one number.
    n : int, optional
        How many things the value is made from.
    goal : str, optional
        See `meets`.
    peer : str, optional
        The peer's name, its version and its figure, e.g. ``"sfft 1.6: 0.93"``.
    ratio : float, optional
        `value` divided by the peer's.
    """

    name: str
    value: float | None
    unit: str = ""
    data: Literal["real", "simulated"] = "simulated"
    n: int | None = None
    goal: str | None = None
    peer: str | None = None
    ratio: float | None = None

    @property
    def ok(self) -> bool | None:
        """Whether the goal is met: None without a goal, False with a goal and no value."""
        return None if self.goal is None else bool(meets(self.value, self.goal))

    def beside(self, peer: str, value: float | None) -> Row:
        """The same row compared with a peer's `value`; None when the peer gave no figure."""
        figure = "no figure" if value is None else format(value, ".4g")
        ratio = None if value is None or self.value is None or value == 0 else self.value / value
        return replace(self, peer=f"{peer}: {figure}", ratio=ratio)

    def to_dict(self) -> dict[str, Any]:
        """The row as it stands in the JSON file."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "unit": self.unit,
            "goal": self.goal,
            "ok": self.ok,
            "peer": self.peer,
            "ratio": _finite(self.ratio),
            "n": self.n,
            "data": self.data,
        }


@dataclass(frozen=True)
class Report:
    """The result of one benchmark: its rows, and what made them.

    Parameters
    ----------
    bench : str
    rows : tuple of Row
    packages : tuple of str
        Distributions whose versions are recorded, beside AstrID, Python and numpy.
    """

    bench: str
    rows: tuple[Row, ...]
    packages: tuple[str, ...] = ()
    command: str = field(default_factory=lambda: _command())
    date: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    def to_dict(self) -> dict[str, Any]:
        """The report as it stands in the JSON file."""
        return {
            "bench": self.bench,
            "command": self.command,
            "versions": versions(self.packages),
            "cpu": cpu(),
            "date": self.date,
            "rows": [row.to_dict() for row in self.rows],
        }

    def save(self, path: Path | str) -> None:
        """Write the report as JSON: whole or not at all.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        from astrid.files.atomic import atomic_path

        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        with atomic_path(path) as partial:
            partial.write_text(text, encoding="utf-8")

    def table(self) -> Table:
        """The report as a table for people."""
        from rich.table import Table

        table = Table(title=f"astrid bench {self.bench}", caption=f"{cpu()}, {self.date}")
        for heading, side in (
            ("what", "left"), ("value", "right"), ("unit", "left"), ("goal", "left"), ("met", "left"),
            ("peer", "left"), ("ratio", "right"), ("n", "right"), ("data", "left"),
        ):  # fmt: skip
            table.add_column(heading, justify="right" if side == "right" else "left")
        for row in self.rows:
            table.add_row(
                row.name,
                _figure(row.value),
                row.unit,
                row.goal or "",
                {True: "[green]yes[/]", False: "[red]missed[/]", None: ""}[row.ok],
                row.peer or "",
                "" if row.ratio is None else _figure(row.ratio),
                "" if row.n is None else str(row.n),
                row.data,
            )
        return table


def benchmarks() -> tuple[str, ...]:
    """The names of the benchmarks: the modules of `astrid.bench` beside this one."""
    names = (module.name for module in pkgutil.iter_modules(astrid.bench.__path__))
    return tuple(name for name in sorted(names) if name != "frame" and not name.startswith("_"))


def run(name: str, *, quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Run the benchmark `name`.

    Parameters
    ----------
    name : str
        One of `benchmarks`.
    quick : bool
        A smaller run that ends within a minute.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Raises
    ------
    UsageError
        No such benchmark.
    """
    known = benchmarks()
    if name not in known:
        raise UsageError(
            f"there is no benchmark {name!r}; choose from: {', '.join(known) or 'none installed'}"
        )
    module = importlib.import_module(f"astrid.bench.{name}")
    report: Report = module.run(quick=quick, on_stage=on_stage or (lambda stage: None))
    return report


def versions(packages: tuple[str, ...] = ()) -> dict[str, str]:
    """Versions of AstrID, Python, numpy, scipy, astropy and `packages`; absent ones are left out."""
    found = {"astrid": __version__, "python": platform.python_version()}
    for name in ("numpy", "scipy", "astropy", *packages):
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def cpu() -> str:
    """The processor's name and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.split(":", 1)[1].strip()
                break
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def _command() -> str:
    program, *arguments = sys.argv or ["astrid"]
    return shlex.join([Path(program).name or "python", *arguments])


def _finite(value: float | None) -> float | None:
    return None if value is None or value != value or abs(value) == float("inf") else float(value)


def _figure(value: float | None) -> str:
    return "–" if value is None else format(value, ".4g")
