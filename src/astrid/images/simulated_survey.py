"""Simulated pairs as files: what a survey would hand over, with the truth beside it.

The pairs themselves are made in `simulation`; the files are ordinary FITS, read
by `read_frame` like any other, without a mask extension to help the reader.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from astrid.errors import OutputError, UsageError
from astrid.files.atomic import atomic_path
from astrid.images.frame import Flag, Frame
from astrid.images.simulation import SimulatedPair, simulate_pair
from astrid.images.simulation_config import SimulationConfig
from astrid.images.writing import frame_header, write_fits

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["simulate_survey", "write_pair"]

_FILL = np.float32(3.4e38)  # what some pipelines write where there is no data


def simulate_survey(
    out: str | os.PathLike[str],
    n_pairs: int,
    config: SimulationConfig | None = None,
    seed: int = 0,
    *,
    on_pair: Callable[[int], None] | None = None,
) -> Path:
    """Simulate pairs of different fields and write them with their truth.

    Parameters
    ----------
    out : str or path-like
        A folder; made if it does not exist.
    n_pairs : int
    config : SimulationConfig, optional
        ``SimulationConfig.named("survey")`` if not given; the field moves by 1
        degree in right ascension from pair to pair.
    seed : int
        Pair number i has the seed ``seed + i``, so a survey can be made longer
        without changing its first pairs.
    on_pair : callable, optional
        Called with the number of pairs that are complete.

    Returns
    -------
    pairs : Path
        ``pairs.csv`` with the columns ``name``, ``science``, ``reference``,
        ``truth``, ``artefacts`` (file names in the folder), written last. The
        files are ``science_000.fits``, ``reference_000.fits``,
        ``truth_000.ecsv``, ``artefacts_000.ecsv`` and so on.

    Raises
    ------
    UsageError
        `n_pairs` or `seed` is not usable.
    OutputError
        The folder or a file cannot be written.
    """
    if n_pairs < 1:
        raise UsageError(f"{n_pairs} pairs were asked for; ask for at least one")
    if seed < 0:
        raise UsageError(f"the seed is {seed}; give a whole number that is not negative")
    config = SimulationConfig.named("survey") if config is None else config
    folder = Path(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another place") from error
    lines = ["name,science,reference,truth,artefacts"]
    for i in range(n_pairs):
        pair = simulate_pair(replace(config, ra=(config.ra + i) % 360), seed + i)
        names = write_pair(folder, pair, f"{i:03d}", fill=float(_FILL) if i % 2 else float("nan"))
        lines.append(",".join([f"{i:03d}", *names]))
        if on_pair is not None:
            on_pair(i + 1)
    with atomic_path(folder / "pairs.csv") as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="ascii")
    return folder / "pairs.csv"


def write_pair(
    folder: str | os.PathLike[str], pair: SimulatedPair, label: str, *, fill: float = float("nan")
) -> tuple[str, str, str, str]:
    """Write one pair and its truth, each file atomically.

    Parameters
    ----------
    folder : str or path-like
        Must exist.
    pair : SimulatedPair
    label : str
        Goes into the file names.
    fill : float
        Value of pixels without data.

    Returns
    -------
    science, reference, truth, artefacts : str
        The names of the files.
    """
    folder = Path(folder)
    history = (f"simulated by AstrID, seed {pair.seed}",)
    names = []
    for which, frame in (("science", pair.science), ("reference", pair.reference)):
        names.append(f"{which}_{label}.fits")
        write_fits(
            folder / names[-1],
            _pixels(frame, fill),
            wcs=frame.wcs,
            header=frame_header(frame),
            history=history,
        )
    for which, table in (("truth", pair.truth), ("artefacts", pair.artefacts)):
        names.append(f"{which}_{label}.ecsv")
        _write_table(folder / names[-1], table, pair)
    return names[0], names[1], names[2], names[3]


def _pixels(frame: Frame, fill: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.where(frame.mask & Flag.NO_DATA, np.float32(fill), frame.data)


def _write_table(path: Path, table: Table, pair: SimulatedPair) -> None:
    table = table.copy()
    table.meta["seed"] = pair.seed
    with atomic_path(path) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
