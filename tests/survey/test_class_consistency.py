"""Probabilities of classes are made to agree with the tree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.isotonic import IsotonicRegression

from astrid.errors import UsageError
from astrid.lightcurves.classes import taxonomy
from astrid.survey.class_consistency import consistent, violations

CODES = ("pnp", "sin", "elp", "saw", "e", "ea", "eb", "ew", "puls", "rrlyr", "rrab", "rrc")
PARENTS = taxonomy().parents(CODES)
TABLES = arrays(np.float64, (3, len(CODES)), elements=st.floats(0, 1, width=32))


def feasible(values: np.ndarray) -> np.ndarray:
    """The same, with each class brought below the one that it lies in."""
    values = values.copy()
    for k, code in enumerate(CODES):
        if PARENTS[code] is not None:
            values[:, k] = np.minimum(values[:, k], values[:, CODES.index(PARENTS[code])])
    return values


@given(TABLES, TABLES)
@settings(max_examples=200, deadline=None)
def test_no_consistent_probabilities_are_nearer(given_: np.ndarray, other: np.ndarray) -> None:
    found = consistent(given_, CODES, PARENTS)
    assert violations(found, CODES, PARENTS).largest < 1e-12
    assert found.min() >= -1e-12
    assert found.max() <= 1 + 1e-12
    # a point of a convex set is the nearest one if no other lies on the far side of it
    cosine = ((given_ - found) * (feasible(other) - found)).sum(axis=1)
    assert cosine.max() < 1e-9


def test_along_a_chain_it_is_isotonic_regression() -> None:
    codes = ("pnp", "sin", "elp")
    rng = np.random.default_rng(0)
    table = rng.random((50, 3))
    found = consistent(table, codes, taxonomy().parents(codes))
    regression = IsotonicRegression(increasing=False)
    for row, expected in zip(found, table, strict=True):
        assert row == pytest.approx(regression.fit_transform([0, 1, 2], expected), abs=1e-12)


def test_what_agrees_is_left_as_it_is() -> None:
    table = feasible(np.random.default_rng(1).random((20, len(CODES))))
    assert np.array_equal(consistent(table, CODES, PARENTS), table)


def test_a_child_and_its_parent_meet_in_the_middle() -> None:
    found = consistent([[0.2, 0.8]], ("rrlyr", "rrab"), {"rrlyr": None, "rrab": "rrlyr"})
    assert found[0] == pytest.approx([0.5, 0.5])


def test_the_order_of_the_columns_does_not_matter() -> None:
    table = np.random.default_rng(2).random((30, len(CODES)))
    order = np.random.default_rng(3).permutation(len(CODES))
    shuffled = consistent(table[:, order], [CODES[k] for k in order], PARENTS)
    assert shuffled == pytest.approx(consistent(table, CODES, PARENTS)[:, order])


def test_violations_are_counted_by_hand() -> None:
    codes = ("rrlyr", "rrab", "rrc")
    parents = {"rrlyr": None, "rrab": "rrlyr", "rrc": "rrlyr"}
    found = violations(np.array([[0.5, 0.6, 0.1], [0.5, 0.505, 0.9], [0.5, 0.1, 0.1]]), codes, parents)
    assert (found.n, found.sources, found.largest) == (3, pytest.approx(2 / 3), pytest.approx(0.4))
    assert found.pairs == {"rrab < rrlyr": pytest.approx(1 / 3), "rrc < rrlyr": pytest.approx(1 / 3)}
    assert found.mean == pytest.approx((0.1 + 0.005 + 0.4) / 6)
    assert violations(np.zeros((0, 3)), codes, parents).sources == 0


def test_a_tree_of_other_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="rrc"):
        consistent([[0.1, 0.2]], ("rrlyr", "rrc"), {"rrlyr": None})
