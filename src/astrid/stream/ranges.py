"""Whether a condition can ever be true, by the ranges that its columns can have.

Exact for comparisons of a column with a constant, joined in any way; of anything else it is only sure
that it claims nothing false: what it does not understand is taken to be possible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Range", "can_be", "conjuncts"]

Node = Mapping[str, Any]

_EXACT = 2.0**53  # above, a float does not tell one whole number from the next
_STEPS = 20_000  # of a search among alternatives; after these, everything is possible
_INVERSE = {
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHANOREQUALTO", "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHAN",
    "COMPARE_LESSTHAN": "COMPARE_GREATERTHANOREQUALTO", "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHAN",
    "COMPARE_EQUAL": "COMPARE_NOTEQUAL", "COMPARE_NOTEQUAL": "COMPARE_EQUAL",
}  # fmt: skip
_MIRRORED = {
    "COMPARE_GREATERTHAN": "COMPARE_LESSTHAN", "COMPARE_LESSTHAN": "COMPARE_GREATERTHAN",
    "COMPARE_GREATERTHANOREQUALTO": "COMPARE_LESSTHANOREQUALTO",
    "COMPARE_LESSTHANOREQUALTO": "COMPARE_GREATERTHANOREQUALTO",
    "COMPARE_EQUAL": "COMPARE_EQUAL", "COMPARE_NOTEQUAL": "COMPARE_NOTEQUAL",
}  # fmt: skip


@dataclass(frozen=True)
class Range:
    """What a number can be.

    Parameters
    ----------
    low, high : float
    above, below : bool
        Whether the ends themselves are left out.
    whole : bool
        Only whole numbers.
    without : frozenset of float
        And none of these.
    """

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    whole: bool = False
    without: frozenset[float] = frozenset()

    @property
    def empty(self) -> bool:
        """Whether there is no such number."""
        low, high = self.low, self.high
        while self.whole and low in self.without and low <= high < _EXACT:
            low += 1
        point = low == high and (self.above or self.below or low in self.without)
        return low > high or point

    def at_least(self, value: float, *, above: bool) -> Range:
        """Those of the range that are at least, or above, a value."""
        if self.whole and abs(value) < _EXACT:
            value, above = (math.floor(value) + 1.0 if above else float(math.ceil(value))), False
        if value < self.low or (value == self.low and not above):
            return self
        return replace(self, low=value, above=above)

    def at_most(self, value: float, *, below: bool) -> Range:
        """Those of the range that are at most, or below, a value."""
        mirrored = Range(-self.high, -self.low, self.below, self.above, self.whole)
        mirrored = mirrored.at_least(-value, above=below)
        return replace(self, high=-mirrored.low, below=mirrored.above)


@dataclass(frozen=True)
class _Values:
    """What a text or a truth value can be: one of these, or, if they are None, all but those."""

    allowed: frozenset[str] | None = None
    excluded: frozenset[str] = frozenset()

    @property
    def empty(self) -> bool:
        return self.allowed is not None and not self.allowed - self.excluded

    def only(self, values: frozenset[str]) -> _Values:
        return replace(self, allowed=values if self.allowed is None else self.allowed & values)

    def without(self, values: frozenset[str]) -> _Values:
        return replace(self, excluded=self.excluded | values)


@dataclass(frozen=True)
class _Known:
    """What is known of the columns on one way through the alternatives."""

    numbers: Mapping[str, Range]
    values: Mapping[str, _Values]
    null: Mapping[str, bool]  # by column: must be, or must not be

    def with_null(self, name: str, null: bool) -> _Known | None:
        if self.null.get(name, null) != null:
            return None
        return replace(self, null={**self.null, name: null})

    def with_number(self, name: str, kind: str, value: float) -> _Known | None:
        now = self.numbers[name]
        if kind in ("COMPARE_GREATERTHAN", "COMPARE_GREATERTHANOREQUALTO", "COMPARE_EQUAL"):
            now = now.at_least(value, above=kind == "COMPARE_GREATERTHAN")
        if kind in ("COMPARE_LESSTHAN", "COMPARE_LESSTHANOREQUALTO", "COMPARE_EQUAL"):
            now = now.at_most(value, below=kind == "COMPARE_LESSTHAN")
        if kind == "COMPARE_NOTEQUAL":
            now = replace(now, without=now.without | {value})
        known = None if now.empty else replace(self, numbers={**self.numbers, name: now})
        return None if known is None else known.with_null(name, False)

    def with_values(self, name: str, now: _Values) -> _Known | None:
        known = None if now.empty else replace(self, values={**self.values, name: now})
        return None if known is None else known.with_null(name, False)


class _EndlessError(Exception):
    """There are more alternatives than are worth looking at."""


def can_be(
    truth: bool, condition: Node, ranges: Mapping[str, Range], texts: frozenset[str] = frozenset()
) -> bool:
    """Whether a condition can be true, or false, for any row at all.

    Parameters
    ----------
    truth : bool
        Which of the two is asked.
    condition : mapping
        An expression as DuckDB writes it in JSON.
    ranges : mapping of str to Range
        Of the columns that are numbers.
    texts : frozenset of str
        Columns that are text or truth values.

    Returns
    -------
    possible : bool
        False is certain.
    """
    try:
        start = _Known(dict(ranges), dict.fromkeys(texts, _Values()), {})
        return _Search().possible(((condition, truth),), start, ())
    except (_EndlessError, RecursionError):
        return True


_Todo = tuple[tuple[Node, bool], ...]


class _Search:
    def __init__(self) -> None:
        self.steps = 0

    def possible(self, todo: _Todo, known: _Known, later: _Todo) -> bool:
        while todo:
            self.steps += 1
            if self.steps > _STEPS:
                raise _EndlessError
            (node, truth), todo = todo[0], todo[1:]
            if node["type"] == "OPERATOR_NOT":
                todo = ((node["children"][0], not truth), *todo)
                continue
            parts = _parts(node)
            if parts is not None:
                pieces, together = parts
                if together == truth:
                    todo = (*((one, truth) for one in pieces), *todo)
                    continue
                return any(self.possible(((one, truth), *todo), known, later) for one in pieces)
            narrowed = _narrowed(node, truth, known)
            if narrowed is None:
                return False
            if narrowed is known and node["class"] == "COMPARISON":
                later = (*later, (node, truth))
            known = narrowed
        return all(_compatible(node, truth, known) for node, truth in later)


def _parts(node: Node) -> tuple[list[Node], bool] | None:
    """The parts of a condition, and whether all of them must hold."""
    kind = node["type"]
    if node["class"] == "CONJUNCTION":
        return list(node["children"]), kind == "CONJUNCTION_AND"
    if kind == "COMPARE_BETWEEN":
        ends = (("COMPARE_GREATERTHANOREQUALTO", "lower"), ("COMPARE_LESSTHANOREQUALTO", "upper"))
        return [_comparison(one, node["input"], node[end]) for one, end in ends], True
    if kind == "COMPARE_IN":
        first, *rest = node["children"]
        return [_comparison("COMPARE_EQUAL", first, one) for one in rest], False
    return None


def _comparison(kind: str, left: Node, right: Node) -> Node:
    return {"class": "COMPARISON", "type": kind, "left": left, "right": right}


def _narrowed(node: Node, truth: bool, known: _Known) -> _Known | None:
    """What is known if the condition is true (or false); None if it cannot be."""
    kind = node["type"]
    if kind == "VALUE_CONSTANT":
        literal = node["literal"]
        if literal["kind"] == "BOOLEAN":
            return known if (literal["text"].lower() == "true") == truth else None
        return None if literal["kind"] == "NULL_LITERAL" else known
    name = _name(node)
    if name is not None and name in known.values:  # a column that is true or false itself
        return known.with_values(name, known.values[name].only(frozenset({str(truth).lower()})))
    if kind in ("OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL"):
        name = _name(node["children"][0])
        return known if name is None else known.with_null(name, (kind == "OPERATOR_IS_NULL") == truth)
    if node["class"] != "COMPARISON" or kind not in _INVERSE:
        return known
    kind = kind if truth else _INVERSE[kind]
    left, right = node["left"], node["right"]
    if _name(left) is None:
        left, right, kind = right, left, _MIRRORED[kind]
    if any(_is_null(one) for one in (left, right)):
        return None  # a comparison with null is neither true nor false
    name, number = _name(left), _number(right)
    if name is None:
        return known
    if name in known.numbers and number is not None:
        return known.with_number(name, kind, number)
    literal = right.get("literal") or {}
    if name in known.values and literal.get("kind") in ("STRING", "BOOLEAN"):
        value = frozenset({literal["text"].lower() if literal["kind"] == "BOOLEAN" else literal["text"]})
        now = known.values[name]
        if kind == "COMPARE_EQUAL":
            return known.with_values(name, now.only(value))
        if kind == "COMPARE_NOTEQUAL":
            return known.with_values(name, now.without(value))
    return known


def _compatible(node: Node, truth: bool, known: _Known) -> bool:
    """Whether the ranges of both sides leave room for a comparison."""
    left, right = _bounds(node["left"], known), _bounds(node["right"], known)
    if node["type"] not in _INVERSE or left is None or right is None:
        return True
    kind = node["type"] if truth else _INVERSE[node["type"]]
    (low, high), (other_low, other_high) = left, right
    return {
        "COMPARE_GREATERTHAN": high > other_low,
        "COMPARE_GREATERTHANOREQUALTO": high >= other_low,
        "COMPARE_LESSTHAN": low < other_high,
        "COMPARE_LESSTHANOREQUALTO": low <= other_high,
        "COMPARE_EQUAL": low <= other_high and other_low <= high,
        "COMPARE_NOTEQUAL": not low == high == other_low == other_high,
    }[kind]


_Bounds = tuple[float, float]


def _bounds(node: Node, known: _Known) -> _Bounds | None:
    """Between which an expression lies; None where it may be anything, also not a number."""
    number, name = _number(node), _name(node)
    if number is not None:
        return number, number
    if name is not None:
        found = known.numbers.get(name)
        return None if found is None else (found.low, found.high)
    if node["class"] == "CAST" and node["type_expr"].get("type_name", "").upper() in ("DOUBLE", "FLOAT8"):
        return _bounds(node["child"], known)
    if node["class"] != "FUNCTION":
        return None
    called = node["function_name"].lower()
    if called in ("length", "len"):
        return 0.0, math.inf
    ends = [_bounds(one["expression"], known) for one in node["arguments"]]
    rule = _RULES.get((called, len(ends)))
    if rule is None or None in ends:
        return None
    result = rule(*ends)
    return None if any(map(math.isnan, result)) else result


def _product(a: _Bounds, b: _Bounds) -> _Bounds:
    every = [x * y for x in a for y in b]  # 0 times infinity is NaN here as it is there
    within = (one[0] < 0 < one[1] and any(map(math.isinf, other)) for one, other in ((a, b), (b, a)))
    return (math.nan, math.nan) if any(within) or any(map(math.isnan, every)) else (min(every), max(every))


def _absolute(a: _Bounds) -> _Bounds:
    return (0.0 if a[0] <= 0 <= a[1] else min(map(abs, a))), max(map(abs, a))


_RULES: dict[tuple[str, int], Callable[..., _Bounds]] = {
    ("+", 1): lambda a: a,
    ("-", 1): lambda a: (-a[1], -a[0]),
    ("+", 2): lambda a, b: (a[0] + b[0], a[1] + b[1]),
    ("-", 2): lambda a, b: (a[0] - b[1], a[1] - b[0]),
    ("*", 2): _product,
    ("abs", 1): _absolute,
    # these two pass over null, so that either may be alone
    ("greatest", 2): lambda a, b: (min(a[0], b[0]), max(a[1], b[1])),
    ("least", 2): lambda a, b: (min(a[0], b[0]), max(a[1], b[1])),
    ("sqrt", 1): lambda a: (0.0, math.inf),  # of a negative number it fails
}


def _name(node: Node) -> str | None:
    if node["class"] == "COLUMN_REF" and len(node["column_names"]) == 1:
        name: str = node["column_names"][0].lower()
        return name
    return None


def _number(node: Node) -> float | None:
    literal = node.get("literal") or {}
    if literal.get("kind") in ("INTEGER", "NUMERIC"):
        return float(literal["text"].replace("_", ""))
    return None


def _is_null(node: Node) -> bool:
    return (node.get("literal") or {}).get("kind") == "NULL_LITERAL"


def conjuncts(condition: Node) -> Iterator[Node]:
    """The parts of a condition that must all be true."""
    if condition["type"] == "CONJUNCTION_AND":
        for one in condition["children"]:
            yield from conjuncts(one)
    else:
        yield condition
