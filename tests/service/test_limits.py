"""No request is too long, too slow or too many for the others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

import pytest

from astrid.service.access import Labeller, Viewer

MakeService = Callable[..., Any]


class Answer:
    """What the application sent for one request."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.asked = 0  # how often it asked for a piece of the body


async def ask(
    app: Any,
    path: str,
    pieces: Iterable[bytes] = (),
    *,
    pause: float = 0,
    length: int | None = None,
    method: str = "POST",
    token: str | None = None,
) -> Answer:
    """Send a request piece by piece, as a server would hand it on."""
    answer, pieces = Answer(), list(pieces)
    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"application/json")]
    if token is not None:
        headers.append((b"authorization", f"Bearer {token}".encode()))
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    elif pieces:
        headers.append((b"transfer-encoding", b"chunked"))

    async def receive() -> dict[str, Any]:
        answer.asked += 1
        if pause:
            await asyncio.sleep(pause)
        if answer.asked > max(1, len(pieces)):
            await asyncio.sleep(3600)
        body = pieces[answer.asked - 1] if pieces else b""
        return {"type": "http.request", "body": body, "more_body": answer.asked < len(pieces)}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            answer.status = message["status"]
            answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            answer.body += message.get("body", b"")

    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
        "raw_path": path.encode(), "root_path": "", "query_string": b"", "headers": headers, "scheme": "http",
        "client": ("127.0.0.1", 5000), "server": ("127.0.0.1", 8000),
    }  # fmt: skip
    await app(scope, receive, send)
    return answer


def run(work: Any) -> Any:
    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await work

    return asyncio.run(limited())


# Bodies


def test_a_request_that_says_it_is_too_long_is_refused_unread(make_service: MakeService) -> None:
    app = make_service(max_body=1000).app
    answer = run(ask(app, "/api/v1/users", [b"{}"], length=1001))
    assert (answer.status, answer.asked) == (413, 0)
    assert b"1,000 bytes" in answer.body
    assert answer.headers["content-type"] == "application/problem+json"
    # what is still on its way is not waited for
    assert answer.headers["connection"] == "close"


def test_one_that_does_not_say_so_is_refused_as_soon_as_it_is_too_long(make_service: MakeService) -> None:
    app = make_service(max_body=1000).app
    answer = run(ask(app, "/api/v1/users", [b"x" * 300] * 1000))
    assert (answer.status, answer.asked) == (413, 4)


def test_paths_for_data_take_more_than_others(make_service: MakeService) -> None:
    app = make_service(max_body=1000, max_upload=5000).app
    assert run(ask(app, "/api/v1/classify/nothing", [b"x" * 4000])).status in (404, 405)
    assert run(ask(app, "/api/v1/classify/nothing", [b"x" * 6000])).status == 413
    assert run(ask(app, "/api/v1/other", [b"x" * 4000])).status == 413


def test_who_is_not_known_sends_little(make_service: MakeService) -> None:
    app = make_service(accounts=True).app
    assert run(ask(app, "/api/v1/classify/packets", [b"x" * 20_000])).status == 413
    assert run(ask(app, "/api/v1/classify/packets", [b"x" * 2_000])).status == 401


def test_a_client_that_falls_silent_in_a_body_is_sent_away(make_service: MakeService) -> None:
    app = make_service(idle_limit=0.2).app
    began = time.monotonic()
    answer = run(ask(app, "/api/v1/users", [b"{", b"}"], pause=60))
    assert (answer.status, answer.headers["connection"]) == (408, "close")
    assert time.monotonic() - began < 5


def test_so_is_one_that_sends_a_byte_now_and_then(make_service: MakeService) -> None:
    app = make_service(idle_limit=0.3).app
    answer = run(ask(app, "/api/v1/users", [b" "] * 1000, pause=0.05))
    assert answer.status == 408
    assert answer.asked < 20


def test_uploads_held_in_memory_are_bounded_and_let_go(make_service: MakeService) -> None:
    service = make_service(max_upload=100_000, max_body=100_000, idle_limit=5)
    seen = []

    @service.app.post("/api/v1/classify/echo")
    async def echo(user: Viewer) -> None:
        seen.append(user.name)

    async def many() -> list[int]:
        # ten of full length stop short of their end; then all of them go on
        pieces = [b"x" * 90_000, b"x"]
        answers = await asyncio.gather(
            *(ask(service.app, "/api/v1/classify/echo", pieces, pause=0.3) for _ in range(10))
        )
        again = await ask(service.app, "/api/v1/classify/echo", pieces)
        return [one.status for one in (*answers, again)]

    statuses = run(many())
    assert statuses.count(503) >= 5
    assert statuses.count(200) >= 4
    assert statuses[-1] == 200
    assert len(seen) == statuses.count(200)


# Places


