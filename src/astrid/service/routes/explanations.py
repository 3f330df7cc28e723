"""Why a model says what it says about a candidate, on demand: as numbers and as a picture."""

from __future__ import annotations

import io
import threading
from collections import OrderedDict
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from astrid.alerts import centred_triplet
from astrid.service.access import Viewer
from astrid.service.errors import Problem, responses
from astrid.service.models import LIVE, Model, get_models
from astrid.service.paging import JSON, json_bytes, not_modified, tag_of
from astrid.service.routes.candidates import kept
from astrid.service.routes.cutouts import alert_with_images
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread
from astrid.survey.realbogus_data import TRIPLET

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/candidates/{survey}/{alert_id}", tags=["explanations"])

_KEPT = 256  # explanations in memory, of some 100 kB
_CACHE = "explanations"
_DRAWING = threading.Lock()  # matplotlib keeps its fonts for all threads
_MAKING = threading.Lock()

Method = Literal["occlusion", "occlusion_by_channel", "channels", "perturbation"]


class ExplanationBody(BaseModel):
    """An explanation, as `astrid.learn.explanation` stores it."""

    method: str
    head: str
    target: str
    prediction: float
    probability: float | None
    sanity: float | None
    notes: list[str]
    bundle: str
    hash: str


@router.get(
    "/explanations",
    response_model=ExplanationBody,
    responses=responses(400, 401, 403, 404, 410, 422, 503, 504)
    | {
        200: {"content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}},
        304: {"description": "Not Modified"},
    },
)
async def explanation(
    request: Request,
    state: StateOf,
    user: Viewer,
    survey: str,
    alert_id: str,
    model: Annotated[str, Query(max_length=200, description="Of the one in use if not given.")] = LIVE,
    method: Annotated[Method, Query()] = "occlusion",
    head: Annotated[str | None, Query(max_length=64)] = None,
    target: Annotated[
        str | None, Query(max_length=64, description="A label; the likeliest if not given.")
    ] = None,
    sanity: Annotated[
        bool, Query(description="Compare with random networks, for four times the cost.")
    ] = False,
    form: Annotated[Literal["json", "png"], Query(description="Numbers, or a picture.")] = "json",
) -> Response:
    """Explain what a model says of a candidate: which pixels speak for it, and which against."""
    record = await in_thread(state, kept, state, survey, alert_id)
    chosen = await in_thread(state, get_models(state).find, model)
    if chosen.kind != "triplets":
        raise Problem(
            422, f"{chosen.name} takes {chosen.kind}, not the cutouts of a candidate; name another model"
        )
    key = (record.packet, chosen.bundle.hash, method, head, target, sanity)
    tag = tag_of(*key, form)
    headers = {"Cache-Control": "private, no-cache"}
    unchanged = not_modified(request, tag, headers)
    if unchanged is not None:
        return unchanged
    content = await in_thread(state, _made, state, survey, alert_id, chosen, key, form, lane="models")
    kind = JSON if form == "json" else "image/png"
    return Response(content, headers={"ETag": tag, **headers}, media_type=kind)


def _made(state: State, survey: str, alert_id: str, model: Model, key: tuple[Any, ...], form: str) -> bytes:
    from astrid.learn.explanation import explain

    with _MAKING:
        cache: OrderedDict[Any, bytes] = state.shared.setdefault(_CACHE, OrderedDict())
        if (*key, form) in cache:
            cache.move_to_end((*key, form))
            return cache[*key, form]
    _, _, method, head, target, sanity = key
    ((name, one),) = model.bundle.task.inputs.items()
    triplet = centred_triplet(alert_with_images(state, survey, alert_id), one.shape[0])
    image = np.ascontiguousarray(triplet[..., [TRIPLET.channels.index(channel) for channel in one.channels]])
    found = explain(model.bundle, {name: image}, method=method, head=head, target=target, sanity=sanity)
    if form == "json":
        content = json_bytes(found.to_json())
    else:
        stream = io.BytesIO()
        with _DRAWING:
            found.plot().savefig(stream, format="png", dpi=110)
        content = stream.getvalue()
    with _MAKING:
        cache[*key, form] = content
        while len(cache) > _KEPT:
            cache.popitem(last=False)
    return content
