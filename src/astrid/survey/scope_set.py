"""A data set for SCOPE's classes: numbers and dm-dt images of variable stars, with a label for each class.

The numbers and periods come from a data set of variable stars; the labels from what its survey says, from
the periods, and from people.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.task import Input
from astrid.lightcurves.classes import taxonomy
from astrid.lightcurves.dmdt import SCOPE as GRID
from astrid.lightcurves.dmdt import dmdt_of
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurves
from astrid.survey.class_labels import Opinion, joined

__all__ = ["FEWEST", "ScopeSet", "part_of", "period_labels", "relabelled", "scope_set"]

FEWEST = 30
"""A class with fewer sources that are probably of it is not learned."""

_BATCH = 512
_SHARES = {"test": 0.25, "validation": 0.15}
_SAME_PERIOD = 0.005


@dataclass(frozen=True)
class ScopeSet:
    """What is in a data set.

    Parameters
    ----------
    out : str
    n : int
        Sources.
    n_labelled : int
        Those of which people said something.
    parts : dict of str to int
    classes : dict of str to int
        Sources that are probably (0.5 or more) of each class; classes without any are absent.
    """

    out: str
    n: int
    n_labelled: int
    parts: dict[str, int]
    classes: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def scope_set(
    variables: str | Path,
    curves: str | Path,
    out: str | Path,
    *,
    survey: str = "crts",
    opinions: Sequence[Opinion] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> ScopeSet:
    """Make the data set.

    Every source has its part in the column ``part``, which follows from the name of its star alone: however
    often the data are made again, with more sources or labels, the test part stays apart.

    Parameters
    ----------
    variables : str or Path
        A data set of variable stars.
    curves : str or Path
        Their light curves, of one band.
    out : str or Path
    survey : str
        Whose labels are in the column ``class``.
    opinions : sequence of Opinion
        They take the place of what the survey says.
    on_progress : callable, optional

    Returns
    -------
    ScopeSet

    Raises
    ------
    DatasetError
        The data set of variable stars has no such columns, or a source no light curve.
    DataError
        The light curves cannot be read.
    UsageError
        An unknown survey or label.
    OutputError
        `out` cannot be written.
    """
    source = Dataset.open(variables)
    names = source.column("id").tolist()
    images = _images(curves, names, on_progress)
    rows = {name: source.rows[name].to_pylist() for name in source.rows.column_names if name != "variable"}
    known = [
        {**trees_say, **period_labels(found, true)}
        for trees_say, found, true in zip(
            (taxonomy().meaning_of(survey, one) for one in source.column("class").tolist()),
            source.column("period").tolist(),
            source.column("catalogue_period").tolist(),
            strict=True,
        )
    ]
    inputs = {
        "features": source.info.inputs["features"],
        "dmdt": Input(shape=(*GRID.shape, 1), meaning="pairs of points by dm (rows) and dt, of norm 1"),
    }
    recipe = {"variables": source.info.hash, "curves": Path(curves).name, "survey": survey}

    def arrays(part: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        return {"features": source.take("features", part), "dmdt": images[part]}

    return _written(out, inputs, arrays, rows, known, opinions, recipe)


def relabelled(dataset: Dataset, opinions: Sequence[Opinion], out: str | Path) -> ScopeSet:
    """The same data with what people said since.

    Parameters
    ----------
    dataset : Dataset
        As `scope_set` makes it.
    opinions : sequence of Opinion
    out : str or Path
        Another directory.

    Returns
    -------
    ScopeSet

    Raises
    ------
    DatasetError
        The data set has no labels of classes, or an opinion is of a source that is not in it.
    UsageError
        `out` is the data set itself.
    OutputError
        `out` cannot be written.
    """
    if Path(out).resolve() == dataset.path.resolve():
        raise UsageError(f"{out} is the data set itself, which models were trained on; choose another --out")
    codes = tuple(taxonomy().classes)
    columns = {code: dataset.column(code) for code in codes}
    known = [
        {code: float(columns[code][k]) for code in codes if np.isfinite(columns[code][k])}
        for k in range(len(dataset))
    ]
    rest = [name for name in dataset.rows.column_names if name not in (*codes, "part", "labelled_by")]
    rows = {name: dataset.rows[name].to_pylist() for name in rest}
    before = dataset.rows["labelled_by"].to_pylist()
    recipe = {**dataset.info.recipe, "parent": dataset.info.hash}

    def arrays(part: NDArray[np.int64]) -> dict[str, NDArray[np.float32]]:
        return {name: dataset.take(name, part) for name in dataset.info.inputs}

    return _written(out, dataset.info.inputs, arrays, rows, known, opinions, recipe, before)


def part_of(star: str) -> str:
    """The part in which a star lies, for ever."""
    share = int.from_bytes(hashlib.sha256(star.encode()).digest()[:8], "big") / 2**64
    return next((part for part, limit in _limits() if share < limit), "train")


def _limits() -> Iterator[tuple[str, float]]:
    total = 0.0
    for part, share in _SHARES.items():
        total += share
        yield part, total


def period_labels(found: float, true: float) -> dict[str, float]:
    """What a known period says of the one that was found; nothing where none is known.

    Parameters
    ----------
    found, true : float, days
        NaN where there is none.

    Returns
    -------
    labels : dict of str to float
        Of ``wp`` (wrong period), ``hp`` (half) and ``dp`` (double). Periods within 0.5 % are the same.
    """
    if not (np.isfinite(found) and np.isfinite(true) and found > 0 and true > 0):
        return {}

    def near(ratio: float) -> bool:
        return abs(found / true / ratio - 1) <= _SAME_PERIOD

    return {"wp": float(not near(1.0)), "hp": float(near(0.5)), "dp": float(near(2.0))}


def _images(
    path: str | Path, names: Sequence[str], on_progress: Callable[[int, int], None] | None
) -> NDArray[np.float32]:
    """The dm-dt image of each source, (n, ny, nx, 1)."""
    place = {name: k for k, name in enumerate(names)}
    images = np.zeros((len(names), *GRID.shape, 1), np.float32)
    found = np.zeros(len(names), bool)
    batch: list[LightCurve] = []
    done = 0

    def flush() -> None:
        nonlocal done
        rows = [place[curve.name] for curve in batch]
        if rows:
            images[rows, ..., 0] = dmdt_of(batch, GRID, "unit")
            found[rows] = True
        done += len(batch)
        batch.clear()
        if on_progress is not None:
            on_progress(done, len(names))

    for curve in read_lightcurves(path, on_problem=lambda name, refusal: None):
        if curve.name in place:
            batch.append(curve)
        if len(batch) == _BATCH:
            flush()
    flush()
    if not found.all():
        raise DatasetError(
            f"{path} has no light curve of {names[int(np.argmin(found))]}; give the curves of the data set"
        )
    return images


def _written(
    out: str | Path,
    inputs: Mapping[str, Input],
    arrays: Callable[[NDArray[np.int64]], dict[str, NDArray[np.float32]]],
    rows: Mapping[str, list[Any]],
    known: Sequence[dict[str, float]],
    opinions: Sequence[Opinion],
    recipe: Mapping[str, Any],
    before: Sequence[str] | None = None,
) -> ScopeSet:
    trees = taxonomy()
    said = joined(opinions)
    stranger = sorted(set(said) - set(rows["id"]))
    if stranger:
        raise DatasetError(
            f"labels are of {stranger[0]}, which is not in the data; give the labels of these sources"
        )
    people = {name: sorted({one.who for one in opinions if one.id == name}) for name in said}
    labels = [
        trees.corrected(one, said[name]) if name in said else one
        for name, one in zip(rows["id"], known, strict=True)
    ]
    values = {code: np.array([one.get(code, np.nan) for one in labels]) for code in trees.classes}
    earlier = before or [""] * len(labels)
    by = [
        "+".join(sorted({*filter(None, who.split("+")), *people.get(name, ())}))
        for name, who in zip(rows["id"], earlier, strict=True)
    ]
    parts = [part_of(star) for star in rows["star"]]
    listed = [
        {"id": one.id, "class": one.code, "value": one.value, "who": one.who, "when": one.when}
        for one in opinions
    ]
    with DatasetWriter(
        out,
        name="variable stars by class",
        inputs=inputs,
        kind="real",
        group="star",
        recipe={**recipe, "opinions": [*recipe.get("opinions", ()), *listed]},
        labels="survey's classes in SCOPE's trees, periods compared with known ones, and people's answers",
    ) as writer:
        for start in range(0, len(labels), _BATCH):
            part = np.arange(start, min(start + _BATCH, len(labels)))
            here = slice(start, start + _BATCH)
            writer.append(
                arrays(part),
                {
                    **{name: column[here] for name, column in rows.items()},
                    "part": parts[here],
                    "labelled_by": by[here],
                    **{code: column[here] for code, column in values.items()},
                },
            )
    counts = {code: int((column >= 0.5).sum()) for code, column in values.items()}
    return ScopeSet(
        out=str(out),
        n=len(labels),
        n_labelled=sum(1 for one in by if one),
        parts={part: parts.count(part) for part in ("train", "validation", "test")},
        classes={code: n for code, n in counts.items() if n},
    )
