"""Packets of surveys as they were sent: read from files, and their stamps as arrays.

Nothing is labelled here, see `alert_triplets`; AstrID's own packets are read in
`astrid.images.packets`.
"""

from __future__ import annotations

import io
import struct
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import PacketError
from astrid.survey.realbogus_data import TRIPLET, number

__all__ = ["centred_stamps", "is_positive", "missing_pixels", "raw_stamps", "read_alerts", "unpack_stamp"]

_SIZE = TRIPLET.shape[0]
_ABSURD = 1e30  # a fill value such as the largest float32 is above, counts are far below
_CUTOUTS = ("Science", "Template", "Difference")

# what a broken file makes fastavro and zlib raise
_BROKEN = (
    ValueError, KeyError, IndexError, EOFError, TypeError, AttributeError, OverflowError, OSError,
    MemoryError, StopIteration, struct.error, zlib.error,
)  # fmt: skip


def read_alerts(path: str | Path) -> Iterator[tuple[str, Mapping[str, Any] | PacketError]]:
    """Read the packets of a file or folder, one after another.

    Parameters
    ----------
    path : str or Path
        An Avro file, a folder of them, a tar archive of them, or a Parquet file of Fink.

    Yields
    ------
    name : str
        Of the packet: its file, and its number in it if there are several.
    record : mapping or PacketError
        The packet as it was sent, or why it cannot be read.

    Raises
    ------
    PacketError
        There is no such file, or it is of another kind.
    """
    path = Path(path)
    if path.is_dir():
        for file in sorted(path.rglob("*.avro")):
            yield from _avro(str(file.relative_to(path)), file.read_bytes())
    elif not path.is_file():
        raise PacketError(f"{path}: there is no such file; give Avro or Parquet files, folders or archives")
    elif path.suffix == ".parquet":
        yield from _parquet(path)
    elif path.suffix == ".avro":
        yield from _avro(path.name, path.read_bytes())
    elif ".tar" in path.suffixes or path.suffix == ".tgz":
        yield from _archive(path)
    else:
        raise PacketError(f"{path}: expected .avro, .parquet, .tar.gz or a folder; give one of these")


def _avro(name: str, content: bytes) -> Iterator[tuple[str, Mapping[str, Any] | PacketError]]:
    import fastavro
    from fastavro.schema import SchemaParseException

    count = 0
    try:
        for record in fastavro.reader(io.BytesIO(content)):
            label = name if count == 0 else f"{name}:{count}"
            count += 1
            if isinstance(record, dict):
                yield label, record
            else:
                yield label, PacketError(f"a {type(record).__name__} where a packet was expected")
    except (*_BROKEN, SchemaParseException) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        yield f"{name}:{count}" if count else name, PacketError(f"cannot be decoded ({reason})")


def _archive(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | PacketError]]:
    try:
        with tarfile.open(path) as archive:
            for member in sorted(archive.getmembers(), key=lambda member: member.name):
                content = archive.extractfile(member) if member.name.endswith(".avro") else None
                if content is not None:
                    yield from _avro(member.name, content.read())
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise PacketError(f"{path}: not a readable archive ({error}); copy it again") from error


