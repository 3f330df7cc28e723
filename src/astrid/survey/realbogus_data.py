"""Labelled triplets from simulated surveys: what a real/bogus classifier is trained on.

Each field is simulated, differenced by the pipeline itself, and its detections are labelled by
the truth; real images and alerts of surveys are read in `real_triplets` and `alert_triplets`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import shutil
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.errors import AstridError, OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.files.record import plain
from astrid.learn.dataset import DatasetWriter
from astrid.learn.task import Input
from astrid.survey.pairs import follow_parent
from astrid.survey.scoring import stacked
from astrid.survey.telescopes import draw_exposure, telescopes

if TYPE_CHECKING:
    from astropy.table import Table

    from astrid.images.differencing import DifferenceResult
    from astrid.images.simulation import SimulatedPair

__all__ = ["TRIPLET", "RealBogusSummary", "candidate_columns", "simulate_realbogus"]

log = logging.getLogger(__name__)

TRIPLET = Input(
    shape=(63, 63, 3),
    unit="ADU, sky subtracted",
    meaning="cutouts around a candidate; the difference is science minus reference, with its sign",
    channels=("science", "reference", "difference"),
)
"""The array of every real/bogus data set."""

_THRESHOLD = 4.5  # of the detection: a little below the pipeline's own, so that its limit is inside the data
_SIZE = 1024  # px; larger frames hold more detections, smaller ones more fields
_MOST = 16  # bogus detections of one kind kept of one pair: a trail alone gives a hundred
_LEAST_SNR = 3.5  # true S/N below which a detection at a change owes more to chance than to the change
_TOO_BRIGHT = (1.5, 5.0)  # a detection above this (factor, offset) of the true S/N has another cause
_LABELS = (
    "truth of the simulation: real is the detection nearest to a change that can be observed, within "
    "max(1.5 px, FWHM / 2), of its sign and about its S/N; bogus is a detection farther than 2 FWHM from "
    "any change; those between are left out"
)


@dataclass(frozen=True)
class RealBogusSummary:
    """What became of a simulated survey.

    Parameters
    ----------
    out : str
    n_rows, n_real, n_bogus : int
    n_pairs, n_failed : int
    n_ambiguous : int
        Detections near a change that are not clearly that change; left out.
    n_surplus : int
        Bogus detections beyond the most of one kind that are kept of one pair.
    telescopes, kinds, bogus_kinds : dict of str to int
        Rows of each.
    """

    out: str
    n_rows: int
    n_real: int
    n_bogus: int
    n_pairs: int
    n_failed: int
    n_ambiguous: int
    n_surplus: int
    telescopes: dict[str, int]
    kinds: dict[str, int]
    bogus_kinds: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


@dataclass(frozen=True)
class _Plan:
    """One field: everything that a worker needs."""

    telescope: str
    seed: int
    size: int
    path: Path


def simulate_realbogus(
    out: str | Path,
    pairs: int,
    *,
    seed: int = 0,
    names: Sequence[str] | None = None,
    workers: int = 2,
    size: int = _SIZE,
    on_progress: Callable[[int, int], None] | None = None,
) -> RealBogusSummary:
    """Simulate pairs of several telescopes, difference them and write their labelled detections.

    Pair i has the seed ``seed + i`` and the telescopes take turns, so that a longer survey
    begins with the pairs of a shorter one. Finished pairs lie in a hidden folder beside `out`
    until the data set is complete: a run that was killed goes on where it was.

    Parameters
    ----------
    out : str or Path
        Directory of the data set ``realbogus``.
    pairs : int
    seed : int
    names : sequence of str, optional
        Of `telescopes`; all if not given.
    workers : int
        Processes. The data do not depend on it.
    size : int, px
        Side of the frames.
    on_progress : callable, optional
        Called with the number of pairs done and of all.

    Returns
    -------
    RealBogusSummary

    Raises
    ------
    UsageError
        No pair, or no telescope of a name.
    OutputError
        `out` cannot be written.
    DatasetError
        No pair gave a row.
    """
    chosen = tuple(names) if names else tuple(telescopes())
    unknown = [name for name in chosen if name not in telescopes()]
    if unknown:
        raise UsageError(f"no telescope is called {unknown[0]!r}; choose from {', '.join(telescopes())}")
    if pairs < 1 or workers < 1:
        raise UsageError(f"{pairs} pairs and {workers} workers were asked for; give at least one of each")
    target = Path(out).absolute()
    if target.is_dir() and not (target / "dataset.json").is_file() and any(target.iterdir()):
        raise OutputError(f"{target} holds files but no data set; choose another --out")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target} is a file, expected a directory; choose another --out")
    recipe: dict[str, Any] = {
        "pairs": pairs, "seed": seed, "telescopes": list(chosen), "size": size, "threshold": _THRESHOLD,
        "most_of_a_kind": _MOST, "ranges": {name: telescopes()[name].model_dump() for name in chosen},
    }  # fmt: skip
    folder = _folder(target, recipe)
    plans = [
        _Plan(chosen[i % len(chosen)], seed + i, size, folder / f"{chosen[i % len(chosen)]}-{seed + i}.npz")
        for i in range(pairs)
    ]
    failed = _run([plan for plan in plans if not _complete(plan.path)], len(plans), workers, on_progress)
    recipe["failed"] = failed
    summary = _write(target, plans, recipe)
    shutil.rmtree(folder, ignore_errors=True)
    return summary


def _folder(target: Path, recipe: dict[str, Any]) -> Path:
    """The hidden folder of the finished pairs; another recipe or version has another one.

    How many pairs there will be is not part of its name: a longer run may go on with it.
    """
    identity = plain({name: value for name, value in recipe.items() if name != "pairs"}) | {
        "version": __version__
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]
    folder = target.with_name(f".{target.name}.pairs-{digest}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another --out") from error
    return folder


def _run(
    plans: list[_Plan], total: int, workers: int, on_progress: Callable[[int, int], None] | None
) -> dict[str, str]:
    """Work on the pairs in processes of our own; the reasons of those that failed, by their names."""
    done = total - len(plans)
    failed: dict[str, str] = {}
    if on_progress is not None:
        on_progress(done, total)
    if not plans:
        return failed
    # spawn: a forked child would inherit the locks of whatever threads we have
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(plans)), mp_context=context, initializer=follow_parent) as pool:
        futures: dict[Future[str], _Plan] = {pool.submit(_work, plan): plan for plan in plans}
        try:
            for future in as_completed(futures):
                plan, error = futures[future], future.exception()
                if isinstance(error, BrokenExecutor):
                    raise AstridError(
                        f"the process that worked on {plan.path.stem} was killed; give it more memory or "
                        "fewer --workers, and run the same command again: it goes on where it was"
                    ) from error
                if isinstance(error, OutputError):
                    raise error
                if error is not None:
                    log.error("%s failed unexpectedly", plan.path.stem, exc_info=error)
                reason = future.result() if error is None else f"unexpected {type(error).__name__}: {error}"
                if reason:
                    failed[plan.path.stem] = reason
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
        except BaseException:  # interrupted: do not begin what has not begun
            for future in futures:
                future.cancel()
            raise
    return dict(sorted(failed.items()))


def _work(plan: _Plan) -> str:
    """Simulate, difference and label one field, and leave it in its file; the reason if it failed."""
    from astrid.images.differencing import DifferenceConfig, difference
    from astrid.images.simulation import simulate_pair

    exposure = draw_exposure(plan.telescope, plan.seed, size=plan.size)
    try:
        pair = simulate_pair(exposure.config, plan.seed)
        result = difference(pair.science, pair.reference, DifferenceConfig(threshold=_THRESHOLD))
    except OutputError:
        raise
    except AstridError as error:
        return str(error)
    labels = _label(pair, result)
    keep = _kept(labels, np.random.default_rng([plan.seed, 2]))
    field = f"{plan.telescope}-{plan.seed}"
    n = len(keep)
    rows: dict[str, list[Any]] = {
        "id": [f"{field}-{number}" for number in np.asarray(result.candidates["id"])[keep].tolist()],
        "field": [field] * n,
        "telescope": [plan.telescope] * n,
        "ccd": [exposure.ccd] * n,
        "seed": [plan.seed] * n,
        "mjd": [exposure.config.mjd_science] * n,
        "month": [_month(exposure.config.mjd_science)] * n,
        "filter": [exposure.config.filter] * n,
        **{name: [values[k] for k in keep] for name, values in labels.items() if name != "ambiguous"},
        **candidate_columns(result, keep),
    }
    counts = {
        "ambiguous": int(np.sum(np.asarray(labels["real"]) == "")),
        "surplus": int(np.sum(np.asarray(labels["real"]) == "bogus")) - rows["real"].count("bogus"),
    }
    text = json.dumps({"rows": plain(rows), "counts": counts}, allow_nan=False)
    with atomic_path(plan.path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            triplet=stacked(result.triplets, TRIPLET.channels, keep),
            text=np.frombuffer(text.encode(), np.uint8),
        )
    return ""


def _month(mjd: float) -> int:
    """Month of the year, 1 to 12."""
    from astropy.time import Time

    return int(Time(mjd, format="mjd").ymdhms["month"])


def candidate_columns(result: DifferenceResult, keep: NDArray[np.int64]) -> dict[str, list[Any]]:
    """Columns of a data set from the measured candidates, and from the frames that they are on.

    All columns of `astrid.images.measurement.COLUMNS`, ``id`` as ``candidate``; what is not
    known is None. Then ``seeing`` and ``seeing_reference`` (px FWHM), ``limiting_mag`` and
    ``method``, the same for all.
    """
    from astrid.images.measurement import COLUMNS

    columns: dict[str, list[Any]] = {}
    for name in COLUMNS:
        values = np.ma.asarray(result.candidates[name])[keep]
        if name == "flags":
            columns[name] = [str(value) for value in values.tolist()]
        elif name == "id":
            columns["candidate"] = [int(value) for value in values.tolist()]
        else:
            columns[name] = [number(value) for value in values.tolist()]
    n = len(keep)
    columns["seeing"] = [float(result.fwhm_science)] * n
    columns["seeing_reference"] = [float(result.fwhm_reference)] * n
    columns["limiting_mag"] = [number(result.limiting_mag_5sigma)] * n
    columns["method"] = [result.method] * n
    return columns


def number(value: float | None) -> float | None:
    """A finite float, or None for what is not known."""
    return float(value) if value is not None and np.isfinite(value) else None


def _label(pair: SimulatedPair, result: DifferenceResult) -> dict[str, list[Any]]:
    """What the truth says of all candidates, as columns; ``real`` is "" where it is ambiguous."""
    from astrid.survey.bogus_kinds import bogus_kinds

    candidates, truth = result.candidates, pair.truth
    x, y, snr = (np.asarray(candidates[name], float) for name in ("x", "y", "snr"))
    fwhm = max(result.fwhm_science, result.fwhm_reference)
    n = len(x)
    labels = np.full(n, "bogus", dtype="<U5")
    match = np.full(n, -1)
    if n and len(truth):
        separation = np.hypot(x[:, None] - np.asarray(truth["x"]), y[:, None] - np.asarray(truth["y"]))
        labels[separation.min(axis=1) <= 2 * fwhm] = ""
        for k, change in enumerate(truth):
            nearest = int(np.argmin(separation[:, k]))
            if _is_change(change, float(separation[nearest, k]), float(snr[nearest]), result.fwhm_science):
                labels[nearest], match[nearest] = "real", k
    kinds = bogus_kinds(pair, result)
    real = labels == "real"
    return {
        "real": labels.tolist(),
        "kind": [str(truth["kind"][k]) if k >= 0 else None for k in match],
        "hosted": [bool(truth["host"][k] >= 0) if k >= 0 else None for k in match],
        "true_snr": [float(truth["snr_true"][k]) if k >= 0 else None for k in match],
        "bogus_kind": [None if is_real else kind for kind, is_real in zip(kinds, real, strict=True)],
    }


def _is_change(change: Table.Row, separation: float, snr: float, fwhm: float) -> bool:
    """Whether the detection nearest to a change is that change and nothing else."""
    true = float(change["snr_true"])
    factor, offset = _TOO_BRIGHT
    return (
        bool(change["observable"])
        and abs(true) >= _LEAST_SNR
        and separation <= max(1.5, fwhm / 2)
        and true * snr > 0
        and abs(snr) <= factor * abs(true) + offset
    )


def _kept(labels: dict[str, list[Any]], rng: np.random.Generator) -> NDArray[np.int64]:
    """Rows to keep: all that are real, and of each kind of bogus no more than the most."""
    real, kinds = np.asarray(labels["real"]), np.asarray(labels["bogus_kind"], object)
    keep = [np.flatnonzero(real == "real")]
    for kind in sorted(set(kinds[real == "bogus"])):
        rows = np.flatnonzero((real == "bogus") & (kinds == kind))
        keep.append(rng.permutation(rows)[:_MOST])
    return np.sort(np.concatenate(keep))


def _complete(path: Path) -> bool:
    """Whether the pair is finished; a file that is damaged does not count."""
    return path.is_file() and zipfile.is_zipfile(path)


def _write(target: Path, plans: Sequence[_Plan], recipe: dict[str, Any]) -> RealBogusSummary:
    """Put the pairs together, in their order."""
    counts: dict[str, Counter[str]] = {
        name: Counter() for name in ("telescope", "real", "kind", "bogus_kind", "left out")
    }
    with DatasetWriter(
        target,
        name="realbogus",
        inputs={"triplet": TRIPLET},
        kind="simulated",
        group="field",
        time="mjd",
        recipe=recipe,
        labels=_LABELS,
        licence="MIT",
    ) as writer:
        for plan in plans:
            if not plan.path.is_file():
                continue  # failed; the recipe has the reason
            with np.load(plan.path, allow_pickle=False) as pair:
                facts = json.loads(pair["text"].tobytes())
                triplet = pair["triplet"]
            counts["left out"].update(facts["counts"])
            rows = facts["rows"]
            for name in ("telescope", "real", "kind", "bogus_kind"):
                counts[name].update(value for value in rows[name] if value is not None)
            if len(triplet):
                writer.append({"triplet": triplet}, rows)
    return RealBogusSummary(
        out=str(target),
        n_rows=counts["telescope"].total(),
        n_real=counts["real"]["real"],
        n_bogus=counts["real"]["bogus"],
        n_pairs=len(plans),
        n_failed=len(recipe["failed"]),
        n_ambiguous=counts["left out"]["ambiguous"],
        n_surplus=counts["left out"]["surplus"],
        telescopes=dict(sorted(counts["telescope"].items())),
        kinds=dict(sorted(counts["kind"].items())),
        bogus_kinds=dict(sorted(counts["bogus_kind"].items())),
    )
