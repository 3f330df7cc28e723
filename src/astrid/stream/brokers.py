"""Addresses of Kafka brokers, and what the client must be told to be let in.

Brokers are described in a TOML file by name, with their secrets in the environment or in files of their
own, so that no address, log or message ever holds one. Reading and writing are in `kafka` and `topic_sink`.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from astrid.errors import UsageError

__all__ = ["Broker", "KafkaAddress", "parse_address", "read_brokers", "secret"]

_SCHEME = "kafka://"
_FILE = "ASTRID_BROKERS"


class Broker(BaseModel):
    """A cluster, as its operators describe it.

    Parameters
    ----------
    servers : tuple of str
        ``HOST:PORT`` of one or more of its members.
    protocol : "PLAINTEXT", "SSL", "SASL_PLAINTEXT" or "SASL_SSL"
    mechanism : "SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN" or "OAUTHBEARER", optional
        With SASL.
    username : str, optional
        With SASL; of OAUTHBEARER the client's identifier.
    password_env : str, optional
        Environment variable with the password, or with the client's secret.
    password_file : Path, optional
        Or a file that holds nothing else; paths are relative to the file of brokers.
    token_url, scope : str, optional
        Of OAUTHBEARER: where tokens are given out, and for what.
    ca : Path, optional
        Certificates of the authorities that are trusted, where it is not the system's.
    group : str, optional
        Consumer group for those who name none.
    session : float, s
        After which the partitions of a worker that died go to another; brokers allow 6 and more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    servers: tuple[str, ...]
    protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    mechanism: Literal["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN", "OAUTHBEARER"] | None = None
    username: str | None = None
    password_env: str | None = None
    password_file: Path | None = None
    token_url: str | None = None
    scope: str | None = None
    ca: Path | None = None
    group: str | None = None
    session: float = Field(default=15.0, ge=1, le=1800)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.servers:
            raise ValueError("servers is empty, expected HOST:PORT")
        if self.protocol.startswith("SASL"):
            if self.mechanism is None or self.username is None:
                raise ValueError(f"protocol {self.protocol} needs mechanism and username")
            if (self.password_env is None) == (self.password_file is None):
                raise ValueError(
                    f"protocol {self.protocol} needs password_env or password_file, and not both"
                )
        elif self.mechanism is not None:
            raise ValueError(f"protocol {self.protocol} has no mechanism; give SASL_SSL or SASL_PLAINTEXT")
        if (self.mechanism == "OAUTHBEARER") != (self.token_url is not None):
            raise ValueError("token_url belongs to mechanism OAUTHBEARER, which needs it")
        if self.token_url is not None and not self.token_url.startswith("https://"):
            raise ValueError("token_url must begin with https://, since the secret is sent there")
        return self

    def settings(self) -> dict[str, Any]:
        """What librdkafka is told, secrets included: for its constructor and for nothing else.

        Raises
        ------
        UsageError
            A secret or the file of certificates is not where it should be.
        """
        told: dict[str, Any] = {"bootstrap.servers": ",".join(self.servers)}
        if self.protocol != "PLAINTEXT":
            told["security.protocol"] = self.protocol
        if self.ca is not None:
            if not self.ca.is_file():
                raise UsageError(f"{self.ca}: there is no such file of certificates; check ca of the broker")
            told["ssl.ca.location"] = str(self.ca)
        if self.mechanism is None:
            return told
        password = secret(self.password_env, self.password_file)
        told["sasl.mechanism"] = self.mechanism
        if self.mechanism == "OAUTHBEARER":
            told["sasl.oauthbearer.method"] = "oidc"
            told["sasl.oauthbearer.client.id"] = self.username
            told["sasl.oauthbearer.client.secret"] = password
            told["sasl.oauthbearer.token.endpoint.url"] = self.token_url
            if self.scope is not None:
                told["sasl.oauthbearer.scope"] = self.scope
        else:
            told["sasl.username"] = self.username
            told["sasl.password"] = password
        return told


@dataclass(frozen=True)
class KafkaAddress:
    """Topics of a broker.

    Parameters
    ----------
    name : str
        What the broker is called in messages.
    broker : Broker
    topics : tuple of str
        Those that begin with ``^`` are patterns.
    group : str
        Of consumers.
    """

    name: str
    broker: Broker
    topics: tuple[str, ...]
    group: str


