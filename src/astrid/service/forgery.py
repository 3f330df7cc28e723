"""Requests that another site makes a browser send: they are refused by where they come from and go to.

The host keeps names out that were bent to this machine (DNS rebinding); the origin, and a token in each
request that changes something, keep out other pages.
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astrid.service.errors import Problem, answer
from astrid.service.settings import Settings, is_loopback
from astrid.service.state import State

__all__ = ["Origins", "Tokens"]

_SAFE = ("GET", "HEAD", "OPTIONS")
_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data")
_BROWSER = ("origin", "referer", "cookie", "sec-fetch-site", "sec-fetch-mode", "sec-fetch-dest")
_OWN = ("same-origin", "none")
_LAST_PORT = 65_535
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>[0-9]{1,5}))?")
_LOG_IN = "/login"  # asked for by somebody without a session, or with one that is over


class Origins:
    """ASGI middleware that refuses other hosts, and other origins for what changes something.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._settings = state.settings
        self._names = _names(state.settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            try:
                self._check(scope["method"], Headers(scope=scope))
            except Problem as refused:
                response = answer(Request(scope), refused.status_code, str(refused.detail))
                await response(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _check(self, method: str, headers: Headers) -> None:
        hosts = headers.getlist("host")
        name, port = _split(hosts[0]) if len(hosts) == 1 else (None, None)
        if name is None or not self._is_ours(name):
            raise Problem(
                421,
                "this service does not go by that name; use its own address, or have it started with --url",
            )
        site = headers.get("sec-fetch-site")
        if method in _SAFE:
            # what another page makes us work out, it can neither read nor needs; links to us are welcome
            if site == "cross-site" and headers.get("sec-fetch-mode", "navigate") != "navigate":
                raise Problem(403, "another site has asked for this; open it from our own pages")
            return
        if site is not None:
            good = site in _OWN
        else:
            origin = headers.get("origin")
            good = origin is None or self._is_own(origin, name, port)
        if not good:
            raise Problem(403, "this was sent by a page of another site; use our own pages")

    def _is_ours(self, name: str) -> bool:
        if name in self._names or is_loopback(name):
            return True
        # a bent name is a name: who asks for an address means this machine
        return not self._settings.is_local and _is_address(name)

    def _is_own(self, origin: str, name: str, port: int | None) -> bool:
        try:
            parts = urlsplit(origin)
            given = parts.hostname, parts.port
        except ValueError:
            return False
        if parts.scheme not in ("http", "https"):
            return False
        default = 443 if parts.scheme == "https" else 80
        if (given[0], given[1] or default) == (name, port or default):
            return True
        return self._settings.url is not None and origin == self._settings.url.rstrip("/")


class Tokens:
    """ASGI middleware that asks for the token of the page where a browser changes something.

    Who sends a token of an account needs none: no page of others knows it.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] in _SAFE:
            await self._app(scope, receive, send)
            return
        facts, headers = scope["state"], Headers(scope=scope)
        proof = facts["proof"]
        # programs on a laptop without accounts are not asked for what only a page can know
        asked = proof == "session" or (proof == "local" and any(name in headers for name in _BROWSER))
        asked = asked and scope["path"] != _LOG_IN
        if asked:
            given = headers.get("x-csrf-token")
            if given is None and headers.get("content-type", "").split(";")[0].strip().lower() in _FORMS:
                try:
                    given, receive = await _from_form(scope, receive)
                except HTTPException as error:  # of the parser, outside of what catches those of routes
                    await answer(Request(scope), error.status_code, error.detail)(scope, receive, send)
                    return
            if not secrets.compare_digest((given or "").encode(), facts["csrf"].encode()):
                sentence = "the page is too old, or this was not sent by it; load it again"
                await answer(Request(scope), 403, sentence)(scope, receive, send)
                return
        await self._app(scope, receive, send)


async def _from_form(scope: Scope, receive: Receive) -> tuple[str | None, Receive]:
    """The field ``csrf`` of a form, and what gives the same body again."""
    messages: list[Message] = []

    async def kept() -> Message:
        message = await receive()
        messages.append(message)
        return message

    async with Request(scope, kept).form() as form:
        given = form.get("csrf")
    waiting = iter(messages)

    async def again() -> Message:
        return next(waiting, None) or await receive()

    return given if isinstance(given, str) else None, again


def _names(settings: Settings) -> frozenset[str]:
    """The names, in small letters, that the service goes by."""
    names = {settings.host}
    if settings.url is not None:
        names.add(urlsplit(settings.url).hostname or "")
    elif not settings.is_local:
        names |= {socket.gethostname(), socket.gethostname().partition(".")[0]}
    return frozenset(name.lower() for name in names)


def _split(host: str) -> tuple[str | None, int | None]:
    """Name in small letters and port of a Host header; no name if it is none."""
    found = _HOST.fullmatch(host)
    if found is None or int(found["port"] or 0) > _LAST_PORT:
        return None, None
    return found["name"].strip("[]").rstrip(".").lower() or None, int(found["port"] or 0) or None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
