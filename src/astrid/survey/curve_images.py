"""dm-dt images of the light curves of files, with a picture beside: of their mean, or of each class.

The images themselves are made in `astrid.lightcurves.dmdt`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from astrid.errors import DataError, LightCurveError, UsageError
from astrid.files.atomic import atomic_path
from astrid.lightcurves.dmdt import Grid, dmdt_of
from astrid.lightcurves.lightcurve import LightCurve
from astrid.survey.curve_inputs import fullest_band
from astrid.survey.curve_measures import prepared
from astrid.survey.labelled_stars import class_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["dmdt_file", "plot_classes", "plot_dmdt"]

_BATCH = 256
_SUFFIXES = (".npz", ".parquet")


def dmdt_file(
    curves: Iterable[LightCurve],
    out: str | Path,
    *,
    grid: Grid,
    scaling: str = "fraction",
    smooth: bool = False,
    band: str | None = None,
    threads: int = 1,
    labels: str | Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the dm-dt images of many sources, and a picture of their mean or of their classes beside.

    Parameters
    ----------
    curves : iterable of LightCurve
    out : str or Path
        ``.npz``: ``name``, ``image`` (n, dm, dt) float32, ``dm``, ``dt``; or ``.parquet``: ``name`` and
        ``image``, a list of dm · dt numbers, row by row, with the edges in the metadata of its column.
    grid, scaling, smooth, threads
        As `dmdt_of` has them.
    band : str, optional
        By default each source's band with the most points.
    labels : str or Path, optional
        A table of classes, see `class_names`: the picture has the median of each class then, and the file a
        ``class`` for each source, empty where there is none.
    on_progress : callable, optional

    Returns
    -------
    summary : dict
        ``n_images``, ``grid``, ``scaling``, ``set_aside``, ``out``, ``picture``; with labels ``classes``.

    Raises
    ------
    UsageError
        A name of another ending, or a scaling that there is not.
    DataError
        The labels cannot be read, or no source has one.
    LightCurveError
        No source has an image.
    OutputError
        It cannot be written.
    """
    path = Path(out)
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"--out is {path}; give a name that ends in {' or '.join(_SUFFIXES)}")
    known = None if labels is None else class_names(labels)
    names: list[str] = []
    images: list[NDArray[np.float32]] = []
    aside: list[dict[str, str]] = []
    source = iter(curves)
    while part := list(islice(source, _BATCH)):
        good = []
        for curve in part:
            try:
                one = fullest_band(prepared(curve), band)
                if len(one) < 2:
                    raise LightCurveError(f"{curve.name}: one point; a dm-dt image needs two")
                good.append(one)
            except LightCurveError as error:
                aside.append({"name": curve.name, "reason": str(error)})
        if good:
            made = dmdt_of(good, grid, scaling, smooth=smooth, threads=threads)  # type: ignore[arg-type]
            names += [one.name for one in good]
            images.append(made)
        if on_progress is not None:
            on_progress(len(names), len(names))
    if not names:
        why = aside[0]["reason"] if aside else "there are no light curves"
        raise LightCurveError(f"no dm-dt image could be made ({why}); check the files")
    whole = np.concatenate(images)
    classes = None if known is None else [known.get(name, "") for name in names]
    if classes is not None and not any(classes):
        raise DataError(f"no light curve is in {labels}; its first column must name them, as {names[0]!r}")
    picture = path.with_suffix(".png")
    with atomic_path(path) as partial, atomic_path(picture) as drawn:
        if path.suffix == ".npz":
            with partial.open("wb") as file:
                arrays: dict[str, Any] = {"name": names, "image": whole, "dm": grid.dm, "dt": grid.dt}
                np.savez_compressed(file, **arrays if classes is None else {**arrays, "class": classes})
        else:
            pq.write_table(_table(names, classes, whole, grid, scaling), partial, compression="zstd")
        if classes is None:
            title = names[0] if len(names) == 1 else f"mean of {len(names):,} sources"
            figure = plot_dmdt(whole.mean(axis=0), grid, title)
        else:
            figure = plot_classes(whole, classes, grid)
        figure.savefig(drawn, format="png", dpi=150)
    return {
        "n_images": len(names),
        "grid": grid.name,
        "scaling": scaling,
        "set_aside": aside,
        "out": str(path),
        "picture": str(picture),
        **({} if classes is None else {"classes": dict(Counter(filter(None, classes)).most_common())}),
    }


