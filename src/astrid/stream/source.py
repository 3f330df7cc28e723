"""Where the alert path takes its packets from: files, archives behind an address, or a Kafka topic.

Every source gives deliveries that are acknowledged when their alerts are kept; what a packet means is
none of its business.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from astrid.alerts.container import Packet, Skips
from astrid.alerts.schemas import SchemaBook
from astrid.alerts.sources import read_packets
from astrid.errors import PacketError, StreamError, UsageError
from astrid.stream.http import fetched

__all__ = ["Delivery", "FileSource", "Source", "open_source"]

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Delivery:
    """Packets that came together.

    Parameters
    ----------
    packets : list of Packet
        In their order. None at all says only that nothing came for a while: a chance to look after other
        things.
    arrived : float, s since 1970
        When the first of them was received: no packet of the delivery has been here for longer.
    acknowledge : callable
        To be called when all of them are kept: they do not come again. Deliveries that are not acknowledged
        come again after a restart, where the source can do that.
    behind : int or None
        Packets that wait at the source after these; None where it cannot know.
    sent : float or None, s since 1970
        When the first of them was given to the broker, by the broker's or its producer's clock.
    """

    packets: list[Packet]
    arrived: float
    acknowledge: Callable[[], None]
    behind: int | None
    sent: float | None = None


class Source(Protocol):
    """A stream of packets, to be used by one thread."""

    def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
        """Packets as they come.

        Parameters
        ----------
        size : int
            Packets of a delivery at most.
        linger : float, s
            How long a delivery waits to become full after its first packet.

        Yields
        ------
        Delivery

        Raises
        ------
        StreamError
            The source cannot be reached any more, or refuses.
        PacketError
            There is no such file, or it is of another kind.
        """
        ...

    def close(self) -> None:
        """Give back connections; deliveries that were not acknowledged are not lost."""
        ...


def open_source(
    address: str | Path | Sequence[str | Path],
    *,
    book: SchemaBook | None = None,
    skips: Skips | None = None,
    share: tuple[int, int] = (0, 1),
    group: str | None = None,
    brokers: str | Path | None = None,
    start: str = "earliest",
    idle: float | None = None,
    on_progress: Progress | None = None,
    on_fetch: Progress | None = None,
) -> Source:
    """The source of an address.

    Parameters
    ----------
    address : str, Path, or sequence of these
        Files, folders and archives of packets, ``https://HOST/night.tar.gz``, or one
        ``kafka://HOST:PORT[,HOST:PORT]/TOPIC[,TOPIC][?group=NAME]``; see the user's guide.
    book : SchemaBook, optional
        For packets that do not carry their schema.
    skips : callable, optional
        Says for the name of a schema which fields are not read; see `astrid.alerts.intake.without_histories`.
    share : (int, int)
        Which of how many workers this is, from 0: they divide the files among them. Kafka's groups do it
        themselves.
    group : str, optional
        Kafka's consumer group, where the address names none.
    brokers : str or Path, optional
        File of named brokers and their secrets.
    start : "earliest" or "latest"
        Where a group begins that has acknowledged nothing yet.
    idle : float, s, optional
        A stream that gives nothing for so long has ended; for ever open if not given.
    on_progress : callable, optional
        Told how many files are done, and of how many.
    on_fetch : callable, optional
        Told how many bytes of a file on a server have come, and of how many.

    Raises
    ------
    UsageError
        The address cannot be understood.
    StreamError
        The broker cannot be reached, refuses, or has no such topic.
    DependencyError
        Kafka's client is not installed.
    """
    places = [address] if isinstance(address, str | Path) else list(address)
    streams = [place for place in places if str(place).startswith("kafka:")]
    if streams and len(places) > 1:
        raise UsageError(f"{streams[0]}: a stream cannot be read together with other sources; give it alone")
    if not streams:
        return FileSource(
            places, book=book, skips=skips, share=share, on_progress=on_progress, on_fetch=on_fetch
        )
    from astrid.stream.brokers import parse_address
    from astrid.stream.kafka import KafkaSource

    parsed = parse_address(str(streams[0]), brokers, group)
    return KafkaSource(parsed, book=book, skips=skips, start=start, idle=idle)


class FileSource:
    """Packets in files, folders and archives, also such as lie on a server, in their order.

    Parameters
    ----------
    places : sequence of str or Path
        Paths, or addresses that begin with http:// or https://.
    book, skips, share, on_progress, on_fetch
        See `open_source`.

    Raises
    ------
    UsageError
        Nothing is given, or there is no such share.
    PacketError
        There is no such file; those that come later are looked at before the first is read.
    """

    def __init__(
        self,
        places: Sequence[str | Path],
        *,
        book: SchemaBook | None = None,
        skips: Skips | None = None,
        share: tuple[int, int] = (0, 1),
        on_progress: Progress | None = None,
        on_fetch: Progress | None = None,
    ) -> None:
        if not places:
            raise UsageError("no source of packets is given; name files, folders, archives or a stream")
        worker, n = share
        if not 0 <= worker < n:
            raise UsageError(f"share {worker} of {n} does not exist; count the workers from 0 to {n - 1}")
        for place in places:
            if not _is_remote(place) and not Path(place).exists():
                raise PacketError(
                    f"{place}: there is no such file; give Avro or Parquet files, folders or archives"
                )
        self._places, self._on_progress, self._on_fetch = list(places), on_progress, on_fetch
        self._book, self._skips = book or SchemaBook(), skips
        self._worker, self._n = worker, n

    def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
        """Packets as `Source` gives them; `linger` is of no use with files."""
        packets: list[Packet] = []
        arrived = 0.0
        with closing(self._packets()) as reading:
            while True:
                try:
                    packet = next(reading, None)
                except (PacketError, StreamError):
                    if packets:  # what was read before the damage is not lost with it
                        yield Delivery(packets, arrived, _nothing, None)
                    raise
                if packet is not None:
                    arrived = arrived if packets else time.time()
                    packets.append(packet)
                if packets and (packet is None or len(packets) >= size):
                    yield Delivery(packets, arrived, _nothing, None)
                    packets = []
                if packet is None:
                    return

    def close(self) -> None:
        """Nothing is open between deliveries."""

    def _packets(self) -> Generator[Packet, None, None]:
        turn = count()

        def mine() -> bool:
            return next(turn) % self._n == self._worker

        for done, place in enumerate(self._places):
            if _is_remote(place):
                with fetched(str(place), on_progress=self._on_fetch) as path:
                    yield from read_packets(path, self._book, self._skips, mine)
            else:
                yield from read_packets(place, self._book, self._skips, mine)
            if self._on_progress is not None:
                self._on_progress(done + 1, len(self._places))


def _is_remote(place: str | Path) -> bool:
    return str(place).startswith(("http://", "https://"))


def _nothing() -> None:
    """Files stay where they are."""
