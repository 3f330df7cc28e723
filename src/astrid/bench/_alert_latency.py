"""How long an alert waits from its arrival until its decision is stored, at a given rate.

Arrivals are random and independent (Poisson), the clock is the real one, and the source hands out what
has arrived as a consumer of Kafka does: until a batch is full, or as long as it lingers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from astrid.bench._alert_night import Night
from astrid.bench._alert_stream import MODELS, Prepared, packet
from astrid.bench.frame import ONE_THREAD, Row, measure_process

if TYPE_CHECKING:
    from astrid.stream.source import Delivery
    from astrid.stream.turns import Turn

__all__ = ["latency_rows"]

_LINGERS = (0.5, 0.05)  # s; the first is what a stream has if nobody says anything


def latency_rows(
    prepared: Prepared, rates: tuple[float, ...], seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """Percentiles of the waiting time at offered rates."""
    rows = []
    for rate in rates:
        for linger in _LINGERS:
            say(f"latency at {rate:g} alerts a second, batches that linger {linger:g} s")
            waited = measure_process(_waited, prepared, rate, seconds, linger, environment=ONE_THREAD).result
            what = f"latency at {rate:g}/s, from arrival to stored decision, --linger {linger:g}"
            rows += [
                Row(
                    f"{what}: p{share}", 1000 * float(np.percentile(waited, share)), "ms", "real", len(waited)
                )
                for share in (50, 99)
            ]
    return rows


def _waited(prepared: Prepared, rate: float, seconds: float, linger: float) -> list[float]:
    from astrid.store import open_store
    from astrid.stream.ingest import ingest
    from astrid.stream.live import StoredFilters
    from astrid.stream.scores import Scorer
    from astrid.stream.workers import _crossmatch

    folder = prepared.folder / f"store_latency_{rate:g}_{linger:g}"
    settings = prepared.settings(folder)
    source = _Arriving(prepared.night(), rate, seconds)
    waited: list[float] = []

    def note(turn: Turn) -> None:
        waited.extend(((turn.committed or 0.0) - source.arrived.pop(0)).tolist())

    with open_store(folder) as store:
        prepared.save_filters(store)
        ingest(
            source, store, Scorer(MODELS), _crossmatch(settings), filters=StoredFilters(store), linger=linger,
            on_turn=note,
        )  # fmt: skip
    return waited


class _Arriving:
    """Packets that come by themselves, whether or not somebody waits for them."""

    def __init__(self, night: Night, rate: float, seconds: float, seed: int = 0) -> None:
        gaps = np.random.default_rng(seed).exponential(1 / rate, round(rate * seconds))
        self._times, self._night = np.cumsum(gaps), night
        self.arrived: list[np.ndarray] = []
        """When the packets of each delivery came."""

    def deliveries(self, size: int, linger: float) -> Iterator[Delivery]:
        from astrid.stream.source import Delivery

        times = time.time() + 1 + self._times
        contents = self._night.contents(len(times))
        done = 0
        while done < len(times):
            _sleep_until(times[done])
            until = time.time() + linger
            first = done
            while done < len(times) and done - first < size:
                if times[done] > until:
                    _sleep_until(until)
                    break
                _sleep_until(times[done])
                done += 1
            self.arrived.append(times[first:done])
            packets = [packet(next(contents)) for _ in range(first, done)]
            yield Delivery(packets, float(times[first]), _nothing, None)

    def close(self) -> None:
        """Nothing is open."""


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.time(), 0))


def _nothing() -> None:
    """What has arrived comes no second time."""
