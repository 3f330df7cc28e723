"""Ten volunteers about the same candidates: what a vote and a model of their reliability make of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from astrid.bench._review_data import Votes, votes
from astrid.bench.frame import Row
from astrid.learn.votes import dawid_skene, kappa, majority, pairwise_kappa, tally

__all__ = ["vote_rows"]

_FEW = (3, 5)
_PEER = "label of the latent-class analysis upstream"


def vote_rows(path: Path, seeds: range) -> list[Row]:
    """All rows about the volunteers of MeerLICHT.

    Parameters
    ----------
    path : Path
        The votes.
    seeds : range
        Of the drawing of some of the volunteers.
    """
    given = votes(path)
    n = len(given.label)
    pairs = [one.kappa.value for one in pairwise_kappa(given.items, given.people, given.answers)]
    values = np.array([one for one in pairs if one is not None])
    found = dawid_skene(given.items, given.people, given.answers, 2)
    rows = [
        Row("MeerLICHT, kappa of two volunteers: least", values.min(), "", "real", len(values)),
        Row("MeerLICHT, kappa of two volunteers: median", float(np.median(values)), "", "real", len(values)),
        Row("MeerLICHT, kappa of two volunteers: largest", values.max(), "", "real", len(values)),
    ]
    for label, name in enumerate(("bogus told as bogus", "real told as real")):
        right = found.confusion[:, label, label]
        rows.append(Row(f"MeerLICHT, {name}: least of the volunteers", right.min(), "", "real", n))
        rows.append(Row(f"MeerLICHT, {name}: most of the volunteers", right.max(), "", "real", n))
    every = _answers(given, np.unique(given.people))
    for name, labels in every.items():
        rows += [
            Row(f"MeerLICHT, {name} of 10: agrees with {_PEER}", _same(labels, given.label), "", "real", n),
            Row(f"MeerLICHT, {name} of 10: kappa with it", kappa(labels, given.label).value, "", "real", n),
        ]
    for few in _FEW:
        drawn = [
            _answers(given, np.random.default_rng(seed).permutation(np.unique(given.people))[:few])
            for seed in seeds
        ]
        for name in every:
            share = float(np.mean([_same(one[name], given.label) for one in drawn]))
            rows.append(Row(f"MeerLICHT, {name} of {few} drawn: agrees with {_PEER}", share, "", "real", n))
    return rows


def _answers(given: Votes, people: NDArray[np.str_]) -> dict[str, NDArray[np.int64]]:
    """One answer an item by each way; a tie counts as no answer."""
    own = np.isin(given.people, people)
    items, who, answers = given.items[own], given.people[own], given.answers[own]
    counts = tally(items, answers, len(given.label), 2)
    posterior = dawid_skene(items, who, answers, 2, n_items=len(given.label)).posterior
    return {"majority": majority(counts), "Dawid-Skene": posterior.argmax(axis=1)}


def _same(label: NDArray[np.int64], other: NDArray[np.int64]) -> float:
    return float((label == other).mean())
