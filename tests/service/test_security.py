"""What others try to smuggle in, and what they look for behind the answers."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import FilterError, StoreError
from astrid.service.access import Viewer
from astrid.service.pages.login import _inside

PASSWORD = "seven quiet comets"
MakeService = Callable[..., Any]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/errors.py", "/static//etc/passwd",
        "/static/..%5capp.py", "/static/%00", "/static/" + "a" * 5000, "/static/", "/static/vendor",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder_of_static_files(laptop: Any, path: str) -> None:
    assert laptop.client().get(path).status_code in (400, 404)


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e", "a%00b", "a%0d%0aX-Evil:1", "'%20OR%201=1--", "%ff", "x" * 3000],
)
@pytest.mark.parametrize("path", ["/api/v1/users/{}", "/api/v1/account/tokens/{}", "/api/v1/tokens/{}"])
def test_an_identifier_is_never_more_than_an_identifier(team: Any, path: str, name: str) -> None:
    client = team.with_cookie("admin")
    method = "PATCH" if "users" in path else "DELETE"
    answer = client.request(method, path.format(name), json={} if method == "PATCH" else None)
    assert answer.status_code in (404, 405, 422)
    assert "x-evil" not in answer.headers


TARGETS = [
    "//evil.example", "/\\evil.example", "http://evil.example", "javascript:alert(1)", "/\t/evil",
    "/\r\nX: 1", "\\\\evil", "///evil", "evil", "", "/%0d%0aSet-Cookie:a=b", "/review?a=b#c", " //evil",
    "/\x00", "http:/evil", "//[", "/é",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS)
def test_a_log_in_leads_to_our_own_pages_only(team: Any, target: str) -> None:
    client = team.with_cookie("viewer")
    answer = client.get("/login", params={"next": target})
    location = answer.headers["location"]
    assert answer.status_code == 303
    assert re.match(r"/($|[^/\\])", location)
    assert "set-cookie" not in answer.headers
    assert location.isprintable()


@settings(max_examples=300, deadline=None)
@given(st.text(st.characters(), max_size=30))
def test_no_text_at_all_leads_elsewhere(target: str) -> None:
    assert re.match(r"/($|[^/\\])", _inside(target))
    assert re.match(r"/($|[^/\\])", _inside("/" + target))


def test_what_was_typed_into_the_log_in_is_shown_as_text(team: Any) -> None:
    evil = '"><script>alert(1)</script>'
    answer = team.client().post(
        "/login", data={"name": evil, "password": "x", "next": evil}
    )  # fmt: skip
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


# Behind the answers


def test_no_page_runs_a_script_of_others_and_no_other_site_frames_one(laptop: Any) -> None:
    client = laptop.client()
    for path in ("/login", "/api/v1/account", "/nowhere", "/health", "/static/mark.svg"):
        headers = client.get(path, headers={"Accept": "text/html"}).headers
        policy = dict(one.split(" ", 1) for one in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
    assert client.get("/api/v1/account").headers["cache-control"] == "no-store"
    assert "immutable" in client.get("/static/mark.svg?v=0123").headers["cache-control"]


def test_what_goes_wrong_in_the_house_stays_there(
    make_service: MakeService, caplog: pytest.LogCaptureFixture
) -> None:
    service = make_service()
    secret = "/srv/secret/astrid.db"

    @service.app.get("/api/v1/fault")
    def fault(user: Viewer) -> None:
        raise RuntimeError(secret)

    @service.app.get("/api/v1/away")
    def away(user: Viewer) -> None:
        raise StoreError(f"{secret} was locked")

    @service.app.get("/api/v1/wrong")
    def wrong(user: Viewer) -> None:
        raise FilterError("the filter names a column that does not exist")

    client = service.client()
    with caplog.at_level(logging.ERROR):
        answers = {name: client.get(f"/api/v1/{name}") for name in ("fault", "away", "wrong")}
    assert {name: one.status_code for name, one in answers.items()} == {
        "fault": 500,
        "away": 503,
        "wrong": 422,
    }
    for one in answers.values():
        assert one.headers["content-type"] == "application/problem+json"
        assert set(one.json()) == {"type", "title", "status", "detail"}
        assert secret not in one.text
        assert "content-security-policy" in one.headers
    number = re.search(r"fault ([0-9a-f]{8})", answers["fault"].json()["detail"])
    assert number is not None
    assert number[1] in caplog.text
    assert caplog.text.count(secret) >= 2
    assert "names a column" in answers["wrong"].json()["detail"]
    assert answers["away"].headers["retry-after"] == "5"
    page = client.get("/x", headers={"Accept": "text/html"})
    assert page.headers["content-type"].startswith("text/html")


def test_what_was_sent_is_not_sent_back_in_a_refusal(team: Any) -> None:
    client = team.with_cookie("admin")
    sent = {"name": "x", "role": "<script>", "password": "hunter2 hunter2", "more": 1}
    answer = client.post("/api/v1/users", json=sent)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert "<script>" not in answer.text
    assert [one["where"] for one in answer.json()["errors"]] == [["body", "role"], ["body", "more"]]


def test_a_page_that_needs_an_account_leads_to_the_log_in_and_back(team: Any) -> None:
    client = team.client(Accept="text/html")
    answer = client.get("/account?a=1&b=%2F")
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        "/login?next=%2Faccount%3Fa%3D1%26b%3D%252F",
    )
    shown = client.get(answer.headers["location"]).text
    assert 'value="/account?a=1&amp;b=%2F"' in shown


def test_a_line_of_the_log_stays_one(make_service: MakeService, caplog: pytest.LogCaptureFixture) -> None:
    service = make_service()

    @service.app.get("/api/v1/away/{name}")
    def away(user: Viewer, name: str) -> None:
        raise StoreError("locked")

    with caplog.at_level(logging.ERROR):
        service.client().get("/api/v1/away/a%0AERROR forged")
    assert "\nERROR forged" not in caplog.text


def test_the_description_tells_of_every_refusal(team: Any) -> None:
    description = team.client().get("/api/v1/openapi.json").json()
    operations = [
        (path, method, facts["responses"])
        for path, methods in description["paths"].items()
        for method, facts in methods.items()
    ]
    assert len(operations) > 30
    for path, method, told in operations:
        assert {"401", "403", "421", "503", "504"} <= set(told), path
        assert method == "get" or {"400", "413"} <= set(told), path
        for status, one in told.items():
            if int(status) >= 400:
                assert list(one["content"]) == ["application/problem+json"], (path, status)
    assert "ProblemBody" in description["components"]["schemas"]
