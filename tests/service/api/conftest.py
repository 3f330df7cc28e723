"""A store that the stream has filled, and a client of a service on it."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient

from astrid.service.app import create_app
from astrid.service.settings import Settings
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