def busy_service(make_service: MakeService, **settings: Any) -> tuple[Any, threading.Event, list[float]]:
    service = make_service(**settings)
    go, began = threading.Event(), []

    @service.app.get("/api/v1/busy")
    def busy(user: Viewer) -> str:
        began.append(time.monotonic())
        go.wait(20)
        return "done"

    return service, go, began


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def test_more_than_can_wait_are_sent_away_at_once_and_the_others_answered(make_service: MakeService) -> None:
    service, go, began = busy_service(make_service, max_running=2, max_waiting=3)

    async def crowd() -> tuple[list[int], float]:
        tasks = [asyncio.create_task(ask(service.app, "/api/v1/busy", method="GET")) for _ in range(9)]
        start = time.monotonic()
        await until(lambda: sum(one.done() for one in tasks) == 4)
        waited = time.monotonic() - start
        await until(lambda: len(began) == 2)
        # who is not asked to work is answered all the same
        assert (await ask(service.app, "/health", method="GET")).status == 200
        go.set()
        answers = await asyncio.gather(*tasks)
        refused = [one for one in answers if one.status == 503]
        assert all(int(one.headers["retry-after"]) > 0 for one in refused)
        return sorted(one.status for one in answers), waited

    statuses, waited = run(crowd())
    assert statuses == [200] * 5 + [503] * 4
    assert waited < 5
    metrics = service.client().get("/metrics").text
    assert 'astrid_http_refused_total{status="503"} 4.0' in metrics
    assert "astrid_http_open 1.0" in metrics
    assert 'route="/api/v1/busy",status="200"} 5.0' in metrics


def test_who_waits_too_long_is_sent_away(make_service: MakeService) -> None:
    service, go, _ = busy_service(make_service, max_running=1, max_wait=0.2)

    async def two() -> list[int]:
        first = asyncio.create_task(ask(service.app, "/api/v1/busy", method="GET"))
        await asyncio.sleep(0.05)
        second = await ask(service.app, "/api/v1/busy", method="GET")
        go.set()
        return [(await first).status, second.status]

    assert run(two()) == [200, 503]


def test_a_request_that_takes_too_long_is_answered_and_keeps_its_place_until_it_is_over(
    make_service: MakeService,
) -> None:
    service, go, began = busy_service(make_service, max_running=1, time_limit=0.3, max_wait=0.3)

    async def late() -> list[int]:
        first = await ask(service.app, "/api/v1/busy", method="GET")
        # its thread still works: another one would be one too many
        second = await ask(service.app, "/api/v1/busy", method="GET")
        assert len(began) == 1
        go.set()
        await asyncio.sleep(0.2)
        third = await ask(service.app, "/api/v1/busy", method="GET")
        return [first.status, second.status, third.status]

    assert run(late()) == [504, 503, 200]


def test_a_slow_reader_holds_no_place(make_service: MakeService) -> None:
    service = make_service(max_running=1, max_wait=0.3)

    @service.app.get("/api/v1/long")
    async def long(user: Viewer) -> Any:
        from starlette.responses import StreamingResponse

        async def lines() -> AsyncIterator[bytes]:
            while True:
                yield b"x"
                await asyncio.sleep(0.05)

        return StreamingResponse(lines())

    async def two() -> int:
        endless = asyncio.create_task(ask(service.app, "/api/v1/long", method="GET"))
        await asyncio.sleep(0.3)
        status = (await ask(service.app, "/api/v1/account", method="GET")).status
        endless.cancel()
        return status

    assert run(two()) == 200


def test_a_place_is_free_again_after_a_fault_and_after_a_client_that_is_gone(
    make_service: MakeService,
) -> None:
    service = make_service(max_running=1, max_wait=0.3)

    @service.app.get("/api/v1/fault")
    async def fault(user: Labeller) -> None:
        raise RuntimeError("a fault")

    @service.app.get("/api/v1/slow")
    async def slow(user: Labeller) -> None:
        await asyncio.sleep(3600)

    async def in_turn() -> list[int]:
        statuses = [(await ask(service.app, "/api/v1/fault", method="GET")).status for _ in range(3)]
        for _ in range(3):
            gone = asyncio.create_task(ask(service.app, "/api/v1/slow", method="GET"))
            await asyncio.sleep(0.05)
            gone.cancel()
            await asyncio.sleep(0.05)
        return [*statuses, (await ask(service.app, "/api/v1/account", method="GET")).status]

    assert run(in_turn()) == [500, 500, 500, 200]


def test_few_passwords_are_hashed_at_once_and_few_wait(
    make_service: MakeService, monkeypatch: pytest.MonkeyPatch
) -> None:
    from astrid.service import log_in

    service = make_service(accounts=True, max_running=60)
    at_once, most = 0, 0
    lock = threading.Lock()

    def check(given: str, kept: str | None) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        time.sleep(0.05)
        with lock:
            at_once -= 1
        return False

    monkeypatch.setattr(log_in, "check_password", check)

    async def crowd() -> list[Any]:
        from astrid.service.errors import Problem

        async def one(i: int) -> int:
            try:
                await log_in.check(service.state, f"name{i}", "x", f"192.0.2.{i}")
            except Problem as refused:
                return refused.status_code
            return 403

        return await asyncio.gather(*(one(i) for i in range(40)))

    statuses = run(crowd())
    assert most == 2
    assert statuses.count(503) == 40 - 18
    assert statuses.count(403) == 18
