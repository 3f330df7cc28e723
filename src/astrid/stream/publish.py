"""From the outbox to the receivers: what passed a filter is announced at least once, and not too often.

What is to be sent and what became of it stands in the store, so that a publisher can die at any time and
several can work; how something is sent is the business of `sinks`.
"""

from __future__ import annotations

import logging
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.alerts import Layout, SchemaBook, decode, read_packets
from astrid.errors import (
    AstridError,
    DependencyError,
    OutputError,
    PacketError,
    StoreError,
    StreamError,
    UsageError,
)
from astrid.stream.announcement import Announcement, ScoreOf, announcement_key, packed_cutout
from astrid.stream.sinks import RefusedError, Sink

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.records import PassRecord
    from astrid.store.store import Store

__all__ = ["Publisher"]

_LOG = logging.getLogger(__name__)
_PAGE = 100  # passes that are taken from the outbox at a time
_CLAIM = 120.0  # s that they are ours
_PAUSE, _LONGEST = 30.0, 900.0  # s that a sink that failed is left alone, doubled with each failure
_GIVE_UP = 86400.0  # s after its arrival that an alert is news
_HOUR = 3600.0
_REFRESH = 60.0  # s that a rate is counted by ourselves before the store is asked again
_MOST_HALF_SENT = 100_000
_PLAIN = (
    "object_id", "night", "ra", "dec", "mjd", "time_scale", "band", "flux", "flux_err", "magpsf", "sigmapsf",
)  # fmt: skip
_UNREACHED = (StreamError, OutputError, UsageError, DependencyError)

_Sinks = Callable[[str], Sink]


@dataclass
class _Rate:
    """How many of a filter were sent in the last hour."""

    sent: int
    asked: float


@dataclass
class _Rest:
    """How long a sink that failed is left alone."""

    until: float
    pause: float
    reason: str


