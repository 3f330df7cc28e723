"""The frame of every page that AstrID writes: one HTML file that needs no network.

What stands on a page is made by those who call this.
"""

from __future__ import annotations

from html import escape
from importlib import resources
from pathlib import Path
from string import Template

from astrid._version import __version__
from astrid.files.atomic import atomic_path

__all__ = ["write_page"]


def write_page(path: str | Path, *, title: str, body: str, script: str = "", style: str = "") -> None:
    """Write one page, whole or not at all.

    Parameters
    ----------
    path : str or Path
    title : str
        Plain text.
    body : str
        HTML inside ``<main>``.
    script, style : str
        Script and style sheet of this page, added to what all pages share.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    page = Template(_template("page.html")).substitute(
        generator=f"AstrID {__version__}",
        title=escape(title),
        style=_template("page.css") + style,
        script=script,
        body=body,
    )
    with atomic_path(path) as partial:
        partial.write_text(page, "utf-8")


def _template(name: str) -> str:
    return resources.files("astrid.pages").joinpath("templates", name).read_text("utf-8")
