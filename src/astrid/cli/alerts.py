"""``astrid alerts``: read the packets of surveys, bring them into one form, score them.

Parse, call, print; what the verbs do is in `astrid.alerts` and `astrid.survey`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.alert_filters import filter_, replay_
from astrid.cli.alert_ingest import ingest
from astrid.cli.alert_nights import close
from astrid.cli.alert_options import Formats, Json, Models, with_formats
from astrid.cli.alert_watch import drift, report, watch
from astrid.cli.output import emit, progress

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.alerts import Alert, Intake

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Alerts: read the packets of surveys, bring them into one form, score, filter, store them.",
)

app.command()(ingest)
app.command("filter", no_args_is_help=True)(filter_)
app.command("replay", no_args_is_help=True)(replay_)
for verb in (watch, drift, report, close):
    app.command()(verb)

_MOST = 20  # quarantined packets listed by name

Files = Annotated[
    list[Path],
    typer.Argument(help="Packets (.avro, .bin), Parquet files, tar archives, or folders of them."),
]
Table = Annotated[Path, typer.Option(help="Parquet file with a row for each alert.", dir_okay=False)]
Keep = Annotated[
    Path | None,
    typer.Option(
        "--quarantine", help="Folder that keeps the packets that cannot be used.", show_default=False
    ),
]


@dataclass(frozen=True)
class _Reading:
    """The alerts of the files, and what is counted meanwhile."""

    alerts: Iterator[Alert]
    intake: Intake


@app.command()
@with_formats
def inspect(
    files: Files,
    formats: Formats,
    quarantine: Keep = None,
    json: Json = False,
) -> None:
    """Count what is in files of packets: surveys, schemas, what cannot be used and why.

    Example: `astrid alerts inspect night.tar.gz`
    """
    with _reading(files, formats, quarantine, json) as reading:
        for _ in reading.alerts:
            pass
    counts = reading.intake.as_dict()
    emit(json, counts, lambda: _view(counts))


@app.command()
@with_formats
def export(
    files: Files,
    out: Table,
    formats: Formats,
    cutouts: Annotated[bool, typer.Option("--cutouts", help="Also the images.")] = False,
    quarantine: Keep = None,
    json: Json = False,
) -> None:
    """Write alerts of any surveys as one table: the same columns, nJy and AB magnitudes.

    Example: `astrid alerts export night.tar.gz --out night.parquet`
    """
    from astrid.alerts.tables import write_alerts

    with _reading(files, formats, quarantine, json) as reading:
        write_alerts(reading.alerts, out, cutouts=cutouts)
    counts = {"out": str(out), **reading.intake.as_dict()}
    emit(json, counts, lambda: _view(counts))


@app.command()
@with_formats
def score(
    files: Files,
    out: Table,
    formats: Formats,
    model: Models = None,
    quarantine: Keep = None,
    json: Json = False,
) -> None:
    """Say of each alert how probably it is real, by one or several models side by side.

    An alert that cannot be scored says why.

    Example: `astrid alerts score night.tar.gz --model braai.sim1 --model braai.real1 --out scores.parquet`
    """
    from astrid.stream.score_table import score_alerts
    from astrid.stream.scores import Scorer

    scorer = Scorer(model or None, dropout=True)
    with _reading(files, formats, quarantine, json, history=False) as reading:
        summary = score_alerts(reading.alerts, out, scorer)
    result = {**summary.as_dict(), **reading.intake.as_dict()}
    emit(json, result, lambda: _view(result))


@app.command()
@with_formats
def retry(
    folder: Annotated[Path, typer.Argument(help="Quarantine of an earlier command.", file_okay=False)],
    out: Annotated[
        Path, typer.Option(help="Parquet file of the alerts that can now be read.", dir_okay=False)
    ],
    formats: Formats,
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
    with _reading(paths, formats, folder, json) as reading:
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
    formats: Formats,
    quarantine: Path | None,
    json: bool,
    *,
    history: bool = True,
) -> Iterator[_Reading]:
    from astrid.alerts import Intake, Quarantine, read_alerts

    intake = Intake()
    with progress(json, "files") as on_progress:
        alerts = read_alerts(
            files,
            layouts=formats.layouts(),
            book=formats.book(),
            history=history,
            quarantine=None if quarantine is None else Quarantine(quarantine),
            intake=intake,
            on_progress=on_progress,
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
    for one in counts.get("bundles", ()):
        said = ", ".join(f"{n:,} {label}" for label, n in one["decisions"].items() if label)
        facts += [(one["bundle"], f"{one['n_scored']:,} scored: {said} ({one['hash'][:12]})")]
    facts += [("unscored", f"{n:,}: {reason}") for reason, n in counts.get("unscored", {}).items()]
    if "n_released" in counts:
        facts += [("left quarantine", f"{counts['n_released']:,}")]
    if "out" in counts:
        facts += [("written", str(counts["out"]))]
    return stack(table, figures(facts))
