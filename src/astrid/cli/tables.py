"""What the tables of all nouns have in common; nothing is computed here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["columns", "figures", "stack"]


def figures(rows: Sequence[tuple[str, str]], *, title: str = "") -> RenderableType:
    """Names and values, one line each."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(
        title=title or None, show_header=False, box=None, title_justify="left", padding=(0, 2, 0, 0)
    )
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(escape(name), escape(value))
    return table


def columns(names: Sequence[str], *, numbers: Sequence[int] | range = (), title: str = "") -> Any:
    """An empty table; those columns that hold numbers stand on the right."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(title=title or None, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for i, name in enumerate(names):
        table.add_column(name, justify="right" if i in numbers else "left", overflow="fold")
    return table


def stack(*parts: RenderableType | str) -> RenderableType:
    """One below the other; empty text is left out."""
    from rich.console import Group
    from rich.text import Text

    return Group(
        *(Text(part, overflow="fold") if isinstance(part, str) else part for part in parts if part != "")
    )
