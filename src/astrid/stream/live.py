"""The filters of a store on a running stream: what is saved applies from the next batch on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from astrid.errors import FilterError
from astrid.store.batch import Pass
from astrid.stream.filters import FilterBank, read_filter

if TYPE_CHECKING:
    import pyarrow as pa

    from astrid.store.store import Store

__all__ = ["StoredFilters"]

log = logging.getLogger(__name__)


class StoredFilters:
    """The active filters of a store.

    One that cannot be read or asked lets nothing through, and the log says so once; the others go on.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._hashes: dict[str, str] = {}
        self._bank: FilterBank | None = None
        self._told: set[tuple[str, str]] = set()

    def reload(self) -> Mapping[str, str]:
        """Take over what was changed; name and hash of each filter that is active."""
        records = self._store.filters()
        hashes = {one.name: one.hash for one in records}
        if hashes != self._hashes or self._bank is None:
            filters = []
            for one in records:
                try:
                    filters.append(read_filter(one.definition))
                except FilterError as error:
                    self._tell(one.name, str(error))
            self._hashes, self._bank = hashes, FilterBank(filters)
            self._told = {(name, reason) for name, reason in self._told if name in hashes}
        return self._hashes

    def passes(self, table: pa.Table) -> list[Pass]:
        """Which rows pass which filters."""
        if self._bank is None:
            self.reload()
        assert self._bank is not None
        found = self._bank.passes(table)
        for name, reason in self._bank.failures.items():
            self._tell(name, reason)
        told = {one.name for one in self._bank.filters if one.sinks}
        return [
            Pass(row, name, self._hashes[name], name in told)
            for name, passed in found.items()
            for row in np.flatnonzero(passed).tolist()
        ]

    def _tell(self, name: str, reason: str) -> None:
        if (name, reason) not in self._told and len(self._told) < 1000:
            self._told.add((name, reason))
            log.warning("filter %s: %s", name, reason)
