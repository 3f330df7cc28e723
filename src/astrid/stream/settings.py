"""The configuration of a stream: what comes in, who judges it, what it is matched with, where it goes.

A file of YAML that a team writes once, or the options of a command; nothing is opened here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from astrid.errors import UsageError

__all__ = ["CatalogSettings", "StreamSettings", "parse_catalog", "read_settings"]

_RADIUS = 5.0  # arcsec


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CatalogSettings(_Settings):
    """How a catalogue is matched.

    Parameters
    ----------
    name : str
        Of an imported catalogue, or the path of one.
    radius : float, arcsec
    columns : tuple of str
        Columns of the catalogue that candidates get, of the nearest row.
    """

    name: str
    radius: float = Field(default=_RADIUS, gt=0, le=3600)
    columns: tuple[str, ...] = ()


class StreamSettings(_Settings):
    """All there is to know about one stream.

    Parameters
    ----------
    sources : tuple of str
        Files, folders, archives, addresses of files on a server, or one address of Kafka.
    survey : str, optional
        Packets of any other survey go to quarantine.
    store : Path
        Folder of the store.
    database : str, optional
        Address of PostgreSQL; SQLite in the folder if not given.
    models : "all", or tuple of str
        Names or paths of bundles; all that can see the images of an alert; none of them.
    dropout : bool
        Also the spread over passes with dropout: ten times the cost of the scores.
    catalogs : tuple of CatalogSettings
    workers : int
        Processes.
    batch : int
        Packets that are stored together at most.
    linger : float, s
        How long a batch waits to become full.
    group : str, optional
        Kafka's consumer group, where the address names none.
    start : "earliest" or "latest"
        Where a group begins that has acknowledged nothing yet.
    idle : float, s, optional
        A stream that gives nothing for so long has ended.
    brokers : Path, optional
        File of named brokers and their secrets.
    layout, schemas : Path, optional
    registry : str, optional
        For packets that AstrID cannot read by itself.
    publish : bool
        Whether what passes a filter is announced to the sinks of that filter.
    metrics_port : int, optional
        Where Prometheus finds the metrics.
    """

    sources: tuple[str, ...] = ()
    survey: str | None = None
    store: Path = Path("astrid-store")
    database: str | None = None
    models: Literal["all"] | tuple[str, ...] = "all"
    dropout: bool = False
    catalogs: tuple[CatalogSettings, ...] = ()
    workers: int = Field(default=1, ge=1, le=256)
    batch: int = Field(default=256, ge=1, le=10_000)
    linger: float = Field(default=0.5, ge=0, le=60)
    group: str | None = None
    start: Literal["earliest", "latest"] = "earliest"
    idle: float | None = Field(default=None, gt=0)
    brokers: Path | None = None
    layout: Path | None = None
    schemas: Path | None = None
    registry: str | None = None
    publish: bool = True
    metrics_port: int | None = Field(default=None, ge=0, le=65535)

    @field_validator("catalogs", mode="before")
    @classmethod
    def _short(cls, given: Any) -> Any:
        """A catalogue may also be written as on the command line: NAME or NAME:RADIUS."""
        if isinstance(given, list | tuple):
            return [parse_catalog(one) if isinstance(one, str) else one for one in given]
        return given


def parse_catalog(text: str) -> CatalogSettings:
    """A catalogue from ``NAME``, ``NAME:RADIUS`` or ``NAME:RADIUS:COLUMN,COLUMN``.

    Raises
    ------
    UsageError
        It is written otherwise.
    """
    name, _, rest = text.partition(":")
    radius, _, columns = rest.partition(":")
    try:
        given: dict[str, Any] = {"name": name, "columns": tuple(filter(None, columns.split(",")))}
        if radius:
            given["radius"] = float(radius)
        if not name:
            raise ValueError("no name")
        return CatalogSettings(**given)
    except ValueError as error:
        raise UsageError(
            f"catalogue {text!r} cannot be understood; write NAME, NAME:RADIUS (arcsec) or "
            "NAME:RADIUS:COLUMN,COLUMN"
        ) from error


def read_settings(path: str | Path | None, given: Mapping[str, Any]) -> StreamSettings:
    """The settings of a file, some of them replaced.

    Parameters
    ----------
    path : str or Path, optional
        YAML. Paths in it are relative to the folder of the file.
    given : mapping
        What the command line says; None where it says nothing.

    Raises
    ------
    UsageError
        The file cannot be read, or a word or value is none of a stream.
    """
    settings: dict[str, Any] = {}
    if path is not None:
        settings = _read(Path(path))
    settings |= {name: value for name, value in given.items() if value is not None}
    where = "the options" if path is None else str(path)
    try:
        return StreamSettings.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(map(str, first["loc"]))
        raise UsageError(f"{where}: {name}: {first['msg']}; correct it") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: cannot be read ({error}); give a file of YAML") from error
    except yaml.YAMLError as error:
        raise UsageError(f"{path}: is not YAML ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path}: expected names and values, as sources: [night.tar.gz]; correct it")

    def beside(given: Any) -> Any:
        return str(path.parent / given) if isinstance(given, str) and "://" not in given else given

    def named(given: Any) -> Any:
        """A name stays one; what has a slash is a path."""
        return beside(given) if isinstance(given, str) and "/" in given else given

    for name in ("store", "brokers", "layout", "schemas"):
        if name in content:
            content[name] = beside(content[name])
    sources, models, catalogs = (content.get(name) for name in ("sources", "models", "catalogs"))
    if isinstance(sources, str | list):
        content["sources"] = [beside(one) for one in ([sources] if isinstance(sources, str) else sources)]
    if isinstance(models, list):
        content["models"] = [named(one) for one in models]
    if isinstance(catalogs, list):
        content["catalogs"] = [
            {**one, "name": named(one.get("name"))} if isinstance(one, dict) else named(one)
            for one in catalogs
        ]
    return content
