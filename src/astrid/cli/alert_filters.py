"""``astrid alerts filter`` and ``replay``: which stored alerts pass a condition, and filters on a stream.

Parse, call, print; the work is done in `astrid.stream`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.alert_options import Json
from astrid.cli.output import emit, progress
from astrid.cli.store_options import DEFAULT_STORE, Database, Since, StoreFolder, Until, existing_store
from astrid.errors import FilterError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.console import RenderableType

    from astrid.store.store import Store
    from astrid.stream.columns import Column
    from astrid.stream.filters import Filter
    from astrid.stream.replay import Comparison, Tally

__all__ = ["filter_", "replay_"]

_SHOWN = 20  # rows
_BEST = ("survey", "object_id", "alert_id", "ra", "dec", "night", "band", "magpsf")
_MORE = 5  # columns of the condition beside these
_UNNAMED = "unnamed"

Out = Annotated[
    Path | None,
    typer.Option(
        help="Parquet file of the rows that pass, with all columns.", dir_okay=False, show_default=False
    ),
]


Sql = Annotated[
    str | None, typer.Option(help="Condition on the columns, or a file with one (.sql).", show_default=False)
]
Region = Annotated[
    str | None,
    typer.Option(help="Only there: a MOC, or a file with one (FITS, JSON, ASCII).", show_default=False),
]
Watched = Annotated[
    Path | None,
    typer.Option(
        "--watch-list",
        help="Only near these: a table with ra and dec, and if wanted name and radius.",
        dir_okay=False,
        show_default=False,
    ),
]
Radius = Annotated[
    float, typer.Option(help="Of the watch list where it has none, arcsec.", min=0.01, max=3600)
]
Save = Annotated[
    str | None,
    typer.Option(
        help="Save it under this name: the next batch of the stream uses it.",
        metavar="NAME",
        show_default=False,
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(help="Publish at most so many of a saved filter.", min=1, metavar="N", show_default=False),
]
Sinks = Annotated[
    list[str] | None,
    typer.Option(
        "--sink",
        help="Publish what passes a saved filter there; as often as wanted.",
        metavar="URL",
        show_default=False,
    ),
]
ListColumns = Annotated[
    bool, typer.Option("--columns", help="List the columns that a condition can use; nothing else.")
]
ListFilters = Annotated[bool, typer.Option("--list", help="List the saved filters; nothing else.")]
Retire = Annotated[
    str | None,
    typer.Option(help="Ask this saved filter no more; nothing else.", metavar="NAME", show_default=False),
]


def filter_(
    sql: Sql = None,
    region: Region = None,
    watch_list: Watched = None,
    radius: Radius = 2.0,
    since: Since = None,
    until: Until = None,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    out: Out = None,
    save: Save = None,
    limit_per_hour: Limit = None,
    sinks: Sinks = None,
    columns: ListColumns = False,
    list_: ListFilters = False,
    retire: Retire = None,
    json: Json = False,
) -> None:
    """Show which stored alerts pass a condition, and save it as a filter of the stream.

    A condition that names an unknown column, compares what cannot be compared or can never be true is
    refused, and why. An alert of which the answer is not known does not pass.

    Example: `astrid alerts filter --sql "realbogus > 0.8 and magpsf < 19" --since 2026-11-01 --save bright`
    """
    from astrid.stream.regions import read_region, read_watch_list

    if columns:
        _list_columns(store, database, json)
    elif list_:
        _list_filters(store, database, json)
    elif retire is not None:
        with existing_store(store, database) as opened:
            opened.retire_filter(retire)
        emit(json, {"retired": retire}, lambda: f"{retire} is asked no more")
    else:
        if sql is None and region is None and watch_list is None:
            raise UsageError("there is nothing to filter by; give --sql, --region or --watch-list")
        if save is None and (sinks or limit_per_hour):
            raise UsageError("--sink and --limit-per-hour are of a saved filter; give it a name by --save")
        targets = None if watch_list is None else read_watch_list(watch_list, radius)
        filter = _made(
            {
                "name": save or _UNNAMED,
                "sql": "true" if sql is None else _condition(sql),
                "region": None if region is None else read_region(region),
                "watch_list": targets,
                "limit_per_hour": limit_per_hour,
                "sinks": _sinks(sinks or ()),
            }
        )
        _apply(filter, store, database, since, until, out, save, json)


def replay_(
    filter: Annotated[
        str,
        typer.Option(help="Name of a saved filter, or a file with a condition (.sql).", metavar="NAME|FILE"),
    ],
    since: Since = None,
    until: Until = None,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Say where the stream said otherwise, alert by alert.")
    ] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Ask a filter again of the stored alerts: what it would have said when they came.

    Each alert is seen as it was known then. With `--compare`, a saved filter is held against what it said on
    the stream; any difference is an error.

    Example: `astrid alerts replay --filter my_sn.sql --since 2026-11-01`
    """
    from astrid.stream.replay import compare as compare_with_live
    from astrid.stream.replay import saved_filter

    with existing_store(store, database) as opened:
        if compare:
            if filter.endswith(".sql"):
                raise UsageError("a file was never asked on the stream; give the name of a saved filter")
            comparison = compare_with_live(opened, filter, since, until)
            emit(json, comparison.as_dict(), lambda: _compared(comparison))
            if not comparison.same:
                raise typer.Exit(1)
            return
        if filter.endswith(".sql"):
            asked = _made({"name": _UNNAMED, "sql": _condition(filter)})
            _check(asked, opened)
        else:
            asked, _ = saved_filter(opened, filter)
        tally, rows = _asked(asked, opened, since, until, out, json)
    result = _result(asked, tally, rows, out)
    emit(json, result, lambda: _view(result))