def _table(
    names: list[str], classes: list[str] | None, images: NDArray[np.float32], grid: Grid, scaling: str
) -> pa.Table:
    n, cells = len(images), int(np.prod(grid.shape))
    facts = {
        "description": f"dm-dt image, {scaling}, {grid.shape[0]} rows of dm by {grid.shape[1]} columns of dt",
        "grid": grid.name,
        "dm": ",".join(map(str, grid.dm)),
        "dt": ",".join(map(str, grid.dt)),
    }
    flat = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(n * cells)), cells)
    columns = {pa.field("name", pa.string()): pa.array(names)}
    if classes is not None:
        columns[pa.field("class", pa.string())] = pa.array([one or None for one in classes])
    columns[pa.field("image", flat.type, metadata=facts)] = flat
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(list(columns)))


def plot_dmdt(image: NDArray[np.floating], grid: Grid, title: str) -> Figure:
    """Draw an image, its cells alike however wide they are; the shade goes with the root."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(
        np.sqrt(image), origin="lower", cmap="viridis", aspect="auto", interpolation="nearest"
    )
    figure.colorbar(drawn, ax=axes, label="root of the value of a cell")
    _ticks(axes, grid, 4, 3)
    axes.set_xlabel("time between two points, d")
    axes.set_ylabel("change, mag; positive: it faded")
    axes.set_title(title)
    return figure


def plot_classes(images: NDArray[np.floating], classes: Sequence[str], grid: Grid) -> Figure:
    """Draw the median image of each class, all on one scale.

    Parameters
    ----------
    images : (n, dm, dt) ndarray
    classes : sequence of str
        Of each image; those without a name are left out.
    grid : Grid

    Returns
    -------
    Figure
        The classes in the order of their first image.
    """
    from matplotlib.figure import Figure

    given = np.asarray(classes)
    names = [name for name in dict.fromkeys(given.tolist()) if name]
    across = min(4, len(names))
    down = -(-len(names) // across)
    figure = Figure(figsize=(2.6 * across + 0.9, 2.5 * down + 0.5), layout="constrained")
    panels = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    medians = [np.sqrt(np.median(images[given == name], axis=0)) for name in names]
    top = max(float(median.max()) for median in medians)
    for axes, name, median in zip(panels.flat, names, medians, strict=False):
        drawn = axes.imshow(
            median, origin="lower", cmap="viridis", aspect="auto", interpolation="nearest", vmin=0, vmax=top
        )
        axes.set_title(f"{name.replace('_', ' ')}, {(given == name).sum():,}", fontsize="medium")
    _ticks(panels[0, 0], grid, 6, 5)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    figure.colorbar(drawn, ax=panels, label="root of the median of a cell")
    figure.supxlabel("time between two points, d", fontsize="medium")
    figure.supylabel("change, mag; positive: it faded", fontsize="medium")
    return figure


def _ticks(axes: Axes, grid: Grid, every_dt: int, every_dm: int) -> None:
    """Write some edges at the cells that begin there; 0 is among those of dm."""
    first = int(grid.overflow)
    middle = int(np.argmin(np.abs(grid.dm))) % every_dm
    for edges, chosen, write in (
        (grid.dt, range(0, len(grid.dt), every_dt), axes.set_xticks),
        (grid.dm, range(middle, len(grid.dm), every_dm), axes.set_yticks),
    ):
        write([k - 0.5 + first for k in chosen], [f"{edges[k]:.3g}" for k in chosen])
