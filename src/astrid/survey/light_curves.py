"""Forced photometry from files: a light curve as a table and as a figure.

Reads, calls `forced_photometry` and writes; the measurement is in `astrid.images`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.errors import UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.survey.products import write_figure, write_table
from astrid.survey.provenance import FrameFile, Provenance

if TYPE_CHECKING:
    from astropy.table import Table
    from matplotlib.figure import Figure

__all__ = ["light_curve_rows", "photometry_files", "plot_light_curve"]

_DETECTION = 3.0  # sigma below which the figure shows an upper limit
_FORMATS = (".ecsv", ".parquet")


def photometry_files(
    frames: Sequence[FrameFile],
    reference: FrameFile,
    out: str | Path,
    *,
    at: tuple[float, float] | None = None,
    radec: tuple[float, float] | None = None,
    command: str | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> tuple[Table, list[Path]]:
    """Measure one position in many files, and write the light curve and its figure.

    Parameters
    ----------
    frames : sequence of FrameFile
    reference : FrameFile
    out : str or Path
        ``.ecsv`` or ``.parquet``; the figure gets the same name with ``.png``.
    at : (float, float), optional
        x and y in the reference, px, 0-based.
    radec : (float, float), optional
        Instead of `at`: right ascension and declination, deg.
    command : str, optional
        What the products say they were made by.
    on_stage : callable, optional
        Told what is being done.

    Returns
    -------
    curve : `~astropy.table.Table`
    written : list of Path
        The table and the figure.

    Raises
    ------
    UsageError
        Neither or both of `at` and `radec`, or a name that ends in something else.
    OutputError
        The files cannot be written.
    DataError
        A file cannot be read, or the position is not in the reference.
    """
    table_path = Path(out)
    if table_path.suffix not in _FORMATS:
        raise UsageError(f"--out is {table_path}; give a file name that ends in .ecsv or .parquet")
    if (at is None) == (radec is None):
        raise UsageError("give the position either as --at x,y or as --radec ra,dec")
    if not frames:
        raise UsageError("no frames were given; give at least one FITS file")
    from astrid.images.forced import forced_photometry

    figure_path = table_path.with_suffix(".png")
    tell = on_stage or (lambda stage: None)
    with atomic_path(table_path) as table_file, atomic_path(figure_path) as figure_file:
        tell("reading")
        base = reference.read()
        loaded = [file.read() for file in frames]
        tell(f"measuring {len(loaded)} frames")
        curve = forced_photometry(loaded, base, at=at, radec=radec)
        provenance = Provenance(
            command=command or "astrid.survey.photometry_files",
            inputs={
                "reference": reference.record(),
                **{f"frame {i}": file.record() for i, file in enumerate(frames)},
            },
            configuration={"at": at, "radec": radec},
        )
        write_table(table_file, curve, provenance.as_dict())
        write_figure(figure_file, plot_light_curve(curve), provenance.as_dict())
    return curve, [table_path, figure_path]


def plot_light_curve(curve: Table) -> Figure:
    """Draw flux against time; upper limits where nothing was detected.

    Parameters
    ----------
    curve : `~astropy.table.Table`
        As `forced_photometry` makes it.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Not tied to any window; call ``savefig``.
    """
    from matplotlib.figure import Figure

    flux, error = (_numbers(curve, name) for name in ("flux", "flux_err"))
    time = _numbers(curve, "mjd")
    dated = bool(np.isfinite(time).all()) and len(curve) > 0
    time = time if dated else np.arange(len(curve), dtype=float)
    seen = np.isfinite(flux) & (np.abs(flux) >= _DETECTION * error)
    unseen = np.isfinite(flux) & ~seen

    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color="0.6", linewidth=0.8)
    style: dict[str, Any] = {"fmt": "o", "markersize": 4, "capsize": 0, "linewidth": 1}
    axes.errorbar(time[seen], flux[seen], error[seen], color="#17597f", label="detected", **style)
    axes.errorbar(
        time[unseen],
        flux[unseen],
        error[unseen],
        color="0.6",
        mfc="white",
        label=f"below {_DETECTION:g}σ",
        **style,
    )
    axes.set_xlabel("MJD, days" if dated else "frame")
    axes.set_ylabel("difference flux, ADU of the reference")
    if seen.any() or unseen.any():
        axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def light_curve_rows(curve: Table) -> list[dict[str, Any]]:
    """The light curve as plain values, one mapping for each frame."""
    return [
        {name: None if np.ma.is_masked(row[name]) else plain(row[name]) for name in curve.colnames}
        for row in curve
    ]


def _numbers(curve: Table, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.ma.filled(np.ma.asarray(curve[name], float), np.nan)
