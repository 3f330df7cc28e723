"""``astrid review``: what people are asked, how far they are, how they agree, and their answers as files.

Parse, call, print; the work is done in `astrid.review`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.alert_options import Json
from astrid.cli.output import emit, progress
from astrid.cli.review_training import history, retrain, rollback
from astrid.cli.store_options import DEFAULT_STORE, Database, Since, StoreFolder, Until, existing_store
from astrid.errors import UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.learn.mixing import Shares
    from astrid.store.store import Store
    from astrid.stream.filters import Filter

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Review: ask people about alerts, and learn from what they say; the pages are `astrid serve`.",
)

TaskName = Annotated[str, typer.Option("--task", help="System that is asked about.", metavar="NAME")]


class Seen(StrEnum):
    """By what items are unlike each other."""

    COLUMNS = "columns"
    EMBEDDINGS = "embeddings"


class Kind(StrEnum):
    """Of a file of answers."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"
    ZOONIVERSE = "zooniverse"


Format = Annotated[
    Kind | None, typer.Option("--format", help="Of the file; by its name if not given.", show_default=False)
]


@app.command()
def queue(
    task: TaskName = "braai",
    n: Annotated[int, typer.Option("-n", help="How many items.", min=1)] = 500,
    model: Annotated[
        str | None,
        typer.Option(help="Bundle whose opinion counts; the live one if not given.", show_default=False),
    ] = None,
    sql: Annotated[
        str | None, typer.Option(help="Only alerts of which this condition is true.", show_default=False)
    ] = None,
    filter: Annotated[
        str | None, typer.Option(help="Only alerts that pass this saved filter.", show_default=False)
    ] = None,
    since: Since = None,
    until: Until = None,
    features: Annotated[
        Seen, typer.Option(help="What tells items apart: numbers of their rows, or what a model sees.")
    ] = Seen.COLUMNS,
    shares: Annotated[
        str | None,
        typer.Option(
            help="Of what is not frozen, such as uncertain=0.6,novel=0.2,random=0.2; also interest.",
            show_default=False,
        ),
    ] = None,
    frozen: Annotated[
        float, typer.Option(help="Share that is drawn by chance and never trained on.", min=0, max=1)
    ] = 0.1,
    blind: Annotated[
        float, typer.Option(help="Share that two people answer, not knowing of each other.", min=0, max=1)
    ] = 0.0,
    most: Annotated[
        int | None,
        typer.Option(help="Weigh at most so many alerts, drawn by chance.", min=1, show_default="20,000"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.")] = 0,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Make the queue of what to ask anew, best question first.

    Answers stay, and so does what was frozen. Until a hundred items are answered, items are asked by
    chance or because they differ from the others.

    Example: `astrid review queue --sql "realbogus > 0.1" --since 2026-11-01 --blind 0.1`
    """
    from astrid.learn.registry import find_bundle
    from astrid.review.queue import build

    bundle = None if model is None else find_bundle(model)
    with existing_store(store, database) as opened, progress(json, "alerts") as tell:
        wanted = _filter(opened, sql, filter)
        summary = build(
            opened, task, bundle=bundle, filter=wanted, since=since, until=until, n=n, seed=seed,
            shares=_shares(shares), frozen_share=frozen, blind_share=blind, features=features.value,
            most=most, on_progress=tell,
        )  # fmt: skip
    emit(json, summary.as_dict(), lambda: _facts(summary.as_dict()))


@app.command()
def status(
    task: TaskName = "braai",
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show how far the labelling is: what waits, who answered what, and what was learned.

    Example: `astrid review status`
    """
    from astrid.review.progress import progress as progress_of

    with existing_store(store, database) as opened:
        found = progress_of(opened, task).as_dict()
    emit(json, found, lambda: _status(found))


@app.command()
def agreement(
    task: TaskName = "braai",
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show how far people agree: Cohen's kappa of each two, and how reliable each is by Dawid and Skene.

    Example: `astrid review agreement`
    """
    from astrid.review.agreement import agreement as agreement_of

    with existing_store(store, database) as opened:
        found = agreement_of(opened, task).as_dict()
    emit(json, found, lambda: _agreement(found))


@app.command()
def suspects(
    task: TaskName = "braai",
    n: Annotated[int, typer.Option("-n", help="At most so many.", min=1)] = 20,
    model: Annotated[
        str | None,
        typer.Option(
            help="Bundle whose stored scores count; one that was not trained on the answers.",
            show_default=False,
        ),
    ] = None,
    ask: Annotated[
        bool, typer.Option("--ask", help="Put them first in the queue, for one more person each.")
    ] = False,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show the answers that the model believes least; about one in five of them is wrong.

    Nothing is corrected: `--ask` only asks another person.

    Example: `astrid review suspects -n 50 --ask`
    """
    from astrid.review.suspects import ask_again
    from astrid.review.suspects import suspects as suspects_of

    with existing_store(store, database) as opened:
        found = suspects_of(opened, task, n=n, bundle=model)
        asked = ask_again(opened, task, found) if ask and found else None
    result = {"task": task, "n": len(found), "asked": asked, "suspects": [one._asdict() for one in found]}
    emit(json, result, lambda: _suspects(result))


@app.command("export")
def export_(
    out: Annotated[Path, typer.Argument(help="File: .csv or .parquet.", dir_okay=False)],
    task: TaskName = "braai",
    format: Format = None,
    undone: Annotated[bool, typer.Option("--undone", help="Also answers that were taken back.")] = False,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Write the answers of a task to a file.

    Example: `astrid review export answers.parquet`
    """
    from astrid.review.exchange import export_labels

    with existing_store(store, database) as opened:
        n = export_labels(opened, task, out, format=None if format is None else format.value, undone=undone)
    emit(json, {"out": str(out), "n": n}, lambda: f"{n:,} answers written to {out}")


@app.command("import")
def import_(
    path: Annotated[Path, typer.Argument(help="CSV, Parquet, JSON list, or Zooniverse's export; also .gz.")],
    task: TaskName = "braai",
    format: Format = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="Name of a column of ours and in the file, such as alert_id=candid; as often as wanted.",
            metavar="OURS=THEIRS",
            show_default=False,
        ),
    ] = None,
    value: Annotated[
        list[str] | None,
        typer.Option(
            help="What the file says and our label for it, such as 1=real; as often as wanted.",
            metavar="THEIRS=OURS",
            show_default=False,
        ),
    ] = None,
    survey: Annotated[str | None, typer.Option(help="Of all rows.", show_default=False)] = None,
    user: Annotated[str | None, typer.Option(help="Of all rows.", show_default=False)] = None,
    votes: Annotated[
        str | None,
        typer.Option(
            help="Columns with the answers of one person each, such as person_*.", show_default=False
        ),
    ] = None,
    by_tags: Annotated[bool, typer.Option("--by-tags", help="Let the tags tell the label.")] = False,
    otherwise: Annotated[
        str | None, typer.Option(help="Label where the tags tell none.", show_default=False)
    ] = None,
    question: Annotated[str, typer.Option(help="Zooniverse's task that asks for the label.")] = "T0",
    unknown: Annotated[
        bool, typer.Option("--unknown-alerts", help="Also answers about alerts that are not in the store.")
    ] = False,
    rejects: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of the rows that cannot be used.",
            dir_okay=False,
            show_default="in the store's quarantine",
        ),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Store the answers of a file; the same file again changes nothing.

    Rows that cannot be used are written to a file of their own, each with the reason.

    Example: `astrid review import votes.csv --column alert_id=candid --value 1=real --value 0=bogus`
    """
    from astrid.review.exchange import Layout, import_labels

    layout = Layout(
        _pairs(column, "--column"),
        survey,
        user,
        _pairs(value, "--value"),
        votes,
        by_tags,
        otherwise,
        question,
    )
    with existing_store(store, database) as opened, progress(json, "answers") as tell:
        done = import_labels(
            opened, task, path, layout=layout, format=None if format is None else format.value,
            unknown_alerts=unknown, rejects=rejects, on_progress=tell,
        )  # fmt: skip
    emit(json, vars(done), lambda: _imported(vars(done)))


for verb in (retrain, history, rollback):
    app.command()(verb)


def _filter(store: Store, sql: str | None, name: str | None) -> Filter | None:
    from astrid.stream.conditions import engine, parse
    from astrid.stream.filters import Filter, check_filter
    from astrid.stream.replay import saved_filter, stored_columns

    if sql is not None and name is not None:
        raise UsageError("--sql and --filter say both which alerts are asked; give one of them")
    if name is not None:
        return saved_filter(store, name)[0]
    if sql is None:
        return None
    wanted = Filter(name="queue", sql=sql)
    with engine() as connection:
        used = parse(connection, sql).columns
    check_filter(wanted, stored_columns(store, used))
    return wanted


def _shares(text: str | None) -> Shares | None:
    from astrid.learn.mixing import Shares

    if text is None:
        return None
    given = _pairs(text.split(","), "--shares")
    names = ("uncertain", "novel", "random", "interest")
    try:
        parts = {name: float(share) for name, share in given.items()}
    except ValueError as error:
        raise UsageError(f"the shares are {text!r}; give numbers, as in uncertain=0.8,random=0.2") from error
    wrong = [name for name in parts if name not in names]
    if wrong:
        raise UsageError(f"there is no share {wrong[0]!r}; choose of {', '.join(names)}")
    return Shares(**{name: parts.get(name, 0.0) for name in names})


def _pairs(words: Sequence[str] | None, option: str) -> dict[str, str]:
    found = {}
    for word in words or ():
        name, separator, meaning = word.partition("=")
        if not (name and separator and meaning):
            raise UsageError(f"{option} is given {word!r}; write it as name=value")
        found[name.strip()] = meaning.strip()
    return found


def _facts(result: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import figures

    slots = ", ".join(f"{n} {slot}" for slot, n in result["slots"].items())
    opinion = f"{result['bundle']} ({result['hash'][:12]})" if result["bundle"] else "none: nothing is scored"
    return figures(
        [
            ("alerts", f"{result['n_seen']:,}, one of each object"),
            ("answered", f"{result['n_answered']:,} of them"),
            ("weighed", f"{result['n_considered']:,} by {result['features']}"),
            ("opinion", opinion),
            ("waiting", f"{result['n']:,}: {slots}"),
            ("frozen", f"{result['n_frozen']:,}"),
            ("for two people", f"{result['n_blind']:,}"),
        ]
    )


def _status(found: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    made = found["queue_made"]
    when = "" if made is None else f", made {datetime.fromtimestamp(made, UTC):%Y-%m-%d %H:%M} UTC"
    counts = ", ".join(f"{n:,} {label}" for label, n in found["labels"].items())
    facts = [
        ("waiting", f"{found['n_waiting']:,}{when}"),
        ("answers", f"{found['n_answers']:,}" + (f": {counts}" if counts else "")),
        ("frozen", f"{found['n_frozen_answered']:,} of {found['n_frozen']:,} answered"),
    ]
    people = columns(("person", "answers", "an hour", "last"), numbers=(1, 2))
    for one in found["people"]:
        rate = "–" if one["per_hour"] is None else f"{one['per_hour']:,.0f}"
        people.add_row(one["name"], f"{one['n']:,}", rate, one["last"])
    facts += [
        ("learned", f"{datetime.fromtimestamp(one['at'], UTC):%Y-%m-%d}: {one['verdict']}; {one['reason']}")
        for one in found["trainings"]
    ]
    return stack(figures(facts), people if found["people"] else "")


def _agreement(found: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    pairs = columns(("person", "person", "items", "agreed", "kappa", "95 %"), numbers=range(2, 6))
    for one in found["pairs"]:
        kappa = "–" if one["kappa"] is None else f"{one['kappa']:.2f}"
        between = "–" if one["kappa"] is None else f"{one['low']:.2f} to {one['high']:.2f}"
        pairs.add_row(one["first"], one["second"], f"{one['n']:,}", f"{one['agreed']:.1%}", kappa, between)
    people = columns(("person", "answers", "shared", "reliability"), numbers=(1, 2, 3))
    for one in found["people"]:
        sure = "–" if one["accuracy"] is None else f"{one['accuracy']:.1%}"
        people.add_row(one["name"], f"{one['n']:,}", f"{one['n_shared']:,}", sure)
    facts = [
        ("items", f"{found['n_items']:,}"),
        ("by several people", f"{found['n_shared']:,}"),
        ("divided", f"{found['n_divided']:,}"),
    ]
    return stack(figures(facts), pairs if found["pairs"] else "", people if found["people"] else "")


def _suspects(result: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    table = columns(("survey", "alert", "label", "by", "believed", "suspicion"), numbers=(4, 5))
    for one in result["suspects"]:
        who = ", ".join(one["users"])
        table.add_row(one["survey"], one["alert_id"], one["label"], who, f"{one['probability']:.3f}",
                      f"{one['value']:.2f}")  # fmt: skip
    facts = [("suspects", f"{result['n']:,}")]
    if result["asked"] is not None:
        facts.append(("asked again", f"{result['asked']:,}"))
    return stack(table if result["suspects"] else "", figures(facts))


def _imported(result: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import figures

    facts = [
        ("answers", f"{result['n']:,}"),
        ("stored", f"{result['n_new']:,}"),
        ("known before", f"{result['n_known']:,}"),
        ("rejected", f"{result['n_rejected']:,}"),
    ]
    facts += [("reason", f"{n:,}: {reason}") for reason, n in result["reasons"].items()]
    if result["rejects"]:
        facts.append(("written", result["rejects"]))
    return figures(facts)
