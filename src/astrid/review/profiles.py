"""How somebody likes to see the queue: which items, in which order, with which columns, and what is hidden.

A condition is the same checked SQL that filters of the stream are made of, on the rows as they were when the
alerts came; nothing is taken out of the queue.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from astrid.errors import FilterError, UsageError

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.statements import Key
    from astrid.store.store import Store

__all__ = ["QUEUE_COLUMNS", "Profile", "check", "listing", "order", "profiles", "read_profile", "save"]

QUEUE_COLUMNS = {
    "queue_place": "place in the queue, 0 is next",
    "queue_value": "what an answer is expected to be worth",
    "queue_slot": "why it is asked",
}
"""Columns that a listing can be ordered by beside those of the rows."""

_SHOWN = ("survey", "alert_id", "object_id", "ra", "dec", "night", "band", "magpsf")
_KEPT = 16  # orders in memory


class Profile(BaseModel):
    """A view of the queue.

    Parameters
    ----------
    name : str
    sql : str
        Condition on the columns of candidate rows.
    order : str
        Column of the rows, or one of `QUEUE_COLUMNS`; the items without a value come last.
    descending : bool
    hide : {"answered", "mine", "nothing"}
        What a listing leaves out: items that wait for nobody any more, those that the person has
        answered, or nothing.
    columns : tuple of str
        That a listing shows beside those that it always has.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(default="all", pattern=r"^[\w][\w .+-]{0,63}$")
    sql: str = "true"
    order: str = "queue_place"
    descending: bool = False
    hide: Literal["answered", "mine", "nothing"] = "answered"
    columns: tuple[str, ...] = Field(default=(), max_length=40)


def read_profile(definition: str | Mapping[str, Any]) -> Profile:
    """A profile from its definition.

    Parameters
    ----------
    definition : str or mapping
        JSON, or the same as plain values.

    Raises
    ------
    UsageError
        It is none.
    """
    try:
        if isinstance(definition, str):
            return Profile.model_validate_json(definition)
        return Profile.model_validate(dict(definition))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the definition"
        raise UsageError(f"{where} of the profile is {str(first['input'])[:60]!r}: {first['msg']}") from error


def check(store: Store, profile: Profile) -> list[str]:
    """What is doubtful about a profile.

    Raises
    ------
    FilterError
        Its condition cannot be understood or can never be true, or a column does not exist or has no order.
    """
    from astrid.stream.conditions import engine, parse, unknown_column
    from astrid.stream.filters import Filter, check_filter
    from astrid.stream.replay import stored_columns

    with engine() as connection:
        used = parse(connection, profile.sql).columns
    beside = [one for one in (profile.order, *profile.columns) if one not in QUEUE_COLUMNS]
    known = stored_columns(store, [*used, *beside])
    for name in beside:
        if name not in known:
            raise FilterError(unknown_column(name, [*known.names, *QUEUE_COLUMNS]))
        if name == profile.order and known[name].type == "history":
            raise FilterError(f"{name} is a list and has no order; order by another column")
    return check_filter(Filter(name="profile", sql=profile.sql), known)


def save(store: Store, user: str, profile: Profile) -> list[str]:
    """Save a profile of a person, in place of one of the same name; what is doubtful about it.

    Raises
    ------
    FilterError
        As of `check`; nothing is saved.
    """
    warnings = check(store, profile)
    store.labels.save_profile(user, profile.name, profile.model_dump(mode="json"))
    return warnings


def profiles(store: Store, user: str) -> list[Profile]:
    """The profiles of a person, by name."""
    return [read_profile(one.definition) for one in store.labels.profiles(user)]


def order(store: Store, task: str, profile: Profile) -> list[Key]:
    """The items of the queue that a profile shows, in its order; those that are answered too.

    Raises
    ------
    FilterError
        The condition cannot be used.
    """
    _, n, made = store.labels.queue_made(task)
    what = (task, n, made, profile.sql, profile.order, profile.descending)
    with _LOCK:
        kept = _ORDERS.setdefault(store, OrderedDict())
        if what in kept:
            kept.move_to_end(what)
            return kept[what]
    found = _ordered(store, task, profile)
    with _LOCK:
        kept[what] = found
        while len(kept) > _KEPT:
            kept.popitem(last=False)
    return found


