"""The figures of this site and of the README: ``python docs/figures.py [MICROLENSING_FOLDER [VARIABLES]]``.

Run by hand when what they show has changed; their results are committed in ``_static``.
The light curve needs the frames of KB13475 (SAAO 1.0 m, 2013) that MichaelDAlbrow/pyDIA
published as its example, the dm-dt images a data set of ``astrid data variables``; without their folders they
are left as they are.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

from astrid.images import SimulationConfig, difference, forced_photometry, read_frame, simulate_pair
from astrid.learn.dataset import Dataset
from astrid.learn.prediction import Predictor
from astrid.learn.registry import live
from astrid.learn.robustness import robustness
from astrid.lightcurves.dmdt import MAHABAL_2017
from astrid.survey.realbogus_data import simulate_realbogus
from astrid.zoo import task

STATIC = Path(__file__).resolve().parent / "_static"
INK = "#1f2430"


def field(path: Path, seed: int = 0) -> None:
    """The demo's field: science, reference and significance, and a few of its candidates."""
    pair = simulate_pair(SimulationConfig.named("demo"), seed=seed)
    result = difference(pair.science, pair.reference)
    candidates = result.candidates
    snr = np.asarray(candidates["snr"])
    clean = np.flatnonzero(np.asarray(candidates["flags"]) == "")
    order = clean[np.argsort(-np.abs(snr[clean]))]
    shown = [*order[snr[order] > 0][:3], *order[snr[order] < 0][:1]]

    figure = plt.figure(figsize=(12, 5.45), facecolor="white")
    top = figure.add_gridspec(1, 3, left=0, right=1, bottom=0.3, top=0.955, wspace=0.015)
    planes = (
        ("science", result.science.data, "gray_r"),
        ("reference, on the same pixels", result.reference.data, "gray_r"),
        ("significance, ±8σ, and the candidates without a flag", result.significance, "RdBu_r"),
    )
    for number, (title, data, colours) in enumerate(planes):
        axes = figure.add_subplot(top[0, number])
        low, high = (-8, 8) if colours == "RdBu_r" else np.percentile(data, (2, 99.2))
        axes.imshow(data, cmap=colours, vmin=low, vmax=high, origin="lower", aspect="auto")
        axes.set_title(title, fontsize=10, color=INK, pad=4)
        _frameless(axes)
        if colours == "RdBu_r":
            for index in clean:
                _ring(axes, candidates[index])
    bottom = figure.add_gridspec(1, 4, left=0, right=1, bottom=0.055, top=0.275, wspace=0.02)
    for number, index in enumerate(shown):
        trio = bottom[0, number].subgridspec(1, 3, wspace=0.02)
        for column, name in enumerate(("science", "reference", "difference")):
            axes = figure.add_subplot(trio[0, column])
            stamp = result.triplets[name][index][14:49, 14:49]
            low, high = np.percentile(stamp, (1, 99.7))
            colours = "gray" if name == "difference" and snr[index] < 0 else "gray_r"
            axes.imshow(stamp, cmap=colours, vmin=low, vmax=high, origin="lower", aspect="auto")
            _frameless(axes)
            if column == 1:
                row = candidates[index]
                axes.set_xlabel(
                    f"S/N {row['snr']:+.0f}, {row['mag']:.1f} mag", fontsize=9, color=INK, labelpad=3
                )
    figure.savefig(path, dpi=100)
    plt.close(figure)


