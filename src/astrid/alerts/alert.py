"""An alert: one object for the packets of every survey, with photometry in one schema.

What a packet does not say is None, never a guess; which field of which survey means what is written
in `layouts`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PacketError

__all__ = ["CUTOUTS", "Alert", "Cutout", "Measurement", "from_flux", "from_magnitude"]

CUTOUTS = ("science", "reference", "difference")
"""The images of an alert."""

_AB_NANOJANSKY = 31.4  # AB magnitude of 1 nJy: -2.5 log10(1e-32 W/m2/Hz in erg/s/cm2/Hz) - 48.6
_POGSON = 2.5 / math.log(10)
_FIRST, _LAST = 10_000.0, 200_000.0  # MJD: 1886 to 2406; outside, the number is no date


class Measurement(NamedTuple):
    """One point of a light curve: of a difference image, the same for all surveys.

    Parameters
    ----------
    mjd : float or None, days
    band : str or None
    flux, flux_err : float or None, nJy
        Of the difference, with its sign.
    mag, mag_err : float or None, AB mag
        Of the absolute flux.
    limiting_mag : float or None, AB mag
        5 sigma; of a visit without a detection it is all there is.
    positive : bool or None
        Whether the source has become brighter than in the reference.
    forced : bool
        Measured at a given position, whether or not anything was seen.
    id : str or None
        The survey's number of this detection.
    """

    mjd: float | None = None
    band: str | None = None
    flux: float | None = None
    flux_err: float | None = None
    mag: float | None = None
    mag_err: float | None = None
    limiting_mag: float | None = None
    positive: bool | None = None
    forced: bool = False
    id: str | None = None


class Cutout(NamedTuple):
    """One image of an alert, or why there is none.

    Parameters
    ----------
    image : (ny, nx) float32 ndarray or None
        As the survey sent it: missing pixels may be NaN or absurd.
    problem : str
        Empty where there is an image that can be used.
    """

    image: NDArray[np.float32] | None
    problem: str = ""


@dataclass(frozen=True, eq=False)
class Alert:
    """One packet of one survey.

    Parameters
    ----------
    survey : str
        Name of its layout: ``ztf``, ``lsst``, ….
    alert_id : str
        Unique in the survey.
    ra, dec : float or None, deg
    detection : Measurement
        That for which the alert was sent.
    object_id : str or None
    version : str
        Of the packet's schema; empty where the packet says nothing.
    time_scale : str or None
        Of all times: ``utc``, ``tai``; None where the survey does not say.
    history : tuple of Measurement, or None
        Earlier and forced ones in the order of the packet; None if they were not read.
    cutouts : mapping of str to Cutout
        By the names of `CUTOUTS`; empty if they were not read.
    x, y : float or None, px
        Of the candidate on its chip, from 0: tells which side of a stamp an edge has clipped.
    flipped : bool
        The difference image is reference minus science.
    extras : mapping
        Everything else, as it came.

    Raises
    ------
    PacketError
        No identifier, or a position or time that cannot be one.
    """

    survey: str
    alert_id: str
    ra: float | None
    dec: float | None
    detection: Measurement
    object_id: str | None
    version: str
    time_scale: str | None
    history: tuple[Measurement, ...] | None
    cutouts: Mapping[str, Cutout]
    x: float | None
    y: float | None
    flipped: bool
    extras: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.alert_id:
            raise PacketError(f"a packet of {self.survey} has an empty identifier, expected one; check it")
        ra, dec = self.ra, self.dec
        if (ra is not None and not 0 <= ra <= 360) or (dec is not None and not -90 <= dec <= 90):
            raise PacketError(f"the position is {self.ra}, {self.dec}, which is not on the sky; check it")
        if self.mjd is not None and not _FIRST <= self.mjd <= _LAST:
            raise PacketError(f"the time is MJD {self.mjd}, which is no date of a survey; check it")

    @property
    def mjd(self) -> float | None:
        """Of the detection, in days of `time_scale`."""
        return self.detection.mjd

    @property
    def image_problem(self) -> str:
        """Why there is no full set of images; empty where there is."""
        if not self.cutouts:
            return "the cutouts were not read"
        problems = (f"{name}: {one.problem}" for name, one in self.cutouts.items() if one.problem)
        return "; ".join(problems)


def from_magnitude(
    mag: float | None, error: float | None, positive: bool | None
) -> tuple[float | None, float | None]:
    """Flux and its error in nJy from an AB magnitude; None where the sign is not known."""
    if mag is None or positive is None or not -50 < mag < 100:
        return None, None
    size = 10 ** (0.4 * (_AB_NANOJANSKY - mag))
    return (size if positive else -size), (None if error is None else size * error / _POGSON)


def from_flux(flux: float | None, error: float | None) -> tuple[float | None, float | None]:
    """AB magnitude of the absolute flux in nJy, and its error; None of a flux of nothing."""
    if flux is None or flux == 0:
        return None, None
    size = abs(flux)
    return _AB_NANOJANSKY - 2.5 * math.log10(size), (None if error is None else _POGSON * error / size)
