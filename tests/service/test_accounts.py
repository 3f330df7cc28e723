"""Accounts, tokens, sessions and the audit, on both databases."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid.errors import UsageError
from astrid.service.passwords import check_password, hash_password
from astrid.service.tokens import digest, new_token
from astrid.store import open_store
from astrid.store.accounts import Accounts

PASSWORD = "seven quiet comets"


@pytest.fixture
def accounts(tmp_path: Path, database: str | None) -> Iterator[Accounts]:
    with open_store(tmp_path / "store", database, patience=10) as store:
        yield store.accounts


def actions(accounts: Accounts) -> list[tuple[str, str, str]]:
    return [(one.user, one.action, one.subject) for one in reversed(accounts.audit())]


def test_every_change_of_an_account_has_a_row_in_the_audit(accounts: Accounts) -> None:
    accounts.add_user("ada", "admin", "hash", by="root")
    accounts.add_user("grace", "viewer", None, by="ada")
    accounts.set_role("grace", "labeller", by="ada")
    accounts.set_password("grace", "other", by="grace")
    number, _ = new_token(accounts, "grace", "upload", 1, "grace")
    accounts.revoke_token(number, by="ada")
    accounts.set_active("grace", False, by="ada")
    accounts.set_active("grace", True, by="ada")
    accounts.add_session("hash", "ada", "csrf", time.time() + 9, {"address": "192.0.2.1"})
    accounts.end_session("hash")
    assert actions(accounts) == [
        ("root", "user.add", "ada"),
        ("ada", "user.add", "grace"),
        ("ada", "user.role", "grace"),
        ("grace", "user.password", "grace"),
        ("grace", "token.add", "grace"),
        ("ada", "token.revoke", "grace"),
        ("ada", "user.off", "grace"),
        ("ada", "user.on", "grace"),
        ("ada", "login", "ada"),
        ("ada", "logout", "ada"),
    ]
    assert accounts.audit()[0].id > accounts.audit(before=5)[0].id == 4
    assert [(one.name, one.role, one.has_password) for one in accounts.users()] == [
        ("ada", "admin", True),
        ("grace", "labeller", True),
    ]


def test_a_change_that_is_refused_leaves_no_trace(accounts: Accounts) -> None:
    for name in ("", "a b", "../x", "é", "a" * 65, "-x", "x\n"):
        with pytest.raises(UsageError, match="not usable"):
            accounts.add_user(name, "admin", None, by="root")
    with pytest.raises(UsageError, match="no role 'king'"):
        accounts.add_user("ada", "king", None, by="root")
    with pytest.raises(UsageError, match="first account"):
        accounts.add_user("ada", "labeller", None, by="root")
    assert not accounts.any()
    accounts.add_user("ada", "admin", None, by="root")
    before = actions(accounts)
    for change in (
        lambda: accounts.set_role("ada", "viewer", by="ada"),
        lambda: accounts.set_active("ada", False, by="ada"),
        lambda: accounts.add_user("ada", "viewer", None, by="ada"),
        lambda: accounts.set_role("bob", "viewer", by="ada"),
        lambda: accounts.set_password("bob", "x", by="ada"),
        lambda: accounts.add_token("bob", "x", "hash", None, by="ada"),
        lambda: accounts.revoke_token(1, by="ada"),
    ):
        with pytest.raises(UsageError):
            change()
    assert actions(accounts) == before
    assert accounts.user("ada") is not None
    assert accounts.user("ada").role == "admin"  # type: ignore[union-attr]


def test_one_of_two_administrators_stays_when_both_give_up_at_once(accounts: Accounts) -> None:
    for name in ("ada", "grace"):
        accounts.add_user(name, "admin", None, by="root")
    start, refused = threading.Barrier(2), []

    def give_up(name: str) -> None:
        start.wait()
        try:
            accounts.set_role(name, "viewer", by=name)
        except UsageError:
            refused.append(name)

    threads = [threading.Thread(target=give_up, args=(name,)) for name in ("ada", "grace")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert len(refused) == 1
    assert [one.name for one in accounts.users() if one.role == "admin"] == refused


def test_a_token_opens_while_it_lasts_and_its_user_is_on(accounts: Accounts) -> None:
    accounts.add_user("ada", "admin", None, by="root")
    accounts.add_user("bot", "viewer", None, by="ada")
    first, secret = new_token(accounts, "bot", "nightly", None, "ada")
    _, short = new_token(accounts, "bot", "short", 1e-9, "ada")
    assert accounts.find_token(digest(secret)).name == "bot"  # type: ignore[union-attr]
    assert accounts.find_token(digest(short)) is None
    assert accounts.find_token(secret) is None
    assert secret not in str(accounts.tokens())
    assert [one.used is not None for one in accounts.tokens("bot")] == [True, False]
    accounts.set_active("bot", False, by="ada")
    assert accounts.find_token(digest(secret)) is None
    accounts.set_active("bot", True, by="ada")
    accounts.revoke_token(first, by="ada")
    assert accounts.find_token(digest(secret)) is None


def test_a_session_ends_by_its_time_another_password_or_the_account(accounts: Accounts) -> None:
    accounts.add_user("ada", "admin", None, by="root")
    accounts.add_user("grace", "labeller", "x", by="ada")
    now = time.time()

    def begin(seconds: float) -> bool:
        accounts.add_session("h", "grace", "csrf", now + seconds, {})
        return accounts.find_session("h") is not None

    assert not begin(-1)
    assert begin(60)
    assert accounts.find_session("h").role == "labeller"  # type: ignore[union-attr]
    accounts.set_role("grace", "viewer", by="ada")
    assert accounts.find_session("h").role == "viewer"  # type: ignore[union-attr]
    accounts.set_password("grace", "y", by="ada")
    assert accounts.find_session("h") is None
    assert begin(60)
    accounts.set_active("grace", False, by="ada")
    assert accounts.find_session("h") is None


def test_a_password_is_kept_as_argon2id_and_nothing_else_opens() -> None:
    kept = hash_password(PASSWORD, "ada")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert kept != hash_password(PASSWORD, "ada")
    assert check_password(PASSWORD, kept)
    assert not check_password(PASSWORD + " ", kept)
    assert not check_password("", kept)
    assert not check_password("x" * 100_000, kept)
    assert not check_password(PASSWORD, None)
    for bad in ("short", "x" * 1025):
        with pytest.raises(UsageError, match="characters"):
            hash_password(bad)
    with pytest.raises(UsageError, match="is the name"):
        hash_password("adalovelace", "AdaLovelace")


# Over HTTP


def test_an_administrator_makes_an_account_whose_owner_logs_in(
    make_service: Callable[..., Any], database: str | None
) -> None:
    service = make_service(accounts=True, database=database)
    admin = service.with_cookie("admin")
    wanted = {"name": "ada", "role": "labeller", "password": PASSWORD}
    assert admin.post("/api/v1/users", json=wanted).status_code == 201
    assert admin.post("/api/v1/users", json=wanted).status_code == 400
    ada = service.client()
    assert ada.post("/login", data={"name": "ada", "password": "wrong"}).status_code == 403
    entered = ada.post("/login", data={"name": "ada", "password": PASSWORD, "next": "/review?x=1"})
    assert (entered.status_code, entered.headers["location"]) == (303, "/review?x=1")
    me = ada.get("/api/v1/account").json()
    assert (me["name"], me["role"], me["proof"]) == ("ada", "labeller", "session")
    changed = admin.patch("/api/v1/users/ada", json={"role": "viewer"})
    assert changed.json()["role"] == "viewer"
    assert ada.get("/api/v1/account").json()["role"] == "viewer"
    admin.patch("/api/v1/users/ada", json={"active": False})
    assert ada.get("/api/v1/account").status_code == 401
    assert ada.post("/login", data={"name": "ada", "password": PASSWORD}).status_code == 403
    rows = admin.get("/api/v1/audit", params={"limit": 4}).json()
    assert [(one["user"], one["action"]) for one in rows] == [
        ("", "login.failed"),
        ("admin", "user.off"),
        ("admin", "user.role"),
        ("ada", "login"),
    ]
    assert "$argon2" not in admin.get("/api/v1/users").text


def test_a_token_is_shown_once_and_makes_no_other(make_service: Callable[..., Any]) -> None:
    service = make_service(accounts=True)
    person = service.with_cookie("labeller")
    made = person.post("/api/v1/account/tokens", json={"name": "mine", "days": 3}).json()
    assert made["token"] not in person.get("/api/v1/account/tokens").text
    program = service.client(Authorization=f"Bearer {made['token']}")
    assert program.get("/api/v1/account").json()["name"] == "labeller"
    assert program.post("/api/v1/account/tokens", json={"name": "more"}).status_code == 403
    # those of others are not for everybody
    other = service.with_cookie("viewer")
    assert other.delete(f"/api/v1/account/tokens/{made['id']}").status_code == 404
    assert person.delete(f"/api/v1/account/tokens/{made['id']}").status_code == 204
    assert person.delete(f"/api/v1/account/tokens/{made['id']}").status_code == 404
    refused = program.get("/api/v1/account")
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, 'Bearer error="invalid_token"')


def test_another_password_needs_the_present_one_and_ends_all_sessions(
    make_service: Callable[..., Any],
) -> None:
    service = make_service(accounts=True)
    here, there = service.with_cookie("viewer"), service.with_cookie("viewer")
    other = "eight quiet comets"
    wrong = here.put("/api/v1/account/password", json={"current": other, "new": other})
    assert (wrong.status_code, there.get("/api/v1/account").status_code) == (403, 200)
    assert here.put("/api/v1/account/password", json={"current": PASSWORD, "new": "short"}).status_code == 400
    assert here.put("/api/v1/account/password", json={"current": PASSWORD, "new": other}).status_code == 204
    assert (here.get("/api/v1/account").status_code, there.get("/api/v1/account").status_code) == (401, 401)
    assert service.client().post("/login", data={"name": "viewer", "password": other}).status_code == 303


def test_the_first_account_closes_a_laptop_that_had_none(make_service: Callable[..., Any]) -> None:
    service = make_service()
    laptop = service.client()
    assert laptop.get("/api/v1/account").json()["proof"] == "local"
    refused = laptop.post("/api/v1/users", json={"name": "ada", "role": "viewer"})
    assert (refused.status_code, "first account" in refused.json()["detail"]) == (400, True)
    assert laptop.post("/api/v1/account/tokens", json={"name": "x"}).status_code == 409
    service.add_users()
    time.sleep(1.1)
    assert laptop.get("/api/v1/account").status_code == 401


def test_a_session_goes_on_while_it_is_used_but_not_for_ever(
    make_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(accounts=True, session_hours=2)
    accounts = service.state.store.accounts
    browser = service.with_cookie("viewer")  # for an hour
    assert browser.get("/api/v1/account").status_code == 200
    hash = digest(browser.cookies["astrid8000"])
    assert accounts.find_session(hash).expires == pytest.approx(time.time() + 7200, abs=30)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 7300)
    assert browser.get("/api/v1/account").status_code == 401
    monkeypatch.setattr(time, "time", lambda: now)
    days = 0.0
    while browser.get("/api/v1/account").status_code == 200 and days < 30:
        days += 1 / 24
        later = now + 86400 * days
        monkeypatch.setattr(time, "time", lambda later=later: later)
    assert days == pytest.approx(7, abs=0.1)
