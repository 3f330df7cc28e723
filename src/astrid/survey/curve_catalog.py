"""A run over a catalogue of light curves: for each of its partitions one of the result, on many workers.

The partitions are read by LSDB and spread by Dask, or worked through here one after the other; killed at any
moment and started again, the run goes on and ends with the same files. What is measured is in
`curve_measures`.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from astrid._version import __version__
from astrid.catalogs.layout import HEALPIX, Cell, describe, read_layout, read_partition
from astrid.errors import AstridError, CatalogError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.survey.curve_measures import Measures
from astrid.survey.curve_partitions import SET_ASIDE, Plan, counts_of, footer_of, measure_partition
from astrid.survey.curve_source import CurveSource, lsdb_or_refuse, open_curves

__all__ = ["RECORD", "SET_ASIDE", "CurveRun", "measure_catalog", "run_status"]

RECORD = "run.json"
"""What is measured and on what; in the end also what became of it."""

_AHEAD = 2  # partitions that wait at each worker, so that it never waits for us


@dataclass(frozen=True)
class CurveRun:
    """What became of a catalogue.

    Parameters
    ----------
    out, state : str
        ``complete``; ``running`` or killed; or ``incomplete`` where partitions could not be read.
    n_partitions, n_done : int
    n_sources, n_measured, n_with_problems, n_set_aside : int
        Read so far; of those with a row; of rows in which something is null for a reason; and without a row.
    reasons : dict of str to int
        Why sources were set aside.
    failed : dict of str to str
        Partitions that could not be worked through, and why.
    memory : dict of str to float
        Highest memory of each process that worked now, MB.
    cpu_seconds : float
        What the sources cost that were measured now; reading them is not counted.
    """

    out: str
    state: str
    n_partitions: int
    n_done: int
    n_sources: int
    n_measured: int
    n_with_problems: int
    n_set_aside: int
    reasons: dict[str, int]
    failed: dict[str, str]
    memory: dict[str, float]
    cpu_seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def measure_catalog(
    catalog: str | Path,
    out: str | Path,
    measures: Measures,
    *,
    workers: int = 0,
    scheduler: str | None = None,
    resume: bool = False,
    nested: str | None = None,
    columns: Mapping[str, str] | None = None,
    time_scale: str | None = None,
    id: str | None = None,
    keep: Sequence[str] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> CurveRun:
    """Measure the light curves of a HATS catalogue, and write another with what was found.

    Parameters
    ----------
    catalog : str or Path
        Its name, path, or an address that LSDB opens.
    out : str or Path
        The folder of the result.
    measures : Measures
    workers : int
        Processes on this machine; 0 works here, without Dask.
    scheduler : str, optional
        Address of a Dask scheduler, instead of workers of our own. The folder `out`, and `catalog`, must have
        the same paths on its workers.
    resume : bool
        Go on with what is in `out`.
    nested : str, optional
        The column with the points, where there are several.
    columns : mapping, optional
        Which of its fields is what, see `read_lightcurves`.
    time_scale : str, optional
    id : str, optional
        The column of names; by default that which the catalogue names, or a usual one.
    keep : sequence of str
        Other columns of the catalogue that go along.
    on_progress : callable, optional
        Called with the number of sources done and of all.

    Returns
    -------
    CurveRun

    Raises
    ------
    CatalogError
        There is no such catalogue, or it has no light curves.
    UsageError
        What is asked for does not fit together, or is not what the run in `out` was started with.
    OutputError
        `out` holds something else, or cannot be written.
    DependencyError
        LSDB or Dask is not installed, and is needed.
    """
    if workers < 0:
        raise UsageError(f"{workers} workers were asked for; give 0 or more")
    source = open_curves(catalog, nested=nested, columns=columns, time_scale=time_scale, id=id)
    if not (source.local or workers or scheduler):
        raise UsageError(f"{catalog} is not on this disk; give workers or a scheduler, which read it by LSDB")
    kept = tuple(dict.fromkeys([source.name, source.ra, source.dec, *keep]))
    schema = _schema(source, kept, measures)
    settings = plain(
        {
            "catalog": source.address,
            "n_rows": source.n_rows,
            "n_partitions": len(source.cells),
            "nested": source.nested,
            "layout": vars(source.layout),
            "kept": kept,
            "measures": measures.as_dict(),
            "astrid": __version__,
        }
    )
    home = Path(out).absolute()
    record = _started(home, settings, resume)
    fingerprint = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    plan = Plan(
        str(home), fingerprint, measures, measures.hashes, source.nested, source.layout, kept,
        schema.serialize().to_pybytes(),
    )  # fmt: skip
    footers = {cell: footer_of(home, cell, fingerprint) for cell in source.cells}
    done = sum(counts_of(footer)["n_sources"] for footer in footers.values() if footer is not None)
    tell = on_progress or (lambda done, total: None)
    tell(done, source.n_rows)
    failed: dict[str, str] = {}
    memory: dict[str, float] = {}
    spent = 0.0
    waiting = [cell for cell, footer in footers.items() if footer is None]
    with _working(source, plan, waiting, workers, scheduler) as results:
        for cell, counts, problem in results:
            if problem:
                failed[f"Norder={cell.order}/Npix={cell.pixel}"] = problem
                continue
            memory[counts["process"]] = max(memory.get(counts["process"], 0.0), counts["memory"])
            spent += counts["cpu"]
            done += counts["n_sources"]
            tell(done, source.n_rows)
    run = _finished(home, record, source, schema, fingerprint, failed)
    return replace(run, memory=memory, cpu_seconds=spent)


def run_status(out: str | Path) -> CurveRun:
    """How far a run is, whether it is running, was killed, or is complete.

    Raises
    ------
    OutputError
        The folder holds no run.
    """
    home = Path(out).absolute()
    record = _read_record(home)
    if record is None:
        raise OutputError(f"{out}: holds no run over light curves (no {RECORD}); check the path")
    footers = [pq.read_metadata(path) for path in (home / "dataset").rglob("Npix=*.parquet")]
    return _summary(home, record, footers, record.get("failed", {}))


Result = tuple[Cell, dict[str, Any], str]
"""A partition, what was counted, and why it could not be worked through."""


@contextmanager
def _working(
    source: CurveSource, plan: Plan, cells: Sequence[Cell], workers: int, scheduler: str | None
) -> Iterator[Iterator[Result]]:
    """Work through partitions; the results come in whatever order they get ready."""
    if not cells:
        yield iter(())
        return
    if not workers and scheduler is None:
        yield _here(source, plan, cells)
        return
    lsdb = lsdb_or_refuse()
    import distributed

    # it sets itself to tell each connection, whatever the log of the program is set to
    logging.getLogger("distributed").setLevel(logging.getLogger().level or logging.WARNING)
    with ExitStack() as stack:
        if scheduler is None:
            # any free port for its page: another run may have the usual one
            cluster = stack.enter_context(
                distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    dashboard_address=":0",
                    silence_logs=logging.ERROR,
                )
            )
            client = stack.enter_context(distributed.Client(cluster))
        else:
            try:
                client = stack.enter_context(distributed.Client(scheduler, timeout=30))
            except (OSError, TimeoutError, ValueError) as error:
                raise AstridError(
                    f"{scheduler}: no Dask scheduler answers there; start one by dask scheduler"
                ) from error
        yield _there(client, lsdb, source, plan, cells)


def _here(source: CurveSource, plan: Plan, cells: Sequence[Cell]) -> Iterator[Result]:
    layout = read_layout(Path(source.address))
    for cell in cells:
        try:
            table = read_partition(layout, cell, [HEALPIX, *plan.kept, plan.nested])
        except CatalogError as error:
            yield cell, {}, str(error)
            continue
        yield cell, measure_partition(table, cell, plan), ""


def _there(
    client: Any, lsdb: Any, source: CurveSource, plan: Plan, cells: Sequence[Cell]
) -> Iterator[Result]:
    """On Dask's workers; only a few partitions are asked for at a time, so that nothing piles up."""
    import dask
    from distributed import KilledWorker, as_completed

    catalog = lsdb.open_catalog(source.address, columns=[*plan.kept, plan.nested])
    measure = dask.delayed(_measure_frame, pure=False)
    listed = iter(cells)
    asked: dict[str, Cell] = {}

    def following() -> list[Any]:
        cell = next(listed, None)
        if cell is None:
            return []
        frame = catalog.get_partition(cell.order, cell.pixel).to_delayed()[0]
        future = client.compute(measure(frame, tuple(cell), plan))
        asked[future.key] = cell
        return [future]

    threads = max(1, sum(client.nthreads().values()))
    queue = as_completed([one for _ in range(_AHEAD * threads) for one in following()])
    for future in queue:
        cell = asked.pop(future.key)
        error = future.exception()
        if error is None:
            yield cell, future.result(), ""
        elif isinstance(error, KilledWorker):
            yield cell, {}, "its worker was killed, most often for want of memory; give fewer workers"
        elif isinstance(error, OSError):  # of the partition; what cannot be written is an OutputError
            yield cell, {}, f"cannot be read ({' '.join(str(error).split())})"
        else:
            raise error
        for one in following():
            queue.add(one)


