"""The application: which routes there are, and what every request goes through.

What a route does is in `routes` and `pages`; how it is run is in `serving`.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from anyio.to_thread import run_sync
from fastapi import Depends, FastAPI
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from astrid._version import __version__
from astrid.service import errors
from astrid.service.access import signed_in
from astrid.service.authentication import Authentication
from astrid.service.description import describe
from astrid.service.forgery import Origins, Tokens
from astrid.service.headers import SecurityHeaders
from astrid.service.limits import Bodies, Places
from astrid.service.metrics import Counting
from astrid.service.settings import Settings
from astrid.service.state import STATIC, State
from astrid.store import open_store
from astrid.store.store import Store

__all__ = ["PUBLIC", "ROUTERS", "create_app"]

PUBLIC: tuple[str, ...] = (
    "pages.login",
    "pages.style",
    "routes.health",
    "routes.readiness",
)
"""Modules of `astrid.service` whose ``router`` has routes for everybody; the others of them say so."""

ROUTERS: tuple[str, ...] = (
    "routes.accounts",
    "routes.classify",
    "routes.inference",
    "routes.models",
    "routes.candidates",
    "routes.cutouts",
    "routes.explanations",
    "routes.objects",
    "routes.filters",
    "routes.events",
    "routes.labels",
    "pages.dashboard",
    "pages.review",
    "pages.objects",
    "pages.accounts",
)  # fmt: skip
"""Modules whose ``router`` is for people with an account only; a new one adds its line here."""


def create_app(settings: Settings, store: Store | None = None) -> FastAPI:
    """The service as an ASGI application.

    Parameters
    ----------
    settings : Settings
    store : Store, optional
        One that is open already, and stays so; that of the settings if not given.
    """
    state = State(store or open_store(settings.store, settings.database), settings)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        finally:
            state.stopping.set()
            if store is None:
                await run_sync(state.store.close)

    app = FastAPI(
        title="AstrID",
        version=__version__,
        summary="Classified, explained and reviewed events of the time-domain sky.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these load scripts from elsewhere
        redoc_url=None,
        lifespan=life,
        # the outermost first
        middleware=[
            Middleware(SecurityHeaders, state=state),
            Middleware(Counting, metrics=state.metrics),
            Middleware(errors.Unexpected),
            Middleware(Origins, state=state),
            Middleware(Authentication, state=state),
            Middleware(Bodies, state=state),
            Middleware(Tokens, state=state),
            Middleware(Places, state=state),
        ],
    )
    app.state.astrid = state
    errors.install(app)
    describe(app)
    for name in PUBLIC:
        app.include_router(_router(name))
    for name in ROUTERS:
        # so that a route that forgets to ask is not open to the world
        app.include_router(_router(name), dependencies=[Depends(signed_in)])
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


def _router(name: str) -> Any:
    return importlib.import_module(f"astrid.service.{name}").router
