"""Many pairs, in parallel: each is a run of its own, and a failed one does not stop the rest.

A batch that was killed is started again with the same command: pairs that are
complete are skipped. What happens to one pair is in `run`.
"""

from __future__ import annotations

import csv
import json
import logging
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.errors import AstridError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.survey.pair_list import Pair
from astrid.survey.run import difference_files, finished, pair_provenance
from astrid.survey.scoring import LIVE, choose_model

if TYPE_CHECKING:
    from astrid.images.differencing import DifferenceConfig
    from astrid.learn.bundle import Bundle

__all__ = ["BatchSummary", "difference_pairs", "follow_parent"]

log = logging.getLogger(__name__)

_LOST = "the process that worked on it was killed; it may need more memory than there is"


@dataclass(frozen=True)
class BatchSummary:
    """What became of a batch.

    Parameters
    ----------
    out : str
    n_pairs, n_done, n_skipped, n_failed : int
        Skipped pairs were complete already; they are not among the done.
    runs : tuple of dict
        One for each pair, in the order of the list: ``name``, ``status`` (``done``,
        ``skipped``, ``failed``), ``reason`` and, unless it failed, the run's figures.
    """

    out: str
    n_pairs: int
    n_done: int
    n_skipped: int
    n_failed: int
    runs: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        """The summary as plain values."""
        return {**self.__dict__, "runs": list(self.runs)}


def difference_pairs(
    pairs: Sequence[Pair],
    out: str | Path,
    *,
    config: DifferenceConfig | None = None,
    model: Bundle | str | Path | None = LIVE,
    avro: bool = False,
    overwrite: bool = False,
    workers: int | None = None,
    executor: Executor | None = None,
    command: str | None = None,
    on_pair: Callable[[dict[str, Any]], None] | None = None,
) -> BatchSummary:
    """Difference many pairs; a pair that fails is set aside with its reason.

    Writes ``<out>/<name>/`` for each pair, and ``summary.json`` and, if any pair failed,
    ``failed.csv`` in `out`.

    Parameters
    ----------
    pairs : sequence of Pair
    out : str or Path
    config : DifferenceConfig, optional
    model : Bundle, str, Path or None
    avro, overwrite : bool
        As for `difference_files`. A complete run of the same inputs, configuration, model and
        version is skipped. All pairs are scored by the bundle that is chosen at the beginning.
    workers : int, optional
        Processes; as many as the machine has cores, if not given.
    executor : Executor, optional
        Where to run instead, such as ``dask.distributed.Client(...).get_executor()``; its
        workers must see the same files.
    command : str, optional
        What the products say they were made by.
    on_pair : callable, optional
        Given the entry of each pair when it is finished.

    Returns
    -------
    BatchSummary

    Raises
    ------
    OutputError
        `out` cannot be written.
    UsageError, BundleError
        The model that was asked for cannot be used.
    """
    from astrid.images.differencing import DifferenceConfig

    config = config or DifferenceConfig()
    bundle, _ = choose_model(model, config.cutout_size)
    root = Path(out).absolute()
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "a part of the path is a file" if isinstance(error, FileExistsError) else error.strerror
        raise OutputError(f"{root} cannot be made ({reason}); choose another --out") from error
    settings = _Settings(root, config, bundle or model, avro, overwrite, command)
    entries: dict[str, dict[str, Any]] = {}

    def keep(entry: dict[str, Any]) -> None:
        entries[entry["name"]] = entry
        if on_pair is not None:
            on_pair(entry)

    if executor is not None:
        for pair in _run(executor, pairs, settings, keep):
            keep({"name": pair.name, "status": "failed", "reason": _LOST})
    else:
        count = max(1, min(workers or os.cpu_count() or 1, len(pairs)))
        left = _run_in_processes(count, pairs, settings, keep)
        # A worker was killed, and with it all that were under way: one at a time shows which it was.
        for pair in left:
            if _run_in_processes(1, [pair], settings, keep):
                keep({"name": pair.name, "status": "failed", "reason": _LOST})
    runs = tuple(entries[pair.name] for pair in pairs)
    statuses = [entry["status"] for entry in runs]
    summary = BatchSummary(
        out=str(out),
        n_pairs=len(pairs),
        n_done=statuses.count("done"),
        n_skipped=statuses.count("skipped"),
        n_failed=statuses.count("failed"),
        runs=runs,
    )
    _write_summary(root, summary)
    return summary


