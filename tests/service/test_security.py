"""What others try: to send for somebody else, to guess, to smuggle, and to look behind the answers."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import FilterError, StoreError
from astrid.service import log_in
from astrid.service.access import Viewer
from astrid.service.pages.login import _inside
from astrid.service.tokens import digest

PASSWORD = "seven quiet comets"
MakeService = Callable[..., Any]


# Other sites


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "192.168.1.7", "", "a b",
     "127.0.0.1@evil.example", "127.0.0.1/evil", "[::1", "[::1]x", "localhost:99999", "lоcalhost"],
)  # fmt: skip
def test_a_name_that_was_bent_to_this_machine_is_refused(make_service: MakeService, host: str) -> None:
    client = make_service().client()
    assert client.get("/api/v1/account", headers={"Host": host.encode()}).status_code in (400, 421)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.9.9.9:80", "[::1]:8000", "localhost."]
)
def test_this_machine_has_several_names(make_service: MakeService, host: str) -> None:
    assert make_service().client().get("/api/v1/account", headers={"Host": host}).status_code == 200


def test_off_the_laptop_it_goes_by_its_own_name_and_addresses(make_service: MakeService) -> None:
    service = make_service(accounts=True, host="0.0.0.0", url="https://astrid.example.org")  # noqa: S104
    client = service.client()

    def status(host: str) -> int:
        return client.get("/health", headers={"Host": host}).status_code

    assert (status("astrid.example.org"), status("192.0.2.7:8000"), status("localhost")) == (200, 200, 200)
    assert (status("other.example.org"), status("xastrid.example.org")) == (421, 421)


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:8000.evil.example"},
        {"Origin": "chrome-extension://abc"},
        {"Origin": "http://[::"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8000"},
    ],
)
def test_a_page_of_another_site_changes_nothing_even_with_the_token(
    make_service: MakeService, headers: dict[str, str]
) -> None:
    service = make_service(accounts=True)
    client = service.with_cookie("labeller")
    for path in ("/api/v1/account/tokens", "/logout", "/login"):
        assert client.post(path, headers=headers, json={"name": "x"}).status_code == 403
    # what has no cookie is refused as well: a laptop without accounts has none
    assert service.client().post("/login", headers=headers, data={"name": "x"}).status_code == 403
    assert client.get("/api/v1/account").status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://127.0.0.1:8000"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {}]
)
def test_our_own_page_does(make_service: MakeService, headers: dict[str, str]) -> None:
    client = make_service(accounts=True).with_cookie("viewer")
    assert client.post("/api/v1/account/tokens", headers=headers, json={"name": "x"}).status_code == 201


def test_the_public_address_is_our_own_though_the_proxy_drops_its_port(make_service: MakeService) -> None:
    service = make_service(accounts=True, url="https://astrid.example.org:8443")
    form = {"name": "viewer", "password": PASSWORD}
    headers = {"Host": "astrid.example.org", "Origin": "https://astrid.example.org:8443"}
    assert service.client(**headers).post("/login", data=form).status_code == 303


def test_another_site_can_link_to_us_but_not_make_us_work(make_service: MakeService) -> None:
    client = make_service().client()
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/api/v1/account", headers=picture).status_code == 403
    assert client.get("/api/v1/account", headers=link).status_code == 200


def test_the_token_of_the_page_comes_as_a_field_of_a_form_too(make_service: MakeService) -> None:
    service = make_service(accounts=True)
    for options in (
        {"data": {"csrf": "the csrf"}},
        {"data": {"csrf": "the csrf"}, "files": {"file": ("x.csv", b"a,b\n" * 30_000)}},
    ):
        client = service.with_cookie("viewer", csrf=False)
        assert client.post("/logout", data={"csrf": "another"}).status_code == 403
        assert client.post("/logout", **options).status_code == 303
        assert client.get("/api/v1/account").status_code == 401
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    client = service.with_cookie("viewer", csrf=False)
    assert client.post("/logout", content=b"--y\r\n\r\n--", headers=broken).status_code in (400, 403)


def test_a_laptop_without_accounts_believes_no_proxy(make_service: MakeService) -> None:
    client = make_service().client()
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert client.get("/api/v1/account", headers={name: "127.0.0.1"}).status_code == 401
    from starlette.testclient import TestClient

    service = make_service()
    far = TestClient(service.app, base_url=service.base, client=("192.0.2.1", 5000))
    assert far.get("/api/v1/account").status_code == 401


def test_no_answer_lets_another_site_read_it(make_service: MakeService) -> None:
    client = make_service(accounts=True).with_cookie("viewer")
    answer = client.options(
        "/api/v1/account", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]


# Sessions


def test_a_log_in_makes_a_new_secret_whatever_cookie_was_there(make_service: MakeService) -> None:
    service = make_service(accounts=True)
    victim = service.client()
    form = {"name": "viewer", "password": PASSWORD}
    victim.post("/login", data=form, headers={"Cookie": "astrid8000=planted"})
    secret = victim.cookies["astrid8000"]
    assert secret != "planted"
    thief = service.client()
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


def test_a_logged_out_session_is_over_for_who_kept_its_cookie(make_service: MakeService) -> None:
    service = make_service(accounts=True)
    browser, thief = service.with_cookie("viewer"), service.client()
    thief.cookies.set("astrid8000", browser.cookies["astrid8000"])
    assert thief.get("/api/v1/account").status_code == 200
    assert browser.post("/logout").status_code == 303
    assert thief.get("/api/v1/account").status_code == 401


def test_only_the_hash_of_a_session_is_in_the_database(make_service: MakeService) -> None:
    service = make_service(accounts=True)
    browser = service.client()
    browser.post("/login", data={"name": "viewer", "password": PASSWORD})
    secret = browser.cookies["astrid8000"]
    files = [one.read_bytes() for one in service.state.settings.store.glob("astrid.db*")]
    assert any(digest(secret).encode() in one for one in files)
    assert not any(secret.encode() in one or PASSWORD.encode() in one for one in files)


def test_two_cookies_of_the_same_name_are_no_proof(make_service: MakeService) -> None:
    service = make_service(accounts=True)
    good = service.with_cookie("viewer").cookies["astrid8000"]
    cookie = f"astrid8000={good}; astrid8000=planted"
    assert service.client().get("/api/v1/account", headers={"Cookie": cookie}).status_code == 401


@pytest.mark.parametrize(
    "given", ["Basic YTpi", "Bearer", "Bearer  ", "bearer x", "Bearer \xff", "x", "Bearer a b"]
)
def test_a_wrong_token_is_refused_though_the_cookie_is_good(make_service: MakeService, given: str) -> None:
    client = make_service(accounts=True).with_cookie("admin")
    headers = {"Authorization": given.encode("latin-1")}
    assert client.get("/api/v1/account", headers=headers).status_code == 401


# Guessing


def test_who_guesses_has_to_wait_and_who_knows_it_elsewhere_does_not(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch, database: str | None
) -> None:
    service = make_service(accounts=True, database=database)
    monkeypatch.setattr(log_in, "check_password", lambda given, kept: given == PASSWORD and kept is not None)
    client = service.client()

    def attempt(password: str, name: str = "viewer", network: int = 1) -> int:
        client._transport.client = (f"192.0.2.{network}", 5000)
        return client.post("/login", data={"name": name, "password": password}).status_code

    assert [attempt("wrong") for _ in range(5)] == [403] * 5
    refused = client.post("/login", data={"name": "viewer", "password": PASSWORD})
    assert refused.status_code == 429
    assert 0 < int(refused.headers["retry-after"]) <= log_in.WINDOW
    assert "15 minutes" in refused.text
    assert attempt(PASSWORD, network=2) == 303
    client.cookies.clear()
    assert attempt(PASSWORD, "labeller") == 303
    client.cookies.clear()
    # one address tries many names, of which most are nobody's
    statuses = [attempt("wrong", f"name{i}", network=3) for i in range(40)]
    assert statuses == [403] * 30 + [429] * 10
    # many addresses try one name
    statuses = [attempt("wrong", "admin", network=10 + i) for i in range(60)]
    assert statuses == [403] * 50 + [429] * 10
    # what failed before the last good one is not counted against the same person
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + log_in.WINDOW + 1)
    assert attempt("wrong", network=1) == 403


def test_an_attempt_that_was_good_clears_those_before(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = make_service(accounts=True)
    monkeypatch.setattr(log_in, "check_password", lambda given, kept: given == PASSWORD)
    client = service.client()
    for _ in range(3):
        for password in ["wrong"] * 4 + [PASSWORD]:
            status = client.post("/login", data={"name": "viewer", "password": password}).status_code
            assert status == (303 if password == PASSWORD else 403)
        client.cookies.clear()


def test_a_name_that_is_nobodys_takes_as_long_and_hears_the_same(make_service: MakeService) -> None:
    service = make_service(accounts=True)
    client = service.client()

    def took(name: str) -> tuple[float, str]:
        began = time.process_time()
        answer = client.post("/login", data={"name": name, "password": "wrong"})
        return time.process_time() - began, answer.text.replace(name, "")

    took("warm")
    there, absent = [took("viewer") for _ in range(3)], [took("nobody") for _ in range(3)]
    assert there[0][1] == absent[0][1]
    ratio = min(one[0] for one in there) / min(one[0] for one in absent)
    assert 0.5 < ratio < 2


@pytest.mark.parametrize(
    ("client", "kept"),
    [
        (("192.0.2.1", 1), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 1), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.1", 1), "192.0.2.1"),
        (("no address " * 20, 1), ("no address " * 20)[:64]),
        (None, ""),
    ],
)
def test_a_whole_network_of_ipv6_counts_as_one_client(client: Any, kept: str) -> None:
    assert log_in.address_of(client) == kept


# Smuggling


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/errors.py", "/static//etc/passwd",
        "/static/..%5capp.py", "/static/%00", "/static/" + "a" * 5000, "/static/", "/static/vendor",
    ],
)  # fmt: skip
def test_no_path_leads_out_of_the_folder_of_static_files(make_service: MakeService, path: str) -> None:
    assert make_service().client().get(path).status_code in (400, 404)


@pytest.mark.parametrize(
    "name",
    ["..%2f..%2fetc%2fpasswd", "%2e%2e", "a%00b", "a%0d%0aX-Evil:1", "'%20OR%201=1--", "%ff", "x" * 3000],
)
@pytest.mark.parametrize("path", ["/api/v1/users/{}", "/api/v1/account/tokens/{}", "/api/v1/tokens/{}"])
def test_an_identifier_is_never_more_than_an_identifier(
    make_service: MakeService, path: str, name: str
) -> None:
    client = make_service(accounts=True).with_cookie("admin")
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
def test_a_log_in_leads_to_our_own_pages_only(make_service: MakeService, target: str) -> None:
    service = make_service(accounts=True)
    client = service.with_cookie("viewer")
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


def test_what_was_typed_into_the_log_in_is_shown_as_text(make_service: MakeService) -> None:
    evil = '"><script>alert(1)</script>'
    answer = make_service(accounts=True).client().post(
        "/login", data={"name": evil, "password": "x", "next": evil}
    )  # fmt: skip
    assert "<script>alert" not in answer.text
    assert "&lt;script&gt;" in answer.text


# Behind the answers


def test_no_page_runs_a_script_of_others_and_no_other_site_frames_one(make_service: MakeService) -> None:
    client = make_service().client()
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


def test_what_was_sent_is_not_sent_back_in_a_refusal(make_service: MakeService) -> None:
    client = make_service(accounts=True).with_cookie("admin")
    sent = {"name": "x", "role": "<script>", "password": "hunter2 hunter2", "more": 1}
    answer = client.post("/api/v1/users", json=sent)
    assert answer.status_code == 422
    assert "hunter2" not in answer.text
    assert "<script>" not in answer.text
    assert [one["where"] for one in answer.json()["errors"]] == [["body", "role"], ["body", "more"]]


def test_a_page_that_needs_an_account_leads_to_the_log_in_and_back(make_service: MakeService) -> None:
    client = make_service(accounts=True).client(Accept="text/html")
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


def test_the_description_tells_of_every_refusal(make_service: MakeService) -> None:
    description = make_service(accounts=True).client().get("/api/v1/openapi.json").json()
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
