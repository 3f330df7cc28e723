"""The running path: packets become alerts, are scored, matched, filtered and stored, then acknowledged.

One loop and its order, which is what makes it lose nothing; each step is done in its own room, and several
workers are the business of `workers`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astrid.alerts import CUTOUTS, Alert, Cutout, Layout, Measurement, Packet, Quarantine, decode
from astrid.errors import PacketError, PredictionError
from astrid.store.batch import Batch, Pass, Score
from astrid.stream.columns import Columns, Described
from astrid.stream.crossmatch import Crossmatch
from astrid.stream.scores import Scorer
from astrid.stream.source import Delivery, Source
from astrid.stream.turns import Summary, Turn

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.store import Store

__all__ = ["Filters", "Keeper", "ingest"]

log = logging.getLogger(__name__)

# what a packet that decodes, but is not what it should be, makes the later steps raise
_ODD = (PacketError, PredictionError, ValueError, TypeError, KeyError, ArithmeticError)


class Keeper(Protocol):
    """Where packets that cannot be used are kept; `Quarantine` is one."""

    def add(self, packet: Packet, reason: str) -> Any:
        """Keep a packet; when this returns, it is on the disk."""
        ...


class Filters(Protocol):
    """The filters of a stream, as they are now."""

    def reload(self) -> Mapping[str, str]:
        """Take over what was changed since the last batch; name and hash of each."""
        ...

    def passes(self, table: pa.Table) -> Sequence[Pass]:
        """Which rows pass which filters."""
        ...


@dataclass(eq=False)
class _Work:
    """A batch on its way: alerts that are still good, each with its packet."""

    delivery: Delivery
    turn: Turn
    alerts: list[Alert] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)

    def take(self, rows: Sequence[int], turn: Turn) -> _Work:
        """Some of them."""
        alerts, packets = [self.alerts[row] for row in rows], [self.packets[row] for row in rows]
        return _Work(self.delivery, turn, alerts, packets)


def ingest(
    source: Source,
    store: Store,
    scorer: Scorer,
    crossmatch: Crossmatch | None = None,
    *,
    layouts: tuple[Layout, ...] = (),
    survey: str | None = None,
    size: int = 256,
    linger: float = 0.5,
    quarantine: Keeper | None = None,
    filters: Filters | None = None,
    after: Callable[[], None] | None = None,
    worker: str = "",
    stop: Callable[[], bool] = lambda: False,
    on_turn: Callable[[Turn], None] | None = None,
) -> Summary:
    """Take in a stream until it ends or is stopped.

    A delivery is acknowledged when all its packets are in the store or in the quarantine, and not before:
    whatever kills the worker, what was not acknowledged comes again, and what is known already is not stored
    twice.

    Parameters
    ----------
    source : Source
        Closed at the end.
    store : Store
    scorer : Scorer
    crossmatch : Crossmatch, optional
    layouts : tuple of Layout
        Of surveys that AstrID does not know.
    survey : str, optional
        Packets of any other go to quarantine.
    size : int
        Packets of a batch at most.
    linger : float, s
        How long a batch waits to become full.
    quarantine : Keeper, optional
        The folder ``quarantine`` of the store if not given.
    filters : Filters, optional
    after : callable, optional
        Called after each batch, and when nothing came for a while: to publish, say.
    worker : str
        Name beside each batch in the store.
    stop : callable
        Whether to end, asked after each batch.
    on_turn : callable, optional
        Told what became of each batch.

    Returns
    -------
    Summary

    Raises
    ------
    StoreError, OutputError
        The database or the disk does not take more: nothing of the last delivery is acknowledged.
    StreamError, PacketError
        The source cannot be read further; what came before is stored.
    """
    summary = Summary()
    added: list[Described] = [*scorer.columns, *([] if crossmatch is None else crossmatch.columns)]
    line = _Line(
        store, scorer, crossmatch, Columns(added, layouts), layouts, survey,
        quarantine or Quarantine(store.folder / "quarantine"), filters, worker,
    )  # fmt: skip
    deliveries = source.deliveries(size, linger)
    try:
        line.rehearse()
        turn = Turn(worker=worker)
        while not stop():
            with _timed(turn, "read"):
                delivery = next(deliveries, None)
            if delivery is None:
                break
            if delivery.packets:
                line.process(delivery, turn)
                summary.add(turn)
                if on_turn is not None:
                    on_turn(turn)
                turn = Turn(worker=worker)
            if after is not None:
                with _timed(turn, "publish"):  # a stage of the batch that comes next
                    after()
    finally:
        close = getattr(deliveries, "close", None)
        if close is not None:
            close()
        source.close()
    return summary


class _Line:
    """The steps that every delivery goes through."""

    def __init__(
        self,
        store: Store,
        scorer: Scorer,
        crossmatch: Crossmatch | None,
        columns: Columns,
        layouts: tuple[Layout, ...],
        survey: str | None,
        quarantine: Keeper,
        filters: Filters | None,
        worker: str,
    ) -> None:
        self._store, self._scorer, self._crossmatch, self._columns = store, scorer, crossmatch, columns
        self._layouts, self._survey, self._quarantine = layouts, survey, quarantine
        self._filters, self._worker = filters, worker

    def rehearse(self) -> None:
        """Do the costly first steps, such as loading catalogues and reading filters, before an alert waits.

        What is wrong with a bundle or a catalogue is found here, and not by the first packet.
        """
        image = np.arange(63 * 63, dtype=np.float32).reshape(63, 63)
        alert = Alert(
            survey="", alert_id="rehearsal", ra=0.0, dec=0.0, detection=Measurement(mjd=60000.0),
            object_id=None, version="", time_scale=None, history=(),
            cutouts=dict.fromkeys(CUTOUTS, Cutout(image)), x=None, y=None, flipped=False, extras={},
        )  # fmt: skip
        self._rows(_Work(Delivery([], time.time(), lambda: None, None), Turn(), [alert], []))
        if self._filters is not None:
            self._filters.reload()

    def process(self, delivery: Delivery, turn: Turn) -> None:
        """Store a delivery and acknowledge it."""
        started = time.time()
        turn.behind = delivery.behind
        with _timed(turn, "decode"):
            work = self._decoded(delivery, turn)
        work, rows, scores = self._described(work)
        active: Mapping[str, str] = {}
        passes: Sequence[Pass] = ()
        if self._filters is not None:
            with _timed(turn, "filter"):
                active = self._filters.reload()
                passes = self._filters.passes(rows)
        with _timed(turn, "store"):
            written = self._store.write(
                Batch(
                    rows,
                    work.packets,
                    scores=scores,
                    passes=passes,
                    filters=active,
                    worker=self._worker,
                    started=started,
                    n_quarantined=turn.quarantined.total(),
                    behind=delivery.behind,
                    arrived=delivery.arrived,
                )
            )
        turn.committed = time.time()
        turn.latency = turn.committed - delivery.arrived
        delivery.acknowledge()
        new = written.new.tolist()
        turn.stored.update(alert.survey for alert, is_new in zip(work.alerts, new, strict=True) if is_new)
        turn.scored.update(
            name
            for row, name in {(one.row, one.bundle) for one in scores if one.value is not None}
            if new[row]
        )
        turn.passes.update(one.filter for one in passes if new[one.row])

    def _decoded(self, delivery: Delivery, turn: Turn) -> _Work:
        work = _Work(delivery, turn)
        for packet in delivery.packets:
            try:
                alert = decode(packet, layouts=self._layouts)
                if self._survey is not None and alert.survey != self._survey:
                    raise PacketError(f"it is a packet of {alert.survey}, expected one of {self._survey}")
            except PacketError as error:
                self._set_aside(packet, str(error), turn)
                continue
            work.alerts.append(alert)
            work.packets.append(packet)
            turn.packets[alert.survey] += 1
            if alert.image_problem:
                turn.without_images[alert.image_problem] += 1
        return work

    def _described(self, work: _Work) -> tuple[_Work, pa.Table, Sequence[Score]]:
        """Scores and candidate rows; an alert that breaks a step is found and set aside."""
        try:
            return work, *self._rows(work)
        except _ODD as error:
            log.warning("a batch of %d alerts is looked through one by one: %s", len(work.alerts), error)
        broken: dict[int, str] = {}
        for row in range(len(work.alerts)):
            try:
                self._rows(work.take([row], Turn()))
            except _ODD as error:
                broken[row] = " ".join(f"{type(error).__name__}: {error}".split())
        if 0 < len(broken) < max(len(work.alerts), 2):  # else the packets are not to blame
            for row, reason in broken.items():
                survey = work.alerts[row].survey
                work.turn.packets[survey] -= 1
                self._set_aside(
                    work.packets[row], f"it cannot be made a candidate row ({reason})", work.turn, survey
                )
            work = work.take([row for row in range(len(work.alerts)) if row not in broken], work.turn)
        return work, *self._rows(work)

    def _rows(self, work: _Work) -> tuple[pa.Table, Sequence[Score]]:
        turn, alerts = work.turn, work.alerts
        with _timed(turn, "score"):
            scores = self._scorer(alerts)
        matches: dict[str, pa.Array] = {}
        if self._crossmatch is not None:
            with _timed(turn, "match"):
                matches = self._crossmatch(*(_numbers(alerts, name) for name in ("ra", "dec", "mjd")))
        with _timed(turn, "rows"):
            rows = self._columns.to_table(alerts, scores.arrays, matches, arrived=work.delivery.arrived)
        return rows, scores.records

    def _set_aside(self, packet: Packet, reason: str, turn: Turn, survey: str = "") -> None:
        self._quarantine.add(packet, reason)
        turn.packets[survey] += 1
        turn.quarantined[survey, reason] += 1


def _numbers(alerts: Sequence[Alert], name: str) -> Any:
    return np.array([getattr(alert, name) for alert in alerts], np.float64)  # None becomes NaN


@contextmanager
def _timed(turn: Turn, stage: str) -> Iterator[None]:
    began, worked = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        for spent, seconds in (
            (turn.stages, time.perf_counter() - began), (turn.processor, time.process_time() - worked),
        ):  # fmt: skip
            spent[stage] = spent.get(stage, 0.0) + seconds
