"""A data set of variable stars: features, period figures, dm-dt images, folded profiles and labels.

The periods are those of our own search; those of catalogues are kept in the table of rows and never go in.
What the numbers are is in `astrid.lightcurves`; the stars with their labels are read in `labelled_stars`.
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import AstridError, DataError, LightCurveError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.learn.dataset import DatasetWriter
from astrid.learn.task import Input
from astrid.lightcurves.dmdt import MAHABAL_2017, MAHABAL_2017_FINE, MAHABAL_2017_OVERFLOW, dmdt
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periodicity import SEARCH_VERSION, Search, folded_profile, points_of, search
from astrid.lightcurves.variability import VERSION, numbers_of, variability
from astrid.survey.labelled_stars import Star, labelled_stars
from astrid.survey.pairs import follow_parent

__all__ = ["VariableSet", "variable_stars"]

_PART = 48  # stars that a worker searches before it leaves them in a file
_BATCH = 256
_PARTS = {"test": 0.5, "validation": 0.6, "train": 1.0}
_GRIDS = {"dmdt": MAHABAL_2017, "dmdt_overflow": MAHABAL_2017_OVERFLOW, "dmdt_fine": MAHABAL_2017_FINE}
_LABELS = "classes and periods of the table that was given; stars within 3 arcseconds are one"


@dataclass(frozen=True)
class VariableSet:
    """What became of the stars.

    Parameters
    ----------
    out : str
    n_curves, n_stars, n_failed : int
        Curves that are in, stars that they are of, and curves that could not be measured.
    classes : dict of str to int
    """

    out: str
    n_curves: int
    n_stars: int
    n_failed: int
    classes: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def variable_stars(
    curves: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    classes: Sequence[str] | None = None,
    workers: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> VariableSet:
    """Search labelled light curves for their periods, measure them, and write a data set.

    What the searches found lies in a hidden folder beside `out`, which stays: a run that was killed goes on
    where it was, and one with other features need not search again.

    Parameters
    ----------
    curves, labels : str or Path
        See `labelled_stars`.
    out : str or Path
        Directory of the data set. Its inputs are ``features`` (see `variability`), with one band
        ``dmdt`` (22, 23, 1), ``dmdt_overflow`` (23, 24, 1) and ``dmdt_fine`` (28, 23, 1), images of scaling
        ``root``, and ``folded`` (32, 1), the profile at the period. The column ``part`` divides the stars:
        half test, a tenth validates.
    classes : sequence of str, optional
        Those that have a label in the column ``variable``; all if not given. Other stars are in the data set
        without.
    workers : int
        Processes that search. The data do not depend on it.
    on_progress : callable, optional
        Called with the number of stars done and of all: each is searched, then measured.

    Returns
    -------
    VariableSet

    Raises
    ------
    UsageError
        No workers, or a class that no star has.
    DataError
        The tables cannot be read, or do not fit together.
    OutputError
        `out` cannot be written.
    """
    if workers < 1:
        raise UsageError(f"{workers} workers were asked for; give at least one")
    failed: dict[str, str] = {}
    stars = labelled_stars(curves, labels, on_problem=failed.__setitem__)
    known = Counter(star.label for star in stars)
    for name in classes or ():
        if name not in known:
            raise UsageError(f"no star of {labels} is a {name}; choose from {', '.join(sorted(known))}")
    folder = _folder(Path(out).absolute(), stars)
    total = 2 * len(stars)

    def tell(done: int) -> None:
        if on_progress is not None:
            on_progress(done, total)

    found = _searched(folder, stars, workers, tell)
    wanted = set(classes or known)
    several = len({star.curve.bands for star in stars}) > 1 or any(len(s.curve.bands) > 1 for s in stars)
    bands = tuple(sorted({band for star in stars for band in star.curve.bands})) if several else ("",)
    recipe = {
        "curves": Path(curves).name,
        "labels": Path(labels).name,
        "classes": sorted(wanted),
        "bands": list(bands),
        "versions": {"search": SEARCH_VERSION, "variability": VERSION},
    }
    failed |= {name: one for name, one in found.items() if isinstance(one, str)}
    count: Counter[str] = Counter()
    done = len(stars)
    with DatasetWriter(
        out,
        name="variable stars",
        inputs=_inputs(bands),
        kind="real",
        group="star",
        recipe={**recipe, "failed": failed},
        labels=_LABELS,
    ) as writer:
        for batch, rows in _measured(stars, found, bands):
            writer.append(batch, {**rows, "variable": [c if c in wanted else None for c in rows["class"]]})
            count.update(rows["class"])
            done += len(rows["class"])
            tell(done)
    tell(total)
    kept = {star.group for star in stars if star.curve.name not in failed}
    return VariableSet(str(out), count.total(), len(kept), len(failed), dict(count.most_common()))


def _inputs(bands: tuple[str, ...]) -> dict[str, Input]:
    numbers = numbers_of(bands)
    inputs = {
        "features": Input(
            shape=(len(numbers),),
            unit="of each, see variability",
            meaning="statistics, Fourier terms and period figures; what is not defined is 0",
            channels=tuple(numbers),
        ),
        "folded": Input(shape=(32, 1), unit="range of the profile", meaning="folded, from the faintest bin"),
    }
    if len(bands) == 1:
        what = "root of the share of pairs of points, by dm (rows) and dt"
        inputs |= {name: Input(shape=(*grid.shape, 1), meaning=what) for name, grid in _GRIDS.items()}
    return inputs


def _measured(
    stars: Sequence[Star], found: dict[str, Search | str], bands: tuple[str, ...]
) -> Iterator[tuple[dict[str, NDArray[np.float32]], dict[str, list[Any]]]]:
    """Arrays and rows of the stars whose search succeeded, some at a time."""
    good = [star for star in stars if not isinstance(found[star.curve.name], str)]
    names = tuple(numbers_of(bands))
    for start in range(0, len(good), _BATCH):
        part = good[start : start + _BATCH]
        arrays: dict[str, list[Any]] = {name: [] for name in _inputs(bands)}
        for star in part:
            result = found[star.curve.name]
            assert isinstance(result, Search)
            points = points_of(star.curve)
            numbers = variability(star.curve, points, result, bands)
            arrays["features"].append([numbers[name] for name in names])
            arrays["folded"].append(folded_profile(points, 1 / result.period)[0][:, None])
            if len(bands) == 1:
                for name, grid in _GRIDS.items():
                    arrays[name].append(dmdt(star.curve, grid, "root")[..., None])
        searches = [found[star.curve.name] for star in part]
        rows: dict[str, list[Any]] = {
            "id": [star.curve.name for star in part],
            "star": [star.group for star in part],
            "part": [_part(star.group) for star in part],
            "class": [star.label for star in part],
            "n_points": [len(star.curve) for star in part],
            "period": [one.period for one in searches if isinstance(one, Search)],
            "sine_period": [1 / one.sine_frequency[0] for one in searches if isinstance(one, Search)],
            "catalogue_period": [star.period for star in part],
        }
        yield {name: np.asarray(values, np.float32) for name, values in arrays.items()}, rows


def _part(group: str) -> str:
    """Half of all stars test, a tenth validates: by a hash of the name, which no order or making changes."""
    drawn = int.from_bytes(hashlib.sha256(group.encode()).digest()[:4]) / 2**32
    return next(name for name, end in _PARTS.items() if drawn < end)


def _folder(target: Path, stars: Sequence[Star]) -> Path:
    """The hidden folder of the searches; other curves or another search have another one."""
    if target.is_dir() and not (target / "dataset.json").is_file() and any(target.iterdir()):
        raise OutputError(f"{target} holds files but no data set; choose another --out")
    digest = hashlib.sha256(str(SEARCH_VERSION).encode())
    for star in stars:
        digest.update(star.curve.name.encode())
        digest.update(star.curve.time.tobytes() + star.curve.value.tobytes())
    folder = target.with_name(f".{target.name}.searches-{digest.hexdigest()[:12]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another --out") from error
    return folder


def _searched(
    folder: Path, stars: Sequence[Star], workers: int, tell: Callable[[int], None]
) -> dict[str, Search | str]:
    """What was found for each curve, or why nothing was, by its name."""
    parts = [stars[start : start + _PART] for start in range(0, len(stars), _PART)]
    paths = [folder / f"{number:05d}.json" for number in range(len(parts))]
    known = {path: _read(path) for path in paths}
    waiting = [(path, part) for path, part in zip(paths, parts, strict=True) if known[path] is None]
    done = len(stars) - sum(len(part) for _, part in waiting)
    tell(done)
    if waiting and min(workers, len(waiting)) == 1:
        for path, part in waiting:
            known[path] = _work(path, [star.curve for star in part])
            done += len(part)
            tell(done)
    elif waiting:
        # spawn: a forked child would inherit the locks of whatever threads we have
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, mp_context=context, initializer=follow_parent) as pool:
            curves = [[star.curve for star in part] for _, part in waiting]
            try:
                results = pool.map(_work, [path for path, _ in waiting], curves)
                for (path, part), result in zip(waiting, results, strict=True):
                    known[path] = result
                    done += len(part)
                    tell(done)
            except BrokenExecutor as error:
                raise AstridError(
                    "a process that searched was killed; give it more memory or fewer --workers, and run the "
                    "same command again: it goes on where it was"
                ) from error
    found: dict[str, Search | str] = {}
    for rows in known.values():
        for row in rows or ():
            name = row.pop("name")
            found[name] = row["problem"] if "problem" in row else Search.from_dict(row)
    return found


def _read(path: Path) -> list[dict[str, Any]] | None:
    try:
        rows = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({error}); remove it and run again") from error
    return list(rows)


def _work(path: Path, curves: Sequence[LightCurve]) -> list[dict[str, Any]]:
    """Search some curves and leave what was found in a file."""
    rows = []
    for curve in curves:
        try:
            rows.append({"name": curve.name, **search(curve).as_dict()})
        except LightCurveError as refusal:
            rows.append({"name": curve.name, "problem": str(refusal)})
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(rows) + "\n", "utf-8")
    return rows
