"""A service in a process of its own, and clients of it: good ones that are timed, slow and broken ones.

What is asked and what the figures mean is in `serve`.
"""

from __future__ import annotations

import http.client
import io
import json
import logging
import multiprocessing
import os
import random
import socket
import tarfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from astrid.errors import DataError

__all__ = ["Asked", "Call", "Server", "contents", "crowd", "load", "npz", "started", "tensors"]

_PATIENCE = 60.0  # s until the service answers
_SETTLED = 3.0  # s: a thousand that come in the same second are a flood, which is another matter
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


@dataclass(frozen=True)
class Call:
    """One kind of request.

    Parameters
    ----------
    name : str
    method, path : str
    body : bytes
    headers : dict of str to str
    n : int
        Triplets that are scored by it; 0 of a question.
    """

    name: str
    method: str
    path: str
    body: bytes = b""
    headers: dict[str, str] | None = None
    n: int = 0


@dataclass(frozen=True)
class Asked:
    """What became of some requests.

    Parameters
    ----------
    seconds : float
        That they took together.
    latencies : list of float, s
    failed : int
        That had another answer than 200, or none.
    cpu : float, s
        Processor time of the service.
    """

    seconds: float
    latencies: list[float]
    failed: int
    cpu: float

    @property
    def rate(self) -> float:
        """Requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, q: float) -> float | None:
        """Of the latency, ms."""
        return float(np.percentile(self.latencies, q) * 1000) if self.latencies else None


@dataclass(frozen=True)
class Server:
    """A service that runs.

    Parameters
    ----------
    port, pid : int
    headers : dict of str to str
        That a good client sends.
    """

    port: int
    pid: int
    headers: dict[str, str]

    def cpu(self) -> float:
        """Processor time so far, s."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self) -> float:
        """Resident memory, MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        raise DataError("the memory of the service cannot be read; run this on Linux")


def contents(path: Path) -> list[bytes]:
    """The packets of an archive."""
    with tarfile.open(path) as archive:
        streams = (archive.extractfile(member) for member in archive if member.isfile())
        return [stream.read() for stream in streams if stream is not None]


@contextmanager
def started(store: Path) -> Iterator[Server]:
    """A service on a store, with an administrator's token."""
    from astrid.service.tokens import new_token
    from astrid.store import open_store

    with open_store(store) as opened:
        if not opened.accounts.users():
            opened.accounts.add_user("bench", "admin", None, by="bench")
        _, token = new_token(opened.accounts, "bench", "bench", None, "bench")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = multiprocessing.get_context("spawn").Process(target=_serve, args=(store, port), daemon=True)
    process.start()
    server = Server(port, process.pid or 0, {"Authorization": f"Bearer {token}"})
    try:
        end = time.monotonic() + _PATIENCE
        while not _answers(server):
            if time.monotonic() > end or not process.is_alive():
                raise DataError(
                    f"the service did not answer within {_PATIENCE:g} s; start it by astrid serve"
                )
            time.sleep(0.1)
        yield server
    finally:
        process.terminate()
        process.join(30)
        if process.is_alive():
            process.kill()


def _serve(store: Path, port: int) -> None:
    from astrid.service.serving import serve
    from astrid.service.settings import Settings

    logging.getLogger("uvicorn").setLevel(logging.ERROR)  # it warns of each broken client
    serve(Settings(store=store, port=port))


def _answers(server: Server) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)) as connection:
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False


def load(server: Server, calls: Sequence[Call], clients: int, seconds: float) -> Asked:
    """Ask for some time, by so many clients that each wait for their answer."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    failed = [0] * clients
    cpu, began = server.cpu(), time.perf_counter()
    end = began + seconds

    def client(k: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        turn = random.Random(k)  # noqa: S311 - which packet comes next is no secret
        while time.perf_counter() < end:
            call = turn.choice(calls)
            start = time.perf_counter()
            try:
                connection.request(
                    call.method, call.path, call.body or None, {**server.headers, **(call.headers or {})}
                )
                answer = connection.getresponse()
                answer.read()
                good = answer.status == 200
            except (OSError, http.client.HTTPException):
                connection.close()
                good = False
            latencies[k].append(time.perf_counter() - start)
            failed[k] += not good
        connection.close()

    threads = [threading.Thread(target=client, args=(k,)) for k in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - began
    return Asked(took, [one for part in latencies for one in part], sum(failed), server.cpu() - cpu)


@contextmanager
def crowd(server: Server, n: int) -> Iterator[Callable[[], int]]:
    """So many clients that are slow or broken, each in one of six ways; gives how many are connected."""
    stop = threading.Event()
    sockets: list[socket.socket] = []
    head = f"Host: 127.0.0.1:{server.port}\r\nAuthorization: {server.headers['Authorization']}\r\n"
    openings = (
        b"GET /api/v1/candidates HTTP/1.1\r\nHos",  # never ends its head
        f"POST /api/v1/classify/triplets HTTP/1.1\r\n{head}Content-Length: 500000\r\n\r\n".encode(),
        f"GET /api/v1/models HTTP/1.1\r\n{head}\r\n".encode(),  # never reads the answer
        b"",  # says nothing
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" + os.urandom(200),  # TLS, where there is none
        # goes away
        f"POST /api/v1/classify/packets HTTP/1.1\r\n{head}Content-Length: 100\r\n\r\nObj".encode(),
    )

    def come(k: int) -> None:
        try:
            one = socket.create_connection(("127.0.0.1", server.port), timeout=10)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.sendall(openings[k % len(openings)])
            one.setblocking(False)
        except OSError:
            return
        sockets.append(one)
        if k % len(openings) == 5:
            one.close()

    def drip() -> None:
        while not stop.wait(1.0):
            for one in tuple(sockets):
                try:
                    one.send(b"x")
                except OSError:
                    continue

    def keep_coming() -> None:
        for k in range(n):
            if stop.is_set():
                return
            come(k)

    threads = [threading.Thread(target=one, daemon=True) for one in (keep_coming, drip)]
    for thread in threads:
        thread.start()
    threads[0].join(60)
    time.sleep(_SETTLED)
    try:
        yield lambda: len(sockets)
    finally:
        stop.set()
        for thread in threads:
            thread.join(10)
        for one in sockets:
            one.close()


def npz(stack: Any) -> bytes:
    """A stack of triplets as it is sent."""
    stream = io.BytesIO()
    np.savez(stream, triplet=stack)
    return stream.getvalue()


def tensors(stack: Any) -> bytes:
    """The same in the words of the Open Inference Protocol."""
    tensor = {"name": "triplet", "shape": list(stack.shape), "datatype": "FP32"}
    return json.dumps({"inputs": [{**tensor, "data": stack.ravel().tolist()}]}).encode()
