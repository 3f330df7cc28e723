"""Times of light curves: every format as modified Julian date, and the light-travel time to the barycentre.

Nothing here asks the network: the Earth's orientation and the leap seconds are those that come with astropy.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import LightCurveError

if TYPE_CHECKING:
    from astrid.lightcurves.lightcurve import LightCurve

__all__ = ["TIME_FORMATS", "TIME_SCALES", "at_barycentre", "to_mjd"]

_JD = 2_400_000.5  # JD of MJD 0
TIME_FORMATS: dict[str, float] = {
    "mjd": 0.0,
    "jd": -_JD,
    "hjd": -_JD,
    "bjd": -_JD,
    "rjd": 2_400_000.0 - _JD,
    "bkjd": 2_454_833.0 - _JD,  # Kepler and K2
    "btjd": 2_457_000.0 - _JD,  # TESS
}
"""What is added to a time of each format to make it a modified Julian date."""

TIME_SCALES = ("utc", "tai", "tt", "tdb", "tcb", "ut1", "unknown")
"""Scales in which a light curve's times can be; within a curve all are in one."""


def to_mjd(time: ArrayLike, format: str = "mjd", *, name: str = "light curve") -> NDArray[np.float64]:
    """Times as modified Julian dates, in the scale that they were in.

    Parameters
    ----------
    time : (n,) array_like, days
    format : str
        One of `TIME_FORMATS`. ``hjd``, ``bjd``, ``bkjd`` and ``btjd`` also tell where the light was timed,
        which the caller has to remember.
    name : str
        What a message calls the light curve.

    Returns
    -------
    mjd : (n,) float64 ndarray, days
        To 4e-10 d (40 microseconds) where the time came as a Julian date, which cannot hold more.

    Raises
    ------
    LightCurveError
        An unknown format.
    """
    try:
        shift = TIME_FORMATS[format.lower()]
    except KeyError:
        raise LightCurveError(
            f"{name}: time format {format!r} is not one of {', '.join(TIME_FORMATS)}; give one of these"
        ) from None
    return np.asarray(time, np.float64) + shift


def at_barycentre(curve: LightCurve, site: tuple[float, float, float] | None = None) -> LightCurve:
    """The light curve with the times at which the light passed the barycentre of the Solar System.

    Parameters
    ----------
    curve : LightCurve
        With its position, and times at the observatory in a known scale.
    site : (longitude, latitude, height), optional, deg east, deg, m
        Of the observatory; without it, the centre of the Earth: wrong by up to 0.021 s.

    Returns
    -------
    curve : LightCurve
        Times in TDB, `timed_at` the barycentre.

    Raises
    ------
    LightCurveError
        No position or time scale, or times that are already corrected.

    References
    ----------
    Eastman, Siverd & Gaudi 2010, PASP 122, 935. The Earth's place is from ERFA's series (astropy's
    ``builtin``), good to a few tens of microseconds of light time.
    """
    if curve.timed_at != "observatory":
        raise LightCurveError(
            f"{curve.name}: the times are those at the {curve.timed_at}; correct those at the observatory"
        )
    if curve.ra is None or curve.dec is None:
        raise LightCurveError(f"{curve.name}: no position; give ra and dec to correct the times")
    if curve.time_scale == "unknown":
        raise LightCurveError(f"{curve.name}: the time scale is unknown; give time_scale, such as 'utc'")
    from astropy import units as u
    from astropy.coordinates import EarthLocation, SkyCoord
    from astropy.time import Time
    from astropy.utils import iers

    # What comes with astropy is used however old it is: a stale table costs less than a microsecond here.
    with (
        iers.conf.set_temp("auto_download", False),
        iers.conf.set_temp("auto_max_age", None),
        iers.conf.set_temp("iers_degraded_accuracy", "ignore"),
    ):
        place = _place(site, EarthLocation, u)
        times = Time(curve.time, format="mjd", scale=curve.time_scale, location=place)
        where = SkyCoord(curve.ra * u.deg, curve.dec * u.deg)
        delay = times.light_travel_time(where, kind="barycentric", ephemeris="builtin")
        corrected = (times.tdb + delay).mjd
    return replace(curve, time=np.asarray(corrected, np.float64), time_scale="tdb", timed_at="barycentre")


def _place(site: tuple[float, float, float] | None, location: Any, u: Any) -> Any:
    if site is None:
        return location.from_geocentric(0 * u.m, 0 * u.m, 0 * u.m)
    longitude, latitude, height = site
    return location.from_geodetic(longitude * u.deg, latitude * u.deg, height * u.m)
