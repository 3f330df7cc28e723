"""The frame of a benchmark: rows with goals and peers, and processes measured alike.

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
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

import astrid.bench
from astrid._version import __version__
from astrid.errors import DataError, OutputError, UsageError

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Measured", "Report", "Row", "benchmarks", "cpu", "measure_process", "meets", "run", "versions"]

T = TypeVar("T")

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
        path = Path(path)
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        partial = None
        try:
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
            ) as stream:
                partial = Path(stream.name)
                stream.write(text)
            partial.replace(path)
        except OSError as error:
            if partial is not None:
                partial.unlink(missing_ok=True)
            raise OutputError(f"{path}: cannot be written ({error.strerror}); give another --out") from error

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


@dataclass(frozen=True)
class Measured(Generic[T]):
    """What a call returned and what it cost in a process of its own.

    Parameters
    ----------
    result : object
        What the first call returned.
    cpu_s : float, s
        User and system time of all threads and child processes; the least of the
        repeats, so that imports made inside the call count only when it is made once.
    wall_s : float, s
        Elapsed time of that same repeat.
    peak_mb : float, MiB
        Largest resident memory of the process in its life, interpreter and inputs included.
    """

    result: T
    cpu_s: float
    wall_s: float
    peak_mb: float


def measure_process(
    function: Callable[..., T],
    /,
    *args: Any,
    repeats: int = 1,
    environment: Mapping[str, str] | None = None,
    **kwargs: Any,
) -> Measured[T]:
    """Call a function in a fresh process and measure what it costs, so that peers are measured alike.

    Parameters
    ----------
    function : callable
        A function of a module; its arguments and its result travel between processes.
    repeats : int
        How often it is called; the cheapest call counts.
    environment : mapping, optional
        Variables set for the process before anything is imported in it, such as the number of threads.

    Returns
    -------
    measured : Measured

    Raises
    ------
    DataError
        The process was killed, as happens when memory runs out.
    """
    import multiprocessing

    # spawn, not fork: a forked child would inherit our memory and our warm caches
    fresh = multiprocessing.get_context("spawn")
    with _environment(environment or {}), ProcessPoolExecutor(max_workers=1, mp_context=fresh) as pool:
        try:
            return pool.submit(_measure, function, args, kwargs, repeats).result()
        except BrokenProcessPool as error:
            raise DataError(
                f"the process that measured {function.__name__} was killed; give it more memory or less data"
            ) from error


def _measure(
    function: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], repeats: int
) -> Measured[T]:
    costs: list[tuple[float, float]] = []
    result: T
    for repeat in range(repeats):
        cpu_start, wall_start = _cpu_seconds(), time.perf_counter()
        returned = function(*args, **kwargs)
        costs.append((_cpu_seconds() - cpu_start, time.perf_counter() - wall_start))
        if repeat == 0:
            result = returned
    cpu_s, wall_s = min(costs)
    return Measured(result, cpu_s, wall_s, _peak_mb())


def _cpu_seconds() -> float:
    import resource

    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_mb() -> float:
    import resource

    # Linux keeps the parent's peak in ru_maxrss across exec; VmHWM belongs to this program alone
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Any:
    before = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


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
