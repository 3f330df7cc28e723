"""Connections that do not wait for ever: for the head of a request, or for a client that does not read.

The server itself closes a connection only between two requests; without this, some thousand clients that
say nothing would hold all that a process may have open.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from astrid.service.peers import Peer

__all__ = ["Connection", "connection_class"]


class Connection(H11Protocol):
    """A connection of the server, which is dropped when its client is silent where it should not be.

    Attributes
    ----------
    idle_limit : float, s
        How long a head may take, or a client be slow to read.
    most : int
        Connections at once; beyond, those that wait for the head of a request give way, the oldest first.
    """

    idle_limit: float = 20.0
    most: int = 10_000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._head: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the head of a request."""
        super().connection_made(transport)
        self.app_state = {**self.app_state, "peer": Peer(self.client)}  # a part of the state of its requests
        if len(self.connections) > self.most:
            self._make_room()
        self._wait_for_head()

    def data_received(self, data: bytes) -> None:
        """Take what has come; the time for a head does not begin anew with each byte of it."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """The answer is out; what is still to come of a body that was refused has its time too."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """The client does not read what it was sent."""
        super().pause_writing()
        if self._reader is None:
            self._reader = self.loop.call_later(self.idle_limit, self.transport.abort)

    def resume_writing(self) -> None:
        """It has read again."""
        super().resume_writing()
        self._forget_reader()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over."""
        self._forget_head()
        self._forget_reader()
        super().connection_lost(exc)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered."""
        return self._has_answered is False

    @property
    def _has_answered(self) -> bool | None:
        """Whether the latest request has its whole answer; None before the first."""
        cycle: RequestResponseCycle | None = self.cycle
        return None if cycle is None else cycle.response_complete

    def _look(self) -> None:
        # between two requests nothing has come yet, and the server's own limit holds
        between = self.conn.their_state is h11.IDLE and not self.conn.trailing_data[0]
        if self.is_busy or (between and self._has_answered):
            self._forget_head()
        else:
            self._wait_for_head()

    def _wait_for_head(self) -> None:
        if self._head is None and not self.transport.is_closing():
            self._head = self.loop.call_later(self.idle_limit, self.transport.abort)

    def _forget_head(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _forget_reader(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def _make_room(self) -> None:
        waiting = [one for one in self.connections if isinstance(one, Connection) and one._head is not None]
        if waiting:
            oldest = min(waiting, key=lambda one: one._head.when() if one._head is not None else 0.0)
            oldest.transport.abort()
        else:
            self.transport.abort()


def connection_class(idle_limit: float, most: int) -> type[Connection]:
    """The class with limits of one's own.

    Parameters
    ----------
    idle_limit : float, s
    most : int
    """
    return type("Connection", (Connection,), {"idle_limit": idle_limit, "most": most})
