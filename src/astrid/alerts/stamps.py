"""The image in the bytes of a cutout, parsed by hand: a thirtieth of the time of a FITS library.

Plain images of floating-point numbers, which is what surveys send; anything else that is FITS goes to
astropy. What the pixels mean is no business of this module.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PacketError

__all__ = ["DamagedError", "good_pixels", "unpack_stamp"]

_LARGEST = 1 << 24  # bytes of a stamp when unpacked; 1,400 x 1,400 px in double precision
_SIDE = 2048  # px
_ABSURD = 1e30  # a fill value such as the largest float32 is above, counts are far below
_KINDS = {-32: ">f4", -64: ">f8"}
_WHOLE = re.compile(rb"[-+]?\d{1,10}")
_AXES = re.compile(rb"NAXIS\d+ *= *(\d+)")

# what broken bytes make astropy raise
_BROKEN = (
    ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError, OverflowError, OSError,
    MemoryError, struct.error, zlib.error, RuntimeError, Warning,
)  # fmt: skip


class DamagedError(PacketError):
    """The bytes are not those that were sent: nothing else in the packet can be trusted either."""


def unpack_stamp(content: bytes) -> NDArray[np.float32]:
    """The image in the bytes of a stamp: FITS, gzip-compressed or not.

    Parameters
    ----------
    content : bytes

    Returns
    -------
    image : (ny, nx) float32 ndarray

    Raises
    ------
    DamagedError
        The compression is broken, or its checksum is wrong.
    PacketError
        Not an image, or larger than any cutout.
    """
    if content[:2] == b"\x1f\x8b":
        content = _decompressed(content)
    if content[:6] != b"SIMPLE":
        raise PacketError("a stamp is no FITS image")
    begin, facts = _header(content)
    ny, nx = facts.get(b"NAXIS2", 0), facts.get(b"NAXIS1", 0)
    kind = _KINDS.get(facts.get(b"BITPIX", 0))
    if kind is None or facts.get(b"NAXIS") != 2 or b"BSCALE" in facts or b"BZERO" in facts:
        return _by_library(content)
    if not (0 < nx <= _SIDE and 0 < ny <= _SIDE):
        raise PacketError(f"a stamp has {nx} x {ny} px, expected 1 to {_SIDE} on a side")
    if len(content) < begin + int(kind[-1]) * ny * nx:
        raise PacketError(
            f"a stamp of {nx} x {ny} px ends after {max(len(content) - begin, 0)} bytes of pixels"
        )
    with np.errstate(over="ignore"):  # of double precision: infinite, which is a missing pixel
        return np.frombuffer(content, kind, ny * nx, begin).reshape(ny, nx).astype(np.float32)


def good_pixels(stamp: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels that have a value: finite, and no fill value such as 3.4e38."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(stamp) < _ABSURD)


def _decompressed(content: bytes) -> bytes:
    unpacker = zlib.decompressobj(wbits=31)
    try:
        whole = unpacker.decompress(content, _LARGEST)
    except zlib.error as error:
        raise DamagedError(f"a stamp's compression is broken ({error})") from error
    if unpacker.unconsumed_tail:
        raise PacketError(f"a stamp has more than {_LARGEST} bytes when unpacked")
    if not unpacker.eof:
        raise DamagedError("a stamp's compressed bytes end too early")
    return whole


def _header(content: bytes) -> tuple[int, dict[bytes, int]]:
    """Where the pixels begin, and the whole numbers of the header that say what they are."""
    facts: dict[bytes, int] = {}
    for start in range(0, len(content) - 79, 80):
        key = content[start : start + 8].rstrip()
        if key in (b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2", b"BSCALE", b"BZERO"):
            value = content[start + 10 : start + 80].partition(b"/")[0].strip()
            facts[key] = int(value) if _WHOLE.fullmatch(value) else 0
        elif key == b"END":
            return (start // 2880 + 1) * 2880, facts
    raise PacketError("a stamp's header has no end")


def _by_library(content: bytes) -> NDArray[np.float32]:
    """The first image of a file that is more than one plain image of floating-point numbers."""
    from astropy.io import fits

    if len(content) > _LARGEST or any(int(side) > _SIDE for side in _AXES.findall(content[:_LARGEST])):
        raise PacketError("a stamp's header has axes larger than those of any cutout")
    try:
        with (
            warnings.catch_warnings(action="ignore"),
            fits.open(io.BytesIO(content), memmap=False) as hdus,
        ):
            for hdu in hdus[:8]:
                if hdu.is_image and not isinstance(hdu, fits.CompImageHDU) and len(hdu.shape) == 2:
                    return np.array(hdu.data, np.float32)
    except (*_BROKEN, fits.VerifyError) as error:
        reason = " ".join(str(error).split())[:120]
        raise PacketError(f"a stamp is no FITS image that can be read ({reason})") from error
    raise PacketError("a stamp is a FITS file without an image of two axes")
