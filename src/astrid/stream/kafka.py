"""Packets from the topics of a Kafka broker: read by a group of workers, acknowledged delivery by delivery.

A group's place in a topic moves only when a delivery is acknowledged, so that nothing is lost when a worker
dies; what was not acknowledged comes again, to whoever is then in the group.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from astrid.alerts.container import CONTAINER, Packet, Skips, packets_in
from astrid.alerts.schemas import SchemaBook
from astrid.errors import StreamError, UsageError
from astrid.stream.broker_client import PATIENCE, broker_client, explain, refused, wait_for_broker
from astrid.stream.brokers import KafkaAddress
from astrid.stream.source import Delivery

if TYPE_CHECKING:
    from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

__all__ = ["KafkaSource"]

_LOG = logging.getLogger(__name__)
_BEAT = 1.0  # s after which silence is told
_OUTAGE = 300.0  # s that a stream may be without any broker
_JOIN = 30.0  # s to become a member of a group
_MARKER = bytes(16)

_Place = tuple[str, int]  # topic, partition


@dataclass(eq=False)
class _Pending:
    """A delivery that was given out: where its partitions go on after it."""

    offsets: dict[_Place, int]
    done: bool = False
    revoked: set[_Place] = field(default_factory=set)


class KafkaSource:
    """Packets of topics, as one member of a consumer group; one thread must do everything with it.

    Parameters
    ----------
    address : KafkaAddress
    book : SchemaBook, optional
        For packets that only name their schema.
    skips : callable, optional
        Says for the name of a schema which fields are not read.
    start : "earliest" or "latest"
        Where a group begins that has acknowledged nothing yet.
    idle : float, s, optional
        A stream that gives nothing for so long has ended.
    patience : float, s
        For the broker to answer at the start.

    Raises
    ------
    StreamError
        The broker cannot be reached, refuses, or has no such topic.
    UsageError
        A secret is missing, or `start` is neither of the two.
    DependencyError
        confluent-kafka is not installed.
    """

    def __init__(
        self,
        address: KafkaAddress,
        *,
        book: SchemaBook | None = None,
        skips: Skips | None = None,
        start: str = "earliest",
        idle: float | None = None,
        patience: float = PATIENCE,
    ) -> None:
        if start not in ("earliest", "latest"):
            raise UsageError(f"a stream cannot start at {start!r}; give earliest or latest")
        self._address, self._start, self._idle = address, start, idle
        self._book, self._skips = book or SchemaBook(), skips or _nothing_skipped
        self._errors: deque[KafkaError] = deque(maxlen=20)
        self._down = 0.0  # when no broker was left; 0 while there is one
        self._assigned: set[_Place] = set()
        self._fresh: set[_Place] = set()  # assigned, but nothing is known of them yet
        self._next: dict[_Place, int] = {}
        self._checked: set[_Place] = set()
        self._pending: deque[_Pending] = deque()
        self._uncommitted: dict[_Place, int] = {}
        self._joined = 0.0
        self._counts: Counter[str] = Counter()
        settings = {
            **address.broker.settings(),
            "group.id": address.group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": start,
            "session.timeout.ms": round(1000 * address.broker.session),
            "heartbeat.interval.ms": round(1000 * address.broker.session / 4),
            "partition.assignment.strategy": "cooperative-sticky",
            "check.crcs": True,
            "topic.metadata.refresh.interval.ms": 60_000,  # topics of a new night, found by their pattern
        }
        self._consumer: Consumer = broker_client("Consumer", settings, self._on_error, address.name)
        self._open = True
        try:
            known = wait_for_broker(self._consumer, address.name, self._errors, patience)
            missing = [topic for topic in address.topics if not topic.startswith("^") and topic not in known]
            if missing:
                raise StreamError(
                    f"{address.name} has no topic {missing[0]!r}, or hides it from this user; check its name"
                )
            self._consumer.subscribe(
                list(address.topics),
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_revoke,
            )
        except StreamError:
            self.close()
            raise

    @property
    def statistics(self) -> dict[str, int]:
        """Since the start: ``messages``, ``bytes``, ``unreadable`` packets, ``deliveries``, ``acknowledged``
        ones, ``rebalances``, messages ``missed`` since the broker had deleted them; and the present number of
        ``partitions``.
        """  # fmt: skip
        names = ("messages", "bytes", "unreadable", "deliveries", "acknowledged", "rebalances", "missed")
        return {name: self._counts[name] for name in names} | {"partitions": len(self._assigned)}

    def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
        """Packets as `Source` gives them; after each second of silence a delivery without any.

        Deliveries must be acknowledged, but not in order: the group's place moves over those that are, up to
        the first that is not.
        """
        began = quiet = time.monotonic()
        while self._open:
            first = self._consumer.poll(_BEAT)
            arrived = time.time()
            now = time.monotonic()
            if first is None:
                self._check_outage(now)
                quiet = max(quiet, self._joined)
                waited = now - quiet if self._joined else now - began - _JOIN
                if self._idle is not None and waited >= self._idle:
                    return
                yield Delivery([], arrived, _nothing, self._behind())
                continue
            messages = [first]
            if size > 1:
                messages += self._consumer.consume(size - 1, linger)
            delivery = self._delivery(messages, arrived)
            if delivery is not None:
                quiet = time.monotonic()
                yield delivery

    def close(self) -> None:
        """Leave the group, so that others take over at once; what was not acknowledged comes to them."""
        if self._open:
            self._open = False
            if self._uncommitted:
                self._commit()
            self._consumer.close()

    def _delivery(self, messages: list[Message], arrived: float) -> Delivery | None:
        packets: list[Packet] = []
        ends: dict[_Place, int] = {}
        sent: list[float] = []
        for message in messages:
            error = message.error()
            if error is not None:
                self._weigh(error)
                continue
            place, offset = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0)
            self._look_for_gap(place, offset)
            ends[place] = self._next[place] = offset + 1
            kind, stamp = message.timestamp()
            if kind:
                sent.append(stamp / 1000)
            value = message.value() or b""
            self._counts["bytes"] += len(value)
            packets += self._packets(f"{place[0]}/{place[1]}/{offset}", message.key(), value)
        if not ends:
            return None
        self._down = 0.0
        self._counts["messages"] += sum(message.error() is None for message in messages)
        self._counts["unreadable"] += sum(packet.record is None for packet in packets)
        self._counts["deliveries"] += 1
        gone = {place for place in ends if place not in self._assigned}  # taken away while it was filled
        pending = _Pending({place: end for place, end in ends.items() if place not in gone}, revoked=gone)
        self._pending.append(pending)

        def acknowledge() -> None:
            self._acknowledge(pending)

        return Delivery(packets, arrived, acknowledge, self._behind(), min(sent, default=None))

    def _packets(self, name: str, key: Any, value: bytes) -> Iterator[Packet]:
        # Fink sends a bare record, and its schema as the key of the message
        if isinstance(key, bytes) and key.lstrip()[:1] == b"{" and value[:4] != CONTAINER:
            value = _container(key, value)
        yield from packets_in(name, value, self._book, self._skips)

    def _acknowledge(self, pending: _Pending) -> None:
        if pending.done:
            return
        pending.done = True
        self._counts["acknowledged"] += 1
        if pending.revoked:
            listed = ", ".join(f"{topic}/{partition}" for topic, partition in sorted(pending.revoked))
            _LOG.info("acknowledged after %s went to another worker, where it comes again", listed)
        while self._pending and self._pending[0].done:
            self._uncommitted.update(self._pending.popleft().offsets)
        if self._uncommitted and self._open:
            self._commit()

    def _commit(self) -> None:
        """Move the group's place; what cannot be committed now goes along with the next."""
        from confluent_kafka import KafkaException, TopicPartition

        offsets = [TopicPartition(*place, offset) for place, offset in self._uncommitted.items()]
        try:
            results = self._consumer.commit(offsets=offsets, asynchronous=False) or []
        except KafkaException as error:
            problem: KafkaError = error.args[0]
            if refused(problem):
                raise StreamError(
                    f"{self._address.name} does not take acknowledgements: {explain(problem)}"
                ) from error
            _LOG.warning("an acknowledgement is put off: %s", problem.str())
            return
        for result in results:
            place = (result.topic, result.partition)
            if result.error is None:
                self._uncommitted.pop(place, None)
            else:
                _LOG.warning("an acknowledgement of %s/%d is put off: %s", *place, result.error.str())

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(one.topic, one.partition) for one in partitions}
        self._assigned |= places
        self._fresh |= places
        self._checked -= places
        for place in places:
            self._next.pop(place, None)
        self._counts["rebalances"] += 1
        self._joined = time.monotonic()
        _LOG.info("got %d partitions, has %d", len(places), len(self._assigned))

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        places = {(one.topic, one.partition) for one in partitions}
        self._assigned -= places
        self._fresh -= places
        for place in places:
            self._next.pop(place, None)
            self._uncommitted.pop(place, None)
        for pending in self._pending:  # to acknowledge them now could set another worker back
            pending.revoked |= places & pending.offsets.keys()
            pending.offsets = {place: end for place, end in pending.offsets.items() if place not in places}
        self._counts["rebalances"] += 1
        _LOG.info("gave up %d partitions, has %d", len(places), len(self._assigned))

    def _look_for_gap(self, place: _Place, offset: int) -> None:
        """Tell, at the first message of a partition, what the broker deleted before anyone read it."""
        if place in self._checked:
            return
        self._look_up()
        self._checked.add(place)
        missed = offset - self._next.get(place, offset)
        if missed > 0:
            self._counts["missed"] += missed
            _LOG.warning(
                "%s/%d: the broker has deleted %d messages since the last acknowledged one; read more often",
                *place,
                missed,
            )

    def _look_up(self) -> None:
        """Where the group was in partitions that are new here."""
        from confluent_kafka import KafkaException, TopicPartition

        if not self._fresh:
            return
        wanted = [TopicPartition(*place) for place in self._fresh]
        self._fresh = set()
        try:
            found = self._consumer.committed(wanted, timeout=5.0)
        except KafkaException as error:
            _LOG.warning("the group's place is not known: %s", error.args[0].str())
            return
        for one in found:
            if one.offset >= 0 and one.error is None:
                self._next.setdefault((one.topic, one.partition), one.offset)

    def _behind(self) -> int | None:
        """Messages that wait, by what the last answers of the broker said: no question is asked for it."""
        from confluent_kafka import TopicPartition

        self._look_up()
        waiting = []
        for place in self._assigned:
            low, high = self._consumer.get_watermark_offsets(TopicPartition(*place), cached=True)
            if high >= 0:
                begin = self._next.get(place, max(low, 0) if self._start == "earliest" else high)
                waiting.append(max(high - begin, 0))
        return sum(waiting) if waiting else None

    def _on_error(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError

        self._errors.append(error)
        _LOG.debug("%s: %s", error.name(), error.str())
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._down:
            self._down = time.monotonic()
            _LOG.warning("%s cannot be reached; trying again", self._address.name)

    def _check_outage(self, now: float) -> None:
        for error in self._errors:
            if self._down and refused(error):
                raise StreamError(f"{self._address.name} refuses: {explain(error)}")
        if self._down and now - self._down > _OUTAGE:
            wait_for_broker(self._consumer, self._address.name, self._errors, PATIENCE)
            self._down = 0.0
        elif not self._down:
            self._errors.clear()

    def _weigh(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError

        gone = (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION)
        if error.fatal() or refused(error):
            raise StreamError(f"{self._address.name} refuses: {explain(error)}")
        if error.code() in gone:
            raise StreamError(f"{self._address.name} has lost a topic ({error.str()}); check its name")
        _LOG.warning("%s: %s", error.name(), error.str())


def _container(schema: bytes, record: bytes) -> bytes:
    """An Avro file of one record."""
    header = CONTAINER + b"\x02" + _text(b"avro.schema") + _text(schema) + b"\x00" + _MARKER
    return header + b"\x02" + _text(record) + _MARKER


def _text(content: bytes) -> bytes:
    number, length = len(content) << 1, bytearray()
    while number > 0x7F:
        length.append(number & 0x7F | 0x80)
        number >>= 7
    length.append(number)
    return bytes(length) + content


def _nothing_skipped(schema: str) -> Mapping[str, frozenset[str]]:
    return {}


def _nothing() -> None:
    """There is nothing to acknowledge."""
