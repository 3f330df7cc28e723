"""Light curves of files, searched one after the other: a sheet for each candidate, one JSON for each.

What is searched for and how is in `transit_search`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from astrid._version import __version__
from astrid.errors import LightCurveError, OutputError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain, sha256
from astrid.learn.prediction import Predictor
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.reading import read_lightcurves
from astrid.survey.transit_search import TransitSearch, search_transits
from astrid.survey.transit_sheet import transit_sheet
from astrid.survey.transit_star import Star

__all__ = ["transit_sheets"]

_DPI = 110
_ENDINGS = re.compile(r"(\.(gz|fits?|csv|ecsv|txt|dat|parquet))+$", re.IGNORECASE)
_ODD = re.compile(r"[^A-Za-z0-9+.-]+")  # letters that do not belong into the name of a file


def transit_sheets(
    files: Sequence[str | Path],
    out: str | Path,
    *,
    star: Star | None = None,
    shortest: float = 0.6,
    longest: float | None = None,
    method: str = "boxes",
    most: int = 1,
    predictor: Predictor | None = None,
    reading: Mapping[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Search files for transits; each light curve leaves ``NAME.json``, each candidate ``NAME.1.png``, ….

    Parameters
    ----------
    files : sequence of str or Path
    out : str or Path
        Directory; made if absent.
    star, shortest, longest, method, most, predictor
        As `search_transits` has them; the star is that of all light curves.
    reading : mapping, optional
        Options of `read_lightcurves`.
    on_progress : callable, optional
        Told how many files are done, and of how many.

    Returns
    -------
    results : list of dict
        For each light curve what its JSON holds; of one that cannot be searched ``file``, ``name`` and
        ``error``.

    Raises
    ------
    OutputError
        `out` cannot be written.
    UsageError
        A setting that cannot be.
    """
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made ({error.strerror}); give another --out") from error
    taken: set[str] = set()
    results: list[dict[str, Any]] = []

    def search(curve: LightCurve, path: Path) -> dict[str, Any]:
        found = search_transits(
            curve,
            star=star,
            shortest=shortest,
            longest=longest,
            method=method,
            most=most,
            predictor=predictor,
        )
        return _written(found, path, folder, taken)

    for k, path in enumerate(map(Path, files)):

        def fail(name: str, error: LightCurveError, path: Path = path) -> None:
            results.append({"file": str(path), "name": name, "error": str(error)})

        try:
            for curve in read_lightcurves(path, on_problem=fail, **(reading or {})):
                try:
                    results.append(search(curve, path))
                except LightCurveError as error:
                    fail(curve.name, error)
        except LightCurveError as error:
            fail(path.name, error)
        if on_progress is not None:
            on_progress(k + 1, len(files))
    return results


def _written(found: TransitSearch, path: Path, folder: Path, taken: set[str]) -> dict[str, Any]:
    """The sheets and the JSON of one light curve; its facts."""
    name = _free(_ODD.sub("_", _ENDINGS.sub("", found.name)) or "curve", taken)
    sheets = [f"{name}.{number + 1}.png" for number in range(len(found.candidates))]
    for number, sheet in enumerate(sheets):
        with atomic_path(folder / sheet) as partial:
            transit_sheet(found, number).savefig(partial, format="png", dpi=_DPI)
    facts = {"file": str(path), "sha256": sha256(path), "astrid": __version__, **found.as_dict()}
    facts["sheets"] = sheets
    with atomic_path(folder / f"{name}.json") as partial:
        partial.write_text(json.dumps(plain(facts), indent=1, ensure_ascii=False) + "\n", "utf-8")
    return facts


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number where another light curve has it."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}-{number}"
    taken.add(free)
    return free
