"""``astrid images``: difference, explain, photometry, inject, simulate, calibrate, demo.

Parse, call, print; what the verbs do is in `astrid.survey` and `astrid.images`, which
are imported when a verb runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.cli import image_options as options
from astrid.cli import image_tables as tables
from astrid.cli.model_tables import explanation_facts, explanation_view
from astrid.cli.output import command_line, emit, progress, stages
from astrid.errors import UsageError

if TYPE_CHECKING:
    from astrid.survey.pair_list import Pair

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Images: subtract, calibrate, measure, inject, simulate.",
)

_POSITION = "12.5,80"


@app.command(no_args_is_help=True)
def difference(
    science: Annotated[Path | None, typer.Argument(help="The new image, FITS.", show_default=False)] = None,
    reference: Annotated[
        Path | None, typer.Argument(help="An older image of the same field, FITS.", show_default=False)
    ] = None,
    out: options.Out = Path("difference"),
    method: options.MethodName = "auto",
    threshold: options.Threshold = 5.0,
    cutout_size: options.CutoutSize = 63,
    model: options.Model = "live",
    ext: options.Ext = None,
    reference_ext: options.ReferenceExt = None,
    profile: options.Profile = None,
    gain: options.Gain = None,
    read_noise: options.ReadNoise = None,
    saturation: options.Saturation = None,
    exposure: options.Exposure = None,
    filter: options.Filter = None,
    reference_gain: options.ReferenceGain = None,
    reference_read_noise: options.ReferenceReadNoise = None,
    reference_saturation: options.ReferenceSaturation = None,
    reference_exposure: options.ReferenceExposure = None,
    reference_filter: options.ReferenceFilter = None,
    mjd: options.Mjd = None,
    zero_point: options.ZeroPoint = None,
    mask: options.Mask = None,
    reference_mjd: options.ReferenceMjd = None,
    reference_zero_point: options.ReferenceZeroPoint = None,
    reference_mask: options.ReferenceMask = None,
    avro: options.Avro = False,
    batch: Annotated[
        Path | None,
        typer.Option(
            help="CSV of pairs (columns science, reference; optional name, ext, profile, gain, … and "
            "reference_ext, …), worked on in parallel; what is complete is skipped.",
            metavar="PAIRS.csv",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(help="Processes of a batch; as many as cores if not given.", min=1)
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Difference two images: from two FITS files to measured candidates.

    Writes difference, significance, mask, candidates, cutouts and **report.html** into DIR;
    all of them appear together or none does. Candidates are scored by a real/bogus model and
    sorted by it.

    Example: `astrid images difference new.fits old.fits --gain 1.6 --out run1`
    """
    from astrid.images.differencing import DifferenceConfig
    from astrid.survey.pair_list import read_pairs
    from astrid.survey.run import difference_files

    both = options.facts(gain, read_noise, saturation, exposure, filter)
    own = options.facts(
        reference_gain, reference_read_noise, reference_saturation, reference_exposure, reference_filter
    )
    new: dict[str, Any] = {"mjd": mjd, "zero_point": zero_point, "mask": mask}
    old: dict[str, Any] = {"mjd": reference_mjd, "zero_point": reference_zero_point, "mask": reference_mask}
    files = (
        options.frame_file(science or Path(), ext, profile, both | new),
        options.frame_file(reference or Path(), reference_ext, profile, both | own | old),
    )
    config = DifferenceConfig(method=method, threshold=threshold, cutout_size=cutout_size)  # type: ignore[arg-type]
    settings: dict[str, Any] = {
        "config": config,
        "model": None if model == "none" else model,
        "avro": avro,
        "overwrite": overwrite,
        "command": command_line("images difference"),
    }
    if batch is not None:
        if science is not None or reference is not None:
            raise UsageError("--batch takes its images from the list; give either two images or --batch")
        _difference_batch(read_pairs(batch, files), out, workers, json, settings)
        return
    if science is None or reference is None:
        raise UsageError(
            "one image was given, expected two: science and reference; or give --batch PAIRS.csv"
        )
    with stages(json) as on_stage:
        run, result = difference_files(*files, out, on_stage=on_stage, **settings)
    emit(json, run.as_dict(), lambda: tables.difference_view(run.as_dict(), result.candidates))


def _difference_batch(
    pairs: list[Pair], out: Path, workers: int | None, json: bool, settings: dict[str, Any]
) -> None:
    """Run many pairs; the exit code is 1 if any of them failed."""
    from astrid.survey.pairs import difference_pairs

    statuses: list[str] = []
    with stages(json) as on_stage:

        def count(entry: dict[str, Any]) -> None:
            statuses.append(entry["status"])
            failed = f", {statuses.count('failed')} failed" if "failed" in statuses else ""
            on_stage(f"{len(statuses)} of {len(pairs)} pairs{failed}")

        on_stage(f"0 of {len(pairs)} pairs")
        summary = difference_pairs(pairs, out, workers=workers, on_pair=count, **settings).as_dict()
    emit(json, summary, lambda: tables.batch_view(summary))
    if summary["n_failed"]:
        counts = f"{summary['n_failed']} of {summary['n_pairs']} pairs failed"
        sys.stderr.write(f"error: {counts}; {out}/failed.csv says why\n")
        raise typer.Exit(1)


