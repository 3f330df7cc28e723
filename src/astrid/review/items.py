"""An item: one alert that somebody is asked about."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from astrid.store.statements import Key

__all__ = ["Item"]


class Item(NamedTuple):
    """One alert that somebody is asked about.

    Parameters
    ----------
    survey, alert_id : str
    object_id : str or None
    slot : str
        Why it is asked: ``uncertain``, ``novel``, ``random``, ``interest``, ``suspect``, ``asked``.
    place : int
        In the queue; 0 is next.
    value : float or None
        What an answer is expected to be worth.
    blind : bool
        Another person is asked the same.
    turn : int
        0, or 1 for the second of a blind pair.
    until : float, s since 1970
        Nobody else gets it before.
    """

    survey: str
    alert_id: str
    object_id: str | None = None
    slot: str = "asked"
    place: int = 0
    value: float | None = None
    blind: bool = False
    turn: int = 0
    until: float = 0.0

    @property
    def key(self) -> Key:
        """Survey and identifier of the alert."""
        return self.survey, self.alert_id
