"""A store that the stream has filled, and a client of a service on it."""

from __future__ import annotations

import runpy
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import uvicorn
from starlette.testclient import TestClient

from astrid.service.app import create_app
from astrid.service.passwords import hash_password
from astrid.service.settings import Settings
from astrid.service.tokens import new_token
from astrid.store import open_store
from astrid.stream.settings import StreamSettings
from astrid.stream.workers import run_stream

BASE = "http://127.0.0.1:8000"
SAMPLES = Path(__file__).parents[2] / "stream" / "samples.py"


@pytest.fixture(scope="session")
def samples() -> SimpleNamespace:
    """Packets of ZTF's kind."""
    return SimpleNamespace(**runpy.run_path(str(SAMPLES)))


@pytest.fixture(scope="session")
def filled(tmp_path_factory, samples) -> Path:
    """The folder of a store with 90 alerts in three batches, the second of another night."""
    folder = tmp_path_factory.mktemp("filled")
    for k in range(3):
        packets = folder / f"packets{k}"
        packets.mkdir()
        for number in range(30 * k, 30 * k + 30):
            facts = {"jd": 2461346.5 + k + number * 1e-4}
            (packets / f"{number:04d}.avro").write_bytes(samples.packet(number, size=63, **facts))
        run_stream(StreamSettings(sources=(str(packets),), store=folder / "store"))
    return folder / "store"


@pytest.fixture(scope="module")
def service(filled) -> Iterator[SimpleNamespace]:
    """A service on a laptop, its client, and its state."""
    app = create_app(Settings(store=filled, time_limit=60))
    with TestClient(app, base_url=BASE, client=("127.0.0.1", 50000)) as client:
        client.headers["X-CSRF-Token"] = client.get("/api/v1/account").json()["csrf"]
        yield SimpleNamespace(client=client, state=app.state.astrid, app=app)


@pytest.fixture
def client(service) -> TestClient:
    return service.client


class Running:
    """A service that listens on a port of this machine, with an administrator and a token."""

    def __init__(self, store: Path) -> None:
        self.store = open_store(store, patience=10)
        accounts = self.store.accounts
        if not accounts.users():
            accounts.add_user("admin", "admin", hash_password("seven quiet comets"), by="test")
            for number in range(5):  # so that a number that is made up is not that of the one in use
                new_token(accounts, "admin", f"unused {number}", None, "test")
        _, token = new_token(accounts, "admin", "test", None, "test")
        self.headers = {"Authorization": f"Bearer {token}"}
        listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        self.app = create_app(Settings(store=store, port=listening.getsockname()[1]), self.store)
        self.state = self.app.state.astrid
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, log_level="error", timeout_graceful_shutdown=2)
        )
        self._thread = threading.Thread(target=self._server.run, args=([listening],), daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.02)

    def close(self) -> None:
        self.state.stopping.set()
        self._server.should_exit = True
        self._thread.join(20)
        self.store.close()


@pytest.fixture
def running(filled, tmp_path) -> Iterator[Running]:
    """On a copy of the store, which tests may change."""
    shutil.copytree(filled, tmp_path / "store")
    found = Running(tmp_path / "store")
    yield found
    found.close()
