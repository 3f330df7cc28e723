"""The `Frame`: one astronomical image and the facts needed to interpret it.

Nothing here reads files (see `reading`) or changes pixels; a frame is validated
once, when it is made, and every function of this room takes and returns frames.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import IntFlag
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from astrid.errors import FrameError

if TYPE_CHECKING:
    from astropy.wcs import WCS

    from astrid.images.psf import PSF

__all__ = ["Flag", "Frame"]


_FACTS: dict[str, tuple[str, Callable[[float], bool]]] = {
    "gain": ("a positive number", lambda value: value > 0),
    "exposure": ("a positive number", lambda value: value > 0),
    "saturation": ("a positive number", lambda value: value > 0),
    "read_noise": ("a number of 0 or more", lambda value: value >= 0),
    "zero_point": ("a finite number", lambda value: True),
    "mjd": ("a finite number", lambda value: True),
}


class Flag(IntFlag):
    """The bits of a frame's mask; a pixel with no bit set is good."""

    BAD = 1
    SATURATED = 2
    COSMIC_RAY = 4
    EDGE = 8
    NO_DATA = 16
    FILLED = 32
    TRAIL = 64


@dataclass(frozen=True, eq=False)
class Frame:
    """One image with its mask, its noise and the facts about the exposure.

    Pixel (0, 0) is the centre of the first pixel; ``x`` runs along columns and
    ``y`` along rows, both 0-based.

    Parameters
    ----------
    data : (ny, nx) float32 ndarray, ADU
        Pixel values, total counts of the exposure.
    mask : (ny, nx) uint16 ndarray, optional
        Bits of `Flag`; all good if not given. Pixels that are not finite must
        carry `Flag.NO_DATA` and are set to 0.
    variance : (ny, nx) float32 ndarray, ADU^2, optional
        Noise variance of each pixel, background and sources together.
    noise_correlation : (k, k) float32 ndarray, optional
        Autocovariance of the noise in units of `variance`, k odd, zero lag in
        the middle. ``None`` means white noise: a single 1 in the middle.
    wcs : `~astropy.wcs.WCS`, optional
        Celestial, two axes, 0-based pixel convention through ``origin=0``.
    psf : `~astrid.images.PSF`, optional
    gain : float, e-/ADU, optional
    read_noise : float, e-, optional
    saturation : float, ADU, optional
        Level at which a pixel is no longer linear.
    exposure : float, s, optional
    filter : str, optional
    mjd : float, days, optional
        UTC, middle of the exposure.
    zero_point : float, mag, optional
        Magnitude of a source of 1 ADU in this frame.
    telescope, instrument : str, optional
    name : str
        How messages call this frame: usually the path that it was read from.
    warnings : tuple of str
        What was wrong with the input, one sentence each.

    Raises
    ------
    FrameError
        Not a 2-D image, shapes that differ, no good pixel, or a fact that is
        not physical.
    """

    data: NDArray[np.float32]
    mask: NDArray[np.uint16] = None  # type: ignore[assignment]  # filled in below
    variance: NDArray[np.float32] | None = None
    noise_correlation: NDArray[np.float32] | None = None
    wcs: WCS | None = None
    psf: PSF | None = None
    gain: float | None = None
    read_noise: float | None = None
    saturation: float | None = None
    exposure: float | None = None
    filter: str | None = None
    mjd: float | None = None
    zero_point: float | None = None
    telescope: str | None = None
    instrument: str | None = None
    name: str = "frame"
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        data = _native(self.data, np.float32, self.name)
        if data.ndim != 2:
            raise FrameError(f"{self.name}: expected a 2-D image, got {data.ndim} axes; choose one plane")
        given: NDArray[np.uint16] | None = self.mask
        mask = np.zeros(data.shape, np.uint16) if given is None else _native(given, np.uint16, self.name)
        for label, plane in (("mask", mask), ("variance", self.variance)):
            if plane is not None and np.shape(plane) != data.shape:
                raise FrameError(
                    f"{self.name}: the {label} has shape {np.shape(plane)}, the image {data.shape}; "
                    "give planes of one shape"
                )
        planes = {"data": data}
        if self.variance is not None:
            planes["variance"] = _native(self.variance, np.float32, self.name)
        for field_name, plane in planes.items():
            low = 0 if field_name == "variance" else -np.inf
            # The extremes of a plane tell in two fast passes that nothing is wrong with it.
            if plane.size and plane.min() > low and plane.max() < np.inf:
                continue
            broken = ~((plane > low) & (plane < np.inf))
            planes[field_name] = np.where(broken, np.float32(0), plane)
            mask = mask | np.where(broken, np.uint16(Flag.NO_DATA), np.uint16(0))
        if self.variance is not None:
            object.__setattr__(self, "variance", planes["variance"])
        data = planes["data"]
        if mask.all() and not (mask & Flag.NO_DATA == 0).any():
            raise FrameError(f"{self.name}: no pixel has data; check that the right extension was read")
        for fact, (wanted, physical) in _FACTS.items():
            value = getattr(self, fact)
            if value is None:
                continue
            if not (isinstance(value, Real) and np.isfinite(float(value)) and physical(float(value))):
                raise FrameError(f"{self.name}: {fact} is {value!r}, expected {wanted}; give the right one")
        correlation = self.noise_correlation
        if correlation is not None and (
            np.ndim(correlation) != 2 or len(set(np.shape(correlation))) != 1 or len(correlation) % 2 == 0
        ):
            raise FrameError(
                f"{self.name}: the noise correlation has shape {np.shape(correlation)}, expected a square "
                "of odd side with the zero lag in its middle"
            )
        object.__setattr__(self, "data", data)
        object.__setattr__(self, "mask", mask)

    def __repr__(self) -> str:
        """Name, size and exposure; whole arrays tell nobody anything."""
        facts = [f"{self.shape[1]} x {self.shape[0]} px"]
        facts += [str(fact) for fact in (self.telescope, self.filter) if fact]
        if self.exposure is not None:
            facts.append(f"{self.exposure:g} s")
        return f"<Frame {self.name}: {', '.join(facts)}>"

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.data.shape[0], self.data.shape[1]

    @property
    def good(self) -> NDArray[np.bool_]:
        """Pixels with no flag set, (ny, nx) bool."""
        return self.mask == 0

    def with_(self, **changes: Any) -> Frame:
        """Return a copy with some fields changed; the result is validated."""
        return replace(self, **changes)

    def warn(self, *sentences: str) -> Frame:
        """Return a copy that carries further warnings."""
        return replace(self, warnings=(*self.warnings, *sentences))


def _native(array: ArrayLike, dtype: type[np.generic], name: str) -> NDArray[Any]:
    """Contiguous, native byte order, of the wanted type; what overflows or is masked becomes NaN."""
    if np.iscomplexobj(array):
        raise FrameError(f"{name}: the pixels are complex numbers, expected real ones; give one part of them")
    if np.ma.isMaskedArray(array):
        array = np.ma.filled(np.ma.asarray(array, dtype=float), np.nan)
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(array, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise FrameError(f"{name}: the pixels are not numbers ({error}); give a numeric array") from error
