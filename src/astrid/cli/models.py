"""``astrid models``: list, card, verify, stage, evaluate, predict, explain and what `model_making` adds.

Parse, call, print; what the verbs do is in `astrid.learn`, which is imported when a verb runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from astrid.cli import model_making as making
from astrid.cli import model_options as options
from astrid.cli import model_tables as tables
from astrid.cli.output import command_line, emit, progress
from astrid.errors import UsageError
from astrid.files.atomic import atomic_path

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Models: train, measure, calibrate, explain, use.",
)


def list_(json: options.Json = False) -> None:
    """List the bundles: those that come with AstrID and your own, and which of them are live."""
    from astrid.learn.registry import list_bundles, user_directory
    from astrid.zoo import tasks

    entries = list_bundles()
    facts = {
        "bundles": [tables.entry_facts(entry) for entry in entries],
        "systems": list(tasks()),
        "directory": str(user_directory()),
    }
    emit(json, facts, lambda: tables.list_view(entries, tasks()))


def card(bundle: options.BundleName, json: options.Json = False) -> None:
    """Show a bundle's card: task, data, figures, calibration, thresholds, limits."""
    from astrid.learn.registry import find_bundle, list_bundles

    found = find_bundle(bundle)
    stages = {entry.path.resolve(): entry.stage for entry in list_bundles()}
    stage = stages.get(found.path.resolve(), "none: not among your bundles")
    facts = {
        "path": str(found.path),
        "hash": found.hash,
        "stage": stage,
        "card": found.card.model_dump(mode="json"),
    }
    emit(json, facts, lambda: tables.card_view(found, stage))


def stage(
    bundle: Annotated[str, typer.Argument(help="A bundle's name.", metavar="NAME", show_default=False)],
    stage: Annotated[
        str, typer.Argument(help="candidate, live or retired.", metavar="STAGE", show_default=False)
    ],
    json: options.Json = False,
) -> None:
    """Say how a bundle is used. Of each system one bundle is live: the one before it is retired.

    The live bundle of `braai` scores the candidates of astrid images difference.

    Example: `astrid models stage braai.mine live`
    """
    from astrid.learn.registry import set_stage

    entry = set_stage(bundle, stage)  # type: ignore[arg-type]
    emit(json, tables.entry_facts(entry), lambda: f"{entry.name} is {entry.stage}")


