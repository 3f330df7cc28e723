"""Runs the service until it is told to stop: it listens, answers, and ends in good order.

What is answered is in `app`.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn

from astrid.errors import OutputError, StoreError, UsageError
from astrid.service.app import create_app
from astrid.service.connections import connection_class
from astrid.service.settings import Settings
from astrid.service.state import State
from astrid.store import open_store
from astrid.store.accounts import Accounts

__all__ = ["Ready", "check", "serve"]

_LOG = logging.getLogger(__name__)
_FILES = 65_536  # that a process wants to have open
_SPARE = 256  # of them for the database, models and pages
_BACKLOG = 2048
_KEEP = 15  # s between two requests of one connection

Ready = Callable[[str, bool], None]
"""Is told the address when the service answers, and whether there are no accounts."""


def check(settings: Settings, accounts: Accounts) -> bool:
    """Whether there are no accounts, which is allowed on a laptop only.

    Raises
    ------
    UsageError
        Others can reach the service, and no administrator could log in.
    """
    users = accounts.users()
    if any(one.active and one.role == "admin" for one in users):
        return False
    if users or not settings.is_local:
        where = settings.url or f"{settings.host}:{settings.port}"
        raise UsageError(
            f"at {where} others could use the service, and it has no accounts; make one first: astrid serve "
            "users add NAME --role admin"
        )
    return True


def serve(settings: Settings, on_ready: Ready | None = None) -> None:
    """Run the service until SIGTERM or Ctrl-C, then finish what is in flight.

    Parameters
    ----------
    settings : Settings
    on_ready : callable, optional
        See `Ready`.

    Raises
    ------
    UsageError
        It is not safe to start, see `check`, or the address is not one of this machine.
    OutputError
        The port is taken.
    StoreError
        The store cannot be opened.
    """
    with open_store(settings.store, settings.database) as store:
        free = check(settings, store.accounts)
        listening = _listen(settings)
        app = create_app(settings, store)
        state: State = app.state.astrid
        files = _more_files()
        proxies = settings.proxies or (("127.0.0.1", "::1") if settings.url else ())
        config = uvicorn.Config(
            app,
            http=connection_class(settings.idle_limit, files - _SPARE),
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=bool(proxies),
            forwarded_allow_ips=list(proxies),
            timeout_keep_alive=_KEEP,
            timeout_graceful_shutdown=max(1, round(settings.grace)),
            backlog=_BACKLOG,
        )
        host, port = listening.getsockname()[:2]
        address = settings.url or f"http://{f'[{host}]' if ':' in host else host}:{port}"
        server = _Server(config, state, lambda: on_ready(address, free) if on_ready is not None else None)
        with listening:
            server.run(sockets=[listening])
        if not server.started:
            raise StoreError("the service could not be started; the log says why")


class _Server(uvicorn.Server):
    """The server, which tells the state when it stops, and whoever waits when it answers."""

    def __init__(self, config: uvicorn.Config, state: State, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._state = state
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        if self.started:
            self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop; a second Ctrl-C stops without waiting."""
        self._state.stopping.set()
        super().handle_exit(sig, frame)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop by signals; they are not raised again afterwards, since to stop is no failure."""
        before: dict[int, Any] = {}
        with suppress(ValueError):  # not in the main thread, where no signals come
            for one in (signal.SIGINT, signal.SIGTERM):
                before[one] = signal.signal(one, self.handle_exit)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(settings: Settings) -> socket.socket:
    """A socket on the address; OutputError or UsageError where that is not possible."""
    host = settings.host
    try:
        family = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # only where the protocol is named does asyncio switch off Nagle's delay, which is 40 ms an answer
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except socket.gaierror as error:
        raise UsageError(
            f"{host!r} is no address of this machine ({error.strerror}); give another"
        ) from error
    try:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, settings.port))
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise OutputError(
            f"{host}:{settings.port} cannot be listened on ({os.strerror(error.errno or 0)}); give another "
            "--port, or stop what uses it"
        ) from error
    return listening


def _more_files() -> int:
    """Let this process have many files open, as each connection is one; how many it may."""
    try:
        import resource
    except ImportError:  # not on Windows
        return 512 + _SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError):
            _LOG.warning("only %d files can be open at once", soft)
    return _FILES if soft == resource.RLIM_INFINITY else max(soft, 2 * _SPARE)