def caustic_exit(path: Path, frames: Path) -> None:
    """A microlensing event crossing its last caustic: the season, and the night of the exit."""
    names = sorted(frames.glob("AKB13475I*.fits*"))
    reference = next(name for name in names if "I0172" in name.name)
    others = (read_frame(name) for name in names if name != reference)
    curve = forced_photometry(others, read_frame(reference), at=(271.5, 225.7))
    mjd, flux, error = (np.asarray(curve[name], float) for name in ("mjd", "flux", "flux_err"))
    figure, panels = plt.subplots(1, 2, figsize=(10, 3.6), sharey=True, layout="constrained")
    night = (mjd > 56507.6) & (mjd < 56508.1)
    views = ((mjd > 0, "the season"), (night, "the night of the exit"))
    for axes, (shown, title) in zip(panels, views, strict=True):
        axes.axhline(0, color="#c8ccd4", linewidth=1)
        days, level, bar = mjd[shown] - 56400, flux[shown] / 1e3, error[shown] / 1e3
        axes.errorbar(days, level, bar, fmt="o", ms=4, color="#1a5a85")
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_xlabel("MJD - 56400, days")
        axes.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("difference flux, 1000 ADU of the reference")
    figure.savefig(path, dpi=100)
    plt.close(figure)


def _ring(axes: Any, row: Any) -> None:
    colour = "#1a365d" if row["snr"] < 0 else "#742a2a"
    axes.add_patch(plt.Circle((row["x"], row["y"]), 18, fill=False, color=colour, linewidth=1.1))


def _frameless(axes: Any) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for side in axes.spines.values():
        side.set_color("#c8ccd4")


def flips(path: Path) -> None:
    """The live real/bogus model on telescopes that it never saw, each candidate in eight orientations."""
    bundle = live("braai")
    left_out = bundle.card.training.split.test_values
    with tempfile.TemporaryDirectory() as folder:
        simulate_realbogus(Path(folder) / "set", 24, seed=900_000, names=left_out)
        dataset = Dataset.open(Path(folder) / "set")
        found = robustness(
            Predictor(bundle),
            dataset,
            columns=("mag", "edge_distance"),
            on="telescopes left out",
            domain="out",
        )
        found.plot().savefig(path, dpi=110)


def dmdt_classes(path: Path, folder: Path) -> None:
    """The median dm-dt image of each class of variable stars of the Catalina survey."""
    dataset = Dataset.open(folder)
    labels, images = dataset.column("variable"), dataset.arrays["dmdt"][..., 0]
    classes = [name for name in task("dmdt").heads["variable"].labels if (labels == name).any()]
    figure, panels = plt.subplots(2, 4, figsize=(11, 5.2), sharex=True, sharey=True, layout="constrained")
    dm, dt = MAHABAL_2017.dm, MAHABAL_2017.dt
    for axes, name in zip(panels.flat, classes, strict=False):
        own = labels == name
        median = np.median(images[own], axis=0)
        axes.imshow(
            np.sqrt(median),
            cmap="magma",
            aspect="auto",
            origin="lower",
            extent=(0, len(dt) - 1, 0, len(dm) - 1),
        )
        axes.set_title(f"{name.replace('_', ' ')}, {own.sum()} stars", fontsize=10, color=INK)
        columns, rows = (0, 4, 8, 13, 18, 23), (0, 4, 8, 11, 14, 18, 22)
        axes.set_xticks(columns, [f"{dt[k]:.2g}" if dt[k] < 100 else f"{dt[k]:.0f}" for k in columns])
        axes.set_yticks(rows, [f"{dm[k]:g}" for k in rows])
    for axes in panels.flat[len(classes) :]:
        axes.set_visible(False)
    for axes in panels[:, 0]:
        axes.set_ylabel("dm, mag; fainter is up")
    for axes in panels[-1]:
        axes.set_xlabel("dt, days")
    figure.savefig(path, dpi=80)
    plt.close(figure)


if __name__ == "__main__":
    STATIC.mkdir(exist_ok=True)
    field(STATIC / "demo.png")
    flips(STATIC / "robustness.png")
    if len(sys.argv) > 1:
        caustic_exit(STATIC / "caustic_exit.png", Path(sys.argv[1]))
    if len(sys.argv) > 2:
        dmdt_classes(STATIC / "dmdt_classes.png", Path(sys.argv[2]))
