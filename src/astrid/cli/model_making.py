"""The verbs of ``astrid models`` that make bundles or look into them: train, tune, export, and so on.

Parse, call, print; what the verbs do is in `astrid.learn`, which is imported when a verb runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal

import typer

from astrid.cli import model_options as options
from astrid.cli import model_tables as tables
from astrid.cli.output import command_line, console, emit, progress, stages

__all__ = ["calibrate", "export", "imports", "retrospective", "train", "tune", "verify"]

imports = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown", help="Make bundles of others' weights."
)

Calibrating = Annotated[
    Literal["none", "temperature", "isotonic"],
    typer.Option(help="How probabilities are made true; isotonic for heads of yes or no only."),
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="One setting, such as optimizer.lr=3e-4 or network_options.width=8; may be repeated.",
        metavar="KEY=VALUE",
    ),
]
Config = Annotated[
    Path | None, typer.Option(help="YAML file of settings; --set comes after it.", metavar="YAML")
]


def train(
    task: options.TaskName,
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the run.", metavar="RUN")] = Path(
        "run"
    ),
    config: Config = None,
    settings: Settings = None,
    seed: Annotated[int | None, typer.Option(help="The same as --set seed=N.", min=0)] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in RUN, if there is one.")
    ] = False,
    parent: Annotated[
        str | None, typer.Option(help="Bundle to begin from: name or path.", metavar="BUNDLE")
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="Layer that shall not change, by the beginning of its name; may be repeated."),
    ] = None,
    json: options.Json = False,
) -> None:
    """Train a task on a data set; needs the extra train.

    The run's directory holds the settings, the split, one line of figures an epoch, curves and the
    best weights. Ended in any way, it goes on with --resume and ends as if nothing had happened.

    Example: `astrid models train braai --data realbogus --out run1 --set epochs=30 --seed 1`
    """
    from astrid.learn.dataset import Dataset
    from astrid.learn.registry import find_bundle
    from astrid.learn.settings import read_settings
    from astrid.learn.training import train as trained

    found = options.found_task(task)
    given = [*(settings or []), *([] if seed is None else [f"seed={seed}"])]
    recipe = read_settings(found.training, config, given)
    with progress(json, "training") as on_progress:
        run = trained(
            found,
            Dataset.open(data),
            out,
            recipe,
            resume=resume,
            parent=None if parent is None else find_bundle(parent),
            freeze=tuple(freeze or ()),
            on_progress=on_progress,
            on_epoch=None if json else _epoch_lines(),
        )
    facts = {
        "out": str(run.path),
        "task": run.task.name,
        **{name: run.record.get(name) for name in _TOLD},
        "rows": run.parts.counts,
    }
    emit(json, facts, lambda: tables.run_view(facts))


def tune(
    task: options.TaskName,
    data: options.Data,
    out: Annotated[Path, typer.Option("--out", "-o", help="Directory of the search.", metavar="DIR")] = Path(
        "tuning"
    ),
    trials: Annotated[
        int, typer.Option(help="Trainings in all, those of earlier calls included.", min=1)
    ] = 20,
    space: Annotated[
        Path | None,
        typer.Option(
            help="YAML file of what to try, with lines like optimizer.lr: {low: 1e-5, high: 1e-2, log: true} "
            "or batch_size: {choices: [32, 64]}.",
            metavar="YAML",
        ),
    ] = None,
    config: Config = None,
    settings: Settings = None,
    timeout: Annotated[
        float | None,
        typer.Option(help="Stop after so many minutes; the same command goes on.", metavar="MIN"),
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Search for the recipe with the best monitored figure; needs the extra train.

    Each trial is a training; hopeless ones are stopped early. Ended in any way, the same command goes
    on. DIR/best.yaml is what train takes as --config, DIR/importance.png shows what matters.

    Example: `astrid models tune braai --data realbogus --trials 30 --set epochs=10`
    """
    from astrid.learn.dataset import Dataset
    from astrid.learn.settings import read_settings
    from astrid.learn.space import read_space
    from astrid.learn.tuning import tune as tuned

    found = options.found_task(task)
    with progress(json, "trials") as on_progress:
        study = tuned(
            found,
            Dataset.open(data),
            out,
            read_settings(found.training, config, settings or []),
            trials=trials,
            space=None if space is None else read_space(space),
            seed=seed,
            timeout=None if timeout is None else 60 * timeout,
            on_progress=on_progress,
        )
    emit(json, study.as_dict(), lambda: tables.study_view(study, task))


_TOLD = ("state", "epochs", "best_epoch", "monitor", "best", "parameters", "device", "seed")