def _apply(
    filter: Filter, folder: Path, database: str | None, since: str | None, until: str | None,
    out: Path | None, save: str | None, json: bool,
) -> None:  # fmt: skip
    from astrid.store import open_store
    from astrid.stream.filters import doubts

    # a filter can be saved before the first alert comes
    with (open_store if save else existing_store)(folder, database) as opened:
        warnings = _check(filter, opened)
        tally, rows = _asked(filter, opened, since, until, out, json)
        if save is not None:
            opened.save_filter(filter.name, filter.hash, filter.model_dump(mode="json"))
    result = _result(filter, tally, rows, out)
    result["warnings"] = [*warnings, *doubts(tally.n, tally.n_passed, tally.failure)]
    if save is not None:
        result |= {"saved": filter.name, "hash": filter.hash}
    emit(json, result, lambda: _view(result))


def _condition(text: str) -> str:
    if not text.endswith(".sql"):
        return text
    try:
        return Path(text).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FilterError(f"{text}: cannot be read ({error}); give a file with a condition") from error


def _made(definition: dict[str, Any]) -> Filter:
    from astrid.stream.filters import read_filter

    return read_filter(definition)


def _sinks(addresses: Sequence[str]) -> tuple[str, ...]:
    """Addresses that a sink can be made of."""
    from astrid.stream.sinks import open_sink

    for address in addresses:
        open_sink(address).close()
    return tuple(addresses)


def _check(filter: Filter, store: Store) -> list[str]:
    from astrid.stream.conditions import engine, parse
    from astrid.stream.filters import check_filter
    from astrid.stream.replay import stored_columns

    with engine() as connection:
        names = parse(connection, filter.sql).columns
    return check_filter(filter, stored_columns(store, names))


def _asked(
    filter: Filter, store: Store, since: str | None, until: str | None, out: Path | None, json: bool
) -> tuple[Tally, list[dict[str, Any]]]:
    """Counts, and the first rows that pass; all of them go to the file."""
    import pyarrow as pa

    from astrid.stream.filters import FilterBank
    from astrid.stream.replay import Tally, replay

    used = [name for name in FilterBank([filter]).columns if name not in (*_BEST, "history", "extras")]
    shown = (*_BEST, *used[:_MORE])
    tally, kept = Tally(), []
    first: list[dict[str, Any]] = []
    with progress(json, "alerts") as tell:
        wanted = None if out is not None else shown
        for table in replay(filter, store, since, until, columns=wanted, tally=tally, on_progress=tell):
            head = table.slice(0, _SHOWN - len(first))
            first += head.select([name for name in shown if name in head.column_names]).to_pylist()
            if out is not None:
                kept.append(table)
    if out is not None:
        _write(pa.concat_tables(kept, promote_options="default") if kept else None, out)
    return tally, first


def _write(table: pa.Table | None, out: Path) -> None:
    import pyarrow.parquet as pq

    from astrid.files.atomic import atomic_path
    from astrid.stream.columns import Columns

    with atomic_path(out) as partial:
        empty: pa.Table = Columns().schema.empty_table()
        pq.write_table(empty if table is None else table, partial, compression="zstd")


def _result(filter: Filter, tally: Tally, rows: list[dict[str, Any]], out: Path | None) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "filter": filter.name,
        "sql": filter.sql,
        "n": tally.n,
        "n_passed": tally.n_passed,
    }
    if out is not None:
        facts["out"] = str(out)
    return {**facts, "failure": tally.failure, "warnings": [], "rows": rows}


