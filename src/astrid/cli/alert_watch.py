"""``astrid alerts watch``, ``drift`` and ``report``: what a stream does now, and what a night amounted to.

Parse, call, print; the work is done in `astrid.stream`.
"""

from __future__ import annotations

import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astrid.cli.alert_options import Json
from astrid.cli.output import command_line, console, emit, progress
from astrid.cli.store_options import DEFAULT_STORE, Database, StoreFolder, existing_store

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.store.store import Store
    from astrid.stream.digest import Digest
    from astrid.stream.drift import Drift
    from astrid.stream.watching import View
    from astrid.stream.workers import Stop

__all__ = ["drift", "report", "watch"]

_BARS = " ▁▂▃▄▅▆▇█"
_PATIENCE = 2.0  # s: somebody who looks does not want to wait for a lock
_MOST = 8  # lines of each kind
_COLOURS = {"ok": "green", "watch": "yellow", "act": "bold red"}

Night = Annotated[
    str | None,
    typer.Option(help="YYYY-MM-DD; the last one if not given.", metavar="NIGHT", show_default=False),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Parquet or CSV file with survey, alert_id and label: for the coverage of conformal sets.",
        exists=True,
        dir_okay=False,
        show_default=False,
    ),
]
Adwin = Annotated[
    bool, typer.Option("--adwin", help="Also look for changes of the scores within the night (river).")
]


def watch(
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    night: Night = None,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end.")] = False,
    no_drift: Annotated[
        bool, typer.Option("--no-drift", help="Do not compare the night with earlier ones.")
    ] = False,
    json: Json = False,
) -> None:
    """Watch a stream live: rate, lag, latency, scores, passes, quarantine, drift. Ctrl-C ends.

    Where the output is no terminal it looks once, as with --once.

    Example: `astrid alerts watch --store mystore`
    """
    from astrid.errors import StoreError, UsageError
    from astrid.stream.watching import Watch

    if json and not once:
        raise UsageError("--json gives one object, and watching does not end; add --once")
    with existing_store(store, database, patience=_PATIENCE) as opened:
        seen = Watch(opened, night, drift=not no_drift)
        if once or not sys.stdout.isatty():
            view = seen.look()
            emit(json, view.as_dict(), lambda: _picture(view))
            return
        from rich.live import Live

        from astrid.stream.workers import Stop

        # a flag, not an exception: a library in whose callback that falls may swallow it
        with (
            Stop().on_signals() as stop,
            Live(_picture(seen.look()), console=console(), screen=True, auto_refresh=False) as live,
        ):
            while not _asked_within(every, stop):
                try:
                    picture = _picture(seen.look())
                except StoreError as error:  # locked for a moment: it is tried again
                    picture = _problem(str(error))
                live.update(picture, refresh=True)


def drift(
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    night: Night = None,
    since: Annotated[
        str | None,
        typer.Option(
            help="First night of the reference; the ten before the night if not given.",
            metavar="NIGHT",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="Its last night.", metavar="NIGHT", show_default=False)
    ] = None,
    labels: Labels = None,
    adwin: Adwin = False,
    json: Json = False,
) -> None:
    """Compare a night with earlier ones: one verdict (ok, watch or act), each reason in a sentence.

    Example: `astrid alerts drift --night 2026-11-20 --store mystore`
    """
    from astrid.stream.drift import night_drift

    with existing_store(store, database, patience=_PATIENCE) as opened, progress(json, "alerts") as tell:
        found = night_drift(
            opened,
            night or _last(opened),
            since=since,
            until=until,
            labels=_labels(labels),
            adwin=adwin,
            on_progress=tell,
        )
    emit(json, found.as_dict(), lambda: _comparisons(found))


def report(
    out: Annotated[
        Path, typer.Option(help="Folder for night.html and night.json.", metavar="DIR", file_okay=False)
    ],
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    night: Night = None,
    top: Annotated[int, typer.Option(help="Candidates with cutouts and light curve.", min=0, max=500)] = 24,
    labels: Labels = None,
    layout: Annotated[
        Path | None,
        typer.Option(help="TOML that describes the packets of a survey AstrID does not know."),
    ] = None,
    adwin: Adwin = False,
    json: Json = False,
) -> None:
    """Write one page about a night: rates, scores, candidates, passes, quarantine, drift.

    Example: `astrid alerts report --night 2026-11-20 --store mystore --out night`
    """
    from astrid.alerts import read_layouts
    from astrid.stream.nightly import write_night

    with existing_store(store, database, patience=_PATIENCE) as opened, progress(json, "alerts") as tell:
        chosen = night or _last(opened)
        page = write_night(
            opened,
            chosen,
            out,
            top=top,
            labels=_labels(labels),
            layouts=() if layout is None else read_layouts(layout),
            adwin=adwin,
            command=command_line("alerts report"),
            on_progress=tell,
        )
    from astrid.cli.tables import figures

    result = {"night": chosen, "page": str(page), "numbers": str(page.with_suffix(".json"))}
    emit(json, result, lambda: figures(list(result.items())))


def _last(store: Store) -> str:
    from astrid.errors import StoreError

    nights = [night for night in store.counts().nights if night]
    if not nights:
        raise StoreError(f"{store.folder}: the store has no alerts; fill it by astrid alerts ingest")
    return max(nights)


