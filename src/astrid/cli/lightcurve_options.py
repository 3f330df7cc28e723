"""Options that the verbs of ``astrid lightcurves`` which read files share; nothing is measured here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from astrid.errors import LightCurveError, UsageError

if TYPE_CHECKING:
    from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["Band", "Device", "Files", "GridName", "Json", "Models", "Reading", "chosen_grid", "with_reading"]

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Files = Annotated[
    list[Path],
    typer.Argument(help="Light curves: CSV, ECSV, Parquet (flat or nested), FITS.", show_default=False),
]
Band = Annotated[
    str | None, typer.Option(help="Of the points that are used.", show_default="that with the most points")
]
Device = Annotated[
    str, typer.Option(help="That computes the periodograms: cpu, or cuda or cuda:N by torch.", metavar="NAME")
]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--classify",
        help="Name or path of a bundle of light-curve classes; as often as wanted.",
        metavar="MODEL",
        show_default=False,
    ),
]
GridName = Annotated[
    str, typer.Option("--grid", help="Of the dm-dt image: its name in `astrid.lightcurves.dmdt`.")
]


@dataclass(frozen=True)
class Reading:
    """How files of light curves are read.

    Parameters
    ----------
    column : list of str, optional
        As ``time=MJD``.
    unit, time_format, time_scale, nested : str, optional
    """

    column: list[str] | None = None
    unit: str | None = None
    time_format: str | None = None
    time_scale: str | None = None
    nested: str | None = None

    def options(self) -> dict[str, Any]:
        """What `read_lightcurves` takes.

        Raises
        ------
        UsageError
            A column that is not given as PART=NAME.
        """
        pairs = [one.partition("=") for one in self.column or ()]
        wrong = [part for part, sign, name in pairs if not (part and sign and name)]
        if wrong:
            raise UsageError(f"--column {wrong[0]!r} is not understood; write it as time=MJD")
        return {
            "columns": {part: name for part, _, name in pairs} or None,
            "unit": self.unit,
            "time_format": self.time_format,
            "time_scale": self.time_scale,
            "nested": self.nested,
        }

    def curves(
        self, files: Sequence[Path], on_problem: Callable[[str, LightCurveError], None] | None = None
    ) -> Iterator[LightCurve]:
        """The light curves of files; a source that is none goes to `on_problem`, where it is given."""
        from astrid.lightcurves.reading import read_lightcurves

        for file in files:
            yield from read_lightcurves(file, on_problem=on_problem, **self.options())


def chosen_grid(name: str) -> Any:
    """The grid of that name.

    Raises
    ------
    UsageError
        There is none.
    """
    from astrid.lightcurves.dmdt import GRIDS

    if name not in GRIDS:
        raise UsageError(f"there is no grid {name!r}; choose one of {', '.join(GRIDS)}")
    return GRIDS[name]


def with_reading(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command with a parameter `reading` the options that `Reading` is made of."""
    names = tuple(inspect.signature(_options).parameters)

    @wraps(command)
    def run(**given: Any) -> None:
        own = {name: given.pop(name) for name in names}
        command(reading=Reading(**own), **given)

    signature = inspect.signature(command, eval_str=True)
    parameters = [
        one.replace(kind=one.KEYWORD_ONLY) for name, one in signature.parameters.items() if name != "reading"
    ]
    shared = inspect.signature(_options, eval_str=True).parameters.values()
    run.__signature__ = signature.replace(parameters=[*parameters, *shared])  # type: ignore[attr-defined]
    return run


def _options(
    *,
    column: Annotated[
        list[str] | None,
        typer.Option(
            help="What a column is, where its name does not tell: time, mag or flux, error, band, quality, "
            "source, ra, dec; may be repeated.",
            metavar="PART=NAME",
            show_default=False,
        ),
    ] = None,
    unit: Annotated[
        str | None, typer.Option(help="Of the values: mag, nJy, …", show_default="by their names")
    ] = None,
    time_format: Annotated[
        str | None, typer.Option(help="mjd, jd, bkjd, btjd, …", show_default="by its name")
    ] = None,
    time_scale: Annotated[
        str | None, typer.Option(help="utc, tai, tt, tdb, …", show_default="by its name")
    ] = None,
    nested: Annotated[
        str | None,
        typer.Option(help="Column of points, where there are several.", show_default="the only one"),
    ] = None,
) -> None:
    """Only its parameters are of use."""