def _measure_frame(frame: Any, cell: Cell, plan: Plan) -> dict[str, Any]:
    """On a worker: a partition as LSDB has read it."""
    return measure_partition(pa.Table.from_pandas(frame, preserve_index=True), Cell(*cell), plan)


def _started(home: Path, settings: Mapping[str, Any], resume: bool) -> dict[str, Any]:
    """The record of a run that begins or goes on."""
    record = _read_record(home)
    if record is None:
        try:
            if home.exists() and (not home.is_dir() or any(home.iterdir())):
                raise OutputError(f"{home} holds something else; choose another --out")
            home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{home} cannot be made ({error.strerror}); choose another --out") from error
        record = {"started": datetime.now(UTC).isoformat(timespec="seconds"), "settings": settings}
    else:
        if not resume:
            what = "a run that is complete" if record["state"] == "complete" else "a run that is not complete"
            raise OutputError(f"{home} holds {what}; pass --resume to go on with it, or choose another --out")
        before = record["settings"]
        changed = [name for name, value in settings.items() if before.get(name) != value]
        if changed:
            raise UsageError(
                f"{home}: {changed[0]} was {before.get(changed[0])!r} when the run was started and is now "
                f"{settings[changed[0]]!r}; ask for the same, or choose another --out"
            )
        for path in home.rglob(".partial-*"):  # of a process that was killed
            path.unlink(missing_ok=True)
    record = {**record, "state": "running"}
    _write_record(home, record)
    return record


