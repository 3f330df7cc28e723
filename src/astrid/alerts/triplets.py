"""The images of an alert as networks take them: one stack, whatever the survey sent.

Nothing is scaled: what a network needs beyond a sky of zero is part of its own graph.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from astrid.alerts.alert import CUTOUTS, Alert
from astrid.alerts.stamps import good_pixels
from astrid.errors import PacketError

__all__ = ["centred_triplet", "missing_pixels", "raw_triplet", "shown_planes"]

_SIZE = 63  # px


def raw_triplet(alert: Alert, size: int = _SIZE) -> NDArray[np.float32]:
    """The cutouts as ZTF's production network was given them.

    Parameters
    ----------
    alert : Alert
    size : int, px

    Returns
    -------
    stamps : (size, size, 3) float32 ndarray
        Science, template, difference; not finite pixels as `numpy.nan_to_num` leaves them, and
        0 beyond the high ends of a stamp that is smaller. Not normalised: production pads with
        1e-9 after it has normalised, which a row of zeros comes to in a network that normalises.

    Raises
    ------
    PacketError
        A cutout is absent, unreadable or larger.

    References
    ----------
    Duev et al. 2019, MNRAS 489, 3582, section 3.
    """
    planes = []
    for name in CUTOUTS:
        stamp = np.nan_to_num(_image(alert, name))
        ny, nx = stamp.shape
        if max(ny, nx) > size:
            raise PacketError(f"the {name} cutout has {nx} x {ny} px, expected {size} x {size} at most")
        planes.append(np.pad(stamp, ((0, size - ny), (0, size - nx))))
    return np.stack(planes, axis=-1)


def centred_triplet(alert: Alert, size: int = _SIZE) -> NDArray[np.float32]:
    """The cutouts by the conventions of AstrID, those of `astrid.images.cutouts`.

    The median of its good pixels is taken off the science and the reference stamp; the
    difference is science minus reference, also where the survey has it the other way round;
    missing pixels are 0; a stamp that an edge has clipped is filled on that side, so that the
    candidate is in the middle, and one that is larger is cut.

    Parameters
    ----------
    alert : Alert
    size : int, px
        Odd.

    Returns
    -------
    triplet : (size, size, 3) float32 ndarray, the survey's unit
        Science, reference, difference.

    Raises
    ------
    PacketError
        A cutout is absent or unreadable, has no good pixel, they have different sizes, or the
        sign of a difference that may be either way round is not known.
    """
    stamps = [_image(alert, name) for name in CUTOUTS]
    shape = stamps[0].shape
    if any(stamp.shape != shape for stamp in stamps):
        raise PacketError(f"cutouts of the sizes {[stamp.shape for stamp in stamps]}, expected one size")
    triplet = np.empty((*shape, 3), np.float32)
    for k, (name, stamp) in enumerate(zip(CUTOUTS, stamps, strict=True)):
        good = good_pixels(stamp)
        whole = bool(good.all())
        values = stamp.ravel() if whole else stamp[good]
        if not values.size:
            raise PacketError(f"the {name} cutout has no pixel with a value")
        level = np.float32(0) if name == "difference" else _median(values)
        if name == "difference" and alert.flipped:
            np.negative(stamp, out=triplet[..., k])
        else:
            with np.errstate(invalid="ignore", over="ignore"):  # of missing pixels, which are 0 below
                np.subtract(stamp, level, out=triplet[..., k])
        if not whole:
            triplet[~good, k] = 0
    for axis in (0, 1):
        if shape[axis] != size:
            triplet = _fitted(triplet, axis, (alert.y, alert.x), shape, size)
    return triplet


def shown_planes(alert: Alert) -> dict[str, NDArray[np.float32]]:
    """The cutouts for the eye: as the survey sent them, the candidate in the middle.

    Parameters
    ----------
    alert : Alert

    Returns
    -------
    planes : dict of str to (n, n) float32 ndarray, the survey's unit
        Those of the three that can be used, NaN where there is no value; the difference is science minus
        reference.
    """
    planes = {}
    for name in CUTOUTS:
        cutout = alert.cutouts.get(name)
        if cutout is None or cutout.image is None:
            continue
        stamp = np.where(good_pixels(cutout.image), cutout.image, np.float32(np.nan))
        plane = (-stamp if name == "difference" and alert.flipped else stamp)[..., None]
        for axis in (0, 1):
            if stamp.shape[axis] != max(stamp.shape):
                place = (alert.y, alert.x)
                plane = _fitted(plane, axis, place, stamp.shape, max(stamp.shape), np.nan)
        planes[name] = np.ascontiguousarray(plane[..., 0], np.float32)
    return planes


def _fitted(
    triplet: NDArray[np.float32],
    axis: int,
    place: tuple[float | None, float | None],
    shape: tuple[int, ...],
    size: int,
    fill: float = 0.0,
) -> NDArray[np.float32]:
    """Bring one axis to the size, the candidate in the middle.

    A stamp that is too small in both axes alike, away from the low edges, is of a survey with
    smaller stamps; else the edge of the chip has clipped it.
    """
    missing = size - shape[axis]
    if missing <= 0:
        return np.take(triplet, np.arange(size) + (-missing) // 2, axis=axis)
    position = place[axis]
    if shape[0] == shape[1] and not _cut_low(place, shape, size):
        low = missing // 2
    elif position is not None and position < size // 2:
        low = int(np.clip(size // 2 - round(position), 0, missing))
    else:
        low = 0
    padding = [(0, 0)] * 3
    padding[axis] = (low, missing - low)
    return np.pad(triplet, padding, constant_values=fill)


def _cut_low(place: tuple[float | None, float | None], shape: tuple[int, ...], size: int) -> bool:
    """Whether a low edge of the chip has clipped the stamp in one of its axes."""
    half = size // 2
    return any(
        position is not None and position < half and n == round(position) + half + 1
        for position, n in zip(place, shape, strict=False)
    )


def _median(values: NDArray[np.float32]) -> np.float32:
    """As `numpy.median`, without what it does for other shapes and for NaN."""
    middle = values.size // 2
    if values.size % 2:
        return np.float32(np.partition(values, middle)[middle])
    low, high = np.partition(values, (middle - 1, middle))[middle - 1 : middle + 1]
    return np.float32((low + high) / np.float32(2))


def missing_pixels(alert: Alert) -> dict[str, int]:
    """How many pixels of each cutout have no value.

    Raises
    ------
    PacketError
        A cutout is absent or unreadable.
    """
    return {name: int((~good_pixels(_image(alert, name))).sum()) for name in CUTOUTS}


def _image(alert: Alert, name: str) -> NDArray[np.float32]:
    cutout = alert.cutouts.get(name)
    if cutout is None or cutout.image is None:
        reason = "was not read" if cutout is None else cutout.problem
        raise PacketError(f"the {name} cutout cannot be used: {reason}")
    return cutout.image
