"""dm-dt images of the light curves of files, with a picture of their mean beside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.files.atomic import atomic_path
from astrid.lightcurves.dmdt import Grid, dmdt_of
from astrid.lightcurves.lightcurve import LightCurve
from astrid.survey.curve_inputs import fullest_band
from astrid.survey.curve_measures import prepared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["dmdt_file", "plot_dmdt"]

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
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Write the dm-dt images of many sources, and a picture of their mean beside.

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
    on_progress : callable, optional

    Returns
    -------
    summary : dict
        ``n_images``, ``grid``, ``scaling``, ``set_aside``, ``out``, ``picture``.

    Raises
    ------
    UsageError
        A name of another ending, or a scaling that there is not.
    LightCurveError
        No source has an image.
    OutputError
        It cannot be written.
    """
    path = Path(out)
    if path.suffix not in _SUFFIXES:
        raise UsageError(f"--out is {path}; give a name that ends in {' or '.join(_SUFFIXES)}")
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
    picture = path.with_suffix(".png")
    with atomic_path(path) as partial, atomic_path(picture) as drawn:
        if path.suffix == ".npz":
            with partial.open("wb") as file:
                np.savez_compressed(file, name=np.array(names), image=whole, dm=grid.dm, dt=grid.dt)
        else:
            pq.write_table(_table(names, whole, grid, scaling), partial, compression="zstd")
        title = names[0] if len(names) == 1 else f"mean of {len(names):,} sources"
        plot_dmdt(whole.mean(axis=0), grid, title).savefig(drawn, format="png", dpi=150)
    return {
        "n_images": len(names),
        "grid": grid.name,
        "scaling": scaling,
        "set_aside": aside,
        "out": str(path),
        "picture": str(picture),
    }


def _table(names: list[str], images: NDArray[np.float32], grid: Grid, scaling: str) -> pa.Table:
    n, cells = len(images), int(np.prod(grid.shape))
    facts = {
        "description": f"dm-dt image, {scaling}, {grid.shape[0]} rows of dm by {grid.shape[1]} columns of dt",
        "grid": grid.name,
        "dm": ",".join(map(str, grid.dm)),
        "dt": ",".join(map(str, grid.dt)),
    }
    flat = pa.FixedSizeListArray.from_arrays(pa.array(images.reshape(n * cells)), cells)
    fields = [pa.field("name", pa.string()), pa.field("image", flat.type, metadata=facts)]
    return pa.Table.from_arrays([pa.array(names), flat], schema=pa.schema(fields))


def plot_dmdt(image: NDArray[np.floating], grid: Grid, title: str) -> Figure:
    """Draw an image, its cells alike however wide they are; the shade goes with the root."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2, 4.2), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(
        np.sqrt(image), origin="lower", cmap="viridis", aspect="auto", interpolation="nearest"
    )
    figure.colorbar(drawn, ax=axes, label="root of the value of a cell")
    first = int(grid.overflow)
    for edges, ticks, label in (
        (grid.dt, axes.set_xticks, axes.set_xlabel),
        (grid.dm, axes.set_yticks, axes.set_ylabel),
    ):
        # so that 0 is among those of dm
        every = (
            range(0, len(edges), 4)
            if edges is grid.dt
            else range(int(np.argmin(np.abs(edges))) % 3, len(edges), 3)
        )
        ticks([k - 0.5 + first for k in every], [f"{edges[k]:.3g}" for k in every])
        label("time between two points, d" if edges is grid.dt else "change, mag; positive: it faded")
    axes.set_title(title)
    return figure