@dataclass(frozen=True)
class _Settings:
    """What all pairs of a batch share."""

    root: Path
    config: DifferenceConfig
    model: Bundle | str | Path | None
    avro: bool
    overwrite: bool
    command: str | None


def _difference_pair(pair: Pair, settings: _Settings) -> dict[str, Any]:
    """Run one pair, in a worker; its entry in the summary."""
    directory = settings.root / pair.name
    try:
        bundle, _ = choose_model(settings.model, settings.config.cutout_size)
        provenance = pair_provenance(
            pair.science,
            pair.reference,
            settings.config,
            bundle=bundle,
            avro=settings.avro,
            command=settings.command,
        )
        complete = finished(directory, provenance)
        if complete is not None:
            kept = {name: complete[name] for name in complete if name not in _BOOKKEEPING}
            return {"name": pair.name, "status": "skipped", "reason": "complete already", **kept}
        summary, _ = difference_files(
            pair.science,
            pair.reference,
            directory,
            config=settings.config,
            model=settings.model,
            avro=settings.avro,
            overwrite=settings.overwrite,
            command=settings.command,
            truth=_truth(pair.truth),
        )
    except AstridError as error:
        return {"name": pair.name, "status": "failed", "reason": str(error)}
    return {"name": pair.name, "status": "done", "reason": "", **summary.as_dict()}


_BOOKKEEPING = ("identity", "products", "provenance", "stage_seconds")


def _run_in_processes(
    count: int, pairs: Sequence[Pair], settings: _Settings, keep: Callable[[dict[str, Any]], None]
) -> list[Pair]:
    """Run pairs in processes of our own; those that were lost with a killed process."""
    # spawn: a forked child would inherit the locks of whatever threads we have
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(count, mp_context=context, initializer=follow_parent) as pool:
        return _run(pool, pairs, settings, keep)


def _run(
    executor: Executor, pairs: Sequence[Pair], settings: _Settings, keep: Callable[[dict[str, Any]], None]
) -> list[Pair]:
    futures: dict[Future[dict[str, Any]], Pair] = {}
    lost: list[Pair] = []
    for pair in pairs:
        try:
            futures[executor.submit(_difference_pair, pair, settings)] = pair
        except BrokenExecutor:
            lost.append(pair)
    try:
        for future in as_completed(futures):
            error = future.exception()
            if error is None:
                keep(future.result())
            elif isinstance(error, BrokenExecutor):
                lost.append(futures[future])
            else:
                log.error("%s failed unexpectedly", futures[future].name, exc_info=error)
                reason = f"unexpected {type(error).__name__}: {error}"
                keep({"name": futures[future].name, "status": "failed", "reason": reason})
    except BaseException:  # interrupted: do not begin what has not begun
        for future in futures:
            future.cancel()
        raise
    return lost


def follow_parent() -> None:
    """End this worker when the process that started it is killed; it would wait for work forever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent: it lets us finish our pair
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_summary(root: Path, summary: BatchSummary) -> None:
    failed = [entry for entry in summary.runs if entry["status"] == "failed"]
    with atomic_path(root / "summary.json") as path:
        path.write_text(json.dumps(summary.as_dict(), indent=1, allow_nan=False) + "\n", "utf-8")
    if not failed:
        (root / "failed.csv").unlink(missing_ok=True)
        return
    with atomic_path(root / "failed.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "reason"))
        writer.writerows((entry["name"], entry["reason"]) for entry in failed)


def _truth(path: Path | None) -> Any:
    if path is None:
        return None
    from astropy.table import Table

    try:
        return Table.read(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: not a readable table ({error}); leave the column truth empty") from error
