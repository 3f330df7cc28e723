"""``astrid serve``: the service over HTTP, and its accounts.

Parse, call, print; the work is done in `astrid.service`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astrid.cli.output import emit
from astrid.cli.store_options import DEFAULT_STORE, Database, StoreFolder
from astrid.cli.tables import columns

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.store.accounts import TokenRecord, UserRecord
    from astrid.store.store import Store

__all__ = ["app"]

app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode="markdown",
    help="Serve the store over HTTP: an interface for programs, and pages to review candidates on.",
)
users_app = typer.Typer(no_args_is_help=True, help="Accounts: who may use the service, and for what.")
tokens_app = typer.Typer(no_args_is_help=True, help="Tokens: how programs show on whose behalf they ask.")
app.add_typer(users_app, name="users")
app.add_typer(tokens_app, name="tokens")

Json = Annotated[bool, typer.Option("--json", help="One JSON object for machines.")]
UserName = Annotated[str, typer.Argument(help="Name of the user.", metavar="NAME")]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from the standard input.")
]


class Role(StrEnum):
    """What a user may; each may all that those before it may."""

    VIEWER = "viewer"
    LABELLER = "labeller"
    ADMIN = "admin"


@app.callback()
def serve(
    context: typer.Context,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; any that is free for 0.", min=0, max=65535)] = 8000,
    url: Annotated[
        str | None,
        typer.Option(
            help="Where people reach the service, if that is a reverse proxy: https://astrid.example.org.",
            metavar="URL",
            show_default=False,
        ),
    ] = None,
    proxy: Annotated[
        list[str] | None,
        typer.Option(
            help="Address or network of a reverse proxy that is believed who its clients are; with --url, "
            "those on this machine. Can be repeated.",
            metavar="ADDRESS",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model to serve, by name or folder; those that come with AstrID if not given. Can be "
            "repeated.",
            show_default=False,
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="What the review pages ask about: a system.")] = "braai",
    max_upload: Annotated[int, typer.Option(help="Longest upload, in MiB.", min=1)] = 128,
    time_limit: Annotated[float, typer.Option(help="Seconds that a request may take.", min=1)] = 120.0,
    grace: Annotated[
        float, typer.Option(help="Seconds that requests in flight have when the service stops.", min=1)
    ] = 20.0,
    json: Json = False,
) -> None:
    """Serve a store over HTTP until Ctrl-C or SIGTERM.

    On this machine alone it needs no accounts: whoever runs it is its administrator. For anything else make
    accounts first.

    Example: `astrid serve --store mystore`
    """
    if context.invoked_subcommand is not None:
        return
    from astrid.service.settings import Settings

    settings = Settings(
        store=store,
        database=database,
        host=host,
        port=port,
        url=url,
        proxies=tuple(proxy or ()),
        bundles=tuple(model or ()),
        task=task,
        max_upload=max_upload << 20,
        time_limit=time_limit,
        grace=grace,
    )
    _needs()
    from astrid.service.serving import serve as run

    def ready(address: str, free: bool) -> None:
        result = {"url": address, "store": str(store), "accounts": not free}
        emit(json, result, lambda: _ready(address, store, free, settings.is_local or settings.is_secure))
        sys.stdout.flush()

    run(settings, ready)


@users_app.command("add")
def add_user(
    name: UserName,
    role: Annotated[Role, typer.Option(help="What the user may.")],
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    password_stdin: FromStdin = False,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="An account for programs: only tokens open it.")
    ] = False,
    json: Json = False,
) -> None:
    """Make an account; the first has to be an administrator's.

    Example: `astrid serve users add ada --role admin --store mystore`
    """
    with _opened(store, database) as opened:
        kept = None if no_password else _password(name, password_stdin)
        opened.accounts.add_user(name, role.value, kept, by=_operator())
        _say_user(opened, name, json)


@users_app.command("list")
def list_users(store: StoreFolder = DEFAULT_STORE, database: Database = None, json: Json = False) -> None:
    """List the accounts.

    Example: `astrid serve users list --store mystore`
    """
    with _opened(store, database) as opened:
        found = opened.accounts.users()
    emit(json, {"users": [one._asdict() for one in found]}, lambda: _user_table(found))


@users_app.command("role")
def set_role(
    name: UserName,
    role: Annotated[Role, typer.Argument(help="What the user may from now on.")],
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Give a user another role.

    Example: `astrid serve users role grace labeller --store mystore`
    """
    with _opened(store, database) as opened:
        opened.accounts.set_role(name, role.value, by=_operator())
        _say_user(opened, name, json)


@users_app.command("off")
def switch_off(
    name: UserName, store: StoreFolder = DEFAULT_STORE, database: Database = None, json: Json = False
) -> None:
    """Switch an account off, with its sessions and tokens; what it has done is kept.

    Example: `astrid serve users off grace --store mystore`
    """
    with _opened(store, database) as opened:
        opened.accounts.set_active(name, False, by=_operator())
        _say_user(opened, name, json)


