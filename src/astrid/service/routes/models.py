"""The models that can be asked: what they take, what they answer, and how good they were found to be."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from astrid.service.access import Viewer
from astrid.service.errors import responses
from astrid.service.models import get_models
from astrid.service.paging import reply
from astrid.service.state import StateOf
from astrid.service.work import in_thread

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/models", tags=["models"])


class ModelBody(BaseModel):
    """One model in short."""

    name: str
    version: str
    hash: str
    system: str
    title: str
    paper: str
    stage: str
    kind: str
    created: str
    licence: str
    limits: str
    uncertainty: str
    inputs: dict[str, Any]
    heads: dict[str, Any]
    metrics: list[dict[str, Any]]


class ModelList(BaseModel):
    """The models."""

    models: list[ModelBody]


class ModelCard(ModelBody):
    """One model with its whole card."""

    card: dict[str, Any]


@router.get("", response_model=ModelList, responses=responses(401, 403, 503, 504))
async def models(request: Request, state: StateOf, user: Viewer) -> Response:
    """List the models that are served."""
    listed = await in_thread(state, get_models(state).listed)
    known: tuple[Any, Any] = state.shared.get("models told", (None, None))
    if known[0] is not listed:
        known = state.shared["models told"] = (listed, [one.as_dict() for one in listed.values()])
    return reply(request, {"models": known[1]})


@router.get("/{name}", response_model=ModelCard, responses=responses(401, 403, 404, 422, 503, 504))
async def model(
    request: Request, state: StateOf, user: Viewer, name: Annotated[str, Path(max_length=200)]
) -> Response:
    """One model, with its whole card: data, recipe, calibration, ranges and figures."""
    found = await in_thread(state, get_models(state).find, name)
    return reply(request, {**found.as_dict(), "card": found.bundle.card.model_dump(mode="json")})
