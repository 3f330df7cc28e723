"""Filters of alerts: a condition, a region and a watch list on candidate rows, live and in replay alike.

A filter holds all that decides, so that it can be asked again later; what may stand in its condition is
in `conditions`, what becomes of the alerts that pass is not known here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from astrid.errors import FilterError
from astrid.stream.columns import Columns
from astrid.stream.conditions import Condition, engine, one_line, parse, unknown_column
from astrid.stream.ranges import Range, can_be, conjuncts
from astrid.stream.regions import Region, Target, WatchList

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

__all__ = ["Filter", "FilterBank", "check_filter", "doubts", "read_filter"]

_ALL = "true"


class Filter(BaseModel):
    """Which alerts somebody wants.

    Parameters
    ----------
    name : str
    sql : str
        Condition on the columns of candidate rows; null counts as not passed.
    region : str, optional
        ASCII MOC in which an alert must lie.
    watch_list : tuple of Target, optional
        Of which an alert must be near one.
    limit_per_hour : int, optional
        At most so many are published.
    sinks : tuple of str
        Addresses to which they are.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")
    sql: str = _ALL
    region: str | None = None
    watch_list: tuple[Target, ...] | None = Field(default=None, min_length=1)
    limit_per_hour: int | None = Field(default=None, ge=1)
    sinks: tuple[str, ...] = ()

    @property
    def hash(self) -> str:
        """SHA-256 of the definition: another filter of the same name has another."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def to_json(self) -> str:
        """The definition as one JSON object."""
        return self.model_dump_json()


def read_filter(definition: str | Mapping[str, Any]) -> Filter:
    """A filter from its definition.

    Parameters
    ----------
    definition : str or mapping
        What `Filter.to_json` gives, or the same as plain values.

    Raises
    ------
    FilterError
        It is none.
    """
    try:
        if isinstance(definition, str):
            return Filter.model_validate_json(definition)
        return Filter.model_validate(dict(definition))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the definition"
        raise FilterError(f"{where} of the filter is {str(first['input'])[:60]!r}: {first['msg']}") from error


def check_filter(filter: Filter, columns: Columns, history: Iterable[pa.Table] | None = None) -> list[str]:
    """What is doubtful about a filter.

    Parameters
    ----------
    filter : Filter
    columns : Columns
        Of the rows that it will see.
    history : iterable of pyarrow.Table, optional
        Stored rows, to be counted.

    Returns
    -------
    warnings : list of str
        Such as that all or none of the stored alerts pass.

    Raises
    ------
    FilterError
        It cannot be understood, names an unknown column, compares what cannot be compared, is no
        condition, or can never be true.
    """
    warnings = _checked(filter, columns)
    if history is None:
        return warnings
    bank, n, passed, failing = FilterBank([filter]), 0, 0, ""
    for table in history:
        n += len(table)
        passed += int(bank.passes(table)[filter.name].sum())
        failing = failing or bank.failures.get(filter.name, "")
    return warnings + doubts(n, passed, failing)


def doubts(n: int, n_passed: int, failure: str = "") -> list[str]:
    """What is doubtful about a filter that was asked of stored alerts.

    Parameters
    ----------
    n, n_passed : int
        Alerts.
    failure : str
        Why some could not be judged.
    """
    found = []
    if failure:
        found.append(f"some of the stored alerts cannot be judged and do not pass: {failure}")
    if n and n_passed in (0, n):
        found.append(f"{'none' if n_passed == 0 else 'every one'} of the {n:,} stored alerts passes")
    return found


def _checked(filter: Filter, columns: Columns) -> list[str]:
    with engine() as connection:
        condition = parse(connection, filter.sql)
        for name in condition.columns:
            if name not in columns:
                raise FilterError(unknown_column(name, columns.names))
        _check_type(connection, condition, columns)
        ranges, texts = _ranges(condition, columns)
        if not can_be(True, condition.tree, ranges, texts):
            raise FilterError(_contradiction(condition, columns, ranges, texts))
        if _is_empty(connection, condition):
            raise FilterError("no row can ever pass the condition; correct it")
    known = condition.columns and not can_be(False, condition.tree, ranges, texts)
    unlimited = filter.region is None and filter.watch_list is None
    if known:
        names = " and ".join(condition.columns)
        return [f"the condition is true of every row in which {names} is known"]
    if not condition.columns and unlimited:
        return ["every alert passes: the condition asks for no column, and there is no region or watch list"]
    return []


def _check_type(connection: duckdb.DuckDBPyConnection, condition: Condition, columns: Columns) -> None:
    import duckdb
    import pyarrow as pa

    schema = pa.schema([columns[name].arrow for name in condition.columns] or [pa.field("x", pa.int64())])
    row = {field.name: pa.nulls(1, field.type) for field in schema}
    connection.register("rows", pa.table(row, schema=schema))
    try:
        query = f"SELECT ({_lines(condition)}) FROM rows"  # noqa: S608
        described = connection.execute(f"DESCRIBE {query}").fetchall()
        connection.execute(query).fetchall()  # a row of nulls: what fails now is a constant
    except duckdb.Error as error:
        raise FilterError(f"the condition cannot be used ({one_line(error)}); correct it") from error
    kind = str(described[0][1]).strip('"')
    if kind != "BOOLEAN":
        what = (
            "number"
            if kind in ("DOUBLE", "BIGINT", "INTEGER") or kind.startswith("DECIMAL")
            else kind.lower()
        )
        raise FilterError(
            f"the condition is a {what} and neither true nor false; compare it, as in magpsf < 19"
        )


def _is_empty(connection: duckdb.DuckDBPyConnection, condition: Condition) -> bool:
    """Whether DuckDB itself sees that no row can pass."""
    import duckdb

    query = f"EXPLAIN (FORMAT json) SELECT 1 FROM rows WHERE {_lines(condition)}"  # noqa: S608
    try:
        return '"EMPTY_RESULT"' in connection.execute(query).fetchall()[0][1]
    except duckdb.Error as error:
        raise FilterError(f"the condition cannot be used ({one_line(error)}); correct it") from error


def _lines(condition: Condition) -> str:
    return f"\n{condition.sql}\n"  # a comment at the end hides nothing that follows


def _ranges(condition: Condition, columns: Columns) -> tuple[dict[str, Range], frozenset[str]]:
    numbers: dict[str, Range] = {}
    texts = []
    for name in condition.columns:
        one = columns[name]
        if one.type in ("float64", "int64"):
            low, high = -np.inf if one.low is None else one.low, np.inf if one.high is None else one.high
            numbers[name] = Range(low, high, whole=one.type == "int64")
        elif one.type in ("string", "bool"):
            texts.append(name)
    return numbers, frozenset(texts)


def _contradiction(
    condition: Condition, columns: Columns, ranges: Mapping[str, Range], texts: frozenset[str]
) -> str:
    """Which part can never be true, or which two of them together."""
    parts = list(conjuncts(condition.tree))
    for one in parts:
        if not can_be(True, one, ranges, texts):
            text = condition.text(one)
            limits = [
                f"{name} is {_limits(columns, name)}"
                for name in condition.columns
                if name in text.lower() and _limits(columns, name)
            ]
            hint = "write is null" if "null" in text.lower() else "correct it"
            return f"{text} is never true{' (' + ', '.join(limits) + ')' if limits else ''}; {hint}"
    for k, one in enumerate(parts):
        for other in parts[:k]:
            both = {"class": "CONJUNCTION", "type": "CONJUNCTION_AND", "children": [other, one]}
            if not can_be(True, both, ranges, texts):
                return (
                    f"{condition.text(other)} and {condition.text(one)} are never true together; correct one"
                )
    return "its parts are never true together; correct them"


def _limits(columns: Columns, name: str) -> str:
    one = columns[name]
    if one.low is not None and one.high is not None:
        return f"between {one.low:g} and {one.high:g}"
    return "" if one.low is None else f"at least {one.low:g}"


class FilterBank:
    """Filters that are asked together, in one query over a batch of rows.

    One that cannot be asked, because it is damaged or was made for another version, fails alone. So does
    one of which a row cannot be judged, such as a cast of text that is no number: that row does not pass,
    whatever stands beside it in its batch.

    Parameters
    ----------
    filters : sequence of Filter
        Of different names.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = tuple(filters)
        self.failures: dict[str, str] = {}
        """Name -> why a filter cannot be asked, or could not be of every row of the last table."""
        self._broken: dict[str, str] = {}
        self._conditions: dict[str, Condition] = {}
        self._places: dict[str, list[Region | WatchList]] = {}
        self._connection = engine(optimise=False)
        for one in self.filters:
            self._places[one.name] = []
            try:
                condition = parse(self._connection, one.sql)
                if one.region is not None:
                    self._places[one.name].append(Region(one.region))
                if one.watch_list is not None:
                    self._places[one.name].append(WatchList(one.watch_list))
                self._conditions[one.name] = condition
            except FilterError as error:
                self._broken[one.name] = self.failures[one.name] = str(error)
        needed = (name for one in self._conditions.values() for name in one.columns)
        self._needed = tuple(dict.fromkeys(needed))
        self._together = self._query(list(self._conditions))
        self._apart: dict[str, tuple[_Query, _Query]] = {}  # those that failed: as they are, and row by row

    @property
    def columns(self) -> tuple[str, ...]:
        """Those of a table that the filters look at."""
        on_sky = ("ra", "dec") if any(self._places.values()) else ()
        return tuple(dict.fromkeys((*self._needed, *on_sky)))

    def passes(self, table: pa.Table) -> dict[str, NDArray[np.bool_]]:
        """Which rows each filter lets through.

        Parameters
        ----------
        table : pyarrow.Table
            Candidate rows; a column that is not there, because its bundle or catalogue was not in use, is
            null.

        Returns
        -------
        passes : dict of str to (n,) bool ndarray
        """
        self.failures = dict(self._broken)
        found = self._asked(table)
        sky = self._on_sky(table)
        for name, places in self._places.items():
            for place in places:
                found[name] &= place.holds(*sky)
        return found

    def interrupt(self) -> None:
        """End the question that another thread is asking: it fails there, and nothing passes."""
        self._connection.interrupt()

    def _on_sky(self, table: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        ra, dec = (
            table[name].to_numpy().astype(np.float64)
            if name in table.column_names
            else np.full(len(table), np.nan)
            for name in ("ra", "dec")
        )
        return ra, dec

    def _asked(self, table: pa.Table) -> dict[str, NDArray[np.bool_]]:
        import duckdb
        import pyarrow as pa

        found = {one.name: np.zeros(len(table), np.bool_) for one in self.filters}
        if not self._conditions or not len(table):
            return found
        rows = {
            name: table[name] if name in table.column_names else pa.nulls(len(table)) for name in self._needed
        }
        # a table needs a column, even if nobody looks at it
        self._connection.register("rows", pa.table(rows or {"x": pa.nulls(len(table))}))
        if (answer := self._run(self._together)) is None:
            self._part()
            answer = self._run(self._together) or {}
        found |= answer
        for name, (whole, by_row) in self._apart.items():
            try:
                found |= self._execute(whole)
            except duckdb.Error as error:
                self.failures[name] = one_line(error)
                found |= self._run(by_row) or {}  # one that cannot be asked at all lets nothing pass
        return found

    def _part(self) -> None:
        """Set aside the filters that fail on the present rows, so that the others stay together."""
        for name in self._together.names:
            if self._run(self._query([name])) is None:
                self._apart[name] = (self._query([name]), self._query([name], by_row=True))
        self._together = self._query([name for name in self._conditions if name not in self._apart])

    def _query(self, names: list[str], *, by_row: bool = False) -> _Query:
        """A query that is parsed once; what it names is looked up anew in each table."""
        before, after = ("TRY(", ")") if by_row else ("", "")
        parts = [
            f"coalesce({before}({_lines(self._conditions[name])}){after}, false) AS f{k}"
            for k, name in enumerate(names)
        ]
        sql = f"SELECT {', '.join(parts or ['1'])} FROM rows"  # noqa: S608
        (statement,) = self._connection.extract_statements(sql)
        return _Query(tuple(names), statement)

    def _run(self, query: _Query) -> dict[str, NDArray[np.bool_]] | None:
        """None if it fails."""
        import duckdb

        try:
            return self._execute(query)
        except duckdb.Error:
            return None

    def _execute(self, query: _Query) -> dict[str, NDArray[np.bool_]]:
        answer = self._connection.execute(query.statement).fetchnumpy()
        return {name: np.array(answer[f"f{k}"], np.bool_) for k, name in enumerate(query.names)}


class _Query(NamedTuple):
    names: tuple[str, ...]
    statement: Any
