"""The whole alert path, from packets in an archive to the store: its rate, its stages and its memory.

The stream is run as users run it; what its stages cost is what its batches say of themselves.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from astrid.alerts import SchemaBook
from astrid.alerts.container import Packet, packets_in
from astrid.alerts.intake import mapped_histories
from astrid.bench._alert_night import CATALOGS, Night, filters, make_catalogs, templates
from astrid.bench.frame import ONE_THREAD, Row, measure_process
from astrid.stream.settings import CatalogSettings, StreamSettings

if TYPE_CHECKING:
    from astrid.store.store import Store
    from astrid.stream.source import Delivery
    from astrid.stream.turns import Turn

__all__ = ["Prepared", "memory_rows", "packet", "path_rows", "prepare"]

MODELS = ("braai.sim1", "braai.real1")
_STAGES = {
    "read": "read and parsed", "decode": "decoded", "score": "scored by two networks",
    "match": "matched with three catalogues", "rows": "candidate rows", "filter": "25 filters",
    "store": "stored", "publish": "outbox",
}  # fmt: skip
_GOAL = 333
_FILLED = 30_000  # alerts after which the database keeps as many of its pages in memory as it may
_WHAT = "ZTF packets, whole path"


@dataclass(frozen=True)
class Prepared:
    """What the runs share.

    Parameters
    ----------
    packets : Path
        The archive of real packets.
    folder : Path
        With the catalogues, and for the stores.
    """

    packets: Path
    folder: Path

    def night(self, *, cutouts: bool = True) -> Night:
        """The alerts."""
        return Night(templates(self.packets, cutouts=cutouts), self.folder)

    def settings(self, store: Path, sources: tuple[str, ...] = (), workers: int = 1) -> StreamSettings:
        """Two networks and three catalogues; all else is what it is if nobody says anything."""
        catalogs = tuple(
            CatalogSettings(
                name=str(self.folder / "catalogs" / name),
                radius=radius,
                columns=("mag", "parallax" if name == "stars" else "z"),
            )
            for name, radius in CATALOGS.items()
        )
        return StreamSettings(
            sources=sources, store=store, models=MODELS, catalogs=catalogs, workers=workers, survey="ztf"
        )

    def save_filters(self, store: Store) -> None:
        """The twenty-five."""
        for one in filters(self.night()):
            store.save_filter(one.name, one.hash, one.model_dump(mode="json"))


def prepare(packets: Path, folder: Path, rows: int) -> Prepared:
    """Make the catalogues."""
    make_catalogs(folder, rows)
    return Prepared(packets, folder)


def path_rows(prepared: Prepared, n: int, rows: int, say: Callable[[str], None]) -> list[Row]:
    """Rates and costs of the path, of one process and of two."""
    say(f"writing {n:,} packets")
    archive = prepared.folder / "night.tar"
    prepared.night().write(archive, n)
    found, peaks, loads = {}, {}, {}
    for workers in (1, 2):
        say(f"the whole path, {workers} process{'es' if workers > 1 else ''}")
        before = os.getloadavg()[0]
        run = measure_process(_ingested, prepared, str(archive), workers, environment=ONE_THREAD)
        found[workers], peaks[workers] = run.result, run.peak_mb
        loads[workers] = (before + os.getloadavg()[0]) / 2
    archive.unlink()
    one, two = found[1], found[2]
    what = f"{_WHAT}, three catalogues of {rows:,} rows, two networks, 25 filters, SQLite"
    worker = Row(f"one process, processor time: {what}", one.rate, "/s", "real", n, f">= {_GOAL}")
    published = (
        worker.beside("BOOM, one alert worker, as published, not run here", 139),
        Row("the same", one.rate, "/s", "real", n).beside(
            "Kowalski, best on 32 cores, as published, not run here", 118
        ),
    )
    shares = [
        Row(f"one process: {text}, processor time of an alert", one.stages.get(stage, 0.0), "ms", "real", n)
        for stage, text in _STAGES.items()
    ]
    second = "that a second process adds, in units of the first"
    return [
        *published,
        Row("one process, elapsed time: the same", one.wall_rate, "/s", "real", n, f">= {_GOAL}"),
        *shares,
        Row(f"{second}: processor time", 2 * two.rate / one.rate - 1, "", "real", n, ">= 0.8"),
        Row(f"{second}: elapsed time", two.wall_rate / one.wall_rate - 1, "", "real", n, ">= 0.8"),
        Row("two processes, elapsed time", two.wall_rate, "/s", "real", n),
        Row("load of the machine of two cores while one process was measured", loads[1], "", "real"),
        Row("load of the machine of two cores while two processes were measured", loads[2], "", "real"),
        Row("largest memory of one process, networks and catalogues included", peaks[1], "MiB", "real", n),
    ]  # fmt: skip


@dataclass(frozen=True)
class _Found:
    """What one run cost.

    Parameters
    ----------
    rate, wall_rate : float
        Alerts for each second of a worker's processor time, and for each second that passed while all
        worked; without the first batch of each.
    stages : dict of str to float, ms
        Processor time of an alert.
    """

    rate: float
    wall_rate: float
    stages: dict[str, float]


def _ingested(prepared: Prepared, archive: str, workers: int) -> _Found:
    from astrid.store import open_store
    from astrid.stream.workers import run_stream

    folder = prepared.folder / f"store_{workers}"
    with open_store(folder) as store:
        prepared.save_filters(store)
    turns: list[Turn] = []
    clock: list[float] = []

    def note(turn: Turn, summary: Any) -> None:
        turns.append(turn)
        clock.append(time.process_time())

    run_stream(prepared.settings(folder, (archive,), workers), on_turn=note)
    seen: Counter[str] = Counter()
    later = []
    for turn in turns:
        if seen[turn.worker]:
            later.append(turn)
        seen[turn.worker] += 1
    n = sum(turn.n_alerts for turn in later)
    spent: Counter[str] = Counter()
    for turn in later:
        spent.update(turn.processor)
    # of one worker all that the process did, also between the stages
    seconds = clock[-1] - clock[0] if workers == 1 else spent.total()
    begins = max(next(one.committed or 0 for one in turns if one.worker == name) for name in seen)
    ends = min(max(one.committed or 0 for one in turns if one.worker == name) for name in seen)
    during = sum(one.n_alerts for one in turns if begins < (one.committed or 0) <= ends)
    return _Found(
        n / seconds,
        during / (ends - begins),
        {stage: 1000 * value / n for stage, value in spent.items()},
    )


def memory_rows(prepared: Prepared, n: int, cutouts: bool, say: Callable[[str], None]) -> list[Row]:
    """Whether memory grows with the stream, once the caches of the database are full."""
    what = f"packets {'with' if cutouts else 'without'} images"
    say(f"memory over {n:,} {what}")
    found = measure_process(_grown, prepared, n, cutouts, environment=ONE_THREAD).result
    early = max(mib for count, mib in found if count <= _FILLED)
    late = max(mib for _, mib in found)
    slope = 1e5 * _slope([one for one in found if one[0] > _FILLED])
    after = "extrapolated by that"
    return [
        Row(f"largest memory after {_FILLED:,} {what}", early, "MiB", "real", _FILLED),
        Row(f"largest memory after {n:,} {what}", late, "MiB", "real", n),
        Row(f"growth for each 100,000 {what} after {_FILLED:,}, a line through all", slope, "MiB", "real", n),
        Row(f"largest memory after a million, {after}", late + slope * (1e6 - n) / 1e5, "MiB", "real", n),
    ]


def _grown(prepared: Prepared, n: int, cutouts: bool) -> list[tuple[int, float]]:
    from astrid.store import open_store
    from astrid.stream.ingest import ingest
    from astrid.stream.live import StoredFilters
    from astrid.stream.scores import Scorer
    from astrid.stream.turns import Summary
    from astrid.stream.workers import _crossmatch

    folder = prepared.folder / f"store_memory_{cutouts}"
    settings = prepared.settings(folder)
    found: list[tuple[int, float]] = []
    total = Summary()

    def note(turn: Turn) -> None:
        total.add(turn)
        found.append((total.n_packets, resident()))
        for pack in (folder / "packets").rglob("*.tar"):  # a night of them is more than a disk may have
            pack.unlink()

    with open_store(folder) as store:
        prepared.save_filters(store)
        source = _Handed(prepared.night(cutouts=cutouts), n)
        ingest(
            source, store, Scorer(MODELS), _crossmatch(settings), filters=StoredFilters(store), on_turn=note
        )
    return found


class _Handed:
    """Packets made while they are taken."""

    def __init__(self, night: Night, n: int) -> None:
        self._night, self._n = night, n

    def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
        from astrid.stream.source import Delivery

        packets: list[Packet] = []
        for content in self._night.contents(self._n):
            packets.append(packet(content))
            if len(packets) == size:
                yield Delivery(packets, time.time(), _nothing, None)
                packets = []
        if packets:
            yield Delivery(packets, time.time(), _nothing, None)

    def close(self) -> None:
        """Nothing is open."""


_BOOK, _SKIPS = SchemaBook(), mapped_histories()


def packet(content: bytes) -> Packet:
    """The one packet of some bytes."""
    (one,) = packets_in("", content, _BOOK, _SKIPS)
    return one


def resident() -> float:
    """Memory of this process now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _slope(points: list[tuple[int, float]]) -> float:
    if len(points) < 2:
        return float("nan")
    count, mib = np.array(points, float).T
    return float(np.polyfit(count, mib, 1)[0])


def _nothing() -> None:
    """Packets that were made come no second time."""
