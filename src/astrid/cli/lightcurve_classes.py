"""The verbs of ``astrid lightcurves`` about classes: show the trees, ask people, take answers in, compare.

Parse, call, print; what the verbs do is in `astrid.lightcurves.classes` and `astrid.survey`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli.output import emit, progress

if TYPE_CHECKING:
    from rich.table import Table
    from rich.tree import Tree

    from astrid.learn.bundle import Bundle

__all__ = ["answers", "changes", "classes", "importance", "publish", "questions"]

Data = Annotated[
    Path, typer.Option("--data", help="Data set of `astrid data scope`.", metavar="DIR", show_default=False)
]
Model = Annotated[str, typer.Argument(help="A bundle's name, system.tag, or its path.", show_default=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Share = Annotated[float, typer.Option(help="Share of the sources.", min=0, max=1)]


def classes(
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Count the sources of this data set.", metavar="DIR", show_default=False),
    ] = None,
    json: Json = False,
) -> None:
    """Show the two trees of classes, with codes and meanings.

    Example: `astrid lightcurves classes --data data/scope`
    """
    from astrid.lightcurves.classes import taxonomy

    counts: dict[str, int] = {}
    if data is not None:
        import numpy as np

        from astrid.learn.dataset import Dataset

        dataset = Dataset.open(data)
        counts = {code: int(np.sum(dataset.column(code) >= 0.5)) for code in taxonomy().classes}
    listed = [
        asdict(one) | ({"sources": counts[code]} if counts else {})
        for code, one in taxonomy().classes.items()
    ]
    emit(json, {"classes": listed}, lambda: _trees(counts))


def questions(
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option(help="The questions, as .csv or .parquet.", dir_okay=False)],
    n: Annotated[int, typer.Option("--sources", "-n", help="How many sources to ask about.", min=1)] = 100,
    random: Share = 0.15,
    diverse: Share = 0.15,
    page: Annotated[
        str, typer.Option(help="Where a source can be seen, such as pages/{id}.html.", metavar="LINK")
    ] = "",
    seed: Annotated[int, typer.Option(help="Of what is drawn.", min=0)] = 0,
    json: Json = False,
) -> None:
    """Ask people about the sources that a model is least certain of, mixed with random ones.

    The table is to be filled in: value (0, 0.25, 0.5, 0.75 or 1), who and when. Rows may be added, for
    other classes of the same sources too.

    Example: `astrid lightcurves questions scope.crts1 --data data/scope --out round1.csv --sources 100`
    """
    from astrid.learn.dataset import Dataset
    from astrid.survey import active_round

    with progress(json, "sources") as on_progress:
        counts = active_round.questions(
            _bundle(model),
            Dataset.open(data),
            out,
            n,
            random=random,
            diverse=diverse,
            page=page,
            seed=seed,
            on_progress=on_progress,
        )
    emit(json, counts, lambda: _counts(counts))


def answers(
    files: Annotated[list[Path], typer.Argument(help="Questions that were filled in.", show_default=False)],
    data: Data,
    out: Annotated[Path, typer.Option(help="Directory of the new data set.", metavar="DIR")],
    json: Json = False,
) -> None:
    """Put people's answers into a data set, with what follows from them; train anew with it.

    Example: `astrid lightcurves answers round1.csv --data data/scope --out data/scope1`
    """
    from astrid.learn.dataset import Dataset
    from astrid.survey.class_labels import read_labels
    from astrid.survey.scope_set import relabelled

    summary = relabelled(Dataset.open(data), read_labels(files), out).as_dict()
    emit(json, summary, lambda: _counts(summary))


def changes(
    before: Model,
    after: Model,
    data: Data,
    resamples: Annotated[int, typer.Option(help="Of the intervals.", min=1)] = 200,
    json: Json = False,
) -> None:
    """Compare two models on the test part, which is drawn by the names of the stars and stays as it is.

    Example: `astrid lightcurves changes scope.crts1 scope.round1 --data data/scope1`
    """
    from astrid.learn.dataset import Dataset
    from astrid.survey import active_round

    found = active_round.changes(_bundle(before), _bundle(after), Dataset.open(data), resamples=resamples)
    rows = [asdict(one) for one in found]
    emit(json, {"classes": rows}, lambda: _changes(rows))


def importance(
    model: Model,
    data: Data,
    out: Annotated[
        Path | None, typer.Option(help="A figure of it, .png or .pdf.", dir_okay=False, show_default=False)
    ] = None,
    repeats: Annotated[int, typer.Option(help="How often each number is shuffled.", min=1)] = 3,
    json: Json = False,
) -> None:
    """Say by which numbers the classes are told: what is lost when one is that of another star.

    Example: `astrid lightcurves importance scope.crts1 --data data/scope --out importance.png`
    """
    from astrid.learn.dataset import Dataset
    from astrid.survey import class_importance

    with progress(json, "numbers") as on_progress:
        found = class_importance.importance(
            _bundle(model), Dataset.open(data), repeats=repeats, on_progress=on_progress
        )
    if out is not None:
        class_importance.draw_importance(found, out)
    emit(json, found.as_dict(), lambda: _losses(found.as_dict()))


def publish(
    run: Annotated[Path, typer.Argument(help="Folder of a run over a catalogue of light curves.")],
    models: Annotated[
        list[str],
        typer.Option(
            "--model", help="A bundle that the run was classified with; may be repeated.", metavar="BUNDLE"
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the public catalogue.", metavar="DIR")],
    json: Json = False,
) -> None:
    """Make the public catalogue of classes: probabilities, made to agree with the trees, and decisions.

    Example: `astrid lightcurves publish run --model scope.crts1 --out public`
    """
    from astrid.survey import class_catalogue

    with progress(json, "partitions") as on_progress:
        counts = class_catalogue.publish(run, out, [_bundle(one) for one in models], on_progress=on_progress)
    emit(json, counts, lambda: _counts(counts))


def _bundle(name: str) -> Bundle:
    from astrid.learn.registry import find_bundle

    return find_bundle(Path(name) if "/" in name else name)


def _trees(counts: dict[str, int]) -> Tree:
    from rich.markup import escape
    from rich.tree import Tree

    from astrid.lightcurves.classes import taxonomy

    root = Tree("classes of variable sources")
    branches = {tree: root.add(tree) for tree in ("phenomenological", "ontological")}
    for code, one in taxonomy().classes.items():
        count = f" [bold]{counts[code]:,}[/bold]" if counts.get(code) else ""
        text = f"{one.name} [cyan]{code}[/cyan]{count}  [dim]{escape(one.meaning)}[/dim]"
        branches[code] = branches[one.parent or one.tree].add(text)
    return root


def _counts(summary: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("what", "number", title=str(summary["out"]))
    for name, value in summary.items():
        if name == "out":
            continue
        for key, number in value.items() if isinstance(value, dict) else ((None, value),):
            table.add_row(name if key is None else f"{name}: {key}", str(number))
    return table


def _changes(rows: list[dict[str, Any]]) -> Table:
    from rich.table import Table

    table = Table("class", "sources", "AUCPR before", "after", "gain", "95 %", "other decisions")
    for row in rows:
        table.add_row(
            row["code"],
            str(row["n_positive"]),
            f"{row['before']:.3f}",
            f"{row['after']:.3f}",
            f"{row['gain']:+.3f}",
            f"{row['low']:+.3f} to {row['high']:+.3f}",
            str(row["turned"]),
        )
    return table


def _losses(found: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table("what is shuffled", "mean loss of AUCPR", "most for")
    listed = [
        *found["families"].items(),
        *sorted(found["numbers"].items(), key=lambda one: -one[1]["mean"])[:20],
    ]
    for name, losses in listed:
        worst = sorted(((loss, code) for code, loss in losses.items() if code != "mean"), reverse=True)[:3]
        table.add_row(name, f"{losses['mean']:.3f}", ", ".join(f"{code} {loss:.3f}" for loss, code in worst))
    return table
