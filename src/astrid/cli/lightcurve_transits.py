"""``astrid lightcurves transits``: dips that come back, found, judged and laid on sheets.

Parse, call, print; what is done is in `astrid.survey.transit_search`, which is imported when the verb runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from astrid.cli.lightcurve_options import Files, Json, Reading, with_reading
from astrid.cli.output import emit, progress
from astrid.errors import LightCurveError, UsageError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from astrid.learn.prediction import Predictor
    from astrid.survey.transit_star import Star

__all__ = ["transits"]

_STAR = ("tmag", "teff", "logg", "radius", "mass")


@with_reading
def transits(
    files: Files,
    reading: Reading,
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Directory of sheets and results; made if absent.", metavar="DIR"),
    ],
    period_min: Annotated[float, typer.Option(help="Shortest period, d.", metavar="DAYS")] = 0.6,
    period_max: Annotated[
        float | None,
        typer.Option(help="Longest period, d.", metavar="DAYS", show_default="half the baseline"),
    ] = None,
    method: Annotated[
        Literal["bls", "tls"], typer.Option(help="Search for boxes, or for transits: ten times slower.")
    ] = "bls",
    most: Annotated[int, typer.Option(help="Series of dips to look for in each light curve.", min=1)] = 1,
    star: Annotated[
        str | None,
        typer.Option(
            help="What is known of the star: any of tmag, teff [K], logg, radius and mass [Sun's].",
            metavar="teff=5700,radius=1.0",
            show_default="medians of the training set",
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="What judges: a bundle's name or path, live, or none.", metavar="NAME|PATH")
    ] = "live",
    json: Json = False,
) -> None:
    """Search light curves for transits and judge what is found: one sheet for each candidate.

    A light curve that cannot be searched is named with the reason, and the others go on.

    Example: `astrid lightcurves transits kplr_10854555.fits.gz --out sheets --star teff=5700,radius=1.0`
    """
    from astrid.survey.transit_files import transit_sheets

    known, judge = _star(star), _predictor(model)
    with progress(json, "light curves") as on_progress:
        results = transit_sheets(
            files,
            out,
            star=known,
            shortest=period_min,
            longest=period_max,
            method="tls" if method == "tls" else "boxes",
            most=most,
            predictor=judge,
            reading=reading.options(),
            on_progress=on_progress,
        )
    failed = [one for one in results if "error" in one]
    if len(failed) == len(results):
        raise LightCurveError(str(failed[0]["error"]))
    result = {"out": str(out), "n_failed": len(failed), "results": results}
    emit(json, result, lambda: _view(result))


def _star(text: str | None) -> Star:
    from astrid.survey.transit_star import Star

    given: dict[str, float] = {}
    for word in (text or "").split(",") if text else ():
        name, _, value = (part.strip() for part in word.partition("="))
        if name not in _STAR:
            raise UsageError(
                f"--star {word.strip()!r} is not understood; give any of {', '.join(_STAR)} as teff=5700"
            )
        try:
            given[name] = float(value)
        except ValueError as error:
            raise UsageError(f"--star: {name} is {value!r}; give a number") from error
    return Star(**given)


def _predictor(name: str) -> Predictor | None:
    if name == "none":
        return None
    from astrid.learn.prediction import Predictor
    from astrid.learn.registry import find_bundle, live

    bundle = live("tess_transits") if name == "live" else find_bundle(name)
    return None if bundle is None else Predictor(bundle)


def _view(result: dict[str, Any]) -> RenderableType:
    """One line for each candidate, and what has to be known."""
    from astrid.cli.tables import columns, figures, stack

    names = ("light curve", "period d", "epoch MJD", "hours", "depth ppm", "SNR", "SDE", "planet", "", "")
    table = columns(names, numbers=range(1, 8))
    notes: list[tuple[str, str]] = []
    for one in result["results"]:
        if "error" in one:
            notes.append((one["name"], f"not searched: {one['error']}"))
            continue
        for found in one["candidates"]:
            score = found["score"]
            table.add_row(
                one["name"], f"{found['period']:.6g}", f"{found['epoch']:.4f}",
                f"{24 * found['duration']:.2f}", f"{1e6 * found['depth']:,.0f}", f"{found['snr']:.1f}",
                f"{found['sde']:.1f}", "–" if score is None else f"{score['planet']:.2f} ± {_spread(score)}",
                "" if score is None else score["decision"], "" if found["is_event"] else "no event",
            )  # fmt: skip
            notes += [(one["name"], f"sign of eclipsing stars: {sign}") for sign in found["signs"]]
            if score is not None and score["applicable"]:
                notes.append((one["name"], f"the model may not apply: {score['applicable']}"))
            elif found["unscored"]:
                notes.append((one["name"], f"not scored: {found['unscored']}"))
        if not one["candidates"]:
            notes.append((one["name"], "no dip that comes back"))
    return stack(table, figures([*notes, ("written", result["out"])]))


def _spread(score: dict[str, Any]) -> str:
    return "–" if score["spread"] is None else f"{score['spread']:.2f}"
