"""A running stream at a glance: how fast it is, how far behind, and what the models say.

Cheap questions are asked at each look, dear ones again when they have cost little of the time since;
drawing it is the business of the command line.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrid.errors import StoreError
from astrid.stream.digest import Digest, digest_night
from astrid.stream.drift import Drift, compare, read_night, read_sample
from astrid.stream.sample import Sample

if TYPE_CHECKING:
    from astrid.store.records import BatchRecord
    from astrid.store.store import Store

__all__ = ["View", "Watch"]

_RECENT = 60.0  # s: what "now" is
_LATE = 5.0  # s: the least between two readings of the rows
_SHARE = 0.1  # of the time that reading rows may take
_DRIFT_EVERY = 60.0  # s


@dataclass(frozen=True)
class View:
    """What is known at one moment.

    Parameters
    ----------
    night : str or None
        None of a store without alerts.
    rate : float
        Alerts a second in the last minute.
    rate_night : float or None
        And from the first to the last batch of the night.
    behind : int or None
        Messages that wait at the source, as the last batch saw them.
    latency_p50, latency_p99 : float or None, ms
        From arrival to the store, of the last minute's batches or, if there are none, of the last one.
    idle : float or None, s
        Since the last batch.
    workers : int
        That have written in the last minute.
    digest : Digest or None
    drift : Drift or None
    rows_age : float, s
        How old digest and drift are at most.
    """

    night: str | None
    rate: float
    rate_night: float | None
    behind: int | None
    latency_p50: float | None
    latency_p99: float | None
    idle: float | None
    workers: int
    digest: Digest | None
    drift: Drift | None
    rows_age: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        names = ("night", "rate", "rate_night", "behind", "latency_p50", "latency_p99", "idle", "workers")
        facts = {name: getattr(self, name) for name in names}
        facts["digest"] = None if self.digest is None else self.digest.as_dict()
        facts["drift"] = None if self.drift is None else self.drift.as_dict()
        return facts


class Watch:
    """Looks at a store again and again.

    Parameters
    ----------
    store : Store
    night : str, optional
        ``YYYY-MM-DD``; the last one that has alerts, if not given.
    drift : bool
        Also compare the night with those before.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        store: Store,
        night: str | None = None,
        *,
        drift: bool = True,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._asked, self._with_drift, self._clock = store, night, drift, clock
        self._last: BatchRecord | None = None
        self._recent: list[BatchRecord] = []
        self._night: str | None = None
        self._digest: Digest | None = None
        self._drift: Drift | None = None
        self._reference: Sample | None = None
        self._read_at = self._drift_at = float("-inf")
        self._cost = self._drift_cost = 0.0
        self._batch_read = -1

    def look(self) -> View:
        """What is known now.

        Raises
        ------
        StoreError
            The database does not answer, or has not the night that was asked for.
        """
        now = self._clock()
        found = self._store.batches(0 if self._last is None else self._last.id)
        if found:
            self._last = found[-1]
        self._recent = [one for one in (*self._recent, *found) if now - one.committed <= _RECENT]
        self._read_rows(now)
        last, recent = self._last, self._recent
        seconds = _RECENT if not recent else min(_RECENT, max(now - _began(recent[0]), 1.0))
        latest = recent or ([] if last is None else [last])
        p50, p99 = (
            [value for one in latest if (value := getattr(one, f"latency_{name}")) is not None]
            for name in ("p50", "p99")
        )
        return View(
            night=self._night,
            rate=sum(one.n for one in recent) / seconds,
            rate_night=None if self._digest is None else _rate(self._digest),
            behind=None if last is None else last.behind,
            latency_p50=sorted(p50)[len(p50) // 2] if p50 else None,
            latency_p99=max(p99, default=None),
            idle=None if last is None else max(now - last.committed, 0.0),
            workers=len({one.worker for one in recent}),
            digest=self._digest,
            drift=self._drift,
            rows_age=now - min(self._read_at, self._drift_at) if self._with_drift else now - self._read_at,
        )

    def _read_rows(self, now: float) -> None:
        """Read the night again, if something has come and it is not too early."""
        if self._last is None:
            if self._asked is not None:
                raise StoreError(f"the store has no alerts of the night {self._asked!r}; it is empty")
            return
        if self._last.id == self._batch_read or now - self._read_at < max(_LATE, self._cost / _SHARE):
            return
        nights = [one for one in self._store.counts().nights if one]
        night = self._asked or max(nights, default=None)
        if night is None:
            return
        if night != self._night:
            self._reference, self._drift_at = None, float("-inf")
        began = time.monotonic()
        self._digest = digest_night(self._store, night, top=0)
        self._night, self._batch_read = night, self._last.id
        self._read_at, self._cost = now, time.monotonic() - began
        if self._with_drift and now - self._drift_at >= max(_DRIFT_EVERY, self._drift_cost / _SHARE):
            began = time.monotonic()
            self._compare(night)
            self._drift_at, self._drift_cost = now, time.monotonic() - began

    def _compare(self, night: str) -> None:
        if self._reference is None:  # earlier nights do not change
            sample, self._reference = read_night(self._store, night)
        else:
            sample = read_sample(self._store, (night,))
        self._drift = compare(night, sample, self._reference, whole=False)


def _began(batch: BatchRecord) -> float:
    return batch.committed if batch.started is None else batch.started


def _rate(digest: Digest) -> float | None:
    if not digest.batches:
        return None
    spent = max(one.committed for one in digest.batches) - min(_began(one) for one in digest.batches)
    return digest.n / max(spent, 1e-3)
