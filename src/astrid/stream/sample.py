"""Candidate rows of one or more nights in bounded memory: what drift is measured on.

Rows are drawn by lot where there are more than fit, and everything that is a count is counted before;
nothing is compared here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Sample", "models", "of_survey", "probabilities", "wanted"]

INPUTS = ("magpsf", "snr", "limiting_mag", "missing_pixels")
"""Numbers that are watched, of all surveys, as far as a table has them."""

FIELDS = {
    "input": ("fwhm", "elong", "nbad"),  # numbers that are watched
    "chip": ("rcid", "detector", "ccd"),  # on which chip, or part of one, an alert was found
    "score": ("drb", "reliability"),  # the survey's own opinion whether it is real
}
"""And the surveys' own fields, as their layouts call them."""

SHARES = ("positive", "image_problem")
"""Properties of the packets: true or not, and there or not."""

_KEYS = ("survey", "alert_id", "night", "band")
_ALIAS = "realbogus"  # the same numbers as those of the bundle that is live
_LOT = "__lot"


def of_survey(names: Sequence[str], survey: str, use: str) -> list[str]:
    """The columns of a survey's own fields that have a use: ``input``, ``chip`` or ``score``."""
    return [f"{survey}_{field}" for field in FIELDS[use] if f"{survey}_{field}" in names]


def models(names: Sequence[str]) -> list[str]:
    """The bundles that have columns among these: the beginnings of their names."""
    found = [name.removesuffix("_hash") for name in names if name.endswith("_hash")]
    return [one for one in found if one != _ALIAS or len(found) == 1]


def probabilities(names: Sequence[str], model: str) -> list[str]:
    """The columns with the probabilities of a bundle: one, or one for each label."""
    others = tuple(f"{model}_{end}" for end in ("applicable", "hash"))
    ends = ("_spread", "_decision", "_set")
    return [
        name
        for name in names
        if (name == model or name.startswith(f"{model}_"))
        and name not in others
        and not name.endswith(ends)
        and not any(name.startswith(f"{other}_") for other in models(names) if len(other) > len(model))
    ]


def wanted(names: Sequence[str]) -> list[str]:
    """The columns of a table of candidate rows that a `Sample` needs."""
    own = [name for model in models(names) for name in names if name == model or name.startswith(f"{model}_")]
    fields = tuple(f"_{field}" for use in FIELDS.values() for field in use)
    surveys = [name for name in names if name.endswith(fields)]
    return list(dict.fromkeys(name for name in (*_KEYS, *INPUTS, *SHARES, *surveys, *own) if name in names))


class Sample:
    """Rows of some nights, drawn by lot where there are too many.

    Parameters
    ----------
    most : int
        Rows of each survey that are kept.
    labels : mapping of (str, str) to str, optional
        True labels by survey and number of the alert; the conformal sets of these are counted.
    seed : int

    Attributes
    ----------
    counts : Counter
        All alerts by night and survey, kept or not.
    covered : Counter
        Labelled alerts by model, label, and whether the conformal set has the label.
    hashes : dict of str to set of str
        Of each model that has scored.
    """

    def __init__(
        self, *, most: int = 300_000, labels: Mapping[tuple[str, str], str] | None = None, seed: int = 0
    ) -> None:
        self._most, self._labels = most, dict(labels or {})
        self._rng = np.random.default_rng(seed)
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._allowed = 2 * most
        self.counts: Counter[tuple[str, str]] = Counter()
        self.covered: Counter[tuple[str, str, bool]] = Counter()
        self.hashes: dict[str, set[str]] = {}

    def __len__(self) -> int:
        return sum(self.counts.values())

    def add(self, table: pa.Table) -> None:
        """Take rows in.

        Parameters
        ----------
        table : pyarrow.Table
            Candidate rows; columns may be others than those of earlier tables.
        """
        if not len(table):
            return
        import pyarrow as pa

        table = table.select(wanted(table.column_names)).replace_schema_metadata()
        table = table.cast(pa.schema([field.remove_metadata() for field in table.schema]))
        for group in table.group_by(["night", "survey"]).aggregate([([], "count_all")]).to_pylist():
            self.counts[group["night"] or "", group["survey"]] += group["count_all"]
        for model in models(table.column_names):
            found = table[f"{model}_hash"].unique().to_pylist()
            self.hashes.setdefault(model, set()).update(one for one in found if one)
        self._count_covered(table)
        lots = pa.array(self._rng.random(len(table)))
        self._tables.append(table.append_column(_LOT, lots))
        self._rows += len(table)
        if self._rows > self._allowed:
            self._thin()

    def _count_covered(self, table: pa.Table) -> None:
        if not self._labels:
            return
        import pyarrow as pa
        import pyarrow.compute as pc

        names = table.column_names
        sets = [model for model in models(names) if f"{model}_set" in names]
        known = {number for _, number in self._labels}
        rows = table.filter(pc.is_in(table["alert_id"], pa.array(sorted(known), pa.string())))
        rows = rows.select(["survey", "alert_id", *(f"{model}_set" for model in sets)])
        for row in rows.to_pylist():
            label = self._labels.get((row["survey"], row["alert_id"]))
            for model in sets:
                if label is not None and row[f"{model}_set"]:
                    self.covered[model, label, label in row[f"{model}_set"].split("+")] += 1

    def _thin(self) -> None:
        """Keep of each survey the rows with the lowest lots, in their order."""
        import pyarrow as pa

        table = pa.concat_tables(self._tables, promote_options="default")
        lots, surveys = table[_LOT].to_numpy(), table["survey"].dictionary_encode().combine_chunks()
        keep = np.zeros(len(table), bool)
        codes = surveys.indices.to_numpy()
        for code in range(len(surveys.dictionary)):
            rows = np.flatnonzero(codes == code)
            if len(rows) > self._most:
                rows = rows[np.argpartition(lots[rows], self._most)[: self._most]]
            keep[rows] = True
        self._tables = [table.filter(pa.array(keep))]
        self._rows = int(keep.sum())
        self._allowed = self._rows + 2 * self._most

    @property
    def table(self) -> pa.Table | None:
        """The rows that are kept, in the order in which they came; None of no rows."""
        import pyarrow as pa

        if not self._tables:
            return None
        self._thin()
        whole: pa.Table = pa.concat_tables(self._tables, promote_options="default")
        return whole.drop_columns([_LOT])
