"""Packets on the disk: those of a batch in one tar file, each named by its SHA-256.

The database knows where in which file each one lies; any other program can open the tar.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from astrid.errors import OutputError, StoreError
from astrid.files.atomic import atomic_path
from astrid.store.batch import Content

__all__ = ["Place", "make_folder", "pack_packets", "read_packet", "settle"]

_BLOCK = tarfile.BLOCKSIZE


class Place(NamedTuple):
    """Where a packet lies in its pack."""

    sha256: bytes
    suffix: str
    offset: int
    length: int


def pack_packets(path: Path, packets: Iterable[Content]) -> list[Place]:
    """Write packets into a new tar; when this returns, they survive a power cut.

    Parameters
    ----------
    path : Path
        Of the tar; its folder is made.
    packets : iterable of Content

    Returns
    -------
    places : list of Place
        Of each packet; equal ones are there once.

    Raises
    ------
    OutputError
        It cannot be written; nothing is left behind.
    """
    places: list[Place] = []
    known: dict[tuple[bytes, str], Place] = {}
    make_folder(path.parent)
    with atomic_path(path) as partial, partial.open("wb") as file:
        offset = 0
        for packet in packets:
            content = packet.content()
            digest = hashlib.sha256(content)
            name = (digest.digest(), packet.suffix)
            place = known.get(name)
            if place is None:
                header = tarfile.TarInfo(f"{digest.hexdigest()}{packet.suffix}")
                header.size = len(content)
                file.write(header.tobuf(tarfile.USTAR_FORMAT))
                offset += _BLOCK
                place = known[name] = Place(*name, offset, len(content))
                padding = -len(content) % _BLOCK
                file.write(content)
                file.write(bytes(padding))
                offset += len(content) + padding
            places.append(place)
        file.write(bytes(2 * _BLOCK))  # the end of a tar
    settle(path.parent)
    return places


def read_packet(path: Path, place: Place) -> bytes:
    """The bytes of a packet.

    Raises
    ------
    StoreError
        The pack is gone or damaged.
    """
    try:
        with path.open("rb") as file:
            file.seek(place.offset)
            content = file.read(place.length)
    except FileNotFoundError as error:
        raise StoreError(
            f"{path}: the packets are not there; give the folder that belongs to this database"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}); check its disk") from error
    if hashlib.sha256(content).digest() != place.sha256:
        raise StoreError(
            f"{path} is damaged: a packet has not the bytes it was stored with; restore the file"
        )
    return content


def make_folder(folder: Path) -> None:
    """Make a folder that survives a power cut.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    if folder.is_dir():
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} cannot be made ({error.strerror}); choose another place") from error
    settle(folder.parent)


def settle(folder: Path) -> None:
    """Bring the names of the files in a folder to the disk: a new file is lost without its name."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
