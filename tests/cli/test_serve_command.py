"""``astrid serve`` and its accounts, as typed."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from astrid.cli.main import app
from astrid.store import open_store

PASSWORD = "seven quiet comets"


def astrid(*words: str, given: str | None = None) -> Any:
    result = CliRunner().invoke(app, ["serve", *words], input=given)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.mark.parametrize(
    "options",
    [("--host", "0.0.0.0"), ("--host", "::"), ("--url", "https://astrid.example.org")],  # noqa: S104
)
def test_off_this_machine_it_does_not_start_without_an_administrator(
    tmp_path: Path, options: tuple[str, str]
) -> None:
    done = astrid("--store", str(tmp_path / "store"), "--port", "0", *options)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "astrid serve users add NAME --role admin" in done.stderr


def test_accounts_and_tokens_are_made_and_listed(tmp_path: Path) -> None:
    where = ("--store", str(tmp_path / "store"))
    new = ("users", "add", "ada", *where, "--password-stdin", "--json", "--role")
    short = astrid(*new, "admin", given="short\n")
    assert (short.exit_code, "10 to 1024" in short.stderr) == (2, True)
    assert "first account" in astrid(*new, "viewer", given=PASSWORD + "\n").stderr
    made = astrid(*new, "admin", given=PASSWORD + "\n")
    assert json.loads(made.stdout)["role"] == "admin"
    assert astrid("users", "add", "bot", "--role", "viewer", "--no-password", *where).exit_code == 0
    assert astrid("users", "role", "bot", "labeller", *where).exit_code == 0
    told = astrid("users", "list", *where).stdout
    assert "labeller" in told
    assert "tokens only" in told
    token = astrid("tokens", "add", "bot", "--name", "ni[b]ghtly", "--days", "30", *where).stdout.strip()
    assert token.startswith("astrid_")
    assert "ni[b]ghtly" in astrid("tokens", "list", *where).stdout
    listed = astrid("tokens", "list", "bot", *where, "--json").stdout
    assert token not in listed
    number = json.loads(listed)["tokens"][0]["id"]
    assert astrid("tokens", "revoke", str(number), *where).exit_code == 0
    assert astrid("tokens", "revoke", str(number), *where).exit_code == 2
    assert astrid("users", "password", "bot", *where, "--password-stdin", given=PASSWORD).exit_code == 0
    assert astrid("users", "off", "bot", *where).exit_code == 0
    assert astrid("users", "on", "bot", *where).exit_code == 0
    assert "last administrator" in astrid("users", "off", "ada", *where).stderr
    with open_store(tmp_path / "store") as store:
        by = {one.user for one in store.accounts.audit()}
        assert len(by) == 1
        assert by.pop().endswith("(command line)")


def test_a_password_is_not_waited_for_where_nobody_can_type_it(tmp_path: Path) -> None:
    done = astrid("users", "add", "ada", "--role", "admin", "--store", str(tmp_path / "store"))
    assert (done.exit_code, "--password-stdin" in done.stderr) == (2, True)


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = astrid("--store", str(tmp_path / "store"), "--port", str(port))
    assert done.exit_code == 1
    assert done.stderr == (
        f"error: 127.0.0.1:{port} cannot be listened on (Address already in use); give another --port, or "
        "stop what uses it\n"
    )
    nowhere = astrid("--store", str(tmp_path / "store"), "--host", "no.such.host.invalid", "--json")
    assert nowhere.exit_code == 2


@pytest.mark.parametrize("url", ["astrid.example.org", "ftp://x", "https://x/path", "https://"])
def test_an_address_that_is_none_is_refused(tmp_path: Path, url: str) -> None:
    done = astrid("--store", str(tmp_path / "store"), "--url", url)
    assert (done.exit_code, "without a path" in done.stderr) == (2, True)
