"""The trees of classes, and what labels of surveys mean in them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.errors import UsageError
from astrid.lightcurves.classes import LEVELS, read_taxonomy, taxonomy

CODES = tuple(taxonomy().classes)
SAID = st.dictionaries(st.sampled_from(CODES), st.sampled_from(LEVELS), max_size=8)


def test_each_class_lies_in_one_before_it_of_the_same_tree() -> None:
    trees = taxonomy()
    seen: set[str] = set()
    for code, one in trees.classes.items():
        assert one.parent is None or (one.parent in seen and trees[one.parent].tree == one.tree)
        seen.add(code)


def test_the_trees_have_the_branches_of_the_paper() -> None:
    trees = taxonomy()
    assert set(trees.below("e")) == {"ea", "eb", "ew"}
    assert set(trees.below("rrlyr")) == {"rrab", "rrc", "rrd", "rre", "rrblz"}
    assert trees.ancestors["elp"] == ("sin", "pnp", "vnv")
    assert trees.ancestors["nnser"] == ("cb", "bis")
    assert [one.code for one in trees.classes.values() if one.parent is None] == [
        "vnv", "nvar", "acc", "bis", "puls",
    ]  # fmt: skip
    assert [one.code for one in trees.classes.values() if one.added] == ["acep"]


def test_parents_skip_classes_that_are_not_asked_for() -> None:
    assert taxonomy().parents(("pnp", "elp", "rrab", "puls")) == {
        "pnp": None, "elp": "pnp", "rrab": "puls", "puls": None,
    }  # fmt: skip


@given(SAID)
@settings(max_examples=200, deadline=None)
def test_what_is_implied_agrees_with_the_tree(said: dict[str, float]) -> None:
    trees = taxonomy()
    found = trees.implied(said)
    for code, value in found.items():
        parent = trees[code].parent
        if parent is not None and value > 0:
            assert found[parent] >= value
        if parent is not None and found.get(parent) == 0:
            assert value == 0
    assert all(found[code] >= value for code, value in said.items())
    assert trees.implied(found) == found


@given(st.sampled_from(tuple(taxonomy().labels["crts"])), SAID)
@settings(max_examples=200, deadline=None)
def test_a_corrected_source_agrees_with_the_tree(label: str, said: dict[str, float]) -> None:
    trees = taxonomy()
    found = trees.corrected(trees.meaning_of("crts", label), said)
    for code, value in found.items():
        parent = trees[code].parent
        if parent in found:
            assert found[parent] >= value


def test_a_correction_replaces_and_the_rest_stays() -> None:
    trees = taxonomy()
    found = trees.corrected(trees.meaning_of("crts", "RRab"), {"rrab": 0.0, "rrc": 1.0})
    assert (found["rrab"], found["rrc"], found["rrlyr"], found["bis"]) == (0.0, 1.0, 1.0, 0.0)
    gone = trees.corrected(trees.meaning_of("crts", "RRab"), {"puls": 0.0})
    assert gone["rrab"] == gone["rrlyr"] == gone["lpv"] == 0.0
    assert gone["saw"] == 1.0


def test_unknown_stays_unknown() -> None:
    meaning = taxonomy().meaning_of("crts", "LPV")
    assert meaning["lpv"] == 1.0
    assert not {"mira", "srv", "osarg", "wp", "hp"} & set(meaning)
    assert meaning["bis"] == 0.0


def test_nothing_is_said_of_the_kind_of_a_star_with_a_hump() -> None:
    meaning = taxonomy().meaning_of("crts", "Hump")
    assert meaning == {"vnv": 1.0, "pnp": 1.0}


def test_every_label_of_the_surveys_agrees_with_the_tree() -> None:
    trees = taxonomy()
    for survey, labels in trees.labels.items():
        for label in labels:
            found = trees.meaning_of(survey, label)
            for code, value in found.items():
                assert all(found.get(above, 1.0) >= value for above in trees.ancestors[code]), label
                assert value in LEVELS


def test_labels_of_the_real_tables_are_all_known(real_data: Path) -> None:
    with (real_data / "lightcurves/crts/crts_train_labels.csv").open() as file:
        for row in csv.DictReader(file):
            taxonomy().meaning_of("crts", row["class"])
    with (real_data / "lightcurves/ztf_workflows/labeling_guide.csv").open() as file:
        for row in csv.DictReader(file):
            taxonomy().meaning_of("ztf", row["#name"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a = [", "no TOML"),
        ("[phenomenological]\n", "there is no class"),
        ("[phenomenological]\nA = {name = 'x', meaning = 'y'}", "cannot be the code"),
        ("[phenomenological]\na = {name = 'x'}", "has no 'meaning'"),
        ("[phenomenological]\na = {name = 'x', meaning = 'y', in = 'b'}", "lies in 'b'"),
        (
            (
                "[phenomenological]\na = {name='x', meaning='y'}\n"
                "[ontological]\nb = {name='x', meaning='y', in='a'}"
            ),
            "no ontological class",
        ),
        (
            "[phenomenological]\na = {name = 'x', meaning = 'y'}\n[labels.s]\nL = {is = {b = 1}}",
            "no class 'b'",
        ),
        (
            "[phenomenological]\na = {name = 'x', meaning = 'y'}\n[labels.s]\nL = {is = {a = 0.3}}",
            "a is 0.3",
        ),
        (
            "[phenomenological]\na = {name = 'x', meaning = 'y'}\n[labels.s]\nL = {is = {a = 0}}",
            "says nothing",
        ),
    ],
)
def test_trees_that_cannot_be_are_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_taxonomy(text)


def test_an_unknown_label_or_class_names_those_that_exist() -> None:
    with pytest.raises(UsageError, match="RRab"):
        taxonomy().meaning_of("crts", "RRx")
    with pytest.raises(UsageError, match="crts"):
        taxonomy().meaning_of("gaia", "RRab")
    with pytest.raises(UsageError, match="rrab"):
        taxonomy()["rrx"]
