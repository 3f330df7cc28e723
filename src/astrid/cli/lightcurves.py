"""``astrid lightcurves``: variable sources and their classes.

Parse, call, print; what the verbs do is in `astrid.lightcurves` and `astrid.survey`.
"""

from __future__ import annotations

import typer

from astrid.cli.lightcurve_classes import answers, changes, classes, questions

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Light curves: the classes of variable sources, questions to people and their answers.",
)

for verb in (classes, questions, answers, changes):
    app.command()(verb)
