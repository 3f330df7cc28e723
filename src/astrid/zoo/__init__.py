"""The systems that AstrID has: one file for each published system, and this folder is their list.

A task is found by its name, or as ``"module:NAME"`` or ``"path/to/file.py:NAME"`` where it is
somebody's own. Nothing here loads a network.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from functools import cache
from pathlib import Path
from typing import Any

from astrid.errors import UsageError
from astrid.learn.task import Task, imported

__all__ = ["task", "tasks"]


def tasks() -> tuple[str, ...]:
    """Names of the systems, sorted."""
    return tuple(sorted(_listing()))


def task(name: str) -> Task:
    """The task called `name`.

    Parameters
    ----------
    name : str
        A system of this folder such as ``"braai"``, ``"package.module:NAME"``, or
        ``"path/to/file.py:NAME"``. A file is imported under its own stem, so that its task may name
        a network in the same file as ``"file:Network"``.

    Raises
    ------
    UsageError
        There is no such system, module, file or name, or it is no task.
    """
    if ":" not in name:
        try:
            return _listing()[name]
        except KeyError as error:
            raise UsageError(
                f"there is no system {name!r}; choose one of {', '.join(tasks())}, or give your own as "
                "file.py:NAME"
            ) from error
    place, _, attribute = name.rpartition(":")
    found = _from_file(Path(place), attribute) if place.endswith(".py") else imported(name)
    if not isinstance(found, Task):
        raise UsageError(f"{name} is no task but of type {type(found).__name__}; give the name of a Task")
    return found


@cache
def _listing() -> dict[str, Task]:
    found = {}
    for entry in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{entry.name}")
        found.update({one.name: one for one in vars(module).values() if isinstance(one, Task)})
    return found


def _from_file(path: Path, attribute: str) -> Any:
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file; give file.py:NAME")
    module = sys.modules.get(path.stem) or _loaded(path.resolve())
    if Path(getattr(module, "__file__", None) or "").resolve() != path.resolve():
        raise UsageError(f"{path}: there is another module called {path.stem!r}; rename the file")
    if not hasattr(module, attribute):
        raise UsageError(f"{path} has no {attribute!r}; give the name of its Task")
    return getattr(module, attribute)


def _loaded(path: Path) -> Any:
    if not path.stem.isidentifier():
        raise UsageError(f"{path}: {path.stem!r} cannot be the name of a module; rename the file")
    known = importlib.util.find_spec(path.stem)
    if known is not None and Path(known.origin or "").resolve() != path:
        raise UsageError(f"{path}: there is another module called {path.stem!r}; rename the file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None  # the suffix is .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        spec.loader.exec_module(module)
    except (ArithmeticError, AttributeError, ImportError, LookupError, NameError, OSError, SyntaxError,
            TypeError, ValueError) as error:  # fmt: skip
        del sys.modules[path.stem]
        reason = " ".join(str(error).split())
        raise UsageError(
            f"{path}: cannot be imported ({type(error).__name__}: {reason}); correct it"
        ) from error
    return module
