"""An alert of the store as it was when it came: its packet read again, with its images and history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from astrid.alerts import Alert, Layout, SchemaBook, decode, packets_of
from astrid.alerts.intake import mapped_histories, without_histories
from astrid.errors import PacketError

if TYPE_CHECKING:
    from astrid.alerts import Packet

__all__ = ["Packets", "stored_alert"]


class Packets(Protocol):
    """Where packets are kept; a `Store` is one."""

    def packet(self, survey: str, alert_id: str) -> tuple[bytes, str]:
        """The packet of an alert as it was sent, and the suffix of a file with these bytes."""
        ...


def stored_alert(
    store: Packets,
    survey: str,
    alert_id: str,
    *,
    layouts: tuple[Layout, ...] = (),
    book: SchemaBook | None = None,
    history: bool = True,
    cutouts: bool = True,
) -> Alert:
    """Read the packet of an alert again.

    Parameters
    ----------
    store : Packets
    survey, alert_id : str
    layouts : tuple of Layout
        Of one's own, asked before those of AstrID.
    book : SchemaBook, optional
        For packets that do not carry their schema.
    history, cutouts : bool
        Whether they are wanted.

    Raises
    ------
    StoreError
        There is no such alert, or its packet was removed by the rule of retention.
    PacketError
        The packet cannot be read, as for want of a schema.
    """
    content, suffix = store.packet(survey, alert_id)
    name = f"the packet of alert {alert_id} of {survey}"
    skips = mapped_histories(layouts) if history else without_histories(layouts)
    packet: Packet | None = next(packets_of(name, content, suffix, book, skips), None)
    if packet is None:
        raise PacketError(f"{name} is empty; restore the store from a copy")
    return decode(packet, layouts=layouts, history=history, cutouts=cutouts)
