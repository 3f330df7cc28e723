"""Several people about the same items: one answer of them all, and how much they agree.

People and items are plain numbers or names here; who they are and what they were shown is kept
where the answers are.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from astrid.errors import DatasetError

__all__ = ["Agreement", "DawidSkene", "Kappa", "dawid_skene", "kappa", "majority", "pairwise_kappa", "tally"]


@dataclass(frozen=True, eq=False)
class DawidSkene:
    """What the answers say when each person's reliability is found from them too.

    Parameters
    ----------
    posterior : (items, classes) float64 ndarray
        Probability of each class; an item without an answer has the prior.
    confusion : (people, classes, classes) float64 ndarray
        How often each person gives each answer (last axis) to items of each class.
    prior : (classes,) float64 ndarray
        Share of each class.
    people : (people,) ndarray
        In the order of `confusion`.
    log_likelihood : float
        Of all answers.
    rounds : int
        Of the fit; `most_rounds` if it did not settle before.
    """

    posterior: NDArray[np.float64]
    confusion: NDArray[np.float64]
    prior: NDArray[np.float64]
    people: NDArray[Any]
    log_likelihood: float
    rounds: int


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa of two people.

    Parameters
    ----------
    n : int
        Items that both answered.
    agreed : float
        Share of them with the same answer.
    value : float or None
        Agreement beyond chance: 1 for always, 0 for as often as by chance. None where both always
        gave the same single answer, which says nothing of it.
    low, high : float or None
        The 95 % interval for many items.
    """

    n: int
    agreed: float
    value: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Agreement:
    """How two people agree: their names (or numbers), and their `Kappa`."""

    first: Any
    second: Any
    kappa: Kappa


def tally(items: NDArray[Any], answers: NDArray[Any], n_items: int, n_classes: int) -> NDArray[np.int64]:
    """How many people gave each answer to each item.

    Parameters
    ----------
    items : (m,) int ndarray
        Number of the item of each answer, from 0.
    answers : (m,) int ndarray
        Number of the class.
    n_items, n_classes : int

    Returns
    -------
    votes : (n_items, n_classes) int64 ndarray

    Raises
    ------
    DatasetError
        The columns differ in length, or a number is out of its range.
    """
    rows, given = _checked(items, answers, n_items, n_classes)
    return np.bincount(rows * n_classes + given, minlength=n_items * n_classes).reshape(n_items, n_classes)


def majority(votes: NDArray[Any]) -> NDArray[np.int64]:
    """The answer that most people gave.

    Parameters
    ----------
    votes : (n, classes) ndarray
        As `tally` counts them.

    Returns
    -------
    label : (n,) int64 ndarray
        -1 where nobody answered, or where two answers were given equally often.

    Raises
    ------
    DatasetError
        It is not a table with a column for each class.
    """
    counts = np.asarray(votes)
    if counts.ndim != 2 or counts.shape[1] < 2:
        raise DatasetError(
            f"the votes have shape {counts.shape}, expected how many people gave each of two answers or more "
            "to each item; count them with tally"
        )
    most = counts.max(axis=1, keepdims=True)
    alone = (counts == most).sum(axis=1) == 1
    return np.where(alone, counts.argmax(axis=1), -1).astype(np.int64)


def dawid_skene(
    items: NDArray[Any],
    people: NDArray[Any],
    answers: NDArray[Any],
    n_classes: int,
    *,
    n_items: int | None = None,
    smoothing: float = 0.1,
    tolerance: float = 1e-8,
    most_rounds: int = 1000,
) -> DawidSkene:
    """Weigh each person's answers by how reliable they turn out to be.

    Maximum likelihood by expectation and maximisation, from the shares of the answers. Classes keep
    their names because most people are right more often than wrong; where that fails, so does it.

    Parameters
    ----------
    items : (m,) int ndarray
        Number of the item of each answer, from 0.
    people : (m,) ndarray
        Who gave it: numbers or names.
    answers : (m,) int ndarray
        Number of the class.
    n_classes : int
    n_items : int, optional
        One more than the largest number, if not given.
    smoothing : float
        Answers that are added to each cell of each person's confusion, so that somebody with few
        answers is not taken for perfect; 0 for that of the paper.
    tolerance : float
        The fit has settled when the log-likelihood, of each answer, grows by less.
    most_rounds : int

    Returns
    -------
    DawidSkene

    Raises
    ------
    DatasetError
        No answers, columns of different lengths, or a number out of its range.

    References
    ----------
    Dawid & Skene 1979, J. R. Stat. Soc. C 28, 20, eqs. 2.3 to 2.5.
    """
    total = n_items if n_items is not None else (int(np.max(items)) + 1 if len(items) else 0)
    rows, given = _checked(items, answers, total, n_classes)
    if not len(rows):
        raise DatasetError("there is no answer; reliability is found from answers")
    names, who = np.unique(np.asarray(people), return_inverse=True)
    if len(who) != len(rows):
        raise DatasetError(f"{len(who)} people are named for {len(rows)} answers; name one for each")
    counts = tally(rows, given, total, n_classes).astype(np.float64)
    answered = counts.sum(axis=1) > 0
    posterior = np.where(
        answered[:, None], counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), 1 / n_classes
    )
    before, rounds = -np.inf, 0
    tiny = np.finfo(np.float64).tiny
    while True:
        rounds += 1
        prior = posterior[answered].mean(axis=0)
        confusion = np.full((len(names), n_classes, n_classes), float(smoothing))
        for true in range(n_classes):  # eq. 2.3
            np.add.at(confusion[:, true], (who, given), posterior[rows, true])
        sums = confusion.sum(axis=2, keepdims=True)
        # a class that somebody was never asked about says nothing of the person
        confusion = np.where(sums > 0, confusion / np.where(sums > 0, sums, 1), 1 / n_classes)
        joint = np.tile(np.log(np.maximum(prior, tiny)), (total, 1))  # eq. 2.5, as logarithms
        np.add.at(joint, rows, np.log(np.maximum(confusion, tiny))[who, :, given])
        peak = joint.max(axis=1, keepdims=True)
        weight = np.exp(joint - peak)
        posterior = weight / weight.sum(axis=1, keepdims=True)
        now = float((peak[:, 0] + np.log(weight.sum(axis=1)))[answered].sum())
        if now - before < tolerance * len(rows) or rounds >= most_rounds:
            return DawidSkene(posterior, confusion, prior, names, now, rounds)
        before = now


