"""Labels that people gave: how few a classifier needs, what a search finds, and what several people agree on.

All data are real. The labels were there before: what is measured is the order in which they are asked for.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import numpy as np

from astrid.bench._real_pairs import real_images
from astrid.bench._review_curves import STRATEGIES, Curve, curves
from astrid.bench._review_data import LabelledSet, labelled_sets
from astrid.bench._review_rows import curve_rows
from astrid.bench._review_search import search_rows
from astrid.bench._review_votes import vote_rows
from astrid.bench.frame import Report, Row
from astrid.errors import DataError
from astrid.files.atomic import atomic_path

__all__ = ["run"]

_SEEDS = range(10, 20)  # nothing was chosen on these; 0 to 9 were used up by a run before
_PACKAGES = ("scikit-learn", "modAL-python")


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Play labelling through on sets that are labelled already.

    If `ASTRID_REVIEW_CURVES` names a file, it gets the curves as JSON: they are drawn in the documentation.

    Parameters
    ----------
    quick : bool
        Two seeds, and up to 120 labels of the smaller sets.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report

    Raises
    ------
    DataError
        The real data are not there.
    """
    say = on_stage or (lambda stage: None)
    images = real_images()
    if images is None:
        raise DataError(
            "there are no real labels; set ASTRID_REAL_DATA to the folder that holds review/ and radio/"
        )
    root = images.parent
    seeds = _SEEDS[:2] if quick else _SEEDS
    peer = _version("modAL-python")
    if peer is None:
        say("no modAL: its rows are left out")
    names = tuple(name for name in STRATEGIES if name != "modAL" or peer is not None)
    rows: list[Row] = []
    drawn: dict[str, dict[str, list[Curve]]] = {}
    for given in labelled_sets(root, say, without=("images",) if quick else ()):
        one = replace(given, budget=min(given.budget, 120), pool=800) if quick else given
        found = drawn[given.name] = _played(one, names, seeds, say)
        rows += curve_rows(given.name, found, peer)
    rows += search_rows(root, seeds, say)
    if (root / "review" / "meerlicht_votes.csv.gz").exists():
        say("volunteers of MeerLICHT")
        rows += vote_rows(root / "review" / "meerlicht_votes.csv.gz", seeds)
    target = os.environ.get("ASTRID_REVIEW_CURVES")
    if target:
        _save(Path(target), drawn)
    return Report("review", tuple(rows), _PACKAGES)


def _played(
    given: LabelledSet, names: tuple[str, ...], seeds: range, say: Callable[[str], None]
) -> dict[str, list[Curve]]:
    found: dict[str, list[Curve]] = {name: [] for name in names}
    for seed in seeds:
        say(f"{given.name}, seed {seed}")
        for name, curve in curves(given, names, seed).items():
            found[name].append(curve)
    return found


def _save(path: Path, drawn: dict[str, dict[str, list[Curve]]]) -> None:
    content = {
        name: {
            strategy: {
                "labels": found[0].labels.tolist(),
                "share": np.round([c.aucpr / c.final for c in found], 4).tolist(),
            }
            for strategy, found in strategies.items()
        }
        for name, strategies in drawn.items()
    }
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(content) + "\n", "utf-8")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
