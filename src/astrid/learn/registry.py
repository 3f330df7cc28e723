"""Where bundles live: those that come with the package, the user's own, and which of them is in use.

Finds, lists and stages bundles by name; what a bundle is and whether it is whole is decided in
`bundle`.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, ValidationError

from astrid.errors import BundleError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.learn.bundle import Bundle, Measured

__all__ = ["Entry", "Stage", "find_bundle", "list_bundles", "live", "set_stage", "user_directory"]

Stage = Literal["candidate", "live", "retired"]
"""A bundle is tried, in use, or no longer wanted."""

_STAGES = "stages.json"
_DEFAULTS = "live.json"


class _Stages(BaseModel):
    """What the user has decided: at most one live bundle of each system, by construction.

    Parameters
    ----------
    live : dict of str to str or None
        System to the name of its live bundle; None where there shall be none.
    retired : tuple of str
        Names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    live: dict[str, str | None] = {}
    retired: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One bundle in the list.

    Parameters
    ----------
    name : str
        ``system.tag``.
    path : Path
    shipped : bool
        Whether it comes with the package.
    stage : {"candidate", "live", "retired"}
    created, hash : str
        From its card; empty where the bundle cannot be read.
    metrics : tuple of Measured
    problem : str
        Why it cannot be used; empty for a sound bundle.
    """

    name: str
    path: Path
    shipped: bool
    stage: Stage
    created: str = ""
    hash: str = ""
    metrics: tuple[Measured, ...] = ()
    problem: str = ""

    @property
    def system(self) -> str:
        """The part of the name before the dot."""
        return _system(self.name)


def user_directory() -> Path:
    """Where the user's own bundles are, which need not exist.

    ``$ASTRID_BUNDLES``, or ``astrid/bundles`` in ``$XDG_DATA_HOME`` or ``~/.local/share``.
    """
    given = os.environ.get("ASTRID_BUNDLES")
    if given:
        return Path(given)
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "astrid" / "bundles"


def list_bundles() -> tuple[Entry, ...]:
    """Every bundle that can be found by name, in the order of the names.

    A bundle that is damaged is listed with the reason.

    Raises
    ------
    BundleError
        The record of the stages cannot be read.
    """
    stages = _read_stages()
    return tuple(_entry(name, path, stages) for name, path in sorted(_places(), key=lambda place: place[0]))


def find_bundle(name_or_path: str | Path) -> Bundle:
    """A bundle by its name, by its system, or by the path of its directory.

    Parameters
    ----------
    name_or_path : str or Path
        ``system.tag``; ``system`` alone for the one that is live; or a path, which has a slash in it
        or is a `Path`. A name is never taken for a path: a directory of the same name elsewhere may
        hold another model.

    Raises
    ------
    UsageError
        No bundle has this name.
    BundleError
        It is damaged, of another name than its directory, or of a newer format; or two have the name.
    """
    if isinstance(name_or_path, Path) or os.sep in name_or_path:
        return Bundle.load(name_or_path)
    found = [path for name, path in _places() if name == name_or_path]
    if not found and "." not in name_or_path and (current := live(name_or_path)) is not None:
        return current
    if not found:
        known = ", ".join(sorted({name for name, _ in _places()})) or "none"
        raise UsageError(
            f"there is no bundle {name_or_path!r} (there are: {known}); give one of them, or a path such as "
            f"./{name_or_path}"
        )
    _refuse_two(name_or_path, found)
    return Bundle.load(found[0], name=name_or_path)


def live(system: str) -> Bundle | None:
    """The bundle of a system that is in use; None where there is none.

    A bundle that comes with the package is live unless the user has staged another one or
    retired it; where several come with it, ``live.json`` beside them names the one.

    Raises
    ------
    BundleError
        It is damaged or gone.
    """
    name = _live_name(system, _read_stages())
    if name is None:
        return None
    if name not in dict(_places()):
        raise BundleError(
            f"{user_directory() / _STAGES}: {name} is live but is gone; bring it back, or make another one "
            f"live with astrid models stage"
        )
    return find_bundle(name)


def set_stage(name: str, stage: Stage) -> Entry:
    """Say how a bundle is used; of each system one is live, and the one before is retired.

    Parameters
    ----------
    name : str
    stage : {"candidate", "live", "retired"}

    Returns
    -------
    Entry

    Raises
    ------
    UsageError
        No such stage, or no bundle of this name.
    BundleError
        A damaged bundle cannot be made live.
    OutputError
        The record cannot be written.
    """
    if stage not in get_args(Stage):
        raise UsageError(f"the stage is {stage!r}; choose one of {', '.join(get_args(Stage))}")
    places = dict(_places())
    if stage == "live" or name not in places:
        find_bundle(name)  # whole, or there is none
    system, stages = _system(name), _read_stages()
    present = _live_name(system, stages)
    retired = {*stages.retired} - {name}
    alive = dict(stages.live)
    if stage == "live":
        if present not in (None, name):
            retired.add(str(present))
        alive[system] = name
    else:
        if stage == "retired":
            retired.add(name)
        if present == name:
            alive[system] = None
    changed = _Stages(live=alive, retired=tuple(sorted(retired)))
    _write_stages(changed)
    return _entry(name, places[name], changed)


def _entry(name: str, path: Path, stages: _Stages) -> Entry:
    shipped = path.parent == _shipped_directory()
    stage: Stage = "candidate"
    if _live_name(_system(name), stages) == name:
        stage = "live"
    elif name in stages.retired:
        stage = "retired"
    try:
        _refuse_two(name, [other for one, other in _places() if one == name])
        bundle = Bundle.load(path, name=name)
    except BundleError as error:
        return Entry(name, path, shipped, stage, problem=str(error))
    card = bundle.card
    return Entry(name, path, shipped, stage, card.created, bundle.hash, card.metrics)


def _system(name: str) -> str:
    return name.partition(".")[0]


def _live_name(system: str, stages: _Stages) -> str | None:
    """The name of the system's live bundle: what the user decided, or else the package's default."""
    if system in stages.live:
        return stages.live[system]
    shipped = [
        path.name
        for path in _bundles_in(_shipped_directory())
        if _system(path.name) == system and path.name not in stages.retired
    ]
    if len(shipped) < 2:
        return shipped[0] if shipped else None
    default = _defaults().get(system)
    return default if default in shipped else None


def _places() -> list[tuple[str, Path]]:
    """Name and directory of each bundle, the package's first."""
    return [
        (path.name, path)
        for directory in (_shipped_directory(), user_directory())
        for path in _bundles_in(directory)
    ]