def kappa(a: NDArray[Any], b: NDArray[Any]) -> Kappa:
    """Agreement of two people beyond chance.

    Parameters
    ----------
    a, b : (n,) ndarray
        Their answers to the same items, as numbers or names.

    Returns
    -------
    Kappa

    Raises
    ------
    DatasetError
        No item, or another number of answers.

    References
    ----------
    Cohen 1960, Educ. Psychol. Meas. 20, 37; its variance: Fleiss, Cohen & Everitt 1969,
    Psychol. Bull. 72, 323, eq. 13.
    """
    first, second = np.asarray(a), np.asarray(b)
    if first.shape != second.shape or first.ndim != 1 or not len(first):
        raise DatasetError(
            f"one person gave {first.size} answers and the other {second.size}; give both to the same "
            "items, one at least"
        )
    classes, codes = np.unique(np.concatenate([first, second]), return_inverse=True)
    n, k = len(first), len(classes)
    share = np.bincount(codes[:n] * k + codes[n:], minlength=k * k).reshape(k, k) / n
    rows, columns = share.sum(axis=1), share.sum(axis=0)
    agreed, chance = float(np.trace(share)), float(rows @ columns)
    if k == 1:
        return Kappa(n, agreed, None, None, None)
    value = (agreed - chance) / (1 - chance)
    both = rows[None, :] + columns[:, None]  # [i, j]: how often column i was said by b and row j by a
    on = float((np.diag(share) * (1 - np.diag(both) * (1 - value)) ** 2).sum())
    off = share * both**2
    apart = (1 - value) ** 2 * float(off.sum() - np.trace(off))
    variance = (on + apart - (value - chance * (1 - value)) ** 2) / (n * (1 - chance) ** 2)
    half = 1.959963984540054 * float(np.sqrt(max(variance, 0)))
    return Kappa(n, agreed, value, max(value - half, -1.0), min(value + half, 1.0))


def pairwise_kappa(
    items: NDArray[Any], people: NDArray[Any], answers: NDArray[Any], *, at_least: int = 2
) -> tuple[Agreement, ...]:
    """The agreement of each two people who answered the same items.

    Parameters
    ----------
    items, people, answers : (m,) ndarray
        Of each answer; numbers or names. A person's last answer to an item counts.
    at_least : int
        Pairs with fewer items in common are left out.

    Returns
    -------
    agreements : tuple of Agreement
        In the order of the names.

    Raises
    ------
    DatasetError
        The columns differ in length.
    """
    columns = [np.asarray(one) for one in (items, people, answers)]
    if len({len(one) for one in columns}) > 1:
        raise DatasetError(
            f"there are {len(columns[0])} items, {len(columns[1])} people and {len(columns[2])} answers; "
            "give one of each for each answer"
        )
    said: dict[Any, dict[Any, Any]] = {}
    for item, person, answer in zip(*(one.tolist() for one in columns), strict=True):
        said.setdefault(person, {})[item] = answer
    found = []
    for first, second in itertools.combinations(sorted(said), 2):
        common = [item for item in said[first] if item in said[second]]
        if len(common) >= max(at_least, 1):
            pair = (np.array([said[person][item] for item in common]) for person in (first, second))
            found.append(Agreement(first, second, kappa(*pair)))
    return tuple(found)


def _checked(
    items: NDArray[Any], answers: NDArray[Any], n_items: int, n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows, given = np.asarray(items, np.int64), np.asarray(answers, np.int64)
    if rows.shape != given.shape or rows.ndim != 1:
        raise DatasetError(f"there are {rows.size} items for {given.size} answers; give one for each")
    for name, values, limit in (("item", rows, n_items), ("answer", given, n_classes)):
        if len(values) and not 0 <= values.min() <= values.max() < limit:
            wrong = int(values.min() if values.min() < 0 else values.max())
            raise DatasetError(f"{name} {wrong} is meant, but they are numbered from 0 to {limit - 1}")
    return rows, given
