"""Which user of this machine is at the other end of a connection.

A laptop is its owner's alone, but many can be logged in to a machine of an institute, and all of them reach
what listens on it. Only Linux tells; elsewhere nobody is kept out by this.
"""

from __future__ import annotations

import os
import socket
import sys
from functools import cached_property
from pathlib import Path

__all__ = ["Peer", "owner"]

_TABLES = {4: "/proc/net/tcp", 6: "/proc/net/tcp6"}


class Peer:
    """The other end of one connection; it is looked up once, when it is first asked for.

    Parameters
    ----------
    client : (str, int) or None
        Its address and port.
    """

    def __init__(self, client: tuple[str, int] | None) -> None:
        self._client = client

    @cached_property
    def is_ours(self) -> bool:
        """Whether it belongs to the user who runs this process, or to root, or is not known."""
        uid = None if self._client is None else owner(*self._client)
        return uid is None or not hasattr(os, "getuid") or uid in (0, os.getuid())


def owner(address: str, port: int) -> int | None:
    """The number of the user whose socket has an address of this machine.

    Parameters
    ----------
    address : str
        An IP address.
    port : int

    Returns
    -------
    uid : int or None
        None where the system does not tell.
    """
    version = 6 if ":" in address else 4
    try:
        raw = socket.inet_pton(socket.AF_INET6 if version == 6 else socket.AF_INET, address)
        with Path(_TABLES[version]).open() as table:
            wanted = f"{_words(raw)}:{port:04X}"
            next(table)
            for line in table:
                fields = line.split()
                if fields[1] == wanted:
                    return int(fields[7])
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    return None


def _words(raw: bytes) -> str:
    """An address as the kernel prints it: words of four bytes, each in the order of the processor."""
    words = (raw[i : i + 4] for i in range(0, len(raw), 4))
    return "".join((word[::-1] if sys.byteorder == "little" else word).hex().upper() for word in words)