def _epoch_lines() -> Callable[[int, Mapping[str, float]], None]:
    screen = console(stderr=True)

    def tell(epoch: int, figures: Mapping[str, float]) -> None:
        words = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        screen.print(f"epoch {epoch}: {words}")

    return tell


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Directory of a run; several become one ensemble.", metavar="RUN", show_default=False
        ),
    ],
    data: options.Data,
    name: options.NewName,
    out: options.NewPlace = None,
    mc_dropout: Annotated[
        int, typer.Option(help="Passes with dropout for the spread; not for an ensemble.", min=0)
    ] = 20,
    calibration: Calibrating = "temperature",
    alpha: options.Alpha = None,
    prevalence: options.Prevalence = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also a quantised model.")] = False,
    licence: Annotated[str, typer.Option(help="Of the bundle.")] = "MIT",
    limits: Annotated[str, typer.Option(help="Where the model must not be used.")] = "",
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Make a bundle of one training, or an ensemble of several; needs the extra train.

    Calibration, conformal sets and thresholds (of least cost at --prevalence) are found on the
    validation part. Without --out the bundle is one of your own, which are found by name.

    Example: `astrid models export run1 run2 run3 --data realbogus --name braai.mine`
    """
    from astrid.learn.dataset import Dataset
    from astrid.learn.export import export_run
    from astrid.learn.training import load_run

    options.own_modules()
    target = options.new_bundle_path(name, out)
    loaded = [load_run(run) for run in runs]
    with stages(json) as on_stage:
        on_stage("exporting and calibrating")
        bundle = export_run(
            loaded,
            Dataset.open(data),
            target,
            name,
            mc_dropout=mc_dropout,
            calibration=calibration,
            alpha=options.rates(alpha or [], loaded[0].task),
            prevalence=prevalence,
            int8=int8,
            licence=licence,
            limits=limits,
            seed=seed,
        )
    emit(json, tables.bundle_facts(bundle), lambda: tables.made_view(bundle))


def calibrate(
    bundle: options.BundleName,
    data: options.Data,
    name: options.NewName,
    out: options.NewPlace = None,
    method: Calibrating = "temperature",
    part: options.Part = "auto",
    alpha: options.Alpha = None,
    prevalence: options.Prevalence = None,
    json: options.Json = False,
) -> None:
    """Calibrate a bundle anew, for another season, camera or survey; torch is not needed.

    Calibration, conformal sets and thresholds (of least cost at --prevalence) are found on the data;
    the bundle that results names the other one as its parent. By default all rows are taken, or the
    validation part of the data that it was trained on.

    Example: `astrid models calibrate braai.sim1 --data labelled_night --name braai.night`
    """
    from astrid.learn.dataset import Dataset
    from astrid.learn.registry import find_bundle
    from astrid.learn.revision import recalibrate

    found, dataset = find_bundle(bundle), Dataset.open(data)
    rows, words = options.part_rows(found, dataset, part, own="validation")
    with stages(json) as on_stage:
        on_stage("calibrating")
        made = recalibrate(
            found,
            dataset,
            options.new_bundle_path(name, out),
            name,
            rows=rows,
            part=words,
            calibration=method,
            alpha=options.rates(alpha or [], found.task),
            prevalence=prevalence,
            command=command_line("models calibrate"),
        )
    emit(json, tables.bundle_facts(made), lambda: tables.made_view(made))


def retrospective(
    task: options.TaskName,
    data: options.Data,
    column: Annotated[
        str, typer.Option(help="Column that says what is what, such as kind or field.", show_default=False)
    ],
    value: Annotated[str, typer.Option(help="Value that is left out.", show_default=False)],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Directory of the training and its figures.", metavar="DIR")
    ] = Path("retrospective"),
    config: Config = None,
    settings: Settings = None,
    json: options.Json = False,
) -> None:
    """Train without a class, a kind or an event, and see at which rank it would have been found.

    What was left out is put into one queue with everything else of the test part, ordered by what
    the model says, by its doubt, and by novelty. Needs the extra train.

    Example: `astrid models retrospective braai --data realbogus --column kind --value variable`
    """
    from astrid.learn.dataset import Dataset
    from astrid.learn.retrospective import retrospective as looked_back
    from astrid.learn.settings import read_settings

    found = options.found_task(task)
    with progress(json, "training") as on_progress:
        result = looked_back(
            found,
            Dataset.open(data),
            out,
            column=column,
            value=value,
            settings=read_settings(found.training, config, settings or []),
            on_progress=on_progress,
        )
    facts = {"out": str(out), **result.as_dict()}
    emit(json, facts, lambda: tables.queue_view(result, str(out)))


def verify(bundle: options.BundleName, json: options.Json = False) -> None:
    """Check a bundle: every hash, every graph, and torch against ONNX where torch is installed."""
    from astrid.learn.registry import find_bundle
    from astrid.learn.verification import verify as verified

    options.own_modules()
    with stages(json) as on_stage:
        on_stage("running the graphs")
        found = verified(find_bundle(bundle)).as_dict()
    emit(json, found, lambda: tables.verification_view(found))


@imports.callback()
def _imports() -> None:
    """Make bundles of weights that others have published."""


@imports.command(no_args_is_help=True)
def keras(
    file: Annotated[Path, typer.Argument(help="Weights as Keras writes them, HDF5.", metavar="FILE.h5")],
    task: Annotated[str, typer.Option(help="The task whose network is the published one.", metavar="TASK")],
    name: options.NewName,
    origin: Annotated[str, typer.Option(help="Whose weights these are, and where they were published.")],
    licence: Annotated[str, typer.Option(help="The terms they come under.")],
    out: options.NewPlace = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="One option of the network, such as normalization=row_l2.", metavar="KEY=VALUE"
        ),
    ] = None,
    limits: Annotated[str, typer.Option(help="Where the model must not be used.")] = "",
    json: options.Json = False,
) -> None:
    """Make a bundle of published Keras weights, with their origin and licence in its card.

    Layers are matched by their order and every shape is compared; needs the extra train, but no Keras.

    Example: `astrid models import keras d6_m7.h5 --task braai --set normalization=row_l2 --name
    braai.d6_m7 --origin "Duev et al. 2019" --licence MIT`
    """
    from astrid.learn.keras import import_keras

    found = options.with_network_options(options.found_task(task), settings or [])
    bundle = import_keras(
        file,
        found,
        options.new_bundle_path(name, out),
        name,
        origin=origin,
        licence=licence,
        limits=limits,
        command=command_line("models import keras"),
    )
    emit(json, tables.bundle_facts(bundle), lambda: tables.made_view(bundle))
