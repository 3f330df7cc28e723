"""What the operator of the service decides: addresses, limits, and who is believed.

It holds values only; what follows from them is decided where it is done.
"""

from __future__ import annotations

import getpass
import ipaddress
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from astrid.errors import UsageError

__all__ = ["Settings", "is_loopback", "operator"]

_MIB = 1 << 20


def is_loopback(host: str) -> bool:
    """Whether a name or address, without brackets, means this machine only."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def operator() -> str:
    """Who runs this process, to whom a laptop without accounts belongs."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no name for us
        return f"user {os.getuid()}"


@dataclass(frozen=True)
class Settings:
    """How the service runs.

    Parameters
    ----------
    store : Path
        Folder of the store.
    database : str, optional
        Its PostgreSQL database; the file in its folder if not given.
    host : str
        Address that is listened on.
    port : int
    url : str, optional
        Where people reach the service if that is not `host`, such as ``https://astrid.example.org``: the
        address of the reverse proxy in front.
    proxies : tuple of str
        Addresses or networks of reverse proxies whose ``X-Forwarded-For`` and ``X-Forwarded-Proto`` are
        believed; with `url` and none given, those on this machine.
    bundles : tuple of str
        Names or folders of the models that are served.
    task : str
        What the review page asks about unless told otherwise: a system of the zoo.
    max_body : int, bytes
        A request may be that long; longer ones are refused before they are read.
    max_upload : int, bytes
        The same for paths that take images, packets and tables.
    max_running : int
        Requests that are worked on at once.
    max_waiting : int
        Requests that wait for their turn; more are answered by 503 at once.
    max_wait : float, s
        How long they wait.
    time_limit : float, s
        A request that has no answer after that time is answered by 504.
    idle_limit : float, s
        How long a client may take to send the head of a request, or be silent in the middle of a transfer.
    grace : float, s
        How long requests in flight have when the service is stopped.
    session_hours : float
        A session ends when it was not used for that long.
    """

    store: Path
    database: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    url: str | None = None
    proxies: tuple[str, ...] = ()
    bundles: tuple[str, ...] = ()
    task: str = "braai"
    max_body: int = _MIB
    max_upload: int = 128 * _MIB
    max_running: int = 24
    max_waiting: int = 64
    max_wait: float = 10.0
    time_limit: float = 120.0
    idle_limit: float = 20.0
    grace: float = 20.0
    session_hours: float = 12.0

    def __post_init__(self) -> None:
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/"):
                raise UsageError(
                    f"the address {self.url!r} of the service is not understood; give one like "
                    "https://astrid.example.org, without a path"
                )

    @property
    def is_local(self) -> bool:
        """Whether nobody but people at this machine can reach the service."""
        return self.url is None and is_loopback(self.host)

    @property
    def is_secure(self) -> bool:
        """Whether people reach it by TLS."""
        return self.url is not None and self.url.startswith("https:")
