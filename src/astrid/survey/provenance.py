"""Where a product comes from: the command, the version, the inputs' hashes and the configuration.

Every product carries the same facts in the form of its own format. Nothing here
depends on the time of day, so that the same run gives the same files again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astrid._version import __version__
from astrid.files.record import plain, sha256

if TYPE_CHECKING:
    from astrid.images.frame import Frame

__all__ = ["FrameFile", "Provenance"]


@dataclass(frozen=True)
class FrameFile:
    """A file and how to read it.

    Parameters
    ----------
    path : Path
    ext : int or str, optional
        Extension; found if not given.
    profile : str, optional
        Name of a survey profile or path of a TOML file; recognised if not given.
    overrides : mapping
        Facts that the header lacks or has wrong: ``gain``, ``read_noise``,
        ``saturation``, ``exposure``, ``filter``, ``mjd``, ``zero_point``, ``mask``, ``variance``.
    """

    path: Path
    ext: int | str | None = None
    profile: str | None = None
    overrides: Mapping[str, float | str] = field(default_factory=dict)

    def read(self) -> Frame:
        """Read the file as a `~astrid.images.Frame`; see `~astrid.images.read_frame`."""
        from astrid.images.reading import read_frame

        return read_frame(self.path, ext=self.ext, profile=self.profile, overrides=self.overrides)

    def record(self) -> dict[str, Any]:
        """The file by its content: its SHA-256 and the facts given by hand, as plain values.

        Raises
        ------
        DataError
            The file, or a mask or variance given with it, cannot be read.
        """
        given = {
            name: {"path": str(value), "sha256": sha256(Path(str(value)))}
            if name in ("mask", "variance")
            else value
            for name, value in sorted(self.overrides.items())
        }
        return {
            "path": str(self.path),
            "sha256": sha256(self.path),
            "ext": self.ext,
            "profile": self.profile,
            "given": given,
        }


@dataclass(frozen=True)
class Provenance:
    """What made a product.

    Parameters
    ----------
    command : str
        The command line, or the call.
    inputs : mapping
        Role (``science``, ``reference``) to `FrameFile.record`.
    configuration : mapping
        Every setting, also those left at their defaults.
    """

    command: str
    inputs: Mapping[str, Mapping[str, Any]]
    configuration: Mapping[str, Any]
    version: str = __version__

    @property
    def identity(self) -> str:
        """Text that is equal for two runs exactly if they must give the same products."""
        inputs = {
            role: {name: value for name, value in record.items() if name != "path"}
            for role, record in self.inputs.items()
        }
        return json.dumps([self.version, inputs, plain(self.configuration)], sort_keys=True)

    def as_dict(self) -> dict[str, Any]:
        """The facts as plain values, for JSON, Parquet and ECSV."""
        facts: dict[str, Any] = plain(
            {
                "software": f"AstrID {self.version}",
                "command": self.command,
                "inputs": self.inputs,
                "configuration": self.configuration,
            }
        )
        return facts

    def header(self) -> dict[str, tuple[Any, str]]:
        """The inputs as FITS cards, ``{keyword: (value, comment)}``."""
        cards: dict[str, tuple[Any, str]] = {}
        for role, record in self.inputs.items():
            short = role[:3].upper()
            cards[f"{short}FILE"] = (Path(record["path"]).name, f"{role} frame")
            cards[f"{short}SHA"] = (record["sha256"], "SHA-256")
        return cards

    def history(self) -> list[str]:
        """The command, the inputs and the configuration as FITS HISTORY lines."""
        lines = [f"AstrID {self.version}", f"command: {self.command}"]
        for role, record in self.inputs.items():
            lines.append(f"{role}: {record['path']} sha256 {record['sha256']}")
            if record.get("given"):
                lines.append(f"{role}, given by hand: {json.dumps(plain(record['given']))}")
        lines.append(f"configuration: {json.dumps(plain(self.configuration))}")
        return lines
