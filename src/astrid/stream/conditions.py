"""A filter's condition as DuckDB parses it: one expression on documented columns, and nothing else.

What may stand in it is listed here; everything that is not on the list is refused, so that a condition
can read no file, no setting and no clock, and gives the same answer whenever it is asked.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from astrid.errors import DependencyError, FilterError

if TYPE_CHECKING:
    import duckdb

__all__ = ["Condition", "engine", "one_line", "parse", "unknown_column"]

_LONGEST = 20_000  # characters
_EXAMPLE = "realbogus > 0.8 and magpsf < 19"
_WRAP = ("SELECT (\n", "\n) FROM rows")
_CLASSES = {
    "CONJUNCTION", "COMPARISON", "BETWEEN", "OPERATOR", "CONSTANT", "COLUMN_REF", "FUNCTION", "CAST", "CASE",
    "TYPE", "LAMBDA",
}  # fmt: skip
_REFUSED = {
    "SUBQUERY": "another query",
    "WINDOW": "a window over several rows",
    "PARAMETER": "a parameter",
    "STAR": "a star",
    "COLLATE": "a collation",
}
_OPERATORS = {
    "OPERATOR_NOT", "OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "COMPARE_IN", "COMPARE_NOT_IN",
    "STRUCT_EXTRACT", "OPERATOR_COALESCE", "OPERATOR_TRY", "ARRAY_EXTRACT", "ARRAY_SLICE",
    "ARRAY_CONSTRUCTOR",
}  # fmt: skip
_TYPES = {
    "double", "float", "real", "float4", "float8", "integer", "int", "int4", "int8", "bigint", "smallint",
    "int2", "tinyint", "hugeint", "long", "decimal", "numeric", "boolean", "bool", "varchar", "text",
    "string", "date", "time", "timestamp", "datetime", "timestamp with time zone", "timestamptz",
    "interval", "json",
}  # fmt: skip
_CLAUSES = ("modifiers", "where_clause", "group_expressions", "having", "qualify", "sample")
_SYMBOLS = "+ - * / // % ** ^ || & | << >> ~ -> ->> ~~ !~~ ~~* !~~* ~~~ @> <@"
_NUMBERS = """
    abs acos asin atan atan2 cbrt ceil ceiling cos cosh cot degrees even exp floor greatest isfinite isinf
    isnan least ln log log10 log2 mod pi pow power radians round sign sin sinh sqrt tan tanh trunc if ifnull
    nullif
"""
_TEXTS = """
    concat concat_ws contains ends_with instr lcase left length len like_escape ilike_escape lower ltrim
    not_like_escape not_ilike_escape position prefix regexp_extract regexp_full_match regexp_matches
    regexp_replace replace reverse right rtrim split_part starts_with string_split strlen strpos substr
    substring suffix trim ucase upper
"""
_LISTS = """
    array_contains array_extract array_filter array_length array_slice element_at filter flatten
    list_any_value list_apply list_avg list_concat list_contains list_count list_distinct list_element
    list_extract list_filter list_first list_has list_has_any list_last list_max list_median list_min
    list_pack list_position list_reverse list_reverse_sort list_slice list_sort list_stddev_pop
    list_stddev_samp list_sum list_transform list_unique list_value list_var_pop list_var_samp list_zip row
    struct_extract struct_pack json_array_length json_contains json_exists json_extract json_extract_string
    json_keys json_type json_valid json_value
"""
_TIMES = """
    date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayofweek dayofyear epoch
    epoch_ms epoch_us hour isodow make_date make_timestamp minute month second strftime strptime to_days
    to_hours to_microseconds to_milliseconds to_minutes to_months to_seconds to_timestamp to_weeks to_years
    try_strptime week year
