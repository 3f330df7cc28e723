"""What real frames hold besides sky: stray light, cosmic rays, bad columns, bleeds, holes.

It only puts artefacts in, with a record of each; finding them is the business
of `calibration` and `detection`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from astropy.table import Table

    from astrid.images.scene import Light
    from astrid.images.simulation_config import SimulationConfig

__all__ = ["Artefacts", "add_detector_flaws", "add_stray_light", "cut_holes", "spill"]

_COLUMNS = ("kind", "frame", "x", "y", "x2", "y2", "size", "level")


@dataclass
class Artefacts:
    """The record of what was put in, filled while a pair is made."""

    rows: list[tuple[str, str, float, float, float, float, float, float]] = field(default_factory=list)

    def add(
        self,
        kind: str,
        frame: str,
        x: float,
        y: float,
        *,
        end: tuple[float, float] | None = None,
        size: float = 1.0,
        level: float = float("nan"),
    ) -> None:
        """Note one artefact: where it begins, where a line ends, its size in px, its level in ADU."""
        x2, y2 = (x, y) if end is None else end
        self.rows.append((kind, frame, float(x), float(y), float(x2), float(y2), float(size), float(level)))

    def table(self) -> Table:
        """The record as a table, empty columns included."""
        from astropy.table import Table

        types = ("U16", "U16", *["f8"] * 6)
        table = Table(rows=self.rows or None, names=_COLUMNS, dtype=types)
        for name in ("x", "y", "x2", "y2", "size"):
            table[name].unit = "pix"
        return table


def add_stray_light(
    light: NDArray[np.float64],
    config: SimulationConfig,
    which: str,
    psf: Light,
    stars: tuple[NDArray[np.float64], ...],
    artefacts: Artefacts,
    rng: np.random.Generator,
) -> None:
    """Add ghosts of the brightest stars, and satellite trails in the science frame, in place.

    Parameters
    ----------
    light : (ny, nx) float64 ndarray, ADU
        Expected counts, sky included.
    config : SimulationConfig
    which : {"science", "reference"}
    psf : Light
        Sets the width of trails.
    stars : (x, y, flux)
        On this frame, px and ADU.
    artefacts : Artefacts
        Receives the record.
    rng : `~numpy.random.Generator`
    """
    ny, nx = light.shape
    noise = np.sqrt(config.background_variance(which))
    for i in np.argsort(stars[2])[::-1][: config.n_ghosts]:
        # the pupil, out of focus, reflected through the middle of the field
        x, y = nx - 1 - stars[0][i] + rng.normal(0, 5), ny - 1 - stars[1][i] + rng.normal(0, 5)
        outer = rng.uniform(25, 50)
        level = noise * rng.uniform(1.0, 3.0)
        low, high, left, right = _box(light.shape, x, y, outer + 3)
        yy, xx = np.mgrid[low:high, left:right]
        radius = np.hypot(xx - x, yy - y)
        ring = _step(outer - radius) * _step(radius - 0.35 * outer)
        light[low:high, left:right] += level * ring
        artefacts.add("ghost", which, x, y, size=2 * outer, level=level)
    if which == "science":
        centre = psf.at((nx - 1) / 2, (ny - 1) / 2)
        width = 1.2 / np.sqrt(4 * np.pi * np.sum(centre**2))  # Gaussian of the same noise area
        for _ in range(config.n_trails):
            _add_trail(light, which, noise, width, artefacts, rng)


def _add_trail(
    light: NDArray[np.float64],
    which: str,
    noise: float,
    width: float,
    artefacts: Artefacts,
    rng: np.random.Generator,
) -> None:
    """A straight line right across the frame, sometimes of a tumbling satellite."""
    ny, nx = light.shape
    x, y = rng.uniform(0.1, 0.9) * nx, rng.uniform(0.1, 0.9) * ny
    angle = rng.uniform(0, np.pi)
    level = noise * rng.uniform(3.0, 15.0)
    yy, xx = np.mgrid[:ny, :nx].astype(np.float32)
    across = (yy - y) * np.cos(angle) - (xx - x) * np.sin(angle)
    near = np.abs(across) < 6 * width
    brightness = np.full(int(near.sum()), level)
    if rng.random() < 0.3:
        along = (xx[near] - x) * np.cos(angle) + (yy[near] - y) * np.sin(angle)
        brightness *= 0.6 + 0.4 * np.sin(2 * np.pi * along / rng.uniform(60, 300))
    light[near] += brightness * np.exp(-0.5 * (across[near] / width) ** 2)
    length = float(np.hypot(nx, ny))
    ends = []
    for way in (-1, 1):
        steps = way * np.arange(0, length, 0.5)
        inside = _inside(light.shape, x + steps * np.cos(angle), y + steps * np.sin(angle))
        last = steps[np.flatnonzero(inside)[-1]]
        ends.append((x + last * np.cos(angle), y + last * np.sin(angle)))
    artefacts.add("trail", which, *ends[0], end=ends[1], size=2.355 * width, level=level)


def add_detector_flaws(
    counts: NDArray[np.float32],
    config: SimulationConfig,
    which: str,
    artefacts: Artefacts,
    rng: np.random.Generator,
) -> None:
    """Add cosmic rays, hot pixels and hot columns, in place; none of them knows the PSF.

    Parameters
    ----------
    counts : (ny, nx) float32 ndarray, ADU
    config : SimulationConfig
    which : {"science", "reference"}
    artefacts : Artefacts
    rng : `~numpy.random.Generator`
    """
    ny, nx = counts.shape
    noise = np.sqrt(config.background_variance(which))
    for _ in range(config.n_cosmic_rays):
        x, y, angle = rng.uniform(0, nx - 1), rng.uniform(0, ny - 1), rng.uniform(0, np.pi)
        length = min(rng.exponential(6.0), 60.0)
        level = noise * np.exp(rng.uniform(np.log(15.0), np.log(300.0)))
        steps = np.arange(0, length + 0.25, 0.25)
        px, py = x + steps * np.cos(angle), y + steps * np.sin(angle)
        inside = _inside(counts.shape, px, py)
        columns, rows = np.rint(px[inside]).astype(int), np.rint(py[inside]).astype(int)
        share = 0.25 if length > 1 else 1 / len(steps)
        np.add.at(counts, (rows, columns), np.float32(level * share))
        end = (px[inside][-1], py[inside][-1])
        artefacts.add("cosmic ray", which, x, y, end=end, size=length, level=level)
    for _ in range(config.n_hot_pixels):
        column, row = int(rng.integers(nx)), int(rng.integers(ny))
        level = noise * np.exp(rng.uniform(np.log(8.0), np.log(200.0)))
        counts[row, column] += level
        artefacts.add("hot pixel", which, column, row, level=level)
    for _ in range(config.n_hot_columns):
        column, first = int(rng.integers(nx)), int(rng.integers(ny // 2))
        last = int(rng.integers(first + 10, ny))
        level = noise * rng.uniform(4.0, 40.0)
        counts[first : last + 1, column] += level
        artefacts.add(
            "hot column", which, column, first, end=(column, last), size=last - first + 1, level=level
        )


def spill(counts: NDArray[np.float32], full: float, which: str, artefacts: Artefacts) -> None:
    """Clip at the full well and let the surplus bleed along columns, in place; charge is conserved.

    Parameters
    ----------
    counts : (ny, nx) float32 ndarray, ADU
    full : float, ADU
        Full well, at which pixels saturate.
    which : {"science", "reference"}
    artefacts : Artefacts
        One row for each bleeding column run.
    """
    ny = counts.shape[0]
    for column in np.flatnonzero((counts > full).any(axis=0)).tolist():
        values = counts[:, column].astype(np.float64)
        over = np.flatnonzero(values > full)
        for run in np.split(over, np.flatnonzero(np.diff(over) > 1) + 1):
            surplus = float(np.sum(values[run] - full))
            values[run] = full
            ends = [run[0], run[-1]]
            for side, way in enumerate((-1, 1)):
                left, row = surplus / 2, ends[side] + way
                while left > 0 and 0 <= row < ny:
                    # a run that was filled before takes nothing and is passed through
                    taken = min(max(full - values[row], 0.0), left)
                    values[row] += taken
                    left -= taken
                    row += way
                ends[side] = row - way
            if ends[1] - ends[0] > len(run) + 2:
                end = (column, ends[1])
                artefacts.add(
                    "bleed", which, column, ends[0], end=end, size=ends[1] - ends[0] + 1, level=full
                )
        # rounding must not leave a full pixel just below the full well
        values[values >= full * (1 - 1e-7)] = full
        counts[:, column] = values


def cut_holes(
    counts: NDArray[np.float32],
    config: SimulationConfig,
    which: str,
    artefacts: Artefacts,
    rng: np.random.Generator,
) -> None:
    """Set rectangles and the border to NaN, in place: pixels that a pipeline before us has masked.

    Parameters
    ----------
    counts : (ny, nx) float32 ndarray, ADU
    config : SimulationConfig
    which : {"science", "reference"}
    artefacts : Artefacts
    rng : `~numpy.random.Generator`
    """
    ny, nx = counts.shape
    for _ in range(config.n_holes):
        width, height = int(rng.integers(3, 25)), int(rng.integers(3, 40))
        column, row = int(rng.integers(0, nx - width)), int(rng.integers(0, ny - height))
        counts[row : row + height, column : column + width] = np.nan
        end = (column + width - 1, row + height - 1)
        artefacts.add("hole", which, column, row, end=end, size=max(width, height))
    if config.edge:
        border = np.ones(counts.shape, bool)
        border[config.edge : ny - config.edge, config.edge : nx - config.edge] = False
        counts[border] = np.nan
        artefacts.add("edge", which, 0, 0, end=(nx - 1, ny - 1), size=config.edge)


def _step(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """A soft edge, 0 outside and 1 inside, two pixels wide."""
    return np.clip(0.5 + distance / 2, 0, 1)


def _box(shape: tuple[int, ...], x: float, y: float, half: float) -> tuple[int, int, int, int]:
    """Rows and columns of a square around a place, cut at the edges."""
    ny, nx = shape
    low, high = int(np.clip(y - half, 0, ny)), int(np.clip(y + half + 1, 0, ny))
    left, right = int(np.clip(x - half, 0, nx)), int(np.clip(x + half + 1, 0, nx))
    return low, high, left, right


def _inside(shape: tuple[int, ...], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Positions whose nearest pixel exists."""
    ny, nx = shape
    inside: NDArray[np.bool_] = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    return inside
