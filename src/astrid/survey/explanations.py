"""Why the model said what it said about one candidate of a run, on demand.

Finds the candidate and the bundle that scored it; how explanations are made is in
`astrid.learn.explanation`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import BundleError, DataError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.survey.scoring import LIVE, choose_model

if TYPE_CHECKING:
    from astrid.learn.bundle import Bundle
    from astrid.learn.explanation.result import Explanation

__all__ = ["EXPLANATIONS", "explain_candidate"]

EXPLANATIONS = "explanations"
"""Directory of the explanations within that of a run; a new run in its place removes it."""


def explain_candidate(
    run: str | Path,
    candidate: int,
    *,
    method: str = "auto",
    model: Bundle | str | Path | None = None,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Explanation, tuple[Path, Path]]:
    """Explain the score of a candidate, and draw it.

    Parameters
    ----------
    run : str or Path
        Directory of a run.
    candidate : int
        Its ``id``.
    method : str
        See `astrid.learn.explanation.explain`; ``auto`` is occlusion, which needs no torch.
    model : Bundle, str, Path or None
        The bundle that scored the run if not given, or the live one of a run without scores.
    seed : int
    on_progress : callable, optional
        Told how many explanations of how many are done; those of random networks are included.

    Returns
    -------
    explanation : Explanation
    written : (Path, Path)
        The picture and the numbers, ``explanations/candidate_<id>_<method>.png`` and ``.json``.

    Raises
    ------
    DataError
        There is no complete run, or no candidate of this id.
    UsageError, BundleError
        The bundle cannot be found, is no longer the one that scored the run, or takes other cutouts.
    OutputError
        The files cannot be written.
    """
    from astrid.learn.explanation import explain
    from astrid.learn.scores import read_arrays

    directory = Path(run)
    document = _document(directory)
    size = int(document["provenance"]["configuration"]["cutout_size"])
    bundle = _bundle(document, model, size, directory)
    arrays = read_arrays(directory / "triplets.npz", bundle)
    row = _row(arrays.pop("id"), candidate, directory)
    inputs = {name: array[row] for name, array in arrays.items()}
    explanation = explain(bundle, inputs, method=method, seed=seed, on_progress=on_progress)
    place = directory / EXPLANATIONS
    try:
        place.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{place} cannot be made ({error.strerror}); copy the run elsewhere") from error
    stem = f"candidate_{candidate}_{explanation.method}"
    picture, numbers = place / f"{stem}.png", place / f"{stem}.json"
    with atomic_path(picture) as partial:
        explanation.plot().savefig(partial, dpi=150)
    explanation.save(numbers)
    return explanation, (picture, numbers)


def _document(directory: Path) -> dict[str, Any]:
    path = directory / "run.json"
    try:
        document = json.loads(path.read_text("utf-8"))
        if isinstance(document["provenance"]["configuration"]["cutout_size"], int):
            return dict(document)
    except FileNotFoundError as error:
        raise DataError(
            f"{directory}: is no complete run (it has no run.json); give the directory of a run"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); difference the pair again") from error
    raise DataError(f"{path}: is not that of a run; difference the pair again")


def _bundle(
    document: dict[str, Any], model: Bundle | str | Path | None, size: int, directory: Path
) -> Bundle:
    recorded = document.get("model")
    bundle, reason = choose_model(model or recorded or LIVE, size)
    if bundle is None:
        raise BundleError(f"{directory}: {reason}; give a --model")
    if model is None and recorded and bundle.hash != document["model_hash"]:
        raise BundleError(
            f"{directory}: was scored by another {recorded} than the one that has this name now; give "
            f"--model {recorded} to explain with the latter, or difference the pair again"
        )
    return bundle


def _row(identifiers: NDArray[Any], candidate: int, directory: Path) -> int:
    found = np.flatnonzero(np.asarray(identifiers) == candidate)
    if not len(found):
        raise UsageError(
            f"{directory}: has no candidate {candidate}; its {len(identifiers)} candidates are in "
            "candidates.ecsv"
        )
    return int(found[0])
