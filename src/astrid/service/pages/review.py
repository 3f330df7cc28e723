"""The pages on which people label: one candidate at a time, fifty at a time, and the queue as a table.

They show what `astrid.review` decides; answers come back through the routes of labels.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from astrid.alerts import SchemaBook
from astrid.errors import AstridError
from astrid.review.profiles import QUEUE_COLUMNS, Profile, check, listing, profiles, read_profile, save
from astrid.review.vocabulary import ACTIONS, Vocabulary, questions
from astrid.service.access import Labeller, User, Viewer
from astrid.service.audit import audit
from astrid.service.errors import Problem
from astrid.service.pages import candidate as shown
from astrid.service.routes.labels import profile_of, task_of
from astrid.service.state import State, StateOf

__all__ = ["router", "task_names"]

router = APIRouter(include_in_schema=False)

_PAGE = 50
_BOOK = "schemas of the pages"
_KINDS = {"artefact": "artefacts", "source": "sources", "remark": "remarks"}
_SHOWN = ("object_id", "night", "band", "magpsf", "ra", "dec", "queue_slot", "queue_value")

Task = Annotated[str | None, Query(max_length=64)]
Name = Annotated[str | None, Query(max_length=64)]


@router.get("/review/scan")
def scan(
    request: Request, state: StateOf, user: Labeller, task: Task = None, profile: Name = None
) -> Response:
    """One candidate at a time."""
    return state.page(request, "scan.html", **_asked(state, user, task, profile))


@router.get("/review/gallery")
def gallery(
    request: Request, state: StateOf, user: Labeller, task: Task = None, profile: Name = None
) -> Response:
    """Fifty candidates at a time."""
    return state.page(request, "gallery.html", **_asked(state, user, task, profile))


@router.get("/review/api/candidate")
def candidate(
    request: Request,
    state: StateOf,
    user: Viewer,
    survey: Annotated[str, Query(max_length=64)],
    alert_id: Annotated[str, Query(max_length=200)],
    task: Task = None,
    parts: Literal["all", "images"] = "all",
) -> Response:
    """All that is shown of an alert, with its pixels, in the form of `candidate.packed`."""
    store = state.store
    if store.alert(survey, alert_id) is None:
        raise Problem(404, f"there is no alert {alert_id} of {survey}; check survey and number")
    planes = shown.planes_of(store, state.shared.setdefault(_BOOK, SchemaBook()), survey, alert_id)
    table = store.candidates([(survey, alert_id)])
    (row,) = table.to_pylist()
    facts: dict[str, Any] = {"short": f"{row['magpsf']:.1f} {row['band'] or ''}" if row["magpsf"] else ""}
    if parts == "all":
        object_id = row["object_id"]
        light_curve = (
            shown.curve(store.light_curve(survey, object_id), alert_id, row["time_scale"])
            if object_id
            else shown.no_curve()
        )
        facts |= {
            "facts": shown.facts(row),
            "more": shown.survey_facts(row, table.schema),
            "neighbours": shown.neighbours(row),
            "links": shown.links(row),
            "scores": shown.scores(store.scores(survey, alert_id), task_of(state, task)),
            "curve": {name: values for name, values in light_curve.items() if name != "alert_id"},
            "object": object_address(survey, object_id) if object_id else None,
        }
    content = shown.packed(shown.finite(facts), planes)
    return Response(content, media_type="application/octet-stream")


@router.get("/review/queue")
def queue(
    request: Request,
    state: StateOf,
    user: Viewer,
    task: Task = None,
    profile: Name = None,
    sql: Annotated[str | None, Query(max_length=4000)] = None,
    order: Annotated[str | None, Query(max_length=100)] = None,
    descending: bool = False,
    hide: Literal["answered", "mine", "nothing"] = "answered",
    columns: Annotated[str, Query(max_length=2000)] = "",
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> Response:
    """The queue as a table: a saved profile, or what the form says."""
    name = task_of(state, task)
    problem, warnings = "", list[str]()
    saved = profiles(state.store, user.name)
    view = Profile()
    try:
        if profile and sql is None:
            view = profile_of(state, user.name, profile) or view
        elif sql is not None:
            view = _profile(profile or "all", sql, order, descending, hide, columns)
            warnings = check(state.store, view)
        table, n = listing(state.store, name, view, user=user.name, limit=_PAGE, offset=(page - 1) * _PAGE)
    except AstridError as error:
        problem = _sentence(error)
        table, n = listing(state.store, name, Profile(), user=user.name, limit=_PAGE, offset=0)
        page = 1
    wanted = list(dict.fromkeys((*_SHOWN, *(() if problem else view.columns), "mine")))
    rows: list[dict[str, Any]] = [
        {
            "address": object_address(row["survey"], row["object_id"], row["alert_id"]),
            "cells": [_cell(name, row.get(name)) for name in wanted],
        }
        for row in table.to_pylist()
    ]
    query = {
        "task": name, "profile": profile or "", "sql": view.sql, "order": view.order, "hide": view.hide,
        "descending": str(view.descending).lower(), "columns": " ".join(view.columns),
    }  # fmt: skip
    heads = [
        {
            "name": one.removeprefix("queue_").replace("_", " "),
            "text": not any(row["cells"][place]["number"] for row in rows),
            "sorted": one == view.order and ("descending" if view.descending else "ascending"),
            "address": None
            if one == "mine"
            else _query(
                {**query, "order": one, "descending": str(one == view.order and not view.descending).lower()}
            ),
        }
        for place, one in enumerate(wanted)
    ]
    return state.page(
        request, "queue.html", status=400 if problem else 200, task=name, tasks=task_names(state), view=view,
        profile=profile or "", saved=[one.name for one in saved], problem=problem, warnings=warnings,
        heads=heads, rows=rows,
        n=n, page=page, pages=max(1, -(-n // _PAGE)), before=_query({**query, "page": page - 1}),
        after=_query({**query, "page": page + 1}), orders=[*QUEUE_COLUMNS, *_SHOWN[:6]],
        may_label=user.may("labeller"),
    )  # fmt: skip


@router.post("/review/queue/profiles")
def save_profile(
    request: Request,
    state: StateOf,
    user: Labeller,
    task: Annotated[str, Form(max_length=64)],
    name: Annotated[str, Form(max_length=64)],
    action: Annotated[Literal["save", "remove"], Form()] = "save",
    sql: Annotated[str, Form(max_length=4000)] = "true",
    order: Annotated[str, Form(max_length=100)] = "queue_place",
    descending: Annotated[bool, Form()] = False,
    hide: Annotated[Literal["answered", "mine", "nothing"], Form()] = "answered",
    columns: Annotated[str, Form(max_length=2000)] = "",
) -> Response:
    """Save a view of the queue under a name, or forget it."""
    if action == "remove":
        state.store.labels.remove_profile(user.name, name)
    else:
        save(state.store, user.name, _profile(name, sql, order, descending, hide, columns))
    audit(state, user, f"profile.{action}", name)
    kept = {"task": task} | ({"profile": name} if action == "save" else {})
    return RedirectResponse(_query(kept), 303)


def task_names(state: State) -> list[str]:
    """Tasks that people are asked about here, that of the service first."""
    return list(dict.fromkeys((state.settings.task, *state.store.labels.tasks())))


def object_address(survey: str, object_id: str | None, alert_id: str | None = None) -> str:
    """Where the page of an object is; of an alert without one, that of the alert."""
    query = {"survey": survey}
    if object_id:
        query["object"] = object_id
    if alert_id:
        query["alert"] = alert_id
    return f"/review/object?{urlencode(query)}"


def _asked(state: State, user: User, task: str | None, profile: str | None) -> dict[str, Any]:
    """What the pages with questions need."""
    name = task_of(state, task)
    profile_of(state, user.name, profile)
    vocabulary = questions(name)
    labels = [{"name": one.label, "keys": list(one.keys)} for one in vocabulary.choices]
    settings = {
        "task": name, "user": user.name, "profile": profile or "", "labels": labels, "actions": ACTIONS,
    }  # fmt: skip
    return {
        "task": name,
        "tasks": task_names(state),
        "profile": profile or "",
        "profiles": [one.name for one in profiles(state.store, user.name)],
        "choices": vocabulary.choices,
        "actions": ACTIONS,
        "tags": _tags(vocabulary),
        "settings": settings,
    }


def _tags(vocabulary: Vocabulary) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for tag in vocabulary.tags:
        found.setdefault(_KINDS.get(tag.kind, tag.kind), []).append(tag)
    return found


def _profile(name: str, sql: str, order: str | None, descending: bool, hide: str, columns: str) -> Profile:
    return read_profile(
        {
            "name": name,
            "sql": sql.strip() or "true",
            "order": order or "queue_place",
            "descending": descending,
            "hide": hide,
            "columns": tuple(columns.replace(",", " ").split()),
        }
    )


def _sentence(error: AstridError) -> str:
    return " ".join(str(error).split())


def _query(facts: dict[str, Any]) -> str:
    return f"/review/queue?{urlencode({name: value for name, value in facts.items() if value != ''})}"


_DIGITS = {"magpsf": 2, "ra": 5, "dec": 5}


def _cell(name: str, value: Any) -> dict[str, Any]:
    """A value of the table as text, and whether it is a number."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if value is None:
        return {"text": "", "number": False}
    if isinstance(value, float):
        return {"text": f"{value:.{_DIGITS.get(name, 3)}f}".replace("-", "−"), "number": True}
    return {"text": str(value)[:80], "number": number}
