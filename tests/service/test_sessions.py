"""A session is begun by a log-in alone, and nobody else can use it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from astrid.service.tokens import digest

PASSWORD = "seven quiet comets"
MakeService = Callable[..., Any]


def test_a_log_in_makes_a_new_secret_whatever_cookie_was_there(team: Any) -> None:
    victim = team.client()
    form = {"name": "viewer", "password": PASSWORD}
    victim.post("/login", data=form, headers={"Cookie": "astrid8000=planted"})
    secret = victim.cookies["astrid8000"]
    assert secret != "planted"
    thief = team.client()
    thief.cookies.set("astrid8000", "planted")
    assert thief.get("/api/v1/account").status_code == 401
    # the session that there was before is over
    victim.post("/login", data={"name": "admin", "password": PASSWORD})
    thief.cookies.set("astrid8000", secret)
    assert thief.get("/api/v1/account").status_code == 401
    assert victim.get("/api/v1/account").json()["name"] == "admin"


def test_the_cookie_is_hidden_from_scripts_and_with_tls_from_everything_else(
    make_service: MakeService,
) -> None:
    form = {"name": "viewer", "password": PASSWORD}
    plain = make_service(accounts=True).client().post("/login", data=form).headers["set-cookie"]
    assert "HttpOnly" in plain
    assert "SameSite=lax" in plain
    service = make_service(accounts=True, url="https://astrid.example.org")
    client = service.client(Host="astrid.example.org")
    answer = client.post("/login", data=form)
    cookie = answer.headers["set-cookie"]
    assert re.match(r"__Host-astrid=\S+; HttpOnly; Max-Age=604800; Path=/; SameSite=lax; Secure", cookie)
    assert "domain" not in cookie.lower()
    assert answer.headers["strict-transport-security"] == "max-age=31536000"


def test_a_logged_out_session_is_over_for_who_kept_its_cookie(team: Any) -> None:
    browser, thief = team.with_cookie("viewer"), team.client()
    thief.cookies.set("astrid8000", browser.cookies["astrid8000"])
    assert thief.get("/api/v1/account").status_code == 200
    assert browser.post("/logout").status_code == 303
    assert thief.get("/api/v1/account").status_code == 401


def test_only_the_hash_of_a_session_is_in_the_database(team: Any) -> None:
    browser = team.client()
    browser.post("/login", data={"name": "viewer", "password": PASSWORD})
    secret = browser.cookies["astrid8000"]
    files = [one.read_bytes() for one in team.state.settings.store.glob("astrid.db*")]
    assert any(digest(secret).encode() in one for one in files)
    assert not any(secret.encode() in one or PASSWORD.encode() in one for one in files)


def test_two_cookies_of_the_same_name_are_no_proof(team: Any) -> None:
    good = team.with_cookie("viewer").cookies["astrid8000"]
    cookie = f"astrid8000={good}; astrid8000=planted"
    assert team.client().get("/api/v1/account", headers={"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize(
    "given", ["Basic YTpi", "Bearer", "Bearer  ", "bearer x", "Bearer \xff", "x", "Bearer a b"]
)
def test_a_wrong_token_is_refused_though_the_cookie_is_good(team: Any, given: str) -> None:
    client = team.with_cookie("admin")
    headers = {"Authorization": given.encode("latin-1")}
    assert client.get("/api/v1/account", headers=headers).status_code == 401
