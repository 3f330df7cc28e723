"""A service in a process of its own, with a queue of simulated alerts, and a real browser in front of it."""

from __future__ import annotations

import io
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest

samples = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[2] / "stream" / "samples.py")))
PASSWORD = "correct horse battery"
EVIL = '<img src=x onerror="document.body.dataset.broken=1">'


def named(content: bytes, object_id: str) -> bytes:
    """The same packet, of an object of another name."""
    import fastavro

    (record,) = fastavro.reader(io.BytesIO(content))
    stream = io.BytesIO()
    record["objectId"] = object_id
    fastavro.writer(stream, samples.SCHEMA, [record], codec="null")
    return stream.getvalue()


class Service:
    """``astrid serve`` on a store; it can be killed and started again at the same address."""

    def __init__(self, store: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.store = store
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        program = "from astrid.cli.main import main; main()"
        command = ["-c", program, "serve", "--store", str(self.store), "--port", str(self.port)]
        self._process = subprocess.Popen(
            [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(600):
            if self._process.poll() is not None:
                raise AssertionError(self._process.stdout.read().decode())
            try:
                urllib.request.urlopen(f"{self.address}/health", timeout=5)  # noqa: S310
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.05)
            else:
                return
        raise AssertionError("the service does not answer")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._process.stdout.close()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(20)
            self._process.stdout.close()

    def labels(self, task: str = "braai", *, undone: bool = False) -> list[dict]:
        """What the store has, read by another process than the service."""
        from astrid.store import open_store

        with open_store(self.store) as store:
            return store.labels.of_task(task, undone=undone).to_pylist()


@pytest.fixture(scope="module")  # while it runs, nothing else on this thread can have an event loop
def chromium():
    """A browser without a window that asks nobody but our service."""
    sync_api = pytest.importorskip("playwright.sync_api")
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("no chromium is installed (Debian: apt install chromium)")
    arguments = ["--no-sandbox", "--disable-background-networking", "--disable-component-update"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        yield browser
        browser.close()


def fill(folder: Path, n: int) -> None:
    """A store with alerts, each in the queue, scores, and accounts."""
    from astrid.alerts.container import packets_in
    from astrid.alerts.schemas import SchemaBook
    from astrid.service.passwords import hash_password
    from astrid.store import open_store
    from astrid.store.asking import QueueRow
    from astrid.stream.ingest import ingest
    from astrid.stream.scores import Scorer
    from astrid.stream.source import Delivery

    contents = [named(samples.packet(0), EVIL), *(samples.packet(k) for k in range(1, n))]
    packets = [
        one
        for k, content in enumerate(contents)
        for one in packets_in(f"p{k}", content, SchemaBook(), lambda schema: {})
    ]

    class Once:
        def deliveries(self, size, linger):
            yield Delivery(packets, time.time(), lambda: None, None)

        def close(self):
            pass

    bundle = samples.bundle(folder.parent, "braai.toy", [[0], [0], [1]], size=samples.SIZE)
    with open_store(folder) as store:
        ingest(Once(), store, Scorer([bundle]), size=n)
        rows = [QueueRow("ztf", str(k), k, None, "random") for k in range(n)]
        store.labels.save_queue("braai", rows)
        for name, role in (("ada", "admin"), ("ben", "labeller"), ("cleo", "labeller"), ("vera", "viewer")):
            store.accounts.add_user(name, role, hash_password(PASSWORD, name), by="test")


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """Makes services; what they are not stopped by a test is stopped in the end."""
    made = []

    def make(n: int) -> Service:
        folder = tmp_path_factory.mktemp("served") / "store"
        fill(folder, n)
        made.append(Service(folder))
        made[-1].start()
        return made[-1]

    yield make
    for one in made:
        one.stop()


class Person:
    """Somebody at a browser, and what went wrong there."""

    def __init__(self, browser, service: Service, **how) -> None:
        self.context = browser.new_context(viewport={"width": 1280, "height": 800}, **how)
        self.page = self.context.new_page()
        self.page.set_default_timeout(15000)
        self.service = service
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", self._listen)
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))

    def _listen(self, message) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def log_in(self, name: str, path: str = "/review/scan") -> None:
        self.page.goto(self.service.address + path)
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Password").fill(PASSWORD)
        self.page.get_by_role("button", name="Log in").click()
        self.page.wait_for_url(f"**{path}")

    @property
    def item(self) -> str | None:
        return self.page.evaluate("document.body.dataset.item ?? null")

    def wait(self, before: str | None = None) -> str:
        """The candidate on the screen, once it is another one."""
        self.page.wait_for_function(
            "before => document.body.dataset.item && document.body.dataset.item !== before", arg=before
        )
        return self.item

    def press(self, key: str) -> str:
        """Answer, and give the candidate that was answered."""
        item = self.wait()
        self.page.keyboard.press(key)
        return item

    def settled(self) -> None:
        """Wait until the server has all answers."""
        self.page.wait_for_function(
            "() => !Object.keys(localStorage).some((name) => name.startsWith('astrid.outbox.'))",
            timeout=40000,
        )


@pytest.fixture
def people(chromium):
    """Makes people at browsers of their own."""
    made = []

    def make(service: Service, **how) -> Person:
        made.append(Person(chromium, service, **how))
        return made[-1]

    yield make
    for one in made:
        one.context.close()
