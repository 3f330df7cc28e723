"""What can be answered: the labels of a task with their keys, and the tags that can be given beside them.

The labels are those that the task's model learns; tags are for people and are the same for all tasks.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Literal

from astrid.errors import UsageError
from astrid.learn.task import Binary, Multiclass, Multilabel, Task
from astrid.store.answers import ANSWERS

__all__ = ["ACTIONS", "Choice", "Tag", "Vocabulary", "questions", "tags"]

ACTIONS = {
    "unsure": "u", "skip": "s", "undo": "z", "note": "n", "tags": "t", "model": "m", "why": "e",
    "stretch": "a", "invert": "i", "object": "o", "all": "x",
}  # fmt: skip
"""Keys that mean the same for every task; no label has one of them."""

Kind = Literal["artefact", "source", "remark"]
"""What a tag says of a change in the sky: there is none, there is one, or neither."""

_NUMBERS = "1234567890"


@dataclass(frozen=True)
class Choice:
    """A label that can be given.

    Parameters
    ----------
    label : str
    keys : tuple of str
        Any of them gives it: a number for the first ten, and its first letter if no other label has it.
    positive : bool or None
        Whether it is the class that is looked for; None where there are more than two.
    """

    label: str
    keys: tuple[str, ...]
    positive: bool | None = None


@dataclass(frozen=True)
class Tag:
    """What can be said of an item beside its label.

    Parameters
    ----------
    name : str
    kind : str
        ``artefact``, ``source`` or ``remark``.
    meaning : str
    aliases : tuple of str
        What others call it.
    """

    name: str
    kind: Kind
    meaning: str
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """What can be answered about the items of a task.

    Parameters
    ----------
    task : str
    title : str
    head : str
        Which of the task's heads is asked about.
    choices : tuple of Choice
        In the order of the head's classes, but of two the one that is looked for comes first.
    classes : tuple of str
        The labels in the order of the model's probabilities.
    tags : tuple of Tag
    """

    task: str
    title: str
    head: str
    choices: tuple[Choice, ...]
    classes: tuple[str, ...]
    tags: tuple[Tag, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the choices, in their order."""
        return tuple(one.label for one in self.choices)

    @cached_property
    def _tags(self) -> dict[str, Tag]:
        return {name.casefold(): tag for tag in self.tags for name in (tag.name, *tag.aliases)}

    def tag(self, name: str) -> Tag:
        """The tag of this name or alias; capitals make no difference.

        Raises
        ------
        UsageError
            There is none.
        """
        found = self._tags.get(name.strip().casefold())
        if found is None:
            raise UsageError(
                f"there is no tag {name!r}; choose of {', '.join(one.name for one in self.tags)}"
            )
        return found

    def label_of(self, names: Iterable[str]) -> str | None:
        """What tags say about a task with two labels: an artefact outweighs all else.

        Returns
        -------
        label : str or None
            None where they say nothing of it, and for a task with more labels.
        """
        kinds = {self.tag(name).kind for name in names}
        verdict = False if "artefact" in kinds else True if "source" in kinds else None
        return next(
            (one.label for one in self.choices if verdict is not None and one.positive is verdict), None
        )

    def check(self, answer: str, label: str | None, names: Iterable[str]) -> tuple[str, ...]:
        """Look at an answer; the names of its tags, each once.

        Raises
        ------
        UsageError
            There is no such answer, label or tag, or a label is missing or too many.
        """
        if answer not in ANSWERS:
            raise UsageError(f"the answer is {answer!r}; choose one of {', '.join(ANSWERS)}")
        if answer == "label" and label not in self.labels:
            given = "there is no label" if label is None else f"{self.task} has no label {label!r}"
            raise UsageError(f"{given}; choose one of {', '.join(self.labels)}")
        if answer != "label" and label is not None:
            raise UsageError(f"the answer {answer} has no label, but {label!r} is given; leave it out")
        return tuple(dict.fromkeys(self.tag(name).name for name in names))


@cache
def tags() -> tuple[Tag, ...]:
    """All tags, artefacts first."""
    content = tomllib.loads(resources.files("astrid.review").joinpath("tags.toml").read_text("utf-8"))
    kinds: tuple[Kind, ...] = ("artefact", "source", "remark")
    return tuple(
        Tag(name, kind, one["meaning"], tuple(one.get("aliases", ())))
        for kind in kinds
        for name, one in content[kind].items()
    )


def questions(task: str | Task) -> Vocabulary:
    """What can be answered about the items of a task.

    Of a task with several heads, the first that tells classes apart is asked about.

    Parameters
    ----------
    task : str or Task
        A system of the zoo, or a task of one's own.

    Raises
    ------
    UsageError
        There is no such task, or it has no classes.
    """
    if isinstance(task, str):
        return _named(task)
    for name, head in task.heads.items():
        if isinstance(head, (Binary, Multiclass, Multilabel)):
            return Vocabulary(task.name, task.title, name, _choices(head), tuple(head.labels), tags())
    raise UsageError(f"the task {task.name} has no classes that a person could name; choose another one")


@cache
def _named(name: str) -> Vocabulary:
    from astrid.zoo import task

    return questions(task(name))


def _choices(head: Binary | Multiclass | Multilabel) -> tuple[Choice, ...]:
    binary = isinstance(head, Binary)
    labels = head.labels[::-1] if binary else head.labels  # what is looked for is number 1
    letters = [label[0].casefold() for label in labels]
    choices = []
    for k, (label, letter) in enumerate(zip(labels, letters, strict=True)):
        keys = [_NUMBERS[k]] if k < len(_NUMBERS) else []
        if letter.isalpha() and letters.count(letter) == 1 and letter not in ACTIONS.values():
            keys.append(letter)
        choices.append(Choice(label, tuple(keys), (k == 0) if binary else None))
    return tuple(choices)
