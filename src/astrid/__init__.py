"""AstrID: from raw sky data to vetted, classified, explained events."""

from __future__ import annotations

import importlib
from types import ModuleType

from astrid._version import __version__

__all__ = ["__version__", "errors", "images", "learn", "zoo"]

_ROOMS = frozenset({"errors", "images", "learn", "zoo"})


def __getattr__(name: str) -> ModuleType:
    """Load a room at its first use, so that ``import astrid`` stays light."""
    if name in _ROOMS:
        return importlib.import_module(f"astrid.{name}")
    raise AttributeError(f"module 'astrid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
