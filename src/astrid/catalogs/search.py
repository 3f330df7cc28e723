"""Finding the rows of a catalogue that lie within a radius of given positions.

Works on arrays in memory, sorted along the nested HEALPix curve. Knows nothing of files or of
catalogues larger than the memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ARCSEC",
    "ORDER",
    "Motion",
    "Pairs",
    "SkyIndex",
    "healpix29",
    "motion_of",
    "reach_order",
    "surroundings",
]

ORDER = 29
"""The order of the HEALPix numbers by which rows are sorted; a cell is 0.4 mas wide."""

ARCSEC = np.pi / 180 / 3600
"""Radians in one arcsecond."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# A disc of this radius over nside, in radians, about any point lies within the cell of the point and
# its neighbours. The narrowest places, along the edges of the base cells near the poles, allow 0.689:
# found by search (a test repeats it), and left with a margin.
_REACH = 0.65
_FINEST = 24  # below 9 mas nothing is gained, and the rounding of positions is far away
_CHUNK = 1 << 20  # pairs of position and row that are looked at together: about 60 MB
# Rows are searched apart by the size of their motion (rad/yr): one star that moves by 10 arcsec/yr
# shall not widen the search round all the others.
_SPEEDS = np.array([0.05, 0.5, np.inf]) * ARCSEC


@dataclass(frozen=True)
class Motion:
    """Proper motions of rows.

    Parameters
    ----------
    velocity : (n, 3) float64 ndarray, rad/yr
        Of the unit vectors; zero where it is not known.
    epoch : (n,) float64 ndarray, Julian years
        When the positions held.
    """

    velocity: Floats
    epoch: Floats


@dataclass(frozen=True)
class Pairs:
    """Positions and rows that lie within the radius, by position and then by distance.

    Parameters
    ----------
    query, row : (n,) int64 ndarray
    distance : (n,) float64 ndarray, arcsec
    """

    query: Integers
    row: Integers
    distance: Floats


@dataclass(frozen=True)
class _Layer:
    """Rows of similar speed: the largest (rad/yr), their first and last epoch, which they are, where."""

    fastest: float
    epochs: tuple[float, float]
    rows: Integers
    healpix: Integers


class SkyIndex:
    """Rows on the sky, sorted by `healpix29`.

    Parameters
    ----------
    ra, dec : (n,) float64 ndarray, deg
        Finite.
    healpix : (n,) int64 ndarray
        Nested, order 29, ascending.
    motion : Motion, optional
    """

    def __init__(self, ra: Floats, dec: Floats, healpix: Integers, motion: Motion | None = None) -> None:
        self._vectors = unit_vectors(ra, dec)
        self._healpix = healpix
        self._motion = motion
        self._layers: tuple[_Layer, ...] = ()
        if motion is not None:
            speed = np.linalg.norm(motion.velocity, axis=1)
            layer = np.searchsorted(_SPEEDS, speed)
            self._layers = tuple(
                _Layer(float(speed[rows].max()), _span(motion.epoch[rows]), rows, healpix[rows])
                for rows in (np.flatnonzero(layer == k) for k in range(len(_SPEEDS)))
                if len(rows)
            )

    def __len__(self) -> int:
        return len(self._healpix)

    def find(self, ra: Floats, dec: Floats, radius: float, year: Floats | None = None) -> Pairs:
        """All rows within `radius` of each position.

        Parameters
        ----------
        ra, dec : (m,) float64 ndarray, deg
            Finite.
        radius : float, arcsec
        year : (m,) float64 ndarray, Julian years, optional
            When the positions were observed; NaN takes the rows as they stand in the catalogue.

        Returns
        -------
        pairs : Pairs
            Rows at the same distance of one position come in the order of the catalogue.
        """
        targets, cells = unit_vectors(ra, dec), healpix29(ra, dec)
        found: list[tuple[Integers, Integers, Floats]] = []
        if year is None or self._motion is None:
            for query, row in _candidates(self._healpix, cells, radius * ARCSEC):
                found.append(_near(targets, query, row, self._vectors[row], radius))
        else:
            for layer in self._layers:
                drift = layer.fastest * _longest(year, layer.epochs)
                for query, place in _candidates(layer.healpix, cells, radius * ARCSEC + drift):
                    row = layer.rows[place]
                    found.append(_near(targets, query, row, self._moved(row, year[query]), radius))
        if not found:
            return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        query, row, distance = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((row, distance, query))
        return Pairs(query[order], row[order], distance[order])

    def _moved(self, row: Integers, year: Floats) -> Floats:
        """Unit vectors of rows in a year.

        Uniform motion in space without a radial velocity: the propagation of the Hipparcos
        catalogue (ESA SP-1200, vol. 1, section 1.5.5) at zero parallax.
        """
        assert self._motion is not None
        years = year - self._motion.epoch[row]
        years = np.where(np.isfinite(years), years, 0.0)
        vectors = self._vectors[row] + self._motion.velocity[row] * years[:, None]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def motion_of(ra: Floats, dec: Floats, pmra: Floats, pmdec: Floats, epoch: Floats) -> Motion:
    """Proper motions as velocities of the unit vectors.

    Parameters
    ----------
    ra, dec : (n,) float64 ndarray, deg
    pmra, pmdec : (n,) float64 ndarray, mas/yr
        The first contains the cosine of the declination; a row where one is not finite stands still.
    epoch : (n,) float64 ndarray, Julian years
    """
    lon, lat = np.radians(ra), np.radians(dec)
    east = np.stack([-np.sin(lon), np.cos(lon), np.zeros_like(lon)], axis=-1)
    north = np.stack([-np.sin(lat) * np.cos(lon), -np.sin(lat) * np.sin(lon), np.cos(lat)], axis=-1)
    known = np.isfinite(pmra) & np.isfinite(pmdec)
    along, across = (np.where(known, pm, 0.0)[:, None] * ARCSEC / 1e3 for pm in (pmra, pmdec))
    return Motion(along * east + across * north, epoch)


