"""Services in this process, on both databases, and clients of them with each role."""

from __future__ import annotations

import runpy
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import fastavro
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from astrid.alerts.container import packets_in
from astrid.alerts.schemas import SchemaBook
from astrid.service.app import create_app
from astrid.service.passwords import hash_password
from astrid.service.settings import Settings
from astrid.service.state import State
from astrid.service.tokens import digest, new_token
from astrid.store import open_store
from astrid.store.asking import QueueRow
from astrid.store.store import Store
from astrid.stream.ingest import ingest
from astrid.stream.scores import Scorer
from astrid.stream.source import Delivery

BASE = "http://127.0.0.1:8000"
PASSWORD = "seven quiet comets"
ROLES = ("viewer", "labeller", "admin")


class Service:
    """A service and its clients; users are named after their roles."""

    def __init__(self, app: FastAPI, base: str = BASE) -> None:
        self.app = app
        self.base = base
        self._stack = ExitStack()
        self._running: TestClient | None = None

    @property
    def state(self) -> State:
        return self.app.state.astrid

    def add_users(self) -> None:
        """An account for each role, the administrator's first."""
        kept = hash_password(PASSWORD)
        for role in reversed(ROLES):
            self.state.store.accounts.add_user(role, role, kept, by="test")

    def client(self, **headers: str) -> TestClient:
        """Somebody without proof; on a laptop without accounts that is its owner."""
        if self._running is None:  # its entry starts the service, and its exit ends it
            self._running = self._stack.enter_context(self._new({}))
        client = self._new(headers)
        client.portal = self._running.portal  # one event loop for all, as in a server
        return client

    def _new(self, headers: dict[str, str]) -> TestClient:
        return TestClient(
            self.app,
            base_url=self.base,
            headers=headers,
            client=("127.0.0.1", 50000),
            raise_server_exceptions=False,
            follow_redirects=False,
        )

    def with_cookie(self, role: str, *, csrf: bool = True) -> TestClient:
        """A browser in which somebody has logged in."""
        secret = f"session-of-{role}-{time.monotonic_ns()}"
        self.state.store.accounts.add_session(digest(secret), role, "the csrf", time.time() + 3600, {})
        client = self.client(**({"X-CSRF-Token": "the csrf"} if csrf else {}))
        client.cookies.set("astrid8000", secret)
        return client

    def with_token(self, role: str) -> TestClient:
        """A program that has a token."""
        _, token = new_token(self.state.store.accounts, role, "test", None, "test")
        return self.client(Authorization=f"Bearer {token}")

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def make_service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Makes services, on SQLite unless told otherwise; `accounts` makes a user of each role."""
    with ExitStack() as stack:
        numbers = iter(range(100))

        def make(*, accounts: bool = False, database: str | None = None, **settings: Any) -> Service:
            store = stack.enter_context(open_store(tmp_path / f"store{next(numbers)}", database, patience=5))
            service = Service(create_app(Settings(store=store.folder, database=database, **settings), store))
            stack.callback(service.close)
            if accounts:
                service.add_users()
            return service

        yield make


@pytest.fixture(scope="session")
def samples() -> SimpleNamespace:
    """Packets of ZTF's kind."""
    return SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "stream" / "samples.py")))


@pytest.fixture(scope="session")
def put_alerts(samples: SimpleNamespace) -> Callable[..., None]:
    """Puts simulated alerts, numbered from 0, into a store and its queue; `names` are of their objects."""

    def put(store: Store, n: int, names: Mapping[int, str] = MappingProxyType({}), **facts: Any) -> None:
        contents = [samples.packet(k, **facts) for k in range(n)]
        for k, name in names.items():
            (record,) = fastavro.reader(BytesIO(contents[k]))
            stream = BytesIO()
            fastavro.writer(stream, samples.SCHEMA, [{**record, "objectId": name}])
            contents[k] = stream.getvalue()
        packets = [
            one
            for k, content in enumerate(contents)
            for one in packets_in(f"p{k}", content, SchemaBook(), lambda schema: {})
        ]

        class Once:
            def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
                yield Delivery(packets, time.time(), lambda: None, None)

            def close(self) -> None:
                pass

        ingest(Once(), store, Scorer([]), size=n)
        store.labels.save_queue("braai", [QueueRow("ztf", str(k), k, None, "random") for k in range(n)])

    return put


def _module_service(factory: pytest.TempPathFactory, *, accounts: bool) -> Iterator[Service]:
    with open_store(factory.mktemp("service") / "store", patience=5) as store:
        service = Service(create_app(Settings(store=store.folder), store))
        if accounts:
            service.add_users()
        yield service
        service.close()


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service without accounts, for tests that leave it as it was."""
    yield from _module_service(tmp_path_factory, accounts=False)


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with a user of each role, for tests that leave them as they were."""
    yield from _module_service(tmp_path_factory, accounts=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> str | None:
    """The address of a new database, once for each kind."""
    if request.param == "sqlite":
        return None
    return request.getfixturevalue("postgresql").new_database()
