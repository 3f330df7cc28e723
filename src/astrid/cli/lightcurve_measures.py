"""The verbs of ``astrid lightcurves`` that measure: features, periods, dm-dt images; and import.

Parse, call, print; what the verbs do is in `astrid.survey`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.lightcurve_options import (
    Band,
    Device,
    Files,
    GridName,
    Json,
    Models,
    Reading,
    chosen_grid,
    with_reading,
)
from astrid.cli.output import emit, progress
from astrid.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["dmdt_", "features", "import_", "periods"]

_MOST = 20  # rows that are printed

Table = Annotated[Path, typer.Option(help="Parquet file with a row for each source.", dir_okay=False)]
Highest = Annotated[float, typer.Option("--maximum", help="Highest frequency of the search, 1/d.", min=0.01)]


@with_reading
def features(
    files: Files,
    reading: Reading,
    out: Table,
    periods: Annotated[
        bool, typer.Option("--periods", help="Also search for periods, and add the Fourier terms.")
    ] = False,
    model: Models = None,
    band: Band = None,
    maximum: Highest = 26.0,
    json: Json = False,
) -> None:
    """Measure the features of light curves; with a classifier, also what they are.

    Each column of the table has its unit and meaning. A source that is no light curve is left out, with the
    reason.

    Example: `astrid lightcurves features sources.parquet --out features.parquet --periods`
    """
    from astrid.survey.curve_measures import Measures

    measures = Measures(features=True, periods=periods, models=tuple(model or ()), band=band, maximum=maximum)
    result = _measured(files, reading, measures, out, json)
    emit(json, result, lambda: _view(result))


@with_reading
def periods(
    files: Files,
    reading: Reading,
    out: Annotated[
        Path | None,
        typer.Option(help="Parquet file with a row for each source.", dir_okay=False, show_default=False),
    ] = None,
    maximum: Highest = 26.0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Find the periods of light curves, from all of their bands together.

    Example: `astrid lightcurves periods star.csv`
    """
    from astrid.survey.curve_measures import Measures

    measures = Measures(features=False, periods=True, maximum=maximum, device=device)
    result = _measured(files, reading, measures, out, json)
    emit(json, result, lambda: _view(result))


@with_reading
def dmdt_(
    files: Files,
    reading: Reading,
    out: Annotated[
        Path, typer.Option(help="Images of all sources, as .npz or .parquet; a picture goes beside.")
    ],
    grid: GridName = "mahabal2017",
    scaling: Annotated[
        str, typer.Option(help="counts, fraction, intensity, intensity225, unit, sum625 or root.")
    ] = "fraction",
    smooth: Annotated[bool, typer.Option("--smooth", help="Spread each pair by its errors.")] = False,
    band: Band = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV with the name and the class of each source: the picture has the median of each class.",
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    threads: Annotated[int, typer.Option(help="Over which the curves are divided.", min=1)] = 1,
    json: Json = False,
) -> None:
    """Make the dm-dt images of light curves, and a picture of their mean; with --labels, of each class.

    Example: `astrid lightcurves dmdt sources.parquet --grid scope --out images.npz`
    """
    from astrid.survey.curve_images import dmdt_file

    with progress(json, "sources") as on_progress:
        problems: list[tuple[str, str]] = []
        summary = dmdt_file(
            reading.curves(files, lambda name, error: problems.append((name, str(error)))),
            out,
            grid=chosen_grid(grid),
            scaling=scaling,
            smooth=smooth,
            band=band,
            threads=threads,
            labels=labels,
            on_progress=on_progress,
        )
    result = summary | {"set_aside": [*_listed(problems), *summary["set_aside"]]}
    emit(json, result, lambda: _counts(result))


@with_reading
def import_(
    files: Files,
    reading: Reading,
    name: Annotated[
        str | None, typer.Option(help="What the catalogue is called: letters, digits, underscores.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder to make, instead of a name.", show_default=False)
    ] = None,
    positions: Annotated[
        Path | None,
        typer.Option(
            help="Table with name, right ascension and declination of each source.",
            dir_okay=False,
            show_default="of the light curves",
        ),
    ] = None,
    id: Annotated[
        str | None, typer.Option("--id", help="Its column of names.", show_default="by its name")
    ] = None,
    partition_points: Annotated[
        int,
        typer.Option(help="Points in a partition, which one worker measures at a time.", min=1),
    ] = 4_000_000,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a catalogue of this name.")] = False,
    json: Json = False,
) -> None:
    """Import light curves as a HATS catalogue: a row for each source, its points in a nested column.

    Example: `astrid lightcurves import points.parquet --positions stars.csv --name catalina`
    """
    from astrid.survey.curve_import import import_curves

    if (name is None) == (out is None):
        raise UsageError("give either --name or --out, to say where the catalogue goes")
    with progress(json, "sources") as on_progress:
        done = import_curves(
            files,
            name or Path(out or ""),
            positions=positions,
            id=id,
            partition_points=partition_points,
            overwrite=overwrite,
            on_progress=on_progress,
            **reading.options(),
        )
    emit(json, done.as_dict(), lambda: _counts(done.as_dict()))


def _measured(
    files: list[Path], reading: Reading, measures: Any, out: Path | None, json: bool
) -> dict[str, Any]:
    from astrid.survey.curve_files import measure_files

    problems: list[tuple[str, str]] = []
    curves = reading.curves(files, lambda name, error: problems.append((name, str(error))))
    with progress(json, "sources") as on_progress:
        summary = measure_files(curves, measures, out, shown=None if json else _MOST, on_progress=on_progress)
    return summary | {"set_aside": [*_listed(problems), *summary["set_aside"]]}


def _listed(problems: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"name": name, "reason": reason} for name, reason in problems]


def _view(result: dict[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    rows = result["rows"]
    shown = [name for name in ("period", "period_power", "period_log_false_alarm", "median", "i90r", "skew")
             if rows and name in rows[0]]  # fmt: skip
    shown += [name for name in (rows[0] if rows else ()) if name.endswith("_decision")]
    table = columns(
        ("source", "points", *(_TITLES.get(name, name) for name in shown)), numbers=range(1, 2 + len(shown))
    )
    for row in rows:
        table.add_row(row["name"], f"{row['n_points']:,}", *(_short(row[name]) for name in shown))
    more = result["n_measured"] - len(rows)
    problems = [(row["name"], f"not wholly measured: {row['problem']}") for row in rows if row["problem"]]
    return stack(
        table,
        f"{more:,} more sources" if more else "",
        figures(problems) if problems else "",
        _counts(result),
    )


_TITLES = {
    "period": "period, d",
    "period_power": "explained",
    "period_log_false_alarm": "log10 false alarm",
    "i90r": "range, mag",
    "median": "median, mag",
}


def _counts(result: dict[str, Any]) -> RenderableType:
    from astrid.cli.tables import figures

    rows = [
        (key.removeprefix("n_").replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
        for key, value in result.items()
        if isinstance(value, int | str) and value != ""
    ]
    rows += [(name, f"{n:,}") for name, n in result.get("classes", {}).items()]
    aside = result.get("set_aside") or []
    if isinstance(aside, dict):
        rows += [("set aside", f"{n:,}: {reason}") for reason, n in aside.items()]
    else:
        rows += [("set aside", one["reason"]) for one in aside[:_MOST]]
        rows += [("set aside", f"{len(aside) - _MOST:,} more")] if len(aside) > _MOST else []
    return figures(rows)


def _short(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
