"""What the service says when something is wrong: problem JSON (RFC 9457) for programs, a page for people.

Sentences about what was sent are passed on; what went wrong in the house goes to the log only.
"""

from __future__ import annotations

import http
import json
import logging
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from astrid.errors import (
    AstridError,
    BundleError,
    DataError,
    DependencyError,
    OutputError,
    StoreError,
    StreamError,
    UsageError,
)

__all__ = [
    "Problem", "ProblemBody", "Unexpected", "answer", "install", "problem", "responses", "translate",
]  # fmt: skip

_LOG = logging.getLogger(__name__)
_JSON = "application/problem+json"
_FOR_PROGRAMS = ("/api/", "/v2", "/metrics", "/health", "/static/")

# What the house is to blame for: its own sentences name files and addresses, which are not for everybody.
_OURS: tuple[tuple[type[AstridError], str], ...] = (
    (StoreError, "the store cannot be used at the moment; try again later"),
    (OutputError, "the server cannot write at the moment; try again later"),
    (StreamError, "a service that this one needs cannot be reached; try again later"),
    (BundleError, "the model cannot be used at the moment; ask who runs this service"),
    (DependencyError, "this needs a part of AstrID that is not installed here; ask who runs this service"),
)
_WAIT = "5"  # s, in Retry-After


class Problem(HTTPException):
    """A refusal with a sentence for whoever asked.

    Parameters
    ----------
    status : int
    detail : str
        What was given, what was expected, what to do; it is shown as it stands.
    headers : mapping, optional
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


class ProblemBody(BaseModel):
    """A problem as RFC 9457 has it."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[dict[str, Any]] | None = None


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What the description of a route says of its refusals; pass it as ``responses=``."""
    return {
        status: {
            "description": http.HTTPStatus(status).phrase,
            "content": {_JSON: {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
        }
        for status in statuses
    }


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> JSONResponse:
    """Problem JSON."""
    body = {"type": "about:blank", "title": http.HTTPStatus(status).phrase, "status": status}
    return JSONResponse({**body, "detail": detail, **more}, status, headers, _JSON)


def answer(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """A problem in the form that suits who asked.

    Who is not known and opens a page is sent to the log-in.
    """
    if request.url.path.startswith(_FOR_PROGRAMS) or "text/html" not in request.headers.get("accept", ""):
        return problem(status, detail, headers, **more)
    if status == 401 and request.method == "GET":
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)
    title = http.HTTPStatus(status).phrase
    return request.app.state.astrid.page(
        request, "error.html", status=status, headers=headers, title=title, detail=detail
    )


def translate(error: AstridError) -> tuple[int, str]:
    """The status and the sentence of an error."""
    for kind, sentence in _OURS:
        if isinstance(error, kind):
            return 503, sentence
    sentence = " ".join(str(error).split())
    if isinstance(error, UsageError):
        return 400, sentence
    return (422 if isinstance(error, DataError) else 500), sentence


def install(app: FastAPI) -> None:
    """Make an application answer errors in this way."""

    async def refused(request: Request, error: Any) -> Response:
        return answer(request, error.status_code, str(error.detail), error.headers)

    async def invalid(request: Request, error: Any) -> Response:
        # without what was sent, and without what pydantic thinks of it
        found = [
            {"where": [str(part) for part in one["loc"]], "what": one["msg"]} for one in error.errors()[:20]
        ]
        first = found[0] if found else {"where": ["request"], "what": "is not valid"}
        sentence = f"{'.'.join(first['where'])}: {first['what']}"
        return answer(request, 422, sentence, errors=found)

    async def named(request: Request, error: Any) -> Response:
        status, sentence = translate(error)
        headers = None
        if status >= 500:
            _LOG.error("%s %s: %s", request.method, json.dumps(request.url.path), error)
            headers = {"Retry-After": _WAIT}
        return answer(request, status, sentence, headers)

    app.add_exception_handler(HTTPException, refused)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(AstridError, named)


class Unexpected:
    """ASGI middleware that answers what nobody has foreseen by 500, and tells the log only.

    Parameters
    ----------
    app : ASGI application
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = False

        async def seen(message: Message) -> None:
            nonlocal begun
            begun = begun or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, seen)
        except Exception:
            if begun:  # the server ends the connection, by which the client sees that something is missing
                raise
            number = secrets.token_hex(4)
            _LOG.exception("fault %s: %s %s", number, scope["method"], json.dumps(scope["path"]))
            sentence = f"the service has a fault of its own; tell who runs it that it was fault {number}"
            await answer(Request(scope), 500, sentence)(scope, receive, send)
