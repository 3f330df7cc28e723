"""``astrid lightcurves show``: one source on one page.

Parse, call, print; what is measured and how it is drawn is in `astrid.survey`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.lightcurve_options import Band, GridName, Json, Models, Reading, chosen_grid, with_reading
from astrid.cli.output import command_line, emit, stages
from astrid.errors import LightCurveError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["show"]


@with_reading
def show(
    source: Annotated[
        str,
        typer.Argument(
            help="A file; or, with --catalog, the name of a source.", metavar="FILE|ID", show_default=False
        ),
    ],
    reading: Reading,
    catalog: Annotated[
        str | None,
        typer.Option(help="Catalogue of `astrid lightcurves import`: its name or path.", show_default=False),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Which source of a file of several.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The page.", dir_okay=False, show_default="NAME.html")
    ] = None,
    model: Models = None,
    period: Annotated[
        float | None,
        typer.Option(help="Days to fold with.", show_default="that which is found"),
    ] = None,
    band: Band = None,
    grid: GridName = "mahabal2017",
    reference: Annotated[
        Path | None,
        typer.Option(
            help="Features of other sources to compare with: Parquet, or the folder of a run.",
            show_default="variables of the Catalina survey",
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show one source on one page: light curve, folds, periodogram, dm-dt image, features, classes.

    The page is one file that needs no network. With --json, its numbers are printed as well.

    Examples: `astrid lightcurves show star.csv`,
    `astrid lightcurves show 1001026022755 --catalog catalina --classify crts_trees.crts1`
    """
    from astrid.survey.curve_examination import examine
    from astrid.survey.curve_page import write_curve_page
    from astrid.survey.curve_reference import reference_of

    with stages(json) as on_stage:
        on_stage("reading")
        curve = _curve(source, reading, catalog, id)
        on_stage("searching for the period")
        found = examine(
            curve,
            models=tuple(model or ()),
            period=period,
            band=band,
            grid=chosen_grid(grid),
            reference=None if reference is None else reference_of(reference),
        )
        on_stage("drawing")
        page = out or Path(f"{re.sub(r'[^A-Za-z0-9._+-]+', '_', Path(curve.name).name)}.html")
        write_curve_page(found, page, command=command_line(f"lightcurves show {source}"))
    result = {**found.as_dict(), "out": str(page)}
    emit(json, result, lambda: _view(result))


def _curve(source: str, reading: Reading, catalog: str | None, id: str | None) -> LightCurve:
    if catalog is not None:
        if id is not None:
            raise UsageError("--id is for files; the source of a catalogue is given as the argument")
        from astrid.survey.curve_source import find_curve, open_curves

        given = reading.options()
        opened = open_curves(
            catalog, nested=given["nested"], columns=given["columns"], time_scale=given["time_scale"]
        )
        return find_curve(opened, source)
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"there is no file {source!r}; to show a source of a catalogue give --catalog")
    curves = reading.curves([path], None if id is None else lambda name, error: None)
    first = next((one for one in curves if id is None or one.name == id), None)
    if first is None:
        raise LightCurveError(
            f"{path}: has no usable light curve{f' called {id}' if id else ''}; check the file"
        )
    if id is None and (second := next(curves, None)) is not None:
        raise UsageError(f"{path}: has several sources, {first.name}, {second.name}, …; name one with --id")
    return first


def _view(result: dict[str, Any]) -> RenderableType:
    from astrid.cli.tables import figures

    bands = ", ".join(band for band in result["bands"] if band)
    rows = [
        ("source", result["name"]),
        ("points", f"{result['n_points']:,}{f' in {bands}' if bands else ''}"),
    ]
    if result["period"] is not None:
        rows.append(("period", f"{result['period']:.7g} d"))
    for name, word in result["decisions"].items():
        rows.append((name, word))
    rows += [(name, f"does not apply: {why}") for name, why in result["not_applicable"].items()]
    problem = result["measured"]["problem"]["value"]
    rows += [("problem", problem)] if problem else []
    rows.append(("page", result["out"]))
    return figures(rows)
