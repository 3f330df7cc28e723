"""A server as a process of its own: slow clients, signals, and who may start it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from astrid.service.tokens import new_token
from astrid.store import open_store

PASSWORD = "seven quiet comets"

SERVER = """
import json, resource, sys, time
from pathlib import Path
from astrid.service import serving
from astrid.service.access import Viewer
from astrid.service.settings import Settings

given = json.loads(sys.argv[1])
files = given.pop("files", None)
if files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
made = serving.create_app

def create_app(*arguments):
    app = made(*arguments)

    @app.get("/api/v1/slow")
    def slow(user: Viewer, seconds: float) -> str:
        time.sleep(seconds)
        return "done"

    @app.get("/api/v1/large")
    def large(user: Viewer) -> str:
        return "x" * 20_000_000

    return app

serving.create_app = create_app
settings = Settings(**{**given, "store": Path(given["store"])})
serving.serve(settings, lambda address, free: print(json.dumps([address, free]), flush=True))
"""


class Server:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, "it has not started"
        self.url, self.free = json.loads(line)
        self.port = int(self.url.rpartition(":")[2])

    def ask(
        self, method: str, path: str, body: Any = None, timeout: float = 30, token: str | None = None
    ) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            if body is not None:
                headers["Content-Type"] = "application/json"
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=10)
        client.sendall(sent)
        return client


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    running: list[subprocess.Popen[str]] = []

    def make(**settings: Any) -> Server:
        given = {"store": str(tmp_path / "store"), "port": 0, **settings}
        process = subprocess.Popen(
            [sys.executable, "-c", SERVER, json.dumps(given)], stdout=subprocess.PIPE, text=True
        )
        running.append(process)
        return Server(process)

    yield make
    for one in running:
        one.kill()
        one.wait()
        if one.stdout is not None:
            one.stdout.close()


def is_dropped(client: socket.socket, seconds: float) -> bool:
    client.settimeout(seconds)
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


def test_slow_and_broken_clients_do_not_stop_a_good_one(start: Callable[..., Server]) -> None:
    # more of them than the process may have files open
    server = start(files=400, idle_limit=3.0, max_running=4)
    head = b"POST /api/v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    kinds = [
        b"",
        b"GET /api/v1/acc",
        head + b"Content-Length: 100\r\n\r\n{",
        head + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{",
        b"\x16\x03\x01\x02\x00 this is no HTTP\r\n\r\n",
        b"GET /api/v1/large HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",  # and reads nothing of it
    ]
    clients = []
    for i in range(240):
        clients.append(server.connect(kinds[i % len(kinds)] if i % len(kinds) < 5 or i < 60 else b""))
        if i % 40 == 0:
            began = time.monotonic()
            assert server.ask("GET", "/api/v1/account")[0] == 200
            assert time.monotonic() - began < 10
    for _ in range(10):
        assert server.ask("GET", "/api/v1/account")[0] == 200
    time.sleep(4)
    # none of them is waited for any longer, those that do not read included
    assert all(is_dropped(client, 10) for client in clients)
    for client in clients:
        client.close()
    assert server.ask("GET", "/health")[0] == 200


def test_a_client_that_comes_back_on_its_connection_is_welcome(start: Callable[..., Server]) -> None:
    server = start(idle_limit=0.5)
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    with contextlib.closing(connection):
        for pause in (0.0, 0.8, 1.2):  # longer than a head may take
            time.sleep(pause)
            connection.request("GET", "/api/v1/account")
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
        began = time.monotonic()
        for _ in range(50):
            connection.request("GET", "/api/v1/account")
            connection.getresponse().read()
        # 40 ms each would be Nagle's delay
        assert time.monotonic() - began < 1.5
        connection.request("GET", "/api/v1/slow?seconds=1")
        assert connection.getresponse().read() == b'"done"'


def test_sigterm_finishes_what_is_in_flight_and_takes_nothing_new(start: Callable[..., Server]) -> None:
    server = start(grace=20.0)
    silent = server.connect()
    answers: list[tuple[int, Any]] = []
    slow = threading.Thread(target=lambda: answers.append(server.ask("GET", "/api/v1/slow?seconds=2")))
    slow.start()
    time.sleep(1)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.7)
    with pytest.raises(OSError, match=r"refused|reset"):
        server.ask("GET", "/health", timeout=5)
    slow.join()
    assert answers == [(200, "done")]
    assert server.process.wait(20) == 0
    silent.close()


def test_what_does_not_end_is_ended_after_the_grace(start: Callable[..., Server]) -> None:
    server = start(grace=1.0)
    client = server.connect(b"POST /api/v1/users HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n")
    time.sleep(0.5)
    began = time.monotonic()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(30) == 0
    assert time.monotonic() - began < 15
    client.close()


def test_a_killed_server_has_kept_what_it_acknowledged(
    start: Callable[..., Server], tmp_path: Path, database: str | None
) -> None:
    with open_store(tmp_path / "store", database) as store:
        store.accounts.add_user("root", "admin", None, by="test")
        _, token = new_token(store.accounts, "root", "test", None, "test")
    server = start(database=database)
    assert not server.free
    acknowledged: list[str] = []

    def work(number: int) -> None:
        for i in range(10_000):
            name = f"user{number}.{i}"
            try:
                wanted = {"name": name, "role": "viewer"}
                status, _ = server.ask("POST", "/api/v1/users", wanted, token=token)
            except (OSError, http.client.HTTPException):
                return
            assert status == 201
            acknowledged.append(name)

    workers = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for one in workers:
        one.start()
    deadline = time.monotonic() + 20
    while len(acknowledged) < 10 and time.monotonic() < deadline:
        time.sleep(0.005)
    os.kill(server.process.pid, signal.SIGKILL)
    for one in workers:
        one.join()
    assert len(acknowledged) >= 10
    with open_store(tmp_path / "store", database) as store:
        assert set(acknowledged) <= {one.name for one in store.accounts.users()}
        rows = {one.subject for one in store.accounts.audit(limit=1000) if one.action == "user.add"}
        assert rows == {one.name for one in store.accounts.users()}
