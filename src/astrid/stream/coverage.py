"""How often conformal sets hold the true label, and how often they promised to.

For alerts that somebody has labelled; what follows for a night is said in `drift`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from astrid.stream.comparison import SURE, Level

__all__ = ["Coverage", "promised_coverage", "realised_coverage"]

_LABELLED = 30  # alerts with a label before coverage is judged


@dataclass(frozen=True)
class Coverage:
    """How often conformal sets held the true label.

    Parameters
    ----------
    model, label : str
    n, held : int
        Alerts with this label, and those whose set has it.
    promised : float or None
        None where the bundle cannot be found.
    p : float or None
        Of a coverage as low as this, if the promise is kept.
    level : {"ok", "watch", "act"}
    """

    model: str
    label: str
    n: int
    held: int
    promised: float | None
    p: float | None
    level: Level = "ok"

    @property
    def share(self) -> float:
        """Realised coverage."""
        return self.held / self.n

    def as_dict(self) -> dict[str, Any]:
        """All of it as plain values."""
        return {**asdict(self), "share": self.share}


def realised_coverage(
    covered: Counter[tuple[str, str, bool]], promised: Mapping[tuple[str, str], float]
) -> tuple[Coverage, ...]:
    """How often the sets of each model held the label of alerts that somebody has labelled.

    Parameters
    ----------
    covered : Counter
        Alerts by model, label, and whether the set has the label.
    promised : mapping of (str, str) to float
        By model and label.
    """
    from scipy.stats import binomtest

    found = []
    for model, label in sorted({(model, label) for model, label, _ in covered}):
        held = covered[model, label, True]
        n = held + covered[model, label, False]
        promise = promised.get((model, label))
        p: float | None = None
        level: Level = "ok"
        if promise is not None:
            p = float(binomtest(held, n, promise, alternative="less").pvalue)
            if n >= _LABELLED and p < SURE:
                # twice as many misses as were promised are no matter of taste
                level = "act" if 1 - held / n >= 2 * (1 - promise) else "watch"
        found.append(Coverage(model, label, n, held, promise, p, level))
    return tuple(found)


def promised_coverage(hashes: Mapping[str, set[str]]) -> dict[tuple[str, str], float]:
    """The coverage that models promise on their cards, as far as they are in the registry.

    Parameters
    ----------
    hashes : mapping of str to set of str
        Of each model, as its column is called.

    Returns
    -------
    promised : dict of (str, str) to float
        By model and label.
    """
    from astrid.learn.bundle import Bundle
    from astrid.learn.registry import list_bundles

    known = {entry.hash: entry for entry in list_bundles() if not entry.problem}
    found: dict[tuple[str, str], float] = {}
    for model, seen in hashes.items():
        for entry in (known[one] for one in seen if one in known):
            bundle = Bundle.load(entry.path, name=entry.name)
            for head in bundle.task.heads:
                conformal = bundle.card.head(head).conformal
                for label, alpha in ({} if conformal is None else conformal.alpha).items():
                    found[model, label] = 1 - alpha
    return found
