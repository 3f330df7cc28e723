"""What a page of another site makes a browser send changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

PASSWORD = "seven quiet comets"
MakeService = Callable[..., Any]


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "192.168.1.7", "", "a b",
     "127.0.0.1@evil.example", "127.0.0.1/evil", "[::1", "[::1]x", "localhost:99999", "lоcalhost"],
)  # fmt: skip
def test_a_name_that_was_bent_to_this_machine_is_refused(laptop: Any, host: str) -> None:
    client = laptop.client()
    assert client.get("/api/v1/account", headers={"Host": host.encode()}).status_code in (400, 421)


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:1234", "127.0.0.1", "127.9.9.9:80", "[::1]:8000", "localhost."]
)
def test_this_machine_has_several_names(laptop: Any, host: str) -> None:
    assert laptop.client().get("/api/v1/account", headers={"Host": host}).status_code == 200


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
    team: Any, headers: dict[str, str]
) -> None:
    client = team.with_cookie("labeller")
    for path in ("/api/v1/account/tokens", "/logout", "/login"):
        assert client.post(path, headers=headers, json={"name": "x"}).status_code == 403
    # what has no cookie is refused as well: a laptop without accounts has none
    assert team.client().post("/login", headers=headers, data={"name": "x"}).status_code == 403
    assert client.get("/api/v1/account").status_code == 200


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://127.0.0.1:8000"}, {"Sec-Fetch-Site": "same-origin", "Origin": "null"}, {}]
)
def test_our_own_page_does(team: Any, headers: dict[str, str]) -> None:
    client = team.with_cookie("viewer")
    assert client.post("/api/v1/account/tokens", headers=headers, json={"name": "x"}).status_code == 201


def test_the_public_address_is_our_own_though_the_proxy_drops_its_port(make_service: MakeService) -> None:
    service = make_service(accounts=True, url="https://astrid.example.org:8443")
    form = {"name": "viewer", "password": PASSWORD}
    headers = {"Host": "astrid.example.org", "Origin": "https://astrid.example.org:8443"}
    assert service.client(**headers).post("/login", data=form).status_code == 303


def test_another_site_can_link_to_us_but_not_make_us_work(laptop: Any) -> None:
    client = laptop.client()
    picture = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/api/v1/account", headers=picture).status_code == 403
    assert client.get("/api/v1/account", headers=link).status_code == 200


def test_the_token_of_the_page_comes_as_a_field_of_a_form_too(team: Any) -> None:
    for options in (
        {"data": {"csrf": "the csrf"}},
        {"data": {"csrf": "the csrf"}, "files": {"file": ("x.csv", b"a,b\n" * 30_000)}},
    ):
        client = team.with_cookie("viewer", csrf=False)
        assert client.post("/logout", data={"csrf": "another"}).status_code == 403
        assert client.post("/logout", **options).status_code == 303
        assert client.get("/api/v1/account").status_code == 401
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    client = team.with_cookie("viewer", csrf=False)
    assert client.post("/logout", content=b"--y\r\n\r\n--", headers=broken).status_code in (400, 403)


def test_a_laptop_without_accounts_believes_no_proxy(make_service: MakeService) -> None:
    client = make_service().client()
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"):
        assert client.get("/api/v1/account", headers={name: "127.0.0.1"}).status_code == 401
    from starlette.testclient import TestClient

    service = make_service()
    far = TestClient(service.app, base_url=service.base, client=("192.0.2.1", 5000))
    assert far.get("/api/v1/account").status_code == 401


def test_no_answer_lets_another_site_read_it(team: Any) -> None:
    client = team.with_cookie("viewer")
    answer = client.options(
        "/api/v1/account", headers={"Origin": "http://evil.example", "Access-Control-Request-Method": "PUT"}
    )
    assert not [name for name in answer.headers if name.startswith("access-control")]
