"""Parts of a data set: every row in one of them, with honest names."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from astrid.learn.slices import parts_of


@given(
    st.one_of(
        st.lists(st.floats(allow_infinity=False), min_size=1, max_size=60).map(np.array),
        st.lists(st.integers(-5, 40), min_size=1, max_size=60).map(np.array),
        st.lists(st.text("abcdefghijklmnop", max_size=1), min_size=1, max_size=60).map(np.array),
        st.lists(st.sampled_from([True, False, None]), min_size=1).map(lambda v: np.array(v, object)),
        st.lists(st.booleans(), min_size=1, max_size=60).map(np.array),
    )
)
def test_every_row_is_in_exactly_one_part(values):
    rows = np.concatenate([part.rows for part in parts_of(values)])
    assert sorted(rows.tolist()) == list(range(len(values)))


def test_bins_hold_as_many_rows_each_and_say_their_edges():
    values = np.random.default_rng(1).normal(20, 1, 1000)
    values[:3] = np.nan
    parts = parts_of(values)
    assert [len(part.rows) for part in parts[:-1]] == [200, 199, 199, 199, 200]
    assert (parts[-1].name, len(parts[-1].rows)) == ("not known", 3)
    for part in parts[:-1]:
        assert part.low <= values[part.rows].min() <= values[part.rows].max() <= part.high
        assert part.name == f"{part.low:.4g} to {part.high:.4g}"


def test_numbers_of_ccds_are_values_and_not_bins():
    parts = parts_of(np.array([3, 1, 1, 2, 3, 3]))
    assert [(part.name, len(part.rows)) for part in parts] == [("1", 2), ("2", 1), ("3", 3)]


def test_rare_names_are_put_together_and_absent_ones_are_said():
    values = np.array(["often"] * 10 + [f"field{k:02d}" for k in range(15)] + [""])
    parts = parts_of(values)
    assert parts[-2].name == "4 others"
    assert len(parts[-2].rows) == 4
    assert parts[-1].name == "not known"
    assert len(parts) == 14
