"""Labels stand at their places among the classes, and probabilities add up."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from astrid.lightcurves.classes import taxonomy
from astrid.survey.class_tree import class_tree, tree_html

CRTS = ("EW", "EA", "RRab", "RRc", "RRd", "RS_CVn", "LPV")


def flat(nodes, path=()):
    for one in nodes:
        yield (*path, one.name), one
        yield from flat(one.within, (*path, one.name))


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=7, max_size=7).filter(lambda one: sum(one) > 0.1))
def test_exclusive_probabilities_of_a_class_are_the_sum_of_those_within(values):
    values = [value / sum(values) for value in values]
    tree = class_tree(dict(zip(CRTS, values, strict=True)), exclusive=True)
    assert sum(one.probability for one in tree) == pytest.approx(1)
    for _, one in flat(tree):
        if one.within and not one.label:
            assert one.probability == pytest.approx(sum(other.probability for other in one.within))
            shares = [other.probability for other in one.within]
            assert shares == sorted(shares, reverse=True)
    leaves = {one.label: one.probability for _, one in flat(tree) if one.label}
    assert leaves == pytest.approx(dict(zip(CRTS, values, strict=True)))


def test_labels_of_the_catalina_survey_are_where_their_kind_of_star_is():
    places = {one.label: path for path, one in flat(class_tree(dict.fromkeys(CRTS, 0.1), exclusive=True))}
    assert places["RRc"] == ("pulsator", "RR Lyrae", "RR Lyrae c")
    assert places["EA"] == ("binary star", "EA")
    assert places["EW"] == ("binary star", "W UMa")


def test_codes_of_the_trees_keep_their_own_probabilities():
    said = {"e": 0.9, "ea": 0.2, "ew": 0.8, "bis": 0.7, "rrab": 0.05, "puls": 0.1}
    found = dict(flat(class_tree(said, exclusive=False)))
    assert found["variable", "periodic", "eclipsing"].probability == 0.9
    assert found["variable", "periodic", "eclipsing", "EW"].probability == 0.8
    assert found["variable", "periodic"].probability == 0.9  # was not asked: the largest within
    assert found["pulsator", "RR Lyrae", "RR Lyrae ab"].probability == 0.05
    assert {one.label for one in found.values()} - {""} == set(said)


def test_every_code_has_a_place_of_its_own():
    codes = dict.fromkeys(taxonomy().classes, 0.5)
    assert sorted(one.label for _, one in flat(class_tree(codes, exclusive=False))) == sorted(codes)


def test_a_label_that_nobody_knows_stands_at_the_top_and_nothing_is_read_as_html():
    tree = class_tree({"<b>new</b>": 0.6, "RRab": 0.396, "LPV": 0.004}, exclusive=True, decided={"RRab"})
    assert tree[0].name == "<b>new</b>"
    page = tree_html(tree)
    assert re.findall("<b>.*?</b>", page) == ["<b>RR Lyrae ab</b>"]
    assert "60.0 %" in page
    assert re.search(r"below 0.5 %: long-period variable", page)
