"""Options that several verbs of ``astrid images`` share, and what they mean together.

Only the words of the command line; what is done with them is in `images`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from astrid.errors import UsageError

if TYPE_CHECKING:
    from astrid.survey.provenance import FrameFile

__all__ = [
    "Avro", "CutoutSize", "Exposure", "Ext", "Filter", "Gain", "Json", "Mask", "MethodName", "Mjd", "Model",
    "Out", "Overwrite", "Profile", "ReadNoise", "ReferenceExposure", "ReferenceExt", "ReferenceFilter",
    "ReferenceGain", "ReferenceMask", "ReferenceMjd", "ReferenceReadNoise", "ReferenceSaturation",
    "ReferenceZeroPoint", "Saturation", "Seed", "Threshold", "ZeroPoint", "facts",
    "frame_file", "number_pair",
]  # fmt: skip

_FACTS = "What the headers lack; for both images unless --reference-… is given too"
_SCIENCE = "What the headers lack, image by image"

Out = Annotated[
    Path, typer.Option("--out", "-o", help="Directory for the products; made if absent.", metavar="DIR")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Write into a directory that holds files of other origin too.")
]
Seed = Annotated[
    int, typer.Option(help="Seed of all random numbers; the same seed gives the same result.", min=0)
]
MethodName = Annotated[
    str, typer.Option(help="zogy, kernel, or auto: by how well the PSFs can be measured.", metavar="NAME")
]
Threshold = Annotated[float, typer.Option(help="Detection threshold on |S/N|, sigma.", metavar="SIGMA")]
CutoutSize = Annotated[int, typer.Option(help="Side of the cutouts, px, odd.", metavar="PX")]
Model = Annotated[
    str,
    typer.Option(
        help="What scores the candidates: a bundle's name or path, live (of braai), or none.",
        metavar="NAME|PATH",
    ),
]
Avro = Annotated[bool, typer.Option("--avro", help="Write alert packets (alerts.avro) too.")]
Profile = Annotated[
    str | None,
    typer.Option(
        help="Survey profile: a name, or the path of a TOML file. Recognised if not given.", metavar="NAME"
    ),
]
Ext = Annotated[
    str | None,
    typer.Option(help="Extension of the science image: number or name. Found if not given.", metavar="EXT"),
]
ReferenceExt = Annotated[str | None, typer.Option(help="The same for the reference.", metavar="EXT")]


def _fact(text: str, unit: str, panel: str = _FACTS) -> typer.models.OptionInfo:
    option: typer.models.OptionInfo = typer.Option(help=text, metavar=unit, rich_help_panel=panel)
    return option


Gain = Annotated[float | None, _fact("Electrons per ADU.", "E/ADU")]
ReadNoise = Annotated[float | None, _fact("Read noise, electrons.", "E")]
Saturation = Annotated[float | None, _fact("Level at which pixels are no longer linear, ADU.", "ADU")]
Exposure = Annotated[float | None, _fact("Exposure time, s.", "S")]
Filter = Annotated[str | None, _fact("Name of the filter.", "NAME")]
ReferenceGain = Annotated[float | None, _fact("Of the reference, if it differs.", "E/ADU")]
ReferenceReadNoise = Annotated[float | None, _fact("Of the reference, if it differs.", "E")]
ReferenceSaturation = Annotated[float | None, _fact("Of the reference, if it differs.", "ADU")]
ReferenceExposure = Annotated[float | None, _fact("Of the reference, if it differs.", "S")]
ReferenceFilter = Annotated[str | None, _fact("Of the reference, if it differs.", "NAME")]
Mjd = Annotated[float | None, _fact("Middle of the science exposure, MJD (UTC).", "DAYS", _SCIENCE)]
ZeroPoint = Annotated[float | None, _fact("Magnitude of 1 ADU in the science frame.", "MAG", _SCIENCE)]
Mask = Annotated[str | None, _fact("FITS mask of the science frame; non-zero is bad.", "FILE", _SCIENCE)]
ReferenceMjd = Annotated[
    float | None, _fact("Middle of the reference exposure, MJD (UTC).", "DAYS", _SCIENCE)
]
ReferenceZeroPoint = Annotated[float | None, _fact("Magnitude of 1 ADU in the reference.", "MAG", _SCIENCE)]
ReferenceMask = Annotated[str | None, _fact("FITS mask of the reference.", "FILE", _SCIENCE)]


def facts(
    gain: float | None,
    read_noise: float | None,
    saturation: float | None,
    exposure: float | None,
    filter: str | None,
) -> dict[str, float | str]:
    """Those facts about a frame that were given."""
    values = {
        "gain": gain,
        "read_noise": read_noise,
        "saturation": saturation,
        "exposure": exposure,
        "filter": filter,
    }
    return {name: value for name, value in values.items() if value is not None}


def frame_file(
    path: Path, ext: str | None, profile: str | None, given: Mapping[str, float | str | None]
) -> FrameFile:
    """The file with those facts that were given."""
    from astrid.survey.provenance import FrameFile

    return FrameFile(
        path,
        ext=int(ext) if ext is not None and ext.isdigit() else ext,
        profile=profile,
        overrides={name: value for name, value in given.items() if value is not None},
    )


def number_pair(text: str | None, option: str, example: str) -> tuple[float, float] | None:
    """Two numbers with a comma between them.

    Raises
    ------
    UsageError
        It is something else.
    """
    if text is None:
        return None
    parts = re.split(r"[,\s]+", text.strip())
    try:
        first, second = (float(part) for part in parts)
    except ValueError as error:
        raise UsageError(f"{option} is {text!r}; give two numbers, such as {option} {example}") from error
    if not (math.isfinite(first) and math.isfinite(second)):
        raise UsageError(f"{option} is {text!r}; give two finite numbers, such as {option} {example}")
    return first, second
