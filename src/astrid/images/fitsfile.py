"""FITS files as files: opened whole and checked, and the HDU with the image found.

What is damaged, truncated or no FITS at all is refused here in one sentence;
what the pixels and the keywords mean is for `reading`.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import lzma
import math
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from astrid.errors import AstridError, FrameError
from astrid.images.profiles import Profile

if TYPE_CHECKING:
    from astropy.io.fits import HDUList

__all__ = ["choose_image", "damage_refused", "image_shape", "open_fits"]

# What damaged bytes were seen to raise inside astropy and zlib; anything else is our fault.
DAMAGE = (
    OSError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    BufferError,
    NameError,
    RuntimeError,
    struct.error,
    zlib.error,
    lzma.LZMAError,
)
_COMPRESSED: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
# No tile compression packs more pixels into a byte than gzip does zeros.
_MAX_PIXELS_PER_BYTE = 1100
_BLOCK = 2880
_MAX_AXES = 999  # of the standard, for axes and for table columns
_STRUCTURE = re.compile(rb"(BITPIX|NAXIS\d*|PCOUNT|GCOUNT|TFIELDS|ZNAXIS\d*|ZTILE\d+) *=")
_INTEGER = re.compile(rb" *([+-]?\d+) *(?:/|$)")
# EXTNAMEs of planes that accompany an image and are never the image itself.
_AUXILIARY = frozenset(
    {"DQ", "MASK", "MSK", "BPM", "ERR", "ERROR", "VAR", "VARIANCE", "UNCERT", "STDDEV", "IVAR", "INVVAR"}
    | {"WHT", "WEIGHT", "CON", "CTX", "SAMP", "TIME", "EXP", "EXPMAP", "SKY", "BKG", "BACKGROUND", "AREA"}
    | {"WAVELENGTH", "VAR_POISSON", "VAR_RNOISE", "VAR_FLAT", "NOISECOR"}
)


def is_image(hdu: Any) -> bool:
    """Whether an HDU holds an image of two axes or more, of length above 1."""
    from astropy.io import fits

    kinds = (fits.PrimaryHDU, fits.ImageHDU, fits.CompImageHDU)
    return isinstance(hdu, kinds) and not isinstance(hdu, fits.GroupsHDU) and len(image_shape(hdu)) >= 2


def image_shape(hdu: Any) -> tuple[int, ...]:
    """Shape of an HDU's image without leading axes of length 1; (ny, nx) for a plane."""
    shape = tuple(int(n) for n in hdu.shape)
    while len(shape) > 2 and shape[0] == 1:
        shape = shape[1:]
    return shape if shape and min(shape) > 0 else ()


@contextmanager
def damage_refused(name: str) -> Iterator[None]:
    """Turn what damaged bytes raise into one sentence."""
    from astropy.io.fits import VerifyError

    try:
        yield
    except AstridError:
        raise
    except (*DAMAGE, VerifyError, *_decompressor_errors()) as error:
        raise _damaged(name, error) from error


def _decompressor_errors() -> tuple[type[Exception], ...]:
    """Class that astropy's tile decompressor raises; it has no public name and moved once."""
    for place in ("hdu.compressed", "_tiled_compression"):
        try:
            return (importlib.import_module(f"astropy.io.fits.{place}._compression").CfitsioException,)
        except ImportError:
            continue
    return ()


def _damaged(name: str, error: Exception) -> FrameError:
    reason = " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
    return FrameError(f"{name}: the file is damaged ({reason}); fetch it again")


