"""A data set of transit-like signals from their published views: what folded and binned fluxes look like.

Reads tables of views with a row of facts beside each; how views are made of light curves is in
`astrid.lightcurves.transits`.
"""

from __future__ import annotations

import csv
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
from astrid.zoo.tess_transits import TESS_TRANSITS

__all__ = ["TransitSet", "transit_views"]

_VIEWS = {"global_view": "global_view", "shifted_view": "shifted_global_view", "local_view": "local_view"}
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
        inputs=TESS_TRANSITS.inputs,
        kind="real",
        group="star",
        recipe={"files": [Path(file).name for file in files]},
        labels="dispositions of the source; planets are KP, CP and PC",
    ) as writer:
        for file in files:
            views, facts = _read(Path(file))
            disposition = [row["Disposition"] for row in facts]
            writer.append(
                {**views, "transit": _signal(facts), "star": _star(facts)},
                {
                    "star": [row["TIC_ID"] for row in facts],
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
            both = archive["odd_even_view"].reshape(-1, 2, 81)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: no views with a table beside them ({reason}); give both") from error
    views["odd_even_view"] = np.moveaxis(both, 1, 2)
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


def _star(facts: Sequence[dict[str, str]]) -> NDArray[np.float32]:
    zero, scale = np.array(list(_STAR.values()), np.float32).T
    return zero + scale * _columns(facts, tuple(_STAR))


def _signal(facts: Sequence[dict[str, str]]) -> NDArray[np.float32]:
    """The signal's numbers, in the order of the input's channels."""
    names = ("Period", "Duration", "Depth", "DepthOdd", "DepthEven", "NumTransits", "snr", "sde")
    period, duration, *levels, transits, snr, sde = _columns(facts, names).T
    depth, odd, even = (np.maximum(1 - one, 1e-6) for one in levels)  # the source gives what is left
    low = np.float32(1e-3)
    return np.stack(
        [
            np.log10(period),
            (odd - even) / (odd + even),
            np.log10(np.maximum(duration, low)),
            np.log10(depth),
            np.log10(np.maximum(transits, 1)),
            np.log10(np.maximum(snr, low)),
            np.log10(np.maximum(sde, low)),
        ],
        axis=1,
    ).astype(np.float32)
