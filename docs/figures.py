"""The figures of this site and of the README: ``python docs/figures.py [KB13475 [CRTS [SCOPE [KEPLER]]]]``.

Run by hand when what they show has changed; their results are committed in ``_static``.
The light curve needs the frames of KB13475 (SAAO 1.0 m, 2013) that MichaelDAlbrow/pyDIA
published as its example, the dm-dt images a data set of ``astrid data variables``, and which numbers SCOPE's
classes are told by one of ``astrid data scope``, the sheet of a transit the long-cadence light curve of
KIC 10854555; without these they are left as they are.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt
from PIL import Image

from astrid.images import SimulationConfig, difference, forced_photometry, read_frame, simulate_pair
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import aucpr, interval
from astrid.learn.prediction import Predictor
from astrid.learn.registry import find_bundle, live
from astrid.learn.robustness import robustness
from astrid.lightcurves.classes import taxonomy
from astrid.lightcurves.dmdt import MAHABAL_2017
from astrid.survey.active_round import probabilities_of
from astrid.survey.class_importance import draw_importance, importance
from astrid.survey.curve_images import plot_classes
from astrid.survey.realbogus_data import simulate_realbogus
from astrid.survey.transit_files import transit_sheets
from astrid.survey.transit_star import Star
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
    labels, roots = dataset.column("variable"), dataset.arrays["dmdt"][..., 0]
    classes = task("dmdt").heads["variable"].labels
    rows = np.concatenate([np.flatnonzero(labels == name) for name in classes])
    plot_classes(roots[rows] ** 2, labels[rows], MAHABAL_2017).savefig(path, dpi=80)


def scope_numbers(path: Path, folder: Path) -> None:
    """Which numbers SCOPE's classes are told by."""
    draw_importance(importance(find_bundle("scope.crts1"), Dataset.open(folder)), path)


def scope_trees(path: Path, folder: Path) -> None:
    """Both trees of SCOPE: how many stars each class has, and how well it is found among stars held back."""
    dataset = Dataset.open(folder)
    test = np.flatnonzero(dataset.column("part") == "test")
    said = probabilities_of(Predictor(find_bundle("scope.crts1")), dataset, test)
    groups, every = dataset.groups()[test], taxonomy()
    figure, panels = plt.subplots(1, 2, figsize=(12, 8.4), layout="constrained")
    for axes, tree in zip(panels, ("phenomenological", "ontological"), strict=True):
        codes = every.below(tree)
        for y, code in enumerate(codes):
            labels = dataset.column(code) if code in dataset.rows.column_names else np.full(len(dataset), 0.0)
            stars, told = int((labels >= 0.5).sum()), code in said
            ink = INK if told else "#9298a5"
            indent = len(every.ancestors[code]) * 0.07
            axes.text(-1.32 + indent, y, every[code].name, va="center", color=ink, fontsize=9)
            axes.text(
                -0.04, y, f"{stars:,}" if stars else "–", va="center", ha="right", fontsize=9, color=ink
            )
            if not told:
                continue
            known = np.isfinite(labels[test])
            truth, p = labels[test][known], said[code][known]
            area = aucpr(truth, p)
            low, high = interval(aucpr, truth, p, groups=groups[known], n=200)
            error = [[max(area - low, 0)], [max(high - area, 0)]]
            axes.barh(y, area, 0.6, color="#7fafd3", xerr=error, error_kw={"ecolor": INK, "elinewidth": 1})
            axes.text(1.03, y, code, va="center", color="#1a5a85", fontsize=9)
        axes.text(-0.04, -1, "stars", ha="right", va="center", fontsize=9, color="#646b7a")
        axes.set(xlim=(-1.34, 1.17), ylim=(len(codes) - 0.3, -1.5), xticks=(0, 0.5, 1), yticks=())
        axes.set_title(tree, fontsize=11, color=INK, loc="left")
        axes.set_xlabel("AUCPR on the test part, 95 %", loc="right")
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def transit_sheet(path: Path, curve: Path) -> None:
    """The sheet of one candidate, as ``astrid lightcurves transits`` draws it."""
    with tempfile.TemporaryDirectory() as folder:
        judge = Predictor(live("tess_transits"))
        (found,) = transit_sheets([curve], folder, star=Star(teff=5700.0, radius=1.0), predictor=judge)
        Image.open(Path(folder) / found["sheets"][0]).quantize(64).save(path, optimize=True)


STRATEGIES = {
    "mixed": ("#b4541a", 2.4), "random": ("#1f2430", 2.0), "entropy": ("#17597f", 1.4),
    "BALD": ("#0b6e5f", 1.4), "core-set": ("#8a5a12", 1.2), "greedy top score": ("#8b93a1", 1.2),
}  # fmt: skip
"""Those that are drawn; margin and modAL's sampling are, of two classes, the order of entropy."""


def learning_curves(path: Path, curves: Path) -> None:
    """AUCPR over labels for each set of the benchmark `review`, whose curves it left in a file."""
    sets = json.loads(curves.read_text())
    figure, panels = plt.subplots(2, 3, figsize=(11, 6.6), layout="constrained")
    for axes, (name, strategies) in zip(panels.flat, sets.items(), strict=False):
        axes.axhline(0.95, color="#c8ccd4", linewidth=1, zorder=0)
        for strategy, (colour, width) in STRATEGIES.items():
            found = strategies[strategy]
            share, labels = np.array(found["share"]), found["labels"]
            mean = share.mean(axis=0)
            axes.plot(labels, mean, color=colour, linewidth=width, label=strategy)
            if strategy in ("mixed", "random"):
                error = share.std(axis=0, ddof=1) / np.sqrt(len(share))
                axes.fill_between(labels, mean - error, mean + error, color=colour, alpha=0.15, linewidth=0)
        axes.set_title(name.replace(" as braai.sim1 sees them", ""), fontsize=10, color=INK)
        axes.set_ylim(top=1.03)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlabel("labels", fontsize=9)
        axes.tick_params(labelsize=9)
    for axes in panels[:, 0]:
        axes.set_ylabel("AUCPR, in units of that with all labels", fontsize=9)
    for axes in panels.flat[len(sets) :]:
        axes.set_axis_off()
        axes.legend(*panels.flat[0].get_legend_handles_labels(), loc="center", frameon=False, fontsize=11)
    figure.savefig(path, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    STATIC.mkdir(exist_ok=True)
    field(STATIC / "demo.png")
    flips(STATIC / "robustness.png")
    learning_curves(
        STATIC / "learning_curves.png", STATIC.parents[1] / "benchmarks" / "curves" / "review.json"
    )
    if len(sys.argv) > 1:
        caustic_exit(STATIC / "caustic_exit.png", Path(sys.argv[1]))
    if len(sys.argv) > 2:
        dmdt_classes(STATIC / "dmdt_classes.png", Path(sys.argv[2]))
    if len(sys.argv) > 3:
        scope_numbers(STATIC / "scope_numbers.png", Path(sys.argv[3]))
        scope_trees(STATIC / "scope_trees.png", Path(sys.argv[3]))
    if len(sys.argv) > 4:
        transit_sheet(STATIC / "transit_sheet.png", Path(sys.argv[4]))
