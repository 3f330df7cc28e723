"""Sessions of people at a browser: how one begins, goes on and ends, and the cookie that stands for it.

The secret is made anew at each log-in and only its hash is kept, so none can be fixed beforehand or be read
from the database.
"""

from __future__ import annotations

import secrets
import time

from starlette.responses import Response
from starlette.types import Scope

from astrid.service.state import State
from astrid.service.tokens import digest
from astrid.store.accounts import SessionRecord

__all__ = ["LONGEST", "begin", "cookie_name", "end", "find", "forget"]

LONGEST = 7 * 86400.0
"""Seconds after which one has to log in again, however busy a session is."""

_EXTEND_AFTER = 600.0  # s: a session that is used all the time is not written each time


def cookie_name(state: State, scope: Scope) -> str:
    """The cookie's name; with TLS one that browsers take from this very host only, and never without TLS.

    Else with the port in it: browsers give the cookies of all ports of a laptop to each of them.
    """
    return "__Host-astrid" if _secure(state, scope) else f"astrid{(scope.get('server') or ('', ''))[1]}"


def begin(state: State, scope: Scope, response: Response, user: str, address: str) -> None:
    """Begin a session of a user, whose cookie goes along with a response."""
    secret = secrets.token_urlsafe(32)
    expires = time.time() + 3600 * state.settings.session_hours
    state.store.accounts.add_session(
        digest(secret), user, secrets.token_urlsafe(32), expires, {"address": address}
    )
    response.set_cookie(
        cookie_name(state, scope),
        secret,
        max_age=round(LONGEST),
        path="/",
        secure=_secure(state, scope),
        httponly=True,
        samesite="lax",
    )


def find(state: State, secret: str) -> SessionRecord | None:
    """The session of a cookie, which goes on for as long again; None if there is none."""
    accounts = state.store.accounts
    record = accounts.find_session(digest(secret))
    if record is not None:
        until = min(time.time() + 3600 * state.settings.session_hours, record.created + LONGEST)
        if until - record.expires > _EXTEND_AFTER:
            accounts.extend_session(digest(secret), until)
    return record


def end(state: State, secret: str) -> None:
    """End the session of a cookie, if there is one."""
    state.store.accounts.end_session(digest(secret))


def forget(state: State, scope: Scope, response: Response) -> None:
    """Make the browser forget its cookie."""
    response.delete_cookie(
        cookie_name(state, scope),
        path="/",
        secure=_secure(state, scope),
        httponly=True,
        samesite="lax",
    )


def _secure(state: State, scope: Scope) -> bool:
    return state.settings.is_secure or scope.get("scheme") == "https"
