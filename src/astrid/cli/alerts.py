"""``astrid alerts``: read the packets of surveys, bring them into one form, score them.

Parse, call, print; what the verbs do is in `astrid.alerts` and `astrid.survey`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.output import emit, progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.alerts import Alert, Intake

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Alerts: read the packets of surveys, bring them into one form, score them.",
)

_MOST = 20  # quarantined packets listed by name

Files = Annotated[
    list[Path],
    typer.Argument(help="Packets (.avro, .bin), Parquet files, tar archives, or folders of them."),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Layouts = Annotated[
    Path | None,
    typer.Option("--layout", help="TOML that describes the packets of a survey AstrID does not know."),
]
Schemas = Annotated[
    Path | None,
    typer.Option("--schemas", help="Folder or archive of Avro schemas, for packets that only name theirs."),
]
Registry = Annotated[
    str | None, typer.Option("--registry", help="Address of a schema registry, for the same.", metavar="URL")
]
Keep = Annotated[
    Path | None, typer.Option("--quarantine", help="Folder that keeps the packets that cannot be used.")
]


@dataclass(frozen=True)
class _Reading:
    """The alerts of the files, and what is counted meanwhile."""

    alerts: Iterator[Alert]
    intake: Intake


@app.command()
def inspect(
    files: Files,
    layout: Layouts = None,
    schemas: Schemas = None,
    registry: Registry = None,
    quarantine: Keep = None,
    json: Json = False,
) -> None:
    """Count what is in files of packets: surveys, schemas, what cannot be used and why.

    Example: `astrid alerts inspect night.tar.gz`
    """
    with _reading(files, layout, schemas, registry, quarantine, json) as reading:
        for _ in reading.alerts:
            pass
    counts = reading.intake.as_dict()
    emit(json, counts, lambda: _view(counts))


@app.command()
def export(
    files: Files,
    out: Annotated[Path, typer.Option(help="Parquet file with a row for each alert.", dir_okay=False)],
    cutouts: Annotated[bool, typer.Option("--cutouts", help="Also the images.")] = False,
    layout: Layouts = None,
    schemas: Schemas = None,
    registry: Registry = None,
    quarantine: Keep = None,
    json: Json = False,
) -> None:
    """Write alerts of any surveys as one table: the same columns, nJy and AB magnitudes.

    Example: `astrid alerts export night.tar.gz --out night.parquet`
    """
    from astrid.alerts.tables import write_alerts

    with _reading(files, layout, schemas, registry, quarantine, json) as reading:
        write_alerts(reading.alerts, out, cutouts=cutouts)
    counts = {"out": str(out), **reading.intake.as_dict()}
    emit(json, counts, lambda: _view(counts))


@app.command()
def score(
    files: Files,
    out: Annotated[Path, typer.Option(help="Parquet file with a row for each alert.", dir_okay=False)],
    model: Annotated[
        str, typer.Option(help="Name or path of a bundle; live is the one of braai that is in use.")
    ] = "live",
    layout: Layouts = None,
    schemas: Schemas = None,
    registry: Registry = None,
    quarantine: Keep = None,
    json: Json = False,
) -> None:
    """Say of each alert how probably it is real; one that cannot be scored says why.

    Example: `astrid alerts score night.tar.gz --out scores.parquet`
    """
    from astrid.survey.alert_scores import score_alerts

    with _reading(files, layout, schemas, registry, quarantine, json, history=False) as reading:
        summary = score_alerts(reading.alerts, out, model=model)
    result = {**summary.as_dict(), **reading.intake.as_dict()}
    emit(json, result, lambda: _view(result))


@app.command()
def retry(
    folder: Annotated[Path, typer.Argument(help="Quarantine of an earlier command.", file_okay=False)],
    out: Annotated[
        Path, typer.Option(help="Parquet file of the alerts that can now be read.", dir_okay=False)
    ],
    layout: Layouts = None,
    schemas: Schemas = None,
    registry: Registry = None,
    json: Json = False,
) -> None:
    """Read packets in quarantine again; those that can be used leave it when the table is written.

    Example: `astrid alerts retry quarantine --schemas schemas.tar.gz --out late.parquet`
    """
    from astrid.alerts import Quarantine
    from astrid.alerts.tables import write_alerts

    place = Quarantine(folder)
    paths = place.paths()
    freed: list[Path] = []
    with _reading(paths, layout, schemas, registry, folder, json) as reading:
        write_alerts(reading.alerts, out)
    waiting = {name for name, _ in reading.intake.quarantined}
    for path in paths:
        # a file may hold several packets: it leaves when none of them waits any more
        if not any(name.partition(":")[0] == path.name for name in waiting):
            place.release(path)
            freed.append(path)
    counts = {"out": str(out), "n_released": len(freed), **reading.intake.as_dict()}
    emit(json, counts, lambda: _view(counts))


@contextmanager
def _reading(
    files: list[Path],
    layout: Path | None,
    schemas: Path | None,
    registry: str | None,
    quarantine: Path | None,
    json: bool,
    *,
    history: bool = True,
) -> Iterator[_Reading]:
    from astrid.alerts import Intake, Quarantine, SchemaBook, read_alerts, read_layouts

    intake = Intake()
    with progress(json, "files") as on_progress:
        tell: Callable[[int, int], None] = on_progress
        alerts = read_alerts(
            files,
            layouts=() if layout is None else read_layouts(layout),
            book=SchemaBook(schemas, registry),
            history=history,
            quarantine=None if quarantine is None else Quarantine(quarantine),
            intake=intake,
            on_progress=tell,
        )
        yield _Reading(alerts, intake)


def _view(counts: dict[str, Any]) -> RenderableType:
    """One table: what is good, what has no images, what is in quarantine and why."""
    from astrid.cli.tables import columns, figures, stack

    table = columns(("survey", "schema", "packets", "what"), numbers=(2,))
    for row in counts["surveys"]:
        table.add_row(row["survey"], row["schema"] or "–", f"{row['n']:,}", "good")
    for reason, n in counts["without_images"].items():
        table.add_row("", "", f"{n:,}", f"of these without images: {reason}")
    for one in counts["quarantined"][:_MOST]:
        table.add_row("", "", "1", f"quarantined: {one['name']}: {one['reason']}")
    more = len(counts["quarantined"]) - _MOST
    if more > 0:
        table.add_row("", "", f"{more:,}", "quarantined as well; --json lists them")
    facts = [("packets", f"{counts['n_packets']:,}"), ("good", f"{counts['n_good']:,}")]
    facts += [("quarantined", f"{counts['n_quarantined']:,}")]
    if "bundle" in counts:
        facts += [("scored", f"{counts['n_scored']:,} by {counts['bundle']} ({counts['hash'][:12]})")]
        facts += [("real", f"{counts['n_real']:,} by its threshold")]
        facts += [("unscored", f"{n:,}: {reason}") for reason, n in counts["unscored"].items()]
    if "n_released" in counts:
        facts += [("left quarantine", f"{counts['n_released']:,}")]
    if "out" in counts:
        facts += [("written", str(counts["out"]))]
    return stack(table, figures(facts))
