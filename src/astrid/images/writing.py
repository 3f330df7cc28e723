"""Writing FITS products so that a reader never meets half a file.

Every product goes to a temporary file beside its target and is moved into place
when it is complete; what a product means is decided by those who call this.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid._version import __version__
from astrid.files.atomic import atomic_path
from astrid.images.frame import Frame

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header
    from astropy.wcs import WCS

__all__ = ["frame_header", "write_fits"]

# Keyword and comment of each fact that a frame carries to its file.
_FACT_CARDS = {
    "gain": ("GAIN", "[e-/ADU]"),
    "read_noise": ("RDNOISE", "[e-]"),
    "saturation": ("SATURATE", "[ADU]"),
    "exposure": ("EXPTIME", "[s]"),
    "filter": ("FILTER", ""),
    "mjd": ("MJD-AVG", "[d] UTC, middle of the exposure"),
    "zero_point": ("MAGZP", "[mag] of 1 ADU in this image"),
    "telescope": ("TELESCOP", ""),
    "instrument": ("INSTRUME", ""),
}


def frame_header(frame: Frame) -> dict[str, tuple[Any, str]]:
    """Facts of a frame as header cards, ``{keyword: (value, comment)}``."""
    return {
        keyword: (getattr(frame, fact), comment)
        for fact, (keyword, comment) in _FACT_CARDS.items()
        if getattr(frame, fact) is not None
    }


def write_fits(
    path: str | os.PathLike[str],
    data: NDArray[Any] | Frame,
    *,
    wcs: WCS | None = None,
    header: Mapping[str, Any] | None = None,
    history: Sequence[str] = (),
) -> None:
    """Write an image, or a frame with its planes and facts, atomically.

    A frame becomes a primary image with the extensions MASK (Flag bits),
    VARIANCE and NOISECOR where it has them, and is read back equal by
    `read_frame`; its PSF is not kept.

    Parameters
    ----------
    path : str or path-like
        ``.gz`` at the end compresses.
    data : (ny, nx) ndarray or Frame
        Booleans are stored as unsigned bytes.
    wcs : `~astropy.wcs.WCS`, optional
        For an array; a frame brings its own.
    header : mapping, optional
        Keyword to value or to (value, comment); ``None`` and numbers that are
        not finite become cards without a value.
    history : sequence of str
        HISTORY lines, in order: where the image comes from and what was done.

    Raises
    ------
    OutputError
        The file cannot be written; nothing is left behind.
    """
    frame = data if isinstance(data, Frame) else None
    pixels = _storable(data.data if isinstance(data, Frame) else data)
    wcs = wcs if frame is None else frame.wcs
    cards = {**(frame_header(frame) if frame is not None else {}), **(header or {})}
    with atomic_path(path) as temporary, warnings.catch_warnings():
        # A long keyword becomes a HIERARCH card and a long comment is cut: no loss of value.
        warnings.simplefilter("ignore")
        hdus = _hdus(pixels, frame, _header(wcs, cards, history))
        hdus.writeto(temporary, overwrite=True, output_verify="silentfix")


def _hdus(pixels: NDArray[Any], frame: Frame | None, header: Header) -> HDUList:
    from astropy.io import fits

    hdus = fits.HDUList([fits.PrimaryHDU(pixels, header)])
    if frame is not None:
        hdus.append(fits.ImageHDU(frame.mask, name="MASK"))
        if frame.variance is not None:
            hdus.append(fits.ImageHDU(frame.variance, name="VARIANCE"))
        if frame.noise_correlation is not None:
            hdus.append(fits.ImageHDU(frame.noise_correlation, name="NOISECOR"))
    return hdus


def _storable(data: NDArray[Any]) -> NDArray[Any]:
    array = np.asarray(data)
    if array.dtype == np.bool_:
        return array.astype(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    return array


def _header(wcs: WCS | None, cards: Mapping[str, Any], history: Sequence[str]) -> Header:
    """Header of a product: WCS, then the cards in their order, then where it comes from."""
    from astropy.io import fits

    header = fits.Header() if wcs is None else _wcs_header(wcs)
    for keyword, card in cards.items():
        value, comment = card if isinstance(card, tuple) else (card, "")
        header[keyword] = (_card_value(value), _ascii(comment))
    header["CREATOR"] = (f"AstrID {__version__}", "software that wrote this file")
    for line in history:
        for part in line.splitlines():
            header.add_history(_ascii(part))
    return header


def _wcs_header(wcs: WCS) -> Header:
    header = wcs.to_header(relax=True)
    if wcs.sip is not None and not str(header.get("CTYPE1", "")).endswith("-SIP"):
        # to_header writes the SIP polynomial but leaves the name of the plain projection
        for axis in (1, 2):
            header[f"CTYPE{axis}"] += "-SIP"
    return header


def _card_value(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str):
        return _ascii(value)
    return value if isinstance(value, bool | int | float) or value is None else _ascii(str(value))


def _ascii(text: str) -> str:
    """Printable ASCII, which is all that FITS headers hold."""
    cleaned = str(text).encode("ascii", "replace").decode()
    return "".join(letter if letter.isprintable() else " " for letter in cleaned)
