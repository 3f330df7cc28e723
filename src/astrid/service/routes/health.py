"""Whether the service is well, and its numbers."""

from __future__ import annotations

from anyio.to_thread import run_sync
from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import BaseModel

from astrid._version import __version__
from astrid.errors import StoreError
from astrid.service.access import Viewer
from astrid.service.errors import Problem, responses
from astrid.service.state import StateOf

__all__ = ["router"]

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """How the service is."""

    status: str
    version: str


@router.get("/health", responses=responses(503))
async def health(state: StateOf) -> Health:
    """Whether requests can be answered: the service is not about to stop, and its store can be read."""
    if state.stopping.is_set():
        raise Problem(503, "the service is stopping", {"Retry-After": "10"})
    try:
        await run_sync(state.store.accounts.any)
    except StoreError:
        raise Problem(503, "the store cannot be read", {"Retry-After": "10"}) from None
    return Health(status="ok", version=__version__)


@router.get("/metrics", responses=responses(401), response_class=Response)
async def metrics(state: StateOf, user: Viewer) -> Response:
    """Numbers of the service, as Prometheus collects them."""
    return Response(state.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