@app.command(no_args_is_help=True)
def explain(
    run: Annotated[Path, typer.Argument(help="Directory of a run.", metavar="RUN")],
    candidate: Annotated[int, typer.Argument(help="The candidate's id.", metavar="ID")],
    method: Annotated[
        str, typer.Option(help="See astrid models explain; auto hides part after part.", metavar="NAME")
    ] = "auto",
    model: Annotated[
        str | None,
        typer.Option(
            help="A bundle's name or path; the one that scored the run if not given.",
            metavar="NAME|PATH",
        ),
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Explain the score of a candidate: which of its pixels speak for it, and which against it.

    The picture and its numbers go to RUN/explanations.

    Example: `astrid images explain run1 12`
    """
    from astrid.survey.explanations import explain_candidate

    with progress(json, "explaining") as on_progress:
        found, written = explain_candidate(
            run, candidate, method=method, model=model, seed=seed, on_progress=on_progress
        )
    result = {"written": [str(path) for path in written], "candidate": candidate, **explanation_facts(found)}
    emit(json, result, lambda: explanation_view(result))


@app.command()
def demo(
    out: options.Out = Path("demo"),
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Simulate a survey field, difference it, and say what was recovered of what was put in.

    Nothing is downloaded. The report is in DIR/report.html, the simulated files in DIR/field.
    """
    from astrid.images.differencing import DifferenceConfig
    from astrid.survey.demo import run_demo

    with stages(json) as on_stage:
        run, result, recovered = run_demo(
            out, seed=seed, overwrite=overwrite, command=command_line("images demo"), on_stage=on_stage
        )
    summary = {**run.as_dict(), "recovery": recovered.as_dict()}
    threshold = DifferenceConfig().threshold
    emit(json, summary, lambda: tables.demo_view(summary, result.candidates, recovered.as_dict(), threshold))


@app.command(no_args_is_help=True)
def photometry(
    frames: Annotated[list[Path], typer.Argument(help="The frames, FITS.", show_default=False)],
    reference: Annotated[
        Path,
        typer.Option(
            help="Frame that is subtracted from all of them, FITS.", metavar="FITS", show_default=False
        ),
    ],
    at: Annotated[
        str | None, typer.Option(help="Position in the reference: x,y in px, 0-based.", metavar="X,Y")
    ] = None,
    radec: Annotated[str | None, typer.Option(help="Position on the sky, deg.", metavar="RA,DEC")] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The light curve, .ecsv or .parquet; a figure of the same name (.png) too."
        ),
    ] = Path("light_curve.ecsv"),
    ext: options.Ext = None,
    profile: options.Profile = None,
    gain: options.Gain = None,
    read_noise: options.ReadNoise = None,
    saturation: options.Saturation = None,
    exposure: options.Exposure = None,
    filter: options.Filter = None,
    json: options.Json = False,
) -> None:
    """Measure the light curve of one position, by difference with a reference.

    Every frame gets a row with flux, error and 5 sigma limit, also where nothing is seen.
    Fluxes are in ADU of the reference. Frames without a WCS are registered on their stars.

    Example: `astrid images photometry night*.fits --reference deep.fits --at 271.5,225.7`
    """
    from astrid.survey.light_curves import light_curve_rows, photometry_files

    given = options.facts(gain, read_noise, saturation, exposure, filter)
    position = options.number_pair(at, "--at", _POSITION)
    sky = options.number_pair(radec, "--radec", "150.1163,2.2058")
    with stages(json) as on_stage:
        curve, written = photometry_files(
            [options.frame_file(path, ext, profile, given) for path in frames],
            options.frame_file(reference, ext, profile, given),
            out,
            at=position,
            radec=sky,
            command=command_line("images photometry"),
            on_stage=on_stage,
        )
    paths = [str(path) for path in written]
    result = {"out": paths[0], "figure": paths[1], "n_frames": len(curve), "rows": light_curve_rows(curve)}
    emit(json, result, lambda: tables.light_curve_view(curve, paths))