@users_app.command("on")
def switch_on(
    name: UserName, store: StoreFolder = DEFAULT_STORE, database: Database = None, json: Json = False
) -> None:
    """Switch an account on again.

    Example: `astrid serve users on grace --store mystore`
    """
    with _opened(store, database) as opened:
        opened.accounts.set_active(name, True, by=_operator())
        _say_user(opened, name, json)


@users_app.command("password")
def set_password(
    name: UserName,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    password_stdin: FromStdin = False,
    json: Json = False,
) -> None:
    """Give a user another password; all sessions of the user end.

    Example: `astrid serve users password grace --store mystore`
    """
    with _opened(store, database) as opened:
        opened.accounts.set_password(name, _password(name, password_stdin), by=_operator())
        _say_user(opened, name, json)


@tokens_app.command("add")
def add_token(
    user: Annotated[str, typer.Argument(help="On whose behalf the program asks.", metavar="USER")],
    name: Annotated[str, typer.Option(help="What the token is for.")],
    days: Annotated[
        float | None, typer.Option(help="It ends after so many days; never if not given.", min=0.001)
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Make a token, which is shown this once.

    Example: `astrid serve tokens add broker --name "nightly upload" --days 365 --store mystore`
    """
    from astrid.service.tokens import new_token

    with _opened(store, database) as opened:
        number, token = new_token(opened.accounts, user, name, days, _operator())
    emit(json, {"id": number, "user": user, "name": name, "token": token}, lambda: token)


@tokens_app.command("list")
def list_tokens(
    user: Annotated[
        str | None, typer.Argument(help="Of this user only.", metavar="USER", show_default=False)
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """List tokens, without what they open.

    Example: `astrid serve tokens list --store mystore`
    """
    with _opened(store, database) as opened:
        found = opened.accounts.tokens(user)
    emit(json, {"tokens": [one._asdict() for one in found]}, lambda: _token_table(found))


@tokens_app.command("revoke")
def revoke_token(
    number: Annotated[int, typer.Argument(help="Its number, from the list.", metavar="ID")],
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Make a token open nothing any more.

    Example: `astrid serve tokens revoke 3 --store mystore`
    """
    with _opened(store, database) as opened:
        opened.accounts.revoke_token(number, by=_operator())
    emit(json, {"revoked": number}, lambda: f"token {number} is revoked")


def _opened(folder: Path, database: str | None) -> Store:
    from astrid.store import open_store

    return open_store(folder, database)


def _needs() -> None:
    """Say at once what is missing, rather than from the depth of an import."""
    from importlib.util import find_spec

    from astrid.errors import DependencyError

    for package in ("fastapi", "uvicorn", "jinja2", "python_multipart", "argon2", "prometheus_client"):
        if find_spec(package) is None:
            raise DependencyError(f'the service needs {package}; pip install "astrid[serve]"')


def _operator() -> str:
    """Who uses the command line, as the audit shows it."""
    from astrid.service.settings import operator

    return f"{operator()} (command line)"


def _password(name: str, from_stdin: bool) -> str:
    """The hash of a password that is asked for, or read."""
    from astrid.errors import UsageError
    from astrid.service.passwords import hash_password

    if from_stdin:
        given = sys.stdin.readline().rstrip("\r\n")
    elif sys.stdin.isatty():
        given = str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    else:
        raise UsageError("there is no terminal to ask for the password; add --password-stdin")
    return hash_password(given, name)


def _say_user(store: Store, name: str, json: bool) -> None:
    record = store.accounts.user(name)
    if record is not None:
        emit(json, record._asdict(), lambda: _user_table([record]))


def _ready(address: str, store: Path, free: bool, safe: bool) -> RenderableType:
    from rich.text import Text

    lines = [f"{store} is served at {address}; Ctrl-C stops."]
    if free:
        lines.append(
            "There are no accounts: whoever can use this machine is an administrator. astrid serve users add "
            "changes that."
        )
    if not safe:
        lines.append(
            "Passwords travel in the open: put a reverse proxy with TLS in front, and give its address as "
            "--url."
        )
    return Text("\n".join(lines))


def _user_table(found: list[UserRecord]) -> RenderableType:
    table = columns(("user", "role", "account", "password", "since"))
    for one in found:
        state = "on" if one.active else "off"
        password = "yes" if one.has_password else "tokens only"
        table.add_row(one.name, one.role, state, password, _date(one.created))
    return table


def _token_table(found: list[TokenRecord]) -> RenderableType:
    from rich.markup import escape

    table = columns(("id", "user", "for", "made", "ends", "last used", "state"), numbers=(0,))
    for one in found:
        state = f"revoked {_date(one.revoked)}" if one.revoked else "in use"
        times = (_date(one.created), _date(one.expires), _date(one.used))
        table.add_row(str(one.id), one.user, escape(one.name), *times, state)
    return table


def _date(seconds: float | None) -> str:
    return "never" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"