"""
_FUNCTIONS = frozenset(" ".join((_SYMBOLS, _NUMBERS, _TEXTS, _LISTS, _TIMES)).split())
_CLOCKS = {
    "now", "today", "random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "current_date", "current_time",
    "current_timestamp", "localtime", "localtimestamp", "get_current_time", "get_current_timestamp", "age",
    "ago", "transaction_timestamp", "current_localtime", "current_localtimestamp", "nextval", "currval",
    "setseed",
}  # fmt: skip
_SETTINGS = (
    # not for speed: at most this much memory, one thread, no files, no network, no clock of the place
    "SET TimeZone = 'UTC'",
    "SET python_enable_replacements = false",
    "SET memory_limit = '1GB'",
    # a division by zero is null; a root or logarithm of what has none is an error of its row and no NaN,
    # which DuckDB takes for larger than every number
    "SET ieee_floating_point_ops = false",
    "SET error_on_division_by_zero = false",
)


@dataclass(frozen=True)
class Condition:
    """An expression that was found to be one.

    Parameters
    ----------
    sql : str
    tree : dict
        As DuckDB writes it.
    columns : tuple of str
        That it uses, in lower case.
    """

    sql: str
    tree: dict[str, Any]
    columns: tuple[str, ...]

    def text(self, node: Any) -> str:
        """The words of a part of it."""
        # the place of "x is null" or "x in (1, 2)" begins after x
        parts = list(_within(node))
        first = min(one["query_location"] for one in parts) - len(_WRAP[0])
        last = max(one["query_location"] + one["query_location_length"] for one in parts) - len(_WRAP[0])
        part = self.sql.encode()[first:last]
        return " ".join(part.decode(errors="replace").split())


def engine(*, optimise: bool = True) -> duckdb.DuckDBPyConnection:
    """A database in memory that reaches nothing outside and takes no orders to change that.

    Parameters
    ----------
    optimise : bool
        Whether queries are rearranged; of a query on a few hundred rows that is most of the cost.

    Raises
    ------
    DependencyError
        DuckDB is not installed.
    """
    try:
        import duckdb
    except ImportError as error:
        raise DependencyError('filters need duckdb; pip install "astrid[stream]"') from error
    config: dict[str, Any] = {
        "threads": 1, "enable_external_access": False, "autoload_known_extensions": False,
        "autoinstall_known_extensions": False, "temp_directory": "",
    }  # fmt: skip
    connection = duckdb.connect(":memory:", config=config)
    for setting in (*_SETTINGS, *(() if optimise else ("PRAGMA disable_optimizer",))):
        connection.execute(setting)
    connection.execute("SET lock_configuration = true")
    return connection


def parse(connection: duckdb.DuckDBPyConnection, sql: str) -> Condition:
    """Read a condition and look at every part of it.

    Parameters
    ----------
    connection : duckdb.DuckDBPyConnection
        Of `engine`.
    sql : str

    Returns
    -------
    Condition

    Raises
    ------
    FilterError
        It is not one expression, or something stands in it that a condition must not have.
    """
    if not sql.strip():
        raise FilterError(f"the condition is empty; write one such as {_EXAMPLE}")
    if len(sql) > _LONGEST:
        raise FilterError(f"the condition has {len(sql)} characters, at most {_LONGEST} are read; shorten it")
    # alone and in parentheses: what closes a parenthesis to begin something else is not both
    try:
        alone, within = (_tree(connection, text) for text in (f"SELECT {sql}", sql.join(_WRAP)))
        if _bare(alone) != _bare(within):
            raise FilterError(f"expected one condition and nothing beside it; write one such as {_EXAMPLE}")
        names = dict.fromkeys(_columns(within, frozenset()))
    except RecursionError as error:
        raise FilterError("the condition is nested too deeply; write it more simply") from error
    return Condition(sql, within, tuple(names))


def _tree(connection: duckdb.DuckDBPyConnection, text: str) -> dict[str, Any]:
    """The one expression that a query selects."""
    import duckdb

    try:
        (answer,) = connection.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0]
        parsed = json.loads(answer)
    except duckdb.Error as error:
        raise FilterError(f"the condition cannot be read ({one_line(error)}); correct it") from error
    if parsed["error"]:
        message = " ".join(str(parsed.get("error_message")).split())
        raise FilterError(f"the condition cannot be read ({message}); write one such as {_EXAMPLE}")
    nodes = [statement["node"] for statement in parsed["statements"]]
    node = nodes[0] if nodes else {}
    plain = (
        len(nodes) == 1
        and node.get("type") == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and not node["select_list"][0]["alias"]
        and not any(
            node[part] for part in ("modifiers", "where_clause", "group_expressions", "having", "qualify")
        )
        and not node["sample"]
        and not node["cte_map"]["map"]
        and (node["from_table"]["type"] == "EMPTY" or node["from_table"].get("table_name") == "rows")
    )
    if not plain:
        raise FilterError(f"expected one condition and nothing beside it; write one such as {_EXAMPLE}")
    found: dict[str, Any] = node["select_list"][0]
    return found


def _bare(value: Any) -> Any:
    """A tree without the places of its parts."""
    if isinstance(value, dict):
        return {key: _bare(item) for key, item in value.items() if not key.startswith("query_location")}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _columns(node: dict[str, Any], bound: frozenset[str]) -> Iterator[str]:
    """The columns in an expression; `bound` are the names that a lambda gives."""
    kind = node["class"]
    if kind not in _CLASSES or (kind == "OPERATOR" and node["type"] not in _OPERATORS):
        what = _REFUSED.get(kind, f"a {node['type'].lower().replace('_', ' ')}")
        raise FilterError(f"{what} cannot stand in a condition, which looks at one row; leave it out")
    if kind == "COLUMN_REF":
        name = node["column_names"][0].lower()
        if name in _CLOCKS - {"age"} and name not in bound:
            raise FilterError(_clock(name))
        if name not in bound:
            yield name
        return
    if kind == "TYPE":
        name = node["type_name"].lower()
        if name not in _TYPES:
            raise FilterError(
                f"the type {name} cannot stand in a condition; use double, bigint, varchar or timestamp"
            )
        return
    if kind == "FUNCTION":
        _allowed(node)
    if kind == "LAMBDA" and node["syntax_type"] != "SINGLE_ARROW":  # -> is also that of JSON
        given = node["lhs"]
        parts = [one["expression"] for one in given["arguments"]] if given["class"] == "FUNCTION" else [given]
        bound = bound | {one["column_names"][0].lower() for one in parts}
    for child in _children(node):
        yield from _columns(child, bound)


def _allowed(node: dict[str, Any]) -> None:
    name = node["function_name"].lower()
    if name in _CLOCKS:
        raise FilterError(_clock(name))
    plain = not (node["filter"] or node["distinct"] or node["order_bys"]["orders"] or node["export_state"])
    if name not in _FUNCTIONS or not plain or len(node["qualified_name"]["path"]) != 1:
        near = difflib.get_close_matches(name, _FUNCTIONS - {name}, 1, 0.75)
        hint = f"; is {near[0]} meant?" if near else "; leave it out"
        raise FilterError(f"{name} is not among the functions that a condition can use{hint}")


def _clock(name: str) -> str:
    return (
        f"{name} gives another answer each time, and a replay would differ; use arrived, the time of arrival"
    )


def _children(value: Any) -> Iterator[dict[str, Any]]:
    for item in value.values() if isinstance(value, dict) else value:
        if isinstance(item, dict) and "class" in item:
            yield item
        elif isinstance(item, dict | list):
            yield from _children(item)


def _within(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A part and the parts of it."""
    yield node
    for child in _children(node):
        yield from _within(child)


def unknown_column(name: str, known: Iterable[str]) -> str:
    """A sentence for a name that is no column, with the nearest that is one."""
    near = difflib.get_close_matches(name, list(known), 1, 0.7)
    hint = f"is {near[0]} meant?" if near else "astrid alerts filter --columns lists them"
    return f"there is no column {name}; {hint}"


def one_line(error: Exception) -> str:
    """What DuckDB says, without the kind of error and the excerpt."""
    text = str(error).split("\n\nLINE ")[0].partition("Error: ")[2] or str(error)
    return " ".join(text.split("\n")[0].split())
