"""Reading alerts from files: every packet becomes an alert or is set aside with its reason, and is counted.

The one loop behind every command on alerts; storing and filtering are done by who reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astrid.alerts.alert import Alert
from astrid.alerts.container import Packet, Skips
from astrid.alerts.layouts import Layout, find_layout
from astrid.alerts.layouts import layouts as known_layouts
from astrid.alerts.quarantine import Quarantine
from astrid.alerts.schemas import SchemaBook
from astrid.alerts.sources import read_packets
from astrid.errors import PacketError

__all__ = ["Intake", "decode", "mapped_histories", "read_alerts", "without_histories"]


@dataclass
class Intake:
    """What came in, counted while it is read.

    Parameters
    ----------
    good : Counter
        Alerts, by survey and version of the schema.
    without_images : Counter
        Those of them whose cutouts cannot be used, by reason.
    quarantined : list of (name, reason)
    """

    good: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_images: Counter[str] = field(default_factory=Counter)
    quarantined: list[tuple[str, str]] = field(default_factory=list)

    @property
    def n_good(self) -> int:
        """Packets that became alerts."""
        return self.good.total()

    @property
    def n_packets(self) -> int:
        """All packets: none is lost between the two."""
        return self.n_good + len(self.quarantined)

    def as_dict(self) -> dict[str, Any]:
        """The counts as plain values."""
        return {
            "n_packets": self.n_packets,
            "n_good": self.n_good,
            "n_without_images": self.without_images.total(),
            "n_quarantined": len(self.quarantined),
            "surveys": [
                {"survey": survey, "schema": version, "n": n}
                for (survey, version), n in sorted(self.good.items())
            ],
            "without_images": dict(self.without_images.most_common()),
            "quarantined": [{"name": name, "reason": reason} for name, reason in self.quarantined],
        }


def decode(
    packet: Packet, *, layouts: tuple[Layout, ...] = (), history: bool = True, cutouts: bool = True
) -> Alert:
    """The alert of a packet.

    Parameters
    ----------
    packet : Packet
    layouts : tuple of Layout
        Of one's own, asked before those of AstrID.
    history, cutouts : bool
        Whether they are wanted.

    Raises
    ------
    PacketError
        The packet has a problem, is of no known survey, or is not what its survey sends.
    """
    if packet.record is None:
        raise PacketError(packet.problem)
    layout = find_layout(packet.schema, packet.record, layouts)
    return layout.alert(packet.record, schema=packet.schema, history=history, cutouts=cutouts)


def read_alerts(
    files: Sequence[str | Path],
    *,
    layouts: tuple[Layout, ...] = (),
    book: SchemaBook | None = None,
    history: bool = True,
    cutouts: bool = True,
    quarantine: Quarantine | None = None,
    intake: Intake | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[Alert]:
    """The alerts in files, folders and archives.

    Parameters
    ----------
    files : sequence of str or Path
        See `read_packets`.
    layouts : tuple of Layout
        Of one's own, asked before those of AstrID.
    book : SchemaBook, optional
        For packets that do not carry their schema.
    history, cutouts : bool
        Whether they are wanted: a history that is not costs next to nothing.
    quarantine : Quarantine, optional
        Where packets that cannot be used are kept.
    intake : Intake, optional
        Counts what comes.
    on_progress : callable, optional
        Told how many files are done, and of how many.

    Yields
    ------
    Alert

    Raises
    ------
    PacketError
        There is no such file, or it is of another kind.
    OutputError
        The quarantine cannot be written.
    """
    counts = Intake() if intake is None else intake
    skips = mapped_histories(layouts) if history else without_histories(layouts)
    for done, path in enumerate(files):
        for packet in read_packets(path, book, skips):
            try:
                alert = decode(packet, layouts=layouts, history=history, cutouts=cutouts)
            except PacketError as error:
                counts.quarantined.append((packet.name, str(error)))
                if quarantine is not None:
                    quarantine.add(packet, str(error))
                continue
            counts.good[alert.survey, alert.version] += 1
            if cutouts and alert.image_problem:
                counts.without_images[alert.image_problem] += 1
            yield alert
        if on_progress is not None:
            on_progress(done + 1, len(files))


def without_histories(own: tuple[Layout, ...] = ()) -> Skips:
    """What `read_packets` needs to pass over earlier measurements.

    Parameters
    ----------
    own : tuple of Layout
        Of one's own, asked before those of AstrID.
    """
    fields = mapped_histories(own)
    return lambda schema: dict.fromkeys(fields(schema), frozenset())


def mapped_histories(own: tuple[Layout, ...] = ()) -> Skips:
    """What `read_packets` needs to read of earlier measurements what alerts have, and no more.

    Parameters
    ----------
    own : tuple of Layout
        Of one's own, asked before those of AstrID.
    """
    known: dict[str, dict[str, frozenset[str]]] = {}

    def skips(schema: str) -> dict[str, frozenset[str]]:
        if schema not in known:
            known[schema] = _histories(schema, own)
        return known[schema]

    return skips


def _histories(schema: str, own: tuple[Layout, ...]) -> dict[str, frozenset[str]]:
    """The lists of earlier measurements; of a table, whose survey only its rows tell, those of all."""
    found: dict[str, frozenset[str]] = {}
    try:
        chosen = [find_layout(schema, None, own)] if schema else [*own, *known_layouts()]
    except PacketError:
        return found
    for one in chosen:
        for name, fields in one.histories.items():
            found[name] = found.get(name, frozenset()) | fields
    return found