def _bundles_in(directory: Path) -> list[Path]:
    """Directories that look like bundles: called ``system.tag``, or with a card."""
    try:
        entries = sorted(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise BundleError(
            f"{directory}: cannot be read ({error.strerror}); correct ASTRID_BUNDLES"
        ) from error
    return [path for path in entries if not path.name.startswith((".", "_")) and path.is_dir()]


def _shipped_directory() -> Path:
    # a path and no import: the room of the bundles stands above this one
    return Path(str(resources.files("astrid"))) / "bundles"


def _defaults() -> dict[str, str]:
    path = _shipped_directory() / _DEFAULTS
    if not path.exists():
        return {}
    return {str(system): str(name) for system, name in _read_json(path).items()}


def _read_stages() -> _Stages:
    path = user_directory() / _STAGES
    if not path.exists():
        return _Stages()
    try:
        return _Stages.model_validate(_read_json(path))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BundleError(f"{path}: {where}: {first['msg']}; correct or remove the file") from error


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read ({error}); correct or remove the file") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: is not a JSON object; correct or remove the file")
    return content


def _write_stages(stages: _Stages) -> None:
    directory = user_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{directory} cannot be made ({error.strerror}); set ASTRID_BUNDLES to another place"
        ) from error
    with atomic_path(directory / _STAGES) as partial:
        partial.write_text(stages.model_dump_json(indent=1) + "\n", "utf-8")


def _refuse_two(name: str, places: list[Path]) -> None:
    if len(places) > 1:
        raise BundleError(
            f"two bundles are called {name}: {places[0]} and {places[1]}; rename or remove the second"
        )