def healpix29(ra: Floats, dec: Floats) -> Integers:
    """Nested HEALPix cells of order 29 of positions in degrees."""
    from astropy_healpix.healpy import ang2pix

    return np.asarray(ang2pix(1 << ORDER, ra, dec, nest=True, lonlat=True), np.int64)


def reach_order(reach: float) -> int | None:
    """The finest order at which a cell and its neighbours hold a disc about any of its points.

    Parameters
    ----------
    reach : float, rad
        Radius of the disc.

    Returns
    -------
    order : int or None
        None where even the largest cells are too small.
    """
    if reach > _REACH:
        return None
    return min(_FINEST, int(np.log2(_REACH / max(reach, 1e-12))))


def surroundings(cells: Integers, order: int) -> Integers:
    """The cells of an order that hold given cells of order 29, and their neighbours.

    Parameters
    ----------
    cells : (m,) int64 ndarray
    order : int

    Returns
    -------
    around : (m, 9) int64 ndarray
        -1 where there is no such neighbour: a few cells have seven.
    """
    from astropy_healpix import neighbours

    middle = cells >> 2 * (ORDER - order)
    with np.errstate(invalid="ignore"):  # said at order 0, of the neighbours that are absent
        around = neighbours(middle, 1 << order, order="nested")
    return np.concatenate([middle[None], around]).T.astype(np.int64)


def unit_vectors(ra: Floats, dec: Floats) -> Floats:
    """Positions in degrees as (n, 3) unit vectors."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def _span(epoch: Floats) -> tuple[float, float]:
    known = epoch[np.isfinite(epoch)]
    return float(known.min(initial=np.inf)), float(known.max(initial=-np.inf))


def _longest(year: Floats, epochs: tuple[float, float]) -> float:
    """The longest time, in years, between a position's date and the epochs of rows."""
    known = year[np.isfinite(year)]
    if not len(known) or epochs[0] > epochs[1]:
        return 0.0
    return float(max(known.max() - epochs[0], epochs[1] - known.min(), 0.0))


def _candidates(healpix: Integers, cells: Integers, reach: float) -> Iterator[tuple[Integers, Integers]]:
    """Pairs of position and place in `healpix` that may be within `reach` radians, in parts."""
    if not len(healpix):
        return
    order = reach_order(reach)
    if order is None:
        first = np.zeros((len(cells), 1), np.int64)
        last = np.full((len(cells), 1), len(healpix), np.int64)
    else:
        around = surroundings(cells, order)
        shift = 2 * (ORDER - order)
        first = np.searchsorted(healpix, around << shift)
        last = np.where(around < 0, first, np.searchsorted(healpix, (around + 1) << shift))
    counts = last - first
    total = np.cumsum(counts.sum(axis=1))
    start = 0
    while start < len(cells):
        done = total[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(total, done + _CHUNK, side="right")))
        n = counts[start:stop].ravel()
        filled = np.flatnonzero(n)
        if len(filled):
            n = n[filled]
            begin = first[start:stop].ravel()[filled] - (np.cumsum(n) - n)
            place = np.repeat(begin, n) + np.arange(n.sum())
            yield np.repeat(start + filled // counts.shape[1], n), place
        start = stop


def _near(
    targets: Floats, query: Integers, row: Integers, vectors: Floats, radius: float
) -> tuple[Integers, Integers, Floats]:
    """Those pairs whose distance, in arcsec, is at most `radius`."""
    chord = np.linalg.norm(targets[query] - vectors, axis=1)
    distance = 2 * np.arcsin(np.minimum(chord / 2, 1.0)) / ARCSEC
    near = distance <= radius
    return query[near], row[near], distance[near]
