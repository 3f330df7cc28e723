"""The active filters of a store as a worker asks them: looked up at each batch, so that edits apply at once.

What a filter is and how it is asked is in `filters`.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from astrid.errors import FilterError
from astrid.store.batch import Pass
from astrid.stream.filters import FilterBank, read_filter

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.store import Store

__all__ = ["LiveFilters"]

log = logging.getLogger(__name__)


class LiveFilters:
    """The active filters of a store.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[str, str] = {}
        self._bank = FilterBank([])
        self._told: dict[str, str] = {}

    def reload(self) -> Mapping[str, str]:
        """Take over what was saved or retired since the last batch; name and hash of each filter.

        One whose definition cannot be read is named in the log and not asked.
        """
        records = self._store.filters()
        known = {one.name: one.hash for one in records}
        if known != self._known:
            filters = []
            for one in records:
                try:
                    filters.append(read_filter(one.definition))
                except FilterError as error:
                    log.error("filter %s is not asked: %s", one.name, error)
            self._known, self._bank, self._told = known, FilterBank(filters), {}
        return {one.name: self._known[one.name] for one in self._bank.filters}

    def passes(self, table: pa.Table) -> Sequence[Pass]:
        """Which rows of a batch pass which filters."""
        passed = self._bank.passes(table)
        for name, reason in self._bank.failures.items():
            if self._told.get(name) != reason:
                log.warning("filter %s cannot judge some alerts, which do not pass: %s", name, reason)
                self._told[name] = reason
        return [
            Pass(row, name, self._known[name])
            for name, rows in passed.items()
            for row in np.flatnonzero(rows).tolist()
        ]

    @property
    def failures(self) -> Mapping[str, str]:
        """Of the last batch: name -> why a filter could not be asked, or not of every row."""
        return self._bank.failures
