"""Candidates: the alerts of the store as they were known when they came, with their scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from astrid.service.access import Viewer
from astrid.service.errors import Problem, responses
from astrid.service.paging import next_link, not_modified, place_after, reply, tag_of
from astrid.service.selection import Selection, known_columns, selection_of
from astrid.service.state import State, StateOf
from astrid.service.work import in_thread
from astrid.store.records import AlertRecord

__all__ = ["existing", "kept", "positions", "router"]

router = APIRouter(prefix="/api/v1", tags=["candidates"])

_SCANNED = 200_000  # rows that a page looks at
_SECONDS = 5.0  # that it takes
_CONE = 3600.0  # arcsec
_MOST_IN_CONE = 20_000
_LONG = ("history", "extras")  # columns that are much larger than all others
_FEW = 100  # rows of a page with these
_NIGHT = r"^\d{4}-\d{2}-\d{2}$"

Night = Annotated[str | None, Query(pattern=_NIGHT, description="YYYY-MM-DD of the evening.")]


class Column(BaseModel):
    """One column of candidates."""

    name: str
    type: str
    unit: str
    meaning: str
    low: float | None
    high: float | None


class ColumnList(BaseModel):
    """The columns that conditions can use."""

    columns: list[Column]


class CandidateList(BaseModel):
    """A page of candidates."""

    candidates: list[dict[str, Any]]
    next: str | None
    scanned: int


class StoredScore(BaseModel):
    """What a bundle has said of an alert."""

    bundle: str
    hash: str
    label: str
    value: float | None
    spread: float | None
    decision: str | None
    set: str | None
    applicable: str | None
    unscored: str | None


class ScoreList(BaseModel):
    """What bundles have said of an alert."""

    scores: list[StoredScore]


class CandidateBody(BaseModel):
    """One candidate: its whole row, and what every bundle says of it."""

    candidate: dict[str, Any]
    scores: list[StoredScore]
    links: dict[str, str]


@router.get("/columns", response_model=ColumnList, responses=responses(401, 403, 503, 504))
async def columns(request: Request, state: StateOf, user: Viewer) -> Response:
    """List the columns of candidates, which conditions can use."""
    found = await in_thread(state, known_columns, state)
    listed = [
        {"name": one.name, "type": one.type, "unit": one.unit, "meaning": one.meaning, "low": one.low,
         "high": one.high}
        for one in found
    ]  # fmt: skip
    return reply(request, {"columns": listed})


@router.get(
    "/candidates",
    response_model=CandidateList,
    responses=responses(400, 401, 403, 404, 413, 422, 503, 504) | {304: {"description": "Not Modified"}},
)
async def candidates(
    request: Request,
    state: StateOf,
    user: Viewer,
    filter: Annotated[
        str | None, Query(max_length=20_000, description="Condition on the columns, such as realbogus > 0.8")
    ] = None,
    saved: Annotated[str | None, Query(max_length=64, description="Name of a saved filter.")] = None,
    since: Night = None,
    until: Night = None,
    survey: Annotated[list[str] | None, Query(max_length=16)] = None,
    ra: Annotated[float | None, Query(ge=0, le=360, description="deg")] = None,
    dec: Annotated[float | None, Query(ge=-90, le=90, description="deg")] = None,
    radius: Annotated[float | None, Query(gt=0, le=_CONE, description="arcsec")] = None,
    order: Annotated[
        Literal["newest", "oldest"], Query(description="Within a cone, the nearest is first.")
    ] = "newest",
    column: Annotated[
        list[str] | None,
        Query(max_length=200, description="Columns that are wanted; may be repeated. * is all."),
    ] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: Annotated[str | None, Query(max_length=600)] = None,
) -> Response:
    """Find candidates by a condition, a saved filter, nights and a place on the sky.

    The condition is that of filters of the stream: one expression on the columns. A page looks at so many
    rows only, and can be short or empty while there are more: there are as long as there is a ``next``.
    """
    round_ = (ra, dec, radius)
    if any(one is not None for one in round_) and None in round_:
        raise Problem(422, "a cone has ra, dec and radius; give all three, or none")
    # rows never change, and a page depends on nothing but what there is
    tag = tag_of(str(request.url.query), await in_thread(state, state.store.newest_batch), column)
    unchanged = not_modified(request, tag)
    if unchanged is not None:
        return unchanged
    wanted = await in_thread(state, selection_of, state, filter, saved, column)
    if limit > _FEW and (wanted.columns is None or set(_LONG) & set(wanted.columns)):
        raise Problem(422, f"history and extras are long; ask for {_FEW} candidates or fewer with them")
    if ra is not None and dec is not None and radius is not None:
        after = place_after(request, cursor, (float, str, str))
        work: tuple[Any, ...] = (
            _in_cone,
            state,
            wanted,
            (ra, dec, radius),
            since,
            until,
            survey,
            limit,
            after,
        )
    else:
        after = place_after(request, cursor, (int, int))
        work = (_page, state, wanted, since, until, survey, order, limit, after)
    rows, place, scanned = await in_thread(state, *work, interrupt=wanted.interrupt)
    wanted.done()
    address, headers = (None, {}) if place is None else next_link(request, place)
    return reply(request, {"candidates": rows, "next": address, "scanned": scanned}, tag=tag, headers=headers)


Page = tuple[list[dict[str, Any]], tuple[Any, ...] | None, int]
"""Rows, the place where the next page begins, and how many rows were looked at."""


def _page(
    state: State,
    wanted: Selection,
    since: str | None,
    until: str | None,
    surveys: Sequence[str] | None,
    order: str,
    limit: int,
    after: tuple[int, int] | None,
) -> Page:
    """Read on from a place, in bounded time."""
    batches = (None, None) if after is None else (None, after[0]) if order == "newest" else (after[0], None)
    tables = state.store.history(
        since, until, wanted.needed, surveys, batches=batches, newest_first=order == "newest"
    )
    end = time.monotonic() + _SECONDS
    found: list[dict[str, Any]] = []
    scanned = 0
    places: list[tuple[int, int]] = []
    for table in tables:
        batch = table["batch"].to_numpy()
        position = positions(batch)
        passed = wanted.passes(table)
        if after is not None:
            passed &= (batch != after[0]) | (position > after[1])
        rows = np.flatnonzero(passed)[: limit + 1 - len(found)]
        found += wanted.rows(table, rows)
        places += [(int(batch[row]), int(position[row])) for row in rows]
        if len(found) > limit:
            return found[:limit], places[limit - 1], scanned + int(rows[-1]) + 1
        scanned += len(table)
        if len(batch) == 0:
            continue
        if scanned >= _SCANNED or time.monotonic() > end:
            return found, (int(batch[-1]), int(position[-1])), scanned
    return found, None, scanned


def positions(batch: Any) -> Any:
    """The place of each row in its batch; a batch is whole in its table."""
    n = len(batch)
    starts = np.flatnonzero(np.concatenate([[True], batch[1:] != batch[:-1]])) if n else np.zeros(0, np.int64)
    lengths = np.diff(np.append(starts, n))
    return np.arange(n) - np.repeat(starts, lengths)


def _in_cone(
    state: State,
    wanted: Selection,
    place: tuple[float, float, float],
    since: str | None,
    until: str | None,
    surveys: Sequence[str] | None,
    limit: int,
    after: tuple[float, str, str] | None,
) -> Page:
    near = state.store.cone(*place)
    if len(near) > _MOST_IN_CONE:
        raise Problem(
            413,
            f"there are {len(near)} alerts in the cone, at most {_MOST_IN_CONE} are sorted; "
            "ask for a smaller one",
        )
    names = ("distance", "survey", "alert_id")
    keys = list(zip(*(near[name].to_pylist() for name in names), near["night"].to_pylist(), strict=True))
    keys = [
        key
        for key in keys
        if (after is None or key[:3] > after)
        and (surveys is None or key[1] in surveys)
        and (since is None or (key[3] or "") >= since)
        and (until is None or (key[3] or "9999") <= until)
    ]
    found: list[dict[str, Any]] = []
    places: list[tuple[Any, ...]] = []
    scanned = 0
    for start in range(0, len(keys), limit):
        some = keys[start : start + limit]
        table = state.store.candidates([(survey, alert_id) for _, survey, alert_id, _ in some], wanted.needed)
        rows = np.flatnonzero(wanted.passes(table))
        distance = [some[row][0] for row in rows]
        found += [
            {**row, "distance": far} for row, far in zip(wanted.rows(table, rows), distance, strict=True)
        ]
        places += [some[row][:3] for row in rows]
        scanned += len(some)
        if len(found) > limit:
            return found[:limit], places[limit - 1], scanned
    return found, None, scanned


@router.get(
    "/candidates/{survey}/{alert_id}",
    response_model=CandidateBody,
    responses=responses(401, 403, 404, 422, 503, 504) | {304: {"description": "Not Modified"}},
)
async def candidate(request: Request, state: StateOf, user: Viewer, survey: str, alert_id: str) -> Response:
    """One candidate: everything that was known of it when it came, and what every bundle says of it."""
    body = await in_thread(state, _candidate, state, survey, alert_id)
    return reply(request, body)


def _candidate(state: State, survey: str, alert_id: str) -> dict[str, Any]:
    record = existing(state, survey, alert_id)
    (row,) = state.store.candidates([(survey, alert_id)]).to_pylist()
    base = f"/api/v1/candidates/{survey}/{alert_id}"
    links = {"cutouts": f"{base}/cutouts", "packet": f"{base}/packet", "explanations": f"{base}/explanations"}
    if record.object_id:
        links["object"] = f"/api/v1/objects/{survey}/{record.object_id}"
    return {"candidate": row, "scores": _scores(state, survey, alert_id), "links": links}


@router.get(
    "/candidates/{survey}/{alert_id}/scores",
    response_model=ScoreList,
    responses=responses(401, 403, 404, 422, 503, 504) | {304: {"description": "Not Modified"}},
)
async def scores(
    request: Request,
    state: StateOf,
    user: Viewer,
    survey: str,
    alert_id: str,
    bundle: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """What bundles have said of a candidate, those of later days included."""

    def work() -> dict[str, Any]:
        existing(state, survey, alert_id)
        return {"scores": _scores(state, survey, alert_id, bundle)}

    return reply(request, await in_thread(state, work))


def _scores(state: State, survey: str, alert_id: str, bundle: str | None = None) -> list[dict[str, Any]]:
    table = state.store.scores(survey, alert_id, bundle=bundle)
    rows: list[dict[str, Any]] = table.drop_columns(["survey", "alert_id", "night"]).to_pylist()
    return rows


@router.get(
    "/candidates/{survey}/{alert_id}/packet",
    response_class=Response,
    responses=responses(401, 403, 404, 410, 422, 503, 504)
    | {200: {"content": {"application/octet-stream": {}}}, 304: {"description": "Not Modified"}},
)
async def packet(request: Request, state: StateOf, user: Viewer, survey: str, alert_id: str) -> Response:
    """The packet of a candidate, byte by byte as the survey sent it."""
    record = await in_thread(state, kept, state, survey, alert_id)
    tag = f'"{record.packet[:32]}"'
    unchanged = not_modified(request, tag)
    if unchanged is not None:
        return unchanged
    content, suffix = await in_thread(state, state.store.packet, survey, alert_id)
    headers = {"ETag": tag, "Content-Disposition": f'attachment; filename="{record.packet[:16]}{suffix}"'}
    return Response(content, headers=headers, media_type="application/octet-stream")


def existing(state: State, survey: str, alert_id: str) -> AlertRecord:
    """What the database knows of an alert.

    Raises
    ------
    Problem
        404 where there is none.
    """
    found = state.store.alert(survey, alert_id) if "\0" not in survey + alert_id else None
    if found is None:
        raise Problem(
            404, f"there is no alert {alert_id[:80]!r} of {survey[:40]!r}; check survey and identifier"
        )
    return found


def kept(state: State, survey: str, alert_id: str) -> AlertRecord:
    """The same, of an alert whose packet is kept.

    Raises
    ------
    Problem
        410 where it was removed.
    """
    found = existing(state, survey, alert_id)
    if not state.store.has_packet(survey, alert_id):
        raise Problem(
            410, "the packet of this alert was removed by the rule of retention; its row and scores are kept"
        )
    return found
