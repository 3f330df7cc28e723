"""Does a model say the same of an image however it is turned, and where does it err?

Each image is shown in up to eight flips and rotations, and what was said is compared with the truth
and with itself. Whatever is measured on the images as they are is in `evaluation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.files.record import plain
from astrid.learn import metrics
from astrid.learn.bundle import Measured
from astrid.learn.dataset import Dataset
from astrid.learn.prediction import Predictor
from astrid.learn.task import Binary, Head, HeatMap, Input, Multiclass, Multilabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["ORIENTATIONS", "Orientation", "Robustness", "robustness"]

_BATCH = 256


@dataclass(frozen=True)
class Orientation:
    """A flip along the last image axis, then so many turns by 90 degrees.

    Parameters
    ----------
    name : str
    flip : bool
    turns : int
    """

    name: str
    flip: bool
    turns: int

    def apply(self, images: NDArray[Any]) -> NDArray[Any]:
        """Turn (n, ny, nx, ...) images."""
        return np.rot90(images[:, :, ::-1] if self.flip else images, self.turns, axes=(1, 2))

    def undo(self, images: NDArray[Any]) -> NDArray[Any]:
        """Turn (n, ny, nx, ...) images back."""
        turned = np.rot90(images, -self.turns, axes=(1, 2))
        return turned[:, :, ::-1] if self.flip else turned


ORIENTATIONS = tuple(
    Orientation(("flipped, " if flip else "") + f"{90 * turns} degrees", flip, turns)
    for flip in (False, True)
    for turns in range(4)
)
"""The eight symmetries of a square, the image as it is first."""


@dataclass(frozen=True, eq=False)
class Robustness:
    """What was said of each image in each orientation.

    Parameters
    ----------
    bundle, on, head : str
    error_name : str
        What `error` is.
    orientations : tuple of str
    rows : (n,) int64 ndarray
        Of the data set.
    errors : (n, orientations) float32 ndarray
    changed : (n,) bool ndarray
        Whether the decision depends on the orientation; False for numbers and maps.
    columns : dict of str to (n,) ndarray
        Columns of the rows, such as the magnitude.
    measured : tuple of Measured
    """

    bundle: str
    on: str
    head: str
    error_name: str
    orientations: tuple[str, ...]
    rows: NDArray[np.int64]
    errors: NDArray[np.float32]
    changed: NDArray[np.bool_]
    columns: Mapping[str, NDArray[Any]]
    measured: tuple[Measured, ...]

    @property
    def error(self) -> NDArray[np.float64]:
        """Median error of each item over the orientations, (n,)."""
        return np.asarray(np.median(self.errors, axis=1), np.float64)

    @property
    def spread(self) -> NDArray[np.float64]:
        """Standard deviation of each item's error over the orientations, (n,)."""
        return self.errors.std(axis=1, dtype=np.float64)

    def over(self, column: str, bins: int = 8) -> dict[str, list[float]]:
        """Error in bins of a column of numbers, of as many items each.

        Returns
        -------
        dict
            ``value``: median of the column in each bin; ``low``, ``middle``, ``high``: 16, 50 and
            84 % quantiles of the median error; ``spread``: median spread.
        """
        values = np.asarray(self.columns[column], np.float64)
        order = np.argsort(values, kind="stable")
        order = order[np.isfinite(values[order])]
        blocks = [one for one in np.array_split(order, min(bins, max(len(order) // 10, 1))) if len(one)]
        error, spread = self.error, self.spread
        found = {"value": [float(np.median(values[one])) for one in blocks]}
        for name, share in (("low", 0.16), ("middle", 0.5), ("high", 0.84)):
            found[name] = [float(np.quantile(error[one], share)) for one in blocks]
        found["spread"] = [float(np.median(spread[one])) for one in blocks]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Figures and binned errors in JSON's own types; single items are left out."""
        return dict(
            plain(
                {
                    "bundle": self.bundle, "on": self.on, "head": self.head, "n": len(self.rows),
                    "error": self.error_name, "orientations": self.orientations,
                    "measured": [one.model_dump() for one in self.measured],
                    "over": {
                        name: self.over(name) for name, one in self.columns.items() if one.dtype.kind in "fiu"
                    },
                }
            )
        )  # fmt: skip

    def plot(self) -> Figure:
        """The figures of the Roman study: sorted errors, error against spread, and against columns.

        Returns
        -------
        figure : `~matplotlib.figure.Figure`
        """
        from matplotlib.figure import Figure

        numbers = [name for name, one in self.columns.items() if one.dtype.kind in "fiu"]
        n = 3 + len(numbers)
        columns = 3 if n > 4 else 2
        rows = -(-n // columns)
        figure = Figure(figsize=(4.6 * columns, 3.6 * rows), layout="constrained")
        places = figure.subplots(rows, columns, squeeze=False).ravel()
        self._draw_sorted(places[0], self.error, "items, sorted by their error")
        self._draw_sorted(places[1], self.spread, "items, sorted by their spread")
        self._draw_scatter(places[2])
        for axes, name in zip(places[3:], numbers, strict=False):
            self._draw_over(axes, name)
        for axes in places[n:]:
            axes.set_visible(False)
        for axes in places:
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(
            f"{self.bundle} on {self.on}: {len(self.rows):,} images, {len(self.orientations)} orientations\n"
            f"error: {self.error_name}, median over the orientations; spread: its standard deviation",
            fontsize=10,
        )
        return figure

    def _draw_sorted(self, axes: Axes, key: NDArray[np.float64], label: str) -> None:
        order = np.argsort(key, kind="stable")
        at = np.unique(np.linspace(0, len(order) - 1, 400).astype(np.int64))
        shown = order[at]
        axes.errorbar(
            at, self.error[shown], self.spread[shown], color="#17597f", ecolor="#8fb8d0", marker=".",
            markersize=3, linestyle="none", elinewidth=0.8,
        )  # fmt: skip
        axes.set(xlabel=label, ylabel="error, ± spread", ylim=(0, None))

    def _draw_scatter(self, axes: Axes) -> None:
        changed = self.changed
        axes.plot(self.error[~changed], self.spread[~changed], ".", color="#17597f", alpha=0.45, markersize=4)
        axes.set(xlabel="error", ylabel="spread")
        if changed.any():
            label = f"decision depends on the orientation ({changed.sum():,})"
            axes.plot(
                self.error[changed], self.spread[changed], ".", color="#b4541a", markersize=6, label=label
            )
            axes.legend(frameon=False, fontsize=8.5, loc="lower left", bbox_to_anchor=(-0.04, 0.98))
        axes.set(xlim=(0, None), ylim=(0, None))

    def _draw_over(self, axes: Axes, name: str) -> None:
        found = self.over(name)
        values = np.asarray(self.columns[name], np.float64)
        some = np.unique(np.linspace(0, len(values) - 1, 1500).astype(np.int64))
        axes.plot(values[some], self.error[some], ".", color="#9aa5b1", alpha=0.35, markersize=3)
        axes.fill_between(
            found["value"], found["low"], found["high"], color="#17597f", alpha=0.22, linewidth=0
        )
        axes.plot(found["value"], found["middle"], color="#17597f", marker="o", markersize=4)
        axes.set(xlabel=name, ylabel="error", ylim=(0, None))


def robustness(
    predictor: Predictor,
    dataset: Dataset,
    rows: NDArray[np.integer] | None = None,
    *,
    head: str | None = None,
    columns: Sequence[str] = (),
    on: str = "",
    domain: Literal["in", "out"] = "in",
    resamples: int = 200,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Robustness:
    """Show each image in all its orientations.

    The answer must not depend on the orientation: classes, maps (which are turned back), and
    numbers such as a brightness, but no positions.

    Parameters
    ----------
    predictor : Predictor
    dataset : Dataset
    rows : (n,) int ndarray, optional
        All rows if not given; those without a label are left out.
    head : str, optional
        The first one if not given.
    columns : sequence of str
        To look for a relation with, such as ``mag`` and ``edge_distance``.
    on : str
        Name of this part of the data.
    domain : {"in", "out"}
        As `Measured` has it.
    resamples, seed : int
        Of the 95 % intervals over groups.
    on_progress : callable, optional
        Told how many items are done, and of how many.

    Returns
    -------
    Robustness

    Raises
    ------
    UsageError
        The task has no image among its inputs, or there is no such head.
    DatasetError
        No labelled row, or a column is absent.

    References
    ----------
    The plots follow those of the Roman transient study: median distance from the truth over flips
    and rotations with its standard deviation, sorted by either, and one against the other.
    """
    task = predictor.bundle.task
    name = next(iter(task.heads)) if head is None else head
    if name not in task.heads:
        raise UsageError(f"{task.name} has no head {name!r}; choose one of {', '.join(task.heads)}")
    predictor.check(dataset)
    images = [key for key, one in task.inputs.items() if _is_image(one)]
    if not images:
        raise UsageError(f"task {task.name} takes no image; nothing can be flipped or turned")
    order = np.arange(len(dataset)) if rows is None else np.asarray(rows, np.int64)
    order, truth = _labelled(dataset, name, task.heads[name], order)
    extra = {column: dataset.column(column)[order] for column in columns}
    square = all(task.inputs[key].shape[0] == task.inputs[key].shape[1] for key in images)
    used = [one for one in ORIENTATIONS if square or one.turns % 2 == 0]
    errors = np.empty((len(order), len(used)), np.float32)
    changed = np.zeros(len(order), bool)
    for start in range(0, len(order), _BATCH):
        index = order[start : start + _BATCH]
        here = slice(start, start + len(index))
        arrays = {key: dataset.take(key, index) for key in task.inputs}
        wanted = truth[here] if truth is not None else dataset.take(_map_name(task.heads[name]), index)
        said = []
        for k, one in enumerate(used):
            turned = {key: one.apply(block) if key in images else block for key, block in arrays.items()}
            values = predictor.probabilities(turned)[name]
            errors[here, k], decision = _judged(predictor, name, one, values, wanted)
            said.append(decision)
        changed[here] = (np.stack(said) != said[0]).any(axis=0)
        if on_progress:
            on_progress(start + len(index), len(order))
    kind = task.heads[name].kind
    result = Robustness(
        bundle=predictor.bundle.name, on=f"{dataset.info.name}, {on}" if on else dataset.info.name,
        head=name, error_name=_ERRORS[kind], orientations=tuple(one.name for one in used), rows=order,
        errors=errors, changed=changed, columns=extra, measured=(),
    )  # fmt: skip
    measured = _measured(result, dataset, domain, resamples, seed)
    return Robustness(**{**vars(result), "measured": measured})


_ERRORS = {
    "binary": "distance of the probability from the truth",
    "multiclass": "probability missing from the true class",
    "multilabel": "largest distance of a probability from the truth",
    "regression": "largest error of a number",
    "heatmap": "distance of the peak from the true one, in pixels",
}


def _is_image(one: Input) -> bool:
    return len(one.shape) == 3 and min(one.shape[:2]) > 1


def _map_name(head: Head) -> str:
    assert isinstance(head, HeatMap)
    return head.truth


def _labelled(
    dataset: Dataset, name: str, head: Head, order: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[Any] | None]:
    """Rows with a label, and their labels; those of maps stay on disk."""
    if isinstance(head, HeatMap):
        return order, None
    labels = dataset.labels(name, head)[order]
    known = labels >= 0 if isinstance(head, Multiclass) else np.isfinite(labels)
    known = known.reshape(len(order), -1).all(axis=1)
    if not known.any():
        raise DatasetError(f"{dataset.path}: no row has a label for {name}; there is no error to measure")
    return order[known], labels[known]


def _judged(
    predictor: Predictor,
    name: str,
    orientation: Orientation,
    values: NDArray[np.float32],
    wanted: NDArray[Any],
) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Error of each item, and what was decided."""
    match predictor.bundle.task.heads[name]:
        case Binary():
            decision = predictor.bundle.card.head(name).decision
            threshold = 0.5 if decision is None else decision.threshold
            return np.abs(values[:, 0] - wanted), values[:, 0] >= threshold
        case Multiclass():
            return 1 - values[np.arange(len(values)), wanted], values.argmax(axis=1)
        case Multilabel():
            bits = (values >= 0.5) @ (1 << np.arange(values.shape[1]))
            return np.abs(values - wanted).max(axis=1), bits
        case HeatMap():
            upright = orientation.undo(values)
            peaks = [_peaks(maps) for maps in (upright, wanted)]
            offset = np.hypot(peaks[0][0] - peaks[1][0], peaks[0][1] - peaks[1][1])
            return offset.astype(np.float32), np.zeros(len(values))
    return np.abs(values - wanted).max(axis=1), np.zeros(len(values))


def _peaks(maps: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    y, x = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), maps.shape[2])
    return y, x


def _measured(
    found: Robustness, dataset: Dataset, domain: Literal["in", "out"], resamples: int, seed: int
) -> tuple[Measured, ...]:
    error, spread, changed = found.error, found.spread, found.changed.astype(np.float64)
    figures: dict[str, Callable[..., float]] = {
        "median error over orientations": lambda e, s, c: float(np.median(e)),
        "median spread over orientations": lambda e, s, c: float(np.median(s)),
        "95 % quantile of the spread": lambda e, s, c: float(np.quantile(s, 0.95)),
        "share of decisions that depend on the orientation": lambda e, s, c: float(c.mean()),
    }
    groups = dataset.groups()[found.rows]
    measured = []
    for name, function in figures.items():
        low, high = metrics.interval(function, error, spread, changed, groups=groups, n=resamples, seed=seed)
        measured.append(
            Measured(
                name=name, value=function(error, spread, changed), low=low, high=high, n=len(error),
                on=found.on, kind=dataset.info.kind, domain=domain,
            )
        )  # fmt: skip
    return tuple(measured)
