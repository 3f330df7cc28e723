"""What a worker hands to the store, and what it gets back.

Arrow rows and plain values only: how they came about is not known here, nor how they are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["Batch", "Content", "Pass", "Score", "Written"]


class Content(Protocol):
    """A packet as it was sent; `astrid.alerts.container.Packet` is one."""

    @property
    def content(self) -> Callable[[], bytes]:
        """Gives bytes that hold this packet alone."""
        ...

    @property
    def suffix(self) -> str:
        """Of a file with these bytes: ``.avro``, ``.bin`` or ``.parquet``."""
        ...


class Score(NamedTuple):
    """What one bundle says about one label of one alert.

    Parameters
    ----------
    row : int
        Of the alert in its batch, from 0.
    bundle, hash : str
        Name and hash of the bundle.
    label : str
    value : float or None
        Calibrated probability; None where the alert could not be scored.
    spread : float or None
    decision : str or None
    set : str or None
        The conformal set, its labels joined by ``+``.
    applicable : str or None
        Empty where the bundle applies, else why it does not.
    unscored : str or None
        Why there is no value.
    """

    row: int
    bundle: str
    hash: str
    label: str
    value: float | None
    spread: float | None = None
    decision: str | None = None
    set: str | None = None
    applicable: str | None = None
    unscored: str | None = None


class Pass(NamedTuple):
    """An alert that a filter lets through.

    Parameters
    ----------
    row : int
        Of the alert in its batch, from 0.
    filter, hash : str
        Name and hash of the filter.
    wanted : bool
        Whether somebody is to be told; else it counts as delivered at once.
    """

    row: int
    filter: str
    hash: str
    wanted: bool = True


@dataclass(frozen=True, eq=False)
class Batch:
    """Alerts that are stored together or not at all.

    Parameters
    ----------
    rows : pyarrow.Table
        The candidate rows, one an alert. Needed are ``survey`` and ``alert_id`` (never null) and
        ``object_id``, ``ra``, ``dec`` (deg), ``healpix`` (nested, order 29), ``mjd``, ``night``
        (``YYYY-MM-DD``, null where the time is not known), ``band`` and ``magpsf``; all others are kept
        as they are.
    packets : sequence of Content
        One for each row.
    scores : sequence of Score
    passes : sequence of Pass
    filters : mapping of str to str
        Name and hash of every filter that was asked, whether or not anything passed it.
    worker : str
        Who wrote it.
    started : float, s since 1970
        When work on the batch began.
    n_quarantined : int
        Packets that came with these and could not be used.
    behind : int or None
        Messages that still wait in the stream; None where that is not known.
    arrived : float or sequence of float, s since 1970
        When the alerts came, all together or each; for the latency.
    """

    rows: pa.Table
    packets: Sequence[Content]
    scores: Sequence[Score] = ()
    passes: Sequence[Pass] = ()
    filters: Mapping[str, str] = field(default_factory=dict)
    worker: str = ""
    started: float | None = None
    n_quarantined: int = 0
    behind: int | None = None
    arrived: float | Sequence[float] | None = None


@dataclass(frozen=True, eq=False)
class Written:
    """What became of a batch; when a caller has this, it is on the disk.

    Parameters
    ----------
    batch : int
        Its number: batches count up in the order in which they were committed.
    new : (n,) bool ndarray
        Of each row: whether the alert was not known before. Of an alert that comes twice in a batch, the
        first is.
    """

    batch: int
    new: NDArray[np.bool_]

    @property
    def n_new(self) -> int:
        """Alerts that were not known before."""
        return int(self.new.sum())