def _finished(
    home: Path,
    record: dict[str, Any],
    source: CurveSource,
    schema: pa.Schema,
    fingerprint: str,
    failed: dict[str, str],
) -> CurveRun:
    """Describe the partitions, so that they are a catalogue, and say what became of the run."""
    footers = {cell: one for cell in source.cells if (one := footer_of(home, cell, fingerprint)) is not None}
    if footers:
        facts = {
            "obs_collection": home.name,
            "dataproduct_type": "object",
            "hats_col_ra": source.ra,
            "hats_col_dec": source.dec,
            "hats_builder": f"astrid {__version__}",
            "hats_creation_date": f"{record['started'][:16]}UTC",
            "astrid_col_id": schema.names[1],
        }
        describe(home, schema, footers, facts)
    record = {**record, "state": "incomplete" if failed else "complete", "failed": failed}
    done = _summary(home, record, list(footers.values()), failed)
    _write_record(
        home,
        {
            **record,
            **{key: value for key, value in done.as_dict().items() if key not in ("memory", "cpu_seconds")},
        },
    )
    return done


def _summary(
    home: Path,
    record: Mapping[str, Any],
    footers: Sequence[Any],
    failed: dict[str, str],
) -> CurveRun:
    counts = [counts_of(footer) for footer in footers]
    reasons: dict[str, int] = {}
    for one in counts:
        for reason, n in one["reasons"].items():
            reasons[reason] = reasons.get(reason, 0) + n
    return CurveRun(
        out=str(home),
        state=record["state"],
        n_partitions=record["settings"]["n_partitions"],
        n_done=len(footers),
        n_sources=sum(one["n_sources"] for one in counts),
        n_measured=sum(one["n_measured"] for one in counts),
        n_with_problems=sum(one["n_with_problems"] for one in counts),
        n_set_aside=sum(reasons.values()),
        reasons=dict(sorted(reasons.items(), key=lambda one: (-one[1], one[0]))),
        failed=failed,
        memory={},
    )


def _read_record(home: Path) -> dict[str, Any] | None:
    path = home / RECORD
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        record["state"], record["settings"]["n_partitions"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise OutputError(f"{path}: is not the record of a run ({error}); choose another --out") from error
    return dict(record)


def _write_record(home: Path, record: Mapping[str, Any]) -> None:
    with atomic_path(home / RECORD) as partial:
        partial.write_text(json.dumps(plain(record), indent=1) + "\n", encoding="utf-8")


def _schema(source: CurveSource, kept: Sequence[str], measures: Measures) -> pa.Schema:
    """The columns of the result."""
    meaning = {"description": "nested HEALPix cell of order 29"}
    fields = [pa.field(HEALPIX, pa.int64(), metadata=meaning)]
    absent = [name for name in kept if name not in source.schema.names]
    if absent:
        have = ", ".join(source.schema.names)
        raise CatalogError(f"{source.address}: there is no column {absent[0]!r}; it has {have}")
    fields += [source.schema.field(name) for name in kept]
    fields += list(measures.schema())
    names = [one.name for one in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UsageError(f"a column {twice[0]!r} is kept and also measured; leave it out of those to keep")
    return pa.schema(fields)