def evaluate(
    bundle: options.BundleName,
    data: options.Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory for report.html and report.json.", metavar="DIR")
    ] = Path("evaluation"),
    part: options.Part = "auto",
    slices: Annotated[
        list[str] | None,
        typer.Option(
            "--slice",
            help="Column by whose values the figures are given too; may be repeated.",
            metavar="COLUMN",
        ),
    ] = None,
    night_rate: Annotated[
        float | None, typer.Option(help="Items in one night, for the price of each threshold.", metavar="N")
    ] = None,
    prevalence: options.Prevalence = None,
    domain: Annotated[
        Literal["auto", "in", "out"],
        typer.Option(help="Whether the data are of the kind that was trained on; auto: in, if the same."),
    ] = "auto",
    record: Annotated[
        bool, typer.Option("--record", help="Put the figures into the bundle's card, which changes its hash.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Judge the quantised model of the bundle.")] = False,
    flips: Annotated[
        bool, typer.Option("--flips", help="Also flip and rotate every image: eight times the work.")
    ] = False,
    resamples: Annotated[int, typer.Option(help="Of the groups, for the 95 % intervals.", min=10)] = 200,
    threads: options.Threads = 1,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Measure a bundle on labelled data: one page and one JSON, every figure with its interval.

    By default all rows are taken, or the test part of the data that it was trained on. Torch is
    not needed.

    Example: `astrid models evaluate braai.sim1 --data realbogus --slice telescope --night-rate 1e5`
    """
    from astrid.learn.dataset import Dataset
    from astrid.learn.evaluation import evaluate as evaluated
    from astrid.learn.evaluation_report import write_evaluation
    from astrid.learn.prediction import Predictor
    from astrid.learn.registry import find_bundle
    from astrid.learn.revision import with_figures
    from astrid.learn.robustness import robustness

    if record and int8:
        raise UsageError("--record puts figures of the exact model into the card; leave out --int8")
    found, dataset = find_bundle(bundle), Dataset.open(data)
    rows, words = options.part_rows(found, dataset, part, own="test")
    if domain == "auto":
        domain = "in" if dataset.info.hash in {one.hash for one in found.card.data} else "out"
    predictor, turned = Predictor(found, threads=threads, int8=int8), None
    with progress(json, "evaluating") as on_progress:
        evaluation = evaluated(
            predictor,
            dataset,
            rows,
            on=words,
            domain=domain,
            night_rate=night_rate,
            prevalence=prevalence,
            slices=tuple(slices or ()),
            resamples=resamples,
            seed=seed,
            on_progress=on_progress,
        )
    if flips:
        with progress(json, "turning") as on_progress:
            turned = robustness(
                predictor,
                dataset,
                rows,
                columns=tuple(slices or ()),
                on=words,
                domain=domain,
                resamples=resamples,
                seed=seed,
                on_progress=on_progress,
            )
    measured = (*evaluation.measured, *(turned.measured if turned else ()))
    page = write_evaluation(evaluation, out, turned=turned, command=command_line("models evaluate"))
    facts: dict[str, Any] = {
        "report": str(page),
        "bundle": evaluation.bundle,
        "hash": evaluation.hash,
        "n": evaluation.n,
        "out_of_range": evaluation.out_of_range,
        "metrics": [one.model_dump() for one in measured],
    }
    if record:
        facts["recorded_as"] = with_figures(found, measured).hash
    emit(json, facts, lambda: tables.evaluation_view(evaluation, measured, facts))


def predict(
    bundle: options.BundleName,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Directory of a data set, or an .npz file with the inputs, such as a run's triplets.npz.",
            metavar="DIR|NPZ",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The scores, Parquet.", metavar="FILE")] = Path(
        "scores.parquet"
    ),
    spread: Annotated[
        bool, typer.Option("--spread", help="Also run the passes with dropout; each costs as much again.")
    ] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Use the quantised model of the bundle.")] = False,
    batch_size: Annotated[int, typer.Option(help="Items at a time.", min=1)] = 256,
    threads: options.Threads = 1,
    json: options.Json = False,
) -> None:
    """Classify all items of a data set, of any size; torch is not needed.

    One row an item: calibrated probabilities, spread, decision, conformal set, whether the model
    applies; an item that cannot be scored keeps its row and says why.

    Example: `astrid models predict braai.sim1 --data run1/triplets.npz --out scores.parquet`
    """
    from astrid.learn.registry import find_bundle
    from astrid.learn.scores import write_scores

    found = find_bundle(bundle)
    with progress(json, "classifying") as on_progress:
        summary = write_scores(
            found,
            options.source(data, found),
            out,
            batch_size=batch_size,
            spread=spread,
            int8=int8,
            threads=threads,
            command=command_line("models predict"),
            on_progress=on_progress,
        ).as_dict()
    emit(json, summary, lambda: tables.counts_view(summary))


def explain(
    bundle: options.BundleName,
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            help="Directory of a data set, or an .npz file with the inputs.",
            metavar="DIR|NPZ",
            show_default=False,
        ),
    ],
    row: Annotated[int, typer.Option(help="The item's row, from 0.", min=0, show_default=False)],
    method: Annotated[
        str,
        typer.Option(
            help="occlusion, occlusion_by_channel, channels, perturbation, lime, shapley_exact, kernel_shap, "
            "gradcam, integrated_gradients, deeplift_shap, or auto.",
            metavar="NAME",
        ),
    ] = "auto",
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The picture; the numbers go beside it as .json.")
    ] = Path("explanation.png"),
    head: Annotated[str | None, typer.Option(help="The first one if not given.", metavar="NAME")] = None,
    target: Annotated[
        str | None, typer.Option(help="Label to explain; the positive or likeliest if not given.")
    ] = None,
    background: Annotated[
        int, typer.Option(help="Items of the data, drawn at random, whose mean stands for 'hidden'.", min=0)
    ] = 32,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Explain what a bundle says about one item: which of its numbers speak for it.

    Every explanation says what it cost, how well it adds up and whether it depends on what was
    learned. A candidate of a run is explained by astrid images explain.

    Example: `astrid models explain braai.sim1 --data alerts --row 3 --method gradcam`
    """
    from astrid.learn.explanation import explain as explained
    from astrid.learn.registry import find_bundle

    options.own_modules()
    found = find_bundle(bundle)
    item, others = options.item_and_background(options.source(data, found), found, row, background, seed)
    with progress(json, "explaining") as on_progress:
        explanation = explained(
            found,
            item,
            method=method,
            head=head,
            target=target,
            background=others,
            seed=seed,
            on_progress=on_progress,
        )
    numbers = out.with_suffix(".json")
    with atomic_path(out) as partial:
        explanation.plot().savefig(partial, dpi=150)
    explanation.save(numbers)
    facts = {"written": [str(out), str(numbers)], "row": row, **tables.explanation_facts(explanation)}
    emit(json, facts, lambda: tables.explanation_view(facts))


app.command("list")(list_)
for _verb in (
    card, making.verify, making.train, making.tune, making.export, making.calibrate, evaluate, predict,
    explain, making.retrospective, stage,
):  # fmt: skip
    app.command(no_args_is_help=True)(_verb)
app.add_typer(making.imports, name="import")
