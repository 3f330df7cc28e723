"""``astrid data``: make the data sets that models are trained and measured on.

Parse, call, print; what the verbs do is in `astrid.survey`, which is imported when a verb runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.output import emit, progress

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Data sets: simulated surveys, survey alerts, real images.",
)

Out = Annotated[Path, typer.Option(help="Directory of the data set.", metavar="DIR")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def realbogus(
    out: Out,
    pairs: Annotated[int, typer.Option(help="Fields to simulate; each gives about 120 rows.", min=1)],
    seed: Annotated[int, typer.Option(help="Of the first field; each next one has the next seed.")] = 0,
    telescopes: Annotated[
        str | None, typer.Option(help="Names, separated by commas; all if not given.", metavar="A,B,…")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; the data do not depend on it.", min=1)] = 2,
    json: Json = False,
) -> None:
    """Simulate surveys, difference them and label what was detected: triplets, real and bogus.

    A run that was killed goes on where it was when the same command is given again.

    Example: `astrid data realbogus --out data/realbogus --pairs 500 --seed 1000`
    """
    from astrid.survey.realbogus_data import simulate_realbogus

    names = None if telescopes is None else [name.strip() for name in telescopes.split(",")]
    with progress(json, "pairs") as on_progress:
        summary = simulate_realbogus(
            out, pairs, seed=seed, names=names, workers=workers, on_progress=on_progress
        )
    emit(json, summary.as_dict(), lambda: _view(summary.as_dict()))


@app.command()
def alerts(
    files: Annotated[
        list[Path],
        typer.Argument(help="Packets: Avro files, folders or tar archives of them, Parquet files of Fink."),
    ],
    out: Out,
    json: Json = False,
) -> None:
    """Cut the triplets out of survey alerts; labels only where somebody gave one.

    What cannot be used is set aside with its reason.

    Example: `astrid data alerts night.tar.gz --out data/alerts`
    """
    from astrid.survey.alert_triplets import alert_triplets

    with progress(json, "files") as on_progress:
        summary = alert_triplets(files, out, on_progress=on_progress)
    emit(json, summary.as_dict(), lambda: _view(summary.as_dict()))


@app.command()
def images(
    folder: Annotated[
        Path, typer.Argument(help="Holds eso085_pair, decam_pair and microlensing_series, or one of them.")
    ],
    out: Out,
    seed: Annotated[int, typer.Option(help="Of the injected sources.")] = 0,
    json: Json = False,
) -> None:
    """Difference real images of which something is known, and label their detections by it.

    Example: `astrid data images real/images --out data/images`
    """
    from astrid.survey.real_triplets import real_triplets

    with progress(json, "pairs") as on_progress:
        summary = real_triplets(folder, out, seed=seed, on_progress=on_progress)
    emit(json, summary.as_dict(), lambda: _view(summary.as_dict()))


@app.command()
def variables(
    curves: Annotated[
        Path, typer.Argument(help="Light curves of many stars: Parquet, CSV, ECSV; or EROS-1 as RAMP has it.")
    ],
    labels: Annotated[
        Path, typer.Argument(help="CSV: the first column names the light curves, `class` has the labels.")
    ],
    out: Out,
    classes: Annotated[
        str | None,
        typer.Option(help="Those that get a label, separated by commas; all if not given.", metavar="A,B,…"),
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes; the data do not depend on it.", min=1)] = 2,
    json: Json = False,
) -> None:
    """Search labelled variable stars for their periods and measure them: features, folds, dm-dt images.

    A run that was killed goes on where it was when the same command is given again. Periods of the table are
    kept beside, and never go into the features.

    Example: `astrid data variables crts_lc.parquet crts_labels.csv --out data/crts --classes EW,EA,RRab,RRc`
    """
    from astrid.survey.variables import variable_stars

    names = None if classes is None else [name.strip() for name in classes.split(",")]
    with progress(json, "steps") as on_progress:
        summary = variable_stars(curves, labels, out, classes=names, workers=workers, on_progress=on_progress)
    emit(json, summary.as_dict(), lambda: _view(summary.as_dict()))


@app.command()
def scope(
    variables: Annotated[Path, typer.Argument(help="Data set of variable stars.")],
    curves: Annotated[Path, typer.Argument(help="Their light curves, of one band.")],
    out: Out,
    survey: Annotated[str, typer.Option(help="Whose labels they have: crts, eros, ztf.")] = "crts",
    labels: Annotated[
        list[Path] | None,
        typer.Option(help="Table of people's answers; may be repeated.", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Give variable stars a label for each class of SCOPE's trees, and dm-dt images of its grid.

    Example: `astrid data scope data/crts crts_lc.parquet --out data/scope`
    """
    from astrid.survey.class_labels import read_labels
    from astrid.survey.scope_set import scope_set

    opinions = read_labels(labels or ())
    with progress(json, "light curves") as on_progress:
        summary = scope_set(variables, curves, out, survey=survey, opinions=opinions, on_progress=on_progress)
    emit(json, summary.as_dict(), lambda: _view(summary.as_dict()))


@app.command()
def transits(
    files: Annotated[
        list[Path], typer.Argument(help="Archives of published views (.npz) with a table (.csv) beside each.")
    ],
    out: Out,
    json: Json = False,
) -> None:
    """Read published views of transit-like signals: folded curves, and the numbers that follow from them.

    Example: `astrid data transits nigraha_train.npz nigraha_val.npz --out data/transits`
    """
    from astrid.survey.transit_sets import transit_views

    summary = transit_views(files, out)
    emit(json, summary.as_dict(), lambda: _view(summary.as_dict()))


def _view(summary: dict[str, Any]) -> Table:
    """Counts, one line each."""
    from rich.table import Table

    table = Table("what", "rows", title=str(summary["out"]))
    for name, value in summary.items():
        if name == "out":
            continue
        if isinstance(value, dict):
            for kind, count in value.items():
                table.add_row(f"{name}: {kind}", str(count))
        else:
            table.add_row(name, str(value))
    return table
