"""Light curves: classes of variable stars, recovered periods, transits, and what all of it costs.

Real curves wherever a figure is about the sky; every row is measured here and now, in one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from astrid.bench._curve_catalog import rows as catalog_rows
from astrid.bench._curve_speed import speed_rows
from astrid.bench._periods import period_rows, searched_rows
from astrid.bench._real_pairs import real_images
from astrid.bench._scope import scope_rows
from astrid.bench._transits import rows as transit_rows
from astrid.bench._variables import class_rows
from astrid.bench.frame import Report, Row

__all__ = ["run"]

_PACKAGES = (
    "onnxruntime", "numba", "nifty-ls", "finufft", "light-curve", "xgboost-cpu", "xgboost",
    "transitleastsquares", "wotan", "lsdb", "hats", "dask", "distributed",
)  # fmt: skip


def run(quick: bool = False, on_stage: Callable[[str], None] | None = None) -> Report:
    """Measure what is done with light curves.

    Classes are judged on the data sets that the folder `ASTRID_VARIABLES` holds: ``crts`` and ``eros``, made
    by ``astrid data variables``. Without it, or without the real curves, their rows are left out.

    Parameters
    ----------
    quick : bool
        Fewer stars and frequencies.
    on_stage : callable, optional
        Called with the name of each stage as it begins.

    Returns
    -------
    Report
    """
    say = on_stage or (lambda stage: None)
    rows: list[Row] = []
    sets = os.environ.get("ASTRID_VARIABLES")
    if sets:
        rows += class_rows(Path(sets), quick, say)
    else:
        say("no classes: ASTRID_VARIABLES names no folder of data sets")
    root = _real_curves()
    if sets and root is not None and (Path(sets) / "crts" / "dataset.json").is_file():
        rows += scope_rows(Path(sets) / "crts", root / "crts" / "crts_train_lc.parquet", quick, say)
    if root is not None:
        rows += period_rows(root / "crts", quick, say)
        if sets and (Path(sets) / "crts" / "dataset.json").is_file():
            rows += searched_rows(Path(sets) / "crts")
        rows += transit_rows(quick, say, root.parent)
        rows += catalog_rows(quick, say, root.parent)
    curves = None if root is None else root / "crts" / "crts_train_lc.parquet"
    rows += speed_rows(curves, quick, say)
    return Report("lightcurves", tuple(rows), _PACKAGES)


def _real_curves() -> Path | None:
    """The folder with real light curves, beside that with real images."""
    images = real_images()
    root = None if images is None else images.parent / "lightcurves"
    return root if root is not None and (root / "crts" / "crts_train_lc.parquet").is_file() else None
