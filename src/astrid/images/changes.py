"""What differs between the two images of a simulated pair: their mapping, and what changed on the sky.

The flux of a change is set from the S/N that it shall have on the best possible
difference (`sensitivity`); nothing is drawn on pixels here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.images.scene import Galaxies, Light
from astrid.images.sensitivity import optimal_filter
from astrid.images.simulation_config import SimulationConfig

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["TrueMapping", "draw_changes"]

_STAMP = 63  # of the optimal filter


@dataclass(frozen=True, eq=False)
class TrueMapping:
    """Where a science pixel really falls on the reference, the part that no WCS knows included.

    Parameters
    ----------
    matrix : (2, 3) float64 ndarray
        Affine part that both WCS agree on.
    unknown : (2, 3) float64 ndarray
        Affine displacement in px beyond the WCS, applied after `matrix`.
    warp : (k, 2, 4) float64 ndarray
        Waves of local displacement: amplitude in px, wave numbers along x and
        y in rad/px, phase; for x and for y.
    """

    matrix: NDArray[np.float64]
    unknown: NDArray[np.float64]
    warp: NDArray[np.float64]

    def __call__(self, x: ArrayLike, y: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Reference pixel of a science pixel, both 0-based."""
        x, y = np.asarray(x, float), np.asarray(y, float)
        u, v = (row[0] * x + row[1] * y + row[2] for row in self.matrix)
        shift = [row[0] * x + row[1] * y + row[2] for row in self.unknown]
        for wave in self.warp:
            for axis, (amplitude, kx, ky, phase) in enumerate(wave):
                shift[axis] = shift[axis] + amplitude * np.sin(kx * x + ky * y + phase)
        return u + shift[0], v + shift[1]

    @property
    def turn(self) -> float:
        """Rotation from science to reference axes, rad."""
        return float(np.arctan2(self.matrix[1, 0], self.matrix[0, 0]))


def draw_changes(
    config: SimulationConfig,
    images: list[NDArray[np.float64]],
    lights: tuple[Light, Light],
    mapping: TrueMapping,
    stars: tuple[NDArray[np.float64], ...],
    galaxies: Galaxies,
    rng: np.random.Generator,
) -> Table:
    """Draw places, kinds and fluxes of everything that changes between two images.

    Parameters
    ----------
    config : SimulationConfig
    images : list of two (ny, nx) float64 ndarray, ADU
        Science and reference without noise and sky, before the changes.
    lights : (Light, Light)
        Their PSFs.
    mapping : TrueMapping
        From science to reference pixels.
    stars : (x, y, flux)
        In science px and ADU; the first ``config.n_stars`` lie in the frame.
    galaxies : Galaxies
        The first ``config.n_galaxies`` lie in the frame.
    rng : `~numpy.random.Generator`

    Returns
    -------
    truth : `~astropy.table.Table`
        See `SimulatedPair`; without sky positions.
    """
    from astropy.table import Table

    n = config.n_transients
    kinds = rng.permutation(config.kinds())
    x, y = np.full(n, np.nan), np.full(n, np.nan)
    host, star = np.full(n, -1), np.full(n, -1)
    for i, kind in enumerate(kinds):
        for attempt in range(200):
            # a crowded field may leave no free place: then the last one drawn stands
            x[i], y[i], host[i], star[i] = _place(config, kind, attempt, stars, galaxies, rng)
            u, v = mapping(x[i], y[i])
            if not (config.inside(x[i], y[i]) and config.inside(float(u), float(v))):
                continue
            if i == 0 or np.min(np.hypot(x[:i] - x[i], y[:i] - y[i])) > config.separation:
                break
    snr = rng.uniform(*config.snr_range, n)
    sign = np.where(kinds == "vanished", -1.0, 1.0)
    sign[kinds == "variable"] = rng.choice([-1.0, 1.0], int(np.sum(kinds == "variable")))
    flux = np.zeros(n)
    for i, kind in enumerate(kinds):
        limit = 0.9 * stars[2][star[i]] if kind == "variable" and sign[i] < 0 else np.inf
        flux[i], snr[i] = _flux_for(config, images, lights, mapping, x[i], y[i], snr[i], sign[i], kind, limit)
    present = np.select([kinds == "transient", kinds == "vanished"], ["science", "reference"], "both")
    offset = (
        np.where(host >= 0, np.hypot(x - galaxies.x[host], y - galaxies.y[host]), np.nan)
        if len(galaxies)
        else np.full(n, np.nan)
    )
    return Table(
        {
            "kind": kinds,
            "present_in": present,
            "x": x,
            "y": y,
            "flux": sign * flux,
            "mag": config.zero_point - 2.5 * np.log10(flux),
            "snr_true": sign * snr,
            "is_negative": sign < 0,
            "host": host,
            "host_offset": offset,
            "star": star,
        },
        meta={"flux_ratio": config.flux_ratio, "flux_unit": "science ADU"},
    )


def _place(
    config: SimulationConfig,
    kind: str,
    attempt: int,
    stars: tuple[NDArray[np.float64], ...],
    galaxies: Galaxies,
    rng: np.random.Generator,
) -> tuple[float, float, int, int]:
    """One place for a change: on a star, in the light of a galaxy, or anywhere."""
    ny, nx = config.shape
    if kind == "variable":
        star = int(rng.integers(config.n_stars))
        return stars[0][star], stars[1][star], -1, star
    if config.n_galaxies and attempt < 50 and rng.random() < config.hosted_fraction:
        share = galaxies.flux[: config.n_galaxies] / galaxies.flux[: config.n_galaxies].sum()
        host = rng.choice(config.n_galaxies, 1, p=share)
        x, y = galaxies.positions(host, rng)
        return float(x[0]), float(y[0]), int(host[0]), -1
    return rng.uniform(0, nx - 1), rng.uniform(0, ny - 1), -1, -1


def _flux_for(
    config: SimulationConfig,
    images: list[NDArray[np.float64]],
    lights: tuple[Light, Light],
    mapping: TrueMapping,
    x: float,
    y: float,
    snr: float,
    sign: float,
    kind: str,
    limit: float,
) -> tuple[float, float]:
    """Flux that gives this S/N at this place, and the S/N of the flux that is given in the end."""
    u, v = (float(value) for value in mapping(x, y))
    best = optimal_filter(
        lights[0].at(x, y, _STAMP),
        lights[1].at(u, v, _STAMP),
        config.background_variance("science"),
        config.background_variance("reference"),
        config.flux_ratio,
    )
    variance = best.variance(
        _cutout(images[0], x, y) / config.gain + config.background_variance("science"),
        _cutout(images[1], u, v) / config.gain + config.background_variance("reference"),
    )
    own = (best.own_reference if kind == "vanished" else sign * best.own_science) / config.gain
    flux = min(best.flux_for(snr, variance, own), limit)
    return flux, best.snr(flux, variance, own)


def _cutout(image: NDArray[np.float64], x: float, y: float) -> NDArray[np.float64]:
    """Pixels around a place, the border repeated beyond the edge."""
    ny, nx = image.shape
    grid = np.arange(_STAMP) - _STAMP // 2
    rows, columns = np.clip(round(y) + grid, 0, ny - 1), np.clip(round(x) + grid, 0, nx - 1)
    return image[np.ix_(rows, columns)]