def _labels(path: Path | None) -> dict[tuple[str, str], str] | None:
    if path is None:
        return None
    import pyarrow as pa
    import pyarrow.csv as csv
    import pyarrow.parquet as pq

    from astrid.errors import DatasetError

    names = ("survey", "alert_id", "label")
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            options = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = csv.read_csv(path, convert_options=options)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path}: cannot be read ({error}); give a Parquet or CSV file") from error
    absent = [name for name in names if name not in table.column_names]
    if absent:
        raise DatasetError(f"{path}: there is no column {absent[0]}; expected {', '.join(names)}")
    columns = [table[name].cast(pa.string()).to_pylist() for name in names]
    return {
        (survey, alert): label
        for survey, alert, label in zip(*columns, strict=True)
        if survey and alert and label
    }


def _asked_within(seconds: float, stop: Stop) -> bool:
    """Whether the end was asked for while these seconds went by."""
    until = time.monotonic() + seconds
    while not stop() and (left := until - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
    return stop()


def _picture(view: View) -> RenderableType:
    """All that is known, in one screen."""
    from rich.text import Text

    from astrid.cli.tables import figures, stack

    if view.night is None:
        return Text("The store has no alerts yet." if view.idle is None else "No alert has a night yet.")
    facts = [
        ("night", view.night),
        ("rate", f"{_rate(view.rate)} now, {_rate(view.rate_night)} over the night"),
        ("behind", "the source does not say" if view.behind is None else f"{view.behind:,} messages"),
        ("latency", f"{_milliseconds(view.latency_p50)} median, {_milliseconds(view.latency_p99)} slowest"),
        ("last batch", f"{_seconds(view.idle)} ago, {view.workers} workers in the last minute"),
    ]
    parts: list[RenderableType] = [figures(facts)]
    if view.drift is not None:  # above what a small terminal cuts off
        parts += _verdict(view.drift)
    if view.digest is not None:
        parts += _counts(view.digest)
    parts.append(Text(f"rows as of {_seconds(view.rows_age)} ago", style="dim"))
    return stack(*parts)


def _counts(digest: Digest) -> list[RenderableType]:
    from astrid.cli.tables import columns

    table = columns(("survey", "alerts"), numbers=(1,))
    for survey, n in digest.surveys.most_common(_MOST):
        table.add_row(survey, f"{n:,}")
    parts: list[RenderableType] = [table]
    if digest.scores:
        table = columns(("score", "0 to 1, logarithmic", "alerts", "decided"), numbers=(2,))
        for name, one in digest.scores.items():
            decided = ", ".join(f"{n:,} {label}" for label, n in one.decisions.most_common(4))
            table.add_row(name, _bars(one.counts.tolist()), f"{one.n:,}", decided)
        parts.append(table)
    if digest.filters:
        table = columns(("filter", "passed", "waiting", "held", "failed"), numbers=range(1, 5))
        order = sorted(digest.filters, key=lambda name: -digest.passes.get(name, Counter()).total())
        for name in order[:_MOST]:
            states: Counter[str] = digest.passes.get(name, Counter())
            shown = (states.total(), *(states[one] for one in ("pending", "held", "failed")))
            table.add_row(name, *(f"{n:,}" for n in shown))
        parts.append(table)
    if digest.n_quarantined or digest.refused:
        table = columns((f"{digest.n_quarantined:,} quarantined", "why"), numbers=(0,))
        for refused in digest.refused[:_MOST]:
            table.add_row(f"{refused.n:,}", refused.kind)
        parts.append(table)
    return parts


def _bars(counts: Sequence[int]) -> str:
    """A histogram in a line, on a logarithmic scale: a single alert is seen."""
    top = math.log1p(max(counts, default=0)) or 1.0
    return "".join(_BARS[math.ceil(math.log1p(n) / top * (len(_BARS) - 1))] for n in counts)


def _verdict(found: Drift) -> list[RenderableType]:
    from rich.text import Text

    against = f"against {found.n_reference:,} alerts of {len(found.nights)} nights"
    line = Text.assemble("drift: ", (found.verdict, _COLOURS[found.verdict]), f" {against}")
    return [line, *(Text(f"  {reason}") for reason in found.reasons)]


def _comparisons(found: Drift) -> RenderableType:
    from astrid.cli.tables import columns, stack

    table = columns(
        ("quantity", "where", "index", "p", "before", "night", "alerts", "verdict"), numbers=range(2, 7)
    )
    order = {"act": 0, "watch": 1, "ok": 2}
    shown = sorted(found.comparisons, key=lambda one: (order[one.level], -one.shift.psi))[: 2 * _MOST]
    for one in shown:
        form = "{:.1%}" if one.is_share else "{:.4g}"
        values = (form.format(value) for value in (one.shift.centre_reference, one.shift.centre))
        index, p = f"{one.shift.psi:.3f}", f"{one.p:.2g}"
        table.add_row(one.quantity, one.where, index, p, *values, f"{one.shift.n:,}", one.level)
    rest = len(found.comparisons) - len(shown)
    coverage = [
        f"sets of {one.model} hold {one.label} in {one.share:.1%} of {one.n:,} labelled alerts"
        + ("" if one.promised is None else f", {one.promised:.1%} promised")
        for one in found.coverage
    ]
    more = f"{rest:,} more; --json lists all" if rest else ""
    return stack(table if shown else "", more, *coverage, *_verdict(found))


def _problem(sentence: str) -> RenderableType:
    from rich.text import Text

    return Text(f"{sentence}\ntrying again …", style="yellow")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.1f}/s" if value < 100 else f"{value:,.0f}/s"


def _milliseconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} ms" if value < 10_000 else f"{value / 1000:,.0f} s"


def _seconds(value: float | None) -> str:
    if value is None or not math.isfinite(value):
        return "–"
    for size, unit, most in ((1, "s", 600), (60, "min", 36_000)):
        if value < most:
            return f"{value / size:,.0f} {unit}"
    return f"{value / 3600:,.0f} h"
