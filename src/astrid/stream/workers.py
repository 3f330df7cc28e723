"""Running a stream from its settings, in this process or in several that divide the work.

Opens what `ingest` needs, stops in good order when asked to, and starts a worker that died again; the loop
itself is in `ingest`.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid import errors
from astrid.errors import AstridError, StreamError, UsageError
from astrid.stream.settings import StreamSettings
from astrid.stream.turns import Summary, Turn

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

    from astrid.alerts import Layout, SchemaBook
    from astrid.store.store import Store
    from astrid.stream.ingest import Keeper
    from astrid.stream.metrics import Metrics
    from astrid.stream.publish import Publisher
    from astrid.stream.sinks import OpenSinks
    from astrid.stream.source import Source

__all__ = ["Stop", "run_stream"]

log = logging.getLogger(__name__)

_BEAT = 0.5  # s between looks at other things while workers work
_MOST_DEATHS = 5  # of one worker in a row without a batch between them
_PUBLISHING = 0.5  # s that publishing may hold up the work at a time
_SIZED = 60.0  # s between two looks at the size of the store
_OUTCOMES = ("delivered", "held", "failed")


class Stop:
    """Whether the stream is to end: set by the first Ctrl-C or SIGTERM; the second ends it at once."""

    def __init__(self) -> None:
        self.requested = False

    def __call__(self) -> bool:
        """Whether it was asked for."""
        return self.requested

    @contextmanager
    def on_signals(self) -> Iterator[Stop]:
        """Obey SIGINT and SIGTERM within the block; only in the main thread, where signals arrive."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {which: signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)}

        def ask(_number: int, _frame: Any) -> None:
            if self.requested:
                raise KeyboardInterrupt
            self.requested = True

        for which in before:
            signal.signal(which, ask)
        try:
            yield self
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)


def run_stream(
    settings: StreamSettings,
    *,
    retry: bool = False,
    stop: Stop | None = None,
    on_turn: Callable[[Turn, Summary], None] | None = None,
    say: Callable[[str], None] = log.warning,
) -> Summary:
    """Take in a stream until it ends or is stopped.

    Parameters
    ----------
    settings : StreamSettings
    retry : bool
        Take the packets in the quarantine of the store instead of the sources; those that can be used
        now leave it.
    stop : Stop, optional
    on_turn : callable, optional
        Told what became of each batch, and of all so far.
    say : callable
        Told in a sentence when a worker died.

    Returns
    -------
    Summary

    Raises
    ------
    AstridError
        As `ingest` raises them; and a worker that dies again and again.
    """
    if not retry and not settings.sources:
        raise UsageError("no source of packets is given; name files, folders, archives or a stream")
    with (stop or Stop()).on_signals() as asked:
        if retry or settings.workers == 1:
            return _alone(settings, retry, asked, on_turn)
        return _Team(settings, asked, on_turn, say).run()


def _alone(
    settings: StreamSettings, retry: bool, stop: Stop, on_turn: Callable[[Turn, Summary], None] | None
) -> Summary:
    total = Summary()
    with _opened_store(settings) as store, _Beside(settings, store, total) as beside:

        def tell(turn: Turn) -> None:
            total.add(turn)
            beside.observe(turn)
            if on_turn is not None:
                on_turn(turn, total)

        _work(settings, store, (0, 1), _name(0), stop, tell, retry=retry, after=beside.publish)
        beside.finish(stop)
    return total


def _work(
    settings: StreamSettings,
    store: Store,
    share: tuple[int, int],
    worker: str,
    stop: Callable[[], bool],
    on_turn: Callable[[Turn], None],
    *,
    retry: bool = False,
    after: Callable[[], None] | None = None,
) -> None:
    """One worker: open what the settings name, and work."""
    from astrid.alerts import Quarantine
    from astrid.alerts.intake import mapped_histories
    from astrid.stream.ingest import ingest
    from astrid.stream.live import StoredFilters
    from astrid.stream.retry import RetrySource
    from astrid.stream.scores import Scorer
    from astrid.stream.source import open_source

    layouts, book = _formats(settings)
    skips = mapped_histories(layouts)
    scorer = Scorer(None if settings.models == "all" else settings.models, dropout=settings.dropout)
    crossmatch = _crossmatch(settings)
    quarantine: Keeper = Quarantine(store.folder / "quarantine")
    source: Source
    if retry:
        source = quarantine = RetrySource(store.folder / "quarantine", book, skips)
    else:
        source = open_source(
            settings.sources,
            book=book,
            skips=skips,
            share=share,
            group=settings.group,
            brokers=settings.brokers,
            start=settings.start,
            idle=settings.idle,
        )
    ingest(
        source, store, scorer, crossmatch, layouts=layouts, survey=settings.survey, size=settings.batch,
        linger=settings.linger, quarantine=quarantine, filters=StoredFilters(store), after=after,
        worker=worker, stop=stop, on_turn=on_turn,
    )  # fmt: skip


