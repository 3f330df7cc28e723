"""What a command says: results on stdout, progress and problems on stderr.

Every command prints through this module, so that ``--json`` gives exactly one
JSON object and a problem gives exactly one line; nothing is computed here.
"""

from __future__ import annotations

import errno
import json
import math
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.errors import AstridError, OutputError, UsageError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = [
    "command_line", "console", "emit", "exit_code", "named", "progress", "report_error", "stages", "to_json",
]  # fmt: skip

PATIENCE = 2.0
"""Seconds after which a person wants to see that something is going on."""

_LINE_EVERY = 30.0  # s between lines of progress where nobody looks at a terminal

_DISK = {
    errno.ENOSPC: "the disk is full; free some space or give another --out",
    errno.EDQUOT: "the disk quota is used up; free some space or give another --out",
    errno.EFBIG: "the file would be larger than this file system allows; give another --out",
    errno.EROFS: "the file system is read-only; give another --out",
    errno.EACCES: "permission was denied; check the path and who may use it",
    errno.EPERM: "the operation is not permitted; check the path and who may use it",
}


def command_line(words: str) -> str:
    """The command as it was typed; ``astrid`` and `words` when we are called from Python."""
    if Path(sys.argv[0]).name.startswith("astrid"):
        return shlex.join(["astrid", *sys.argv[1:]])
    return f"astrid {words}"


def console(*, stderr: bool = False) -> Console:
    """The console to print on; as wide as needed when nobody is looking at a terminal."""
    from rich.console import Console

    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() or "COLUMNS" in os.environ else 160
    return Console(file=stream, width=width, highlight=False, soft_wrap=width is not None)


def emit(json_mode: bool, result: Mapping[str, Any], render: Callable[[], RenderableType]) -> None:
    """Print a command's result: one JSON object for machines, or what `render` makes for people.

    Parameters
    ----------
    json_mode : bool
        Whether ``--json`` was given.
    result : mapping
        Numbers, strings, lists and mappings; numpy scalars and arrays are converted,
        and a number that is not finite becomes ``null``.
    render : callable
        Makes the rich table (or text) for people; not called in JSON mode.
    """
    if json_mode:
        sys.stdout.write(to_json(result) + "\n")
        sys.stdout.flush()
    else:
        console().print(render())


def to_json(value: Mapping[str, Any], *, indent: int | None = None) -> str:
    """A JSON object that every parser accepts: ``NaN`` and infinities are written as ``null``."""
    return json.dumps(_plain(value), allow_nan=False, ensure_ascii=False, indent=indent)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays, without importing numpy
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return str(value)


@contextmanager
def stages(json_mode: bool, *, patience: float = PATIENCE) -> Iterator[Callable[[str], None]]:
    """Show on stderr which stage is being worked on, once it has lasted longer than `patience` seconds.

    Yields the callback to pass as ``on_stage``. Silent with ``--json`` and when
    stderr is not a terminal.
    """
    if json_mode or not sys.stderr.isatty():
        yield lambda stage: None
        return

    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console(stderr=True),
        transient=True,
    )
    task = progress.add_task("working")
    timer = threading.Timer(patience, progress.start)
    timer.daemon = True
    timer.start()
    try:
        yield lambda stage: progress.update(task, description=stage)
    finally:
        timer.cancel()
        progress.stop()


@contextmanager
def progress(json_mode: bool, what: str) -> Iterator[Callable[[int, int], None]]:
    """Show on stderr how much of a known amount of work is done.

    Yields the callback to pass as ``on_progress``: items done, and of how many. A bar on a
    terminal; elsewhere, such as in the log of a long training, a line every half minute; nothing
    with ``--json``.

    Parameters
    ----------
    json_mode : bool
        Whether ``--json`` was given.
    what : str
        What is being done, in a word or two.
    """
    if json_mode:
        yield lambda done, total: None
        return
    if not sys.stderr.isatty():
        yield _lines(what)
        return

    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _lines(what: str) -> Callable[[int, int], None]:
    last = time.monotonic()

    def tell(done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_EVERY:
            last = time.monotonic()
            sys.stderr.write(f"{what}: {done:,} of {total:,}\n")
            sys.stderr.flush()

    return tell


def named(error: BaseException) -> AstridError | None:
    """The AstridError that says what `error` is to the user, or None when it is a bug of ours."""
    if isinstance(error, AstridError):
        return error
    if isinstance(error, OSError) and error.errno in _DISK:
        where = f"{error.filename}: " if error.filename else ""
        return OutputError(where + _DISK[error.errno])
    if isinstance(error, MemoryError):
        return AstridError("there is not enough memory for images of this size; cut them into parts")
    return None


def exit_code(error: AstridError) -> int:
    """2 for a request that cannot be understood, 1 for everything else."""
    return 2 if isinstance(error, UsageError) else 1


def report_error(error: AstridError, *, json_mode: bool = False) -> None:
    """Say what went wrong in one plain line on stderr; with ``--json`` also as one object on stdout."""
    sentence = " ".join(str(error).split())
    if json_mode:
        sys.stdout.write(to_json({"error": {"kind": type(error).__name__, "message": sentence}}) + "\n")
        sys.stdout.flush()
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()
