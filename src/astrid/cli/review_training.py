"""The verbs of ``astrid review`` that learn from answers: retrain, history, rollback.

Parse, call, print; the work is done in `astrid.review`.
"""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.alert_options import Formats, Json, with_formats
from astrid.cli.output import emit, progress
from astrid.cli.store_options import DEFAULT_STORE, Database, StoreFolder, existing_store

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["history", "retrain", "rollback"]

TaskName = Annotated[str, typer.Option("--task", help="System that people answered about.", metavar="NAME")]


@with_formats
def retrain(
    formats: Formats,
    task: TaskName = "braai",
    base: Annotated[
        Path | None,
        typer.Option(
            help="An older data set of the task, of which four rows are learned for each answer, so that "
            "what it taught is not forgotten.",
            metavar="DIR",
            show_default=False,
        ),
    ] = None,
    min_new: Annotated[
        int, typer.Option(help="Train only if so many items were answered since the last time.", min=0)
    ] = 0,
    epochs: Annotated[int, typer.Option(help="Of the training.", min=1)] = 12,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="One setting of the training, such as optimizer.lr=1e-4; may be repeated.",
            metavar="KEY=VALUE",
        ),
    ] = None,
    least_frozen: Annotated[
        int, typer.Option(help="Frozen answers of each label without which nothing is promoted.", min=1)
    ] = 20,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn by chance.", min=0)] = 0,
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Train the model in use on what people answered, and let the new one take its place if it is better.

    Both are asked about the frozen answers, which none was trained on. The new one becomes live only if its
    gain is sure; else it stays a candidate, and why is said. Needs the extra train.

    Example: `astrid review retrain --base realbogus --min-new 100`
    """
    from astrid.learn.dataset import Dataset
    from astrid.review.retraining import retrain as retrained
    from astrid.review.training_set import Source

    source = Source(
        base=None if base is None else Dataset.open(base), layouts=formats.layouts(), book=formats.book()
    )
    with existing_store(store, database) as opened, progress(json, "learning") as tell:
        found = retrained(
            opened, task, user=getpass.getuser(), source=source, min_new=min_new, epochs=epochs,
            settings=tuple(settings or ()), least_frozen=least_frozen, seed=seed, on_progress=tell,
        )  # fmt: skip
    record = None if found.record is None else found.record._asdict()
    result = {"training": record, "reason": found.reason, "outlook": vars(found.outlook)}
    emit(json, result, lambda: _training(result))


def history(
    task: TaskName = "braai",
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Show all trainings and steps back, and whether more answers are worth their time.

    Example: `astrid review history`
    """
    from astrid.review.stopping import outlook

    with existing_store(store, database) as opened:
        records = opened.trainings.list(task)
    result = {
        "task": task,
        "trainings": [one._asdict() for one in records],
        "outlook": vars(outlook(records)),
    }
    emit(json, result, lambda: _history(result))


def rollback(
    task: TaskName = "braai",
    reason: Annotated[str, typer.Option(help="Why, for the record.", show_default=False)] = "",
    store: StoreFolder = DEFAULT_STORE,
    database: Database = None,
    json: Json = False,
) -> None:
    """Bring back the model that the last retraining has replaced.

    Done again, it goes one retraining further back. Answers are kept.

    Example: `astrid review rollback --reason "it misses faint ones"`
    """
    from astrid.review.rollback import rollback as rolled_back

    with existing_store(store, database) as opened:
        record = rolled_back(opened, task, user=getpass.getuser(), reason=reason)
    emit(json, record._asdict(), lambda: f"{record.bundle} is live again; {record.against} is retired")


def _training(result: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import figures, stack

    record = result["training"]
    if record is None:
        return figures([("nothing trained", result["reason"]), ("outlook", result["outlook"]["advice"])])
    told = record["figures"]
    facts = [
        (record["verdict"], f"{record['bundle']}, made from {record['against']}: {record['reason']}"),
        ("learned from", f"{_counted(told['learned'])}; {told['base_rows']:,} older rows ({told['votes']})"),
        ("judged by", f"{_counted(told['frozen'])}, of {told['frozen_objects']:,} objects"),
    ]
    facts += [("left out", f"{n:,}: {why}") for why, n in told["left_out"].items()]
    facts += [("took", f"{told['seconds']:,.0f} s"), ("outlook", result["outlook"]["advice"])]
    return stack(_compared(told["compared"]), figures(facts))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{n:,} {label}" for label, n in counts.items())


def _compared(rows: Sequence[Mapping[str, Any]]) -> RenderableType | str:
    from astrid.cli.tables import columns

    if not rows:
        return ""
    table = columns(("figure", "before", "after", "gain", "95 %"), numbers=range(1, 5))
    for one in rows:
        between = "–" if one["low"] is None else f"{one['low']:+.4f} to {one['high']:+.4f}"
        table.add_row(
            one["name"], f"{one['before']:.4f}", f"{one['after']:.4f}", f"{one['gain']:+.4f}", between
        )
    return table


def _history(result: Mapping[str, Any]) -> RenderableType:
    from astrid.cli.tables import columns, figures, stack

    table = columns(("when (UTC)", "bundle", "answers", "frozen", "verdict", "why"), numbers=(2, 3))
    for one in result["trainings"]:
        when = f"{datetime.fromtimestamp(one['at'], UTC):%Y-%m-%d %H:%M}"
        counts = (f"{one['n_labels']:,}", f"{one['n_frozen']:,}") if one["n_labels"] else ("–", "–")
        table.add_row(when, one["bundle"] or "–", *counts, one["verdict"], one["reason"])
    facts = figures([("outlook", result["outlook"]["advice"])])
    return stack(table if result["trainings"] else "nothing was trained yet", facts)
