"""``astrid survey``: runs over whole catalogues, on one machine or many.

Parse, call, print; what the verbs do is in `astrid.survey`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astrid.cli.lightcurve_options import Band, Device, Json, Models
from astrid.cli.output import emit, progress
from astrid.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.survey.curve_catalog import CurveRun

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Runs over whole catalogues: start, go on, look how far they are.",
)

_MOST = 12  # reasons that are printed


@app.command(no_args_is_help=True)
def lightcurves(
    catalog: Annotated[
        str,
        typer.Argument(
            help="Catalogue of light curves: its name, path, or an address that LSDB opens.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the result, a HATS catalogue.", file_okay=False)],
    features: Annotated[bool, typer.Option("--features", help="Statistics of each light curve.")] = False,
    periods: Annotated[bool, typer.Option("--periods", help="Search for its period.")] = False,
    model: Models = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes of a local Dask cluster.", min=1, show_default="none, no Dask"),
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a Dask scheduler.", metavar="tcp://HOST:PORT", show_default=False),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out.")] = False,
    keep: Annotated[
        str | None, typer.Option(help="Other columns of the catalogue that go along.", metavar="A,B,…")
    ] = None,
    band: Band = None,
    maximum: Annotated[float, typer.Option(help="Highest frequency of the search, 1/d.", min=0.01)] = 26.0,
    device: Device = "cpu",
    id: Annotated[
        str | None, typer.Option("--id", help="Column of names.", show_default="as the catalogue says")
    ] = None,
    nested: Annotated[
        str | None,
        typer.Option(help="Column of points, where there are several.", show_default="the only one"),
    ] = None,
    time_scale: Annotated[
        str | None, typer.Option(help="Of the points.", show_default="as the catalogue says")
    ] = None,
    json: Json = False,
) -> None:
    """Measure and classify every light curve of a catalogue.

    For each partition there is one of the result, written whole or not at all: killed at any moment and
    started again with --resume, the run ends with the same files. Sources that are no light curves are set
    aside with the reasons.

    Example: `astrid survey lightcurves catalina --features --periods --classify crts_trees.crts1 --workers 4
    --out out/catalina`
    """
    from astrid.survey.curve_catalog import measure_catalog
    from astrid.survey.curve_measures import Measures

    if workers is not None and scheduler is not None:
        raise UsageError("give either --workers or --scheduler: a scheduler has workers of its own")
    measures = Measures(
        features=features,
        periods=periods,
        models=tuple(model or ()),
        band=band,
        maximum=maximum,
        device=device,
    )
    with progress(json, "sources") as on_progress:
        run = measure_catalog(
            catalog,
            out,
            measures,
            workers=workers or 0,
            scheduler=scheduler,
            resume=resume,
            nested=nested,
            time_scale=time_scale,
            id=id,
            keep=[one.strip() for one in keep.split(",")] if keep else [],
            on_progress=on_progress,
        )
    emit(json, run.as_dict(), lambda: _view(run))
    if run.failed:
        raise typer.Exit(1)


@app.command(no_args_is_help=True)
def status(
    out: Annotated[Path, typer.Argument(help="Folder of a run.", show_default=False)],
    json: Json = False,
) -> None:
    """Say how far a run is, and what it set aside.

    Example: `astrid survey status out/catalina`
    """
    from astrid.survey.curve_catalog import run_status

    run = run_status(out)
    emit(json, run.as_dict(), lambda: _view(run))


def _view(run: CurveRun) -> RenderableType:
    from astrid.cli.tables import figures

    rows = [
        ("run", f"{run.out}: {run.state}"),
        ("partitions", f"{run.n_done:,} of {run.n_partitions:,}"),
        ("sources", f"{run.n_sources:,}"),
        ("measured", f"{run.n_measured:,}, {run.n_with_problems:,} of them not wholly"),
    ]
    listed = list(run.reasons.items())
    rows += [("set aside", f"{n:,}: {reason}") for reason, n in listed[:_MOST]]
    if len(listed) > _MOST:
        rows.append(("set aside", f"{sum(n for _, n in listed[_MOST:]):,} for other reasons; see --json"))
    rows += [("failed", f"{name}: {why}") for name, why in list(run.failed.items())[:_MOST]]
    if run.memory:
        rows.append(("memory", f"at most {max(run.memory.values()):,.0f} MB a process"))
    return figures(rows)
