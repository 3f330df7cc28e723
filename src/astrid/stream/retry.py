"""The quarantine of a store as a source: packets that can be used by now leave it when they are stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

from astrid.alerts import Packet, Quarantine, SchemaBook, read_packets
from astrid.alerts.container import Skips
from astrid.errors import PacketError
from astrid.stream.source import Delivery

__all__ = ["RetrySource"]


class RetrySource:
    """Packets in quarantine, and the place for those of them that still cannot be used.

    Parameters
    ----------
    folder : str or Path
        Of the quarantine.
    book : SchemaBook
    skips : callable
        See `read_packets`.
    """

    def __init__(self, folder: str | Path, book: SchemaBook, skips: Skips) -> None:
        self._quarantine = Quarantine(folder)
        self._book, self._skips = book, skips
        self._kept: set[Path] = set()

    def add(self, packet: Packet, reason: str) -> Path:
        """Keep a packet, with its present reason."""
        path = self._quarantine.add(packet, reason)
        self._kept.add(path)
        return path

    def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
        """Whole files, so that each can leave as one; `linger` is of no use here."""
        packets: list[Packet] = []
        paths: list[Path] = []
        for path in self._quarantine.paths():
            try:
                found = list(read_packets(path, self._book, self._skips))
            except PacketError:  # a table that cannot be opened is still what it was
                continue
            if packets and len(packets) + len(found) > size:
                yield Delivery(packets, time.time(), self._leave(paths), None)
                packets, paths = [], []
            packets += found
            paths.append(path)
        if packets:
            yield Delivery(packets, time.time(), self._leave(paths), None)

    def close(self) -> None:
        """Nothing is open."""

    def _leave(self, paths: list[Path]) -> Callable[[], None]:
        def acknowledge() -> None:
            # of a file with several packets those that cannot be used were kept as files of their own
            for path in paths:
                if path not in self._kept:
                    self._quarantine.release(path)
            self._kept.clear()

        return acknowledge
