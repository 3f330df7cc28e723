"""What became of each batch of a stream, and of all of them together: counts, rates, latencies.

Plain values that travel between processes, in memory that does not grow with the stream; nothing is
counted here but what `ingest` says.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Latencies", "Summary", "Turn", "reason_kind"]

_BINS = 48  # for each factor of 10: 5 % wide
_MOST_REASONS = 100
_OTHER = "other reasons; the folder of the quarantine has them"


@dataclass
class Turn:
    """One batch.

    Parameters
    ----------
    packets, stored : dict of str to int
        By survey, those in quarantine included where their survey is known; and those that were new.
    quarantined : dict of (str, str) to int
        By survey and reason.
    without_images : dict of str to int
        Alerts whose cutouts could not be used, by reason.
    scored, passes : dict of str to int
        By bundle, by filter; of alerts that were new.
    latency : float, s
        From the arrival of the first packet until all was stored.
    stages, processor : dict of str to float, s
        Wall time, and processor time of all threads.
    behind : int or None
        Packets that wait at the source.
    committed : float or None, s since 1970
    worker : str
    """

    packets: Counter[str] = field(default_factory=Counter)
    stored: Counter[str] = field(default_factory=Counter)
    quarantined: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_images: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)
    passes: Counter[str] = field(default_factory=Counter)
    latency: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    processor: dict[str, float] = field(default_factory=dict)
    behind: int | None = None
    committed: float | None = None
    worker: str = ""

    @property
    def n_alerts(self) -> int:
        """Packets that became alerts."""
        return self.packets.total() - self.quarantined.total()


class Latencies:
    """How long alerts waited, as a histogram of relative bins: percentiles to 5 % whatever their number."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()

    def add(self, seconds: float, n: int = 1) -> None:
        """Count n alerts."""
        self._counts[round(_BINS * math.log10(max(seconds, 1e-6)))] += n

    def percentile(self, share: float) -> float | None:
        """Seconds that this percentage did not exceed; None where nothing was counted."""
        wanted, seen = share / 100 * self._counts.total(), 0
        for bin, n in sorted(self._counts.items()):
            seen += n
            if seen >= wanted:
                return 10.0 ** (bin / _BINS)
        return None


class Summary:
    """What became of a stream.

    Attributes
    ----------
    packets, stored, quarantined, without_images, scored, passes : Counter
        By survey, by reason, by bundle, by filter.
    latencies : Latencies
    stages : Counter
        Seconds of each stage.
    n_batches : int
    n_restarted : int
        Workers that died and were started again.
    """

    def __init__(self) -> None:
        self.packets: Counter[str] = Counter()
        self.stored: Counter[str] = Counter()
        self.quarantined: Counter[str] = Counter()
        self.without_images: Counter[str] = Counter()
        self.scored: Counter[str] = Counter()
        self.passes: Counter[str] = Counter()
        self.published: Counter[str] = Counter()
        self.latencies = Latencies()
        self.stages: Counter[str] = Counter()
        self.n_batches = self.n_restarted = 0
        self.behind: int | None = None
        self._began, self._last = time.monotonic(), 0.0

    def add(self, turn: Turn) -> None:
        """Count one batch."""
        self.packets.update(turn.packets)
        self.stored.update(turn.stored)
        for counter, found in (
            (self.quarantined, ((reason, n) for (_, reason), n in turn.quarantined.items())),
            (self.without_images, turn.without_images.items()),
        ):
            _add_reasons(counter, found)
        self.scored.update(turn.scored)
        self.passes.update(turn.passes)
        self.stages.update(turn.stages)
        if turn.n_alerts:
            self.latencies.add(turn.latency, turn.n_alerts)
        self.n_batches += 1
        self.behind = turn.behind
        self._last = time.monotonic()

    @property
    def n_packets(self) -> int:
        """All packets; one that came twice counts twice."""
        return self.packets.total()

    @property
    def n_stored(self) -> int:
        """Alerts that the store had not had before."""
        return self.stored.total()

    @property
    def n_quarantined(self) -> int:
        """Packets set aside."""
        return self.quarantined.total()

    @property
    def rate(self) -> float:
        """Packets a second, until the last batch."""
        return self.n_packets / max(self._last - self._began, 1e-9) if self.n_packets else 0.0

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        latency = {f"p{share}_ms": self.latencies.percentile(share) for share in (50, 99)}
        return {
            "n_packets": self.n_packets,
            "n_stored": self.n_stored,
            "n_known": self.n_packets - self.n_stored - self.n_quarantined,
            "n_quarantined": self.n_quarantined,
            "surveys": dict(sorted(self.stored.items())),
            "quarantined": dict(self.quarantined.most_common()),
            "without_images": dict(self.without_images.most_common()),
            "scored": dict(sorted(self.scored.items())),
            "passes": dict(sorted(self.passes.items())),
            "published": dict(sorted(self.published.items())),
            "rate": self.rate,
            "latency": {name: None if value is None else 1000 * value for name, value in latency.items()},
            "seconds": dict(sorted(self.stages.items())),
            "n_batches": self.n_batches,
            "n_restarted": self.n_restarted,
            "behind": self.behind,
        }


def reason_kind(reason: str) -> str:
    """A reason without the numbers that differ from packet to packet."""
    return re.sub(r"\d+(\.\d+)?", "…", reason)


def _add_reasons(counter: Counter[str], found: Iterable[tuple[str, int]]) -> None:
    for reason, n in found:
        kind = reason_kind(reason)
        counter[kind if kind in counter or len(counter) < _MOST_REASONS else _OTHER] += n
