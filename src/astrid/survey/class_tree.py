"""Probabilities of classes as a tree: what a classifier says, at the place of each class among the others.

The places are those of the taxonomy of variable sources; labels that have none stand at the top.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from astrid.lightcurves.classes import Taxonomy, taxonomy

__all__ = ["ClassNode", "class_tree", "tree_html"]

_SURVEY = "crts"  # whose labels the classifiers of variable stars have
_LEAST = 0.005  # branches below are folded into one line


@dataclass(frozen=True)
class ClassNode:
    """A class, and the classes within it.

    Parameters
    ----------
    name, meaning : str
    probability : float
    within : tuple of ClassNode
        The most probable first.
    label : str
        Of the classifier; empty where the class only holds others.
    decided : bool
        Whether the classifier decides for it.
    """

    name: str
    meaning: str
    probability: float
    within: tuple[ClassNode, ...] = ()
    label: str = ""
    decided: bool = False

    def as_dict(self) -> dict[str, Any]:
        """The tree as plain values."""
        return {
            "name": self.name,
            "label": self.label,
            "probability": self.probability,
            "decided": self.decided,
            "within": [one.as_dict() for one in self.within],
        }


def class_tree(
    probabilities: Mapping[str, float], *, exclusive: bool, decided: Collection[str] = ()
) -> tuple[ClassNode, ...]:
    """Put labels at their places.

    Parameters
    ----------
    probabilities : mapping of str to float
        By label: codes or names of the taxonomy, or labels of the Catalina survey, or any others.
    exclusive : bool
        Whether a source has one label: then a class is as probable as those within it together; otherwise
        each class has its own probability, and one that has none takes the largest of those within.
    decided : collection of str
        Labels that the classifier decides for.

    Returns
    -------
    roots : tuple of ClassNode
        The most probable first.
    """
    trees = taxonomy()
    places = {label: _place(label, trees) for label in probabilities}
    codes = [code for code in places.values() if code is not None]
    wanted = {code for code in codes for code in (code, *trees.ancestors[code])}

    def node(code: str) -> ClassNode:
        own = [label for label, place in places.items() if place == code]
        children = [
            node(other) for other, one in trees.classes.items() if one.parent == code and other in wanted
        ]
        one = trees.classes[code]
        # a label that is as wide as its class is the class; a narrower one, as EA among binaries, is within
        wide = (
            own if len(own) == 1 and not children else [word for word in own if _same(word, code, one.name)]
        )
        same = next(iter(wide), None)
        children += [
            ClassNode(label, one.meaning, probabilities[label], (), label, label in decided)
            for label in own
            if label != same
        ]
        children.sort(key=lambda child: -child.probability)
        if same is not None and not exclusive:
            value = probabilities[same]
        elif exclusive:
            value = sum(child.probability for child in children) + (
                0.0 if same is None else probabilities[same]
            )
        else:
            value = max(child.probability for child in children)
        return ClassNode(one.name, one.meaning, value, tuple(children), same or "", (same or "") in decided)

    roots = [node(code) for code, one in trees.classes.items() if one.parent is None and code in wanted]
    roots += [
        ClassNode(label, "", probabilities[label], (), label, label in decided)
        for label, place in places.items()
        if place is None
    ]
    return tuple(sorted(roots, key=lambda root: -root.probability))


def _same(label: str, code: str, name: str) -> bool:
    said = _letters(label)
    return said in (_letters(code), _letters(name))


def _place(label: str, trees: Taxonomy) -> str | None:
    """The class that a label stands for, or lies in; None where that is not known."""
    for code, one in trees.classes.items():
        # EA is a look and no kind of star: only its code means the look
        if label == code or (one.tree == "ontological" and _same(label, code, one.name)):
            return code
    try:
        says = trees.labels[_SURVEY][label].says
    except KeyError:
        return None
    certain = [code for code, value in says.items() if value == 1 and trees[code].tree == "ontological"]
    return max(certain, key=lambda code: len(trees.ancestors[code])) if certain else None


def _letters(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def tree_html(roots: Sequence[ClassNode]) -> str:
    """The tree as nested lists with bars; what is below half a per cent is told in one line."""
    return f'<ul class="classes">{_items(roots)}</ul>'


def _items(nodes: Sequence[ClassNode]) -> str:
    shown = [one for one in nodes if one.probability >= _LEAST] or list(nodes[:1])
    rest = [one for one in nodes if one not in shown]
    parts = []
    for one in shown:
        label = f" <small>{escape(one.label)}</small>" if one.label and one.label != one.name else ""
        name = f"<b>{escape(one.name)}</b>" if one.decided else escape(one.name)
        within = f"<ul>{_items(one.within)}</ul>" if one.within else ""
        parts.append(
            f'<li><div class="class" title="{escape(one.meaning)}">'
            f'<span class="name">{name}{label}</span>'
            f'<span class="bar"><i style="width:{100 * min(one.probability, 1):.1f}%"></i></span>'
            f'<span class="share">{100 * one.probability:.1f} %</span></div>{within}</li>'
        )
    if rest:
        names = ", ".join(escape(one.name) for one in rest)
        parts.append(f'<li class="rest">below {100 * _LEAST:g} %: {names}</li>')
    return "".join(parts)
