"""The page of one object: its images, light curve, scores and neighbours, and all that people said of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from astrid.service.access import Viewer
from astrid.service.errors import Problem
from astrid.service.pages.candidate import curve, finite, no_curve
from astrid.service.pages.review import object_address
from astrid.service.state import State, StateOf
from astrid.store.answers import LabelRecord

__all__ = ["router"]

router = APIRouter(include_in_schema=False)

_MOST = 500  # alerts of one object in the table
_AROUND = 5.0  # arcsec


@router.get("/review/object")
def show(
    request: Request,
    state: StateOf,
    user: Viewer,
    survey: Annotated[str, Query(max_length=64)],
    object: Annotated[str | None, Query(max_length=200)] = None,
    alert: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """One object, or one alert that belongs to none."""
    store = state.store
    keys = store.object_keys(survey, object) if object else []
    if not keys and alert is not None and store.alert(survey, alert) is not None:
        keys = [(survey, alert)]
    if not keys:
        raise Problem(404, f"there is no object {object or alert} of {survey}; check survey and name")
    rows = store.candidates(keys[-_MOST:], _COLUMNS).to_pylist()
    rows.sort(key=lambda row: -(row["mjd"] or 0.0))
    chosen = next((row for row in rows if row["alert_id"] == alert), rows[0])
    name = object or chosen["object_id"]
    light_curve = (
        curve(store.light_curve(survey, name), chosen["alert_id"], chosen["time_scale"])
        if name
        else no_curve()
    )
    said = _said(state, keys, user.name)
    settings = {
        "survey": survey,
        "alert": chosen["alert_id"],
        "task": state.settings.task,
        "curve": {key: values for key, values in finite(light_curve).items() if key != "alert_id"},
    }
    return state.page(
        request, "object.html", survey=survey, name=name or chosen["alert_id"], object=name, rows=rows,
        n=len(keys), chosen=chosen, said=said, measured=_measurements(light_curve), settings=settings,
        around=_around(state, chosen, name), address=object_address,
    )  # fmt: skip


_COLUMNS = (
    "survey",
    "alert_id",
    "object_id",
    "mjd",
    "night",
    "band",
    "magpsf",
    "sigmapsf",
    "ra",
    "dec",
    "time_scale",
)


def _said(state: State, keys: list[tuple[str, str]], user: str) -> list[dict[str, Any]]:
    """What people answered, the latest first; nothing of others where one is asked the same unseen."""
    records: list[LabelRecord] = state.store.labels.of_items(keys)
    own = {(one.task, one.item) for one in records if one.user == user}
    return [
        {"record": one, "hidden": one.blind and one.user != user and (one.task, one.item) not in own}
        for one in sorted(records, key=lambda one: -one.at)
    ]


def _measurements(light_curve: dict[str, Any]) -> list[dict[str, Any]]:
    names = ("mjd", "band", "mag", "err", "limit", "positive", "forced", "alert_id")
    columns = [light_curve[name] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)][::-1][:_MOST]


def _around(state: State, row: dict[str, Any], name: str | None) -> list[dict[str, Any]]:
    """Other objects within a few arcseconds, the nearest first."""
    if row["ra"] is None or row["dec"] is None:
        return []
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in state.store.cone(row["ra"], row["dec"], _AROUND).to_pylist():
        key = one["survey"], one["object_id"] or ""
        if one["object_id"] and key != (row["survey"], name):
            found.setdefault(key, one)
    return list(found.values())[:20]
