"""Which numbers the classes are told by: what is lost when one of them is that of another star.

Numbers that say the same stand in for each other, so that each alone seems to matter little; families of
numbers are shuffled together for that reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.files.atomic import atomic_path
from astrid.learn.bundle import Bundle
from astrid.learn.dataset import Dataset
from astrid.learn.metrics import aucpr
from astrid.learn.prediction import Predictor
from astrid.lightcurves.features import STATISTICS
from astrid.lightcurves.periodicity import PERIODICITY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Importance", "draw_importance", "importance"]

_BATCH = 512
_SHOWN = 20  # numbers in the figure
_SERIES = ("base_", "orbit_")


@dataclass(frozen=True, eq=False)
class Importance:
    """What is lost for each class.

    Parameters
    ----------
    classes : tuple of str
    area : (k,) float64 ndarray
        Area under precision against recall of each class, with everything in its place.
    names, families : tuple of str
    loss : (n, k) float64 ndarray
        Of area, with one number shuffled; the mean over repeats.
    family_loss : (m, k) float64 ndarray
        With all numbers of a family shuffled alike.
    """

    classes: tuple[str, ...]
    area: NDArray[np.float64]
    names: tuple[str, ...]
    families: tuple[str, ...]
    loss: NDArray[np.float64]
    family_loss: NDArray[np.float64]

    def as_dict(self) -> dict[str, Any]:
        """By number or family: the mean loss, and that of each class."""
        return {
            what: {
                name: {"mean": float(row.mean()), **dict(zip(self.classes, row.tolist(), strict=True))}
                for name, row in zip(names, table, strict=True)
            }
            for what, names, table in (
                ("families", self.families, self.family_loss),
                ("numbers", self.names, self.loss),
            )
        }


def importance(
    bundle: Bundle,
    dataset: Dataset,
    *,
    repeats: int = 3,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Importance:
    """Shuffle each number, and each family of numbers, over the stars of the test part.

    Parameters
    ----------
    bundle : Bundle
    dataset : Dataset
        As `scope_set` makes it.
    repeats, seed : int
        Of the shuffling.
    on_progress : callable, optional

    Returns
    -------
    Importance

    Raises
    ------
    DatasetError
        The test part has no class with yes and no.
    PredictionError
        The data set does not fit the bundle.

    References
    ----------
    Breiman 2001, Machine Learning 45, 5, section 10.
    """
    predictor = Predictor(bundle)
    predictor.check(dataset)
    rows = np.flatnonzero(dataset.column("part") == "test")
    arrays = {name: dataset.take(name, rows) for name in bundle.task.inputs}
    truth = {code: dataset.column(code)[rows] for code in bundle.task.heads}
    judged = tuple(code for code, labels in truth.items() if _two(labels))
    if not judged:
        raise DatasetError(f"{dataset.path}: the test part has no class with yes and no; add labels")
    names = tuple(bundle.task.inputs["features"].channels) if "features" in arrays else ()
    groups = _families(names, tuple(arrays))
    area = _areas(predictor, arrays, truth, judged)
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(rows)) for _ in range(repeats)]
    total, done = len(names) + len(groups), 0

    def lost(part: Mapping[str, NDArray[np.int64] | None]) -> NDArray[np.float64]:
        nonlocal done
        found = [_areas(predictor, _shuffled(arrays, part, one), truth, judged) for one in orders]
        done += 1
        if on_progress is not None:
            on_progress(done, total)
        return area - np.mean(found, axis=0)

    families = {name: lost(part) for name, part in groups.items()}
    each = [lost({"features": np.array([k])}) for k in range(len(names))]
    width = len(judged)
    return Importance(
        classes=judged,
        area=area,
        names=names,
        families=tuple(families),
        loss=np.array(each).reshape(-1, width),
        family_loss=np.array(list(families.values())).reshape(-1, width),
    )


def draw_importance(found: Importance, out: str | Path) -> None:
    """Draw the families and the most important numbers as a table of colours, class by class.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    figure = _figure(found)
    with atomic_path(out) as partial:
        figure.savefig(partial, format=Path(out).suffix.removeprefix(".") or "png", dpi=130)


def _figure(found: Importance) -> Figure:
    from matplotlib.figure import Figure

    order = np.argsort(-found.loss.mean(axis=1))[:_SHOWN]
    labels = [*found.families, *(found.names[k] for k in order)]
    table = np.concatenate([found.family_loss, found.loss[order]])
    size = (0.34 * len(found.classes) + 2.6, 0.24 * len(labels) + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    top = max(float(np.quantile(table, 0.98)), 0.01)
    image = axes.imshow(np.clip(table, 0, top), cmap="Blues", aspect="auto", vmin=0, vmax=top)
    axes.set_xticks(range(len(found.classes)), found.classes, rotation=90)
    axes.set_yticks(range(len(labels)), labels)
    axes.axhline(len(found.families) - 0.5, color="0.3", linewidth=1)
    figure.colorbar(image, ax=axes, label="loss of AUCPR when shuffled")
    return figure


def _two(labels: NDArray[np.float64]) -> bool:
    yes = labels[np.isfinite(labels)] >= 0.5
    return bool(yes.any() and not yes.all())


def _areas(
    predictor: Predictor,
    arrays: Mapping[str, NDArray[np.float32]],
    truth: Mapping[str, NDArray[np.float64]],
    judged: Sequence[str],
) -> NDArray[np.float64]:
    n = len(next(iter(arrays.values())))
    parts = [
        predictor.probabilities({name: one[start : start + _BATCH] for name, one in arrays.items()})
        for start in range(0, n, _BATCH)
    ]
    areas = []
    for code in judged:
        known = np.isfinite(truth[code])
        p = np.concatenate([part[code][:, 0] for part in parts])
        areas.append(aucpr(truth[code][known], p[known]))
    return np.array(areas)


def _shuffled(
    arrays: Mapping[str, NDArray[np.float32]],
    part: Mapping[str, NDArray[np.int64] | None],
    order: NDArray[np.int64],
) -> dict[str, NDArray[np.float32]]:
    """Some columns, or with None whole items, of the stars in another order."""
    found = dict(arrays)
    for name, columns in part.items():
        if columns is None:
            found[name] = arrays[name][order]
        else:
            found[name] = arrays[name].copy()
            found[name][:, columns] = arrays[name][order][:, columns]
    return found


def _families(
    names: Sequence[str], inputs: Sequence[str]
) -> dict[str, Mapping[str, NDArray[np.int64] | None]]:
    """Columns of the numbers of each kind; what is no number is a family by itself."""
    kinds: dict[str, Callable[[str], bool]] = {
        "all statistics": lambda name: name in STATISTICS,
        "all Fourier terms": lambda name: name.startswith(_SERIES),
        "all of the period": lambda name: name in PERIODICITY,
    }
    found: dict[str, Mapping[str, NDArray[np.int64] | None]] = {}
    for kind, belongs in kinds.items():
        columns = np.flatnonzero([belongs(name) for name in names])
        if len(columns):
            found[kind] = {"features": columns}
    return found | {f"whole {name} image": {name: None} for name in inputs if name != "features"}