def _formats(settings: StreamSettings) -> tuple[tuple[Layout, ...], SchemaBook]:
    from astrid.alerts import SchemaBook, read_layouts

    layouts = () if settings.layout is None else read_layouts(settings.layout)
    return layouts, SchemaBook(settings.schemas, settings.registry)


def _crossmatch(settings: StreamSettings) -> Any:
    if not settings.catalogs:
        return None
    from astrid.catalogs import open_catalog
    from astrid.stream.crossmatch import CatalogUse, Crossmatch

    return Crossmatch(
        [CatalogUse(open_catalog(one.name), one.radius, one.columns) for one in settings.catalogs]
    )


def _opened_store(settings: StreamSettings) -> Store:
    from astrid.store import open_store

    return open_store(settings.store, settings.database)


def _name(worker: int) -> str:
    return f"{os.uname().nodename}:{os.getpid()}:{worker}"


class _Beside:
    """What is done beside the work, by one process: announcing what passed, and serving metrics."""

    def __init__(self, settings: StreamSettings, store: Store, summary: Summary) -> None:
        self._summary, self._folder, self._sized = summary, store.folder, 0.0
        self._metrics: Metrics | None = None
        self._publisher: Publisher | None = None
        self._sinks: OpenSinks | None = None
        self._next = 0.0
        if settings.metrics_port is not None:
            from astrid.stream.metrics import Metrics

            self._metrics = Metrics()
            self._metrics.serve(settings.metrics_port)
        if settings.publish:
            from astrid.stream.publish import Publisher
            from astrid.stream.sinks import OpenSinks

            self._sinks = OpenSinks(settings.brokers)
            layouts, book = _formats(settings)
            self._publisher = Publisher(store, self._sinks, layouts=layouts, book=book)

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, *_: object) -> None:
        if self._metrics is not None:
            self._metrics.close()
        if self._sinks is not None:
            self._sinks.close()

    def observe(self, turn: Turn) -> None:
        """Count a batch in the metrics."""
        if self._metrics is not None:
            size = None
            if time.monotonic() >= self._sized:
                size, self._sized = _bytes_in(self._folder), time.monotonic() + _SIZED
            self._metrics.observe_batch(
                packets=turn.packets,
                stored=turn.stored,
                quarantined=turn.quarantined,
                scored=turn.scored,
                passes=turn.passes,
                latencies=[turn.latency] * turn.n_alerts,
                stages=turn.stages,
                behind=turn.behind,
                store_bytes=size,
                committed=turn.committed,
            )

    def publish(self) -> None:
        """Announce some of what passed filters, not for long and not all the time."""
        if self._publisher is not None and time.monotonic() >= self._next:
            self._published(self._publisher.publish(_PUBLISHING))
            self._next = time.monotonic() + _BEAT

    def finish(self, stop: Callable[[], bool]) -> None:
        """Announce the rest; what cannot be sent now waits in the store."""
        while self._publisher is not None and not stop():
            counts = self._publisher.publish(_PUBLISHING)
            self._published(counts)
            if not counts:
                return

    def _published(self, counts: Counter[str]) -> None:
        self._summary.published.update(counts)
        if self._metrics is not None:
            for outcome in _OUTCOMES:
                if counts[outcome]:  # an announcement is delivered when all its receivers have it
                    self._metrics.observe_published("all", outcome, counts[outcome])


def _bytes_in(folder: Path) -> int:
    size = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # of a batch that is just being written
            size += path.stat().st_size
    return size


