"""Which stored candidates are asked for: a condition as filters of the stream have it, and columns."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import FilterError
from astrid.service.errors import Problem
from astrid.service.state import State
from astrid.stream.columns import Columns
from astrid.stream.filters import Filter, FilterBank, check_filter, read_filter
from astrid.stream.replay import stored_columns

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SHORT", "Selection", "known_columns", "saved_definition", "selection_of"]

SHORT = (
    "survey", "alert_id", "object_id", "night", "ra", "dec", "mjd", "band", "magpsf", "sigmapsf", "positive",
    "snr", "realbogus", "realbogus_spread", "realbogus_decision", "realbogus_set", "realbogus_applicable",
    "arrived",
)  # fmt: skip
"""The columns that are told unless others are asked for."""

_ALL = "*"
_NAME = "query"
_IDLE, _CHECKED = 16, 256
_FRESH = 30.0  # s: columns are looked up again after that


class Selection:
    """A condition, made ready, and the columns that are told of what it lets through.

    Parameters
    ----------
    filters : sequence of Filter
        All must let a row through.
    columns : tuple of str or None
        None for all.
    """

    def __init__(self, filters: Sequence[Filter], columns: tuple[str, ...] | None, banks: _Banks) -> None:
        self.columns = columns
        self._banks = banks
        self._key = "\n".join(one.to_json() for one in filters)
        self._bank = banks.take(self._key, filters) if filters else None

    def done(self) -> None:
        """Give back what was made ready, for the next who asks the same; it is used no more here."""
        if self._bank is not None:
            self._banks.give(self._key, self._bank)
            self._bank = None

    @property
    def needed(self) -> list[str] | None:
        """The columns that are to be read; None for all."""
        if self.columns is None:
            return None
        return list(dict.fromkeys([*self.columns, *(self._bank.columns if self._bank else ())]))

    def passes(self, table: pa.Table) -> NDArray[np.bool_]:
        """Which rows are asked for."""
        if self._bank is None:
            return np.ones(len(table), np.bool_)
        said = list(self._bank.passes(table).values())
        return np.logical_and.reduce(said)

    def rows(self, table: pa.Table, rows: NDArray[np.integer]) -> list[dict[str, Any]]:
        """Some rows as plain values."""
        names = [name for name in table.column_names if self.columns is None or name in self.columns]
        found: list[dict[str, Any]] = table.select(names).take(rows).to_pylist()
        return found

    def interrupt(self) -> None:
        """End a question that is being asked: nobody waits for its answer."""
        if self._bank is not None:
            self._bank.interrupt()


class _Banks:
    """Filters that were made ready and that nobody asks at present: to begin costs more than to ask."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: deque[tuple[str, FilterBank]] = deque(maxlen=_IDLE)
        self.checked: dict[str, Columns] = {}

    def take(self, key: str, filters: Sequence[Filter]) -> FilterBank:
        with self._lock:
            for one in self._idle:
                if one[0] == key:
                    self._idle.remove(one)
                    return one[1]
        return FilterBank(filters)

    def give(self, key: str, bank: FilterBank) -> None:
        with self._lock:
            self._idle.append((key, bank))

    def check(self, filter: Filter, columns: Columns) -> None:
        """Refuse a filter that cannot be, unless it was found to be one for these columns."""
        with self._lock:
            if self.checked.get(filter.sql) is columns:
                return
        check_filter(filter, columns)
        with self._lock:
            if len(self.checked) > _CHECKED:
                self.checked.clear()
            self.checked[filter.sql] = columns


def known_columns(state: State) -> Columns:
    """The columns that conditions can use: of every packet, and of the bundles and catalogues in use."""
    found: tuple[float, Columns] | None = state.shared.get("columns")
    if found is None or time.monotonic() - found[0] > _FRESH:
        found = state.shared["columns"] = (time.monotonic(), stored_columns(state.store))
    return found[1]


def selection_of(state: State, sql: str | None, saved: str | None, wanted: Sequence[str] | None) -> Selection:
    """What a request asks for.

    Parameters
    ----------
    state : State
    sql : str, optional
        A condition.
    saved : str, optional
        Name of a saved filter.
    wanted : sequence of str, optional
        Columns; ``*`` for all.

    Raises
    ------
    FilterError
        The condition is none, or names a column that there is not.
    Problem
        404 for a filter that there is not, 422 for a column that there is not.
    """
    filters: list[Filter] = []
    banks: _Banks = state.shared.setdefault("banks", _Banks())
    if saved is not None:
        filters.append(saved_definition(state, saved).model_copy(update={"name": "saved"}))
    if sql is not None:
        one = Filter(name=_NAME, sql=sql)
        banks.check(one, known_columns(state))
        filters.append(one)
    columns: tuple[str, ...] | None = SHORT
    if wanted is not None and _ALL in wanted:
        columns = None
    elif wanted is not None:
        known = known_columns(state)
        unknown = next((name for name in wanted if name not in known), None)
        if unknown is not None:
            raise Problem(422, f"there is no column {unknown[:80]!r}; GET /api/v1/columns lists them")
        columns = tuple(dict.fromkeys(wanted))
    return Selection(filters, columns, banks)


def saved_definition(state: State, name: str) -> Filter:
    """The filter in use of a name.

    Raises
    ------
    Problem
        404 where there is none.
    """
    for record in state.store.filters():
        if record.name == name:
            try:
                return read_filter(record.definition)
            except FilterError as error:
                raise Problem(422, f"the filter {name} cannot be used ({error}); save it anew") from error
    raise Problem(404, f"no filter {name[:64]!r} is in use; GET /api/v1/filters lists them")