@app.command(no_args_is_help=True)
def inject(
    science: Annotated[Path, typer.Argument(help="The image that gets the transients, FITS.")],
    reference: Annotated[Path, typer.Argument(help="The reference, FITS.")],
    out: options.Out = Path("injected"),
    magnitudes: Annotated[
        str | None,
        typer.Option(
            help="Brightest and faintest; from 2.5 above to 1.5 below the 5 sigma limit if not given.",
            metavar="BRIGHT,FAINT",
        ),
    ] = None,
    n: Annotated[int, typer.Option("-n", "--number", help="Transients in all.", min=1)] = 200,
    hosted: Annotated[float, typer.Option(help="Share that is put on galaxies.", min=0, max=1)] = 0.3,
    bins: Annotated[int, typer.Option(help="Bins of the completeness curve.", min=1)] = 10,
    method: options.MethodName = "auto",
    threshold: options.Threshold = 5.0,
    ext: options.Ext = None,
    reference_ext: options.ReferenceExt = None,
    profile: options.Profile = None,
    gain: options.Gain = None,
    read_noise: options.ReadNoise = None,
    saturation: options.Saturation = None,
    zero_point: options.ZeroPoint = None,
    seed: options.Seed = 0,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
) -> None:
    """Inject artificial transients and count what comes back: completeness, depth, false positives.

    Example: `astrid images inject new.fits old.fits --magnitudes 18,23 -n 500 --out depth`
    """
    from astrid.images.differencing import DifferenceConfig
    from astrid.survey.injections import inject_files

    both: dict[str, Any] = {"gain": gain, "read_noise": read_noise, "saturation": saturation}
    limits = options.number_pair(magnitudes, "--magnitudes", "18,23")
    with stages(json) as on_stage:
        summary = inject_files(
            options.frame_file(science, ext, profile, {**both, "zero_point": zero_point}),
            options.frame_file(reference, reference_ext, profile, both),
            out,
            magnitudes=limits,
            n=n,
            hosted=hosted,
            bins=bins,
            seed=seed,
            config=DifferenceConfig(method=method, threshold=threshold),  # type: ignore[arg-type]
            overwrite=overwrite,
            command=command_line("images inject"),
            on_stage=on_stage,
        )
    emit(json, summary, lambda: tables.injection_view(summary))


@app.command()
def simulate(
    out: options.Out = Path("simulated"),
    pairs: Annotated[int, typer.Option("-n", "--pairs", help="Pairs, each of its own field.", min=1)] = 1,
    preset: Annotated[str, typer.Option(help="survey, demo or benchmark.", metavar="NAME")] = "survey",
    size: Annotated[
        int | None, typer.Option(help="Side of the images, px; as the preset says if not given.", min=64)
    ] = None,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Simulate a survey: pairs of images with the truth about them, and a pairs.csv for --batch.

    Example: `astrid images simulate -n 10 --seed 1 --out sky`
    """
    from astrid.images.simulated_survey import simulate_survey
    from astrid.images.simulation_config import SimulationConfig

    config = SimulationConfig.named(preset, **({} if size is None else {"shape": (size, size)}))
    with stages(json) as on_stage:
        on_stage(f"0 of {pairs} pairs")
        written = simulate_survey(
            out, pairs, config, seed, on_pair=lambda done: on_stage(f"{done} of {pairs} pairs")
        )
    summary = {"out": str(out), "pairs": str(written), "n_pairs": pairs, "seed": seed, "preset": preset}
    emit(json, summary, lambda: tables.survey_view(summary))


@app.command(no_args_is_help=True)
def calibrate(
    raw: Annotated[Path, typer.Argument(help="The raw image, FITS.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The calibrated image, FITS.", metavar="FITS")],
    bias: Annotated[Path | None, typer.Option(help="Master bias, FITS.", metavar="FITS")] = None,
    dark: Annotated[
        Path | None, typer.Option(help="Master dark, FITS; scaled by exposure time.", metavar="FITS")
    ] = None,
    flat: Annotated[Path | None, typer.Option(help="Master flat, FITS.", metavar="FITS")] = None,
    bad_pixels: Annotated[
        Path | None, typer.Option(help="FITS mask; non-zero is bad.", metavar="FITS")
    ] = None,
    overscan: Annotated[
        str | None,
        typer.Option(help="Section such as [2049:2080,1:2048], or 'header' for BIASSEC.", metavar="SECTION"),
    ] = None,
    trim: Annotated[
        str | None, typer.Option(help="Section that is kept; TRIMSEC with --overscan.", metavar="SECTION")
    ] = None,
    cosmic_rays: Annotated[bool, typer.Option("--cosmic-rays", help="Find and mask cosmic rays.")] = False,
    trails: Annotated[bool, typer.Option("--trails", help="Find and mask satellite trails.")] = False,
    ext: options.Ext = None,
    profile: options.Profile = None,
    gain: options.Gain = None,
    read_noise: options.ReadNoise = None,
    saturation: options.Saturation = None,
    exposure: options.Exposure = None,
    filter: options.Filter = None,
    json: options.Json = False,
) -> None:
    """Calibrate a raw image: overscan, bias, dark, flat, bad pixels, cosmic rays, trails.

    Only what is asked for is done; what the header says was done already is refused.

    Example: `astrid images calibrate raw.fits --bias bias.fits --flat flat.fits --out image.fits`
    """
    from dataclasses import asdict

    from astrid.images.calibration import calibrate_file

    given = options.facts(gain, read_noise, saturation, exposure, filter)
    file = options.frame_file(raw, ext, profile, given)
    with stages(json) as on_stage:
        on_stage("calibrating")
        done = calibrate_file(
            raw,
            out,
            bias=bias,
            dark=dark,
            flat=flat,
            bad_pixels=bad_pixels,
            overscan=True if overscan == "header" else overscan,
            trim=trim,
            cosmic_rays=cosmic_rays,
            trails=trails,
            ext=file.ext,
            profile=profile,
            overrides=file.overrides,
        )
    summary = asdict(done)
    emit(json, summary, lambda: tables.calibration_view(summary))
