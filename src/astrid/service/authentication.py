"""Proves who asks: by a token, by the cookie of a session, or because this is a laptop without accounts.

What is found goes into the state of the request: ``user``, ``csrf`` and ``proof``. What a user may is in
`access`; how a session begins and ends is in `sessions`.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie

import anyio
from anyio.to_thread import run_sync
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from astrid.errors import AstridError
from astrid.service import sessions
from astrid.service.access import User
from astrid.service.errors import answer, translate
from astrid.service.settings import is_loopback, operator
from astrid.service.state import State
from astrid.service.tokens import digest

__all__ = ["Authentication", "Known"]

_THREADS = 8  # that look into the database for this
_LOOK_AGAIN = 1.0  # s: how soon the first account of a laptop is noticed
_FORWARDED = ("x-forwarded-for", "x-forwarded-host", "x-real-ip", "forwarded", "via")


@dataclass(frozen=True)
class Known:
    """What is known of who sent a request.

    Attributes
    ----------
    user : User or None
        None is nobody that we know.
    csrf : str
        What a page must send back to prove that a request is its own.
    proof : {"", "token", "session", "local"}
        How it was proved.
    """

    user: User | None = None
    csrf: str = ""
    proof: str = ""


class Authentication:
    """ASGI middleware that finds out who asks; nobody is refused here who sends no proof at all.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._state = state
        self._threads = anyio.CapacityLimiter(_THREADS)
        self._operator = Known(User(operator(), "admin"), secrets.token_urlsafe(32), "local")
        self._without_accounts = state.settings.is_local
        self._looked = -_LOOK_AGAIN

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with what is known of who sent it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            known = await self._known(scope, headers)
        except AstridError as error:
            scope.setdefault("state", {}).update(vars(Known()))
            status, sentence = translate(error)
            await answer(Request(scope), status, sentence, {"Retry-After": "5"})(scope, receive, send)
            return
        scope.setdefault("state", {}).update(vars(known or Known()))
        if known is None:
            refusal = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
            sentence = "the token is not known, too old or revoked; ask for a new one"
            await answer(Request(scope), 401, sentence, refusal)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    async def _known(self, scope: Scope, headers: Headers) -> Known | None:
        """What the proof is worth; None for one that is wrong, where it cannot be an old one by mistake."""
        given = headers.getlist("authorization")
        if given:
            kind, _, token = given[0].partition(" ")
            if len(given) > 1 or kind.lower() != "bearer":
                return None
            return await run_sync(self._by_token, token.strip(), limiter=self._threads)
        cookie = _cookie(headers, sessions.cookie_name(self._state, scope))
        found = None
        if cookie:
            found = await run_sync(self._by_session, cookie, limiter=self._threads)
        if found is not None:
            return found
        if await self._is_free(scope, headers):
            return self._operator
        return Known()

    def _by_token(self, token: str) -> Known | None:
        record = self._state.store.accounts.find_token(digest(token))
        return None if record is None else Known(User(record.name, record.role), "", "token")

    def _by_session(self, cookie: str) -> Known | None:
        record = sessions.find(self._state, cookie)
        return None if record is None else Known(User(record.user, record.role), record.csrf, "session")

    async def _is_free(self, scope: Scope, headers: Headers) -> bool:
        """Whether this came from this machine, and nobody has an account yet."""
        if not self._without_accounts:
            return False
        now = time.monotonic()
        if now - self._looked >= _LOOK_AGAIN:
            if await run_sync(self._state.store.accounts.any, limiter=self._threads):
                self._without_accounts = False  # for good: accounts are switched off, but never removed
                return False
            self._looked = now
        # a proxy on this machine would make everybody the operator
        client, peer = scope.get("client"), scope.get("state", {}).get("peer")
        if any(name in headers for name in _FORWARDED) or not (client is None or is_loopback(client[0])):
            return False
        return peer is None or await run_sync(lambda: peer.is_ours, limiter=self._threads)


def _cookie(headers: Headers, name: str) -> str | None:
    """The value of a cookie; None also where it is there twice, which no browser of ours sends."""
    found = []
    for line in headers.getlist("cookie"):
        for part in line.split(";"):
            try:
                jar = SimpleCookie(part.strip())
            except CookieError:
                continue
            if name in jar:
                found.append(jar[name].value)
    return found[0] if len(found) == 1 else None
