"""The main job on a simulated field, and what it recovered of what was put in.

The demonstration of the package: everything is made here, nothing is downloaded.
Goals and comparisons with other software are the business of `astrid.bench`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.files.directory import product_directory
from astrid.files.record import plain
from astrid.survey.provenance import FrameFile
from astrid.survey.run import RunSummary, difference_files

if TYPE_CHECKING:
    from astropy.table import Table

    from astrid.images.differencing import DifferenceResult

__all__ = ["Recovery", "recovery", "run_demo"]

_FIELD = "field"  # directory of the simulated files within the demo's
_MATCH = 3.0  # px


@dataclass(frozen=True)
class Recovery:
    """What was found of what was put in, and what else.

    Parameters
    ----------
    n_injected : int
        Changes of either sign on pixels that can be observed.
    n_expected : int
        Those whose true S/N is above the threshold.
    n_clean, n_flagged, n_missed : int
        Of the expected: found without a flag, found with one, not found.
    n_fainter : int
        Found although their true S/N is below the threshold.
    n_false_clean, n_false_flagged : int
        Candidates at no change, without and with a flag.
    match_px : float, px
        Distance within which a candidate is taken for a change.
    """

    n_injected: int
    n_expected: int
    n_clean: int
    n_flagged: int
    n_missed: int
    n_fainter: int
    n_false_clean: int
    n_false_flagged: int
    match_px: float = _MATCH

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        counts: dict[str, Any] = plain(asdict(self))
        return counts


def recovery(candidates: Table, truth: Table, threshold: float) -> Recovery:
    """Compare candidates with the truth of a simulated pair.

    Parameters
    ----------
    candidates : `~astropy.table.Table`
        Columns ``x``, ``y``, ``flags``.
    truth : `~astropy.table.Table`
        Columns ``x``, ``y``, ``snr_true``, ``observable``; see `SimulatedPair`.
    threshold : float
        On the absolute S/N.

    Returns
    -------
    Recovery
    """
    columns = (np.asarray(table[name], float) for table in (candidates, truth) for name in "xy")
    x, y, true_x, true_y = columns
    near = np.hypot(x[:, None] - true_x, y[:, None] - true_y) < _MATCH
    clean = np.array([not str(flag) for flag in candidates["flags"]], bool)
    observable = np.asarray(truth["observable"], bool)
    expected = observable & (np.abs(np.asarray(truth["snr_true"], float)) >= threshold)
    found, found_clean = near.any(axis=0), near[clean].any(axis=0)
    false = ~near.any(axis=1)
    return Recovery(
        n_injected=int(observable.sum()),
        n_expected=int(expected.sum()),
        n_clean=int((expected & found_clean).sum()),
        n_flagged=int((expected & found & ~found_clean).sum()),
        n_missed=int((expected & ~found).sum()),
        n_fainter=int((observable & ~expected & found).sum()),
        n_false_clean=int((false & clean).sum()),
        n_false_flagged=int((false & ~clean).sum()),
    )


def run_demo(
    out: str | Path,
    *,
    seed: int = 0,
    overwrite: bool = False,
    command: str | None = None,
    on_stage: Callable[[str], None] | None = None,
) -> tuple[RunSummary, DifferenceResult, Recovery]:
    """Simulate a survey field of 1024 x 1024 px, difference it, and compare with the truth.

    The products of the run are in `out`, the simulated files in ``<out>/field``.

    Parameters
    ----------
    out : str or Path
    seed : int
        The same seed gives the same field.
    overwrite : bool
        Write into a directory that holds other files too.
    command : str, optional
        What the products say they were made by.
    on_stage : callable, optional
        Told the name of each stage as it begins.

    Returns
    -------
    summary : RunSummary
    result : DifferenceResult
    recovered : Recovery

    Raises
    ------
    OutputError
        The files cannot be written.
    """
    from astrid.images.differencing import DifferenceConfig
    from astrid.images.simulated_survey import write_pair
    from astrid.images.simulation import simulate_pair
    from astrid.images.simulation_config import SimulationConfig

    if on_stage is not None:
        on_stage("simulating a survey field")
    pair = simulate_pair(SimulationConfig.named("demo"), seed)
    home = Path(out)
    names = ("science_demo.fits", "reference_demo.fits", "truth_demo.ecsv", "artefacts_demo.ecsv")
    with product_directory(home / _FIELD, names=names, last=names[2], overwrite=overwrite) as staging:
        write_pair(staging, pair, "demo")
    config = DifferenceConfig()
    summary, result = difference_files(
        FrameFile(home / _FIELD / names[0]),
        FrameFile(home / _FIELD / names[1]),
        home,
        config=config,
        overwrite=overwrite,
        command=command,
        truth=pair.truth,
        beside=(_FIELD,),
        on_stage=on_stage,
    )
    return summary, result, recovery(result.candidates, pair.truth, config.threshold)
