"""The command ``astrid``: its nouns, its common options and what it does about errors.

A noun is loaded when it is used, so that ``astrid --help`` starts at once; a new
noun is one line in `NOUNS` and one module that has an ``app``.
"""

from __future__ import annotations

import importlib
import logging
import os
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from astrid._version import __version__
from astrid.cli.output import exit_code, named, report_error

__all__ = ["app", "main"]

# Work is spread over processes; threads of a linear-algebra library that wait by spinning
# only burn the time of the others. Read when numpy is first imported, which is later.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

NOUNS = {
    "images": ("astrid.cli.images", "Images: subtract, explain, calibrate, measure, inject, simulate."),
    "models": ("astrid.cli.models", "Models: train, measure, calibrate, explain, use."),
    "data": ("astrid.cli.data", "Data sets: simulated surveys, survey alerts, real images."),
    "alerts": ("astrid.cli.alerts", "Alerts of surveys: inspect, export, score, retry."),
    "lightcurves": ("astrid.cli.lightcurves", "Light curves: features, periods, images, pages, classes."),
    "survey": ("astrid.cli.survey", "Runs over whole catalogues, on one machine or many."),
    "review": ("astrid.cli.review", "Review: what people are asked, what they answered, what is learned."),
    "catalogs": ("astrid.cli.catalogs", "Catalogues of the sky: import, list, match."),
    "serve": ("astrid.cli.serve", "The service: an interface over HTTP, pages to review on, accounts."),
    "bench": ("astrid.cli.bench", "Measure AstrID and compare it with its peers."),
}
"""Noun -> the module whose ``app`` holds its verbs, and one line of help."""


class Level(StrEnum):
    """How much the log says."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Noun(TyperCommand):
    """A place holder that turns into the real command the moment it is called."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name, help=NOUNS[name][1])

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Load the noun's module and let its own command parse the rest of the line."""
        application = importlib.import_module(NOUNS[self.name or ""][0]).app
        return typer.main.get_command(application).make_context(info_name, args, parent=parent, **extra)


class Root(TyperGroup):
    """The outermost group: knows the nouns, and is the one place that meets every error."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The nouns, in the order of `NOUNS`."""
        return list(NOUNS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The place holder of a noun; nothing is imported."""
        return Noun(cmd_name) if cmd_name in NOUNS else None

    def invoke(self, ctx: Any) -> Any:
        """Run a command; a problem becomes one line and an exit code, never a traceback."""
        json_mode = "--json" in (*ctx._protected_args, *ctx.args)
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:
            raise typer.Exit(130) from interrupt
        except Exception as error:  # a bug of ours is raised again
            problem = named(error)
            if problem is None:
                raise
            report_error(problem, json_mode=json_mode)
            raise typer.Exit(exit_code(problem)) from error


app = typer.Typer(
    name="astrid",
    cls=Root,
    help="AstrID: from raw sky data to vetted, classified, explained events.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"astrid {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Say more in the log; -vv says everything.")
    ] = 0,
    log_level: Annotated[
        Level | None, typer.Option(help="What the log on stderr says.", show_default="warning")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    chosen = log_level or (Level.WARNING, Level.INFO, Level.DEBUG)[min(verbose, 2)]
    logging.basicConfig(level=chosen.value.upper(), format="%(levelname)s %(name)s: %(message)s", force=True)


def main() -> None:
    """Run the command line; the entry point of the installed script."""
    app(prog_name="astrid")
