"""What can be answered, and by which keys."""

from __future__ import annotations

import pytest

from astrid.errors import UsageError
from astrid.learn.task import Input, Multiclass, Regression, Task
from astrid.review.vocabulary import ACTIONS, questions, tags
from astrid.zoo import task, tasks

INPUTS = {"x": Input(shape=(3,))}


def test_what_is_looked_for_is_number_one_and_both_have_their_letters() -> None:
    words = questions("braai")
    assert words.labels == ("real", "bogus")
    assert words.classes == ("bogus", "real")
    assert [one.keys for one in words.choices] == [("1", "r"), ("2", "b")]
    assert [one.positive for one in words.choices] == [True, False]


@pytest.mark.parametrize("name", tasks())
def test_no_key_means_two_things(name: str) -> None:
    words = questions(name)
    keys = [key for one in words.choices for key in one.keys] + list(ACTIONS.values())
    assert len(set(keys)) == len(keys)
    assert words.head in task(name).heads


def test_classes_have_numbers_and_letters_only_where_these_are_free() -> None:
    labels = ("snia", "agn", "RRLyrae", "rotating", *(f"x{k}" for k in range(8)))
    words = questions(
        Task(name="many", inputs=INPUTS, heads={"kind": Multiclass(labels=labels)}, network="a:b")
    )
    assert words.choices[0].keys == ("1",)  # s is skip
    assert words.choices[2].keys == ("3",)  # r is of two
    assert [one.keys for one in words.choices[9:]] == [("0",), (), ()]
    assert words.choices[0].positive is None
    assert words.label_of(["ghost"]) is None


def test_a_task_without_classes_is_refused() -> None:
    numbers = Task(name="n", inputs=INPUTS, heads={"z": Regression(names=("z",))}, network="a:b")
    with pytest.raises(UsageError, match="n has no classes that a person could name"):
        questions(numbers)


def test_tags_have_one_name_each_whatever_they_are_called() -> None:
    words = questions("braai")
    names = [
        name.casefold() for one in tags() for name in {one.name.casefold(), *map(str.casefold, one.aliases)}
    ]
    assert len(set(names)) == len(names)
    assert words.tag("SNIa").name == "supernova_ia"
    assert words.check("label", "real", ["SN", "supernova", "1-point"]) == ("supernova", "one_point")
    with pytest.raises(UsageError, match="there is no tag 'nonsense'; choose of artefact, ghost"):
        words.tag("nonsense")


def test_an_artefact_outweighs_what_else_is_said() -> None:
    words = questions("braai")
    assert words.label_of(["Galaxy", "frame_edge", "uncertain"]) == "bogus"
    assert words.label_of(["SN", "uncertain"]) == "real"
    assert words.label_of(["uncertain"]) is None


@pytest.mark.parametrize(
    ("answer", "label", "says"),
    [
        ("label", "star", "braai has no label 'star'; choose one of real, bogus"),
        ("label", None, "there is no label; choose one of real, bogus"),
        ("unsure", "real", "the answer unsure has no label, but 'real' is given"),
        ("maybe", None, "the answer is 'maybe'; choose one of label, unsure, skip"),
    ],
)
def test_what_is_no_answer_is_refused(answer: str, label: str | None, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        questions("braai").check(answer, label, [])