@contextmanager
def open_fits(path: str | os.PathLike[str]) -> Iterator[tuple[HDUList, list[str]]]:
    """Open a FITS file after checking that it is one and is all there.

    Parameters
    ----------
    path : str or path-like

    Yields
    ------
    hdus : `~astropy.io.fits.HDUList`
        No memory mapping; unsigned integers are scaled to float, so that BLANK holds.
    problems : list of str
        What astropy warned of; grows while the block runs.

    Raises
    ------
    FrameError
        Missing, a folder, empty, not FITS, truncated or damaged.
    """
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyWarning

    name = os.fspath(path)
    problems: list[str] = []
    with damage_refused(name), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream = _stream(Path(path), name)
        with stream:
            _check_structure(stream, name, problems)
            stream.seek(0)
            with fits.open(stream, memmap=False, lazy_load_hdus=False, uint=False) as hdus:
                yield hdus, problems
            problems += [
                " ".join(str(each.message).split())
                for each in caught
                if issubclass(each.category, AstropyWarning)
            ]


def _stream(path: Path, name: str) -> BinaryIO:
    """The bytes of the FITS file, decompressed if need be."""
    try:
        if path.is_dir():
            raise FrameError(f"{name}: it is a folder, expected a FITS file; give one of the files in it")
        with path.open("rb") as stream:
            start = stream.read(16)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise FrameError(
            f"{name}: the file cannot be read ({reason}); give the path of a FITS file"
        ) from error
    if not start:
        raise FrameError(f"{name}: the file is empty (0 bytes), expected FITS; fetch it again")
    opener = next((made for magic, made in _COMPRESSED.items() if start.startswith(magic)), None)
    content: BinaryIO = path.open("rb")
    if opener is not None:
        content.close()
        with opener(path, "rb") as packed:
            content = io.BytesIO(packed.read())
    if content.read(6) != b"SIMPLE":
        content.close()
        raise FrameError(f"{name}: it is not a FITS file (it does not begin with SIMPLE); give a FITS image")
    content.seek(0)
    return content


