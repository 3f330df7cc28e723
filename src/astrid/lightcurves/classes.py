"""The classes of variable sources as two trees, and what labels of surveys mean in them.

The trees and the labels are in ``classes.toml``; classifiers of these classes are in the zoo.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib import resources
from typing import Any

from astrid.errors import UsageError

__all__ = ["LEVELS", "Label", "SourceClass", "Taxonomy", "read_taxonomy", "taxonomy"]

LEVELS = (0.0, 0.25, 0.5, 0.75, 1.0)
"""What a person can say of a class: no, rather not, perhaps, rather, yes."""

_TREES = ("phenomenological", "ontological")


@dataclass(frozen=True)
class SourceClass:
    """One class.

    Parameters
    ----------
    code : str
        Short name: of columns and labels.
    name, meaning : str
    tree : str
        ``phenomenological`` or ``ontological``.
    parent : str, optional
        Code of the class that it lies in; None at the top of a tree.
    added : bool
        Whether the class is not in the published trees.
    """

    code: str
    name: str
    meaning: str
    tree: str
    parent: str | None = None
    added: bool = False


@dataclass(frozen=True)
class Label:
    """What one label of a survey says.

    Parameters
    ----------
    says : dict of str to float
        Classes that it names, with their probabilities.
    unknown : tuple of str
        Classes, or whole trees, about which it says nothing; what is below is unknown too.
    """

    says: dict[str, float]
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Taxonomy:
    """Trees of classes, and the labels of surveys.

    Parameters
    ----------
    classes : dict of str to SourceClass
        By code; each one comes after the class that it lies in.
    labels : dict of str to dict of str to Label
        By survey and label.
    """

    classes: dict[str, SourceClass]
    labels: dict[str, dict[str, Label]]

    def __getitem__(self, code: str) -> SourceClass:
        try:
            return self.classes[code]
        except KeyError as error:
            raise UsageError(
                f"there is no class {code!r}; choose one of {', '.join(self.classes)}"
            ) from error

    @cached_property
    def ancestors(self) -> dict[str, tuple[str, ...]]:
        """For each class those that it lies in, the nearest first."""
        found: dict[str, tuple[str, ...]] = {}
        for code, one in self.classes.items():
            found[code] = () if one.parent is None else (one.parent, *found[one.parent])
        return found

    def below(self, code: str) -> tuple[str, ...]:
        """All classes within a class or, by its name, within a tree."""
        if code in _TREES:
            return tuple(one.code for one in self.classes.values() if one.tree == code)
        return tuple(other for other, above in self.ancestors.items() if self[code].code in above)

    def parents(self, codes: Sequence[str]) -> dict[str, str | None]:
        """For each of some classes the nearest one of them that it lies in."""
        return {
            code: next((one for one in self.ancestors[self[code].code] if one in codes), None)
            for code in codes
        }

    def implied(self, said: Mapping[str, float]) -> dict[str, float]:
        """All that follows from what is said of some classes.

        A class is at least as probable as each one within it, and what lies in a class that is ruled out
        is ruled out. What was said twice keeps its larger value. Classes of which nothing follows are
        not in the result.

        Parameters
        ----------
        said : mapping of str to float
            Probabilities by code.

        Returns
        -------
        implied : dict of str to float
            In the order of the classes.

        Raises
        ------
        UsageError
            There is no such class, or a value that a label cannot have.
        """
        known: dict[str, float] = {}
        for code, value in said.items():
            if value not in LEVELS:
                raise UsageError(f"{code} is {value}; a label is one of {', '.join(map(str, LEVELS))}")
            known[self[code].code] = float(value)
        for code, value in list(known.items()):
            if value > 0:
                for above in self.ancestors[code]:
                    known[above] = max(known.get(above, 0.0), value)
        for code, one in self.classes.items():
            if one.parent is not None and known.get(one.parent) == 0.0:
                known[code] = 0.0
        return {code: known[code] for code in self.classes if code in known}

    def corrected(self, known: Mapping[str, float], said: Mapping[str, float]) -> dict[str, float]:
        """What is known of a source after somebody said more.

        What is said takes the place of what was known of the same class, and all that follows from it:
        classes above become at least as probable, classes below one that is ruled out are ruled out, and
        none of those below stays more probable than a class that was made less probable.

        Parameters
        ----------
        known, said : mapping of str to float
            Probabilities by code.

        Returns
        -------
        corrected : dict of str to float

        Raises
        ------
        UsageError
            As `implied`.
        """
        follows = self.implied(said)
        found = {**known, **{code: max(value, known.get(code, 0.0)) for code, value in follows.items()}}
        found |= {code: value for code, value in follows.items() if code in said or value == 0.0}
        for code, one in self.classes.items():
            if code in found and one.parent in found and code not in said:
                found[code] = min(found[code], found[one.parent])
        return {code: found[code] for code in self.classes if code in found}

    def meaning_of(self, survey: str, label: str) -> dict[str, float]:
        """What a survey's label says of all classes; those that stay unknown are absent.

        Raises
        ------
        UsageError
            There is no such survey or label.
        """
        try:
            one = self.labels[survey][label]
        except KeyError as error:
            known = self.labels.get(survey, self.labels)
            raise UsageError(f"{survey} has no label {label!r}; choose one of {', '.join(known)}") from error
        silent = {below for code in one.unknown for below in (code, *self.below(code))}
        rest = {code: 0.0 for code in self.classes if code not in silent}
        said = self.implied(one.says)
        found = {**rest, **said}
        return {code: found[code] for code in self.classes if code in found}


@cache
def taxonomy() -> Taxonomy:
    """The trees that come with AstrID: those of SCOPE.

    References
    ----------
    Coughlin et al. 2021, arXiv:2102.11304, section 3.
    """
    return read_taxonomy((resources.files("astrid.lightcurves") / "classes.toml").read_text("utf-8"))


def read_taxonomy(text: str) -> Taxonomy:
    """Read and check trees and labels.

    Parameters
    ----------
    text : str
        TOML, as ``classes.toml``.

    Raises
    ------
    UsageError
        It is no TOML, a class lies in none of its tree that comes before it, or a label names a class that
        does not exist, a value that cannot be, or something both as said and as unknown.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"the classes are no TOML ({error}); correct the file") from error
    classes: dict[str, SourceClass] = {}
    for tree in _TREES:
        for code, facts in content.get(tree, {}).items():
            if code in classes or code in _TREES or not code.isidentifier() or code != code.lower():
                raise UsageError(f"{code!r} cannot be the code of a class of its own; choose another")
            parent = facts.get("in")
            if parent is not None and (parent not in classes or classes[parent].tree != tree):
                raise UsageError(f"{code} lies in {parent!r}, which is no {tree} class before it; correct it")
            try:
                classes[code] = SourceClass(
                    code, facts["name"], facts["meaning"], tree, parent, bool(facts.get("added", False))
                )
            except KeyError as error:
                raise UsageError(f"{code} has no {error}; give its name and meaning") from error
    if not classes:
        raise UsageError(f"there is no class; give them in tables called {' and '.join(_TREES)}")
    trees = Taxonomy(classes, {})
    labels: dict[str, dict[str, Label]] = {}
    for survey, listed in content.get("labels", {}).items():
        every = content.get("surveys", {}).get(survey, {})
        labels[survey] = {
            label: _label(trees, survey, label, facts, every) for label, facts in listed.items()
        }
    return Taxonomy(classes, labels)


def _label(
    trees: Taxonomy, survey: str, label: str, facts: Mapping[str, Any], every: Mapping[str, Any]
) -> Label:
    says = {**every.get("is", {}), **facts["is"]}
    one = Label(
        {code: float(value) for code, value in says.items()},
        (*every.get("unknown", ()), *facts.get("unknown", ())),
    )
    for code in one.unknown:
        trees.below(code)
    if not any(trees.implied(one.says).values()):
        raise UsageError(f"the label {label!r} of {survey} says nothing; name a class")
    return one
