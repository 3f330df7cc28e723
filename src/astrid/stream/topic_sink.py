"""Announcements written to a Kafka topic, each as an Avro file of its own; the broker confirms every one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid.errors import StreamError, UsageError
from astrid.stream.announcement import Announcement
from astrid.stream.broker_client import broker_client, explain, refused
from astrid.stream.brokers import parse_address
from astrid.stream.sinks import RefusedError

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

__all__ = ["TopicSink"]

_TIMEOUT = 30.0  # s for the broker to confirm


class TopicSink:
    """Writes to one topic; the key of a message is that of the announcement.

    Parameters
    ----------
    address : str
        ``kafka://BROKER/TOPIC``.
    brokers : str or Path, optional
        File of named brokers and their secrets.
    cutouts : bool
        With images.
    timeout : float, s
        For the broker to confirm.

    Raises
    ------
    UsageError
        The address cannot be understood, or names several topics.
    """

    at_once = 500

    def __init__(
        self,
        address: str,
        *,
        brokers: str | Path | None = None,
        cutouts: bool = False,
        timeout: float = _TIMEOUT,
    ) -> None:
        self._address = parse_address(address, brokers)
        if len(self._address.topics) > 1 or self._address.topics[0].startswith("^"):
            raise UsageError(
                f"announcements go to one topic, not to {','.join(self._address.topics)}; give one"
            )
        self.cutouts, self._timeout = cutouts, timeout
        self._producer: Any = None
        self._errors: deque[KafkaError] = deque(maxlen=20)

    def send(self, announcements: Sequence[Announcement]) -> None:
        """Write them and wait until the broker has confirmed all; see `Sink.send`."""
        if self._producer is None:
            self._producer = self._made()
        self._errors.clear()
        failed: list[KafkaError] = []

        def confirmed(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error)

        for one in announcements:
            self._produce(one, confirmed, failed)
        end = time.monotonic() + self._timeout + 1
        while self._producer.flush(0.5) and time.monotonic() < end:
            if problem := next((error for error in self._errors if refused(error)), None):
                failed.append(problem)
                break
        left = len(self._producer)
        if failed or left:
            self._give_up(failed)

    def close(self) -> None:
        """Nothing waits: what was not confirmed was told to be so."""
        self._producer = None

    def _made(self) -> Any:
        milliseconds = round(1000 * self._timeout)
        settings = {
            **self._address.broker.settings(),
            "enable.idempotence": True,  # what is sent again by the client arrives once
            "acks": "all",
            "compression.type": "zstd",
            "linger.ms": 5,
            "message.timeout.ms": milliseconds,
            "message.max.bytes": 10_000_000,  # cutouts
        }
        return broker_client("Producer", settings, self._errors.append, self._address.name)

    def _produce(self, one: Announcement, confirmed: Any, failed: list[KafkaError]) -> None:
        from confluent_kafka import KafkaException

        while True:
            try:
                self._producer.produce(
                    self._address.topics[0], one.as_avro(), key=one.key.encode(), on_delivery=confirmed
                )
                return
            except BufferError:  # the client's queue is full
                self._producer.poll(0.1)
            except KafkaException as error:
                failed.append(error.args[0])
                return

    def _give_up(self, failed: list[KafkaError]) -> None:
        from confluent_kafka import KafkaError

        name, topic = self._address.name, self._address.topics[0]
        self._producer.purge()
        self._producer.flush(0)
        self._producer = None  # a client that has failed starts anew
        too_large = (
            KafkaError.MSG_SIZE_TOO_LARGE,
            KafkaError.INVALID_RECORD,
            KafkaError.RECORD_LIST_TOO_LARGE,
        )
        seen = [*failed, *self._errors]
        if failed and all(error.code() in too_large for error in failed):
            raise RefusedError(f"{name} does not take an announcement for {topic} ({explain(failed[0])})")
        timed_out = (KafkaError._MSG_TIMED_OUT, KafkaError._ALL_BROKERS_DOWN)
        telling = [error for error in seen if error.code() not in timed_out] or seen
        why = explain(telling[0]) if telling else f"no answer in {self._timeout:.0f} s"
        raise StreamError(
            f"{name} does not confirm announcements for {topic} ({why}); they are sent again later"
        )
