"""Who gets which item: what somebody has not finished first, then what nobody else has.

The order of the items is made in `queue`, and by profiles; who has what is decided in the store.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from astrid.errors import UsageError
from astrid.review.items import Item

if TYPE_CHECKING:
    from astrid.review.profiles import Profile
    from astrid.store.statements import Key
    from astrid.store.store import Store

__all__ = ["LEASE", "release", "take"]

LEASE = 600.0
"""Seconds for which an item is kept for who has it on the screen."""

_MOST = 500


def take(
    store: Store, task: str, user: str, *, n: int = 1, profile: Profile | None = None, lease: float = LEASE
) -> list[Item]:
    """Items for somebody to answer; nobody else gets them while their time runs.

    What was not finished comes first, in the order of the queue, so that a page that is loaded again
    goes on where it was. Asking again begins the time anew. A blind item is given to two people.

    Parameters
    ----------
    store : Store
    task, user : str
    n : int
        With those that are to be on the screen soon.
    profile : Profile, optional
        Only what it shows, in its order.
    lease : float, s

    Returns
    -------
    items : list of Item
        Fewer if there are no more.

    Raises
    ------
    UsageError
        The number is not positive, or more than 500.
    FilterError
        The condition of the profile cannot be used.
    """
    if not 1 <= n <= _MOST:
        raise UsageError(f"{n} items are asked for; ask for 1 to {_MOST}")
    among = None
    if profile is not None:
        from astrid.review.profiles import order

        among = order(store, task, profile)
    found = store.labels.assign(task, user, n=n, lease=lease, among=among)
    return [
        Item(one.survey, one.alert_id, one.object_id, one.slot, one.place, one.value, one.blind, one.turn,
             one.until)
        for one in found
    ]  # fmt: skip


def release(store: Store, task: str, user: str, items: Iterable[Item | Key] | None = None) -> int:
    """Give items back, so that others can get them at once.

    Parameters
    ----------
    store : Store
    task, user : str
    items : iterable of Item or (survey, alert_id), optional
        All that the person has if not given.

    Returns
    -------
    n : int
        How many they were.
    """
    keys = None if items is None else [(one[0], one[1]) for one in items]
    return store.labels.release(task, user, keys)