def _parquet(path: Path) -> Iterator[tuple[str, Mapping[str, Any] | PacketError]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path)
        row = 0
        for batch in table.iter_batches(batch_size=64):
            for record in batch.to_pylist():
                yield f"{path.name}:{row}", record
                row += 1
    except (OSError, pa.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise PacketError(f"{path}: not a readable Parquet file ({reason}); copy it again") from error


def raw_stamps(record: Mapping[str, Any]) -> NDArray[np.float32]:
    """The stamps of a packet as ZTF's production network was given them.

    Parameters
    ----------
    record : mapping
        A ZTF packet.

    Returns
    -------
    stamps : (63, 63, 3) float32 ndarray
        Science, template, difference; not finite pixels as `numpy.nan_to_num` leaves them, and
        0 beyond the high ends of a stamp that is smaller. Not normalised: production pads with
        1e-9 after it has normalised, which a row of zeros comes to in a network that normalises.

    Raises
    ------
    PacketError
        A stamp is absent, broken or larger.

    References
    ----------
    Duev et al. 2019, MNRAS 489, 3582, section 3.
    """
    planes = []
    for label in _CUTOUTS:
        stamp = np.nan_to_num(_stamp(record, label))
        ny, nx = stamp.shape
        if max(ny, nx) > _SIZE:
            raise PacketError(f"cutout{label} has {nx} x {ny} px, expected {_SIZE} x {_SIZE} at most")
        planes.append(np.pad(stamp, ((0, _SIZE - ny), (0, _SIZE - nx))))
    return np.stack(planes, axis=-1)


def centred_stamps(record: Mapping[str, Any]) -> NDArray[np.float32]:
    """The stamps of a packet by the conventions of AstrID: `realbogus_data.TRIPLET`.

    The median of its good pixels is taken off the science and the reference stamp; the
    difference is science minus reference, also where the packet has it the other way round
    (``isdiffpos`` f); missing pixels are 0; a stamp that an edge has clipped is filled on that
    side, so that the candidate is in the middle, and one that is larger is cut.

    Parameters
    ----------
    record : mapping

    Returns
    -------
    triplet : (63, 63, 3) float32 ndarray, ADU
        Science, reference, difference.

    Raises
    ------
    PacketError
        A stamp is absent or broken, has no good pixel, or they have different sizes.
    """
    stamps = [_stamp(record, label) for label in _CUTOUTS]
    if len({stamp.shape for stamp in stamps}) > 1:
        raise PacketError(f"stamps of the sizes {[stamp.shape for stamp in stamps]}, expected one size")
    planes = []
    for label, stamp in zip(_CUTOUTS, stamps, strict=True):
        good = _good(stamp)
        if not good.any():
            raise PacketError(f"cutout{label} has no pixel with a value")
        sky = np.float32(0) if label == "Difference" else np.median(stamp[good])
        planes.append(np.where(good, stamp - sky, np.float32(0)))
    if not is_positive(record):
        planes[2] = -planes[2]
    candidate = record.get("candidate") or {}
    triplet = np.stack(planes, axis=-1)
    for axis, name in enumerate(("ypos", "xpos")):
        triplet = _fitted(triplet, axis, number(candidate.get(name)), stamps[0].shape)
    return triplet.astype(np.float32, copy=False)


def _fitted(
    triplet: NDArray[np.float32], axis: int, position: float | None, shape: tuple[int, ...]
) -> NDArray[np.float32]:
    """Bring one axis to the size of a triplet, the candidate in the middle.

    The packet's positions count from 1. A stamp that is too small in both axes alike, away from
    the low edges, is of a survey with smaller stamps; else the edge of the chip has clipped it.
    """
    missing = _SIZE - shape[axis]
    if missing <= 0:
        return np.take(triplet, np.arange(_SIZE) + (-missing) // 2, axis=axis)
    half = _SIZE // 2
    if position is not None and position - 1 < half:
        low = int(np.clip(half - round(position - 1), 0, missing))
    else:
        low = missing // 2 if shape[0] == shape[1] else 0
    padding = [(0, 0)] * 3
    padding[axis] = (low, missing - low)
    return np.pad(triplet, padding)


def unpack_stamp(content: bytes) -> NDArray[np.float32]:
    """The image in the bytes of a stamp: FITS, gzip-compressed or not.

    Parsed by hand, which takes a thirtieth of the time of a FITS library; a stamp is one image
    of floating-point numbers and no more.

    Returns
    -------
    image : (ny, nx) float32 ndarray

    Raises
    ------
    PacketError
        Not such an image.
    """
    if content[:2] == b"\x1f\x8b":
        try:
            content = zlib.decompress(content, wbits=31)
        except zlib.error as error:
            raise PacketError(f"a stamp's compression is broken ({error})") from error
    if content[:6] != b"SIMPLE":
        raise PacketError("a stamp is no FITS image")
    facts: dict[str, int] = {}
    start = 0
    for start in range(0, len(content) - 79, 80):
        card = content[start : start + 80]
        key = card[:8].rstrip()
        if key == b"END":
            break
        if key in (b"BITPIX", b"NAXIS", b"NAXIS1", b"NAXIS2"):
            value = card[10:].split(b"/")[0].strip()
            facts[key.decode()] = int(value) if value.lstrip(b"-").isdigit() else 0
    begin = (start // 2880 + 1) * 2880
    ny, nx = facts.get("NAXIS2", 0), facts.get("NAXIS1", 0)
    kind = {-32: ">f4", -64: ">f8"}.get(facts.get("BITPIX", 0))
    if kind is None or facts.get("NAXIS") != 2 or min(ny, nx) < 1:
        raise PacketError(f"a stamp's header has {facts}, expected one image of floating-point numbers")
    if len(content) < begin + int(kind[-1]) * ny * nx:
        raise PacketError(
            f"a stamp of {nx} x {ny} px ends after {max(len(content) - begin, 0)} bytes of pixels"
        )
    return np.frombuffer(content, kind, ny * nx, begin).reshape(ny, nx).astype(np.float32)


def _stamp(record: Mapping[str, Any], label: str) -> NDArray[np.float32]:
    """A stamp of a packet, whichever of the usual places it is in."""
    value = record.get(f"cutout{label}", record.get(f"cutout_{label.lower()}"))
    content = value.get("stampData") if isinstance(value, Mapping) else value
    if not isinstance(content, bytes) or not content:
        raise PacketError(f"cutout{label} is absent")
    return unpack_stamp(content)


def _good(stamp: NDArray[np.float32]) -> NDArray[np.bool_]:
    return np.isfinite(stamp) & (np.abs(np.nan_to_num(stamp)) < _ABSURD)


def missing_pixels(record: Mapping[str, Any]) -> dict[str, int]:
    """How many pixels of each stamp have no value, by the names of the stamps in lower case.

    Raises
    ------
    PacketError
        A stamp is absent or broken.
    """
    return {label.lower(): int((~_good(_stamp(record, label))).sum()) for label in _CUTOUTS}


def is_positive(record: Mapping[str, Any]) -> bool:
    """Whether the packet's difference is science minus reference; else it is the reverse."""
    return str((record.get("candidate") or {}).get("isdiffpos")).lower() in ("t", "1", "true")
