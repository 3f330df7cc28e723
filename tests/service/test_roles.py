"""Each role is tried on each route; a route that is not in the table fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.testclient import TestClient

PEOPLE = ("nobody", "viewer", "labeller", "admin")

# Who is let in by each route, at least. What has `nobody` is open to the world: think twice.
TABLE = {
    "GET /api/v1/openapi.json": "nobody",
    "GET /health": "nobody",
    "GET /v2/health/live": "nobody",
    "GET /v2/health/ready": "nobody",
    "GET /login": "nobody",
    "POST /login": "nobody",
    "POST /logout": "nobody",
    "GET /review/page.css": "nobody",
    "GET /static/*": "nobody",
    "GET /metrics": "viewer",
    "GET /api/v1/account": "viewer",
    "PUT /api/v1/account/password": "viewer",
    "GET /api/v1/account/tokens": "viewer",
    "POST /api/v1/account/tokens": "viewer",
    "DELETE /api/v1/account/tokens/{number}": "viewer",
    "GET /api/v1/users": "admin",
    "POST /api/v1/users": "admin",
    "PATCH /api/v1/users/{name}": "admin",
    "GET /api/v1/tokens": "admin",
    "DELETE /api/v1/tokens/{number}": "admin",
    "GET /api/v1/audit": "admin",
    "GET /api/v1/labels": "viewer",
    "GET /api/v1/labels/choices": "viewer",
    "GET /api/v1/labels/next": "labeller",
    "POST /api/v1/labels": "labeller",
    "POST /api/v1/labels/release": "labeller",
    "DELETE /api/v1/labels/{key}": "labeller",
    "POST /api/v1/classify/packets": "viewer",
    "POST /api/v1/classify/triplets": "viewer",
    "POST /api/v1/classify/pair": "viewer",
    "POST /api/v1/classify/lightcurves": "viewer",
    "POST /api/v1/classify/spectra": "viewer",
    "GET /v2": "viewer",
    "GET /v2/models/{name}": "viewer",
    "GET /v2/models/{name}/versions/{version}": "viewer",
    "GET /v2/models/{name}/ready": "viewer",
    "GET /v2/models/{name}/versions/{version}/ready": "viewer",
    "POST /v2/models/{name}/infer": "viewer",
    "POST /v2/models/{name}/versions/{version}/infer": "viewer",
    "GET /api/v1/models": "viewer",
    "GET /api/v1/models/{name}": "viewer",
    "GET /api/v1/columns": "viewer",
    "GET /api/v1/candidates": "viewer",
    "GET /api/v1/candidates/{survey}/{alert_id}": "viewer",
    "GET /api/v1/candidates/{survey}/{alert_id}/scores": "viewer",
    "GET /api/v1/candidates/{survey}/{alert_id}/packet": "viewer",
    "GET /api/v1/candidates/{survey}/{alert_id}/cutouts/{plane}.png": "viewer",
    "GET /api/v1/candidates/{survey}/{alert_id}/cutouts/{plane}.fits": "viewer",
    "GET /api/v1/candidates/{survey}/{alert_id}/explanations": "viewer",
    "GET /api/v1/objects/{survey}/{object_id}": "viewer",
    "GET /api/v1/objects/{survey}/{object_id}/lightcurve": "viewer",
    "GET /api/v1/filters": "viewer",
    "POST /api/v1/filters/check": "viewer",
    "GET /api/v1/filters/{name}": "viewer",
    "GET /api/v1/events": "viewer",
    "PUT /api/v1/filters/{name}": "admin",
    "DELETE /api/v1/filters/{name}": "admin",
    "GET /": "viewer",
    "GET /review": "viewer",
    "GET /review/api/drift": "viewer",
    "GET /review/scan": "labeller",
    "GET /review/gallery": "labeller",
    "GET /review/api/candidate": "viewer",
    "GET /review/queue": "viewer",
    "POST /review/queue/profiles": "labeller",
    "GET /review/object": "viewer",
    "GET /account": "viewer",
    "GET /admin": "admin",
}

# What these do is asked of people, not of programs, and of those with a password.
IN_PERSON = ("PUT /api/v1/account/password", "POST /api/v1/account/tokens")


def found_routes(app: FastAPI) -> Iterator[str]:
    for route in iter_route_contexts(app.routes):
        if route.methods is None:  # a folder of files
            yield f"GET {route.path}/*"
        for method in sorted((route.methods or set()) - {"HEAD"}):
            yield f"{method} {route.path}"


def ask(client: TestClient, route: str) -> int:
    method, path = route.split(" ", 1)
    path = path.replace("{number}", "999999").replace("*", "mark.svg")
    return client.request(method, re.sub(r"\{[^}]+\}", "x", path)).status_code


def test_each_route_says_in_the_table_whom_it_lets_in(make_service: Callable[..., Any]) -> None:
    routes = set(found_routes(make_service().app))
    assert not routes - set(TABLE), "add these to TABLE, with the role that they are for"
    assert not set(TABLE) - routes, "these are gone; take them out of TABLE"


@pytest.mark.parametrize("by", ["cookie", "token"])
@pytest.mark.parametrize("who", PEOPLE)
def test_a_route_lets_in_whom_the_table_says(make_service: Callable[..., Any], who: str, by: str) -> None:
    service = make_service(accounts=True)
    service.client()  # which starts it
    service.state.stopping.set()  # so that what is endless ends
    wrong = []
    if who == "nobody":
        client = service.client(**({"Authorization": "Bearer wrong"} if by == "token" else {}))
    else:
        client = service.with_cookie(who) if by == "cookie" else service.with_token(who)
    for route in sorted(found_routes(service.app), key=lambda route: "logout" in route):
        status = ask(client, route)
        needed = TABLE.get(route, "admin")
        good = PEOPLE.index(who) >= PEOPLE.index(needed) and not (by == "token" and who == "nobody")
        refused = 401 if who == "nobody" else 403
        if good and route in IN_PERSON and by == "token":
            expected = status in (403, 422)
        elif good:
            expected = status not in (401, 403) and (status < 500 or status in (501, 503))
        else:
            expected = status == refused
        if not expected:
            wrong.append((route, status))
    assert not wrong


def test_whoever_runs_it_may_everything_on_a_laptop_without_accounts(
    make_service: Callable[..., Any],
) -> None:
    service = make_service()
    csrf = service.client().get("/api/v1/account").json()["csrf"]
    browser = service.client(Origin=service.base, **{"X-CSRF-Token": csrf})
    service.state.stopping.set()
    statuses = {route: ask(browser, route) for route in found_routes(service.app)}
    assert {route: status for route, status in statuses.items() if status in (401, 403, 500)} == {}


@pytest.mark.parametrize("who", ["nobody", "admin"])
def test_nothing_is_changed_for_a_browser_without_the_token_of_the_page(
    make_service: Callable[..., Any], who: str
) -> None:
    """`nobody` is the owner of a laptop without accounts, whose browser shows a page of somebody else."""
    service = make_service(accounts=who == "admin")
    unsafe = [route for route in found_routes(service.app) if not route.startswith("GET")]
    assert len(unsafe) > 8
    for route in unsafe:
        if route == "POST /login":
            continue
        if who == "admin":
            client = service.with_cookie("admin", csrf=False)
        else:
            client = service.client(Origin=service.base)
        assert ask(client, route) == 403, route
        client.headers["X-CSRF-Token"] = "guessed"
        assert ask(client, route) == 403, route
