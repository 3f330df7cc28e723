"""What the store gives back about one thing of each kind, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

__all__ = ["STATES", "AlertRecord", "BatchRecord", "Counts", "FilterRecord", "PassRecord", "Removed", "State"]

State = Literal["pending", "delivered", "held", "failed"]
"""Of what is to be sent: waiting, sent, kept back by the rate limit of its filter, or refused."""

STATES: tuple[State, ...] = ("pending", "delivered", "held", "failed")


class AlertRecord(NamedTuple):
    """What the database itself knows of an alert; `Store.candidates` gives the whole row.

    Parameters
    ----------
    survey, alert_id : str
    object_id : str or None
    ra, dec : float or None, deg
    mjd : float or None, days
    night : str or None
        ``YYYY-MM-DD``.
    band : str or None
    magpsf : float or None, mag
    batch : int
        That it came with.
    packet : str
        SHA-256 of its packet, in hexadecimal.
    """

    survey: str
    alert_id: str
    object_id: str | None
    ra: float | None
    dec: float | None
    mjd: float | None
    night: str | None
    band: str | None
    magpsf: float | None
    batch: int
    packet: str


class BatchRecord(NamedTuple):
    """One commit.

    Parameters
    ----------
    id : int
        Counts up in the order of the commits.
    worker : str
    started : float or None, s since 1970
    committed : float, s since 1970
    n, n_new, n_quarantined : int
        Alerts, those of them that were not known, and packets that could not be used.
    behind : int or None
        Messages that waited in the stream.
    latency_p50, latency_p99 : float or None, ms
        From arrival to the commit.
    filters : dict of str to str
        Name and hash of the filters that were asked.
    """

    id: int
    worker: str
    started: float | None
    committed: float
    n: int
    n_new: int
    n_quarantined: int
    behind: int | None
    latency_p50: float | None
    latency_p99: float | None
    filters: dict[str, str]


class FilterRecord(NamedTuple):
    """One version of a filter.

    Parameters
    ----------
    name, hash : str
    definition : dict
        As it was saved.
    created : float, s since 1970
    active : bool
        Whether it is asked; of each name at most one version is.
    """

    name: str
    hash: str
    definition: dict[str, Any]
    created: float
    active: bool


class PassRecord(NamedTuple):
    """An alert that a filter has let through, and what became of it.

    Parameters
    ----------
    filter, hash : str
    survey, alert_id : str
    batch : int
    state : str
        One of `STATES`.
    reason : str
        Why it is held or has failed.
    delivered_at : float or None, s since 1970
    """

    filter: str
    hash: str
    survey: str
    alert_id: str
    batch: int
    state: State
    reason: str
    delivered_at: float | None


class Removed(NamedTuple):
    """Files that were removed.

    Parameters
    ----------
    files : int
    bytes : int
    """

    files: int
    bytes: int


@dataclass(frozen=True)
class Counts:
    """How much there is.

    Parameters
    ----------
    alerts, batches : int
    received : int
        Alerts with all that came more than once.
    quarantined : int
    passes : mapping of str to int
        By state.
    nights : mapping of str to int
        Alerts of each night, in order.
    open_nights : tuple of str
        Those with rows that are not in a nightly table yet.
    packet_bytes : int
        Of the packets that are kept.
    """

    alerts: int
    batches: int
    received: int
    quarantined: int
    passes: Mapping[str, int]
    nights: Mapping[str, int]
    open_nights: tuple[str, ...]
    packet_bytes: int
