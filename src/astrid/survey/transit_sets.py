"""A data set of transit-like signals from their published views: what folded and binned fluxes look like.

Reads tables of views with a row of facts beside each; how views are made of light curves is in
`astrid.lightcurves.transits`.
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError
from astrid.learn.dataset import DatasetWriter
from astrid.lightcurves.transits import orbit_numbers, shape_numbers, signal_numbers
from astrid.zoo.tess_transits import TESS_TRANSIT_VIEWS, TESS_TRANSITS

__all__ = ["FOLDS", "TransitSet", "transit_views"]

FOLDS = 10
"""Parts into which stars fall by their names, so that a split is the same for every seed."""

_VIEWS = {"global_view": "global_view", "shifted_view": "shifted_global_view", "local_view": "local_view"}
# what the source calls so is half a period from the dip, then the dip: planets have nothing in the first half
_HALF_PHASE = "odd_even_view"
_PLANETS = ("KP", "CP", "PC")
# The source gives the stars' parameters on scales of its own. These are the straight lines (Theil and
# Sen's) through 1,604 to 1,974 signals whose star the table of Yu et al. 2019 (Astronet-Triage) has in
# physical units; the median residuals are 170 K, 0.01 dex, 0.08 solar radii and 0.05 solar masses.
_STAR = {
    "TMag": (0.0, 1.0),
    "Teff": (5990.0, 2757.0),
    "logg": (4.208, 0.391),
    "Radius": (1.371, 0.823),
    "Mass": (1.158, 0.486),
}


@dataclass(frozen=True)
class TransitSet:
    """What became of the signals.

    Parameters
    ----------
    out : str
    n_signals, n_stars, n_planets : int
    dispositions : dict of str to int
    """

    out: str
    n_signals: int
    n_stars: int
    n_planets: int
    dispositions: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return dict(self.__dict__)


def transit_views(files: Sequence[str | Path], out: str | Path) -> TransitSet:
    """Make a data set of published views.

    Parameters
    ----------
    files : sequence of str or Path
        NumPy archives with ``global_view``, ``shifted_global_view`` (n, 201), ``local_view`` (n, 81) and
        ``odd_even_view`` (n, 162); beside each a CSV of the same name with a row for each.
    out : str or Path

    Returns
    -------
    TransitSet

    Raises
    ------
    DatasetError
        A file is absent, damaged or of another form.
    OutputError
        `out` cannot be written.
    """
    count: Counter[str] = Counter()
    stars: set[str] = set()
    with DatasetWriter(
        out,
        name="transit views",
        inputs={**TESS_TRANSIT_VIEWS.inputs, **TESS_TRANSITS.inputs},
        kind="real",
        group="star",
        recipe={"files": [Path(file).name for file in files]},
        labels="dispositions of the source; planets are KP, CP and PC",
    ) as writer:
        for file in files:
            views, facts = _read(Path(file))
            disposition = [row["Disposition"] for row in facts]
            writer.append(
                {**views, **_numbers(facts, views)},
                {
                    "star": [row["TIC_ID"] for row in facts],
                    "fold": [_fold(row["TIC_ID"]) for row in facts],
                    "disposition": disposition,
                    "period": _columns(facts, ("Period",))[:, 0].tolist(),
                    "planet": ["planet" if one in _PLANETS else "other" for one in disposition],
                },
            )
            count.update(disposition)
            stars.update(row["TIC_ID"] for row in facts)
    planets = sum(count[one] for one in _PLANETS)
    return TransitSet(str(out), count.total(), len(stars), planets, dict(count.most_common()))


def _read(path: Path) -> tuple[dict[str, NDArray[np.float32]], list[dict[str, str]]]:
    table = path.with_suffix(".csv")
    try:
        with table.open(newline="", encoding="utf-8") as file:
            facts = list(csv.DictReader(file))
        with np.load(path, allow_pickle=False) as archive:
            views = {name: archive[theirs][..., None] for name, theirs in _VIEWS.items()}
            both = archive[_HALF_PHASE].reshape(-1, 2, 81)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: no views with a table beside them ({reason}); give both") from error
    views["half_phase_view"] = np.moveaxis(both, 1, 2)
    for name, values in views.items():
        if len(values) != len(facts):
            raise DatasetError(
                f"{path}: {name} has {len(values)} rows, {table.name} {len(facts)}; they must be the same"
            )
    return {name: np.asarray(values, np.float32) for name, values in views.items()}, facts


def _columns(facts: Sequence[dict[str, str]], names: Sequence[str]) -> NDArray[np.float32]:
    try:
        return np.array([[float(row[name]) for name in names] for row in facts], np.float32)
    except (KeyError, ValueError, TypeError) as error:
        raise DatasetError(f"a row has no number for {error}; correct the table") from error


def _fold(star: str) -> str:
    """One of ten parts for each star, whatever the data set: 0 to 9."""
    return str(hashlib.blake2b(star.encode(), digest_size=8).digest()[0] % FOLDS)


def _numbers(
    facts: Sequence[dict[str, str]], views: dict[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float32]]:
    zero, scale = np.array(list(_STAR.values()), np.float32).T
    star = zero + scale * _columns(facts, tuple(_STAR))
    names = ("Period", "Duration", "Depth", "DepthOdd", "DepthEven", "NumTransits", "snr", "sde")
    period, hours, *levels, transits, snr, sde = _columns(facts, names).T
    depth, odd, even = (1 - one for one in levels)  # the source gives what is left
    signal = signal_numbers(period, hours, depth, odd, even, transits, snr, sde)
    both = np.moveaxis(views["half_phase_view"], 2, 1).reshape(len(facts), -1)
    shape = shape_numbers(
        views["global_view"][..., 0], views["local_view"][..., 0], both, hours / 24 / period
    )
    return {"transit": signal, "star": star, "orbit": orbit_numbers(signal, star), "shape": shape}