# rows never change, so that an order holds until the queue is made anew
_ORDERS: WeakKeyDictionary[Store, OrderedDict[tuple[Any, ...], list[Key]]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def listing(
    store: Store, task: str, profile: Profile, *, user: str = "", limit: int = 50, offset: int = 0
) -> tuple[pa.Table, int]:
    """A page of the items that a profile shows.

    Parameters
    ----------
    store : Store
    task : str
    profile : Profile
    user : str
        Whose answers are ``mine``.
    limit, offset : int

    Returns
    -------
    table : pyarrow.Table
        The columns of the rows that are wanted, `QUEUE_COLUMNS`, ``n_answers`` and ``mine``, the label or
        answer of this person, null if there is none. How many people said what is not told, as who has
        not answered yet could see it.
    n : int
        Items on all pages.

    Raises
    ------
    FilterError
        The condition cannot be used.
    """
    import pyarrow as pa

    rows = {one.item: one for one in store.labels.queue(task, open_only=False)}
    keys = [key for key in order(store, task, profile) if key in rows]
    if profile.hide == "answered":
        keys = [key for key in keys if rows[key].open]
    elif profile.hide == "mine":
        own = {one.item for one in store.labels.latest(task, user=user, n=len(rows))}
        keys = [key for key in keys if key not in own]
    page = keys[offset : offset + limit]
    answers = store.labels.of_items(page, task=task)
    mine = {one.item: one.label or one.answer for one in answers if one.user == user}
    table = _rows(store, page, list(dict.fromkeys((*_SHOWN, *profile.columns))))
    more = {
        "queue_place": pa.array([rows[key].place for key in page], pa.int64()),
        "queue_value": pa.array([rows[key].value for key in page], pa.float64()),
        "queue_slot": pa.array([rows[key].slot for key in page], pa.string()),
        "n_answers": pa.array([sum(one.item == key for one in answers) for key in page], pa.int64()),
        "mine": pa.array([mine.get(key) for key in page], pa.string()),
    }
    for name, values in more.items():
        table = table.append_column(name, values)
    return table, len(keys)


def _rows(store: Store, keys: list[Key], columns: list[str]) -> pa.Table:
    """Candidate rows; a column that none of them has is not in the table."""
    import pyarrow as pa

    if not keys:
        return pa.table({name: pa.nulls(0) for name in columns})
    return store.candidates(keys, [one for one in columns if one not in QUEUE_COLUMNS])


def _ordered(store: Store, task: str, profile: Profile) -> list[Key]:
    import pyarrow as pa
    import pyarrow.compute as pc

    from astrid.stream.filters import Filter, FilterBank

    rows = store.labels.queue(task, open_only=False)
    bank = FilterBank([Filter(name="profile", sql=profile.sql)])
    if bank.failures:
        raise FilterError(f"profile {profile.name}: {bank.failures['profile']}")
    wanted = [*bank.columns, *(() if profile.order in QUEUE_COLUMNS else (profile.order,))]
    if bank.columns or profile.order not in QUEUE_COLUMNS:
        gone = store.labels.missing_alerts(row.item for row in rows)
        rows = [row for row in rows if row.item not in gone]
        table = _rows(store, [row.item for row in rows], list(dict.fromkeys((*_SHOWN[:2], *wanted))))
    else:
        table = pa.table({"place": [row.place for row in rows]})
    passed = np.flatnonzero(bank.passes(table)["profile"])
    match profile.order:
        case "queue_place":
            values = pa.array([row.place for row in rows], pa.int64())
        case "queue_value":
            values = pa.array([row.value for row in rows], pa.float64())
        case "queue_slot":
            values = pa.array([row.slot for row in rows], pa.string())
        case name if name in table.column_names:
            values = table[name]
        case _:  # a column that no row has: the order of the queue
            values = pa.nulls(len(rows), pa.float64())
    direction = "descending" if profile.descending else "ascending"
    sortable = pa.table({"value": values, "row": np.arange(len(rows))}).take(passed)
    places = pc.sort_indices(sortable, sort_keys=[("value", direction), ("row", "ascending")])
    return [rows[k].item for k in sortable["row"].take(places).to_pylist()]