def _check_structure(stream: BinaryIO, name: str, problems: list[str]) -> None:
    """Walk through the headers and refuse what is not all there, before astropy reads any of it.

    astropy takes the numbers of a header as they stand: a damaged TFIELDS keeps it
    in a loop for hours and a damaged NAXIS1 asks for all the memory.
    """
    size = stream.seek(0, os.SEEK_END)
    start, index = 0, 0
    while start < size:
        stream.seek(start)
        if index and stream.read(8) != b"XTENSION":
            problems.append(f"{size - start} bytes after the last HDU are not FITS and are ignored")
            return
        cards, data_start = _header_cards(stream, start, size, index, name)
        data_size = _data_size(cards, size, index, name)
        if data_start + data_size > size:
            raise FrameError(
                f"{name}: the file is truncated (HDU {index} needs {data_start + data_size} bytes, "
                f"there are {size}); fetch it again"
            )
        start = data_start + -(-data_size // _BLOCK) * _BLOCK
        index += 1
    if start > size:
        problems.append("the last block of the file is not filled up to 2880 bytes; all pixels are there")


def _header_cards(
    stream: BinaryIO, start: int, size: int, index: int, name: str
) -> tuple[dict[str, int], int]:
    """Structural integers of one header, and where its data begin."""
    stream.seek(start)
    cards: dict[str, int] = {}
    while block := stream.read(_BLOCK):
        for at in range(0, len(block) - 79, 80):
            card = block[at : at + 80]
            if card.rstrip() == b"END":
                return cards, start + -(-(stream.tell() - start) // _BLOCK) * _BLOCK
            if match := _STRUCTURE.match(card):
                number = _INTEGER.match(card[9:])
                cards.setdefault(match[1].decode(), int(number[1]) if number else -1)
    raise FrameError(
        f"{name}: the file is truncated or damaged (the header of HDU {index} has no end in {size} bytes); "
        "fetch it again"
    )


def _data_size(cards: dict[str, int], size: int, index: int, name: str) -> int:
    """Bytes of data that a header claims, without padding."""
    axes = cards.get("NAXIS", -1)
    lengths = [cards.get(f"NAXIS{axis}", -1) for axis in range(1, min(max(axes, 0), _MAX_AXES) + 1)]
    counts = [cards.get("PCOUNT", 0), cards.get("GCOUNT", 1), cards.get("TFIELDS", 0)]
    tiled = [value for key, value in cards.items() if key.startswith(("ZNAXIS", "ZTILE"))]
    impossible = (
        not 0 <= axes <= _MAX_AXES
        or abs(cards.get("BITPIX", 0)) not in (8, 16, 32, 64)
        or min([*lengths, *counts, *tiled, 0]) < 0
        or not 0 <= cards.get("TFIELDS", 0) <= _MAX_AXES
        or cards.get("ZNAXIS", 0) > _MAX_AXES
    )
    pixels = math.prod(value for key, value in cards.items() if re.fullmatch(r"ZNAXIS\d+", key))
    if impossible or pixels > _MAX_PIXELS_PER_BYTE * size:
        raise FrameError(
            f"{name}: the file is damaged (the axes of HDU {index} are impossible for {size} bytes); "
            "fetch it again"
        )
    if not lengths:
        return 0
    if lengths[0] == 0 and len(lengths) > 1:  # random groups
        lengths = lengths[1:]
    return abs(cards["BITPIX"]) // 8 * counts[1] * (counts[0] + math.prod(lengths))


def choose_image(hdus: HDUList, ext: int | str | None, profile: Profile, name: str) -> int:
    """Index of the HDU that holds the image; see `read_frame` for the rules."""
    index = _wanted(hdus, ext, name) if ext is not None else _found(hdus, profile, name)
    hdu = hdus[index]
    if not is_image(hdu):
        raise FrameError(f"{name}: HDU {index} holds no image; {_listing(hdus)}")
    if len(image_shape(hdu)) > 2:
        size = " x ".join(str(n) for n in reversed(image_shape(hdu)))
        raise FrameError(
            f"{name}: HDU {index} is a cube of {size}, expected a 2-D image; "
            "write one plane to a file of its own or give another HDU with --ext"
        )
    return index


def _listing(hdus: HDUList) -> str:
    images = [f"{i} {hdu.name!r}" for i, hdu in enumerate(hdus) if is_image(hdu)]
    return f"give one of {', '.join(images[:12])} with --ext" if images else "there is no image in the file"


def _wanted(hdus: HDUList, ext: int | str, name: str) -> int:
    text = str(ext).strip()
    if text.lstrip("-").isdigit():
        if 0 <= int(text) < len(hdus):
            return int(text)
    else:
        label, _, version = text.partition(",")
        for index, hdu in enumerate(hdus):
            if hdu.name.upper() == label.strip().upper() and version.strip() in ("", str(hdu.ver)):
                return index
    raise FrameError(f"{name}: there is no HDU {ext!r} in the file; {_listing(hdus)}")


def _found(hdus: HDUList, profile: Profile, name: str) -> int:
    images = [index for index, hdu in enumerate(hdus) if is_image(hdu)]
    flat = [index for index in images if len(image_shape(hdus[index])) == 2] or images
    if not flat:
        what = "only tables" if len(hdus) > 1 else "no image"
        raise FrameError(f"{name}: the file holds {what}, expected a 2-D image; give an image file")
    auxiliary = _AUXILIARY | {
        each.upper() for each in (*profile.mask_extensions, *profile.variance_extensions)
    }
    main = [index for index in flat if hdus[index].name.upper() not in auxiliary] or flat
    for wanted in profile.image_extensions:
        named = [index for index in main if hdus[index].name.upper() == wanted.upper()]
        if named:
            main = named
            break
    else:
        if 0 in main:
            main = [0]
    if len(main) > 1:
        labels = ", ".join(f"{index} {hdus[index].name!r}" for index in main[:8])
        more = ", ..." if len(main) > 8 else ""
        raise FrameError(
            f"{name}: the file holds {len(main)} images of equal standing ({labels}{more}); "
            "choose one with --ext"
        )
    return main[0]
