"""Real packets that were damaged: each of them becomes an alert or is kept with its reason.

What is measured is that nothing crashes, gets lost or needs much memory.
"""

from __future__ import annotations

import shutil
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from astrid.alerts import Quarantine, SchemaBook, decode
from astrid.alerts.container import packets_in
from astrid.alerts.intake import mapped_histories
from astrid.bench._alert_stream import resident
from astrid.bench.frame import Row, measure_process
from astrid.errors import PacketError

__all__ = ["Fuzzed", "fuzz", "fuzz_rows", "mutated", "seeds"]

_ARCHIVES = ("ztf_alerts_dev.tar.gz", "other_surveys_dev.tar.gz", "lsst_packets.tar.gz")
_EMPTIED = 500  # packets after which the quarantine is counted and emptied
_HUGE = b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"  # 2^62 as Avro writes lengths


@dataclass
class Fuzzed:
    """What became of damaged packets.

    Parameters
    ----------
    n : int
        That were made.
    alerts, kept : int
        Those that are alerts nevertheless, and those in quarantine.
    lost : int
        Of which there is neither an alert, nor what was kept on the disk.
    slowest : float, s
    grown : float, MiB
        Memory between the first tenth and the end.
    """

    n: int = 0
    alerts: int = 0
    kept: int = 0
    lost: int = 0
    slowest: float = 0.0
    grown: float = 0.0


def fuzz_rows(folder: Path, n: int) -> list[Row]:
    """The rows of a run over damaged packets."""
    found = measure_process(fuzz, folder, n)
    one = found.result
    what = "damaged packets of six surveys"
    return [
        Row(f"{what}: those that are neither an alert nor kept", one.lost, "", "real", one.n, "= 0"),
        Row(f"{what}: alerts nevertheless", one.alerts, "", "real", one.n),
        Row(f"{what}: kept in quarantine, with the reason", one.kept, "", "real", one.n),
        Row(f"{what}: largest memory", found.peak_mb, "MiB", "real", one.n, "<= 1024"),
        Row(f"{what}: growth of memory after the first tenth", one.grown, "MiB", "real", one.n),
        Row(f"{what}: the slowest", 1000 * one.slowest, "ms", "real", one.n),
    ]


def seeds(folder: Path) -> list[bytes]:
    """A packet of each survey and schema."""
    found = []
    for name in _ARCHIVES:
        with tarfile.open(folder / name) as archive:
            seen = set()
            for member in archive:
                group = member.name.split("/")[0]
                stream = archive.extractfile(member) if member.isfile() and group not in seen else None
                if stream is not None:
                    seen.add(group)
                    found.append(stream.read())
    return found


def mutated(contents: Sequence[bytes], rng: np.random.Generator) -> bytes:
    """One of some packets, cut, flipped, spliced with another, or with lengths that cannot be."""
    content = bytearray(contents[int(rng.integers(len(contents)))])
    for _ in range(int(rng.integers(1, 4))):
        # half of the changes in the headers, where few bytes mean much
        last = len(content) if rng.random() < 0.5 else min(20_000, len(content))
        place = int(rng.integers(max(last, 1)))
        match rng.integers(6):
            case 0:
                del content[max(place, 6) :]
            case 1 if content:
                for at in rng.integers(len(content), size=int(rng.integers(1, 5))).tolist():
                    content[at] ^= 1 << int(rng.integers(8))
            case 2:
                other = contents[int(rng.integers(len(contents)))]
                content[place:] = other[int(rng.integers(len(other))) :]
            case 3:
                content[place : place + len(_HUGE)] = _HUGE
            case 4:
                content[place:place] = rng.bytes(int(rng.integers(1, 30)))
            case _:
                del content[place : place + int(rng.integers(1, 300))]
    return bytes(content)


def fuzz(folder: Path, n: int, seed: int = 0) -> Fuzzed:
    """Decode damaged packets as a stream does.

    Parameters
    ----------
    folder : Path
        With the archives of real packets.
    n : int
    seed : int
    """
    rng, contents = np.random.default_rng(seed), seeds(folder)
    book, skips = SchemaBook(folder / "schemas.tar.gz"), mapped_histories()
    found, begun = Fuzzed(), 0.0
    # a disk of memory, if there is one: two files for each packet are too many for one that is shared
    place = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108
    with TemporaryDirectory(prefix="astrid-", dir=place) as work:
        quarantine = Quarantine(Path(work) / "quarantine")
        paths: set[Path] = set()
        for number in range(n):
            if number == n // 10:
                begun = resident()
            content = mutated(contents, rng)
            start = time.perf_counter()
            told = 0
            for packet in packets_in(str(number), content, book, skips):
                told += 1
                try:
                    decode(packet)
                    found.alerts += 1
                except PacketError as error:
                    paths.add(quarantine.add(packet, str(error)))
                    found.kept += 1
            found.slowest = max(found.slowest, time.perf_counter() - start)
            found.lost += told == 0
            if number % _EMPTIED == _EMPTIED - 1 or number == n - 1:
                found.lost += len(paths ^ set(quarantine.paths()))
                shutil.rmtree(quarantine.folder, ignore_errors=True)
                paths.clear()
    found.n, found.grown = n, resident() - begun
    return found
