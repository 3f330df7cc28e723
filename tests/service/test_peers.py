"""Who else is logged in to this machine is not taken for the one who runs the service."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from astrid.service.peers import Peer, owner

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_connection_of_ours_is_ours(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        server = socket.create_server((address, 0), family=family)
    except OSError as error:
        pytest.skip(f"{address} is not there ({error})")
    with server, socket.create_connection(server.getsockname()[:2]) as client:
        accepted, _ = server.accept()
        with accepted:
            assert owner(*client.getsockname()[:2]) == os.getuid()
            assert Peer(client.getsockname()[:2]).is_ours


def test_one_of_another_user_is_not() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can connect as somebody else")
    other = pwd.getpwnam("nobody")
    program = "import socket, sys; c = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); c.recv(1)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        command = ["/usr/bin/env", "python3", "-c", program, str(port)]
        client = subprocess.Popen(command, user=other.pw_uid, cwd="/")
        accepted, (address, port) = server.accept()
        with accepted:
            assert owner(address, port) == other.pw_uid
            assert not Peer((address, port)).is_ours
    client.wait()


def test_what_the_system_does_not_tell_keeps_nobody_out() -> None:
    assert owner("127.0.0.1", 1) is None
    assert owner("no address", 1) is None
    assert Peer(("192.0.2.1", 1)).is_ours
    assert Peer(None).is_ours


def test_a_stranger_on_this_machine_is_nobody(make_service: Callable[..., Any]) -> None:
    service = make_service()
    for ours, status in ((True, 200), (False, 401)):

        async def with_peer(scope: Any, receive: Any, send: Any, ours: bool = ours) -> None:
            if scope["type"] == "http":
                scope["state"] = {"peer": SimpleNamespace(is_ours=ours)}
            await service.app(scope, receive, send)

        client = TestClient(with_peer, base_url=service.base, client=("127.0.0.1", 5000))
        assert client.get("/api/v1/account").status_code == status
