"""``astrid alerts ingest``: the running path, from a source of packets to the store and the sinks.

Parse, call, print; the work is done in `astrid.stream`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.alert_options import Formats, Json, Models, with_formats
from astrid.cli.output import PATIENCE, console, emit
from astrid.cli.store_options import DEFAULT_STORE, Database, StoreFolder

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.stream.turns import Summary, Turn

__all__ = ["ingest"]

_LINE_EVERY = 30.0  # s between lines where nobody looks at a terminal


@with_formats
def ingest(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            help="Packets, Parquet files, tar archives, folders of them, https://HOST/FILE, or one "
            "kafka://HOST:PORT/TOPIC.",
            show_default=False,
        ),
    ] = None,
    formats: Formats = Formats(),
    config: Annotated[
        Path | None,
        typer.Option(help="YAML with the same settings; options come before it.", show_default=False),
    ] = None,
    survey: Annotated[
        str | None,
        typer.Option(
            help="Packets of any other survey go to quarantine.", metavar="NAME", show_default=False
        ),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    model: Models = None,
    no_scores: Annotated[bool, typer.Option("--no-scores", help="Ask no model.")] = False,
    spread: Annotated[
        bool,
        typer.Option("--spread", help="Also the spread over passes with dropout; ten times the cost."),
    ] = False,
    catalog: Annotated[
        list[str] | None,
        typer.Option(
            help="Catalogue to match with: a radius in arcsec and columns to take over may follow.",
            metavar="NAME[:RADIUS[:COLUMN,…]]",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes that divide the work.", show_default="1")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="Packets stored together at most.", show_default="256")
    ] = None,
    linger: Annotated[
        float | None,
        typer.Option(help="Seconds that a batch waits to become full.", show_default="0.5"),
    ] = None,
    group: Annotated[str | None, typer.Option(help="Consumer group of Kafka.", show_default=False)] = None,
    idle: Annotated[
        float | None,
        typer.Option(
            help="Seconds after which a silent stream has ended; never if not given.", show_default=False
        ),
    ] = None,
    brokers: Annotated[
        Path | None, typer.Option(help="TOML with brokers and where their secrets are.", show_default=False)
    ] = None,
    no_publish: Annotated[
        bool, typer.Option("--no-publish", help="Announce nothing; what passes filters waits in the store.")
    ] = False,
    metrics_port: Annotated[
        int | None, typer.Option(help="Serve metrics for Prometheus there.", metavar="N", show_default=False)
    ] = None,
    retry: Annotated[
        bool,
        typer.Option("--retry", help="Take the packets in the quarantine of the store, instead of sources."),
    ] = False,
    json: Json = False,
) -> None:
    """Take in a stream of packets: score, match, filter and store each alert, and announce what passes.

    What cannot be used goes to the quarantine of the store with its reason. Nothing is acknowledged before
    it is stored: a run that was killed goes on where it was when it is started again. Ctrl-C finishes the
    batch and ends; a second one ends at once.

    Example: `astrid alerts ingest night.tar.gz --survey ztf --catalog gaia:2 --store mystore`
    """
    from astrid.errors import UsageError
    from astrid.stream.settings import parse_catalog, read_settings
    from astrid.stream.workers import run_stream

    if no_scores and model:
        raise UsageError("--no-scores and --model exclude each other; give one of them")
    settings = read_settings(
        config,
        {
            "sources": tuple(sources) if sources else None,
            "survey": survey,
            "store": None if config is not None and store == DEFAULT_STORE else store,
            "database": database,
            "models": () if no_scores else tuple(model) if model else None,
            "dropout": spread or None,
            "catalogs": tuple(parse_catalog(one) for one in catalog) if catalog else None,
            "workers": workers,
            "batch": batch,
            "linger": linger,
            "group": group,
            "idle": idle,
            "brokers": brokers,
            "layout": formats.layout,
            "schemas": formats.schemas,
            "registry": formats.registry,
            "publish": False if no_publish else None,
            "metrics_port": metrics_port,
        },
    )
    with _progress(json) as tell:
        summary = run_stream(settings, retry=retry, on_turn=tell, say=_say)
    result = {"store": str(settings.store), **summary.as_dict()}
    emit(json, result, lambda: _view(result))


def _say(sentence: str) -> None:
    sys.stderr.write(f"warning: {sentence}\n")
    sys.stderr.flush()


@contextmanager
def _progress(json: bool) -> Iterator[Callable[[Turn, Summary], None] | None]:
    """What has come in, and how fast: a line that changes on a terminal, one now and then elsewhere."""
    if json:
        yield None
        return
    if not sys.stderr.isatty():
        yield _lines()
        return
    from rich.live import Live
    from rich.text import Text

    began = time.monotonic()
    with Live(Text(""), console=console(stderr=True), transient=True, refresh_per_second=4) as live:

        def tell(_: Turn, total: Summary) -> None:
            if time.monotonic() - began > PATIENCE:
                live.update(Text(_line(total)))

        yield tell


def _lines() -> Callable[[Turn, Summary], None]:
    last = time.monotonic()

    def tell(_: Turn, total: Summary) -> None:
        nonlocal last
        if time.monotonic() - last >= _LINE_EVERY:
            last = time.monotonic()
            sys.stderr.write(_line(total) + "\n")
            sys.stderr.flush()

    return tell


def _line(total: Summary) -> str:
    behind = "" if total.behind is None else f", {total.behind:,} behind"
    return (
        f"{total.n_packets:,} packets, {total.n_stored:,} new alerts, {total.n_quarantined:,} quarantined, "
        f"{total.rate:,.0f}/s{behind}"
    )


def _view(counts: dict[str, Any]) -> RenderableType:
    """Two tables: what came in, and what became of it."""
    from astrid.cli.tables import columns, figures, stack

    table = columns(("what", "alerts"), numbers=(1,))
    for survey, n in counts["surveys"].items():
        table.add_row(f"stored, of {survey}", f"{n:,}")
    for name, kind in (("scored by", "scored"), ("passed", "passes"), ("published:", "published")):
        for which, n in counts[kind].items():
            table.add_row(f"{name} {which}", f"{n:,}")
    for reason, n in counts["without_images"].items():
        table.add_row(f"without images: {reason}", f"{n:,}")
    for reason, n in counts["quarantined"].items():
        table.add_row(f"quarantined: {reason}", f"{n:,}")
    waited = counts["latency"]
    facts = [
        ("packets", f"{counts['n_packets']:,}, {counts['rate']:,.0f} a second"),
        ("new alerts", f"{counts['n_stored']:,}"),
        ("known already", f"{counts['n_known']:,}"),
        ("quarantined", f"{counts['n_quarantined']:,}"),
    ]
    if waited["p50_ms"] is not None:
        facts += [("latency", f"{waited['p50_ms']:,.0f} ms, of 99 % at most {waited['p99_ms']:,.0f} ms")]
    if counts["n_restarted"]:
        facts += [("workers started again", f"{counts['n_restarted']:,}")]
    facts += [("store", counts["store"])]
    return stack(table, figures(facts))
