"""What all requests share: the store, the settings, the loaded models, and how a page is drawn.

A request gets it by the dependency `get_state`; what belongs to one request alone is not here.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from astrid.service.metrics import Metrics
from astrid.service.settings import Settings
from astrid.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["STATIC", "State", "StateOf", "get_state", "templates"]

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
"""Scripts, styles and pictures, served below ``/static``."""


def templates() -> Environment:
    """The templates of the pages; what is put into one is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = _Static()
    environment.filters |= {"day": _time("%Y-%m-%d"), "moment": _time("%Y-%m-%d %H:%M")}
    return environment


@dataclass(frozen=True)
class State:
    """What all requests share.

    Attributes
    ----------
    store : Store
    settings : Settings
    templates : jinja2.Environment
    metrics : Metrics
    models : dict
        What the routes of models keep, by name of a bundle; loaded once.
    shared : dict
        What other routes keep for the life of the service, by a name of their own.
    stopping : threading.Event
        Set when the service is told to stop: whoever answers for ever ends then.
    """

    store: Store
    settings: Settings
    templates: Environment = field(default_factory=templates)
    metrics: Metrics = field(default_factory=Metrics)
    models: dict[str, Any] = field(default_factory=dict)
    shared: dict[str, Any] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)

    def page(
        self,
        request: Request,
        name: str,
        /,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> HTMLResponse:
        """A page from a template.

        The template also gets ``request``, ``user``, ``csrf``, ``logged_in`` and ``state``.

        Parameters
        ----------
        request : Request
        name : str
            Of the template.
        status : int
        headers : mapping, optional
        **context
            What the template is to know.
        """
        facts = request.scope.get("state", {})
        ours = {
            "request": request,
            "user": facts.get("user"),
            "csrf": facts.get("csrf", ""),
            "logged_in": facts.get("proof") == "session",
            "state": self,
        }
        text = self.templates.get_template(name).render({**ours, **context})
        return HTMLResponse(text, status, dict(headers or {}))


def get_state(request: Request) -> State:
    """What all requests share, for one of them."""
    return request.app.state.astrid


StateOf = Annotated[State, Depends(get_state)]
"""The annotation of a parameter that gets the state."""


def _time(form: str) -> Callable[[float], str]:
    """Writes a time in seconds since 1970 as text, UTC."""
    return lambda seconds: datetime.fromtimestamp(seconds, UTC).strftime(form)


class _Static:
    """Address of a file below ``static/``: with its hash, so that a browser keeps it until it changes."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, str]] = {}

    def __call__(self, name: str) -> str:
        path = STATIC / name
        changed = path.stat().st_mtime
        known = self._known.get(name)
        if known is None or known[0] != changed:
            known = changed, hashlib.sha256(path.read_bytes()).hexdigest()[:12]
            self._known[name] = known
        return f"/static/{name}?v={known[1]}"