def _view(result: dict[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    rows = result["rows"]
    names = list(dict.fromkeys(name for row in rows for name in row))
    numbers = [k for k, name in enumerate(names) if any(isinstance(row.get(name), float) for row in rows)]
    table: Any = columns(names, numbers=numbers) if rows else ""
    for row in rows:
        table.add_row(*(_cell(name, row.get(name)) for name in names))
    facts = [("alerts", f"{result['n']:,}"), ("pass", f"{result['n_passed']:,}")]
    if len(rows) < result["n_passed"]:
        facts += [("shown", f"{len(rows)}; --out writes all")]
    if result["failure"] and not result["warnings"]:
        facts += [("warning", f"some cannot be judged and do not pass: {result['failure']}")]
    facts += [("warning", one) for one in result["warnings"]]
    if "out" in result:
        facts += [("written", result["out"])]
    if "saved" in result:
        facts += [("saved", f"{result['saved']} ({result['hash'][:12]}); the next batch uses it")]
    return stack(table, figures(facts))


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5f}" if name in ("ra", "dec", "mjd") else f"{value:.4g}"
    return "–" if value is None else str(value)


def _compared(comparison: Comparison) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    facts = [
        ("filter", f"{comparison.filter} ({comparison.hash[:12]})"),
        ("batches", f"{comparison.n_batches:,}"),
    ]
    facts += [("alerts", f"{comparison.n:,}"), ("passed live", f"{comparison.n_live:,}")]
    facts += [("pass in replay", f"{comparison.n_replay:,}")]
    facts += [("verdict", "the same, alert by alert" if comparison.same else "they differ")]
    if comparison.same:
        return figures(facts)
    table = columns(("survey", "alert", "passes"))
    for where, keys in (("only live", comparison.only_live), ("only in replay", comparison.only_replay)):
        for survey, alert_id in keys[:_SHOWN]:
            table.add_row(survey, alert_id, where)
    return stack(table, figures(facts))


def _list_columns(folder: Path, database: str | None, json: bool) -> None:
    from astrid.stream.replay import offered_columns, stored_columns

    if database is None and not folder.is_dir():
        found = offered_columns()
    else:
        with existing_store(folder, database) as opened:
            found = stored_columns(opened)
    facts = [
        {"name": one.name, "type": one.type, "unit": one.unit, "low": one.low, "high": one.high,
         "meaning": one.meaning}
        for one in found
    ]  # fmt: skip

    def view() -> RenderableType:
        from astrid.cli.tables import columns

        table = columns(("column", "type", "unit", "range", "meaning"))
        for one in found:
            table.add_row(one.name, one.type, one.unit or "–", _range(one), one.meaning)
        shown: RenderableType = table
        return shown

    emit(json, {"columns": facts}, view)


def _range(one: Column) -> str:
    low, high = ("" if end is None else f"{end:g}" for end in (one.low, one.high))
    return f"{low} … {high}".strip() if low or high else "–"


def _list_filters(folder: Path, database: str | None, json: bool) -> None:
    from datetime import UTC, datetime

    with existing_store(folder, database) as opened:
        records = opened.filters(active=None)
        passed = {(one.name, one.hash): len(opened.passes(one.name, one.hash)) for one in records}
    facts: list[dict[str, Any]] = [
        {
            **{name: one.definition.get(name) for name in ("name", "sql", "limit_per_hour", "sinks")},
            "hash": one.hash,
            "active": one.active,
            "created": datetime.fromtimestamp(one.created, UTC).isoformat(timespec="seconds"),
            "region": one.definition.get("region") is not None,
            "n_watched": len(one.definition.get("watch_list") or ()),
            "n_passed": passed[one.name, one.hash],
        }
        for one in records
    ]

    def view() -> RenderableType:
        from astrid.cli.tables import columns

        table: Any = columns(("filter", "version", "saved", "asked", "passed", "condition"), numbers=(4,))
        for one in facts:
            also = ["in a region"] if one["region"] else []
            also += [f"near {one['n_watched']:,} targets"] if one["n_watched"] else []
            words = " ".join(str(one["sql"]).split()) + (f" ({', '.join(also)})" if also else "")
            asked = "yes" if one["active"] else "no"
            table.add_row(one["name"], one["hash"][:12], one["created"], asked, f"{one['n_passed']:,}", words)
        return "no filter was saved yet" if not facts else table

    emit(json, {"filters": facts}, view)
