"""What is known of a star whose dips are judged, and what stands in for the rest.

Numbers that a person gives; no catalogue is asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace

import numpy as np

from astrid.errors import UsageError

__all__ = ["MEDIAN_STAR", "Star"]

MEDIAN_STAR = {"tmag": 9.74, "teff": 6058.0, "logg": 4.22, "radius": 1.39, "mass": 1.18}
"""Of the 2,336 signals of Rao et al. (2021) that the models learn from."""


@dataclass(frozen=True)
class Star:
    """What is known of a star; None for what is not.

    Parameters
    ----------
    tmag : float, optional, mag
        In the band of TESS.
    teff : float, optional, K
    logg : float, optional, dex
    radius, mass : float, optional, of the Sun

    Raises
    ------
    UsageError
        A number that no star has.
    """

    tmag: float | None = None
    teff: float | None = None
    logg: float | None = None
    radius: float | None = None
    mass: float | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        limits = {"tmag": (-2, 25), "teff": (1000, 60_000), "logg": (-2, 9), "radius": (0.005, 1000),
                  "mass": (0.01, 150)}  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise UsageError(f"the star's {name} is {value:g}; give a number from {low:g} to {high:g}")

    @property
    def missing(self) -> tuple[str, ...]:
        """Names of what is neither given nor follows from what is given."""
        return tuple(one.name for one in fields(self) if getattr(self.derived(), one.name) is None)

    def derived(self) -> Star:
        """The same star with the third of radius, mass and surface gravity, where two are given."""
        radius, mass, logg = self.radius, self.mass, self.logg
        if logg is None and radius is not None and mass is not None:
            return replace(self, logg=4.438 + float(np.log10(mass / radius**2)))
        if mass is None and radius is not None and logg is not None:
            return replace(self, mass=10 ** (logg - 4.438) * radius**2)
        if radius is None and mass is not None and logg is not None:
            return replace(self, radius=float(np.sqrt(mass / 10 ** (logg - 4.438))))
        return self

    def filled(self) -> dict[str, float]:
        """All numbers, the medians of the training set for those that are missing."""
        known = {name: value for name, value in asdict(self.derived()).items() if value is not None}
        return {**MEDIAN_STAR, **known}

    @property
    def density(self) -> float:
        """Of the Sun; 1 where radius or mass is missing, so that no duration is left out by a guess."""
        known = self.derived()
        if known.radius is None or known.mass is None:
            return 1.0
        return known.mass / known.radius**3

    @property
    def remark(self) -> str:
        """What stands in for what is not known; empty where all is."""
        if not self.missing:
            return ""
        names = ", ".join(f"{name} {MEDIAN_STAR[name]:g}" for name in self.missing)
        return f"not known of the star, medians of the training set in their place: {names}"
