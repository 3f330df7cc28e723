"""Whether models can be asked, as the Open Inference Protocol puts the question; open to everybody."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from astrid.service.errors import Problem, responses
from astrid.service.models import ready as models_ready
from astrid.service.state import StateOf
from astrid.service.work import in_thread

__all__ = ["router"]

router = APIRouter(prefix="/v2/health", tags=["inference"])


class Live(BaseModel):
    """Whether the server lives."""

    live: bool


class Ready(BaseModel):
    """Whether the models can be asked."""

    ready: bool


@router.get("/live")
async def live() -> Live:
    """Whether the server answers."""
    return Live(live=True)


@router.get("/ready", responses=responses(503, 504))
async def ready(state: StateOf) -> Ready:
    """Whether the models are loaded and can be asked."""
    if state.stopping.is_set() or not await in_thread(state, models_ready, state):
        raise Problem(503, "the models cannot be asked at the moment; try again later", {"Retry-After": "5"})
    return Ready(ready=True)
