"""What a classifier of light curves takes, made of a light curve and what a period search found.

The arrays are those of the data set of variable stars, told apart by their names, shapes and channels;
which of them a bundle wants is in its card.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from astrid.errors import LightCurveError, UsageError
from astrid.learn.bundle import Bundle
from astrid.learn.task import Input
from astrid.lightcurves.dmdt import (
    MAHABAL_2017,
    MAHABAL_2017_FINE,
    MAHABAL_2017_OVERFLOW,
    SCOPE,
    Grid,
    Scaling,
    dmdt,
)
from astrid.lightcurves.lightcurve import LightCurve
from astrid.lightcurves.periodicity import Search, folded_profile, points_of
from astrid.lightcurves.variability import numbers_of, variability

__all__ = ["CurveInputs", "fullest_band"]

# as `variables` and `scope_set` make them for training
_IMAGES: dict[str, Sequence[tuple[Grid, Scaling]]] = {
    "dmdt": ((MAHABAL_2017, "root"), (SCOPE, "unit")),
    "dmdt_overflow": ((MAHABAL_2017_OVERFLOW, "root"),),
    "dmdt_fine": ((MAHABAL_2017_FINE, "root"),),
}


class CurveInputs:
    """Makes the inputs of one bundle.

    Parameters
    ----------
    bundle : Bundle

    Raises
    ------
    UsageError
        The bundle takes something else than what can be made of a light curve.
    """

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self._inputs = bundle.task.inputs
        self._bands: dict[str, tuple[str, ...]] = {}
        self._grids: dict[str, tuple[Grid, Scaling]] = {}
        for name, one in self._inputs.items():
            if name == "features":
                self._bands[name] = self._bands_of(one)
            elif name in _IMAGES:
                self._grids[name] = self._grid_of(name, one)
            elif name != "folded" or len(one.shape) != 2:
                raise UsageError(
                    f"{bundle.name} takes {name!r} of shape {one.shape}, which is not made of light curves "
                    "here; choose a model of variable stars"
                )

    @property
    def needs_period(self) -> bool:
        """Whether anything but dm-dt images is wanted."""
        return any(name not in self._grids for name in self._inputs)

    def __call__(
        self, curve: LightCurve, one_band: LightCurve, found: Search | None
    ) -> dict[str, NDArray[np.float32]]:
        """The inputs of one source, without the axis of the batch.

        Parameters
        ----------
        curve : LightCurve
            In magnitudes, with all of its bands.
        one_band : LightCurve
            The points that images and numbers of one band are made of.
        found : Search, optional
            Of `curve`; not needed where `needs_period` is False.

        Raises
        ------
        LightCurveError
            An input cannot be made of it.
        """
        made: dict[str, NDArray[np.float32]] = {}
        for name, one in self._inputs.items():
            if name in self._grids:
                made[name] = dmdt(one_band, *self._grids[name])[..., None]
                continue
            if found is None:
                raise LightCurveError(f"{curve.name}: no period was found, and {self.bundle.name} needs one")
            if name == "folded":
                profile = folded_profile(points_of(curve), 1 / found.period)[0]
                made[name] = np.asarray(profile, np.float32)[:, None]
            else:
                bands = self._bands[name]
                chosen = one_band if bands == ("",) else curve
                numbers = variability(chosen, points_of(curve), found, bands)
                made[name] = np.array([numbers[channel] for channel in one.channels], np.float32)
        return made

    def _bands_of(self, one: Input) -> tuple[str, ...]:
        """The bands that channels speak of; one empty name where they speak of none."""
        prefix = "median_"
        found = (channel.removeprefix(prefix) for channel in one.channels if channel.startswith(prefix))
        # median_abs_dev is another feature
        for bands in (("",), tuple(name for name in found if not name.startswith("abs_dev"))):
            if set(one.channels) <= set(numbers_of(bands)):
                return bands
        unknown = sorted(set(one.channels) - set(numbers_of()))
        raise UsageError(
            f"{self.bundle.name} takes a feature {unknown[0]!r} that is not among those of light curves; "
            "choose a model of variable stars"
        )

    def _grid_of(self, name: str, one: Input) -> tuple[Grid, Scaling]:
        for grid, scaling in _IMAGES[name]:
            if one.shape == (*grid.shape, 1):
                return grid, scaling
        raise UsageError(
            f"{self.bundle.name} takes {name!r} of shape {one.shape}, which no grid of dm-dt images has"
        )


def fullest_band(curve: LightCurve, band: str | None = None) -> LightCurve:
    """The points of one band: of the one that is asked for, else of that with the most points.

    Raises
    ------
    LightCurveError
        There are none in the band that is asked for.
    """
    if band is not None:
        return curve.in_band(band)
    if len(curve.bands) == 1:
        return curve
    return curve.in_band(curve.bands[int(np.argmax(np.bincount(curve.band)))])
