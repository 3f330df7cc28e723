"""What the catalogues say about the positions of a batch of alerts, as columns of the candidate row.

Each catalogue gives the distance, the name and the number of its rows within a radius, and those of
its columns that were asked for. How rows are found is in `astrid.catalogs`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import ArrayLike, NDArray

from astrid.catalogs import Catalog
from astrid.errors import CatalogError

__all__ = ["CatalogUse", "Crossmatch", "MatchColumn"]


@dataclass(frozen=True)
class CatalogUse:
    """How a catalogue is matched.

    Parameters
    ----------
    catalog : Catalog
    radius : float, arcsec
    columns : sequence of str
        Columns of the catalogue that candidates get, of the nearest row.
    """

    catalog: Catalog
    radius: float
    columns: Sequence[str] = field(default=())


@dataclass(frozen=True)
class MatchColumn:
    """A column that a catalogue gives.

    Parameters
    ----------
    name : str
    type : pyarrow.DataType
        float64, int64, bool or string.
    unit : str
        Empty where there is none.
    meaning : str
    low : float, optional
        No value is below it.
    """

    name: str
    type: pa.DataType
    unit: str
    meaning: str
    low: float | None = None


class Crossmatch:
    """Matches batches of positions with catalogues.

    Parameters
    ----------
    catalogs : sequence of CatalogUse

    Raises
    ------
    CatalogError
        A catalogue lacks a column, two columns would have one name, a column is neither number nor
        text, or a radius is not positive.
    """

    def __init__(self, catalogs: Sequence[CatalogUse]) -> None:
        self._uses = tuple(_Use(use) for use in catalogs)
        self.columns: tuple[MatchColumn, ...] = tuple(column for use in self._uses for column in use.columns)
        names = [column.name for column in self.columns]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise CatalogError(
                f"two columns of the catalogues would be called {repeated[0]!r}; leave one out, or import "
                "the catalogue under another name"
            )

    def __call__(self, ra: ArrayLike, dec: ArrayLike, mjd: ArrayLike | None = None) -> dict[str, pa.Array]:
        """What the catalogues have at positions.

        Parameters
        ----------
        ra, dec : (n,) array_like, deg
            Not finite where the position is not known.
        mjd : (n,) array_like, days, optional
            When it was observed, for catalogues with proper motions.

        Returns
        -------
        arrays : dict of str to pyarrow.Array
            ``columns``, of length n. Where the position is known and no row is within the radius, the
            distance is infinite, the count zero and the rest null; where it is not, all is null.
        """
        lon, lat = np.asarray(ra, np.float64), np.asarray(dec, np.float64)
        arrays: dict[str, pa.Array] = {}
        for use in self._uses:
            arrays |= use.match(lon, lat, mjd)
        return arrays


class _Use:
    """A catalogue with the columns that it gives, and where each comes from."""

    def __init__(self, use: CatalogUse) -> None:
        catalog, name = use.catalog, _word(use.catalog.name)
        if not use.radius > 0:
            raise CatalogError(
                f"the radius for {name} is {use.radius:g} arcsec, expected more than 0; give such"
            )
        absent = sorted(set(use.columns) - set(catalog.all_columns.names))
        if absent:
            listed = ", ".join(catalog.all_columns.names)
            raise CatalogError(f"catalogue {name} has no column {absent[0]!r}; the columns are {listed}")
        taken: dict[str, str] = {}
        if catalog.id_column is not None:
            taken[f"{name}_id"] = catalog.id_column
        for column in dict.fromkeys(use.columns):
            ours = f"{name}_{_word(column)}"
            if ours in taken and taken[ours] != column:
                raise CatalogError(
                    f"columns {taken[ours]!r} and {column!r} of catalogue {name} would both become {ours!r}; "
                    "leave one of them out"
                )
            taken[ours] = column
        self._catalog = catalog.select(tuple(taken.values()))
        self._radius, self._name, self._taken = use.radius, name, taken
        near = f"within {use.radius:g} arcsec"
        self.columns = (
            MatchColumn(
                f"{name}_distance", pa.float64(), "arcsec",
                f"distance of the nearest row of {name} {near}; infinite where there is none", 0.0,
            ),
            MatchColumn(f"{name}_count", pa.int64(), "", f"number of rows of {name} {near}", 0.0),
            *(self._column(ours, theirs) for ours, theirs in taken.items()),
        )  # fmt: skip

    def _column(self, ours: str, theirs: str) -> MatchColumn:
        given = self._catalog.schema.field(theirs)
        metadata = given.metadata or {}
        said = metadata.get(b"description", b"").decode()
        return MatchColumn(
            ours,
            _plain_type(self._name, given),
            metadata.get(b"unit", b"").decode(),
            f"{said or theirs} (of the nearest row of {self._name})",
        )

    def match(
        self, ra: NDArray[np.float64], dec: NDArray[np.float64], mjd: ArrayLike | None
    ) -> dict[str, pa.Array]:
        found = self._catalog.nearest(ra, dec, self._radius, mjd)
        unknown = ~(np.isfinite(ra) & np.isfinite(dec))
        distance = np.full(len(ra), np.inf)
        distance[found.query] = found.distance
        count = np.zeros(len(ra), np.int64)
        count[found.query] = found.count
        row = np.zeros(len(ra), np.int64)
        row[found.query] = np.arange(len(found))
        matched = np.zeros(len(ra), bool)
        matched[found.query] = True
        indices = pa.array(row, mask=~matched)  # a null index takes a null
        arrays = {
            f"{self._name}_distance": pa.array(distance, mask=unknown),
            f"{self._name}_count": pa.array(count, mask=unknown),
        }
        for column in self.columns[2:]:
            values = found.rows.column(self._taken[column.name]).combine_chunks()
            arrays[column.name] = _plain(values, column.type).take(indices)
        return arrays


def _plain_type(name: str, given: pa.Field) -> pa.DataType:
    kind = given.type
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return pa.float64()
    if pa.types.is_boolean(kind):
        return pa.bool_()
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_temporal(kind):
        return pa.string()
    raise CatalogError(
        f"column {given.name!r} of catalogue {name} is of type {kind}, expected numbers or text; leave it out"
    )


def _plain(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """Values in one of the few types, with null for what is not a number: NaN would be above any limit."""
    values = values.cast(kind)
    if pa.types.is_floating(kind):
        return pc.if_else(pc.is_nan(values), pa.scalar(None, kind), values)
    return values


def _word(column: str) -> str:
    """A name that needs no quotes in SQL, where case makes no difference."""
    return re.sub(r"\W+", "_", column).strip("_").lower()