class Publisher:
    """Drains the outbox of a store.

    An alert that passed a filter is announced to all sinks of that filter, as they were when it passed. One
    that cannot be reached is left alone for a while, longer after each failure, and tried again until the
    alert is a day old: then the pass has failed. What a receiver refuses for good has failed at once. What
    would be more than a filter's limit in any hour is held. Of a filter without sinks nothing is sent.

    Parameters
    ----------
    store : Store
    sinks : callable
        Gives the sink of an address; see `OpenSinks`.
    layouts : tuple of Layout
        Of surveys that AstrID does not know, for their cutouts.
    book : SchemaBook, optional
        For packets that do not carry their schema, likewise.
    give_up : float, s
        After its arrival that an alert is tried to be sent.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        sinks: _Sinks,
        *,
        layouts: tuple[Layout, ...] = (),
        book: SchemaBook | None = None,
        give_up: float = _GIVE_UP,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._sinks, self._clock = store, sinks, clock
        self._layouts, self._book, self._give_up = layouts, book, give_up
        self._filters: dict[tuple[str, str], dict[str, Any]] = {}
        self._rates: dict[str, _Rate] = {}
        self._rests: dict[str, _Rest] = {}
        self._half_sent: dict[str, set[str]] = {}  # by the key: sinks that have it while others have not

    def publish(self, seconds: float | None = None) -> Counter[str]:
        """Announce what waits.

        Parameters
        ----------
        seconds : float, optional
            After which nothing new is begun; until nothing is left that can be sent now, if not given.

        Returns
        -------
        counts : Counter
            ``delivered``, ``held``, ``failed`` and ``put_off``, which waits for its receivers.

        Raises
        ------
        StoreError
            The database cannot be reached.
        """
        counts: Counter[str] = Counter()
        end = None if seconds is None else time.monotonic() + seconds
        while page := self._store.claim(_PAGE, _CLAIM):
            for passes in _grouped(page):
                self._group(passes, counts)
            if end is not None and time.monotonic() >= end and +counts:
                break
        return +counts

    def _group(self, passes: list[PassRecord], counts: Counter[str]) -> None:
        """Announce passes of one version of one filter."""
        definition = self._definition(passes[0])
        addresses: list[str] = list(dict.fromkeys(definition.get("sinks") or ()))
        if not addresses:  # nobody is to be told: that it passed is all there is to know
            self._store.mark(passes, "delivered")
            return
        ready = [address for address in addresses if not self._rests_now(address)]
        some = [one for one in passes if any(address not in self._has(_key(one)) for address in ready)]
        # the others are ours until the claim ends, so that what stands behind them in the outbox comes
        counts["put_off"] += len(passes) - len(some)
        some = self._within_rate(some, definition.get("limit_per_hour"), counts)
        if not some:
            return
        sinks = {address: sink for address in ready if (sink := self._opened(address)) is not None}
        announcements, arrived = self._announcements(some, any(sink.cutouts for sink in sinks.values()))
        failures: dict[str, str] = {}
        waiting: dict[str, str] = {}
        for address in addresses:
            todo = [one for one in announcements if address not in self._has(one.key)]
            settled = self._sent(address, sinks[address], todo, failures) if address in sinks else 0
            for one in todo[settled:]:
                waiting[one.key] = self._rests[address].reason
        self._settle(some, announcements, arrived, failures, waiting, counts)

    def _settle(
        self,
        passes: list[PassRecord],
        announcements: list[Announcement],
        arrived: list[float],
        failures: dict[str, str],
        waiting: dict[str, str],
        counts: Counter[str],
    ) -> None:
        """Say in the store what became of them."""
        outcomes: dict[tuple[str, str], list[PassRecord]] = {}
        old = self._clock() - self._give_up
        for one, announcement, came in zip(passes, announcements, arrived, strict=True):
            key = announcement.key
            state, reason = "delivered", ""
            if key in failures:
                state, reason = "failed", failures[key]
            elif key in waiting:
                state, reason = ("failed" if came < old else "pending"), waiting[key]
            if state != "pending":
                self._half_sent.pop(key, None)
            outcomes.setdefault((state, reason), []).append(one)
        for (state, reason), group in outcomes.items():
            self._mark(group, state, reason, counts)
        if len(self._half_sent) > _MOST_HALF_SENT:
            self._half_sent.clear()

    def _mark(self, passes: list[PassRecord], state: Any, reason: str, counts: Counter[str]) -> None:
        self._store.mark(passes, state, reason)
        if state != "pending":
            counts[state] += len(passes)
        rate = self._rates.get(passes[0].filter)
        if state == "delivered" and rate is not None:
            rate.sent += len(passes)

    def _within_rate(
        self, passes: list[PassRecord], limit: int | None, counts: Counter[str]
    ) -> list[PassRecord]:
        """Those that may be sent in this hour; the others are held."""
        if limit is None:
            return passes
        name, now = passes[0].filter, self._clock()
        rate = self._rates.get(name)
        if rate is None or not 0 <= now - rate.asked < _REFRESH:
            rate = self._rates[name] = _Rate(self._store.count_delivered(name, now - _HOUR), now)
        free = max(limit - rate.sent, 0)
        held = passes[free:]
        if held:
            self._mark(held, "held", f"the filter has its {limit} of this hour", counts)
        return passes[:free]

    def _sent(
        self, address: str, sink: Sink, announcements: Sequence[Announcement], failures: dict[str, str]
    ) -> int:
        """Send, and say how many were settled before the sink failed."""
        done = 0
        while done < len(announcements):
            some = announcements[done : done + sink.at_once]
            try:
                sink.send(some)
            except RefusedError as error:
                if len(some) > 1:  # which of them it is
                    for place, one in enumerate(some):
                        if not self._sent(address, sink, [one], failures):
                            return done + place
                else:
                    failures[some[0].key] = str(error)
                    _LOG.warning("%s is not announced: %s", some[0].key, error)
            except _UNREACHED as error:
                self._rest(address, error)
                return done
            self._rests.pop(address, None)
            for one in some:
                self._half_sent.setdefault(one.key, set()).add(address)
            done += len(some)
        return done

    def _opened(self, address: str) -> Sink | None:
        try:
            return self._sinks(address)
        except _UNREACHED as error:  # such as a password that is not there
            self._rest(address, error)
            return None

    def _rests_now(self, address: str) -> bool:
        rest = self._rests.get(address)
        return rest is not None and self._clock() < rest.until

    def _rest(self, address: str, error: AstridError) -> None:
        before = self._rests.get(address)
        pause = _PAUSE if before is None else min(2 * before.pause, _LONGEST)
        self._rests[address] = _Rest(self._clock() + pause, pause, str(error))
        _LOG.warning("a receiver is left alone for %.0f s: %s", pause, error)

    def _has(self, key: str) -> set[str]:
        """Sinks that have an announcement already, while others have not."""
        return self._half_sent.get(key, set())

    def _definition(self, one: PassRecord) -> dict[str, Any]:
        key = (one.filter, one.hash)
        if key not in self._filters:
            self._filters = {(each.name, each.hash): each.definition for each in self._store.filters(None)}
        return self._filters.get(key, {})

    def _announcements(
        self, passes: list[PassRecord], cutouts: bool
    ) -> tuple[list[Announcement], list[float]]:
        keys = [(one.survey, one.alert_id) for one in passes]
        table, scores = self._store.candidates(keys), _scores(self._store.scores(keys=keys))
        names = _match_columns(table.column_names)
        wanted = [name for name in (*_PLAIN, "arrived", *names) if name in table.column_names]
        rows = table.select(wanted).to_pylist()
        made, arrived = [], []
        for one, row in zip(passes, rows, strict=True):
            moment = row.get("arrived")
            arrived.append(self._clock() if moment is None else moment.timestamp())
            made.append(
                Announcement(
                    filter=one.filter,
                    filter_hash=one.hash,
                    survey=one.survey,
                    alert_id=one.alert_id,
                    **{name: row.get(name) for name in _PLAIN},
                    scores=scores.get((one.survey, one.alert_id), []),
                    matches={name: row[name] for name in names},
                    cutouts=self._cutouts(one) if cutouts else {},
                )
            )
        return made, arrived

    def _cutouts(self, one: PassRecord) -> dict[str, bytes]:
        """The images of an alert; none where the packet is gone or has none."""
        try:
            content, suffix = self._store.packet(one.survey, one.alert_id)
            with tempfile.TemporaryDirectory(prefix="astrid-") as folder:
                path = Path(folder) / f"packet{suffix}"
                path.write_bytes(content)
                packet = next(read_packets(path, self._book))
                alert = decode(packet, layouts=self._layouts, history=False)
        except (StoreError, PacketError, StopIteration) as error:
            _LOG.warning("%s %s is announced without cutouts: %s", one.survey, one.alert_id, error)
            return {}
        images = {name: one.image for name, one in alert.cutouts.items()}
        return {name: packed_cutout(image) for name, image in images.items() if image is not None}


def _key(one: PassRecord) -> str:
    return announcement_key(one.survey, one.alert_id, one.filter, one.hash)


def _grouped(page: Sequence[PassRecord]) -> Iterator[list[PassRecord]]:
    """The passes of each version of a filter, in their order."""
    groups: dict[tuple[str, str], list[PassRecord]] = {}
    for one in page:
        groups.setdefault((one.filter, one.hash), []).append(one)
    yield from groups.values()


def _match_columns(names: Sequence[str]) -> list[str]:
    """Columns of catalogues: those with the prefix of one, which has a distance and a count."""
    known = set(names)
    catalogs = [name.removesuffix("_distance") for name in names if name.endswith("_distance")]
    prefixes = tuple(f"{name}_" for name in catalogs if f"{name}_count" in known)
    return [name for name in names if name.startswith(prefixes)] if prefixes else []


def _scores(table: pa.Table) -> dict[tuple[str, str], list[ScoreOf]]:
    """By survey and number of the alert."""
    fields = ("bundle", "hash", "label", "value", "spread", "decision", "set", "applicable")
    keys = zip(table["survey"].to_pylist(), table["alert_id"].to_pylist(), strict=True)
    found: dict[tuple[str, str], list[ScoreOf]] = {}
    for key, row in zip(keys, table.select(fields).to_pylist(), strict=True):
        found.setdefault(key, []).append(ScoreOf(**row))
    return found
