"""Limits of every request: how long its body is, how many are worked on at once, and for how long.

A body is read before a place is taken, so that who sends slowly is in nobody's way.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astrid.service.errors import Problem, answer
from astrid.service.state import State

__all__ = ["UPLOADS", "Bodies", "Places"]

_LOG = logging.getLogger(__name__)

UPLOADS = ("/api/v1/classify", "/api/v1/labels/import", "/v2/models/")
"""Paths that take images, packets and tables: what begins so may be as long as ``max_upload``."""

_ANONYMOUS = 16 << 10  # bytes: a log-in
_SLOWEST = 16 << 10  # bytes/s over the whole of a body, once the first silence is over
_PATIENCE = 10  # times the limit, after which a request whose answer came too late is given up
_HELD = 4  # uploads of full length that are held in memory at once


class Bodies:
    """ASGI middleware that reads the whole body, if it is not too long and comes fast enough.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        self._held = 0
        self._most = _HELD * state.settings.max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read the body and pass the request on, or refuse it."""
        headers = Headers(scope=scope) if scope["type"] == "http" else None
        if headers is None or ("content-length" not in headers and "transfer-encoding" not in headers):
            await self._app(scope, receive, send)
            return
        messages: list[Message] = []
        try:
            await self._read(scope, headers, receive, messages)
        except Problem as refused:
            self._held -= sum(len(one["body"]) for one in messages)
            self._state.metrics.refuse(refused.status_code)
            # what is still to come is not waited for
            more = {**(refused.headers or {}), "Connection": "close"}
            response = answer(Request(scope), refused.status_code, str(refused.detail), more)
            await response(scope, receive, send)
            return
        n = sum(len(one["body"]) for one in messages)
        waiting = deque(messages)
        del messages

        async def again() -> Message:
            # let go as it is read: the next one who holds it is whoever asked
            return waiting.popleft() if waiting else await receive()

        try:
            await self._app(scope, again, send)
        finally:
            self._held -= n

    async def _read(self, scope: Scope, headers: Headers, receive: Receive, into: list[Message]) -> None:
        settings = self._state.settings
        if scope["state"]["user"] is None:
            limit = _ANONYMOUS
        else:
            limit = settings.max_upload if scope["path"].startswith(UPLOADS) else settings.max_body
        too_long = f"the request is longer than the {limit:,} bytes that are taken here; send it in parts"
        declared = headers.get("content-length")
        if declared is not None and int(declared) > limit:  # the server has checked that it is a number
            raise Problem(413, too_long)
        idle, n = settings.idle_limit, 0
        until = asyncio.get_running_loop().time() + idle
        more = True
        while more:
            try:
                async with asyncio.timeout_at(until + n / _SLOWEST):
                    message = await asyncio.wait_for(receive(), idle)
            except TimeoutError:
                raise Problem(408, "the request came too slowly; send it again") from None
            if message["type"] != "http.request":
                raise Problem(400, "the request ended before its end; send it again")
            body = message.get("body", b"")
            more = message.get("more_body", False)
            n += len(body)
            self._held += len(body)
            into.append({"type": "http.request", "body": body, "more_body": more})
            if n > limit:
                raise Problem(413, too_long)
            if self._held > self._most:
                raise Problem(503, "too many uploads at once; try again", {"Retry-After": "5"})


class Places:
    """ASGI middleware that lets a number of requests in, a few wait, and sends the others away.

    A request has its place until its answer begins, which a slow reader cannot hold up; one that is
    answered by 504 because it took too long keeps it until its work is really over.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        self._running = 0
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on when there is a place, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith(("/static/", "/health")):
            await self._app(scope, receive, send)
            return
        try:
            await self._enter()
        except Problem as refused:
            self._state.metrics.refuse(refused.status_code)
            response = answer(Request(scope), refused.status_code, str(refused.detail), refused.headers)
            await response(scope, receive, send)
            return
        await _Run(self._app, self._state, self._leave).answer(scope, receive, send)

    async def _enter(self) -> None:
        settings = self._state.settings
        if self._running < settings.max_running:
            self._running += 1
            return
        if len(self._waiting) >= settings.max_waiting:
            raise Problem(503, "too many requests are being worked on; try again", {"Retry-After": "2"})
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(settings.max_wait):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._leave()  # the place was given in the same moment
            else:
                with suppress(ValueError):
                    self._waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise Problem(
                    503, "too many requests are being worked on; try again", {"Retry-After": "5"}
                ) from None
            raise

    def _leave(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the place goes over
                return
        self._running -= 1


class _Run:
    """One request that has a place."""

    def __init__(self, app: ASGIApp, state: State, leave: Callable[[], None]) -> None:
        self._app = app
        self._state = state
        self._leave = leave
        self._begun = False
        self._late = False
        self._has_place = True

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Work on it, for as long as it may take."""

        async def passed(message: Message) -> None:
            if self._late:
                return
            if message["type"] == "http.response.start":
                self._begun = True
                self._give_back()
            await send(message)

        async def work() -> None:
            await self._app(scope, receive, passed)

        task = asyncio.create_task(work())
        task.add_done_callback(self._done)
        try:
            limit = self._state.settings.time_limit
            await asyncio.wait({task}, timeout=limit)
            if not task.done() and not self._begun:
                # not cancelled at once: a thread could not be, and its place would be given away meanwhile
                self._late = True
                asyncio.get_running_loop().call_later(_PATIENCE * limit, task.cancel)
                self._state.metrics.refuse(504)
                sentence = f"this took longer than {limit:g} s; ask for less at a time"
                await answer(Request(scope), 504, sentence)(scope, receive, send)
                return
            await task
        except asyncio.CancelledError:  # the server ends, or the client is gone
            task.cancel()
            raise

    def _give_back(self) -> None:
        if self._has_place:
            self._has_place = False
            self._leave()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._give_back()
        if self._late and not task.cancelled() and task.exception() is not None:
            _LOG.error("after its time was over: %r", task.exception())
