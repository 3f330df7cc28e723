"""A filter asked again of the stored rows, by the same code that asks it live; and whether both agree.

Rows are read as they were written when the alerts came, so that nothing of later is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from astrid.errors import FilterError
from astrid.stream.columns import Columns
from astrid.stream.filters import Filter, FilterBank, read_filter

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.store import Store

__all__ = [
    "Comparison",
    "History",
    "Tally",
    "compare",
    "offered_columns",
    "replay",
    "saved_filter",
    "stored_columns",
]

_KEYS = ("survey", "alert_id")
_RADIUS = 5.0  # arcsec; of no consequence for the names of columns


class History(Protocol):
    """Where stored rows come from; a `Store` is one."""

    def history(
        self, since: str | None = None, until: str | None = None, columns: Sequence[str] | None = None
    ) -> Iterator[pa.Table]:
        """Candidate rows in the order in which they were committed."""
        ...


@dataclass
class Tally:
    """What a replay has seen.

    Parameters
    ----------
    n, n_passed : int
        Rows.
    failure : str
        Why some rows could not be judged; those did not pass.
    """

    n: int = 0
    n_passed: int = 0
    failure: str = ""


def replay(
    filter: Filter,
    store: History,
    since: str | None = None,
    until: str | None = None,
    *,
    columns: Sequence[str] | None = None,
    tally: Tally | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Iterator[pa.Table]:
    """The stored rows that a filter lets through.

    Parameters
    ----------
    filter : Filter
    store : History
    since, until : str, optional
        First and last night, YYYY-MM-DD.
    columns : sequence of str, optional
        Those that are wanted of the rows that pass; all if not given.
    tally : Tally, optional
        Counts, for the caller.
    on_progress : callable, optional
        Told the rows that were seen; how many there are is not known before.

    Yields
    ------
    pyarrow.Table
        Rows that pass, in the order in which they were stored. A column that did not exist then is null to
        the filter, and absent here.

    Raises
    ------
    FilterError
        The condition is none.
    """
    bank = FilterBank([filter])
    if filter.name in bank.failures:
        raise FilterError(f"filter {filter.name}: {bank.failures[filter.name]}")
    tally = Tally() if tally is None else tally
    wanted = None if columns is None else list(dict.fromkeys((*columns, *bank.columns)))
    for table in store.history(since, until, wanted):
        passed = bank.passes(table)[filter.name]
        tally.n += len(table)
        tally.n_passed += int(passed.sum())
        tally.failure = tally.failure or bank.failures.get(filter.name, "")
        if on_progress is not None:
            on_progress(tally.n, tally.n)
        if passed.any():
            rows = table.filter(passed)
            yield rows if columns is None else rows.select([c for c in rows.column_names if c in columns])


@dataclass(frozen=True)
class Comparison:
    """What a filter said live, and what it says of the same alerts now.

    Parameters
    ----------
    filter, hash : str
    n_batches, n : int
        Batches in which this version was asked, and their alerts.
    n_live, n_replay : int
        That passed then, and that pass now.
    only_live, only_replay : list of (survey, alert_id)
        On which they differ.
    """

    filter: str
    hash: str
    n_batches: int
    n: int
    n_live: int
    n_replay: int
    only_live: list[tuple[str, str]] = field(default_factory=list)
    only_replay: list[tuple[str, str]] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether both say the same of every alert."""
        return not self.only_live and not self.only_replay

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**self.__dict__, "same": self.same}


def compare(store: Store, name: str, since: str | None = None, until: str | None = None) -> Comparison:
    """Compare what a saved filter said live with its replay, alert by alert.

    Parameters
    ----------
    store : Store
    name : str
        Of the filter; its newest version is taken, and the batches in which that was asked.
    since, until : str, optional
        First and last night.

    Returns
    -------
    Comparison

    Raises
    ------
    FilterError
        There is no such filter, or its definition cannot be read.
    """
    filter, saved = saved_filter(store, name)
    asked = {one.id for one in store.batches() if one.filters.get(name) == saved}
    live = {(one.survey, one.alert_id) for one in store.passes(name, saved)}
    bank = FilterBank([filter])
    seen, then, now = 0, set(), set()
    for table in store.history(since, until, list(dict.fromkeys((*_KEYS, *bank.columns)))):
        rows = table.filter(np.isin(table["batch"].to_numpy(), list(asked)))
        keys = list(zip(*(rows[key].to_pylist() for key in _KEYS), strict=True))
        passed = bank.passes(rows)[name]
        seen += len(rows)
        then |= live.intersection(keys)
        now |= {key for key, one in zip(keys, passed.tolist(), strict=True) if one}
    return Comparison(
        name, saved, len(asked), seen, len(then), len(now), sorted(then - now), sorted(now - then)
    )


def stored_columns(store: Store, names: Sequence[str] = ()) -> Columns:
    """The columns that filters of a store can use.

    Those of every packet, and of the bundles and catalogues of its last night; in a store without alerts,
    of the bundles and catalogues that are there to be used.

    Parameters
    ----------
    store : Store
    names : sequence of str
        Looked for in earlier nights too, if the last does not have them.
    """
    nights = store.counts().nights
    schemas: list[pa.Schema] = []
    if nights:
        newest = max(nights)
        schemas += [table.schema for table in islice(store.history(since=newest), 1)]
        missing = [name for name in names if name not in Columns.of(*schemas)]
        if missing:
            with_it = (table.schema for table in store.history(columns=missing))
            schemas += list(islice((one for one in with_it if set(missing) & set(one.names)), 1))
        return Columns.of(*(one.remove(one.get_field_index("batch")) for one in schemas))
    return offered_columns()


def offered_columns() -> Columns:
    """Those of every packet, of the bundles that can score alerts, and of the imported catalogues."""
    from astrid.catalogs import list_catalogs
    from astrid.stream.crossmatch import CatalogUse, Crossmatch
    from astrid.stream.scores import Scorer

    uses = [CatalogUse(one, _RADIUS) for one in list_catalogs()]
    return Columns([*Scorer().columns, *(Crossmatch(uses).columns if uses else ())])


def saved_filter(store: Store, name: str) -> tuple[Filter, str]:
    """The newest version of a saved filter, active or not, and the hash under which it was saved.

    Raises
    ------
    FilterError
        There is none, or its definition cannot be read.
    """
    records = store.filters(active=None)
    versions = [one for one in records if one.name == name]
    if not versions:
        names = ", ".join(sorted({one.name for one in records}))
        raise FilterError(f"there is no filter {name!r} in the store; there are: {names or 'none'}")
    newest = max(versions, key=lambda one: (one.active, one.created))
    return read_filter(newest.definition), newest.hash
