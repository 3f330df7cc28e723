"""Arrays as small pictures: stretches, binning, a palette, and PNG files that hold them.

One palette serves all pictures of a report, so that many cutouts fit into one file;
drawing axes and laying out a page happen elsewhere (`charts`, `report`).
"""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "PALETTE", "asinh_grey", "bin_extreme", "bin_mean", "data_uri", "diverging", "encode_png", "robust_sigma",
]  # fmt: skip

_GREYS = 127  # indices 1 to 127: black to white; 0 is transparent: no data
_ZERO = 192  # middle of 128 to 255 (256 is left out, so that both sides have 63 steps)
_STEPS = 63

# anchors of the diverging half: pale blue, blue, almost black, orange, pale yellow; told apart by the
# colour-blind, and dark at zero so that the page is calm where nothing happened
_ANCHORS = np.array(
    [
        (205, 236, 255),
        (74, 163, 223),
        (20, 66, 112),
        (14, 17, 22),
        (112, 52, 16),
        (236, 133, 50),
        (255, 231, 173),
    ],
    dtype=np.float64,
)
_AT = np.array([-1.0, -0.55, -0.22, 0.0, 0.22, 0.55, 1.0])


def _palette() -> NDArray[np.uint8]:
    colours = np.zeros((256, 3), np.float64)
    colours[1 : _GREYS + 1] = np.linspace((10, 12, 16), (252, 252, 250), _GREYS)
    position = np.clip((np.arange(128, 256) - _ZERO) / _STEPS, -1, 1)
    for channel in range(3):
        colours[128:, channel] = np.interp(position, _AT, _ANCHORS[:, channel])
    return np.round(colours).astype(np.uint8)


PALETTE = _palette()
"""(256, 3) uint8: 0 no data (transparent), 1 to 127 grey, 128 to 255 diverging around 192."""


def asinh_grey(
    values: NDArray[np.floating],
    low: float,
    high: float,
    softening: float,
    blank: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Palette indices of an asinh stretch: linear for `softening` above `low`, logarithmic beyond.

    Parameters
    ----------
    values : ndarray of float
    low, high : float
        Black and white.
    softening : float
        Same unit.
    blank : bool ndarray, optional
        Pixels without data; those that are not finite are blank in any case.

    Returns
    -------
    uint8 ndarray
        0 where blank, else 1 to 127.
    """
    span = np.arcsinh(max(high - low, 1e-30) / softening)
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = np.arcsinh((values - np.float32(low)) / np.float32(softening)) / np.float32(span)
    empty = ~np.isfinite(values) if blank is None else blank | ~np.isfinite(values)
    index = 1 + np.clip(np.where(empty, 0, scaled), 0, 1) * (_GREYS - 1)
    return np.where(empty, 0, np.round(index)).astype(np.uint8)


def diverging(
    values: NDArray[np.floating], limit: float, blank: NDArray[np.bool_] | None = None
) -> NDArray[np.uint8]:
    """Palette indices of a map that is dark at 0 and saturates at plus and minus `limit`.

    Returns
    -------
    uint8 ndarray
        0 where blank or not finite, else 129 to 255.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        scaled = values / np.float32(max(limit, 1e-30))
    empty = ~np.isfinite(values) if blank is None else blank | ~np.isfinite(values)
    index = _ZERO + np.clip(np.where(empty, 0, scaled), -1, 1) * _STEPS
    return np.where(empty, 0, np.round(index)).astype(np.uint8)


def bin_mean(
    plane: NDArray[np.floating], good: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Average of the good pixels in blocks of `factor` x `factor`; incomplete blocks at the end are cut.

    Returns
    -------
    binned : (ny // factor, nx // factor) float32 ndarray
    blank : bool ndarray of the same shape
        Blocks without a good pixel.
    """
    if factor == 1:
        return np.asarray(plane, np.float32), ~good
    weight = _blocks(good.astype(np.float32), factor).sum(axis=(1, 3))
    total = _blocks(np.where(good, plane, 0).astype(np.float32), factor).sum(axis=(1, 3))
    return total / np.maximum(weight, 1), weight == 0


def bin_extreme(
    plane: NDArray[np.floating], good: NDArray[np.bool_], factor: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """The good value farthest from 0 in each block, so that a single bright pixel stays visible.

    Returns
    -------
    binned : (ny // factor, nx // factor) float32 ndarray
    blank : bool ndarray of the same shape
    """
    if factor == 1:
        return np.asarray(plane, np.float32), ~good
    blocks = _blocks(np.where(good, plane, 0).astype(np.float32), factor)
    high, low = blocks.max(axis=(1, 3)), blocks.min(axis=(1, 3))
    empty = ~np.asarray(_blocks(good, factor).any(axis=(1, 3)), bool)
    return np.where(high >= -low, high, low), empty


def robust_sigma(values: NDArray[np.floating]) -> float:
    """Standard deviation from the median absolute deviation, as if Gaussian; 0 for no finite value."""
    sample = values[np.isfinite(values)]
    if sample.size == 0:
        return 0.0
    return float(1.4826 * np.median(np.abs(sample - np.median(sample))))


def encode_png(index: NDArray[np.uint8]) -> bytes:
    """A PNG file of palette indices; the first row is at the top.

    Parameters
    ----------
    index : (ny, nx) uint8 ndarray
        Indices into `PALETTE`.

    References
    ----------
    W3C, Portable Network Graphics (third edition), sections 5 and 11.
    """
    ny, nx = index.shape
    rows = np.zeros((ny, nx + 1), np.uint8)  # each row begins with its filter: 0, none
    rows[:, 1:] = index
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        (
            _chunk(b"IHDR", struct.pack(">IIBBBBB", nx, ny, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", PALETTE.tobytes()),
            _chunk(b"tRNS", b"\x00"),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)),
            _chunk(b"IEND", b""),
        )
    )


def data_uri(index: NDArray[np.uint8]) -> str:
    """The picture as text to be put into a page."""
    return "data:image/png;base64," + base64.b64encode(encode_png(index)).decode("ascii")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def _blocks(plane: NDArray[Any], factor: int) -> NDArray[Any]:
    ny, nx = (side // factor for side in plane.shape)
    return plane[: ny * factor, : nx * factor].reshape(ny, factor, nx, factor)
