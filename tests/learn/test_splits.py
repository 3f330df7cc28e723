"""Claims of `learn.splits`: whole groups, shares as asked, and every leak refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GroupShuffleSplit

from astrid.errors import DatasetError, LeakError, UsageError
from astrid.learn.dataset import Dataset, DatasetWriter
from astrid.learn.settings import Split
from astrid.learn.splits import Parts, check_labels, check_parts, make_parts
from astrid.learn.task import Binary, Input, Multiclass, Regression, Task

PIXELS = {"x": Input(shape=(1,))}


def made(path, groups, *, time="mjd", **columns) -> Dataset:
    """A data set of one number an item."""
    n = len(groups)
    rows = {"group": list(groups), "mjd": np.arange(n, dtype=float), **columns}
    with DatasetWriter(path, name="made", inputs=PIXELS, kind="simulated", time=time) as writer:
        writer.append({"x": np.zeros((n, 1), np.float32)}, rows)
    return Dataset.open(path)


def task(**heads) -> Task:
    return Task(name="made", inputs=PIXELS, heads=heads, network="astrid.networks.dense:Dense")


def crossing(dataset, parts) -> set[str]:
    groups = dataset.groups()
    sets = [set(groups[rows]) for rows in (parts.train, parts.validation, parts.test)]
    return (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])


def test_parts_by_group_hold_whole_groups_every_row_once_and_the_shares_that_were_asked(toy_dataset):
    parts = make_parts(toy_dataset, Split(validation=0.2, test=0.1), seed=3)
    together = np.concatenate([parts.train, parts.validation, parts.test])
    assert np.array_equal(np.sort(together), np.arange(len(toy_dataset)))
    assert not crossing(toy_dataset, parts)
    assert parts.counts == {"train": 640, "validation": 180, "test": 80}  # groups of 20 rows, 90 wanted


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 12), min_size=8, max_size=40), seed=st.integers(0, 2**32 - 1))
def test_share_of_rows_misses_what_was_asked_by_less_than_a_group(tmp_path_factory, sizes, seed):
    groups = np.repeat([f"g{k}" for k in range(len(sizes))], sizes)
    dataset = made(tmp_path_factory.mktemp("split") / "data", groups)
    parts = make_parts(dataset, Split(validation=0.2, test=0.2), seed)
    assert not crossing(dataset, parts)
    for rows in (parts.validation, parts.test):
        assert abs(len(rows) - 0.2 * len(groups)) <= max(sizes)


def test_parts_follow_from_the_seed(toy_dataset):
    first, again, other = (make_parts(toy_dataset, Split(), seed) for seed in (1, 1, 2))
    assert np.array_equal(first.test, again.test)
    assert not np.array_equal(first.test, other.test)


def test_nothing_before_the_boundary_is_later_than_it_and_a_straddling_group_lies_behind_it(tmp_path):
    # ten pairs in order of time, and one group that was seen first and last
    groups = ["long", *np.repeat([f"g{k}" for k in range(10)], 2), "long"]
    dataset = made(tmp_path / "data", groups)
    parts = make_parts(dataset, Split(by="time", validation=0.2, test=0.2), seed=0)
    time = dataset.column("mjd")
    assert time[parts.train].max() < time[parts.validation].min()
    assert set(dataset.groups()[parts.test]) >= {"long", "g9"}
    assert 0 in parts.test
    assert not crossing(dataset, parts)
    assert parts.note == "groups that reach over a boundary in time lie wholly on its later side (1 of 11)"


def test_split_by_time_takes_the_shares_that_were_asked(toy_dataset, tmp_path):
    dataset = made(tmp_path / "data", [f"g{k}" for k in range(100)])
    parts = make_parts(dataset, Split(by="time", validation=0.15, test=0.25), seed=0)
    assert parts.counts == {"train": 60, "validation": 15, "test": 25}
    assert parts.test.min() == 75
    assert parts.note == ""


def test_split_by_column_holds_out_the_named_values(tmp_path):
    ccd = np.repeat([1, 2, 3, 4], 10)
    dataset = made(tmp_path / "data", [f"g{k // 2}" for k in range(40)], ccd=ccd)
    parts = make_parts(
        dataset, Split(by="column", column="ccd", test_values=("3",), validation_values=("1",)), 0
    )
    assert set(ccd[parts.test]) == {3}
    assert set(ccd[parts.validation]) == {1}
    assert set(ccd[parts.train]) == {2, 4}
    drawn = make_parts(dataset, Split(by="column", column="ccd", test_values=("3",), validation=0.2), 0)
    assert set(ccd[drawn.test]) == {3}
    assert drawn.counts == {"train": 24, "validation": 6, "test": 10}


def test_group_seen_by_a_held_out_and_another_telescope_is_a_leak_and_is_named(tmp_path):
    groups = [*(f"star{k}" for k in range(10)), *(f"star{k}" for k in range(8, 18))]
    telescope = np.repeat(["north", "south"], 10)
    dataset = made(tmp_path / "data", groups, telescope=telescope)
    with pytest.raises(LeakError, match=r"2 groups \(group\) have rows in more .*: star8, star9; split by"):
        make_parts(dataset, Split(by="column", column="telescope", test_values=("south",)), 0)


def test_split_of_single_rows_is_refused_and_the_first_groups_are_named(toy_dataset, tmp_path):
    rows = np.random.default_rng(0).permutation(len(toy_dataset))
    by_hand = tmp_path / "split.json"
    names = {"train": rows[:700], "validation": rows[700:800], "test": rows[800:]}
    by_hand.write_text(json.dumps({name: one.tolist() for name, one in names.items()}), "utf-8")
    with pytest.raises(LeakError, match=r"45 groups .*: field00, field01, field02, …; split by whole groups"):
        check_parts(toy_dataset, Parts.load(by_hand))


def test_parts_of_scikit_learns_group_splitter_pass(toy_dataset):
    splitter = GroupShuffleSplit(1, test_size=0.3, random_state=0)
    train, test = next(splitter.split(np.arange(len(toy_dataset)), groups=toy_dataset.groups()))
    check_parts(toy_dataset, Parts(train, np.array([], np.int64), test))


def test_row_in_two_parts_or_beyond_the_data_is_refused(toy_dataset):
    nothing = np.array([], np.int64)
    with pytest.raises(LeakError, match=r"1 rows are in two parts .*the first is row 5"):
        check_parts(toy_dataset, Parts(np.arange(6), nothing, np.array([5])))
    with pytest.raises(DatasetError, match="names row 900 but the data set has 900 rows"):
        check_parts(toy_dataset, Parts(np.array([900]), nothing, nothing))


def test_saved_parts_are_read_as_they_were(toy_dataset, tmp_path):
    parts = make_parts(toy_dataset, Split(by="time"), 0)
    parts.save(tmp_path / "split.json")
    read = Parts.load(tmp_path / "split.json")
    assert all(np.array_equal(getattr(read, name), getattr(parts, name)) for name in parts.counts)
    assert read.note == parts.note


@pytest.mark.parametrize(
    "text", ["", "[]", '{"train": [1]}', '{"train": ["a"], "validation": [], "test": []}', '{"train": 1}']
)
def test_file_that_is_no_split_is_refused(tmp_path, text):
    (tmp_path / "split.json").write_text(text, "utf-8")
    with pytest.raises(DatasetError, match="is no split; expected JSON with lists of row numbers"):
        Parts.load(tmp_path / "split.json")


@pytest.mark.parametrize(
    ("split", "error", "message"),
    [
        (Split(validation=0.5, test=0.5), UsageError, "leave nothing to train on"),
        (Split(by="column", column="ccd"), UsageError, "needs split.column and split.test_values"),
        (Split(by="column", column="ccd", test_values=("9",)), DatasetError, "no ccd is '9'; it has 1, 2"),
        (Split(by="column", column="chip", test_values=("1",)), DatasetError, "no column 'chip'"),
        (
            Split(by="column", column="ccd", test_values=("1",), validation_values=("1",)),
            UsageError,
            "'1' is in split.test_values and",
        ),
    ],
)
def test_split_that_cannot_be_made_is_one_sentence(tmp_path, split, error, message):
    dataset = made(tmp_path / "data", [f"g{k}" for k in range(10)], ccd=np.repeat([1, 2], 5))
    with pytest.raises(error, match=message) as caught:
        make_parts(dataset, split, 0)
    assert "\n" not in str(caught.value)


def test_too_few_groups_for_the_parts_are_refused(tmp_path):
    dataset = made(tmp_path / "data", ["a"] * 5 + ["b"] * 5)
    with pytest.raises(DatasetError, match=r"the (train|validation) part of the split by group is empty"):
        make_parts(dataset, Split(), 0)


def test_time_that_is_absent_is_refused(tmp_path):
    without = made(tmp_path / "without", ["a", "b", "c"], time=None)
    with pytest.raises(DatasetError, match="has no time"):
        make_parts(without, Split(by="time"), 0)
    holed = made(tmp_path / "holed", ["a", "b", "c"], mjd=[1.0, None, 3.0])
    with pytest.raises(DatasetError, match="row 1 has no mjd"):
        make_parts(holed, Split(by="time"), 0)


def test_timestamps_are_times(tmp_path):
    days = np.arange("2024-01-01", "2024-01-11", dtype="datetime64[D]").astype("datetime64[us]")
    dataset = made(tmp_path / "data", [f"g{k}" for k in range(10)], mjd=days.tolist())
    assert make_parts(dataset, Split(by="time", validation=0.2, test=0.2), 0).test.tolist() == [8, 9]


@pytest.mark.parametrize(
    ("labels", "head", "message"),
    [
        (["yes"] * 6 + ["no"] * 4, Binary(labels=("no", "yes")), "every labelled row .* is 'yes' for real"),
        (
            ["a", "b", "a", "b", "a", "b", "c", "c", "a", "b"],
            Multiclass(labels=("a", "b", "c")),
            "no row of the train part is 'c' for real",
        ),
        ([None] * 6 + ["no"] * 4, Binary(labels=("no", "yes")), "no row of the train part has a label"),
        (["no", "yes"] * 3 + [None] * 4, Binary(labels=("no", "yes")), "no row of the validation part has a"),
    ],
)
def test_part_that_cannot_teach_or_judge_is_refused(tmp_path, labels, head, message):
    dataset = made(tmp_path / "data", [f"g{k}" for k in range(10)], real=labels)
    parts = Parts(np.arange(6), np.arange(6, 8), np.arange(8, 10))
    with pytest.raises(DatasetError, match=message):
        check_labels(dataset, parts, task(real=head))


def test_empty_part_and_numbers_that_are_all_absent_are_refused(tmp_path):
    dataset = made(tmp_path / "data", ["a", "b", "c"], size=[None, 1.0, 2.0])
    head = Regression(names=("size",))
    with pytest.raises(DatasetError, match="the validation part is empty"):
        check_labels(dataset, Parts(np.array([0, 1]), np.array([], int), np.array([2])), task(size=head))
    with pytest.raises(DatasetError, match="no row of the train part has a value for size"):
        check_labels(dataset, Parts(np.array([0]), np.array([1]), np.array([2])), task(size=head))
