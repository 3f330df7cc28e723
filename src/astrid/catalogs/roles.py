"""What the columns of a catalogue are for: position, name, proper motion, epoch.

Chosen when a catalogue is imported and kept in its properties; nothing is read or matched here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from astrid.catalogs.layout import HEALPIX
from astrid.catalogs.positions import guess_column, guess_positions
from astrid.catalogs.search import ARCSEC
from astrid.errors import CatalogError

__all__ = ["MotionColumns", "Roles", "choose_roles", "motion_columns"]

_YEARS = (1800.0, 2200.0)


@dataclass(frozen=True)
class MotionColumns:
    """Where the proper motions of a catalogue are, and how large they get.

    Parameters
    ----------
    pmra, pmdec : str
        Columns, mas/yr; the first contains the cosine of the declination.
    epoch : str or float
        Column or number, Julian years.
    fastest : float, mas/yr
        The largest motion.
    first, last : float, Julian years
        The earliest and latest epoch.
    """

    pmra: str
    pmdec: str
    epoch: str | float
    fastest: float
    first: float
    last: float

    @property
    def columns(self) -> list[str]:
        """The columns that have to be read."""
        return [one for one in (self.pmra, self.pmdec, self.epoch) if isinstance(one, str)]

    def drift(self, year: NDArray[np.float64] | None) -> float:
        """How far, in radians, a row may be from its catalogued place in any of the years."""
        if year is None or not np.isfinite(year).any():
            return 0.0
        span = max(np.nanmax(year) - self.first, self.last - np.nanmin(year), 0.0)
        return float(self.fastest / 1e3 * ARCSEC * span)


@dataclass(frozen=True)
class Roles:
    """What the columns of a table are for.

    Parameters
    ----------
    schema : pyarrow.Schema
        The columns to keep, as they are kept.
    ra, dec : str
    id : str or None
    pmra, pmdec : str or None
    epoch : str, float or None
    scales : mapping of str to float
        What brings the motions to mas/yr.
    """

    schema: pa.Schema
    ra: str
    dec: str
    id: str | None = None
    pmra: str | None = None
    pmdec: str | None = None
    epoch: str | float | None = None
    scales: Mapping[str, float] = field(default_factory=dict)

    def units(self, source: pa.Schema) -> tuple[str, str]:
        """The units that a table states for its positions."""
        return _unit(source.field(self.ra)), _unit(source.field(self.dec))

    def motions(self, batch: pa.RecordBatch) -> dict[str, pa.Array]:
        """The proper motions of rows in mas/yr, by column."""
        if self.pmra is None or self.pmdec is None:
            return {}
        return {
            name: pc.multiply(pc.cast(batch.column(name), pa.float64()), self.scales[name])
            for name in (self.pmra, self.pmdec)
        }

    def span(self, motions: Mapping[str, pa.Array], batch: pa.RecordBatch) -> tuple[float, float, float]:
        """The largest motion (mas/yr), the earliest and the latest epoch of rows."""
        if self.pmra is None or self.pmdec is None or self.epoch is None:
            return 0.0, np.inf, -np.inf
        speed = np.hypot(_numbers(motions[self.pmra]), _numbers(motions[self.pmdec]))
        fastest = float(np.max(speed[np.isfinite(speed)], initial=0.0))
        if isinstance(self.epoch, float):
            return fastest, self.epoch, self.epoch
        epoch = _numbers(batch.column(self.epoch))
        epoch = epoch[np.isfinite(epoch)]
        if len(epoch) and not _YEARS[0] <= epoch.min() <= epoch.max() <= _YEARS[1]:
            raise CatalogError(
                f"column {self.epoch!r} has epochs from {epoch.min():g} to {epoch.max():g}, expected "
                "Julian years; give --epoch as a number, or leave the motions out of account"
            )
        return fastest, float(epoch.min(initial=np.inf)), float(epoch.max(initial=-np.inf))

    def as_properties(self, fastest: float, epochs: tuple[float, float]) -> dict[str, Any]:
        """What has to be known to match, for the properties of the catalogue."""
        facts: dict[str, Any] = {}
        if self.id is not None:
            facts["astrid_col_id"] = self.id
        if self.pmra is not None:
            key = "astrid_epoch" if isinstance(self.epoch, float) else "astrid_col_epoch"
            facts |= {"astrid_col_pmra": self.pmra, "astrid_col_pmdec": self.pmdec, key: self.epoch}
            facts |= {"astrid_max_motion": fastest}
            if epochs[0] <= epochs[1]:
                facts |= {"astrid_first_epoch": epochs[0], "astrid_last_epoch": epochs[1]}
        return facts


def choose_roles(
    path: Path,
    schema: pa.Schema,
    *,
    ra: str | None,
    dec: str | None,
    id: str | None,
    pmra: str | None,
    pmdec: str | None,
    epoch: str | float | None,
    motion: bool,
    columns: Sequence[str] | None,
) -> Roles:
    """Decide what the columns of a table are for: as asked, or else by their names.

    Raises
    ------
    CatalogError
        A column that is named does not exist, the positions cannot be told, or there are proper
        motions without an epoch.
    """
    names = [name for name in schema.names if name != HEALPIX]
    listed = ", ".join(names)
    for given in (ra, dec, id, pmra, pmdec, epoch if isinstance(epoch, str) else None, *(columns or ())):
        if given is not None and given not in names:
            raise CatalogError(f"{path}: there is no column {given!r}; the columns are {listed}")
    if ra is None or dec is None:
        if ra is not None or dec is not None:
            raise CatalogError(f"{path}: only one column of the positions is named; name both, ra and dec")
        ra, dec = guess_positions(names, path)
    id = id or guess_column("id", names)
    if (pmra is None) != (pmdec is None):
        raise CatalogError(f"{path}: only one of the proper motions is named; name both, pmra and pmdec")
    if pmra is None:
        pmra, pmdec = guess_column("pmra", names), guess_column("pmdec", names)
    if not motion or pmra is None or pmdec is None:
        pmra = pmdec = epoch = None
    else:
        epoch = epoch if epoch is not None else guess_column("epoch", names)
        if epoch is None:
            raise CatalogError(
                f"{path}: has proper motions ({pmra}, {pmdec}) but no epoch; give one in Julian years, "
                "such as 2016.0, or leave the motions out of account"
            )
        if not isinstance(epoch, str):
            epoch = float(epoch)
            if not _YEARS[0] <= epoch <= _YEARS[1]:
                raise CatalogError(f"the epoch is {epoch:g}, expected a Julian year such as 2016.0; give one")
    kept = {ra, dec, id, pmra, pmdec, epoch}
    fields = []
    units = {ra: "deg", dec: "deg", pmra: "mas / yr", pmdec: "mas / yr"}
    for one in schema:
        if one.name == HEALPIX or (columns is not None and one.name not in {*columns, *kept}):
            continue
        if one.name in units:
            metadata = {**(one.metadata or {}), b"unit": units[one.name].encode()}
            one = pa.field(one.name, pa.float64(), metadata=metadata)
        fields.append(one)
    for name in (pmra, pmdec, epoch):
        if isinstance(name, str) and not _is_number(schema.field(name).type):
            raise CatalogError(
                f"{path}: column {name!r} is of type {schema.field(name).type}, expected numbers"
            )
    scales = {name: _scale(schema.field(name)) for name in (pmra, pmdec) if name is not None}
    return Roles(pa.schema(fields), ra, dec, id, pmra, pmdec, epoch, scales)


def motion_columns(properties: Mapping[str, str]) -> MotionColumns | None:
    """The proper motions that a catalogue's properties name; None where there are none."""
    if "astrid_col_pmra" not in properties or "astrid_first_epoch" not in properties:
        return None
    epoch = properties.get("astrid_epoch")
    return MotionColumns(
        pmra=properties["astrid_col_pmra"],
        pmdec=properties["astrid_col_pmdec"],
        epoch=properties["astrid_col_epoch"] if epoch is None else float(epoch),
        fastest=float(properties["astrid_max_motion"]),
        first=float(properties["astrid_first_epoch"]),
        last=float(properties["astrid_last_epoch"]),
    )


def _scale(field: pa.Field) -> float:
    unit = _unit(field)
    if not unit:
        return 1.0
    from astropy import units as u

    try:
        return float(u.Unit(unit).to(u.mas / u.yr))
    except (ValueError, u.UnitConversionError) as error:
        raise CatalogError(
            f"column {field.name!r} has the unit {unit!r}, expected that of a motion"
        ) from error


def _unit(field: pa.Field) -> str:
    return (field.metadata or {}).get(b"unit", b"").decode()


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _numbers(array: pa.Array) -> NDArray[np.float64]:
    return np.asarray(pc.cast(array, pa.float64()).to_numpy(zero_copy_only=False))
