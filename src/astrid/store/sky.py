"""Alerts around a position: by q3c in a PostgreSQL that has it, by ranges of HEALPix cells elsewhere."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa
from numpy.typing import NDArray
from sqlalchemy.exc import SQLAlchemyError

from astrid.errors import UsageError
from astrid.store.database import Database
from astrid.store.tables import alerts

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["cone", "has_q3c", "prepare"]

log = logging.getLogger(__name__)

_ORDER = 29  # of the column, whose cells are 0.4 mas wide
_MOST_ORDER = 24  # cells of 13 mas: ranges of finer ones would be many for nothing
_ARCSEC = 3600.0
_COLUMNS = ("survey", "alert_id", "object_id", "ra", "dec", "mjd", "night", "band", "magpsf")


def prepare(database: Database) -> None:
    """Make the index of q3c, where there is q3c."""
    if database.is_sqlite or database.read(_has_index):
        return

    def work(connection: sa.Connection) -> None:
        database.one_writer(connection)
        connection.exec_driver_sql("CREATE EXTENSION IF NOT EXISTS q3c")
        connection.exec_driver_sql("CREATE INDEX IF NOT EXISTS alerts_q3c ON alerts (q3c_ang2ipix(ra, dec))")

    try:
        with database.engine.begin() as connection:
            work(connection)
    except SQLAlchemyError as error:
        reason = str(database.explained(error))
        log.info("searches by position use HEALPix, as q3c cannot be used: %s", reason)


def has_q3c(database: Database) -> bool:
    """Whether positions are looked up by q3c."""
    return not database.is_sqlite and database.read(_has_index)


def _has_index(connection: sa.Connection) -> bool:
    return bool(connection.scalar(sa.text("SELECT to_regclass('alerts_q3c') IS NOT NULL")))


def cone(database: Database, ra: float, dec: float, radius: float) -> pa.Table:
    """Alerts around a position; see `Store.cone`."""
    import pyarrow as pa

    if not (0 <= ra <= 360 and -90 <= dec <= 90 and 0 < radius <= 180 * _ARCSEC):
        raise UsageError(
            f"there is no circle of {radius} arcsec around {ra}, {dec}; give ra from 0 to 360 deg, dec from "
            "-90 to 90 deg and a radius above 0"
        )
    near = _by_q3c(ra, dec, radius) if has_q3c(database) else _by_healpix(ra, dec, radius)
    query = sa.select(*(alerts.c[name] for name in _COLUMNS)).where(near)
    rows = database.read(lambda connection: [tuple(row) for row in connection.execute(query)])
    kinds = {"ra": pa.float64(), "dec": pa.float64(), "mjd": pa.float64(), "magpsf": pa.float64()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in _COLUMNS])
    table = pa.table({name: [row[k] for row in rows] for k, name in enumerate(_COLUMNS)}, schema=schema)
    distance = _distance(ra, dec, table["ra"].to_numpy(), table["dec"].to_numpy())
    table = table.append_column("distance", pa.array(distance)).filter(pa.array(distance <= radius))
    return table.sort_by([("distance", "ascending"), ("survey", "ascending"), ("alert_id", "ascending")])


def _by_q3c(ra: float, dec: float, radius: float) -> sa.ColumnElement[bool]:
    # a little wider, as the exact distance decides
    wider = radius / _ARCSEC * (1 + 1e-9) + 1e-9
    return sa.func.q3c_radial_query(alerts.c.ra, alerts.c.dec, ra, dec, wider)


def _by_healpix(ra: float, dec: float, radius: float) -> sa.ColumnElement[bool]:
    from astropy import units as u
    from astropy_healpix import HEALPix

    # cells about as wide as the circle: their ranges are few, and they hold little else
    width = np.degrees(np.sqrt(np.pi / 3)) * _ARCSEC  # of a cell of order 0
    order = int(np.clip(np.log2(width / radius), 0, _MOST_ORDER))
    grid = HEALPix(nside=2**order, order="nested")
    cells = np.unique(grid.cone_search_lonlat(ra * u.deg, dec * u.deg, radius * u.arcsec))
    shift = 2 * (_ORDER - order)
    breaks = np.flatnonzero(np.diff(cells) > 1)
    first = cells[np.concatenate([[0], breaks + 1])].astype(np.int64) << shift
    last = (cells[np.concatenate([breaks, [len(cells) - 1]])].astype(np.int64) + 1 << shift) - 1
    return sa.or_(
        *(alerts.c.healpix.between(int(low), int(high)) for low, high in zip(first, last, strict=True))
    )


def _distance(ra: float, dec: float, others: NDArray[Any], decs: NDArray[Any]) -> NDArray[np.float64]:
    """Distances on the sphere in arcsec, by the formula that holds at all of them (Vincenty)."""
    here, there = np.radians(dec), np.radians(decs.astype(np.float64))
    turn = np.radians(others.astype(np.float64) - ra)
    across = np.hypot(
        np.cos(there) * np.sin(turn),
        np.cos(here) * np.sin(there) - np.sin(here) * np.cos(there) * np.cos(turn),
    )
    along = np.sin(here) * np.sin(there) + np.cos(here) * np.cos(there) * np.cos(turn)
    return np.degrees(np.arctan2(across, along)) * _ARCSEC
