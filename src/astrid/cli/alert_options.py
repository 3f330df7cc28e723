"""Options that the commands which read packets share; nothing is read here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from astrid.alerts import Layout, SchemaBook

__all__ = ["Formats", "Json", "Models", "with_formats"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        help="Name or path of a bundle, or live; as often as wanted. All that can see the images of an alert "
        "if not given.",
        metavar="NAME",
        show_default=False,
    ),
]


@dataclass(frozen=True)
class Formats:
    """What is needed to read packets that AstrID does not know by itself.

    Parameters
    ----------
    layout, schemas : Path, optional
    registry : str, optional
    """

    layout: Path | None = None
    schemas: Path | None = None
    registry: str | None = None

    def layouts(self) -> tuple[Layout, ...]:
        """Layouts of one's own."""
        from astrid.alerts import read_layouts

        return () if self.layout is None else read_layouts(self.layout)

    def book(self) -> SchemaBook:
        """Where schemas are looked up by their numbers."""
        from astrid.alerts import SchemaBook

        return SchemaBook(self.schemas, self.registry)


def with_formats(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with a parameter `formats` the options that `Formats` is made of."""

    @wraps(command)
    def run(**given: Any) -> None:
        own = {name: given.pop(name) for name in ("layout", "schemas", "registry")}
        command(formats=Formats(**own), **given)

    signature = inspect.signature(command, eval_str=True)
    parameters = [
        one.replace(kind=one.KEYWORD_ONLY) for name, one in signature.parameters.items() if name != "formats"
    ]
    shared = inspect.signature(_options, eval_str=True).parameters.values()
    run.__signature__ = signature.replace(parameters=[*parameters, *shared])  # type: ignore[attr-defined]
    return run


def _options(
    *,
    layout: Annotated[
        Path | None,
        typer.Option(
            help="TOML that describes the packets of a survey AstrID does not know.", show_default=False
        ),
    ] = None,
    schemas: Annotated[
        Path | None,
        typer.Option(
            help="Folder or archive of Avro schemas, for packets that only name theirs.", show_default=False
        ),
    ] = None,
    registry: Annotated[
        str | None,
        typer.Option(help="Address of a schema registry, for the same.", metavar="URL", show_default=False),
    ] = None,
) -> None:
    """Only its parameters are of use."""
