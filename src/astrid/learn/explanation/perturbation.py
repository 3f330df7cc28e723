"""The perturbation response: multiply one feature or channel, leave the rest, and follow the score."""

from __future__ import annotations

import numpy as np

from astrid.learn.explanation.item import Item
from astrid.learn.explanation.question import Arrays, Score
from astrid.learn.explanation.result import Attribution, Response

__all__ = ["FACTORS", "perturbation"]

FACTORS = 2.0 ** np.linspace(-2, 2, 9)
"""From a quarter to four times, evenly in the logarithm."""

_ROUNDING = 1e-6  # changes below this come from single precision, not from the factor


def perturbation(score: Score, item: Item) -> Attribution:
    """The score where each feature, or each channel, is multiplied by 0.25 to 4.

    Parameters
    ----------
    score : Score
    item : Item

    Returns
    -------
    Attribution
        The values are the largest change of the score along each curve, with its sign; the curves
        are the `response`.

    References
    ----------
    Raza et al. 2024, arXiv:2308.12357 (inputs perturbed one at a time).
    """
    parts = item.parts("channels")
    k = len(FACTORS)

    def build(start: int, stop: int) -> Arrays:
        part, factor = np.divmod(np.arange(start, stop), k)
        return {
            name: np.where(
                part.reshape(-1, *(1,) * array.ndim) == parts.ids[name],
                array * FACTORS[factor].astype(np.float32).reshape(-1, *(1,) * array.ndim),
                array,
            )
            for name, array in item.inputs.items()
        }

    scores = score(parts.n * k, build).reshape(parts.n, k)
    whole = score.one(item.inputs)
    change = scores - whole
    change[np.abs(change) < _ROUNDING * max(1.0, abs(whole))] = 0
    largest = change[np.arange(parts.n), np.abs(change).argmax(axis=1)]
    idle = [name for name, changes in zip(parts.names, change, strict=True) if not changes.any()]
    notes = (f"no factor changes the {score.of} through {', '.join(idle)}",) if idle else ()
    return Attribution(parts.spread(largest), notes=notes, response=Response(parts.names, FACTORS, scores))