@dataclass(eq=False)
class _Member:
    """One worker process, as its parent sees it."""

    number: int
    process: BaseProcess
    reports: Connection
    deaths: int = 0
    done: bool = False
    failure: tuple[str, str] | None = field(default=None)


class _Team:
    """Several worker processes that share the files, or the group of a stream."""

    def __init__(
        self,
        settings: StreamSettings,
        stop: Stop,
        on_turn: Callable[[Turn, Summary], None] | None,
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._stop, self._on_turn, self._say = settings, stop, on_turn, say
        self._context = multiprocessing.get_context("spawn")
        self._members: list[_Member] = []
        self._total = Summary()

    def run(self) -> Summary:
        """Work until all are done; raises what made a worker give up."""
        with (
            _opened_store(self._settings) as store,
            _Beside(self._settings, store, self._total) as beside,
        ):
            try:
                self._members = [self._started(k) for k in range(self._settings.workers)]
                asked = False
                while any(not one.done for one in self._members):
                    self._listen(beside)
                    beside.publish()
                    if (self._stop() or self._failure) and not asked:
                        asked = True
                        self._ask_to_stop()
            except BaseException:
                self._kill()  # at once: what was not acknowledged comes again
                raise
            if self._failure is not None:
                kind, message = self._failure
                raise getattr(errors, kind, StreamError)(message)
            beside.finish(self._stop)
        return self._total

    @property
    def _failure(self) -> tuple[str, str] | None:
        """Kind and sentence of what made a worker give up."""
        return next((one.failure for one in self._members if one.failure), None)

    def _started(self, number: int, deaths: int = 0) -> _Member:
        reports, theirs = self._context.Pipe(duplex=False)
        share = (number, self._settings.workers)
        process = self._context.Process(
            target=_member, args=(self._settings, share, theirs), name=f"astrid-ingest-{number}"
        )
        process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        return _Member(number, process, reports, deaths)

    def _listen(self, beside: _Beside) -> None:
        waiting = {one.reports: one for one in self._members if not one.done}
        for ready in wait(list(waiting), _BEAT):
            member = waiting[ready]  # type: ignore[index]
            try:
                message = member.reports.recv()
            except (EOFError, OSError):
                self._ended(member)
                continue
            if isinstance(message, Turn):
                member.deaths = 0
                self._total.add(message)
                beside.observe(message)
                if self._on_turn is not None:
                    self._on_turn(message, self._total)
            else:
                member.failure = message

    def _ended(self, member: _Member) -> None:
        """A worker is finished, has failed with a reason, or has died."""
        member.process.join()
        member.reports.close()
        code = member.process.exitcode
        asked = self._stop() or self._failure is not None
        if code == 0 or member.failure is not None or (asked and code == -signal.SIGTERM):
            member.done = True
            return
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        if asked:
            member.done = True
            self._say(f"worker {member.number} died ({how}) while it was stopping; what it did comes again")
            return
        if member.deaths + 1 >= _MOST_DEATHS:
            member.done = True
            reason = (
                f"worker {member.number} died {_MOST_DEATHS} times ({how}) and stored nothing in between; "
                "give it more memory, or look at the next packets with one worker"
            )
            member.failure = ("StreamError", reason)
            return
        self._say(f"worker {member.number} died ({how}) and is started again")
        self._total.n_restarted += 1
        self._members[member.number] = self._started(member.number, member.deaths + 1)

    def _ask_to_stop(self) -> None:
        for one in self._members:
            if not one.done:
                with suppress(ProcessLookupError, ValueError):
                    one.process.terminate()

    def _kill(self) -> None:
        for one in self._members:
            if one.process.is_alive():
                one.process.kill()
        for one in self._members:
            one.process.join()


def _member(settings: StreamSettings, share: tuple[int, int], reports: Connection) -> None:
    """The life of a worker process."""
    from astrid.survey.pairs import follow_parent

    follow_parent()
    stop = Stop()

    def ask(_number: int, _frame: Any) -> None:
        stop.requested = True

    signal.signal(signal.SIGTERM, ask)
    try:
        with _opened_store(settings) as store:
            _work(settings, store, share, _name(share[0]), stop, reports.send)
    except AstridError as error:
        reports.send((type(error).__name__, str(error)))
        raise SystemExit(1) from None
