"""What a call costs: its processor time and memory, in a process of its own.

Public through `astrid.bench.frame`; it measures and judges nothing.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from astrid.errors import DataError

__all__ = ["ONE_THREAD", "Measured", "measure_process"]

T = TypeVar("T")

ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""Environment of a process whose processor time counts: threads of BLAS that spin would count as work."""


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
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_mb() -> float:
    # Linux keeps the parent's peak in ru_maxrss across exec; VmHWM belongs to this program alone
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024**2 if sys.platform == "darwin" else peak / 1024


@contextlib.contextmanager
def _environment(changes: Mapping[str, str]) -> Iterator[None]:
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
