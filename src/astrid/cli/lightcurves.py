"""``astrid lightcurves``: what is measured on light curves, and the classes of variable sources.

Parse, call, print; what the verbs do is in `astrid.lightcurves` and `astrid.survey`.
"""

from __future__ import annotations

import typer

from astrid.cli.lightcurve_classes import answers, changes, classes, importance, publish, questions
from astrid.cli.lightcurve_measures import dmdt_, features, import_, periods
from astrid.cli.lightcurve_page import show
from astrid.cli.lightcurve_transits import transits

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Light curves: measure, show, import them; the classes of variable sources, and people's answers.",
)

app.command("import", no_args_is_help=True)(import_)
app.command("dmdt", no_args_is_help=True)(dmdt_)
for verb in (features, periods, transits, show):
    app.command(no_args_is_help=True)(verb)
for verb in (classes, questions, answers, changes, importance, publish):
    app.command()(verb)
