"""Where a source stands among others: the distribution of some features in a set of reference stars.

That of the Catalina survey's periodic variables comes with the package; any other is made of a table of
features.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DataError

__all__ = ["AXES", "Reference", "reference_of", "shipped_reference"]

AXES = {
    "period": "period",
    "i90r": "range",
    "chi2red": "χ² over noise",
    "skew": "skew",
    "smallkurt": "kurtosis",
    "stetson_j": "Stetson J",
    "stetson_k": "Stetson K",
    "inv_vonneumannratio": "smoothness",
    "period_power": "periodicity",
    "f1_relamp1": "2nd harmonic",
    "f1_relamp2": "3rd harmonic",
    "lc_otsu_lower_to_all_ratio": "time bright",
}
"""The features that are compared, and what they are called in a figure."""

_LEVELS = np.linspace(0, 100, 51)


@dataclass(frozen=True)
class Reference:
    """Quantiles of features.

    Parameters
    ----------
    name : str
        What the stars are, with their number.
    quantiles : dict of str to tuple of float
        By feature, at even percentages from 0 to 100.
    """

    name: str
    quantiles: dict[str, tuple[float, ...]]

    def percentiles(self, row: Mapping[str, Any]) -> dict[str, float]:
        """Per cent of the stars that are below a source, by what the feature is called.

        Parameters
        ----------
        row : mapping
            Its features; those that are absent or None are left out.
        """
        found: dict[str, float] = {}
        for feature, name in AXES.items():
            value = row.get(feature)
            if value is None or feature not in self.quantiles:
                continue
            levels = np.array(self.quantiles[feature])
            # the middle of the steps where many stars have the same value
            low, high = (np.searchsorted(levels, value, side=side) for side in ("left", "right"))
            at = (
                (low + high - 1) / 2
                if high > low
                else float(np.interp(value, levels, np.arange(len(levels))))
            )
            found[name] = float(np.clip(at / (len(levels) - 1), 0, 1) * 100)
        return found


@cache
def shipped_reference() -> Reference:
    """The periodic variables of the Catalina survey that comes with the package (Drake et al. 2014)."""
    text = (resources.files("astrid.survey") / "reference_stars.json").read_text("utf-8")
    facts = json.loads(text)
    return Reference(facts["name"], {name: tuple(values) for name, values in facts["quantiles"].items()})


def reference_of(path: str | Path, name: str | None = None) -> Reference:
    """The stars of a table of features: a Parquet file, or the folder of a run over a catalogue.

    Raises
    ------
    DataError
        It cannot be read, or has none of the features.
    """
    import pyarrow as pa
    import pyarrow.dataset as ds

    place = Path(path)
    inside = place / "dataset" if (place / "dataset").is_dir() else place
    files = sorted(str(one) for one in inside.rglob("*.parquet")) if inside.is_dir() else [str(inside)]
    try:
        data = ds.dataset(files, format="parquet")
        there = [feature for feature in AXES if feature in data.schema.names]
        table = data.to_table(columns=there)
    except (OSError, pa.ArrowException, ValueError) as error:
        raise DataError(f"{path}: is no table of features ({' '.join(str(error).split())[:200]})") from error
    if not there or not table.num_rows:
        raise DataError(
            f"{path}: has none of the features {', '.join(AXES)}; make it by --features --periods"
        )
    quantiles: dict[str, tuple[float, ...]] = {}
    for feature in there:
        values = _finite(table.column(feature).to_numpy())
        if len(values):
            quantiles[feature] = tuple(float(f"{one:.5g}") for one in np.percentile(values, _LEVELS))
    return Reference(name or f"{table.num_rows:,} sources of {place.name}", quantiles)


def _finite(values: Any) -> NDArray[np.float64]:
    numbers = np.asarray(values, np.float64)
    return numbers[np.isfinite(numbers)]
