"""Objects: all alerts of one source, and its light curve from all that they tell."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel

from astrid.service.access import Viewer
from astrid.service.errors import Problem, responses
from astrid.service.paging import reply
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread

__all__ = ["router"]

router = APIRouter(prefix="/api/v1/objects", tags=["objects"])

_MOST = 5000  # alerts of one object
_TOLD = (
    "alert_id",
    "night",
    "mjd",
    "band",
    "magpsf",
    "sigmapsf",
    "positive",
    "ra",
    "dec",
    "realbogus",
    "arrived",
)
_REFUSALS = responses(401, 403, 404, 413, 422, 503, 504) | {304: {"description": "Not Modified"}}


class ObjectBody(BaseModel):
    """One object."""

    survey: str
    object_id: str
    n_alerts: int
    ra: float | None
    dec: float | None
    first_mjd: float | None
    last_mjd: float | None
    alerts: list[dict[str, Any]]
    links: dict[str, str]


class Point(BaseModel):
    """One measurement of a light curve; fluxes in nJy, magnitudes in AB."""

    mjd: float | None
    band: str | None
    flux: float | None
    flux_err: float | None
    magpsf: float | None
    sigmapsf: float | None
    limiting_mag: float | None
    positive: bool | None
    forced: bool | None
    id: str | None
    alert_id: str | None


class Curve(BaseModel):
    """A light curve."""

    survey: str
    object_id: str
    points: list[Point]


@router.get("/{survey}/{object_id}", response_model=ObjectBody, responses=_REFUSALS)
async def object_(request: Request, state: StateOf, user: Viewer, survey: str, object_id: str) -> Response:
    """One object, with its alerts in the order in which they came."""
    return reply(request, await in_thread(state, _object, state, survey, object_id))


def _object(state: State, survey: str, object_id: str) -> dict[str, Any]:
    keys = _keys(state, survey, object_id)
    rows = state.store.candidates(keys, _TOLD).to_pylist()
    placed = [row for row in rows if row["ra"] is not None and row["dec"] is not None]
    times = [row["mjd"] for row in rows if row["mjd"] is not None]
    # the position of the newest: a mean would be wrong around ra = 0
    last = placed[-1] if placed else {"ra": None, "dec": None}
    base = f"/api/v1/objects/{survey}/{object_id}"
    return {
        "survey": survey,
        "object_id": object_id,
        "n_alerts": len(rows),
        "ra": last["ra"],
        "dec": last["dec"],
        "first_mjd": min(times, default=None),
        "last_mjd": max(times, default=None),
        "alerts": rows,
        "links": {"lightcurve": f"{base}/lightcurve"},
    }


@router.get("/{survey}/{object_id}/lightcurve", response_model=Curve, responses=_REFUSALS)
async def lightcurve(request: Request, state: StateOf, user: Viewer, survey: str, object_id: str) -> Response:
    """The light curve of an object: each measurement that its alerts and their histories tell of, once."""

    def work() -> dict[str, Any]:
        _keys(state, survey, object_id)
        points = state.store.light_curve(survey, object_id).to_pylist()
        return {"survey": survey, "object_id": object_id, "points": points}

    return reply(request, await in_thread(state, work))


def _keys(state: State, survey: str, object_id: str) -> list[tuple[str, str]]:
    keys = state.store.object_keys(survey, object_id) if "\0" not in survey + object_id else []
    if not keys:
        raise Problem(404, f"there is no object {object_id[:80]!r} of {survey[:40]!r}; check survey and name")
    if len(keys) > _MOST:
        raise Problem(
            413, f"the object has {len(keys)} alerts, at most {_MOST} are told; ask for candidates in a cone"
        )
    return keys