def parse_address(address: str, brokers: str | Path | None = None, group: str | None = None) -> KafkaAddress:
    """Understand ``kafka://BROKER/TOPIC[,TOPIC][?group=NAME]``.

    Parameters
    ----------
    address : str
        BROKER is ``HOST:PORT[,HOST:PORT]``, or the name of one that is described.
    brokers : str or Path, optional
        File that describes them; that which the environment variable ASTRID_BROKERS names if not given.
    group : str, optional
        Where the address says none.

    Raises
    ------
    UsageError
        It is no such address, there is no such broker, or it holds a password.
    """
    servers, _, rest = address.removeprefix(_SCHEME).partition("/")
    if "@" in servers:  # not repeated in the message: it has a password
        raise UsageError(
            "an address must not hold a name and password; describe the broker in a file (--brokers) and "
            "give kafka://NAME/TOPIC"
        )
    topics, _, asked = rest.rpartition("?group=") if "?group=" in rest else (rest, "", "")
    names = tuple(topic for topic in topics.split(",") if topic)
    if not address.startswith(_SCHEME) or not servers or not names:
        raise UsageError(
            f"{address!r} is no address of a topic; give kafka://HOST:PORT/TOPIC or kafka://NAME/TOPIC"
        )
    known = read_brokers(brokers)
    if servers in known:
        broker = known[servers]
    elif all(":" in server for server in servers.split(",")):
        broker = Broker(servers=tuple(servers.split(",")))
    else:
        listed = ", ".join(sorted(known)) or "none"
        raise UsageError(
            f"no broker is called {servers!r} (known: {listed}); describe it in the file of brokers "
            "(--brokers) or give HOST:PORT"
        )
    # some brokers let a user have only groups that begin with the user's name
    default = "astrid" if broker.username is None else f"{broker.username}-astrid"
    return KafkaAddress(servers, broker, names, asked or group or broker.group or default)


def read_brokers(path: str | Path | None = None) -> dict[str, Broker]:
    """The brokers that a TOML file describes in its tables ``[brokers.NAME]``.

    Parameters
    ----------
    path : str or Path, optional
        That which the environment variable ASTRID_BROKERS names if not given; none where that is not set.

    Raises
    ------
    UsageError
        There is no such file, or it does not describe brokers.
    """
    given = path or os.environ.get(_FILE)
    if not given:
        return {}
    file = Path(given)
    try:
        document = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(f"{file}: there is no such file of brokers; check --brokers or {_FILE}") from error
    except (OSError, ValueError) as error:
        # what a parser says may quote the line: not shown, since secrets are written into such files
        raise UsageError(f"{file}: not a readable TOML file; expected tables [brokers.NAME]") from error
    tables = document.get("brokers")
    if not isinstance(tables, dict) or len(document) > 1:
        raise UsageError(f"{file}: expected tables [brokers.NAME] and nothing else; see the guide to streams")
    return {name: _broker(file, name, table) for name, table in tables.items()}


def secret(variable: str | None, file: Path | None) -> str:
    """A secret from an environment variable or from a file.

    Raises
    ------
    UsageError
        It is not there, or empty.
    """
    if variable is not None:
        value = os.environ.get(variable, "")
        place = f"the environment variable {variable}"
    else:
        place = f"the file {file}"
        try:
            value = "" if file is None else file.read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            raise UsageError(f"{place} with a password cannot be read; check password_file") from error
    if not value:
        raise UsageError(f"{place} should hold a password and is empty; set it")
    return value


def _broker(file: Path, name: str, table: Any) -> Broker:
    if not isinstance(table, Mapping):
        raise UsageError(f"{file}: brokers.{name} is no table; see the guide to streams")
    if "password" in table:
        raise UsageError(
            f"{file}: brokers.{name} has a password in it; name an environment variable (password_env) or a "
            "file (password_file) instead"
        )
    facts = dict(table)
    if isinstance(facts.get("servers"), str):
        facts["servers"] = facts["servers"].split(",")
    try:
        for key in ("password_file", "ca"):
            if key in facts:
                facts[key] = file.parent / Path(facts[key]).expanduser()
        return Broker.model_validate(facts)
    except (ValidationError, TypeError) as error:
        reason = _first(error) if isinstance(error, ValidationError) else "a path is no text"
        raise UsageError(f"{file}: brokers.{name} cannot be used: {reason}") from error


def _first(error: ValidationError) -> str:
    """What is wrong, without the value that is."""
    problem = error.errors(include_input=False, include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
