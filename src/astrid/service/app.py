"""The application: which routes there are, and what every request goes through.

What a route does is in `routes` and `pages`; how it is run is in `serving`.
"""

from __future__ import annotations

import importlib

from fastapi import FastAPI
from starlette.staticfiles import StaticFiles

from astrid._version import __version__
from astrid.service import errors
from astrid.service.authentication import Authentication
from astrid.service.settings import Settings
from astrid.service.state import STATIC, State
from astrid.store import open_store
from astrid.store.store import Store

__all__ = ["ROUTERS", "create_app"]

ROUTERS: tuple[str, ...] = ()
"""Modules of `astrid.service` that have a ``router``; a new one adds its line here."""


def create_app(settings: Settings, store: Store | None = None) -> FastAPI:
    """The service as an ASGI application.

    Parameters
    ----------
    settings : Settings
    store : Store, optional
        One that is open already; that of the settings if not given.
    """
    app = FastAPI(
        title="AstrID",
        version=__version__,
        summary="Classified, explained and reviewed events of the time-domain sky.",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # these load scripts from elsewhere
        redoc_url=None,
    )
    state = State(store or open_store(settings.store, settings.database), settings)
    app.state.astrid = state
    errors.install(app)
    app.add_middleware(Authentication, state=state)
    for name in ROUTERS:
        app.include_router(importlib.import_module(f"astrid.service.{name}").router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app
