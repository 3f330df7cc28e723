"""Grids of dm-dt images: any that is asked for, and the named ones that papers and brokers use.

The edges are those of the authors' own code; what is counted in the cells is the business of `dmdt`.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from astrid.errors import UsageError

__all__ = [
    "CCSNSCORE", "GRIDS", "KOWALSKI", "MAHABAL_2017", "MAHABAL_2017_FINE", "MAHABAL_2017_OVERFLOW", "SCOPE",
    "Grid",
]  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """Edges of the cells of a dm-dt image.

    A cell holds its lower edge and not its upper one. A pair outside the grid is not counted, unless the
    grid has overflow cells: then the first row and the first column hold all that is below the first edge,
    and the last ones also hold all that is above the last.

    Parameters
    ----------
    name : str
    dm : tuple of float, mag
        Edges of the change from the earlier point to the later one; positive is fainter.
    dt : tuple of float, days
        Edges of the lapse.
    overflow : bool

    Raises
    ------
    UsageError
        Fewer than two edges, or edges that do not increase, or lapses below 0.
    """

    name: str
    dm: tuple[float, ...]
    dt: tuple[float, ...]
    overflow: bool = False

    def __post_init__(self) -> None:
        for key in ("dm", "dt"):
            edges = tuple(float(edge) for edge in getattr(self, key))
            if len(edges) < 2 or not all(low < high for low, high in pairwise(edges)):
                raise UsageError(
                    f"grid {self.name!r}: give at least two edges in {key}, each above the one before"
                )
            if not np.isfinite(edges).all() or (key == "dt" and edges[0] < 0):
                raise UsageError(f"grid {self.name!r}: give finite edges, and none below 0 in dt")
            object.__setattr__(self, key, edges)
        if len(self.dm) > 1000 or len(self.dt) > 1000:
            raise UsageError(f"grid {self.name!r}: more than 1000 edges; a coarser grid will do")

    @property
    def shape(self) -> tuple[int, int]:
        """Number of cells in dm (rows) and in dt (columns)."""
        return len(self.dm) - 1 + self.overflow, len(self.dt) - 1 + self.overflow


def _mirrored(*magnitudes: float) -> tuple[float, ...]:
    return (*(-edge for edge in reversed(magnitudes)), 0.0, *magnitudes)


_DAY = (1 / 145, 2 / 145, 3 / 145, 4 / 145, 1 / 25, 2 / 25, 3 / 25)
_DM_2017 = _mirrored(0.1, 0.2, 0.3, 0.5, 1, 1.5, 2, 2.5, 3, 5, 8)
_DT_2017 = (*_DAY, 1.5, 2.5, 3.5, 4.5, 5.5, 7, 10, 20, 30, 60, 90, 120, 240, 600, 960, 2000, 4000)
_FINE = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.25, 1.5, 2, 2.5, 3, 4.5)
_WEEKS = (4 / 145, 1 / 25, 2 / 25, 3 / 25, 0.3)

MAHABAL_2017 = Grid("mahabal2017", _DM_2017, _DT_2017)
"""The 23 and 24 edges of Mahabal et al. 2017: 22 × 23 cells."""

MAHABAL_2017_OVERFLOW = Grid("mahabal2017-overflow", _DM_2017, _DT_2017, overflow=True)
"""The same edges with overflow cells: 23 × 24, the size that the paper and its users speak of."""

MAHABAL_2017_FINE = Grid(
    "mahabal2017-fine",
    _mirrored(0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1, 1.5, 2.5, 8),
    _DT_2017,
)
"""Our own: the lapses of the paper, and finer steps of magnitude, below which most stars vary: 28 × 23."""

SCOPE = Grid(
    "scope",
    _mirrored(*_FINE, 8),
    (
        0,
        *_WEEKS,
        0.75,
        1,
        1.5,
        2.5,
        3.5,
        4.5,
        5.5,
        7,
        10,
        20,
        30,
        45,
        60,
        90,
        120,
        180,
        240,
        360,
        500,
        650,
        2000,
    ),
)
"""That of SCOPE (scope-ml's configuration ``dmdt_ints``): 26 × 26, to 2000 d; scaled to a norm of 1."""

KOWALSKI = Grid(
    "kowalski",
    _mirrored(*_FINE, 8),
    (
        0,
        *_WEEKS,
        0.5,
        0.75,
        1,
        1.5,
        2.5,
        3.5,
        4.5,
        5.5,
        7,
        10,
        20,
        30,
        45,
        60,
        75,
        90,
        120,
        150,
        180,
        210,
        240,
    ),
)
"""That of the alert broker Kowalski (``v20200318``): 26 × 26, to 240 d; scaled to a norm of 1."""

CCSNSCORE = Grid(
    "ccsnscore",
    _mirrored(*_FINE),
    (
        0,
        1 / 24,
        4 / 24,
        0.25,
        0.5,
        0.75,
        1,
        2,
        3,
        6,
        9,
        12,
        15,
        24,
        33,
        48,
        63,
        72,
        96,
        126,
        153,
        180,
        216,
        255,
        300,
    ),
)
"""That of CCSNscore (Sharma et al. 2024): 24 × 24, to 300 d; scaled to a sum of 625."""

GRIDS = {
    grid.name: grid
    for grid in (MAHABAL_2017, MAHABAL_2017_OVERFLOW, MAHABAL_2017_FINE, SCOPE, KOWALSKI, CCSNSCORE)
}
"""The grids that have names."""
