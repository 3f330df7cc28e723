"""The page to log in, and the way out."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from anyio.to_thread import run_sync
from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from astrid.service import log_in, sessions
from astrid.service.access import get_user
from astrid.service.errors import Problem, responses
from astrid.service.state import StateOf

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


@router.get("/login", name="login")
async def show(request: Request, state: StateOf, next: str = "/") -> Response:
    """The page; who is known already goes on."""
    if get_user(request) is not None:
        return RedirectResponse(_inside(next), 303)
    return _page(state, request, next)


@router.post("/login", responses=responses(403, 422, 429, 503))
async def enter(
    request: Request,
    state: StateOf,
    name: Annotated[str, Form(max_length=256)],
    password: Annotated[str, Form(max_length=4096)],
    next: Annotated[str, Form(max_length=2048)] = "/",
) -> Response:
    """Begin a session; one that there was before ends."""
    address = log_in.address_of(request.client)
    try:
        good = await log_in.check(state, name, password, address)
    except Problem as refused:
        page = _page(state, request, next, name, str(refused.detail), refused.status_code)
        page.headers.update(refused.headers or {})
        return page
    if not good:
        return _page(state, request, next, name, "name and password do not fit together", 403)
    response = RedirectResponse(_inside(next), 303)

    def begin() -> None:
        _end(state, request)
        sessions.begin(state, request.scope, response, name, address)

    await run_sync(begin)
    return response


@router.post("/logout")
async def leave(request: Request, state: StateOf) -> Response:
    """End the session."""
    await run_sync(_end, state, request)
    response = RedirectResponse("/login", 303)
    sessions.forget(state, request.scope, response)
    return response


def _end(state: StateOf, request: Request) -> None:
    cookie = request.cookies.get(sessions.cookie_name(state, request.scope))
    if cookie:
        sessions.end(state, cookie)


def _page(
    state: StateOf, request: Request, next: str, name: str = "", problem: str = "", status: int = 200
) -> HTMLResponse:
    return state.page(request, "login.html", status=status, next=_inside(next), name=name, problem=problem)


def _inside(target: str) -> str:
    """A path of this service; the start for anything else."""
    try:
        parts = urlsplit(target)
    except ValueError:
        return "/"
    good = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if good and not parts.scheme and not parts.netloc and "\\" not in target else "/"
