"""Who guesses passwords has to wait, and learns nothing from it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from astrid.service import log_in

PASSWORD = "seven quiet comets"
MakeService = Callable[..., Any]


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
